"""Jobs that may pause: the exact dynamic program and its hurdle prices.

With h = deadline - t hours left in the window, L hours left to run and s_h the signal seen,

    V(h, L | s_h) = min{ E[P_h | s_h] + V(h-1, L-1 | s_h),  V(h-1, L | s_h) }
    V(h-1, L | s_h) = E[ V(h-1, L | s_{h-1}) | s_h ],   V(., 0) = 0,   V(h, L) = inf for L > h

so the job runs exactly when the expected price is at most the hurdle price,

    E[P_h | s_h] <= V(h-1, L | s_h) - V(h-1, L-1 | s_h).

The source writes V(h-1, L) without the signal, which holds for signals that say nothing of later
ones; its rule has d and f for H and L; and it calls P(s_h), the left-hand side, the hurdle price,
where the name here means what the price has to stay below, the right-hand side. Costs are those
of 1 kW: power is a factor. At equality the job runs, so ties go to the earliest hour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.envs.appliance.params import Ints, Job
from flexgym.envs.compiled import compiled
from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import JobError
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.household.params import Floats

TIE_EUR_PER_KWH = 1e-12
"""Prices this close are equal: what sums to the same number in other orders must not decide."""


@dataclass(frozen=True, eq=False)
class HurdlePrices:
    """Solution for one job that may pause.

    Attributes:
        process: Prices.
        job: The job.
        value_eur_per_kw: Expected cost of 1 kW from hour t on with l hours left, given the signal
            of hour t, shape (T + 1, L + 1, n); inf where the job cannot end in time. Row T has no
            signal.
        hurdle_eur_per_kwh: Highest price at which to run, shape (T, L + 1, n): inf where the job
            must run, -inf where it cannot.
    """

    process: SignalProcess
    job: Job
    value_eur_per_kw: Floats
    hurdle_eur_per_kwh: Floats

    @property
    def expected_eur(self) -> float:
        """Expected cost before the first signal, EUR."""
        begin = self.value_eur_per_kw[0, self.job.hours]
        return self.job.power_kw * float(self.process.initial @ begin)

    def runs(self, t: int, left: int, signal: int) -> bool:
        """Whether the optimum runs in hour t with ``left`` hours to go.

        Raises:
            JobError: No such hour, hours or signal.
        """
        T, states, n = self.hurdle_eur_per_kwh.shape
        check_state(t=(t, T), left=(left, states), signal=(signal, n))
        price = self.process.price_eur_per_kwh[t, signal]
        return bool(price <= self.hurdle_eur_per_kwh[t, left, signal] + TIE_EUR_PER_KWH)


def hurdle_prices(process: SignalProcess, job: Job) -> HurdlePrices:
    """Solve a job that may pause, exactly.

    Raises:
        JobError: It may not pause, or its window ends after the process.
    """
    check_fits(process, job, interruptible=True)
    T, n = process.price_eur_per_kwh.shape
    value = np.empty((T + 1, job.hours + 1, n))
    hurdle = np.empty((T, job.hours + 1, n))
    solve_hurdles(
        process.price_eur_per_kwh, process.transition, job.earliest, job.deadline, value, hurdle
    )
    return HurdlePrices(process, job, value, hurdle)


def check_state(**numbers: tuple[int, int]) -> None:
    """Raise `JobError` unless every (number, count) by name is a whole number below its count."""
    for name, (value, count) in numbers.items():
        number = as_index(value)
        if number is None or not 0 <= number < count:
            raise JobError(f"{name} is {value!r}; expected a whole number from 0 to {count - 1}.")


def check_fits(process: SignalProcess, job: Job, *, interruptible: bool | None) -> None:
    """Raise `JobError` unless such a job (None is any) fits into the process."""
    if not isinstance(process, SignalProcess) or not isinstance(job, Job):
        raise JobError(
            f"got a {type(process).__name__} and a {type(job).__name__}; expected a SignalProcess "
            "and a Job."
        )
    if interruptible is not None and job.interruptible != interruptible:
        may = "may" if job.interruptible else "may not"
        other = "stopping_rule" if interruptible else "hurdle_prices"
        raise JobError(f"the job {may} pause; expected the other kind. Use {other}.")
    if job.deadline > process.periods:
        raise JobError(
            f"the job's window ends at hour {job.deadline} and the process has "
            f"{process.periods}; expected a deadline within it. Extend the process."
        )


@compiled
def after(transition, t, value, s):
    """Expected value of the next hour given signal s of hour t; inf stays inf.

    Args:
        transition: Shape (T - 1, n, n).
        t: Hour.
        value: Of hour t + 1 by its signal, shape (n,).
        s: Signal of hour t.
    """
    # Whether a job can end in time does not depend on the signal.
    if value[0] == np.inf or t >= len(transition):
        return value[0]
    total = 0.0
    for k in range(len(value)):
        total += transition[t, s, k] * value[k]
    return total


@compiled
def solve_hurdles(price, transition, earliest, deadline, value, hurdle):
    """Backward recursion for one job of 1 kW.

    Args:
        price: Expected price by hour and signal, shape (T, n).
        transition: Shape (T - 1, n, n).
        earliest: First hour of the window.
        deadline: Hour after its last one.
        value: Shape (T + 1, L + 1, n), overwritten.
        hurdle: Shape (T, L + 1, n), overwritten.
    """
    T, n = price.shape
    value[T] = np.inf
    value[T, 0] = 0.0
    for t in range(T - 1, -1, -1):
        for left in range(value.shape[1]):
            for s in range(n):
                wait = after(transition, t, value[t + 1, left], s)
                if left == 0 or t < earliest or t >= deadline:
                    value[t, left, s], hurdle[t, left, s] = wait, -np.inf
                    continue
                fewer = after(transition, t, value[t + 1, left - 1], s)
                if wait < np.inf:
                    hurdle[t, left, s] = wait - fewer
                else:
                    hurdle[t, left, s] = np.inf if fewer < np.inf else -np.inf
                value[t, left, s] = min(price[t, s] + fewer, wait)


@compiled
def hurdle_rows(price, transition, row, hours, earliest, deadline, out, begin):
    """Hurdle prices of many jobs.

    Args:
        price: Shape (D, T, n).
        transition: Shape (T - 1, n, n).
        row: Position of each job in ``price``, shape (m,).
        hours: Shape (m,), as the next two.
        earliest: See `Jobs`.
        deadline: See `Jobs`.
        out: Shape (m, T, most hours + 1, n), overwritten up to each job's hours.
        begin: Value of 1 kW in hour 0 by signal, shape (m, n), overwritten.
    """
    T, n = price.shape[1:]
    for i in range(len(row)):
        value = np.empty((T + 1, hours[i] + 1, n))
        solve_hurdles(
            price[row[i]], transition, earliest[i], deadline[i], value, out[i, :, : hours[i] + 1]
        )
        begin[i] = value[0, hours[i]]


def solve_all(
    price: Floats, transition: Floats, row: Ints, hours: Ints, earliest: Ints, deadline: Ints
) -> tuple[Floats, Floats]:
    """Hurdle prices and first values of m jobs; see `hurdle_rows`."""
    T, n = price.shape[1:]
    out = np.full((len(row), T, int(hours.max(initial=0)) + 1, n), -np.inf)
    begin = np.empty((len(row), n))
    hurdle_rows(price, transition, row, hours, earliest, deadline, out, begin)
    return out, begin
