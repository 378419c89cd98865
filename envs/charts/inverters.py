"""Active and reactive power of a house's inverters: vertices of the least cost.

With r = battery - PV and reactive power q of the inverters, the least cost F(r, q) before
the bill is, up to symmetry in q:

- hybrid inverter: F(r), for abs(q) below the polygon: two vertices at every kink of either;
- hybrid with a least power factor: stored(b) at the b nearest to the best one with
  r + q/tan_phi <= b <= r + pv; kinks lie on upright and on slanted lines, vertices where
  these meet each other or the end of the region;
- separate inverters: the Minkowski sum of the battery's F and of the roof's, which is flat.
  Its vertices are sums of vertices that are best for one common price of p and of q.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.charts.capability import (
    Capability,
    corners_kw,
    pv_corners,
    reactive_limit,
)
from flexgym.envs.charts.hull import lower_chain
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.household.params import Floats

_TINY = 1e-9
_SAME = 1e-12


def inverter_points(
    limits: Capability,
    battery: ConvexPiecewiseLinear,
    stored: ConvexPiecewiseLinear,
    pv_kw: float,
    cuts: tuple[float, ...],
) -> Floats:
    """Vertices (r, q, F) of F on the interval of ``stored`` with further kinks at the cuts.

    Args:
        limits: Apparent-power limits.
        battery: Cost against battery power.
        stored: F(r, 0) on the active powers r that count.
        pv_kw: PV power available, kW.
        cuts: Active powers at which the bill has a kink, kW.
    """
    if limits.battery_kva is not None:
        return _separate_points(limits, battery, stored, pv_kw, cuts)
    if math.isfinite(limits.tan_phi):
        return _power_factor_points(limits, battery, stored, pv_kw, cuts)
    return stack(limits, stored, 0.0, cuts)


def stack(
    limits: Capability,
    function: ConvexPiecewiseLinear,
    load_kw: float,
    cuts: tuple[float, ...] = (),
) -> Floats:
    """Vertices of a cost that does not depend on q, beside what the polygon leaves for q."""
    low, high = function.x[0], function.x[-1]
    x = np.concatenate([function.x, load_kw + corners_kw(limits.kva), cuts])
    x = np.unique(x[(x >= low) & (x <= high)])
    kept = np.concatenate([[True], np.diff(x) > _TINY])
    x = x[kept]
    x[-1] = high
    y = np.interp(x, function.x, function.y)
    reactive = reactive_limit(limits.kva, x - load_kw)
    chain = _without_straight(np.column_stack([x, np.where(reactive > _TINY, reactive, 0.0), y]))
    points = np.repeat(chain, 2, axis=0)
    points[::2, 1] *= -1.0
    points[:, 1] += limits.load_tan_phi * load_kw
    used = np.ones(len(points), dtype=bool)
    used[1::2] = chain[:, 1] > 0.0
    return points[used]


def _separate_points(
    limits: Capability,
    battery: ConvexPiecewiseLinear,
    stored: ConvexPiecewiseLinear,
    pv_kw: float,
    cuts: tuple[float, ...],
) -> Floats:
    """Battery and roof with an inverter each: vertices of the sum, cut to the interval."""
    x = np.concatenate([battery.x, corners_kw(limits.battery_kva or 0.0)])
    x = np.unique(x[(x >= battery.x[0]) & (x <= battery.x[-1])])
    x = np.append(x[:-1][np.diff(x) > _TINY], x[-1])
    cost, own = np.interp(x, battery.x, battery.y), reactive_limit(limits.battery_kva or 0.0, x)
    roof = pv_corners(limits, pv_kw)
    used = _common_price(x, cost, own, roof)
    r, q = x[:, None] - roof[:, 0], own[:, None] + roof[:, 1]
    grid = np.stack([r, q, np.broadcast_to(cost[:, None], r.shape)], axis=2)
    along, across = used[1:] & used[:-1], used[:, 1:] & used[:, :-1]
    starts = np.concatenate([grid[:-1][along], grid[:, :-1][across]])
    ends = np.concatenate([grid[1:][along], grid[:, 1:][across]])
    low, high = stored.x[0], stored.x[-1]
    points = _mirrored(grid[used])
    lines = []
    for at in {low, high, *(at for at in cuts if low < at < high)}:
        on_line = np.abs(points[:, 0] - at) <= _TINY
        first, last = starts[:, 0] - at, ends[:, 0] - at
        cross = first * last < 0.0
        share = (first[cross] / (first[cross] - last[cross]))[:, None]
        met = _mirrored(starts[cross] + share * (ends[cross] - starts[cross]))
        lines.append(_on_line(at, np.concatenate([met, points[on_line]])))
        points = points[~on_line]
    points = points[(points[:, 0] > low) & (points[:, 0] < high)]
    return np.concatenate([points, *lines])


def _common_price(x: Floats, cost: Floats, own: Floats, roof: Floats) -> NDArray[np.bool_]:
    """Pairs (battery vertex, roof vertex) that are both best for some price, shape (n, m).

    At prices alpha of p and beta >= 0 of q, vertex i of the battery is best while alpha is
    between the slopes of cost - beta*own beside it, vertex j of the roof while alpha is
    between beta times the slopes of its limit. Both bounds are linear in beta.
    """
    step, along = np.diff(x), np.diff(roof[:, 0])
    s = np.concatenate([[-np.inf], np.diff(cost) / step, [np.inf]])
    m = np.concatenate([[0.0], np.diff(own) / step, [0.0]])
    t = np.concatenate([[np.inf], np.diff(roof[:, 1]) / along, [-np.inf]])
    low, high = np.zeros((len(x), len(roof))), np.full((len(x), len(roof)), np.inf)
    possible = np.ones(low.shape, dtype=bool)
    # beta*(t left + m left) >= s left, and the same on the right with signs turned.
    for sign, slope, factor in (
        (1.0, s[:-1], m[:-1, None] + t[:-1]),
        (-1.0, s[1:], m[1:, None] + t[1:]),
    ):
        a, c = sign * factor, np.broadcast_to(sign * slope[:, None], factor.shape)
        level = np.abs(a) < _SAME
        possible &= ~level | (c <= _SAME)
        with np.errstate(invalid="ignore", divide="ignore"):
            # An infinite price difference binds nothing: it stands for an end.
            bound = np.where(np.isinf(a) | np.isinf(c), np.where(a > 0, -np.inf, np.inf), c / a)
        low = np.where(~level & (a > 0.0), np.maximum(low, bound), low)
        high = np.where(~level & (a < 0.0), np.minimum(high, bound), high)
    return possible & (low <= high * (1.0 + _SAME) + _SAME)


def _mirrored(half: Floats) -> Floats:
    """The points and their images at -q; those at q = 0 once."""
    return np.concatenate([half, half[half[:, 1] > _TINY] * (1.0, -1.0, 1.0)])


def _on_line(at: float, points: Floats) -> Floats:
    """Vertices of the function on one line r = at."""
    points = points[lower_chain(points[:, 1], points[:, 2])]
    points[:, 0] = at
    return points


def _power_factor_points(
    limits: Capability,
    battery: ConvexPiecewiseLinear,
    stored: ConvexPiecewiseLinear,
    pv_kw: float,
    cuts: tuple[float, ...],
) -> Floats:
    """Hybrid inverter whose reactive power needs PV: ``abs(q) <= tan_phi * g``.

    F is stored(b) at the b nearest to the best one with r + q/tan_phi <= b <= r + pv.
    """
    low, high = stored.x[0], stored.x[-1]
    tan_phi, best, most = limits.tan_phi, battery.argmin, battery.x[-1]

    def roof(r: Floats) -> Floats:
        g = np.minimum(pv_kw, most - r) * tan_phi
        return np.minimum(reactive_limit(limits.kva, r), g).clip(0.0)

    upright = battery.x[battery.x <= best + _TINY] - pv_kw
    slanted = battery.x[battery.x >= best - _TINY]
    ends = (low, high, most - pv_kw)
    x = np.concatenate([corners_kw(limits.kva), upright, slanted, cuts, ends])
    x = np.unique(x[(x >= low) & (x <= high)])
    if len(x) > 1:
        x = _with_crossings(x, (np.full(len(x), pv_kw * tan_phi), tan_phi * (most - x),
                                reactive_limit(limits.kva, x)))  # fmt: skip
    top = roof(x)

    def on_function(r: Floats, q: Floats) -> Floats:
        b = np.maximum(np.minimum(best, r + pv_kw), r + (q / tan_phi if tan_phi > 0.0 else 0.0))
        return np.column_stack([r, q, np.interp(b, battery.x, battery.y)])

    # The end of the region, and slanted kinks q = tan_phi*(b - r) that meet it.
    gap = tan_phi * (slanted[:, None] - x) - top
    line, at = np.nonzero(gap[:, :-1] * gap[:, 1:] < 0.0)
    share = gap[line, at] / (gap[line, at] - gap[line, at + 1])
    met = np.sort(np.concatenate([x, x[at] + share * (x[at + 1] - x[at])]))
    met = np.append(met[:-1][np.diff(met) > _TINY], met[-1])
    end = _without_straight(on_function(met, roof(met)))
    inner = slanted[(slanted > low) & (slanted < high)]
    inner = inner[roof(inner) > _TINY]
    points = np.concatenate([end, on_function(inner, np.zeros(len(inner)))])
    lines = []
    for at in {low, high, *(at for at in cuts if low < at < high)}:
        points = points[np.abs(points[:, 0] - at) > _TINY]
        limit = float(roof(np.array(at)))
        q = tan_phi * (slanted - at)
        q = np.concatenate([[0.0, limit], q[(q > 0.0) & (q < limit)]])
        lines.append(_on_line(at, _mirrored(on_function(np.full(len(q), at), q))))
    return np.concatenate([_mirrored(points), *lines])


def _without_straight(points: Floats) -> Floats:
    """A chain of points without those on the line between their neighbours."""
    if len(points) < 3:
        return points
    before, span = points[1:-1] - points[:-2], points[2:] - points[:-2]
    # Distance from the line between the neighbours, from the cross product.
    left, right = [1, 2, 0], [2, 0, 1]
    turn = before[:, left] * span[:, right] - before[:, right] * span[:, left]
    off = np.sqrt((turn**2).sum(axis=1) / (span**2).sum(axis=1))
    return points[np.concatenate([[True], off > _SAME, [True]])]


def _with_crossings(x: Floats, lines: tuple[Floats, ...]) -> Floats:
    """``x`` and where functions that are linear between them cross."""
    found = [x]
    for k, f in enumerate(lines):
        for g in lines[:k]:
            gap = f - g
            at = np.flatnonzero(gap[:-1] * gap[1:] < 0.0)
            share = gap[at] / (gap[at] - gap[at + 1])
            found.append(x[at] + share * (x[at + 1] - x[at]))
    return np.unique(np.concatenate(found))
