"""Forwards, options or spot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flexgym.envs.errors import ScenarioError
from flexgym.envs.trader.scenario import TraderScenario
from flexgym.evaluate.benchmark.arena import Contender, Played, Setting, Timed
from flexgym.evaluate.trader import BOUND, foresight_costs, play_trader
from flexgym.policies.observed import Observed
from flexgym.policies.trader import OptimalTrader, SpotOnly, trader_rules

SCENARIO = "evening"


class TraderArena:
    """A consumer's evening on days of the test split; see `Arena`."""

    env_ids = ("flexgym/Trader-v0",)
    episode = "day"
    violation = ""
    zero, best = SpotOnly.name, OptimalTrader.name

    def __init__(self, setting: Setting, seed: int, cache: Path) -> None:
        if setting.scenario != SCENARIO:
            raise ScenarioError(f"scenario is {setting.scenario!r}; expected {SCENARIO}.")
        self.scenario = TraderScenario.create(split="test")
        self._seed = seed
        self.contenders: Mapping[str, Contender] = {
            **{rule.name: Contender("rule", lambda seed, r=rule: r) for rule in trader_rules()},
            self.best: Contender("exact", lambda seed: OptimalTrader()),
            BOUND: Contender("bound", None),
        }

    @classmethod
    def fits(cls, setting: Setting, config: Mapping[str, Any]) -> bool:
        """See `Arena`."""
        return True

    def observed(self, given: Any, name: str) -> Observed:
        """See `Arena`."""
        return Observed(given, name)

    def play(self, policy: Any, part: slice) -> Played:
        """See `Arena`."""
        n, first = part.stop - part.start, self._seed + part.start
        if isinstance(policy, str):
            return Played(foresight_costs(self.scenario, n, first).cost_eur, np.zeros(n))
        timed: Any = Timed(policy)
        costs = play_trader(timed, self.scenario, n, first)
        terms = {name: np.full(n, mean) for name, mean in costs.means.items()}
        return Played(costs.cost_eur, np.zeros(n), terms, timed.plan_s, timed.step_s)
