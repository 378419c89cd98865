"""Where the houses meet the grid: their powers go in, voltages and loadings come back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.compiled import compiled, inlined
from flexgym.envs.feeder.lanes import LANES, P_KW, Q_KVAR, V_PU, place, size_of
from flexgym.envs.grid import sweep
from flexgym.envs.grid.lanes import on_lanes
from flexgym.envs.grid.power_flow import MAX_ITERATIONS, TOLERANCE_PU
from flexgym.envs.grid.sweep import Tree, outputs_block, solve_block, start_block
from flexgym.envs.grid.tolerance import CLEAN_PU
from flexgym.envs.household.params import Floats

Ints = NDArray[np.int64]

HIGHEST, LOWEST, EXCESS, COUNT, LINE, TRAFO, OVERLOAD = range(7)
"""Rows of `Scratch.limits`."""


class World(NamedTuple):
    """What never changes, as the compiled functions read it.

    Attributes:
        tree: The grid.
        slack_pu: Voltage of the slack bus, pu.
        house_node: Node of each house, shape (H,).
        shares_node: Whether a house before it is at the same node, shape (H,).
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
    shares_node: NDArray[np.bool_]
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
        desk: Of one block of houses, flat; see `flexgym.envs.feeder.lanes`.
        seen: What a block of houses sees, shape (6 * 64,), float32.
    """

    block: Floats
    out: Floats
    totals: Floats
    limits: Floats
    desk: Floats
    seen: NDArray[np.float32]


@inlined
def with_lanes(array):
    """An array of a group with an axis of lanes even where there is one feeder."""
    return array.reshape((array.shape[0], array.shape[1], size_of(array)))


@on_lanes
def judge_bus(out, limits, node, low, high, zero, one):
    """Take a bus into the highest, lowest, sum and number of voltages outside the band."""
    v = out[node, sweep.V_PU]
    limits[0, HIGHEST] = v.maximum(limits[0, HIGHEST])
    limits[0, LOWEST] = -(-v).maximum(-limits[0, LOWEST])
    excess = (v - high).maximum(low - v).maximum(zero)
    limits[0, EXCESS] = limits[0, EXCESS] + excess
    limits[0, COUNT] = limits[0, COUNT] + one.where_above(excess, CLEAN_PU, zero)


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
    flat, lanes = limits.reshape(-1), size_of(limits)
    flat[:] = 0.0
    flat[LOWEST * lanes : (LOWEST + 1) * lanes] = np.inf
    for node in world.bus_node:
        judge_bus(out, limits, node, world.band[0], world.band[1], 0.0, 1.0)
    for e in range(len(world.rating_kva)):
        if world.is_line[e]:
            judge_line(out, limits, e, world.rating_kva[e], 0.0)
        else:
            judge_trafo(out, limits, e, world.rating_kva[e], 0.0)


@compiled
def run_power_flow(world, scratch, out):
    """Solve the injected powers, fill in the outputs and compare them with the limits.

    A feeder without a solution has no voltage and no current: 0; its totals are NaN.
    """
    start_block(scratch.block, world.slack_pu)
    failed = solve_block(world.tree, scratch.block, TOLERANCE_PU, MAX_ITERATIONS)
    outputs_block(world.tree, scratch.block, out, scratch.totals, failed)
    judge(world, out, scratch.limits)
    if failed > 0:
        flat = out.reshape(-1)
        for k in range(flat.size):
            flat[k] = flat[k] if np.isfinite(flat[k]) else 0.0


@on_lanes
def _set_power(block, k, w, at):
    block[k, sweep.P_KW] = w[at, P_KW * LANES]
    block[k, sweep.Q_KVAR] = w[at, Q_KVAR * LANES]


@on_lanes
def _add_power(block, k, w, at):
    block[k, sweep.P_KW] = block[k, sweep.P_KW] + w[at, P_KW * LANES]
    block[k, sweep.Q_KVAR] = block[k, sweep.Q_KVAR] + w[at, Q_KVAR * LANES]


@inlined
def inject(size, world, w, block):
    """Write the powers of a group's houses, at their nodes, into a block of the power flow.

    Nobody draws power at the other nodes of the block, ever.
    """
    for h in range(len(world.house_node)):
        if world.shares_node[h]:
            _add_power(block, world.house_node[h], w, place(h, size))
        else:
            _set_power(block, world.house_node[h], w, place(h, size))


@on_lanes
def _see_voltage(out, k, w, at):
    w[at, V_PU * LANES] = out[k, sweep.V_PU]


@inlined
def see_voltage(size, nodes, w, out):
    """Let the houses of a group see the voltage of their nodes."""
    for h in range(len(nodes)):
        _see_voltage(out, nodes[h], w, place(h, size))
