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
MOST_ROWS = 64
_MOST_PIVOTS = 2000
_FEASIBLE = 1e-9
_NEGLIGIBLE = 1e-11
_NEW_ROWS = 4
"""Rows added at a time; a broken limit often has neighbours that heal with it."""


@compiled
def dispatch(menu, slope, length, low, matrix, limit, price):
    """Cheapest powers of menus.

        min  sum(slope * x) + price @ v
        with p = low + sum of the x of each menu,  0 <= x <= length,  v >= 0,
             matrix @ p - v <= limit

    Args:
        menu: Menu of each segment, shape (S,), ascending.
        slope: Cost of a segment's power, shape (S,), EUR/kW, ascending in each menu.
        length: Power of a segment, shape (S,), kW.
        low: Least power of each menu, shape (H,), kW.
        matrix: Coefficients of the limits, shape (R, H).
        limit: Shape (R,).
        price: What a limit's violation costs, shape (R,), EUR per unit of its row.

    Returns:
        Powers, shape (H,), kW; duals of the limits, shape (R,), what relaxing one by a unit
        saves, EUR, never negative; violations, shape (R,); `OPTIMAL`, or why there is no
        solution; number of pivots.
    """
    S, H, R = len(slope), len(low), len(limit)
    scale = np.ones(R)
    for r in range(R):
        largest = np.abs(matrix[r]).max()
        scale[r] = largest if largest > 0.0 else 1.0
    upper = slope < 0.0
    rhs = np.zeros(MOST_ROWS)
    power = _power(menu, length, low, upper)
    rows = np.empty(MOST_ROWS, dtype=np.int64)
    known = np.zeros(R, dtype=np.bool_)
    # Columns: segments, then of each row its slack S + k and its violation S + MOST_ROWS + k.
    basis = np.empty(MOST_ROWS, dtype=np.int64)
    is_basic = np.zeros(S + 2 * MOST_ROWS, dtype=np.bool_)
    inverse = np.zeros((MOST_ROWS, MOST_ROWS))
    value, dual = np.zeros(MOST_ROWS), np.zeros(MOST_ROWS)
    pivots, m = 0, 0
    while True:
        m_before = m
        for _ in range(_NEW_ROWS):
            worst, at = _FEASIBLE, -1
            for r in range(R):
                if not known[r]:
                    above = -limit[r]
                    for h in range(H):
                        above += matrix[r, h] * power[h]
                    if above > worst * scale[r]:
                        worst, at = above / scale[r], r
            if at < 0:
                break
            if m == MOST_ROWS:
                return power, np.zeros(R), np.zeros(R), TOO_MANY_ROWS, pivots
            known[at] = True
            rows[m] = at
            _append(m, rows, menu, matrix, basis, inverse, S)
            basis[m] = S + m
            is_basic[S + m] = True
            m += 1
        if m == m_before:
            break
        status, done = _simplex(
            m, rows, menu, slope, length, low, matrix, limit, price, upper, basis, is_basic,
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
def _append(m, rows, menu, matrix, basis, inverse, S):
    """Extend the inverse of the basis by a row whose slack is basic."""
    for k in range(m):
        total = 0.0
        for i in range(m):
            if basis[i] < S:
                total += matrix[rows[m], menu[basis[i]]] * inverse[i, k]
        inverse[m, k] = -total
        inverse[k, m] = 0.0
    inverse[m, m] = 1.0


@compiled
def _simplex(
    m, rows, menu, slope, length, low, matrix, limit, price, upper, basis, is_basic, inverse,
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
            rhs[k] -= matrix[rows[k], h] * power[h]
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
                worth += dual[k] * matrix[rows[k], h]
                effect += inverse[out, k] * matrix[rows[k], h]
            gain[h], alpha[h] = worth, sign * effect
        enter = _ratio_test(
            m, out, worst, sign, S, menu, slope, length, gain, alpha, price, rows, matrix, upper,
            is_basic, inverse, dual, rhs,
        )  # fmt: skip
        if enter < 0:
            return TOO_MANY_PIVOTS, pivot
        leave = basis[out]
        is_basic[leave], is_basic[enter] = False, True
        basis[out] = enter
        if leave < S and above:
            upper[leave] = True
            _move(menu[leave], length[leave], m, rows, matrix, rhs)
        if enter < S and upper[enter]:
            upper[enter] = False
            _move(menu[enter], -length[enter], m, rows, matrix, rhs)
        # The entering column in terms of the basis, then the inverse of the new basis.
        for i in range(m):
            column[i] = _entry(i, enter, m, S, menu, rows, matrix, inverse)
        for k in range(m):
            inverse[out, k] /= column[out]
        for i in range(m):
            if i != out and column[i] != 0.0:
                for k in range(m):
                    inverse[i, k] -= column[i] * inverse[out, k]
    return TOO_MANY_PIVOTS, _MOST_PIVOTS


@compiled
def _entry(i, j, m, S, menu, rows, matrix, inverse):
    """Coefficient of column j in row i of the tableau."""
    if j >= S + MOST_ROWS:
        return -inverse[i, j - S - MOST_ROWS]
    if j >= S:
        return inverse[i, j - S]
    total = 0.0
    for k in range(m):
        total += inverse[i, k] * matrix[rows[k], menu[j]]
    return total


@compiled
def _move(h, change, m, rows, matrix, rhs):
    """Take into account that menu h draws more beside the basis."""
    for k in range(m):
        rhs[k] -= matrix[rows[k], h] * change


@compiled
def _ratio_test(
    m, out, worst, sign, S, menu, slope, length, gain, alpha, price, rows, matrix, upper,
    is_basic, inverse, dual, rhs,
):  # fmt: skip
    """Column that enters; segments that the step passes flip to their other end."""
    flipped = np.zeros(S, dtype=np.bool_)
    while True:
        enter, least, strongest = -1, np.inf, 0.0
        for j in range(S):
            a = alpha[menu[j]]
            if is_basic[j] or flipped[j] or abs(a) < _NEGLIGIBLE or (a > 0.0) == upper[j]:
                continue
            ratio = max((slope[j] - gain[menu[j]]) / a, 0.0)
            tie = abs(ratio - least) <= 1e-12
            if (ratio < least and not tie) or (tie and abs(a) > strongest):
                enter, least, strongest = j, ratio, abs(a)
        for k in range(m):
            effect = sign * inverse[out, k]
            for j, a, d in (
                (S + k, effect, -dual[k]),
                (S + MOST_ROWS + k, -effect, price[rows[k]] + dual[k]),
            ):
                if is_basic[j] or a < _NEGLIGIBLE:
                    continue
                ratio = max(d / a, 0.0)
                tie = abs(ratio - least) <= 1e-12
                if (ratio < least and not tie) or (tie and a > strongest):
                    enter, least, strongest = j, ratio, a
        if enter < 0 or enter >= S:
            return enter
        left = worst - strongest * length[enter]
        if left <= 0.0:
            return enter
        # Even the whole segment does not heal the row: take it and look for the next.
        worst = left
        flipped[enter] = True
        change = -length[enter] if upper[enter] else length[enter]
        upper[enter] = not upper[enter]
        _move(menu[enter], change, m, rows, matrix, rhs)
