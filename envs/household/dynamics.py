"""The physics of a house with battery and car: what is feasible, what happens, what it costs.

Scalar functions compiled once and used by everybody: the environments, the exact
recursion (through `stage_cost`), the rules and the tests. A house is a row of numbers
in the order of `house_row`, a visit of the car one of `session_rows`. Power is in kW,
import and charging positive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flexgym.envs.compiled import compiled, inlined
from flexgym.envs.errors import SeriesError, StateError
from flexgym.envs.household.action_map import balancing, power_from_action
from flexgym.envs.household.params import DT_H, Car, Floats, House, Session

CAPACITY, POWER, ETA_C, ETA_D, WEAR, RETENTION = 0, 1, 2, 3, 4, 5
PV_KWP, INVERTER, IMPORT, EXPORT, UNSERVED = 6, 7, 8, 9, 10
CAR_POWER, CAR_DISCHARGE, CAR_CAPACITY, CAR_ETA_C, CAR_ETA_D, CAR_WEAR, CAR_MISSED = range(11, 18)
HOUSE_COLUMNS = 18

LOAD, PV, BUY, SELL = 0, 1, 2, 3
"""Rows of an array of exogenous values: load_kw, pv_kw, import and export price."""

ARRIVAL, DEPARTURE, ARRIVAL_KWH, NEEDED_KWH, TARGET_KWH = 0, 1, 2, 3, 4
"""Numbers of the visit that runs in a period or comes next (inf and zeros if none).
Plugged in is ``arrival <= t < departure``; charging ends at the target."""
VISIT_ROWS = 5

(
    BATTERY_KW,
    CAR_KW,
    PV_USED_KW,
    CURTAILED_KW,
    METER_KW,
    UNSERVED_KW,
    SOC_KWH,
    CAR_KWH,
    MISSED_KWH,
    IMPORT_EUR,
    EXPORT_EUR,
    WEAR_EUR,
    UNSERVED_EUR,
    MISSED_EUR,
    TERMINAL_EUR,
    COST_EUR,
    IDLE_EUR,
) = range(17)
OUTCOME_NAMES = (
    "battery_kw", "car_kw", "pv_used_kw", "curtailed_kw", "meter_kw", "unserved_kw", "soc_kwh",
    "car_kwh", "missed_kwh", "import_eur", "export_eur", "wear_eur", "unserved_eur", "missed_eur",
    "terminal_eur", "cost_eur", "idle_eur",
)  # fmt: skip
"""Columns of an outcome. The ``_eur`` terms before ``cost_eur`` add up to it; ``idle_eur``
is what the period would have cost with battery and car idle."""
COST_TERMS = OUTCOME_NAMES[IMPORT_EUR:COST_EUR]


def house_row(house: House) -> Floats:
    """Numbers of one house in the order the compiled functions expect, shape (18,).

    A house without battery is one whose battery has no capacity and no power, likewise for
    the car. Separate inverters have no limit in common: the battery's enters its power, the
    roof's is large enough for the roof.
    """
    b, car = house.battery, house.car
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
    charger = (
        (0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0)
        if car is None
        else (
            car.power_kw,
            car.discharge_kw,
            car.capacity_kwh,
            car.efficiency_charge,
            car.efficiency_discharge,
            car.wear_eur_per_kwh,
            car.missed_eur_per_kwh,
        )
    )
    unserved = house.unserved_eur_per_kwh
    return np.array([*store, house.pv_kwp, *connection, unserved, *charger])


def session_rows(car: Car | None, sessions: Sequence[Session]) -> Floats:
    """The car's visits as numbers, shape (len(sessions), 5), columns `ARRIVAL` and the like.

    Raises:
        SeriesError: There are sessions but no car, or it arrives with more than it holds.
    """
    if sessions and car is None:
        raise SeriesError(
            f"got {len(sessions)} car sessions for a house without a car; expected none. "
            "Give the house a Car, or pass sessions=()."
        )
    rows = np.empty((len(sessions), VISIT_ROWS))
    for k, session in enumerate(sessions):
        assert car is not None
        if session.arrival_kwh > car.capacity_kwh + 1e-9:
            raise SeriesError(
                f"sessions[{k}] arrives with {session.arrival_kwh:g} kWh; expected at most the "
                f"car's capacity of {car.capacity_kwh:g} kWh. Correct the session."
            )
        stored = (session.arrival_kwh, session.needed_kwh, car.target_kwh(session))
        rows[k] = (session.arrival, session.departure, *stored)
    return rows


@compiled
def fill_visits(rows, out):
    """Write the visit that runs in each period or comes next; rows (k, 5), out (T, 5).

    A row whose arrival is not finite is none.
    """
    begin = 0
    out[:] = 0.0
    for k in range(rows.shape[0]):
        if np.isfinite(rows[k, ARRIVAL]):
            end = int(rows[k, DEPARTURE])
            out[begin:end] = rows[k]
            begin = end
    out[begin:, ARRIVAL] = np.inf
    out[begin:, DEPARTURE] = np.inf


def visits(car: Car | None, sessions: Sequence[Session], periods: int) -> Floats:
    """The car's visits as `step` reads them, shape (periods, 5); errors of `session_rows`."""
    out = np.empty((periods, VISIT_ROWS))
    fill_visits(session_rows(car, sessions), out)
    return out


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
def plugged(visit, t):
    """Whether the car is plugged in in period t; visit has shape (5,)."""
    return visit[ARRIVAL] <= t < visit[DEPARTURE]


