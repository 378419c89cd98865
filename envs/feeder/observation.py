"""What each house sees: its own measurements, its forecast, its tariff, its local voltage."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexgym.envs.compiled import inlined
from flexgym.envs.feeder import lanes
from flexgym.envs.feeder.coupling import Ints
from flexgym.envs.feeder.lanes import (
    BUY,
    CAR,
    CAR_PERIODS,
    EVEN,
    LANES,
    LOAD,
    PER_KWH,
    PV,
    ROWS,
    SOC,
    TERMINAL,
    V_PU,
    VISIT,
    position,
)
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.household import observation as house
from flexgym.envs.household.dynamics import ARRIVAL, DEPARTURE, NEEDED_KWH, VISIT_ROWS
from flexgym.envs.household.params import STEPS_PER_DAY, Floats

VOLTAGE = "voltage_above_1_pu [0.05 pu]"
_COMPACT = (
    "state_of_charge [capacity]",
    "surplus [10 kW]",
    "import_price_above_terminal [0.1 EUR/kWh]",
    "car_share_of_time_needed [1], -1 while away",
    VOLTAGE,
    "time_left [day]",
)


def observation_names(kind: str, cars: bool) -> tuple[str, ...]:
    """Name and unit of each entry of one house's observation.

    Raises:
        ScenarioError: Unknown kind.
    """
    names = house.observation_names(kind, cars)
    return _COMPACT if kind == "compact" else (*names, VOLTAGE)


@inlined
def observe_compact(t, size, count, begin, block, w, desk, seen, out):
    """Write compact observations of the houses of a block.

    Args:
        t: Period.
        size: Feeders in the group, G.
        count: Houses on a feeder, H.
        begin: The group's first feeder in ``out``.
        block: Position in the group.
        w: Numbers of the group, flat.
        desk: What the block measures.
        seen: Room for what it sees, flat, (6, 64), float32.
        out: Flat, (n, H, 6), float32, overwritten.
    """
    left = 1.0 - t / STEPS_PER_DAY
    for i in range(LANES):
        at = position(block * ROWS * LANES) + i
        seen[i] = w[at + SOC * LANES] * w[at + PER_KWH * LANES]
        seen[i + LANES] = 0.1 * (desk[PV * LANES + i] - desk[LOAD * LANES + i])
        seen[i + 2 * LANES] = 10.0 * (desk[BUY * LANES + i] - desk[EVEN * LANES + i])
        there = w[at + (VISIT + ARRIVAL) * LANES] <= t < w[at + (VISIT + DEPARTURE) * LANES]
        missing = max(w[at + (VISIT + NEEDED_KWH) * LANES] - w[at + CAR * LANES], 0.0)
        time = w[at + (VISIT + DEPARTURE) * LANES] - t
        urgency = min(missing * w[at + CAR_PERIODS * LANES] / time, 4.0)
        seen[i + 3 * LANES] = urgency if there else -1.0
        seen[i + 4 * LANES] = 20.0 * (w[at + V_PU * LANES] - 1.0)
        seen[i + 5 * LANES] = left
    each = LANES // size
    first = block * each
    for h in range(min(each, count - first)):
        for i in range(min(size, out.size // (6 * count) - begin)):
            to = position(((begin + i) * count + first + h) * 6)
            at = position(h * size + i)
            for k in range(6):
                out[to + k] = seen[at + k * LANES]


class FeederObserver:
    """Writes observations with forecasts; compact ones are written as the day is played.

    Attributes:
        names: Entries of one house's observation.
        full: Whether observations have forecasts.

    Args:
        scenario: Grid, houses and days.
        kind: ``"full"`` or ``"compact"``.
        n: Number of feeders.
    """

    def __init__(self, scenario: FeederScenario, kind: str, n: int) -> None:
        self.names = observation_names(kind, scenario.homes.has_cars)
        self._scenario, self._n = scenario, n
        self.full = kind == "full"
        self._outlook = house.new_outlook(kind, n * scenario.n_houses)
        self._rows: Floats = np.empty((0, 0))

    def begin(self, draw: Ints, day: Ints) -> None:
        """Read the forecasts of a new day, draw and day of each feeder having shape (n,)."""
        if not self.full:
            return
        homes, count = self._scenario.homes, self._scenario.n_houses
        home = (draw[:, None] * count + np.arange(count)).ravel()
        self._rows = homes.rows[home]
        days = np.repeat(day, count)
        for first in range(0, len(home), 4096):  # forecasts of all at once take gigabytes
            part = slice(first, first + 4096)
            house.summarise(homes.forecast(home[part], days[part]), first, self._outlook)

    def observe(self, simulation: Any) -> np.ndarray:
        """Full observation of each house of a `FeederSimulation`, shape (n, H, d), float32."""
        count = self._scenario.n_houses
        out = np.empty((self._n, count, len(self.names)), dtype=np.float32)
        cars = range(lanes.VISIT, lanes.VISIT + VISIT_ROWS)
        visit = cars if self._scenario.homes.has_cars else ()
        numbers = simulation.of_houses(SOC, CAR, TERMINAL, V_PU, *visit)
        soc, car, terminal, voltage, *_ = numbers.reshape(len(numbers), -1)
        chains = self._scenario.homes.uncertainty
        house.observe(
            simulation.t, self._rows, soc, car, simulation.measured.reshape(4, -1),
            numbers[4:].reshape(VISIT_ROWS, -1), np.repeat(simulation.state, count),
            chains.weather_factor, chains.price_factor, terminal, self._outlook,
            out.reshape(self._n * count, -1),
        )  # fmt: skip
        out[:, :, -1] = 20.0 * (voltage.reshape(self._n, count) - 1.0)
        return out
