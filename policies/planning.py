"""What houses know of their future when they make menus: the planning stage.

Each plan answers one question: what battery and car are worth after this period. Prices of the
grid may be added to the houses' own (network-aware planning); the price of the present period
never has one, since clearing finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from flexgym.baselines.household import SolutionCache
from flexgym.baselines.household.certainty_equivalent import conditional_means, expected_factors
from flexgym.baselines.household.cost_to_go import known_day
from flexgym.baselines.household.tables import Tables
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.dynamics import (
    BUY,
    CAPACITY,
    CAR_MISSED,
    LOAD,
    PV,
    PV_KWP,
    SELL,
    UNSERVED,
    car_change,
    car_range,
)
from flexgym.envs.household.params import STEPS_PER_DAY, Floats, Series
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.household import Optimal

T = STEPS_PER_DAY


class Planner(Protocol):
    """Cost-to-go of n houses, made anew when something is learned."""

    def begin(self, homes: HouseholdSimulation, adders: Floats | None = None) -> None:
        """Plan the day that begins.

        Args:
            homes: The houses.
            adders: What a kWh at each meter is expected to cost the grid, shape (T, n), EUR/kWh.
        """
        ...

    def look(self, homes: HouseholdSimulation) -> None:
        """Learn what the houses measure in this period."""
        ...

    def ahead(self, homes: HouseholdSimulation, row: int, kinks_kw: Floats) -> CarLevels:
        """Cost after this period; see `flexgym.baselines.household.tables.Tables.ahead`."""
        ...

    def expected(self, homes: HouseholdSimulation) -> Floats:
        """Load, PV, import and export price of the day as expected at its start, (T, 4, n)."""
        ...


class Foreseen:
    """The day is known in advance: exact tables, a bound.

    Attributes:
        tables: One a house.
    """

    tables: list[Tables]

    def begin(self, homes: HouseholdSimulation, adders: Floats | None = None) -> None:
        """See `Planner`."""
        known = with_adders(homes.episodes.exogenous, homes.episodes.rows, adders)
        self.tables = [tables_of(homes, row, known[:, :, row], 0) for row in range(homes.n)]

    def look(self, homes: HouseholdSimulation) -> None:
        """See `Planner`: there is nothing to learn."""

    def ahead(self, homes: HouseholdSimulation, row: int, kinks_kw: Floats) -> CarLevels:
        """See `Planner`."""
        soc, car = float(homes.soc_kwh[row]), _stored(homes, row)
        return self.tables[row].ahead(homes.t, 0, soc, car, kinks_kw)

    def expected(self, homes: HouseholdSimulation) -> Floats:
        """See `Planner`."""
        return homes.episodes.exogenous


class Expected(Foreseen):
    """Everything is expected to go by the mean of the forecast, given what is measured now.

    Args:
        every: Periods between two plans.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self._powers: Floats | None = None

    def begin(self, homes: HouseholdSimulation, adders: Floats | None = None) -> None:
        """See `Planner`."""
        self._adders = adders

    def look(self, homes: HouseholdSimulation) -> None:
        """See `Planner`."""
        if homes.t % self.every == 0:
            likely = with_adders(self.expected(homes), homes.episodes.rows, self._adders)
            self.tables = [
                tables_of(homes, row, likely[:, :, row], homes.t) for row in range(homes.n)
            ]

    def expected(self, homes: HouseholdSimulation) -> Floats:
        """See `Planner`; what is past is left as it was forecast."""
        t, episodes, uncertainty = homes.t, homes.episodes, homes.scenario.uncertainty
        if self._powers is None:
            self._powers = expected_factors(uncertainty, T)
        load = float(np.dot(uncertainty.load_factors, uncertainty.load_probabilities))
        likely = episodes.forecast.copy()
        likely[t] = homes.now
        series = np.empty((4, T - t - 1))
        for row in range(homes.n):
            conditional_means(
                t, homes.state[row], episodes.forecast[:, :, row], episodes.rows[row, PV_KWP],
                uncertainty.weather_factor, uncertainty.price_factor, load, self._powers, series,
            )  # fmt: skip
            likely[t + 1 :, :, row] = series.T
        return likely


