"""The operator's program in active and reactive power: every menu chooses both.

Voltages are rows of the linear model. Two things are not linear once reactive power may be chosen,
and get tangents where an answer needs them:

- the apparent power of a branch stays in the disc of its rating;
- losses. Priced by their derivatives alone, all reactive power would jump to its limits, since it
  costs the houses nothing. So their derivatives at the last AC point are part of the menus, and
  what the squares of the flows add to that, r |S - S0|^2 in each branch, is a cost of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.fairness import Face, even_out
from flexgym.envs.charts.program import Found, Grid
from flexgym.envs.charts.vertex_dispatch import (
    COLD,
    OPTIMAL,
    dispatch_vertices,
    vertices_with_highs,
)
from flexgym.envs.grid.linear import LinDistFlow
from flexgym.envs.household.params import DT_H, Floats

_MOST_ROUNDS = 40
_DISC = 1e-4
"""Apparent power above its limit, relative to it, that asks for no further tangent."""
_LOSS_KW = 0.03
"""Losses that the tangents may leave out in all, kW."""
_STEPS = (1.0, 0.5, 0.25, 0.125)
"""Where the losses get tangents, between the last AC point and the answer that asks for them."""

Tangents = list[tuple[NDArray[np.intp], Floats, Floats, Floats]]
"""Branches, cosines and sines of a direction of power, and radii, see `_Cuts`."""


class VertexOffers:
    """The vertices of all menus side by side.

    Attributes:
        start: First vertex of each menu, then their number, shape (H + 1,).
        menu: Menu of each vertex, shape (V,).
        p: Active powers, shape (V,), kW.
        q: Reactive powers, shape (V,), kvar.
        cost: Costs, shape (V,), EUR.
        own_kw: What each menu's owner would draw by itself, shape (H,), kW.
        own_kvar: Its reactive power, shape (H,), kvar.
    """

    def __init__(self, menus: Sequence[FlexibilityChart]) -> None:
        parts = [menu.vertices for menu in menus]
        count = np.array([len(part) for part in parts])
        self.start: NDArray[np.int64] = np.concatenate([[0], np.cumsum(count)])
        self.menu: NDArray[np.int64] = np.repeat(np.arange(len(parts)), count)
        self.p, self.q, self.cost = np.ascontiguousarray(np.concatenate(parts).T)
        self.own_kw, self.own_kvar = np.array([menu.best for menu in menus]).T

    def total(self, values: Floats) -> Floats:
        """Sum of the values of each menu's vertices, shape (H,)."""
        return np.add.reduceat(values, self.start[:-1])


