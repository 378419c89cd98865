"""Menus on the feeder: every house sends its flexibility chart, the operator clears them.

The house plans and measures; the operator knows the grid and what it is sent. All a house
learns in return is the power that it shall take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import process_time
from types import MappingProxyType

import numpy as np

from flexgym.baselines.household import SolutionCache
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.clearing import Cleared
from flexgym.envs.charts.settlement import deviations, harms
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.homes import actions_of, follow, homes_of
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.policies.awareness import GridPrices, Pricing
from flexgym.policies.exchange import Exchange, Period, alone, together
from flexgym.policies.planning import Certified, Foreseen, Planner, revised, usable


@dataclass(frozen=True, eq=False)
class MenuDay:
    """What operator and houses told each other over the day.

    Attributes:
        own_kw: What each house would have taken by itself at each moment, shape (T, n, H), kW.
        power_kw: What it was asked for, likewise.
        harm_eur: Difference of its menu's costs there, likewise, EUR.
        deviation_eur: What it costs by the menu above the choice at the price that the planning
            stage expected, likewise, EUR.
        expected_eur_per_kwh: That price, shape (T, n, H), EUR/kWh; 0 without one.
        price_eur_per_kwh: What power cost the grid at its bus, shape (T, 3, n, H), EUR/kWh:
            losses, voltage, loading.
        vertices: Number of vertices of its menu, shape (T, n, H).
        solves: Programs that the operator solved, shape (T, n).
        feasible: Whether the menus let the grid keep its limits, likewise.
        clean: Whether the AC power flow breaks none, likewise.
    """

    own_kw: Floats
    power_kw: Floats
    harm_eur: Floats
    deviation_eur: Floats
    expected_eur_per_kwh: Floats
    price_eur_per_kwh: Floats
    vertices: Floats
    solves: Floats
    feasible: Floats
    clean: Floats

    @classmethod
    def empty(cls, n: int, count: int) -> MenuDay:
        """Room for a day."""
        T = STEPS_PER_DAY
        return cls(
            own_kw=np.zeros((T, n, count)),
            power_kw=np.zeros((T, n, count)),
            harm_eur=np.zeros((T, n, count)),
            deviation_eur=np.zeros((T, n, count)),
            expected_eur_per_kwh=np.zeros((T, n, count)),
            price_eur_per_kwh=np.zeros((T, 3, n, count)),
            vertices=np.zeros((T, n, count)),
            solves=np.zeros((T, n)),
            feasible=np.zeros((T, n)),
            clean=np.zeros((T, n)),
        )

    def note(self, t: int, period: Period) -> None:
        """Write down a period."""
        for i, (menus, answer) in enumerate(zip(period.menus, period.answers, strict=True)):
            self.own_kw[t, i] = [menu.best_power_kw for menu in menus]
            self.power_kw[t, i] = answer.power_kw
            self.harm_eur[t, i] = harms(menus, answer)
            expected = self.expected_eur_per_kwh[t, i]
            self.deviation_eur[t, i] = deviations(menus, answer.power_kw, expected)
            self.price_eur_per_kwh[t, :, i] = answer.price_eur_per_kwh
            self.vertices[t, i] = [len(menu.power_kw) for menu in menus]
            self.solves[t, i] = answer.solves
            self.feasible[t, i], self.clean[t, i] = answer.feasible, answer.clean


class Menus:
    """Houses that plan, cleared by the operator period by period.

    Without ``pricing`` the planning stage does not know the grid: a house that the grid will
    hinder tomorrow night learns it only then. Each chart is read by its least cost over
    reactive power; the reactive power of the load goes with it.

    Attributes:
        period: What was sent and answered last.
        day: What was sent and answered so far.
        grid: What the planning stage expects of the grid, one a feeder; None without
            ``pricing``.
        seconds: See `Exchange`; ``expecting`` is what finding prices of the grid has taken.
        planning_bytes: What a house has sent to find them, mean of all.

    Args:
        planner: What houses know of their future; None is the certified optimum.
        name: Of tables.
        pricing: How operator and houses find prices of the grid to plan with; None plans without
            them. See `flexgym.policies.awareness` and `flexgym.policies.coordinated`.
        again: Periods after which they find those of the rest of the day once more; None is
            never.
        n_vertices: Most vertices of a menu; None sends all.
        progress: Called with the number of house-days solved and their total.
        cache: Where solutions of the certified optimum are kept and looked up.
        workers: House-days to solve side by side, each on a core of its own.
    """

    settings: Mapping[str, str] = MappingProxyType({"curtailment": "action"})

    period: Period
    day: MenuDay
    grid: list[GridPrices] | None

    def __init__(
        self,
        planner: Planner | None = None,
        *,
        name: str = "menus",
        pricing: Pricing | None = None,
        again: int | None = None,
        n_vertices: int | None = None,
        progress: Callable[[int, int], object] | None = None,
        cache: SolutionCache | None = None,
        workers: int = 1,
    ) -> None:
        self.planner = planner or Certified(progress, cache, workers)
        if again is not None and again < 1:
            raise ScenarioError(f"again is {again}; expected a number of periods >= 1, or None.")
        if n_vertices is not None and n_vertices < 1:
            raise ScenarioError(f"n_vertices is {n_vertices}; expected at least 1, or None.")
        self.name, self._n_vertices = name, n_vertices
        self._pricing, self._again = pricing, again

    def begin(self, simulation: FeederSimulation) -> None:
        """Plan the day; see `FeederPolicy`.

        Raises:
            ScenarioError: The simulation decides curtailment by itself.
        """
        if simulation.curtailment != "action":
            raise ScenarioError(
                f"curtailment is {simulation.curtailment!r}; expected 'action', since the operator "
                "may ask a house to use less of its PV. Make the simulation with the policy's "
                "settings."
            )
        self._homes = homes_of(simulation)
        self._exchange = Exchange(simulation.scenario, self._n_vertices)
        self.day = MenuDay.empty(simulation.n, simulation.scenario.n_houses)
        self.seconds = self._exchange.seconds
        self.seconds["expecting"], self.planning_bytes = 0.0, 0.0
        self._shape = simulation.n, simulation.scenario.n_houses
        self._first = revised(self._homes, self._homes.episodes.exogenous)
        self._expected = self.planner.expected(self._homes)
        self.grid = self._agreed = None
        if self._pricing:
            self._expect(simulation, self._pricing)
        else:
            self.planner.begin(self._homes)

    def _expect(self, simulation: FeederSimulation, pricing: Pricing) -> None:
        """Find prices of the grid for the rest of the day, and plan with them."""
        started = process_time()
        homes, before = self._homes, None
        if self.grid is not None:
            before = np.concatenate([prices.adders_eur_per_kwh for prices in self.grid], axis=1)
        expected = self.planner.expected(homes)
        exchange = Exchange(simulation.scenario, self._n_vertices)
        self.grid = pricing.prices(simulation.scenario, homes, expected, exchange, before)
        adders = np.concatenate([prices.adders_eur_per_kwh for prices in self.grid], axis=1)
        adders = usable(expected, homes.episodes.rows, adders)
        self._agreed = together([prices.agreed for prices in self.grid])
        self.planning_bytes += float(np.mean([prices.house_bytes for prices in self.grid]))
        self.seconds["expecting"] += process_time() - started
        self.planner.begin(homes, adders)
        self.day.expected_eur_per_kwh[homes.t :] = adders.reshape(-1, *self._shape)[homes.t :]

    def act(self, simulation: FeederSimulation) -> Floats:
        """See `FeederPolicy`."""
        homes = self._homes
        follow(homes, simulation)
        if self._pricing and self._again and homes.t > 0 and homes.t % self._again == 0:
            self._expect(simulation, self._pricing)
        self.period = self._exchange.period(homes, self.planner, self._agreed)
        self.day.note(homes.t, self.period)
        return actions_of(simulation, self.period.action)

    @property
    def answers(self) -> list[Cleared]:
        """The operator's answers of the last period, one a feeder."""
        return self.period.answers

    @property
    def menus(self) -> list[list[FlexibilityChart]]:
        """What was sent in the last period, one list a feeder."""
        return self.period.menus

    def plans(self) -> Floats:
        """What each house would do by itself over the day that it expects at its start.

        Shape (T, n, H), kW: the plans that it declares.
        """
        meter_kw, _ = alone(revised(self._first, self._expected), Foreseen())
        return meter_kw.reshape(-1, *self._shape)

    def alone_eur(self) -> Floats:
        """Cost of the day to each house if it does what it would by itself at any moment.

        With the same knowledge, but without the grid; shape (n, H), EUR. The plans are made anew
        for it, so it can only be asked once the day is over.

        Raises:
            ScenarioError: The day is not over.
        """
        if self._homes.t < STEPS_PER_DAY - 1:
            raise ScenarioError(
                f"alone_eur was asked in period {self._homes.t}; expected the end of the day."
            )
        _, cost = alone(revised(self._first, self._first.episodes.exogenous), self.planner)
        return cost.reshape(self._shape)
