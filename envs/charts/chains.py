"""Cost of battery and car against power, level by level of the car.

Between two levels the cost is the convex hull of what is known at both, so points suffice:
this module lists them, `support` finds which of them are vertices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import (
    CAR_WEAR,
    ETA_C,
    ETA_D,
    RETENTION,
    WEAR,
    store_range,
)
from flexgym.envs.household.params import DT_H, Floats

_SAME_KW = 1e-9


@dataclass(frozen=True)
class CarLevels:
    """Cost after a period beside each power of the car that counts.

    Between two of them the cost is their convex hull.

    Attributes:
        car_kw: Powers of the car, shape (m,), ascending, kW; one zero while it is away.
        starts: Where the function of each begins in ``x`` and ``y``, and the end, (m + 1,).
        x: Energies of the battery at which they have kinks, kWh.
        y: Costs there, EUR.
    """

    car_kw: Floats
    starts: NDArray[np.int64]
    x: Floats
    y: Floats

    @classmethod
    def of(cls, levels: Sequence[tuple[float, ConvexPiecewiseLinear]]) -> CarLevels:
        """From powers and functions of the battery's energy."""
        starts = np.zeros(len(levels) + 1, dtype=np.int64)
        np.cumsum([len(f.x) for _, f in levels], out=starts[1:])
        x, y = (np.concatenate(a) for a in ([f.x for _, f in levels], [f.y for _, f in levels]))
        return cls(np.array([u for u, _ in levels]), starts, x, y)

    def __len__(self) -> int:
        return len(self.car_kw)

    def __iter__(self) -> Iterator[tuple[float, ConvexPiecewiseLinear]]:
        for k, power in enumerate(self.car_kw):
            part = slice(self.starts[k], self.starts[k + 1])
            yield float(power), ConvexPiecewiseLinear.trusted(self.x[part], self.y[part])


@compiled
def battery_chain(house, soc_kwh, car_kw, x, y, power, cost):
    """Wear and cost-to-go against battery power, within power and capacity; their number.

    Args:
        house: Shape (18,).
        soc_kwh: State of charge, kWh.
        car_kw: Power of the car, kW.
        x: Energies at which the cost-to-go has kinks, kWh.
        y: Cost-to-go there, EUR.
        power: Room for len(x) + 3, overwritten, kW ascending.
        cost: Likewise, EUR.
    """
    left = house[RETENTION] * soc_kwh
    low, high = store_range(house, soc_kwh)
    worn = house[CAR_WEAR] * max(-car_kw, 0.0) * DT_H
    count = 0
    idle = False
    for k in range(-1, len(x) + 1):
        if k < 0:
            b = low
        elif k == len(x):
            b = high
        else:
            change = x[k] - left
            b = change / (house[ETA_C] * DT_H) if change > 0.0 else change * house[ETA_D] / DT_H
            if not low < b < high:
                continue
        if b >= -_SAME_KW and not idle:
            # Idle is a kink of its own, where the efficiency changes.
            idle = True
            if b > _SAME_KW and low < 0.0:
                power[count] = 0.0
                count += 1
            elif low < b < high:
                b = 0.0
        if count > 0 and b - power[count - 1] <= _SAME_KW:
            if k == len(x):
                power[count - 1] = b
            continue
        power[count] = b
        count += 1
    for k in range(count):
        b = power[k]
        energy = left + (b * house[ETA_C] * DT_H if b > 0.0 else b * DT_H / house[ETA_D])
        cost[k] = np.interp(energy, x, y) + house[WEAR] * abs(b) * DT_H + worn
    return count


@compiled
def with_curtailment(power, cost, count, pv_kw, low, high, out_power, out_cost):
    """Least over PV g in [0, pv] of cost(r + g), cut to [low, high]; number of points.

    Curtailing is free: the falling part moves to the left by pv, the rising part stays.

    Args:
        power: Battery power, first ``count`` used, kW ascending.
        cost: Convex cost there, EUR.
        count: Number of points.
        pv_kw: PV power available, kW.
        low: Least inverter power r, kW; the interval meets what is possible.
        high: Largest, kW.
        out_power: Room for count + 1, overwritten, kW ascending.
        out_cost: Likewise, EUR.
    """
    least = 0
    for k in range(1, count):
        if cost[k] < cost[least]:
            least = k
    total = count + (1 if pv_kw > 0.0 else 0)
    x, y = np.empty(total), np.empty(total)
    for k in range(total):
        moved = k <= least and pv_kw > 0.0
        j = k if moved or pv_kw <= 0.0 else k - 1
        x[k], y[k] = power[j] - (pv_kw if moved else 0.0), cost[j]
    first, last = max(low, x[0]), min(high, x[total - 1])
    last = max(first, last)
    out_power[0], out_cost[0] = first, np.interp(first, x, y)
    n = 1
    for k in range(total):
        if first + _SAME_KW < x[k] < last - _SAME_KW:
            out_power[n], out_cost[n] = x[k], y[k]
            n += 1
    if last - first > _SAME_KW:
        out_power[n], out_cost[n] = last, np.interp(last, x, y)
        n += 1
    return n


