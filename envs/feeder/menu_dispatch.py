"""From a power at the meter to the devices of a house, by rule, and what a house can reach.

The rule serves houses that say nothing of what their stored energy is worth: all sun is used;
of what is left the car takes what it needs, in any case what it must have now to be ready in
time; the battery takes or gives the rest, then the car beyond its need; sun is left unused only
when nothing else is left.
"""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.household.action_map import balancing
from flexgym.envs.household.dynamics import (
    BUY,
    CAR_ETA_C,
    CAR_POWER,
    DEPARTURE,
    EXPORT,
    IMPORT,
    INVERTER,
    LOAD,
    NEEDED_KWH,
    PV,
    SELL,
    battery_range,
    best_pv,
    car_power,
    car_range,
    meter,
    plugged,
    store_range,
)
from flexgym.envs.household.params import DT_H, Floats
from flexgym.envs.household.simulation import HouseholdSimulation

AWAY = np.array([np.inf, np.inf, 0.0, 0.0, 0.0])
"""Visit of a car that is away and does not come."""


def _visits(homes: HouseholdSimulation) -> Floats:
    return homes.visit if homes.cars else np.tile(AWAY[:, None], homes.n)


def reach(homes: HouseholdSimulation) -> Floats:
    """Least and largest power at the meter that each house can make now, shape (2, n), kW.

    Load is left unserved only as far as the import limit forces it; then there is the limit
    alone.
    """
    out = np.empty((2, homes.n))
    _reach_all(
        homes.episodes.rows, _visits(homes), homes.t, homes.soc_kwh, homes.car_kwh, homes.now, out
    )
    return out


def own_choice(homes: HouseholdSimulation) -> Floats:
    """What houses do that nobody controls: battery, car, PV used and meter, shape (4, n), kW.

    The car charges at full power until it has what it needs, the battery keeps the meter at
    zero as far as it can.
    """
    out = np.empty((4, homes.n))
    _own_all(
        homes.episodes.rows, _visits(homes), homes.t, homes.soc_kwh, homes.car_kwh, homes.now, out
    )
    return out


def by_rule(homes: HouseholdSimulation, power_kw: Floats) -> Floats:
    """Battery, car and PV used that make powers at the meter, shape (3, n), kW.

    Args:
        homes: The houses.
        power_kw: Shape (n,), kW; what lies out of reach is cut to it.
    """
    out = np.empty((3, homes.n))
    _rule_all(
        homes.episodes.rows, _visits(homes), homes.t, homes.soc_kwh, homes.car_kwh, homes.now,
        np.ascontiguousarray(power_kw, dtype=np.float64), out,
    )  # fmt: skip
    return out


@compiled
def _inverter(house, soc_kwh, pv_kw):
    """Least and largest power of battery minus PV that store and inverter allow, kW."""
    least, most = store_range(house, soc_kwh)
    return max(-house[INVERTER], least - pv_kw), min(house[INVERTER], most)


@compiled
def _devices(house, visit, t, soc_kwh, car_kwh, load_kw, pv_kw):
    """Least and largest power of all devices together beside the load, kW."""
    car_low, car_high = car_range(house, visit, t, soc_kwh, car_kwh, load_kw, pv_kw)
    low, high = _inverter(house, soc_kwh, pv_kw)
    low = max(car_low + low, -house[EXPORT] - load_kw)
    headroom = house[IMPORT] - load_kw
    if low >= headroom:
        return low, low
    return low, max(min(car_high + high, headroom), low)


@compiled
def _reach_all(rows, visit, t, soc_kwh, car_kwh, now, out):
    for i in range(len(soc_kwh)):
        load = now[LOAD, i]
        low, high = _devices(rows[i], visit[:, i], t, soc_kwh[i], car_kwh[i], load, now[PV, i])
        out[0, i] = min(load + low, rows[i, IMPORT])
        out[1, i] = min(load + high, rows[i, IMPORT])


@compiled
def _own_all(rows, visit, t, soc_kwh, car_kwh, now, out):
    for i in range(len(soc_kwh)):
        house, load, pv = rows[i], now[LOAD, i], now[PV, i]
        _, high = car_range(house, visit[:, i], t, soc_kwh[i], car_kwh[i], load, pv)
        car = 0.0
        if plugged(visit[:, i], t):
            missing = max(visit[NEEDED_KWH, i] - car_kwh[i], 0.0)
            car = min(car_power(house, missing), high)
        low, most = battery_range(house, soc_kwh[i], load, car, pv)
        battery = balancing(low, most, load + car, pv)
        used = best_pv(house, battery, load, car, pv, now[BUY, i], now[SELL, i])
        out[0, i], out[1, i], out[2, i] = battery, car, used
        out[3, i] = meter(house, battery, car, used, load)[0]


@compiled
def _rule_all(rows, visit, t, soc_kwh, car_kwh, now, power_kw, out):
    for i in range(len(soc_kwh)):
        out[0, i], out[1, i], out[2, i] = _rule(
            rows[i], visit[:, i], t, soc_kwh[i], car_kwh[i], now[LOAD, i], now[PV, i], power_kw[i]
        )


@compiled
def _rule(house, visit, t, soc_kwh, car_kwh, load_kw, pv_kw, power_kw):
    """Battery, car and PV used of one house, kW."""
    low, high = _devices(house, visit, t, soc_kwh, car_kwh, load_kw, pv_kw)
    wanted = min(max(power_kw - load_kw, low), high)
    car_low, car_high = car_range(house, visit, t, soc_kwh, car_kwh, load_kw, pv_kw)
    r_low, r_high = _inverter(house, soc_kwh, pv_kw)
    least, most = store_range(house, soc_kwh)
    needed, must = 0.0, 0.0
    if plugged(visit, t):
        missing = max(visit[NEEDED_KWH] - car_kwh, 0.0)
        later = (visit[DEPARTURE] - t - 1.0) * house[CAR_ETA_C] * house[CAR_POWER] * DT_H
        needed = min(car_power(house, missing), car_high)
        must = min(car_power(house, max(missing - later, 0.0)), car_high)
    # Drawn by battery and car together while all sun is used.
    stored = wanted + pv_kw
    car = max(must, min(max(stored, 0.0), needed))
    car = max(car, min(stored - most, car_high))
    car = max(min(car, min(car_high, wanted - r_low)), max(car_low, wanted - r_high))
    r = wanted - car
    used = max(min(pv_kw, most - r), max(0.0, least - r))
    return min(max(r + used, least), most), car, used
