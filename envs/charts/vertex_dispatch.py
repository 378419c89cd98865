"""Least cost of menus in active and reactive power under linear limits: a dual simplex.

Each menu takes a convex combination of its vertices. Without limits every menu takes its cheapest
one. Limits that this breaks get a row, most broken first, and a dual simplex with generalised
upper bounds (Dantzig and Van Slyke, J. Comput. Syst. Sci. 1:213, 1967) goes on from there: one
vertex of each menu, its key, stands for the menu's condition that shares add up to one, so that
the basis has as many columns as there are rows, a handful. A menu that takes one vertex alone
changes it when the ratio test passes a better one, so that a pivot does the work of many. Every
limit may be broken at a price, so there always is a solution.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.charts.vertex_basis import (
    MOST_ROWS,
    NEGLIGIBLE,
    Basis,
    Menus,
    Rows,
    append,
    forget,
    invert,
    rekey,
    replace,
    set_duals,
    set_rhs,
    shares,
)
from flexgym.envs.compiled import compiled
from flexgym.envs.errors import SolverError
from flexgym.envs.household.params import Floats

COLD: NDArray[np.int64] = np.empty(0, dtype=np.int64)
OPTIMAL, TOO_MANY_ROWS, TOO_MANY_PIVOTS, INACCURATE = 0, 1, 2, 3
_MOST_PIVOTS = 5000
_FEASIBLE = 1e-9
_KEPT = 1e-7
"""How well known limits must hold in the end; else the inverse has lost its digits."""
_TIE = 1e-12
_NEW_ROWS = 4
_ROOM = 32
"""Rows from which on those that do not bind any more are forgotten."""
_REFRESH = 60
"""Pivots after which the inverse is computed anew."""
_STALLED = 40
"""Steps without gain after which Bland's rule takes over, which cannot cycle."""


@compiled
def dispatch_vertices(start, p, q, cost, columns_p, columns_q, limit, owner, unit, price, warm):
    """Cheapest shares of the vertices of menus.

        min  sum(cost * share) + price @ z
        with the shares of each menu >= 0 and adding up to 1,  z >= 0,
             A p_h + B q_h - unit * z[owner] <= limit,  p_h = sum(share * p), q_h alike

    Args:
        start: First vertex of each menu, then their number, shape (H + 1,); no menu is empty.
        p: Active powers of the vertices, shape (V,), kW.
        q: Reactive powers, shape (V,), kvar.
        cost: Costs, shape (V,), EUR.
        columns_p: A transposed, shape (H, R); the largest of a row of A and B should be about 1.
        columns_q: B transposed, shape (H, R).
        limit: Shape (R,).
        owner: Variable that breaks each limit, shape (R,), from 0 to G - 1.
        unit: How far one unit of it lifts the limit, shape (R,), positive.
        price: What a unit costs, shape (G,), EUR, positive.
        warm: Basis of an answer to the same problem with fewer limits, those first; `COLD` is none.

    Returns:
        Shares, shape (V,); duals of the limits, shape (R,), what relaxing one by a unit saves,
        EUR, never negative; z, shape (G,); `OPTIMAL`, or why there is no solution; number of
        pivots; basis for ``warm``.
    """
    H, V, R, G = len(start) - 1, len(cost), len(limit), len(price)
    of, key = np.empty(V, dtype=np.int64), np.empty(H, dtype=np.int64)
    for h in range(H):
        key[h] = start[h]
        for v in range(start[h], start[h + 1]):
            of[v] = h
            if cost[v] < cost[key[h]]:
                key[h] = v
    menus = Menus(start, of, p, q, cost)
    at = np.empty(MOST_ROWS, dtype=np.int64)
    a, b = np.empty((MOST_ROWS, H)), np.empty((MOST_ROWS, H))
    rows = Rows(at, a, b, limit, owner, unit, price)
    basis = Basis(
        key,
        np.empty(MOST_ROWS, dtype=np.int64),
        np.zeros(V + MOST_ROWS + G, dtype=np.bool_),
        np.zeros(H, dtype=np.int64),
        np.empty((MOST_ROWS, MOST_ROWS)),
        np.zeros(MOST_ROWS),
        np.zeros(MOST_ROWS),
        np.zeros(MOST_ROWS),
    )
    known = np.zeros(R, dtype=np.bool_)
    pivots, m = 0, 0
    if len(warm) > 0:
        m = (len(warm) - H) // 2
        key[:] = warm[:H]
        for k in range(m):
            at[k] = warm[H + k]
            known[at[k]] = True
            for h in range(H):
                a[k, h], b[k, h] = columns_p[h, at[k]], columns_q[h, at[k]]
        for i in range(m):
            j = warm[H + m + i]
            basis.column[i], basis.has[j] = j, True
            if j < V:
                basis.count[of[j]] += 1
        set_rhs(m, menus, rows, basis)
        status = OPTIMAL if invert(m, menus, rows, basis) else INACCURATE
        if status == OPTIMAL:
            status, pivots = _simplex(m, menus, rows, basis)
        if status != OPTIMAL:
            return np.zeros(V), np.zeros(R), np.zeros(G), status, pivots, COLD
    while True:
        share, broken = shares(m, menus, basis, G)
        excess = -limit
        for h in range(H):
            power, reactive = 0.0, 0.0
            for v in range(start[h], start[h + 1]):
                power += share[v] * p[v]
                reactive += share[v] * q[v]
            for r in range(R):
                excess[r] += columns_p[h, r] * power + columns_q[h, r] * reactive
        for r in range(R):
            excess[r] -= unit[r] * broken[owner[r]]
            if known[r] and excess[r] > _KEPT:
                return share, np.zeros(R), broken, INACCURATE, pivots, COLD
        if m > _ROOM:
            m = forget(m, V, rows, basis, known)
        m_before = m
        for _ in range(_NEW_ROWS):
            worst, new = _FEASIBLE, -1
            for r in range(R):
                if excess[r] > worst and not known[r]:
                    worst, new = excess[r], r
            if new < 0:
                break
            if m == MOST_ROWS:
                return share, np.zeros(R), broken, TOO_MANY_ROWS, pivots, COLD
            known[new] = True
            at[m] = new
            for h in range(H):
                a[m, h], b[m, h] = columns_p[h, new], columns_q[h, new]
            append(m, menus, rows, basis)
            m += 1
        if m == m_before:
            break
        if pivots > _MOST_PIVOTS:
            return share, np.zeros(R), broken, TOO_MANY_PIVOTS, pivots, COLD
        status, done = _simplex(m, menus, rows, basis)
        pivots += done
        if status != OPTIMAL:
            return share, np.zeros(R), broken, status, pivots, COLD
    dual = np.zeros(R)
    for k in range(m):
        dual[at[k]] = max(-basis.dual[k], 0.0)
    kept = np.concatenate((key, at[:m], basis.column[:m]))
    return share, dual, broken, OPTIMAL, pivots, kept


