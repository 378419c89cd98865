"""The centralised optimum of a feeder-day that is known in advance, as one linear program.

All houses and the grid at once: the best that any organisation of the feeder could reach.
First each house for itself; then limits and losses enter where the AC power flow of the plan
asks for them, until it agrees with the program.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import highspy
import numpy as np

from flexgym.baselines.feeder.feeder_day import FeederDay, GridCheck
from flexgym.baselines.feeder.network_rows import GridDuals, NetworkRows
from flexgym.baselines.feeder.solver_run import run_to_optimum
from flexgym.baselines.feeder.stacked_houses import StackedHouses
from flexgym.baselines.household.linear_program import PerfectForesight
from flexgym.envs.errors import SolverError
from flexgym.envs.household.params import DT_H, Floats

LOSS_ROUNDS = 6
"""Rounds in which the program's losses are made more exact."""
MAX_ROUNDS = 20
LOSS_GAP_EUR = 0.02
"""Losses are exact enough where the program is wrong about their cost by no more, EUR."""
SETTLED = 2e-5
"""Voltage (pu) and share of a rating within which program and power flow shall agree."""
HELD_PU, HELD_PERCENT = 1e-4, 0.1
"""A limit that is exceeded by less counts as held."""
_UNUSED = 1e-6  # pu h and kVAh
_PLANNED = ("battery_kw", "car_kw", "pv_used_kw", "meter_kw", "unserved_kw", "missed_kwh")
_GRID_TERMS = ("loss_eur", "voltage_eur", "overload_eur")
_OPTIONS = (
    ("output_flag", False),
    ("threads", 1),
    ("primal_feasibility_tolerance", 1e-10),
    ("dual_feasibility_tolerance", 1e-10),
    # A third faster than with the default of 1, which leads astray after small changes.
    ("dual_simplex_cost_perturbation_multiplier", 0.01),
)


@dataclass(frozen=True, eq=False)
class CentralOptimum:
    """The optimal plan of all houses, what it costs, and what the grid is worth in it.

    Attributes:
        battery_kw: Battery powers, shape (H, T), kW, charging positive.
        car_kw: Powers of the cars, likewise.
        pv_used_kw: PV power used, shape (H, T), kW.
        meter_kw: Power at the meters, shape (H, T), kW, import positive.
        unserved_kw: Load left unserved, shape (H, T), kW.
        missed_kwh: Energy that cars lack at a departure at the period's end, shape (H, T), kWh.
        house_eur: Each house's own cost, shape (H,), EUR.
        loss_eur: Cost of the losses by the AC power flow, EUR.
        voltage_eur: Cost of voltages outside the band by the AC power flow, EUR.
        overload_eur: Cost of overload by the AC power flow, EUR.
        bound_eur: The program's optimum, EUR. No strict bound: limits and losses in it are those
            of a model that is exact at the plan; between two kinks it counts up to 4 W too
            much for a branch's losses; and where ties had to be broken it is above by up to
            1e-6 EUR per kWh into or out of a store.
        selfish_eur: Sum of the houses' own optima, EUR: a strict bound, without the grid.
        duals: What limits are worth, and what power costs the grid.
        check: What the AC power flow says of the plan.
        slack_pu_h: Voltage outside the band that the program pays for, pu h, all buses.
        slack_kvah: Overload that the program pays for, kVAh, all branches.
        rounds: Linear programs solved.
        limits: Limits that have got a row.
        settled: Whether program and power flow agree in the end.
    """

    battery_kw: Floats
    car_kw: Floats
    pv_used_kw: Floats
    meter_kw: Floats
    unserved_kw: Floats
    missed_kwh: Floats
    house_eur: Floats
    loss_eur: float
    voltage_eur: float
    overload_eur: float
    bound_eur: float
    selfish_eur: float
    duals: GridDuals
    check: GridCheck
    slack_pu_h: float
    slack_kvah: float
    rounds: int
    limits: int
    settled: bool

    @property
    def cost_eur(self) -> float:
        """Social cost of the plan by the AC power flow, EUR."""
        return float(self.house_eur.sum()) + self.loss_eur + self.voltage_eur + self.overload_eur

    @property
    def gap_eur(self) -> float:
        """What the plan costs by the AC power flow beyond the program's optimum, EUR."""
        return self.cost_eur - self.bound_eur

    @property
    def worst_excess_pu(self) -> float:
        """Largest voltage outside the band, pu."""
        return float(self.check.excess_pu.max())

    @property
    def worst_loading_percent(self) -> float:
        """Highest loading of a line or transformer, %."""
        return float(self.check.loading_percent.max())

    @property
    def uses_slack(self) -> bool:
        """Whether the program breaks a limit and pays for it."""
        return self.slack_pu_h > _UNUSED or self.slack_kvah > _UNUSED

    @property
    def holds_limits(self) -> bool:
        """Whether the AC power flow finds every limit held, within 1e-4 pu and 0.1 %."""
        loading = self.worst_loading_percent
        return self.worst_excess_pu <= HELD_PU and loading <= 100.0 + HELD_PERCENT


