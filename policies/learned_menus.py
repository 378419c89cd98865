"""Learned menus: a network gives the cost-to-go, the chart's code makes the menu of it.

One network serves every house. What it gives is convex whatever its weights are, so every output
is a valid menu. It plays a house by itself, offers menus on the feeder, and plans for `Menus`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.household.two_stores import blends, reaching
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.construction import house_chart
from flexgym.envs.charts.separable import split_power
from flexgym.envs.household.dynamics import CAPACITY, plugged
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies import menu_tables
from flexgym.policies.learned import read_config
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
from flexgym.policies.planning import with_adders

LAST = STEPS_PER_DAY - 1
MENUS = "menus"
"""Algorithm of the runs that train them."""
RECIPES = ("distilled", "experience")
"""Ways to train them; see `flexgym.train.menu_lessons`."""
_LEAST_KW = 1e-9


class LearnedMenus:
    """Houses that play, or offer, what a network says their future costs.

    A `HouseholdPolicy` and a `Planner`; `menus` makes `HouseMenus` of it.

    Args:
        network: The network.
        name: Of tables.
    """

    settings: Mapping[str, str] = MappingProxyType({})

    prices: str | None = None
    """Price file it was trained on; None is the synthetic tariff."""

    def __init__(self, network: MenuNetwork, name: str = "learned menus") -> None:
        self.network, self.name, self.algorithm = network, name, MENUS

    @classmethod
    def load(cls, path: str | Path, name: str = "learned menus") -> LearnedMenus:
        """From a safetensors file.

        Raises:
            RunError: It is missing, damaged, or holds something else.
        """
        return cls(MenuNetwork.load(Path(path)), name)

    @classmethod
    def from_run(cls, folder: str | Path, checkpoint: str = "best") -> LearnedMenus:
        """The network of a run folder of ``flexgym train menus``.

        Raises:
            RunError: The run or its checkpoint is missing or damaged.
        """
        folder = Path(folder)
        recipe = read_config(folder, (MENUS,)).get("recipe")
        found = cls.load(folder / f"{checkpoint}.safetensors", f"menus ({folder.name})")
        found.algorithm = f"{recipe} menus"
        return found

    def begin(self, simulation: HouseholdSimulation, adders: Floats | None = None) -> None:
        """See `HouseholdPolicy` and `Planner`: read the forecast, plan on it."""
        episodes = simulation.episodes
        forecast = with_adders(episodes.forecast, episodes.rows, adders)
        self._inputs = inputs_of(episodes.rows, forecast, episodes.visits, episodes.terminal_price)
        self._rows, self._n, self._t = standing(episodes.rows), simulation.n, -1
        self._visits = np.ascontiguousarray(episodes.visits)
        n = simulation.n
        self._slopes, self._prices = np.zeros((n, STEPS + 1, CELLS)), np.zeros((n, STEPS))
        self._ends = np.zeros((n, LEVELS, CELLS + 1))
        self._levels = np.zeros((n, LEVELS))
        self._counts = np.zeros(n, dtype=np.int64)
        self._factors = (
            simulation.scenario.uncertainty.weather_factor,
            simulation.scenario.uncertainty.price_factor,
        )

    def look(self, homes: HouseholdSimulation) -> None:
        """See `Planner`: ask the network, once a period."""
        t = homes.t
        if t == self._t:
            return
        if t == LAST:
            self._slopes[:] = -homes.episodes.terminal_price[:, None, None]
        else:
            inputs, (weather, price) = self._inputs[:, t], self._factors
            with_state(inputs, weather[homes.state], price[homes.state])
            stays = menu_tables.staying(self._rows, self._visits[t], t)
            fill_answers(self.network, inputs, stays, self._slopes, self._prices)
        menu_tables.fill_ends(
            self._rows, self._visits[t], t, self._slopes, self._prices, self._ends,
            self._levels, self._counts,
        )  # fmt: skip
        self._t = t

    def act(self, simulation: HouseholdSimulation) -> Floats:
        """See `HouseholdPolicy`."""
        battery, car = self.powers(simulation)
        return simulation.action(battery, car_kw=car)

    def powers(self, homes: HouseholdSimulation) -> tuple[Floats, Floats]:
        """Best powers of batteries and cars now, each shape (n,), kW."""
        self.look(homes)
        battery, car = np.empty(homes.n), np.empty(homes.n)
        menu_tables.play(
            self._rows, self._visits[homes.t], homes.t, homes.soc_kwh, homes.car_kwh, homes.now,
            self._ends, self._levels, self._counts, battery, car,
        )  # fmt: skip
        return battery, car

    def ahead(self, homes: HouseholdSimulation, row: int, kinks_kw: Floats) -> CarLevels:
        """See `Planner`; `look` must have been called in this period."""
        t, house = homes.t, self._rows[row]
        n, levels = self._counts[row], self._levels[row]
        grid = np.linspace(0.0, house[CAPACITY], CELLS + 1)
        powers, stored = np.zeros(1), 0.0
        if homes.cars and plugged(self._visits[t, :, row], t):
            stored = float(homes.car_kwh[row])
            room = np.empty(LEVELS + 3)
            powers = np.sort(room[: reaching(house, stored, levels[:n], room)])
            powers = powers[np.append(True, np.diff(powers) > _LEAST_KW)]
        starts = np.empty(len(powers) + 1, dtype=np.int64)
        x, y = np.empty((2, len(powers) * (2 * CELLS + 1)))
        blends(house, self._ends[row, :n], levels[:n], grid, stored, powers, starts, x, y)
        return CarLevels(powers, starts, x[: starts[-1]], y[: starts[-1]])

    def expected(self, homes: HouseholdSimulation) -> Floats:
        """See `Planner`: the forecast."""
        return homes.episodes.forecast

    def menus(self, homes: HouseholdSimulation) -> LearnedHouseMenus:
        """A day of menus of these houses, as ``menus=`` of the feeder's environments takes."""
        return LearnedHouseMenus(LearnedMenus(self.network, self.name), homes)


class LearnedHouseMenus:
    """A day of menus; see `flexgym.envs.feeder.house_menus.HouseMenus`.

    Args:
        learned: Whose network is asked.
        homes: The houses, in an episode; their forecast is read, and what they measure.
    """

    def __init__(self, learned: LearnedMenus, homes: HouseholdSimulation) -> None:
        self._learned, self._homes = learned, homes
        self._levels: list[CarLevels] = []
        learned.begin(homes)

    def offer(self) -> list[FlexibilityChart]:
        """See `HouseMenus`."""
        homes, none = self._homes, np.empty(0)
        self._learned.look(homes)
        self._levels = [self._learned.ahead(homes, row, none) for row in range(homes.n)]
        rows, soc, now = homes.episodes.rows, homes.soc_kwh.tolist(), homes.now.T.tolist()
        charts = []
        for i, levels in enumerate(self._levels):
            load, pv, buy, sell = now[i]
            charts.append(house_chart(rows[i], soc[i], load, pv, buy, sell, levels))
        return charts

    def follow(self, power_kw: Floats) -> Floats:
        """See `HouseMenus`; `offer` must have been called in this period."""
        homes = self._homes
        out = np.empty((3, homes.n))
        for i, levels in enumerate(self._levels):
            load, pv = homes.now[:2, i]
            house = homes.episodes.rows[i]
            out[:, i] = split_power(house, homes.soc_kwh[i], load, pv, levels, power_kw[i])
        return out


def fill_answers(
    network: MenuNetwork, inputs: Singles, stays: NDArray[np.bool_], slopes: Floats, prices: Floats
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
