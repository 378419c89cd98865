"""Jobs that may not pause: when to begin, as an optimal stopping problem.

Beginning in hour t costs C(t | s) = sum over k < L of E[P_{t+k} | s_t = s], whatever is seen
later. With W(t | s) the expected cost of the best rule not begun before hour t,

    W(t | s) = min{ C(t | s),  E[W(t+1 | s') | s] },   W(deadline - L | s) = C(deadline - L | s)

so the job begins when C is at most the *reserve*, the expected cost of waiting. Costs are those
of 1 kW. At equality it begins, so ties go to the earliest hour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.baselines.appliance.hurdle import TIE_EUR_PER_KWH, after, check_fits, check_state
from flexgym.envs.appliance.params import Ints, Job
from flexgym.envs.compiled import compiled
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.household.params import Floats


@dataclass(frozen=True, eq=False)
class StoppingRule:
    """Solution for one job that may not pause.

    Attributes:
        process: Prices.
        job: The job.
        value_eur_per_kw: Expected cost of 1 kW if it has not begun before hour t, given the
            signal of hour t, shape (T + 1, n); inf where it can no longer end in time.
        start_eur_per_kw: Expected cost of 1 kW if it begins in hour t, shape (T, n); inf where
            it cannot.
        reserve_eur_per_kw: Highest such cost at which to begin, shape (T, n): inf in the last
            hour it can, -inf where it cannot.
    """

    process: SignalProcess
    job: Job
    value_eur_per_kw: Floats
    start_eur_per_kw: Floats
    reserve_eur_per_kw: Floats

    @property
    def expected_eur(self) -> float:
        """Expected cost before the first signal, EUR."""
        return self.job.power_kw * float(self.process.initial @ self.value_eur_per_kw[0])

    def starts(self, t: int, signal: int) -> bool:
        """Whether the optimum begins in hour t if it has not before.

        Raises:
            JobError: No such hour or signal.
        """
        T, n = self.start_eur_per_kw.shape
        check_state(t=(t, T), signal=(signal, n))
        cost, reserve = self.start_eur_per_kw[t, signal], self.reserve_eur_per_kw[t, signal]
        return bool(cost <= reserve + TIE_EUR_PER_KWH)


def stopping_rule(process: SignalProcess, job: Job) -> StoppingRule:
    """Solve a job that may not pause, exactly.

    Raises:
        JobError: It may pause, or its window ends after the process.
    """
    check_fits(process, job, interruptible=False)
    T, n = process.price_eur_per_kwh.shape
    value, start, reserve = np.empty((T + 1, n)), np.empty((T, n)), np.empty((T, n))
    forecast = np.nan_to_num(process.forecasts)
    solve_stopping(
        forecast, process.transition, job.hours, job.earliest, job.deadline, value, start, reserve
    )
    return StoppingRule(process, job, value, start, reserve)


@compiled
def window_cost(forecast, t, hours):
    """Expected cost of 1 kW in ``hours`` hours from t on; forecast is of shape (T,)."""
    total = 0.0
    for u in range(t, t + hours):
        total += forecast[u]
    return total


@compiled
def solve_stopping(forecast, transition, hours, earliest, deadline, value, start, reserve):
    """Backward recursion for one job of 1 kW.

    Args:
        forecast: Expected price of hour u given the signal of hour t, shape (T, n, T).
        transition: Shape (T - 1, n, n).
        hours: How long it runs.
        earliest: First hour of the window.
        deadline: Hour after its last one.
        value: Shape (T + 1, n), overwritten.
        start: Shape (T, n), overwritten.
        reserve: Shape (T, n), overwritten.
    """
    T, n = start.shape
    start[:], reserve[:] = np.inf, -np.inf
    if hours == 0:
        value[:] = 0.0
        return
    value[T] = np.inf
    for t in range(T - 1, -1, -1):
        for s in range(n):
            wait = after(transition, t, value[t + 1], s)
            value[t, s] = wait
            if earliest <= t <= deadline - hours:
                start[t, s], reserve[t, s] = window_cost(forecast[t, s], t, hours), wait
                value[t, s] = min(start[t, s], wait)


@compiled
def stopping_rows(forecast, transition, row, hours, earliest, deadline, out, begin):
    """By how much beginning beats waiting, for many jobs.

    Args:
        forecast: Shape (D, T, n, T).
        transition: Shape (T - 1, n, n).
        row: Position of each job in ``forecast``, shape (m,).
        hours: Shape (m,), as the next two.
        earliest: See `Jobs`.
        deadline: See `Jobs`.
        out: Reserve less cost of beginning, shape (m, T, n), EUR/kW, overwritten; -inf where it
            cannot begin.
        begin: Value of 1 kW in hour 0 by signal, shape (m, n), overwritten.
    """
    T, n = forecast.shape[1:3]
    value, start, reserve = np.empty((T + 1, n)), np.empty((T, n)), np.empty((T, n))
    for i in range(len(row)):
        solve_stopping(
            forecast[row[i]], transition, hours[i], earliest[i], deadline[i], value, start, reserve
        )
        begin[i] = value[0]
        for t in range(T):
            for s in range(n):
                able = start[t, s] < np.inf
                out[i, t, s] = reserve[t, s] - start[t, s] if able else -np.inf


def solve_all(
    forecast: Floats, transition: Floats, row: Ints, hours: Ints, earliest: Ints, deadline: Ints
) -> tuple[Floats, Floats]:
    """What beginning saves over waiting, and first values, of m jobs; see `stopping_rows`."""
    T, n = forecast.shape[1:3]
    out, begin = np.empty((len(row), T, n)), np.empty((len(row), n))
    stopping_rows(forecast, transition, row, hours, earliest, deadline, out, begin)
    return out, begin
