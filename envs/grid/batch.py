"""Batches of powers through the blocks of the sweep: into a block, solve, out of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.compiled import compiled
from flexgym.envs.grid.lanes import LANES
from flexgym.envs.grid.sweep import (
    CONVERGED,
    ITERATIONS,
    LOADING_PERCENT,
    LOSSES_KW,
    P_KW,
    Q_KVAR,
    SLACK_KVAR,
    SLACK_KW,
    U_IM,
    U_RE,
    V_PU,
    Tree,
    outputs_block,
    solve_block,
    start_block,
)


class Columns(NamedTuple):
    """Where the numbers of buses, lines and transformers lie in a block; see `Network`.

    ``bus_adds`` says of each bus whether another one before it shares its node.
    """

    bus_node: NDArray[np.int64]
    bus_adds: NDArray[np.bool_]
    line_element: NDArray[np.int64]
    trafo_element: NDArray[np.int64]


@compiled
def _load(columns, p_kw, q_kvar, first, block):
    """Write the powers of ``LANES`` cases into a block."""
    for c in range(columns.bus_node.shape[0]):
        k = columns.bus_node[c]
        if columns.bus_adds[c]:
            for lane in range(LANES):
                block[k, P_KW, lane] += p_kw[first + lane, c]
                block[k, Q_KVAR, lane] += q_kvar[first + lane, c]
        else:
            # Two loops, each of which the compiler vectorises.
            for lane in range(LANES):
                block[k, P_KW, lane] = p_kw[first + lane, c]
            for lane in range(LANES):
                block[k, Q_KVAR, lane] = q_kvar[first + lane, c]


@compiled
def _store(nodes, out, row, first, values):
    """Copy one row of the outputs of a block to the columns of a result."""
    for c in range(nodes.shape[0]):
        k = nodes[c]
        for lane in range(LANES):
            values[first + lane, c] = out[k, row, lane]


@compiled
def _store_angles(columns, turn_degree, block, first, angle_degree):
    """Write the angles of the voltages, degrees in (-180, 180]."""
    last = block.shape[0] - 1
    for lane in range(LANES):
        found = block[last, CONVERGED, lane] > 0.0
        for c in range(columns.bus_node.shape[0]):
            k = columns.bus_node[c]
            turned = math.degrees(math.atan2(block[k, U_IM, lane], block[k, U_RE, lane]))
            turned += turn_degree[c]
            angle = 180.0 - (180.0 - turned) % 360.0
            angle_degree[first + lane, c] = angle if found else np.nan


@compiled
def solve_batch(
    tree, columns, slack_pu, turn_degree, scratch, limits, p_kw, q_kvar,
    v_pu, line, trafo, losses_kw, slack_kw, slack_kvar, converged, iterations, angle_degree,
):  # fmt: skip
    """Solve a batch of at least ``LANES`` cases, block by block.

    Args:
        tree: See `Tree`.
        columns: See `Columns`.
        slack_pu: Voltage of the slack.
        turn_degree: Angle by which each bus is turned against the scaled voltage, shape (bus,).
        scratch: As from `new_block`.
        limits: Tolerance and most iterations, see `solve_block`.
        p_kw: Shape (batch, bus).
        q_kvar: Shape (batch, bus).
        v_pu: Overwritten, like all that follow: the fields of `PowerFlowResult`.
        line: Loading.
        trafo: Loading.
        losses_kw: Shape (batch,).
        slack_kw: Shape (batch,).
        slack_kvar: Shape (batch,).
        converged: Shape (batch,).
        iterations: Shape (batch,).
        angle_degree: Without rows where not asked for.

    Returns:
        Whether every power is a finite number.
    """
    block, out, totals = scratch
    last, batch, finite = block.shape[0] - 1, p_kw.shape[0], True
    for start in range(0, batch, LANES):
        # The last block is filled up with cases of the one before: each has one result.
        first = min(start, batch - LANES)
        _load(columns, p_kw, q_kvar, first, block)
        start_block(block, slack_pu)
        failed = solve_block(tree, block, limits[0], limits[1])
        outputs_block(tree, block, out, totals, failed)
        _store(columns.bus_node, out, V_PU, first, v_pu)
        _store(columns.line_element, out, LOADING_PERCENT, first, line)
        _store(columns.trafo_element, out, LOADING_PERCENT, first, trafo)
        if angle_degree.shape[0] > 0:
            _store_angles(columns, turn_degree, block, first, angle_degree)
        for lane in range(LANES):
            row = first + lane
            losses_kw[row] = totals[0, LOSSES_KW, lane]
            slack_kw[row] = totals[0, SLACK_KW, lane]
            slack_kvar[row] = totals[0, SLACK_KVAR, lane]
            converged[row] = block[last, CONVERGED, lane] > 0.0
            iterations[row] = int(block[last, ITERATIONS, lane])
            # No solution has a power that is no number, so only the others need a look.
            if not (math.isfinite(slack_kw[row]) and math.isfinite(slack_kvar[row])):
                for c in range(p_kw.shape[1]):
                    known = math.isfinite(p_kw[row, c]) and math.isfinite(q_kvar[row, c])
                    finite = finite and known
    return finite


@compiled
def solve_single(
    parent, branch, element_node, element, bus_node, line_element, trafo_element,
    turn_degree, block, out, totals, slack_pu, tolerance_pu, max_iterations,
    p_kw, q_kvar, v_pu, line, trafo, angle,
):  # fmt: skip
    """One case, shape (bus,): the scalars of `PowerFlowResult`, and whether all is finite.

    Its tuples come as their arrays, because handing over tuples takes as long as solving.
    """
    tree = Tree(parent, branch, element_node, element)
    last, finite = block.shape[0] - 1, True
    for k in range(last):
        block[k, P_KW] = 0.0
        block[k, Q_KVAR] = 0.0
    for c in range(p_kw.shape[0]):
        block[bus_node[c], P_KW] += p_kw[c]
        block[bus_node[c], Q_KVAR] += q_kvar[c]
    start_block(block, slack_pu)
    failed = solve_block(tree, block, tolerance_pu, max_iterations)
    outputs_block(tree, block, out, totals, failed)
    for c in range(v_pu.shape[0]):
        v_pu[c] = out[bus_node[c], V_PU]
    for c in range(line.shape[0]):
        line[c] = out[line_element[c], LOADING_PERCENT]
    for c in range(trafo.shape[0]):
        trafo[c] = out[trafo_element[c], LOADING_PERCENT]
    for c in range(angle.shape[0]):
        k = bus_node[c]
        turned = math.degrees(math.atan2(block[k, U_IM], block[k, U_RE])) + turn_degree[c]
        angle[c] = 180.0 - (180.0 - turned) % 360.0 if failed == 0 else np.nan
    slack_kw, slack_kvar = totals[0, SLACK_KW], totals[0, SLACK_KVAR]
    if not (math.isfinite(slack_kw) and math.isfinite(slack_kvar)):
        for c in range(p_kw.shape[0]):
            finite = finite and math.isfinite(p_kw[c]) and math.isfinite(q_kvar[c])
    iterations = int(block[last, ITERATIONS])
    return totals[0, LOSSES_KW], slack_kw, slack_kvar, failed == 0, iterations, finite
