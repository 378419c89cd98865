"""From slopes and prices to tables of the cost-to-go, and the cheapest powers by them.

A table holds the cost after a period at energies of the car (rows) and of the battery (columns),
up to a constant: the form in which the exact solution is kept, so that the same functions play it.
"""

from __future__ import annotations

import numpy as np

from flexgym.baselines.household.two_stores import blend, greedy
from flexgym.envs.charts.recursion import best_battery
from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    BUY,
    CAPACITY,
    CAR_DISCHARGE,
    CAR_MISSED,
    DEPARTURE,
    LOAD,
    NEEDED_KWH,
    PV,
    SELL,
    TARGET_KWH,
    plugged,
)
from flexgym.policies.menu_inputs import CELLS, STEPS, car_span, fill_levels


@compiled
def stays(house, visit, t):
    """Whether the car is plugged in in period t and the next one, and can hold more or less."""
    if not (plugged(visit, t) and visit[DEPARTURE] > t + 1):
        return False
    top, least, _ = car_span(house, visit, t)
    return top - least > 1e-6


@compiled
def staying(rows, visits, t):
    """Which cars stay so beyond period t, shape (n,); rows (n, 18), visits (5, n)."""
    out = np.zeros(len(rows), dtype=np.bool_)
    if visits.shape[1]:
        for i in range(len(rows)):
            out[i] = stays(rows[i], visits[:, i], t)
    return out


