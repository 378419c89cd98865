"""Rules of the contests of aggregators for buses: who joins whom, and what that earns.

The solvers of `flexgym.baselines` and the environment `bus_competition_v0` both play by them.
Logit membership, herding of buses and the outside option are ours, not the source's; without an
outside option a cartel would pay buses next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.aggregator_market.params import Tariffs
from flexgym.envs.errors import PriceBoundError, ScenarioError
from flexgym.envs.household.params import Floats

WORTH_EUR = 322.291
"""What the flexibility of all buses earns in a day: the optimum of LP (31)."""
MOST_OFFERED = 1.0 / Tariffs.profit_factor
"""The largest share of the real-time price that bound (10) leaves to buses."""


@dataclass(frozen=True, eq=False)
class Contest:
    """Aggregators offer at once, once; then every bus joins one of them or stays out.

    Attributes:
        offers: Shares of the real-time price that may be offered, ascending, shape (g,).
        noise: Spread of tastes, theta.
        outside: What staying out is worth to a bus, as an offer; None is no such option.
        trust: What each aggregator's name is worth, as an offer, shape (k,).
        buses: How many buses there are, all of the same size.
        worth_eur: What the flexibility of all buses earns in a day, EUR.

    Raises:
        ScenarioError: A number is out of range.
        PriceBoundError: An offer lies outside bound (10).
    """

    offers: tuple[float, ...] = tuple(np.round(np.arange(0.50, 0.905, 0.01), 2).tolist())
    noise: float = 0.1
    outside: float | None = 0.7
    trust: tuple[float, ...] = (0.0, 0.0, 0.0)
    buses: int = 32
    worth_eur: float = WORTH_EUR

    def __post_init__(self) -> None:
        _check(self.offers, self.noise, self.outside, self.worth_eur)
        _whole(buses=self.buses)
        trust = numbers(self.trust, "trust")
        if trust.ndim != 1 or not trust.size:
            raise ScenarioError(f"trust is {self.trust}; expected one number of each aggregator.")


def joining(contest: Contest, offers: Floats) -> Floats:
    """Chance that a bus joins each aggregator; the rest stays out.

    Args:
        contest: The rules.
        offers: Shares of the real-time price, shape (..., k).

    Returns:
        Shape (..., k).
    """
    appeal = (offers + np.asarray(contest.trust)) / contest.noise
    stay = -np.inf if contest.outside is None else contest.outside / contest.noise
    top = np.maximum(appeal.max(axis=-1), stay)
    weight = np.exp(appeal - top[..., None])
    return weight / (weight.sum(axis=-1) + np.exp(stay - top))[..., None]


def earned_eur(worth_eur: float, offers: Floats, share: Floats) -> Floats:
    """What aggregators earn in a day with a share of all buses, EUR; shapes broadcast."""
    return worth_eur * (1.0 - offers) * share


def paid_eur(worth_eur: float, offers: Floats, share: Floats) -> Floats:
    """What their buses get in that day, EUR; shapes broadcast."""
    return worth_eur * offers * share


@dataclass(frozen=True, eq=False)
class Duopoly:
    """Two aggregators compete day by day; each day one of them may change its offer.

    The other's offer stands; then some buses, one after the other, think again. A bus weighs what
    each aggregator offers and how many of the other buses it has: it goes to k with a chance in
    proportion to ``exp((offer_k + herding * share_k) / noise)``. Staying out is one more such
    option, if there is one. Without it ``herding = 2 * noise`` is critical.

    Attributes:
        offers: Shares of the real-time price that may be offered to buses, ascending, shape (g,).
        herding: What it counts that others are there, J.
        noise: Spread of tastes, theta.
        outside: Offer of staying out; None is no such option.
        buses: How many buses there are, all of the same size.
        revisions: Buses that think again in a day.
        days: Length of the game.
        worth_eur: What the flexibility of all buses earns in a day, EUR.

    Raises:
        ScenarioError: A number is out of range.
        PriceBoundError: An offer lies outside bound (10).
    """

    offers: tuple[float, ...] = tuple(np.round(np.arange(0.50, 0.905, 0.02), 2).tolist())
    herding: float = 0.0
    noise: float = 0.1
    outside: float | None = None
    buses: int = 32
    revisions: int = 8
    days: int = 30
    worth_eur: float = WORTH_EUR

    def __post_init__(self) -> None:
        _check(self.offers, self.noise, self.outside, self.worth_eur)
        _whole(buses=self.buses, revisions=self.revisions, days=self.days)
        if numbers(self.herding, "herding").ndim:
            raise ScenarioError(f"herding is {self.herding!r}; expected one number.")

    @cached_property
    def members(self) -> NDArray[np.int64]:
        """Buses of the mover and of the other in each state, shape (states, 2)."""
        B = self.buses
        if self.outside is None:
            return np.array([(n, B - n) for n in range(B + 1)])
        return np.array([(n, k) for n in range(B + 1) for k in range(B + 1 - n)])

    def state(self, mover: int, other: int) -> int:
        """Position in `members`, from the buses of the mover and of the other.

        Raises:
            ScenarioError: There is no such state.
        """
        found = np.flatnonzero((self.members == (mover, other)).all(axis=1))
        if len(found) == 0:
            raise ScenarioError(
                f"buses are {mover} and {other}; expected at most {self.buses} together, and "
                "exactly so many where nobody can stay out."
            )
        return int(found[0])


def choice(game: Duopoly, offers: Floats, others: NDArray) -> Floats:
    """Where a bus goes that thinks again: to either aggregator or out.

    Args:
        game: The rules.
        offers: Offers of the two that stand, shape (..., 2).
        others: Where all the other buses are, the last entry out, shape (..., 3).

    Returns:
        Chances, shape (..., 3).
    """
    pull = game.herding * others / max(game.buses - 1, 1)
    out = -np.inf if game.outside is None else game.outside
    appeal = np.concatenate([offers, np.full((*np.shape(offers)[:-1], 1), out)], axis=-1) + pull
    chosen = np.exp((appeal - appeal.max(axis=-1, keepdims=True)) / game.noise)
    return chosen / chosen.sum(axis=-1, keepdims=True)


def revision(game: Duopoly, offers: Floats, counts: NDArray) -> Floats:
    """One bus, any of them, thinks again: from where to where, and with which chance.

    Args:
        game: The rules.
        offers: Offers of the two that stand, shape (..., 2).
        counts: Buses of either and out, shape (..., 3).

    Returns:
        Chance that it leaves i and goes to j, shape (..., 3, 3); sums to 1.
    """
    here = [np.asarray(counts) - np.eye(3, dtype=np.int64)[i] for i in range(3)]
    picked = [
        np.asarray(counts)[..., i, None] / game.buses * choice(game, offers, others)
        for i, others in enumerate(here)
    ]
    return np.stack(picked, axis=-2)


def revise(game: Duopoly, offers: Floats, counts: NDArray, uniform: Floats) -> NDArray[np.int64]:
    """Buses after the revisions of a day.

    Args:
        game: The rules.
        offers: Offers of the two that stand, shape (..., 2).
        counts: Buses of either and out before, shape (..., 3).
        uniform: Draws from [0, 1), shape (..., revisions).

    Returns:
        Shape (..., 3), new.
    """
    counts = np.array(counts, dtype=np.int64)
    step = np.eye(3, dtype=np.int64)
    for r in range(uniform.shape[-1]):
        moves = revision(game, offers, counts)
        below = moves.reshape(*moves.shape[:-2], 9).cumsum(axis=-1)[..., :-1]
        source, target = np.divmod((below <= uniform[..., r, None]).sum(axis=-1), 3)
        counts += step[target] - step[source]
    return counts


def numbers(value: Any, name: str) -> Floats:
    """An array of finite numbers, or `ScenarioError` by its name."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ScenarioError(f"{name} is {value!r}; expected numbers.") from None
    if not np.isfinite(array).all():
        raise ScenarioError(f"{name} is {value!r}; expected finite numbers.")
    return array


def _check(offers: Any, noise: Any, outside: Any, worth_eur: Any) -> None:
    grid = numbers(offers, "offers")
    if grid.ndim != 1 or not grid.size or not (np.diff(grid) > 0).all():
        raise ScenarioError(f"offers are {offers}; expected a row of numbers, ascending.")
    if not (grid[0] >= 0.0 and grid[-1] <= MOST_OFFERED):
        raise PriceBoundError(
            f"offers reach from {grid[0]} to {grid[-1]}; expected shares of the real-time price "
            f"from 0 to {MOST_OFFERED:.4f}, what a profit factor of {Tariffs.profit_factor} leaves."
        )
    for name, value in (("noise", noise), ("worth_eur", worth_eur)):
        single = numbers(value, name)
        if single.ndim or not single > 0.0:
            raise ScenarioError(f"{name} is {value!r}; expected one number > 0.")
    if outside is not None and numbers(outside, "outside").ndim:
        raise ScenarioError(f"outside is {outside!r}; expected a number, or None for no option.")


def _whole(**counts: Any) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ScenarioError(f"{name} is {value!r}; expected a whole number, at least 1.")
