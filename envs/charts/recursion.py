"""Exact backward recursion of one store by merging slopes.

With V the cost-to-go at the end of a period and psi the cost of the period against the
change of stored energy, V_t(e) = min_e' V(e') + psi(e' - retention*e) is the infimal
convolution of V with the mirrored psi. For convex piecewise-linear functions that is:
add the left ends, merge the two sorted lists of slopes, cut to the store's limits.
Source: Rockafellar, Convex Analysis (1970), section 16; Tseng & Luo, Math. Program. 74
(1996), for sums and infimal convolutions of piecewise-linear functions.

A function on [0, capacity] is a value at 0 and ascending slopes over lengths.
"""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import (
    CAPACITY,
    DT_H,
    ETA_C,
    ETA_D,
    LOAD,
    PV,
    RETENTION,
    battery_range,
    next_soc,
)
from flexgym.envs.household.stage import STAGE_PIECES, stage_cost

_TIE = 1e-12
"""Slopes that cancel within this, EUR/kWh, are a tie: the energy is stored now. Where export
pays the same all day a plan does not care when to store the surplus, but the sun may not
come back: model predictive control gains several points by it."""


@compiled
def convolve(
    retention, capacity, value, slopes, lengths, first, count, psi_slopes, psi_lengths, psi_count,
    psi_low, psi_cost, out_slopes, out_lengths, out_first,
):  # fmt: skip
    """One step back: min over the next state of cost-to-go plus cost of the period.

    Args:
        retention: Share of stored energy left after the period.
        capacity: Capacity of the store, kWh.
        value: Cost-to-go of the empty store after the period, EUR.
        slopes: Its slopes at ``first:first + count``, EUR/kWh ascending.
        lengths: Lengths of its segments at the same places, kWh.
        first: Where they begin.
        count: Number of its segments.
        psi_slopes: Slopes of the period's cost, first ``psi_count`` used.
        psi_lengths: Lengths of its segments, kWh.
        psi_count: Number of its segments.
        psi_low: Least change of stored energy, kWh.
        psi_cost: Cost there, EUR.
        out_slopes: Overwritten from ``out_first``; room for both lists together.
        out_lengths: Likewise.
        out_first: Where to write.

    Returns:
        Cost-to-go of the empty store before the period (EUR), number of segments written.
    """
    # Merge: few segments of psi, mirrored, go between many of the cost-to-go.
    i, last, n = first, first + count, out_first
    left_end = -psi_low
    here = value + psi_cost
    for j in range(psi_count - 1, -1, -1):
        slope = -psi_slopes[j]
        left_end -= psi_lengths[j]
        here -= slope * psi_lengths[j]
        while i < last and slopes[i] <= slope:
            out_slopes[n] = slopes[i]
            out_lengths[n] = lengths[i]
            n += 1
            i += 1
        if n > out_first and out_slopes[n - 1] == slope:
            out_lengths[n - 1] += psi_lengths[j]
        else:
            out_slopes[n] = slope
            out_lengths[n] = psi_lengths[j]
            n += 1
    while i < last:
        out_slopes[n] = slopes[i]
        out_lengths[n] = lengths[i]
        n += 1
        i += 1
    # (left_end, here) is the left end: the store is empty after charging all it can. Cut the
    # function to [0, retention * capacity].
    front = out_first
    cut = -left_end
    while front < n and out_lengths[front] <= cut:
        cut -= out_lengths[front]
        here += out_slopes[front] * out_lengths[front]
        front += 1
    if front < n and cut > 0.0:
        here += out_slopes[front] * cut
        out_lengths[front] -= cut
    # Counted from the left, so that the lengths add up to the capacity however often they
    # are stretched by a retention below 1.
    left = retention * capacity
    end = front
    while end < n and out_lengths[end] < left:
        left -= out_lengths[end]
        end += 1
    if end < n:
        out_lengths[end] = left
        n = end + 1 if left > 0.0 else end
    elif n > front:
        out_lengths[n - 1] += left
    if front > out_first:
        for k in range(n - front):
            out_slopes[out_first + k] = out_slopes[front + k]
            out_lengths[out_first + k] = out_lengths[front + k]
    n -= front
    if retention != 1.0:
        for k in range(out_first, out_first + n):
            out_slopes[k] *= retention
            out_lengths[k] /= retention
    return here, n


