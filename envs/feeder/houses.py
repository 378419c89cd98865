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
    house_at,
    place,
    visit_at,
    write,
)
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    BATTERY_KW,
    CAR_KWH,
    COST_EUR,
    CURTAILED_KW,
    DEPARTURE,
    METER_KW,
    PV_KWP,
    PV_USED_KW,
    SOC_KWH,
    UNSERVED_KW,
    VISIT_ROWS,
    best_pv,
    meter,
    play,
)
from flexgym.envs.household.scenario import PV_YIELD
from flexgym.envs.uncertainty import realised_pv


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


@compiled
def measure(size, count, w, shared, load):
    """Write what the houses of a group measure.

    Args:
        size: Feeders in the group, G.
        count: Houses on a feeder, H.
        w: Numbers of the group, flat; see `flexgym.envs.feeder.lanes`.
        shared: Sun (share of its peak), weather factor, import and export price of each
            feeder now, shape (4, G).
        load: Consumption of each house now, shape (H * G,), kW.
    """
    for h in range(count):
        begin = place(h, size)
        for i in range(size):
            at = begin + i
            rating = w[at + PV_KWP * LANES]
            forecast = PV_YIELD * rating * shared[0, i]
            w[at + NOW_LOAD * LANES] = load[h * size + i]
            w[at + NOW_PV * LANES] = realised_pv(shared[1, i], forecast, rating)
            w[at + NOW_BUY * LANES] = shared[2, i]
            w[at + NOW_SELL * LANES] = shared[3, i]


@compiled
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
    for block in range(-(-size * count // LANES)):
        for lane in range(LANES):
            at = block * ROWS * LANES + lane
            visit = at + VISIT * LANES
            if begin or w[visit + DEPARTURE * LANES] <= t:
                n = block * LANES + lane
                if n >= size * count:
                    break
                k = 0 if begin else int(w[at + SESSION * LANES]) + 1
                w[at + SESSION * LANES] = k
                show(w, visit, visits, home[n], day[n % size], k)
            if w[visit + ARRIVAL * LANES] == t:
                w[at + CAR * LANES] = w[visit + ARRIVAL_KWH * LANES]


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
    for n in range(size * count):
        block, lane = divmod(n, LANES)
        at = block * ROWS * LANES + lane
        house = house_at(w, at)
        load, pv = w[at + NOW_LOAD * LANES], w[at + NOW_PV * LANES]
        buy, sell = w[at + NOW_BUY * LANES], w[at + NOW_SELL * LANES]
        used = best_pv(house, 0.0, load, 0.0, pv, buy, sell)
        p, unserved = meter(house, 0.0, 0.0, used, load)
        w[at + P_KW * LANES] = p
        w[at + Q_KVAR * LANES] = w[at + TAN_PHI * LANES] * (load - unserved)


@compiled
def act(kind, t, last, with_pv, with_reactive, blocks, w, out, sums, detail, kept):
    """Play the actions of all houses of a group.

    Args:
        kind: Position of the action map in `ACTION_MAPS`.
        t: Period.
        last: Whether stored energy is paid for at the end of this period.
        with_pv: Whether the PV used is an action.
        with_reactive: Whether the inverters' reactive power is one.
        blocks: Blocks of the group.
        w: Numbers of the group, flat; energies, powers at the meter and costs are overwritten.
        out: Outcomes of one block, flat, (outcomes, 64), overwritten; rows are `OUTCOME_NAMES`.
        sums: Their sums over the blocks, likewise.
        detail: Whether each house's outcomes are kept.
        kept: Outcomes of all blocks, flat, (blocks, outcomes, 64).
    """
    sums[:] = 0.0
    for block in range(blocks):
        o = block * ROWS * LANES
        for i in range(LANES):
            at = o + i
            happened = _played(kind, t, last, with_pv, w, at)
            served = w[at + NOW_LOAD * LANES] - happened[UNSERVED_KW]
            reactive = w[at + TAN_PHI * LANES] * served
            if with_reactive:
                most = reactive_limit(
                    w[at + HYBRID * LANES], w[at + PV_KVA * LANES], w[at + BATTERY_KVA * LANES],
                    w[at + PV_TAN_PHI * LANES], happened[BATTERY_KW], happened[PV_USED_KW],
                )  # fmt: skip
                reactive += w[at + REACTIVE_ACTION * LANES] * most
            w[at + Q_KVAR * LANES] = reactive
            write(out, i, happened, detail)
        for i in range(LANES):
            at = o + i
            leaves = w[at + (VISIT + DEPARTURE) * LANES] == t + 1
            w[at + SOC * LANES] = out[i + SOC_KWH * LANES]
            w[at + CAR * LANES] = 0.0 if leaves else out[i + CAR_KWH * LANES]
            w[at + P_KW * LANES] = out[i + METER_KW * LANES]
            w[at + COST * LANES] = out[i + COST_EUR * LANES]
        for k in range(CURTAILED_KW * LANES, COST_EUR * LANES):
            sums[k] += out[k]
        if detail:
            begin = block * OUTCOMES * LANES
            kept[begin : begin + OUTCOMES * LANES] = out


@inlined
def _played(kind, t, last, with_pv, w, at):
    return play(
        kind, t, last, house_at(w, at), visit_at(w, at), w[at + NOW_LOAD * LANES],
        w[at + NOW_PV * LANES], w[at + NOW_BUY * LANES], w[at + NOW_SELL * LANES],
        w[at + TERMINAL * LANES], w[at + SOC * LANES], w[at + CAR * LANES],
        w[at + ACTION * LANES], w[at + CAR_ACTION * LANES], with_pv, w[at + PV_ACTION * LANES],
    )  # fmt: skip
