"""Cost-to-go of battery and car together between two bounds.

The cost-to-go V(e, c) of battery energy e and car energy c is jointly convex but not
separable, so slopes cannot be merged in two dimensions. Both bounds keep exact slope merging
in e and treat c apart, on opposite sides of the conjugate:

- Upper bound: levels of c. Between two levels V lies below the convex hull of both, which is
  a merge of their slopes with scaled lengths (`blend`): kinks that run across the levels,
  where one store stands in for the other, are met. Any subset of the car's powers bounds the
  minimum from above: those that reach a level, the largest and least, and those that bring
  the meter to zero.
- Lower bound: prices of c. V(e, c) is at least max over prices mu of f_mu(e) + mu*c with
  f_mu(e) = min over c of V(e, c) - mu*c. At a price the car is a device that takes what pays,
  one more piece in a sorted list of slopes. The expectation over Markov states and load
  changes prices: there the lines are summed exactly over c and cut at the prices again.

Along e the upper bound keeps chords and the lower one tangents at a common grid (see
`bounds`). Both recursions are monotone, so the exact value lies between.
"""

from __future__ import annotations

import numpy as np

from flexgym.baselines.household.bounds import sample, tangents
from flexgym.envs.charts.recursion import best_battery, convolve
from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import (
    BUY,
    CAPACITY,
    CAR_DISCHARGE,
    CAR_ETA_C,
    CAR_ETA_D,
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
    energy_bill,
    meter,
    next_soc,
)
from flexgym.envs.household.params import DT_H
from flexgym.envs.household.stage import STAGE_PIECES, priced_stage_cost, stage_cost
from flexgym.envs.uncertainty import realised_pv


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
def car_candidates(house, level, later, load_kw, pv_kw, out):
    """Powers of the car worth trying from ``level``, kW, and how many; `out` has room.

    Those that reach a level after the period, the largest and least, and those that bring the
    meter to zero. All are feasible with the battery idle.
    """
    high = min(house[CAR_POWER], max(later[-1] - level, 0.0) / (house[CAR_ETA_C] * DT_H))
    high = min(high, house[IMPORT] + min(pv_kw, house[INVERTER]))
    low = -min(house[CAR_DISCHARGE], level * house[CAR_ETA_D] / DT_H)
    low = max(low, -house[EXPORT] - load_kw)
    n = 0
    for k in range(len(later)):
        change = later[k] - level
        if change >= 0.0:
            power = change / (house[CAR_ETA_C] * DT_H)
        else:
            power = change * house[CAR_ETA_D] / DT_H
        if low <= power <= high:
            out[n] = power
            n += 1
    out[n], out[n + 1], out[n + 2] = low, 0.0, high
    n += 3
    surplus = pv_kw - load_kw
    for other in (0.0, house[POWER], -house[POWER]):
        power = surplus - other
        if low < power < high:
            out[n] = power
            n += 1
    return n


@compiled
def after_car(house, level, car_kw):
    """Energy in the car after a power, kWh."""
    if car_kw > 0.0:
        return level + house[CAR_ETA_C] * car_kw * DT_H
    return level + car_kw * DT_H / house[CAR_ETA_D]


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
        below, share = between(levels, after_car(house, car_kwh, car_kw[m]))
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
    best, powers = np.empty(n), np.zeros(J + 6)
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
                    count = car_candidates(house, levels[k], later, load, pv, powers)
                for c in range(count):
                    power = powers[c] if J > 1 else 0.0
                    below, share = between(later, after_car(house, levels[k], power))
                    above = min(below + 1, J - 1)
                    n_psi, psi_low, psi_cost = stage_cost(
                        house, load, power, pv, buy, now[SELL], psi_slopes, psi_lengths
                    )
                    if power < 0.0 and not _ascending(psi_slopes, n_psi):
                        continue
                    first, segments = blend(
                        ends[s, below], ends[s, above], share, cells, slopes, lengths
                    )
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
def lower_stage(house, now, weather, price, noise, prices, ends, left, right, grid, out):
    """One period back with tangents, for each price of the car's energy.

    Args:
        house: Shape (18,).
        now: Load, PV, import and export price as forecast, shape (4,).
        weather: Weather factor of each Markov state, shape (m,).
        price: Price factor of each Markov state, shape (m,).
        noise: Load factors, shape (w,).
        prices: Slopes mu of the cost in the car's energy, shape (k,); (1,) while it is away.
        ends: f_mu after the period, shape (m, k, n).
        left: Its left-hand slopes, likewise.
        right: Its right-hand slopes, likewise.
        grid: Energies of the battery, shape (n,), kWh.
        out: f_mu and its slopes given the load, shape (3, m, w, k, n), overwritten.
    """
    m, K, n = ends.shape
    size = 2 * n + STAGE_PIECES + 2
    slopes, lengths = np.empty(size), np.empty(size)
    merged, widths = np.empty(size), np.empty(size)
    psi_slopes, psi_lengths = np.empty(STAGE_PIECES), np.empty(STAGE_PIECES)
    out[:] = 0.0
    for s in range(m):
        pv = realised_pv(weather[s], now[PV], house[PV_KWP])
        buy = now[BUY] * price[s]
        for k in range(K):
            count = tangents(ends[s, k], left[s, k], right[s, k], grid, slopes, lengths)
            for w in range(len(noise)):
                load = now[LOAD] * noise[w]
                if K > 1:
                    n_psi, psi_low, psi_cost = priced_stage_cost(
                        house, load, -prices[k], pv, buy, now[SELL], psi_slopes, psi_lengths
                    )
                else:
                    n_psi, psi_low, psi_cost = stage_cost(
                        house, load, 0.0, pv, buy, now[SELL], psi_slopes, psi_lengths
                    )
                start, pieces = convolve(
                    house[RETENTION], house[CAPACITY], ends[s, k, 0], slopes, lengths, 0, count,
                    psi_slopes, psi_lengths, n_psi, psi_low, psi_cost, merged, widths, 0,
                )  # fmt: skip
                sample(
                    start, merged, widths, pieces, grid, out[0, s, w, k], out[1, s, w, k],
                    out[2, s, w, k], 1.0,
                )  # fmt: skip