@compiled
def backward(house, series, terminal_price, offset, value, slopes, lengths):
    """Cost-to-go of every period of a known day.

    Args:
        house: Shape (18,), see `house_row`.
        series: Load, PV, import and export price, shape (4, T).
        terminal_price: Pay for stored energy at the end, EUR/kWh.
        offset: Shape (T + 2,), overwritten: segments of period t are
            ``offset[t]:offset[t + 1]`` counted from the end of the day, i.e. position 0
            holds the terminal value and position T the first period.
        value: Shape (T + 1,), overwritten, same order: cost-to-go of the empty store, EUR.
        slopes: Room for all segments, overwritten, EUR/kWh.
        lengths: Likewise, kWh.

    Returns:
        True, or False where the room was too small.
    """
    T = series.shape[1]
    psi_slopes = np.empty(STAGE_PIECES)
    psi_lengths = np.empty(STAGE_PIECES)
    offset[0] = 0
    value[0] = 0.0
    slopes[0] = -terminal_price
    lengths[0] = house[CAPACITY]
    offset[1] = 1 if house[CAPACITY] > 0.0 else 0
    for k in range(T):
        t = T - 1 - k
        start, end = offset[k], offset[k + 1]
        count = end - start
        if end + count + STAGE_PIECES > len(slopes):
            return False
        psi_count, psi_low, psi_cost = stage_cost(
            house, series[0, t], 0.0, series[1, t], series[2, t], series[3, t], psi_slopes,
            psi_lengths,
        )  # fmt: skip
        value[k + 1], n = convolve(
            house[RETENTION], house[CAPACITY], value[k], slopes, lengths, start, count,
            psi_slopes, psi_lengths, psi_count, psi_low, psi_cost, slopes, lengths, end,
        )  # fmt: skip
        offset[k + 2] = end + n
    return True


@compiled
def best_battery(house, soc_kwh, load_kw, car_kw, pv_kw, buy, sell, slopes, lengths):
    """Battery power that minimises cost now plus cost-to-go, kW.

    Args:
        house: Shape (18,).
        soc_kwh: State of charge, kWh.
        load_kw: Load measured, kW.
        car_kw: Power of the car, kW.
        pv_kw: PV measured, kW.
        buy: Import price, EUR/kWh.
        sell: Export price, EUR/kWh.
        slopes: Slopes of the cost-to-go after the period, shape (k,), EUR/kWh ascending.
        lengths: Lengths of its segments, shape (k,), kWh.
    """
    psi_slopes = np.empty(STAGE_PIECES)
    psi_lengths = np.empty(STAGE_PIECES)
    return _best_battery(
        house, soc_kwh, load_kw, car_kw, pv_kw, buy, sell, slopes, lengths, 0, len(slopes),
        psi_slopes, psi_lengths,
    )  # fmt: skip


@compiled
def _best_battery(
    house, soc_kwh, load_kw, car_kw, pv_kw, buy, sell, slopes, lengths, first, last, psi_slopes,
    psi_lengths,
):  # fmt: skip
    """`best_battery` on the segments ``first:last``, with room for the period's cost."""
    count, change, _ = stage_cost(house, load_kw, car_kw, pv_kw, buy, sell, psi_slopes, psi_lengths)
    left = house[RETENTION] * soc_kwh
    # First segment of the cost-to-go that lies above the least reachable energy.
    e = left + change
    j = first
    reach = 0.0
    while j < last and reach + lengths[j] <= e:
        reach += lengths[j]
        j += 1
    for k in range(count):
        end = change + psi_lengths[k]
        if left + end > 0.0:
            change = max(change, -left)
            while change < end:
                if j >= last or psi_slopes[k] + slopes[j] >= _TIE:
                    return _to_power(house, soc_kwh, load_kw, car_kw, pv_kw, change)
                to = reach + lengths[j] - left
                if to > end:
                    break
                reach += lengths[j]
                j += 1
                change = max(change, to)
        change = end
    return _to_power(house, soc_kwh, load_kw, car_kw, pv_kw, change)


@compiled
def _to_power(house, soc_kwh, load_kw, car_kw, pv_kw, change):
    low, high = battery_range(house, soc_kwh, load_kw, car_kw, pv_kw)
    power = change / (house[ETA_C] * DT_H) if change > 0.0 else change * house[ETA_D] / DT_H
    return min(max(power, low), high)


@compiled
def dispatch(house, series, soc_kwh, offset, slopes, lengths, battery_kw):
    """Follow the recursion forward from ``soc_kwh``; writes battery_kw (T,) in kW."""
    T = series.shape[1]
    psi_slopes = np.empty(STAGE_PIECES)
    psi_lengths = np.empty(STAGE_PIECES)
    for t in range(T):
        power = _best_battery(
            house, soc_kwh, series[LOAD, t], 0.0, series[PV, t], series[2, t], series[3, t],
            slopes, lengths, offset[T - 1 - t], offset[T - t], psi_slopes, psi_lengths,
        )  # fmt: skip
        battery_kw[t] = power
        soc_kwh = next_soc(house, soc_kwh, power)
    return soc_kwh
