"""The paper's own market: exchanges bus - aggregator - DSO - real-time market, and who gains.

Equations are those of "An Ising Spin-Based Model to Explore Efficient Flexibility in Distributed
Power Systems", Complexity 2018, 5905932. Its symbols are lost; tags say where a form comes from:
[T] its text, [S] Baran and Wu's network, [I] inferred. Every J is a cost, minimised by whom it
belongs to. Magnetisations: +1 drops the whole scheduled load, -1 doubles it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.data.case33_day import MarketDay
from flexgym.envs.errors import ActionError, MarketError, PartitionError, PriceBoundError
from flexgym.envs.household.params import Floats

Ints = NDArray[np.int64]
KW_PER_MW = 1000.0
_SLACK = 1e-9
"""How far rounding may carry a price or a magnetisation beyond its bounds."""


@dataclass(frozen=True, eq=False)
class StaticMarket:
    """One day of the market with its two partitions. Hours T, buses B, aggregators A.

    Attributes:
        load_kw: Load of each bus at 100 %, shape (B,), kW, whole; Table 1 [S].
        customers: Customers of each bus N_i, shape (B,).
        source_kw: Power at the slack bus P0, shape (T,), kW.
        rtem_eur_per_mwh: Real-time price pR, shape (T,), EUR/MWh.
        aggregator_eur_per_mwh: Price pk that each aggregator pays its buses, shape (A, T).
        retail_eur_per_mwh: Price pD at which buses buy from the DSO, shape (T,), EUR/MWh.
        profit_factor: Least ratio kappa of pkD to pk, shape (A, T).
        aggregator_of: Aggregator of each bus, shape (B,), numbers 0 to A - 1: the map G.
    """

    load_kw: Ints
    customers: Ints
    source_kw: Floats
    rtem_eur_per_mwh: Floats
    aggregator_eur_per_mwh: Floats
    retail_eur_per_mwh: Floats
    profit_factor: Floats
    aggregator_of: Ints

    def __post_init__(self) -> None:
        hours, buses = len(self.source_kw), len(self.load_kw)
        aggregators = len(self.aggregator_eur_per_mwh)
        for name, shape in (
            ("load_kw", (buses,)),
            ("customers", (buses,)),
            ("source_kw", (hours,)),
            ("rtem_eur_per_mwh", (hours,)),
            ("aggregator_eur_per_mwh", (aggregators, hours)),
            ("retail_eur_per_mwh", (hours,)),
            ("profit_factor", (aggregators, hours)),
        ):
            values = np.asarray(getattr(self, name))
            if values.shape != shape or not np.isfinite(values).all():
                raise MarketError(
                    f"{name} has shape {values.shape}; expected {shape} and finite numbers."
                )
        if self.load_kw.min() < 0 or self.load_kw.sum() <= 0 or self.source_kw.min() < 0.0:
            raise MarketError("a load or the source power is negative; expected >= 0 kW.")
        if self.customers.min() < 1:
            bus = int(self.customers.argmin())
            raise MarketError(
                f"customers[{bus}] is {self.customers[bus]}; expected at least 1 on every bus. "
                "Leave out buses without customers."
            )
        check_partition(self.aggregator_of, buses, aggregators)

    @classmethod
    def of(cls, day: MarketDay, aggregator_of: ArrayLike) -> StaticMarket:
        """The shipped market with a map of buses to its three aggregators.

        Args:
            day: Of `case33_day`.
            aggregator_of: Aggregator of each bus, shape (B,); `read_partition` reads a matrix.
        """
        return cls(
            load_kw=day.load_kw,
            customers=day.customers,
            source_kw=day.source_kw,
            rtem_eur_per_mwh=day.rtem_eur_per_mwh,
            aggregator_eur_per_mwh=day.aggregator_eur_per_mwh,
            retail_eur_per_mwh=np.full(len(day.source_kw), day.retail_eur_per_mwh),
            profit_factor=np.full(day.aggregator_eur_per_mwh.shape, day.profit_factor),
            aggregator_of=np.asarray(aggregator_of),
        )

    @property
    def load_share(self) -> Floats:
        """Normalised load b_i, shape (B,); sums to 1."""
        return self.load_kw / self.load_kw.sum()

    @property
    def members(self) -> Floats:
        """Indicator G_ik, shape (B, A)."""
        return np.eye(len(self.aggregator_eur_per_mwh))[self.aggregator_of]

    @property
    def bus_eur_per_mwh(self) -> Floats:
        """Price that each bus gets of its aggregator, shape (T, B), EUR/MWh."""
        return self.aggregator_eur_per_mwh[self.aggregator_of].T


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


def check_partition(aggregator_of: ArrayLike, buses: int, aggregators: int) -> None:
    """Refuse a map that does not give every bus one of the aggregators; eq. 1 [T].

    Raises:
        PartitionError: Wrong shape, a fraction, or a number that is no aggregator's.
    """
    chosen = np.asarray(aggregator_of)
    if chosen.shape != (buses,) or chosen.dtype.kind not in "iu":
        raise PartitionError(
            f"aggregator_of has shape {chosen.shape} and type {chosen.dtype}; expected {buses} "
            "whole numbers, one for each bus. `read_partition` reads a matrix of 0 and 1."
        )
    wrong = (chosen < 0) | (chosen >= aggregators)
    if wrong.any():
        bus = int(wrong.argmax())
        raise PartitionError(
            f"aggregator_of[{bus}] is {chosen[bus]}; expected 0 to {aggregators - 1}, so that "
            "every bus has one aggregator."
        )


def read_partition(indicator: ArrayLike) -> Ints:
    """Column of the single 1 in each row: customers to buses (D) or buses to aggregators (G).

    Args:
        indicator: Zeros and ones, shape (members, groups); eq. 1 [T]: each row sums to 1.

    Raises:
        PartitionError: A value is neither 0 nor 1, or a row does not hold exactly one 1.
    """
    matrix = np.asarray(indicator)
    if matrix.ndim != 2 or not np.isin(matrix, (0, 1)).all():
        raise PartitionError(
            f"the map has shape {matrix.shape}; expected two axes of zeros and ones."
        )
    ones = matrix.sum(axis=1)
    if (ones != 1).any():
        row = int((ones != 1).argmax())
        raise PartitionError(
            f"row {row} of the map belongs to {int(ones[row])} groups; expected exactly 1, since "
            "groups are a partition."
        )
    return matrix.argmax(axis=1).astype(np.int64)


def check_prices(
    aggregator_eur_per_mwh: ArrayLike,
    dso_eur_per_mwh: ArrayLike,
    rtem_eur_per_mwh: ArrayLike,
    profit_factor: ArrayLike,
) -> None:
    """Hold prices to kappa * pk <= pkD <= pR; eq. 10 [T], its factor kappa >= 1 [I].

    Args:
        aggregator_eur_per_mwh: Paid to customers, shape (A, T), EUR/MWh.
        dso_eur_per_mwh: Paid to the aggregator by the DSO, shape (A, T), EUR/MWh.
        rtem_eur_per_mwh: Of the real-time market, shape (T,), EUR/MWh.
        profit_factor: kappa, shape (A, T).

    Raises:
        PriceBoundError: A price lies outside; the message names aggregator, hour and bounds.
    """
    paid, factor = np.asarray(aggregator_eur_per_mwh), np.asarray(profit_factor)
    if not (factor >= 1.0).all():
        raise PriceBoundError(
            f"profit_factor goes down to {factor.min()}; expected at least 1: an aggregator "
            "does not sell for less than it pays."
        )
    low, got = factor * paid, np.asarray(dso_eur_per_mwh)
    high = np.broadcast_to(rtem_eur_per_mwh, paid.shape)
    if got.shape != paid.shape or not np.isfinite(got).all():
        raise PriceBoundError(
            f"the DSO's price has shape {got.shape}; expected finite prices of shape {paid.shape}."
        )
    wrong = (got < low - _SLACK) | (got > high + _SLACK)
    if wrong.any():
        k, t = (int(index[0]) for index in np.nonzero(wrong))
        remedy = (
            f"Lower the price to customers to at most {high[k, t] / factor[k, t]:.6g}."
            if low[k, t] > high[k, t] + _SLACK
            else "Choose a price between them."
        )
        raise PriceBoundError(
            f"aggregator {k} gets {got[k, t]:.6g} EUR/MWh in hour {t + 1}; expected at least "
            f"{low[k, t]:.6g} (profit factor times price to customers) and at most "
            f"{high[k, t]:.6g} (real-time price), eq. 10. {remedy}"
        )


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
    if not (np.abs(m) <= 1.0 + _SLACK).all():
        raise ActionError(
            f"magnetisation goes up to {np.abs(m).max():.6g}; expected -1 (doubled load) to 1 "
            "(dropped load)."
        )
    return m
