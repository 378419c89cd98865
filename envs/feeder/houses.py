"""The houses of a group of feeders: what they measure, and what their actions do.

Loops over lanes around the one physics of `flexgym.envs.household.dynamics`.
"""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled, inlined
from flexgym.envs.feeder.lanes import (
    BATTERY_ACTION,
    BATTERY_KVA,
    BATTERY_POWER,
    BUY,
    CAR,
    CAR_ACTION,
    CAR_POWER,
    COST,
    EVEN,
    HYBRID,
    LANES,
    LOAD,
    OUTCOMES,
    P_KW,
    PV,
    PV_ACTION,
    PV_KVA,
    PV_TAN_PHI,
    PV_YIELD,
    Q_KVAR,
    REACTIVE_ACTION,
    ROWS,
    SELL,
    SESSION,
    SOC,
    TAN_PHI,
    TERMINAL,
    VISIT,
    add,
    house_at,
    position,
    visit_at,
    write,
)
from flexgym.envs.household.action_map import ACTION_MAPS
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    BATTERY_KW,
    CAR_KWH,
    COST_EUR,
    DEPARTURE,
    METER_KW,
    PV_KWP,
    PV_USED_KW,
    SOC_KWH,
    UNSERVED_KW,
    VISIT_ROWS,
    best_pv,
    meter,
    play_battery,
    play_car,
    settle,
)
from flexgym.envs.household.scenario import PV_YIELD as YIELD
from flexgym.envs.uncertainty import realised_pv

_USUAL_MAP = ACTION_MAPS.index("plateau")


@inlined
def reactive_limit(hybrid, pv_kva, battery_kva, pv_tan_phi, battery_kw, pv_used_kw):
    """Most reactive power the inverters give beside active powers, either way, kvar.

    The exact circle of each rating, and the grid code's share of the PV power.
    """
    through = battery_kw - pv_used_kw if hybrid > 0.0 else pv_used_kw
    roof = np.sqrt(max(pv_kva * pv_kva - through * through, 0.0))
    # No such rule is inf, and inf times no PV is no number.
    roof = min(roof, pv_tan_phi * pv_used_kw) if pv_tan_phi < np.inf else roof
    store = np.sqrt(max(battery_kva * battery_kva - battery_kw * battery_kw, 0.0))
    return roof + store


@inlined
def tell(size, shared, even, desk):
    """Write on the desk what all houses of a feeder measure alike.

    Args:
        size: Feeders in the group, G.
        shared: Sun (share of its peak), weather factor, import and export price of each
            feeder now, shape (4, G).
        even: Import price at which storing for later breaks even, shape (G,), EUR/kWh.
        desk: See `flexgym.envs.feeder.lanes`, flat.
    """
    for i in range(size):
        pv = realised_pv(shared[1, i], YIELD * shared[0, i], 1.0)
        buy, sell, stored = shared[2, i], shared[3, i], even[i]
        for lane in range(i, LANES, size):
            desk[PV_YIELD * LANES + lane] = pv
            desk[BUY * LANES + lane] = buy
            desk[SELL * LANES + lane] = sell
            desk[EVEN * LANES + lane] = stored


@inlined
def measure(block, w, load, desk):
    """Write on the desk what the houses of a block measure, each for itself.

    Args:
        block: Position in the group.
        w: Numbers of the group, flat; see `flexgym.envs.feeder.lanes`.
        load: Consumption of each house now, shape (blocks * 64,), kW.
        desk: Overwritten.
    """
    for i in range(LANES):
        rating = w[position(block * ROWS * LANES) + i + PV_KWP * LANES]
        desk[LOAD * LANES + i] = load[position(block * LANES) + i]
        desk[PV * LANES + i] = rating * desk[PV_YIELD * LANES + i]


@inlined
def plug_in(t, size, count, w, home, day, visits, begin):
    """Go on to the cars' next visits, and let those arrive that come in period t.

    Args:
        t: Period.
        size: Feeders in the group, G.
        count: Houses on a feeder, H.
        w: Numbers of the group, flat.
        home: Position of each house in the pool, shape (H * G,).
        day: Day of each feeder, shape (G,).
        visits: Visits of every house and day, shape (pool, 365, most a day, 5).
        begin: Whether the day begins, with the first visit.
    """
    for first in range(0, size * count, LANES):
        block = position(first * ROWS)
        for at in range(block, block + min(LANES, size * count - first)):
            if begin or w[at + (VISIT + DEPARTURE) * LANES] <= t:
                k = 0 if begin else int(w[at + SESSION * LANES]) + 1
                w[at + SESSION * LANES] = k
                n = first + at - block
                show(w, at + VISIT * LANES, visits, home[n], day[n % size], k)
            if w[at + (VISIT + ARRIVAL) * LANES] == t:
                w[at + CAR * LANES] = w[at + (VISIT + ARRIVAL_KWH) * LANES]


