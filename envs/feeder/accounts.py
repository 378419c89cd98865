"""What a period costs a feeder and what it says of limits, losses and comfort."""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.feeder import coupling
from flexgym.envs.feeder.lanes import DESK_ROWS, LANES, SUMMED, SUMS
from flexgym.envs.grid import sweep
from flexgym.envs.grid.tolerance import CLEAN_PERCENT
from flexgym.envs.household.params import DT_H

FEEDER_NAMES = (
    "import_eur", "export_eur", "wear_eur", "unserved_eur", "missed_eur", "terminal_eur",
    "loss_eur", "voltage_eur", "overload_eur", "cost_eur", "loss_kwh", "curtailed_kwh",
    "unserved_kwh", "missed_kwh", "voltage_violations", "voltage_violation_pu_h", "overload_h",
    "overload_kwh", "violation_h", "collapses", "highest_pu", "lowest_pu", "line_percent",
    "trafo_percent", "grid_kw",
)  # fmt: skip
"""What a period says of a feeder. The ``_eur`` terms before ``cost_eur``, the social cost, add
up to it: bills, wear, unserved load, missing car energy and terminal payment of all houses,
losses, voltages outside the band, power above ratings."""
HOUSE_TERMS = 6
LOSS_EUR, VOLTAGE_EUR, OVERLOAD_EUR, FEEDER_COST = 6, 7, 8, 9
(
    LOSS_KWH,
    CURTAILED_KWH,
    UNSERVED_KWH,
    MISSED,
    VOLTAGE_VIOLATIONS,
    VOLTAGE_VIOLATION_PU_H,
    OVERLOAD_H,
    OVERLOAD_KWH,
    VIOLATION_H,
    COLLAPSES,
    HIGHEST_PU,
    LOWEST_PU,
    LINE_PERCENT,
    TRAFO_PERCENT,
    GRID_KW,
) = range(10, 25)
_FIRST_TERM = SUMMED.index("import_eur")
ADDED = HIGHEST_PU
"""Over an episode the numbers before this one add up; of the extremes the worst is kept."""
FEEDER_TERMS = FEEDER_NAMES[:FEEDER_COST]


@compiled
def grid_cost(world, limits, totals, i):
    """Cost of losses, voltages and overload in one lane, EUR a period.

    A feeder whose power flow has no solution counts as one without voltage.
    """
    lost = totals[0, sweep.LOSSES_KW, i]
    if not np.isfinite(lost):
        return 0.0, DT_H * world.costs[1] * world.band[0] * len(world.bus_node), 0.0
    return (
        DT_H * world.costs[0] * lost,
        DT_H * world.costs[1] * limits[0, coupling.EXCESS, i],
        DT_H * world.costs[2] * limits[0, coupling.OVERLOAD, i],
    )


@compiled
def account(world, size, desk, limits, totals, period):
    """Fill in the numbers of `FEEDER_NAMES`, shape (G, names).

    Args:
        world: See `flexgym.envs.feeder.coupling.World`.
        size: Feeders in the group, G.
        desk: With the sums over the houses' blocks; they are overwritten.
        limits: From `flexgym.envs.feeder.coupling.judge`, shape (1, 7, G).
        totals: Totals of the power flow, shape (1, 3, G).
        period: Overwritten.
    """
    period[:] = 0.0
    half = LANES // 2
    while half >= size:
        for at in range(SUMS * LANES, DESK_ROWS * LANES, LANES):
            for n in range(half):
                desk[at + n] += desk[at + half + n]
        half //= 2
    for i in range(size):
        for k in range(HOUSE_TERMS):
            period[i, k] = desk[(SUMS + _FIRST_TERM + k) * LANES + i]
        period[i, CURTAILED_KWH] = DT_H * desk[SUMS * LANES + i]
        period[i, UNSERVED_KWH] = DT_H * desk[(SUMS + 1) * LANES + i]
        period[i, MISSED] = desk[(SUMS + 2) * LANES + i]
        loss, voltage, overload = grid_cost(world, limits, totals, i)
        cost = loss + voltage + overload
        for k in range(HOUSE_TERMS):
            cost += period[i, k]
        period[i, LOSS_EUR], period[i, VOLTAGE_EUR] = loss, voltage
        period[i, OVERLOAD_EUR], period[i, FEEDER_COST] = overload, cost
        _limits(world, limits, totals, i, period)


@compiled
def _limits(world, limits, totals, i, period):
    if not np.isfinite(totals[0, sweep.LOSSES_KW, i]):
        buses = len(world.bus_node)
        period[i, COLLAPSES] = 1.0
        period[i, VIOLATION_H] = DT_H
        period[i, VOLTAGE_VIOLATIONS] = buses
        period[i, VOLTAGE_VIOLATION_PU_H] = DT_H * world.band[0] * buses
        return
    line, trafo = limits[0, coupling.LINE, i], limits[0, coupling.TRAFO, i]
    outside = limits[0, coupling.COUNT, i]
    over = max(line, trafo) > 100.0 + CLEAN_PERCENT
    period[i, LOSS_KWH] = DT_H * totals[0, sweep.LOSSES_KW, i]
    period[i, GRID_KW] = totals[0, sweep.SLACK_KW, i]
    period[i, HIGHEST_PU] = limits[0, coupling.HIGHEST, i]
    period[i, LOWEST_PU] = limits[0, coupling.LOWEST, i]
    period[i, LINE_PERCENT], period[i, TRAFO_PERCENT] = line, trafo
    period[i, VOLTAGE_VIOLATIONS] = outside
    period[i, VOLTAGE_VIOLATION_PU_H] = DT_H * limits[0, coupling.EXCESS, i]
    period[i, OVERLOAD_KWH] = DT_H * limits[0, coupling.OVERLOAD, i]
    period[i, OVERLOAD_H] = DT_H if over else 0.0
    period[i, VIOLATION_H] = DT_H if over or outside > 0.0 else 0.0


@compiled
def collect(period, episode, begin):
    """Add a period, shape (G, names), to the episode: sums, and the worst of the extremes."""
    for i in range(period.shape[0]):
        for k in range(ADDED):
            episode[i, k] = period[i, k] if begin else episode[i, k] + period[i, k]
        for k in range(ADDED, period.shape[1]):
            now = period[i, k]
            if begin:
                episode[i, k] = now
            elif k == LOWEST_PU:
                episode[i, k] = min(episode[i, k], now)
            else:
                episode[i, k] = max(episode[i, k], now)