@compiled
def level_points(
    house, soc_kwh, car_kw, starts, x, y, pv_kw, low, high, corners_kw, corners_kvar, points
):  # fmt: skip
    """Points (power, reactive power, cost) of battery, roof and car on one inverter.

    Args:
        house: Shape (18,).
        soc_kwh: State of charge, kWh.
        car_kw: Powers of the car, shape (m,), kW.
        starts: Where the cost-to-go of each begins in ``x`` and ``y``, and the end, (m + 1,).
        x: Energies at which it has kinks, kWh.
        y: Its values, EUR.
        pv_kw: PV on the same inverter, kW.
        low: Least inverter power, kW.
        high: Largest, kW.
        corners_kw: Active powers at which the inverter's capability bends, kW ascending.
        corners_kvar: Reactive power there, kvar.
        points: Room, overwritten: power at the meter without load, kW; q >= 0, kvar; EUR.

    Returns:
        Number of points.
    """
    n = 0
    longest = len(x) + 4
    power, cost = np.empty(longest), np.empty(longest)
    chain, value = np.empty(longest + 1), np.empty(longest + 1)
    for m in range(len(car_kw)):
        part = slice(starts[m], starts[m + 1])
        count = battery_chain(house, soc_kwh, car_kw[m], x[part], y[part], power, cost)
        # A level at which the inverter's limits leave no battery power adds nothing.
        count = with_curtailment(power, cost, count, pv_kw, low, high, chain, value)
        at = 0
        for k in range(count):
            while at < len(corners_kw) and corners_kw[at] < chain[k] - _SAME_KW:
                if k > 0 and corners_kw[at] > chain[k - 1] + _SAME_KW:
                    points[n, 0] = corners_kw[at] + car_kw[m]
                    points[n, 1] = corners_kvar[at]
                    points[n, 2] = np.interp(corners_kw[at], chain[:count], value[:count])
                    n += 1
                at += 1
            points[n, 0] = chain[k] + car_kw[m]
            points[n, 1] = np.interp(chain[k], corners_kw, corners_kvar)
            points[n, 2] = value[k]
            n += 1
    return n


@compiled
def lowest(points, order, out):
    """Lower hull of (power, cost) over all points; writes (n, 2), returns n.

    Args:
        points: Shape (k, 3); the second column is not read.
        order: Rows in ascending order of power.
        out: Room for k, overwritten.
    """
    n = 0
    for k in order:
        x, y = points[k, 0], points[k, 2]
        if n > 0 and x - out[n - 1, 0] <= 1e-12 * (1.0 + abs(x)):
            if y >= out[n - 1, 1]:
                continue
            n -= 1
        while n > 1:
            ax, ay, bx, by = out[n - 2, 0], out[n - 2, 1], out[n - 1, 0], out[n - 1, 1]
            if (by - ay) * (x - ax) < (y - ay) * (bx - ax):
                break
            n -= 1
        out[n, 0], out[n, 1] = x, y
        n += 1
    return n


@compiled
def on_interval(x, y, low, high, kink, out):
    """A chain cut to [low, high] with a point at ``kink`` if that lies between; its length.

    Args:
        x: Powers, ascending, kW; the interval lies in them.
        y: Costs, EUR.
        low: Least power, kW.
        high: Largest, kW.
        kink: Power at which a point is wanted, kW.
        out: Room for len(x) + 3 points, overwritten.
    """
    out[0, 0], out[0, 1] = low, np.interp(low, x, y)
    n = 1
    if high - low <= _SAME_KW:
        return n
    due = low + _SAME_KW < kink < high - _SAME_KW
    for k in range(len(x) + 1):
        at = x[k] if k < len(x) and x[k] < high - _SAME_KW else high
        if due and at >= kink - _SAME_KW:
            due = False
            if at > kink + _SAME_KW:
                out[n, 0], out[n, 1] = kink, np.interp(kink, x, y)
                n += 1
        if at > low + _SAME_KW:
            out[n, 0], out[n, 1] = at, np.interp(at, x, y)
            n += 1
        if at == high:
            break
    return n
