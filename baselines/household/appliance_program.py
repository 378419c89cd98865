"""The known day of a house with appliances: one mixed-integer program with battery and car.

The house's program of `HouseDayProgram` with columns for the jobs: where a job may pause, a
binary variable a period says whether it runs; else one a start. The solver is HiGHS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.household.linear_program import EARLIER, HouseDayProgram
from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import HouseError, JobError
from flexgym.envs.household.params import DT_H, Appliance, Floats, House, Series

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class ApplianceProgram(HouseDayProgram):
    """A persistent HiGHS model of one house whose appliances are planned, too.

    Args:
        house: The house.
        periods: Number of periods T.
        exclusive: Forbid charging and discharging at once by binary variables.
        earlier: Let ties go to the plan that stores, and runs, earlier.
        gap_eur: Distance from the optimum at which the search may end, EUR; 0 is exact.

    Raises:
        JobError: A window ends after the last period.
    """

    def __init__(
        self,
        house: House,
        periods: int,
        *,
        exclusive: bool = False,
        earlier: bool = False,
        gap_eur: float = 0.0,
    ) -> None:
        super().__init__(house, periods, exclusive=exclusive, earlier=earlier)
        # At 1e-10 HiGHS 1.16 takes nodes for infeasible that are not, and misses the optimum.
        self._highs.setOptionValue("mip_feasibility_tolerance", 1e-9)
        if gap_eur > 0.0:
            self._highs.setOptionValue("mip_abs_gap", gap_eur)
        self._jobs: list[tuple[Ints, int]] = []
        """Columns of each job and the row of their sum; a job of no periods has none."""
        for k, job in enumerate(house.appliances):
            if job.deadline > periods:
                raise JobError(
                    f"appliances[{k}] has its deadline in period {job.deadline}; expected at "
                    f"most {periods}, the end of the day. Move the deadline."
                )
            self._jobs.append(self._add(job))

    def _add(self, job: Appliance) -> tuple[Ints, int]:
        """Add the columns of a job, each with its draw in the load balance of its periods."""
        highs = self._highs
        first, row = highs.getNumCol(), highs.getNumRow()
        spans = _spans(job)
        cost = EARLIER * DT_H * job.power_kw if self._earlier else 0.0
        for t, length in spans:
            periods = np.arange(t, t + length, dtype=np.int32)
            drawn = np.full(length, -job.power_kw)
            highs.addCol(cost * t * length, 0.0, 1.0, length, periods, drawn)
        columns = np.arange(first, first + len(spans), dtype=np.int32)
        kinds = np.full(len(spans), highspy.HighsVarType.kInteger.value, dtype=np.uint8)
        if len(spans):
            highs.changeColsIntegrality(len(spans), columns, kinds)
            highs.addRow(0.0, 0.0, len(spans), columns, np.ones(len(spans)))
        return columns.astype(np.int64), row

    def most_unserved_kw(self, load_kw: Floats) -> Floats:
        """More than this the house can never be forced to leave unserved, kW."""
        most = np.array(load_kw, dtype=np.float64)
        for job in self.house.appliances:
            if job.periods:
                most[job.earliest : job.deadline] += job.power_kw
        return super().most_unserved_kw(most)

    def plan(
        self,
        *,
        soc_kwh: float,
        car_kwh: float | None = None,
        start: int = 0,
        left: Sequence[int] | Ints | None = None,
        running: Sequence[bool] | Bools | None = None,
    ) -> Bools:
        """Best schedule of the loaded day from a period on; `dispatch` has what goes with it.

        Args:
            soc_kwh: State of charge at its start, kWh.
            car_kwh: Energy in the car then, kWh; see `run`.
            start: The period.
            left: Periods each appliance still has to run; None is all of them.
            running: Whether each ran in the period before and is not finished; None is none.

        Returns:
            Whether each runs, shape (k, T); False before ``start``.

        Raises:
            JobError: What is left does not fit into the rest of a window, or the state is one
                that no job can be in.
            StateError: An energy lies outside its limits.
            SolverError: HiGHS found no optimum.
        """
        jobs = self.house.appliances
        ahead = _each(left, "left", [job.periods for job in jobs], "iu")
        on = _each(running, "running", [False] * len(jobs), "b")
        number = as_index(start)
        if number is None or not 0 <= number <= self.periods:
            raise JobError(
                f"start is {start!r}; expected a whole number from 0 to {self.periods}, a period "
                "of the day."
            )
        # All are checked before the program is touched.
        for k, job in enumerate(jobs):
            _check_state(k, job, start, ahead[k], on[k])
        for k, job in enumerate(jobs):
            self._fix(k, job, start, ahead[k], on[k])
        self.run(soc_kwh=soc_kwh, car_kwh=car_kwh, start=start)
        values = np.asarray(self._answer.col_value)
        schedule = np.zeros((len(jobs), self.periods), dtype=bool)
        for k, job in enumerate(jobs):
            columns, _ = self._jobs[k]
            for (t, length), x in zip(_spans(job), values[columns], strict=True):
                if x > 0.5:
                    schedule[k, t : t + length] = True
        schedule[:, :start] = False
        return schedule

    def _fix(self, k: int, job: Appliance, start: int, left: int, running: bool) -> None:
        """Bound the columns of a job to what can still be chosen."""
        columns, row = self._jobs[k]
        begins = np.arange(job.earliest, job.earliest + len(columns))
        if not len(columns):
            return
        free = begins >= start
        total = float(left) if job.interruptible else float(left > 0)
        if not job.interruptible and running:
            # It runs on to its end: the start lies behind.
            free = begins == start - (job.periods - left)
        high = np.where(free & (left > 0), 1.0, 0.0)
        index = columns.astype(np.int32)
        self._highs.changeColsBounds(len(index), index, np.zeros(len(index)), high)
        self._change_rows(np.array([row], np.int32), np.array([total]), np.array([total]))


def _each(values: Any, name: str, default: list[Any], kinds: str) -> list[Any]:
    """One entry an appliance, of a type of ``kinds``."""
    if values is None:
        return default
    try:
        array = np.array(values)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.shape != (len(default),) or (array.size and array.dtype.kind not in kinds):
        expected = "whole numbers" if kinds == "iu" else "truth values"
        raise JobError(f"{name} is {values!r}; expected {len(default)} {expected}, one a job.")
    return array.tolist()


def _check_state(k: int, job: Appliance, start: int, left: int, running: bool) -> None:
    """Raise `JobError` unless job k can be so at the start of a period."""
    if not 0 <= left <= min(job.periods, max(job.deadline - max(start, job.earliest), 0)):
        raise JobError(
            f"appliances[{k}] has {left} periods left in period {start}; expected 0 to "
            f"{job.periods}, and no more than are left before its deadline {job.deadline}."
        )
    ran = job.periods - left
    if ran > max(min(start, job.deadline) - job.earliest, 0):
        raise JobError(
            f"appliances[{k}] has {left} periods left in period {start} and its window began in "
            f"{job.earliest}; expected at least what could not be run since."
        )
    begun = ran > 0 and left > 0
    if (running and not begun) or (begun and not running and not job.interruptible):
        raise JobError(
            f"appliances[{k}] has {left} of {job.periods} periods left and running is {running}; "
            "expected True where a job that may not pause has begun, and only where one has."
        )


def _spans(job: Appliance) -> list[tuple[int, int]]:
    """First period and length of each block a job can be made of, one a column."""
    if job.periods == 0:
        return []
    if job.interruptible:
        return [(t, 1) for t in range(job.earliest, job.deadline)]
    return [(t, job.periods) for t in range(job.earliest, job.deadline - job.periods + 1)]


def with_schedule(house: House, series: Series, runs: Bools) -> tuple[House, Series]:
    """The house without its appliances on a day whose load holds them, run as in (k, T)."""
    power = np.array([job.power_kw for job in house.appliances])
    return replace(house, appliances=()), replace(series, load_kw=series.load_kw + power @ runs)


def best_schedule(
    house: House,
    series: Series,
    *,
    soc_kwh: float,
    terminal_eur_per_kwh: float,
    exclusive: bool,
) -> tuple[Bools, float]:
    """The schedule of the appliances that makes a known day cheapest, and its cost, EUR."""
    program = ApplianceProgram(house, len(series), exclusive=exclusive)
    program.load(series, terminal_eur_per_kwh=terminal_eur_per_kwh)
    runs = program.plan(soc_kwh=soc_kwh)
    return runs, program.dispatch().cost_eur


def refuse_appliances(house: House) -> None:
    """Raise `HouseError` where a house has appliances, for what needs a convex cost-to-go."""
    if house.appliances:
        raise HouseError(
            f"the house has {len(house.appliances)} appliances; expected none, since with them "
            "the cost-to-go is not convex. perfect_foresight solves known days with appliances "
            "exactly; for fixed schedules add their load to the series and pass "
            "replace(house, appliances=())."
        )
