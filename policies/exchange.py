"""Houses and their operator in one period: menus out, powers back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import process_time

import numpy as np

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.capability import Capability, capability
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.clearing import Cleared
from flexgym.envs.charts.coarse import coarsen_active
from flexgym.envs.charts.construction import house_chart
from flexgym.envs.charts.set_points import active_set_points
from flexgym.envs.feeder.clearing import load_kvar, operator_of
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.household.dynamics import COST_EUR, METER_KW
from flexgym.envs.household.params import DT_H, STEPS_PER_DAY, Floats
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.household import pv_shares
from flexgym.policies.planning import Planner

_NO_KINKS = np.empty(0)
_SAME_KW = 1e-6
_FRAME_BYTES = 14
"""Of `FlexibilityChart.to_bytes` beside its vertices."""


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


@dataclass(frozen=True, eq=False)
class Agreed:
    """What houses have agreed to take, where nothing better comes.

    Attributes:
        power_kw: Power at the meters, shape (T, n), kW.
        pull_eur_per_kwh: What the operator adds to a menu for each kWh away from it.
    """

    power_kw: Floats
    pull_eur_per_kwh: float

    def pulled(self, menu: FlexibilityChart, t: int, row: int) -> FlexibilityChart:
        """A menu in active power whose costs rise with the distance from what was agreed."""
        x = menu.power_kw
        target = min(max(float(self.power_kw[t, row]), float(x[0])), float(x[-1]))
        nearest = float(x[np.abs(x - target).argmin()])
        power = x
        if abs(nearest - target) < _SAME_KW:
            target = nearest
        else:
            power = np.sort(np.append(x, target))
        away = DT_H * self.pull_eur_per_kwh * np.abs(power - target)
        active = np.column_stack([power, np.zeros(len(power)), menu.cost(power) + away])
        return FlexibilityChart.hull(active)


def together(feeders: Sequence[Agreed | None]) -> Agreed | None:
    """What the houses of all feeders have agreed to, where all have, at one pull."""
    agreed = [each for each in feeders if each is not None]
    if not agreed or len(agreed) < len(feeders):
        return None
    power_kw = np.concatenate([each.power_kw for each in agreed], axis=1)
    return Agreed(power_kw, agreed[0].pull_eur_per_kwh)


class Exchange:
    """Houses and operators period by period: menus out, powers back.

    Attributes:
        seconds: Processor time so far by what it went into: ``menus`` of all houses (plans made
            anew and following what was asked included), ``clearing``.
        bytes_sent: What all houses have sent so far: vertices as doubles (kW, kvar, EUR), the
            message's frame, and the reactive power of the load.

    Args:
        scenario: Grid and houses.
        n_vertices: Most vertices of a menu; None sends all.
    """

    def __init__(self, scenario: FeederScenario, n_vertices: int | None = None) -> None:
        self.count, self._n_vertices = scenario.n_houses, n_vertices
        self.seconds = {"menus": 0.0, "clearing": 0.0}
        self.bytes_sent = 0.0
        self.operator = operator_of(scenario)

    def period(
        self, homes: HouseholdSimulation, planner: Planner, agreed: Agreed | None = None
    ) -> Period:
        """Menus of all houses as they stand, cleared, and the actions that follow."""
        started = process_time()
        planner.look(homes)
        tellers = [Teller(homes, planner, row) for row in range(homes.n)]
        sent = [self._coarse(teller.menu) for teller in tellers]
        self.bytes_sent += sum(message_bytes(len(menu.power_kw)) for menu in sent)
        q_kvar = load_kvar(homes).reshape(-1, self.count)
        asked = process_time()
        # The operator knows what was agreed: it is its own doing to hold houses to it.
        read = sent
        if agreed is not None:
            read = [agreed.pulled(menu, homes.t, row) for row, menu in enumerate(sent)]
        starts = range(0, homes.n, self.count)
        answers = [
            self.operator.clear(read[i : i + self.count], q)
            for i, q in zip(starts, q_kvar, strict=True)
        ]
        cleared = process_time()
        battery, car, used = np.empty((3, homes.n))
        power = np.concatenate([answer.power_kw for answer in answers])
        for row, teller in enumerate(tellers):
            battery[row], car[row], used[row] = teller.devices(float(power[row]))
        share = pv_shares(homes, battery, car, used)
        action = homes.action(battery, share, car_kw=car)
        self.seconds["menus"] += asked - started + process_time() - cleared
        self.seconds["clearing"] += cleared - asked
        return Period([sent[i : i + self.count] for i in starts], answers, action)

    def _coarse(self, menu: FlexibilityChart) -> FlexibilityChart:
        if self._n_vertices is None:
            return menu
        return coarsen_active(menu, self._n_vertices)


def message_bytes(vertices: float) -> float:
    """Bytes of a menu in active power, of so many vertices, and of the load's kvar beside it."""
    return _FRAME_BYTES + 24 * vertices + 8


class Teller:
    """One house in one period: its menu, and how it makes a power of it."""

    def __init__(self, homes: HouseholdSimulation, planner: Planner, row: int) -> None:
        self._house = homes.episodes.rows[row]
        self._soc = float(homes.soc_kwh[row])
        self._load, self._pv, buy, sell = (float(x) for x in homes.now[:, row])
        self._limits: Capability = capability(homes.house(row))
        # Of reactive power nothing is asked, so where the inverter's polygon bends is no matter.
        self._ahead: CarLevels = planner.ahead(homes, row, _NO_KINKS)
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


def alone(homes: HouseholdSimulation, planner: Planner) -> tuple[Floats, Floats]:
    """Play the rest of the day without an operator: every house takes its own choice.

    Args:
        homes: The houses; they go on to the day's end.
        planner: What they know of their future.

    Returns:
        Power at the meters, shape (T, n), kW; cost of each house, shape (n,), EUR.
    """
    planner.begin(homes)
    meter_kw, cost = np.zeros((STEPS_PER_DAY, homes.n)), np.zeros(homes.n)
    while not homes.done:
        planner.look(homes)
        tellers = [Teller(homes, planner, row) for row in range(homes.n)]
        own = np.array([teller.devices(teller.menu.best_power_kw) for teller in tellers])
        battery, car, used = np.ascontiguousarray(own.T)
        action = homes.action(battery, pv_shares(homes, battery, car, used), car_kw=car)
        t, outcome = homes.t, homes.step(action)
        meter_kw[t], cost = outcome[:, METER_KW], cost + outcome[:, COST_EUR]
    return meter_kw, cost
