"""Runs of HiGHS that end in an optimum or in a named error."""

from __future__ import annotations

import time

import highspy

from flexgym.envs.errors import SolverError, SolverTimeoutError

_STATUS = highspy.HighsModelStatus
_ATTEMPTS = ("warm", "cold", "ipm")


def run_to_optimum(highs: highspy.Highs, deadline_s: float | None = None) -> None:
    """Solve the model: from its basis, else from scratch, else by the interior point method.

    Args:
        highs: The model. A stale basis can mislead its simplex, which then ends without a
            status that means anything.
        deadline_s: When to give up, of `time.monotonic`, s.

    Raises:
        SolverTimeoutError: Time is up.
        SolverError: HiGHS found no optimum.
    """
    status = _STATUS.kNotset
    for attempt in _ATTEMPTS:
        if attempt != "warm":
            highs.clearSolver()
            highs.setOptionValue("solver", "ipm" if attempt == "ipm" else "choose")
        if deadline_s is not None:
            left = deadline_s - time.monotonic()
            # HiGHS counts the seconds of all runs of a model.
            highs.setOptionValue("time_limit", highs.getRunTime() + max(left, 0.0))
        highs.run()
        status = highs.getModelStatus()
        if status in (_STATUS.kOptimal, _STATUS.kTimeLimit):
            break
    highs.setOptionValue("solver", "choose")
    if deadline_s is not None:
        highs.setOptionValue("time_limit", highspy.kHighsInf)
    if status == _STATUS.kTimeLimit:
        raise SolverTimeoutError(
            "HiGHS ran out of time; expected an optimum within the time limit. Give it more time."
        )
    if status != _STATUS.kOptimal:
        raise SolverError(
            f"HiGHS ended with {highs.modelStatusToString(status)}; expected an optimum. "
            "Check prices and series for extreme values."
        )
