"""Batches of Metropolis chains: checks the input, picks the fastest kernel for the couplings."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ScenarioError, StateError
from flexgym.envs.household.params import Floats
from flexgym.envs.ising.coupled import attempt_coupled
from flexgym.envs.ising.couplings import Couplings
from flexgym.envs.ising.metropolis import LEVEL, attempt_group, attempt_square, square_table
from flexgym.envs.ising.random_bits import WORDS

Spins = NDArray[np.int8]


def random_spins(rng: np.random.Generator, rows: int, n: int) -> Spins:
    """Independent spins, +1 or -1 with the same probability, shape (rows, n)."""
    return (2 * rng.integers(0, 2, size=(rows, n), dtype=np.int8) - 1).astype(np.int8)


def evolve(
    couplings: Couplings,
    spins: Spins,
    state: NDArray[np.uint64],
    *,
    temperature: ArrayLike,
    attempts: int,
    field: ArrayLike = 0.0,
    weights: ArrayLike | None = None,
    rule: Literal["gate", "or"] = "gate",
) -> NDArray | None:
    """Advance a batch of chains, in place; row i does what it would do alone.

    Args:
        couplings: Of n spins.
        spins: Shape (rows, n), int8, +1 or -1, updated.
        state: Of `random_state`, shape (rows, 4), updated.
        temperature: T > 0 (k_B = 1), for all rows or shape (rows,).
        attempts: Flips tried in each row, at random sites; n are a sweep.
        field: Field h: one for all, shape (n,) by spin, (rows, 1) or (rows, n). By group:
            ``field[group]``.
        weights: Weights w of a constraint sum_c w_c s_c = 0, shape (n,); integers keep it exact.
            None: plain Metropolis-Hastings.
        rule: How the constraint is kept, see `coupled`.

    Returns:
        The constraint in each row afterwards, shape (rows,), in the unit of the weights, or None
        without one.

    Raises:
        StateError: Spins or state have a wrong shape or type, or impossible values.
        ScenarioError: Another argument does not fit.
    """
    _check_rows(couplings, spins, state)
    rows, n = spins.shape
    hot = _broadcast(temperature, (rows,), "temperature")
    if not (hot > 0.0).all():
        raise ScenarioError(f"temperature has a value of {hot.min():g}; expected all above 0.")
    if not isinstance(attempts, int | np.integer) or isinstance(attempts, bool) or attempts < 0:
        raise ScenarioError(f"attempts is {attempts!r}; expected a whole number >= 0.")
    h = _broadcast(field, (rows, n), "field")
    if rule not in ("gate", "or"):
        raise ScenarioError(f"rule is {rule!r}; expected 'gate' or 'or'.")
    if weights is not None:
        w = _weights(weights, n)
        return _coupled(couplings, spins, h, hot, w, rule == "gate", attempts, state)
    uniform = np.ndim(field) == 0 or np.shape(field)[-1] == 1
    if uniform and len(couplings.pair) == 1 and not len(couplings.neighbour):
        coupling = couplings.pair[0] * (n - 1)
        _group_rows(spins, coupling, np.ascontiguousarray(h[:, 0]), hot, attempts, state)
        return None
    if couplings.square is not None:
        neighbour, missing, coupling = couplings.square
        levels, level = _levels(np.asarray(field, dtype=np.float64), rows, n)
        # With more levels than attempts the table costs more than it saves.
        if LEVEL * levels.shape[1] <= max(attempts, LEVEL):
            place = (LEVEL * level + 4 - missing).astype(np.int32)
            _square_rows(spins, neighbour, place, coupling, levels, hot, attempts, state)
            return None
    none = np.zeros(n, dtype=np.int64)
    _coupled(couplings, spins, h, hot, none, True, attempts, state)
    return None


def _coupled(couplings: Couplings, spins: Spins, *rest: Any) -> NDArray:
    c = couplings
    rows: Any = _coupled_rows
    return rows(spins, c.start, c.neighbour, c.strength, c.group, c.pair, *rest)


def _levels(field: Floats, rows: int, n: int) -> tuple[Floats, NDArray[np.int64]]:
    """Different columns of a field, shape (rows, levels), and which one each spin feels."""
    if field.ndim == 0 or field.shape[-1] == 1:
        different, level = field.reshape(-1, 1), np.zeros(n, dtype=np.int64)
    elif field.ndim == 1:
        different, level = np.unique(field, return_inverse=True)
    else:
        different, level = np.unique(field, axis=1, return_inverse=True)
    shape = (rows, different.shape[-1])
    return np.ascontiguousarray(np.broadcast_to(different, shape)), level.ravel()


def _check_rows(couplings: Couplings, spins: Spins, state: NDArray[np.uint64]) -> None:
    for name, array, kind in (("spins", spins, np.int8), ("state", state, np.uint64)):
        if not isinstance(array, np.ndarray) or array.dtype != kind or array.ndim != 2:
            raise StateError(
                f"{name} is {type(array).__name__} of shape {np.shape(array)} and type "
                f"{getattr(array, 'dtype', None)}; expected a {np.dtype(kind)} array of rows."
            )
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise StateError(f"{name} must be contiguous and writeable, for it is changed.")
    if spins.shape[1] != couplings.n or state.shape != (len(spins), WORDS):
        raise StateError(
            f"spins have shape {spins.shape} and state {state.shape}; expected (rows, "
            f"{couplings.n}) and (rows, {WORDS}). Make one state a row with random_state."
        )
    if spins.size and not (np.abs(spins) == 1).all():
        raise StateError("spins have values other than +1 and -1.")
    if not state.any(axis=1).all():
        raise StateError("a row of state is all zeros and would stay so; use random_state.")


def _broadcast(values: ArrayLike, shape: tuple[int, ...], name: str) -> Floats:
    given = np.asarray(values, dtype=np.float64)
    try:
        each = np.ascontiguousarray(np.broadcast_to(given, shape))
    except ValueError as error:
        raise ScenarioError(
            f"{name} has shape {given.shape}; expected one number or what broadcasts to {shape}."
        ) from error
    if not np.isfinite(each).all():
        raise ScenarioError(f"{name} has values that are no finite numbers.")
    return each


def _weights(weights: ArrayLike, n: int) -> NDArray:
    w = np.asarray(weights)
    if w.shape != (n,) or w.dtype.kind not in "iuf" or not np.isfinite(w).all():
        raise ScenarioError(
            f"weights have shape {w.shape} and type {w.dtype}; expected {n} finite numbers."
        )
    if w.dtype.kind == "f":
        return w.astype(np.float64)
    if math.fsum(np.abs(w.astype(np.float64)).tolist()) > 2**62:
        raise ScenarioError("weights add up to more than 2^62; give them in a coarser unit.")
    return w.astype(np.int64)


@compiled
def _group_rows(spins, coupling, field, temperature, attempts, state):
    members = np.arange(spins.shape[1])
    for r in range(len(spins)):
        up = 0
        for k in range(spins.shape[1]):
            up += spins[r, k] > 0
        attempt_group(spins[r], members, up, coupling, field[r], temperature[r], attempts, state[r])


@compiled
def _square_rows(spins, neighbour, place, coupling, levels, temperature, attempts, state):
    table = np.empty(LEVEL * levels.shape[1], dtype=np.int64)
    for r in range(len(spins)):
        square_table(coupling, levels[r], temperature[r], table)
        attempt_square(spins[r], neighbour, place, table, attempts, state[r])


@compiled
def _coupled_rows(
    spins, start, neighbour, strength, group, pair,
    field, temperature, weight, gate, attempts, state,
):  # fmt: skip
    out = np.zeros(len(spins), dtype=weight.dtype)
    total = np.zeros(len(pair), dtype=np.int64)
    for r in range(len(spins)):
        total[:] = 0
        for k in range(spins.shape[1]):
            total[group[k]] += spins[r, k]
        out[r] = attempt_coupled(
            spins[r], start, neighbour, strength, group, pair, total,
            field[r], temperature[r], weight, gate, attempts, state[r],
        )  # fmt: skip
    return out
