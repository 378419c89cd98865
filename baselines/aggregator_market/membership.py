"""One contest of aggregators for buses: every profile of offers is tried, nothing is assumed.

Buses join an aggregator with a chance that grows with its offer (a logit choice); staying out
is an option too, without which a cartel would pay nothing. The rules are those of
`flexgym.envs.aggregator_market.competition`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.aggregator_market.competition import (
    WORTH_EUR,
    Contest,
    earned_eur,
    joining,
    numbers,
)
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats

OFFERS = Contest.offers
"""Shares of the real-time price; 0.909 is the most that a profit factor of 1.10 leaves."""
MOST_PROFILES = 4_000_000


@dataclass(frozen=True, eq=False)
class Membership:
    """Outcomes of the contest.

    Attributes:
        offers: Shares of the real-time price that may be offered, shape (g,).
        earned_eur: Daily earnings of each aggregator in each profile, shape (g, ..., g, k), EUR.
        regret_eur: The most that anyone could gain by another offer alone, shape (g, ..., g); the
            certificate of an equilibrium is 0.
    """

    offers: Floats
    earned_eur: Floats
    regret_eur: Floats

    @property
    def equilibria(self) -> NDArray[np.int64]:
        """Positions of the offers of every pure Nash equilibrium, shape (n, k); may be none."""
        return np.argwhere(self.regret_eur <= 0.0)

    @property
    def least_regret(self) -> tuple[int, ...]:
        """Profile from which nobody gains much by leaving: an equilibrium, if there is one."""
        return _place(self.regret_eur.argmin(), self.regret_eur.shape)

    @property
    def cartel(self) -> tuple[int, ...]:
        """Profile that earns the aggregators most together."""
        total = self.earned_eur.sum(axis=-1)
        return _place(total.argmax(), total.shape)


def membership(
    offers: ArrayLike = OFFERS,
    noise: float = 0.1,
    outside: float | None = 0.7,
    trust: ArrayLike = (0.0, 0.0, 0.0),
    worth_eur: float = WORTH_EUR,
) -> Membership:
    """Try every profile of offers.

    Args:
        offers: Shares of the real-time price that may be offered, shape (g,).
        noise: Spread of tastes, theta.
        outside: What staying out is worth to a bus, as an offer; None is no such option.
        trust: What each aggregator's name is worth, as an offer, shape (k,).
        worth_eur: What the flexibility of all buses earns in a day, EUR.

    Raises:
        ScenarioError: ``noise`` is not positive, or there are too many profiles to try.
        PriceBoundError: An offer lies outside bound (10).
    """
    contest = Contest(
        tuple(np.atleast_1d(numbers(offers, "offers")).tolist()),
        noise,
        outside,
        tuple(np.atleast_1d(numbers(trust, "trust")).tolist()),
        worth_eur=worth_eur,
    )
    return every_profile(contest)


def every_profile(contest: Contest) -> Membership:
    """The same of a contest as the environment plays it.

    Raises:
        ScenarioError: There are too many profiles to try.
    """
    phi = np.asarray(contest.offers)
    g, k = len(phi), len(contest.trust)
    if g**k > MOST_PROFILES:
        raise ScenarioError(
            f"{g} offers of {k} aggregators are {g**k} profiles; expected at most "
            f"{MOST_PROFILES}. Offer fewer."
        )
    profile = np.stack(np.meshgrid(*[phi] * k, indexing="ij"), axis=-1)
    earned = earned_eur(contest.worth_eur, profile, joining(contest, profile))
    best = [earned[..., i].max(axis=i, keepdims=True) for i in range(k)]
    regret = np.max([b - earned[..., i] for i, b in enumerate(best)], axis=0)
    return Membership(phi, earned, regret)


def _place(flat: np.intp, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, shape))
