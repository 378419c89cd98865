"""The house-day as one linear program, written independently of the recursion.

Charge and discharge, import and export are separate variables here; the solver is HiGHS.
Where losses would earn money (negative import prices) a binary variable a period keeps
charge and discharge apart, so that the result stays exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from flexgym.envs.errors import ConvexityError, HouseError, SolverError, StateError
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    DEPARTURE,
    INVERTER,
    NEEDED_KWH,
    POWER,
    TARGET_KWH,
    check_soc,
    house_row,
    visits,
)
from flexgym.envs.household.params import DT_H, Battery, Car, Floats, House, Series

Ints = NDArray[np.int64]
IMPORT, EXPORT, CHARGE, DISCHARGE, PV, UNSERVED, TAKE, GIVE, MISSED = range(9)
"""Blocks of T columns each, the last three for a house with a car only; then T + 1 states of
charge, T + 1 energies of the car, and T binaries a store if exclusive."""
_NO_BATTERY = Battery(capacity_kwh=0.0, power_kw=0.0, wear_eur_per_kwh=0.0)
_OPTIONS = (
    ("output_flag", False),
    ("threads", 1),
    ("primal_feasibility_tolerance", 1e-10),
    ("dual_feasibility_tolerance", 1e-10),
    ("mip_rel_gap", 0.0),
    ("mip_abs_gap", 1e-10),
    ("mip_feasibility_tolerance", 1e-10),
)
EARLIER = 1e-7
"""Reward for a kWh stored one period longer, EUR/kWh, where ties go to the earlier plan."""


@dataclass(frozen=True)
class PerfectForesight:
    """Optimal dispatch of a known day.

    Attributes:
        cost_eur: Bill + wear + unserved load + missed energy of the car - terminal price *
            final state of charge, EUR.
        battery_kw: Battery power, shape (T,), kW, charging positive.
        car_kw: Power of the car, shape (T,), kW, charging positive.
        pv_used_kw: PV power used, shape (T,), kW.
        meter_kw: Power at the meter, shape (T,), kW, import positive.
        unserved_kw: Load left unserved, shape (T,), kW.
        soc_kwh: State of charge, shape (T + 1,), kWh.
        car_kwh: Energy in the car at the end of each period, shape (T,), kWh; 0 while away.
        missed_kwh: Energy lacking at a departure at the end of the period, shape (T,), kWh.
        runs: Whether each appliance runs, shape (k, T); (0, 0) where none was planned.
    """

    cost_eur: float
    battery_kw: Floats
    car_kw: Floats
    pv_used_kw: Floats
    meter_kw: Floats
    unserved_kw: Floats
    soc_kwh: Floats
    car_kwh: Floats
    missed_kwh: Floats
    runs: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))


class HouseDayProgram:
    """A persistent HiGHS model of one house that is re-solved for state after state.

    `solve` answers one question; `load` and `run` many about one day, hot-started. The
    house's appliances are no part of it: see `ApplianceProgram`.

    Args:
        house: The house.
        periods: Number of periods T.
        exclusive: Forbid charging and discharging at once by binary variables.
        earlier: Let ties go to the plan that stores earlier: forecasts may prove wrong.
    """

    def __init__(
        self, house: House, periods: int, *, exclusive: bool = False, earlier: bool = False
    ) -> None:
        self.house = house
        self.periods = T = periods
        self.exclusive, self._earlier = exclusive, earlier
        self._battery, self._car = house.battery or _NO_BATTERY, house.car
        self._blocks = 6 if self._car is None else 9
        self._soc = self._blocks * T
        self._stored = self._soc + T + 1
        self._columns = self._stored + (0 if self._car is None else T + 1)
        self._row = house_row(house)
        self._start = 0
        most = 0.0 if self._car is None else self._car.capacity_kwh
        self._car_low, self._car_high = np.zeros(T + 1), np.full(T + 1, most)
        self._highs = highspy.Highs()
        for option, setting in _OPTIONS:
            self._highs.setOptionValue(option, setting)
        self._highs.passModel(self._model())

    def _model(self) -> highspy.HighsLp:
        """The program before a day is loaded.

        Rows: load balance, inverter, store; with a car its store, its energy at the end of
        each period, and what it lacks; then what keeps directions apart.
        """
        T, house, battery, car = self.periods, self.house, self._battery, self._car
        block, one = np.arange(T), np.ones(T)
        power, shared = self._row[POWER], self._row[INVERTER]

        def at(kind: int) -> Ints:
            return kind * T + block

        entries: list[tuple[Ints, Ints, Floats]] = []
        rows: list[tuple[float, float]] = []

        def add(terms: Sequence[tuple[Ints, float]], low: float, high: float) -> None:
            entries.extend((len(rows) * T + block, column, value * one) for column, value in terms)
            rows.append((low, high))

        soc = self._soc + block
        add(
            [(at(IMPORT), 1), (at(EXPORT), -1), (at(CHARGE), -1), (at(DISCHARGE), 1)]
            + [(at(PV), 1), (at(UNSERVED), 1)]
            + ([] if car is None else [(at(TAKE), -1), (at(GIVE), 1)]),
            0.0,
            0.0,
        )
        add([(at(CHARGE), 1), (at(DISCHARGE), -1), (at(PV), -1)], -shared, shared)
        into, out = battery.efficiency_charge * DT_H, DT_H / battery.efficiency_discharge
        add(
            [(soc + 1, 1), (soc, -battery.retention), (at(CHARGE), -into), (at(DISCHARGE), out)],
            0.0,
            0.0,
        )
        bounds = [house.import_limit_kw, house.export_limit_kw, power, power, 0.0, 0.0]
        pairs = [(CHARGE, DISCHARGE, power)]
        if car is not None:
            stored = self._stored + block
            into, out = car.efficiency_charge * DT_H, DT_H / car.efficiency_discharge
            moved = [(at(TAKE), -into), (at(GIVE), out)]
            end = [(stored, 1.0), (at(TAKE), into), (at(GIVE), -out)]
            add([(stored + 1, 1.0), (stored, -1.0), *moved], -np.inf, np.inf)
            add(end, -np.inf, np.inf)
            add([*end, (at(MISSED), 1.0)], -np.inf, np.inf)
            bounds += [0.0, 0.0, np.inf]
            pairs.append((TAKE, GIVE, max(car.power_kw, car.discharge_kw)))
        upper = np.repeat(bounds, T)
        upper = np.concatenate([upper, np.full(T + 1, battery.capacity_kwh)])
        if car is not None:
            upper = np.concatenate([upper, np.full(T + 1, car.capacity_kwh)])
        columns = self._columns
        if self.exclusive:
            # charge <= power * z, discharge <= power * (1 - z)
            for first, second, most in pairs:
                add([(at(first), 1), (columns + block, -most)], -np.inf, 0.0)
                add([(at(second), 1), (columns + block, most)], -np.inf, most)
                columns += T
            upper = np.concatenate([upper, np.ones(columns - self._columns)])
        row = np.concatenate([e[0] for e in entries]).astype(np.int32)
        column = np.concatenate([e[1] for e in entries]).astype(np.int32)
        value = np.concatenate([e[2] for e in entries])
        order = np.lexsort((column, row))
        self._row_low, self._row_high = (np.repeat(side, T) for side in zip(*rows, strict=True))
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = columns, len(rows) * T
        lp.col_cost_ = np.zeros(columns)
        lp.col_lower_, lp.col_upper_ = np.zeros(columns), upper
        lp.row_lower_, lp.row_upper_ = self._row_low, self._row_high
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.searchsorted(row[order], np.arange(lp.num_row_ + 1)).astype(
            np.int32
        )
        lp.a_matrix_.index_ = column[order]
        lp.a_matrix_.value_ = value[order]
        if self.exclusive:
            kind = [highspy.HighsVarType.kContinuous] * self._columns
            lp.integrality_ = kind + [highspy.HighsVarType.kInteger] * (columns - self._columns)
        return lp

    @property
    def solver_s(self) -> float:
        """Seconds spent inside HiGHS so far, by its own clock: without updating the model."""
        return self._highs.getRunTime()

    def load(self, series: Series, *, terminal_eur_per_kwh: float = 0.0) -> None:
        """Take up a day; the model keeps its basis from the one before.

        Args:
            series: What happens, T periods.
            terminal_eur_per_kwh: Pay for energy in the battery at the end, EUR/kWh.

        Raises:
            ConvexityError: The import price exceeds the price of unserved load.
            SeriesError: The sessions do not fit the car.
        """
        T, car = self.periods, self._car
        if not np.isfinite(terminal_eur_per_kwh):
            # HiGHS would search for ever.
            raise HouseError(f"terminal_eur_per_kwh is {terminal_eur_per_kwh}; expected a number.")
        self._visits = visits(car, series.sessions, T)
        unserved = self.most_unserved_kw(series.load_kw)
        shed = self.house.unserved_eur_per_kwh
        if ((series.import_eur_per_kwh > shed) & (unserved > 0.0)).any():
            # The program would leave load unserved to save money; the house never does.
            raise ConvexityError(
                f"the import price reaches {series.import_eur_per_kwh.max():.4f} EUR/kWh and "
                f"unserved load costs {shed:g}; expected unserved load to cost at least the "
                "import price. Raise unserved_eur_per_kwh."
            )
        cost = np.zeros((self._blocks, T))
        cost[IMPORT], cost[EXPORT] = series.import_eur_per_kwh, -series.export_eur_per_kwh
        cost[[CHARGE, DISCHARGE]] = self._battery.wear_eur_per_kwh
        cost[UNSERVED] = shed
        cost *= DT_H
        lower, upper = np.zeros((2, T)), np.stack([series.pv_kw, unserved])
        if car is not None:
            cost[GIVE] = car.wear_eur_per_kwh * DT_H
            cost[MISSED] = car.missed_eur_per_kwh
            here = self._plugged
            ratings = np.outer([car.power_kw, car.discharge_kw], here)
            lower, upper = np.zeros((4, T)), np.concatenate([upper, ratings])
        self._cost = np.zeros(self._columns)
        self._cost[: self._soc] = cost.ravel()
        self._cost[self._soc + T] = -terminal_eur_per_kwh
        if self._earlier:
            self._cost[self._soc : self._columns] -= EARLIER
        self._release(self._start)
        index = np.arange(self._columns, dtype=np.int32)
        self._highs.changeColsCost(len(index), index, self._cost)
        changed = np.arange(PV * T, PV * T + upper.size, dtype=np.int32)
        if car is not None:
            # PV and unserved load, then taking and giving: neighbours, and missed is free.
            changed = np.concatenate([np.arange(PV * T, (GIVE + 1) * T)]).astype(np.int32)
        self._highs.changeColsBounds(len(changed), changed, lower.ravel(), upper.ravel())
        self._row_low[:T] = self._row_high[:T] = series.load_kw
        if car is not None:
            self._bound_car_rows(car)
        index = np.arange(len(self._row_low), dtype=np.int32)
        self._change_rows(index, self._row_low, self._row_high)
        self._start = 0

    def most_unserved_kw(self, load_kw: Floats) -> Floats:
        """More than this the house can never be forced to leave unserved, kW."""
        drawn = self._battery.power_kw + (0.0 if self._car is None else self._car.power_kw)
        most = np.maximum(load_kw + drawn - self.house.import_limit_kw, 0.0)
        return np.minimum(load_kw, most)

    @property
    def _plugged(self) -> NDArray[np.bool_]:
        period = np.arange(self.periods)
        return (self._visits[:, ARRIVAL] <= period) & (period < self._visits[:, DEPARTURE])

    def _bound_car_rows(self, car: Car) -> None:
        """Its store links periods of one visit; the energy at an end has limits."""
        T, here = self.periods, self._plugged
        leaves = here & (self._visits[:, DEPARTURE] == np.arange(T) + 1)
        link, end, lack = (slice(k * T, (k + 1) * T) for k in (3, 4, 5))
        self._row_low[link] = np.where(here & ~leaves, 0.0, -np.inf)
        self._row_high[link] = np.where(here & ~leaves, 0.0, np.inf)
        self._row_low[end] = np.where(here, 0.0, -np.inf)
        self._row_high[end] = np.where(here, self._visits[:, TARGET_KWH], np.inf)
        self._row_low[lack] = np.where(leaves, self._visits[:, NEEDED_KWH], -np.inf)
        # Cars that come while the day is played bring what they have.
        comes = np.flatnonzero(here & (self._visits[:, ARRIVAL] == np.arange(T)))
        low, high = np.zeros(T + 1), np.full(T + 1, car.capacity_kwh)
        low[comes] = high[comes] = self._visits[comes, ARRIVAL_KWH]
        self._car_low, self._car_high = low, high
        column = self._stored + np.arange(T + 1, dtype=np.int32)
        self._highs.changeColsBounds(T + 1, column, low, high)

    def _change_rows(self, index: NDArray[np.int32], low: Floats, high: Floats) -> None:
        # The method exists, highspy's stubs just lack it.
        change = self._highs.changeRowsBounds  # pyright: ignore[reportAttributeAccessIssue]
        change(len(index), index, low, high)

    def _release(self, start: int) -> None:
        """Give the states at ``start``, which `run` fixed, back their own limits."""
        self._highs.changeColBounds(self._soc + start, 0.0, self._battery.capacity_kwh)
        if self._car is not None:
            low, high = self._car_low[start], self._car_high[start]
            self._highs.changeColBounds(self._stored + start, low, high)

    def _begin(self, start: int) -> None:
        """Free and un-price the periods before ``start``, or bring them back."""
        if start == self._start:
            return
        first, last = sorted((start, self._start))
        moved = np.arange(first, last)
        groups = len(self._row_low) // self.periods
        rows = (np.arange(groups)[:, None] * self.periods + moved).ravel().astype(np.int32)
        columns = (np.arange(self._blocks)[:, None] * self.periods + moved).ravel()
        columns = columns.astype(np.int32)
        back = start < self._start
        low, high = self._row_low[rows], self._row_high[rows]
        if not back:
            low, high = np.full(len(rows), -np.inf), np.full(len(rows), np.inf)
        self._change_rows(rows, low, high)
        cost = self._cost[columns] if back else np.zeros(len(columns))
        self._highs.changeColsCost(len(columns), columns, cost)
        self._release(self._start)
        self._start = start

    def run(self, *, soc_kwh: float, car_kwh: float | None = None, start: int = 0) -> float:
        """Least cost of the loaded day from a period on, EUR.

        Args:
            soc_kwh: State of charge at its start, kWh.
            car_kwh: Energy in the car then, kWh; None is that of its arrival. Not read while
                it is away.
            start: The period.

        Raises:
            StateError: An energy lies outside its limits.
            SolverError: HiGHS found no optimum.
        """
        check_soc(soc_kwh, self._battery.capacity_kwh)
        self._begin(start)
        highs, raised = self._highs, None
        highs.changeColBounds(self._soc + start, float(soc_kwh), float(soc_kwh))
        if self._car is not None and start < self.periods and self._plugged[start]:
            stored = self._visits[start, ARRIVAL_KWH] if car_kwh is None else float(car_kwh)
            target = self._visits[start, TARGET_KWH]
            if not -1e-9 <= stored <= self._car.capacity_kwh + 1e-9:
                raise StateError(
                    f"car_kwh is {stored:g}; expected an energy in [0, "
                    f"{self._car.capacity_kwh:g}] kWh, the car's capacity."
                )
            highs.changeColBounds(self._stored + start, stored, stored)
            if stored > target:
                raised = self._raise_target(start, stored)
        highs.run()
        status = highs.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            # A stale basis can mislead the simplex: once more from scratch.
            highs.clearSolver()
            highs.run()
            status = highs.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise SolverError(
                f"HiGHS ended with {highs.modelStatusToString(status)}; expected an optimum. "
                "Check the series for extreme values."
            )
        self._answer: Any = highs.getSolution()
        cost = float(highs.getInfo().objective_function_value)
        if raised is not None:
            self._change_rows(*raised)
        return cost

    def _raise_target(self, start: int, stored: float) -> tuple[NDArray[np.int32], Floats, Floats]:
        """Let a car above its target keep what it has; what brings the rows back."""
        ends = np.arange(start, int(self._visits[start, DEPARTURE])) + 4 * self.periods
        index, low, high = ends.astype(np.int32), self._row_low[ends], self._row_high[ends]
        self._change_rows(index, low, np.maximum(high, stored))
        return index, low, high

    @property
    def slopes(self) -> tuple[float, float]:
        """A subgradient of the last `run` in state of charge and the car's energy, EUR/kWh."""
        dual = self._answer.col_dual
        car = 0.0 if self._car is None else float(dual[self._stored + self._start])
        return float(dual[self._soc + self._start]), car

    def dispatch(self) -> PerfectForesight:
        """What the last `run` found, from its start on; before it nothing is meant."""
        T = self.periods
        x = np.asarray(self._answer.col_value)[: self._columns]
        blocks = np.zeros((9, T))
        blocks[: self._blocks] = x[: self._soc].reshape(self._blocks, T)
        car_kwh = np.zeros(T)
        if self._car is not None:
            kept = x[self._stored : self._stored + T]
            into, out = self._car.efficiency_charge, self._car.efficiency_discharge
            kept = kept + DT_H * (into * blocks[TAKE] - blocks[GIVE] / out)
            car_kwh = np.where(self._plugged, kept, 0.0)
        return PerfectForesight(
            cost_eur=float(x @ self._cost),
            battery_kw=blocks[CHARGE] - blocks[DISCHARGE],
            car_kw=blocks[TAKE] - blocks[GIVE],
            pv_used_kw=blocks[PV].copy(),
            meter_kw=blocks[IMPORT] - blocks[EXPORT],
            unserved_kw=blocks[UNSERVED].copy(),
            soc_kwh=x[self._soc : self._soc + T + 1].copy(),
            car_kwh=car_kwh,
            missed_kwh=blocks[MISSED].copy(),
        )

    def solve(
        self, series: Series, *, soc_kwh: float, terminal_eur_per_kwh: float = 0.0
    ) -> PerfectForesight:
        """Solve for a day from its start; see `load` and `run`."""
        self.load(series, terminal_eur_per_kwh=terminal_eur_per_kwh)
        self.run(soc_kwh=soc_kwh)
        return self.dispatch()