@compiled
def plug_in(t, visit, car_kwh):
    """Set the energy of cars that arrive in period t; visit (5, n), car_kwh (n,) in kWh."""
    for i in range(visit.shape[1]):
        if visit[ARRIVAL, i] == t:
            car_kwh[i] = visit[ARRIVAL_KWH, i]


@compiled
def inverter_range(house, load_kw, car_kw):
    """Least and largest inverter power r = battery - PV beside the car's power, kW.

    Bounded by the inverter and the export limit; with the car at most the import limit, since
    load can stay unserved but nothing else may draw more.
    """
    low = max(-house[INVERTER], -house[EXPORT] - load_kw - car_kw)
    return low, min(house[INVERTER], house[IMPORT] - car_kw)


@compiled
def store_range(house, soc_kwh):
    """Least and largest battery power that its rating and energy allow, kW."""
    left = house[RETENTION] * soc_kwh
    low = max(-house[POWER], -left * house[ETA_D] / DT_H)
    high = min(house[POWER], (house[CAPACITY] - left) / (house[ETA_C] * DT_H))
    return min(low, 0.0), max(high, 0.0)


@compiled
def car_range(house, visit, t, soc_kwh, car_kwh, load_kw, pv_kw):
    """Least and largest power of the car feasible now, kW; idle (0) is always feasible.

    Beside each there is a feasible battery power: see `battery_range`.
    """
    if not plugged(visit, t):
        return 0.0, 0.0
    room = max(visit[TARGET_KWH] - car_kwh, 0.0)
    high = min(house[CAR_POWER], room / (house[CAR_ETA_C] * DT_H))
    low = -min(house[CAR_DISCHARGE], car_kwh * house[CAR_ETA_D] / DT_H)
    least, most = store_range(house, soc_kwh)
    high = min(high, house[IMPORT] - max(-house[INVERTER], least - pv_kw))
    low = max(low, -house[EXPORT] - load_kw - min(house[INVERTER], most))
    return min(low, 0.0), max(high, 0.0)


@compiled
def battery_range(house, soc_kwh, load_kw, car_kw, pv_kw):
    """Least and largest battery power feasible now beside the car's power, kW.

    Idle (0) is always feasible beside an idle car.
    """
    r_low, r_high = inverter_range(house, load_kw, car_kw)
    least, most = store_range(house, soc_kwh)
    # At the end of the car's range rounding could leave the store's.
    low = min(max(least, r_low), most)
    return low, max(low, min(most, r_high + pv_kw))


