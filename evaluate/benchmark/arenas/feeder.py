"""A feeder with 43 houses, judged against the central optimum that knows the day."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flexgym.baselines.household import SolutionCache
from flexgym.envs.feeder.accounts import FEEDER_NAMES, FEEDER_TERMS, VIOLATION_H
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.evaluate.benchmark.arena import (
    Contender,
    Kind,
    Played,
    Setting,
    Timed,
    cars_known,
    option,
)
from flexgym.evaluate.feeder_play import play_day
from flexgym.evaluate.feeder_sample import FeederDays
from flexgym.policies.feeder import BOUNDS, POLICIES, named
from flexgym.policies.menus import Menus
from flexgym.policies.observed import ObservedHouses
from flexgym.policies.runs import MENUS

HOUSE = "flexgym/Household-v0"
EXACT = ("menus",)
"""Each house offers its exact menu; the optimum of all together is a bound."""


class FeederArena:
    """Feeder-days of the test split; see `Arena`."""

    env_ids = ("flexgym/Feeder-v0", "flexgym/feeder-v0", HOUSE)
    episode = "feeder-day"
    violation = "limits of voltages and currents, h"
    zero, best = "unmanaged", "centralised"

    def __init__(self, setting: Setting, seed: int, cache: Path) -> None:
        world = FeederScenario.create(setting.scenario, "test")
        self.days = FeederDays.sample(world, setting.episodes, seed)
        kept = SolutionCache(cache)
        self.contenders: Mapping[str, Contender] = {
            name: Contender(_kind(name), lambda seed, n=name: named(n, cache=kept))
            for name in POLICIES
        }

    @classmethod
    def fits(cls, setting: Setting, config: Mapping[str, Any]) -> bool:
        """See `Arena`."""
        if config["environment"] == HOUSE:
            # Menus of single houses; only those that know cars know these.
            return config["algorithm"] == MENUS and True in cars_known(config)
        return option(config, "scenario", "stress") == setting.scenario

    def observed(self, given: Any, name: str) -> ObservedHouses:
        """See `Arena`."""
        return ObservedHouses(given, name)

    def play(self, policy: Any, part: slice) -> Played:
        """See `Arena`."""
        # What plans for single houses plays by menus.
        timed: Any = Timed(Menus(policy, name=policy.name) if hasattr(policy, "ahead") else policy)
        days = [play_day(timed, self.days, i) for i in range(part.start, part.stop)]
        totals = np.stack([day.totals for day in days])
        terms = {name: totals[:, FEEDER_NAMES.index(name)] for name in FEEDER_TERMS}
        cost = totals[:, FEEDER_NAMES.index("cost_eur")]
        return Played(cost, totals[:, VIOLATION_H], terms, timed.plan_s, timed.step_s)


def _kind(name: str) -> Kind:
    if name in BOUNDS:
        return "bound"
    return "exact" if name in EXACT else "rule"
