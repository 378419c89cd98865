"""The trade of most welfare as a linear program, for one market and for a tree of them.

Welfare is what buyers' limits say their energy is worth less what sellers' limits say it costs,
and less the fees of the network: ``sum(limit * traded)`` with traded volumes positive for buyers
and negative for sellers. Solved by HiGHS; the merit order of
`flexgym.envs.local_market.clearing` shares no line with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.optimize import linprog

from flexgym.envs.errors import OrderError, SolverError
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.hierarchy import Hierarchy, posted_prices
from flexgym.envs.local_market.orders import checked_orders


@dataclass(frozen=True, eq=False)
class Optimum:
    """The best trade of m books.

    Attributes:
        welfare_eur: What it is worth, shape (m,), EUR.
        traded_kwh: Bought above 0, sold below, shape (m, n), kWh; one of the best.
        price_eur_per_kwh: What one more kWh would be worth at each node, shape (m, nodes): an
            equilibrium price.
        fee_eur: Paid to the network, shape (m,), EUR.
    """

    welfare_eur: Floats
    traded_kwh: Floats
    price_eur_per_kwh: Floats
    fee_eur: Floats


def welfare(price: ArrayLike, traded: ArrayLike) -> Floats:
    """What a trade is worth by the limits, shape (m,), EUR, before fees."""
    return np.atleast_1d((np.asarray(price) * np.asarray(traded)).sum(axis=-1))


def optimal_welfare(price: ArrayLike, volume: ArrayLike) -> Optimum:
    """The best trade of m books, all in one program.

    Args:
        price: Limits, shape (m, n) or (n,), EUR/kWh.
        volume: Signed volumes, same shape, kWh.

    Raises:
        OrderError: Orders are no finite numbers.
        SolverError: HiGHS finds no optimum.
    """
    prices, _ = checked_orders(price, volume)
    return tree_welfare(Hierarchy.flat(prices.shape[1]), price, volume)


def tree_welfare(
    hierarchy: Hierarchy,
    price: ArrayLike,
    volume: ArrayLike,
    wholesale: tuple[float, float] | None = None,
) -> Optimum:
    """The best trade in m trees, whatever the order in which they clear.

    What flows from a node to the one above, and back, pays the fee. Two orders of one node that
    trade elsewhere in opposite directions might as well trade with each other, so net flows lose
    nothing.

    Args:
        hierarchy: The tree.
        price: Limits, fees included, shape (m, n) or (n,), EUR/kWh.
        volume: Signed volumes, same shape, kWh.
        wholesale: Prices at which a wholesaler above the root buys and sells, EUR/kWh, or None.

    Raises:
        OrderError: Orders or wholesale prices are no finite numbers, or are not of these
            participants.
        SolverError: HiGHS finds no optimum.
    """
    prices, volumes = checked_orders(price, volume)
    m, n = prices.shape
    if n != hierarchy.participants:
        raise OrderError(
            f"got {n} orders a book; expected {hierarchy.participants}, one of each participant."
        )
    posted = None if wholesale is None else np.concatenate(posted_prices(wholesale)).ravel()
    if posted is not None and posted.size != 2:
        raise OrderError(f"wholesale is {wholesale!r}; expected two numbers.")
    nodes = len(hierarchy.parent)
    fees = np.array(hierarchy.fee_eur_per_kwh)
    # Columns: traded, then for each node what flows up to the one above and down from there.
    rows = [*hierarchy.member]
    columns, signs = [*range(n)], [1.0] * n
    for k, above in enumerate(hierarchy.parent):
        for direction, sign in enumerate((1.0, -1.0)):
            at = n + direction * nodes + k
            rows.append(k)
            columns.append(at)
            signs.append(sign)
            if above >= 0:
                rows.append(above)
                columns.append(at)
                signs.append(-sign)
    width = n + 2 * nodes
    balance = sparse.csr_array((signs, (rows, columns)), shape=(nodes, width))
    upward, downward = fees.copy(), fees.copy()
    root = hierarchy.parent.index(-1)
    most = np.full(2 * nodes, np.inf)
    if posted is None:
        most[[root, nodes + root]] = 0.0
    else:
        upward[root] -= posted[0]
        downward[root] += posted[1]
    cost = np.concatenate(
        [-prices, np.tile(np.concatenate([upward, downward]), (m, 1))], axis=1
    ).ravel()
    low = np.concatenate([np.minimum(volumes, 0.0), np.zeros((m, 2 * nodes))], axis=1)
    high = np.concatenate([np.maximum(volumes, 0.0), np.tile(most, (m, 1))], axis=1)
    found = linprog(
        cost,
        A_eq=sparse.block_diag([balance] * m, format="csr"),
        b_eq=np.zeros(m * nodes),
        bounds=np.stack([low.ravel(), high.ravel()], axis=1),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.status != 0:
        raise SolverError(f"HiGHS finds no best trade ({found.message}).")
    x = found.x.reshape(m, width)
    flow = x[:, n : n + nodes] + x[:, n + nodes :]
    return Optimum(
        -(cost.reshape(m, width) * x).sum(axis=1),
        x[:, :n],
        -found.eqlin.marginals.reshape(m, nodes),
        flow @ fees,
    )
