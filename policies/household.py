"""Policies of the house that do not learn: rules, model predictive control, the optimum."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.household import CostToGo, SolutionCache, cost_to_go
from flexgym.baselines.household.certainty_equivalent import (
    certainty_equivalent,
    conditional_means,
    expected_factors,
)
from flexgym.baselines.household.linear_program import HouseDayProgram
from flexgym.baselines.household.tables import Moment
from flexgym.baselines.household.uncontrolled import all_charged_at_once
from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.action_map import balancing
from flexgym.envs.household.batch import shares_from_pv
from flexgym.envs.household.dynamics import (
    CAR_ETA_C,
    CAR_POWER,
    DEPARTURE,
    PV_KWP,
    TARGET_KWH,
    battery_range,
    best_pv,
    car_range,
    meter,
)
from flexgym.envs.household.params import DT_H, STEPS_PER_DAY, Floats, House, Series
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.envs.uncertainty import Uncertainty


@compiled
def _ranges(rows, soc_kwh, car_kw, now, out):
    for i in range(len(soc_kwh)):
        low, high = battery_range(rows[i], soc_kwh[i], now[0, i], car_kw[i], now[1, i])
        out[0, i], out[2, i] = low, high
        out[1, i] = balancing(low, high, now[0, i] + car_kw[i], now[1, i])


@compiled
def _car_ranges(rows, visit, t, soc_kwh, car_kwh, now, out):
    for i in range(len(soc_kwh)):
        low, high = car_range(rows[i], visit[:, i], t, soc_kwh[i], car_kwh[i], now[0, i], now[1, i])
        out[0, i], out[2, i] = low, high
        out[1, i] = balancing(low, high, now[0, i], now[1, i])


def power_ranges(simulation: HouseholdSimulation, car_kw: Floats | None = None) -> Floats:
    """Least, self-consuming and largest battery power beside the car's, shape (3, n), kW."""
    out = np.empty((3, simulation.n))
    car = np.zeros(simulation.n) if car_kw is None else car_kw
    _ranges(simulation.episodes.rows, simulation.soc_kwh, car, simulation.now, out)
    return out


def car_ranges(simulation: HouseholdSimulation) -> Floats:
    """Least, self-consuming and largest power of the car now, shape (3, n), kW."""
    out = np.zeros((3, simulation.n))
    if simulation.cars:
        _car_ranges(
            simulation.episodes.rows, simulation.visit, simulation.t, simulation.soc_kwh,
            simulation.car_kwh, simulation.now, out,
        )  # fmt: skip
    return out


@compiled
def _meters(rows, battery_kw, car_kw, now, out):
    for i in range(len(battery_kw)):
        load, pv = now[0, i], now[1, i]
        used = best_pv(rows[i], battery_kw[i], load, car_kw[i], pv, now[2, i], now[3, i])
        out[0, i] = used
        out[1, i] = meter(rows[i], battery_kw[i], car_kw[i], used, load)[0]


def cheapest_meter(
    simulation: HouseholdSimulation, battery_kw: Floats, car_kw: Floats
) -> tuple[Floats, Floats]:
    """Cheapest PV to use beside these powers and what the meter then shows, shape (n,), kW."""
    out = np.empty((2, simulation.n))
    _meters(simulation.episodes.rows, battery_kw, car_kw, simulation.now, out)
    return out[0], out[1]


def pv_shares(
    simulation: HouseholdSimulation, battery_kw: Floats, car_kw: Floats, pv_used_kw: Floats
) -> Floats:
    """PV powers as shares of what can be used beside these powers, shape (n,), in [0, 1]."""
    out = np.empty(simulation.n)
    rows, now = simulation.episodes.rows, simulation.now
    shares_from_pv(rows, battery_kw, car_kw, now, pv_used_kw, out)
    return out


