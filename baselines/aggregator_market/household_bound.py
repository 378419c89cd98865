"""The most that the flexibility of real houses is worth to the market, whatever is quoted.

    max over what the houses could do    sum_t rtem_t * flexibility_t - harm - settlement
    flexibility_t = plan_t - power_t,    harm = cost of the day - cost of the planned day
    settlement    = shortage * max(sum_t flexibility_t, 0)

The houses are linear programs (no directions apart, energy may be wasted), known to the end of
the day, as are the real-time prices; quotes only pass money on, so none stands here. The one row
that couples the houses is priced: at a price mu in [0, shortage] for energy owed each house alone
plans its day with rtem_t - mu on top of its tariff, and the least sum over mu is the optimum, since
linear programs have no duality gap. Every mu bounds it from above. The houses' own optima are those
of `flexgym.baselines.household.cost_to_go`, exact for known days.

It bounds welfare. An aggregator earns welfare less what the houses gain, so it bounds what an
aggregator earns wherever the houses do not lose (`HouseholdBuses.gain_eur`); surprises, a high
quote in the hour in which houses take back what they lent, make them lose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from flexgym.baselines.household.cost_to_go import cost_to_go
from flexgym.envs.aggregator_market.household_buses import PERIODS, HouseholdBuses
from flexgym.envs.aggregator_market.params import HOURS
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats

_CLOSE_EUR_PER_MWH = 1e-3
"""How near to its best value the price of energy owed is; the bound holds at any."""


@dataclass(frozen=True, eq=False)
class HouseholdBound:
    """What the flexibility of all houses of a market is worth at most.

    Attributes:
        welfare_eur: By market, shape (n,), EUR; never below 0 where forecasts are perfect.
        owed_eur_per_mwh: Price of energy owed at which it was found, shape (n,).
    """

    welfare_eur: Floats
    owed_eur_per_mwh: Floats


def household_bound(
    houses: HouseholdBuses, rtem_eur_per_mwh: Floats, shortage_eur_per_mwh: float = 0.0
) -> HouseholdBound:
    """Bound what the houses' flexibility is worth on the days that have begun.

    Args:
        houses: Buses with houses, in a day.
        rtem_eur_per_mwh: Real-time price as it comes, shape (24, n).
        shortage_eur_per_mwh: Price of what all houses of a market together still owe at the
            end. That is least where others settle less than all together; 0, no settlement,
            bounds houses that settle along with spins.

    Raises:
        ScenarioError: Prices have a wrong shape or are no finite numbers, or shortage is below 0.
        ConvexityError: A price would make a house burn energy.
    """
    price = _checked(houses, rtem_eur_per_mwh)
    if not 0.0 <= shortage_eur_per_mwh < np.inf:
        raise ScenarioError(
            f"shortage_eur_per_mwh is {shortage_eur_per_mwh}; expected a finite price >= 0."
        )
    welfare, owed = np.empty(houses.n), np.zeros(houses.n)
    for i in range(houses.n):
        welfare[i] = _at_price(houses, i, price[:, i], 0.0)
        if shortage_eur_per_mwh > 0.0:
            found: Any = minimize_scalar(
                lambda mu, i=i: _at_price(houses, i, price[:, i], mu),
                bounds=(0.0, shortage_eur_per_mwh),
                method="bounded",
                options={"xatol": _CLOSE_EUR_PER_MWH},
            )
            most = _at_price(houses, i, price[:, i], shortage_eur_per_mwh)
            tried = ((welfare[i], 0.0), (found.fun, found.x), (most, shortage_eur_per_mwh))
            welfare[i], owed[i] = min(tried)
    return HouseholdBound(welfare, owed)


def household_welfare(
    houses: HouseholdBuses,
    flexible_kw: Floats,
    rtem_eur_per_mwh: Floats,
    shortage_eur_per_mwh: float = 0.0,
) -> Floats:
    """What a day that was played came to, in the terms of `household_bound`, shape (n,), EUR.

    Args:
        houses: At the end of the day.
        flexible_kw: What `HouseholdBuses.play` returned hour by hour, shape (24, n, m).
        rtem_eur_per_mwh: Shape (24, n).
        shortage_eur_per_mwh: See `household_bound`.

    Raises:
        ScenarioError: The day is not over, or something has a wrong shape.
    """
    price, shape = _checked(houses, rtem_eur_per_mwh), (HOURS, houses.n, houses.m)
    if not houses.done or np.shape(flexible_kw) != shape:
        raise ScenarioError(
            f"got {houses.hour} hours and flexibility of shape {np.shape(flexible_kw)}; expected a "
            f"day that is over and {shape}."
        )
    mwh = 1e-3 * flexible_kw.sum(axis=2)
    owed = np.maximum(mwh.sum(axis=0), 0.0)
    harm = (houses.cost_eur - houses.plan_eur).sum(axis=1)
    return (price * mwh).sum(axis=0) - harm - shortage_eur_per_mwh * owed


def _checked(houses: HouseholdBuses, rtem: Floats) -> Floats:
    price = np.asarray(rtem, dtype=np.float64)
    if price.shape != (HOURS, houses.n) or not np.isfinite(price).all():
        raise ScenarioError(
            f"rtem_eur_per_mwh has shape {price.shape}; expected ({HOURS}, {houses.n}), finite "
            "numbers."
        )
    return price


def _at_price(houses: HouseholdBuses, market: int, rtem: Floats, owed: float) -> float:
    """The bound at a price of energy owed, EUR: every house alone at rtem less it."""
    homes, per_market = houses.homes, houses.m * houses.count
    worth = 1e-3 * (rtem - owed)
    adder = worth.repeat(PERIODS)
    found = float(worth @ houses.plan_kw[:, market].sum(axis=1) + houses.plan_eur[market].sum())
    for row in range(market * per_market, (market + 1) * per_market):
        series = homes.realised_series(row)
        priced = replace(
            series,
            import_eur_per_kwh=series.import_eur_per_kwh + adder,
            export_eur_per_kwh=series.export_eur_per_kwh + adder,
        )
        terminal = float(homes.episodes.terminal_price[row])
        plan = cost_to_go(homes.house(row), priced, terminal_eur_per_kwh=terminal)
        found -= float(plan.value(0, float(homes.episodes.soc_kwh[row])))
    return found
