"""Least cost of convex menus under linear limits: merit order, then a dual simplex.

The slopes of all menus, sorted, are the merit order: without limits every segment of negative
slope is taken. Limits that this breaks get a row, most broken first, and a bounded dual simplex
goes on from there: the basis has as many columns as there are rows, a handful, and all
segments of a menu share one column of coefficients. Its ratio test flips segments between their
ends as it passes them, so that a pivot does the work of many. Every limit may be broken at a
price, so there always is a solution.
"""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled

OPTIMAL, TOO_MANY_ROWS, TOO_MANY_PIVOTS = 0, 1, 2
MOST_ROWS = 128
_MOST_PIVOTS = 2000
_FEASIBLE = 1e-9
_NEGLIGIBLE = 1e-11
_FEW = 12
_NEW_ROWS = 4
"""Rows added at a time; a broken limit often has neighbours that heal with it."""


@compiled
def dispatch(menu, slope, length, low, columns, limit, price):
    """Cheapest powers of menus.

        min  sum(slope * x) + price @ v
        with p = low + sum of the x of each menu,  0 <= x <= length,  v >= 0,
             matrix @ p - v <= limit

    Args:
        menu: Menu of each segment, shape (S,), ascending.
        slope: Cost of a segment's power, shape (S,), EUR/kW, ascending in each menu.
        length: Power of a segment, shape (S,), kW.
        low: Least power of each menu, shape (H,), kW.
        columns: Coefficients of the limits, the matrix transposed, shape (H, R); the largest of
            a row should be about 1, for rows are compared.
        limit: Shape (R,).
        price: What a limit's violation costs, shape (R,), EUR per unit of its row.

    Returns:
        Powers, shape (H,), kW; duals of the limits, shape (R,), what relaxing one by a unit
        saves, EUR, never negative; violations, shape (R,); `OPTIMAL`, or why there is no
        solution; number of pivots.
    """
    S, H, R = len(slope), len(low), len(limit)
    upper = slope < 0.0
    rhs = np.zeros(MOST_ROWS)
    power = _power(menu, length, low, upper)
    rows = np.empty(MOST_ROWS, dtype=np.int64)
    known = np.zeros(R, dtype=np.bool_)
    # Columns: segments, then of each row its slack S + k and its violation S + MOST_ROWS + k.
    basis = np.empty(MOST_ROWS, dtype=np.int64)
    is_basic = np.zeros(S + 2 * MOST_ROWS, dtype=np.bool_)
    inverse = np.empty((MOST_ROWS, MOST_ROWS))
    value, dual = np.zeros(MOST_ROWS), np.zeros(MOST_ROWS)
    pivots, m = 0, 0
    while True:
        m_before = m
        excess = -limit
        for h in range(H):
            for r in range(R):
                excess[r] += columns[h, r] * power[h]
        for _ in range(_NEW_ROWS):
            worst, at = _FEASIBLE, -1
            for r in range(R):
                if excess[r] > worst and not known[r]:
                    worst, at = excess[r], r
            if at < 0:
                break
            if m == MOST_ROWS:
                return power, np.zeros(R), np.zeros(R), TOO_MANY_ROWS, pivots
            known[at] = True
            rows[m] = at
            _append(m, rows, menu, columns, basis, inverse, S)
            basis[m] = S + m
            is_basic[S + m] = True
            m += 1
        if m == m_before:
            break
        status, done = _simplex(
            m, rows, menu, slope, length, low, columns, limit, price, upper, basis, is_basic,
            inverse, rhs, value, dual,
        )  # fmt: skip
        pivots += done
        if status != OPTIMAL:
            return power, np.zeros(R), np.zeros(R), status, pivots
        power = _power(menu, length, low, upper)
        for k in range(m):
            if basis[k] < S:
                power[menu[basis[k]]] += value[k]
    duals, violation = np.zeros(R), np.zeros(R)
    for k in range(m):
        duals[rows[k]] = max(-dual[k], 0.0)
        if basis[k] >= S + MOST_ROWS:
            violation[rows[basis[k] - S - MOST_ROWS]] = max(value[k], 0.0)
    return power, duals, violation, OPTIMAL, pivots


