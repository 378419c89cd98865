"""The houses of a group of feeders: what they measure, and what their actions do.

Loops over lanes around the one physics of `flexgym.envs.household.dynamics`.
"""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled, inlined
from flexgym.envs.feeder.lanes import (
    ACTION,
    BATTERY_KVA,
    CAR,
    CAR_ACTION,
    COST,
    HYBRID,
    LANES,
    NOW_BUY,
    NOW_LOAD,
    NOW_PV,
    NOW_SELL,
    OUTCOMES,
    P_KW,
    PV_ACTION,
    PV_KVA,
    PV_TAN_PHI,
    Q_KVAR,
    REACTIVE_ACTION,
    ROWS,
    SESSION,
    SOC,
    TAN_PHI,
    TERMINAL,
    VISIT,
    add,
    house_at,
    place,
    position,
    visit_at,
    write,
)
from flexgym.envs.grid.lanes import on_lanes
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
from flexgym.envs.household.scenario import PV_YIELD
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


@on_lanes
def _measure(now, w, at, load, n):
    w[at, NOW_LOAD * LANES] = load[n, 0]
    w[at, NOW_PV * LANES] = w[at, PV_KWP * LANES] * now[0, 0]
    w[at, NOW_BUY * LANES] = now[0, 1]
    w[at, NOW_SELL * LANES] = now[0, 2]


@inlined
def tell(size, shared, now):
    """Write what all houses of a feeder measure alike, shape (1, 3[, G]).

    Args:
        size: Feeders in the group, G.
        shared: Sun (share of its peak), weather factor, import and export price of each
            feeder now, shape (4, G).
        now: PV of a roof of 1 kWp, import and export price, overwritten.
    """
    flat = now.reshape(-1)
    for i in range(size):
        flat[i] = realised_pv(shared[1, i], PV_YIELD * shared[0, i], 1.0)
        flat[size + i] = shared[2, i]
        flat[2 * size + i] = shared[3, i]


@inlined
def measure(size, count, w, now, load):
    """Write what the houses of a group measure.

    Args:
        size: Feeders in the group, G.
        count: Houses on a feeder, H.
        w: Numbers of the group, flat; see `flexgym.envs.feeder.lanes`.
        now: From `tell`.
        load: Consumption of each house now, shape (H * G,), kW.
    """
    for h in range(count):
        _measure(now, w, place(h, size), load, h * size)


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


@compiled
def idle(size, count, w):
    """Write the powers at the meter with battery and car idle, as far as limits allow."""
    for first in range(0, size * count, LANES):
        for i in range(LANES):
            at = position(first * ROWS) + i
            house = house_at(w, at)
            load, pv = w[at + NOW_LOAD * LANES], w[at + NOW_PV * LANES]
            buy, sell = w[at + NOW_BUY * LANES], w[at + NOW_SELL * LANES]
            used = best_pv(house, 0.0, load, 0.0, pv, buy, sell)
            p, unserved = meter(house, 0.0, 0.0, used, load)
            w[at + P_KW * LANES] = p
            w[at + Q_KVAR * LANES] = w[at + TAN_PHI * LANES] * (load - unserved)


@inlined
def act(kind, t, last, with_pv, with_reactive, w, powers, sums, detail, kept):
    """Play the actions of all houses of a group.

    Args:
        kind: Position of the action map in `ACTION_MAPS`.
        t: Period.
        last: Whether stored energy is paid for at the end of this period.
        with_pv: Whether the PV used is an action.
        with_reactive: Whether the inverters' reactive power is one.
        w: Numbers of the group, flat; energies, powers at the meter and costs are overwritten.
        powers: Room for the powers of a block's cars and batteries, flat, (2, 64).
        sums: Sums over the blocks of the outcomes in `SUMMED`, flat, (9, 64), overwritten.
        detail: Whether each house's outcomes are kept.
        kept: Outcomes of all blocks, flat, (blocks, outcomes, 64), rows `OUTCOME_NAMES`.
    """
    sums[:] = 0.0
    # Known settings halve the instructions: what the usual case does not need is left out.
    usual = kind == _USUAL_MAP and not (last or with_pv or with_reactive)
    for block in range(w.size // (ROWS * LANES)):
        at, to = block * ROWS * LANES, block * OUTCOMES * LANES
        if usual and not detail:
            _act(_USUAL_MAP, t, False, False, False, w, at, powers, sums, False, kept, to)
        elif usual:
            _act(_USUAL_MAP, t, False, False, False, w, at, powers, sums, True, kept, to)
        else:
            _act(kind, t, last, with_pv, with_reactive, w, at, powers, sums, detail, kept, to)


@inlined
def _act(kind, t, last, with_pv, with_reactive, w, begin, powers, sums, detail, kept, to):
    """Play the actions of one block.

    First all cars, then all batteries, then the rest: in one loop, each instruction would wait
    for the one before.
    """
    for i in range(LANES):
        at = position(begin) + i
        powers[i] = play_car(
            kind, t, house_at(w, at), visit_at(w, at), w[at + NOW_LOAD * LANES],
            w[at + NOW_PV * LANES], w[at + SOC * LANES], w[at + CAR * LANES],
            w[at + CAR_ACTION * LANES],
        )  # fmt: skip
    for i in range(LANES):
        at = position(begin) + i
        powers[i + LANES] = play_battery(
            kind, house_at(w, at), w[at + NOW_LOAD * LANES], w[at + NOW_PV * LANES],
            w[at + SOC * LANES], powers[i], w[at + ACTION * LANES],
        )  # fmt: skip
    for i in range(LANES):
        at = position(begin) + i
        load, visit = w[at + NOW_LOAD * LANES], visit_at(w, at)
        happened = settle(
            t, last, house_at(w, at), visit, load, w[at + NOW_PV * LANES],
            w[at + NOW_BUY * LANES], w[at + NOW_SELL * LANES], w[at + TERMINAL * LANES],
            w[at + SOC * LANES], w[at + CAR * LANES], powers[i + LANES], powers[i], with_pv,
            w[at + PV_ACTION * LANES],
        )  # fmt: skip
        reactive = w[at + TAN_PHI * LANES] * (load - happened[UNSERVED_KW])
        if with_reactive:
            most = reactive_limit(
                w[at + HYBRID * LANES], w[at + PV_KVA * LANES], w[at + BATTERY_KVA * LANES],
                w[at + PV_TAN_PHI * LANES], happened[BATTERY_KW], happened[PV_USED_KW],
            )  # fmt: skip
            reactive += w[at + REACTIVE_ACTION * LANES] * most
        w[at + SOC * LANES] = happened[SOC_KWH]
        w[at + CAR * LANES] = 0.0 if visit[DEPARTURE] == t + 1 else happened[CAR_KWH]
        w[at + P_KW * LANES] = happened[METER_KW]
        w[at + Q_KVAR * LANES] = reactive
        w[at + COST * LANES] = happened[COST_EUR]
        add(sums, i, happened)
        if detail:
            write(kept, position(to) + i, happened)
