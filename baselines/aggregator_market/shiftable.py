"""Scenario 1 of the paper, shiftable loads: the linear program (31) and what whole spins reach."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from flexgym.envs.aggregator_market.static_market import Ints
from flexgym.envs.data.case33_day import MarketDay
from flexgym.envs.errors import InfeasibleError, MarketError, SolverError
from flexgym.envs.household.params import Floats

EXACT = {"mip_rel_gap": 0.0}
"""Options of scipy's ``milp``: prove the optimum."""


@dataclass(frozen=True, eq=False)
class ShiftableDay:
    """Optimum of (31), the same for every bus.

    Attributes:
        magnetisation: Of each hour, shape (T,), exact in lowest terms.
        welfare_eur: J_W of the day when every bus follows it, EUR; negative is a gain.
    """

    magnetisation: tuple[Fraction, ...]
    welfare_eur: float

    @property
    def fractional(self) -> dict[int, Fraction]:
        """Hours (1 to 24) whose magnetisation is neither -1 nor 1."""
        return {t + 1: m for t, m in enumerate(self.magnetisation) if abs(m) != 1}


@dataclass(frozen=True, eq=False)
class SpinDay:
    """The same day with whole spins.

    Attributes:
        up: Customers at +1 in each hour, shape (T, B); meets (23) exactly.
        welfare_eur: J_W of the day, EUR.
        bus_welfare_eur: Part of each bus, shape (B,), EUR.
    """

    up: Ints
    welfare_eur: float
    bus_welfare_eur: Floats


def shiftable_day(day: MarketDay) -> ShiftableDay:
    """Solve (31): greatest worth of flexibility with as much taken as dropped.

    One equality leaves at most one fraction; it is read off the whole percentages, so that
    its numerator and denominator are exact.

    Raises:
        SolverError: HiGHS found no optimum.
    """
    percent, worth = day.source_percent, day.source_kw * day.rtem_eur_per_mwh
    # The vertex, not a mixture of equally good ones.
    found = linprog(
        -worth / worth.max(), A_eq=percent[None, :], b_eq=[0.0], bounds=(-1, 1), method="highs-ds"
    )
    if found.status != 0:
        raise SolverError(f"HiGHS ended with: {found.message}; expected an optimum of (31).")
    whole = np.abs(np.abs(found.x) - 1.0) < 1e-9
    m = [Fraction(round(x)) if sure else None for x, sure in zip(found.x, whole, strict=True)]
    hours = percent.tolist()
    owed = sum(now * x for now, x in zip(hours, m, strict=True) if x is not None)
    open_hours = [t for t, x in enumerate(m) if x is None]
    if len(open_hours) > 1 or (not open_hours and owed != 0):
        raise SolverError(
            f"the vertex of (31) has fractions in {len(open_hours)} hours; expected at most one."
        )
    exact = [Fraction(-owed, hours[t]) if x is None else x for t, x in enumerate(m)]
    value = -float(np.array([float(x) for x in exact]) @ worth) / 1000.0
    return ShiftableDay(tuple(exact), value)


def selfish_day(day: MarketDay, aggregator: int) -> ShiftableDay:
    """The same program where buses rank hours by what their aggregator pays, not by pR.

    ``welfare_eur`` is still J_W, at real-time prices: its distance from that of `shiftable_day`
    is what misaligned prices cost.

    Raises:
        MarketError: There is no such aggregator.
    """
    prices = day.aggregator_eur_per_mwh
    if not 0 <= aggregator < len(prices):
        raise MarketError(f"aggregator is {aggregator}; expected 0 to {len(prices) - 1}.")
    chosen = shiftable_day(replace(day, rtem_eur_per_mwh=prices[aggregator])).magnetisation
    worth = day.source_kw * day.rtem_eur_per_mwh
    return ShiftableDay(chosen, -float(np.array([float(x) for x in chosen]) @ worth) / 1000.0)


def spins_up(magnetisation: Fraction, customers: int) -> int:
    """Customers at +1 that give a bus its magnetisation: solution of (33) and of (35).

    (35) maximises the number at +1 while (32) fixes it, so maximum and minimum are the same.

    Raises:
        InfeasibleError: There is none, since `least_multiple` does not divide the customers; the
            message says so, and whether an odd number of customers is to blame.
    """
    multiple = least_multiple(magnetisation)
    if customers % multiple:
        odd = " An odd number of customers has no half." if magnetisation == 0 else ""
        raise InfeasibleError(
            f"{customers} customers cannot have the magnetisation {magnetisation}; expected a "
            f"multiple of {multiple} (eq. 33).{odd} Rewire customers or take the nearest level."
        )
    return int(customers * (1 + magnetisation) / 2)


def least_multiple(magnetisation: Fraction) -> int:
    """Number of which a bus's customers must be a multiple, eq. 33 [T+I].

    For p/q in lowest terms: q if p + q is even, else 2 q.

    Raises:
        MarketError: The magnetisation lies outside [-1, 1].
    """
    if abs(magnetisation) > 1:
        raise MarketError(f"magnetisation is {magnetisation}; expected -1 to 1.")
    p, q = magnetisation.numerator, magnetisation.denominator
    return q if (p + q) % 2 == 0 else 2 * q


def best_spins(customers: int, source_percent: ArrayLike, worth: ArrayLike) -> Ints:
    """Customers at +1 in each hour with the greatest worth and (23) met in whole numbers.

    Args:
        customers: Customers of the bus.
        source_percent: Source power, shape (T,), whole % of the load.
        worth: Worth of a magnetisation of 1 in each hour, shape (T,), any unit.

    Returns:
        Shape (T,).

    Raises:
        InfeasibleError: No whole numbers of customers meet (23).
        SolverError: HiGHS found no optimum.
    """
    percent, value = np.asarray(source_percent), np.asarray(worth, dtype=np.float64)
    total = customers * int(percent.sum())
    if total % 2:
        raise InfeasibleError(
            f"a bus of {customers} customers cannot meet (23): {customers} times the sum of the "
            f"hours, {int(percent.sum())} %, is odd. Use an even number of customers."
        )
    found = milp(
        -value / max(np.abs(value).max(), 1e-12),
        integrality=np.ones(len(percent)),
        bounds=Bounds(0, customers),
        constraints=LinearConstraint(percent[None, :].astype(float), total // 2, total // 2),
        options=EXACT,
    )
    if found.status == 2:
        raise InfeasibleError(
            f"no whole numbers of {customers} customers meet (23) on this day. Use more customers."
        )
    if found.status != 0:
        raise SolverError(f"HiGHS ended with: {found.message}; expected an optimum.")
    up = np.rint(found.x).astype(np.int64)
    if int(percent @ up) * 2 != total:
        raise SolverError("HiGHS met (23) only up to rounding; expected whole numbers.")
    return up


def shiftable_spins(day: MarketDay) -> SpinDay:
    """The optimum of (29) with whole spins: one program for each number of customers."""
    worth = day.source_kw * day.rtem_eur_per_mwh / 1000.0
    of = {n: best_spins(n, day.source_percent, worth) for n in sorted(set(day.customers.tolist()))}
    up = np.stack([of[n] for n in day.customers.tolist()], axis=1)
    magnetisation = 2.0 * up / day.customers - 1.0
    bus = -(worth @ magnetisation) * (day.load_kw / day.load_kw.sum())
    return SpinDay(up, float(bus.sum()), bus)
