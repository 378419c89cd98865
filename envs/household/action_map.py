"""From an action in [-1, 1] to a power of battery or car, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ActionError

ACTION_MAPS = ("plateau", "knots", "range", "rating")
_PLATEAU, _KNOTS, _RANGE, _RATING = 0, 1, 2, 3


@compiled
def balancing(low, high, load_kw, pv_kw):
    """Power of a device that brings the meter to zero as far as feasible, kW."""
    return min(max(pv_kw - load_kw, low), high)


@compiled
def _knots(kind, low, high, zero):
    """Actions (4,) between which the map is linear and the powers it takes there.

    Also the inverse lengths of its outer pieces and of the inner one: dividing by them costs
    as much as all the rest.
    """
    idle = min(max(0.0, low), high)
    if kind == _PLATEAU:
        return (-0.5, -0.2, 0.2, 0.5), min(idle, zero), max(idle, zero), 2.0, 2.5
    if kind == _KNOTS:
        return (-1 / 3, -1 / 3, 1 / 3, 1 / 3), min(idle, zero), max(idle, zero), 1.5, 1.5
    return (0.0, 0.0, 0.0, 0.0), idle, idle, 1.0, 1.0


@compiled
def power_from_action(kind, action, rating, low, high, zero):
    """Power of a device an action in [-1, 1] stands for, kW, in [low, high].

    ``plateau`` (default): -1 is the feasible minimum, 1 the maximum; [-0.5, -0.2] and
    [0.2, 0.5] are the two kinks of the cost, idle and zero-at-the-meter, in the order of
    their powers; linear between. ``knots``: the same with kinks at -1/3 and 1/3 and no
    plateaus. ``range``: share of the feasible range, 0 is idle. ``rating``: share of the
    power rating, limited to what is feasible.

    Args:
        kind: Position of the action map in `ACTION_MAPS`.
        action: In [-1, 1].
        rating: Power rating of the device, kW.
        low: Least power feasible now, kW.
        high: Largest power feasible now, kW.
        zero: Power that brings the meter to zero, from `balancing`, kW.
    """
    if kind == _RATING:
        return min(max(action * rating, low), high)
    at, first, second, outer, inner = _knots(kind, low, high, zero)
    if action < at[0]:
        return low + (first - low) * ((action + 1.0) * outer)
    if action <= at[1]:
        return first
    if action < at[2]:
        return first + (second - first) * ((action - at[1]) * inner)
    if action <= at[3]:
        return second
    return high - (high - second) * ((1.0 - action) * outer)


@compiled
def action_from_power(kind, power_kw, rating, low, high, zero):
    """An action that plays a feasible power: right inverse of `power_from_action`."""
    if kind == _RATING:
        return power_kw / rating if rating > 0.0 else 0.0
    at, first, second, _, _ = _knots(kind, low, high, zero)
    if power_kw < first:
        return max(-1.0, -1.0 + (at[0] + 1.0) * (power_kw - low) / (first - low))
    if power_kw == first:
        return 0.5 * (at[0] + at[1])
    if power_kw < second:
        return at[1] + (at[2] - at[1]) * (power_kw - first) / (second - first)
    if power_kw == second:
        return 0.5 * (at[2] + at[3])
    return min(1.0, 1.0 - (1.0 - at[3]) * (high - power_kw) / (high - second))


def as_numbers(action: Any) -> np.ndarray:
    """The action as an array of real numbers.

    Raises:
        ActionError: It is none.
    """
    try:
        played = np.asarray(action)
    except ValueError as error:
        raise ActionError(f"the action is no array ({error}); expected numbers.") from error
    if played.dtype.kind not in "fiu":
        raise ActionError(f"action is of type {played.dtype}; expected real numbers.")
    return played
