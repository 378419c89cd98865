"""The native batch behind ``gym.make_vec("flexgym/Household-v0")``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.dynamics import COST_EUR, OUTCOME_NAMES
from flexgym.envs.household.env import spaces
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.envs.household.simulation import HouseholdSimulation


class HouseholdVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Houses in lockstep; row i seeded s plays what the single environment seeded s + i plays.

    All episodes end together; the batch then resets in the same step and reports the last
    observation and info as ``final_obs`` and ``final_info``.

    Args:
        num_envs: Number of houses.
        render_mode: Must be None.
        **options: As for `HouseholdEnv`.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": [],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(self, num_envs: int = 1, render_mode: str | None = None, **options: Any) -> None:
        if num_envs < 1 or render_mode is not None:
            raise ScenarioError(
                f"num_envs is {num_envs} and render_mode {render_mode!r}; expected num_envs >= 1 "
                "and None. Render a single environment."
            )
        kept = ("observation", "action_map", "curtailment")
        settings = {key: options.pop(key) for key in kept if key in options}
        scenario = HouseholdScenario.create(**options)
        self.simulation = HouseholdSimulation(scenario, num_envs, **settings)
        self.num_envs = num_envs
        self.observation_names = self.simulation.observation_names
        self.single_observation_space, self.single_action_space = spaces(self.simulation)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs: list[np.random.Generator] = []
        self._all = np.ones(num_envs, dtype=bool)
        self._all.setflags(write=False)  # handed out as the mask of every entry of info
        self._none = np.zeros(num_envs, dtype=bool)

    @property
    def terminal_eur_per_kwh(self) -> Floats:
        """Pay for energy left at the end, shape (num_envs,), EUR/kWh."""
        return self.simulation.episodes.terminal_price

    @property
    def missing_kwh(self) -> Floats:
        """Energy the plugged-in cars lack, shape (num_envs,), kWh."""
        return self.simulation.missing_kwh

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw new episodes; options as for `HouseholdEnv`, one value or one a row."""
        if seed is None:
            seeds: list[int | None] = [None] * self.num_envs
        elif isinstance(seed, int | np.integer):
            seeds = [int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ScenarioError(
                f"got {len(seeds)} seeds; expected one number or {self.num_envs} of them."
            )
        if not self._rngs:
            self._rngs = [seeding.np_random(s)[0] for s in seeds]
        else:
            for i, s in enumerate(seeds):
                if s is not None:
                    self._rngs[i] = seeding.np_random(s)[0]
        self.simulation.begin(self._rngs, options)
        return self.simulation.observe(), self._reset_info()

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Play one period; see `HouseholdSimulation.step` for errors."""
        simulation = self.simulation
        outcome = simulation.step(actions)
        info = self._masked(dict(zip(OUTCOME_NAMES, outcome.T, strict=True)))
        reward = -outcome[:, COST_EUR]
        if simulation.t < STEPS_PER_DAY:
            return simulation.observe(), reward, self._none.copy(), self._none.copy(), info
        final = {"final_obs": simulation.observe(), "final_info": info}
        simulation.begin(self._rngs)
        info = {**self._reset_info(), **self._masked(final)}
        return simulation.observe(), reward, self._all.copy(), self._none.copy(), info

    def _masked(self, values: dict[str, Any]) -> dict[str, Any]:
        """Gymnasium's convention: beside each entry, which rows have it."""
        return values | {f"_{key}": self._all for key in values}

    def _reset_info(self) -> dict[str, Any]:
        episodes = self.simulation.episodes
        return self._masked(
            {
                "house": episodes.house.copy(),
                "day": episodes.day.copy(),
                "soc_kwh": episodes.soc_kwh.copy(),
                "unreachable_kwh": episodes.unreachable_kwh,
                "terminal_eur_per_kwh": episodes.terminal_price.copy(),
            }
        )
