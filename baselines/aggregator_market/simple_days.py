"""Days without a program: nothing moved, chance, most of everything; and two limits of (37)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.aggregator_market.objectives import aggregation_eur
from flexgym.envs.aggregator_market.static_market import StaticMarket
from flexgym.envs.household.params import Floats


def uncontrolled_day(market: StaticMarket) -> Floats:
    """Magnetisation 0 everywhere, shape (T, B): the scheduled load is consumed."""
    return np.zeros((len(market.source_kw), len(market.load_kw)))


def random_days(market: StaticMarket, days: int, rng: np.random.Generator) -> Floats:
    """Independent unbiased spins, as magnetisations of shape (days, T, B); J_W has mean 0."""
    shape = (days, len(market.source_kw), len(market.load_kw))
    return 2.0 * rng.binomial(market.customers, 0.5, shape) / market.customers - 1.0


def unconstrained_day(market: StaticMarket) -> Floats:
    """Magnetisation 1 everywhere, shape (T, B): a bound that meets neither (22) nor (23)."""
    return np.ones((len(market.source_kw), len(market.load_kw)))


def homogeneous_limit_eur(market: StaticMarket, magnetisation: ArrayLike) -> Floats:
    """(37) where all aggregators pay the same, their mean; zero if (22) holds.

    Args:
        market: The market.
        magnetisation: Shape (..., T, B).
    """
    prices = market.aggregator_eur_per_mwh
    same = np.broadcast_to(prices.mean(axis=0), prices.shape)
    return aggregation_eur(replace(market, aggregator_eur_per_mwh=same), magnetisation)


def stationary_limit_eur(market: StaticMarket, magnetisation: ArrayLike) -> Floats:
    """(37) where prices do not change over the day, each its mean; zero if (23) holds.

    Args:
        market: The market.
        magnetisation: Shape (..., T, B).
    """
    prices, rtem = market.aggregator_eur_per_mwh, market.rtem_eur_per_mwh
    flat = np.broadcast_to(prices.mean(axis=1, keepdims=True), prices.shape)
    flat_rtem = np.full_like(rtem, rtem.mean())
    fixed = replace(market, aggregator_eur_per_mwh=flat, rtem_eur_per_mwh=flat_rtem)
    return aggregation_eur(fixed, magnetisation)
