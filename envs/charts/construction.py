"""From the cost-to-go and measurements to the flexibility chart of this period.

What the house can do does not depend on forecasts: `capability` and the polygons are
computed once. Each period the cost of active power is a merge of sorted slopes; reactive
power is added when somebody asks for the vertices. With r = battery - PV and reactive power
q of the inverters, the least cost F(r, q) before the bill is, up to symmetry in q:

- hybrid inverter: F(r), for abs(q) below the polygon: two vertices at every kink of either;
- hybrid with a least power factor: stored(max(b*, r + q/tan_phi)) or stored(r + pv) beyond,
  b* the best battery power: kinks lie on upright and on slanted lines, whose crossings hold
  all vertices;
- separate inverters: the Minkowski sum of the battery's F and of the roof's, which is flat.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from flexgym.envs.charts.capability import (
    Capability,
    corners_kw,
    pv_corners,
    reactive_limit,
)
from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.hull import LowerHull, cut
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
    hull = LowerHull(np.column_stack([power, reactive, points[:, 2] + bill]))
    return hull.points[hull.corners]


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
    """Points (r, q, F) that hold all vertices of F on the interval of ``stored``.

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
    middle = limits.load_tan_phi * load_kw
    wide = reactive > _TINY
    points = np.empty((len(x), 2, 3))
    points[:, :, 0], points[:, :, 2] = x[:, None], y[:, None]
    points[:, 0, 1] = middle - np.where(wide, reactive, 0.0)
    points[:, 1, 1] = middle + reactive
    used = np.ones((len(x), 2), dtype=bool)
    used[:, 1] = wide
    return points[used]


def _separate_points(
    limits: Capability,
    battery: ConvexPiecewiseLinear,
    stored: ConvexPiecewiseLinear,
    pv_kw: float,
    cuts: tuple[float, ...],
) -> Floats:
    """Battery and roof with an inverter each: vertices of the sum, cut to the interval."""
    own = Capability(limits.battery_kva or 0.0, None, math.inf, 0.0)
    points = _stack(own, battery, 0.0)
    upper = points[points[:, 1] >= 0.0]
    roof = pv_corners(limits, pv_kw)
    half = (upper[:, None, :2] + roof * (-1.0, 1.0)).reshape(-1, 2)
    cost = np.repeat(upper[:, 2], len(roof))
    both = np.concatenate([half, half * (1.0, -1.0)])
    hull = LowerHull(np.column_stack([both, np.tile(cost, 2)]))
    low, high = stored.x[0], stored.x[-1]
    found = hull.points[hull.corners]
    found = found[(found[:, 0] >= low - _TINY) & (found[:, 0] <= high + _TINY)]
    found[:, 0] = found[:, 0].clip(low, high)
    crossed = [cut(hull, at) for at in (low, high, *cuts) if low <= at <= high]
    return np.concatenate([found, *crossed])


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
    x = np.concatenate([corners_kw(limits.kva), upright, cuts, [low, high, most - pv_kw]])
    x = np.unique(x[(x >= low) & (x <= high)])
    if len(x) > 1:
        x = _with_crossings(x, (np.full(len(x), pv_kw * tan_phi), tan_phi * (most - x),
                                reactive_limit(limits.kva, x)))  # fmt: skip
    top = roof(x)
    parts = [(x, top), (x, np.zeros(len(x))), (slanted, np.zeros(len(slanted)))]
    # Slanted kinks q = tan_phi*(b - r) against the roof and against the upright cuts.
    gap = tan_phi * (slanted[:, None] - x) - top
    line, at = np.nonzero(gap[:, :-1] * gap[:, 1:] < 0.0)
    share = gap[line, at] / (gap[line, at] - gap[line, at + 1])
    r = x[at] + share * (x[at + 1] - x[at])
    parts.append((r, tan_phi * (slanted[line] - r)))
    fixed = np.array([at for at in (low, high, *cuts) if low <= at <= high])
    r, b = (a.ravel() for a in np.meshgrid(fixed, slanted))
    parts.append((r, tan_phi * (b - r)))
    r, q = (np.concatenate(column) for column in zip(*parts, strict=True))
    there = (r >= low) & (r <= high) & (q >= 0.0) & (q <= roof(r) + _TINY)
    r, q = r[there], q[there]
    b = np.maximum(np.minimum(best, r + pv_kw), r + (q / tan_phi if tan_phi > 0.0 else 0.0))
    cost = np.interp(b, battery.x, battery.y)
    half = np.column_stack([r, q, cost])
    return np.concatenate([half, half * (1.0, -1.0, 1.0)])


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