@compiled
def _simplex(m, menus, rows, basis):
    """Dual simplex from a dual feasible basis; its status and pivots."""
    H = len(basis.key)
    gain, effect = np.zeros((2, H)), np.zeros((2, H))
    ratio, best = np.empty(H), np.empty(H, dtype=np.int64)
    stalled = 0
    for pivot in range(_MOST_PIVOTS):
        if pivot % _REFRESH == _REFRESH - 1 and not invert(m, menus, rows, basis):
            return INACCURATE, pivot
        bland = stalled > _STALLED
        out = _leaving(m, menus, rows, basis, bland)
        set_duals(m, menus, rows, basis)
        if out < 0:
            return OPTIMAL, pivot
        gain[:], effect[:] = 0.0, 0.0
        for k in range(m):
            y, rho = basis.dual[k], basis.inverse[out, k]
            for h in range(H):
                gain[0, h] += y * rows.a[k, h]
                gain[1, h] += y * rows.b[k, h]
                effect[0, h] += rho * rows.a[k, h]
                effect[1, h] += rho * rows.b[k, h]
        enter, step = _entering(m, out, bland, menus, rows, basis, gain, effect, ratio, best)
        if enter < 0 or not replace(m, out, enter, menus, rows, basis):
            return INACCURATE, pivot
        stalled = stalled + 1 if step <= _TIE else 0
    return TOO_MANY_PIVOTS, _MOST_PIVOTS


@compiled
def _leaving(m, menus, rows, basis, bland):
    """Values of the basis; where the column stands that is most negative, or -1.

    A key that is to leave changes places with the largest other vertex of its menu first.
    """
    V, value = len(menus.cost), basis.value
    left = np.ones(len(basis.key))
    for i in range(m):
        total = 0.0
        for k in range(m):
            total += basis.inverse[i, k] * basis.rhs[k]
        value[i] = total
        if basis.column[i] < V:
            left[menus.of[basis.column[i]]] -= total
    out, worst, menu, first = -1, -_FEASIBLE, -1, len(basis.has)
    for i in range(m):
        j = basis.column[i]
        if value[i] < -_FEASIBLE and (j < first if bland else value[i] < worst):
            out, worst, menu, first = i, value[i], -1, j
        if j < V:
            h = menus.of[j]
            if left[h] < -_FEASIBLE and (basis.key[h] < first if bland else left[h] < worst):
                out, worst, menu, first = i, left[h], h, basis.key[h]
    if menu >= 0:
        for i in range(m):
            j = basis.column[i]
            if j < V and menus.of[j] == menu and value[i] > value[out]:
                out = i
        for i in range(m):
            j = basis.column[i]
            if i != out and j < V and menus.of[j] == menu:
                for k in range(m):
                    basis.inverse[out, k] += basis.inverse[i, k]
        for k in range(m):
            basis.inverse[out, k] = -basis.inverse[out, k]
        key, j = basis.key[menu], basis.column[out]
        basis.has[j], basis.has[key] = False, True
        basis.column[out], value[out] = key, worst
        rekey(menu, j, m, menus, rows, basis)
    return out


