"""Model predictive control of all houses at once within the grid.

What forecasts leave of the centralised optimum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from flexgym.baselines.feeder.feeder_day import FeederDay
from flexgym.baselines.feeder.rolling_program import Present, RollingProgram
from flexgym.baselines.household.certainty_equivalent import conditional_means, expected_factors
from flexgym.envs.errors import ConvexityError, ScenarioError, SolverError
from flexgym.envs.feeder.homes import actions_of, follow, homes_of
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household.dynamics import PV_KWP
from flexgym.envs.household.params import STEPS_PER_DAY, Floats, Series
from flexgym.policies.household import pv_shares

T = STEPS_PER_DAY


@contextmanager
def naming_day(simulation: FeederSimulation, feeder: int) -> Iterator[None]:
    """Errors of solvers say which feeder-day it was."""
    try:
        yield
    except (SolverError, ConvexityError) as error:
        day, draw = int(simulation.day[feeder]), int(simulation.draw[feeder])
        name = simulation.scenario.name
        raise type(error)(
            f"day {day} of {name!r} with draw {draw} of the houses: {error}"
        ) from error


class CentralisedMpc:
    """The centralised program on conditional means, solved again in every period.

    It measures what every house does, knows its sessions as `ModelPredictive` does, and holds
    the limits of the present period by the AC power flow. No policy with the same forecasts
    can be expected to do better by much, but it is no bound.

    Attributes:
        presents: What was planned for the last period, one a feeder.

    Args:
        progress: Called with the number of feeder-periods planned and their total.
    """

    name = "central-mpc"
    settings: Mapping[str, str] = MappingProxyType({"curtailment": "action"})

    presents: list[Present]

    def __init__(self, progress: Callable[[int, int], object] | None = None) -> None:
        self.progress: Callable[[int, int], object] = progress or (lambda done, total: None)

    def begin(self, simulation: FeederSimulation) -> None:
        """Solve every feeder-day as it is expected; see `FeederPolicy`.

        Raises:
            ScenarioError: The simulation decides curtailment by itself.
            SolverError: HiGHS found no optimum, for the day that is named.
        """
        if simulation.curtailment != "action":
            raise ScenarioError(
                f"curtailment is {simulation.curtailment!r}; expected 'action', since the plan may "
                "use less PV than there is. Make the simulation with the policy's settings."
            )
        uncertainty = simulation.scenario.homes.uncertainty
        self._factors = (
            uncertainty.weather_factor,
            uncertainty.price_factor,
            float(np.dot(uncertainty.load_factors, uncertainty.load_probabilities)),
            expected_factors(uncertainty, T),
        )
        self._homes = homes_of(simulation)
        self._feeders = simulation.n
        self._programs: list[RollingProgram] = []
        for feeder in range(simulation.n):
            day = FeederDay.of(simulation, feeder)
            expected = zip(self._expected(feeder).transpose(1, 0, 2), day.series, strict=True)
            series = tuple(Series(*means, sessions=known.sessions) for means, known in expected)
            with naming_day(simulation, feeder):
                self._programs.append(RollingProgram(replace(day, series=series)))
        self.presents = []

    def act(self, simulation: FeederSimulation) -> Floats:
        """See `FeederPolicy`.

        Raises:
            SolverError: HiGHS found no optimum, for the day that is named.
        """
        homes, t = self._homes, simulation.t
        follow(homes, simulation)
        soc, car = simulation.soc_kwh, simulation.car_kwh
        self.presents = []
        for feeder, program in enumerate(self._programs):
            with naming_day(simulation, feeder):
                expected = self._expected(feeder)
                self.presents.append(program.step(t, expected, soc[feeder], car[feeder]))
            self.progress(t * simulation.n + feeder + 1, T * simulation.n)
        battery, car, used = (
            np.concatenate([getattr(each, name) for each in self.presents])
            for name in ("battery_kw", "car_kw", "pv_used_kw")
        )
        share = pv_shares(homes, battery, car, used)
        return actions_of(simulation, homes.action(battery, share, car_kw=car))

    def _expected(self, feeder: int) -> Floats:
        """Measurements now and conditional means after it, shape (4, H, T)."""
        homes, t, count = self._homes, self._homes.t, self._homes.n // self._feeders
        episodes = homes.episodes
        rows = range(feeder * count, (feeder + 1) * count)
        series = np.empty((4, count, T))
        series[:, :, : t + 1] = episodes.exogenous[: t + 1, :, rows].transpose(1, 2, 0)
        for h, row in enumerate(rows):
            means = np.empty((4, T - t - 1))
            conditional_means(
                t, homes.state[row], episodes.forecast[:, :, row], episodes.rows[row, PV_KWP],
                *self._factors, means,
            )  # fmt: skip
            series[:, h, t + 1 :] = means
        return series
