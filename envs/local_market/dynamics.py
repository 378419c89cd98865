"""From tariffs to limits, from actions to orders, from trade to accounts. Pure functions.

Arrays have the shape (m, n), markets and participants, in EUR, kWh and EUR/kWh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.household.params import Floats

ITEMS = ("value_eur", "cost_eur", "market_eur", "fee_eur", "contract_eur", "utility_eur")
"""What a participant's reward is made of: the first less all others."""
AMOUNTS = ("traded_kwh", "contract_kwh", "utility_kwh", "served_kwh", "given_kwh")
"""Energy beside it: bought above 0, sold below; what it needed and got, had left and gave."""


@dataclass(frozen=True, eq=False)
class Terms:
    """What an hour means to each participant.

    Attributes:
        net_kwh: What it needs (above 0) or has left (below), shape (m, n).
        position_kwh: The same after what contracts deliver: what it takes to the market.
        retail: Price at which the utility sells to it.
        feed_in: Price at which the utility buys from it, at most ``retail``.
        value: What a kWh that it needs is worth to it, at least ``feed_in``.
        cost: What a kWh that it gives away costs it, at most ``retail``.
        limit: The price at which the local market is as good as the utility, or as going without:
            ``min(value, retail)`` of who needs, ``max(cost, feed_in)`` of who has left; after
            contracts, of who still needs or still has some of that left. Where they turned the
            position's sign, who must buy what it sold forward has its retail price as limit, who
            has bought forward more than it needs its feed-in price. Where they made it larger, who
            needs some and sold forward besides, or has some left and bought forward besides, has
            two limits, of its own energy and of the contracts': an order has one price, and the
            limit is that of its own energy, the more cautious. At it nobody loses, but may leave
            to the utility what it could have traded a little better.
    """

    net_kwh: Floats
    position_kwh: Floats
    retail: Floats
    feed_in: Floats
    value: Floats
    cost: Floats
    limit: Floats


def terms(
    net_kwh: Floats,
    position_kwh: Floats,
    prices: tuple[Floats, Floats],
    factors: tuple[Floats, Floats, Floats, Floats],
) -> Terms:
    """Tariffs and limits of an hour.

    Args:
        net_kwh: Needs above 0, left over below, shape (m, n).
        position_kwh: The same less what contracts deliver, shape (m, n).
        prices: The hour's import and export price, each shape (m, 1).
        factors: Retail, feed-in and value factor and share of cost of each participant, see
            `flexgym.envs.local_market.params.Limits`, each shape (m, n).
    """
    retail_factor, feed_in_factor, value_factor, cost_share = factors
    retail = retail_factor * prices[0]
    feed_in = np.minimum(feed_in_factor * prices[1], retail)
    value = np.maximum(value_factor * retail, feed_in)
    cost = feed_in + cost_share * (retail - feed_in)
    buys = np.where(net_kwh > 0.0, np.minimum(value, retail), retail)
    sells = np.where(net_kwh < 0.0, np.maximum(cost, feed_in), feed_in)
    limit = np.where(position_kwh > 0.0, buys, sells)
    return Terms(net_kwh, position_kwh, retail, feed_in, value, cost, limit)


def orders_from_actions(hour: Terms, action: Floats) -> tuple[Floats, Floats]:
    """Prices and signed volumes that actions in [-1, 1] stand for.

    Args:
        hour: Terms of the hour.
        action: Shape (m, n, 2): the price from one's own feed-in price (-1) to one's own retail
            price (1), and how much of what one needs or has left to post, none (-1) to all (1).
    """
    price = hour.feed_in + 0.5 * (action[..., 0] + 1.0) * (hour.retail - hour.feed_in)
    return price, 0.5 * (action[..., 1] + 1.0) * hour.position_kwh


def actions_from_orders(hour: Terms, price: Floats, share: Floats) -> Floats:
    """Actions that post prices and shares, right inverse of `orders_from_actions`, (m, n, 2).

    Prices outside one's own tariffs become the nearest of them.
    """
    room = hour.retail - hour.feed_in
    at = np.divide(price - hour.feed_in, room, out=np.zeros_like(room), where=room > 0.0)
    return np.clip(np.stack([2.0 * at - 1.0, 2.0 * share - 1.0], axis=-1), -1.0, 1.0)


@compiled
def account(net, retail, feed_in, value, cost, trade, due, items, reward):
    """Settle with the utility what market and contracts left, to each participant's best.

    Who needs more buys it if it is worth its retail price, and else goes without; who has more
    left feeds it in if that pays its cost, and else keeps it. What was sold and is not there must
    be bought.

    Args:
        net: Needs above 0, left over below, shape (m, n), kWh.
        retail: Price at which the utility sells, same shape, EUR/kWh.
        feed_in: Price at which it buys.
        value: What a needed kWh is worth.
        cost: What a given kWh costs.
        trade: Traded kWh, paid EUR and fees of the market, three arrays (m, n).
        due: Delivered kWh, received above 0, and EUR paid for contracts, two arrays (m, n).
        items: Shape (11, m, n), overwritten: `ITEMS`, then `AMOUNTS`.
        reward: Shape (m, n), overwritten: the first item less the other five, EUR.
    """
    m, n = net.shape
    for r in range(m):
        for i in range(n):
            traded, delivered = trade[0][r, i], due[0][r, i]
            inflow = traded + delivered
            need, surplus = max(net[r, i], 0.0), max(-net[r, i], 0.0)
            served = need
            if value[r, i] < retail[r, i]:
                served = min(max(inflow, 0.0), need)
            given = surplus
            if cost[r, i] > feed_in[r, i]:
                given = min(max(-inflow, 0.0), surplus)
            utility = served - given - inflow
            eur = utility * (retail[r, i] if utility > 0.0 else feed_in[r, i])
            items[0, r, i], items[1, r, i] = value[r, i] * served, cost[r, i] * given
            items[2, r, i], items[3, r, i] = trade[1][r, i], trade[2][r, i]
            items[4, r, i], items[5, r, i] = due[1][r, i], eur
            items[6, r, i], items[7, r, i], items[8, r, i] = traded, delivered, utility
            items[9, r, i], items[10, r, i] = served, given
            out = items[0, r, i]
            for k in range(1, 6):
                out -= items[k, r, i]
            reward[r, i] = out
