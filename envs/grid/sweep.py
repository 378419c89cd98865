"""Power flow of a radial network in blocks of cases: the compiled kernel.

Backward/forward sweep (Shirmohammadi et al., IEEE Trans. Power Syst. 3(2):753, 1988) on a tree
without transformer ratios (`Network` absorbs them), with everything per unit on a base of
1 kVA, so that powers in kW are per unit powers:

    I_k = conj(S_k / u_k) + Y_k u_k        current drawn at node k
    J_k = I_k + sum of J over children     current through the branch from the parent to k
    u_k = u_parent - z_k J_k

A block is one array, shape (nodes + 1, ROWS, LANES): for every node its rows of numbers, one
number a lane; behind the nodes the rows that a lane has once. A single case drops the last
axis. Whoever calls writes P_KW, Q_KVAR and the voltages to start from.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.compiled import compiled
from flexgym.envs.grid.lanes import LANES, Rows, Vector, on_lanes
from flexgym.envs.household.params import Floats

P_KW, Q_KVAR, U_RE, U_IM, J_RE, J_IM = range(6)
"""Rows of a node: power drawn, scaled voltage, current of the branch from its parent."""
ROWS = 6
CHANGE, CHANGE_BEFORE, RATE, ACTIVE, CONVERGED, ITERATIONS = range(6)
"""Rows of a lane, behind the last node."""

V_PU, LOADING_PERCENT = 0, 1
"""Rows of the outputs: voltage of a node, loading of an element."""
LOSSES_KW, SLACK_KW, SLACK_KVAR = 0, 1, 2
"""Rows of the totals."""

R, X, G, B, RATIO = range(5)
"""Columns of `Tree.branch`."""
SHARE_RE, SHARE_IM, G_PARENT, B_PARENT, G_CHILD, B_CHILD, W_PARENT, W_CHILD = range(8)
"""Columns of `Tree.element`."""

_LEAST_SQUARE_PU = 0.01
"""Square of the voltage, pu, below which a case has collapsed."""
_LARGEST_CHANGE_PU = 10.0
"""Change of a voltage in one iteration, pu, that no case survives."""
_ROUNDING_PU = 1e-15
_LEAST_RATE = 0.01
"""A faster convergence is not believed."""
_FIRST_RATE = 0.999
_FIRST_LOOK = 16
"""Iteration of the first look for hopeless lanes, and about the gap to the next. Gaps are even,
since errors can take turns, and no two are equal, since a hopeless lane can go in circles."""


class Tree(NamedTuple):
    """A radial network as the compiled functions read it, per unit on a base of 1 kVA.

    Attributes:
        parent: Shape (nodes,); parent[k] < k, node 0 is the slack (parent 0).
        branch: Shape (nodes, 5): series resistance and reactance of the branch from the parent,
            shunt conductance and susceptance of the node (shunts, line capacitance, iron),
            and the voltage in pu per scaled voltage.
        element_node: Shape (elements,); the node at whose branch the line or transformer lies.
        element: Shape (elements, 8): its share of the branch's current (complex), shunts at the
            parent's and the child's end, and loading in % per unit of current at either end.
    """

    parent: NDArray[np.int64]
    branch: Floats
    element_node: NDArray[np.int64]
    element: Floats


def new_block(tree: Tree, *, single: bool = False) -> tuple[Floats, Floats, Floats]:
    """Arrays for one block: block, outputs and totals, of zeros.

    Args:
        tree: The network.
        single: For one case instead of ``LANES``: without the last axis.

    Returns:
        block (nodes + 1, 6, LANES), outputs (max(nodes, elements), 2, LANES) and totals
        (1, 3, LANES). They can be used again for any number of blocks.
    """
    lanes = () if single else (LANES,)
    nodes, elements = len(tree.parent), len(tree.element_node)
    return (
        np.zeros((nodes + 1, ROWS, *lanes)),
        np.zeros((max(nodes, elements), 2, *lanes)),
        np.zeros((1, 3, *lanes)),
    )


def _draw(block: Rows, k: int, u_re: Vector, u_im: Vector, g: Vector, b: Vector) -> None:
    """Write the current that node k draws at a voltage to its J."""
    inverse = 1.0 / u_re.fma(u_re, u_im * u_im)
    real = block[k, P_KW].fma(inverse, g)
    imaginary = (-block[k, Q_KVAR]).fma(inverse, b)
    block[k, J_RE] = u_re.fma(real, -(u_im * imaginary))
    block[k, J_IM] = u_re.fma(imaginary, u_im * real)


@on_lanes
def draw(block, k, g, b):
    """Write the current that node k draws to its J."""
    _draw(block, k, block[k, U_RE], block[k, U_IM], g, b)


@on_lanes
def accumulate(block, k, parent):
    """Add the current of the branch to k to its parent's."""
    block[parent, J_RE] = block[parent, J_RE] + block[k, J_RE]
    block[parent, J_IM] = block[parent, J_IM] + block[k, J_IM]


