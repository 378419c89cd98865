"""What a saved state of appliances must hold: read whole before anything is replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.appliance.dynamics import OUTCOME_NAMES
from flexgym.envs.appliance.params import Ints, Jobs
from flexgym.envs.appliance.scenario import ApplianceScenario, Episodes
from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import JobError, StateError
from flexgym.envs.household.params import Floats

_KINDS = {"i": "iu", "f": "fiu", "b": "b"}


class ApplianceState(NamedTuple):
    """What `ApplianceSimulation` goes on from; see its attributes."""

    episodes: Episodes
    t: int
    left: Ints
    running: NDArray[np.bool_]
    outcome: Floats
    cost_eur: Floats


def read_state(saved: Mapping[str, Any], scenario: ApplianceScenario, n: int) -> ApplianceState:
    """The state of n appliances in a scenario, in memory of its own.

    Raises:
        StateError: Something is lacking, of a wrong shape or type, or could not have been played.
    """
    T = scenario.periods
    t = as_index(saved.get("t"))
    if t is None or not 0 <= t <= T:
        raise StateError(f"the state's t is {saved.get('t')!r}; expected a whole number 0 to {T}.")
    day, row = _array(saved, "day", (n,), "i"), _array(saved, "row", (n,), "i")
    signal = _array(saved, "signal", (n, T), "i")
    price = _array(saved, "price_eur_per_kwh", (n, T), "f")
    jobs = _jobs(saved, n, T)
    left, running = _array(saved, "left", (n,), "i"), _array(saved, "running", (n,), "b")
    known = (row >= 0) & (row < len(scenario.covered))
    _refuse(~known, "row", row, f"0 to {len(scenario.covered) - 1}")
    _refuse(scenario.covered[row] != day, "day", day, "the days of the state's rows")
    beyond = ((signal < 0) | (signal >= scenario.signals)).any(axis=1)
    _refuse(beyond, "signal", signal, f"0 to {scenario.signals - 1}")
    ran = jobs.hours - left
    most = np.minimum(jobs.hours, np.maximum(jobs.deadline - np.maximum(jobs.earliest, t), 0))
    past = np.maximum(np.minimum(jobs.deadline, t) - jobs.earliest, 0)
    wrong = (left < 0) | (left > most) | (ran > past)
    _refuse(wrong, "left", left, f"hours its window leaves in hour {t}")
    begun = (left > 0) & (ran > 0)
    wrong = (running & ~begun) | (begun & ~jobs.interruptible & ~running)
    _refuse(wrong, "running", running, "True where a job runs on, only there")
    outcome = _array(saved, "outcome", (n, len(OUTCOME_NAMES)), "f")
    cost_eur = _array(saved, "cost_eur", (n,), "f")
    episodes = Episodes(day, row, jobs, signal, price)
    return ApplianceState(episodes, t, left, running, outcome, cost_eur)


def _jobs(saved: Mapping[str, Any], n: int, T: int) -> Jobs:
    kinds = {"power_kw": "f", "interruptible": "b"}
    jobs = Jobs(*(_array(saved, f"job_{x}", (n,), kinds.get(x, "i")) for x in Jobs._fields))
    for i in range(n):
        try:
            jobs.job(i)
        except JobError as error:
            raise StateError(f"the state's job {i} is none: {error}") from error
    _refuse(jobs.deadline > T, "job_deadline", jobs.deadline, f"at most {T}")
    return jobs


def _array(saved: Mapping[str, Any], name: str, shape: tuple[int, ...], kind: str) -> Any:
    """An entry as a new array of integers, floats or truth values."""
    try:
        array = np.array(saved[name])
    except (KeyError, ValueError):
        array = np.empty(0, dtype=object)
    if array.shape != shape or array.dtype.kind not in _KINDS[kind]:
        raise StateError(
            f"the state's {name} has shape {array.shape} and type {array.dtype}; expected {shape} "
            f"and one of {', '.join(_KINDS[kind])}. It is damaged."
        )
    if kind == "f" and not np.isfinite(array).all():
        raise StateError(f"the state's {name} is not finite; expected numbers. It is damaged.")
    return array.astype({"i": np.int64, "f": np.float64, "b": np.bool_}[kind])


def _refuse(wrong: NDArray[np.bool_], name: str, values: NDArray, expected: str) -> None:
    if wrong.any():
        i = int(np.argmax(wrong))
        raise StateError(
            f"the state's {name} of row {i} is {values[i].tolist()}; expected {expected}. It is "
            "damaged."
        )
