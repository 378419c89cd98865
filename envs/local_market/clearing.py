"""Clearing by merit order under three price rules; compiled, many books at a time.

Buyers stand in falling, sellers in rising order of price. The first buyer takes the cheapest
offers that are still there, then the second, until a bid is below the next offer. Equal prices
share in proportion to volume, so it never matters who comes first in the arrays. What is traded is
the same under every rule, and no other trade is worth more; only payments differ:

* ``"pay-as-bid"``: the buyer pays the seller's ask, offer by offer, as in the source ("buying the
  energy from the lowest price offers"). So a higher bid gets the cheaper offers.
* ``"uniform"``: one price for all within the equilibrium interval, by default its middle.
* ``"mid-price"``: each pair trades at the mean of its bid and ask.

All three balance the budget and leave nobody at a loss against its own order. By Myerson and
Satterthwaite (1983) no such rule that is efficient can also be strategy-proof; under each of them
somebody gains by a misreport, see `flexgym.baselines.local_market.deviations`.

Bid equal to ask trades. Volume 0 is no order, and nothing is ever matched with it. Where nobody
trades (a side is empty, or the best bid is below the best ask), volumes and payments are 0.
"""

from __future__ import annotations

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.compiled import compiled
from flexgym.envs.errors import OrderError
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.orders import checked_orders
from flexgym.envs.local_market.params import RULES

PAY_AS_BID, UNIFORM, MID_PRICE = range(len(RULES))
MIDDLE = 0.5
_FEW = 64
_NEGLIGIBLE = 1e-12
"""Share of an order that counts as nothing: volumes that differ by rounding are equal."""


@compiled
def _in_order(price, volume, sign, order):
    """List who buys (sign 1, falling price) or sells (-1, rising price); returns how many.

    Equal prices by volume, so that sums over them are the same whoever stands first.
    """
    count = 0
    for i in range(len(price)):
        if sign * volume[i] > 0.0:
            order[count] = i
            count += 1
    if count > _FEW:
        key = np.empty(count)
        for k in range(count):
            key[k] = -sign * price[order[k]]
        order[:count] = order[:count][np.argsort(key)]
    for k in range(1, count):
        i = order[k]
        at = k
        while at > 0:
            j = order[at - 1]
            gain = sign * (price[i] - price[j])
            if gain < 0.0 or (gain == 0.0 and sign * (volume[i] - volume[j]) >= 0.0):
                break
            order[at] = j
            at -= 1
        order[at] = i
    return count


@compiled
def _group(price, volume, order, first, count):
    """End of the group of equal price that begins at ``first``, and its volume (> 0)."""
    last, total = first, 0.0
    while last < count and price[order[last]] == price[order[first]]:
        total += abs(volume[order[last]])
        last += 1
    return last, total


@compiled
def match(price, volume, buyers, sellers, groups, amounts):
    """Walk down the merit order of one book.

    Args:
        price: Shape (n,), EUR/kWh.
        volume: Signed, shape (n,), kWh.
        buyers: Shape (n,), overwritten: positions of the buyers in their order.
        sellers: Likewise of the sellers.
        groups: Shape (n, 4), overwritten: each match's first and last + 1 buyer, and seller.
        amounts: Shape (n, 3), overwritten: its kWh, and all that its buyers and sellers want.

    Returns:
        Number of matches, and the equilibrium interval, EUR/kWh.
    """
    n_buy, n_sell = _in_order(price, volume, 1.0, buyers), _in_order(price, volume, -1.0, sellers)
    matches, low, high = 0, -np.inf, np.inf
    b0, s0 = 0, 0
    b1, wanted = _group(price, volume, buyers, b0, n_buy)
    s1, offered = _group(price, volume, sellers, s0, n_sell)
    need, have = wanted, offered
    # Each match ends a group, so there are fewer than orders; the bound guards the arrays.
    while (
        matches < len(amounts)
        and b0 < n_buy
        and s0 < n_sell
        and price[buyers[b0]] >= price[sellers[s0]]
    ):
        kwh = min(need, have)
        groups[matches, 0], groups[matches, 1] = b0, b1
        groups[matches, 2], groups[matches, 3] = s0, s1
        amounts[matches, 0], amounts[matches, 1], amounts[matches, 2] = kwh, wanted, offered
        matches += 1
        low, high = price[sellers[s0]], price[buyers[b0]]
        need, have = need - kwh, have - kwh
        if need <= _NEGLIGIBLE * wanted:
            b0 = b1
            b1, wanted = _group(price, volume, buyers, b0, n_buy)
            need = wanted
        if have <= _NEGLIGIBLE * offered:
            s0 = s1
            s1, offered = _group(price, volume, sellers, s0, n_sell)
            have = offered
    # Who still wants some must not want it at an equilibrium price.
    if b0 < n_buy:
        low = max(low, price[buyers[b0]])
    if s0 < n_sell:
        high = min(high, price[sellers[s0]])
    return matches, low, high


