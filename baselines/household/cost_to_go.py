"""The cost-to-go of a house: one function for known and for uncertain days."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from flexgym.baselines.household.bounds import Bounds
from flexgym.baselines.household.tables import ExactTree, Functions, KnownDay, Tables
from flexgym.envs.charts import ConvexPiecewiseLinear, FlexibilityChart
from flexgym.envs.charts.capability import capability
from flexgym.envs.charts.construction import house_chart
from flexgym.envs.errors import ConvexityError, HouseError, ScenarioError, StateError
from flexgym.envs.household.dynamics import (
    CAPACITY,
    PV_KWP,
    UNSERVED,
    check_soc,
    house_row,
)
from flexgym.envs.household.params import Floats, House, Series
from flexgym.envs.household.stage import is_convex
from flexgym.envs.uncertainty import Uncertainty, realised_pv

TOLERANCE_EUR = 1e-4


@dataclass(frozen=True)
class CostToGo:
    """Least expected cost from any period and state of charge to the end of the day.

    Attributes:
        house: The house.
        series: The day, or its forecast.
        uncertainty: The chains around the forecast, or None for a known day.
        terminal_eur_per_kwh: Pay for stored energy at the end, EUR/kWh.
        tables: Where the functions are kept.
        gap_eur: Certified distance between the upper bound that `value` reports and the
            exact value in period 0, EUR; 0 where the recursion is exact.
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
            car_kwh: Must be None: these houses have no car.
            state: Markov state of period t; None averages over the stationary distribution.

        Raises:
            StateError: The state of charge lies outside the battery's limits.
            ScenarioError: No such period or Markov state.
        """
        _no_car(car_kwh)
        if not 0 <= t <= len(self.series):
            raise ScenarioError(f"t is {t}; expected a period from 0 to {len(self.series)}.")
        soc = np.asarray(soc_kwh, dtype=np.float64)
        check_soc(soc, house_row(self.house)[CAPACITY])
        functions = self.tables.before(t)
        if state is None:
            weights = self._model.stationary
        else:
            weights = np.eye(self._model.n_states)[self._model.check_state(state)]
        total = np.zeros(soc.shape)
        for s in np.flatnonzero(weights):
            total = total + weights[s] * _interpolate(functions, int(s), soc)
        return float(total) if total.ndim == 0 else total

    def after(self, t: int, *, state: int | None = None) -> ConvexPiecewiseLinear:
        """Expected cost after period t against stored energy, given the state of period t."""
        if not 0 <= t < len(self.series):
            raise ScenarioError(f"t is {t}; expected a period from 0 to {len(self.series) - 1}.")
        value, slopes, lengths = self.tables.after(t)
        s = self._model.check_state(state)
        return ConvexPiecewiseLinear.from_slopes(0.0, value[s], slopes[s], lengths[s])

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
            car_kwh: Must be None: these houses have no car.
            state: Markov state observed now; needed where there is uncertainty.
            load_kw: Load measured, kW; default the forecast.
            pv_kw: PV measured, kW; default the forecast under the state's weather.

        Raises:
            StateError: The state of charge lies outside the battery's limits.
            ScenarioError: No such period or Markov state, or a negative measurement.
        """
        _no_car(car_kwh)
        row = house_row(self.house)
        check_soc(soc_kwh, row[CAPACITY])
        later = self.after(t, state=state)
        s = self._model.check_state(state)
        weather = self._model.weather_factor[s]
        expected = realised_pv(weather, self.series.pv_kw[t], row[PV_KWP])
        load = float(self.series.load_kw[t] if load_kw is None else load_kw)
        pv = float(expected if pv_kw is None else pv_kw)
        for name, measured in (("load_kw", load), ("pv_kw", pv)):
            if not (math.isfinite(measured) and measured >= 0):
                raise ScenarioError(f"{name} is {measured}; expected a measurement >= 0 kW.")
        buy = self.series.import_eur_per_kwh[t] * self._model.price_factor[s]
        sell = self.series.export_eur_per_kwh[t]
        limits = capability(self.house)
        return house_chart(row, float(soc_kwh), load, pv, buy, sell, later, limits)


def cost_to_go(
    house: House,
    series: Series,
    *,
    uncertainty: Uncertainty | str | None = None,
    terminal_eur_per_kwh: float = 0.0,
    tolerance_eur: float = TOLERANCE_EUR,
) -> CostToGo:
    """Solve a house's day by exact dynamic programming.

    Args:
        house: The house.
        series: The day, or its forecast.
        uncertainty: Chains around the forecast, or their name (``"markov"``); None for a known
            day, which is solved exactly.
        terminal_eur_per_kwh: Pay for stored energy at the end, EUR/kWh.
        tolerance_eur: Certified gap to reach with uncertainty, EUR; 0 keeps every segment,
            which is exact and possible on small trees only.

    Raises:
        ConvexityError: Prices make losses profitable, so that slopes cannot be merged.
        SolverError: The tolerance cannot be reached.
        HouseError: The pay for stored energy is not finite.
        ScenarioError: Unknown uncertainty, or a negative tolerance.
    """
    if not math.isfinite(terminal_eur_per_kwh):
        raise HouseError(f"terminal_eur_per_kwh is {terminal_eur_per_kwh}; expected a number.")
    if terminal_eur_per_kwh < 0:
        raise ConvexityError(
            f"terminal_eur_per_kwh is {terminal_eur_per_kwh}; expected a number >= 0. A negative "
            "one makes losses pay; perfect_foresight solves known days with it."
        )
    if not (math.isfinite(tolerance_eur) and tolerance_eur >= 0):
        raise ScenarioError(f"tolerance_eur is {tolerance_eur}; expected a number >= 0.")
    row = house_row(house)
    rows = np.stack(
        [series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh]
    )
    if uncertainty is not None:
        uncertainty = Uncertainty.named(uncertainty)
    model = uncertainty or Uncertainty.named("none")
    _check_convex(row, rows, model)
    if model.n_states == 1 and len(model.load_factors) == 1:
        # One future only: the day scaled by its factors, known in advance.
        rows[0] *= model.load_factors[0]
        rows[1] = _pv_under(model.weather_factor[0], row, rows[1])
        rows[2] *= model.price_factor[0]
        tables: Tables = KnownDay.solve(row, rows, terminal_eur_per_kwh)
    elif tolerance_eur == 0.0 or row[CAPACITY] == 0.0:
        tables = ExactTree.solve(row, rows, terminal_eur_per_kwh, model)
    else:
        tables = Bounds.solve(row, rows, terminal_eur_per_kwh, model, tolerance_eur)
    return CostToGo(house, series, uncertainty, float(terminal_eur_per_kwh), tables)


def _check_convex(row: Floats, rows: Floats, model: Uncertainty) -> None:
    """Raise `ConvexityError` where some outcome's cost is not convex in stored energy."""
    load, pv, buy, sell = rows
    for s in range(model.n_states):
        paid = buy * model.price_factor[s]
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


def _interpolate(functions: Functions, state: int, soc: Floats) -> Floats:
    value, slopes, lengths = (f[state] for f in functions)
    x = np.concatenate([[0.0], np.cumsum(lengths)])
    y = value + np.concatenate([[0.0], np.cumsum(slopes * lengths)])
    return np.interp(soc, x, y)


def _no_car(car_kwh: float | None) -> None:
    if car_kwh is not None:
        raise StateError(f"car_kwh is {car_kwh}; this house has no car. Pass car_kwh=None.")
