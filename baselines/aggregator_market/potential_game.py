"""Best state of consumers who weigh their neighbours and a field of their own: a minimum cut.

Consumer c earns ``s_c (sum of J s over its neighbours + h_c)``. Whoever changes alone gains
exactly what the potential -E of the spin model (14) gains, so its maximum is an equilibrium,
and a best one; others, where only single flips do not pay, can be far below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats

LARGEST = 2**30
"""Sum of the capacities after scaling; scipy's flows are 32-bit numbers."""


@dataclass(frozen=True, eq=False)
class GroundState:
    """A state of largest potential.

    Attributes:
        spins: +1 or -1 of each consumer, shape (n,).
        potential: ``sum of J s s' over bonds + sum of h s``, of the data as given.
        gap: How far below the largest potential it may lie; 0 where all data are whole multiples
            of one binary fraction that 30 bits hold.
    """

    spins: NDArray[np.int8]
    potential: float
    gap: float


def potential(spins: ArrayLike, bonds: NDArray, couplings: Floats, fields: Floats) -> float:
    """Potential -E of a state; arguments as `ground_state`'s."""
    s = np.asarray(spins, dtype=np.float64)
    return float(couplings @ (s[bonds[:, 0]] * s[bonds[:, 1]]) + fields @ s)


def ground_state(bonds: ArrayLike, couplings: ArrayLike, fields: ArrayLike) -> GroundState:
    """The state of largest potential, by a minimum cut.

    Args:
        bonds: Pairs of consumers, shape (b, 2); each pair once.
        couplings: Of each bond, shape (b,) or one number, >= 0.
        fields: Of each consumer, shape (n,).

    Raises:
        ScenarioError: Data of wrong shape or not finite, or a negative coupling: consumers who
            want to differ from each other make the problem hard, and no cut solves it.
    """
    pairs, J, h = _checked(bonds, couplings, fields)
    # A flip across a bond costs 2 J, a spin against its field 2 |h|; the factor 2 is common.
    total = float(J.sum() + np.abs(h).sum())
    scale = 1.0 if total == 0.0 else 2.0 ** np.floor(np.log2(LARGEST / total))
    bond, field = np.rint(scale * J).astype(np.int32), np.rint(scale * h).astype(np.int32)
    n = len(h)
    source, sink = n, n + 1
    first, second = pairs.T
    up, down = np.flatnonzero(field > 0), np.flatnonzero(field < 0)
    rows = np.concatenate([first, second, np.full(len(up), source), down])
    columns = np.concatenate([second, first, up, np.full(len(down), sink)])
    capacity = np.concatenate([bond, bond, field[up], -field[down]])
    graph = csr_array((capacity, (rows, columns)), shape=(n + 2, n + 2))
    graph.sum_duplicates()
    rest = graph - maximum_flow(graph, source, sink).flow
    rest.eliminate_zeros()
    reached = breadth_first_order(rest, source, return_predecessors=False)
    spins = np.full(n + 2, -1, dtype=np.int8)
    spins[reached] = 1
    # Rounding moved the potential of every state by at most this much.
    moved = np.abs(bond / scale - J).sum() + np.abs(field / scale - h).sum()
    return GroundState(spins[:n], potential(spins[:n], pairs, J, h), float(2.0 * moved))


def _checked(bonds: ArrayLike, couplings: ArrayLike, fields: ArrayLike) -> tuple:
    pairs, h = np.asarray(bonds), np.asarray(fields, dtype=np.float64)
    if h.ndim != 1 or not len(h) or not np.isfinite(h).all():
        raise ScenarioError(f"fields have shape {h.shape}; expected finite numbers, (n,).")
    pairs = pairs.reshape(-1, 2) if pairs.size == 0 else pairs
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ScenarioError(f"bonds have shape {pairs.shape}; expected pairs, (b, 2).")
    pairs = pairs.astype(np.int64)
    if pairs.size and not (
        pairs.min() >= 0 and pairs.max() < len(h) and (pairs[:, 0] != pairs[:, 1]).all()
    ):
        raise ScenarioError(f"bonds must join different consumers from 0 to {len(h) - 1}.")
    J = np.asarray(couplings, dtype=np.float64)
    if J.ndim and J.shape != (len(pairs),):
        raise ScenarioError(f"couplings have shape {J.shape}; expected ({len(pairs)},).")
    J = np.broadcast_to(J, len(pairs))
    if not (np.isfinite(J).all() and (J >= 0).all()):
        raise ScenarioError(
            "couplings must be finite and >= 0: a minimum cut finds the best state only where "
            "nobody gains by differing from a neighbour."
        )
    return pairs, J, h
