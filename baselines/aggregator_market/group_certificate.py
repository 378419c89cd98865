"""The same day without a grid: dynamic programming on whole numbers, to certify the table.

What is owed is ``(2 X - N S) / N`` % with X the sum over hours of load (whole %) times consumers
up and S the sum of loads so far, so X, a whole number, is all that must be known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from flexgym.baselines.aggregator_market.group_problem import GroupProblem
from flexgym.envs.aggregator_market.params import HOURS
from flexgym.envs.household.params import Floats

BLOCK = 256
"""Sums that are treated at a time, so that all fits the cache."""


def owed_of_sums(problem: GroupProblem, t: int) -> Floats:
    """Energy owed before hour t for X = 0, 1, ..., shape (customers * percent so far + 1,), %."""
    N, past = problem.group.customers, int(problem.day.percent[:t].sum())
    return (2.0 * np.arange(N * past + 1) - N * past) / N


def exact_group_value(problem: GroupProblem, dtype: DTypeLike = np.float64) -> float:
    """Largest expected reward of a day, settlement included, EUR.

    Minutes and about a gigabyte for 67 consumers; exact but for rounding in ``dtype``.

    Args:
        problem: The day and who acts.
        dtype: Of the values; single precision halves time and memory and errs by about 1e-5.
    """
    day, N = problem.day, problem.group.customers
    Z, chain = len(day.price.factors), day.price.matrix.astype(dtype)
    moves = problem.moves(np.arange(len(problem.levels_h)))
    chances = moves.matrices.astype(dtype)
    mean_after = (moves.matrices @ problem.magnetisation).astype(dtype)
    owed = owed_of_sums(problem, HOURS)
    value = np.empty((Z, N + 1, len(owed)), dtype=dtype)
    value[:] = -problem.settlement_eur(owed)
    up = np.arange(N + 1)[:, None]
    for t in reversed(range(HOURS)):
        expected = np.tensordot(chain, value, axes=1)
        owed = owed_of_sums(problem, t)
        level = problem.level(owed)
        value = np.empty((Z, N + 1, len(owed)), dtype=dtype)
        cuts = np.flatnonzero(np.diff(level, prepend=-1, append=-1))
        for begin, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            for first in range(begin, end, BLOCK):
                last = min(first + BLOCK, end)
                sums = np.arange(first, last) + int(day.percent[t]) * up
                ahead = np.empty((N + 1, Z, last - first), dtype=dtype)
                for s in range(Z):
                    ahead[:, s] = np.take_along_axis(expected[s], sums, axis=1)
                position = moves.position[level[first]]
                best = _best(problem, t, chances, mean_after, position, ahead)
                value[:, :, first:last] = best.transpose(1, 0, 2)
    return float(value[day.first_state, :, 0].astype(np.float64) @ problem.start)


def _best(problem, t, chances, mean_after, position, ahead) -> Floats:
    """Value now of each number of consumers up and price state, for sums of one level."""
    count, Z, width = ahead.shape
    best = np.full((count, Z, width), -np.inf, dtype=ahead.dtype)
    flat = ahead.reshape(count, Z * width)
    for a, f in enumerate(position):
        states = np.flatnonzero(problem.allowed[t] > a)
        if len(states) == 0:
            break
        gain = (chances[f] @ flat).reshape(count, Z, width)
        for s in states:
            fixed = mean_after[f] * problem.margin_eur[t, s, a] - problem.charge_eur[t, a]
            np.maximum(best[:, s], gain[:, s] + fixed[:, None].astype(best.dtype), out=best[:, s])
    return best
