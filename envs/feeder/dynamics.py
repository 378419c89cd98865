"""One period of many feeders: houses act, the grid answers, the cost is counted and shared.

The houses are those of `flexgym.envs.household.dynamics`, the grid is
`flexgym.envs.grid.sweep`; here they meet. Pure functions on arrays, group by group.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types
from numba.experimental import structref
from numpy.typing import NDArray

from flexgym.envs.compiled import compiled, inlined
from flexgym.envs.feeder.accounts import account, collect
from flexgym.envs.feeder.coupling import inject, run_power_flow, see_voltage, with_lanes
from flexgym.envs.feeder.houses import act, idle, measure, plug_in, tell
from flexgym.envs.feeder.lanes import (
    BUY,
    COST,
    GRID_EUR,
    LANES,
    LOAD,
    PV,
    ROWS,
    SELL,
    SUMS,
    place,
    position,
    size_of,
)
from flexgym.envs.feeder.observation import observe_compact
from flexgym.envs.feeder.shares import share_cost
from flexgym.envs.household.params import Floats

Ints = NDArray[np.int64]


class Group(NamedTuple):
    """Where the numbers of all groups of a batch lie; the first axis counts groups.

    Attributes:
        houses: Shape (groups, blocks * ROWS * 64); see `flexgym.envs.feeder.lanes`.
        outcomes: Shape (groups, blocks * outcomes * 64), or (groups, 0) without detail.
        first: Quarter-hour of the year at which each feeder starts, shape (groups, G).
        day: Shape (groups, G).
        home: Position of each house in the pool, shape (groups, H * G).
        state: Markov state, shape (groups, T, G).
        shared: Sun, weather factor, import and export price of each feeder, shape
            (groups, T, 4, G).
        even: Import price at which storing for later breaks even, shape (groups, G), EUR/kWh.
        load: Consumption of each house by lane, shape (groups, T, blocks * 64), kW.
        episode: What the episode so far says, shape (groups, G, len(FEEDER_NAMES)).
        period: What the last period says, shape (groups, G, len(FEEDER_NAMES)).
        reward: Minus each house's own cost and share of the grid's, shape (groups, G, H), EUR;
            (groups, 0, H) where costs are not shared.
        out: Voltage of each node (pu) and loading of each element (%), shape (groups, nodes
            or elements, 2[, G]).
    """

    houses: Floats
    outcomes: Floats
    first: Ints
    day: Ints
    home: Ints
    state: NDArray[np.int16]
    shared: Floats
    even: Floats
    load: Floats
    episode: Floats
    period: Floats
    reward: Floats
    out: Floats


@inlined
def read_actions(size, count, begin, block, actions, rows, desk):
    """Write a block's actions on the desk, from those of all feeders, flat, (n, H * a)."""
    a, each = len(rows), LANES // size
    used, first = min(size, actions.size // (count * a) - begin), block * each
    for k in range(a):
        for h in range(min(each, count - first)):
            at = position(rows[k] * LANES + h * size)
            source = (begin * count + first + h) * a + k
            for i in range(used):
                desk[at + i] = actions[position(source + i * count * a)]


@inlined
def write_rewards(size, count, w, reward):
    """Write minus each house's own cost and share of the grid's, flat, EUR."""
    for h in range(count):
        for i in range(size):
            at = place(h, size) + i
            cost = w[at + COST * LANES] + w[at + GRID_EUR * LANES]
            reward[position(i * count + h)] = -cost


@structref.register
class FeedersType(types.StructRef):
    """numba's type of `Feeders`."""

    def preprocess_fields(self, fields):
        """Fields may hold literals only as plain numbers."""
        return tuple((name, types.unliteral(kind)) for name, kind in fields)


class Feeders(structref.StructRefProxy):
    """World, groups, room and settings behind one reference.

    Handing forty arrays to a compiled function one by one takes longer than a step.

    Args:
        world: See `World`.
        batch: See `Group`.
        scratch: See `Scratch`.
        settings: Position of the action map, whether PV and reactive power are actions,
            position of the share rule in `SHARES` or -1 for none, whether houses' outcomes
            are written.
        rows: Row of the desk of each of a house's actions, shape (a,).
        actions: What is played next, shape (n, H * a), in [-1, 1].
    """

    def __new__(cls, world, batch, scratch, settings, rows, actions):
        """Make the reference."""
        return structref.StructRefProxy.__new__(cls, world, batch, scratch, settings, rows, actions)


structref.define_proxy(
    Feeders, FeedersType, ["world", "batch", "scratch", "settings", "rows", "actions"]
)


@compiled
def rest(feeders, seen):
    """Voltages at the start of a day: those with every battery and car idle.

    Args:
        feeders: See `Feeders`; its batch is overwritten.
        seen: Compact observations, shape (n, H, 6), overwritten; (0, H, 6) for none.
    """
    world, batch, scratch = feeders.world, feeders.batch, feeders.scratch
    size, desk = size_of(scratch.totals), scratch.desk
    for g in range(batch.houses.shape[0]):
        w = batch.houses[g]
        tell(size, batch.shared[g, 0], batch.even[g], desk)
        for block in range(w.size // (ROWS * LANES)):
            measure(block, w, batch.load[g, 0], desk)
            idle(block, w, desk)
        inject(size, world, w, scratch.block)
        run_power_flow(world, scratch, batch.out[g])
        see_voltage(size, world.house_node, w, batch.out[g])
        batch.episode[g, :] = 0.0
        _next(world, batch, scratch, g, 0, 0, True, seen.reshape(-1))


@inlined
def _next(world, batch, scratch, g, t, now, begin, seen):
    """Let the cars of a group come and go in period t, and the houses see it.

    At the end of the day the measurements ``now`` are still the last period's.
    """
    count, size, desk = len(world.house_node), size_of(scratch.totals), scratch.desk
    w = batch.houses[g]
    tell(size, batch.shared[g, now], batch.even[g], desk)
    if world.visits.shape[0] and t == now:
        plug_in(t, size, count, w, batch.home[g], batch.day[g], world.visits, begin)
    if seen.size > 0:
        for block in range(w.size // (ROWS * LANES)):
            measure(block, w, batch.load[g, now], desk)
            observe_compact(t, size, count, g * size, block, w, desk, scratch.seen, seen)


@compiled
def read_lanes(per_lane, size, flat, rows, out):
    """Read rows of all lanes in the order of feeders and houses.

    Args:
        per_lane: Numbers of a lane.
        size: Feeders in a group, G.
        flat: Shape (groups, blocks * per_lane * 64).
        rows: Which of them, shape (k,).
        out: Shape (k, n, H), overwritten.
    """
    for k in range(len(rows)):
        for h in range(out.shape[2]):
            n = h * size
            at = position((n // LANES * per_lane + rows[k]) * LANES + n % LANES)
            for i in range(out.shape[1]):
                out[k, i, h] = flat[i // size, at + i % size]


@compiled
def read_measurements(feeders, t, out):
    """What the houses measure in period t: load, PV, import and export price.

    Args:
        feeders: See `Feeders`.
        t: Period.
        out: Shape (4, n, H), kW and EUR/kWh, overwritten.
    """
    batch, desk = feeders.batch, feeders.scratch.desk
    size, count = size_of(feeders.scratch.totals), out.shape[2]
    for g in range(batch.houses.shape[0]):
        tell(size, batch.shared[g, t], batch.even[g], desk)
        for n in range(size * count):
            if n % LANES == 0:
                measure(n // LANES, batch.houses[g], batch.load[g, t], desk)
            h, i = n // size, g * size + n % size
            if i < out.shape[1]:
                for k, row in enumerate((LOAD, PV, BUY, SELL)):
                    out[k, i, h] = desk[row * LANES + n % LANES]


@compiled
def advance(feeders, t, seen):
    """Play one period on every feeder of a batch.

    Args:
        feeders: See `Feeders`; its batch is overwritten.
        t: Period.
        seen: Compact observations, shape (n, H, 6), overwritten; (0, H, 6) for none.

    Returns:
        -1, or the position of an action outside [-1, 1]; then nothing has happened.
    """
    flat = feeders.actions.reshape(-1)
    outside = 0
    for k in range(flat.shape[0]):
        outside += not abs(flat[k]) <= 1.0
    if outside > 0:
        for k in range(flat.shape[0]):
            if not abs(flat[k]) <= 1.0:
                return k
    world, batch, scratch = feeders.world, feeders.batch, feeders.scratch
    kind, with_pv, with_reactive, share, detail = feeders.settings
    count, size, desk = len(world.house_node), size_of(scratch.totals), scratch.desk
    totals, limits = with_lanes(scratch.totals), with_lanes(scratch.limits)
    last = t == batch.load.shape[1] - 1
    for g in range(batch.houses.shape[0]):
        w, begin = batch.houses[g], g * size
        tell(size, batch.shared[g, t], batch.even[g], desk)
        desk[SUMS * LANES :] = 0.0
        for block in range(w.size // (ROWS * LANES)):
            read_actions(size, count, begin, block, flat, feeders.rows, desk)
            measure(block, w, batch.load[g, t], desk)
            act(
                kind, t, last, with_pv, with_reactive, block, w, desk, detail, batch.outcomes[g]
            )  # fmt: skip
        inject(size, world, w, scratch.block)
        run_power_flow(world, scratch, batch.out[g])
        now = batch.period[g]
        account(world, size, desk, limits, totals, now)
        collect(now, batch.episode[g], t == 0)
        see_voltage(size, world.house_node, w, batch.out[g])
        if share >= 0:
            share_cost(world, share, size, count, w, scratch, batch.out[g], now)
            write_rewards(size, count, w, batch.reward[g].reshape(-1))
        _next(world, batch, scratch, g, t + 1, t if last else t + 1, False, seen.reshape(-1))
    return -1
