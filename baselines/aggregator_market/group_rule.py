"""What a rule for quotes or directives is worth, without simulation.

A rule is any function of hour, consumers up, energy owed and price state. Two ways: on a grid,
quick enough to tune a rule, and by the distribution over all whole-number states, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.aggregator_market.group_certificate import owed_of_sums
from flexgym.baselines.aggregator_market.group_problem import GroupProblem
from flexgym.baselines.aggregator_market.group_program import continuation, owed_grid
from flexgym.envs.aggregator_market.params import HOURS
from flexgym.envs.compiled import compiled
from flexgym.envs.household.params import Floats

SMALL = 1e-18
"""Sums over load times consumers that are less likely than this are dropped, and counted."""
BLOCK = 2048


class Rule(Protocol):
    """Quotes (EUR/MWh) or directives; arguments broadcast. Rounded to what may be done."""

    def __call__(
        self, t: int, up: NDArray, owed_percent: NDArray, price_state: NDArray, /
    ) -> Floats:
        """What the rule wants."""
        ...


@dataclass(frozen=True)
class RuleValue:
    """Expected payments of a day, EUR.

    Attributes:
        value_eur: Reward of the one who acts: the market's payment, less what an aggregator pays
            its customers or what directives cost, less the settlement.
        market_eur: What the real-time market pays.
        customers_eur: What customers are paid at the quotes.
        directive_eur: What directives cost.
        settlement_eur: What is paid for energy still owed at the end.
        dropped: Probability that was neglected.
    """

    value_eur: float
    market_eur: float
    customers_eur: float
    directive_eur: float
    settlement_eur: float
    dropped: float


def chosen(
    problem: GroupProblem, rule: Rule, t: int, up: NDArray, owed_percent: NDArray
) -> NDArray[np.int64]:
    """Position of the option that a rule comes to in each price state.

    Args:
        problem: The day.
        rule: The rule.
        t: Hour.
        up: Consumers up.
        owed_percent: Energy owed, %; broadcasts with ``up`` to a shape S.

    Returns:
        Shape (k, *S).
    """
    shape = np.broadcast_shapes(up.shape, owed_percent.shape)
    states = np.arange(len(problem.day.price.factors)).reshape(-1, *(1 for _ in shape))
    options = problem.options
    step = options[1] - options[0] if len(options) > 1 else 1.0
    wish = np.broadcast_to(rule(t, up, owed_percent, states), (len(states), *shape))
    most = problem.allowed[t].reshape(states.shape) - 1
    return np.clip(np.rint((wish - options[0]) / step), 0, most).astype(np.int64)


def evaluate_rule(problem: GroupProblem, rule: Rule, points: int = 141) -> float:
    """Expected reward of a day under a rule on a grid of what is owed, EUR.

    Args:
        problem: The day and who acts.
        rule: The rule.
        points: Size of the grid.
    """
    return GridEvaluation(problem, points)(rule)


class GridEvaluation:
    """`evaluate_rule` for many rules of one day."""

    def __init__(self, problem: GroupProblem, points: int = 141) -> None:
        self.problem = problem
        self.grid = owed_grid(problem, points)
        self._level = problem.level(self.grid)
        self._moves = problem.moves(self._level)
        self._mean_after = self._moves.matrices @ problem.magnetisation

    def __call__(self, rule: Rule) -> float:
        """Expected reward of a day, EUR."""
        p, grid = self.problem, self.grid
        Z, N = len(p.day.price.factors), p.group.customers
        value = np.broadcast_to(-p.settlement_eur(grid), (Z, N + 1, len(grid))).copy()
        up = np.arange(N + 1)[:, None]
        for t in reversed(range(HOURS)):
            ahead = np.ascontiguousarray(continuation(p, grid, t, value).transpose(0, 2, 1))
            choice = chosen(p, rule, t, up, grid)
            position = self._moves.position[self._level]
            pay = p.margin_eur[t], p.charge_eur[t]
            _backward(self._moves.matrices, self._mean_after, position, choice, ahead, *pay, value)
        return float(value[p.day.first_state, :, len(grid) // 2] @ p.start)


def exact_rule_value(problem: GroupProblem, rule: Rule) -> RuleValue:
    """Expected payments of a day under a rule, exactly.

    The distribution over consumers up, sum of load times consumers (whole %) and price state
    runs through the day. Seconds for 67 consumers.

    Args:
        problem: The day and who acts.
        rule: The rule.
    """
    day, N = problem.day, problem.group.customers
    moves = problem.moves(np.arange(len(problem.levels_h)))
    mean_after = moves.matrices @ problem.magnetisation
    mass = np.zeros((1, len(day.price.factors), N + 1))
    mass[0, day.first_state] = problem.start
    totals = np.zeros(4)  # market, customers, directives, dropped
    for t in range(HOURS):
        pay = _payments(problem, t)
        owed = owed_of_sums(problem, t)
        percent = int(day.percent[t])
        after = np.zeros((len(owed) + N * percent, *mass.shape[1:]))
        alive = np.flatnonzero(mass.sum(axis=(1, 2)) > SMALL)
        totals[3] += mass.sum() - mass[alive].sum()
        for first in range(0, len(alive), BLOCK):
            sums = alive[first : first + BLOCK]
            choice = chosen(problem, rule, t, np.arange(N + 1), owed[sums][:, None])
            position = moves.position[problem.level(owed[sums])]
            chances = (moves.matrices, mean_after, day.price.matrix)
            _forward(*chances, position, choice, sums, percent, mass, *pay, after, totals)
        mass = after
    owed = owed_of_sums(problem, HOURS)
    settlement = float(mass.sum(axis=(1, 2)) @ problem.settlement_eur(owed))
    market, customers, directive, dropped = totals.tolist()
    paid = customers if problem.role == "aggregator" else directive
    value = market - paid - settlement
    return RuleValue(value, market, customers, directive, settlement, dropped)


def _payments(problem: GroupProblem, t: int) -> tuple[Floats, Floats, Floats]:
    """Per unit of magnetisation from the market (k,) and to customers (a,); per hour (a,)."""
    energy = problem.energy_mwh[t]
    quotes = problem.options
    if problem.role == "directive":
        quotes = np.full(len(quotes), problem.herding.shadow_price_eur_per_mwh)
    return energy * problem.day.rtem[t], energy * quotes, problem.charge_eur[t]


@compiled
def _backward(matrices, mean_after, position, choice, ahead, margin, charge, value):
    """Overwrite ``value`` (k, customers + 1, p) with that of one hour earlier."""
    Z, count, points = value.shape
    for s in range(Z):
        for n in range(count):
            for j in range(points):
                a = choice[s, n, j]
                f = position[j, a]
                row, then = matrices[f, n], ahead[s, j]
                total = margin[s, a] * mean_after[f, n] - charge[a]
                for k in range(count):
                    total += row[k] * then[k]
                value[s, n, j] = total


@compiled
def _forward(
    matrices, mean_after, chain, position, choice, sums, percent, mass, market, customers,
    directive, after, totals,
):  # fmt: skip
    """Move the mass of some sums one hour on and add up what is paid."""
    Z, count = mass.shape[1], mass.shape[2]
    moved = np.empty(count)
    for i in range(len(sums)):
        for s in range(Z):
            moved[:] = 0.0
            for n in range(count):
                here = mass[sums[i], s, n]
                if here == 0.0:
                    continue
                a = choice[s, i, n]
                f = position[i, a]
                mean = here * mean_after[f, n]
                totals[0] += market[s] * mean
                totals[1] += customers[a] * mean
                totals[2] += directive[a] * here
                row = matrices[f, n]
                for k in range(count):
                    moved[k] += here * row[k]
            for later in range(Z):
                chance = chain[s, later]
                if chance > 0.0:
                    for k in range(count):
                        after[sums[i] + percent * k, later, k] += chance * moved[k]