class CentralProgram:
    """The persistent HiGHS model of a feeder-day.

    Attributes:
        day: The day.
        houses: Its houses in the model.
        grid: Its grid in the model.
        highs: The model.
        x: Values of the columns in the last optimum.
        row_dual: Duals of the rows in it.

    Args:
        day: The day.
        earlier: Let ties go to the plan that stores earlier: forecasts may prove wrong.
    """

    x: Floats
    row_dual: Floats

    def __init__(self, day: FeederDay, *, earlier: bool = False) -> None:
        self.day = day
        self.houses = StackedHouses(day, earlier=earlier)
        self._deadline_s: float | None = None
        self.highs = highspy.Highs()
        for option, setting in _OPTIONS:
            self.highs.setOptionValue(option, setting)
        self.houses.pass_to(self.highs)
        self.grid = NetworkRows(self.highs, self.houses, day)
        own = np.stack([block.dispatch().meter_kw for block in self.houses.blocks])
        self.grid.flows.start(own.T @ day.at_bus @ self.grid.flows.below.T)

    def solve(
        self, *, all_limits: bool = False, time_limit_s: float | None = None
    ) -> CentralOptimum:
        """Solve, add what the power flow asks for, and solve again until they agree.

        Args:
            all_limits: Whether every limit has a row from the start, for tests.
            time_limit_s: When to give up, s; None is never.

        Raises:
            SolverTimeoutError: Time is up.
            SolverError: HiGHS found no optimum, or the plan's power flow has no solution.
            ConvexityError: The optimum is nothing that a house could play.
        """
        return self._optimum(*self.settle(all_limits=all_limits, time_limit_s=time_limit_s))

    def settle(
        self, *, all_limits: bool = False, time_limit_s: float | None = None
    ) -> tuple[float, list[PerfectForesight], GridCheck, int, bool]:
        """As `solve`, whether houses can play the plan or not.

        Returns:
            The program's optimum, the houses' plans, their power flow, the linear programs
            solved, and whether program and power flow agree.
        """
        grid = self.grid
        self._deadline_s = None if time_limit_s is None else time.monotonic() + time_limit_s
        bound, plans, check = self.run()
        # Everybody's own optimum is far from that of all: the plain model will do.
        grid.points.forget(check.q_kvar)
        if all_limits:
            grid.add(grid.all_limits())
        grid.add(grid.at_the_slack())
        grid.add(grid.near(check))
        grid.bound(self.row_dual)
        for rounds in range(2, MAX_ROUNDS + 1):
            bound, plans, check = self.run()
            grid.points.shift(check, check.q_kvar)
            gap = abs(self._loss_gap_eur(check))
            refines = rounds <= 1 + LOSS_ROUNDS and (gap > LOSS_GAP_EUR or not grid.knows_losses)
            moved = grid.bound(self.row_dual)
            settled = not refines and self._agrees(check) and moved <= SETTLED
            if settled and not self.houses.discourage_waste(self.highs):
                return bound, plans, check, rounds, True
            if rounds == MAX_ROUNDS:
                break
            if refines:
                grid.price_losses(check)
            grid.add(grid.near(check))
            grid.bound(self.row_dual)
        return bound, plans, check, MAX_ROUNDS, False

    def run(self) -> tuple[float, list[PerfectForesight], GridCheck]:
        """Solve the program as it is: its optimum, the houses' plans, and their power flow."""
        bound = self.optimise()
        plans = self.houses.plans(self.x)
        meter, unserved = (
            np.stack([getattr(plan, name) for plan in plans])
            for name in ("meter_kw", "unserved_kw")
        )
        return bound, plans, self.day.judge(meter, unserved)

    def optimise(self) -> float:
        """Solve the program as it is; its optimum, EUR.

        Raises:
            SolverTimeoutError: Time is up.
            SolverError: HiGHS found no optimum.
        """
        run_to_optimum(self.highs, self._deadline_s)
        solution = self.highs.getSolution()
        self.x, self.row_dual = np.asarray(solution.col_value), np.asarray(solution.row_dual)
        return float(self.highs.getInfo().objective_function_value)

    def _loss_gap_eur(self, check: GridCheck) -> float:
        """What the losses cost more than the program counts with, EUR."""
        gap = np.nan_to_num(check.losses_kw - self.grid.losses_kw(self.x))
        return float(DT_H * self.day.costs.loss_eur_per_kwh * gap.sum())

    def _agrees(self, check: GridCheck) -> bool:
        """Whether the power flow finds no more violated than the program pays for."""
        slack_pu, slack_kva = self.grid.slacks(self.x)
        voltage = (check.excess_pu - slack_pu).max()
        overload = ((check.overload_kva - slack_kva) / self.day.rating_kva).max()
        return bool(voltage <= SETTLED and overload <= SETTLED)

    def _optimum(
        self,
        bound: float,
        plans: list[PerfectForesight],
        check: GridCheck,
        rounds: int,
        settled: bool,
    ) -> CentralOptimum:
        if not np.isfinite(check.losses_kw).all():
            raise SolverError(
                "the power flow of the plan has no solution; expected a plan that the network "
                "can carry. Raise the prices of violated limits."
            )
        for block, plan in zip(self.houses.blocks, plans, strict=True):
            block.check(plan)
        series = {name: np.stack([getattr(plan, name) for plan in plans]) for name in _PLANNED}
        slack_pu, slack_kva = self.grid.slacks(self.x)
        return CentralOptimum(
            **series,
            house_eur=np.array([plan.cost_eur for plan in plans]),
            **dict(zip(_GRID_TERMS, check.costs_eur(self.day.costs), strict=True)),
            bound_eur=bound,
            selfish_eur=self.houses.own_eur,
            duals=self.grid.duals(self.row_dual),
            check=check,
            slack_pu_h=DT_H * float(slack_pu.sum()),
            slack_kvah=DT_H * float(slack_kva.sum()),
            rounds=rounds,
            limits=self.grid.count,
            settled=settled,
        )


def central_optimum(day: FeederDay, *, time_limit_s: float | None = None) -> CentralOptimum:
    """The centralised optimum of a feeder-day that is known in advance.

    Args:
        day: The day.
        time_limit_s: When to give up, s; None is never. The houses' own optima come first and
            are not interrupted.

    Raises:
        SolverTimeoutError: Time is up.
        SolverError: HiGHS found no optimum, or the plan's power flow has no solution.
        ConvexityError: The optimum is nothing that a house could play.
    """
    begun = time.monotonic()
    program = CentralProgram(day)
    if time_limit_s is not None:
        time_limit_s -= time.monotonic() - begun
    return program.solve(time_limit_s=time_limit_s)
