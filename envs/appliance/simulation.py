"""Appliances in lockstep: the state both adapters and all policies share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flexgym.envs.appliance import observation as obs
from flexgym.envs.appliance.dynamics import OUTCOME_NAMES, step
from flexgym.envs.appliance.params import Job
from flexgym.envs.appliance.saved_state import read_state
from flexgym.envs.appliance.scenario import ApplianceScenario, Episodes
from flexgym.envs.errors import ActionError, ResetNeededError, ScenarioError, StateError
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.params import Floats

_RESET_OPTIONS = ("day", "job")
_EPISODE = ("day", "row", "signal", "price_eur_per_kwh")


class ApplianceSimulation:
    """n appliances, each in its own episode, all in the same hour.

    Attributes:
        scenario: Days, price processes and jobs.
        n: Number of appliances.
        t: Current hour, 0 to T.
        left: Hours left to run, shape (n,).
        running: Whether each ran in the hour before and is not finished, shape (n,).
        episodes: What was drawn for the current episodes.
        outcome: Results of the last hour, shape (n, 8), columns `OUTCOME_NAMES`.
        cost_eur: Cost of the episode so far, shape (n,), EUR.
    """

    episodes: Episodes

    def __init__(self, scenario: ApplianceScenario, n: int) -> None:
        self.scenario, self.n = scenario, n
        self.observation_names = obs.observation_names(scenario.periods)
        self.t = scenario.periods  # nothing to play before `begin`
        self._uniform = np.empty((n, scenario.draws))

    def __getattr__(self, name: str) -> Any:
        if name in ("episodes", "left", "running", "outcome", "cost_eur"):
            raise ResetNeededError(f"{name} is not there before an episode; call reset first.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def begin(self, rngs: Sequence[np.random.Generator], options: dict | None = None) -> None:
        """Draw an episode for each appliance.

        Args:
            rngs: One generator each; asked for the same amount whatever the options.
            options: ``day``, a number or one a row, and ``job``, a `Job` or one a row.

        Raises:
            ScenarioError: Unknown option or day, or a job that ends after the episode.
        """
        chosen = {} if options is None else options
        if not isinstance(chosen, Mapping) or not set(chosen) <= set(_RESET_OPTIONS):
            raise ScenarioError(
                f"got the reset options {options!r}; expected None, or a dict of any of "
                f"{', '.join(_RESET_OPTIONS)}."
            )
        given: dict[str, Any] = {}
        if "day" in chosen:
            day = np.asarray(chosen["day"])
            if day.dtype.kind not in "iu" or day.shape not in ((), (1,), (self.n,)):
                raise ScenarioError(
                    f"day is {chosen['day']!r}; expected one integer or {self.n} of them."
                )
            given["day"] = np.array(np.broadcast_to(day, (self.n,)), dtype=np.int64)
        if "job" in chosen:
            one = isinstance(chosen["job"], Job)
            jobs = [chosen["job"]] * self.n if one else chosen["job"]
            several = isinstance(jobs, list | tuple) and len(jobs) == self.n
            if not several or not all(isinstance(job, Job) for job in jobs):
                raise ScenarioError(
                    f"job is {chosen['job']!r}; expected a Job or {self.n} of them."
                )
            given["job"] = jobs
        for rng, row in zip(rngs, self._uniform, strict=True):
            rng.random(out=row)
        self.start(self.scenario.draw(self._uniform, **given))

    def start(self, episodes: Episodes) -> None:
        """Begin given episodes, n of them."""
        self.episodes = episodes
        self.t = 0
        self.left = episodes.jobs.hours.copy()
        self.running = np.zeros(self.n, dtype=bool)
        self.outcome = np.zeros((self.n, len(OUTCOME_NAMES)))
        self.cost_eur = np.zeros(self.n)

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.t >= self.scenario.periods

    @property
    def signal(self) -> np.ndarray:
        """Signal observed now, shape (n,); at the end the last one."""
        return self.episodes.signal[:, min(self.t, self.scenario.periods - 1)]

    @property
    def forecast(self) -> Floats:
        """Expected prices given the signal now, shape (n, T), EUR/kWh; 0 for the past."""
        at = min(self.t, self.scenario.periods - 1)
        return self.scenario.forecast_table[self.episodes.row, at, self.signal]

    @property
    def expected_eur_per_kwh(self) -> Floats:
        """Expected price of this hour given the signal, shape (n,), EUR/kWh."""
        at = min(self.t, self.scenario.periods - 1)
        return self.scenario.price_table[self.episodes.row, at, self.signal]

    def observe(self) -> np.ndarray:
        """Observation of each appliance, shape (n, d), float32."""
        out = np.empty((self.n, len(self.observation_names)), dtype=np.float32)
        episodes, scenario = self.episodes, self.scenario
        obs.observe(
            self.t, tuple(episodes.jobs), self.left, self.running, episodes.row, episodes.signal,
            scenario.price_table, scenario.forecast_table, out,
        )  # fmt: skip
        return out

    def step(self, action: np.ndarray) -> Floats:
        """Play one hour.

        Args:
            action: Shape (n, 1), any float type, in [-1, 1]; above 0 wishes to run.

        Returns:
            What happened, shape (n, 8), columns `OUTCOME_NAMES`.

        Raises:
            ActionError: Wrong shape, not a number, or outside [-1, 1]; or the episode is over.
        """
        played = np.ascontiguousarray(as_numbers(action), dtype=np.float64)
        if played.shape != (self.n, 1):
            raise ActionError(f"action has shape {played.shape}; expected {(self.n, 1)}.")
        if self.done:
            raise ActionError(
                "step was called before an episode or after its end; call reset first."
            )
        episodes = self.episodes
        outcome = np.empty((self.n, len(OUTCOME_NAMES)))
        bad = step(
            self.t, played[:, 0], *episodes.jobs, episodes.row, episodes.signal,
            episodes.price_eur_per_kwh, self.scenario.price_table, self.left, self.running, outcome,
        )  # fmt: skip
        if bad >= 0:
            raise ActionError(
                f"action is {played[bad, 0]}; expected numbers in [-1, 1]. Clip or squash the "
                "policy's output."
            )
        self.outcome = outcome
        self.cost_eur += outcome[:, -1]
        self.t += 1
        return outcome

    @property
    def made_of(self) -> tuple[str, int]:
        """What a saved state must agree with: scenario and number of appliances."""
        return self.scenario.fingerprint, self.n

    def save(self) -> dict[str, Any]:
        """Everything needed to go on from here, but for the generators."""
        episodes = self.episodes
        return {
            "made_of": self.made_of,
            "t": self.t,
            "left": self.left.copy(),
            "running": self.running.copy(),
            "outcome": self.outcome.copy(),
            "cost_eur": self.cost_eur.copy(),
            **{name: getattr(episodes, name).copy() for name in _EPISODE},
            **{f"job_{name}": field.copy() for name, field in episodes.jobs._asdict().items()},
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save` returned, identically.

        Raises:
            StateError: It is of another scenario or number of appliances, or damaged.
        """
        made_of = saved.get("made_of") if isinstance(saved, Mapping) else saved
        # Anything may stand there, so that == need not give a truth value.
        if repr(made_of) != repr(self.made_of):
            raise StateError(
                f"the state is of {made_of}; expected one of {self.made_of}: scenario and number "
                "of appliances. Restore into an environment made with the same options."
            )
        state = read_state(saved, self.scenario, self.n)
        self.start(state.episodes)
        self.t, self.left, self.running = state.t, state.left, state.running
        self.outcome, self.cost_eur = state.outcome, state.cost_eur