@compiled
def _power(menu, length, low, upper):
    """Powers of the menus by the segments at their upper ends."""
    power = low.copy()
    for j in range(len(menu)):
        if upper[j]:
            power[menu[j]] += length[j]
    return power


@compiled
def _append(m, rows, menu, columns, basis, inverse, S):
    """Extend the inverse of the basis by a row whose slack is basic."""
    for k in range(m):
        total = 0.0
        for i in range(m):
            if basis[i] < S:
                total += columns[menu[basis[i]], rows[m]] * inverse[i, k]
        inverse[m, k] = -total
        inverse[k, m] = 0.0
    inverse[m, m] = 1.0


@compiled
def _simplex(
    m, rows, menu, slope, length, low, columns, limit, price, upper, basis, is_basic, inverse,
    rhs, value, dual,
):  # fmt: skip
    """Bounded dual simplex from a dual feasible basis; its status and pivots."""
    S, H = len(slope), len(low)
    gain, alpha = np.empty(H), np.empty(H)
    column = np.empty(m)
    # What is left of the limits beside the segments that are not in the basis.
    power = _power(menu, length, low, upper)
    for k in range(m):
        if basis[k] < S and upper[basis[k]]:
            power[menu[basis[k]]] -= length[basis[k]]
            upper[basis[k]] = False
    for k in range(m):
        rhs[k] = limit[rows[k]]
        for h in range(H):
            rhs[k] -= columns[h, rows[k]] * power[h]
    for pivot in range(_MOST_PIVOTS):
        # Values of the basis, and the one that breaks its bounds most.
        out, worst, above = -1, _FEASIBLE, False
        for i in range(m):
            total = 0.0
            for k in range(m):
                total += inverse[i, k] * rhs[k]
            value[i] = total
            top = length[basis[i]] if basis[i] < S else np.inf
            if -total > worst:
                out, worst, above = i, -total, False
            if total - top > worst:
                out, worst, above = i, total - top, True
        for k in range(m):
            total = 0.0
            for i in range(m):
                j = basis[i]
                if j < S:
                    total += slope[j] * inverse[i, k]
                elif j >= S + MOST_ROWS:
                    total += price[rows[j - S - MOST_ROWS]] * inverse[i, k]
            dual[k] = total
        if out < 0:
            return OPTIMAL, pivot
        sign = 1.0 if above else -1.0
        for h in range(H):
            worth, effect = 0.0, 0.0
            for k in range(m):
                worth += dual[k] * columns[h, rows[k]]
                effect += inverse[out, k] * columns[h, rows[k]]
            gain[h], alpha[h] = worth, sign * effect
        enter = _ratio_test(
            m, out, worst, sign, S, menu, slope, length, gain, alpha, price, rows, columns, upper,
            is_basic, inverse, dual, rhs,
        )  # fmt: skip
        if enter < 0:
            return TOO_MANY_PIVOTS, pivot
        leave = basis[out]
        is_basic[leave], is_basic[enter] = False, True
        basis[out] = enter
        if leave < S and above:
            upper[leave] = True
            _move(menu[leave], length[leave], m, rows, columns, rhs)
        if enter < S and upper[enter]:
            upper[enter] = False
            _move(menu[enter], -length[enter], m, rows, columns, rhs)
        # The entering column in terms of the basis, then the inverse of the new basis.
        for i in range(m):
            column[i] = _entry(i, enter, m, S, menu, rows, columns, inverse)
        for k in range(m):
            inverse[out, k] /= column[out]
        for i in range(m):
            if i != out and column[i] != 0.0:
                for k in range(m):
                    inverse[i, k] -= column[i] * inverse[out, k]
    return TOO_MANY_PIVOTS, _MOST_PIVOTS


