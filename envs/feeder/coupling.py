"""Where the houses meet the grid: their powers go in, voltages and loadings come back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.compiled import compiled
from flexgym.envs.feeder.lanes import LANES, P_KW, Q_KVAR, V_PU, place
from flexgym.envs.grid import sweep
from flexgym.envs.grid.lanes import on_lanes
from flexgym.envs.grid.power_flow import MAX_ITERATIONS, TOLERANCE_PU
from flexgym.envs.grid.sweep import Tree, outputs_block, solve_block, start_block
from flexgym.envs.household.params import Floats

Ints = NDArray[np.int64]

HIGHEST, LOWEST, EXCESS, COUNT, LINE, TRAFO, OVERLOAD = range(7)
"""Rows of `Scratch.limits`."""
ROUNDING = 1e-9
"""What violates a limit exceeds it by more than this share."""


class World(NamedTuple):
    """What never changes, as the compiled functions read it.

    Attributes:
        tree: The grid.
        slack_pu: Voltage of the slack bus, pu.
        house_node: Node of each house, shape (H,).
        bus_node: Nodes whose voltage counts: buses other than the slack, shape (b,).
        rating_kva: Rating of each element of the tree, shape (elements,).
        is_line: Whether it is a line, else a transformer, shape (elements,).
        band: Lowest and highest voltage, shape (2,), pu.
        costs: Price of losses (EUR/kWh), voltages (EUR/pu h) and overload (EUR/kVAh), shape (3,).
        year: Load profiles, flat, each followed by its first day again.
        sun: PV of the year as a share of its peak.
        buy: Import price of the year, EUR/kWh.
        sell: Export price of the year, EUR/kWh.
        weather: Weather factor of each Markov state.
        price: Price factor of each Markov state.
        visits: Visits of the cars, shape (pool, 365, most a day, 5).
    """

    tree: Tree
    slack_pu: float
    house_node: Ints
    bus_node: Ints
    rating_kva: Floats
    is_line: NDArray[np.bool_]
    band: Floats
    costs: Floats
    year: Floats
    sun: Floats
    buy: Floats
    sell: Floats
    weather: Floats
    price: Floats
    visits: Floats


class Scratch(NamedTuple):
    """Room for one group: see `flexgym.envs.grid.sweep.new_block`.

    Attributes:
        block: Cases of the power flow.
        out: Voltages and loadings.
        totals: Losses and slack power.
        limits: How voltages and loadings stand to their limits, shape (1, 7[, G]), see `judge`.
        outcomes: What happens in a block of houses, shape (outcomes * 64,).
        sums: Sums over the blocks, shape (outcomes * 64,).
    """

    block: Floats
    out: Floats
    totals: Floats
    limits: Floats
    outcomes: Floats
    sums: Floats


@compiled
def views(scratch):
    """Block, outputs, totals and limits with an axis of lanes even where there is one feeder."""
    return (
        _with_lanes(scratch.block),
        _with_lanes(scratch.out),
        _with_lanes(scratch.totals),
        _with_lanes(scratch.limits),
    )


@compiled
def _with_lanes(array):
    lanes = array.size // (array.shape[0] * array.shape[1])
    return array.reshape((array.shape[0], array.shape[1], lanes))


@on_lanes
def judge_bus(out, limits, node, low, high, zero, one):
    """Take a bus into the highest, lowest, sum and number of voltages outside the band."""
    v = out[node, sweep.V_PU]
    limits[0, HIGHEST] = v.maximum(limits[0, HIGHEST])
    limits[0, LOWEST] = -(-v).maximum(-limits[0, LOWEST])
    excess = (v - high).maximum(low - v).maximum(zero)
    limits[0, EXCESS] = limits[0, EXCESS] + excess
    limits[0, COUNT] = limits[0, COUNT] + one.where_above(excess, ROUNDING, zero)


@on_lanes
def judge_line(out, limits, e, rating, zero):
    """Take a line into the highest loading and the power above ratings."""
    _judge_element(out, limits, e, LINE, rating, zero)


@on_lanes
def judge_trafo(out, limits, e, rating, zero):
    """Take a transformer into the highest loading and the power above ratings."""
    _judge_element(out, limits, e, TRAFO, rating, zero)


def _judge_element(out, limits, e, row, rating, zero):
    percent = out[e, sweep.LOADING_PERCENT]
    limits[0, row] = percent.maximum(limits[0, row])
    above = (percent * 0.01 - 1.0).maximum(zero)
    limits[0, OVERLOAD] = limits[0, OVERLOAD] + above * rating


@compiled
def judge(world, out, limits):
    """Compare voltages and loadings with their limits.

    Args:
        world: See `World`.
        out: Outputs of the power flow.
        limits: Overwritten: highest and lowest voltage, sum and number of those outside the
            band, highest loading of lines and of transformers (%), power above ratings (kVA).
    """
    flat = limits.reshape(-1)
    flat[:] = 0.0
    lanes = len(flat) // limits.shape[1]
    flat[LOWEST * lanes : (LOWEST + 1) * lanes] = np.inf
    for node in world.bus_node:
        judge_bus(out, limits, node, world.band[0], world.band[1], 0.0, 1.0)
    for e in range(len(world.rating_kva)):
        if world.is_line[e]:
            judge_line(out, limits, e, world.rating_kva[e], 0.0)
        else:
            judge_trafo(out, limits, e, world.rating_kva[e], 0.0)


@compiled
def run_power_flow(world, scratch):
    """Solve the injected powers, fill in the outputs and compare them with the limits."""
    start_block(scratch.block, world.slack_pu)
    failed = solve_block(world.tree, scratch.block, TOLERANCE_PU, MAX_ITERATIONS)
    outputs_block(world.tree, scratch.block, scratch.out, scratch.totals, failed)
    judge(world, scratch.out, scratch.limits)


@compiled
def inject(size, count, house_node, w, block):
    """Write the houses' powers into a block of the power flow, shape (nodes + 1, 6, G)."""
    block[: block.shape[0] - 1, sweep.P_KW : sweep.Q_KVAR + 1] = 0.0
    for h in range(count):
        node = house_node[h]
        at = place(h, size)
        for i in range(size):
            block[node, sweep.P_KW, i] += w[at + P_KW * LANES + i]
        for i in range(size):
            block[node, sweep.Q_KVAR, i] += w[at + Q_KVAR * LANES + i]


@compiled
def keep(world, size, count, w, out, totals, v_pu, loading):
    """Keep voltages and loadings of a group; the houses see the voltage of their bus.

    A feeder without a solution has none: 0.
    """
    failed = False
    for i in range(size):
        failed = failed or not np.isfinite(totals[0, sweep.LOSSES_KW, i])
    for node in range(v_pu.shape[0]):
        for i in range(size):
            v_pu[node, i] = out[node, sweep.V_PU, i]
    for e in range(loading.shape[0]):
        for i in range(size):
            loading[e, i] = out[e, sweep.LOADING_PERCENT, i]
    if failed:
        _blank(v_pu)
        _blank(loading)
    for h in range(count):
        at, node = place(h, size), world.house_node[h]
        for i in range(size):
            w[at + V_PU * LANES + i] = v_pu[node, i]


@compiled
def _blank(values):
    for k in range(values.shape[0]):
        for i in range(values.shape[1]):
            if not np.isfinite(values[k, i]):
                values[k, i] = 0.0
