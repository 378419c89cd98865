"""Which bus belongs to which aggregator: the binary program (38) and its greedy solution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import Bounds, LinearConstraint, milp

from flexgym.baselines.aggregator_market.shiftable import EXACT
from flexgym.envs.aggregator_market.static_market import Ints
from flexgym.envs.data.case33_day import MarketDay
from flexgym.envs.errors import InfeasibleError, MarketError, PartitionError, SolverError
from flexgym.envs.household.params import Floats


@dataclass(frozen=True, eq=False)
class Assignment:
    """A map of buses to aggregators.

    Attributes:
        aggregator_of: Aggregator of each bus, shape (B,).
        sizes: Buses of each aggregator, shape (A,).
        load_shares: Share of the load of each aggregator, shape (A,).
        objective_eur: J_A at magnetisation 1, EUR/day; negative is a gain of the aggregators.
    """

    aggregator_of: Ints
    sizes: Ints
    load_shares: Floats
    objective_eur: float


def aggregator_worth_eur(day: MarketDay) -> Floats:
    """w_k: cost of an aggregator that has the whole load at magnetisation 1, shape (A,), EUR."""
    margin = day.aggregator_eur_per_mwh - day.rtem_eur_per_mwh
    return margin @ day.source_kw / 1000.0


def even_worth_eur(worth_eur: ArrayLike, aggregators: int) -> Floats:
    """Our rule for other numbers of aggregators: evenly from the cheapest to the dearest [I].

    The paper's rule is lost. One aggregator gets the mean; the given number keeps its own.

    Args:
        worth_eur: Of the aggregators that are known, shape (k,), EUR/day.
        aggregators: How many.
    """
    known = _row(worth_eur, "worth_eur")
    _count(aggregators)
    if aggregators == len(known):
        return known.copy()
    if aggregators == 1:
        return np.array([known.mean()])
    return np.linspace(known.min(), known.max(), aggregators)


def random_worth_eur(worth_eur: ArrayLike, aggregators: int, rng: np.random.Generator) -> Floats:
    """The variant of `even_worth_eur` with uniform draws between the same ends [I]."""
    known = _row(worth_eur, "worth_eur")
    return rng.uniform(known.min(), known.max(), _count(aggregators))


def smallest_slack(buses: int, aggregators: int) -> Fraction:
    """Least eps of (38) for which every bus can be placed.

    Sizes are whole, so unless all are equal both neighbours of their mean must be allowed.
    """
    over = Fraction(buses, _count(aggregators)) % 1
    return max(over, 1 - over) if over else Fraction(0)


def size_range(buses: int, aggregators: int, slack: float | Fraction) -> tuple[int, int]:
    """Least and most buses of an aggregator under the slack of (38) [I].

    Raises:
        MarketError: The slack is negative or no number, or there is no aggregator.
        InfeasibleError: No sizes within the slack add up; ``smallest_slack`` says what would do.
    """
    if isinstance(slack, str) or not slack >= 0.0:
        raise MarketError(f"slack is {slack!r}; expected a number of buses >= 0.")
    mean, needed = Fraction(buses, _count(aggregators)), smallest_slack(buses, aggregators)
    if math.isinf(slack) or slack >= buses:
        return 0, buses
    # A float a rounding below 2/3 means 2/3.
    exact = Fraction(slack) + Fraction(1, 10**9)
    if exact < needed:
        raise InfeasibleError(
            f"slack is {float(slack):.6g}; {buses} buses cannot be split among {aggregators} "
            f"aggregators so evenly. Use a slack of at least {float(needed):.6g} ({needed}).",
            smallest_slack=float(needed),
        )
    return max(math.ceil(mean - exact), 0), min(math.floor(mean + exact), buses)


def best_assignment(
    load_kw: ArrayLike, worth_eur: ArrayLike, slack: float | Fraction = math.inf
) -> Assignment:
    """Solve (38): the least sum of load share times w_k, sizes within the slack of their mean.

    Args:
        load_kw: Load of each bus, shape (B,), kW.
        worth_eur: w_k of each aggregator, shape (A,), EUR/day.
        slack: eps, number of buses by which a size may differ from B / A.

    Raises:
        InfeasibleError: The slack is too small; the message names the least.
        SolverError: HiGHS found no optimum.
    """
    load, worth = _loads(load_kw), _row(worth_eur, "worth_eur")
    buses, aggregators = len(load), len(worth)
    low, high = size_range(buses, aggregators, slack)
    one_each = np.kron(np.eye(buses), np.ones((1, aggregators)))
    sizes = np.kron(np.ones((1, buses)), np.eye(aggregators))
    cost = np.outer(load, worth).ravel()
    found = milp(
        cost / max(np.abs(cost).max(), 1e-12),
        integrality=np.ones(len(cost)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(sizes, low, high)],
        options=EXACT,
    )
    if found.status != 0:
        raise SolverError(f"HiGHS ended with: {found.message}; expected an optimum of (38).")
    return assignment(load, worth, found.x.reshape(buses, aggregators).argmax(axis=1))


def greedy_assignment(
    load_kw: ArrayLike, worth_eur: ArrayLike, slack: float | Fraction = math.inf
) -> Assignment:
    """Biggest loads to the cheapest aggregator, as many as the slack allows, then to the next.

    This is an optimum of (38): a bus moved to a cheaper aggregator lowers the sum, and so does
    a swap that brings the bigger load to the cheaper one.

    Raises:
        InfeasibleError: The slack is too small; the message names the least.
    """
    load, worth = _loads(load_kw), _row(worth_eur, "worth_eur")
    buses, aggregators = len(load), len(worth)
    low, high = size_range(buses, aggregators, slack)
    chosen, left = np.empty(buses, dtype=np.int64), np.argsort(-load, kind="stable")
    for place, k in enumerate(np.argsort(worth, kind="stable").tolist()):
        reserved = low * (aggregators - place - 1)
        size = min(high, len(left) - reserved)
        chosen[left[:size]], left = k, left[size:]
    return assignment(load, worth, chosen)


def assignment(load_kw: ArrayLike, worth_eur: ArrayLike, aggregator_of: ArrayLike) -> Assignment:
    """What a map is worth to the aggregators at magnetisation 1."""
    load, worth = _loads(load_kw), _row(worth_eur, "worth_eur")
    chosen = np.asarray(aggregator_of)
    whole = chosen.shape == load.shape and chosen.dtype.kind in "iu"
    if not whole or not ((chosen >= 0) & (chosen < len(worth))).all():
        raise PartitionError(
            f"aggregator_of has shape {chosen.shape} and type {chosen.dtype}; expected one whole "
            f"number from 0 to {len(worth) - 1} for each of {len(load)} buses."
        )
    chosen = chosen.astype(np.int64)
    sizes = np.bincount(chosen, minlength=len(worth))
    shares = np.bincount(chosen, weights=load, minlength=len(worth)) / load.sum()
    return Assignment(chosen, sizes, shares, float(shares @ worth))


def _count(aggregators: int) -> int:
    if isinstance(aggregators, bool) or not isinstance(aggregators, int | np.integer):
        raise MarketError(f"aggregators is {aggregators!r}; expected a whole number.")
    if aggregators < 1:
        raise MarketError(f"aggregators is {aggregators}; expected at least 1.")
    return int(aggregators)


def _row(values: ArrayLike, name: str) -> Floats:
    try:
        row = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise MarketError(f"{name} is {values!r}; expected numbers.") from None
    if row.ndim != 1 or row.size == 0 or not np.isfinite(row).all():
        raise MarketError(f"{name} has shape {row.shape}; expected a row of finite numbers.")
    return row


def _loads(load_kw: ArrayLike) -> Floats:
    load = _row(load_kw, "load_kw")
    if not (load >= 0.0).all() or load.sum() <= 0.0:
        raise MarketError("load_kw must be >= 0 and not 0 throughout; consumption is positive.")
    return load
