"""What learned menus are taught: exact solutions, and exact Bellman steps of what happened.

A step back takes the table of the end of a period and what a house measured in it, and gives the
table of the end of the period before: exact in the battery's energy, at each energy of the car by
the same functions as the certified solution. It needs the house's own physics and tariff, never
the probability of anything.
"""

from __future__ import annotations

import numpy as np

from flexgym.baselines.household.two_stores import upper_stage
from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import ARRIVAL, ARRIVAL_KWH, CAPACITY, DEPARTURE, plugged
from flexgym.policies.menu_inputs import CELLS, LEVELS
from flexgym.policies.menu_tables import close, fill_end, stays, table_levels


@compiled
def step_back(house, visits, t, now, ends, later, out, levels):
    """The table of the end of period t from that of period t + 1 and what happened in it.

    Args:
        house: Shape (18,); capacity > 0.
        visits: The car's visits, shape (T, 5).
        t: Period.
        now: Load, PV, import and export price of period t + 1, shape (4,).
        ends: Table of the end of period t + 1, shape (k, CELLS + 1), EUR.
        later: Energies of the car in it, shape (k,), kWh.
        out: Rows of the table of period t, shape (LEVELS, CELLS + 1), overwritten; not closed.
        levels: Energies of the car, shape (LEVELS,), overwritten, kWh.

    Returns:
        First row and number of rows; see `table_levels`.
    """
    one = np.ones(1)
    grid = np.empty(CELLS + 1)
    for j in range(CELLS + 1):
        grid[j] = house[CAPACITY] * j / CELLS
    first, rows = table_levels(house, visits[t], t, levels)
    before = levels[first : first + rows].copy()
    if not stays(house, visits[t], t) and plugged(visits[t + 1], t + 1):
        before[0] = visits[t + 1, ARRIVAL_KWH]
    found = np.empty((1, rows, CELLS + 1))
    upper_stage(
        house, now, one, one, one, one, ends.copy().reshape(1, len(later), CELLS + 1), later,
        before, grid, found,
    )  # fmt: skip
    out[first : first + rows] = found[0]
    return first, rows


@compiled
def back_along(rows, visits, exogenous, slopes, prices, fresh, out):
    """Tables of the ends of periods 0 to T - 2 by steps back along what happened.

    Where ``fresh`` says so, a step begins with the network's table; elsewhere with the one that
    the step before has given. Fresh throughout, each table knows one period of the future;
    fresh in the last period alone, it knows all of the day: hindsight.

    Args:
        rows: Houses, shape (n, 18); capacity > 0.
        visits: The cars' visits, shape (T, 5, n) or (T, 5, 0).
        exogenous: What happened, shape (T, 4, n).
        slopes: The network's at the ends of periods, shape (T, n, STEPS + 1, CELLS), EUR/kWh; read
            where it is fresh.
        prices: Likewise, shape (T, n, STEPS).
        fresh: Shape (T,); the last is True.
        out: Shape (T - 1, n, LEVELS, CELLS + 1), overwritten, not closed, EUR.
    """
    T = len(exogenous)
    none = np.zeros((T, 5))
    none[:, ARRIVAL], none[:, DEPARTURE] = np.inf, np.inf
    ends, levels = np.empty((LEVELS, CELLS + 1)), np.empty(LEVELS)
    for i in range(len(rows)):
        visit = np.ascontiguousarray(visits[:, :, i]) if visits.shape[2] else none
        count = 0
        for t in range(T - 2, -1, -1):
            if fresh[t + 1]:
                count = fill_end(
                    rows[i], visit[t + 1], t + 1, slopes[t + 1, i], prices[t + 1, i], ends, levels
                )
            now = exogenous[t + 1, :, i].copy()
            later = levels[:count].copy()
            step_back(rows[i], visit, t, now, ends[:count], later, out[t, i], levels)
            if not fresh[t]:
                ends[:] = out[t, i]
                count = close(rows[i], visit[t], t, ends, levels)


@compiled
def gather(rows, visits, tables, slopes, values, sizes):
    """Pick from tables what the two networks are taught.

    Args:
        rows: Houses, shape (n, 18).
        visits: The cars' visits, shape (T, 5, n) or (T, 5, 0).
        tables: Of the ends of the first k periods, not closed, shape (k, n, LEVELS, CELLS + 1).
        slopes: Of the only row, shape (k, n, CELLS), overwritten where the car does not stay.
        values: The rows of a car that stays, shape (k, n, STEPS + 1, CELLS + 1), likewise.
        sizes: Cells of battery and car, shape (k, n, 2), kWh, overwritten; the second is 0
            where the car does not stay.
    """
    none = np.zeros(5)
    none[:2] = np.inf
    levels = np.empty(LEVELS)
    for t in range(len(tables)):
        for i in range(len(rows)):
            visit = np.ascontiguousarray(visits[t, :, i]) if visits.shape[2] else none
            first, count = table_levels(rows[i], visit, t, levels)
            width = rows[i, CAPACITY] / CELLS
            sizes[t, i, 0], sizes[t, i, 1] = width, 0.0
            if count == 1:
                for j in range(CELLS):
                    rise = tables[t, i, first, j + 1] - tables[t, i, first, j]
                    slopes[t, i, j] = rise / width
            else:
                sizes[t, i, 1] = levels[first + 1] - levels[first]
                values[t, i] = tables[t, i, first : first + count]
