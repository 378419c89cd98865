"""Menus on the feeder: every house sends its flexibility chart, the operator clears them.

The house knows its cost-to-go and measures; the operator knows the grid and what it is sent.
All a house learns in return is the power that it shall take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from flexgym.baselines.household import CostToGo, SolutionCache
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.clearing import Cleared, Operator
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.homes import actions_of, follow, homes_of
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household.dynamics import ARRIVAL, DEPARTURE
from flexgym.envs.household.params import Floats
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.household import Optimal, cheapest_meter, pv_shares

_SAME_KW = 1e-7


class Menus:
    """Houses with their certified cost-to-go, cleared by the operator period by period.

    The planning stage does not know the grid: a house that the grid will hinder tomorrow night
    learns it only then. Each chart is read by its least cost over reactive power; the reactive
    power of the load goes with it.

    Attributes:
        answers: The operator's answers of the last period, one a feeder.
        menus: What was sent, one list a feeder.

    Args:
        progress: Called with the number of house-days solved and their total.
        cache: Where solutions are kept and looked up.
        workers: House-days to solve side by side, each on a core of its own.
    """

    name = "menus"
    settings: Mapping[str, str] = MappingProxyType({"curtailment": "action"})

    answers: list[Cleared]
    menus: list[list[FlexibilityChart]]

    def __init__(
        self,
        progress: Callable[[int, int], object] | None = None,
        cache: SolutionCache | None = None,
        workers: int = 1,
    ) -> None:
        self._optimal = Optimal(progress, cache, workers)

    def begin(self, simulation: FeederSimulation) -> None:
        """Solve every distinct house-day; see `FeederPolicy`.

        Raises:
            ScenarioError: The simulation decides curtailment by itself.
        """
        if simulation.curtailment != "action":
            raise ScenarioError(
                f"curtailment is {simulation.curtailment!r}; expected 'action', since the operator "
                "may ask a house to use less of its PV. Make the simulation with the policy's "
                "settings."
            )
        scenario = simulation.scenario
        self._homes = homes_of(simulation)
        self._optimal.begin(self._homes)
        self._operator = Operator(
            scenario.network,
            scenario.house_bus,
            band_pu=scenario.band_pu,
            loss_eur_per_kwh=scenario.costs.loss_eur_per_kwh,
            voltage_eur_per_pu_h=scenario.costs.voltage_eur_per_pu_h,
            overload_eur_per_kwh=scenario.costs.overload_eur_per_kwh,
        )
        self.answers, self.menus = [], []

    def act(self, simulation: FeederSimulation) -> Floats:
        """See `FeederPolicy`."""
        homes, count = self._homes, simulation.scenario.n_houses
        follow(homes, simulation)
        sent = [self._chart(row) for row in range(homes.n)]
        feeders = range(simulation.n)
        self.menus = [sent[i * count : (i + 1) * count] for i in feeders]
        tan_phi = [homes.house(row).load.tan_phi for row in range(homes.n)]
        q_kvar = (np.array(tan_phi) * homes.now[0]).reshape(-1, count)
        self.answers = [self._operator.clear(self.menus[i], q_kvar[i]) for i in feeders]
        power = np.concatenate([answer.power_kw for answer in self.answers])
        return actions_of(simulation, self._follow(homes, sent, power))

    def _plan(self, row: int) -> CostToGo:
        return self._optimal.plan(row)

    def _chart(self, row: int) -> FlexibilityChart:
        t, soc, stored, state, load, pv = _seen(self._homes, row)
        return self._plan(row).chart(t, soc, stored, state=state, load_kw=load, pv_kw=pv)

    def _follow(
        self, homes: HouseholdSimulation, sent: list[FlexibilityChart], power_kw: Floats
    ) -> Floats:
        """Actions of the houses that make these powers, the cheapest way."""
        battery, car = self._optimal.powers(homes)
        used, own = cheapest_meter(homes, battery, car)
        # Most houses may take what they want anyway; the others look for the cheapest way.
        for row in np.flatnonzero(np.abs(own - power_kw) > _SAME_KW).tolist():
            x = sent[row].power_kw
            t, soc, stored, state, load, pv = _seen(homes, row)
            points = self._plan(row).disaggregate(
                t, soc, stored, power_kw=float(min(max(power_kw[row], x[0]), x[-1])),
                state=state, load_kw=load, pv_kw=pv,
            )  # fmt: skip
            battery[row], car[row], used[row] = points.battery_kw, points.car_kw, points.pv_used_kw
        share = pv_shares(homes, battery, car, used)
        return homes.action(battery, share, car_kw=car)


def _seen(homes: HouseholdSimulation, row: int) -> tuple:
    """What one house measures, as `CostToGo.chart` takes it."""
    t, visit = homes.t, homes.visit
    there = homes.cars and visit[ARRIVAL, row] <= t < visit[DEPARTURE, row]
    load, pv = homes.now[:2, row]
    stored = float(homes.car_kwh[row]) if there else None
    return (
        t, float(homes.soc_kwh[row]), stored, int(homes.state[row]), float(load), float(pv),
    )  # fmt: skip
