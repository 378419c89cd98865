"""One day of the paper's market as plain data: loads, prices, and who belongs to whom.

Equations are those of "An Ising Spin-Based Model to Explore Efficient Flexibility in Distributed
Power Systems", Complexity 2018, 5905932. Its symbols are lost; tags say where a form comes from:
[T] its text, [S] Baran and Wu's network, [I] inferred. Magnetisations: +1 drops the whole
scheduled load, -1 doubles it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.data.case33_day import MarketDay
from flexgym.envs.errors import MarketError, PartitionError, PriceBoundError
from flexgym.envs.household.params import Floats

Ints = NDArray[np.int64]
SLACK = 1e-9
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
    wrong = (got < low - SLACK) | (got > high + SLACK)
    if wrong.any():
        k, t = (int(index[0]) for index in np.nonzero(wrong))
        remedy = (
            f"Lower the price to customers to at most {high[k, t] / factor[k, t]:.6g}."
            if low[k, t] > high[k, t] + SLACK
            else "Choose a price between them."
        )
        raise PriceBoundError(
            f"aggregator {k} gets {got[k, t]:.6g} EUR/MWh in hour {t + 1}; expected at least "
            f"{low[k, t]:.6g} (profit factor times price to customers) and at most "
            f"{high[k, t]:.6g} (real-time price), eq. 10. {remedy}"
        )
