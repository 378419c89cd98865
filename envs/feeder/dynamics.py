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
from flexgym.envs.feeder.lanes import COST, GRID_EUR, LANES, place, position, size_of
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
        load: Consumption of each house, shape (groups, T, H * G), kW.
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
    load: Floats
    episode: Floats
    period: Floats
    reward: Floats
    out: Floats


@inlined
def read_actions(size, count, begin, actions, columns, w):
    """Write the actions of feeders from ``begin`` on, flat, into their lanes."""
    a = len(columns)
    used = min(size, actions.size // (count * a) - begin)
    for k in range(a):
        for h in range(count):
            at, first = place(h, size) + columns[k] * LANES, (begin * count + h) * a + k
            for i in range(used):
                w[position(at) + i] = actions[position(first + i * count * a)]


@inlined
def write_rewards(size, count, w, reward):
    """Write minus each house's own cost and share of the grid's, flat, EUR."""
    for h in range(count if reward.size > 0 else 0):
        for i in range(size):
            at = place(h, size) + i
            cost = w[at + COST * LANES] + w[at + GRID_EUR * LANES]
            reward[position(i * count + h)] = -cost


@inlined
def sense(world, batch, scratch, g, t, begin):
    """Let the houses of a group measure period t, and their cars come and go."""
    count, size = len(world.house_node), size_of(scratch.totals)
    w = batch.houses[g]
    tell(size, batch.shared[g, t], scratch.now)
    measure(size, count, w, scratch.now, batch.load[g, t])
    if world.visits.shape[0]:
        plug_in(t, size, count, w, batch.home[g], batch.day[g], world.visits, begin)


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
        columns: Row of each of a house's actions, shape (a,).
        actions: What is played next, shape (n, H * a), in [-1, 1].
    """

    def __new__(cls, world, batch, scratch, settings, columns, actions):
        """Make the reference."""
        return structref.StructRefProxy.__new__(
            cls, world, batch, scratch, settings, columns, actions
        )


structref.define_proxy(
    Feeders, FeedersType, ["world", "batch", "scratch", "settings", "columns", "actions"]
)


@compiled
def rest(feeders, seen):
    """Voltages at the start of a day: those with every battery and car idle.

    Args:
        feeders: See `Feeders`; its batch is overwritten.
        seen: Compact observations, shape (n, H, 6), overwritten; (0, H, 6) for none.
    """
    world, batch, scratch = feeders.world, feeders.batch, feeders.scratch
    count, size = len(world.house_node), size_of(scratch.totals)
    for g in range(batch.houses.shape[0]):
        w = batch.houses[g]
        sense(world, batch, scratch, g, 0, True)
        idle(size, count, w)
        inject(size, world.house_node, w, scratch.block)
        run_power_flow(world, scratch, batch.out[g])
        see_voltage(size, world.house_node, w, batch.out[g])
        batch.episode[g, :] = 0.0
        observe_compact(0, size, count, g * size, w, scratch.seen, seen.reshape(-1))


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
    count, size = len(world.house_node), size_of(scratch.totals)
    totals, limits = with_lanes(scratch.totals), with_lanes(scratch.limits)
    last = t == batch.load.shape[1] - 1
    for g in range(batch.houses.shape[0]):
        w, begin = batch.houses[g], g * size
        read_actions(size, count, begin, flat, feeders.columns, w)
        act(
            kind, t, last, with_pv, with_reactive, w, scratch.powers, scratch.sums, detail,
            batch.outcomes[g],
        )  # fmt: skip
        inject(size, world.house_node, w, scratch.block)
        run_power_flow(world, scratch, batch.out[g])
        now = batch.period[g]
        account(world, size, scratch.sums, limits, totals, now)
        collect(now, batch.episode[g], t == 0)
        see_voltage(size, world.house_node, w, batch.out[g])
        if share >= 0:
            share_cost(world, share, size, count, w, scratch, batch.out[g], now)
        if not last:
            sense(world, batch, scratch, g, t + 1, False)
        observe_compact(t + 1, size, count, begin, w, scratch.seen, seen.reshape(-1))
        write_rewards(size, count, w, batch.reward[g].reshape(-1))
    return -1
