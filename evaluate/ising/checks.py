"""Check values of the paper's market: what must come out, and what does."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from flexgym.baselines.aggregator_market.assignment import (
    Assignment,
    aggregator_worth_eur,
    best_assignment,
    greedy_assignment,
)
from flexgym.baselines.aggregator_market.self_sufficiency import balanced_buses
from flexgym.baselines.aggregator_market.shiftable import (
    selfish_day,
    shiftable_day,
    shiftable_spins,
)
from flexgym.baselines.aggregator_market.simple_days import (
    homogeneous_limit_eur,
    stationary_limit_eur,
    unconstrained_day,
)
from flexgym.envs.aggregator_market.objectives import objectives
from flexgym.envs.aggregator_market.projection import (
    project_balanced,
    project_shiftable,
    shiftable_residual,
)
from flexgym.envs.aggregator_market.static_market import StaticMarket
from flexgym.envs.data.case33_day import KW_PER_CUSTOMER, case33_day
from flexgym.envs.errors import InfeasibleError

ACTIONS = 200
"""Random actions of identity and limits."""
ASSIGNED = {
    "2/3": -394.03,
    "1": -394.03,
    "2": -397.43,
    "5": -407.635,
    "10": -422.78,
    "inf": -445.14,
}
"""Objective of (38) by slack, EUR/day."""


def check_values(seed: int = 0) -> list[dict[str, Any]]:
    """Compute every check value anew.

    Returns:
        One row each: ``what``, ``expected``, ``found``, ``agrees``.
    """
    day, rng = case33_day(), np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []

    def check(what: str, expected: Any, found: Any, within: float = 0.0) -> None:
        close = abs(found - expected) <= within if within else found == expected
        rows.append({"what": what, "expected": expected, "found": found, "agrees": bool(close)})

    check(
        "customers, one per 13 kW rounded", 289, int(np.rint(day.load_kw / KW_PER_CUSTOMER).sum())
    )
    for largest, sign in ((True, 1), (False, -1)):
        best = balanced_buses(day.load_kw, day.customers, largest=largest, most=9)
        name = "maximum" if largest else "minimum"
        wanted = (132, 125, 32) if largest else (125, 132, 32)
        check(f"(34), {name}", 16 * sign, best[0].bus_sum)
        check(f"(34), {name}: customers at 1 / -1 / 0", _parts(wanted), _parts(best[0].split))
        check(f"(34), {name}: sum of spins", 7 * sign, best[0].customer_sum)
        check(f"(34), {name}: number of optima", 3, len(best))
    linear, whole = shiftable_day(day), shiftable_spins(day)
    check("(31), EUR/day (synthetic prices)", -322.291, linear.welfare_eur, 5e-4)
    check("(31), fractional hour", "5/11 in hour 14", _fractions(linear.fractional))
    check("(29) with whole spins, EUR/day", -320.053, whole.welfare_eur, 5e-4)
    residual = shiftable_residual(whole.up, day.customers, day.source_percent)
    check("(23) with whole spins, largest residual", 0, int(np.abs(residual).max()))
    check("selfish buses of aggregator 3, EUR/day", -321.221, selfish_day(day, 2).welfare_eur, 5e-4)
    rows += _assignment_checks()
    worth = aggregator_worth_eur(day)
    market = StaticMarket.of(day, best_assignment(day.load_kw, worth, Fraction(2, 3)).aggregator_of)
    m = rng.uniform(-1.0, 1.0, (ACTIONS, 24, 32))
    bought = rng.uniform(0.0, 1.0, m.shape) * market.load_share
    low = market.profit_factor * market.aggregator_eur_per_mwh
    between = low + rng.uniform(0.0, 1.0, low.shape) * (market.rtem_eur_per_mwh - low)
    j = objectives(market, m, bought, between)
    apart = j.loads_eur + j.aggregators_eur + j.dso_eur - j.welfare_eur
    check("identity (27), largest difference, EUR", 0.0, float(np.abs(apart).max()), 1e-9)
    same = homogeneous_limit_eur(market, project_balanced(m, market.load_kw))
    flat = stationary_limit_eur(market, project_shiftable(m, market.source_kw))
    check("(37), same prices and (22), EUR", 0.0, float(np.abs(same).max()), 1e-9)
    check("(37), fixed prices and (23), EUR", 0.0, float(np.abs(flat).max()), 1e-9)
    bound = objectives(market, unconstrained_day(market)).welfare_eur
    check("no constraint, all at 1, EUR/day", -2224.795, float(bound), 5e-4)
    return rows


def _assignment_checks() -> list[dict[str, Any]]:
    day = case33_day()
    worth = aggregator_worth_eur(day)
    rows = []
    for slack, expected in ASSIGNED.items():
        found = _solve(best_assignment, slack)
        rows.append({
            "what": f"(38), slack {slack}, EUR/day",
            "expected": expected,
            "found": found.objective_eur,
            "agrees": abs(found.objective_eur - expected) <= 6e-3,
        })  # fmt: skip
        greedy = greedy_assignment(day.load_kw, worth, _slack(slack)).objective_eur
        rows.append({
            "what": f"(38), slack {slack}, greedy above the optimum, EUR/day",
            "expected": 0.0,
            "found": greedy - found.objective_eur,
            "agrees": abs(greedy - found.objective_eur) <= 1e-9,
        })  # fmt: skip
    for slack in ("0", "1/3"):
        try:
            answer = f"{_solve(best_assignment, slack).objective_eur:.2f}"
        except InfeasibleError as error:
            answer = f"infeasible, needs {error.smallest_slack:.4f}"
        wanted = f"infeasible, needs {2 / 3:.4f}"
        rows.append({
            "what": f"(38), slack {slack}",
            "expected": wanted,
            "found": answer,
            "agrees": answer == wanted,
        })  # fmt: skip
    sizes = _parts(_solve(best_assignment, "2/3").sizes)
    rows.append({
        "what": "(38), slack 2/3: buses of the three",
        "expected": "10 / 11 / 11",
        "found": sizes,
        "agrees": sizes == "10 / 11 / 11",
    })  # fmt: skip
    return rows


def _solve(solve: Callable[..., Assignment], slack: str) -> Assignment:
    day = case33_day()
    return solve(day.load_kw, aggregator_worth_eur(day), _slack(slack))


def _slack(text: str) -> float | Fraction:
    return math.inf if text == "inf" else Fraction(text)


def _parts(numbers: Any) -> str:
    return " / ".join(str(int(number)) for number in numbers)


def _fractions(found: dict[int, Fraction]) -> str:
    return ", ".join(f"{m} in hour {hour}" for hour, m in found.items())
