"""Among dispatches of the same cost, the one that spreads the activation evenly.

Costs of menus are piecewise linear, so that often many dispatches cost the same: alike houses
behind the same limit, one of which would be asked for everything. The duals of the clearing say
which vertices a menu may use and which limits must stay tight for the cost to stay; among those the
squares of the activations, each relative to what its menu spans, are least: those of active power,
and at less weight of reactive power. Activation is the difference to what a house would take by
itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.household.params import Floats

_SAME_EUR = 1e-9
"""Reduced costs below this, relative to one plus the largest cost, are none."""
REACTIVE = 0.1
"""Weight of reactive beside active power. HiGHS goes in circles where it is below 0.05."""


@dataclass(frozen=True)
class Face:
    """A clearing and its duals; shapes as in `vertex_dispatch.dispatch_vertices`.

    Attributes:
        start: First vertex of each menu, then their number, shape (H + 1,).
        p: Active powers of the vertices, shape (V,), kW.
        q: Reactive powers, shape (V,), kvar.
        cost: Costs, the price of losses included, shape (V,), EUR.
        columns_p: Coefficients of active power, shape (H, R).
        columns_q: The same of reactive power, shape (H, R).
        limit: Shape (R,).
        owner: Variable that breaks each limit, shape (R,).
        unit: How far a unit of it lifts the limit, shape (R,).
        price: What a unit costs, shape (G,), EUR.
        dual: Duals of the limits, shape (R,), EUR per unit.
    """

    start: NDArray[np.int64]
    p: Floats
    q: Floats
    cost: Floats
    columns_p: Floats
    columns_q: Floats
    limit: Floats
    owner: NDArray[np.int64]
    unit: Floats
    price: Floats
    dual: Floats


def even_out(face: Face, own_kw: Floats, own_kvar: Floats) -> tuple[Floats, Floats] | None:
    """The most even dispatch of the same cost.

    Args:
        face: The clearing.
        own_kw: What each menu's owner would draw by itself, shape (H,), kW.
        own_kvar: Its reactive power, shape (H,), kvar.

    Returns:
        Shares of the vertices, shape (V,), and the variables that break limits, shape (G,); None
        if there is no choice, or none that HiGHS could find.
    """
    H, V, G = len(face.start) - 1, len(face.cost), len(face.price)
    of = np.repeat(np.arange(H), np.diff(face.start))
    worth_p, worth_q = face.columns_p @ face.dual, face.columns_q @ face.dual
    reduced = face.cost + worth_p[of] * face.p + worth_q[of] * face.q
    reduced -= np.minimum.reduceat(reduced, face.start[:-1])[of]
    same = _SAME_EUR * (1.0 + np.abs(face.cost).max())
    usable = np.flatnonzero(reduced <= same)
    count = np.bincount(of[usable], minlength=H)
    free = np.flatnonzero(count > 1)
    if len(free) == 0:
        return None
    kept = usable[count[of[usable]] > 1]
    fixed = usable[count[of[usable]] == 1]
    menu = np.searchsorted(free, of[kept])
    # Limits: what the fixed menus leave; those that nobody can break any more are left out.
    coefficient = face.columns_p.T[:, of[kept]] * face.p[kept]
    coefficient += face.columns_q.T[:, of[kept]] * face.q[kept]
    left = face.limit - face.columns_p[of[fixed]].T @ face.p[fixed]
    left -= face.columns_q[of[fixed]].T @ face.q[fixed]
    first = np.searchsorted(menu, np.arange(len(free)))
    most = np.maximum.reduceat(coefficient, first, axis=1).sum(axis=1)
    tight = face.dual > _SAME_EUR
    rows = np.flatnonzero(tight | (most > left))
    full = face.price - np.bincount(face.owner, face.unit * face.dual, G) <= _SAME_EUR * face.price
    groups = np.unique(face.owner[rows])
    groups = groups[full[groups]]
    lifted = -face.unit[rows, None] * (face.owner[rows, None] == groups)
    ones = (menu == np.arange(len(free))[:, None]).astype(float)
    span_kw, span_kvar = _span(face.p, face.start)[free], _span(face.q, face.start)[free]
    program = _Program(
        activations=np.vstack([ones * face.p[kept], ones * face.q[kept]]),
        own=np.concatenate([own_kw[free], own_kvar[free]]),
        weight=np.concatenate([1.0 / span_kw**2, REACTIVE / span_kvar**2]),
        ones=ones,
        limits=np.hstack([coefficient[rows], lifted]),
        least=np.where(tight[rows], left[rows], -np.inf),
        most=left[rows],
    )
    found = program.solve()
    if found is None:
        return None
    n = len(kept)
    share, broken = np.zeros(V), np.zeros(G)
    share[fixed] = 1.0
    x = np.maximum(found[:n], 0.0)
    share[kept] = x / np.bincount(menu, x)[menu]
    broken[groups] = np.maximum(found[n : n + len(groups)], 0.0)
    return share, broken


def _span(power: Floats, start: NDArray[np.int64]) -> Floats:
    """What each menu spans, kW or kvar; 1 where that is nothing."""
    span = np.maximum.reduceat(power, start[:-1]) - np.minimum.reduceat(power, start[:-1])
    return np.where(span > 1e-9, span, 1.0)


@dataclass(frozen=True)
class _Program:
    """min sum(weight * (activations @ x - own)^2) over shares x and z, with limits on both."""

    activations: Floats
    own: Floats
    weight: Floats
    ones: Floats
    limits: Floats
    least: Floats
    most: Floats

    def solve(self) -> Floats | None:
        """Shares and z by HiGHS; None if it found no optimum."""
        import highspy

        F, n = self.ones.shape
        Z, K = self.limits.shape[1] - n, 2 * F
        # Columns: shares, z, then the activations relative to what the menus span.
        root = np.sqrt(self.weight)
        link = np.hstack([self.activations * root[:, None], np.zeros((K, Z)), -np.eye(K)])
        sums = np.hstack([self.ones, np.zeros((F, Z + K))])
        matrix = np.vstack([sums, link, np.hstack([self.limits, np.zeros((len(self.least), K))])])
        shift = root * self.own
        model = highspy.HighsModel()
        lp = model.lp_
        lp.num_col_, lp.num_row_ = n + Z + K, len(matrix)
        lp.col_cost_ = np.zeros(n + Z + K)
        lp.col_lower_ = np.concatenate([np.zeros(n + Z), np.full(K, -highspy.kHighsInf)])
        lp.col_upper_ = np.full(n + Z + K, highspy.kHighsInf)
        lp.row_lower_ = np.concatenate([np.ones(F), shift, self.least])
        lp.row_upper_ = np.concatenate([np.ones(F), shift, self.most])
        row, column = np.nonzero(matrix)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.searchsorted(row, np.arange(len(matrix) + 1)).astype(np.int32)
        lp.a_matrix_.index_ = column.astype(np.int32)
        lp.a_matrix_.value_ = matrix[row, column]
        hessian = model.hessian_
        hessian.dim_ = n + Z + K
        hessian.format_ = highspy.HessianFormat.kTriangular
        hessian.start_ = np.concatenate([np.zeros(n + Z), np.arange(K + 1)]).astype(np.int32)
        hessian.index_ = np.arange(n + Z, n + Z + K, dtype=np.int32)
        hessian.value_ = np.full(K, 2.0)
        highs = highspy.Highs()
        highs.setOptionValue("output_flag", False)
        highs.setOptionValue("threads", 1)
        highs.setOptionValue("qp_iteration_limit", 5 * (n + Z + K + len(matrix)))
        highs.passModel(model)
        highs.run()
        if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        return np.array(highs.getSolution().col_value)
