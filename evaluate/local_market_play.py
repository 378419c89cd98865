"""Play policies of the local market on common random numbers, beside their references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np
from gymnasium.utils import seeding

from flexgym.baselines.local_market.deviations import best_deviation, price_grid, truth_gap
from flexgym.baselines.local_market.welfare import tree_welfare
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.dynamics import Terms, actions_from_orders, orders_from_actions
from flexgym.envs.local_market.scenario import LocalMarketScenario
from flexgym.envs.local_market.simulation import LocalMarketSimulation
from flexgym.policies.local_market import LocalMarketPolicy

LEARNER = 0
"""Position of the one who is scored among truthful others."""


@dataclass(frozen=True, eq=False)
class LocalDays:
    """What came of m days.

    Attributes:
        policy: Its name.
        reward_eur: Of each participant, shape (m, n), EUR a day.
        traded_kwh: Bought in the market, shape (m,), kWh a day.
        fee_eur: Paid to the network, shape (m,), EUR a day.
        imbalance_eur: Largest sum of what all paid in an hour's market, EUR: 0 but for rounding.
        totals: `ITEMS` and `AMOUNTS` of each participant's day by name, each shape (m, n).
    """

    policy: str
    reward_eur: Floats
    traded_kwh: Floats
    fee_eur: Floats
    imbalance_eur: float
    totals: Mapping[str, Floats] = field(default_factory=dict)


def begun(scenario: LocalMarketScenario, rule: str, days: int, seed: int) -> LocalMarketSimulation:
    """Markets at the beginning of their days; day i is that of the environment seeded seed + i."""
    market = LocalMarketSimulation(scenario, days, rule=rule)
    begin_days(market, seed)
    return market


def begin_days(market: LocalMarketSimulation, seed: int) -> None:
    """Begin the days of all markets of a simulation, the first with the seed."""
    market.begin([seeding.np_random(seed + i)[0] for i in range(market.n)])


def play(
    policy: LocalMarketPolicy,
    scenario: LocalMarketScenario,
    rule: str,
    days: int,
    seed: int = 0,
    *,
    alone: bool = False,
) -> LocalDays:
    """Play days.

    Args:
        policy: What all participants do.
        scenario: The neighbourhood, without a wholesaler.
        rule: Who pays what.
        days: How many, m.
        seed: Of the first.
        alone: Whether one participant follows the policy and all others are truthful.
    """
    market = begun(scenario, rule, days, seed)
    policy.begin(market)
    imbalance = 0.0
    while not market.done:
        price, share = policy.orders(market)
        if alone:
            own = np.arange(market.participants) == LEARNER
            price = np.where(own, price, market.hour.limit)
            share = np.where(own, share, 1.0)
        market.post(price, share)
        imbalance = max(imbalance, float(np.abs(market.accounts["market_eur"].sum(axis=1)).max()))
    totals = dict(zip(market.accounts, market.totals, strict=True))
    value, *costs = market.totals[:6]
    return LocalDays(
        policy.name,
        value - sum(costs),
        0.5 * np.abs(totals["traded_kwh"]).sum(axis=1),
        totals["fee_eur"].sum(axis=1),
        imbalance,
        totals,
    )


def best_welfare(scenario: LocalMarketScenario, days: int, seed: int = 0) -> Floats:
    """What the best trade of every hour adds to the utility alone, shape (m,), EUR a day."""
    market = begun(scenario, "uniform", days, seed)
    worth = np.zeros(days)
    while not market.done:
        hour = market.hour
        worth += tree_welfare(scenario.hierarchy, hour.limit, hour.position_kwh).welfare_eur
        market.post(hour.limit, 0.0)
    return worth


def best_response(scenario: LocalMarketScenario, rule: str, days: int, seed: int = 0) -> LocalDays:
    """The best that one participant can do against truthful others, hour by hour on a grid.

    What it posts in an hour changes nothing of later ones, so the best hours are the best day.
    See `best_orders`.
    The scenario must be one market for all.
    """
    market = begun(scenario, rule, days, seed)
    traded = np.zeros(days)
    while not market.done:
        market.post(*best_orders(market.hour, rule))
        traded += np.abs(market.accounts["traded_kwh"][:, LEARNER])
    value, *costs = market.totals[:6]
    return LocalDays("best response", value - sum(costs), traded, np.zeros(days), 0.0)


def best_orders(hour: Terms, rule: str) -> tuple[Floats, Floats]:
    """Prices and shares in which all but one are truthful and that one does its best, (m, n).

    It tries prices within its own tariffs only, as its actions can post no others.
    """
    price, share = hour.limit.copy(), np.ones_like(hour.limit)
    for r in np.flatnonzero(hour.position_kwh[:, LEARNER]).tolist():
        ends = float(hour.feed_in[r, LEARNER]), float(hour.retail[r, LEARNER])
        found = best_deviation(
            hour.limit[r], hour.position_kwh[r], LEARNER, rule,
            prices=_postable(hour, int(r), price_grid(hour.limit[r], within=ends)),
            shares=np.linspace(0.25, 1.0, 4),
        )  # fmt: skip
        price[r, LEARNER], share[r, LEARNER] = found.price_eur_per_kwh, found.share
    return price, share


def _postable(hour: Terms, row: int, price: Floats) -> Floats:
    """Those prices, to the last digit, that an action posts: a tie may hang on that digit."""
    mine = (getattr(hour, one.name)[row, LEARNER] for one in fields(Terms))
    own = Terms(*(np.full((len(price), 1), value) for value in mine))

    def posted(prices: Floats) -> Floats:
        action = actions_from_orders(own, prices, np.ones_like(prices))
        return orders_from_actions(own, action)[0]

    near = posted(posted(price[:, None]))
    return near[posted(near) == near]


def truth_gap_percent(scenario: LocalMarketScenario, rule: str, days: int, seed: int = 0) -> float:
    """What misreports of one at a time would gain, summed over all, in percent of the welfare.

    Of every third hour; the scenario must be one market for all.
    """
    market = begun(scenario, rule, days, seed)
    gain = worth = 0.0
    while not market.done:
        hour, asked = market.hour, market.t % 3 == 1
        market.post(hour.limit)
        if asked:
            worth += float((hour.limit * market.clearing.traded_kwh).sum())
            for r in range(days):
                gain += float(truth_gap(hour.limit[r], hour.position_kwh[r], rule).sum())
    return 100.0 * gain / worth if worth > 0.0 else 0.0


def jain(gains: Floats) -> float:
    """Jain's index of gains, shape (m, n), mean over days: 1 if all gain alike, 1/n if only one."""
    g = _some(gains)
    return float((g.sum(axis=1) ** 2 / (g.shape[1] * np.square(g).sum(axis=1))).mean())


def gini(gains: Floats) -> float:
    """Gini coefficient of gains, shape (m, n), mean over days: 0 if all gain alike."""
    g = np.sort(_some(gains), axis=1)
    n = g.shape[1]
    rank = np.arange(1, n + 1)
    return float((2.0 * (rank * g).sum(axis=1) / (n * g.sum(axis=1)) - (n + 1) / n).mean())


def _some(gains: Floats) -> Floats:
    """Gains of the days on which somebody gains; losses count as none."""
    g = np.maximum(gains, 0.0)
    return g[g.sum(axis=1) > 0.0]


def consumers_percent(scenario: LocalMarketScenario, gains: Floats, days: int, seed: int) -> float:
    """What of all gains those without a roof have, %."""
    roof = begun(scenario, "uniform", days, seed).days.roof_kw
    return 100.0 * float(gains[roof == 0.0].sum() / gains.sum())