@compiled
def pv_range(house, battery_kw, load_kw, car_kw, pv_kw):
    """Least and largest PV power that can be used beside feasible powers, kW."""
    r_low, r_high = inverter_range(house, load_kw, car_kw)
    low = max(0.0, battery_kw - r_high)
    return low, max(low, min(pv_kw, battery_kw - r_low))


@compiled
def best_pv(house, battery_kw, load_kw, car_kw, pv_kw, buy, sell):
    """PV power that makes the period cheapest given battery and car, kW.

    All of it while exporting pays; no export when it costs; and as little as possible
    when even importing pays.
    """
    low, high = pv_range(house, battery_kw, load_kw, car_kw, pv_kw)
    if sell >= 0.0:
        return high
    at_meter = 0.0 if buy >= 0.0 else house[IMPORT]
    return min(max(load_kw + car_kw + battery_kw - at_meter, low), high)


@compiled
def meter(house, battery_kw, car_kw, pv_used_kw, load_kw):
    """Power at the meter and unserved load, kW."""
    wanted = load_kw + car_kw + battery_kw - pv_used_kw
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
def car_change(house, car_kw):
    """Change of the energy in the car by a power, kWh."""
    if car_kw > 0.0:
        return house[CAR_ETA_C] * car_kw * DT_H
    return car_kw * DT_H / house[CAR_ETA_D]


@compiled
def car_power(house, change_kwh):
    """Power that changes the energy in the car so, kW: `car_change` inverted."""
    if change_kwh > 0.0:
        return change_kwh / (house[CAR_ETA_C] * DT_H)
    return change_kwh * house[CAR_ETA_D] / DT_H


@compiled
def next_car(house, visit, car_kwh, car_kw):
    """Energy in the plugged-in car one period later, kWh."""
    # Only rounding can pass the target: the power was feasible.
    full = max(visit[TARGET_KWH], car_kwh)
    return min(max(car_kwh + car_change(house, car_kw), 0.0), full)


@compiled
def energy_bill(meter_kw, buy, sell):
    """Paid for import and (negative) for export in one period, EUR."""
    return DT_H * buy * max(meter_kw, 0.0), DT_H * sell * min(meter_kw, 0.0)


@compiled
def idle_cost(house, load_kw, pv_kw, buy, sell):
    """Cost of one period with battery and car idle, EUR."""
    used = best_pv(house, 0.0, load_kw, 0.0, pv_kw, buy, sell)
    p, unserved = meter(house, 0.0, 0.0, used, load_kw)
    paid, earned = energy_bill(p, buy, sell)
    return paid + earned + house[UNSERVED] * unserved * DT_H


@compiled
def car_rating(house):
    """Larger of the car's charging and discharging power, kW."""
    return max(house[CAR_POWER], house[CAR_DISCHARGE])


@inlined
def play(
    kind, t, last, house, visit, load_kw, pv_kw, buy, sell, terminal_price, soc_kwh, car_kwh,
    battery_action, car_action, with_pv, pv_action,
):  # fmt: skip
    """What happens in one house in one period, in the order of `OUTCOME_NAMES`.

    The car's power comes first, then the battery's beside it, then the PV's beside both; see
    `step` for the arguments. ``visit`` is a tuple; ``house`` a row or a tuple, so that a loop
    over many houses turns into vector instructions.
    """
    car = play_car(kind, t, house, visit, load_kw, pv_kw, soc_kwh, car_kwh, car_action)
    battery = play_battery(kind, house, load_kw, pv_kw, soc_kwh, car, battery_action)
    return settle(
        t, last, house, visit, load_kw, pv_kw, buy, sell, terminal_price, soc_kwh, car_kwh,
        battery, car, with_pv, pv_action,
    )  # fmt: skip


@inlined
def play_car(kind, t, house, visit, load_kw, pv_kw, soc_kwh, car_kwh, action):
    """The car's power, kW; arguments of `play`."""
    low, high = car_range(house, visit, t, soc_kwh, car_kwh, load_kw, pv_kw)
    zero = balancing(low, high, load_kw, pv_kw)
    return power_from_action(kind, action, car_rating(house), low, high, zero)


