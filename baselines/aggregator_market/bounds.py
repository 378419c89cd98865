"""What no spin dynamics can beat: all consumers moved at will, or all prices known.

Both bounds drop the consumers' behaviour, directive costs and payments to customers, so they
hold for the DSO with any coupling, lattice or temperature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.stats import norm

from flexgym.envs.aggregator_market.dynamics import energy_mwh, settlement_eur
from flexgym.envs.aggregator_market.params import HOURS, Day, Tariffs
from flexgym.envs.aggregator_market.scenario import price_states
from flexgym.envs.errors import ScenarioError, SolverError
from flexgym.envs.household.params import Floats


def known_price_plan(percent: Floats, price: Floats, shortage: float) -> Floats:
    """Best magnetisations of a day whose prices are known, (7) with owed energy bought at the end.

    Hours are filled from the dearest down until nothing is owed, where that pays.

    Args:
        percent: Load of each hour, shape (24,).
        price: Real-time price, shape (..., 24), EUR/MWh.
        shortage: Price of owed energy, EUR/MWh.

    Returns:
        Shape of ``price``, values in [-1, 1]; -1 or 1 in all hours but one.
    """
    order = np.argsort(-price, axis=-1, kind="stable")
    load = np.asarray(percent, dtype=np.float64)[order]
    before = np.cumsum(load, axis=-1) - load
    # As many dear hours as make half of the load, the last one in part.
    part = np.clip((load.sum(axis=-1, keepdims=True) / 2.0 - before) / load, 0.0, 1.0)
    ranked = np.take_along_axis(price, order, axis=-1)
    part = np.where(ranked > shortage, 1.0, np.where(ranked < 0.0, 0.0, part))
    plan = np.empty(price.shape)
    np.put_along_axis(plan, order, 2.0 * part - 1.0, axis=-1)
    return plan


def fluid_bound(day: Day, tariffs: Tariffs, share: float = 1.0) -> float:
    """Largest expected welfare of a day if any magnetisation in [-1, 1] may be chosen, EUR.

    Exact: the value is concave and piecewise linear in what is owed, with kinks at whole %.
    An upper bound of every spin dynamics: chance in the consumers' answer can only lower a
    concave value (Jensen).

    Args:
        day: Loads and prices.
        tariffs: For the price of owed energy.
        share: Of the network's load.
    """
    per_percent = energy_mwh(float(share), 1, day.load_kw)
    rule = (float(share), day.load_kw, tariffs.shortage_eur_per_mwh)
    reach = int(day.percent.sum())
    owed = np.arange(-reach, reach + 1)
    value = np.tile([-settlement_eur(float(x), *rule) for x in owed], (len(day.price.factors), 1))
    for t in reversed(range(HOURS)):
        percent = int(day.percent[t])
        reach -= percent
        ahead = day.price.matrix @ value
        then, now = owed, np.arange(-reach, reach + 1)
        value = np.empty((len(ahead), len(now)))
        for s, price in enumerate(day.rtem[t]):
            gain = ahead[s] + price * per_percent * then
            # The best place to be, or as near to it as the hour's load allows.
            best = np.clip(gain.argmax() - percent - reach, now - percent, now + percent)
            value[s] = gain[best + percent + reach] - price * per_percent * now
        owed = now
    return float(value[day.first_state, 0])


@dataclass(frozen=True)
class SampledBound:
    """Mean over drawn price paths.

    Attributes:
        value_eur: Mean, EUR.
        half_width_eur: Of its 95 % interval, EUR.
        draws: How many paths.
    """

    value_eur: float
    half_width_eur: float
    draws: int


def known_price_bound(
    day: Day,
    tariffs: Tariffs,
    share: float = 1.0,
    draws: int = 1000,
    seed: int = 0,
    visited: float | None = None,
) -> SampledBound:
    """Expected welfare of a day if its prices were known in advance.

    Args:
        day: Loads and prices.
        tariffs: For the price of owed energy.
        share: Of the network's load.
        draws: Price paths.
        seed: Of the paths.
        visited: Share of consumers that can change in an hour, in (0, 1], for consumers that
            start balanced; ``1 - exp(-sweeps)`` for random sweeps of many. None is no limit.

    Raises:
        ScenarioError: ``draws`` below 2, or ``visited`` outside (0, 1].
    """
    if draws < 2 or (visited is not None and not 0.0 < visited <= 1.0):
        raise ScenarioError(
            f"draws is {draws} and visited {visited}; expected at least 2 draws and a share in "
            "(0, 1], or None."
        )
    price = price_paths(day, draws, np.random.default_rng(seed))
    if visited is None:
        plan = known_price_plan(day.percent, price, tariffs.shortage_eur_per_mwh)
    else:
        plan = np.stack([_visited_plan(day, p, tariffs, visited) for p in price])
    energy = np.array([energy_mwh(float(share), p, day.load_kw) for p in day.percent.tolist()])
    rule = (float(share), day.load_kw, tariffs.shortage_eur_per_mwh)
    paid = np.array([settlement_eur(x, *rule) for x in (plan @ day.percent).tolist()])
    value = (plan * price) @ energy - paid
    spread = float(norm.ppf(0.975) * value.std(ddof=1) / np.sqrt(draws))
    return SampledBound(float(value.mean()), spread, draws)


def price_paths(day: Day, draws: int, rng: np.random.Generator) -> Floats:
    """Drawn real-time prices, shape (draws, 24), EUR/MWh."""
    states = price_states(day, rng.random((draws, HOURS - 1)))
    return day.rtem[np.arange(HOURS), states]


def _visited_plan(day: Day, price: Floats, tariffs: Tariffs, visited: float) -> Floats:
    """Best plan where ``m' = (1 - visited) m + visited u`` with u in [-1, 1]."""
    kept = (1.0 - visited) ** np.arange(HOURS)
    after = np.tril(kept[np.abs(np.subtract.outer(np.arange(HOURS), np.arange(HOURS)))]) * visited
    # Variables: u, and what is owed at the end.
    worth = np.append(-(price * day.percent) @ after, tariffs.shortage_eur_per_mwh)
    owed = np.append(day.percent @ after, -1.0)[None]
    bounds = [(-1.0, 1.0)] * HOURS + [(0.0, None)]
    found = linprog(worth, A_ub=owed, b_ub=[0.0], bounds=bounds, method="highs")
    if found.status != 0:
        raise SolverError(f"the plan of a known day was not solved: {found.message}")
    return after @ found.x[:HOURS]
