"""Scenario 2 of the paper, self-sufficiency: the integer program (34) and its spins."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import Bounds, LinearConstraint, milp

from flexgym.baselines.aggregator_market.shiftable import EXACT, least_multiple
from flexgym.envs.aggregator_market.static_market import Ints
from flexgym.envs.errors import InfeasibleError, MarketError, SolverError


@dataclass(frozen=True, eq=False)
class BalancedBuses:
    """A choice of -1, 0 or 1 for each bus with whole kW in balance.

    Attributes:
        magnetisation: Shape (B,), -1, 0 or 1.
        customers: Customers of each bus, shape (B,).
    """

    magnetisation: Ints
    customers: Ints

    @property
    def bus_sum(self) -> int:
        """Objective of (34)."""
        return int(self.magnetisation.sum())

    @property
    def split(self) -> tuple[int, int, int]:
        """Customers on buses at +1, -1 and 0."""
        up, down, zero = (int(self.customers[self.magnetisation == m].sum()) for m in (1, -1, 0))
        return up, down, zero

    @property
    def customer_sum(self) -> int:
        """Sum of all spins."""
        return int(self.magnetisation @ self.customers)

    @property
    def unsolvable(self) -> Ints:
        """Buses (0 is the first load bus) where (35) has no solution: at 0, customers odd."""
        multiple = np.array([least_multiple(Fraction(m)) for m in self.magnetisation.tolist()])
        return np.nonzero(self.customers % multiple)[0]


def balanced_buses(
    load_kw: ArrayLike, customers: ArrayLike, *, largest: bool = True, most: int = 1
) -> list[BalancedBuses]:
    """Optima of (34): greatest or least sum over buses of -1, 0, 1 with sum of load * m = 0.

    The balance is kept in whole kW. Each optimum that was found is cut off before the next
    search, so a list shorter than ``most`` is complete.

    Args:
        load_kw: Load of each bus, shape (B,), whole kW.
        customers: Customers of each bus, shape (B,).
        largest: Maximise, else minimise.
        most: Most optima to list.

    Raises:
        MarketError: Loads are not whole kW.
        SolverError: HiGHS found no optimum.
    """
    load, counts = np.asarray(load_kw), np.asarray(customers)
    if load.ndim != 1 or load.dtype.kind not in "iu" or counts.shape != load.shape:
        raise MarketError(
            f"load_kw has shape {load.shape} and type {load.dtype}, customers {counts.shape}; "
            "expected whole kW and a number of customers for each bus."
        )
    buses, sign = len(load), 1 if largest else -1
    # Two binaries a bus, at +1 and at -1.
    rows = [LinearConstraint(np.concatenate([load, -load])[None, :].astype(float), 0, 0)]
    rows.append(LinearConstraint(np.tile(np.eye(buses), 2), -np.inf, 1))
    found: list[BalancedBuses] = []
    while len(found) < most:
        solved = milp(
            -sign * np.repeat([1.0, -1.0], buses),
            integrality=np.ones(2 * buses),
            bounds=Bounds(0, 1),
            constraints=rows,
            options=EXACT,
        )
        if solved.status == 2 and found:
            break
        if solved.status != 0:
            raise SolverError(f"HiGHS ended with: {solved.message}; expected an optimum of (34).")
        x = np.rint(solved.x).astype(np.int64)
        m = x[:buses] - x[buses:]
        if load @ m:
            raise SolverError("HiGHS met (22) only up to rounding; expected whole kW.")
        if found and m.sum() != found[0].bus_sum:
            break
        found.append(BalancedBuses(m, counts))
        rows.append(LinearConstraint((1.0 - 2.0 * x)[None, :], 1 - x.sum(), np.inf))
    return found


def regularise(bus_of: ArrayLike, magnetisation: ArrayLike, rng: np.random.Generator) -> Ints:
    """Make every bus at 0 even by rewiring one customer to it from a bus at -1 or 1.

    The customer keeps its place on the lattice; loads of buses stay, so (22) still holds.

    Args:
        bus_of: Bus of each customer, shape (C,), from 0.
        magnetisation: -1, 0 or 1 of each bus, shape (B,).
        rng: Chooses the customers.

    Returns:
        Bus of each customer, shape (C,).

    Raises:
        InfeasibleError: No bus at -1 or 1 has a customer to spare.
    """
    wired, m = np.array(bus_of, dtype=np.int64), np.asarray(magnetisation)
    for bus in np.nonzero(m == 0)[0]:
        counts = np.bincount(wired, minlength=len(m))
        if counts[bus] % 2 == 0:
            continue
        spare = np.nonzero((m[wired] != 0) & (counts[wired] > 1))[0]
        if not len(spare):
            raise InfeasibleError(
                f"bus {bus} is at 0 with {counts[bus]} customers, an odd number, and no bus at -1 "
                "or 1 has one to spare. Give it an even number of customers."
            )
        wired[rng.choice(spare)] = bus
    return wired


def balanced_spins(bus_of: ArrayLike, magnetisation: ArrayLike, rng: np.random.Generator) -> Ints:
    """Spins that give every bus its -1, 0 or 1: a solution of (35) for each.

    Args:
        bus_of: Bus of each customer, shape (C,).
        magnetisation: Of each bus, shape (B,).
        rng: Chooses which half of a bus at 0 is up.

    Returns:
        -1 or 1, shape (C,).

    Raises:
        InfeasibleError: A bus at 0 has an odd number of customers; `regularise` mends that.
    """
    wired, m = np.asarray(bus_of), np.asarray(magnetisation)
    spins = m[wired].astype(np.int64)
    for bus in np.nonzero(m == 0)[0]:
        own = np.nonzero(wired == bus)[0]
        if len(own) % 2:
            raise InfeasibleError(
                f"bus {bus} is at 0 with {len(own)} customers; expected an even number (eq. 35). "
                "`regularise` rewires one."
            )
        spins[own] = rng.permutation(np.repeat([-1, 1], len(own) // 2))
    return spins