class Certified(Expected):
    """The certified optimum of the uncertain day: every outcome with its probability.

    Args:
        progress: Called with the number of house-days solved and their total.
        cache: Where solutions are kept and looked up.
        workers: House-days to solve side by side, each on a core of its own.
    """

    def __init__(
        self,
        progress: Callable[[int, int], object] | None = None,
        cache: SolutionCache | None = None,
        workers: int = 1,
    ) -> None:
        super().__init__()
        self._optimal = Optimal(progress, cache, workers)

    def begin(self, homes: HouseholdSimulation, adders: Floats | None = None) -> None:
        """See `Planner`."""
        self._optimal.begin(homes, adders)

    def look(self, homes: HouseholdSimulation) -> None:
        """See `Planner`: the tables hold every outcome."""

    def ahead(self, homes: HouseholdSimulation, row: int, kinks_kw: Floats) -> CarLevels:
        """See `Planner`."""
        soc, car = float(homes.soc_kwh[row]), _stored(homes, row)
        tables = self._optimal.plan(row).tables
        return tables.ahead(homes.t, int(homes.state[row]), soc, car, kinks_kw)


class Agnostic:
    """No look ahead: a kWh in the battery is worth the same at any time, cars charge at once.

    Args:
        worth_eur_per_kwh: Of energy in the battery; None is what is paid at the day's end.
    """

    def __init__(self, worth_eur_per_kwh: float | None = None) -> None:
        self.worth_eur_per_kwh = worth_eur_per_kwh

    def begin(self, homes: HouseholdSimulation, adders: Floats | None = None) -> None:
        """See `Planner`."""
        if adders is not None:
            raise ScenarioError("got prices of the grid; expected None, since nothing is planned.")

    def look(self, homes: HouseholdSimulation) -> None:
        """See `Planner`."""

    def ahead(self, homes: HouseholdSimulation, row: int, kinks_kw: Floats) -> CarLevels:
        """See `Planner`."""
        episodes, t = homes.episodes, homes.t
        house = episodes.rows[row]
        worth = self.worth_eur_per_kwh
        worth = float(episodes.terminal_price[row]) if worth is None else worth
        ends = np.array([0.0, house[CAPACITY]]) if house[CAPACITY] > 0.0 else np.zeros(1)
        powers = np.zeros(1)
        if homes.cars:
            load, pv = homes.now[[LOAD, PV], row]
            stored = float(homes.car_kwh[row])
            low, high = car_range(
                house, homes.visit[:, row], t, float(homes.soc_kwh[row]), stored, load, pv
            )
            powers = np.unique([low, 0.0, high])
        return CarLevels.of(
            [
                (u, ConvexPiecewiseLinear(
                    ends, -worth * ends - house[CAR_MISSED] * car_change(house, u)
                ))
                for u in powers.tolist()
            ]
        )  # fmt: skip

    def expected(self, homes: HouseholdSimulation) -> Floats:
        """See `Planner`."""
        return homes.episodes.forecast


def usable(series: Floats, rows: Floats, adders: Floats) -> Floats:
    """Prices of the grid as far as a house's cost stays convex with them, shape (T, n), EUR/kWh.

    Args:
        series: Load, PV, import and export price, shape (T, 4, n).
        rows: Houses, shape (n, 18).
        adders: Shape (T, n), EUR/kWh.
    """
    buy = series[:, BUY]
    # Rounding must not take the import price beyond its limits.
    least = -np.maximum(buy - 1e-9, 0.0)
    return np.clip(adders, least, np.maximum(rows[:, UNSERVED] - buy - 1e-9, 0.0))


def with_adders(series: Floats, rows: Floats, adders: Floats | None) -> Floats:
    """Series whose prices hold those of the grid, as far as they are `usable`."""
    if adders is None:
        return series
    priced, added = series.copy(), usable(series, rows, adders)
    priced[:, BUY] += added
    priced[:, SELL] += added
    return priced


def revised(homes: HouseholdSimulation, series: Floats) -> HouseholdSimulation:
    """The same houses on a day that goes as ``series`` says, shape (T, 4, n), from now on."""
    again = HouseholdSimulation(
        homes.scenario, homes.n, observation="compact", curtailment="action"
    )
    again.episodes = replace(homes.episodes, exogenous=series)
    again.t = homes.t
    again.soc_kwh, again.car_kwh = homes.soc_kwh.copy(), homes.car_kwh.copy()
    return again


def tables_of(homes: HouseholdSimulation, row: int, series: Floats, start: int) -> Tables:
    """Exact tables of a house on a day that goes as ``series`` says, shape (T, 4).

    Args:
        homes: The houses.
        row: Which one.
        series: Load, PV, import and export price.
        start: First period that will be asked for.
    """
    sessions = homes.realised_series(row).sessions
    terminal = float(homes.episodes.terminal_price[row])
    return known_day(homes.house(row), Series(*series.T, sessions=sessions), terminal, start)


def _stored(homes: HouseholdSimulation, row: int) -> float:
    return float(homes.car_kwh[row]) if homes.cars else 0.0
