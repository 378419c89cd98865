"""From the cost-to-go and measurements to the flexibility chart of this period.

What the house can do does not depend on forecasts: `capability` and the polygons are
computed once. Each period the cost of active power is a merge of sorted slopes; reactive
power is added when somebody asks for the vertices. With r = battery - PV and reactive power
q of the inverters, the least cost F(r, q) before the bill is, up to symmetry in q:

- hybrid inverter: F(r), for abs(q) below the polygon: two vertices at every kink of either;
- hybrid with a least power factor: stored(max(b*, r + q/tan_phi)) or stored(r + pv) beyond,
  b* the best battery power; kinks lie on upright and on slanted lines, whose crossings hold
  all vertices;
- separate inverters: the Minkowski sum of the battery's F and of the roof's, which is flat.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.charts.capability import (
    Capability,
    corners_kw,
    pv_corners,
    reactive_limit,
)
from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.hull import LowerHull, lower_chain
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.household.dynamics import (
    CAPACITY,
    DT_H,
    ETA_C,
    ETA_D,
    IMPORT,
    POWER,
    RETENTION,
    UNSERVED,
    WEAR,
    inverter_range,
)
from flexgym.envs.household.params import Floats

_NO_INVERTER = Capability(0.0, None, math.inf, 0.0)
_TINY = 1e-9
_SAME = 1e-12


def battery_cost(
    house: Floats, soc_kwh: float, cost_to_go: ConvexPiecewiseLinear
) -> ConvexPiecewiseLinear:
    """Wear and cost-to-go against battery power, within power and capacity."""
    left = house[RETENTION] * soc_kwh
    low = max(-house[POWER], -left * house[ETA_D] / DT_H)
    high = min(house[POWER], (house[CAPACITY] - left) / (house[ETA_C] * DT_H))
    low, high = min(low, 0.0), max(high, 0.0)
    change = cost_to_go.x - left
    kinks = np.where(change > 0.0, change / (house[ETA_C] * DT_H), change * house[ETA_D] / DT_H)
    kinks = np.concatenate([kinks[(kinks > low) & (kinks < high)], [low, 0.0, high]])
    power = np.unique(kinks)
    power = power[np.concatenate([[True], np.diff(power) > 1e-9])]
    energy = left + np.where(power > 0.0, power * house[ETA_C] * DT_H, power * DT_H / house[ETA_D])
    later = np.interp(energy, cost_to_go.x, cost_to_go.y)
    return ConvexPiecewiseLinear(power, house[WEAR] * np.abs(power) * DT_H + later)


def house_chart(
    house: Floats,
    soc_kwh: float,
    load_kw: float,
    pv_kw: float,
    buy: float,
    sell: float,
    cost_to_go: ConvexPiecewiseLinear,
    limits: Capability = _NO_INVERTER,
) -> FlexibilityChart:
    """Chart of a house with PV and battery behind one hybrid inverter or two of their own.

    Load is left unserved only as far as the import limit forces it; a house that cannot
    stay below the limit offers the limit alone.

    Args:
        house: Shape (11,), see `house_row`.
        soc_kwh: State of charge, kWh.
        load_kw: Load measured, kW.
        pv_kw: PV power measured before curtailment, kW.
        buy: Import price, EUR/kWh.
        sell: Export price, EUR/kWh.
        cost_to_go: Expected cost after this period against stored energy, kWh to EUR.
        limits: Apparent-power limits, see `capability`; default active power only.
    """
    if limits.battery_kva is not None and limits.kva > 0.0:
        pv_kw = min(pv_kw, limits.kva)
    battery = battery_cost(house, soc_kwh, cost_to_go)
    stored = battery
    if pv_kw > 0.0:
        # min over g in [0, pv] of stored(r + g): curtailment is free, its slope is zero.
        free = ConvexPiecewiseLinear(np.array([-pv_kw, 0.0]), np.zeros(2))
        stored = stored.infimal_convolution(free)
    inverter = stored.restrict(*inverter_range(house, load_kw))
    limit = float(house[IMPORT])
    headroom = limit - load_kw
    if inverter.x[0] >= headroom:
        shed = house[UNSERVED] * DT_H * (inverter.x - headroom)
        cost = float((inverter.y + shed).min()) + DT_H * buy * limit
        only = ConvexPiecewiseLinear(np.array([limit]), np.array([cost]))
        lost = (load_kw, limit, house[UNSERVED] * DT_H, DT_H * buy * limit)
        build = partial(_short_vertices, limits, battery, inverter, pv_kw, *lost)
        return FlexibilityChart.lazy(only, build)
    meter = inverter.restrict(inverter.x[0], headroom).shifted(load_kw)
    power = np.unique(np.append(meter.x, 0.0)) if meter.x[0] < 0.0 < meter.x[-1] else meter.x
    near = np.abs(power) > 1e-12
    power = np.where(near, power, 0.0)
    power = power[np.concatenate([[True], np.diff(power) > 1e-12])]
    bill = DT_H * np.where(power > 0.0, buy, sell) * power
    function = ConvexPiecewiseLinear(power, np.interp(power, meter.x, meter.y) + bill)
    if math.isinf(limits.tan_phi) and limits.battery_kva is None:
        return FlexibilityChart.lazy(function, partial(_stack, limits, function, load_kw))
    build = partial(_vertices, limits, battery, meter, pv_kw, load_kw, buy, sell)
    return FlexibilityChart.lazy(function, build)


def _vertices(
    limits: Capability,
    battery: ConvexPiecewiseLinear,
    meter: ConvexPiecewiseLinear,
    pv_kw: float,
    load_kw: float,
    buy: float,
    sell: float,
) -> Floats:
    """Vertices of the chart where F depends on q."""
    stored = meter.shifted(-load_kw)
    points = _inverter_points(limits, battery, stored, pv_kw, (-load_kw,))
    power = points[:, 0] + load_kw
    power[np.abs(power) <= _TINY] = 0.0
    reactive = points[:, 1] + limits.load_tan_phi * load_kw
    bill = DT_H * np.where(power > 0.0, buy, sell) * power
    points = np.column_stack([power, reactive, points[:, 2] + bill])
    return points[np.lexsort((reactive, power))]


def _short_vertices(
    limits: Capability,
    battery: ConvexPiecewiseLinear,
    inverter: ConvexPiecewiseLinear,
    pv_kw: float,
    load_kw: float,
    limit: float,
    unserved: float,
    bill: float,
) -> Floats:
    """Vertices where the import limit is all there is: shedding load sheds its q too."""
    points = _inverter_points(limits, battery, inverter, pv_kw, ())
    reactive = points[:, 1] + limits.load_tan_phi * (limit - points[:, 0])
    shed = unserved * (points[:, 0] + load_kw - limit)
    power = np.full(len(points), limit)
    hull = LowerHull(np.column_stack([power, reactive, points[:, 2] + shed + bill]))
    return hull.points[hull.corners]


def _inverter_points(
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
    return _stack(limits, stored, 0.0, cuts)


def _stack(
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