def charged_at_once(simulation: HouseholdSimulation) -> Floats:
    """Power of cars that charge at full power until they have what they need, shape (n,), kW."""
    out = np.empty(simulation.n)
    missing = simulation.missing_kwh
    if simulation.cars:
        # A visit may ask for more than the car can hold.
        room = simulation.visit[TARGET_KWH] - simulation.car_kwh
        missing = np.minimum(missing, np.where(missing > 0.0, room, 0.0).clip(0.0))
    all_charged_at_once(simulation.episodes.rows, missing, out)
    return out


class Uncontrolled:
    """The battery idles and the car charges at full power on arrival: score 0."""

    name = "uncontrolled"
    settings: Mapping[str, str] = MappingProxyType({})

    def begin(self, simulation: HouseholdSimulation) -> None:
        """Nothing to prepare."""

    def act(self, simulation: HouseholdSimulation) -> Floats:
        """See `HouseholdPolicy`."""
        return simulation.action(np.zeros(simulation.n), car_kw=charged_at_once(simulation))


class SelfConsumption:
    """Keep the meter at zero with the battery; the car charges at full power on arrival."""

    name = "self-consumption"
    settings: Mapping[str, str] = MappingProxyType({})

    def begin(self, simulation: HouseholdSimulation) -> None:
        """Nothing to prepare."""

    def act(self, simulation: HouseholdSimulation) -> Floats:
        """See `HouseholdPolicy`."""
        car = charged_at_once(simulation)
        return simulation.action(power_ranges(simulation, car)[1], car_kw=car)


class PriceThreshold:
    """Charge at full power in the day's cheap hours, cover the load in its dear ones.

    Cheap and dear are quantiles of the day's import price as forecast. Between them only the
    solar surplus is stored. The car takes the surplus first, full power in as many of the
    cheapest quarter-hours until departure as it needs, and when time runs out.

    Args:
        cheap: Quantile up to which the battery charges, in [0, 1].
        dear: Quantile from which it discharges, in [cheap, 1].
    """

    name = "price-threshold"
    settings: Mapping[str, str] = MappingProxyType({})

    def __init__(self, cheap: float = 0.1, dear: float = 0.4) -> None:
        if not 0.0 <= cheap <= dear <= 1.0:
            raise ScenarioError(
                f"cheap is {cheap} and dear {dear}; expected quantiles 0 <= cheap <= dear <= 1."
            )
        self.cheap, self.dear = cheap, dear

    def begin(self, simulation: HouseholdSimulation) -> None:
        """Read the thresholds from the forecast."""
        price = simulation.episodes.forecast[:, 2]
        self._price = price
        self._low = np.quantile(price, self.cheap, axis=0)
        self._high = np.quantile(price, self.dear, axis=0)

    def act(self, simulation: HouseholdSimulation) -> Floats:
        """See `HouseholdPolicy`."""
        car = self._car(simulation)
        low, balance, most = power_ranges(simulation, car)
        price = simulation.now[2]
        power = np.where(price >= self._high, balance, np.maximum(balance, np.maximum(low, 0.0)))
        power = np.minimum(np.where(price <= self._low, most, power), most)
        return simulation.action(power, car_kw=car)

    def _car(self, simulation: HouseholdSimulation) -> Floats:
        car = np.zeros(simulation.n)
        missing = simulation.missing_kwh
        for i in np.flatnonzero(missing > 0.0):
            row, t = simulation.episodes.rows[i], simulation.t
            ahead = self._price[t : int(simulation.visit[DEPARTURE, i]), i]
            needed = missing[i] / (row[CAR_ETA_C] * row[CAR_POWER] * DT_H)
            cheaper = int((ahead < ahead[0]).sum())
            car[i] = np.inf if cheaper < needed or len(ahead) <= needed else 0.0
        surplus = np.maximum(car_ranges(simulation)[1], 0.0)
        return np.minimum(np.maximum(car, surplus), charged_at_once(simulation))


