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
from flexgym.envs.errors import SolverError
from flexgym.envs.household.params import DT_H, Floats

SETTLED = 2e-5
"""Voltage (pu) and share of a rating within which program and power flow shall agree."""
_LOSS_POINTS = (0.0, 0.3, 0.6, 1.0)
_OPTIONS = (
    ("output_flag", False),
    ("threads", 1),
    ("primal_feasibility_tolerance", 1e-9),
    ("dual_feasibility_tolerance", 1e-9),
)
_INF = highspy.kHighsInf


@dataclass(frozen=True, eq=False)
class OperatorDay(FeederGrid):
    """A feeder-day as its operator knows it.

    Attributes:
        meter_kvar: Reactive power at the meters, shape (H, T), kvar.
    """

    meter_kvar: Floats

    @property
    def periods(self) -> int:
        """Number of periods, T."""
        return self.meter_kvar.shape[1]


@dataclass(frozen=True, eq=False)
class Mixture:
    """The cheapest mixture of plans, and what power is worth in it.

    Attributes:
        meter_kw: Powers at the meters, shape (H, T), kW.
        house_eur: What the mixed plans cost the houses, shape (H,), EUR.
        grid_eur: Losses and violated limits by the AC power flow, EUR.
        program_eur: The program's optimum, EUR.
        house_dual_eur: Least cost of a plan in use at the prices, shape (H,), EUR.
        price_eur_per_kwh: What a house's power costs the grid at the margin, shape (H, T).
        check: What the AC power flow says.
        settled: Whether program and power flow agree.
    """

    meter_kw: Floats
    house_eur: Floats
    grid_eur: float
    program_eur: float
    house_dual_eur: Floats
    price_eur_per_kwh: Floats
    check: GridCheck
    settled: bool

    @property
    def cost_eur(self) -> float:
        """Cost of the mixture by the AC power flow, EUR."""
        return float(self.house_eur.sum()) + self.grid_eur


class PlanMixture:
    """The persistent HiGHS model of the mixtures of plans.

    The meters are columns, tied to the plans' weights by a row a house and period, so that
    the grid's rows need not change when plans come.

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
        self._column = np.empty((0, H), dtype=np.int64)
        self._plans: list[Floats] = []
        self.add(meter_kw, cost_eur)
        self.grid = NetworkRows(self._highs, self, day)
        check = day.check(meter_kw, day.meter_kvar)
        self.grid.linearise(None, check.q_kvar)
        for share in _LOSS_POINTS:
            self.grid.add_losses(share * check.p_kw, check.q_kvar)
        self.grid.add(self.grid.at_the_slack())
        self.grid.add(self.grid.near(check))
        self.grid.bound(np.zeros(T), np.empty(0))

    def _model(self) -> highspy.HighsLp:
        """Meters without plans: a row for each, then one for the weights of each house."""
        H, T = self._H, self._T
        meters = H * T
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = 2 * meters, meters + H
        lp.col_cost_ = np.zeros(2 * meters)
        lp.col_lower_, lp.col_upper_ = np.zeros(2 * meters), np.full(2 * meters, _INF)
        lp.row_lower_ = lp.row_upper_ = np.repeat([0.0, 1.0], [meters, H])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_ = np.arange(2 * meters + 1, dtype=np.int32)
        lp.a_matrix_.index_ = np.tile(np.arange(meters, dtype=np.int32), 2)
        lp.a_matrix_.value_ = np.repeat([1.0, -1.0], meters)
        return lp

    def meter_columns(self, t: int) -> Ints:
        """Columns of what each house draws (H), then of what it feeds in (H), in a period."""
        drawn = np.arange(self._H) * self._T + t
        return np.concatenate([drawn, drawn + self._H * self._T])

    def add(self, meter_kw: Floats, cost_eur: Floats) -> None:
        """Take up one more plan of each house.

        Args:
            meter_kw: Shape (H, T), kW, import positive.
            cost_eur: What they cost the houses, shape (H,), EUR.
        """
        H, T = self._H, self._T
        first, meters = self._highs.getNumCol(), np.arange(H * T).reshape(H, T)
        rows = np.column_stack([meters, H * T + np.arange(H)]).astype(np.int32)
        values = np.column_stack([-meter_kw, np.ones(H)])
        start = np.arange(H, dtype=np.int32) * (T + 1)
        free = np.full(H, _INF)
        self._highs.addCols(
            H, cost_eur, np.zeros(H), free, rows.size, start, rows.ravel(), values.ravel()
        )
        self._column = np.vstack([self._column, first + np.arange(H)])
        self._plans.append(meter_kw)
        self._costs = cost_eur[None] if len(self._plans) == 1 else np.vstack([self._costs, cost_eur])

    def solve(self, rounds: int = 3) -> Mixture:
        """The cheapest mixture.

        Args:
            rounds: How often the linear model of the grid may be corrected.

        Raises:
            SolverError: HiGHS found no optimum.
        """
        for left in range(rounds, -1, -1):
            mixture = self._run()
            if mixture.settled or not left:
                return mixture
            check = mixture.check
            self.grid.linearise(check, check.q_kvar)
            self.grid.add_losses(check.p_kw, check.q_kvar)
            self.grid.bound(check.losses_kw, self._row_dual)
            self.grid.add(self.grid.near(check))
            self.grid.bound(check.losses_kw, self._row_dual)
        raise AssertionError

    def _run(self) -> Mixture:
        highs = self._highs
        for attempt in ("warm", "cold", "ipm"):
            if attempt != "warm":
                # A stale basis can mislead the simplex.
                highs.clearSolver()
                highs.setOptionValue("solver", "ipm" if attempt == "ipm" else "choose")
            highs.run()
            status = highs.getModelStatus()
            if status == highspy.HighsModelStatus.kOptimal:
                break
        highs.setOptionValue("solver", "choose")
        if status != highspy.HighsModelStatus.kOptimal:
            raise SolverError(
                f"HiGHS ended with {highs.modelStatusToString(status)}; expected an optimum. "
                "Check the plans for extreme values."
            )
        solution = highs.getSolution()
        x, dual = np.asarray(solution.col_value), np.asarray(solution.row_dual)
        self._x, self._row_dual = x, dual
        H, T = self._H, self._T
        weight = x[self._column]
        meter = np.einsum("kh,kht->ht", weight, np.stack(self._plans))
        check = self.day.check(meter, self.day.meter_kvar)
        slack_pu, slack_kva = self.grid.slacks(x)
        voltage = (check.excess_pu - slack_pu).max()
        overload = ((check.overload_kva - slack_kva) / self.day.rating_kva).max()
        return Mixture(
            meter,
            (weight * self._costs).sum(axis=0),
            sum(check.costs_eur(self.day.costs)),
            float(highs.getInfo().objective_function_value),
            dual[H * T : H * T + H].copy(),
            dual[: H * T].reshape(H, T) / DT_H,
            check,
            bool(voltage <= SETTLED and overload <= SETTLED),
        )
