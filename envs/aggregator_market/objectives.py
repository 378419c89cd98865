"""The paper's own market: exchanges bus - aggregator - DSO - real-time market, and who gains.

Every J is a cost, minimised by whom it belongs to. Equations and tags: `static_market`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.aggregator_market.static_market import SLACK, StaticMarket, check_prices
from flexgym.envs.errors import ActionError
from flexgym.envs.household.params import Floats

KW_PER_MW = 1000.0


@dataclass(frozen=True, eq=False)
class Exchanges:
    """Powers that change hands, kW; leading axes are those of the magnetisation.

    Attributes:
        flexible_kw: Flexibility F of each bus, shape (..., T, B); eq. 16 [T].
        bought_kw: Bought by the bus from the DSO, shape (..., T, B), >= 0; eq. 5 [T].
        sold_kw: Sold by the bus to its aggregator, shape (..., T, B), negative where it buys;
            flexibility plus what is bought: eqs. 4 and 17 [I].
        aggregator_kw: Sold by each aggregator to the DSO, shape (..., T, A); eq. 9 [T].
        rtem_kw: Bought by the DSO in the real-time market, shape (..., T); eqs. 12, 18 [T].
    """

    flexible_kw: Floats
    bought_kw: Floats
    sold_kw: Floats
    aggregator_kw: Floats
    rtem_kw: Floats


@dataclass(frozen=True, eq=False)
class Objectives:
    """Costs of a day, EUR; leading axes are those of the magnetisation.

    Attributes:
        bus_eur: J_i of each bus, shape (..., B); eqs. 8 and 24 [T].
        aggregator_eur: J_k of each aggregator, shape (..., A); eqs. 11 and 25 [T].
        dso_eur: J_DSO, shape (...); eqs. 13 and 26 [T].
        welfare_eur: J_W by eq. 28 [T], from prices and magnetisations alone, shape (...).
    """

    bus_eur: Floats
    aggregator_eur: Floats
    dso_eur: Floats
    welfare_eur: Floats

    @property
    def loads_eur(self) -> Floats:
        """J_L, the sum over buses."""
        return self.bus_eur.sum(axis=-1)

    @property
    def aggregators_eur(self) -> Floats:
        """J_A, the sum over aggregators; eq. 36 [T]."""
        return self.aggregator_eur.sum(axis=-1)


def exchanges(
    market: StaticMarket, magnetisation: ArrayLike, bought_share: ArrayLike = 0.0
) -> Exchanges:
    """What is exchanged at given choices of the buses.

    Args:
        market: The market.
        magnetisation: m of each hour and bus, shape (..., T, B), in [-1, 1].
        bought_share: d, power bought from the DSO over P0, broadcast to the same shape, >= 0;
            eq. 20 [T]. The paper gives no upper bound, so neither do we here.

    Raises:
        ActionError: Wrong shape or range.
    """
    m = checked_magnetisation(magnetisation, (len(market.source_kw), len(market.load_kw)))
    d = np.asarray(bought_share, dtype=np.float64)
    try:
        d = np.broadcast_to(d, m.shape)
    except ValueError:
        raise ActionError(
            f"bought_share has shape {d.shape}; expected one that broadcasts to {m.shape}."
        ) from None
    if not (np.isfinite(d).all() and (d >= 0.0).all()):
        raise ActionError("bought_share is negative or no number; buses only buy from the DSO.")
    source = market.source_kw[:, None]
    flexible = source * market.load_share * m
    bought = source * d
    sold = flexible + bought
    aggregator = sold @ market.members
    return Exchanges(flexible, bought, sold, aggregator, (bought - sold).sum(axis=-1))


def objectives(
    market: StaticMarket,
    magnetisation: ArrayLike,
    bought_share: ArrayLike = 0.0,
    dso_eur_per_mwh: ArrayLike | None = None,
) -> Objectives:
    """Every objective of the day; J_L + J_A + J_DSO = J_W, eq. 27 [T].

    Args:
        market: The market.
        magnetisation: As for `exchanges`.
        bought_share: Likewise.
        dso_eur_per_mwh: Price pkD of DSO and aggregator, shape (A, T), EUR/MWh; None is its
            upper bound, the real-time price, as in eq. 37.

    Raises:
        ActionError: Wrong shape or range of a choice.
        PriceBoundError: Prices break eq. 10.
    """
    paid, rtem = market.aggregator_eur_per_mwh, market.rtem_eur_per_mwh
    between = np.broadcast_to(rtem, paid.shape) if dso_eur_per_mwh is None else dso_eur_per_mwh
    between = np.asarray(between, dtype=np.float64)
    check_prices(paid, between, rtem, market.profit_factor)
    flow = exchanges(market, magnetisation, bought_share)
    retail = market.retail_eur_per_mwh[:, None]
    bus = (retail * flow.bought_kw - market.bus_eur_per_mwh * flow.sold_kw).sum(axis=-2)
    collected = flow.aggregator_kw  # Equals the sum of what members sell: one map, one price.
    aggregator = ((paid - between).T * collected).sum(axis=-2)
    dso = (
        (rtem * flow.rtem_kw).sum(axis=-1)
        + (between.T * collected).sum(axis=(-2, -1))
        - (retail * flow.bought_kw).sum(axis=(-2, -1))
    )
    m = np.asarray(magnetisation, dtype=np.float64)
    welfare = -((m @ market.load_share) * (market.source_kw * rtem)).sum(axis=-1)
    return Objectives(*(np.asarray(j) / KW_PER_MW for j in (bus, aggregator, dso, welfare)))


def aggregation_eur(market: StaticMarket, magnetisation: ArrayLike) -> Floats:
    """J_A with d = 0 and pkD = pR, shape (...), EUR; eq. 37 [T].

    Raises:
        ActionError: Wrong shape or range of the magnetisation.
    """
    m = checked_magnetisation(magnetisation, (len(market.source_kw), len(market.load_kw)))
    margin = market.bus_eur_per_mwh - market.rtem_eur_per_mwh[:, None]
    each = market.source_kw[:, None] * margin * market.load_share
    return (each * m).sum(axis=(-2, -1)) / KW_PER_MW


def checked_magnetisation(magnetisation: ArrayLike, shape: tuple[int, ...]) -> Floats:
    """Magnetisations as float64.

    Raises:
        ActionError: The last axes are not ``shape``, or a value lies outside [-1, 1].
    """
    m = np.asarray(magnetisation, dtype=np.float64)
    if m.shape[-len(shape) :] != shape:
        raise ActionError(
            f"magnetisation has shape {m.shape}; expected (..., {', '.join(map(str, shape))})."
        )
    if not (np.abs(m) <= 1.0 + SLACK).all():
        raise ActionError(
            f"magnetisation goes up to {np.abs(m).max():.6g}; expected -1 (doubled load) to 1 "
            "(dropped load)."
        )
    return m