def _descend(block, k, parent, last, r, x, g, b, frozen) -> None:
    old_re, old_im = block[k, U_RE], block[k, U_IM]
    j_re, j_im = block[k, J_RE], block[k, J_IM]
    u_re = x.fma(j_im, (-r).fma(j_re, block[parent, U_RE]))
    u_im = (-x).fma(j_re, (-r).fma(j_im, block[parent, U_IM]))
    if frozen:
        active = block[last, ACTIVE]
        u_re = u_re.where_above(active, 0.5, old_re)
        u_im = u_im.where_above(active, 0.5, old_im)
    d_re, d_im = u_re - old_re, u_im - old_im
    block[last, CHANGE] = d_re.fma(d_re, d_im * d_im).maximum(block[last, CHANGE])
    block[k, U_RE], block[k, U_IM] = u_re, u_im
    # The next iteration's current at once, while the voltage is in the registers.
    _draw(block, k, u_re, u_im, g, b)


@on_lanes
def descend(block, k, parent, last, r, x, g, b):
    """New voltage of k, the largest squared change so far, and the current k then draws."""
    _descend(block, k, parent, last, r, x, g, b, frozen=False)


@on_lanes
def descend_active(block, k, parent, last, r, x, g, b):
    """The same where lanes that are done keep their voltage."""
    _descend(block, k, parent, last, r, x, g, b, frozen=True)


@on_lanes
def mark_collapse(block, k, last):
    """Raise the lane's CHANGE to 1 where the voltage of k is too low or no number."""
    u_re, u_im = block[k, U_RE], block[k, U_IM]
    change = block[last, CHANGE]
    square = u_re.fma(u_re, u_im * u_im)
    block[last, CHANGE] = change.where_above(square, _LEAST_SQUARE_PU, change * 0.0 + 1.0)


@on_lanes
def clear_change(block, last, zero):
    """Begin a new search for the largest change of a lane."""
    block[last, CHANGE] = zero


@on_lanes
def begin(block, last, zero, one):
    """Set the rows of the lanes before the first iteration."""
    block[last, ACTIVE] = one
    block[last, CONVERGED] = zero
    block[last, ITERATIONS] = zero
    # The first change counts as if it was slow, for it says nothing about the rate.
    block[last, RATE] = one * _FIRST_RATE
    block[last, CHANGE_BEFORE] = one * _LARGEST_CHANGE_PU


@on_lanes
def set_voltage(block, k, re, im):
    """Set the scaled voltage of node k in every lane."""
    block[k, U_RE], block[k, U_IM] = re, im


@compiled
def start_block(block, slack_pu):
    """Set every voltage of a block to the slack's, pu: a flat start."""
    for k in range(block.shape[0] - 1):
        set_voltage(block, k, slack_pu, 0.0)


@compiled
def _sweep_once(tree, block, all_active):
    """One iteration: sum up the currents drawn, take new voltages, draw again."""
    nodes, last = tree.parent.shape[0], block.shape[0] - 1
    branch = tree.branch
    for k in range(nodes - 1, 0, -1):
        accumulate(block, k, tree.parent[k])
    clear_change(block, last, 0.0)
    draw(block, 0, branch[0, G], branch[0, B])
    for k in range(1, nodes):
        r, x, g, b = branch[k, R], branch[k, X], branch[k, G], branch[k, B]
        if all_active:
            descend(block, k, tree.parent[k], last, r, x, g, b)
        else:
            descend_active(block, k, tree.parent[k], last, r, x, g, b)


