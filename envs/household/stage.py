"""The cost of one period against the change of stored energy, for the exact recursions."""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import (
    CAR_DISCHARGE,
    CAR_ETA_C,
    CAR_ETA_D,
    CAR_POWER,
    CAR_WEAR,
    ETA_C,
    ETA_D,
    EXPORT,
    IMPORT,
    INVERTER,
    POWER,
    UNSERVED,
    WEAR,
    best_pv,
    energy_bill,
    inverter_range,
    meter,
)
from flexgym.envs.household.params import DT_H

STAGE_PIECES = 9
"""Most segments `stage_cost` and `priced_stage_cost` write."""


@compiled
def _against_energy(house, pieces, start, slopes, lengths):
    """Write pieces (slope, width) over battery power against stored energy; their number.

    They begin at ``start`` and are cut to the rating, and at idle, where the efficiency changes.
    """
    power = house[POWER]
    count = 0
    end = start
    for slope, width in pieces:
        begin = max(end, -power)
        end += width
        stop = min(end, power)
        if begin < 0.0 and begin < stop:
            cut = min(stop, 0.0)
            slopes[count] = (slope - house[WEAR]) * house[ETA_D]
            lengths[count] = (cut - begin) * DT_H / house[ETA_D]
            count += 1
            begin = cut
        if begin >= 0.0 and begin < stop:
            slopes[count] = (slope + house[WEAR]) / house[ETA_C]
            lengths[count] = (stop - begin) * DT_H * house[ETA_C]
            count += 1
    return count


@compiled
def _to_energy(house, battery_kw):
    """Change of stored energy by a battery power, kWh."""
    if battery_kw < 0.0:
        return battery_kw * DT_H / house[ETA_D]
    return house[ETA_C] * battery_kw * DT_H


@compiled
def stage_cost(house, load_kw, car_kw, pv_kw, buy, sell, slopes, lengths):
    """Cost of one period as a function of the change of stored energy.

    The PV is used as `best_pv` does, so this is what `step` charges. Written as a
    piecewise-linear function: slopes (EUR/kWh, in ascending order of energy, ascending
    in value where the cost is convex) over lengths (kWh).

    Args:
        house: Shape (18,).
        load_kw: Load, kW.
        car_kw: Power of the car, kW; feasible with the battery idle.
        pv_kw: PV available, kW.
        buy: Import price, EUR/kWh.
        sell: Export price, EUR/kWh.
        slopes: Shape (>= `STAGE_PIECES`,), overwritten.
        lengths: Likewise.

    Returns:
        Number of segments, least change of stored energy (kWh), cost there (EUR).
    """
    power = house[POWER]
    r_low, r_high = inverter_range(house, load_kw, car_kw)
    r_low = max(r_low, -power - pv_kw)
    r_high = max(min(r_high, power), r_low)
    # Cost against inverter power: export, import, unserved. Curtailment is a flat piece of
    # length pv_kw that stands where its slope, zero, belongs.
    drawn = load_kw + car_kw
    zero = min(max(-drawn, r_low), r_high)
    full = min(max(house[IMPORT] - drawn, zero), r_high)
    lost = house[UNSERVED]
    if sell >= 0.0:
        pieces = ((0.0, pv_kw), (sell, zero - r_low), (buy, full - zero), (lost, r_high - full))
    elif buy >= 0.0:
        pieces = ((sell, zero - r_low), (0.0, pv_kw), (buy, full - zero), (lost, r_high - full))
    else:
        pieces = ((sell, zero - r_low), (buy, full - zero), (0.0, pv_kw), (lost, r_high - full))
    count = _against_energy(house, pieces, r_low, slopes, lengths)
    least = max(r_low, -power)
    used = best_pv(house, least, load_kw, car_kw, pv_kw, buy, sell)
    p, unserved = meter(house, least, car_kw, used, load_kw)
    paid, earned = energy_bill(p, buy, sell)
    wear = house[WEAR] * abs(least) + house[CAR_WEAR] * max(-car_kw, 0.0)
    cost = paid + earned + (house[UNSERVED] * unserved + wear) * DT_H
    return count, _to_energy(house, least), cost


