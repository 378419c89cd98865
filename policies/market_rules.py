"""Policies of the market's aggregators and of its DSO: simple rules, tuned rules, exact tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.baselines.aggregator_market.group_problem import GroupProblem
from flexgym.baselines.aggregator_market.group_tables import (
    group_reference,
    kept_program,
    linear_rule,
    ships,
)
from flexgym.envs.aggregator_market.roles import Role
from flexgym.envs.aggregator_market.scenario import Ints
from flexgym.envs.aggregator_market.simulation import MarketSimulation
from flexgym.envs.household.params import Floats
from flexgym.policies.market import MarketPolicy, group_problems, nearest_option, table_prices

FLAT_EUR_PER_MWH = 28.0
PART = 0.85
"""Share of the real-time price that a policy passes on."""
PRICE_ZERO, PRICE_SCALE = 32.0, 5.0
"""Of the directive (real-time price - 32) / 5."""
FEEDBACK_PER_H = 0.5
"""Directive for each hour of load by which what is owed misses the plan."""


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
        self.role: Role = role
        # Not a stream that a day's environment has as well.
        self._rng = np.random.default_rng([seed, 1])

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
        self.role: Role = role

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
        self.role: Role = role
        self._cache = cache

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


def _plan_with_feedback(market: MarketSimulation) -> Floats:
    day, plan = market.scenario.day, market.scenario.planned
    planned = float(day.percent[: market.t] @ plan[: market.t])
    missed = (planned - _seen(market, "dso")[1][:, 0]) / day.percent.mean()
    return plan[market.t] + FEEDBACK_PER_H * missed


def _seen(market: MarketSimulation, role: Role) -> tuple[NDArray, Floats]:
    """Consumers up and energy owed (%) of each agent's consumers, shape (n, agents)."""
    if role == "aggregators":
        return market.up, market.owed_percent
    size = np.array([group.customers for group in market.scenario.groups])
    owed = market.owed_percent @ size / size.sum()
    return market.up.sum(axis=1, keepdims=True), owed[:, None]


def _allowed(problem: GroupProblem, market: MarketSimulation, axes: int) -> Ints:
    """How many options, from the first, may be taken now, shape (n, 1, ...)."""
    most = problem.allowed[market.t, market.state]
    return most.reshape(-1, *(1 for _ in range(axes - 1)))


def _nearest(problem: GroupProblem, market: MarketSimulation, wish: Floats) -> Floats:
    return nearest_option(problem, wish, _allowed(problem, market, wish.ndim))
