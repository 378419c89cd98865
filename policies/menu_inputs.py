"""What a learned menu knows: sizes, forecast, the plan on the forecast, the state observed.

Every row describes the end of a period. How much is stored then is no input: the network's
output is a function of it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.charts.recursion import backward
from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    BUY,
    CAPACITY,
    CAR_DISCHARGE,
    CAR_ETA_C,
    CAR_POWER,
    DEPARTURE,
    ETA_C,
    ETA_D,
    INVERTER,
    LOAD,
    NEEDED_KWH,
    POWER,
    PV,
    PV_KWP,
    RETENTION,
    SELL,
    TARGET_KWH,
    WEAR,
    plugged,
)
from flexgym.envs.household.observation import BIN_EDGES
from flexgym.envs.household.params import DT_H, STEPS_PER_DAY, Floats
from flexgym.policies.quick_menus import fill_charging_cost

Singles = NDArray[np.float32]

CELLS = 24
"""Cells of the battery's capacity; the slope of the cost-to-go is constant in each."""
STEPS = 8
"""Cells of the car's energy between what it should have and the least it can still have."""
LEVELS = STEPS + 2
"""Most energies of the car: the ends of those cells, and one that is beyond reach."""

_EDGES = np.array(BIN_EDGES)
_BINS = len(BIN_EDGES) - 1
_FACTORS = 4


def input_names() -> tuple[str, ...]:
    """Name and unit of each input; those of `fill_inputs`, then those of `with_state`."""
    bins = [
        f"{what}_{a}_to_{b}_periods_ahead [{unit}]"
        for what, unit in (
            ("import_price_above_terminal", "0.1 EUR/kWh"),
            ("export_price_above_terminal", "0.1 EUR/kWh"),
            ("surplus", "capacity"),
            ("deficit", "capacity"),
        )
        for a, b in pairwise(BIN_EDGES)
    ]
    plan = [f"planned_slope_of_battery_cell_{k} [0.1 EUR/kWh]" for k in range(CELLS)]
    merit = [f"planned_price_of_car_cell_{k} [0.1 EUR/kWh]" for k in range(STEPS)]
    return (
        "sine_of_time [1]",
        "cosine_of_time [1]",
        "time_left [day]",
        "capacity [10 kWh]",
        "battery_power [capacity/h]",
        "loss_of_charging [0.1]",
        "loss_of_discharging [0.1]",
        "loss_of_standing [0.01]",
        "wear [0.01 EUR/kWh]",
        "pv_rating [capacity/h]",
        "inverter [battery power]",
        "terminal_price [0.1 EUR/kWh]",
        *bins,
        "highest_price_ahead_above_terminal [0.1 EUR/kWh]",
        "lowest_price_ahead_above_terminal [0.1 EUR/kWh]",
        "surplus_ahead [capacity]",
        "deficit_ahead [capacity]",
        *plan,
        "car_plugged_in [1]",
        "car_to_come [1]",
        "car_time_to_arrival [day]",
        "car_time_to_departure [day]",
        "car_energy_wanted [10 kWh]",
        "car_energy_wanted [capacity]",
        "car_energy_within_reach [10 kWh]",
        "car_power [10 kW]",
        "car_discharging_power [10 kW]",
        "car_share_of_time_needed [1]",
        "car_energy_beyond_need [10 kWh]",
        *merit,
        "car_then_time_to_arrival [day]",
        "car_then_energy_wanted [10 kWh]",
        "car_then_share_of_time_needed [1]",
        "weather_factor_minus_1 [0.5]",
        "its_square [1]",
        "price_factor_minus_1 [0.2]",
        "its_square [1]",
    )


INPUTS = len(input_names())
PLAN_AT = 12 + 4 * _BINS + 4
"""Where the planned slopes of the battery begin."""
MERIT_AT = PLAN_AT + CELLS + 11
"""Where the planned prices of the car's energy begin."""


@compiled
def car_span(house, visit, t):
    """Energy at which charging ends, the least there can be, and the least worth modelling, kWh.

    Below the last nothing can be done any more at the end of period t: every kWh is missed.

    Args:
        house: Shape (18,).
        visit: The car's visit, shape (5,).
        t: Period; the visit goes on after it, or begins later.
    """
    top = max(visit[TARGET_KWH], visit[ARRIVAL_KWH])
    if house[CAR_DISCHARGE] > 0.0:
        return top, 0.0, 0.0
    least = visit[ARRIVAL_KWH]
    periods = visit[DEPARTURE] - max(t + 1.0, visit[ARRIVAL])
    reach = periods * house[CAR_POWER] * DT_H * house[CAR_ETA_C]
    return top, least, max(least, top - reach)


