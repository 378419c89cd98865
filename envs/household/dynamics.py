"""The physics of a house with a battery: what is feasible, what happens, what it costs.

Scalar functions compiled once and used by everybody: the environments, the exact
recursion (through `stage_cost`), the rules and the tests. A house is a row of numbers
in the order of `house_row`. Power is in kW, import and charging positive.
"""

from __future__ import annotations

import math

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.errors import StateError
from flexgym.envs.household.params import DT_H, Floats, House

CAPACITY, POWER, ETA_C, ETA_D, WEAR, RETENTION = 0, 1, 2, 3, 4, 5
PV_KWP, INVERTER, IMPORT, EXPORT, UNSERVED = 6, 7, 8, 9, 10

LOAD, PV, BUY, SELL = 0, 1, 2, 3
"""Rows of an array of exogenous values: load_kw, pv_kw, import and export price."""

(
    BATTERY_KW,
    PV_USED_KW,
    CURTAILED_KW,
    METER_KW,
    UNSERVED_KW,
    SOC_KWH,
    IMPORT_EUR,
    EXPORT_EUR,
    WEAR_EUR,
    UNSERVED_EUR,
    TERMINAL_EUR,
    COST_EUR,
    IDLE_EUR,
) = range(13)
OUTCOME_NAMES = (
    "battery_kw",
    "pv_used_kw",
    "curtailed_kw",
    "meter_kw",
    "unserved_kw",
    "soc_kwh",
    "import_eur",
    "export_eur",
    "wear_eur",
    "unserved_eur",
    "terminal_eur",
    "cost_eur",
    "idle_eur",
)
"""Columns of an outcome. The ``_eur`` terms before ``cost_eur`` add up to it; ``idle_eur``
is what the period would have cost with the battery idle."""
COST_TERMS = ("import_eur", "export_eur", "wear_eur", "unserved_eur", "terminal_eur")

ACTION_MAPS = ("plateau", "knots", "range", "rating")
_PLATEAU, _KNOTS, _RANGE, _RATING = 0, 1, 2, 3


def house_row(house: House) -> Floats:
    """Numbers of one house in the order the compiled functions expect, shape (11,).

    A house without battery is one whose battery has no capacity and no power. Separate
    inverters have no limit in common: the battery's enters its power, the roof's is large
    enough for the roof.
    """
    b = house.battery
    separate = house.inverter == "separate"
    rating = math.inf if house.battery_inverter_kva is None else house.battery_inverter_kva
    store = (
        (0.0, 0.0, 1.0, 1.0, 0.0, 1.0)
        if b is None
        else (
            b.capacity_kwh,
            min(b.power_kw, rating),
            b.efficiency_charge,
            b.efficiency_discharge,
            b.wear_eur_per_kwh,
            b.retention,
        )
    )
    shared = math.inf if separate else house.inverter_kva
    connection = (shared, house.import_limit_kw, house.export_limit_kw)
    return np.array([*store, house.pv_kwp, *connection, house.unserved_eur_per_kwh])


def check_soc(soc_kwh: Floats | float, capacity_kwh: Floats | float) -> None:
    """Raise `StateError` unless every state of charge lies in [0, capacity]."""
    soc, capacity = np.broadcast_arrays(np.asarray(soc_kwh, float), capacity_kwh)
    bad = ~((soc >= -1e-9) & (soc <= capacity + 1e-9))
    if bad.any():
        k = int(np.argmax(bad.ravel()))
        raise StateError(
            f"soc_kwh is {soc.ravel()[k]:g}; expected a state of charge in "
            f"[0, {capacity.ravel()[k]:g}] kWh, the battery's usable capacity."
        )


@compiled
def inverter_range(house, load_kw):
    """Least and largest inverter power r = battery - PV, kW.

    Bounded by the inverter and the export limit; at most the import limit, since load can
    stay unserved but nothing else may draw more.
    """
    low = max(-house[INVERTER], -house[EXPORT] - load_kw)
    return low, min(house[INVERTER], house[IMPORT])