@compiled
def _share(side, sign, groups, amounts, order, volume, unit, traded, paid):
    """Give the members of one side their part of every match; side 0 buys, 1 sells."""
    matches = len(unit)
    k = 0
    while k < matches:
        first, last, total = groups[k, 2 * side], groups[k, 2 * side + 1], amounts[k, 1 + side]
        kwh, eur = 0.0, 0.0
        while k < matches and groups[k, 2 * side] == first:
            kwh += amounts[k, 0]
            eur += amounts[k, 0] * unit[k]
            k += 1
        for at in range(first, last):
            i = order[at]
            part = sign * abs(volume[i]) / total
            traded[i] = part * kwh
            paid[i] = part * eur


@compiled
def unit_prices(rule, position, price, buyers, sellers, groups, low, high, unit):
    """Price of each match, shape (matches,), EUR/kWh, written to ``unit``."""
    for k in range(len(unit)):
        bid, ask = price[buyers[groups[k, 0]]], price[sellers[groups[k, 2]]]
        if rule == PAY_AS_BID:
            unit[k] = ask
        elif rule == UNIFORM:
            unit[k] = low + position * (high - low)
        else:
            unit[k] = 0.5 * (bid + ask)


@compiled
def clear_books(rule, position, price, volume, traded, paid, interval):
    """Clear m books.

    Args:
        rule: Position of the rule in `RULES`.
        position: Where in the equilibrium interval the uniform price lies, from 0 to 1.
        price: Shape (m, n), EUR/kWh, finite.
        volume: Signed, shape (m, n), kWh, finite.
        traded: Shape (m, n), overwritten: bought above 0, sold below, kWh.
        paid: Shape (m, n), overwritten: paid above 0, received below, EUR.
        interval: Shape (m, 2), overwritten: lowest and highest equilibrium price, EUR/kWh;
            infinite where a side is empty.
    """
    m, n = price.shape
    buyers, sellers = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    groups, amounts = np.empty((n, 4), dtype=np.int64), np.empty((n, 3))
    units = np.empty(n)
    for r in range(m):
        matches, low, high = match(price[r], volume[r], buyers, sellers, groups, amounts)
        interval[r, 0], interval[r, 1] = low, high
        traded[r], paid[r] = 0.0, 0.0
        unit = units[:matches]
        unit_prices(rule, position, price[r], buyers, sellers, groups, low, high, unit)
        _share(0, 1.0, groups, amounts, buyers, volume[r], unit, traded[r], paid[r])
        _share(1, -1.0, groups, amounts, sellers, volume[r], unit, traded[r], paid[r])


def rule_number(rule: str, position: float = MIDDLE) -> int:
    """Position of a rule in `RULES`.

    Raises:
        OrderError: There is no such rule, or ``position`` lies outside [0, 1].
    """
    if not isinstance(rule, str) or rule not in RULES:
        raise OrderError(f"rule is {rule!r}; expected one of {', '.join(RULES)}.")
    number = isinstance(position, Real) and not isinstance(position, bool)
    if not number or not 0.0 <= position <= 1.0:
        raise OrderError(f"position is {position!r}; expected a share of the interval, 0 to 1.")
    return RULES.index(rule)


