"""Order books: what participants ask for and offer in a period.

A participant has one order for a product and a period: its price and its signed volume, positive
to buy, negative to sell, zero for none. So nobody can trade with itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.errors import OrderError
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.params import LARGEST


def checked_orders(price: ArrayLike, volume: ArrayLike) -> tuple[Floats, Floats]:
    """Books as the clearing takes them.

    Args:
        price: Limit of each order, shape (m, n) or (n,), EUR/kWh; may be negative.
        volume: Signed volume, same shape, kWh: buys above 0, sells below, 0 is no order.

    Returns:
        Both as float64, shape (m, n).

    Raises:
        OrderError: Shapes differ, there is nobody, or a number is none, not finite or beyond
            `LARGEST`.
    """
    arrays = []
    for name, values in (("price", price), ("volume", volume)):
        try:
            array = np.asarray(values)
            good = array.dtype.kind in "fiu" and (np.abs(array, dtype=float) <= LARGEST).all()
        except (TypeError, ValueError):
            good = False
        if not good:
            raise OrderError(
                f"{name} holds {values!r}; expected finite numbers, of at most {LARGEST:g}. "
                "Give who has no order the volume 0 and any price."
            )
        arrays.append(np.ascontiguousarray(array, dtype=np.float64))
    of_price, of_volume = arrays
    if of_price.shape != of_volume.shape or of_price.ndim not in (1, 2) or not of_price.size:
        raise OrderError(
            f"price has shape {of_price.shape} and volume {of_volume.shape}; expected the same, "
            "(books, participants) or (participants,), with at least one of each."
        )
    return np.atleast_2d(of_price), np.atleast_2d(of_volume)


@dataclass(frozen=True, eq=False)
class Book:
    """The orders of one period.

    Attributes:
        names: Participants, n of them, all different.
        price_eur_per_kwh: Limits, shape (n,): the most that a buyer pays, the least that a seller
            takes; may be negative.
        volume_kwh: Signed volumes, shape (n,): buys above 0, sells below.

    Raises:
        OrderError: A name occurs twice, or numbers are none.
    """

    names: tuple[str, ...]
    price_eur_per_kwh: Floats
    volume_kwh: Floats

    def __post_init__(self) -> None:
        price, volume = checked_orders(self.price_eur_per_kwh, self.volume_kwh)
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if len(self.names) != price.size or len(price) != 1 or twice:
            raise OrderError(
                f"got {len(self.names)} names, {', '.join(map(repr, twice)) or 'none'} of them "
                f"twice, for {price.size} orders; expected one order of each participant. Add up "
                "what one of them wants, or give each product its own book."
            )
        for name, array in (("price_eur_per_kwh", price), ("volume_kwh", volume)):
            array = array[0].copy()
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def of(
        cls,
        *,
        sellers: Mapping[str, tuple[float, float]],
        buyers: Mapping[str, tuple[float, float]],
    ) -> Book:
        """A book from its two sides: price in EUR/kWh and volume in kWh of each participant.

        Raises:
            OrderError: A participant is on both sides, a volume is negative, or numbers are none.
        """
        both = sorted(set(sellers) & set(buyers))
        if both:
            raise OrderError(
                f"{', '.join(both)} would buy from itself; expected each participant on one side. "
                "Net what it has against what it needs."
            )
        names, price, volume = [], [], []
        for side, sign in ((sellers, -1.0), (buyers, 1.0)):
            for name, order in side.items():
                try:
                    its_price, its_volume = map(float, order)
                except (TypeError, ValueError):
                    raise OrderError(
                        f"the order of {name} is {order!r}; expected (price, volume)."
                    ) from None
                if not its_volume >= 0.0:
                    raise OrderError(
                        f"the volume of {name} is {its_volume} kWh; expected a number >= 0. The "
                        "side says whether it buys or sells."
                    )
                names.append(name)
                price.append(its_price)
                volume.append(sign * its_volume)
        return cls(tuple(names), np.array(price), np.array(volume))
