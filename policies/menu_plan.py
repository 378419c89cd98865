"""What a network says a day's stored energy is worth, house by house and period by period."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.household.two_stores import blends, reaching
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.household.dynamics import CAPACITY, plugged
from flexgym.envs.household.params import Floats
from flexgym.policies import menu_tables
from flexgym.policies.menu_inputs import (
    CELLS,
    LEVELS,
    STEPS,
    Singles,
    inputs_of,
    standing,
    with_state,
)
from flexgym.policies.menu_network import MenuNetwork

_LEAST_KW = 1e-9


class MenuPlan:
    """A day of n houses as the network sees it.

    Args:
        network: The network.
        rows: Houses, shape (n, 18).
        forecast: Load, PV, import and export price, shape (T, 4, n).
        visits: The cars' visits, shape (T, 5, n), or (T, 5, 0) where there are no cars.
        terminal: Pay for stored energy at the end, shape (n,), EUR/kWh.
    """

    def __init__(
        self,
        network: MenuNetwork,
        rows: Floats,
        forecast: Floats,
        visits: Floats,
        terminal: Floats,
    ) -> None:
        n = len(rows)
        self._network, self._terminal = network, terminal
        self._rows, self._visits = standing(rows), np.ascontiguousarray(visits)
        self._inputs = inputs_of(rows, forecast, visits, terminal)
        self._slopes, self._prices = np.zeros((n, STEPS + 1, CELLS)), np.zeros((n, STEPS))
        self._ends, self._levels = np.zeros((n, LEVELS, CELLS + 1)), np.zeros((n, LEVELS))
        self._counts = np.zeros(n, dtype=np.int64)
        self.t = -1

    def look(self, t: int, weather: Floats, price: Floats) -> None:
        """Ask the network about the end of a period.

        Args:
            t: Period.
            weather: Factor on the PV forecast observed in it, shape (n,).
            price: Factor on the import price, likewise.
        """
        if t == len(self._visits) - 1:
            self._slopes[:] = -self._terminal[:, None, None]
        else:
            inputs = self._inputs[:, t]
            with_state(inputs, weather, price)
            stays = menu_tables.staying(self._rows, self._visits[t], t)
            fill_answers(self._network, inputs, stays, self._slopes, self._prices)
        menu_tables.fill_ends(
            self._rows, self._visits[t], t, self._slopes, self._prices, self._ends, self._levels,
            self._counts,
        )  # fmt: skip
        self.t = t

    def powers(self, soc_kwh: Floats, car_kwh: Floats, now: Floats) -> tuple[Floats, Floats]:
        """Cheapest powers of batteries and cars in the period looked at, each shape (n,), kW.

        Args:
            soc_kwh: Energy in the batteries, shape (n,), kWh.
            car_kwh: Energy in the cars, shape (n,), kWh.
            now: Load, PV, import and export price measured, shape (4, n).
        """
        battery, car = np.empty((2, len(self._rows)))
        menu_tables.play(
            self._rows, self._visits[self.t], self.t, soc_kwh, car_kwh, now, self._ends,
            self._levels, self._counts, battery, car,
        )  # fmt: skip
        return battery, car

    def ahead(self, row: int, car_kwh: float) -> CarLevels:
        """Cost after the period looked at beside each power of the car that counts.

        Args:
            row: Which house.
            car_kwh: Energy in its car, kWh; not read while it is away.
        """
        house, n = self._rows[row], self._counts[row]
        levels = self._levels[row, :n]
        grid = np.linspace(0.0, house[CAPACITY], CELLS + 1)
        powers, stored = np.zeros(1), 0.0
        if self._visits.shape[2] and plugged(self._visits[self.t, :, row], self.t):
            stored, room = car_kwh, np.empty(LEVELS + 3)
            powers = np.sort(room[: reaching(house, stored, levels, room)])
            powers = powers[np.append(True, np.diff(powers) > _LEAST_KW)]
        starts = np.empty(len(powers) + 1, dtype=np.int64)
        x, y = np.empty((2, len(powers) * (2 * CELLS + 1)))
        blends(house, self._ends[row, :n], levels, grid, stored, powers, starts, x, y)
        return CarLevels(powers, starts, x[: starts[-1]], y[: starts[-1]])


def fill_answers(
    network: MenuNetwork,
    inputs: Singles,
    stays: NDArray[np.bool_],
    slopes: Floats,
    prices: Floats,
) -> None:
    """Ask the network for n houses.

    Args:
        network: The network.
        inputs: Shape (n, INPUTS).
        stays: Whether the car stays, shape (n,), see `menu_tables.staying`.
        slopes: Shape (n, STEPS + 1, CELLS), overwritten, EUR/kWh; row 0 alone where the car does
            not stay.
        prices: Shape (n, STEPS), overwritten where it stays, EUR/kWh.
    """
    if not stays.any():
        slopes[:, 0] = network.battery(inputs)
    elif stays.all():
        slopes[:], prices[:] = network.both(inputs)
    else:
        slopes[~stays, 0] = network.battery(inputs[~stays])
        slopes[stays], prices[stays] = network.both(inputs[stays])
