"""The basis of the dual simplex of `vertex_dispatch`, and what changes it.

Columns are vertices v, slacks V + k of row k, and violations V + MOST_ROWS + g. The key vertex of
each menu stands outside: the others count as their differences to it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.compiled import compiled
from flexgym.envs.household.params import Floats

MOST_ROWS = 128
NEGLIGIBLE = 1e-10


class Menus(NamedTuple):
    """Vertices side by side: first of each menu, menu of each, kW, kvar, EUR."""

    start: NDArray[np.int64]
    of: NDArray[np.int64]
    p: Floats
    q: Floats
    cost: Floats


class Rows(NamedTuple):
    """Limits with a row: place in the list of all, coefficients, and who pays for them."""

    at: NDArray[np.int64]
    a: Floats
    b: Floats
    limit: Floats
    owner: NDArray[np.int64]
    unit: Floats
    price: Floats


class Basis(NamedTuple):
    """Keys, the columns in the basis, how many each menu has beside its key, and the numbers."""

    key: NDArray[np.int64]
    column: NDArray[np.int64]
    has: NDArray[np.bool_]
    count: NDArray[np.int64]
    inverse: Floats
    value: Floats
    dual: Floats
    rhs: Floats


@compiled
def shares(m, menus, basis, G):
    """Shares of all vertices, and violations, by the values of the basis."""
    V = len(menus.cost)
    share, broken = np.zeros(V), np.zeros(G)
    for h in range(len(basis.key)):
        share[basis.key[h]] = 1.0
    for i in range(m):
        j, x = basis.column[i], max(basis.value[i], 0.0)
        if j < V:
            share[j] = x
            share[basis.key[menus.of[j]]] -= x
        elif j >= V + MOST_ROWS:
            broken[j - V - MOST_ROWS] = x
    for h in range(len(basis.key)):
        share[basis.key[h]] = max(share[basis.key[h]], 0.0)
    return share, broken


@compiled
def entry_of(k, j, menus, rows, basis):
    """Coefficient of column j in row k, beside the key of its menu."""
    V = len(menus.cost)
    if j >= V + MOST_ROWS:
        r = rows.at[k]
        return -rows.unit[r] if rows.owner[r] == j - V - MOST_ROWS else 0.0
    if j >= V:
        return 1.0 if j - V == k else 0.0
    h = menus.of[j]
    key = basis.key[h]
    return rows.a[k, h] * (menus.p[j] - menus.p[key]) + rows.b[k, h] * (menus.q[j] - menus.q[key])


@compiled
def append(m, menus, rows, basis):
    """Extend the basis by row m, whose slack is basic."""
    inverse = basis.inverse
    inverse[m, : m + 1] = 0.0
    for i in range(m):
        entry = entry_of(m, basis.column[i], menus, rows, basis)
        for k in range(m):
            inverse[m, k] -= entry * inverse[i, k]
        inverse[i, m] = 0.0
    inverse[m, m] = 1.0
    basis.column[m] = len(menus.cost) + m
    basis.has[len(menus.cost) + m] = True
    basis.rhs[m] = _rest(m, menus, rows, basis)


@compiled
def _rest(k, menus, rows, basis):
    """What the keys leave of the limit of row k."""
    rest = rows.limit[rows.at[k]]
    for h in range(len(basis.key)):
        rest -= rows.a[k, h] * menus.p[basis.key[h]] + rows.b[k, h] * menus.q[basis.key[h]]
    return rest


@compiled
def set_rhs(m, menus, rows, basis):
    """The right-hand side anew."""
    for k in range(m):
        basis.rhs[k] = _rest(k, menus, rows, basis)


@compiled
def forget(m, V, rows, basis, known):
    """Drop the rows whose slack is basic; how many are left."""
    inverse, column = basis.inverse, basis.column
    for i in range(m - 1, -1, -1):
        if not V <= column[i] < V + MOST_ROWS:
            continue
        k, last = column[i] - V, m - 1
        known[rows.at[k]] = False
        basis.has[column[i]] = False
        # The last column of the basis and the last row take the places that become free.
        column[i] = column[last]
        for c in range(m):
            inverse[i, c] = inverse[last, c]
        basis.value[i] = basis.value[last]
        for c in range(last):
            inverse[c, k] = inverse[c, last]
        rows.at[k], basis.rhs[k], basis.dual[k] = rows.at[last], basis.rhs[last], basis.dual[last]
        rows.a[k], rows.b[k] = rows.a[last], rows.b[last]
        if k != last and basis.has[V + last]:
            basis.has[V + last], basis.has[V + k] = False, True
            for c in range(last):
                if column[c] == V + last:
                    column[c] = V + k
        m = last
    return m


@compiled
def rekey(h, v, m, menus, rows, basis):
    """Let vertex v stand for menu h in the right-hand side."""
    key = basis.key[h]
    dp, dq = menus.p[v] - menus.p[key], menus.q[v] - menus.q[key]
    for k in range(m):
        basis.rhs[k] -= rows.a[k, h] * dp + rows.b[k, h] * dq
    basis.key[h] = v


@compiled
def set_duals(m, menus, rows, basis):
    """Duals of the basis."""
    V = len(menus.cost)
    basis.dual[:m] = 0.0
    for i in range(m):
        j, cost = basis.column[i], 0.0
        if j < V:
            cost = menus.cost[j] - menus.cost[basis.key[menus.of[j]]]
        elif j >= V + MOST_ROWS:
            cost = rows.price[j - V - MOST_ROWS]
        if cost != 0.0:
            for k in range(m):
                basis.dual[k] += cost * basis.inverse[i, k]


@compiled
def replace(m, out, enter, menus, rows, basis):
    """Let a column take the place of another; whether the numbers allow it."""
    V, inverse = len(menus.cost), basis.inverse
    entry, column = np.empty(m), np.zeros(m)
    for k in range(m):
        entry[k] = entry_of(k, enter, menus, rows, basis)
    for i in range(m):
        for k in range(m):
            column[i] += inverse[i, k] * entry[k]
    if abs(column[out]) < NEGLIGIBLE:
        return False
    leave = basis.column[out]
    basis.has[leave], basis.has[enter] = False, True
    if leave < V:
        basis.count[menus.of[leave]] -= 1
    if enter < V:
        basis.count[menus.of[enter]] += 1
    basis.column[out] = enter
    for k in range(m):
        inverse[out, k] /= column[out]
    for i in range(m):
        if i != out and column[i] != 0.0:
            for k in range(m):
                inverse[i, k] -= column[i] * inverse[out, k]
    return True


@compiled
def invert(m, menus, rows, basis):
    """The inverse anew, by Gauss and Jordan; whether the basis has one."""
    work, inverse = np.empty((m, m)), np.eye(m)
    for k in range(m):
        for i in range(m):
            work[k, i] = entry_of(k, basis.column[i], menus, rows, basis)
    for c in range(m):
        pivot = c
        for k in range(c + 1, m):
            if abs(work[k, c]) > abs(work[pivot, c]):
                pivot = k
        if abs(work[pivot, c]) < 1e-13:
            return False
        for k in range(m):
            work[c, k], work[pivot, k] = work[pivot, k], work[c, k]
            inverse[c, k], inverse[pivot, k] = inverse[pivot, k], inverse[c, k]
        scale = 1.0 / work[c, c]
        for k in range(m):
            work[c, k] *= scale
            inverse[c, k] *= scale
        for i in range(m):
            factor = work[i, c]
            if i != c and factor != 0.0:
                for k in range(m):
                    work[i, k] -= factor * work[c, k]
                    inverse[i, k] -= factor * inverse[c, k]
    basis.inverse[:m, :m] = inverse
    return True