@compiled
def show(w, at, visits, home, day, k):
    """Write visit k of a day into a lane, or that there is none."""
    there = k < visits.shape[2]
    for row in range(VISIT_ROWS):
        none = np.inf if row in (ARRIVAL, DEPARTURE) else 0.0
        value = visits[home, day, k, row] if there else none
        w[at + row * LANES] = value if np.isfinite(value) else none


@inlined
def idle(block, w, desk):
    """Write the powers at the meter with battery and car idle, as far as limits allow."""
    for i in range(LANES):
        at = position(block * ROWS * LANES) + i
        house = house_at(w, at)
        load, pv = desk[LOAD * LANES + i], desk[PV * LANES + i]
        used = best_pv(house, 0.0, load, 0.0, pv, desk[BUY * LANES + i], desk[SELL * LANES + i])
        p, unserved = meter(house, 0.0, 0.0, used, load)
        w[at + P_KW * LANES] = p
        w[at + Q_KVAR * LANES] = w[at + TAN_PHI * LANES] * (load - unserved)


@inlined
def act(kind, t, last, with_pv, with_reactive, block, w, desk, detail, kept):
    """Play the actions of the houses of a block.

    Args:
        kind: Position of the action map in `ACTION_MAPS`.
        t: Period.
        last: Whether stored energy is paid for at the end of this period.
        with_pv: Whether the PV used is an action.
        with_reactive: Whether the inverters' reactive power is one.
        block: Position in the group.
        w: Numbers of the group, flat; energies, powers at the meter and costs are overwritten.
        desk: What the block measures and its actions; the sums are added to.
        detail: Whether each house's outcomes are kept.
        kept: Outcomes of all blocks, flat, (blocks, outcomes, 64), rows `OUTCOME_NAMES`.
    """
    # Known settings halve the instructions: what the usual case does not need is left out.
    usual = kind == _USUAL_MAP and not (last or with_pv or with_reactive)
    at, to = position(block * ROWS * LANES), position(block * OUTCOMES * LANES)
    if usual and not detail:
        _act(_USUAL_MAP, t, False, False, False, w, at, desk, False, kept, to)
    elif usual:
        _act(_USUAL_MAP, t, False, False, False, w, at, desk, True, kept, to)
    else:
        _act(kind, t, last, with_pv, with_reactive, w, at, desk, detail, kept, to)


@inlined
def _act(kind, t, last, with_pv, with_reactive, w, begin, desk, detail, kept, to):
    """As `act`.

    First all cars, then all batteries, then the rest: in one loop, each instruction would wait
    for the one before.
    """
    for i in range(LANES):
        at = begin + i
        desk[CAR_POWER * LANES + i] = play_car(
            kind, t, house_at(w, at), visit_at(w, at), desk[LOAD * LANES + i],
            desk[PV * LANES + i], w[at + SOC * LANES], w[at + CAR * LANES],
            desk[CAR_ACTION * LANES + i],
        )  # fmt: skip
    for i in range(LANES):
        at = begin + i
        desk[BATTERY_POWER * LANES + i] = play_battery(
            kind, house_at(w, at), desk[LOAD * LANES + i], desk[PV * LANES + i],
            w[at + SOC * LANES], desk[CAR_POWER * LANES + i], desk[BATTERY_ACTION * LANES + i],
        )  # fmt: skip
    for i in range(LANES):
        at = begin + i
        load, visit = desk[LOAD * LANES + i], visit_at(w, at)
        happened = settle(
            t, last, house_at(w, at), visit, load, desk[PV * LANES + i], desk[BUY * LANES + i],
            desk[SELL * LANES + i], w[at + TERMINAL * LANES], w[at + SOC * LANES],
            w[at + CAR * LANES], desk[BATTERY_POWER * LANES + i], desk[CAR_POWER * LANES + i],
            with_pv, desk[PV_ACTION * LANES + i],
        )  # fmt: skip
        reactive = w[at + TAN_PHI * LANES] * (load - happened[UNSERVED_KW])
        if with_reactive:
            most = reactive_limit(
                w[at + HYBRID * LANES], w[at + PV_KVA * LANES], w[at + BATTERY_KVA * LANES],
                w[at + PV_TAN_PHI * LANES], happened[BATTERY_KW], happened[PV_USED_KW],
            )  # fmt: skip
            reactive += desk[REACTIVE_ACTION * LANES + i] * most
        w[at + SOC * LANES] = happened[SOC_KWH]
        w[at + CAR * LANES] = 0.0 if visit[DEPARTURE] == t + 1 else happened[CAR_KWH]
        w[at + P_KW * LANES] = happened[METER_KW]
        w[at + Q_KVAR * LANES] = reactive
        w[at + COST * LANES] = happened[COST_EUR]
        add(desk, i, happened)
        if detail:
            write(kept, to + i, happened)