class ModelPredictive:
    """Plan on conditional-mean forecasts, re-solved exactly in every period.

    By merging slopes, or as a linear program while the car is here or still comes.
    """

    name = "mpc"
    settings: Mapping[str, str] = MappingProxyType({})

    def begin(self, simulation: HouseholdSimulation) -> None:
        """Tabulate how the Markov state spreads."""
        uncertainty = simulation.scenario.uncertainty
        self._weather = uncertainty.weather_factor
        self._price = uncertainty.price_factor
        self._load = float(np.dot(uncertainty.load_factors, uncertainty.load_probabilities))
        self._powers = expected_factors(uncertainty, STEPS_PER_DAY)
        self._programs: dict[int, HouseDayProgram] = {}

    def act(self, simulation: HouseholdSimulation) -> Floats:
        """See `HouseholdPolicy`."""
        power, car = self.powers(simulation)
        return simulation.action(power, car_kw=car)

    def powers(
        self, simulation: HouseholdSimulation, skip: Collection[int] = ()
    ) -> tuple[Floats, Floats]:
        """Planned powers of batteries and cars now, each shape (n,), kW; 0 in rows to skip."""
        episodes = simulation.episodes
        power, car = np.zeros(simulation.n), np.zeros(simulation.n)
        needed = ~np.isin(np.arange(simulation.n), list(skip))
        ahead = np.zeros(simulation.n, dtype=bool)
        if simulation.cars:
            ahead = simulation.visit[DEPARTURE] > simulation.t
            ahead &= np.isfinite(simulation.visit[DEPARTURE])
        for i in np.flatnonzero(ahead & needed):
            power[i], car[i] = self._with_car(simulation, int(i))
        chosen = np.flatnonzero(~ahead & needed)
        room = 64 * STEPS_PER_DAY
        while not certainty_equivalent(
            simulation.t, chosen, episodes.rows, simulation.soc_kwh, simulation.now,
            simulation.state, episodes.forecast, episodes.terminal_price, self._weather,
            self._price, self._load, self._powers, room, power,
        ):  # fmt: skip
            room *= 2
        return power, car

    def _with_car(self, simulation: HouseholdSimulation, i: int) -> tuple[float, float]:
        """Battery and car power of one house whose car is here or still comes, kW."""
        t, episodes = simulation.t, simulation.episodes
        house, day = simulation.house(i), int(episodes.day[i])
        series = episodes.exogenous[:, :, i].T.copy()
        series[:, t] = simulation.now[:, i]
        series[:, t + 1 :] = self._means(simulation, i)
        program = self._programs.get(i)
        if program is None:
            program = HouseDayProgram(house, STEPS_PER_DAY, earlier=True)
            self._programs[i] = program
        sessions = simulation.scenario.sessions_of(int(episodes.house[i]), day)
        program.load(
            Series(*series, sessions=sessions),
            terminal_eur_per_kwh=float(episodes.terminal_price[i]),
        )
        program.run(soc_kwh=float(simulation.soc_kwh[i]), car_kwh=simulation.car_kwh[i], start=t)
        plan = program.dispatch()
        return float(plan.battery_kw[t]), float(plan.car_kw[t])

    def _means(self, simulation: HouseholdSimulation, i: int) -> Floats:
        episodes = simulation.episodes
        series = np.empty((4, STEPS_PER_DAY - simulation.t - 1))
        conditional_means(
            simulation.t, simulation.state[i], episodes.forecast[:, :, i],
            episodes.rows[i, PV_KWP], self._weather, self._price, self._load, self._powers, series,
        )  # fmt: skip
        return series


