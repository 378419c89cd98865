"""From the cost-to-go and measurements to the flexibility chart of this period.

What the house can do does not depend on forecasts: `capability` and the polygons are
computed once. Each period the cost of active power is a lower hull of few points; reactive
power is added when somebody asks for the vertices. See `chains` and `support`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from flexgym.envs.charts.capability import Capability, polygon, pv_corners
from flexgym.envs.charts.chains import CarLevels, battery_chain, level_points, lowest, on_interval
from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.hull import LowerHull
from flexgym.envs.charts.inverters import power_factor_points
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.charts.support import SAME_KW, half_vertices, is_vertex, on_line
from flexgym.envs.errors import ConvexityError
from flexgym.envs.household.dynamics import EXPORT, IMPORT, INVERTER, UNSERVED
from flexgym.envs.household.params import DT_H, Floats

_NO_INVERTER = Capability(0.0, None, math.inf, 0.0)
_NOWHERE = np.zeros((1, 2))


def house_chart(
    house: Floats,
    soc_kwh: float,
    load_kw: float,
    pv_kw: float,
    buy: float,
    sell: float,
    cost_to_go: ConvexPiecewiseLinear | CarLevels,
    limits: Capability = _NO_INVERTER,
) -> FlexibilityChart:
    """Chart of a house: PV and battery behind one hybrid inverter or two of their own, car.

    Load is left unserved only as far as the import limit forces it; a house that cannot
    stay below the limit offers the limit alone.

    Args:
        house: Shape (18,), see `house_row`.
        soc_kwh: State of charge, kWh.
        load_kw: Load measured, kW.
        pv_kw: PV power measured before curtailment, kW.
        buy: Import price, EUR/kWh.
        sell: Export price, EUR/kWh.
        cost_to_go: Expected cost after this period against the battery's energy, kWh to EUR;
            with a car beside each of its powers.
        limits: Apparent-power limits, see `capability`; default active power only.

    Raises:
        ConvexityError: Stored energy is worth more than unserved load.
    """
    one = isinstance(cost_to_go, ConvexPiecewiseLinear)
    levels = CarLevels.of([(0.0, cost_to_go)]) if one else cost_to_go
    if limits.battery_kva is not None and limits.kva > 0.0:
        pv_kw = min(pv_kw, limits.kva)
    devices = _Devices(house, float(soc_kwh), levels, float(pv_kw), limits)
    power, cost = devices.active()
    limit = float(house[IMPORT])
    headroom = limit - load_kw
    shed = cost + house[UNSERVED] * DT_H * (power - headroom)
    # Only unserved load lets devices draw what the limit leaves no room for, and no more.
    drawn = power <= limit + SAME_KW
    if power[0] >= headroom:
        least = float(shed[drawn].min()) + DT_H * buy * limit
        only = ConvexPiecewiseLinear(np.array([limit]), np.array([least]))
        bill = DT_H * buy * limit

        def build_short() -> Floats:
            return devices.short_vertices(load_kw, limit, house[UNSERVED] * DT_H, bill)

        return FlexibilityChart.lazy(only, build_short)
    at_headroom = float(np.interp(headroom, power, cost))
    if shed[(power >= headroom) & drawn].min(initial=np.inf) < at_headroom - 1e-9:
        raise ConvexityError(
            f"stored energy is worth more than unserved load ({house[UNSERVED]:g} EUR/kWh), so "
            "the house would leave load unserved to charge and its cost is not convex at the "
            "import limit. Raise unserved_eur_per_kwh, or lower terminal_eur_per_kwh or "
            "missed_eur_per_kwh."
        )
    low = max(float(power[0]), -float(house[EXPORT]) - load_kw)
    high = max(min(float(power[-1]), headroom), low)
    room = np.empty((len(power) + 3, 2))
    n = on_interval(power, cost, low, high, -load_kw, room)
    x, y = room[:n, 0] + load_kw, room[:n, 1]
    x[np.abs(x) <= SAME_KW] = 0.0
    apart = np.append(True, np.diff(x) > 0.0)
    x, y = x[apart], y[apart]
    bill = DT_H * np.where(x > 0.0, buy, sell) * x
    function = ConvexPiecewiseLinear.trusted(x, y + bill)
    return FlexibilityChart.lazy(
        function, lambda: devices.vertices(load_kw, low, high, float(buy), float(sell))
    )


@dataclass(frozen=True)
class _Devices:
    """Battery, roof and car of one period, without the connection and its bill."""

    house: Floats
    soc_kwh: float
    levels: CarLevels
    pv_kw: float
    limits: Capability

    def _points(self, kva: float | None, pv_kw: float, shared_kva: float) -> Floats:
        """Points (kW, kvar, EUR) with q >= 0; no reactive power without a rating."""
        levels = self.levels
        corners = polygon(kva) if kva else (np.zeros(1), np.zeros(1))
        room = np.empty((len(levels.x) + len(levels) * (5 + len(corners[0])), 3))
        count = level_points(
            self.house, self.soc_kwh, levels.car_kw, levels.starts, levels.x, levels.y, pv_kw,
            -shared_kva, shared_kva, *corners, room,
        )  # fmt: skip
        return room[:count]

    def active(self) -> tuple[Floats, Floats]:
        """Least cost over reactive power: breakpoints of power (kW) and cost (EUR)."""
        points = self._points(None, self.pv_kw, float(self.house[INVERTER]))
        room = np.empty((len(points), 2))
        order = np.lexsort((points[:, 2], points[:, 0]))
        n = lowest(points, order, room)
        return room[:n, 0], room[:n, 1]

    def _reactive(self) -> tuple[Floats, Floats]:
        """Points (kW, kvar, EUR) of the devices and (kW, kvar) of a roof of its own."""
        limits = self.limits
        if limits.battery_kva is not None:
            roof = pv_corners(limits, self.pv_kw)
            points = self._points(limits.battery_kva, 0.0, math.inf)
            return points, np.ascontiguousarray(roof * (-1.0, 1.0))
        if math.isfinite(limits.tan_phi) and limits.kva > 0.0:
            found = []
            for car, later in self.levels:
                x, y = np.empty(len(later.x) + 3), np.empty(len(later.x) + 3)
                n = battery_chain(self.house, self.soc_kwh, car, later.x, later.y, x, y)
                battery = ConvexPiecewiseLinear.trusted(x[:n], y[:n])
                at = power_factor_points(limits, battery, self.pv_kw)
                at[:, 0] += car
                found.append(at)
            return np.concatenate(found), _NOWHERE
        return self._points(limits.kva, self.pv_kw, float(self.house[INVERTER])), _NOWHERE

    def vertices(self, load_kw: float, low: float, high: float, buy: float, sell: float) -> Floats:
        """Vertices (kW, kvar, EUR) at the meter, between two powers of the devices."""
        half = half_vertices(*self._reactive(), low, high, -load_kw)
        power = half[:, 0] + load_kw
        power[np.abs(power) <= SAME_KW] = 0.0
        half[:, 2] += DT_H * np.where(power > 0.0, buy, sell) * power
        half[:, 0] = power
        half[half[:, 1] <= SAME_KW, 1] = 0.0
        whole = np.concatenate([half, half[half[:, 1] > 0.0] * (1.0, -1.0, 1.0)])
        whole[:, 1] += self.limits.load_tan_phi * load_kw
        return whole[np.lexsort((whole[:, 1], whole[:, 0]))]

    def short_vertices(self, load_kw: float, limit: float, unserved: float, bill: float) -> Floats:
        """Vertices where the import limit is all there is: shedding load sheds its q too."""
        points, roof = self._reactive()
        used = is_vertex(points, roof)
        k, j = np.nonzero(used)
        p, q, cost = points[k, 0] + roof[j, 0], points[k, 1] + roof[j, 1], points[k, 2]
        if p.max() > limit:
            line = on_line(points[used.any(axis=1)], roof[used.any(axis=0)], limit)
            kept = p <= limit
            p = np.concatenate([p[kept], np.full(len(line), limit)])
            q = np.concatenate([q[kept], line[:, 0]])
            cost = np.concatenate([cost[kept], line[:, 1]])
        shed = bill + unserved * (p + load_kw - limit)
        q = np.concatenate([q, -q]) + self.limits.load_tan_phi * np.tile(limit - p, 2)
        power = np.full(len(q), limit)
        hull = LowerHull(np.column_stack([power, q, np.tile(cost + shed, 2)]))
        return hull.points[hull.corners]
