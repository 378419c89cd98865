"""One house with battery and roof, with a car or without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flexgym.baselines.household import SolutionCache
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.evaluate.benchmark.arena import Contender, Played, Setting, Timed, cars_known
from flexgym.evaluate.rollout import Costs, HouseDays, foresight_costs, rollout
from flexgym.policies.household import RULES, ModelPredictive, Optimal
from flexgym.policies.observed import Observed

SCENARIOS = {"no-car": False, "car": True}


class HouseholdArena:
    """Houses and days of the test split; see `Arena`."""

    env_ids = ("flexgym/Household-v0",)
    episode = "house-day"
    violation = "unserved and missed energy, EUR"
    zero, best = "uncontrolled", "optimal"

    def __init__(self, setting: Setting, seed: int, cache: Path) -> None:
        if setting.scenario not in SCENARIOS:
            raise ScenarioError(
                f"scenario is {setting.scenario!r}; expected one of {', '.join(SCENARIOS)}."
            )
        self._car = SCENARIOS[setting.scenario]
        scenario = HouseholdScenario.create(split="test", car=self._car)
        self.days = HouseDays.sample(scenario, setting.episodes, seed)
        kept = SolutionCache(cache) if self._car else None
        self.contenders: Mapping[str, Contender] = {
            **{name: Contender("rule", lambda seed, r=rule: r()) for name, rule in RULES.items()},
            "mpc": Contender("rule", lambda seed: ModelPredictive()),
            "optimal": Contender("exact", lambda seed: Optimal(cache=kept)),
            "perfect foresight": Contender("bound", None),
        }

    @classmethod
    def fits(cls, setting: Setting, config: Mapping[str, Any]) -> bool:
        """See `Arena`."""
        return SCENARIOS[setting.scenario] in cars_known(config)

    def observed(self, given: Any, name: str) -> Observed:
        """See `Arena`."""
        return Observed(given, name)

    def play(self, policy: Any, part: slice) -> Played:
        """See `Arena`."""
        all_days = self.days
        days = HouseDays(
            all_days.scenario, all_days.house[part], all_days.day[part], all_days.seed + part.start
        )
        if isinstance(policy, str):
            return _played(foresight_costs(days), len(days))
        timed: Any = Timed(policy)
        return _played(rollout(timed, days), len(days), timed.plan_s, timed.step_s)


def _played(costs: Costs, n: int, plan_s: float = 0.0, step_s: float = 0.0) -> Played:
    none = np.zeros(n)
    terms = {f"{key}": costs.terms.get(key, none) for key in ("unserved_eur", "missed_eur")}
    return Played(costs.cost_eur, sum(terms.values(), none), costs.terms, plan_s, step_s)
