"""`flexgym/Appliance-v0`: one appliance for one day, as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from flexgym.envs.appliance.dynamics import COST_EUR, OUTCOME_NAMES
from flexgym.envs.appliance.observation import OBSERVATION_LIMIT
from flexgym.envs.appliance.params import Job
from flexgym.envs.appliance.scenario import ApplianceScenario
from flexgym.envs.appliance.simulation import ApplianceSimulation
from flexgym.envs.data import Prices
from flexgym.envs.errors import ActionError, ScenarioError, StateError
from flexgym.envs.forecasts.price_models import PriceModel
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.params import Floats


def spaces(simulation: ApplianceSimulation) -> tuple[gym.spaces.Box, gym.spaces.Box]:
    """Observation and action space of one appliance, both float32."""
    size = len(simulation.observation_names)
    return (
        gym.spaces.Box(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, (size,), np.float32),
        gym.spaces.Box(-1.0, 1.0, (1,), np.float32),
    )


class ApplianceEnv(gym.Env[np.ndarray, np.ndarray]):
    """An appliance has a job of L hours within a window of H hours of a day's 24 from 06:00.

    **Action** (1,) in [-1, 1]: above 0 wishes to run this hour. The job ends in time whatever is
    wished: once as many hours are left to run as the window has left, it runs, and what may not
    pause runs on once begun (``info["forced"]``). A wish to run outside the window or after the
    end comes to nothing (``info["refused"]``).

    **Observation**: float32, entries and units in ``observation_names``: the job and what is left
    of it, the hour, the price now, and forecasts until the deadline, which are the expected prices
    given what is known in this hour.

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
            `SignalProcess`; or one `SignalProcess`, which then is the only day.
        noise_sd_eur_per_kwh: Deviation of what the price adds after the decision, EUR/kWh; 0
            reveals the price with the signal.
        render_mode: ``"rgb_array"`` or None.

    Raises:
        ScenarioError: An option is unknown, empty or out of range.

    Version History:
        v0: first version.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 2}

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
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ScenarioError(f"render_mode is {render_mode!r}; expected None or 'rgb_array'.")
        scenario = ApplianceScenario.create(
            jobs, kind, days, prices, split, uncertainty, noise_sd_eur_per_kwh
        )
        self.simulation = ApplianceSimulation(scenario, 1)
        self.observation_names = self.simulation.observation_names
        self.observation_space, self.action_space = spaces(self.simulation)
        self.render_mode = render_mode
        self._outcomes: list[Floats] = []

    @property
    def job(self) -> Job:
        """Job of this episode."""
        return self.simulation.episodes.jobs.job()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a new episode; see the class for the options."""
        super().reset(seed=seed)
        self.simulation.begin([self.np_random], options)
        self._outcomes = []
        info = {name: values[0].item() for name, values in reset_info(self.simulation).items()}
        return self.simulation.observe()[0], info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Play one hour; see `ApplianceSimulation.step` for errors."""
        played = as_numbers(action)
        if played.shape != self.action_space.shape:
            raise ActionError(
                f"action has shape {played.shape}; expected {self.action_space.shape}."
            )
        outcome = self.simulation.step(played[None])
        self._outcomes.append(outcome[0])
        values = outcome[0].tolist()
        info: dict[str, Any] = dict(zip(OUTCOME_NAMES, values, strict=True))
        return self.simulation.observe()[0], -values[COST_EUR], self.simulation.done, False, info

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here."""
        return {
            **self.simulation.save(),
            "outcomes": [outcome.copy() for outcome in self._outcomes],
            "rng": self.np_random.bit_generator.state,
        }

    def restore_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of an environment with other options, or damaged.
        """
        self.simulation.restore(saved)
        restore_generators([self.np_random], [saved.get("rng")])
        self._outcomes = [np.array(outcome) for outcome in saved.get("outcomes", ())]

    def render(self) -> np.ndarray | None:
        """Picture of the day so far, shape (height, width, 3), uint8."""
        if self.render_mode is None:
            return None
        from flexgym.envs.appliance.render import render_day

        return render_day(self.simulation, np.array(self._outcomes).reshape(-1, len(OUTCOME_NAMES)))


def reset_info(simulation: ApplianceSimulation) -> dict[str, Any]:
    """What reset tells of each appliance: its day and its job, each shape (n,)."""
    episodes = simulation.episodes
    fields = {name: field.copy() for name, field in episodes.jobs._asdict().items()}
    return {"day": episodes.day.copy(), **fields}


def restore_generators(rngs: Sequence[np.random.Generator], states: Any) -> None:
    """Bring generators back to saved states.

    Raises:
        StateError: There are not as many, or one cannot be read.
    """
    if not isinstance(states, list) or len(states) != len(rngs):
        raise StateError(f"the state has no {len(rngs)} generators; expected one an appliance.")
    try:
        for rng, state in zip(rngs, states, strict=True):
            rng.bit_generator.state = state
    except (TypeError, ValueError, KeyError) as error:
        raise StateError(
            f"the state's generators cannot be read ({error!r}); expected what save_state returned."
        ) from error
