"""Where customers stand: on a lattice, on buses, in groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.errors import ScenarioError

Indices = NDArray[np.int64]

_EXACT = 2**53
"""Integers up to here are exact as float64 too."""


def lattice_shape(shape: int | Sequence[int]) -> tuple[int, int]:
    """Rows and columns of a lattice.

    Raises:
        ScenarioError: They are no two whole numbers >= 1.
    """
    sides = tuple(shape) if isinstance(shape, Sequence) else (shape, shape)
    whole = all(isinstance(k, int | np.integer) and not isinstance(k, bool) for k in sides)
    if len(sides) != 2 or not whole or min(sides) < 1:
        raise ScenarioError(f"shape is {shape!r}; expected rows and columns, whole numbers >= 1.")
    return int(sides[0]), int(sides[1])


def snake(shape: int | Sequence[int], spins: int | None = None) -> Indices:
    """Sites of a lattice in a snake: the first row to the right, the second to the left.

    Customers that are placed bus by bus along it have most of their neighbours on their bus.

    Args:
        shape: Rows and columns, or the side of a square.
        spins: How many of the sites, from the first; all if None.

    Returns:
        Shape (spins,): site (row * columns + column) of each spin.

    Raises:
        ScenarioError: The lattice is smaller than that, or has no rows or columns.
    """
    rows, columns = lattice_shape(shape)
    count = rows * columns if spins is None else spins
    if not isinstance(count, int | np.integer) or not 1 <= count <= rows * columns:
        raise ScenarioError(
            f"a lattice of {rows} x {columns} has {rows * columns} sites for {count!r} customers; "
            "expected at least one customer and a site for each. Give a larger lattice."
        )
    sites = np.arange(rows * columns).reshape(rows, columns)
    sites[1::2] = sites[1::2, ::-1]
    return sites.ravel()[: int(count)].copy()


def checked_groups(group: ArrayLike, spins: int | None = None) -> Indices:
    """Group of each spin as an array.

    Args:
        group: Group of each spin, numbers 0 to the last without a gap.
        spins: How many there must be, if that is known.

    Raises:
        ScenarioError: It is no partition of the spins.
    """
    found = np.asarray(group)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found):
        raise ScenarioError(
            f"group has shape {found.shape} and type {found.dtype}; expected one whole number "
            "for each spin: which group it belongs to."
        )
    if spins is not None and len(found) != spins:
        raise ScenarioError(f"group has {len(found)} entries; expected one for each of {spins}.")
    if found.min() < 0 or len(np.unique(found)) != found.max() + 1:
        raise ScenarioError(
            f"group has the numbers {np.unique(found)[:8].tolist()}; expected 0, 1, 2 ... without "
            "a gap, so that every group has a member. Number the groups anew."
        )
    return found.astype(np.int64)


def partition(parts: Sequence[ArrayLike], spins: int) -> Indices:
    """Group of each spin from the members of each group.

    Args:
        parts: Members of each group.
        spins: How many spins there are.

    Returns:
        Shape (spins,).

    Raises:
        ScenarioError: A spin is in no group or in several, or a group has no members.
    """
    members = [np.asarray(part, dtype=np.int64).ravel() for part in parts]
    joined = np.concatenate(members) if members else np.empty(0, dtype=np.int64)
    if len(joined) and not 0 <= joined.min() <= joined.max() < spins:
        raise ScenarioError(
            f"members are {joined.min()} to {joined.max()}; expected 0..{spins - 1}."
        )
    times = np.bincount(joined, minlength=spins)
    wrong = np.flatnonzero(times != 1)
    if len(wrong):
        raise ScenarioError(
            f"spins {wrong[:5].tolist()} are in {times[wrong[:5]].tolist()} groups; expected a "
            "partition: each of the "
            f"{spins} spins in exactly one. Give every spin one group."
        )
    empty = [k for k, part in enumerate(members) if not len(part)]
    if empty:
        raise ScenarioError(f"groups {empty[:5]} have no members; leave them out.")
    return np.repeat(np.arange(len(members)), [len(part) for part in members])[np.argsort(joined)]


def balance_weights(load_kw: ArrayLike, bus: ArrayLike) -> tuple[Indices, float]:
    """Weights of the spins in what the buses' flexibility adds up to, exact in whole numbers.

    With b_i the share of a bus in the load and m_i its magnetisation,

        g = sum_i b_i m_i = unit * sum_c weights[c] s_c        (eq. 22: g = 0)

    Args:
        load_kw: Load of each bus, shape (buses,), kW, whole and not negative.
        bus: Bus of each spin, shape (S,), numbers 0 to buses - 1.

    Returns:
        weights (S,), int64, and unit.

    Raises:
        ScenarioError: Loads are not whole, buses have no spin, or the weights get too large.
    """
    of = checked_groups(bus)
    load = np.asarray(load_kw, dtype=np.float64)
    if load.shape != (int(of.max()) + 1,):
        raise ScenarioError(f"load_kw has shape {load.shape}; expected ({of.max() + 1},).")
    if not np.isfinite(load).all() or (load != np.rint(load)).any() or load.min() < 0:
        raise ScenarioError(f"load_kw is {load}; expected whole kW >= 0. Give a finer unit.")
    size = np.bincount(of)
    common = math.lcm(*size.tolist())
    if common * load.sum() > _EXACT or not load.sum() > 0.0:
        raise ScenarioError(
            f"loads of {load.sum():g} kW times {common}, which all numbers of customers divide, "
            f"must be above 0 and at most {_EXACT} to be exact. Give loads in a coarser unit."
        )
    weight = load.astype(np.int64) * (common // size)
    return weight[of], 1.0 / (common * float(load.sum()))
