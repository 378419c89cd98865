"""Play a policy of the market on common random numbers, through the environment's own seats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gymnasium.utils import seeding

from flexgym.envs.aggregator_market.accounts import HOUR_NAMES
from flexgym.envs.aggregator_market.play import MarketPlay
from flexgym.envs.aggregator_market.scenario import MarketScenario
from flexgym.envs.aggregator_market.simulation import MarketSimulation
from flexgym.envs.household.params import Floats
from flexgym.policies.market import MarketPolicy, actions_of

_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class MarketDays:
    """What a policy came to on n days.

    Attributes:
        policy: Its name.
        earned_eur: Reward of each agent that is scored, shape (n, agents), EUR: of the DSO, of
            each aggregator, or of all buses together.
        customers_eur: Paid to the customers of each aggregator, shape (n, K), EUR.
        settled_eur: Settlement of each agent that is scored, shape (n, agents), EUR.
        square: Mean over the hours of the square of each aggregator's magnetisation, (n, K).
        totals: Sums over the day, shape (n, names), columns `HOUR_NAMES`; extremes of voltages.
    """

    policy: str
    earned_eur: Floats
    customers_eur: Floats
    settled_eur: Floats
    square: Floats
    totals: Floats

    def total(self, name: str) -> Floats:
        """One of `HOUR_NAMES` of each day, shape (n,)."""
        return self.totals[:, HOUR_NAMES.index(name)]


def play_market(
    policy: MarketPolicy,
    scenario: MarketScenario,
    days: int,
    seed: int = 0,
    *,
    power_flow: bool = True,
    progress: Callable[[int], object] | None = None,
) -> MarketDays:
    """Play days; day i is that of the environment seeded ``seed + i``.

    The role alone learns, so that the others are silent and it pays the settlement. Buses are
    paid welfare, everybody else what `Seats` gives.

    Args:
        policy: Who acts.
        scenario: The market.
        days: How many.
        seed: Of the first.
        power_flow: Whether voltages and losses are computed.
        progress: Called with the number of days finished since the last call.
    """
    role, parts = policy.role, []
    share = np.array([group.share for group in scenario.groups])
    for first in range(0, days, _CHUNK):
        n = min(_CHUNK, days - first)
        reward = "welfare" if role == "buses" else None
        play = MarketPlay(n, (role,), scenario, reward=reward, power_flow=power_flow)
        market = play.market
        play.begin([seeding.np_random(seed + first + i)[0] for i in range(n)])
        policy.begin(market)
        earned = np.zeros((n, len(play.seats.agents[role])))
        paid, square = np.zeros((2, n, scenario.n_aggregators))
        while not play.done:
            moves = policy.act(market)
            play.seats.play(market, {role: actions_of(market, role, moves)})
            mean = market.group_magnetisation
            earned += play.rewards(role)
            paid += market.money.energy_mwh * market.quote * share * mean
            square += mean**2 / 24.0
        settled = market.settled
        if role == "buses":
            earned, settled = (x.sum(axis=1, keepdims=True) for x in (earned, settled))
        parts.append((earned, paid, settled, square, market.episode))
        if progress:
            progress(n)
    return MarketDays(policy.name, *(np.concatenate(each) for each in zip(*parts, strict=True)))


def trace(
    policy: MarketPolicy, scenario: MarketScenario, seed: int
) -> tuple[MarketSimulation, Floats]:
    """One day in full: the market at its end, and what its first aggregator's group did.

    Args:
        policy: Who acts.
        scenario: The market.
        seed: Of the day.

    Returns:
        The market; directive, quote (EUR/MWh), magnetisation and energy owed (%), shape (24, 4).
    """
    reward = "welfare" if policy.role == "buses" else None
    play = MarketPlay(1, (policy.role,), scenario, reward=reward, power_flow=False)
    market, hours = play.market, []
    play.begin([seeding.np_random(seed)[0]])
    policy.begin(market)
    while not play.done:
        moves = policy.act(market)
        play.seats.play(market, {policy.role: actions_of(market, policy.role, moves)})
        hours.append(
            (
                market.directive[0], market.quote[0, 0], market.group_magnetisation[0, 0],
                market.owed_percent[0, 0],
            )
        )  # fmt: skip
    return market, np.array(hours)


def idle_days(days: int, agents: int, groups: int) -> MarketDays:
    """No trade, or nothing moved: worth exactly 0 by definition, so it is not played."""
    none, of_groups = np.zeros((days, agents)), np.zeros((days, groups))
    totals = np.zeros((days, len(HOUR_NAMES)))
    return MarketDays("uncontrolled", none, of_groups, none, of_groups, totals)
