"""Network-aware planning: prices of the grid that houses can expect, and how to rehearse them.

In a rehearsal houses send menus for the day as they expect it, period by period, and the operator
clears them as it will later. Its prices (DLMPs) go back to the houses, which plan anew with these
added to their own, and so on. The best round is kept. What leaves a house is what it sends in
real time, menus, for a day that is only expected: 96 of them each round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from flexgym.envs.feeder.clearing import grid_cost_eur
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.household.dynamics import COST_EUR
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.exchange import Agreed, Exchange
from flexgym.policies.planning import Foreseen, revised

T = STEPS_PER_DAY
MOST_EUR_PER_KWH = 0.5
"""Largest price that goes back to the houses. Where limits cannot be kept it knows no bound, and
what moves a plan by a day's whole span of tariffs is enough; more would have to be paid."""


@dataclass(frozen=True, eq=False)
class GridPrices:
    """What power is expected to cost the grid at the meters of one feeder.

    Attributes:
        adders_eur_per_kwh: Shape (T, H), EUR/kWh.
        cost_eur: Social cost of the rest of the day by round, EUR; the first with the prices
            expected before.
        best: Round that was kept.
        house_bytes: What a house has sent for it, mean of the houses.
        agreed: What houses and operator agreed on beside prices, if anything.
    """

    adders_eur_per_kwh: Floats
    cost_eur: tuple[float, ...]
    best: int
    house_bytes: float
    agreed: Agreed | None = None


class Pricing(Protocol):
    """Finds prices of the grid that the planning stage can expect."""

    def prices(
        self,
        scenario: FeederScenario,
        homes: HouseholdSimulation,
        expected: Floats,
        exchange: Exchange,
        before: Floats | None = None,
    ) -> list[GridPrices]:
        """Prices for the rest of the day, one a feeder.

        Args:
            scenario: The feeder.
            homes: Its houses, row ``i * H + h``, as they stand.
            expected: Load, PV, import and export price of the day, shape (T, 4, n * H).
            exchange: How menus are made and cleared.
            before: Prices expected so far, shape (T, n * H), EUR/kWh; None before the day.
        """
        ...


@dataclass(frozen=True)
class Rehearsal:
    """Prices that come of clearing the expected day.

    Attributes:
        rounds: How often prices go back to the houses before the day.
        again: How often when prices were expected already.
    """

    rounds: int = 3
    again: int = 1

    def prices(
        self,
        scenario: FeederScenario,
        homes: HouseholdSimulation,
        expected: Floats,
        exchange: Exchange,
        before: Floats | None = None,
    ) -> list[GridPrices]:
        """See `Pricing`: until prices and plans agree as well as they can."""
        rounds = self.rounds if before is None else self.again
        count = scenario.n_houses
        n = homes.n // count
        adders = np.zeros((T, homes.n)) if before is None else before
        tried, costs = [adders], []
        for k in range(rounds + 1):
            cost, price = _rehearsed(scenario, homes, expected, exchange, adders)
            costs.append(cost)
            if k < rounds:
                # A full step first; then half of one, since both sides answer all or nothing.
                adders = price if k == 0 and before is None else 0.5 * (adders + price)
                tried.append(adders)
        found = []
        for i in range(n):
            best = int(np.argmin([cost[i] for cost in costs]))
            own = slice(i * count, (i + 1) * count)
            each = tuple(float(cost[i]) for cost in costs)
            found.append(GridPrices(tried[best][:, own], each, best, exchange.bytes_sent / homes.n))
        return found


def _rehearsed(
    scenario: FeederScenario,
    homes: HouseholdSimulation,
    expected: Floats,
    exchange: Exchange,
    adders: Floats,
) -> tuple[Floats, Floats]:
    """Social cost of each feeder, shape (n,), EUR, and prices of the grid, (T, n * H)."""
    stage = revised(homes, expected)
    planner = Foreseen()
    planner.begin(stage, adders)
    cost, found = np.zeros(homes.n // scenario.n_houses), np.zeros((T, homes.n))
    while not stage.done:
        period = exchange.period(stage, planner)
        price = np.concatenate([a.price_eur_per_kwh.sum(axis=0) for a in period.answers])
        found[stage.t] = np.clip(price, -MOST_EUR_PER_KWH, MOST_EUR_PER_KWH)
        outcome = stage.step(period.action)
        cost += outcome[:, COST_EUR].reshape(len(cost), -1).sum(axis=1)
        for i, answer in enumerate(period.answers):
            cost[i] += sum(grid_cost_eur(scenario, answer))
    return cost, found
