"""Who bears the grid's cost of a period: losses and violated limits."""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.feeder.accounts import LOSS_EUR, OVERLOAD_EUR, grid_cost
from flexgym.envs.feeder.coupling import run_power_flow, with_lanes
from flexgym.envs.feeder.lanes import GRID_EUR, LANES, P_KW, Q_KVAR, place
from flexgym.envs.grid import sweep
from flexgym.envs.household.params import DT_H

_COMMON, _LOCAL = 0, 1


@compiled
def share_cost(world, rule, size, count, w, scratch, out, period):
    """Write each house's share of the grid's cost into its lane, EUR.

    ``common``: everybody alike. ``local``: a voltage outside the band is borne by the houses on
    its bus; losses and overload of a branch by the houses behind it whose power goes with
    the flow, in proportion to it; what nobody causes so, by everybody alike. These two add up
    to the cost. ``marginal``: the cost minus what it would be if the house drew nothing at its
    meter (the difference rewards of Wolpert and Tumer, 2002), which need not add up.

    Args:
        world: See `flexgym.envs.feeder.coupling.World`.
        rule: Position of the rule in `SHARES`.
        size: Feeders in the group, G.
        count: Houses on a feeder, H.
        w: Numbers of the group's houses, flat; GRID_EUR is overwritten.
        scratch: Solved block of the group; ``marginal`` overwrites it.
        out: Its voltages and loadings.
        period: From `account`, shape (G, names).
    """
    block, totals, limits = (
        with_lanes(scratch.block), with_lanes(scratch.totals), with_lanes(scratch.limits),
    )  # fmt: skip
    if rule == _COMMON:
        for h in range(count):
            at = place(h, size)
            for i in range(size):
                w[at + GRID_EUR * LANES + i] = _cost(period, i) / count
    elif rule == _LOCAL:
        for i in range(size):
            _share_locally(
                world, size, count, w, block, with_lanes(out), totals, i, _cost(period, i)
            )
    else:
        _share_margins(world, size, count, w, scratch, period, block, totals, limits)


@compiled
def _cost(period, i):
    cost = 0.0
    for k in range(LOSS_EUR, OVERLOAD_EUR + 1):
        cost += period[i, k]
    return cost


@compiled
def _share_locally(world, size, count, w, block, out, totals, i, cost):
    nodes = len(world.tree.parent)
    if not np.isfinite(totals[0, sweep.LOSSES_KW, i]):
        for h in range(count):
            w[place(h, size) + GRID_EUR * LANES + i] = cost / count
        return
    # Power drawn and fed in behind each branch, and houses on each bus.
    behind = np.zeros((nodes, 3))
    for h in range(count):
        node = world.house_node[h]
        p = w[place(h, size) + P_KW * LANES + i]
        behind[node, 0] += max(p, 0.0)
        behind[node, 1] += max(-p, 0.0)
        behind[node, 2] += 1.0
    for k in range(nodes - 1, 0, -1):
        behind[world.tree.parent[k], 0] += behind[k, 0]
        behind[world.tree.parent[k], 1] += behind[k, 1]
    branch = branch_costs(world, block, out, i)
    rate = np.zeros((nodes, 2))
    spread = branch[0]
    for k in range(1, nodes):
        before = world.tree.parent[k]
        rate[k] = rate[before]
        flow = (
            block[before, sweep.U_RE, i] * block[k, sweep.J_RE, i]
            + block[before, sweep.U_IM, i] * block[k, sweep.J_IM, i]
        )
        way = 0 if flow >= 0.0 else 1
        if behind[k, way] > 0.0:
            rate[k, way] += branch[k] / behind[k, way]
        else:
            spread += branch[k]
    price = DT_H * world.costs[1]
    for node in world.bus_node:
        v = out[node, sweep.V_PU, i]
        excess = max(v - world.band[1], 0.0) + max(world.band[0] - v, 0.0)
        if behind[node, 2] == 0.0:
            spread += price * excess
    for h in range(count):
        node = world.house_node[h]
        at = place(h, size)
        p = w[at + P_KW * LANES + i]
        v = out[node, sweep.V_PU, i]
        excess = max(v - world.band[1], 0.0) + max(world.band[0] - v, 0.0)
        own = price * excess / behind[node, 2] if node > 0 else 0.0
        flow = rate[node, 0] * max(p, 0.0) + rate[node, 1] * max(-p, 0.0)
        w[at + GRID_EUR * LANES + i] = own + flow + spread / count


@compiled
def branch_costs(world, block, out, i):
    """Cost of losses and overload of the branch above each node, shape (nodes,), EUR.

    Losses in the shunts of a node count for its branch; node 0 has but these.
    """
    tree = world.tree
    cost = np.empty(len(tree.parent))
    for k in range(len(cost)):
        re, im = block[k, sweep.U_RE, i], block[k, sweep.U_IM, i]
        before = tree.parent[k]
        lost = tree.branch[k, sweep.G] * (re * re + im * im)
        lost += (block[before, sweep.U_RE, i] - re) * block[k, sweep.J_RE, i] * (k > 0)
        lost += (block[before, sweep.U_IM, i] - im) * block[k, sweep.J_IM, i] * (k > 0)
        cost[k] = DT_H * world.costs[0] * lost
    for e in range(len(world.rating_kva)):
        above = max(0.01 * out[e, sweep.LOADING_PERCENT, i] - 1.0, 0.0)
        cost[tree.element_node[e]] += DT_H * world.costs[2] * above * world.rating_kva[e]
    return cost


@compiled
def _share_margins(world, size, count, w, scratch, period, block, totals, limits):
    for h in range(count):
        node = world.house_node[h]
        at = place(h, size)
        for i in range(size):
            block[node, sweep.P_KW, i] -= w[at + P_KW * LANES + i]
            block[node, sweep.Q_KVAR, i] -= w[at + Q_KVAR * LANES + i]
        run_power_flow(world, scratch, scratch.out)
        for i in range(size):
            loss, voltage, overload = grid_cost(world, limits, totals, i)
            share = _cost(period, i) - loss - voltage - overload
            w[at + GRID_EUR * LANES + i] = share
            block[node, sweep.P_KW, i] += w[at + P_KW * LANES + i]
            block[node, sweep.Q_KVAR, i] += w[at + Q_KVAR * LANES + i]