class ReactiveProgram:
    """Clears menus in active and reactive power by the linear model.

    Args:
        grid: The network, its limits and prices.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        plain, at = grid.plain, np.ix_(grid.counted, grid.bus)
        self._through = plain.subtree[:, grid.bus]
        falls = 2.0 * plain.resistance[at], 2.0 * plain.reactance[at]
        largest = np.maximum(*(np.abs(fall).max(axis=1) for fall in falls))
        self._size: Floats = np.where(largest > 0.0, largest, 1.0)
        scaled = [fall / self._size[:, None] for fall in falls]
        self._a, self._b = (np.vstack([-fall, fall]) for fall in scaled)
        n, branches = len(grid.counted), len(self._through)
        # Variables that break limits: voltages too high, too low, ratings; then losses.
        self._price = np.concatenate(
            [
                *(price * self._size for price in grid.voltage_eur),
                np.full(branches, grid.overload_eur),
                np.full(branches, max(DT_H * grid.loss_eur_per_kwh, 1e-12)),
            ]
        )
        self._n, self._branches = n, branches

    def solve(
        self,
        offers: VertexOffers,
        model: LinDistFlow,
        p_bus: Floats,
        q_bus: Floats,
        fair: bool = False,
        tangents: Tangents | None = None,
    ) -> Found:
        """Cheapest powers of the menus.

        Args:
            offers: The menus.
            model: The linear model, corrected or not.
            p_bus: Active powers at the point of its correction, shape (bus,), kW; else zeros.
            q_bus: Reactive powers there, kvar.
            fair: Whether to spread the activation evenly among answers of the same cost.
            tangents: Those that the solves of a period have needed so far; more are added.
        """
        tangents = [] if tangents is None else tangents
        cuts = _Cuts(self, offers, model, p_bus, q_bus, tangents)
        share, dual, broken, power, q = cuts.solve(fair)
        return self._found(offers, model, cuts, share, dual, broken, power, q)

    def _found(
        self,
        offers: VertexOffers,
        model: LinDistFlow,
        cuts: _Cuts,
        share: Floats,
        dual: Floats,
        broken: Floats,
        power: Floats,
        q: Floats,
    ) -> Found:
        n, branches, grid = self._n, self._branches, self._grid
        a, b, owner, unit = cuts.a, cuts.b, cuts.owner, cuts.unit
        kinds = [owner >= 2 * n + branches, owner < 2 * n]
        kinds.append(~(kinds[0] | kinds[1]))
        prices = [np.stack([dual[k] @ rows[k] / DT_H for k in kinds]) for rows in (a, b)]
        for price, factor in zip(prices, (model.loss_factor, model.loss_factor_q), strict=True):
            price[0] += grid.loss_eur_per_kwh * factor[grid.bus]
        worth: Floats = np.bincount(owner, unit * dual, len(self._price)).astype(np.float64)
        high, low = broken[: 2 * n].reshape(2, -1) * self._size
        least, most = grid.band_pu
        return Found(
            power_kw=power,
            q_kvar=q,
            cost_eur=offers.total(share * offers.cost),
            price_eur_per_kwh=prices[0],
            price_eur_per_kvarh=prices[1],
            voltage_eur=worth[: 2 * n].reshape(2, -1) / self._size,
            branch_eur=worth[2 * n : 2 * n + branches],
            violation_pu=float(high.sum() / (2.0 * most) + low.sum() / (2.0 * least)),
            violation_kva=float(broken[2 * n : 2 * n + branches].sum()),
        )


class _Cuts:
    """The program around one operating point, and the tangents that it has so far."""

    def __init__(
        self,
        program: ReactiveProgram,
        offers: VertexOffers,
        model: LinDistFlow,
        p_bus: Floats,
        q_bus: Floats,
        tangents: Tangents,
    ) -> None:
        grid = program._grid
        self._program, self._offers = program, offers
        none = np.zeros_like(p_bus)
        w = model.squared_voltage(none, none)[grid.counted]
        low, high = grid.band_pu
        self.a, self.b = program._a, program._b
        self.limit = np.concatenate([high**2 - w, w - low**2]) / np.tile(program._size, 2)
        self.owner = np.arange(2 * program._n)
        self.unit = np.ones(2 * program._n)
        self._flow = model.flow_kw, model.flow_kvar
        self._reference = model.flows(p_bus, q_bus)
        self._cap = model.cap_kva * grid.rating_share
        self._kappa = model.loss_kw_per_kva2
        slopes = [
            DT_H * grid.loss_eur_per_kwh * factor[grid.bus][offers.menu]
            for factor in (model.loss_factor, model.loss_factor_q)
        ]
        self._cost = offers.cost + slopes[0] * offers.p + slopes[1] * offers.q
        # Those of the last point are as good around this one: the functions have one shape.
        before = tangents.copy()
        tangents.clear()
        self._tangents = tangents
        for tangent in before:
            self._cut(*tangent)

    def problem(self) -> tuple[Any, ...]:
        """Arguments of `dispatch_vertices` but for ``warm``."""
        offers = self._offers
        columns = (np.ascontiguousarray(rows.T) for rows in (self.a, self.b))
        menus = offers.start, offers.p, offers.q, self._cost
        return *menus, *columns, self.limit, self.owner, self.unit, self._program._price

    def solve(self, fair: bool) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Shares, duals, violations and losses, active and reactive powers of the menus."""
        offers, done, basis = self._offers, 0, COLD
        while True:
            done += 1
            problem = self.problem()
            share, dual, broken, status, _, basis = dispatch_vertices(*problem, warm=basis)
            if status != OPTIMAL:
                share, dual, broken = vertices_with_highs(*problem)
            power, q = offers.total(share * offers.p), offers.total(share * offers.q)
            if done < _MOST_ROUNDS and self._add(power, q, broken):
                continue
            even = None
            if fair:
                even = even_out(Face(*problem, dual=dual), offers.own_kw, offers.own_kvar)
            if even is None:
                return share, dual, broken, power, q
            power, q = (offers.total(even[0] * each) for each in (offers.p, offers.q))
            if done == _MOST_ROUNDS or not self._add(power, q, even[1]):
                return even[0], dual, even[1], power, q

    def _add(self, power: Floats, q: Floats, broken: Floats) -> bool:
        """Add the tangents that an answer needs; whether it needs any."""
        through, n, branches = self._program._through, self._program._n, self._program._branches
        p = self._flow[0] + through @ power
        r = self._flow[1] + through @ q
        over, beside = broken[2 * n : 2 * n + branches], broken[2 * n + branches :]
        apparent = np.hypot(p, r)
        loaded = np.flatnonzero(apparent > self._cap * (1.0 + _DISC) + over)
        dp, dq = p - self._reference[0], r - self._reference[1]
        away = np.hypot(dp, dq)
        missing = np.maximum(self._kappa * away**2 - beside, 0.0)
        lossy = np.flatnonzero(missing > _LOSS_KW / len(missing))
        if self._program._grid.loss_eur_per_kwh == 0.0 or missing.sum() <= _LOSS_KW:
            lossy = lossy[:0]
        if len(loaded):
            size = apparent[loaded]
            self._cut(loaded, p[loaded] / size, r[loaded] / size, np.full(len(loaded), np.nan))
        if len(lossy):
            size = away[lossy]
            for step in _STEPS:
                self._cut(lossy, dp[lossy] / size, dq[lossy] / size, step * size)
        return len(loaded) + len(lossy) > 0

    def _cut(self, branch: NDArray[np.intp], cos: Floats, sin: Floats, radius: Floats) -> None:
        """Add tangents in a direction: of losses at a radius, of ratings where that is nan."""
        self._tangents.append((branch, cos, sin, radius))
        n, branches, through = self._program._n, self._program._branches, self._program._through
        none = cos * self._flow[0][branch] + sin * self._flow[1][branch]
        if np.isnan(radius[0]):
            limit, owner, unit = self._cap[branch], 2 * n + branch, np.ones(len(branch))
        else:
            limit = 0.5 * radius
            limit += cos * self._reference[0][branch] + sin * self._reference[1][branch]
            owner, unit = 2 * n + branches + branch, 0.5 / (self._kappa[branch] * radius)
        self.a = np.vstack([self.a, cos[:, None] * through[branch]])
        self.b = np.vstack([self.b, sin[:, None] * through[branch]])
        self.limit = np.concatenate([self.limit, limit - none])
        self.owner = np.concatenate([self.owner, owner])
        self.unit = np.concatenate([self.unit, unit])