@compiled
def fill_levels(house, visit, t, out):
    """Write the car's energies of a table at the end of period t, kWh ascending; their number.

    Args:
        house: Shape (18,).
        visit: The car's visit, which goes on after period t and can change what it holds.
        t: Period.
        out: Room for `LEVELS`.
    """
    top, least, low = car_span(house, visit, t)
    n = 0
    if low > least + 1e-6:
        out[0] = least
        n = 1
    for k in range(STEPS + 1):
        out[n + k] = low + (top - low) * k / STEPS
    return n + STEPS + 1


@compiled
def plan_slopes(house, forecast, terminal, out):
    """Write the slopes of the cost-to-go if the day goes as forecast and the car stays away.

    Args:
        house: Shape (18,).
        forecast: Load, PV, import and export price, shape (4, T); imports cost at least exports.
        terminal: Pay for stored energy at the end, EUR/kWh.
        out: Mean slope in each cell at the end of each period, shape (T, CELLS), overwritten.
    """
    T = forecast.shape[1]
    offset, value = np.zeros(T + 2, dtype=np.int64), np.zeros(T + 1)
    room = 32 * (T + 2)
    slopes, lengths = np.empty(room), np.empty(room)
    while not backward(house, forecast, terminal, offset, value, slopes, lengths):
        room *= 2
        slopes, lengths = np.empty(room), np.empty(room)
    width = house[CAPACITY] / CELLS
    for t in range(T):
        k, end = offset[T - 1 - t], offset[T - t]
        left = lengths[k]
        for cell in range(CELLS):
            wanted, total = width, 0.0
            while wanted > 0.0:
                part = min(left, wanted) if k < end - 1 else wanted
                total += part * slopes[k]
                wanted -= part
                left -= part
                if left <= 1e-12 and k < end - 1:
                    k += 1
                    left = lengths[k]
            out[t, cell] = total / width


@compiled
def _merit(house, visit, t, forecast, terminal, x, y, out):
    """Write planned prices of the car's energy in its cells, falling with what it holds."""
    top, _, low = car_span(house, visit, t)
    out[:] = 0.0
    if top - low <= 1e-6:
        return
    start = max(t, int(visit[ARRIVAL]) - 1)
    n = fill_charging_cost(house, visit, start, forecast, x, y)
    width = (top - low) / STEPS
    above = np.interp(low, x[:n], y[:n])
    for k in range(STEPS):
        value = np.interp(low + (k + 1) * width, x[:n], y[:n])
        out[k] = min(10.0 * ((above - value) / width - terminal), 20.0)
        above = value


