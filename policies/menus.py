"""Menus on the feeder: every house sends its flexibility chart, the operator clears them.

The house plans and measures; the operator knows the grid and what it is sent. All a house
learns in return is the power that it shall take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from flexgym.baselines.household import SolutionCache
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.capability import Capability, capability, kink_powers
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.clearing import Cleared, Operator
from flexgym.envs.charts.construction import house_chart
from flexgym.envs.charts.set_points import active_set_points
from flexgym.envs.charts.settlement import harms
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.homes import actions_of, follow, homes_of
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.awareness import GridPrices, expected_prices
from flexgym.policies.household import pv_shares
from flexgym.policies.planning import Certified, Planner

EACH_VERTEX_BYTES = 16
"""Of a vertex in active power: kW and EUR as doubles."""


@dataclass(frozen=True, eq=False)
class Period:
    """What was sent, answered and played in one period by n feeders of H houses.

    Attributes:
        menus: What was sent, one list a feeder.
        answers: The operator's answers, one a feeder.
        action: Actions of the houses, shape (n * H, a).
    """

    menus: list[list[FlexibilityChart]]
    answers: list[Cleared]
    action: Floats


class Exchange:
    """Houses and operators period by period: menus out, powers back.

    Args:
        scenario: Grid and houses.
        n_vertices: Most vertices of a menu; None sends all.
    """

    def __init__(self, scenario: FeederScenario, n_vertices: int | None = None) -> None:
        self.count, self._n_vertices = scenario.n_houses, n_vertices
        self.operator = Operator(
            scenario.network,
            scenario.house_bus,
            band_pu=scenario.band_pu,
            loss_eur_per_kwh=scenario.costs.loss_eur_per_kwh,
            voltage_eur_per_pu_h=scenario.costs.voltage_eur_per_pu_h,
            overload_eur_per_kwh=scenario.costs.overload_eur_per_kwh,
        )

    def period(self, homes: HouseholdSimulation, planner: Planner) -> Period:
        """Menus of all houses as they stand, cleared, and the actions that follow."""
        planner.look(homes)
        tellers = [_Teller(homes, planner, row) for row in range(homes.n)]
        sent = [self._coarse(teller.menu) for teller in tellers]
        tan_phi = np.array([homes.house(row).load.tan_phi for row in range(homes.n)])
        q_kvar = (tan_phi * homes.now[0]).reshape(-1, self.count)
        feeders = [sent[i : i + self.count] for i in range(0, homes.n, self.count)]
        answers = [self.operator.clear(m, q) for m, q in zip(feeders, q_kvar, strict=True)]
        battery, car, used = np.empty((3, homes.n))
        power = np.concatenate([answer.power_kw for answer in answers])
        for row, teller in enumerate(tellers):
            battery[row], car[row], used[row] = teller.devices(float(power[row]))
        share = pv_shares(homes, battery, car, used)
        return Period(feeders, answers, homes.action(battery, share, car_kw=car))

    def _coarse(self, menu: FlexibilityChart) -> FlexibilityChart:
        if self._n_vertices is None:
            return menu
        power = menu.power_kw
        active = np.column_stack([power, np.zeros(len(power)), menu.cost_eur])
        return FlexibilityChart.hull(active).coarsen(self._n_vertices)


class _Teller:
    """One house in one period: its menu, and how it makes a power of it."""

    def __init__(self, homes: HouseholdSimulation, planner: Planner, row: int) -> None:
        self._house = homes.episodes.rows[row]
        self._soc = float(homes.soc_kwh[row])
        self._load, self._pv, buy, sell = (float(x) for x in homes.now[:, row])
        self._limits: Capability = capability(homes.house(row))
        self._ahead: CarLevels = planner.ahead(homes, row, kink_powers(self._limits, self._pv))
        self.menu = house_chart(
            self._house, self._soc, self._load, self._pv, buy, sell, self._ahead, self._limits
        )

    def devices(self, power_kw: float) -> tuple[float, float, float]:
        """Battery, car and PV used that make a power the cheapest way, kW."""
        x = self.menu.power_kw
        points = active_set_points(
            self._house, self._soc, self._load, self._pv, self._ahead, self._limits,
            min(max(power_kw, float(x[0])), float(x[-1])),
        )  # fmt: skip
        return points.battery_kw, points.car_kw, points.pv_used_kw


@dataclass(frozen=True, eq=False)
class MenuDay:
    """What operator and houses told each other over the day.

    Attributes:
        own_kw: What each house would have taken by itself at each moment, shape (T, n, H), kW.
        power_kw: What it was asked for, likewise.
        harm_eur: Difference of its menu's costs there, likewise, EUR.
        price_eur_per_kwh: What power cost the grid at its bus, shape (T, 3, n, H), EUR/kWh:
            losses, voltage, loading.
        vertices: Number of vertices of its menu, shape (T, n, H).
        solves: Programs that the operator solved, shape (T, n).
        feasible: Whether the menus let the grid keep its limits, likewise.
    """

    own_kw: Floats
    power_kw: Floats
    harm_eur: Floats
    price_eur_per_kwh: Floats
    vertices: Floats
    solves: Floats
    feasible: Floats

    @classmethod
    def empty(cls, n: int, count: int) -> MenuDay:
        """Room for a day."""
        T = STEPS_PER_DAY
        each = [np.zeros((T, n, count)) for _ in range(4)]
        prices = np.zeros((T, 3, n, count))
        return cls(*each[:3], prices, each[3], np.zeros((T, n)), np.zeros((T, n)))

    def note(self, t: int, period: Period) -> None:
        """Write down a period."""
        for i, (menus, answer) in enumerate(zip(period.menus, period.answers, strict=True)):
            self.own_kw[t, i] = [menu.best_power_kw for menu in menus]
            self.power_kw[t, i] = answer.power_kw
            self.harm_eur[t, i] = harms(menus, answer)
            self.price_eur_per_kwh[t, :, i] = answer.price_eur_per_kwh
            self.vertices[t, i] = [len(menu.power_kw) for menu in menus]
            self.solves[t, i], self.feasible[t, i] = answer.solves, answer.feasible


class Menus:
    """Houses that plan, cleared by the operator period by period.

    Without ``aware`` the planning stage does not know the grid: a house that the grid will
    hinder tomorrow night learns it only then. Each chart is read by its least cost over
    reactive power; the reactive power of the load goes with it.

    Attributes:
        period: What was sent and answered last.
        day: What was sent and answered so far.
        grid: What the planning stage expects of the grid, one a feeder; None without ``aware``.

    Args:
        planner: What houses know of their future; None is the certified optimum.
        name: Of tables.
        aware: Rounds in which operator and houses rehearse the expected day and agree on prices
            of the grid; 0 plans without them. See `flexgym.policies.awareness`.
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
        aware: int = 0,
        n_vertices: int | None = None,
        progress: Callable[[int, int], object] | None = None,
        cache: SolutionCache | None = None,
        workers: int = 1,
    ) -> None:
        self.planner = planner or Certified(progress, cache, workers)
        self.name, self._aware, self._n_vertices = name, aware, n_vertices

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
        self.grid, adders = None, None
        if self._aware:
            self.planner.begin(self._homes)
            expected = self.planner.expected(self._homes)
            self.grid = expected_prices(
                simulation.scenario, self._homes, expected, self._exchange, self._aware
            )
            adders = np.concatenate([prices.adders_eur_per_kwh for prices in self.grid], axis=1)
        self.planner.begin(self._homes, adders)

    def act(self, simulation: FeederSimulation) -> Floats:
        """See `FeederPolicy`."""
        homes = self._homes
        follow(homes, simulation)
        self.period = self._exchange.period(homes, self.planner)
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