@compiled
def _fill_curve(slopes, width, out):
    """Write costs at the ends of the cells, zero half-way up."""
    out[0] = 0.0
    for j in range(CELLS):
        out[j + 1] = out[j] + slopes[j] * width
    middle = out[CELLS // 2]
    for j in range(CELLS + 1):
        out[j] -= middle


@compiled
def table_levels(house, visit, t, levels):
    """Write the energies of the car that a table needs; the first row used, and how many.

    The car's energy is free where it `stays`. Elsewhere one row is enough, and `close` makes the
    others.

    Args:
        house: Shape (18,).
        visit: The car's visit in period t, shape (5,).
        t: Period.
        levels: Room for LEVELS, overwritten, kWh.
    """
    if not stays(house, visit, t):
        levels[0] = visit[ARRIVAL_KWH] if plugged(visit, t) else 0.0
        return 0, 1
    n = fill_levels(house, visit, t, levels)
    return n - STEPS - 1, STEPS + 1


@compiled
def close(house, visit, t, ends, levels):
    """Add to a table what the car misses for sure; number of energies of the car.

    Args:
        house: Shape (18,).
        visit: The car's visit in period t, shape (5,).
        t: Period.
        ends: Shape (LEVELS, CELLS + 1), EUR; the rows of `table_levels` are read, the others
            written.
        levels: Shape (LEVELS,), overwritten, kWh.
    """
    first, rows = table_levels(house, visit, t, levels)
    if first == 1:
        ends[0] = ends[1] + house[CAR_MISSED] * (levels[1] - levels[0])
    if not plugged(visit, t) or visit[DEPARTURE] > t + 1:
        return first + rows
    least = 0.0 if house[CAR_DISCHARGE] > 0.0 else visit[ARRIVAL_KWH]
    top = max(visit[TARGET_KWH], visit[ARRIVAL_KWH])
    due = min(max(visit[NEEDED_KWH], least), top)
    n = 1
    levels[0] = least
    for energy in (due, top):
        if energy > levels[n - 1] + 1e-6:
            levels[n] = energy
            ends[n] = ends[0]
            n += 1
    for k in range(n):
        ends[k] += house[CAR_MISSED] * max(visit[NEEDED_KWH] - levels[k], 0.0)
    return n


@compiled
def fill_end(house, visit, t, slopes, prices, ends, levels):
    """Write the table of the end of a period of one house; number of energies of the car.

    Args:
        house: Shape (18,); capacity > 0.
        visit: The car's visit in period t, shape (5,).
        t: Period.
        slopes: Of the battery, ascending, EUR/kWh; shape (STEPS + 1, CELLS) where the car
            `stays`, else only row 0 is read.
        prices: Of the car's energy half-way up the battery, falling, shape (STEPS,), EUR/kWh;
            read where the car stays.
        ends: Shape (LEVELS, CELLS + 1), overwritten, EUR.
        levels: Energies of the car, shape (LEVELS,), overwritten, kWh.
    """
    width = house[CAPACITY] / CELLS
    first, rows = table_levels(house, visit, t, levels)
    here = 0.0
    for k in range(rows):
        _fill_curve(slopes[k], width, ends[first + k])
        ends[first + k] += here
        if k < rows - 1:
            here -= prices[k] * (levels[first + k + 1] - levels[first + k])
    return close(house, visit, t, ends, levels)


@compiled
def fill_ends(rows, visits, t, slopes, prices, ends, levels, counts):
    """`fill_end` for n houses; ``visits`` has shape (5, n), or (5, 0) where there are no cars."""
    away = np.zeros(5)
    away[ARRIVAL], away[DEPARTURE] = np.inf, np.inf
    for i in range(len(rows)):
        visit = np.ascontiguousarray(visits[:, i]) if visits.shape[1] else away
        counts[i] = fill_end(rows[i], visit, t, slopes[i], prices[i], ends[i], levels[i])


@compiled
def play(rows, visits, t, soc_kwh, car_kwh, now, ends, levels, counts, battery_kw, car_kw):
    """Powers that minimise the cost of the period plus the table after it.

    Args:
        rows: Houses, shape (n, 18); capacity > 0.
        visits: The cars' visits in period t, shape (5, n) or (5, 0).
        t: Period.
        soc_kwh: Energy in the batteries, shape (n,), kWh.
        car_kwh: Energy in the cars, shape (n,), kWh.
        now: Load, PV, import and export price measured, shape (4, n).
        ends: Tables, shape (n, LEVELS, CELLS + 1), EUR.
        levels: Energies of the cars in them, shape (n, LEVELS), kWh.
        counts: How many there are, shape (n,).
        battery_kw: Shape (n,), overwritten, kW.
        car_kw: Likewise.
    """
    one, state = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    here, battery, car = np.empty((4, 1)), np.empty(1), np.empty(1)
    soc, stored = np.empty(1), np.empty(1)
    slopes, lengths, grid = np.empty(CELLS), np.empty(CELLS), np.empty(CELLS + 1)
    for i in range(len(rows)):
        row = rows[i]
        width = row[CAPACITY] / CELLS
        car_kw[i] = 0.0
        if visits.shape[1] == 0 or not plugged(visits[:, i], t):
            for j in range(CELLS):
                slopes[j], lengths[j] = (ends[i, 0, j + 1] - ends[i, 0, j]) / width, width
            battery_kw[i] = best_battery(
                row, soc_kwh[i], now[LOAD, i], 0.0, now[PV, i], now[BUY, i], now[SELL, i], slopes,
                lengths,
            )  # fmt: skip
            continue
        for j in range(CELLS + 1):
            grid[j] = j * width
        here[:, 0] = now[:, i]
        soc[0], stored[0] = soc_kwh[i], car_kwh[i]
        n = counts[i]
        greedy(
            one, row, True, ends[i : i + 1, :n].copy(), levels[i, :n].copy(), grid, soc, stored,
            here, state, battery, car,
        )  # fmt: skip
        battery_kw[i], car_kw[i] = battery[0], car[0]


@compiled
def resample(ends, energies, grid, levels, out):
    """Write a table of the exact solution at the energies of a learned one.

    Args:
        ends: Shape (k, n), EUR.
        energies: Energies of the car there, shape (k,), ascending, kWh.
        grid: Energies of the battery there, shape (n,), kWh.
        levels: Energies of the car wanted, shape (j,), kWh.
        out: Shape (j, CELLS + 1), overwritten.
    """
    cells = np.diff(grid)
    slopes, lengths = np.empty(2 * len(grid)), np.empty(2 * len(grid))
    width = grid[-1] / CELLS
    for k in range(len(levels)):
        below, share = 0, 0.0
        if len(energies) > 1:
            below = min(max(np.searchsorted(energies, levels[k]) - 1, 0), len(energies) - 2)
            share = (levels[k] - energies[below]) / (energies[below + 1] - energies[below])
            share = min(max(share, 0.0), 1.0)
        above = min(below + 1, len(energies) - 1)
        value, count = blend(ends[below], ends[above], share, cells, slopes, lengths)
        at, j = 0.0, 0
        for cell in range(CELLS + 1):
            wanted = cell * width
            while j < count - 1 and at + lengths[j] <= wanted:
                value += slopes[j] * lengths[j]
                at += lengths[j]
                j += 1
            out[k, cell] = value + slopes[j] * (wanted - at)