@on_lanes
def judge(block, last, tolerance_pu, one):
    """Decide for every active lane whether it is done.

    An iteration changes the voltages by ``change``, ``rate`` times as much as the one before;
    the sum of all changes to come is then ``change * rate / (1 - rate)``, also near collapse,
    where a small change alone says little. Two kinds of error can take turns, so the slower of
    the last two rates counts; before there are two, `begin` has set cautious ones.
    """
    change = block[last, CHANGE].sqrt()
    rate = (change / block[last, CHANGE_BEFORE]).maximum(one * _LEAST_RATE)
    slower = rate.maximum(block[last, RATE])
    block[last, CHANGE_BEFORE], block[last, RATE] = change, rate
    zero = one - one
    done = one.where_above(tolerance_pu * (one - slower) - change * slower, 0.0, zero)
    done = one.where_above(-change, -_ROUNDING_PU, done)
    alive = one.where_above(-change, -_LARGEST_CHANGE_PU, zero)
    active = block[last, ACTIVE]
    block[last, ITERATIONS] = block[last, ITERATIONS] + active
    block[last, CONVERGED] = one.where_above(active * done, 0.5, block[last, CONVERGED])
    block[last, ACTIVE] = active * (one - done) * alive


@compiled
def count(lanes, row):
    """Lanes whose number in a row is not 0."""
    many = 0
    for lane in range(lanes.shape[1]):
        many += lanes[row, lane] != 0.0
    return many


@compiled
def _drop_collapsed(block, lanes):
    """Take lanes with a collapsed voltage out; how many active ones are left."""
    last = block.shape[0] - 1
    clear_change(block, last, 0.0)
    for k in range(last):
        mark_collapse(block, k, last)
    for lane in range(lanes.shape[1]):
        if lanes[CHANGE, lane] > 0.0:
            lanes[ACTIVE, lane] = 0.0
            lanes[CONVERGED, lane] = 0.0
    return count(lanes, ACTIVE)


@compiled
def _give_up(block, lanes):
    """Take lanes out that will not converge; how many active ones are left.

    Besides collapsed voltages these are lanes that no longer come closer: beyond the largest
    possible load, changes shrink at first, as if near a solution, and then grow and wander.
    The change of the last look is kept, negative, where CONVERGED will stand in the end.
    """
    for lane in range(lanes.shape[1]):
        if lanes[ACTIVE, lane] > 0.0:
            change, at_last_look = lanes[CHANGE_BEFORE, lane], -lanes[CONVERGED, lane]
            if at_last_look > 0.0 and change >= at_last_look:
                lanes[ACTIVE, lane] = 0.0
            lanes[CONVERGED, lane] = -change
    return _drop_collapsed(block, lanes)


