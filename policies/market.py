"""What a policy of the 33-bus market is, and the decision problems that are its reference.

Rules and tables are in `market_rules`, buses in `market_buses`, trained policies in
`learned_market`. `behaviour` makes any of them one of the `others` of an environment.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from flexgym.baselines.aggregator_market.group_problem import GroupProblem
from flexgym.envs.aggregator_market.params import Group, Herding
from flexgym.envs.aggregator_market.roles import Behaviour, Role
from flexgym.envs.aggregator_market.scenario import CRITICAL, Ints, MarketScenario
from flexgym.envs.aggregator_market.simulation import MarketSimulation
from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats


class MarketPolicy(Protocol):
    """What a role does in n markets.

    Attributes:
        name: Short name for tables.
        role: Who acts.
    """

    name: str
    role: Role

    def begin(self, market: MarketSimulation) -> None:
        """Prepare for new days: nothing has happened yet."""
        ...

    def act(self, market: MarketSimulation) -> Floats:
        """Of this hour: quotes (n, K) in EUR/MWh, directives (n,), or magnetisations (n, B)."""
        ...


class ReferencePolicy(MarketPolicy, Protocol):
    """A policy whose expected reward is known.

    Attributes:
        value_eur: Expected reward of each agent, shape (agents,), EUR; nan where it is not known.
    """

    value_eur: Floats


def behaviour(policy: MarketPolicy) -> Behaviour:
    """What ``others=`` of an environment takes: the policy, which begins anew when a day does."""
    day = None

    def act(market: MarketSimulation) -> Floats:
        nonlocal day
        if market.price_state is not day:
            policy.begin(market)
            day = market.price_state
        return policy.act(market)

    return act


def actions_of(market: MarketSimulation, role: Role, moves: Floats) -> Floats:
    """Actions in [-1, 1] that come to a policy's moves, shape (n, agents, 1)."""
    rules = market.scenario.tariffs
    if role == "dso":
        return (moves / max(rules.most_directive, 1e-9))[:, None, None]
    if role == "buses":
        return moves[:, market.scenario.flexible > 0, None]
    room = np.minimum(rules.highest_quote_eur_per_mwh, market.rtem / rules.profit_factor)
    room = np.maximum(room - rules.lowest_quote_eur_per_mwh, 1e-9)[:, None]
    share = (moves - rules.lowest_quote_eur_per_mwh) / room
    return np.clip(2.0 * share - 1.0, -1.0, 1.0)[:, :, None]


def group_problems(scenario: MarketScenario, role: Role) -> tuple[GroupProblem, ...]:
    """Decision problems whose solution is a market's reference.

    Exact for one aggregator, and for each of several, as long as all members of a group are
    coupled to each other. On the lattice it is that of consumers who are all coupled to each
    other, as far from their critical temperature; for the DSO of several groups, one group of all.

    Args:
        scenario: The market.
        role: ``"aggregators"``, with a problem each, or ``"dso"``.
    """
    herding = mean_field(scenario)
    if role == "dso":
        groups = scenario.groups
        everyone = Group(sum(g.customers for g in groups), sum(g.share for g in groups))
        return (GroupProblem(scenario.day, herding, scenario.tariffs, everyone, "directive"),)
    return tuple(
        GroupProblem(scenario.day, herding, scenario.tariffs, group) for group in scenario.groups
    )


def mean_field(scenario: MarketScenario) -> Herding:
    """How consumers would move who were all coupled to each other, at the same T / Tc."""
    herding = scenario.herding
    if scenario.coupling == "aggregator":
        return herding
    # Rounded so that what ships is found again.
    temperature = round(4.0 * herding.temperature / CRITICAL, 9)
    return replace(herding, temperature=temperature)


def nearest_option(problem: GroupProblem, wish: Floats, allowed: Ints) -> Floats:
    """The option nearest to what is wanted, which may be infinite.

    Args:
        problem: The day and who acts.
        wish: Quotes or directives, any shape.
        allowed: How many options, from the first, may be taken; broadcasts to it.
    """
    options = problem.options
    step = options[1] - options[0] if len(options) > 1 else 1.0
    at = np.clip(np.rint((wish - options[0]) / step), 0, allowed - 1)
    return options[at.astype(np.int64)]


def table_prices(scenario: MarketScenario) -> Floats:
    """What each aggregator pays in the shipped table, shape (K, 24), EUR/MWh.

    A single aggregator is the table's third.

    Raises:
        ScenarioError: There are neither one nor three.
    """
    prices = case33_day().aggregator_eur_per_mwh
    count = scenario.n_aggregators
    if count not in (1, len(prices)):
        raise ScenarioError(
            f"the market has {count} aggregators; expected 1 or {len(prices)}, for whom the table "
            "has prices."
        )
    return prices[-1:] if count == 1 else prices