@compiled
def fill_inputs(rows, forecast, visits, terminal, out):
    """Write what does not depend on the state, for the ends of periods 0 to T - 2.

    Args:
        rows: Houses, shape (n, 18); capacity > 0.
        forecast: Load, PV, import and export price, shape (n, 4, T).
        visits: The cars' visits, shape (T, 5, n), or (T, 5, 0) where there are no cars.
        terminal: Pay for stored energy at the end, shape (n,), EUR/kWh.
        out: Shape (n, T - 1, INPUTS), single precision; all but the last four are overwritten.
    """
    T = forecast.shape[2]
    sums, slopes = np.zeros((T + 1, 4)), np.empty((T, CELLS))
    merit, x, y = np.empty(STEPS), np.empty(2 * T + 3), np.empty(2 * T + 3)
    for i in range(len(rows)):
        row, ahead, nu = rows[i], forecast[i], terminal[i]
        per_kwh, even = 1.0 / row[CAPACITY], nu / row[ETA_D]
        plan_slopes(row, ahead, nu, slopes)
        for t in range(T):
            net = (ahead[PV, t] - ahead[LOAD, t]) * DT_H
            sums[t + 1, 0] = sums[t, 0] + ahead[BUY, t] - even
            sums[t + 1, 1] = sums[t, 1] + ahead[SELL, t] - nu
            sums[t + 1, 2] = sums[t, 2] + max(net, 0.0) * per_kwh
            sums[t + 1, 3] = sums[t, 3] - min(net, 0.0) * per_kwh
        highest, lowest = -np.inf, np.inf
        before = -1.0
        for t in range(T - 2, -1, -1):
            o = out[i, t]
            angle = 2.0 * np.pi * (t + 1) / STEPS_PER_DAY
            o[0], o[1], o[2] = np.sin(angle), np.cos(angle), (T - 1 - t) / STEPS_PER_DAY
            o[3] = 0.1 * row[CAPACITY]
            o[4] = row[POWER] * per_kwh
            o[5], o[6] = 10.0 * (1.0 - row[ETA_C]), 10.0 * (1.0 - row[ETA_D])
            o[7], o[8] = 100.0 * (1.0 - row[RETENTION]), 100.0 * row[WEAR]
            o[9] = row[PV_KWP] * per_kwh
            o[10] = min(row[INVERTER] / max(row[POWER], 0.1), 10.0)
            o[11] = 10.0 * nu
            for k in range(_BINS):
                a, b = min(t + 1 + _EDGES[k], T), min(t + 1 + _EDGES[k + 1], T)
                share = 10.0 / (b - a) if b > a else 0.0
                o[12 + k] = (sums[b, 0] - sums[a, 0]) * share
                o[12 + _BINS + k] = (sums[b, 1] - sums[a, 1]) * share
                o[12 + 2 * _BINS + k] = sums[b, 2] - sums[a, 2]
                o[12 + 3 * _BINS + k] = sums[b, 3] - sums[a, 3]
            highest, lowest = max(highest, ahead[BUY, t + 1]), min(lowest, ahead[BUY, t + 1])
            o[12 + 4 * _BINS] = 10.0 * (highest - even)
            o[13 + 4 * _BINS] = 10.0 * (lowest - even)
            o[14 + 4 * _BINS] = sums[T, 2] - sums[t + 1, 2]
            o[15 + 4 * _BINS] = sums[T, 3] - sums[t + 1, 3]
            for k in range(CELLS):
                o[PLAN_AT + k] = min(max(10.0 * (slopes[t, k] + nu), -20.0), 20.0)
            c = o[PLAN_AT + CELLS : INPUTS - _FACTORS]
            c[:] = 0.0
            if visits.shape[2] == 0:
                continue
            visit = visits[t + 1, :, i]
            if not np.isfinite(visit[ARRIVAL]):
                continue
            there = plugged(visit, t)
            top, least, low = car_span(row, visit, t)
            step = row[CAR_POWER] * DT_H * row[CAR_ETA_C]
            start = max(t + 1.0, visit[ARRIVAL])
            c[0], c[1] = 1.0 if there else 0.0, 0.0 if there else 1.0
            c[2] = (start - t - 1.0) / STEPS_PER_DAY
            c[3] = (visit[DEPARTURE] - t - 1.0) / STEPS_PER_DAY
            c[4], c[5] = 0.1 * (top - least), (top - least) * per_kwh
            c[6] = 0.1 * (top - low)
            c[7], c[8] = 0.1 * row[CAR_POWER], 0.1 * row[CAR_DISCHARGE]
            c[9] = min((top - least) / (step * (visit[DEPARTURE] - start)), 4.0)
            c[10] = 0.1 * max(top - visit[NEEDED_KWH], 0.0)
            if there or visit[ARRIVAL] != before:
                _merit(row, visit, t, ahead, nu, x, y, merit)
            before = -1.0 if there else visit[ARRIVAL]
            c[11 : 11 + STEPS] = merit
            end = int(visit[DEPARTURE])
            if end < T and np.isfinite(visits[end, ARRIVAL, i]):
                later = visits[end, :, i]
                top, least, _ = car_span(row, later, t)
                c[11 + STEPS] = (later[ARRIVAL] - t - 1.0) / STEPS_PER_DAY
                c[12 + STEPS] = 0.1 * (top - least)
                periods = later[DEPARTURE] - later[ARRIVAL]
                c[13 + STEPS] = min((top - least) / (step * periods), 4.0)


def with_state(inputs: Singles, weather: Floats, price: Floats) -> None:
    """Write the factors observed into the last inputs.

    Args:
        inputs: Shape (..., INPUTS), overwritten at the end.
        weather: Factor on the PV forecast, shape (...).
        price: Factor on the import price, likewise.
    """
    for at, share in ((-4, 2.0 * (weather - 1.0)), (-2, 5.0 * (price - 1.0))):
        inputs[..., at] = share
        inputs[..., at + 1] = share * share


def inputs_of(rows: Floats, forecast: Floats, visits: Floats, terminal: Floats) -> Singles:
    """Inputs of n house-days at the end of every period but the last, without the state.

    Args:
        rows: Houses, shape (n, 18).
        forecast: Load, PV, import and export price, shape (T, 4, n).
        visits: The cars' visits, shape (T, 5, n) or (T, 5, 0).
        terminal: Pay for stored energy at the end, shape (n,), EUR/kWh.

    Returns:
        Shape (n, T - 1, INPUTS), single precision.
    """
    ahead = np.ascontiguousarray(forecast.transpose(2, 1, 0))
    # Losses that pay would not be convex.
    ahead[:, BUY] = ahead[:, BUY].clip(0.0)
    ahead[:, SELL] = np.minimum(ahead[:, SELL], ahead[:, BUY])
    out = np.zeros((len(rows), forecast.shape[0] - 1, INPUTS), dtype=np.float32)
    fill_inputs(standing(rows), ahead, np.ascontiguousarray(visits), terminal, out)
    return out


def standing(rows: Floats) -> Floats:
    """Houses, those without a battery with one of 1 kWh that stands still."""
    rows = np.ascontiguousarray(rows, dtype=np.float64).copy()
    none = rows[:, CAPACITY] <= 0.0
    rows[none, CAPACITY], rows[none, POWER] = 1.0, 0.0
    return rows
