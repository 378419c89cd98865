"""Policies of the 33-bus market: aggregators that quote, a DSO that directs.

Buses and their consumers are in `market_buses`, trained policies in `learned_market`. Whatever a
policy does fits `others=` of the environments as well: its ``act`` is a behaviour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from flexgym.baselines.aggregator_market.group_problem import GroupProblem
from flexgym.baselines.aggregator_market.group_tables import (
    group_reference,
    kept_program,
    linear_rule,
    ships,
)
from flexgym.envs.aggregator_market.params import Group, Herding
from flexgym.envs.aggregator_market.roles import Role
from flexgym.envs.aggregator_market.scenario import CRITICAL, Ints, MarketScenario
from flexgym.envs.aggregator_market.simulation import MarketSimulation
from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats

FLAT_EUR_PER_MWH = 28.0
PART = 0.85
"""Share of the real-time price that a policy passes on."""
PRICE_ZERO, PRICE_SCALE = 32.0, 5.0
"""Of the directive (real-time price - 32) / 5."""
FEEDBACK_PER_H = 0.5
"""Directive for each hour of load by which what is owed misses the plan."""


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


class Quoting:
    """Aggregators quote a price, rounded to what may be quoted.

    Args:
        name: For tables.
        wish: Price they want, broadcast to (n, K), EUR/MWh.
    """

    role: Role = "aggregators"

    def __init__(self, name: str, wish: Callable[[MarketSimulation], ArrayLike]) -> None:
        self.name, self._wish = name, wish

    def begin(self, market: MarketSimulation) -> None:
        """See `MarketPolicy`."""
        self._problem = group_problems(market.scenario, self.role)[0]

    def act(self, market: MarketSimulation) -> Floats:
        """See `MarketPolicy`."""
        shape = market.n, market.scenario.n_aggregators
        return _nearest(self._problem, market, np.broadcast_to(self._wish(market), shape))


class Directing:
    """The DSO sets a field, rounded to what may be set.

    Args:
        name: For tables.
        wish: Field it wants, broadcast to (n,).
    """

    role: Role = "dso"

    def __init__(self, name: str, wish: Callable[[MarketSimulation], ArrayLike]) -> None:
        self.name, self._wish = name, wish

    def begin(self, market: MarketSimulation) -> None:
        """See `MarketPolicy`."""
        self._problem = group_problems(market.scenario, self.role)[0]

    def act(self, market: MarketSimulation) -> Floats:
        """See `MarketPolicy`."""
        return _nearest(self._problem, market, np.broadcast_to(self._wish(market), market.n))


class Random:
    """Any quote or directive that is allowed, each as likely.

    Args:
        role: Who acts.
        seed: Of its generator, which goes on from day to day.
    """

    name = "random"

    def __init__(self, role: Role, seed: int = 0) -> None:
        self.role, self._rng = role, np.random.default_rng(seed)

    def begin(self, market: MarketSimulation) -> None:
        """See `MarketPolicy`."""
        self._problem = group_problems(market.scenario, self.role)[0]

    def act(self, market: MarketSimulation) -> Floats:
        """See `MarketPolicy`."""
        shape = (market.n,) if self.role == "dso" else (market.n, market.scenario.n_aggregators)
        most = np.broadcast_to(_allowed(self._problem, market, len(shape)), shape)
        return self._problem.options[self._rng.integers(0, most)]


class Linear:
    """The tuned linear rule, for each aggregator or the DSO.

    Args:
        role: Who acts.
    """

    name = "tuned linear"

    def __init__(self, role: Role) -> None:
        self.role = role

    def begin(self, market: MarketSimulation) -> None:
        """See `MarketPolicy`."""
        self._problems = group_problems(market.scenario, self.role)
        self._rules = [linear_rule(problem) for problem in self._problems]

    def act(self, market: MarketSimulation) -> Floats:
        """See `MarketPolicy`."""
        up, owed = _seen(market, self.role)
        wish = np.stack(
            [
                rule(market.t, up[:, k], owed[:, k], market.state)
                for k, rule in enumerate(self._rules)
            ],
            axis=1,
        )
        return _nearest(self._problems[0], market, wish[:, 0] if self.role == "dso" else wish)


class Exact:
    """The table of the program for each group; see `group_problems` for what it is exact for.

    Args:
        role: Who acts.
        cache: Folder of tables that do not ship; None solves them anew.

    Attributes:
        value_eur: Expected reward of each agent, shape (agents,), EUR; of groups whose members
            are all coupled to each other.
        optimum_eur: What no policy exceeds, likewise; NaN where that is not certified.
    """

    name = "exact"

    def __init__(self, role: Role, cache: Path | None = None) -> None:
        self.role, self._cache = role, cache

    def begin(self, market: MarketSimulation) -> None:
        """See `MarketPolicy`."""
        self._programs, value, optimum = [], [], []
        for problem in group_problems(market.scenario, self.role):
            if ships(problem):
                found = group_reference(problem)
                program, worth, best = found.program, found.policy_eur, found.optimum_eur
            else:
                program, worth, best = kept_program(problem, self._cache), np.nan, np.nan
            self._programs.append(program)
            value.append(program.value_eur if np.isnan(worth) else worth)
            optimum.append(best)
        self.value_eur, self.optimum_eur = np.array(value), np.array(optimum)

    def act(self, market: MarketSimulation) -> Floats:
        """See `MarketPolicy`."""
        up, owed = _seen(market, self.role)
        found = np.stack(
            [
                program.act(market.t, up[:, k], owed[:, k], market.state)
                for k, program in enumerate(self._programs)
            ],
            axis=1,
        )
        return found[:, 0] if self.role == "dso" else found


def aggregator_policies(seed: int = 0, cache: Path | None = None) -> list[MarketPolicy]:
    """Every policy of aggregators, the exact one last; without no trade, which is worth 0."""
    return [
        Random("aggregators", seed),
        Quoting("flat", lambda market: FLAT_EUR_PER_MWH),
        Quoting("cap", lambda market: np.inf),
        Quoting("share of price", lambda market: PART * market.rtem[:, None]),
        Quoting("table price", lambda market: table_prices(market.scenario)[:, market.t]),
        Linear("aggregators"),
        Exact("aggregators", cache),
    ]


def directive_policies(seed: int = 0, cache: Path | None = None) -> list[MarketPolicy]:
    """Every policy of the DSO, no directive first, the exact one last."""
    return [
        Directing("uncontrolled", lambda market: 0.0),
        Random("dso", seed),
        Directing("plan", lambda market: market.scenario.planned[market.t]),
        Directing("price", lambda market: (market.rtem - PRICE_ZERO) / PRICE_SCALE),
        Directing("plan, feedback", _plan_with_feedback),
        Linear("dso"),
        Exact("dso", cache),
    ]


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


def _plan_with_feedback(market: MarketSimulation) -> Floats:
    day, plan = market.scenario.day, market.scenario.planned
    planned = float(day.percent[: market.t] @ plan[: market.t])
    missed = (planned - _seen(market, "dso")[1][:, 0]) / day.percent.mean()
    return plan[market.t] + FEEDBACK_PER_H * missed


def _seen(market: MarketSimulation, role: Role) -> tuple[Floats, Floats]:
    """Consumers up and energy owed (%) of each agent's consumers, shape (n, agents)."""
    if role == "aggregators":
        return market.up, market.owed_percent
    size = np.array([group.customers for group in market.scenario.groups])
    owed = market.owed_percent @ size / size.sum()
    return market.up.sum(axis=1, keepdims=True), owed[:, None]


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


def _allowed(problem: GroupProblem, market: MarketSimulation, axes: int) -> Ints:
    """How many options, from the first, may be taken now, shape (n, 1, ...)."""
    most = problem.allowed[market.t, market.state]
    return most.reshape(-1, *(1 for _ in range(axes - 1)))


def _nearest(problem: GroupProblem, market: MarketSimulation, wish: Floats) -> Floats:
    return nearest_option(problem, wish, _allowed(problem, market, wish.ndim))
