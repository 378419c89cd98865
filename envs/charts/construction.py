"""From the cost-to-go and measurements to the flexibility chart of this period.

What the house can do does not depend on forecasts: `capability` and the polygons are
computed once. Each period the cost of active power is a merge of sorted slopes; reactive
power is added when somebody asks for the vertices. See `inverters`.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from flexgym.envs.charts.capability import Capability
from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.hull import LowerHull
from flexgym.envs.charts.inverters import inverter_points, stack
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.errors import ConvexityError
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
        house: Shape (18,), see `house_row`.
        soc_kwh: State of charge, kWh.
        load_kw: Load measured, kW.
        pv_kw: PV power measured before curtailment, kW.
        buy: Import price, EUR/kWh.
        sell: Export price, EUR/kWh.
        cost_to_go: Expected cost after this period against stored energy, kWh to EUR.
        limits: Apparent-power limits, see `capability`; default active power only.

    Raises:
        ConvexityError: Stored energy is worth more than unserved load.
    """
    if limits.battery_kva is not None and limits.kva > 0.0:
        pv_kw = min(pv_kw, limits.kva)
    battery = battery_cost(house, soc_kwh, cost_to_go)
    stored = battery
    if pv_kw > 0.0:
        # min over g in [0, pv] of stored(r + g): curtailment is free, its slope is zero.
        free = ConvexPiecewiseLinear(np.array([-pv_kw, 0.0]), np.zeros(2))
        stored = stored.infimal_convolution(free)
    inverter = stored.restrict(*inverter_range(house, load_kw, 0.0))
    limit = float(house[IMPORT])
    headroom = limit - load_kw
    shed = inverter.y + house[UNSERVED] * DT_H * (inverter.x - headroom)
    if inverter.x[0] >= headroom:
        cost = float(shed.min()) + DT_H * buy * limit
        only = ConvexPiecewiseLinear(np.array([limit]), np.array([cost]))
        lost = (load_kw, limit, house[UNSERVED] * DT_H, DT_H * buy * limit)
        build = partial(_short_vertices, limits, battery, inverter, pv_kw, *lost)
        return FlexibilityChart.lazy(only, build)
    if shed[inverter.x >= headroom].min(initial=np.inf) < float(inverter(headroom)) - 1e-9:
        raise ConvexityError(
            f"stored energy is worth more than unserved load ({house[UNSERVED]:g} EUR/kWh), so "
            "the house would leave load unserved to charge and its cost is not convex at the "
            "import limit. Raise unserved_eur_per_kwh or lower terminal_eur_per_kwh."
        )
    meter = inverter.restrict(inverter.x[0], headroom).shifted(load_kw)
    power = np.unique(np.append(meter.x, 0.0)) if meter.x[0] < 0.0 < meter.x[-1] else meter.x
    near = np.abs(power) > 1e-12
    power = np.where(near, power, 0.0)
    power = power[np.concatenate([[True], np.diff(power) > 1e-12])]
    bill = DT_H * np.where(power > 0.0, buy, sell) * power
    function = ConvexPiecewiseLinear(power, np.interp(power, meter.x, meter.y) + bill)
    if math.isinf(limits.tan_phi) and limits.battery_kva is None:
        return FlexibilityChart.lazy(function, partial(stack, limits, function, load_kw))
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
    points = inverter_points(limits, battery, stored, pv_kw, (-load_kw,))
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
    points = inverter_points(limits, battery, inverter, pv_kw, ())
    reactive = points[:, 1] + limits.load_tan_phi * (limit - points[:, 0])
    shed = unserved * (points[:, 0] + load_kw - limit)
    power = np.full(len(points), limit)
    hull = LowerHull(np.column_stack([power, reactive, points[:, 2] + shed + bill]))
    return hull.points[hull.corners]
