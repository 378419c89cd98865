"""`flexgym/Appliance-v0`: one appliance for one day, as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from flexgym.envs.appliance.dynamics import OUTCOME_NAMES
from flexgym.envs.appliance.observation import OBSERVATION_LIMIT
from flexgym.envs.appliance.params import Job
from flexgym.envs.appliance.scenario import ApplianceScenario
from flexgym.envs.appliance.simulation import ApplianceSimulation
from flexgym.envs.data import Prices
from flexgym.envs.forecasts.price_models import PriceModel
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.lockstep import LockstepEnv


def spaces(simulation: ApplianceSimulation) -> tuple[gym.spaces.Box, gym.spaces.Box]:
    """Observation and action space of one appliance, both float32."""
    size = len(simulation.observation_names)
    return (
        gym.spaces.Box(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, (size,), np.float32),
        gym.spaces.Box(-1.0, 1.0, (1,), np.float32),
    )


class ApplianceEnv(LockstepEnv):
    """An appliance has a job of L hours within a window of H hours of a day's 24 from 06:00.

    **Action** (1,) in [-1, 1]: above 0 wishes to run this hour. The job ends in time whatever is
    wished: once as many hours are left to run as the window has left, it runs, and what may not
    pause runs on once begun (``info["forced"]``). A wish to run outside the window or after the
    end comes to nothing (``info["refused"]``).

    **Observation**: float32, entries and units in ``observation_names``: the job and what is left
    of it, the hour, the price now, what waiting saves by the forecasts, and these until the
    deadline, which are the expected prices given what is known in this hour.

    **Reward**: minus the cost of the hour in EUR, price * power_kw * 1 h while it runs. The sum
    over the day is exactly minus ``info["cost_eur"]`` summed.

    **Episode**: prices follow a finite chain of signals around the day's curve; the signal of an
    hour is seen before its decision. The day ends (``terminated``) after 24 hours.

    **Reset options**: ``day`` (0 to 364), ``job`` (a `Job`).

    **Reference**: `flexgym.baselines.appliance`, exact.

    Args:
        jobs: A `Job` or several to draw from; None draws L in 1 to 6 hours, a window, power in
            0.5 to 3 kW and whether it may pause.
        kind: ``"mixed"``, ``"interruptible"`` or ``"uninterruptible"``: jobs that are drawn.
        days: Days of the year to draw from; None takes the split's.
        prices: From `flexgym.envs.data.load_prices` or `synthetic_prices`; None is the documented
            synthetic tariff. Hourly means of the import price are the day's forecast curve.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        uncertainty: ``"autoregressive"`` (hourly autocorrelation 0.6, deviation 0.06 EUR/kWh, 9
            values), ``"markov"`` (the household's price chain, four quarter-hours a step) or
            ``"none"``; a `MarkovChain` of factors; a function from a curve of 24 prices to a
            `SignalProcess`, called for every day that has prices, since reset may ask for any;
            or one `SignalProcess`, which then is the only day.
        noise_sd_eur_per_kwh: Deviation of what the price adds after the decision, EUR/kWh; 0
            reveals the price with the signal.
        render_mode: ``"rgb_array"`` or None.

    Raises:
        ScenarioError: An option is unknown, empty or out of range.

    Version History:
        v0: first version.
    """

    simulation: ApplianceSimulation

    def __init__(
        self,
        jobs: Sequence[Job] | Job | None = None,
        kind: str = "mixed",
        days: Iterable[int] | int | None = None,
        prices: Prices | None = None,
        split: str = "train",
        uncertainty: PriceModel | SignalProcess = "autoregressive",
        noise_sd_eur_per_kwh: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        scenario = ApplianceScenario.create(
            jobs, kind, days, prices, split, uncertainty, noise_sd_eur_per_kwh
        )
        simulation = ApplianceSimulation(scenario, 1)
        super().__init__(simulation, spaces(simulation), OUTCOME_NAMES, render_mode)

    @property
    def job(self) -> Job:
        """Job of this episode."""
        return self.simulation.episodes.jobs.job()

    def render(self) -> np.ndarray | None:
        """Picture of the day so far, shape (height, width, 3), uint8."""
        if self.render_mode is None:
            return None
        from flexgym.envs.appliance.render import render_day

        return render_day(self.simulation, self._played())

    def _reset_info(self) -> dict[str, np.ndarray]:
        return reset_info(self.simulation)


def reset_info(simulation: ApplianceSimulation) -> dict[str, Any]:
    """What reset tells of each appliance: its day and its job, each shape (n,)."""
    episodes = simulation.episodes
    fields = {name: field.copy() for name, field in episodes.jobs._asdict().items()}
    return {"day": episodes.day.copy(), **fields}