@compiled
def battery_range(house, soc_kwh, load_kw, pv_kw):
    """Least and largest battery power feasible now, kW; idle (0) is always feasible."""
    r_low, r_high = inverter_range(house, load_kw)
    left = house[RETENTION] * soc_kwh
    low = max(-house[POWER], -left * house[ETA_D] / DT_H, r_low)
    high = min(house[POWER], (house[CAPACITY] - left) / (house[ETA_C] * DT_H), r_high + pv_kw)
    return min(low, 0.0), max(high, 0.0)


@compiled
def pv_range(house, battery_kw, load_kw, pv_kw):
    """Least and largest PV power that can be used beside a feasible battery power, kW."""
    r_low, r_high = inverter_range(house, load_kw)
    low = max(0.0, battery_kw - r_high)
    return low, max(low, min(pv_kw, battery_kw - r_low))


@compiled
def best_pv(house, battery_kw, load_kw, pv_kw, buy, sell):
    """PV power that makes the period cheapest given the battery, kW.

    All of it while exporting pays; no export when it costs; and as little as possible
    when even importing pays.
    """
    low, high = pv_range(house, battery_kw, load_kw, pv_kw)
    if sell >= 0.0:
        return high
    at_meter = 0.0 if buy >= 0.0 else house[IMPORT]
    return min(max(load_kw + battery_kw - at_meter, low), high)


@compiled
def meter(house, battery_kw, pv_used_kw, load_kw):
    """Power at the meter and unserved load, kW."""
    wanted = load_kw + battery_kw - pv_used_kw
    unserved = max(0.0, wanted - house[IMPORT])
    return wanted - unserved, unserved


@compiled
def next_soc(house, soc_kwh, battery_kw):
    """State of charge one period later, kWh; a feasible power keeps it within limits."""
    if battery_kw > 0.0:
        stored = house[ETA_C] * battery_kw * DT_H
    else:
        stored = battery_kw * DT_H / house[ETA_D]
    # Only rounding can cross a limit here: the power was feasible.
    return min(max(house[RETENTION] * soc_kwh + stored, 0.0), house[CAPACITY])


@compiled
def energy_bill(meter_kw, buy, sell):
    """Paid for import and (negative) for export in one period, EUR."""
    return DT_H * buy * max(meter_kw, 0.0), DT_H * sell * min(meter_kw, 0.0)


@compiled
def idle_cost(house, load_kw, pv_kw, buy, sell):
    """Cost of one period with the battery idle, EUR."""
    used = best_pv(house, 0.0, load_kw, pv_kw, buy, sell)
    p, unserved = meter(house, 0.0, used, load_kw)
    paid, earned = energy_bill(p, buy, sell)
    return paid + earned + house[UNSERVED] * unserved * DT_H


@compiled
def self_consumption(low, high, load_kw, pv_kw):
    """Battery power that brings the meter to zero as far as feasible, kW."""
    return min(max(pv_kw - load_kw, low), high)


@compiled
def _knots(kind, low, high, zero):
    """Actions (4,) between which the map is linear and the powers it takes there."""
    first, second = min(0.0, zero), max(0.0, zero)
    if kind == _PLATEAU:
        return (-0.5, -0.2, 0.2, 0.5), first, second
    if kind == _KNOTS:
        return (-1 / 3, -1 / 3, 1 / 3, 1 / 3), first, second
    return (0.0, 0.0, 0.0, 0.0), 0.0, 0.0


@compiled
def battery_from_action(kind, action, house, low, high, load_kw, pv_kw):
    """Battery power an action in [-1, 1] stands for, kW, in [low, high].

    ``plateau`` (default): -1 is the feasible minimum, 1 the maximum; [-0.5, -0.2] and
    [0.2, 0.5] are the two kinks of the cost, idle and zero-at-the-meter, in the order of
    their powers; linear between. ``knots``: the same with kinks at -1/3 and 1/3 and no
    plateaus. ``range``: share of the feasible range, 0 is idle. ``rating``: share of the
    power rating, limited to what is feasible.
    """
    if kind == _RATING:
        return min(max(action * house[POWER], low), high)
    at, first, second = _knots(kind, low, high, self_consumption(low, high, load_kw, pv_kw))
    if action < at[0]:
        return low + (first - low) * (action + 1.0) / (at[0] + 1.0)
    if action <= at[1]:
        return first
    if action < at[2]:
        return first + (second - first) * (action - at[1]) / (at[2] - at[1])
    if action <= at[3]:
        return second
    return high - (high - second) * (1.0 - action) / (1.0 - at[3])


