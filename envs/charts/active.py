"""The operator's program in active power: menus read by their least cost over reactive power."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.fairness import Face, even_out
from flexgym.envs.charts.merit_order import OPTIMAL, dispatch
from flexgym.envs.charts.program import Found, Grid
from flexgym.envs.errors import SolverError
from flexgym.envs.grid.linear import LinDistFlow
from flexgym.envs.household.params import DT_H, Floats


class Offers:
    """The segments of all menus side by side, read by their least cost over reactive power."""

    def __init__(self, menus: Sequence[FlexibilityChart]) -> None:
        self.menus = menus
        powers = [menu.power_kw for menu in menus]
        count = np.array([len(power) - 1 for power in powers])
        self.low: Floats = np.array([power[0] for power in powers])
        self.menu: NDArray[np.int64] = np.repeat(np.arange(len(menus)), count)
        self.length: Floats = np.concatenate([np.diff(power) for power in powers])
        rise = np.concatenate([np.diff(menu.cost_eur) for menu in menus])
        self.slope: Floats = rise / self.length

    def cost(self, power_kw: Floats) -> Floats:
        """Cost of each menu at powers, EUR; rounding may leave a menu by a hair."""
        cost = np.empty(len(power_kw))
        for h, (menu, power) in enumerate(zip(self.menus, power_kw, strict=True)):
            x = menu.power_kw
            cost[h] = menu.cost(min(max(power, x[0]), x[-1]))
        return cost

    def breakpoints(self) -> tuple[NDArray[np.int64], Floats, Floats]:
        """First breakpoint of each menu and their number; powers, kW, and costs, EUR."""
        count = [len(menu.power_kw) for menu in self.menus]
        powers = np.concatenate([menu.power_kw for menu in self.menus])
        costs = np.concatenate([menu.cost_eur for menu in self.menus])
        return np.concatenate([[0], np.cumsum(count)]), powers, costs

    def own_kw(self) -> Floats:
        """What each menu's owner would draw by itself, kW."""
        return np.array([menu.best_power_kw for menu in self.menus])


class ActiveProgram:
    """Clears menus of active power beside given reactive power by the linear model.

    Args:
        grid: The network, its limits and prices.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        plain, counted = grid.plain, grid.counted
        # One row a limit: highest and lowest voltages, then power down and up each branch.
        fall = 2.0 * plain.resistance[np.ix_(counted, grid.bus)]
        through = plain.subtree[:, grid.bus]
        matrix = np.vstack([-fall, fall, through, -through])
        # Squared voltages beside kW: rows are scaled to like size for the solver.
        largest = np.abs(matrix).max(axis=1)
        self._size: Floats = np.where(largest > 0.0, largest, 1.0)
        self._columns: Floats = np.ascontiguousarray((matrix / self._size[:, None]).T)
        overload = np.full(2 * len(through), grid.overload_eur)
        price = np.concatenate([np.repeat(grid.voltage_eur, len(counted)), overload])
        self._price: Floats = price * self._size

    def problem(self, offers: Offers, model: LinDistFlow, q_bus: Floats) -> tuple:
        """The linear program: arguments of `dispatch`."""
        grid, none = self._grid, np.zeros_like(q_bus)
        w = model.squared_voltage(none, q_bus)[grid.counted]
        flow, cap = model.flows(none, q_bus)[0], model.caps_kw(q_bus) * grid.rating_share
        low, high = grid.band_pu
        limit = np.concatenate([high**2 - w, w - low**2, cap - flow, cap + flow])
        slope = offers.slope + self._loss_slope(model)[offers.menu]
        menus = offers.menu, slope, offers.length, offers.low
        return *menus, self._columns, limit / self._size, self._price

    def solve(self, offers: Offers, model: LinDistFlow, q_kvar: Floats, fair: bool) -> Found:
        """Cheapest powers of the menus.

        Args:
            offers: The menus.
            model: The linear model, corrected or not.
            q_kvar: Reactive power of the menus' owners, shape (H,), kvar.
            fair: Whether to spread the activation evenly among answers of the same cost.

        Raises:
            SolverError: Even HiGHS found no optimum.
        """
        grid = self._grid
        problem = self.problem(offers, model, grid.at_buses(q_kvar))
        power, dual, violation, status, _ = dispatch(*problem)
        if status != OPTIMAL:
            power, dual, violation = solve_with_highs(*problem)
        if fair:
            power, violation = self._even(offers, model, problem[5], power, dual, violation)
        b, (low, high) = len(grid.counted), grid.band_pu
        worth = self._columns.T * dual[:, None] / DT_H
        losses = grid.loss_eur_per_kwh * model.loss_factor[grid.bus]
        dual, violation = dual / self._size, violation * self._size
        above, below = violation[: 2 * b].reshape(2, -1).sum(axis=1)
        return Found(
            power_kw=power,
            q_kvar=q_kvar,
            cost_eur=offers.cost(power),
            price_eur_per_kwh=np.stack(
                [losses, worth[: 2 * b].sum(axis=0), worth[2 * b :].sum(axis=0)]
            ),
            price_eur_per_kvarh=np.zeros((3, len(power))),
            voltage_eur=dual[: 2 * b].reshape(2, -1),
            branch_eur=dual[2 * b :].reshape(2, -1).sum(axis=0),
            violation_pu=float(above / (2.0 * high) + below / (2.0 * low)),
            violation_kva=float(violation[2 * b :].sum()),
        )

    def _even(
        self,
        offers: Offers,
        model: LinDistFlow,
        limit: Floats,
        power: Floats,
        dual: Floats,
        violation: Floats,
    ) -> tuple[Floats, Floats]:
        """Powers and violations of the most even answer of the same cost."""
        start, p, cost = offers.breakpoints()
        of, own = np.repeat(np.arange(len(power)), np.diff(start)), offers.own_kw()
        face = Face(
            start, p, np.zeros_like(p), cost + self._loss_slope(model)[of] * p,
            self._columns, np.zeros_like(self._columns), limit, np.arange(len(limit)),
            np.ones(len(limit)), self._price, dual,
        )  # fmt: skip
        found = even_out(face, own, np.zeros_like(own))
        if found is None:
            return power, violation
        return np.add.reduceat(found[0] * p, start[:-1]), found[1]

    def _loss_slope(self, model: LinDistFlow) -> Floats:
        """What a kW of each menu costs in losses over the period, shape (H,), EUR/kW."""
        grid = self._grid
        return DT_H * grid.loss_eur_per_kwh * model.loss_factor[grid.bus]


def solve_with_highs(
    menu: NDArray[np.int64],
    slope: Floats,
    length: Floats,
    low: Floats,
    columns: Floats,
    limit: Floats,
    price: Floats,
) -> tuple[Floats, Floats, Floats]:
    """As `flexgym.envs.charts.merit_order.dispatch`, by HiGHS: the fall-back and the oracle.

    Returns:
        Powers, duals and violations.

    Raises:
        SolverError: HiGHS found no optimum.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix, eye, hstack

    S, R = len(slope), len(limit)
    found = linprog(
        np.concatenate([slope, price]),
        hstack([csr_matrix(columns.T[:, menu]), -eye(R)], format="csr"),
        limit - low @ columns,
        bounds=[*((0.0, top) for top in length), *[(0.0, None)] * R],
        method="highs",
    )
    if found.status != 0:
        raise SolverError(
            f"HiGHS found no optimum of the clearing ({found.message}); expected one, since every "
            "limit may be broken at a price. Check the menus for powers of very different size."
        )
    power = low + np.bincount(menu, found.x[:S], len(low))
    return power, -found.ineqlin.marginals, found.x[S:]