@compiled
def priced_stage_cost(house, load_kw, worth, pv_kw, buy, sell, slopes, lengths):
    """`stage_cost` where the car takes or gives what is best at a price of its energy.

    Least over the car's power u within its rating of the cost minus ``worth`` times the
    change of the car's stored energy.

    Args:
        house: Shape (18,).
        load_kw: Load, kW.
        worth: Price of energy in the car, EUR/kWh.
        pv_kw: PV available, kW.
        buy: Import price, EUR/kWh, at least ``sell``.
        sell: Export price, EUR/kWh.
        slopes: Shape (>= `STAGE_PIECES`,), overwritten.
        lengths: Likewise.

    Returns:
        Number of segments, least change of stored energy (kWh), cost there (EUR).
    """
    power, charge, give = house[POWER], house[CAR_POWER], house[CAR_DISCHARGE]
    # Against y = r + u, inverter and car together: export, import, unserved.
    low = max(-house[EXPORT] - load_kw, -power - pv_kw - give)
    high = max(min(house[IMPORT], power + charge), low)
    zero = min(max(-load_kw, low), high)
    full = min(max(house[IMPORT] - load_kw, zero), high)
    # The car as pieces against -u: less charging, then more giving, each dearer than the last.
    charging = worth * house[CAR_ETA_C]
    giving = worth / house[CAR_ETA_D] + house[CAR_WEAR]
    at = np.array([sell, buy, house[UNSERVED], charging, giving])
    width = np.array([zero - low, full - zero, high - full, charge, give])
    order = np.argsort(at, kind="mergesort")
    paid, earned = energy_bill(low + load_kw, buy, sell)
    over = max(low + load_kw - house[IMPORT], 0.0)
    if over > 0.0:
        paid = DT_H * buy * house[IMPORT]
    cost = paid + earned + DT_H * (house[UNSERVED] * over - charging * charge)
    # Against r alone, cut to what the inverter carries; then PV, whose slope is zero.
    r = low - charge
    r_low, r_high = max(-house[INVERTER], -power - pv_kw), min(house[INVERTER], power)
    kept_at, kept = np.empty(6), np.zeros(6)
    n = 0
    sun = False
    start = max(r, r_low)
    for k in order:
        if at[k] >= 0.0 and not sun:
            kept_at[n], kept[n] = 0.0, pv_kw
            n += 1
            sun = True
        begin, r = max(r, r_low), r + width[k]
        stop = min(r, r_high)
        cost += DT_H * at[k] * max(min(r, r_low) - (r - width[k]), 0.0)
        kept_at[n], kept[n] = at[k], max(stop - begin, 0.0)
        n += 1
    if not sun:
        kept_at[n], kept[n] = 0.0, pv_kw
    # Down to the battery's own least power.
    least = max(start, -power)
    end = start
    for k in range(6):
        cost += DT_H * kept_at[k] * max(min(end + kept[k], least) - end, 0.0)
        end += kept[k]
    pieces = (
        (kept_at[0], kept[0]), (kept_at[1], kept[1]), (kept_at[2], kept[2]),
        (kept_at[3], kept[3]), (kept_at[4], kept[4]), (kept_at[5], kept[5]),
    )  # fmt: skip
    count = _against_energy(house, pieces, start, slopes, lengths)
    cost += house[WEAR] * abs(least) * DT_H
    return count, _to_energy(house, least), cost


@compiled
def is_convex(house, load_kw, pv_kw, buy, sell):
    """Index of the first period whose cost is not convex in stored energy, or -1.

    It fails when importing pays (a negative import price beyond wear): losses would then
    earn money. Shapes: house (18,), the others (T,).
    """
    slopes = np.empty(STAGE_PIECES)
    lengths = np.empty(STAGE_PIECES)
    for t in range(len(load_kw)):
        count, _, _ = stage_cost(house, load_kw[t], 0.0, pv_kw[t], buy[t], sell[t], slopes, lengths)
        for k in range(1, count):
            if slopes[k] < slopes[k - 1] - 1e-12:
                return t
    return -1
