"""Two aggregators compete for buses by turns: strategies are judged exactly, nothing is sampled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flexgym.envs.aggregator_market.duopoly_games import scenario
from flexgym.evaluate.benchmark.arena import Contender, Played, Setting, Timed, option
from flexgym.evaluate.competition import earnings, places, reference
from flexgym.policies.competition import (
    Equilibrium,
    RandomOffers,
    StandStill,
    competition_rules,
    strategy,
)
from flexgym.policies.observed import Observed

SCENARIO = "herding"


class CompetitionArena:
    """Strategies that play themselves; see `Arena`. What they cost is their exploitability.

    No strategy is less exploitable than an equilibrium, so nobody passes 100.
    """

    env_ids = ("flexgym/bus-competition-v0",)
    episode = "game"
    violation = ""
    zero, best = StandStill.name, Equilibrium.name

    def __init__(self, setting: Setting, seed: int, cache: Path) -> None:
        self._reference, self._seed = reference(scenario(setting.scenario)), seed
        self.contenders: Mapping[str, Contender] = {
            **{one.name: Contender("rule", lambda seed, r=one: r) for one in competition_rules()},
            RandomOffers.name: Contender("rule", RandomOffers, drawn=True),
            self.best: Contender("exact", lambda seed: Equilibrium()),
        }

    @classmethod
    def fits(cls, setting: Setting, config: Mapping[str, Any]) -> bool:
        """See `Arena`."""
        return option(config, "scenario", SCENARIO) == setting.scenario

    def observed(self, given: Any, name: str) -> Observed:
        """See `Arena`."""
        return Observed(given, name)

    def play(self, policy: Any, part: slice) -> Played:
        """See `Arena`."""
        game, n = self._reference.game, part.stop - part.start
        timed: Any = Timed(policy)
        at = places(game, n, self._seed + part.start)
        found = earnings(self._reference, strategy(timed, game), at)
        cost, none = found.exploitability_eur, np.zeros(n)
        return Played(cost, none, found.terms, timed.plan_s, timed.step_s)
