"""The rules of a job: when it may run, when it must, what a wish to run comes to.

A job runs ``left`` more periods within its window, the periods t with
``earliest <= t < deadline``. It ends in time whatever is wished: once as many periods are
left to run as the window has left, it runs. An uninterruptible job that has begun runs on to
its end. Everybody who plays appliances uses these functions: the environments, the exact
programs and the rules.
"""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import inlined
from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import JobError
from flexgym.envs.quantity import is_number

MOST_PERIODS = 1_000_000
"""Largest number of a period, far beyond any episode."""


@inlined
def may_run(t, left, earliest, deadline, running, interruptible):
    """Whether a job can run in period t.

    Args:
        t: Period.
        left: Periods it still has to run, >= 0.
        earliest: First period of its window.
        deadline: Period after the last one of its window.
        running: Whether it ran in the period before and is not finished.
        interruptible: Whether it may pause once begun.
    """
    return left > 0 and earliest <= t and t < deadline


@inlined
def must_run(t, left, earliest, deadline, running, interruptible):
    """Whether a job has to run in period t: time is up, or it may not pause.

    Arguments of `may_run`, which holds wherever this does.
    """
    if left > 0 and earliest <= t and t < deadline:
        if left >= deadline - t:
            return True
        if running and not interruptible:
            return True
    return False


@inlined
def runs(t, left, earliest, deadline, running, interruptible, wanted):
    """Whether a job runs in period t if ``wanted`` says whether it is wished to.

    A wish that cannot be is not an error: the job does what it can, and info reports it.
    """
    if wanted:
        return may_run(t, left, earliest, deadline, running, interruptible)
    return must_run(t, left, earliest, deadline, running, interruptible)


@inlined
def slack(t, left, earliest, deadline):
    """Periods a job can still wait before it must run, >= 0; 0 once it is finished."""
    if left <= 0:
        return 0
    return deadline - max(t, earliest) - left


@inlined
def advance(left, ran):
    """Periods left to run after a period, and whether the job is then running, unfinished."""
    if ran:
        return left - 1, left > 1
    return left, False


def check_job(
    length: int,
    earliest: int,
    deadline: int,
    power_kw: float,
    interruptible: bool = False,
    unit: str = "periods",
) -> None:
    """Raise unless the numbers describe a job.

    A job of zero periods is one: it is finished before it begins and costs nothing.

    Args:
        length: How long it runs, >= 0.
        earliest: First period of its window, >= 0.
        deadline: Period after the last one of its window, >= ``earliest + length``.
        power_kw: Power while it runs, in (0, 1000], kW.
        interruptible: Whether it may pause.
        unit: Name of ``length``, and of what it is counted in.

    Raises:
        JobError: A number is no whole number, out of range, or the job longer than its window.
    """
    for name, value in ((unit, length), ("earliest", earliest), ("deadline", deadline)):
        number = as_index(value)
        if number is None or not 0 <= number <= MOST_PERIODS:
            raise JobError(
                f"{name} is {value!r}; expected a whole number of {unit}, >= 0 and at most "
                f"{MOST_PERIODS}."
            )
    if deadline - earliest < length:
        raise JobError(
            f"the job runs {length} {unit} and its window is {earliest} to {deadline}; expected "
            "a window at least as long as the job. Move the deadline, or shorten the job."
        )
    if not is_number(power_kw, 0.0, 1e3) or power_kw == 0.0:
        raise JobError(f"power_kw is {power_kw!r}; expected a number in (0, 1000] kW.")
    if not isinstance(interruptible, bool | np.bool_):
        raise JobError(f"interruptible is {interruptible!r}; expected True or False.")