@compiled
def solve_block(tree, block, tolerance_pu, max_iterations):
    """Solve the cases of a block, each with the result it has alone.

    Args:
        tree: The network, see `Tree`.
        block: Shape (nodes + 1, 6, LANES) or (nodes + 1, 6), see `new_block`. Read: P_KW and
            Q_KVAR of every node, and the voltages to start from: those of `start_block`, or a
            former solution (node 0's is the slack's and stays). Written: voltages
            U_RE + j U_IM, currents J, and in the row behind the nodes CONVERGED (1.0 or 0.0)
            and ITERATIONS of every lane.
        tolerance_pu: Largest error of a voltage, pu; see `judge`.
        max_iterations: Where a case that has not converged is given up.

    Returns:
        How many lanes have not converged.
    """
    nodes, last = tree.parent.shape[0], block.shape[0] - 1
    lanes = block[last].reshape((ROWS, block.size // (ROWS * (last + 1))))
    for k in range(nodes):
        draw(block, k, tree.branch[k, G], tree.branch[k, B])
    begin(block, last, 0.0, 1.0)
    left = lanes.shape[1]
    iteration, look, gap = 0, _FIRST_LOOK, _FIRST_LOOK
    while left > 0 and iteration < max_iterations:
        iteration += 1
        _sweep_once(tree, block, left == lanes.shape[1])
        judge(block, last, tolerance_pu, 1.0)
        left = count(lanes, ACTIVE)
        if left > 0 and iteration == look:
            left = _give_up(block, lanes)
            gap += 2
            look += gap
    _drop_collapsed(block, lanes)
    for lane in range(lanes.shape[1]):
        lanes[CONVERGED, lane] = max(lanes[CONVERGED, lane], 0.0)
    for k in range(nodes - 1, 0, -1):
        accumulate(block, k, tree.parent[k])
    return lanes.shape[1] - count(lanes, CONVERGED)


@on_lanes
def slack_outputs(block, out, totals, g, ratio):
    """Totals at the slack, and its shunts' losses."""
    u_re, u_im, j_re, j_im = block[0, U_RE], block[0, U_IM], block[0, J_RE], block[0, J_IM]
    square = u_re.fma(u_re, u_im * u_im)
    out[0, V_PU] = ratio * square.sqrt()
    totals[0, LOSSES_KW] = g * square
    totals[0, SLACK_KW] = u_re.fma(j_re, u_im * j_im)
    totals[0, SLACK_KVAR] = u_im.fma(j_re, -(u_re * j_im))


@on_lanes
def node_outputs(block, out, totals, k, parent, g, ratio):
    """Voltage of a node, and losses in the branch to it and in its shunts."""
    u_re, u_im = block[k, U_RE], block[k, U_IM]
    square = u_re.fma(u_re, u_im * u_im)
    out[k, V_PU] = ratio * square.sqrt()
    d_re, d_im = block[parent, U_RE] - u_re, block[parent, U_IM] - u_im
    lost = d_re.fma(block[k, J_RE], d_im.fma(block[k, J_IM], g * square))
    totals[0, LOSSES_KW] = totals[0, LOSSES_KW] + lost


def _square_at_end(u_re, u_im, j_re, j_im, g, b) -> Vector:
    """Squared magnitude of the current j + (g + jb) u."""
    i_re = g.fma(u_re, (-b).fma(u_im, j_re))
    i_im = g.fma(u_im, b.fma(u_re, j_im))
    return i_re.fma(i_re, i_im * i_im)


@on_lanes
def element_outputs(block, out, e, k, parent, share_re, share_im, gp, bp, gc, bc, wp, wc):
    """Loading of a line or transformer: the larger of its two ends."""
    j_re, j_im = block[k, J_RE], block[k, J_IM]
    i_re = share_re.fma(j_re, -(share_im * j_im))
    i_im = share_re.fma(j_im, share_im * j_re)
    at_parent = _square_at_end(block[parent, U_RE], block[parent, U_IM], i_re, i_im, gp, bp)
    at_child = _square_at_end(block[k, U_RE], block[k, U_IM], i_re, i_im, -gc, -bc)
    out[e, LOADING_PERCENT] = (wp * wp * at_parent).maximum(wc * wc * at_child).sqrt()


@on_lanes
def blank(out, row, block, last, nan):
    """Write NaN where the lane has not converged."""
    for column in range(2):
        out[row, column] = out[row, column].where_above(block[last, CONVERGED], 0.5, nan)


@on_lanes
def blank_totals(totals, block, last, nan):
    """The same for the totals."""
    for column in range(3):
        totals[0, column] = totals[0, column].where_above(block[last, CONVERGED], 0.5, nan)


@compiled
def outputs_block(tree, block, out, totals, failed):
    """Voltages, loadings, losses and slack power of a block that `solve_block` has solved.

    Args:
        tree: The network.
        block: As `solve_block` left it; not written.
        out: Shape (max(nodes, elements), 2[, LANES]); overwritten with V_PU by node and
            LOADING_PERCENT by element of the tree.
        totals: Shape (1, 3[, LANES]); overwritten with LOSSES_KW (of branches and shunts),
            SLACK_KW and SLACK_KVAR.
        failed: What `solve_block` returned. Outputs of lanes that have not converged are NaN.
    """
    nodes, last = tree.parent.shape[0], block.shape[0] - 1
    branch, element = tree.branch, tree.element
    slack_outputs(block, out, totals, branch[0, G], branch[0, RATIO])
    for k in range(1, nodes):
        node_outputs(block, out, totals, k, tree.parent[k], branch[k, G], branch[k, RATIO])
    for e in range(tree.element_node.shape[0]):
        k = tree.element_node[e]
        element_outputs(
            block, out, e, k, tree.parent[k],
            element[e, SHARE_RE], element[e, SHARE_IM],
            element[e, G_PARENT], element[e, B_PARENT],
            element[e, G_CHILD], element[e, B_CHILD],
            element[e, W_PARENT], element[e, W_CHILD],
        )  # fmt: skip
    if failed > 0:
        for row in range(out.shape[0]):
            blank(out, row, block, last, np.nan)
        blank_totals(totals, block, last, np.nan)
