"""Functions of the battery's energy for each price of the car's: see `priced_day`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.charts.recursion import convolve
from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import BUY, CAPACITY, LOAD, PV, RETENTION, SELL
from flexgym.envs.household.params import Floats
from flexgym.envs.household.stage import STAGE_PIECES, priced_stage_cost, stage_cost


class Lines(NamedTuple):
    """Functions of the battery's energy for k prices of the car's, over a stretch of periods.

    They are found when they are first asked for. The stage of a period counts from the last
    one down: 0 is the end of the stretch.

    Attributes:
        prices: Shape (k,), ascending, EUR/kWh; one that does not matter while the car is away.
        house: Shape (18,).
        series: Load, PV, import and export price, shape (4, T).
        span: First period, period after the last, and 1 if the car is there, shape (3,).
        end_value: Cost-to-go of the empty battery at the end for each price, shape (k,), EUR.
        end_slopes: Its slopes there, the same for all prices, EUR/kWh.
        end_lengths: Lengths of its segments, kWh.
        used: Segments found so far, and 1 if there was no room for more, shape (2,).
        ready: Whether the functions of a price are found, shape (k,).
        offset: Shape (k, stages + 1): segments at a stage are ``offset[k, stage]`` to
            ``offset[k, stage + 1]``.
        value: Cost-to-go of the empty battery, shape (k, stages), EUR.
        slopes: Slopes of all segments found, with room for more, EUR/kWh.
        lengths: Their lengths, kWh.
    """

    prices: Floats
    house: Floats
    series: Floats
    span: NDArray[np.int64]
    end_value: Floats
    end_slopes: Floats
    end_lengths: Floats
    used: NDArray[np.int64]
    ready: NDArray[np.bool_]
    offset: NDArray[np.int64]
    value: Floats
    slopes: Floats
    lengths: Floats


@compiled
def find(lines, k):
    """Find the functions of a price by merging slopes, from the end of the stretch back.

    Returns:
        Whether there was room for their segments; else ``used`` says so, and all answers that
        follow are worth nothing. (An exception would leak the arrays.)
    """
    house, series, slopes, lengths = lines.house, lines.series, lines.slopes, lines.lengths
    psi_slopes, psi_lengths = np.empty(STAGE_PIECES), np.empty(STAGE_PIECES)
    offset, value = lines.offset[k], lines.value[k]
    first, last, plugged = lines.span
    n, size = lines.used[0], len(lines.end_slopes)
    if n + size > len(slopes):
        lines.used[1] = 1
        return False
    offset[0] = n
    slopes[n : n + size], lengths[n : n + size] = lines.end_slopes, lines.end_lengths
    n += size
    offset[1], value[0] = n, lines.end_value[k]
    for s in range(last - first):
        t = last - 1 - s
        begin = offset[s]
        if n + (n - begin) + STAGE_PIECES > len(slopes):
            lines.used[1] = 1
            return False
        load, pv, buy, sell = series[LOAD, t], series[PV, t], series[BUY, t], series[SELL, t]
        if plugged:
            count, low, cost = priced_stage_cost(
                house, load, lines.prices[k], pv, buy, sell, psi_slopes, psi_lengths
            )
        else:
            count, low, cost = stage_cost(house, load, 0.0, pv, buy, sell, psi_slopes, psi_lengths)
        value[s + 1], more = convolve(
            house[RETENTION], house[CAPACITY], value[s], slopes, lengths, begin, n - begin,
            psi_slopes, psi_lengths, count, low, cost, slopes, lengths, n,
        )  # fmt: skip
        n += more
        offset[s + 2] = n
    lines.used[0], lines.ready[k] = n, True
    return True


@compiled
def at_price(stage, lines, k, soc_kwh):
    """W at an energy and its slope to the right (to the left at the end).

    Args:
        stage: Stage of the period.
        lines: See `Lines`.
        k: Position of the price.
        soc_kwh: Energy in the battery, kWh.
    """
    if not lines.ready[k] and not find(lines, k):
        return 0.0, 0.0
    value, slope = lines.value[k, stage], 0.0
    for j in range(lines.offset[k, stage], lines.offset[k, stage + 1]):
        slope = lines.slopes[j]
        part = min(soc_kwh, lines.lengths[j])
        value += slope * part
        soc_kwh -= part
        if soc_kwh <= 0.0 and part < lines.lengths[j]:
            break
    return value, slope


@compiled
def dearest(stage, lines, soc_kwh, car_kwh, low, high):
    """Position of the price at which W(e; mu) - mu*c is largest: it is concave in mu.

    Args:
        stage: Stage of the period.
        lines: See `Lines`.
        soc_kwh: Energy in the battery, kWh.
        car_kwh: Energy in the car, kWh.
        low: Position of the least price that may be it.
        high: Of the largest.
    """
    prices = lines.prices
    while low < high:
        middle = (low + high) // 2
        here, _ = at_price(stage, lines, middle, soc_kwh)
        there, _ = at_price(stage, lines, middle + 1, soc_kwh)
        if there - here > (prices[middle + 1] - prices[middle]) * car_kwh:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def along_battery(stage, lines, low, high, car_kwh, least, most, x, y):
    """The function of the battery's energy beside one of the car's, exactly; its length.

    Where the lines of both ends of an interval meet, either a third one lies above, or the
    function bends.

    Args:
        stage: See `dearest`.
        lines: Likewise.
        low: Likewise.
        high: Likewise.
        car_kwh: Energy in the car, kWh.
        least: Where it begins, kWh.
        most: Where it ends, kWh.
        x: Room, overwritten: energies at which the function bends, kWh.
        y: Values there, EUR.

    Returns:
        Number of points, or -1 where the room was too small.
    """
    prices, room = lines.prices, len(x)
    k = dearest(stage, lines, least, car_kwh, low, high)
    left, slope = at_price(stage, lines, k, least)
    x[0], y[0] = least, left - prices[k] * car_kwh
    n = 1
    if most - least <= 1e-12:
        return n
    # Intervals still to look at, as a stack of right ends; the left end is the last point.
    k = dearest(stage, lines, most, car_kwh, low, high)
    right, right_slope = at_price(stage, lines, k, most)
    ends = np.empty((room, 3))
    ends[0, 0], ends[0, 1], ends[0, 2] = most, right - prices[k] * car_kwh, right_slope
    waiting = 1
    while waiting > 0:
        e, v, s = ends[waiting - 1, 0], ends[waiting - 1, 1], ends[waiting - 1, 2]
        rise = s - slope
        meet = (y[n - 1] - v + s * e - slope * x[n - 1]) / rise if rise > 1e-12 else e
        if x[n - 1] + 1e-10 < meet < e - 1e-10:
            k = dearest(stage, lines, meet, car_kwh, low, high)
            found, at = at_price(stage, lines, k, meet)
            found -= prices[k] * car_kwh
            line = y[n - 1] + slope * (meet - x[n - 1])
            if found > line + 1e-12 * (1.0 + abs(line)):
                if waiting == room:
                    return -1
                ends[waiting, 0], ends[waiting, 1], ends[waiting, 2] = meet, found, at
                waiting += 1
                continue
            e, v = meet, found
        else:
            waiting -= 1
        if n == room:
            return -1
        x[n], y[n] = e, v
        slope = s
        n += 1
    return n


@compiled
def bends(stage, lines, least, most, first, last, marks, levels):
    """Energies of the car between which V is linear along lines, in a box; and their number.

    They are those of V's vertices in the box, and of its edges at the marks.

    Args:
        stage: See `dearest`.
        lines: Likewise.
        least: Least energy of the battery, kWh.
        most: Largest, kWh.
        first: Least energy of the car, kWh.
        last: Largest, kWh.
        marks: Energies of the battery at which an edge matters, kWh.
        levels: Room, overwritten, in no order, kWh.

    Returns:
        Number of levels or -1 where the room was too small; least and largest position of a
        price that counts in the box.
    """
    prices, offset, lengths = lines.prices, lines.offset, lines.lengths
    low, high = len(prices) - 1, 0
    for e in (least, most):
        for c in (first, last):
            k = dearest(stage, lines, e, c, 0, len(prices) - 1)
            low, high = min(low, k), max(high, k)
    levels[0], levels[1] = first, last
    n = 2
    if low == high or last - first <= 1e-9:
        return n, low, high
    # Between these energies of the battery every price's function is linear.
    room = 2 + len(marks)
    for k in range(low, high + 1):
        if not lines.ready[k] and not find(lines, k):
            return -1, low, high
        room += offset[k, stage + 1] - offset[k, stage]
    at = np.empty(room)
    at[0], at[1] = least, most
    m = 2
    for e in marks:
        if least < e < most:
            at[m] = e
            m += 1
    for k in range(low, high + 1):
        e = 0.0
        for j in range(offset[k, stage], offset[k, stage + 1]):
            e += lengths[j]
            if least < e < most:
                at[m] = e
                m += 1
    at = np.sort(at[:m])
    count = high - low + 1
    active = np.empty(count, dtype=np.int64)
    known = np.zeros(count, dtype=np.bool_)
    before = np.empty(count, dtype=np.int64)
    n_before = 0
    start = least
    for i in range(m):
        e = at[i]
        if i > 0 and e - start <= 1e-11:
            continue
        used, top = 0, high
        c = first
        while True:
            k = dearest(stage, lines, e, c, low, top)
            active[used] = k
            used += 1
            if k == low:
                break
            # From where its line ends on a lower price counts.
            c = _end_of(stage, lines, e, k, low, first, last)
            if c >= last - 1e-10:
                break
            if n == len(levels):
                return -1, low, high
            levels[n] = c
            n += 1
            top = k - 1
        if i > 0:
            known[:] = False
            for k in range(n_before):
                known[before[k] - low] = True
            for k in range(used):
                known[active[k] - low] = True
            n = _corners(stage, lines, start, e, first, last, known, low, high, levels, n)
            if n < 0:
                return -1, low, high
        before[:used] = active[:used]
        n_before, start = used, e
    return n, low, high


@compiled
def _end_of(stage, lines, soc_kwh, k, low, first, last):
    """Energy of the car above which the line of price k is not the largest any more, kWh."""
    prices = lines.prices
    here, _ = at_price(stage, lines, k, soc_kwh)
    end = last
    for j in range(low, k):
        there, _ = at_price(stage, lines, j, soc_kwh)
        end = min(end, max((here - there) / (prices[k] - prices[j]), first))
    return end


@compiled
def _corners(stage, lines, start, end, first, last, known, low, high, levels, n):
    """Add the car's energies where three prices are worth the same; the new number of levels.

    Between ``start`` and ``end`` all functions are linear. ``known`` are the prices that count
    at both; others that count only between are found where corners turn out too low.
    """
    prices = lines.prices
    count = high - low + 1
    left, right = np.empty(count), np.empty(count)
    for k in range(count):
        left[k], _ = at_price(stage, lines, low + k, start)
        right[k], _ = at_price(stage, lines, low + k, end)
    again = True
    while again:
        again = False
        base = n
        for a in range(count):
            if not known[a]:
                continue
            for b in range(a):
                if not known[b]:
                    continue
                for d in range(b):
                    if not known[d]:
                        continue
                    # Energies at which a meets b, and b meets d, both linear on the way.
                    ab, bd = prices[low + a] - prices[low + b], prices[low + b] - prices[low + d]
                    one = (left[a] - left[b]) / ab, (right[a] - right[b]) / ab
                    two = (left[b] - left[d]) / bd, (right[b] - right[d]) / bd
                    gap = one[0] - two[0], one[1] - two[1]
                    if gap[0] * gap[1] >= 0.0:
                        continue
                    share = gap[0] / (gap[0] - gap[1])
                    c = one[0] + share * (one[1] - one[0])
                    if not first + 1e-10 < c < last - 1e-10:
                        continue
                    worth = left[a] + share * (right[a] - left[a]) - prices[low + a] * c
                    e = start + share * (end - start)
                    k = dearest(stage, lines, e, c, low, high)
                    best = left[k - low] + share * (right[k - low] - left[k - low]) - prices[k] * c
                    if best > worth + 1e-11:
                        if not known[k - low]:
                            known[k - low] = True
                            again = True
                        continue
                    if n == len(levels):
                        return -1
                    levels[n] = c
                    n += 1
        if again:
            n = base
    return n
