"""Cost-to-go of battery and car together between two bounds: the upper one.

The cost-to-go V(e, c) of battery energy e and car energy c is jointly convex but not
separable, so slopes cannot be merged in two dimensions. Both bounds keep exact slope merging
in e and treat c apart, on opposite sides of the conjugate:

- Upper bound: levels of c. Between two levels V lies below the convex hull of both, which is
  a merge of their slopes with scaled lengths (`blend`): kinks that run across the levels,
  where one store stands in for the other, are met. Any subset of the car's powers bounds the
  minimum from above: those that reach a level, the largest and least, and those that bring
  the meter to zero.
- Lower bound: prices of c, see `car_prices`.

Along e the upper bound keeps chords and the lower one tangents at a common grid (see
`bounds`). Both recursions are monotone, so the exact value lies between.
"""

from __future__ import annotations

import numpy as np

from flexgym.envs.charts.recursion import best_battery, convolve
from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import (
    BUY,
    CAPACITY,
    CAR_DISCHARGE,
    CAR_POWER,
    CAR_WEAR,
    EXPORT,
    IMPORT,
    INVERTER,
    LOAD,
    POWER,
    PV,
    PV_KWP,
    RETENTION,
    SELL,
    UNSERVED,
    WEAR,
    best_pv,
    car_change,
    car_power,
    energy_bill,
    inverter_range,
    meter,
    next_soc,
    store_range,
)
from flexgym.envs.household.params import DT_H
from flexgym.envs.household.stage import STAGE_PIECES, stage_cost
from flexgym.envs.uncertainty import realised_pv

_CANDIDATES = 18
"""Most powers of the car that are tried besides one for each level."""


@compiled
def _convexify(x, y, stack):
    """Replace y by the lower convex hull of the points (x, y) at x."""
    n = 0
    for k in range(len(x)):
        while n > 1:
            i, j = stack[n - 2], stack[n - 1]
            if (y[j] - y[i]) * (x[k] - x[i]) < (y[k] - y[i]) * (x[j] - x[i]):
                break
            n -= 1
        stack[n] = k
        n += 1
    for m in range(n - 1):
        i, j = stack[m], stack[m + 1]
        for k in range(i + 1, j):
            y[k] = y[i] + (y[j] - y[i]) * (x[k] - x[i]) / (x[j] - x[i])


@compiled
def reaching(house, level, later, out):
    """Powers of the car that reach a level after the period, the least, none and the largest.

    Args:
        house: Shape (18,).
        level: Energy in the car now, kWh.
        later: Energies of the car after the period, shape (k,), ascending, kWh.
        out: Room for k + 3, overwritten, kW.

    Returns:
        Number of powers.
    """
    high = min(house[CAR_POWER], max(car_power(house, later[-1] - level), 0.0))
    low = max(-house[CAR_DISCHARGE], car_power(house, -level))
    out[0], out[1], out[2] = low, 0.0, high
    n = 3
    for k in range(len(later)):
        power = car_power(house, later[k] - level)
        if low < power < high:
            out[n] = power
            n += 1
    return n


@compiled
def _candidates(house, level, later, load_kw, pv_kw, out):
    """Powers of the car worth trying from ``level``, kW, and how many; `out` has room.

    Those of `reaching`, and those that bring the meter to zero or to a limit. Some may need
    the battery's help.
    """
    n = reaching(house, level, later, out)
    low, high = out[0], out[2]
    battery, inverter = house[POWER], house[INVERTER]
    for meter_kw in (0.0, house[IMPORT], -house[EXPORT]):
        # Beside battery and roof at their own ends, or at those of the inverter.
        for other in (-pv_kw, battery - pv_kw, -battery - pv_kw, inverter, -inverter):
            power = meter_kw - load_kw - other
            if low < power < high:
                out[n] = power
                n += 1
    return n


@compiled
def _alone(house, car_kw, load_kw, pv_kw):
    """Whether a power of the car is feasible with the battery idle."""
    most = house[IMPORT] + min(pv_kw, house[INVERTER])
    return -house[EXPORT] - load_kw <= car_kw <= most


