"""One contest of aggregators for buses: every profile of offers is tried, nothing is assumed.

Buses join an aggregator with a chance that grows with its offer (a logit choice); staying out
is an option too, without which a cartel would pay nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats

OFFERS = tuple(np.round(np.arange(0.50, 0.905, 0.01), 2).tolist())
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
    worth_eur: float = 322.291,
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
    """
    phi, name = np.asarray(offers, dtype=np.float64), np.asarray(trust, dtype=np.float64)
    if not noise > 0 or phi.ndim != 1 or name.ndim != 1 or not phi.size or not name.size:
        raise ScenarioError(
            f"noise is {noise}, offers have shape {phi.shape}, trust {name.shape}; expected "
            "noise > 0 and one row of numbers each."
        )
    g, k = len(phi), len(name)
    if g**k > MOST_PROFILES:
        raise ScenarioError(
            f"{g} offers of {k} aggregators are {g**k} profiles; expected at most "
            f"{MOST_PROFILES}. Offer fewer."
        )
    profile = np.stack(np.meshgrid(*[phi] * k, indexing="ij"), axis=-1)
    appeal = (profile + name) / noise
    stay = -np.inf if outside is None else outside / noise
    top = np.maximum(appeal.max(axis=-1), stay)
    weight = np.exp(appeal - top[..., None])
    share = weight / (weight.sum(axis=-1) + np.exp(stay - top))[..., None]
    earned = worth_eur * (1.0 - profile) * share
    best = [earned[..., i].max(axis=i, keepdims=True) for i in range(k)]
    regret = np.max([b - earned[..., i] for i, b in enumerate(best)], axis=0)
    return Membership(phi, earned, regret)


def _place(flat: np.intp, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, shape))
