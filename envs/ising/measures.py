"""What is measured on spins: energy, magnetisation, autocorrelation, a constraint."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.errors import StateError
from flexgym.envs.household.params import Floats
from flexgym.envs.ising.couplings import Couplings
from flexgym.envs.ising.placement import checked_groups

Spins = NDArray[np.int8]


def energy(couplings: Couplings, spins: Spins, field: ArrayLike = 0.0) -> Floats:
    """Energy of spins: - sum over pairs J_ij s_i s_j - sum_i h_i s_i.

    Args:
        couplings: Of n spins.
        spins: Shape (..., n).
        field: Field, one or what broadcasts to the spins' shape.

    Returns:
        Shape (...,).

    Raises:
        StateError: There are not n spins.
    """
    s = _checked(spins, couplings.n).astype(np.float64)
    ends, strength = couplings.bonds, couplings.bond_strength
    bonds = (s[..., ends[:, 0]] * s[..., ends[:, 1]]) @ strength
    size = np.bincount(couplings.group)
    total = _sums(s, couplings.group)
    # Each spin with itself is in the square of the sum and no pair.
    groups = 0.5 * ((total**2 - size) @ couplings.pair)
    return -bonds - groups - (np.asarray(field) * s).sum(axis=-1)


def magnetisation(spins: Spins, group: ArrayLike | None = None) -> Floats:
    """Mean of spins, of all or of each group (a bus, an aggregator).

    Args:
        spins: Shape (..., n).
        group: Group of each spin, shape (n,), numbers from 0 without a gap.

    Returns:
        Shape (...,), or (..., groups).

    Raises:
        ScenarioError: ``group`` is no partition of the spins.
    """
    if group is None:
        return np.asarray(np.mean(spins, axis=-1, dtype=np.float64))
    of = checked_groups(group, spins.shape[-1])
    return _sums(spins.astype(np.float64), of) / np.bincount(of)


def autocorrelation(first: Spins, spins: Spins) -> Floats:
    """C(n) = mean over the spins of s_0 s_n: how much of the start is left, shape (...,).

    Args:
        first: Spins at the start, shape (..., n).
        spins: Spins n attempts later, same shape.

    Raises:
        StateError: The numbers of spins differ.
    """
    _checked(spins, first.shape[-1])
    return np.asarray(np.mean(first * spins, axis=-1, dtype=np.float64))


def constraint(weights: ArrayLike, spins: Spins) -> NDArray:
    """Value of a constraint, sum_c w_c s_c, shape (...,); exact with integers.

    Args:
        weights: Shape (n,).
        spins: Shape (..., n).

    Raises:
        StateError: There are not n spins.
    """
    w = np.asarray(weights)
    return _checked(spins, len(w)).astype(w.dtype) @ w


def _checked(spins: Spins, n: int) -> Spins:
    if spins.ndim < 1 or spins.shape[-1] != n:
        raise StateError(f"spins have shape {spins.shape}; expected {n} of them in the last axis.")
    return spins


def _sums(spins: Floats, group: NDArray[np.int64]) -> Floats:
    """Sum of the spins of each group, shape (..., groups)."""
    order = np.argsort(group, kind="stable")
    first = np.searchsorted(group[order], np.arange(group.max() + 1))
    return np.add.reduceat(spins[..., order], first, axis=-1)
