"""The cost-to-go of a house: one function for known and for uncertain days."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from flexgym.baselines.household.appliance_program import refuse_appliances
from flexgym.baselines.household.bounds import Bounds
from flexgym.baselines.household.priced_day import PricedDay
from flexgym.baselines.household.program_day import ProgramDay
from flexgym.baselines.household.solution_cache import SolutionCache
from flexgym.baselines.household.tables import ExactTree, KnownDay, Tables
from flexgym.baselines.household.two_store_bounds import TwoStoreBounds
from flexgym.baselines.household.two_store_problem import Problem
from flexgym.baselines.household.uncontrolled import uncontrolled_cost
from flexgym.envs.charts import ConvexPiecewiseLinear, FlexibilityChart
from flexgym.envs.charts.capability import Capability, capability, kink_powers
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.construction import house_chart
from flexgym.envs.charts.set_points import SetPoints, active_set_points, disaggregate
from flexgym.envs.errors import ConvexityError, HouseError, ScenarioError, StateError
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    CAPACITY,
    CAR_DISCHARGE,
    CAR_MISSED,
    PV_KWP,
    RETENTION,
    UNSERVED,
    check_soc,
    house_row,
    plugged,
    visits,
)
from flexgym.envs.household.params import Floats, House, Series
from flexgym.envs.household.stage import is_convex
from flexgym.envs.uncertainty import Uncertainty, realised_pv

TOLERANCE_EUR = 1e-4
"""Certified gap of one store, EUR a house-day."""
TOLERANCE_SHARE = 0.005
"""Certified gap of two stores, as a share of the value of flexibility."""


class _Now(NamedTuple):
    """What the construction of a chart reads of a period."""

    soc_kwh: float
    load_kw: float
    pv_kw: float
    buy: float
    sell: float
    ahead: CarLevels
    limits: Capability


@dataclass(frozen=True)
class CostToGo:
    """Least expected cost from any period and stored energy to the end of the day.

    The same for houses with and without a car. Where the car is plugged in, the energy in it
    is part of the state; elsewhere ``car_kwh`` is None.

    Attributes:
        house: The house.
        series: The day, or its forecast.
        uncertainty: The chains around the forecast, or None for a known day.
        terminal_eur_per_kwh: Pay for stored energy at the end, EUR/kWh.
        tables: Where the functions are kept.
        gap_eur: Certified distance between the upper bound that `value` reports and the
            exact value in period 0, EUR; 0 where the solution is exact.
    """

    house: House
    series: Series
    uncertainty: Uncertainty | None
    terminal_eur_per_kwh: float
    tables: Tables

    @property
    def gap_eur(self) -> float:
        """See the class."""
        return self.tables.gap_eur

    @property
    def _model(self) -> Uncertainty:
        return self.uncertainty or Uncertainty.named("none")

    def value(
        self,
        t: int,
        soc_kwh: float | Floats,
        car_kwh: float | None = None,
        *,
        state: int | None = None,
    ) -> float | Floats:
        """Expected cost from period t on before its load is measured, EUR.

        Args:
            t: Period, 0 to T.
            soc_kwh: State of charge, kWh; any shape.
            car_kwh: Energy in the car, kWh; None where it is away or just arrives.
            state: Markov state of period t; None averages over the stationary distribution.

        Raises:
            StateError: An energy lies outside its limits, or the car's is missing.
            ScenarioError: No such period or Markov state.
        """
        if not 0 <= t <= len(self.series):
            raise ScenarioError(f"t is {t}; expected a period from 0 to {len(self.series)}.")
        soc = np.asarray(soc_kwh, dtype=np.float64)
        check_soc(soc, house_row(self.house)[CAPACITY])
        if state is None:
            weights = self._model.stationary
        else:
            weights = np.eye(self._model.n_states)[self._model.check_state(state)]
        total = self.tables.value(t, soc, self._car_energy(t, car_kwh), weights)
        return float(total) if total.ndim == 0 else total

    def after(
        self, t: int, *, state: int | None = None, car_kwh: float | None = None
    ) -> ConvexPiecewiseLinear:
        """Expected cost after period t against the battery's energy, given the state of t.

        Where the car is plugged in in period t, ``car_kwh`` is its energy at the end of it;
        what it then misses on leaving is part of the cost.
        """
        self._check_period(t)
        return self.tables.after(t, self._model.check_state(state), self._car_energy(t, car_kwh))

    def _check_period(self, t: int) -> None:
        if not 0 <= t < len(self.series):
            raise ScenarioError(f"t is {t}; expected a period from 0 to {len(self.series) - 1}.")

    @cached_property
    def _visits(self) -> Floats:
        return visits(self.house.car, self.series.sessions, len(self.series))

    @cached_property
    def _row(self) -> Floats:
        return house_row(self.house)

    def _car_energy(self, t: int, car_kwh: float | None) -> float:
        """Energy in the car as the tables read it, kWh."""
        if not (t < len(self.series) and plugged(self._visits[t], t)):
            if car_kwh is not None:
                raise StateError(
                    f"car_kwh is {car_kwh} in period {t}, in which no car is plugged in; expected "
                    "None."
                )
            return 0.0
        if car_kwh is not None:
            return float(car_kwh)
        if self._visits[t, ARRIVAL] < t:
            raise StateError(
                f"car_kwh is None in period {t}, in which the car is plugged in; expected the "
                "energy stored in it, kWh."
            )
        return float(self._visits[t, ARRIVAL_KWH])

    @property
    def uncontrolled_eur(self) -> float:
        """Expected cost of the day with an empty battery idle and the car charged at once."""
        model = self._model
        return uncontrolled_cost(self._row, _rows(self.series), self._visits, model)

    def flexibility_eur(self, soc_kwh: float | None = None) -> float:
        """Value of flexibility: what the optimum saves over uncontrolled devices, EUR.

        Measured against `value`, so at most ``gap_eur`` too small.

        Args:
            soc_kwh: State of charge at the start, kWh; None is the mean over all.
        """
        soc = np.linspace(0.0, self._row[CAPACITY], 257) if soc_kwh is None else soc_kwh
        left = np.asarray(soc) * self._row[RETENTION] ** len(self.series)
        saved = self.uncontrolled_eur - self.terminal_eur_per_kwh * left - self.value(0, soc)
        return float(np.mean(saved))

    def chart(
        self,
        t: int,
        soc_kwh: float,
        car_kwh: float | None = None,
        *,
        state: int | None = None,
        load_kw: float | None = None,
        pv_kw: float | None = None,
    ) -> FlexibilityChart:
        """Cost of every feasible active and reactive power in period t, future included.

        Args:
            t: Period, 0 to T - 1.
            soc_kwh: State of charge, kWh.
            car_kwh: Energy in the car, kWh; None where it is away or just arrives.
            state: Markov state observed now; needed where there is uncertainty.
            load_kw: Load measured, kW; default the forecast.
            pv_kw: PV measured, kW; default the forecast under the state's weather.

        Raises:
            StateError: An energy lies outside its limits, or the car's is missing.
            ScenarioError: No such period or Markov state, or a negative measurement.
        """
        now = self._now(t, soc_kwh, car_kwh, state, load_kw, pv_kw)
        return house_chart(
            self._row, now.soc_kwh, now.load_kw, now.pv_kw, now.buy, now.sell, now.ahead, now.limits
        )

    def disaggregate(
        self,
        t: int,
        soc_kwh: float,
        car_kwh: float | None = None,
        *,
        power_kw: float,
        reactive_kvar: float | None = None,
        state: int | None = None,
        load_kw: float | None = None,
        pv_kw: float | None = None,
    ) -> SetPoints:
        """Cheapest powers of the devices that make a point of the chart of period t.

        Args:
            t: Period, 0 to T - 1.
            soc_kwh: State of charge, kWh.
            car_kwh: Energy in the car, kWh; None where it is away or just arrives.
            power_kw: Active power wanted at the meter, kW.
            reactive_kvar: Reactive power wanted, kvar; None is the cheapest.
            state: Markov state observed now; needed where there is uncertainty.
            load_kw: Load measured, kW; default the forecast.
            pv_kw: PV measured, kW; default the forecast under the state's weather.

        Raises:
            ChartError: The chart does not contain the point.
            StateError: An energy lies outside its limits, or the car's is missing.
            ScenarioError: No such period or Markov state, or a negative measurement.
        """
        now = self._now(t, soc_kwh, car_kwh, state, load_kw, pv_kw)
        known = self._row, now.soc_kwh, now.load_kw, now.pv_kw, now.ahead, now.limits, power_kw
        if reactive_kvar is None:
            return active_set_points(*known)
        return disaggregate(*known, reactive_kvar)

    def _now(
        self,
        t: int,
        soc_kwh: float,
        car_kwh: float | None,
        state: int | None,
        load_kw: float | None,
        pv_kw: float | None,
    ) -> _Now:
        """Measurements of period t, and what lies ahead."""
        self._check_period(t)
        check_soc(soc_kwh, self._row[CAPACITY])
        stored = self._car_energy(t, car_kwh)
        s = self._model.check_state(state)
        weather = self._model.weather_factor[s]
        expected = realised_pv(weather, self.series.pv_kw[t], self._row[PV_KWP])
        load = float(self.series.load_kw[t] if load_kw is None else load_kw)
        pv = float(expected if pv_kw is None else pv_kw)
        for name, measured in (("load_kw", load), ("pv_kw", pv)):
            if not (math.isfinite(measured) and measured >= 0):
                raise ScenarioError(f"{name} is {measured}; expected a measurement >= 0 kW.")
        buy = float(self.series.import_eur_per_kwh[t] * self._model.price_factor[s])
        sell = float(self.series.export_eur_per_kwh[t])
        limits = capability(self.house)
        ahead = self.tables.ahead(t, s, float(soc_kwh), stored, kink_powers(limits, pv))
        return _Now(float(soc_kwh), load, pv, buy, sell, ahead, limits)


def cost_to_go(
    house: House,
    series: Series,
    *,
    uncertainty: Uncertainty | str | None = None,
    terminal_eur_per_kwh: float = 0.0,
    tolerance_eur: float | None = None,
    cache: SolutionCache | None = None,
) -> CostToGo:
    """Solve a house's day: exactly where it is known, else to a certified gap.

    Not with appliances: the choice between two schedules is not convex in stored energy.

    Without a car, or where it stays away, slopes are merged. With battery and car a known day
    is solved by prices of the car's energy, or as a linear program where it can discharge or
    the battery loses energy, and an uncertain one is enclosed by two bounds.

    Args:
        house: The house.
        series: The day, or its forecast.
        uncertainty: Chains around the forecast, or their name (``"markov"``); None for a known
            day, which is solved exactly.
        terminal_eur_per_kwh: Pay for stored energy at the end, EUR/kWh.
        tolerance_eur: Certified gap to reach with uncertainty, EUR; None is 1e-4 for one
            store and 0.5 % of the value of flexibility for two. 0 keeps every segment, which
            is exact and possible for one store on small trees only.
        cache: Where solutions for two stores are kept and looked up.

    Raises:
        ConvexityError: Prices make losses profitable, so that slopes cannot be merged.
        SolverError: The tolerance cannot be reached.
        HouseError: The pay for stored energy is not finite, or the house has appliances.
        SeriesError: The sessions do not fit the car.
        ScenarioError: Unknown uncertainty, or a negative tolerance.
    """
    refuse_appliances(house)
    if not math.isfinite(terminal_eur_per_kwh):
        raise HouseError(f"terminal_eur_per_kwh is {terminal_eur_per_kwh}; expected a number.")
    if terminal_eur_per_kwh < 0:
        raise ConvexityError(
            f"terminal_eur_per_kwh is {terminal_eur_per_kwh}; expected a number >= 0. A negative "
            "one makes losses pay; perfect_foresight solves known days with it."
        )
    if tolerance_eur is not None and not (math.isfinite(tolerance_eur) and tolerance_eur >= 0):
        raise ScenarioError(f"tolerance_eur is {tolerance_eur}; expected a number >= 0.")
    row = house_row(house)
    rows = _rows(series)
    visit = visits(house.car, series.sessions, len(series))
    if uncertainty is not None:
        uncertainty = Uncertainty.named(uncertainty)
    model = uncertainty or Uncertainty.named("none")
    _check_convex(row, rows, model, bool(series.sessions))
    tables: Tables
    if model.n_states == 1 and len(model.load_factors) == 1:
        # One future only: the day scaled by its factors, known in advance.
        rows[0] *= model.load_factors[0]
        rows[1] = _pv_under(model.weather_factor[0], row, rows[1])
        rows[2] *= model.price_factor[0]
        day = Series(*rows, sessions=series.sessions)
        tables = _known_day(house, row, day, float(terminal_eur_per_kwh), 0)
    elif series.sessions:
        if tolerance_eur == 0.0:
            raise ScenarioError(
                "tolerance_eur is 0 for a house with battery and car; expected a number > 0, or "
                "None for 0.5 % of the value of flexibility."
            )
        problem = Problem(row, rows, visit, float(terminal_eur_per_kwh), model)
        tables = _two_stores(problem, tolerance_eur, cache)
    elif tolerance_eur == 0.0 or row[CAPACITY] == 0.0:
        tables = ExactTree.solve(row, rows, terminal_eur_per_kwh, model)
    else:
        tolerance = TOLERANCE_EUR if tolerance_eur is None else tolerance_eur
        tables = Bounds.solve(row, rows, terminal_eur_per_kwh, model, tolerance)
    return CostToGo(house, series, uncertainty, float(terminal_eur_per_kwh), tables)


def known_day(
    house: House, series: Series, terminal_eur_per_kwh: float = 0.0, start: int = 0
) -> Tables:
    """The exact tables of a known day, for plans that are often made anew.

    Args:
        house: The house.
        series: The day.
        terminal_eur_per_kwh: Pay for stored energy at the end, EUR/kWh, >= 0.
        start: First period that will be asked for; what lies before it does not matter.

    Raises:
        ConvexityError: Prices make losses profitable, so that slopes cannot be merged.
        ScenarioError: There is no such period.
        HouseError: The pay for stored energy is no number >= 0, or the house has appliances.
    """
    refuse_appliances(house)
    if not 0 <= start < len(series):
        raise ScenarioError(f"start is {start}; expected a period from 0 to {len(series) - 1}.")
    if not (math.isfinite(terminal_eur_per_kwh) and terminal_eur_per_kwh >= 0.0):
        raise HouseError(f"terminal_eur_per_kwh is {terminal_eur_per_kwh}; expected >= 0.")
    row, rows = house_row(house), _rows(series)[:, start:]
    _check_convex(row, rows, Uncertainty.named("none"), bool(series.sessions))
    return _known_day(house, row, series, terminal_eur_per_kwh, start)


def _known_day(house: House, row: Floats, series: Series, terminal: float, start: int) -> Tables:
    if not series.sessions:
        return KnownDay.solve(row, _rows(series), terminal)
    if PricedDay.solves(row):
        return PricedDay(house, series, terminal, start)
    return ProgramDay(house, series, terminal)


def _two_stores(
    problem: Problem, tolerance_eur: float | None, cache: SolutionCache | None
) -> TwoStoreBounds:
    """Solve, or take from the cache."""

    def solve() -> TwoStoreBounds:
        uncontrolled = uncontrolled_cost(
            problem.house, problem.series, problem.visits, problem.uncertainty
        )
        return TwoStoreBounds.solve(problem, tolerance_eur, TOLERANCE_SHARE, uncontrolled)

    if cache is None:
        return solve()
    return cache.get(problem, (tolerance_eur, TOLERANCE_SHARE), solve)


def _rows(series: Series) -> Floats:
    """Load, PV, import and export price, shape (4, T)."""
    return np.stack(
        [series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh]
    )


def _check_convex(row: Floats, rows: Floats, model: Uncertainty, has_car: bool) -> None:
    """Raise `ConvexityError` where some outcome's cost is not convex in stored energy."""
    gives = row[CAR_DISCHARGE] > 0.0
    if has_car and row[CAR_MISSED] > row[UNSERVED]:
        raise ConvexityError(
            f"energy the car lacks costs {row[CAR_MISSED]:g} EUR/kWh and unserved load "
            f"{row[UNSERVED]:g}; expected unserved load to cost at least as much. Raise "
            "unserved_eur_per_kwh or lower missed_eur_per_kwh."
        )
    load, pv, buy, sell = rows
    for s in range(model.n_states):
        paid = buy * model.price_factor[s]
        if has_car and gives and (paid < 0.0).any():
            t = int(np.argmax(paid < 0.0))
            raise ConvexityError(
                f"in period {t} the import price is {paid[t]:.4f} EUR/kWh and the car can "
                "discharge, so that its losses would pay; expected an import price >= 0. "
                "perfect_foresight solves known days with negative import prices exactly."
            )
        if (paid < sell).any():
            t = int(np.argmax(paid < sell))
            raise ConvexityError(
                f"in period {t} the import price times its factor, {paid[t]:.4f} EUR/kWh, is "
                f"below the export price {sell[t]:.4f}; expected import >= export in every "
                "state. Lower the export price or narrow the price factors."
            )
        got = _pv_under(model.weather_factor[s], row, pv)
        for factor in model.load_factors:
            t = is_convex(row, load * factor, got, paid, sell)
            if t >= 0:
                raise ConvexityError(
                    f"in period {t} the import price is {paid[t]:.4f} EUR/kWh and unserved load "
                    f"costs {row[UNSERVED]:g}: the cost is not convex in stored energy, as "
                    "losses would pay. Expected 0 <= import price <= price of unserved load. "
                    "perfect_foresight solves known days with negative import prices exactly."
                )


def _pv_under(factor: float, row: Floats, pv_kw: Floats) -> Floats:
    return np.minimum(factor * pv_kw, np.maximum(row[PV_KWP], pv_kw))
