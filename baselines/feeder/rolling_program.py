"""The centralised program of a feeder-day that is played on forecasts, period after period.

One HiGHS model for the whole day: what is over loses its rows, costs and limits, what is
measured and what is forecast anew changes bounds and prices, and the basis stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.baselines.feeder.central_program import SETTLED, CentralProgram
from flexgym.baselines.feeder.feeder_day import FeederDay, GridCheck, Ints
from flexgym.baselines.household.linear_program import (
    CHARGE,
    DISCHARGE,
    EXPORT,
    GIVE,
    IMPORT,
    PV,
    TAKE,
    UNSERVED,
)
from flexgym.envs.errors import StateError
from flexgym.envs.household.params import DT_H, Floats

MAX_RUNS = 8
"""Linear programs a period at most."""
LOOSE_PU, LOOSE_SHARE = 1e-3, 0.01
"""Later periods are corrected where the power flow finds them so far beyond a limit: there is
time to do better, and new forecasts come first."""
_INF = float("inf")


@dataclass(frozen=True, eq=False)
class Present:
    """What the houses shall do in a period.

    Attributes:
        battery_kw: Powers of the batteries, shape (H,), kW, charging positive.
        car_kw: Powers of the cars, likewise.
        pv_used_kw: PV power used, shape (H,), kW.
        runs: Linear programs solved.
        settled: Whether program and power flow agree in this period.
    """

    battery_kw: Floats
    car_kw: Floats
    pv_used_kw: Floats
    runs: int
    settled: bool


class RollingProgram:
    """A day's central program, to be solved again in each of its periods.

    Losses keep the slopes that they had in the plan of the first period, and grow with the
    square of the flows; limits of later periods are corrected where it matters.

    Args:
        day: The day as it is forecast before it begins.
    """

    def __init__(self, day: FeederDay) -> None:
        self.program = program = CentralProgram(day, earlier=True)
        self._houses, self._grid, self._highs = program.houses, program.grid, program.highs
        _, _, self._check, self._runs, _ = program.settle()
        self._start = 0
        blocks = self._houses.blocks
        self._row_period: Ints = np.concatenate([block.row_period for block in blocks])
        self._column_period: Ints = np.concatenate([block.column_period() for block in blocks])
        kinds = (IMPORT, EXPORT, CHARGE, DISCHARGE, PV, UNSERVED)
        self._column = {kind: self._houses.columns(kind) for kind in kinds}
        self._balance = self._houses.first_row[:-1, None] + np.arange(day.periods)
        self._tan_phi = np.array([house.load.tan_phi for house in day.houses])

    def step(self, t: int, series: Floats, soc_kwh: Floats, car_kwh: Floats) -> Present:
        """The best powers of a period, given what is measured and forecast.

        Args:
            t: The period; never before that of the last call.
            series: Load, PV, import and export price, shape (4, H, T): measured in period t,
                forecast after it, not read before it.
            soc_kwh: States of charge at its start, shape (H,), kWh.
            car_kwh: Energies of the cars, shape (H,), kWh; not read while they are away.

        Raises:
            StateError: The period is over, or there is no such period.
            SolverError: HiGHS found no optimum.
        """
        if not self._start <= t < self.program.day.periods:
            raise StateError(
                f"t is {t}; expected a period from {self._start}, the last one planned, to "
                f"{self.program.day.periods - 1}. Begin a new day."
            )
        self._retire(t)
        self._take_up(t, series)
        self._hold(t, soc_kwh, car_kwh)
        load = series[0]
        q_kvar = (self._tan_phi[:, None] * load).T @ self.program.day.at_bus
        grid = self._grid
        # The powers of the last plan with what is consumed now.
        grid.points.shift(self._check, q_kvar, [t])
        grid.bound(self.program.row_dual)
        runs, settled, looks_ahead = 0, False, True
        while runs < MAX_RUNS:
            runs += 1
            check = self._run(load)
            now, later = self._wrong(check, t)
            again = looks_ahead and len(later) > 0
            grid.points.shift(check, check.q_kvar, [t, *later] if again else [t])
            near = grid.near(check)
            wanted = near[:, 1] == t
            if again:
                wanted |= np.isin(near[:, 1], later)
            new = grid.add(near[wanted])
            moved = grid.bound(self.program.row_dual)
            settled = not now and moved <= SETTLED
            if (settled or (not new and moved <= SETTLED)) and not again:
                break
            looks_ahead = False
        return self._present(t, runs, settled)

    def _run(self, load_kw: Floats) -> GridCheck:
        program, column = self.program, self._column
        program.optimise()
        x = program.x
        meter = x[column[IMPORT]] - x[column[EXPORT]]
        self._check = program.day.power_flow(meter, load_kw - x[column[UNSERVED]])
        return self._check

    def _wrong(self, check: GridCheck, t: int) -> tuple[bool, Ints]:
        """Whether this period breaks limits unpaid for, and which later ones do grossly."""
        slack_pu, slack_kva = self._grid.slacks(self.program.x)
        voltage = (check.excess_pu - slack_pu).max(axis=1)
        overload = ((check.overload_kva - slack_kva) / self.program.day.rating_kva).max(axis=1)
        now = not (voltage[t] <= SETTLED and overload[t] <= SETTLED)
        later = ~((voltage <= LOOSE_PU) & (overload <= LOOSE_SHARE))
        later[: t + 1] = False
        return now, np.flatnonzero(later)

    def _retire(self, t: int) -> None:
        """Take rows, costs and limits from the periods before t."""
        if t == self._start:
            return
        rows = np.flatnonzero((self._row_period >= self._start) & (self._row_period < t))
        columns = (self._column_period >= self._start) & (self._column_period < t)
        columns = np.flatnonzero(columns).astype(np.int32)
        free = np.full(len(rows), _INF)
        self._change_rows(rows, -free, free)
        self._highs.changeColsCost(len(columns), columns, np.zeros(len(columns)))
        self._grid.begin(t)
        self._start = t

    def _take_up(self, t: int, series: Floats) -> None:
        """Loads, PV and prices from period t on."""
        load, pv, buy, sell = (each[:, t:] for each in series)
        columns = {kind: column[:, t:] for kind, column in self._column.items()}
        index = np.concatenate([columns[IMPORT], columns[EXPORT]], axis=None).astype(np.int32)
        cost = DT_H * np.concatenate([buy, -sell], axis=None)
        self._highs.changeColsCost(len(index), index, cost)
        blocks = self._houses.blocks
        most = [block.most_unserved_kw(each) for block, each in zip(blocks, load, strict=True)]
        index = np.concatenate([columns[PV], columns[UNSERVED]], axis=None).astype(np.int32)
        upper = np.concatenate([pv, np.stack(most)], axis=None)
        self._highs.changeColsBounds(len(index), index, np.zeros(len(upper)), upper)
        self._change_rows(self._balance[:, t:].ravel(), load.ravel(), load.ravel())

    def _hold(self, t: int, soc_kwh: Floats, car_kwh: Floats) -> None:
        """Begin with these energies."""
        index, energy = [], []
        for h, (block, first) in enumerate(
            zip(self._houses.blocks, self._houses.first[:-1], strict=True)
        ):
            battery = block.house.battery
            most = 0.0 if battery is None else battery.capacity_kwh
            index.append(first + block.battery_state(t))
            energy.append(min(max(float(soc_kwh[h]), 0.0), most))
            car = block.car_state(t)
            if car is not None:
                index.append(first + car[0])
                energy.append(min(max(float(car_kwh[h]), 0.0), car[1]))
        at, column = np.array(energy), np.array(index, dtype=np.int32)
        self._highs.changeColsBounds(len(column), column, at, at)

    def _change_rows(self, rows: Ints, low: Floats, high: Floats) -> None:
        # The method exists, highspy's stubs just lack it.
        change = self._highs.changeRowsBounds  # pyright: ignore[reportAttributeAccessIssue]
        change(len(rows), rows.astype(np.int32), low, high)

    def _present(self, t: int, runs: int, settled: bool) -> Present:
        x, column = self.program.x, self._column
        car = np.zeros(len(self._houses.blocks))
        for h, block in enumerate(self._houses.blocks):
            if block.house.car is not None:
                first = self._houses.first[h] + t
                take, give = (x[first + kind * block.periods] for kind in (TAKE, GIVE))
                car[h] = take - give
        return Present(
            x[column[CHARGE][:, t]] - x[column[DISCHARGE][:, t]],
            car,
            x[column[PV][:, t]],
            runs,
            settled,
        )