@compiled
def _beside(house, soc_kwh, load_kw, car_kw, pv_kw, buy, sell, value, slopes, lengths):
    """Least cost beside a power of the car, EUR, and the battery power that makes it, kW.

    Infinite where the car's power is not feasible. The battery powers tried are those that
    are best for a convex cost, and the kinks of one that is not.
    """
    r_low, r_high = inverter_range(house, load_kw, car_kw)
    low, high = store_range(house, soc_kwh)
    low, high = max(low, r_low), min(high, r_high + pv_kw)
    least, best = np.inf, 0.0
    if low > high + 1e-9:
        return least, best
    high = max(low, high)
    drawn = load_kw + car_kw
    for battery in (
        best_battery(house, soc_kwh, load_kw, car_kw, pv_kw, buy, sell, slopes, lengths),
        min(max(0.0, low), high),
        min(max(pv_kw - drawn, low), high),
        min(max(pv_kw - drawn + house[IMPORT], low), high),
        min(max(pv_kw - drawn - house[EXPORT], low), high),
        low,
        high,
    ):
        used = best_pv(house, battery, load_kw, car_kw, pv_kw, buy, sell)
        p, unserved = meter(house, battery, car_kw, used, load_kw)
        paid, earned = energy_bill(p, buy, sell)
        wear = house[WEAR] * abs(battery) + house[CAR_WEAR] * max(-car_kw, 0.0)
        cost = value + paid + earned + DT_H * (wear + house[UNSERVED] * unserved)
        stored = next_soc(house, soc_kwh, battery)
        for j in range(len(slopes)):
            part = min(stored, lengths[j])
            cost += slopes[j] * part
            stored -= part
        if cost < least - 1e-12:
            least, best = cost, battery
    return least, best


@compiled
def between(levels, at):
    """Position below and share of the way to the next level."""
    n = len(levels)
    if n == 1 or at <= levels[0]:
        return 0, 0.0
    if at >= levels[n - 1]:
        return n - 2, 1.0
    k = np.searchsorted(levels, at) - 1
    return k, (at - levels[k]) / (levels[k + 1] - levels[k])


@compiled
def blend(lower, upper, share, cells, slopes, lengths):
    """Convex hull of the functions at two levels, a share of the way from one to the other.

    Args:
        lower: Values of the first at the grid, shape (n,), convex.
        upper: Values of the second, likewise.
        share: In [0, 1].
        cells: Lengths of the grid's cells, shape (n - 1,).
        slopes: Room for 2 * (n - 1), overwritten, ascending.
        lengths: Likewise.

    Returns:
        Value at the grid's start, number of segments.
    """
    n = len(cells)
    start = (1.0 - share) * lower[0] + share * upper[0]
    if share <= 1e-12 or share >= 1.0 - 1e-12:
        one = lower if share <= 0.5 else upper
        for j in range(n):
            slopes[j], lengths[j] = (one[j + 1] - one[j]) / cells[j], cells[j]
        return one[0], n
    i, j, count = 0, 0, 0
    a, b = (lower[1] - lower[0]) / cells[0], (upper[1] - upper[0]) / cells[0]
    while i < n or j < n:
        if j == n or (i < n and a <= b):
            slopes[count], lengths[count] = a, (1.0 - share) * cells[i]
            i += 1
            if i < n:
                a = (lower[i + 1] - lower[i]) / cells[i]
        else:
            slopes[count], lengths[count] = b, share * cells[j]
            j += 1
            if j < n:
                b = (upper[j + 1] - upper[j]) / cells[j]
        count += 1
    return start, count


@compiled
def blends(house, ends, levels, grid, car_kwh, car_kw, starts, x, y):
    """Functions of the battery's energy beside powers of the car; see `CarLevels`.

    Args:
        house: Shape (18,).
        ends: Values after the period, shape (k, n).
        levels: Energies of the car there, shape (k,), kWh.
        grid: Energies of the battery, shape (n,), kWh.
        car_kwh: Energy in the car now, kWh.
        car_kw: Powers of the car, shape (m,), kW.
        starts: Shape (m + 1,), overwritten.
        x: Room for m * (2 * n - 1), overwritten.
        y: Likewise.
    """
    n = len(grid)
    cells = np.diff(grid)
    slopes, lengths = np.empty(2 * n), np.empty(2 * n)
    at = 0
    for m in range(len(car_kw)):
        starts[m] = at
        below, share = between(levels, car_kwh + car_change(house, car_kw[m]))
        above = min(below + 1, len(levels) - 1)
        value, count = blend(ends[below], ends[above], share, cells, slopes, lengths)
        x[at], y[at] = grid[0], value
        for k in range(count):
            x[at + 1], y[at + 1] = x[at] + lengths[k], y[at] + slopes[k] * lengths[k]
            at += 1
        at += 1
    starts[len(car_kw)] = at


@compiled
def _ascending(slopes, count):
    """Whether slopes ascend: beside a car that gives while export costs they may not."""
    falls = False
    for k in range(1, count):
        falls |= slopes[k] < slopes[k - 1] - 1e-12
    return not falls


@compiled
def _values(value, slopes, lengths, count, grid, out):
    """Lower ``out`` to the function's values at the grid points."""
    k = 0
    start = 0.0
    here = value
    for j in range(len(out)):
        e = grid[j]
        while k < count - 1 and start + lengths[k] <= e - 1e-12:
            here += slopes[k] * lengths[k]
            start += lengths[k]
            k += 1
        out[j] = min(out[j], here + slopes[k] * (e - start))