@compiled
def action_from_battery(kind, battery_kw, house, low, high, load_kw, pv_kw):
    """An action that plays a feasible battery power: right inverse of `battery_from_action`."""
    if kind == _RATING:
        return battery_kw / house[POWER] if house[POWER] > 0.0 else 0.0
    at, first, second = _knots(kind, low, high, self_consumption(low, high, load_kw, pv_kw))
    if battery_kw < first:
        return max(-1.0, -1.0 + (at[0] + 1.0) * (battery_kw - low) / (first - low))
    if battery_kw == first:
        return 0.5 * (at[0] + at[1])
    if battery_kw < second:
        return at[1] + (at[2] - at[1]) * (battery_kw - first) / (second - first)
    if battery_kw == second:
        return 0.5 * (at[2] + at[3])
    return min(1.0, 1.0 - (1.0 - at[3]) * (high - battery_kw) / (high - second))


@compiled
def actions_from_battery(kind, battery_kw, house, soc_kwh, now, action):
    """Write what plays ``battery_kw`` into ``action[:, 0]``; the first infeasible row or -1."""
    for i in range(len(battery_kw)):
        load, pv = now[LOAD, i], now[PV, i]
        low, high = battery_range(house[i], soc_kwh[i], load, pv)
        slack = 1e-9 * (1.0 + house[i, POWER])
        wanted = battery_kw[i]
        if not (low - slack <= wanted <= high + slack):
            return i
        wanted = min(max(wanted, low), high)
        action[i, 0] = action_from_battery(kind, wanted, house[i], low, high, load, pv)
    return -1


@compiled
def step(kind, last, action, house, now, terminal_price, soc_kwh, outcome):
    """Advance n houses by one period.

    Args:
        kind: Position of the action map in `ACTION_MAPS`.
        last: Whether the stored energy is paid for at the end of this period.
        action: Shape (n, 1) or (n, 2), in [-1, 1]. A second column sets the PV used between
            the least (-1) and the most (1) that is feasible; without it `best_pv` decides.
        house: Shape (n, 11), see `house_row`.
        now: Load, PV, import and export price of the period, shape (4, n).
        terminal_price: Pay for stored energy at the end, shape (n,), EUR/kWh.
        soc_kwh: State of charge, shape (n,), kWh; overwritten.
        outcome: Shape (n, 13), overwritten; columns are `OUTCOME_NAMES`.
    """
    with_pv = action.shape[1] > 1
    for i in range(len(soc_kwh)):
        row = house[i]
        load, pv, buy, sell = now[LOAD, i], now[PV, i], now[BUY, i], now[SELL, i]
        low, high = battery_range(row, soc_kwh[i], load, pv)
        battery = battery_from_action(kind, action[i, 0], row, low, high, load, pv)
        if with_pv:
            pv_low, pv_high = pv_range(row, battery, load, pv)
            used = pv_low + (pv_high - pv_low) * 0.5 * (action[i, 1] + 1.0)
        else:
            used = best_pv(row, battery, load, pv, buy, sell)
        p, unserved = meter(row, battery, used, load)
        paid, earned = energy_bill(p, buy, sell)
        wear = row[WEAR] * abs(battery) * DT_H
        lost = row[UNSERVED] * unserved * DT_H
        soc = next_soc(row, soc_kwh[i], battery)
        terminal = -terminal_price[i] * soc if last else 0.0
        soc_kwh[i] = soc
        out = outcome[i]
        out[BATTERY_KW] = battery
        out[PV_USED_KW] = used
        out[CURTAILED_KW] = pv - used
        out[METER_KW] = p
        out[UNSERVED_KW] = unserved
        out[SOC_KWH] = soc
        out[IMPORT_EUR] = paid
        out[EXPORT_EUR] = earned
        out[WEAR_EUR] = wear
        out[UNSERVED_EUR] = lost
        out[TERMINAL_EUR] = terminal
        out[COST_EUR] = paid + earned + wear + lost + terminal
        out[IDLE_EUR] = idle_cost(row, load, pv, buy, sell)


