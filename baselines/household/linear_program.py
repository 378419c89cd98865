"""The house-day as one linear program, written independently of the recursion.

Charge and discharge, import and export are separate variables here; the solver is HiGHS.
Where losses would earn money (negative import prices) a binary variable a period keeps
charge and discharge apart, so that the result stays exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray

from flexgym.envs.errors import ConvexityError, HouseError, SolverError
from flexgym.envs.household.dynamics import (
    INVERTER,
    POWER,
    check_soc,
    house_row,
    is_convex,
    next_soc,
)
from flexgym.envs.household.params import DT_H, Battery, Floats, House, Series

Ints = NDArray[np.int64]
# Blocks of T columns each, then T + 1 states of charge, then T binaries if exclusive.
_IMPORT, _EXPORT, _CHARGE, _DISCHARGE, _PV, _UNSERVED, _SOC = range(7)
_NO_BATTERY = Battery(capacity_kwh=0.0, power_kw=0.0, wear_eur_per_kwh=0.0)


@dataclass(frozen=True)
class PerfectForesight:
    """Optimal dispatch of a known day.

    Attributes:
        cost_eur: Bill + wear + unserved load - terminal price * final state of charge, EUR.
        battery_kw: Battery power, shape (T,), kW, charging positive.
        pv_used_kw: PV power used, shape (T,), kW.
        meter_kw: Power at the meter, shape (T,), kW, import positive.
        unserved_kw: Load left unserved, shape (T,), kW.
        soc_kwh: State of charge, shape (T + 1,), kWh.
    """

    cost_eur: float
    battery_kw: Floats
    pv_used_kw: Floats
    meter_kw: Floats
    unserved_kw: Floats
    soc_kwh: Floats


class HouseDayProgram:
    """A persistent HiGHS model of one house that is re-solved for day after day.

    Args:
        house: The house.
        periods: Number of periods T.
        exclusive: Forbid charging and discharging at once by binary variables.
    """

    def __init__(self, house: House, periods: int, *, exclusive: bool = False) -> None:
        self.house = house
        self.periods = T = periods
        self.exclusive = exclusive
        battery = house.battery or _NO_BATTERY
        self._battery = battery
        limits = house_row(house)
        power, shared = limits[POWER], limits[INVERTER]
        block = np.arange(T)
        columns = 7 * T + 1 + (T if exclusive else 0)
        upper = np.zeros(columns)
        upper[0:T] = house.import_limit_kw
        upper[T : 2 * T] = house.export_limit_kw
        upper[2 * T : 4 * T] = power
        upper[6 * T : 7 * T + 1] = battery.capacity_kwh
        upper[7 * T + 1 :] = 1.0

        def at(kind: int) -> Ints:
            return kind * T + block

        one = np.ones(T)
        rows = [
            # import - export + unserved - charge + discharge + pv = load
            (0, [(_IMPORT, one), (_EXPORT, -one), (_UNSERVED, one)]),
            (0, [(_CHARGE, -one), (_DISCHARGE, one), (_PV, one)]),
            # -S <= charge - discharge - pv <= S
            (1, [(_CHARGE, one), (_DISCHARGE, -one), (_PV, -one)]),
        ]
        entries: list[tuple[Ints, Ints, Floats]] = [
            (k * T + block, at(kind), value) for k, terms in rows for kind, value in terms
        ]
        # soc after - retention * soc before - charged + discharged = 0
        soc = at(_SOC)
        entries += [
            (2 * T + block, soc + 1, one),
            (2 * T + block, soc, -battery.retention * one),
            (2 * T + block, at(_CHARGE), -battery.efficiency_charge * DT_H * one),
            (2 * T + block, at(_DISCHARGE), DT_H / battery.efficiency_discharge * one),
        ]
        n_rows = 3 * T
        row_low, row_high = np.zeros(3 * T), np.zeros(3 * T)
        row_low[T : 2 * T], row_high[T : 2 * T] = -shared, shared
        if exclusive:
            # charge <= power * z, discharge <= power * (1 - z)
            charging = 7 * T + 1 + block
            entries += [
                (3 * T + block, at(_CHARGE), one),
                (3 * T + block, charging, -power * one),
                (4 * T + block, at(_DISCHARGE), one),
                (4 * T + block, charging, power * one),
            ]
            n_rows = 5 * T
            row_low = np.concatenate([row_low, np.full(2 * T, -np.inf)])
            row_high = np.concatenate([row_high, np.zeros(T), np.full(T, power)])
        row = np.concatenate([e[0] for e in entries]).astype(np.int32)
        column = np.concatenate([e[1] for e in entries]).astype(np.int32)
        value = np.concatenate([e[2] for e in entries])
        order = np.lexsort((column, row))

        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = columns, n_rows
        lp.col_cost_ = np.zeros(columns)
        lp.col_lower_, lp.col_upper_ = np.zeros(columns), upper
        lp.row_lower_, lp.row_upper_ = row_low, row_high
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.searchsorted(row[order], np.arange(n_rows + 1)).astype(np.int32)
        lp.a_matrix_.index_ = column[order]
        lp.a_matrix_.value_ = value[order]
        if exclusive:
            kind = [highspy.HighsVarType.kContinuous] * (7 * T + 1)
            lp.integrality_ = kind + [highspy.HighsVarType.kInteger] * T
        self._highs = highspy.Highs()
        for option, setting in (
            ("output_flag", False),
            ("threads", 1),
            ("primal_feasibility_tolerance", 1e-10),
            ("dual_feasibility_tolerance", 1e-10),
            ("mip_rel_gap", 0.0),
            ("mip_abs_gap", 1e-10),
            ("mip_feasibility_tolerance", 1e-10),
        ):
            self._highs.setOptionValue(option, setting)
        self._highs.passModel(lp)

    @property
    def solver_s(self) -> float:
        """Seconds spent inside HiGHS so far, by its own clock: without updating the model."""
        return self._highs.getRunTime()

    def solve(
        self, series: Series, *, soc_kwh: float, terminal_eur_per_kwh: float = 0.0
    ) -> PerfectForesight:
        """Solve for a day; the model keeps its basis from the day before.

        Args:
            series: What happens, T periods.
            soc_kwh: State of charge at the start, kWh.
            terminal_eur_per_kwh: Pay for stored energy at the end, EUR/kWh.

        Raises:
            StateError: The state of charge lies outside the battery's limits.
            ConvexityError: The import price exceeds the price of unserved load.
            SolverError: HiGHS found no optimum.
        """
        T, battery, highs = self.periods, self._battery, self._highs
        check_soc(soc_kwh, battery.capacity_kwh)
        if not np.isfinite(terminal_eur_per_kwh):
            # HiGHS would search for ever.
            raise HouseError(f"terminal_eur_per_kwh is {terminal_eur_per_kwh}; expected a number.")
        # More than this the house can never be forced to leave unserved.
        most = np.maximum(series.load_kw + battery.power_kw - self.house.import_limit_kw, 0.0)
        unserved = np.minimum(series.load_kw, most)
        shed = self.house.unserved_eur_per_kwh
        if ((series.import_eur_per_kwh > shed) & (unserved > 0.0)).any():
            # The program would leave load unserved to save money; the house never does.
            raise ConvexityError(
                f"the import price reaches {series.import_eur_per_kwh.max():.4f} EUR/kWh and "
                f"unserved load costs {shed:g}; expected unserved load to cost at least the "
                "import price. Raise unserved_eur_per_kwh."
            )
        index = np.arange(7 * T + 1, dtype=np.int32)
        wear = np.full(2 * T, battery.wear_eur_per_kwh * DT_H)
        cost = np.concatenate(
            [
                DT_H * series.import_eur_per_kwh,
                -DT_H * series.export_eur_per_kwh,
                wear,
                np.zeros(T),
                np.full(T, self.house.unserved_eur_per_kwh * DT_H),
                np.zeros(T + 1),
            ]
        )
        cost[7 * T] = -terminal_eur_per_kwh
        highs.changeColsCost(len(index), index, cost)
        changed = np.concatenate([np.arange(4 * T, 6 * T), [6 * T]]).astype(np.int32)
        upper = np.concatenate([series.pv_kw, unserved, [soc_kwh]])
        lower = np.zeros(2 * T + 1)
        lower[-1] = soc_kwh
        highs.changeColsBounds(len(changed), changed, lower, upper)
        # The method exists, highspy's stubs just lack it.
        change_rows = highs.changeRowsBounds  # pyright: ignore[reportAttributeAccessIssue]
        change_rows(T, index[:T], series.load_kw, series.load_kw)
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
        x = np.asarray(highs.getSolution().col_value)
        blocks = x[: _SOC * T].reshape(_SOC, T)
        return PerfectForesight(
            cost_eur=float(highs.getInfo().objective_function_value),
            battery_kw=blocks[_CHARGE] - blocks[_DISCHARGE],
            pv_used_kw=blocks[_PV].copy(),
            meter_kw=blocks[_IMPORT] - blocks[_EXPORT],
            unserved_kw=blocks[_UNSERVED].copy(),
            soc_kwh=x[_SOC * T : 7 * T + 1].copy(),
        )


def perfect_foresight(
    house: House, series: Series, *, soc_kwh: float, terminal_eur_per_kwh: float = 0.0
) -> PerfectForesight:
    """Cheapest dispatch of a day that is known in advance: a bound no policy can beat.

    Args:
        house: The house.
        series: What happens, T periods.
        soc_kwh: State of charge at the start, kWh.
        terminal_eur_per_kwh: Pay for stored energy at the end, EUR/kWh.

    Raises:
        StateError: The state of charge lies outside the battery's limits.
        ConvexityError: The import price exceeds the price of unserved load.
        SolverError: HiGHS found no optimum.
    """
    row = house_row(house)
    exclusive = terminal_eur_per_kwh < 0 or (
        is_convex(
            row, series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh
        )
        >= 0
    )
    program = HouseDayProgram(house, len(series), exclusive=exclusive)
    found = program.solve(series, soc_kwh=soc_kwh, terminal_eur_per_kwh=terminal_eur_per_kwh)
    if exclusive or not _wastes(row, found):
        return found
    # A tie: wasting energy costs nothing here, but no battery can play it.
    program = HouseDayProgram(house, len(series), exclusive=True)
    return program.solve(series, soc_kwh=soc_kwh, terminal_eur_per_kwh=terminal_eur_per_kwh)


def _wastes(row: Floats, found: PerfectForesight) -> bool:
    """Whether the program charged and discharged at once, so that energy went astray."""
    played = [
        next_soc(row, soc, power)
        for soc, power in zip(found.soc_kwh, found.battery_kw, strict=False)
    ]
    return bool(np.abs(np.array(played) - found.soc_kwh[1:]).max() > 1e-8)
