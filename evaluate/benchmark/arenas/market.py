"""The 33-bus market: aggregators, the DSO, or the buses act, all others are silent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from flexgym.envs.aggregator_market.roles import Role
from flexgym.envs.aggregator_market.scenario import MarketScenario
from flexgym.evaluate.benchmark.arena import Contender, Played, Setting, Timed, option
from flexgym.evaluate.market import ROLES
from flexgym.evaluate.market_play import MarketDays, idle_days, play_market
from flexgym.evaluate.market_tables import is_exact
from flexgym.policies.market import MarketPolicy
from flexgym.policies.market_buses import bus_policies
from flexgym.policies.market_rules import aggregator_policies, directive_policies
from flexgym.policies.observed import ObservedMarket

TERMS = ("welfare_eur", "customers_eur", "directive_eur", "settlement_eur", "losses_mwh")
DRAWN = ("random", "MH", "CMH")
"""Policies that draw what they do."""
IDLE, EXACT, MEAN_FIELD = "uncontrolled", "exact", "mean field"


class MarketArena:
    """Days of one level of the market; see `Arena`.

    Where the tables are not exact, on the lattice, they are those of consumers who are all coupled:
    the best rule known, which scores 100.
    """

    role: ClassVar[Role]
    policies: ClassVar[Callable[[int, Path | None], list[MarketPolicy]]]
    env_ids: tuple[str, ...]
    episode = "day"
    violation = "voltages outside the band, pu h"
    zero = IDLE

    def __init__(self, setting: Setting, seed: int, cache: Path) -> None:
        self.scenario = MarketScenario.create(setting.scenario)
        self._seed = seed

        level = next(name for name, of_env in ROLES.items() if of_env == self.role)
        exact = is_exact(self.scenario, level)
        self.best = EXACT if exact else MEAN_FIELD

        def make(name: str) -> Callable[[int], MarketPolicy]:
            return lambda seed: next(p for p in type(self).policies(seed, cache) if p.name == name)

        self.contenders: dict[str, Contender] = {IDLE: Contender("rule", None)}
        for name in (policy.name for policy in type(self).policies(0, cache)):
            reference = name == EXACT
            self.contenders[self.best if reference else name] = Contender(
                "exact" if reference and exact else "rule", make(name), name in DRAWN
            )

    @classmethod
    def fits(cls, setting: Setting, config: Mapping[str, Any]) -> bool:
        """See `Arena`."""
        return option(config, "scenario", "ordered") == setting.scenario

    def observed(self, given: Any, name: str) -> ObservedMarket:
        """See `Arena`."""
        return ObservedMarket(given, name, self.role)

    def play(self, policy: Any, part: slice) -> Played:
        """See `Arena`."""
        n, first = part.stop - part.start, self._seed + part.start
        if isinstance(policy, str):
            agents = self.scenario.n_aggregators
            return _played(idle_days(n, agents, agents))
        timed: Any = Timed(policy)
        return _played(play_market(timed, self.scenario, n, first), timed.plan_s, timed.step_s)


class AggregatorArena(MarketArena):
    """Aggregators quote prices to their customers."""

    role: ClassVar[Role] = "aggregators"
    env_ids = ("flexgym/Aggregator-v0", "flexgym/aggregator-market-v0/aggregators")
    policies = aggregator_policies


class DirectiveArena(MarketArena):
    """The DSO sets a field."""

    role: ClassVar[Role] = "dso"
    env_ids = ("flexgym/Directive-v0",)
    policies = directive_policies


class BusesArena(MarketArena):
    """Buses tell their consumers what to do."""

    role: ClassVar[Role] = "buses"
    env_ids = ("flexgym/aggregator-market-v0/buses",)

    @staticmethod
    def policies(seed: int, cache: Path | None) -> list[MarketPolicy]:
        """Every policy of buses."""
        return bus_policies(seed)


def _played(days: MarketDays, plan_s: float = 0.0, step_s: float = 0.0) -> Played:
    terms = {name: days.total(name) for name in TERMS}
    outside = days.total("outside_pu_h")
    return Played(-days.earned_eur.sum(axis=1), outside, terms, plan_s, step_s)
