"""Clearing: the cheapest mix of menus that the grid can carry.

The operator sees menus and the grid. Voltages and flows are LinDistFlow's, shifted so that they
are exact at the last AC power flow; losses are priced by their derivatives there. Even a first
answer without violation is solved again, because the uncorrected model overstates voltages under
export and would curtail too much.

Reactive power is given, and menus are read by their least cost over it; or it is chosen with the
active power, inside the menus (`reactive="menu"`, see `reactive`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.fairness import Face, even_out
from flexgym.envs.charts.merit_order import OPTIMAL, dispatch
from flexgym.envs.charts.reactive import Found, Grid, ReactiveProgram, VertexOffers
from flexgym.envs.errors import ChartError, PowerFlowError, SolverError
from flexgym.envs.grid import Network, RadialPowerFlow
from flexgym.envs.grid.linear import LinDistFlow
from flexgym.envs.grid.tolerance import CLEAN_PERCENT, CLEAN_PU
from flexgym.envs.household.params import DT_H, Floats

MOST_SOLVES = 6
_STRICT = 1000.0
"""Times the price of violations at which the program counts them: it breaks no limit for money."""
_MARGIN_PU, _MARGIN = 2e-5, 2e-4
"""Kept from voltage limits (pu) and ratings (share): the linear model is exact at a point only."""


@dataclass(frozen=True, eq=False)
class Cleared:
    """Answer of the operator for one period.

    Attributes:
        power_kw: Power each menu's owner takes, shape (H,), kW.
        q_kvar: Reactive power at the same places, given or chosen, shape (H,), kvar.
        cost_eur: Cost of each menu there, shape (H,), EUR.
        price_eur_per_kwh: What power costs the grid at each menu's bus, at the margin, beside the
            energy itself, shape (3, H), EUR/kWh: losses, voltage limits, loading limits.
        price_eur_per_kvarh: The same of reactive power, shape (3, H), EUR/kvarh; zeros where it
            was given.
        voltage_eur_per_pu_h: Worth of the voltage limits at each bus, shape (bus,).
        branch_eur_per_kwh: Worth of each line's and transformer's rating, shape (branch,).
        v_pu: Voltages of the AC power flow, shape (bus,); zeros if it has no solution.
        loading_percent: Loading of lines, then transformers, shape (branch,), %; likewise.
        losses_kw: Losses of the AC power flow, kW; 0 if it has no solution.
        violation_pu: Sum of voltages outside the band that no choice can avoid, pu.
        violation_kva: Sum of power above ratings that none can avoid, kVA.
        solves: How often the program was solved.
        clean: Whether the AC power flow breaks no limit, beyond `CLEAN_PU` and `CLEAN_PERCENT`.
        reactive: "given", or "menu" where it was chosen inside the menus.
    """

    power_kw: Floats
    q_kvar: Floats
    cost_eur: Floats
    price_eur_per_kwh: Floats
    price_eur_per_kvarh: Floats
    voltage_eur_per_pu_h: Floats
    branch_eur_per_kwh: Floats
    v_pu: Floats
    loading_percent: Floats
    losses_kw: float
    violation_pu: float
    violation_kva: float
    solves: int
    clean: bool
    reactive: Literal["given", "menu"]

    @property
    def menu_eur(self) -> float:
        """Cost of the menus, EUR."""
        return float(self.cost_eur.sum())

    @property
    def feasible(self) -> bool:
        """Whether the menus let the grid keep all limits, by the corrected linear model."""
        return self.violation_pu <= 1e-9 and self.violation_kva <= 1e-6


class Operator:
    """Clears menus on one network.

    Args:
        network: The grid.
        bus: Position in ``network.bus_index`` of each menu's bus, shape (H,).
        band_pu: Lowest and highest voltage, at all buses but the slack.
        loss_eur_per_kwh: Price of losses.
        voltage_eur_per_pu_h: Price of voltages outside the band. It and the next one weigh
            violations against each other; no limit that can be kept is broken for money.
        overload_eur_per_kwh: Price of power above ratings.

    Raises:
        ChartError: A bus is none of the network's, the band is no band, or a price negative.
    """

    def __init__(
        self,
        network: Network,
        bus: ArrayLike,
        *,
        band_pu: tuple[float, float] = (0.95, 1.05),
        loss_eur_per_kwh: float = 0.1,
        voltage_eur_per_pu_h: float = 1000.0,
        overload_eur_per_kwh: float = 5.0,
    ) -> None:
        at = np.asarray(bus)
        known = at.ndim == 1 and at.dtype.kind in "iu" and len(at) > 0
        if not known or at.min() < 0 or at.max() >= network.n_bus:
            raise ChartError(
                f"bus is {bus!r}; expected one position from 0 to {network.n_bus - 1} a menu."
            )
        low, high = band_pu
        if not 0.0 < low < high < np.inf:
            raise ChartError(f"band_pu is {band_pu}; expected 0 < lowest < highest.")
        prices = (loss_eur_per_kwh, voltage_eur_per_pu_h, overload_eur_per_kwh)
        if not all(np.isfinite(price) and price >= 0.0 for price in prices):
            raise ChartError(f"the prices are {prices}; expected finite numbers >= 0.")
        self.network, self.bus, self.band_pu = network, at.astype(np.int64), (low, high)
        self._loss_price = loss_eur_per_kwh
        self._voltage_price, self._overload_price = voltage_eur_per_pu_h, overload_eur_per_kwh
        self._plain = LinDistFlow(network)
        self._flow = RadialPowerFlow(network)
        counted = np.flatnonzero(network.bus_node > 0)
        # One row a limit: highest and lowest voltages, then power down and up each branch.
        fall = 2.0 * self._plain.resistance[np.ix_(counted, self.bus)]
        through = self._plain.subtree[:, self.bus]
        self._counted = counted
        matrix = np.vstack([-fall, fall, through, -through])
        # Squared voltages beside kW: rows are scaled to like size for the solver.
        largest = np.abs(matrix).max(axis=1)
        self._size: Floats = np.where(largest > 0.0, largest, 1.0)
        self._columns: Floats = np.ascontiguousarray((matrix / self._size[:, None]).T)
        per_square = [voltage_eur_per_pu_h / (2.0 * v) for v in (high, low)]
        overload = np.full(2 * len(through), overload_eur_per_kwh)
        price = DT_H * np.concatenate([np.repeat(per_square, len(counted)), overload])
        self._price: Floats = _STRICT * price * self._size

    def clear(
        self,
        menus: Sequence[FlexibilityChart],
        q_kvar: ArrayLike | None = None,
        *,
        reactive: Literal["given", "menu"] = "given",
        fair: bool = False,
    ) -> Cleared:
        """Take the cheapest power of each menu that the grid can carry together.

        Args:
            menus: One a bus of ``bus``, in its order.
            q_kvar: Reactive power at the same places, shape (H,), kvar; None is none.
            reactive: "given" takes ``q_kvar`` and reads menus by their least cost over reactive
                power; "menu" chooses active and reactive power inside the menus.
            fair: Whether to spread the activation evenly among answers of the same cost.

        Returns:
            See `Cleared`. Where no choice keeps the limits, the one whose violations cost least.

        Raises:
            ChartError: Another number of menus, something that is no chart, a reactive power
                that is no number or not to be given, or an unknown ``reactive``.
            SolverError: Even the fall-back found no optimum.
        """
        H = len(self.bus)
        if len(menus) != H or not all(isinstance(menu, FlexibilityChart) for menu in menus):
            raise ChartError(
                f"got {len(menus)} menus of {sorted({type(menu).__name__ for menu in menus})}; "
                f"expected {H} of FlexibilityChart, one for each bus."
            )
        if reactive not in ("given", "menu"):
            raise ChartError(f"reactive is {reactive!r}; expected 'given' or 'menu'.")
        if reactive == "menu" and q_kvar is not None:
            raise ChartError(
                "got q_kvar although the menus' reactive power is to be chosen; expected none. "
                "Pass reactive='given' to keep it, or leave q_kvar out."
            )
        q = np.zeros(H) if q_kvar is None else np.asarray(q_kvar, dtype=np.float64)
        if q.shape != (H,) or not np.isfinite(q).all():
            raise ChartError(f"q_kvar has shape {q.shape}; expected ({H},), finite numbers.")
        model, p_bus, q_bus = self._plain, np.zeros(self.network.n_bus), self._at_buses(q)
        if reactive == "menu":
            vertices, offers = VertexOffers(menus), None
            model, p_bus, q_bus = self._at_own_choices(vertices)
        else:
            vertices, offers = None, _Offers(menus)
        solve = 0
        while True:
            solve += 1
            if vertices is not None:
                found = self._reactive.solve(vertices, model, p_bus, q_bus, fair)
            else:
                assert offers is not None
                found = self._solve(offers, model, q, fair)
            p_bus, q_bus = self._at_buses(found.power_kw), self._at_buses(found.q_kvar)
            answer = self._answer(found, p_bus, q_bus, solve, reactive)
            avoidable = not answer.clean and answer.feasible
            if solve == MOST_SOLVES or (solve > 1 and not avoidable):
                return answer
            try:
                model = self._plain.corrected(p_bus, q_bus)
            except PowerFlowError:  # no solution to correct with
                return answer

    def _at_own_choices(self, offers: VertexOffers) -> tuple[LinDistFlow, Floats, Floats]:
        """The model corrected where everybody takes what it would by itself, and that point."""
        p_bus, q_bus = self._at_buses(offers.own_kw), self._at_buses(offers.own_kvar)
        try:
            return self._plain.corrected(p_bus, q_bus), p_bus, q_bus
        except PowerFlowError:  # the grid cannot carry it
            return self._plain, 0.0 * p_bus, 0.0 * q_bus

    @cached_property
    def _reactive(self) -> ReactiveProgram:
        low, high = self.band_pu
        voltage = _STRICT * DT_H * self._voltage_price
        return ReactiveProgram(
            Grid(
                plain=self._plain,
                bus=self.bus,
                counted=self._counted,
                band_pu=(low + _MARGIN_PU, high - _MARGIN_PU),
                rating_share=1.0 - _MARGIN,
                loss_eur_per_kwh=self._loss_price,
                voltage_eur=(voltage / (2.0 * high), voltage / (2.0 * low)),
                overload_eur=_STRICT * DT_H * self._overload_price,
            )
        )

    def reactive_problem(self, menus: Sequence[FlexibilityChart]) -> tuple:
        """The first program of `clear` with ``reactive="menu"``: for `dispatch_vertices`."""
        offers = VertexOffers(menus)
        return self._reactive.problem(offers, *self._at_own_choices(offers))

    def problem(self, menus: Sequence[FlexibilityChart]) -> tuple:
        """The first program of `clear`, without reactive power: arguments of `dispatch`."""
        return self._problem(_Offers(menus), self._plain, np.zeros(self.network.n_bus))

    def _at_buses(self, values: Floats) -> Floats:
        at = np.zeros(self.network.n_bus)
        np.add.at(at, self.bus, values)
        return at

    def _problem(self, offers: _Offers, model: LinDistFlow, q_bus: Floats) -> tuple:
        none = np.zeros_like(q_bus)
        w = model.squared_voltage(none, q_bus)[self._counted]
        flow, cap = model.flows(none, q_bus)[0], model.caps_kw(q_bus) * (1.0 - _MARGIN)
        low, high = self.band_pu
        limit = np.concatenate(
            [(high - _MARGIN_PU) ** 2 - w, w - (low + _MARGIN_PU) ** 2, cap - flow, cap + flow]
        )
        slope = offers.slope + self._loss_slope(model)[offers.menu]
        menus = offers.menu, slope, offers.length, offers.low
        return *menus, self._columns, limit / self._size, self._price

    def _solve(self, offers: _Offers, model: LinDistFlow, q_kvar: Floats, fair: bool) -> Found:
        """Answer of the linear model to menus read by their least cost."""
        problem = self._problem(offers, model, self._at_buses(q_kvar))
        power, dual, violation, status, _ = dispatch(*problem)
        if status != OPTIMAL:
            power, dual, violation = solve_with_highs(*problem)
        if fair:
            power, violation = self._even(offers, model, problem[5], power, dual, violation)
        b, (low, high) = len(self._counted), self.band_pu
        worth = self._columns.T * dual[:, None] / DT_H
        losses = self._loss_price * model.loss_factor[self.bus]
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
        offers: _Offers,
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
        return DT_H * self._loss_price * model.loss_factor[self.bus]

    def _answer(
        self,
        found: Found,
        p_bus: Floats,
        q_bus: Floats,
        solves: int,
        reactive: Literal["given", "menu"],
    ) -> Cleared:
        flow = self._flow.solve(p_bus, q_bus)
        low, high = self.band_pu
        lines = np.concatenate([flow.line_loading_percent, flow.trafo_loading_percent])
        v = flow.v_pu[self._counted]
        clean = bool(
            flow.converged
            and (v <= high + CLEAN_PU).all()
            and (v >= low - CLEAN_PU).all()
            and (lines <= 100.0 + CLEAN_PERCENT).all()
        )
        of_bus = np.zeros(self.network.n_bus)
        above, below = found.voltage_eur
        of_bus[self._counted] = 2.0 * (high * above + low * below) / DT_H
        solved = bool(flow.converged)
        return Cleared(
            power_kw=found.power_kw,
            q_kvar=found.q_kvar,
            cost_eur=found.cost_eur,
            price_eur_per_kwh=found.price_eur_per_kwh,
            price_eur_per_kvarh=found.price_eur_per_kvarh,
            voltage_eur_per_pu_h=of_bus,
            branch_eur_per_kwh=found.branch_eur / DT_H,
            v_pu=flow.v_pu if solved else np.zeros(self.network.n_bus),
            loading_percent=lines if solved else np.zeros(len(lines)),
            losses_kw=float(flow.losses_kw) if solved else 0.0,
            violation_pu=found.violation_pu,
            violation_kva=found.violation_kva,
            solves=solves,
            clean=clean,
            reactive=reactive,
        )


class _Offers:
    """The segments of all menus side by side."""

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
