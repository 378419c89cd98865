"""The operator's program over plans: the mixture of each house's plans that costs all least.

The master of Dantzig and Wolfe's decomposition (Oper. Res. 8:101, 1960). It knows the grid and
what houses said of their plans, and no house.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from flexgym.baselines.feeder.feeder_day import FeederGrid, GridCheck, Ints
from flexgym.baselines.feeder.network_rows import NetworkRows
from flexgym.baselines.feeder.solver_run import run_to_optimum
from flexgym.envs.errors import ActionError
from flexgym.envs.household.params import DT_H, Floats

SETTLED = 2e-5
"""Voltage (pu) and share of a rating within which program and power flow shall agree."""
LOSS_GAP_EUR = 0.01
"""Losses are exact enough where the program is wrong about their cost by no more, EUR."""
_OPTIONS = (
    ("output_flag", False),
    ("threads", 1),
    ("primal_feasibility_tolerance", 1e-9),
    ("dual_feasibility_tolerance", 1e-9),
    ("dual_simplex_cost_perturbation_multiplier", 0.01),
)
_INF = highspy.kHighsInf


@dataclass(frozen=True, eq=False)
class OperatorDay(FeederGrid):
    """A feeder-day as its operator knows it.

    Attributes:
        meter_kvar: Reactive power at the meters, shape (H, T), kvar.
        limit_kw: Most power at each meter, shape (H,), kW.
    """

    meter_kvar: Floats
    limit_kw: Floats

    @property
    def periods(self) -> int:
        """Number of periods, T."""
        return self.meter_kvar.shape[1]

    @property
    def connection_kw(self) -> Floats:
        """See `FeederGrid`."""
        return self.limit_kw


@dataclass(frozen=True, eq=False)
class Mixture:
    """The cheapest mixture of plans, and what power is worth in it.

    Attributes:
        meter_kw: Powers at the meters, shape (H, T), kW.
        house_eur: What the mixed plans cost the houses, shape (H,), EUR: at least what the
            mixture itself does.
        grid_eur: Losses and violated limits of the mixture by the AC power flow, EUR; infinite
            where it has no solution.
        program_eur: The program's optimum, EUR.
        plan_eur: Least cost of a plan of each house at the prices, shape (H,), EUR.
        price_eur_per_kwh: What a house's power costs the grid at the margin, shape (H, T).
        unplanned_kwh: Power that no plan holds, bought at the ends of the prices' range, kWh.
        settled: Whether program and power flow agree.
    """

    meter_kw: Floats
    house_eur: Floats
    grid_eur: float
    program_eur: float
    plan_eur: Floats
    price_eur_per_kwh: Floats
    unplanned_kwh: float
    settled: bool

    @property
    def cost_eur(self) -> float:
        """Cost of the mixture by the AC power flow, EUR."""
        return float(self.house_eur.sum()) + self.grid_eur


class PlanMixture:
    """The persistent HiGHS model of the mixtures of plans.

    The meters are columns, tied to the plans' weights by a row for each house and period, so
    that the grid's rows need not change when plans come. While plans are few, prices may be
    kept in a range: the operator then buys or sells at its ends what no plan holds.

    Args:
        day: What the operator knows.
        meter_kw: A first plan of each house, shape (H, T), kW.
        cost_eur: What they cost the houses, shape (H,), EUR.
    """

    def __init__(self, day: OperatorDay, meter_kw: Floats, cost_eur: Floats) -> None:
        self.day = day
        self._H, self._T = H, T = day.meter_kvar.shape
        self._highs = highspy.Highs()
        for option, setting in _OPTIONS:
            self._highs.setOptionValue(option, setting)
        self._highs.passModel(self._model())
        self._weight = np.empty((0, H), dtype=np.int64)
        self._plans, self._costs = np.empty((0, H, T)), np.empty((0, H))
        self.add(meter_kw, cost_eur)
        run_to_optimum(self._highs)
        self.grid = NetworkRows(self._highs, self, day)
        check = day.check(meter_kw, day.meter_kvar)
        self.grid.flows.start(check.p_kw @ self.grid.flows.below.T)
        self.grid.points.shift(check, check.q_kvar)
        self.grid.add(self.grid.at_the_slack())
        self.grid.add(self.grid.near(check))
        self.grid.bound(np.empty(0))

    def _model(self) -> highspy.HighsLp:
        """Meters without plans: a row for each, then one for the weights of each house.

        Columns: what is drawn and fed, then what is bought and sold beyond the plans.
        """
        H, T = self._H, self._T
        meters = H * T
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = 4 * meters, meters + H
        lp.col_cost_ = lp.col_lower_ = np.zeros(4 * meters)
        lp.col_upper_ = np.repeat([_INF, 0.0], 2 * meters)
        lp.row_lower_ = lp.row_upper_ = np.repeat([0.0, 1.0], [meters, H])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_ = np.arange(4 * meters + 1, dtype=np.int32)
        lp.a_matrix_.index_ = np.tile(np.arange(meters, dtype=np.int32), 4)
        lp.a_matrix_.value_ = np.tile(np.repeat([1.0, -1.0], meters), 2)
        return lp

    def meter_columns(self, t: int) -> Ints:
        """Columns of what each house draws (H), then of what it feeds in (H), in a period."""
        drawn = np.arange(self._H) * self._T + t
        return np.concatenate([drawn, drawn + self._H * self._T])

    def keep_prices(self, low_eur_per_kwh: Floats, high_eur_per_kwh: Floats) -> None:
        """Keep prices between two others, each shape (H, T), EUR/kWh."""
        self._trade(np.stack([high_eur_per_kwh, -low_eur_per_kwh]), _INF)

    def free_prices(self) -> None:
        """Let prices go where they will, so that nothing but plans is mixed."""
        self._trade(np.zeros((2, self._H, self._T)), 0.0)

    def _trade(self, price_eur_per_kwh: Floats, most_kw: float) -> None:
        """Buy and sell at prices, shape (2, H, T), what no plan holds."""
        count = price_eur_per_kwh.size
        index = np.arange(count, 2 * count, dtype=np.int32)
        self._highs.changeColsCost(count, index, DT_H * price_eur_per_kwh.ravel())
        self._highs.changeColsBounds(count, index, np.zeros(count), np.full(count, most_kw))

    def add(self, meter_kw: Floats, cost_eur: Floats) -> None:
        """Take up one more plan of each house.

        Args:
            meter_kw: Shape (H, T), kW, import positive.
            cost_eur: What they cost the houses, shape (H,), EUR.

        Raises:
            ActionError: A shape is wrong, or something is no finite number.
        """
        H, T = self._H, self._T
        for name, got, shape in (("meter_kw", meter_kw, (H, T)), ("cost_eur", cost_eur, (H,))):
            if np.shape(got) != shape or not np.isfinite(got).all():
                raise ActionError(
                    f"{name} of the plans has shape {np.shape(got)}; expected finite numbers of "
                    f"shape {shape}. Pass one plan a house."
                )
        first, meters = self._highs.getNumCol(), np.arange(H * T).reshape(H, T)
        rows = np.column_stack([meters, H * T + np.arange(H)]).astype(np.int32)
        values = np.column_stack([-meter_kw, np.ones(H)])
        start = np.arange(H, dtype=np.int32) * (T + 1)
        free = np.full(H, _INF)
        self._highs.addCols(
            H, cost_eur, np.zeros(H), free, rows.size, start, rows.ravel(), values.ravel()
        )
        self._weight = np.vstack([self._weight, first + np.arange(H)])
        self._plans = np.concatenate([self._plans, meter_kw[None]])
        self._costs = np.concatenate([self._costs, cost_eur[None]])

    def solve(self, rounds: int = 4) -> Mixture:
        """The cheapest mixture.

        Args:
            rounds: How often the grid's linear model may be corrected; 0 keeps it as it is.

        Raises:
            SolverError: HiGHS found no optimum.
        """
        grid = self.grid
        check = self._run()
        for _ in range(rounds):
            grid.points.shift(check, check.q_kvar)
            refines = abs(self._loss_gap_eur(check)) > LOSS_GAP_EUR or not grid.knows_losses
            moved = grid.bound(self._row_dual)
            if not refines and moved <= SETTLED and self._agrees(check):
                break
            if refines:
                grid.price_losses(check)
            grid.add(grid.near(check))
            grid.bound(self._row_dual)
            check = self._run()
        return self._mixture(self._agrees(check))

    def _run(self) -> GridCheck:
        """Solve the program as it is; the power flow of its mixture, trade included."""
        run_to_optimum(self._highs)
        solution = self._highs.getSolution()
        self._x: Floats = np.asarray(solution.col_value)
        self._row_dual: Floats = np.asarray(solution.row_dual)
        self._optimum_eur = float(self._highs.getInfo().objective_function_value)
        meter = self._x[: 2 * self._H * self._T].reshape(2, self._H, self._T)
        return self.day.check(meter[0] - meter[1], self.day.meter_kvar)

    def _loss_gap_eur(self, check: GridCheck) -> float:
        gap = np.nan_to_num(check.losses_kw - self.grid.losses_kw(self._x))
        return float(DT_H * self.day.costs.loss_eur_per_kwh * gap.sum())

    def _agrees(self, check: GridCheck) -> bool:
        slack_pu, slack_kva = self.grid.slacks(self._x)
        voltage = (check.excess_pu - slack_pu).max()
        overload = ((check.overload_kva - slack_kva) / self.day.rating_kva).max()
        return bool(voltage <= SETTLED and overload <= SETTLED)

    def _mixture(self, settled: bool) -> Mixture:
        H, T = self._H, self._T
        meters = H * T
        weight = self._x[self._weight]
        meter = np.einsum("kh,kht->ht", weight, self._plans)
        grid_eur = sum(self.day.check(meter, self.day.meter_kvar).costs_eur(self.day.costs))
        return Mixture(
            meter,
            (weight * self._costs).sum(axis=0),
            grid_eur if np.isfinite(grid_eur) else np.inf,
            self._optimum_eur,
            self._row_dual[meters : meters + H].copy(),
            self._row_dual[:meters].reshape(H, T) / DT_H,
            DT_H * float(self._x[2 * meters : 4 * meters].sum()),
            settled,
        )