@compiled
def recombine(parts, weights, prices, targets, least, top, out):
    """Expectation of max over prices of (f_mu + mu*c), as f_mu again.

    Args:
        parts: f_mu and its slopes of every outcome, shape (3, r, k, n).
        weights: Probability of each outcome given each Markov state, shape (m, r).
        prices: Slopes mu, shape (k,), ascending.
        targets: Slopes wanted, shape (j,), ascending.
        least: Least energy the car can have, kWh.
        top: Energy at which charging ends, kWh.
        out: f_mu and its slopes at the targets, shape (3, m, j, n), overwritten.
    """
    _, R, K, n = parts.shape
    m, J = len(weights), len(targets)
    events = R * K
    at, which = np.empty(events), np.empty(events, dtype=np.int64)
    source, target = np.empty(events, dtype=np.int64), np.empty(events, dtype=np.int64)
    first, active = np.empty(R, dtype=np.int64), np.empty(K, dtype=np.int64)
    for i in range(n):
        count = 0
        for r in range(R):
            # Lines that are largest somewhere, and where one follows another as c grows.
            used = 0
            for k in range(K):
                f = parts[0, r, k, i]
                while used > 0:
                    j = active[used - 1]
                    cross = (parts[0, r, j, i] - f) / (prices[k] - prices[j])
                    if used == 1:
                        if cross > 0.0:
                            break
                    elif cross > at[count + used - 2]:
                        break
                    used -= 1
                if used > 0:
                    j = active[used - 1]
                    at[count + used - 1] = (parts[0, r, j, i] - f) / (prices[k] - prices[j])
                active[used] = k
                used += 1
            # Only what happens between least and top counts.
            first[r] = active[0]
            kept = count
            for k in range(used - 1):
                c = at[count + k]
                if c <= least:
                    first[r] = active[k + 1]
                elif c < top:
                    at[kept], which[kept] = c, r
                    source[kept], target[kept] = active[k], active[k + 1]
                    kept += 1
            count = kept
        order = np.argsort(at[:count])
        for s in range(m):
            level, slope, a, b = 0.0, 0.0, 0.0, 0.0
            for r in range(R):
                w = weights[s, r]
                level += w * parts[0, r, first[r], i]
                slope += w * prices[first[r]]
                a += w * parts[1, r, first[r], i]
                b += w * parts[2, r, first[r], i]
            k = 0
            while k < J and targets[k] <= slope:
                out[0, s, k, i] = level + (slope - targets[k]) * least
                out[1, s, k, i], out[2, s, k, i] = a, b
                k += 1
            for e in order:
                c = at[e]
                if k == J:
                    break
                w = weights[s, which[e]]
                if w == 0.0:
                    continue
                r, j, h = which[e], source[e], target[e]
                steeper = w * (prices[h] - prices[j])
                more_a = w * (parts[1, r, h, i] - parts[1, r, j, i])
                more_b = w * (parts[2, r, h, i] - parts[2, r, j, i])
                while k < J and targets[k] <= slope + steeper:
                    share = max(targets[k] - slope, 0.0) / steeper
                    out[0, s, k, i] = level + (slope - targets[k]) * c
                    out[1, s, k, i] = a + share * more_a
                    out[2, s, k, i] = b + share * more_b
                    k += 1
                level += w * (parts[0, r, h, i] - parts[0, r, j, i])
                slope += steeper
                a += more_a
                b += more_b
            while k < J:
                out[0, s, k, i] = level + (slope - targets[k]) * top
                out[1, s, k, i], out[2, s, k, i] = a, b
                k += 1


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
    cells, powers = np.diff(grid), np.zeros(K + 6)
    slopes, lengths = np.empty(2 * n), np.empty(2 * n)
    for i in rows:
        s = state[i]
        load, pv, buy, sell = now[LOAD, i], now[PV, i], now[BUY, i], now[SELL, i]
        count = 1
        if plugged:
            count = car_candidates(house, car_kwh[i], later, load, pv, powers)
        least = np.inf
        for c in range(count):
            car = powers[c] if plugged else 0.0
            below, share = between(later, after_car(house, car_kwh[i], car))
            above = min(below + 1, K - 1)
            cost, pieces = blend(ends[s, below], ends[s, above], share, cells, slopes, lengths)
            battery = best_battery(
                house, soc_kwh[i], load, car, pv, buy, sell, slopes[:pieces], lengths[:pieces]
            )
            used = best_pv(house, battery, load, car, pv, buy, sell)
            p, unserved = meter(house, battery, car, used, load)
            paid, earned = energy_bill(p, buy, sell)
            wear = house[WEAR] * abs(battery) + house[CAR_WEAR] * max(-car, 0.0)
            cost += paid + earned + DT_H * (wear + house[UNSERVED] * unserved)
            stored = next_soc(house, soc_kwh[i], battery)
            for j in range(pieces):
                cost += slopes[j] * min(stored, lengths[j])
                stored -= min(stored, lengths[j])
            if cost < least - 1e-12:
                least = cost
                battery_kw[i], car_kw[i] = battery, car
