"""What a participant gains by an order that is not its true limit: exact on a grid.

Clearing a book is cheap, so every misreport of a grid is tried against the others' orders. The
gain is the strategy-proofness gap of a rule: 0 for all would make truth a dominant strategy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import OrderError
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.clearing import MIDDLE, clear
from flexgym.envs.local_market.orders import checked_orders

GRID = 101
"""Prices tried between the lowest and the highest of a book."""
SHARES = (1.0,)
_NUDGE = 1e-6
"""Prices this far beside those of others are tried, too: they undercut without a tie, EUR/kWh."""


@dataclass(frozen=True)
class Deviation:
    """The best misreport of a participant.

    Attributes:
        price_eur_per_kwh: What it posts.
        share: How much of its volume.
        truthful_eur: Its surplus over no trade if it posts its limit and all of its volume.
        surplus_eur: Its surplus by the misreport.
    """

    price_eur_per_kwh: float
    share: float
    truthful_eur: float
    surplus_eur: float

    @property
    def gain_eur(self) -> float:
        """What the misreport gains, >= 0."""
        return self.surplus_eur - self.truthful_eur


def price_grid(
    price: Floats, count: int = GRID, within: tuple[float, float] | None = None
) -> Floats:
    """Prices worth trying in a book: evenly spaced, each order's own, and just beside it.

    Args:
        price: Of the orders, shape (n,), EUR/kWh.
        count: How many evenly spaced ones.
        within: Lowest and highest price that can be posted; None is no limit.
    """
    low, high = (price.min(), price.max()) if within is None else within
    beside = np.concatenate([price - _NUDGE, price, price + _NUDGE])
    if within is not None:
        beside = beside.clip(low, high)
    return np.unique(np.concatenate([np.linspace(low, high, count), beside]))


def best_deviation(
    limit: ArrayLike,
    volume: ArrayLike,
    who: int,
    rule: str,
    *,
    posted: ArrayLike | None = None,
    prices: ArrayLike | None = None,
    shares: ArrayLike = SHARES,
    position: float = MIDDLE,
) -> Deviation:
    """The best order of one participant while all others keep to theirs.

    Args:
        limit: True limits, shape (n,), EUR/kWh.
        volume: Signed volumes, shape (n,), kWh.
        who: Who deviates.
        rule: One of `flexgym.envs.local_market.params.RULES`.
        posted: What the others post, shape (n,), EUR/kWh; None is the truth.
        prices: Prices that are tried; None is `price_grid`.
        shares: Shares of its volume that are tried, in [0, 1].
        position: Where in the equilibrium interval the uniform price lies.

    Returns:
        The best of all, the truth among them, so its gain is never negative.

    Raises:
        OrderError: Orders are no finite numbers, a share lies outside [0, 1], or ``who`` is nobody.
    """
    limits, volumes = checked_orders(limit, volume)
    limits, volumes = limits[0], volumes[0]
    if as_index(who) is None or not 0 <= who < len(limits):
        raise OrderError(f"who is {who!r}; expected a participant, 0 to {len(limits) - 1}.")
    others = limits if posted is None else checked_orders(posted, volumes)[0][0]
    tried = price_grid(others) if prices is None else checked_orders(prices, prices)[0].ravel()
    parts = checked_orders(np.zeros(np.shape(shares)), shares)[1]
    if not ((parts >= 0.0) & (parts <= 1.0)).all():
        raise OrderError(f"shares are {shares!r}; expected parts of the volume, from 0 to 1.")
    of_price, of_share = (x.ravel() for x in np.meshgrid(tried, parts))
    of_price = np.append(of_price, limits[who])
    of_share = np.append(of_share, 1.0)
    books = np.tile(others, (len(of_price), 1))
    wanted = np.tile(volumes, (len(of_price), 1))
    books[:, who] = of_price
    wanted[:, who] *= of_share
    traded, paid = clear(books, wanted, rule, position)
    surplus = limits[who] * traded[:, who] - paid[:, who]
    best = int(np.argmax(surplus))
    return Deviation(
        float(of_price[best]), float(of_share[best]), float(surplus[-1]), float(surplus[best])
    )


def truth_gap(limit: ArrayLike, volume: ArrayLike, rule: str, **options: ArrayLike) -> Floats:
    """What each participant could gain alone while all others are truthful, shape (n,), EUR."""
    _, volumes = checked_orders(limit, volume)
    return np.array(
        [
            best_deviation(limit, volume, i, rule, **options).gain_eur if volumes[0, i] else 0.0  # type: ignore[arg-type]
            for i in range(volumes.shape[1])
        ]
    )
