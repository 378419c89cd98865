"""Days of the operator's environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flexgym.envs.errors import RunError
from flexgym.envs.feeder.accounts import FEEDER_NAMES, GRID_KW, VIOLATION_H
from flexgym.envs.feeder.operator_env import TERMS, FeederOperatorEnv
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.evaluate.feeder_sample import Days
from flexgym.policies.operator import SETTINGS, OperatorPolicy


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


def play_operator(
    policy: OperatorPolicy, days: int, seed: int, options: Mapping[str, Any]
) -> OperatorDays:
    """Play days; day i is that of the environment seeded ``seed + i``.

    Args:
        policy: Who operates; its settings come before the options.
        days: How many.
        seed: Of the first.
        options: Of `FeederOperatorEnv`.

    Raises:
        RunError: Its settings are more than `flexgym.policies.operator.SETTINGS`, which leave the
            world as it is.
    """
    settings = dict(getattr(policy, "settings", {}))
    if not set(settings) <= {*SETTINGS}:
        raise RunError(
            f"{policy.name} has the settings {', '.join(map(str, settings))}; expected some of "
            f"{', '.join(SETTINGS)}."
        )
    env = FeederOperatorEnv(reference=False, **{**options, **settings})
    totals = np.empty((days, len(FEEDER_NAMES)))
    grid_kw, violated = np.empty((2, days, STEPS_PER_DAY))
    terms = {term: np.zeros(days) for term in TERMS}
    for i in range(days):
        seen, _ = env.reset(seed=seed + i)
        policy.begin(env)
        for t in range(STEPS_PER_DAY):
            seen, _, _, _, info = env.step(policy.act(env, seen))
            period = env.simulation.period[0]
            grid_kw[i, t], violated[i, t] = period[GRID_KW], period[VIOLATION_H]
            for term in TERMS:
                terms[term][i] += info[term]
        totals[i] = env.simulation.episode[0]
    band = env.simulation.scenario.band_pu
    return OperatorDays(Days(policy.name, totals, grid_kw, violated > 0.0, band), terms)
