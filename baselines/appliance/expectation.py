"""Expected cost of any rule, exactly: by backward recursion, or over all histories."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.appliance.hurdle import after, check_fits
from flexgym.envs.appliance.job import advance, runs
from flexgym.envs.appliance.params import Ints, Job
from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ScenarioError
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.household.params import Floats

MOST_HISTORIES = 1_000_000


def expected_cost(process: SignalProcess, job: Job, wishes: NDArray[np.bool_]) -> float:
    """Expected cost of a rule that knows hour, hours left, whether it runs, and signal, EUR.

    Args:
        process: Prices.
        job: The job.
        wishes: Whether the rule wishes to run, shape (T, L + 1, 2, n): hour, hours left, not
            running or running, signal. Where that cannot be, the rules of a job decide.

    Raises:
        JobError: The window ends after the process.
        ScenarioError: The table has another shape, or holds no truth values.
    """
    check_fits(process, job, interruptible=None)
    T, n = process.price_eur_per_kwh.shape
    shape = (T, job.hours + 1, 2, n)
    try:
        table = np.ascontiguousarray(wishes)
    except ValueError:
        table = np.empty(0, dtype=object)
    if table.shape != shape or table.dtype != np.bool_:
        raise ScenarioError(
            f"wishes has shape {table.shape} and type {table.dtype}; expected {shape} and bool. "
            "Compare a table of numbers with what it means first."
        )
    value = np.zeros((T + 1, job.hours + 1, 2, n))
    _evaluate(
        process.price_eur_per_kwh, process.transition, job.earliest, job.deadline,
        job.interruptible, table, value,
    )  # fmt: skip
    return job.power_kw * float(process.initial @ value[0, job.hours, 0])


@compiled
def _evaluate(price, transition, earliest, deadline, interruptible, wishes, value):
    T, states, _, n = wishes.shape
    for t in range(T - 1, -1, -1):
        for left in range(states):
            for was in range(2):
                for s in range(n):
                    wanted = wishes[t, left, was, s]
                    ran = runs(t, left, earliest, deadline, was == 1, interruptible, wanted)
                    then, running = advance(left, ran)
                    ahead = value[t + 1, then, 1 if running else 0]
                    value[t, left, was, s] = after(transition, t, ahead, s)
                    if ran:
                        value[t, left, was, s] += price[t, s]


def histories(process: SignalProcess) -> tuple[Ints, Floats]:
    """All paths of signals, shape (n**T, T), and their probabilities, shape (n**T,).

    Playing a rule on all of them, weighted, gives its expected cost exactly, whatever it remembers.

    Raises:
        ScenarioError: There are more than a million.
    """
    T, n = process.price_eur_per_kwh.shape
    if n**T > MOST_HISTORIES:
        raise ScenarioError(
            f"there are {n}**{T} histories; expected at most {MOST_HISTORIES}. Use expected_cost, "
            "or sample."
        )
    paths = np.array(list(product(range(n), repeat=T)), dtype=np.int64)
    chance = process.initial[paths[:, 0]].copy()
    for t in range(T - 1):
        chance *= process.transition[t, paths[:, t], paths[:, t + 1]]
    return paths, chance
