"""An auction of one market: orders in, trades or contracts out, every message on the log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import ContractError, OrderError
from flexgym.envs.local_market import messages as m
from flexgym.envs.local_market.clearing import MIDDLE, equilibrium_interval, pair_trades
from flexgym.envs.local_market.clearing_house import ClearingHouse
from flexgym.envs.local_market.contracts import Forward, Option, PriceFormula, check_supplement
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
        supplement: What a condition adds to the price of forwards; its base must be 0.

    Returns:
        Volume traded, kWh.

    Raises:
        ContractError: The product is unknown or its terms are missing or unusable, somebody has not
            joined, may enter no contract or buys too dear for its debts, or a premium is negative.
        OrderError: It is no book, or the rule is unknown.

    Nothing has happened then.
    """
    if product not in PRODUCTS:
        raise ContractError(f"product is {product!r}; expected one of {', '.join(PRODUCTS)}.")
    if not isinstance(book, Book):
        raise OrderError(f"book is {book!r}; expected a Book of orders.")
    _check_terms(house.period, product, delivery, strike_eur_per_kwh, supplement)
    price, volume = book.price_eur_per_kwh, book.volume_kwh
    kwh, eur = pair_trades(price, volume, rule, position)
    house.ledger.check_known(*book.names)
    orders = [
        m.OrderPosted(house.period, *order)
        for order in zip(
            book.names, [product] * len(book.names), volume.tolist(), price.tolist(), strict=True
        )
        if order[2] != 0.0
    ]
    for order in orders:
        if product == "spot":
            house.check_spot(order.participant, order.signed_kwh, order.price_eur_per_kwh)
        else:
            house.check_free(order.participant)
        if product == "option" and order.price_eur_per_kwh < 0.0:
            raise ContractError("a premium is negative; expected >= 0: a right without duty.")
    low, high = (float(end[0]) for end in equilibrium_interval(price, volume))
    ends = [end if np.isfinite(end) else None for end in (low, high)]
    # Every contract is made, and so found usable, before the first is entered.
    number, deals = len(house.log) + len(orders), []
    for buyer, seller in np.argwhere(kwh > 0.0):
        parties = book.names[seller], book.names[buyer]
        amount = float(kwh[buyer, seller])
        unit = float(eur[buyer, seller]) / amount
        if delivery is None:
            deals.append(m.SpotTraded(house.period, *parties, amount, unit))
            continue
        while house.knows(id := f"{product} {delivery}, {number}"):
            number += 1
        number += 1
        if strike_eur_per_kwh is None:
            terms = replace(supplement, base_eur_per_kwh=unit)
            deals.append(Forward(id, *parties, delivery, amount, terms))
        else:
            numbers = delivery, delivery, amount, strike_eur_per_kwh, max(unit, 0.0)
            deals.append(Option(id, *parties, *numbers))
    for order in orders:
        numbers = order.signed_kwh, order.price_eur_per_kwh
        house.post(order.participant, product, *numbers)
    for deal in deals:
        if isinstance(deal, Forward):
            house.strike(deal, ordered=True)
        elif isinstance(deal, Option):
            house.sell(deal, ordered=True)
        else:
            numbers = deal.volume_kwh, deal.price_eur_per_kwh
            house.trade(deal.seller, deal.buyer, *numbers, ordered=True)
    house.publish(product, float(kwh.sum()), *ends)
    return float(kwh.sum())


def _check_terms(
    period: int,
    product: str,
    delivery: int | None,
    strike_eur_per_kwh: float | None,
    supplement: PriceFormula,
) -> None:
    later = None if delivery is None else as_index(delivery)
    good = delivery is None if product == "spot" else later is not None and later > period
    if not good or (product == "option") != (strike_eur_per_kwh is not None):
        raise ContractError(
            f"delivery is {delivery} and strike_eur_per_kwh {strike_eur_per_kwh} for {product}; "
            "expected a later period for contracts and none for spot, a strike for options only."
        )
    check_supplement(supplement)