@compiled
def _entering(m, out, bland, menus, rows, basis, gain, effect, ratio, best):
    """Column that enters and how far the duals move; menus of one vertex change it on the way."""
    H, V, need = len(basis.key), len(menus.cost), -basis.value[out]
    leaving = basis.column[out]
    own = menus.of[leaving] if leaving < V else -1
    for h in range(H):
        _next_vertex(h, bland, menus, basis, gain, effect, ratio, best)
    column, limit = _next_other(m, out, bland, V, rows, basis)
    while True:
        menu, step = -1, limit + _TIE if bland else limit
        for h in range(H):
            if best[h] >= 0 and ratio[h] < step:
                menu, step = h, ratio[h]
        if menu < 0:
            return column, limit
        if bland:
            for h in range(menu, -1, -1):
                if best[h] >= 0 and ratio[h] <= step + _TIE:
                    menu = h
            return best[menu], ratio[menu]
        v, key = best[menu], basis.key[menu]
        dp, dq = menus.p[key] - menus.p[v], menus.q[key] - menus.q[v]
        drop = effect[0, menu] * dp + effect[1, menu] * dq
        alone = basis.count[menu] == (1 if own == menu else 0)
        if not alone or drop >= need - NEGLIGIBLE:
            return v, step
        # Even all of the menu does not heal the row: take this vertex and look for the next.
        need -= drop
        rekey(menu, v, m, menus, rows, basis)
        _next_vertex(menu, bland, menus, basis, gain, effect, ratio, best)


@compiled
def _next_vertex(h, bland, menus, basis, gain, effect, ratio, best):
    """Vertex of a menu whose reduced cost falls to that of the key first, and when."""
    key = basis.key[h]
    p, q, cost = menus.p, menus.q, menus.cost
    gp, gq, ep, eq = gain[0, h], gain[1, h], effect[0, h], effect[1, h]
    zero, most = cost[key] - gp * p[key] - gq * q[key], ep * p[key] + eq * q[key]
    first, at, size = np.inf, -1, 0.0
    for v in range(menus.start[h], menus.start[h + 1]):
        drop = most - ep * p[v] - eq * q[v]
        if drop <= NEGLIGIBLE:
            continue
        rest = max(cost[v] - gp * p[v] - gq * q[v] - zero, 0.0)
        if rest > (first + _TIE) * drop or basis.has[v]:
            continue
        t = rest / drop
        if t < first - _TIE or (drop > size and not bland):
            first, at, size = t, v, drop
    ratio[h], best[h] = first, at


@compiled
def _next_other(m, out, bland, V, rows, basis):
    """Slack or violation whose reduced cost falls to zero first, and when."""
    fall, worth = np.zeros(len(rows.price)), rows.price.copy()
    for k in range(m):
        r = rows.at[k]
        fall[rows.owner[r]] += rows.unit[r] * basis.inverse[out, k]
        worth[rows.owner[r]] += rows.unit[r] * basis.dual[k]
    column, first, size = -1, np.inf, 0.0
    for k in range(m):
        group = rows.owner[rows.at[k]]
        for j in (V + k, V + MOST_ROWS + group):
            if basis.has[j]:
                continue
            drop, rest = fall[group], worth[group]
            if j == V + k:
                drop, rest = -basis.inverse[out, k], -basis.dual[k]
            if drop > NEGLIGIBLE:
                t = max(rest, 0.0) / drop
                tie = abs(t - first) <= _TIE
                if (t < first and not tie) or (tie and (j < column if bland else drop > size)):
                    column, first, size = j, t, drop
    return column, first


def vertices_with_highs(
    start: NDArray[np.int64],
    p: Floats,
    q: Floats,
    cost: Floats,
    columns_p: Floats,
    columns_q: Floats,
    limit: Floats,
    owner: NDArray[np.int64],
    unit: Floats,
    price: Floats,
) -> tuple[Floats, Floats, Floats]:
    """As `dispatch_vertices`, by HiGHS: the fall-back and the oracle.

    Returns:
        Shares, duals of the limits and z.

    Raises:
        SolverError: HiGHS found no optimum.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix, hstack

    H, V, R, G = len(start) - 1, len(cost), len(limit), len(price)
    of = np.repeat(np.arange(H), np.diff(start))
    lifted = csr_matrix((-unit, (np.arange(R), owner)), shape=(R, G))
    one = csr_matrix((np.ones(V), (of, np.arange(V))), shape=(H, V + G))
    found = linprog(
        np.concatenate([cost, price]),
        hstack([csr_matrix(columns_p.T[:, of] * p + columns_q.T[:, of] * q), lifted], format="csr"),
        limit,
        one,
        np.ones(H),
        method="highs",
    )
    if found.status != 0:
        raise SolverError(
            f"HiGHS found no optimum of the clearing ({found.message}); expected one, since every "
            "limit may be broken at a price. Check the menus for powers of very different size."
        )
    return found.x[:V], -found.ineqlin.marginals, found.x[V:]
