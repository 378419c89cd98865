"""A hybrid inverter whose reactive power needs PV: the grid code's least power factor.

Reactive power is bounded by abs(q) <= tan_phi * g with g the PV power used, and by what the
inverter's polygon leaves beside r = battery - g. At a battery power the region of (g, q) is a
polygon whose corners move linearly with it, except at `kink_powers`.
"""

from __future__ import annotations

import numpy as np

from flexgym.envs.charts.capability import Capability, kink_powers, polygon, reactive_limit
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.charts.support import is_vertex
from flexgym.envs.household.params import Floats

_NOWHERE = np.zeros((1, 2))


def power_factor_points(limits: Capability, battery: ConvexPiecewiseLinear, pv_kw: float) -> Floats:
    """Points (r, q, cost) with q >= 0 whose lower hull is the least cost, shape (n, 3).

    Args:
        limits: Apparent-power limits.
        battery: Cost against battery power, kW to EUR.
        pv_kw: PV power available, kW.
    """
    kinks = kink_powers(limits, pv_kw)
    b = np.concatenate([battery.x, kinks[(kinks > battery.x[0]) & (kinks < battery.x[-1])]])
    b = b[(b >= -limits.kva - 1e-9) & (b <= limits.kva + pv_kw + 1e-9)]
    least = (b - limits.kva).clip(0.0, pv_kw)
    most = (b + limits.kva).clip(least, pv_kw)
    corners = polygon(limits.kva)[0]
    # Corners of the top of the polygon in (g, q): its ends, the inverter's corners, and where
    # the grid code's line meets the inverter's sides.
    g = np.column_stack([least, most, b[:, None] - corners])
    g = np.sort(g.clip(least[:, None], most[:, None]), axis=1)
    gap = limits.tan_phi * g - reactive_limit(limits.kva, b[:, None] - g)
    row, at = np.nonzero((gap[:, :-1] < 0.0) & (gap[:, 1:] > 0.0))
    share = gap[row, at] / (gap[row, at] - gap[row, at + 1])
    crossing = g[row, at] + share * (g[row, at + 1] - g[row, at])
    own = np.concatenate([np.repeat(b, g.shape[1]), b[row]])
    used = np.concatenate([g.ravel(), crossing])
    q = np.minimum(limits.tan_phi * used, reactive_limit(limits.kva, own - used))
    points = np.column_stack([own - used, q, np.interp(own, battery.x, battery.y)])
    return points[is_vertex(points, _NOWHERE)[:, 0]]