def clear(
    price: ArrayLike, volume: ArrayLike, rule: str, position: float = MIDDLE
) -> tuple[Floats, Floats]:
    """What is traded and paid in m books.

    Args:
        price: Limits, shape (m, n) or (n,), EUR/kWh; may be negative.
        volume: Signed volumes, same shape, kWh: buys above 0, sells below.
        rule: One of `RULES`.
        position: Where in the equilibrium interval the uniform price lies, from 0 (buyers' best)
            to 1 (sellers' best).

    Returns:
        Traded volumes, shape (m, n), kWh, with the orders' signs; and payments, shape (m, n),
        EUR, above 0 for buyers at positive prices. Both add up to 0 in every book.

    Raises:
        OrderError: Orders are no finite numbers or the rule is unknown.
    """
    number = rule_number(rule, position)
    prices, volumes = checked_orders(price, volume)
    traded, paid = np.empty(prices.shape), np.empty(prices.shape)
    clear_books(number, position, prices, volumes, traded, paid, np.empty((len(prices), 2)))
    return traded, paid


def equilibrium_interval(price: ArrayLike, volume: ArrayLike) -> tuple[Floats, Floats]:
    """Lowest and highest price at which nobody wants what nobody offers.

    At these prices and no others demand and supply can be equal, if those whose limit it is take
    or leave. Without trade it reaches from the best bid to the best ask; a side that is empty
    leaves its end infinite.

    Args:
        price: Limits, shape (m, n) or (n,), EUR/kWh.
        volume: Signed volumes, same shape, kWh.

    Returns:
        Lowest and highest, each shape (m,), EUR/kWh.

    Raises:
        OrderError: Orders are no finite numbers.
    """
    prices, volumes = checked_orders(price, volume)
    unused, interval = np.empty(prices.shape), np.empty((len(prices), 2))
    clear_books(UNIFORM, MIDDLE, prices, volumes, unused, unused.copy(), interval)
    return interval[:, 0], interval[:, 1]


def pair_trades(
    price: ArrayLike, volume: ArrayLike, rule: str, position: float = MIDDLE
) -> tuple[Floats, Floats]:
    """Who buys how much from whom in one book.

    Args:
        price: Limits, shape (n,), EUR/kWh.
        volume: Signed volumes, shape (n,), kWh.
        rule: One of `RULES`.
        position: As for `clear`.

    Returns:
        Volumes, shape (n, n), kWh, row the buyer, column the seller; and what is paid for them,
        shape (n, n), EUR. Row sums are what `clear` says of buyers, column sums of sellers.

    Raises:
        OrderError: Orders are no finite numbers, of more than one book, or the rule is unknown.
    """
    number = rule_number(rule, position)
    prices, volumes = checked_orders(price, volume)
    if len(prices) != 1:
        raise OrderError(f"got {len(prices)} books; expected one. Call it for each.")
    p, v = prices[0], volumes[0]
    n = len(p)
    buyers, sellers = np.empty((2, n), dtype=np.int64)
    groups, amounts = np.empty((n, 4), dtype=np.int64), np.empty((n, 3))
    matches, low, high = match(p, v, buyers, sellers, groups, amounts)
    unit = np.empty(matches)
    unit_prices(number, position, p, buyers, sellers, groups, low, high, unit)
    kwh, eur = np.zeros((2, n, n))
    for k in range(matches):
        of_buyers, of_sellers = (
            order[groups[k, first] : groups[k, first + 1]]
            for order, first in ((buyers, 0), (sellers, 2))
        )
        share = np.outer(v[of_buyers] / amounts[k, 1], -v[of_sellers] / amounts[k, 2])
        kwh[np.ix_(of_buyers, of_sellers)] += amounts[k, 0] * share
        eur[np.ix_(of_buyers, of_sellers)] += amounts[k, 0] * unit[k] * share
    return kwh, eur
