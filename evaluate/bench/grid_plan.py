"""Re-solving the rest of a day on a grid, the usual way to decide by a forecast.

Dynamic programming over energies on a grid: each period the battery moves by whole cells and the
car by half of what full power charges. Compiled, and each period's costs computed once a move: what
learned menus are measured against.
"""

from __future__ import annotations

import numpy as np

from flexgym.baselines.household.certainty_equivalent import conditional_means
from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    BUY,
    CAPACITY,
    CAR_ETA_C,
    CAR_MISSED,
    CAR_POWER,
    DEPARTURE,
    ETA_C,
    ETA_D,
    LOAD,
    POWER,
    PV,
    PV_KWP,
    SELL,
    TARGET_KWH,
    UNSERVED,
    WEAR,
    best_pv,
    energy_bill,
    inverter_range,
    meter,
    plugged,
)
from flexgym.envs.household.params import DT_H

MOVES = 2
"""Cells by which full power charges the car."""


@compiled
def _cost(house, battery_kw, car_kw, load, pv, buy, sell):
    """Cost of a period, EUR; infinite where the powers are not feasible."""
    low, high = inverter_range(house, load, car_kw)
    if battery_kw < low - 1e-9 or battery_kw > high + pv + 1e-9:
        return np.inf
    used = best_pv(house, battery_kw, load, car_kw, pv, buy, sell)
    p, unserved = meter(house, battery_kw, car_kw, used, load)
    paid, earned = energy_bill(p, buy, sell)
    lost = house[UNSERVED] * unserved + house[WEAR] * abs(battery_kw)
    return paid + earned + DT_H * lost


@compiled
def _battery_kw(house, change_kwh):
    if change_kwh > 0.0:
        return change_kwh / (house[ETA_C] * DT_H)
    return change_kwh * house[ETA_D] / DT_H


@compiled
def _missing(visit):
    return max(visit[TARGET_KWH] - visit[ARRIVAL_KWH], 0.0)


@compiled
def _at(values, battery, car):
    """Values at cells that need not be whole: linear in both."""
    i = min(int(battery), values.shape[0] - 2)
    k = min(int(car), max(values.shape[1] - 2, 0))
    above = min(k + 1, values.shape[1] - 1)
    x, y = battery - i, car - k
    first = (1.0 - x) * values[i, k] + x * values[i + 1, k]
    second = (1.0 - x) * values[i, above] + x * values[i + 1, above]
    return (1.0 - y) * first + y * second


@compiled
def _ended(house, visits, t, values, step, out):
    """Values at the end of period t from those at the start of the next one."""
    here = plugged(visits[t], t)
    follows = t + 1 < len(visits) and plugged(visits[t + 1], t + 1)
    begins = follows and visits[t + 1, ARRIVAL] == t + 1
    for i in range(out.shape[0]):
        for k in range(out.shape[1]):
            if follows and not begins:
                out[i, k] = values[i, k]
                continue
            after = _at(values, float(i), _missing(visits[t + 1]) / step) if begins else (
                values[i, 0]
            )  # fmt: skip
            out[i, k] = after + (house[CAR_MISSED] * step * k if here else 0.0)


@compiled
def grid_values(house, series, visits, first, terminal, cells, values, ends):
    """Cost-to-go on the grid at the start of period ``first``, into ``values``.

    Args:
        house: Shape (18,); without discharging car and losses of standing.
        series: Load, PV, import and export price expected, shape (4, T).
        visits: The car's visits, shape (T, 5).
        first: Period.
        terminal: Pay for stored energy at the end, EUR/kWh.
        cells: Of the battery.
        values: Room, shape (cells + 1, most cells of the car + 1), EUR; column k lacks k cells.
        ends: Likewise.
    """
    T = series.shape[1]
    width = house[CAPACITY] / cells
    step = house[CAR_POWER] * DT_H * house[CAR_ETA_C] / MOVES
    most = int(house[POWER] * DT_H / (house[ETA_D] * width))
    costs = np.empty((2 * most + 1, MOVES + 1))
    for i in range(cells + 1):
        values[i, :] = -terminal * width * i
    for t in range(T - 1, first - 1, -1):
        _ended(house, visits, t, values, step, ends)
        here = plugged(visits[t], t)
        moves = MOVES if here else 0
        for d in range(-most, most + 1):
            power = _battery_kw(house, d * width)
            for m in range(moves + 1):
                costs[d + most, m] = np.inf
                if abs(power) <= house[POWER] + 1e-9:
                    costs[d + most, m] = _cost(
                        house, power, house[CAR_POWER] * m / MOVES, series[LOAD, t],
                        series[PV, t], series[BUY, t], series[SELL, t],
                    )  # fmt: skip
        columns = values.shape[1] if here else 1
        for i in range(cells + 1):
            for k in range(columns):
                best = np.inf
                for m in range(min(moves, k) + 1):
                    for j in range(max(i - most, 0), min(i + most, cells) + 1):
                        best = min(best, costs[j - i + most, m] + ends[j, k - m])
                values[i, k] = best


