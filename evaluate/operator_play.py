"""Days of the operator's environment: own choices, the exact clearing, or a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flexgym.envs.feeder.accounts import FEEDER_NAMES, GRID_KW, VIOLATION_H
from flexgym.envs.feeder.operator_env import TERMS, FeederOperatorEnv
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.evaluate.feeder_sample import Days

Choice = Callable[[FeederOperatorEnv, np.ndarray], np.ndarray]
"""What the operator does, given the environment and what it sees."""


@dataclass(frozen=True, eq=False)
class OperatorDays:
    """What days of the operator came to.

    Attributes:
        days: What happened on the feeder.
        terms: Cost of each day to the operator by `TERMS`, each shape (n,), EUR.
    """

    days: Days
    terms: Mapping[str, Floats]

    @property
    def cost_eur(self) -> Floats:
        """Harm that menus declare, losses and violated limits, shape (n,), EUR."""
        return np.sum([*self.terms.values()], axis=0)


def own_choices(env: FeederOperatorEnv, seen: np.ndarray) -> np.ndarray:
    """Every house does what it would by itself, or hears of no price."""
    return np.zeros(env.action_space.shape or ())


def exact_clearing(env: FeederOperatorEnv, seen: np.ndarray) -> np.ndarray:
    """The cheapest powers of the menus within the grid's limits; for ``control="dispatch"``."""
    return env.action_of(env.cleared.power_kw)


def play_operator(
    name: str, choose: Choice, days: int, seed: int, options: Mapping[str, Any]
) -> OperatorDays:
    """Play days; day i is that of the environment seeded ``seed + i``.

    Args:
        name: For pictures.
        choose: What the operator does.
        days: How many.
        seed: Of the first.
        options: Of `FeederOperatorEnv`.
    """
    env = FeederOperatorEnv(reference=False, **options)
    totals = np.empty((days, len(FEEDER_NAMES)))
    grid_kw, violated = np.empty((2, days, STEPS_PER_DAY))
    terms = {term: np.zeros(days) for term in TERMS}
    for i in range(days):
        seen, _ = env.reset(seed=seed + i)
        for t in range(STEPS_PER_DAY):
            seen, _, _, _, info = env.step(choose(env, seen))
            period = env.simulation.period[0]
            grid_kw[i, t], violated[i, t] = period[GRID_KW], period[VIOLATION_H]
            for term in TERMS:
                terms[term][i] += info[term]
        totals[i] = env.simulation.episode[0]
    band = env.simulation.scenario.band_pu
    return OperatorDays(Days(name, totals, grid_kw, violated > 0.0, band), terms)
