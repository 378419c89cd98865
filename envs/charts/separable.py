"""Battery and car with a cost-to-go each: charts from the two, and powers back from a chart.

Where the cost after a period is one function of the battery's energy plus one of the car's,
only the car's kinks within reach of this period count. The way back is as short: every point
of a chart lies between two points whose powers are known.
"""

from __future__ import annotations

import numpy as np

from flexgym.envs.charts.chains import CarLevels, battery_chain, lowest
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import (
    EXPORT,
    IMPORT,
    INVERTER,
    UNSERVED,
    car_change,
    car_power,
)
from flexgym.envs.household.params import DT_H, Floats

_SAME_KW = 1e-9


def car_levels(
    house: Floats,
    battery: ConvexPiecewiseLinear,
    car: ConvexPiecewiseLinear,
    car_kwh: float,
    least_kw: float,
    most_kw: float,
) -> CarLevels:
    """Cost after a period beside each power of a plugged-in car that counts.

    Args:
        house: Shape (18,), see `house_row`.
        battery: Cost against the battery's energy after the period, kWh to EUR.
        car: Cost against the car's energy after the period, likewise; constant beyond its ends.
        car_kwh: Energy in the car now, kWh.
        least_kw: Least power of the car now, kW, at most 0.
        most_kw: Largest, kW, at least 0.
    """
    power, cost = np.empty(len(car.x) + 3), np.empty(len(car.x) + 3)
    # Copies: what may not be written is another type to the compiler.
    x, y = np.array(car.x), np.array(car.y)
    n = _levels(house, x, y, float(car_kwh), float(least_kw), float(most_kw), power, cost)
    k = len(battery.x)
    values = (battery.y + cost[:n, None]).ravel()
    return CarLevels(power[:n], np.arange(n + 1) * k, np.tile(battery.x, n), values)


@compiled
def _levels(house, x, y, car_kwh, least_kw, most_kw, power, cost):
    """Write powers at which the cost of the car bends, ascending, and the cost; their number."""
    n = 0
    idle = False
    for k in range(-1, len(x) + 1):
        if k < 0:
            u = least_kw
        elif k == len(x):
            u = most_kw
        else:
            u = car_power(house, x[k] - car_kwh)
            if not least_kw < u < most_kw:
                continue
        if not idle and u >= -_SAME_KW:
            idle = True
            if u > _SAME_KW and least_kw < 0.0:
                power[n] = 0.0
                n += 1
        if n > 0 and u - power[n - 1] <= _SAME_KW:
            if k == len(x):
                power[n - 1] = u
            continue
        power[n] = u
        n += 1
    for k in range(n):
        cost[k] = np.interp(car_kwh + car_change(house, power[k]), x, y)
    return n


def split_power(
    house: Floats,
    soc_kwh: float,
    load_kw: float,
    pv_kw: float,
    levels: CarLevels,
    power_kw: float,
) -> tuple[float, float, float]:
    """Cheapest powers of battery, car and PV used (kW) that make a power at the meter.

    As `flexgym.envs.charts.set_points.disaggregate` without reactive power, some hundred times
    faster: the powers lie between those of two neighbouring vertices.

    Args:
        house: Shape (18,), see `house_row`.
        soc_kwh: State of charge, kWh.
        load_kw: Load measured, kW.
        pv_kw: PV power measured before curtailment, kW.
        levels: Cost after the period beside each power of the car, as in `house_chart`.
        power_kw: Power wanted at the meter, kW; one that is not in the chart is cut to its ends.
    """
    battery, car, used = _split(
        house, float(soc_kwh), float(load_kw), float(pv_kw), levels.car_kw, levels.starts,
        levels.x, levels.y, float(power_kw),
    )  # fmt: skip
    return float(battery), float(car), float(used)


@compiled
def _split(house, soc_kwh, load_kw, pv_kw, car_kw, starts, x, y, power_kw):
    room = len(x) + 6 * len(car_kw)
    points = np.empty((room, 3))
    battery, car, used = np.empty(room), np.empty(room), np.empty(room)
    n = 0
    for m in range(len(car_kw)):
        part = slice(starts[m], starts[m + 1])
        first = n
        n = _points(
            house, soc_kwh, car_kw[m], x[part], y[part], pv_kw, points, battery, used, first
        )
        car[first:n] = car_kw[m]
    order = np.argsort(points[:n, 0])
    hull = np.empty((n, 2))
    kept = lowest(points, order, hull)
    headroom = house[IMPORT] - load_kw
    wanted = min(max(power_kw, -house[EXPORT]) - load_kw, headroom)
    if hull[0, 0] >= headroom:
        # The import limit leaves load unserved: what the devices draw is dear.
        least = np.inf
        for k in range(kept):
            shed = hull[k, 1] + house[UNSERVED] * DT_H * (hull[k, 0] - headroom)
            if shed < least and hull[k, 0] <= house[IMPORT] + _SAME_KW:
                least, wanted = shed, hull[k, 0]
    right = 0
    while right < kept - 1 and hull[right, 0] < wanted:
        right += 1
    left = max(right - 1, 0)
    span = hull[right, 0] - hull[left, 0]
    share = (wanted - hull[left, 0]) / span if span > 0.0 else 0.0
    share = min(max(share, 0.0), 1.0)
    i, j = _row(points, order, hull[left]), _row(points, order, hull[right])
    return (
        (1.0 - share) * battery[i] + share * battery[j],
        (1.0 - share) * car[i] + share * car[j],
        (1.0 - share) * used[i] + share * used[j],
    )


@compiled
def _points(house, soc_kwh, car_kw, x, y, pv_kw, points, battery, used, n):
    """Write the vertices (kW without load, -, EUR) of a level and their powers; the next row."""
    power, cost = np.empty(len(x) + 3), np.empty(len(x) + 3)
    count = battery_chain(house, soc_kwh, car_kw, x, y, power, cost)
    least = 0
    for k in range(1, count):
        if cost[k] < cost[least]:
            least = k
    # Up to the cheapest battery power all sun is used, from there on less and less.
    total = count + (1 if pv_kw > 0.0 else 0)
    b, g, c = np.empty(total), np.empty(total), np.empty(total)
    for k in range(total):
        sunny = pv_kw > 0.0 and k <= least
        j = k if sunny or pv_kw <= 0.0 else k - 1
        b[k], g[k], c[k] = power[j], pv_kw if sunny else 0.0, cost[j]
    r = b - g
    low, high = max(-house[INVERTER], r[0]), min(house[INVERTER], r[total - 1])
    for end in (low, high):
        points[n, 0], points[n, 2] = end + car_kw, np.interp(end, r, c)
        battery[n], used[n] = np.interp(end, r, b), np.interp(end, r, g)
        n += 1
    for k in range(total):
        if low < r[k] < high:
            points[n, 0], points[n, 2] = r[k] + car_kw, c[k]
            battery[n], used[n] = b[k], g[k]
            n += 1
    return n


@compiled
def _row(points, order, vertex):
    """Row of the points that the hull took as this vertex."""
    for k in order:
        if points[k, 0] == vertex[0] and points[k, 2] == vertex[1]:
            return k
    return order[0]