@inlined
def play_battery(kind, house, load_kw, pv_kw, soc_kwh, car_kw, action):
    """The battery's power beside the car's, kW; arguments of `play`."""
    low, high = battery_range(house, soc_kwh, load_kw, car_kw, pv_kw)
    zero = balancing(low, high, load_kw + car_kw, pv_kw)
    return power_from_action(kind, action, house[POWER], low, high, zero)


@inlined
def settle(
    t, last, house, visit, load_kw, pv_kw, buy, sell, terminal_price, soc_kwh, car_kwh,
    battery, car, with_pv, pv_action,
):  # fmt: skip
    """What happens in one house at the powers of battery and car; see `play`."""
    if with_pv:
        low, high = pv_range(house, battery, load_kw, car, pv_kw)
        used = low + (high - low) * 0.5 * (pv_action + 1.0)
    else:
        used = best_pv(house, battery, load_kw, car, pv_kw, buy, sell)
    p, unserved = meter(house, battery, car, used, load_kw)
    paid, earned = energy_bill(p, buy, sell)
    wear = (house[WEAR] * abs(battery) + house[CAR_WEAR] * max(-car, 0.0)) * DT_H
    lost = house[UNSERVED] * unserved * DT_H
    soc = next_soc(house, soc_kwh, battery)
    terminal = -terminal_price * soc if last else 0.0
    there = plugged(visit, t)
    stored = next_car(house, visit, car_kwh, car) if there else 0.0
    leaves = there and visit[DEPARTURE] == t + 1
    missed = max(visit[NEEDED_KWH] - stored, 0.0) if leaves else 0.0
    missing = house[CAR_MISSED] * missed
    return (
        battery, car, used, pv_kw - used, p, unserved, soc, stored, missed, paid, earned, wear,
        lost, missing, terminal, paid + earned + wear + lost + missing + terminal,
        idle_cost(house, load_kw, pv_kw, buy, sell),
    )  # fmt: skip


@compiled
def step(
    kind, t, last, action, house, now, visit, terminal_price, soc_kwh, car_kwh, outcome
):  # fmt: skip
    """Advance n houses by one period; see `play` for what happens in one.

    Args:
        kind: Position of the action map in `ACTION_MAPS`.
        t: Period.
        last: Whether the stored energy is paid for at the end of this period.
        action: Shape (n, 1 to 3), in [-1, 1]: battery; car where ``visit`` has columns;
            perhaps the PV used between the least (-1) and the most (1) that is feasible,
            which `best_pv` decides otherwise.
        house: Shape (n, 18), see `house_row`.
        now: Load, PV, import and export price of the period, shape (4, n).
        visit: The car's visit, shape (5, n), see `visits`; (5, 0) where there are no cars.
        terminal_price: Pay for stored energy at the end, shape (n,), EUR/kWh.
        soc_kwh: State of charge, shape (n,), kWh; overwritten.
        car_kwh: Energy in the car, shape (n,), kWh; overwritten, 0 once it has left.
        outcome: Shape (n, 17), overwritten; columns are `OUTCOME_NAMES`.
    """
    cars = visit.shape[1] > 0
    with_pv = action.shape[1] > (2 if cars else 1)
    away = (np.inf, np.inf, 0.0, 0.0, 0.0)
    for i in range(len(soc_kwh)):
        if cars:
            session = (visit[0, i], visit[1, i], visit[2, i], visit[3, i], visit[4, i])
            stored, wanted = car_kwh[i], action[i, 1]
        else:
            session, stored, wanted = away, 0.0, 0.0
        used = action[i, action.shape[1] - 1] if with_pv else 0.0
        happened = play(
            kind, t, last, house[i], session, now[LOAD, i], now[PV, i], now[BUY, i], now[SELL, i],
            terminal_price[i], soc_kwh[i], stored, action[i, 0], wanted, with_pv, used,
        )  # fmt: skip
        soc_kwh[i] = happened[SOC_KWH]
        if cars:
            car_kwh[i] = 0.0 if session[DEPARTURE] == t + 1 else happened[CAR_KWH]
        for k in range(len(happened)):
            outcome[i, k] = happened[k]
