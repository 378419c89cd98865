"""An auction of one market: orders in, trades or contracts out, every message on the log."""

from __future__ import annotations

import numpy as np

from flexgym.envs.errors import ContractError
from flexgym.envs.local_market.clearing import MIDDLE, equilibrium_interval, pair_trades
from flexgym.envs.local_market.clearing_house import ClearingHouse
from flexgym.envs.local_market.contracts import Forward, Option, PriceFormula
from flexgym.envs.local_market.messages import PRODUCTS
from flexgym.envs.local_market.orders import Book

_FIXED = PriceFormula(0.0)


def hold_auction(
    house: ClearingHouse,
    book: Book,
    product: str = "spot",
    rule: str = "uniform",
    position: float = MIDDLE,
    *,
    delivery: int | None = None,
    strike_eur_per_kwh: float | None = None,
    supplement: PriceFormula = _FIXED,
) -> float:
    """Clear a book and enter what comes of it: a trade or a contract for each matched pair.

    Args:
        house: Keeps the accounts; who orders must have joined.
        book: Orders; prices are premiums where options are sold, else prices of energy.
        product: ``"spot"``, ``"forward"`` or ``"option"`` (calls that expire with delivery).
        rule: Price rule.
        position: Where in the equilibrium interval the uniform price lies.
        delivery: Period of delivery of contracts.
        strike_eur_per_kwh: Strike of options.
        supplement: What a condition adds to the price of forwards.

    Returns:
        Volume traded, kWh.

    Raises:
        ContractError: The product is unknown or its terms are missing, somebody has not joined or
            may enter no contract, or a premium is negative. Then nothing has happened.
        OrderError: The rule is unknown.
    """
    if product not in PRODUCTS:
        raise ContractError(f"product is {product!r}; expected one of {', '.join(PRODUCTS)}.")
    later = delivery is not None and delivery > house.period
    if (product != "spot") != later or (product == "option") != (strike_eur_per_kwh is not None):
        raise ContractError(
            f"delivery is {delivery} and strike_eur_per_kwh {strike_eur_per_kwh} for {product}; "
            "expected a later period for contracts and none for spot, a strike for options only."
        )
    price, volume = book.price_eur_per_kwh, book.volume_kwh
    kwh, eur = pair_trades(price, volume, rule, position)
    some = volume != 0.0
    house.ledger.check_known(*book.names)
    if product == "option" and (price[some] < 0.0).any():
        raise ContractError("a premium is negative; expected >= 0: a right without duty.")
    if product != "spot":
        house.check_free(*(name for name, there in zip(book.names, some, strict=True) if there))
    for name, wanted, limit in zip(book.names, volume.tolist(), price.tolist(), strict=True):
        if wanted:
            house.post(name, product, wanted, limit)
    for buyer, seller in np.argwhere(kwh > 0.0):
        first, second = book.names[seller], book.names[buyer]
        amount = float(kwh[buyer, seller])
        unit = float(eur[buyer, seller]) / amount
        id = f"{product} {delivery}, {len(house.log)}"
        if delivery is None:
            house.trade(first, second, amount, unit)
        elif strike_eur_per_kwh is None:
            terms = PriceFormula(
                unit, supplement.slope_eur_per_kwh, supplement.reference,
                supplement.low_eur_per_kwh, supplement.high_eur_per_kwh,
            )  # fmt: skip
            house.strike(Forward(id, first, second, delivery, amount, terms), ordered=True)
        else:
            numbers = delivery, delivery, amount, strike_eur_per_kwh, max(unit, 0.0)
            house.sell(Option(id, first, second, *numbers), ordered=True)
    low, high = (float(end[0]) for end in equilibrium_interval(price, volume))
    ends = (end if np.isfinite(end) else None for end in (low, high))
    house.publish(product, float(kwh.sum()), *ends)
    return float(kwh.sum())
