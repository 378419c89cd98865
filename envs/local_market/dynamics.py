"""From tariffs to limits, from actions to orders, from trade to accounts. Pure functions.

Arrays have the shape (m, n), markets and participants, in EUR, kWh and EUR/kWh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.envs.household.params import Floats


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
            ``min(value, retail)`` of who needs, ``max(cost, feed_in)`` of who has left. Who must
            buy what it sold forward has its retail price as limit, who has bought forward more
            than it needs its feed-in price.
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


@dataclass(frozen=True, eq=False)
class Accounts:
    """What an hour came to for each participant, shape (m, n).

    Attributes:
        served_kwh: Energy it needed and got.
        given_kwh: Energy it had left and gave.
        utility_kwh: Bought from the utility above 0, fed in below.
        utility_eur: Paid to the utility above 0.
        value_eur: What the energy it got was worth to it.
        cost_eur: What the energy it gave cost it.
    """

    served_kwh: Floats
    given_kwh: Floats
    utility_kwh: Floats
    utility_eur: Floats
    value_eur: Floats
    cost_eur: Floats


def settle(hour: Terms, inflow_kwh: Floats) -> Accounts:
    """Settle what market and contracts left with the utility, to each participant's best.

    Who needs more buys it from the utility if it is worth its retail price, and else goes without;
    who has more left feeds it in if that pays its cost, and else keeps it. What was sold and is
    not there must be bought.

    Args:
        hour: Terms of the hour.
        inflow_kwh: What came in by trade and contracts, above 0, or went out.
    """
    net, inflow = hour.net_kwh, inflow_kwh
    need, surplus = np.maximum(net, 0.0), np.maximum(-net, 0.0)
    served = np.where(hour.value >= hour.retail, need, np.clip(inflow, 0.0, need))
    given = np.where(hour.cost <= hour.feed_in, surplus, np.clip(-inflow, 0.0, surplus))
    utility = served - given - inflow
    unit = np.where(utility > 0.0, hour.retail, hour.feed_in)
    return Accounts(served, given, utility, unit * utility, hour.value * served, hour.cost * given)
