"""The paper's two constraints on flexibility: how far they are missed, and how they are met.

Shiftable loads, eq. 23 [T]: over the day every bus makes up for what it dropped. Self-sufficiency,
eq. 22 [T]: in every hour what some buses drop, others take. Residuals are exact integers where
spins are.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.aggregator_market.objectives import checked_magnetisation
from flexgym.envs.aggregator_market.static_market import Ints
from flexgym.envs.errors import ActionError, InfeasibleError, MarketError
from flexgym.envs.household.params import Floats
from flexgym.envs.ising import Couplings, balance_weights, evolve


def shiftable_range(owed: Floats, now: float, left: float) -> tuple[Floats, Floats]:
    """Magnetisations of an hour after which the day can still end even.

    Args:
        owed: Source power times magnetisation summed over the hours before, shape (...).
        now: Source power of the hour, in the same unit.
        left: Sum of the source power of the hours after it.

    Returns:
        Least and largest, each shape (...).
    """
    return (
        np.clip((-owed - left) / now, -1.0, 1.0),
        np.clip((-owed + left) / now, -1.0, 1.0),
    )


def project_shiftable(magnetisation: ArrayLike, source_kw: ArrayLike) -> Floats:
    """The nearest day, hour by hour, that meets eq. 23; what it meets already stays as it is.

    An hour's choice is clipped to `shiftable_range`, so the rule can be played without knowing
    later choices.

    Args:
        magnetisation: Wanted, shape (..., T, B), in [-1, 1].
        source_kw: Source power, shape (T,), positive.

    Raises:
        ActionError: Wrong shape or range.
        MarketError: The source power of an hour is not positive.
    """
    source = np.asarray(source_kw, dtype=np.float64)
    if source.ndim != 1 or not (source > 0.0).all():
        raise MarketError("source_kw must hold a positive power for each hour.")
    m = np.asarray(magnetisation, dtype=np.float64)
    if m.ndim < 2 or m.shape[-2] != len(source):
        raise ActionError(f"magnetisation has shape {m.shape}; expected (..., {len(source)}, B).")
    m = checked_magnetisation(m, m.shape[-2:]).copy()
    owed, left = np.zeros_like(m[..., 0, :]), source.sum()
    for t, now in enumerate(source):
        left = left - now if t + 1 < len(source) else 0.0
        m[..., t, :] = np.clip(m[..., t, :], *shiftable_range(owed, now, left))
        owed = owed + now * m[..., t, :]
    return m


def project_shiftable_spins(
    magnetisation: ArrayLike, customers: ArrayLike, source_percent: ArrayLike
) -> Ints:
    """Customers at +1 in each hour, nearest to what is wanted, with eq. 23 met exactly.

    Hour by hour the nearest count is taken from which the hours left can still reach zero; which
    counts can is known from the integers themselves, not from their bounds.

    Args:
        magnetisation: Wanted, shape (T, B), in [-1, 1].
        customers: Customers of each bus, shape (B,).
        source_percent: Source power in each hour, shape (T,), whole % of the load, positive.

    Returns:
        Shape (T, B); the magnetisation is ``2 * up / customers - 1``.

    Raises:
        ActionError: Wrong shape or range.
        InfeasibleError: A bus cannot end even: odd customers and an odd sum of the hours, or no
            combination of whole customers.
    """
    percent, counts = _whole(source_percent, "source_percent"), _whole(customers, "customers")
    m = checked_magnetisation(magnetisation, (len(percent), len(counts)))
    up = np.empty(m.shape, dtype=np.int64)
    for i, n in enumerate(counts.tolist()):
        reach, needed = _reachable(n, tuple(percent.tolist()))
        levels = np.arange(n + 1)
        for t, now in enumerate(percent.tolist()):
            wanted = 0.5 * n * (1.0 + m[t, i])
            for level in levels[np.argsort(np.abs(levels - wanted), kind="stable")].tolist():
                rest = needed - now * level
                if rest >= 0 and reach[t + 1] >> rest & 1:
                    up[t, i], needed = level, rest
                    break
    return up


@lru_cache(maxsize=64)
def _reachable(customers: int, percent: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Sums of percent times customers at +1 that the hours from each on can give, as bits.

    The second value is the sum over the day that makes eq. 23 zero.
    """
    total = customers * sum(percent)
    if total % 2:
        raise InfeasibleError(
            f"a bus of {customers} customers cannot end the day even: {customers} times the sum "
            f"of the hours, {sum(percent)} %, is odd. Use an even number of customers, or hours "
            "whose percentages have an even sum."
        )
    reach = [1]
    for now in reversed(percent):
        bits = 0
        for level in range(customers + 1):
            bits |= reach[-1] << now * level
        reach.append(bits)
    reach.reverse()
    if not reach[0] >> total // 2 & 1:
        raise InfeasibleError(
            f"no whole numbers of {customers} customers end the day of {percent} % even. Use "
            "more customers or other hours."
        )
    return tuple(reach), total // 2


def shiftable_residual(up: ArrayLike, customers: ArrayLike, source_percent: ArrayLike) -> Ints:
    """What eq. 23 misses, exact: sum of percent times spins over the day, shape (..., B).

    Args:
        up: Customers at +1, shape (..., T, B), whole.
        customers: Customers of each bus, shape (B,).
        source_percent: Source power, shape (T,), whole % of the load.
    """
    percent, counts = _whole(source_percent, "source_percent"), _whole(customers, "customers")
    spins = 2 * _whole(up, "up") - counts
    return (percent[:, None] * spins).sum(axis=-2)


