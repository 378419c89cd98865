"""From a point of the chart back to the devices, and how they hold it inside the period."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog

from flexgym.envs.charts.capability import Capability, polygon, reactive_limit
from flexgym.envs.charts.chains import CarLevels, battery_chain, with_curtailment
from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ChartError, SolverError
from flexgym.envs.household.dynamics import (
    EXPORT,
    IMPORT,
    INVERTER,
    UNSERVED,
    store_range,
)
from flexgym.envs.household.params import DT_H, Floats

_SAME = 1e-9


@dataclass(frozen=True)
class SetPoints:
    """Powers of the devices of a house in one period, and what they make at the meter.

    Attributes:
        power_kw: Active power at the meter, kW.
        reactive_kvar: Reactive power at the meter, kvar.
        battery_kw: Battery power, kW, charging positive.
        car_kw: Power of the car, kW, charging positive.
        pv_used_kw: PV power used, kW.
        curtailed_kw: PV power not used, kW.
        unserved_kw: Load left unserved, kW.
        inverter_kvar: Reactive power of the hybrid inverter or of the roof's own, kvar.
        battery_kvar: Reactive power of a separate battery inverter, kvar.
        deviation_kw: Active power at the meter beyond what was asked for, kW.
        deviation_kvar: Reactive power beyond what was asked for, kvar.
    """

    power_kw: float
    reactive_kvar: float
    battery_kw: float
    car_kw: float
    pv_used_kw: float
    curtailed_kw: float
    unserved_kw: float
    inverter_kvar: float
    battery_kvar: float
    deviation_kw: float = 0.0
    deviation_kvar: float = 0.0

    @property
    def held(self) -> bool:
        """Whether the meter shows what was asked for, within 1e-9 kW and kvar."""
        return abs(self.deviation_kw) <= _SAME and abs(self.deviation_kvar) <= _SAME


def disaggregate(
    house: Floats,
    soc_kwh: float,
    load_kw: float,
    pv_kw: float,
    levels: CarLevels,
    limits: Capability,
    power_kw: float,
    reactive_kvar: float | None = None,
) -> SetPoints:
    """Cheapest powers of the devices that make a point of the chart, by a linear program.

    Args:
        house: Shape (18,), see `house_row`.
        soc_kwh: State of charge, kWh.
        load_kw: Load measured, kW.
        pv_kw: PV power measured before curtailment, kW.
        levels: Cost after the period beside each power of the car, as in `house_chart`.
        limits: Apparent-power limits, see `capability`.
        power_kw: Active power wanted at the meter, kW.
        reactive_kvar: Reactive power wanted, kvar; None is the cheapest.

    Raises:
        ChartError: The house cannot make this power.
        SolverError: HiGHS failed.
    """
    for name, value in (("power_kw", power_kw), ("reactive_kvar", reactive_kvar)):
        if value is not None and not math.isfinite(value):
            raise ChartError(f"{name} is {value}; expected a number.")
    battery, car, cost = _choices(house, soc_kwh, levels)
    n = len(battery)
    # Columns: shares of the choices, PV used, reactive powers of both inverters, unserved.
    pv, own, other, unserved = n, n + 1, n + 2, n + 3
    separate = limits.battery_kva is not None
    most_pv = min(pv_kw, limits.kva) if separate and limits.kva > 0.0 else pv_kw
    free = (None, None)
    bounds = [(0.0, None)] * n + [(0.0, most_pv), free, free if separate else (0.0, 0.0)]
    # Load is left unserved only where nothing else keeps the import limit.
    least = _least_draw(house, battery, car, most_pv)
    short = load_kw + least >= house[IMPORT]
    bounds.append((0.0, load_kw if short else 0.0))

    def row(*terms: tuple[int, float], on_battery: float = 0.0, on_car: float = 0.0) -> Floats:
        out = np.zeros(n + 4)
        out[:n] = on_battery * battery + on_car * car
        for column, value in terms:
            out[column] += value
        return out

    equal = [
        row() + np.concatenate([np.ones(n), np.zeros(4)]),
        row((pv, -1.0), (unserved, -1.0), on_battery=1.0, on_car=1.0),
    ]
    right = [1.0, power_kw - load_kw]
    if reactive_kvar is not None:
        equal.append(row((own, 1.0), (other, 1.0), (unserved, -limits.load_tan_phi)))
        right.append(reactive_kvar - limits.load_tan_phi * load_kw)
    # r = battery - PV within the inverter; with the car within the connection.
    r, drawn = row((pv, -1.0), on_battery=1.0), row((pv, -1.0), on_battery=1.0, on_car=1.0)
    below: list[tuple[Floats, float]] = []
    for value, limit in (
        (r, house[INVERTER]),
        (-r, house[INVERTER]),
        (drawn, house[IMPORT]),
        (-drawn, house[EXPORT] + load_kw),
    ):
        if math.isfinite(limit):
            below.append((value, float(limit)))
    roof = row((pv, -1.0)) if separate else r
    below += _within(limits.kva, roof, row((own, 1.0)))
    if limits.battery_kva is not None:
        below += _within(limits.battery_kva, row(on_battery=1.0), row((other, 1.0)))
    if math.isfinite(limits.tan_phi):
        for sign in (1.0, -1.0):
            below.append((row((own, sign), (pv, -limits.tan_phi)), 0.0))
    objective = np.concatenate([cost, np.zeros(3), [house[UNSERVED] * DT_H]])
    found = linprog(
        objective, A_ub=np.stack([b for b, _ in below]), b_ub=[limit for _, limit in below],
        A_eq=np.stack(equal), b_eq=right, bounds=bounds, method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )  # fmt: skip
    if found.status == 2:
        wanted = "" if reactive_kvar is None else f" and {reactive_kvar:g} kvar"
        raise ChartError(
            f"got the point {power_kw:g} kW{wanted}, which the house cannot make; expected one "
            "that its chart contains. Ask the chart with contains(power_kw, reactive_kvar)."
        )
    if found.status != 0:
        raise SolverError(f"HiGHS ended with {found.message}; expected an optimum.")
    x = found.x
    lost = float(x[unserved])
    return SetPoints(
        power_kw=float(power_kw),
        reactive_kvar=float(x[own] + x[other] + limits.load_tan_phi * (load_kw - lost)),
        battery_kw=float(x[:n] @ battery),
        car_kw=float(x[:n] @ car),
        pv_used_kw=float(x[pv]),
        curtailed_kw=float(pv_kw - x[pv]),
        unserved_kw=lost,
        inverter_kvar=float(x[own]),
        battery_kvar=float(x[other]),
    )


def active_set_points(
    house: Floats,
    soc_kwh: float,
    load_kw: float,
    pv_kw: float,
    levels: CarLevels,
    limits: Capability,
    power_kw: float,
) -> SetPoints:
    """`disaggregate` without a wish for reactive power, much faster.

    The cheapest way to a power between two points of the chart's lower hull is between theirs.

    Args:
        house: Shape (18,), see `house_row`.
        soc_kwh: State of charge, kWh.
        load_kw: Load measured, kW.
        pv_kw: PV power measured before curtailment, kW.
        levels: Cost after the period beside each power of the car, as in `house_chart`.
        limits: Apparent-power limits, see `capability`.
        power_kw: Active power wanted at the meter, kW.

    Raises:
        ChartError: The house cannot make this power.
    """
    separate = limits.battery_kva is not None
    most = min(pv_kw, limits.kva) if separate and limits.kva > 0.0 else pv_kw
    room = np.empty((len(levels.x) + 5 * len(levels), 3))
    least, battery, car, used = _mix(
        house, soc_kwh, levels.car_kw, levels.starts, levels.x, levels.y, most,
        power_kw - load_kw, room,
    )  # fmt: skip
    if load_kw + least >= house[IMPORT] or not math.isfinite(battery):
        # Load has to be shed, or there is no such power: the linear program knows.
        return disaggregate(house, soc_kwh, load_kw, pv_kw, levels, limits, power_kw)
    return SetPoints(
        power_kw=float(power_kw),
        reactive_kvar=limits.load_tan_phi * load_kw,
        battery_kw=battery,
        car_kw=car,
        pv_used_kw=used,
        curtailed_kw=pv_kw - used,
        unserved_kw=0.0,
        inverter_kvar=0.0,
        battery_kvar=0.0,
    )


@compiled
def _mix(house, soc_kwh, car_kw, starts, x, y, pv_kw, wanted, room):
    """Least power of the devices, and battery, car and PV used that make ``wanted``, kW.

    Args:
        house: Shape (18,).
        soc_kwh: State of charge, kWh.
        car_kw: Powers of the car, shape (m,), kW.
        starts: Where the cost-to-go of each begins in ``x`` and ``y``, and the end, (m + 1,).
        x: Energies at which it has kinks, kWh.
        y: Its values, EUR.
        pv_kw: PV power that can be used, kW.
        wanted: Power of all devices together, kW.
        room: For all points, shape (k, 3), overwritten: power, cost, level.
    """
    n = 0
    low, high = -house[INVERTER], house[INVERTER]
    power, cost = np.empty(len(x) + 4), np.empty(len(x) + 4)
    chain, value = np.empty(len(x) + 5), np.empty(len(x) + 5)
    idle = np.empty(len(car_kw))
    for m in range(len(car_kw)):
        part = slice(starts[m], starts[m + 1])
        count = battery_chain(house, soc_kwh, car_kw[m], x[part], y[part], power, cost)
        idle[m] = power[np.argmin(cost[:count])]
        count = with_curtailment(power, cost, count, pv_kw, low, high, chain, value)
        for k in range(count):
            room[n, 0], room[n, 1], room[n, 2] = chain[k] + car_kw[m], value[k], m
            n += 1
    points = room[:n]
    least = points[:, 0].min()
    # The edge below ``wanted``: from the cheapest point turn until no point lies below.
    left, right = -1, -1
    for k in range(n):
        if points[k, 0] <= wanted + _SAME and (
            left < 0
            or points[k, 0] > points[left, 0]
            or (points[k, 0] == points[left, 0] and points[k, 1] < points[left, 1])
        ):
            left = k
        if points[k, 0] >= wanted - _SAME and (
            right < 0
            or points[k, 0] < points[right, 0]
            or (points[k, 0] == points[right, 0] and points[k, 1] < points[right, 1])
        ):
            right = k
    if left < 0 or right < 0:
        return least, np.inf, 0.0, 0.0
    moved = True
    while moved:
        moved = False
        for side in range(2):
            for k in range(n):
                a, b = (k, right) if side == 0 else (left, k)
                if (side == 0 and points[k, 0] > wanted) or (side == 1 and points[k, 0] < wanted):
                    continue
                if _between(points, a, b, wanted) < _between(points, left, right, wanted) - 1e-13:
                    left, right = a, b
                    moved = True
    width = points[right, 0] - points[left, 0]
    share = min(max((wanted - points[left, 0]) / width, 0.0), 1.0) if width > _SAME else 0.0
    battery, car, used = 0.0, 0.0, 0.0
    for k, weight in ((left, 1.0 - share), (right, share)):
        m = int(points[k, 2])
        r = points[k, 0] - car_kw[m]
        own = min(max(idle[m], r), r + pv_kw)
        battery += weight * own
        car += weight * car_kw[m]
        used += weight * (own - r)
    return least, battery, car, used


@compiled
def _between(points, left, right, at):
    """Cost at a power between two points, EUR."""
    width = points[right, 0] - points[left, 0]
    share = (at - points[left, 0]) / width if width > _SAME else 0.0
    share = min(max(share, 0.0), 1.0)
    return points[left, 1] + share * (points[right, 1] - points[left, 1])


def _choices(house: Floats, soc_kwh: float, levels: CarLevels) -> tuple[Floats, Floats, Floats]:
    """Battery power (kW), power of the car (kW) and cost (EUR) between which all lies."""
    battery, car, cost = [], [], []
    for power, later in levels:
        x, y = np.empty(len(later.x) + 3), np.empty(len(later.x) + 3)
        count = battery_chain(house, soc_kwh, power, later.x, later.y, x, y)
        battery.append(x[:count])
        cost.append(y[:count])
        car.append(np.full(count, power))
    return np.concatenate(battery), np.concatenate(car), np.concatenate(cost)


def _least_draw(house: Floats, battery: Floats, car: Floats, pv_kw: float) -> float:
    """Least power of all devices together, kW."""
    r = np.maximum(battery - pv_kw, -house[INVERTER])
    return float((r + car).min())


def _within(kva: float, power: Floats, reactive: Floats) -> list[tuple[Floats, float]]:
    """Rows that keep (power, reactive) in the polygon of a rating; no rating, no kvar."""
    if kva <= 0.0:
        return [(reactive, 0.0), (-reactive, 0.0)]
    p, q = polygon(kva)
    rows = []
    for k in range(len(p) - 1):
        slope = (q[k + 1] - q[k]) / (p[k + 1] - p[k])
        offset = float(q[k] - slope * p[k])
        rows += [(reactive - slope * power, offset), (-reactive - slope * power, offset)]
    return rows


def absorb(
    house: Floats,
    soc_kwh: float,
    limits: Capability,
    planned: SetPoints,
    load_kw: float,
    pv_kw: float,
) -> SetPoints:
    """Hold the meter when load or sun turn out otherwise than planned.

    The battery takes the difference, then curtailment; the car keeps its power. What neither
    can take is the deviation of the result, active and reactive.

    Args:
        house: Shape (18,), see `house_row`.
        soc_kwh: State of charge at the start of the period, kWh.
        limits: Apparent-power limits, see `capability`.
        planned: What was planned; its meter powers are held.
        load_kw: Load now, kW.
        pv_kw: PV power available now, kW.

    Raises:
        ChartError: A measurement is negative or not a number.
    """
    for name, value in (("load_kw", load_kw), ("pv_kw", pv_kw)):
        if not (math.isfinite(value) and value >= 0.0):
            raise ChartError(f"{name} is {value}; expected a measurement >= 0 kW.")
    wanted, car = planned.power_kw, planned.car_kw
    separate = limits.battery_kva is not None
    most = min(pv_kw, limits.kva) if separate and limits.kva > 0.0 else pv_kw
    # Sun that was to be used is used; what was to be curtailed stays so at first.
    used = most if planned.curtailed_kw <= _SAME else min(planned.pv_used_kw, most)
    low, high = store_range(house, soc_kwh)
    rating = float(house[INVERTER])
    # A hybrid inverter may not let all of the sun through beside any battery power.
    used = min(used, rating + high)
    low, high = max(low, used - rating), min(high, used + rating)
    battery = min(max(wanted - load_kw - car + used, low), high)
    excess = load_kw + car + battery - used - wanted
    if excess < 0.0:
        curtailed = max(used + excess, battery - rating, 0.0)
    else:
        curtailed = min(used + excess, battery + rating, most)
    used = curtailed if abs(excess) > 0.0 else used
    drawn = load_kw + car + battery - used
    unserved = min(max(drawn - float(house[IMPORT]), 0.0), load_kw)
    power = drawn - unserved
    own, other = _reactive(limits, planned, battery, used, load_kw - unserved)
    reactive = own + other + limits.load_tan_phi * (load_kw - unserved)
    return replace(
        planned,
        power_kw=power,
        reactive_kvar=reactive,
        battery_kw=battery,
        pv_used_kw=used,
        curtailed_kw=pv_kw - used,
        unserved_kw=unserved,
        inverter_kvar=own,
        battery_kvar=other,
        deviation_kw=power - wanted,
        deviation_kvar=reactive - planned.reactive_kvar,
    )


def _reactive(
    limits: Capability, planned: SetPoints, battery_kw: float, pv_used_kw: float, served_kw: float
) -> tuple[float, float]:
    """Reactive powers of both inverters nearest to what the meter wants, kvar."""
    missing = planned.reactive_kvar - limits.load_tan_phi * served_kw
    separate = limits.battery_kva is not None
    at = np.array(pv_used_kw if separate else battery_kw - pv_used_kw)
    most = float(reactive_limit(limits.kva, at)) if limits.kva > 0.0 else 0.0
    if math.isfinite(limits.tan_phi):
        most = min(most, limits.tan_phi * pv_used_kw)
    room = 0.0
    if limits.battery_kva:
        room = float(reactive_limit(limits.battery_kva, np.array(battery_kw)))
    own = min(max(missing - planned.battery_kvar, -most), most)
    other = min(max(missing - own, -room), room)
    return min(max(missing - other, -most), most), other