@compiled
def upper_stage(house, now, weather, price, noise, chance, ends, later, levels, grid, out):
    """One period back with chords.

    Args:
        house: Shape (18,).
        now: Load, PV, import and export price as forecast, shape (4,).
        weather: Weather factor of each Markov state, shape (m,).
        price: Price factor of each Markov state, shape (m,).
        noise: Load factors.
        chance: Their probabilities.
        ends: Expected value after the period, shape (m, j, n).
        later: Energies of the car there, shape (j,), kWh; j = 1 while it is away.
        levels: Energies of the car before, shape (k,), kWh.
        grid: Energies of the battery, shape (n,), kWh.
        out: Value before the period, shape (m, k, n), overwritten.
    """
    m, J, n = ends.shape
    K = len(levels)
    size = 2 * n + STAGE_PIECES
    slopes, lengths = np.empty(size), np.empty(size)
    merged, widths = np.empty(size), np.empty(size)
    psi_slopes, psi_lengths = np.empty(STAGE_PIECES), np.empty(STAGE_PIECES)
    best, powers = np.empty(n), np.zeros(J + _CANDIDATES)
    stack = np.empty(max(n, K), dtype=np.int64)
    cells = np.diff(grid)
    for s in range(m):
        pv = realised_pv(weather[s], now[PV], house[PV_KWP])
        buy = now[BUY] * price[s]
        for k in range(K):
            out[s, k, :] = 0.0
            for w in range(len(noise)):
                load = now[LOAD] * noise[w]
                best[:] = np.inf
                count = 1
                if J > 1:
                    count = _candidates(house, levels[k], later, load, pv, powers)
                for c in range(count):
                    power = powers[c] if J > 1 else 0.0
                    below, share = between(later, levels[k] + car_change(house, power))
                    above = min(below + 1, J - 1)
                    n_psi, psi_low, psi_cost = stage_cost(
                        house, load, power, pv, buy, now[SELL], psi_slopes, psi_lengths
                    )
                    first, segments = blend(
                        ends[s, below], ends[s, above], share, cells, slopes, lengths
                    )
                    convex = power >= 0.0 or _ascending(psi_slopes, n_psi)
                    if not (convex and _alone(house, power, load, pv)):
                        # Slopes cannot be merged: energy by energy.
                        for j in range(n):
                            cost, _ = _beside(
                                house, grid[j], load, power, pv, buy, now[SELL], first,
                                slopes[:segments], lengths[:segments],
                            )  # fmt: skip
                            best[j] = min(best[j], cost)
                        continue
                    start, pieces = convolve(
                        house[RETENTION], house[CAPACITY], first, slopes, lengths, 0, segments,
                        psi_slopes, psi_lengths, n_psi, psi_low, psi_cost, merged, widths, 0,
                    )  # fmt: skip
                    _values(start, merged, widths, pieces, grid, best)
                # Convex in e for each outcome: between two powers tried lie those that were not.
                _convexify(grid, best, stack)
                for j in range(n):
                    out[s, k, j] += chance[w] * best[j]
        if K > 1:
            for j in range(n):
                column = out[s, :, j].copy()
                _convexify(levels, column, stack)
                out[s, :, j] = column
        for k in range(K):
            _convexify(grid, out[s, k], stack)


@compiled
def greedy(
    rows, house, plugged, ends, later, grid, soc_kwh, car_kwh, now, state, battery_kw, car_kw
):  # fmt: skip
    """Powers that minimise the cost of the period plus the upper bound after it.

    Args:
        rows: Rows of the batch to play.
        house: Their house, shape (18,).
        plugged: Whether the car is there.
        ends: Expected upper bound after the period, shape (m, k, n).
        later: Energies of the car there, shape (k,), kWh.
        grid: Energies of the battery, shape (n,), kWh.
        soc_kwh: Energy in the battery of each row, kWh.
        car_kwh: Energy in the car of each row, kWh.
        now: Load, PV, import and export price measured, shape (4, rows).
        state: Markov state of each row.
        battery_kw: Overwritten at the rows, kW.
        car_kw: Likewise.
    """
    n, K = len(grid), len(later)
    cells, powers = np.diff(grid), np.zeros(K + _CANDIDATES)
    slopes, lengths = np.empty(2 * n), np.empty(2 * n)
    for i in rows:
        s = state[i]
        load, pv, buy, sell = now[LOAD, i], now[PV, i], now[BUY, i], now[SELL, i]
        count = 1
        if plugged:
            count = _candidates(house, car_kwh[i], later, load, pv, powers)
        least = np.inf
        for c in range(count):
            car = powers[c] if plugged else 0.0
            below, share = between(later, car_kwh[i] + car_change(house, car))
            above = min(below + 1, K - 1)
            value, pieces = blend(ends[s, below], ends[s, above], share, cells, slopes, lengths)
            cost, battery = _beside(
                house, soc_kwh[i], load, car, pv, buy, sell, value, slopes[:pieces],
                lengths[:pieces],
            )  # fmt: skip
            if cost < least - 1e-12:
                least = cost
                battery_kw[i], car_kw[i] = battery, car