@compiled
def _entry(i, j, m, S, menu, rows, columns, inverse):
    """Coefficient of column j in row i of the tableau."""
    if j >= S + MOST_ROWS:
        return -inverse[i, j - S - MOST_ROWS]
    if j >= S:
        return inverse[i, j - S]
    total = 0.0
    for k in range(m):
        total += inverse[i, k] * columns[menu[j], rows[k]]
    return total


@compiled
def _move(h, change, m, rows, columns, rhs):
    """Take into account that menu h draws more beside the basis."""
    for k in range(m):
        rhs[k] -= columns[h, rows[k]] * change


@compiled
def _ratio_test(
    m, out, worst, sign, S, menu, slope, length, gain, alpha, price, rows, columns, upper,
    is_basic, inverse, dual, rhs,
):  # fmt: skip
    """Column that enters; segments that the step passes flip to their other end."""
    column = np.empty(S + 2 * m, dtype=np.int64)
    ratio, effect, weight = np.empty(S + 2 * m), np.empty(S + 2 * m), np.empty(S + 2 * m)
    count = 0
    for j in range(S):
        a = alpha[menu[j]]
        if not is_basic[j] and abs(a) >= _NEGLIGIBLE and (a > 0.0) != upper[j]:
            column[count], effect[count] = j, abs(a)
            ratio[count] = max((slope[j] - gain[menu[j]]) / a, 0.0)
            weight[count] = abs(a) * length[j]
            count += 1
    for k in range(m):
        a = sign * inverse[out, k]
        j = S + k if a > 0.0 else S + MOST_ROWS + k
        if not is_basic[j] and abs(a) >= _NEGLIGIBLE:
            column[count], effect[count] = j, abs(a)
            ratio[count] = max((-dual[k] if a > 0.0 else price[rows[k]] + dual[k]) / abs(a), 0.0)
            weight[count] = np.inf
            count += 1
    # Everything before ``begin`` is passed, everything from ``end`` on lies beyond the step.
    begin, end = 0, count
    while end - begin > _FEW:
        middle, passed = _part(column, ratio, effect, weight, begin, end)
        if middle == begin:
            break
        if passed < worst:
            worst -= passed
            begin = middle
        else:
            end = middle
    enter = -1
    while begin < end:
        best = begin
        for c in range(begin + 1, end):
            tie = abs(ratio[c] - ratio[best]) <= 1e-12
            if (ratio[c] < ratio[best] and not tie) or (tie and effect[c] > effect[best]):
                best = c
        if weight[best] >= worst:
            enter = column[best]
            break
        # Even the whole segment does not heal the row: take it and look for the next.
        worst -= weight[best]
        _swap(column, ratio, effect, weight, begin, best)
        begin += 1
    for c in range(begin if enter >= 0 else 0):
        j = column[c]
        _move(menu[j], -length[j] if upper[j] else length[j], m, rows, columns, rhs)
        upper[j] = not upper[j]
    return enter


@compiled
def _part(column, ratio, effect, weight, begin, end):
    """Bring ratios below one of them to the front; where they end, and their weight."""
    a, b, c = ratio[begin], ratio[(begin + end) // 2], ratio[end - 1]
    pivot = max(min(a, b), min(max(a, b), c))
    middle, passed = begin, 0.0
    for k in range(begin, end):
        if ratio[k] < pivot:
            passed += weight[k]
            _swap(column, ratio, effect, weight, middle, k)
            middle += 1
    return middle, passed


@compiled
def _swap(column, ratio, effect, weight, a, b):
    column[a], column[b] = column[b], column[a]
    ratio[a], ratio[b] = ratio[b], ratio[a]
    effect[a], effect[b] = effect[b], effect[a]
    weight[a], weight[b] = weight[b], weight[a]