@compiled
def grid_decision(house, series, visits, t, terminal, soc_kwh, car_kwh, cells):
    """Cheapest powers of battery and car in period t by a plan on the grid, kW.

    Args:
        house: Shape (18,).
        series: Measured in period t, expected later, shape (4, T).
        visits: The car's visits, shape (T, 5).
        t: Period.
        terminal: Pay for stored energy at the end, EUR/kWh.
        soc_kwh: Energy in the battery, kWh.
        car_kwh: Energy in the car, kWh.
        cells: Of the battery.
    """
    T = series.shape[1]
    width = house[CAPACITY] / cells
    step = house[CAR_POWER] * DT_H * house[CAR_ETA_C] / MOVES
    columns = 1
    for k in range(t, T):
        if np.isfinite(visits[k, DEPARTURE]):
            columns = max(columns, int(np.ceil(_missing(visits[k]) / step - 1e-9)) + 1)
    values, ends = np.empty((cells + 1, columns)), np.empty((cells + 1, columns))
    grid_values(house, series, visits, t + 1, terminal, cells, values, ends)
    _ended(house, visits, t, values, step, ends)
    missing, moves = 0.0, 0
    if plugged(visits[t], t):
        missing = max(visits[t, TARGET_KWH] - car_kwh, 0.0) / step
        moves = MOVES
    at = soc_kwh / width
    best, battery, car = np.inf, 0.0, 0.0
    for m in range(moves + 1):
        taken = min(float(m), missing)
        u = house[CAR_POWER] * taken / MOVES
        for j in range(-1, cells + 1):
            # Idle first, then every energy of the grid.
            energy = at if j < 0 else float(j)
            power = _battery_kw(house, (energy - at) * width)
            if abs(power) > house[POWER] + 1e-9:
                continue
            cost = _cost(
                house, power, u, series[LOAD, t], series[PV, t], series[BUY, t], series[SELL, t]
            )
            cost += _at(ends, energy, missing - taken)
            if cost < best:
                best, battery, car = cost, power, u
    return battery, car


@compiled
def grid_decisions(rows, series, visits, t, terminal, soc_kwh, car_kwh, cells, out):
    """`grid_decision` of n houses into ``out``, shape (2, n); series has shape (n, 4, T)."""
    away = np.zeros((series.shape[2], 5))
    away[:, ARRIVAL], away[:, DEPARTURE] = np.inf, np.inf
    for i in range(len(rows)):
        visit = np.ascontiguousarray(visits[:, :, i]) if visits.shape[2] else away
        out[0, i], out[1, i] = grid_decision(
            rows[i], series[i], visit, t, terminal[i], soc_kwh[i], car_kwh[i], cells
        )


@compiled
def expect(t, rows, state, forecast, now, weather, price, load_mean, powers, out):
    """Write what n houses measure in period t and expect of later ones, shape (n, 4, T).

    Args:
        t: Period.
        rows: Houses, shape (n, 18).
        state: Markov state observed, shape (n,).
        forecast: Shape (T, 4, n).
        now: Measurements, shape (4, n).
        weather: See `conditional_means`, like the rest.
        price: Likewise.
        load_mean: Likewise.
        powers: Likewise.
        out: Overwritten from period t on.
    """
    for i in range(len(rows)):
        out[i, :, t] = now[:, i]
        conditional_means(
            t, state[i], forecast[:, :, i], rows[i, PV_KWP], weather, price, load_mean, powers,
            out[i, :, t + 1 :],
        )  # fmt: skip
