"""The local market: all follow a policy, or one does among truthful others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flexgym.envs.errors import ScenarioError
from flexgym.envs.local_market.params import RULES
from flexgym.envs.local_market.scenario import LocalMarketScenario
from flexgym.evaluate.benchmark.arena import Contender, Played, Setting, Timed, option
from flexgym.evaluate.local_market import PARTICIPANTS
from flexgym.evaluate.local_market_play import (
    LEARNER,
    LocalDays,
    best_response,
    best_welfare,
    play,
)
from flexgym.policies.local_market import LocalMarketPolicy, UtilityOnly, rules
from flexgym.policies.observed import ObservedOrders

WELFARE, ALONE = "welfare", "learner-"
_BOUND = {WELFARE: "linear program", ALONE: "best response"}


SCENARIOS = (WELFARE, *(ALONE + rule for rule in RULES))


def game_of(scenario: str) -> tuple[bool, str]:
    """Whether one plays among truthful others, and by which rule of `RULES`.

    Args:
        scenario: One of `SCENARIOS`.

    Raises:
        ScenarioError: Unknown scenario.
    """
    if scenario not in SCENARIOS:
        raise ScenarioError(f"scenario is {scenario!r}; expected one of {', '.join(SCENARIOS)}.")
    alone = scenario != WELFARE
    return alone, scenario.removeprefix(ALONE) if alone else "uniform"


class LocalMarketArena:
    """One market of 50 on days of the test split; see `Arena`.

    ``welfare`` is everybody's, under the uniform price; ``learner-RULE`` that of one participant,
    whose best response to the truthful others is found on a grid hour by hour.
    """

    env_ids = ("flexgym/local-market-v0",)
    episode = "day"
    violation = ""
    zero = UtilityOnly.name

    def __init__(self, setting: Setting, seed: int, cache: Path) -> None:
        self._seed = seed
        self._alone, self._rule = game_of(setting.scenario)
        self.best = _BOUND[ALONE if self._alone else WELFARE]
        self.scenario = LocalMarketScenario.create(PARTICIPANTS, "test")

        def make(name: str) -> Callable[[int], LocalMarketPolicy]:
            return lambda seed: next(p for p in rules(seed) if p.name == name)

        self.contenders: Mapping[str, Contender] = {
            **{
                p.name: Contender("rule", make(p.name), drawn=p.name == "zero intelligence")
                for p in rules()
            },
            # What others post is not known to a participant, nor who trades with whom.
            self.best: Contender("bound", None),
        }

    @classmethod
    def fits(cls, setting: Setting, config: Mapping[str, Any]) -> bool:
        """See `Arena`."""
        trained = option(config, "scenario")
        if trained:
            return trained == setting.scenario
        alone = option(config, "learners") == 1
        played = ALONE + option(config, "rule", "uniform") if alone else WELFARE
        return setting.scenario == played

    def observed(self, given: Any, name: str) -> ObservedOrders:
        """See `Arena`."""
        return ObservedOrders(given, name)

    def play(self, policy: Any, part: slice) -> Played:
        """See `Arena`."""
        n, first = part.stop - part.start, self._seed + part.start
        scenario, rule = self.scenario, self._rule
        if not isinstance(policy, str):
            timed: Any = Timed(policy)
            days = play(timed, scenario, rule, n, first, alone=self._alone)
            return self._played(days, timed.plan_s, timed.step_s)
        if self._alone:
            return self._played(best_response(scenario, rule, n, first))
        utility = play(UtilityOnly(), scenario, rule, n, first).reward_eur.sum(axis=1)
        return Played(-utility - best_welfare(scenario, n, first), np.zeros(n))

    def _played(self, days: LocalDays, plan_s: float = 0.0, step_s: float = 0.0) -> Played:
        earned = days.reward_eur[:, LEARNER] if self._alone else days.reward_eur.sum(axis=1)
        terms = {"traded_kwh": days.traded_kwh, "fee_eur": days.fee_eur}
        return Played(-earned, np.zeros(len(earned)), terms, plan_s, step_s)
