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

from flexgym.envs.compiled import compiled
from flexgym.envs.feeder.accounts import account, collect
from flexgym.envs.feeder.coupling import inject, keep, run_power_flow, views
from flexgym.envs.feeder.houses import act, idle, measure, plug_in
from flexgym.envs.feeder.lanes import COST, GRID_EUR, LANES, ROWS, place
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
        v_pu: Voltage of each node, shape (groups, nodes, G).
        loading: Loading of each element, shape (groups, elements, G), %.
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
    v_pu: Floats
    loading: Floats


@compiled
def read_actions(size, count, begin, actions, columns, w):
    """Write the actions of feeders from ``begin`` on into their lanes."""
    a = len(columns)
    for h in range(count):
        at = place(h, size)
        for i in range(min(size, actions.shape[0] - begin)):
            for k in range(a):
                w[at + columns[k] * LANES + i] = actions[begin + i, h * a + k]


@compiled
def sense(world, batch, g, t, begin):
    """Let the houses of a group measure period t, and their cars come and go."""
    count, size = len(world.house_node), batch.first.shape[1]
    w = batch.houses[g]
    measure(size, count, w, batch.shared[g, t], batch.load[g, t])
    if world.visits.shape[0]:
        plug_in(t, size, count, w, batch.home[g], batch.day[g], world.visits, begin)


@compiled
def write_rewards(size, count, begin, w, reward):
    """Write minus each house's own cost and share of the grid's, shape (n, H), EUR."""
    for h in range(count):
        at = place(h, size)
        for i in range(min(size, reward.shape[0] - begin)):
            own = w[at + COST * LANES + i]
            reward[begin + i, h] = -(own + w[at + GRID_EUR * LANES + i])


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
    """

    def __new__(cls, world, batch, scratch, settings, columns):
        """Make the reference."""
        return structref.StructRefProxy.__new__(cls, world, batch, scratch, settings, columns)


structref.define_proxy(Feeders, FeedersType, ["world", "batch", "scratch", "settings", "columns"])


@compiled
def rest(feeders, seen):
    """Voltages at the start of a day: those with every battery and car idle.

    Args:
        feeders: See `Feeders`; its batch is overwritten.
        seen: Compact observations, shape (n, H, 6), overwritten; (0, H, 6) for none.
    """
    world, batch, scratch = feeders.world, feeders.batch, feeders.scratch
    count, size = len(world.house_node), batch.first.shape[1]
    block, out, totals, _ = views(scratch)
    for g in range(batch.first.shape[0]):
        sense(world, batch, g, 0, True)
        w = batch.houses[g]
        idle(size, count, w)
        inject(size, count, world.house_node, w, block)
        run_power_flow(world, scratch)
        keep(world, size, count, w, out, totals, batch.v_pu[g], batch.loading[g])
        batch.episode[g, :] = 0.0
        observe_compact(0, size, count, g * size, w, seen)


@compiled
def advance(feeders, t, last, actions, period, seen, reward):
    """Play one period on every feeder of a batch.

    Args:
        feeders: See `Feeders`; its batch is overwritten.
        t: Period.
        last: Whether it is the day's last.
        actions: Shape (n, H * a), in [-1, 1].
        period: What happens, shape (groups * G, names), overwritten; columns `FEEDER_NAMES`.
        seen: Compact observations, shape (n, H, 6), overwritten; (0, H, 6) for none.
        reward: Minus each house's own cost and share of the grid's, shape (n, H),
            overwritten; (0, H) for none.

    Returns:
        -1, or the position of an action outside [-1, 1]; then nothing has happened.
    """
    flat = actions.reshape(-1)
    inside = True
    for k in range(flat.shape[0]):
        inside &= abs(flat[k]) <= 1.0
    if not inside:
        for k in range(flat.shape[0]):
            if not abs(flat[k]) <= 1.0:
                return k
    world, batch, scratch = feeders.world, feeders.batch, feeders.scratch
    kind, with_pv, with_reactive, share, detail = feeders.settings
    count = len(world.house_node)
    size = batch.first.shape[1]
    blocks = batch.houses.shape[1] // (ROWS * LANES)
    block, out, totals, limits = views(scratch)
    for g in range(batch.first.shape[0]):
        w = batch.houses[g]
        read_actions(size, count, g * size, actions, feeders.columns, w)
        act(
            kind, t, last, with_pv, with_reactive, blocks, w, scratch.outcomes, scratch.sums,
            detail, batch.outcomes[g],
        )  # fmt: skip
        inject(size, count, world.house_node, w, block)
        run_power_flow(world, scratch)
        now = period[g * size : (g + 1) * size]
        account(world, size, scratch.sums, limits, totals, now)
        collect(now, batch.episode[g], t == 0)
        keep(world, size, count, w, out, totals, batch.v_pu[g], batch.loading[g])
        if share >= 0:
            share_cost(world, share, size, count, w, scratch, now)
        if not last:
            sense(world, batch, g, t + 1, False)
        observe_compact(t + 1, size, count, g * size, w, seen)
        write_rewards(size, count, g * size, w, reward)
    return -1
