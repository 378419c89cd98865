"""Linear rules for quotes and directives, tuned without simulation: the score's strongest rival."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from flexgym.baselines.aggregator_market.bounds import known_price_plan
from flexgym.baselines.aggregator_market.group_problem import GroupProblem
from flexgym.baselines.aggregator_market.group_rule import GridEvaluation
from flexgym.envs.household.params import Floats


@dataclass(frozen=True, eq=False)
class LinearRule:
    """Quote (EUR/MWh) or directive that is linear in what an agent observes.

    ``w0 + w1 (price - shadow price) + w2 (planned - owed) + w3 magnetisation``; planned is what
    LP (31)'s plan will owe after this hour, both in hours of the mean load.

    Attributes:
        weights: w0 to w3.
        price_eur_per_mwh: Real-time less shadow price in each hour and price state, shape (24, k).
        planned_percent: What the plan owes after each hour, shape (24,), %.
        mean_percent: Mean load of an hour.
        customers: Consumers of the group.
    """

    weights: tuple[float, float, float, float]
    price_eur_per_mwh: Floats
    planned_percent: Floats
    mean_percent: float
    customers: int

    @classmethod
    def of(cls, problem: GroupProblem, weights: tuple[float, float, float, float]) -> LinearRule:
        """The rule with some weights for a day."""
        day = problem.day
        plan = known_price_plan(
            day.percent, np.asarray(day.rtem_eur_per_mwh), problem.tariffs.shortage_eur_per_mwh
        )
        return cls(
            weights,
            day.rtem - problem.herding.shadow_price_eur_per_mwh,
            np.cumsum(plan * day.percent),
            float(day.percent.mean()),
            problem.group.customers,
        )

    def __call__(
        self, t: int | NDArray, up: NDArray, owed_percent: NDArray, price_state: NDArray
    ) -> Floats:
        """Quotes or directives, before rounding; arguments broadcast against each other."""
        behind_h = (self.planned_percent[t] - owed_percent) / self.mean_percent
        mean = 2.0 * np.asarray(up) / self.customers - 1.0
        w0, w1, w2, w3 = self.weights
        return w0 + w1 * self.price_eur_per_mwh[t, price_state] + w2 * behind_h + w3 * mean


def tuned_linear_rule(
    problem: GroupProblem, points: int = 71, evaluations: int = 150
) -> LinearRule:
    """The best linear rule that a simplex search finds from several starts.

    Deterministic: every rule is valued by recursion. Not certified to be the best one.

    Args:
        problem: The day and who acts.
        points: Grid of what is owed.
        evaluations: Rules that are valued from each of the two best starts.
    """
    evaluate = GridEvaluation(problem, points)
    if problem.role == "aggregator":
        middle, size = problem.herding.shadow_price_eur_per_mwh, 1.0
    else:
        middle, size = 0.0, max(problem.herding.incentive, 1e-3)

    def cost(scaled: Floats) -> float:
        w = (size * scaled).tolist()
        return -evaluate(LinearRule.of(problem, (middle + w[0], w[1], w[2], w[3])))

    starts = [np.array(x) for x in product((0.0,), (0.0, 0.5), (0.5, 2.0), (-4.0, 0.0, 4.0))]
    starts.sort(key=cost)
    steps = np.vstack([np.zeros(4), np.diag([2.0, 0.3, 0.7, 3.0])])
    best = min(
        (
            minimize(
                cost,
                start,
                method="Nelder-Mead",
                options={"initial_simplex": start + steps, "maxfev": evaluations, "fatol": 1e-4},
            )
            for start in starts[:2]
        ),
        key=lambda found: found.fun,
    )
    w = (size * best.x).tolist()
    return LinearRule.of(problem, (middle + w[0], w[1], w[2], w[3]))