class Optimal:
    """The exact optimum: greedy with respect to the (stochastic) cost-to-go.

    Args:
        progress: Called with the number of house-days solved and their total.
        cache: Where solutions are kept and looked up.
        workers: House-days to solve side by side, each on a core of its own.
    """

    name = "optimal"
    settings: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        progress: Callable[[int, int], object] | None = None,
        cache: SolutionCache | None = None,
        workers: int = 1,
    ) -> None:
        self.progress: Callable[[int, int], object] = progress or (lambda done, total: None)
        self._cache, self._workers = cache, workers

    def begin(self, simulation: HouseholdSimulation, adders: Floats | None = None) -> None:
        """Solve every distinct house-day.

        Args:
            simulation: The houses at the start of their days.
            adders: Added to the prices of the forecast, shape (T, n), EUR/kWh; cut where an
                outcome's cost would not be convex.
        """
        episodes, scenario = simulation.episodes, simulation.scenario
        pairs = np.stack([episodes.house, episodes.day])
        if adders is not None:
            pairs = np.concatenate([pairs, np.arange(simulation.n)[None]])
        pairs, member = np.unique(pairs, axis=1, return_inverse=True)
        self._member = member.ravel()
        self._rows = [np.flatnonzero(member == k) for k in range(pairs.shape[1])]

        def solve(pair: NDArray[np.int64]) -> CostToGo:
            house = scenario.houses[pair[0]]
            series, terminal = scenario.forecast_series(int(pair[0]), int(pair[1]))
            if adders is not None:
                series = _with_adders(series, adders[:, pair[2]], scenario.uncertainty, house)
            return cost_to_go(
                house,
                series,
                uncertainty=scenario.uncertainty,
                terminal_eur_per_kwh=terminal,
                cache=self._cache,
            )

        self.solved: list[CostToGo] = []
        with ThreadPoolExecutor(self._workers) as pool:
            for solved in pool.map(solve, pairs.T):
                self.solved.append(solved)
                self.progress(len(self.solved), len(self._rows))

    def plan(self, row: int) -> CostToGo:
        """Solution of the house-day that a row plays."""
        return self.solved[self._member[row]]

    @property
    def gap_eur(self) -> float:
        """Largest certified gap among the house-days solved, EUR."""
        return max(solved.gap_eur for solved in self.solved)

    @property
    def gap_percent(self) -> float:
        """Largest certified gap among them, percent of the day's value of flexibility."""
        shares = [s.gap_eur / max(s.flexibility_eur(), 1e-9) for s in self.solved if s.gap_eur]
        return 100.0 * max(shares, default=0.0)

    def act(self, simulation: HouseholdSimulation) -> Floats:
        """See `HouseholdPolicy`."""
        battery, car = self.powers(simulation)
        return simulation.action(battery, car_kw=car)

    def powers(self, simulation: HouseholdSimulation) -> tuple[Floats, Floats]:
        """Best powers of batteries and cars now, each shape (n,), kW."""
        power, car = np.empty(simulation.n), np.zeros(simulation.n)
        now = Moment(
            simulation.t, simulation.episodes.rows, simulation.soc_kwh, simulation.car_kwh,
            simulation.now, simulation.state,
        )  # fmt: skip
        for rows, solved in zip(self._rows, self.solved, strict=True):
            solved.tables.play(now, rows, power, car)
        return power, car


def _with_adders(series: Series, adders: Floats, uncertainty: Uncertainty, house: House) -> Series:
    """Prices raised as far as import costs at least export, and at most what shedding load does."""
    buy, sell = series.import_eur_per_kwh, series.export_eur_per_kwh
    factors = uncertainty.price_factor
    least, most = float(factors.min()), float(factors.max())
    top = house.unserved_eur_per_kwh / most - buy
    if least < 1.0:
        top = np.minimum(top, (buy * least - sell) / (1.0 - least))
    # A little less, for sums are rounded.
    added = np.clip(adders, np.minimum(-buy, 0.0), np.maximum(top - 1e-9, 0.0))
    return replace(series, import_eur_per_kwh=buy + added, export_eur_per_kwh=sell + added)


RULES = {policy.name: policy for policy in (Uncontrolled, SelfConsumption, PriceThreshold)}
"""Policies that need no solver."""
