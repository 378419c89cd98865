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
from numpy.typing import ArrayLike

from flexgym.envs.charts.active import ActiveProgram, Offers
from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.program import Found, Grid
from flexgym.envs.charts.reactive import ReactiveProgram, Tangents, VertexOffers
from flexgym.envs.errors import ChartError, PowerFlowError
from flexgym.envs.grid import Network, PowerFlowResult, RadialPowerFlow
from flexgym.envs.grid.linear import LinDistFlow
from flexgym.envs.grid.tolerance import CLEAN_PERCENT, CLEAN_PU
from flexgym.envs.household.params import DT_H, Floats

USUAL_SOLVES, MOST_SOLVES = 3, 6
_STRICT = 1000.0
"""Times the price of violations at which the program counts them: it breaks no limit for money."""
_MARGIN_PU, _MARGIN = 2e-5, 2e-4
"""Kept from voltage limits (pu) and ratings (share): the linear model is exact at a point only."""

_HALVINGS = 6
"""Power flows that look for a first operating point."""


@dataclass(frozen=True, eq=False)
class Cleared:
    """Answer of the operator for one period.

    Attributes:
        power_kw: Power each menu's owner takes, shape (H,), kW.
        q_kvar: Reactive power at the same places, given or chosen, shape (H,), kvar.
        cost_eur: Cost of each menu there, shape (H,), EUR.
        price_eur_per_kwh: What power costs the grid at each menu's bus, at the margin, beside the
            energy itself, shape (3, H), EUR/kWh: losses, voltage limits, loading limits. Where
            limits cannot be kept these are the prices of the program, which breaks none for
            money: a thousand times those of violations.
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
        self._flow = RadialPowerFlow(network)
        voltage, overload = (_STRICT * DT_H * price for price in prices[1:])
        self._grid = Grid(
            plain=LinDistFlow(network),
            bus=self.bus,
            counted=np.flatnonzero(network.bus_node > 0),
            band_pu=(low + _MARGIN_PU, high - _MARGIN_PU),
            rating_share=1.0 - _MARGIN,
            loss_eur_per_kwh=loss_eur_per_kwh,
            voltage_eur=(voltage / (2.0 * high), voltage / (2.0 * low)),
            overload_eur=overload,
        )
        self._active = ActiveProgram(self._grid)

    @cached_property
    def _reactive(self) -> ReactiveProgram:
        return ReactiveProgram(self._grid)

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
        model, grid = self._grid.plain, self._grid
        p_bus, q_bus = np.zeros(self.network.n_bus), grid.at_buses(q)
        if reactive == "menu":
            vertices = VertexOffers(menus)
            model, p_bus, q_bus = self._at_own_choices(vertices)
            tangents: Tangents = []

            def solve() -> Found:
                return self._reactive.solve(vertices, model, p_bus, q_bus, fair, tangents)

        else:
            offers = Offers(menus)

            def solve() -> Found:
                return self._active.solve(offers, model, q, fair)

        for solves in range(1, MOST_SOLVES + 1):
            found = solve()
            p_bus, q_bus = grid.at_buses(found.power_kw), grid.at_buses(found.q_kvar)
            answer = self._answer(found, p_bus, q_bus, solves, reactive)
            # Within the tolerances a limit counts as kept, but every bit beyond it is paid for.
            enough = self._kept(answer) if solves < USUAL_SOLVES else answer.clean
            if solves == MOST_SOLVES or (solves > 1 and (enough or not answer.feasible)):
                break
            try:
                model = grid.plain.corrected(p_bus, q_bus)
            except PowerFlowError:  # no solution to correct with
                break
        return answer

    def _kept(self, answer: Cleared) -> bool:
        """Whether the AC power flow breaks no limit at all, up to rounding."""
        v, (low, high) = answer.v_pu[self._grid.counted], self.band_pu
        room = min(high - v.max(), v.min() - low)
        return bool(room >= -1e-7 and answer.loading_percent.max() <= 100.0 + 1e-4)

    def problem(self, menus: Sequence[FlexibilityChart]) -> tuple:
        """The first program of `clear`, without reactive power: arguments of `dispatch`."""
        return self._active.problem(Offers(menus), self._grid.plain, np.zeros(self.network.n_bus))

    def _at_own_choices(self, offers: VertexOffers) -> tuple[LinDistFlow, Floats, Floats]:
        """The model corrected where everybody takes what it would by itself, and that point.

        If that breaks limits, at about as much of it as does not: the answer will be nearer.
        """
        grid = self._grid
        p_bus, q_bus = grid.at_buses(offers.own_kw), grid.at_buses(offers.own_kvar)
        low, high, share = 0.0, 1.0, 1.0
        for _ in range(_HALVINGS):
            if self._is_clean(self._flow.solve(share * p_bus, share * q_bus)):
                low = share
                if low == high:
                    break
            else:
                high = share
            share = 0.5 * (low + high)
        p_bus, q_bus = low * p_bus, low * q_bus
        return grid.plain.corrected(p_bus, q_bus), p_bus, q_bus

    def _is_clean(self, flow: PowerFlowResult) -> bool:
        """Whether an AC power flow has a solution and breaks no limit."""
        low, high = self.band_pu
        v = flow.v_pu[self._grid.counted]
        loading = np.concatenate([flow.line_loading_percent, flow.trafo_loading_percent])
        return bool(
            flow.converged
            and (v <= high + CLEAN_PU).all()
            and (v >= low - CLEAN_PU).all()
            and (loading <= 100.0 + CLEAN_PERCENT).all()
        )

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
        of_bus = np.zeros(self.network.n_bus)
        above, below = found.voltage_eur
        of_bus[self._grid.counted] = 2.0 * (high * above + low * below) / DT_H
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
            clean=self._is_clean(flow),
            reactive=reactive,
        )
