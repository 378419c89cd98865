"""Network-aware planning that converges: houses plan at prices, the operator mixes the plans.

Column generation after Dantzig and Wolfe (Oper. Res. 8:101, 1960). Each iteration the operator
sends prices, each house answers one plan of its day and what it costs the house, and the
operator takes the cheapest mixture of all plans so far that the grid can carry. Its duals are
the next prices. Two things steady it: prices stay in a range that widens where plans remain
missing (the boxstep of Marsten, Hogan and Blankenship, Oper. Res. 23:389, 1975), and a plan
pays for every kWh away from the present mixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from flexgym.baselines.feeder.feeder_day import FeederDay
from flexgym.baselines.feeder.plan_mixture import Mixture, OperatorDay, PlanMixture
from flexgym.baselines.feeder.planning_house import Plan, PlanningHouse
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import DT_H, Floats

PULL_EUR_PER_KWH = 0.005
RANGE_EUR_PER_KWH, TRUST_EUR_PER_KWH = 0.06, 0.02
"""Prices stay so near to 0 at first, and to the best so far once plans suffice."""
CLOSE_EUR = 0.01
"""The houses' answers end where they cannot make the mixture cheaper by more, EUR."""
LAST_ROUNDS = 12
"""How often the last program may be corrected to agree with the AC power flow."""
# The range narrows where plans suffice, and widens where more than such a share of what was
# missing still is, twice where hardly less is.
_NARROWER, _WIDER, _SLOW, _STUCK, _UNPLANNED_KWH = 3.0, 2.0, 0.3, 0.8, 1e-6
# The pull weakens where plans gain so little of what houses could gain.
_WEAKER, _LITTLE = 0.25, 0.2


@dataclass(frozen=True, eq=False)
class Coordination:
    """What houses and operator have agreed on.

    Attributes:
        adders_eur_per_kwh: What power costs the grid at the margin by house and period, in
            losses and limits, shape (H, T), EUR/kWh: of the iteration whose bound is best of
            those in which plans sufficed, bounded so that a house's planning stays convex.
        kept: That iteration.
        clipped: House-periods in which that bounding changed them.
        meter_kw: The cheapest mixture found, shape (H, T), kW: a convex combination of each
            house's plans, so each house can play it.
        house_eur: What it costs the houses at most, shape (H,), EUR.
        cost_eur: Social cost of the mixture by the AC power flow, shape (K + 1,), EUR: of the
            first plans alone, then after each iteration.
        program_eur: The operator's program, likewise. While `unplanned_kwh` is not 0 it trades
            what no plan holds, so it is no plan's cost.
        bound_eur: What the whole costs at least, shape (K,), EUR, by the grid's linear model of
            that iteration.
        unplanned_kwh: What the program trades beyond the plans, shape (K + 1,), kWh.
        settled: Whether the last program and the AC power flow agree.
        converged: Whether houses could not have made the mixture cheaper by `CLOSE_EUR`.
        house_bytes: What each house has sent in all.
        operator_bytes: What the operator has sent each house in all.
    """

    adders_eur_per_kwh: Floats
    kept: int
    clipped: int
    meter_kw: Floats
    house_eur: Floats
    cost_eur: Floats
    program_eur: Floats
    bound_eur: Floats
    unplanned_kwh: Floats
    settled: bool
    converged: bool
    house_bytes: int
    operator_bytes: int

    @property
    def iterations(self) -> int:
        """How often houses have answered."""
        return len(self.bound_eur)

    @property
    def gap_eur(self) -> float:
        """How far the cheapest mixture may lie above the optimum, EUR, by the linear models."""
        return float(self.cost_eur.min() - self.bound_eur.max())


