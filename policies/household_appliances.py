"""Policies of a house with appliances: patterns beside any other policy, and a joint plan.

A policy that says nothing of appliances starts them at once, so `uncontrolled` does and is
score 0 here, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.household.appliance_program import ApplianceProgram
from flexgym.baselines.household.appliance_windows import cheapest_schedule
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import STEPS_PER_DAY, Floats, Series
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.envs.quantity import is_number
from flexgym.policies.base import HouseholdPolicy
from flexgym.policies.household import ModelPredictive, car_ranges, power_ranges

Bools = NDArray[np.bool_]


class Pattern(Protocol):
    """Says which appliances should run, and nothing of battery and car.

    Attributes:
        name: Short name for tables.
    """

    name: str

    def begin(self, simulation: HouseholdSimulation) -> None:
        """Prepare for new episodes: forecasts are known, nothing has happened yet."""
        ...

    def wanted(self, simulation: HouseholdSimulation) -> Bools | bool:
        """Which should run in this period, one truth value or shape (n, slots)."""
        ...


class AtOnce:
    """Every job starts as soon as its window opens and runs through: nobody waits."""

    name = "at-once"

    def begin(self, simulation: HouseholdSimulation) -> None:
        """Nothing to prepare."""

    def wanted(self, simulation: HouseholdSimulation) -> bool:
        """See `Pattern`."""
        return True


class AtLast:
    """Every job waits until it must run."""

    name = "at-last"

    def begin(self, simulation: HouseholdSimulation) -> None:
        """Nothing to prepare."""

    def wanted(self, simulation: HouseholdSimulation) -> bool:
        """See `Pattern`."""
        return False


class CheapestWindow:
    """Every job where it adds least to the forecast bill, see `cheapest_schedule`.

    The sun's surplus counts, battery and car do not. Planned once, at the start of the day.
    """

    name = "cheapest-window"

    def begin(self, simulation: HouseholdSimulation) -> None:
        """Place the jobs."""
        slots = 0 if simulation.appliances is None else simulation.appliances.slots
        self._plan = np.zeros((STEPS_PER_DAY, simulation.n, slots), dtype=bool)
        for i in range(simulation.n):
            house = simulation.house(i)
            if house.appliances:
                series = simulation.episodes.forecast[:, :, i].T.copy()
                self._plan[:, i, : len(house.appliances)] = cheapest_schedule(house, series).T

    def wanted(self, simulation: HouseholdSimulation) -> Bools:
        """See `Pattern`."""
        return self._plan[simulation.t]


class WithPattern:
    """A policy for battery and car beside a pattern for the appliances.

    The policy measures a load that holds the appliances of the period. What it expects of
    later ones does not.

    Args:
        policy: For battery and car.
        pattern: For the appliances.

    Raises:
        ScenarioError: One of them is none, or the policy plans the appliances itself.
    """

    def __init__(self, policy: HouseholdPolicy, pattern: Pattern) -> None:
        for name, given, does in (("policy", policy, "act"), ("pattern", pattern, "wanted")):
            # A class has the methods, too, but cannot be asked.
            if isinstance(given, type) or not callable(getattr(given, does, None)):
                raise ScenarioError(
                    f"{name} is {given!r}; expected an object with a method {does}, such as "
                    + ("ModelPredictive()." if name == "policy" else "CheapestWindow().")
                )
        if isinstance(policy, WithPattern | JointModelPredictive):
            raise ScenarioError(
                f"policy is {policy.name}, which says itself when appliances run; expected one "
                "for battery and car alone. Play it without a pattern."
            )
        self.policy, self.pattern = policy, pattern
        self.name = f"{policy.name} + {pattern.name}"
        self.settings: Mapping[str, str] = policy.settings

    def begin(self, simulation: HouseholdSimulation) -> None:
        """Prepare both."""
        self.pattern.begin(simulation)
        self.policy.begin(simulation)

    def act(self, simulation: HouseholdSimulation) -> Floats:
        """See `HouseholdPolicy`."""
        simulation.choose(self.pattern.wanted(simulation))
        return self.policy.act(simulation)


class JointModelPredictive(ModelPredictive):
    """Plan appliances, battery and car on conditional means, anew in every period.

    A mixed-integer program as long as a house has jobs to do; then as `ModelPredictive`.

    Args:
        gap_eur: Distance from the best plan at which the search for one may end, EUR. Plans
            rest on forecasts, and proving the last tenth of a cent can take seconds.
    """

    name = "joint-mpc"
    settings: Mapping[str, str] = MappingProxyType({})

    def __init__(self, gap_eur: float = 1e-3) -> None:
        if not is_number(gap_eur, 0.0):
            raise ScenarioError(f"gap_eur is {gap_eur!r}; expected a number >= 0, EUR.")
        self.gap_eur = gap_eur

    def begin(self, simulation: HouseholdSimulation) -> None:
        """See `ModelPredictive`."""
        super().begin(simulation)
        self._joint: dict[int, ApplianceProgram] = {}

    def act(self, simulation: HouseholdSimulation) -> Floats:
        """See `HouseholdPolicy`."""
        jobs = simulation.appliances
        if jobs is None or not jobs.left.any():
            return super().act(simulation)
        wanted = np.zeros(jobs.left.shape, dtype=bool)
        powers: dict[int, tuple[float, float]] = {}
        for i in np.flatnonzero(jobs.left.any(axis=1)).tolist():
            runs, battery_kw, car_kw = self._planned(simulation, i)
            wanted[i, : len(runs)] = runs
            powers[i] = battery_kw, car_kw
        simulation.choose(wanted)
        battery, car = self.powers(simulation, skip=frozenset(powers))
        for i, (battery_kw, car_kw) in powers.items():
            battery[i], car[i] = battery_kw, car_kw
        # A plan may miss a limit by the tolerance of its solver.
        low, _, high = car_ranges(simulation)
        car = np.clip(car, low, high)
        low, _, high = power_ranges(simulation, car)
        return simulation.action(np.clip(battery, low, high), car_kw=car)

    def _planned(self, simulation: HouseholdSimulation, i: int) -> tuple[Bools, float, float]:
        """Which appliances of a house run now, and its battery and car power, kW."""
        jobs, t, episodes = simulation.appliances, simulation.t, simulation.episodes
        assert jobs is not None
        house = simulation.house(i)
        program = self._joint.get(i)
        if program is None:
            program = ApplianceProgram(house, STEPS_PER_DAY, earlier=True, gap_eur=self.gap_eur)
            self._joint[i] = program
        series = episodes.exogenous[:, :, i].T.copy()
        series[:, t + 1 :] = self._means(simulation, i)
        sessions = simulation.forecast_series(i).sessions
        program.load(
            Series(*series, sessions=sessions),
            terminal_eur_per_kwh=float(episodes.terminal_price[i]),
        )
        count = len(house.appliances)
        runs = program.plan(
            soc_kwh=float(simulation.soc_kwh[i]),
            car_kwh=float(simulation.car_kwh[i]),
            start=t,
            left=jobs.left[i, :count],
            running=jobs.running[i, :count],
        )
        plan = program.dispatch()
        return runs[:, t], float(plan.battery_kw[t]), float(plan.car_kw[t])


PATTERNS = {pattern.name: pattern for pattern in (AtOnce, AtLast, CheapestWindow)}
"""Patterns that need no solver."""