@compiled
def stage_cost(house, load_kw, pv_kw, buy, sell, slopes, lengths):
    """Cost of one period as a function of the change of stored energy.

    The PV is used as `best_pv` does, so this is what `step` charges. Written as a
    piecewise-linear function: slopes (EUR/kWh, in ascending order of energy, ascending
    in value where the cost is convex) over lengths (kWh).

    Args:
        house: Shape (11,).
        load_kw: Load, kW.
        pv_kw: PV available, kW.
        buy: Import price, EUR/kWh.
        sell: Export price, EUR/kWh.
        slopes: Shape (>= 6,), overwritten.
        lengths: Shape (>= 6,), overwritten.

    Returns:
        Number of segments, least change of stored energy (kWh), cost there (EUR).
    """
    power = house[POWER]
    r_low, r_high = inverter_range(house, load_kw)
    r_low = max(r_low, -power - pv_kw)
    r_high = max(min(r_high, power), r_low)
    # Cost against inverter power: export, import, unserved. Curtailment is a flat piece of
    # length pv_kw that stands where its slope, zero, belongs.
    zero = min(max(-load_kw, r_low), r_high)
    full = min(max(house[IMPORT] - load_kw, zero), r_high)
    lost = house[UNSERVED]
    if sell >= 0.0:
        pieces = ((0.0, pv_kw), (sell, zero - r_low), (buy, full - zero), (lost, r_high - full))
    elif buy >= 0.0:
        pieces = ((sell, zero - r_low), (0.0, pv_kw), (buy, full - zero), (lost, r_high - full))
    else:
        pieces = ((sell, zero - r_low), (buy, full - zero), (0.0, pv_kw), (lost, r_high - full))

    # Against battery power, cut to its rating and at idle, where the efficiency changes.
    count = 0
    end = r_low
    for slope, width in pieces:
        start = max(end, -power)
        end += width
        stop = min(end, power)
        if start < 0.0 and start < stop:
            cut = min(stop, 0.0)
            slopes[count] = (slope - house[WEAR]) * house[ETA_D]
            lengths[count] = (cut - start) * DT_H / house[ETA_D]
            count += 1
            start = cut
        if start >= 0.0 and start < stop:
            slopes[count] = (slope + house[WEAR]) / house[ETA_C]
            lengths[count] = (stop - start) * DT_H * house[ETA_C]
            count += 1

    least = max(r_low, -power)
    p, unserved = meter(house, least, best_pv(house, least, load_kw, pv_kw, buy, sell), load_kw)
    paid, earned = energy_bill(p, buy, sell)
    cost = paid + earned + (house[UNSERVED] * unserved + house[WEAR] * abs(least)) * DT_H
    energy = least * DT_H / house[ETA_D] if least < 0.0 else house[ETA_C] * least * DT_H
    return count, energy, cost


@compiled
def is_convex(house, load_kw, pv_kw, buy, sell):
    """Index of the first period whose cost is not convex in stored energy, or -1.

    It fails when importing pays (a negative import price beyond wear): losses would then
    earn money. Shapes: house (11,), the others (T,).
    """
    slopes = np.empty(6)
    lengths = np.empty(6)
    for t in range(len(load_kw)):
        count, _, _ = stage_cost(house, load_kw[t], pv_kw[t], buy[t], sell[t], slopes, lengths)
        for k in range(1, count):
            if slopes[k] < slopes[k - 1] - 1e-12:
                return t
    return -1