def coordinate(
    day: FeederDay,
    iterations: int = 10,
    pull_eur_per_kwh: float = PULL_EUR_PER_KWH,
    plans: Sequence[tuple[Floats, Floats]] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Coordination:
    """Coordinate the houses of a feeder-day.

    Args:
        day: The day as houses and operator expect it.
        iterations: How often houses answer at most.
        pull_eur_per_kwh: What a plan pays for each kWh away from the present mixture.
        plans: Plans to start with beside the houses' own optima, each the powers at the meters,
            shape (H, T), kW, and what they cost the houses, shape (H,), EUR.
        progress: Called with 1 after each iteration.

    Raises:
        ScenarioError: Iterations or pull are out of range.
        ActionError: Plans have a wrong shape or are no finite numbers.
        SolverError: HiGHS found no optimum.
        ConvexityError: A plan is nothing that a house could play.
    """
    _check_options(iterations, pull_eur_per_kwh)
    houses = [
        PlanningHouse(house, series, float(soc), float(price))
        for house, series, soc, price in zip(
            day.houses, day.series, day.soc_kwh, day.terminal_eur_per_kwh, strict=True
        )
    ]
    answers = [house.answer(np.zeros(day.periods)) for house in houses]
    operator = PlanMixture(_known_to_operator(day), *_stacked(answers))
    for meter_kw, cost_eur in plans or ():
        operator.add(meter_kw, cost_eur)
    number = np.dtype(np.float64).itemsize
    sent, received = number * day.periods + answers[0].n_bytes, 0
    sent += number * (day.periods + 1) * len(plans or ())

    pull, width = pull_eur_per_kwh, RANGE_EUR_PER_KWH
    centre = np.zeros((len(houses), day.periods))
    mixtures: list[Mixture] = []
    bounds: list[float] = []
    converged = False
    for _ in range(iterations):
        operator.keep_prices(centre - width, centre + width)
        mixture = operator.solve()
        mixtures.append(mixture)
        prices, profiles = mixture.price_eur_per_kwh, mixture.meter_kw
        answers = [
            house.answer(price, profile, pull)
            for house, price, profile in zip(houses, prices, profiles, strict=True)
        ]
        sent += answers[0].n_bytes
        received += prices[0].nbytes + (profiles[0].nbytes if pull > 0.0 else 0)
        least = np.array([answer.least_eur for answer in answers])
        missed = float(np.maximum(mixture.plan_eur - least, 0.0).sum())
        bounds.append(mixture.program_eur - missed)
        complete = mixture.unplanned_kwh <= _UNPLANNED_KWH
        converged = complete and missed <= CLOSE_EUR
        if progress:
            progress(1)
        if converged:
            break
        operator.add(*_stacked(answers))
        gained = mixture.plan_eur - [
            answer.cost_eur + DT_H * price @ answer.meter_kw
            for answer, price in zip(answers, prices, strict=True)
        ]
        if np.maximum(gained, 0.0).sum() < _LITTLE * missed:
            # So near to the mixture no house has anything better.
            pull *= _WEAKER
        if complete:
            centre = mixtures[int(np.argmax(bounds))].price_eur_per_kwh
            width = max(width / _NARROWER, TRUST_EUR_PER_KWH)
        elif len(mixtures) > 1:
            left = mixture.unplanned_kwh / max(mixtures[-2].unplanned_kwh, _UNPLANNED_KWH)
            width *= _WIDER if left > _SLOW else 1.0
            width *= _WIDER if left > _STUCK else 1.0
    operator.free_prices()
    mixtures.append(operator.solve(LAST_ROUNDS))
    best = min(mixtures, key=lambda mixture: mixture.cost_eur)
    # What a price at the edge of its range is worth to trade is no price of the grid.
    planned = np.array([mixture.unplanned_kwh <= _UNPLANNED_KWH for mixture in mixtures[:-1]])
    ranked = np.where(planned, bounds, -np.inf) if planned.any() else np.array(bounds)
    kept = int(np.argmax(ranked))
    raw = mixtures[kept].price_eur_per_kwh
    adders = np.stack([house.bounded(price) for house, price in zip(houses, raw, strict=True)])
    return Coordination(
        adders_eur_per_kwh=adders,
        kept=kept,
        clipped=int((adders != raw).sum()),
        meter_kw=best.meter_kw,
        house_eur=best.house_eur,
        cost_eur=np.array([mixture.cost_eur for mixture in mixtures]),
        program_eur=np.array([mixture.program_eur for mixture in mixtures]),
        bound_eur=np.array(bounds),
        unplanned_kwh=np.array([mixture.unplanned_kwh for mixture in mixtures]),
        settled=mixtures[-1].settled,
        converged=converged,
        house_bytes=sent,
        operator_bytes=received,
    )


def _known_to_operator(day: FeederDay) -> OperatorDay:
    kvar, limits = day.meter_kvar(), day.connection_kw
    return OperatorDay(
        day.network, day.house_bus, day.rating_kva, day.band_pu, day.costs, kvar, limits
    )


def _stacked(answers: list[Plan]) -> tuple[Floats, Floats]:
    meter_kw = np.stack([answer.meter_kw for answer in answers])
    return meter_kw, np.array([answer.cost_eur for answer in answers])


def _check_options(iterations: int, pull: float) -> None:
    if not isinstance(iterations, int) or iterations < 1:
        raise ScenarioError(
            f"iterations is {iterations!r}; expected a whole number from 1 up. Ten are enough "
            "for most days."
        )
    if not (isinstance(pull, int | float) and 0.0 <= pull < math.inf):
        raise ScenarioError(
            f"pull_eur_per_kwh is {pull!r}; expected a price >= 0. 0 asks houses for their "
            "cheapest plans."
        )
