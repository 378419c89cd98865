"""The operator of a feeder, who sees menus and the grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.evaluate.benchmark.arena import Contender, Played, Setting, Timed, option
from flexgym.evaluate.operator_play import play_operator
from flexgym.policies.observed import ObservedOperator
from flexgym.policies.operator import ExactClearing, OwnChoices


class OperatorArena:
    """Feeder-days of the test split with truthful menus; see `Arena`.

    What counts is the operator's cost: harm that menus declare, losses and violated limits. The
    reference clears the same menus exactly, period by period; it does not look ahead.
    """

    env_ids = ("flexgym/Operator-v0",)
    episode = "feeder-day"
    violation = "limits of voltages and currents, h"
    zero, best = OwnChoices.name, ExactClearing.name

    def __init__(self, setting: Setting, seed: int, cache: Path) -> None:
        FeederScenario.create(setting.scenario, "test")  # names an unknown scenario at once
        self._options = {"scenario": setting.scenario, "split": "test"}
        self._seed = seed
        self.contenders: Mapping[str, Contender] = {
            self.zero: Contender("rule", lambda seed: OwnChoices()),
            self.best: Contender("exact", lambda seed: ExactClearing()),
        }

    @classmethod
    def fits(cls, setting: Setting, config: Mapping[str, Any]) -> bool:
        """See `Arena`."""
        return option(config, "scenario", "stress") == setting.scenario

    def observed(self, given: Any, name: str) -> ObservedOperator:
        """See `Arena`."""
        return ObservedOperator(given, name)

    def play(self, policy: Any, part: slice) -> Played:
        """See `Arena`."""
        timed: Any = Timed(policy)
        n, first = part.stop - part.start, self._seed + part.start
        found = play_operator(timed, n, first, self._options)
        violated = found.days.total("violation_h")
        return Played(found.cost_eur, violated, found.terms, timed.plan_s, timed.step_s)