def project_balanced(magnetisation: ArrayLike, load_kw: ArrayLike) -> Floats:
    """The nearest magnetisations with sum of load times magnetisation zero in every hour; eq. 22.

    All buses of an hour move by the same amount, the load-weighted mean; buses that reach -1 or
    1 stop there and the others move on. This is the projection in the norm weighted by load.

    Args:
        magnetisation: Wanted, shape (..., B), in [-1, 1].
        load_kw: Load of each bus, shape (B,), >= 0.

    Raises:
        ActionError: Wrong shape or range.
    """
    load = np.asarray(load_kw, dtype=np.float64)
    m = checked_magnetisation(magnetisation, load.shape)
    flat = m.reshape(-1, len(load))
    # The balance falls with the shift: from all at 1 to all at -1, linear between kinks, where
    # a bus leaves one bound or meets the other.
    kinks = np.concatenate([flat - 1.0, flat + 1.0], axis=1)
    order = np.argsort(kinks, axis=1)
    kinks = np.take_along_axis(kinks, order, axis=1)
    slope = np.cumsum(np.concatenate([-load, load])[order], axis=1)
    fall = np.cumsum(slope[:, :-1] * np.diff(kinks, axis=1), axis=1)
    value = load.sum() + np.concatenate([np.zeros((len(flat), 1)), fall], axis=1)
    after = np.clip((value > 0.0).sum(axis=1), 1, kinks.shape[1] - 1)
    rows = np.arange(len(flat))
    x0, x1 = kinks[rows, after - 1], kinks[rows, after]
    y0, y1 = value[rows, after - 1], value[rows, after]
    drop = np.where(y0 > y1, y0 - y1, 1.0)
    shift = x0 + (x1 - x0) * np.clip(y0 / drop, 0.0, 1.0)
    return np.clip(flat - shift[:, None], -1.0, 1.0).reshape(m.shape)


def nearest_spins(magnetisation: ArrayLike, customers: ArrayLike) -> Ints:
    """Customers at +1 nearest to magnetisations, shape (..., B); ties go to the even number.

    After `project_balanced` this is the rounded projection on eq. 22; `balance_residual` says
    what rounding left, and a penalty or the constrained Metropolis deals with it.
    """
    counts = _whole(customers, "customers")
    m = checked_magnetisation(magnetisation, counts.shape)
    return np.rint(0.5 * counts * (1.0 + m)).astype(np.int64)


def balance_residual(up: ArrayLike, customers: ArrayLike, load_kw: ArrayLike) -> tuple[Ints, int]:
    """What eq. 22 misses, exact.

    Args:
        up: Customers at +1, shape (..., B), whole.
        customers: Customers of each bus, shape (B,).
        load_kw: Load of each bus, shape (B,), whole kW.

    Returns:
        Sum of load times magnetisation, times the second value so that it is whole, shape
        (...); the second value, the least common multiple of the numbers of customers.
    """
    counts, load = _whole(customers, "customers"), _whole(load_kw, "load_kw")
    whole = math.lcm(*counts.tolist())
    spins = 2 * _whole(up, "up") - counts
    return (spins * (load * (whole // counts))).sum(axis=-1), whole


def balance_by_chain(
    couplings: Couplings,
    spins: NDArray[np.int8],
    bus_of: ArrayLike,
    load_kw: ArrayLike,
    state: NDArray[np.uint64],
    *,
    temperature: ArrayLike,
    sweeps: int,
    field: ArrayLike = 0.0,
) -> tuple[NDArray[np.int8], Floats]:
    """Bring spins towards eq. 22 by the constrained Metropolis (gate), by their own dynamics.

    No flip raises the imbalance, which is kept in whole numbers. Where every single flip would
    raise it, be the temperature what it may, the chain is at rest.

    Args:
        couplings: Of the C customers.
        spins: Shape (rows, C), -1 or 1; left as they are.
        bus_of: Bus of each customer, shape (C,).
        load_kw: Load of each bus, shape (B,), whole kW.
        state: Of `random_state`, shape (rows, 4), advanced.
        temperature: For all rows or shape (rows,).
        sweeps: Attempts per customer.
        field: As for `evolve`.

    Returns:
        Spins afterwards, and the imbalance as a share of the load, shape (rows,).
    """
    weights, unit = balance_weights(load_kw, bus_of)
    moved = spins.copy()
    left = evolve(
        couplings, moved, state,
        temperature=temperature, attempts=sweeps * couplings.n, field=field, weights=weights,
    )  # fmt: skip
    return moved, unit * np.asarray(left, dtype=np.float64)


def shiftable_penalty_eur(
    magnetisation: ArrayLike, source_kw: ArrayLike, load_share: ArrayLike, eur_per_mwh: float
) -> Floats:
    """Penalty on energy that a bus still owes or has too much at the end, shape (..., B), EUR."""
    m, source = np.asarray(magnetisation), np.asarray(source_kw, dtype=np.float64)
    energy_kwh = np.einsum("t,...tb->...b", source, m) * np.asarray(load_share)
    return 1e-3 * eur_per_mwh * np.abs(energy_kwh)


def balance_penalty_eur(
    magnetisation: ArrayLike, source_kw: ArrayLike, load_share: ArrayLike, eur_per_mwh: float
) -> Floats:
    """Penalty on what the network exchanges in each hour, shape (..., T), EUR."""
    balance = np.asarray(magnetisation) @ np.asarray(load_share)
    return 1e-3 * eur_per_mwh * np.asarray(source_kw) * np.abs(balance)


def _whole(values: ArrayLike, name: str) -> Ints:
    whole = np.asarray(values)
    if whole.dtype.kind not in "iu":
        raise MarketError(
            f"{name} has type {whole.dtype}; expected whole numbers, so that nothing is rounded."
        )
    return whole.astype(np.int64)
