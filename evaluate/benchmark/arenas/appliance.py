"""When an appliance runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flexgym.envs.appliance.scenario import ApplianceScenario
from flexgym.evaluate.appliance import PATTERNS, patterns
from flexgym.evaluate.appliance_play import BOUND, draw_days, foresight_days, play_days
from flexgym.evaluate.benchmark.arena import Contender, Played, Setting, Timed, option
from flexgym.policies.appliance import AppliancePolicy
from flexgym.policies.observed import Observed


class ApplianceArena:
    """Days of the test split with jobs of one kind; see `Arena`."""

    env_ids = ("flexgym/Appliance-v0",)
    episode = "job"
    violation = ""
    zero, best = "normal", "optimal"

    def __init__(self, setting: Setting, seed: int, cache: Path) -> None:
        self.scenario = ApplianceScenario.create(kind=setting.scenario, split="test")
        self._seed = seed
        made: list[AppliancePolicy] = []

        def make(name: str) -> Callable[[int], AppliancePolicy]:
            def found(seed: int) -> AppliancePolicy:
                if not made:
                    train = ApplianceScenario.create(kind=setting.scenario, split="train")
                    made.extend(patterns(train, self._seed))
                return next(policy for policy in made if policy.name == name)

            return found

        self.contenders: Mapping[str, Contender] = {
            **{
                name: Contender("exact" if name == self.best else "rule", make(name))
                for name in PATTERNS
            },
            BOUND: Contender("bound", None),
        }

    @classmethod
    def fits(cls, setting: Setting, config: Mapping[str, Any]) -> bool:
        """See `Arena`."""
        return option(config, "scenario", option(config, "kind", "mixed")) == setting.scenario

    def observed(self, given: Any, name: str) -> Observed:
        """See `Arena`."""
        return Observed(given, name)

    def play(self, policy: Any, part: slice) -> Played:
        """See `Arena`."""
        n = part.stop - part.start
        episodes = draw_days(self.scenario, n, self._seed + part.start)
        if isinstance(policy, str):
            return Played(foresight_days(episodes).cost_eur, np.zeros(n))
        timed: Any = Timed(policy)
        days = play_days(timed, self.scenario, episodes)
        terms = {"forced_share": days.forced, "energy_kwh": days.power_kw.sum(axis=1)}
        return Played(days.cost_eur, np.zeros(n), terms, timed.plan_s, timed.step_s)
