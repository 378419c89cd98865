"""What the houses of a feeder have in common as agents of PettingZoo, whatever they send."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from pettingzoo import ParallelEnv

from flexgym.envs.errors import ResetNeededError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.env import (
    RENDER_MODES,
    check_render_mode,
    render_simulation,
)
from flexgym.envs.feeder.simulation import RESET_OPTIONS, FeederSimulation
from flexgym.envs.household.dynamics import OUTCOME_NAMES
from flexgym.envs.lockstep import generators_of

Answer = tuple[
    dict[str, np.ndarray],
    dict[str, float],
    dict[str, bool],
    dict[str, bool],
    dict[str, dict[str, Any]],
]
"""Observations, rewards, terminations, truncations and infos, by agent."""


class FeederAgents(ParallelEnv[str, np.ndarray, Any]):
    """Houses of one feeder as agents; subclasses say what an action is and play it.

    Args:
        simulation: One feeder, with ``detail``.
        observation_space: Of a house.
        action_space: Of a house.
        render_mode: ``"rgb_array"`` or None.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "feeder_v0",
        "render_modes": list(RENDER_MODES),
        "render_fps": 8,
        "is_parallelizable": True,
    }

    def __init__(
        self,
        simulation: FeederSimulation,
        observation_space: gym.spaces.Box,
        action_space: gym.spaces.Box,
        render_mode: str | None,
    ) -> None:
        check_render_mode(render_mode)
        self.simulation, self.render_mode = simulation, render_mode
        houses = simulation.scenario.n_houses
        self.possible_agents = [f"house_{h}" for h in range(houses)]
        self.agents: list[str] = []
        self.observation_spaces = dict.fromkeys(self.possible_agents, observation_space)  # type: ignore[assignment]
        self.action_spaces = dict.fromkeys(self.possible_agents, action_space)  # type: ignore[assignment]
        self._spaces = observation_space, action_space
        most = float(observation_space.high[0])
        wide = houses * observation_space.shape[0]
        self.state_space = gym.spaces.Box(-most, most, (wide,), np.float32)
        self._rng: np.random.Generator | None = None
        self._going_on = dict.fromkeys(self.possible_agents, False)

    def observation_space(self, agent: str) -> gym.spaces.Box:
        """Space of a house's observation; the same object for all."""
        return self._spaces[0]

    def action_space(self, agent: str) -> gym.spaces.Box:
        """Space of a house's action; the same object for all."""
        return self._spaces[1]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Draw a new episode; options as for `FeederEnv`, unknown ones are left to others."""
        if seed is not None or self._rng is None:
            self._rng = seeding.np_random(seed)[0]
        known = {key: value for key, value in (options or {}).items() if key in RESET_OPTIONS}
        self.simulation.begin([self._rng], known)
        self.agents = list(self.possible_agents)
        self._begin()
        day, draw = int(self.simulation.day[0]), int(self.simulation.draw[0])
        infos = {agent: {"draw": draw, "day": day} for agent in self.agents}
        return self._observations(), infos

    def _observations(self) -> dict[str, np.ndarray]:
        return dict(zip(self.possible_agents, self._observe(), strict=True))

    def _observe(self) -> np.ndarray:
        """Observations, shape (H, d), float32."""
        return self.simulation.observe()[0]

    def _begin(self) -> None:
        """Prepare for the day that the simulation just began."""

    def _finish(self, rewards: np.ndarray, infos: dict[str, dict[str, Any]]) -> Answer:
        """What a step returns; rewards (H,). After the last period every info has ``totals``."""
        agents, over = self.possible_agents, self.simulation.done
        by_agent = dict(zip(agents, rewards.tolist(), strict=True))
        if over:
            self.agents = []
            for info in infos.values():
                info["totals"] = self._totals()
        ended = dict.fromkeys(agents, over)
        return self._observations(), by_agent, ended, self._going_on.copy(), infos

    def _totals(self) -> dict[str, float]:
        return dict(zip(FEEDER_NAMES, self.simulation.episode[0].tolist(), strict=True))

    def house_info(self, agent: str) -> dict[str, float]:
        """What happened in one house in the last period: `OUTCOME_NAMES`, voltage and share."""
        h = self.possible_agents.index(agent)
        happened = dict(zip(OUTCOME_NAMES, self.simulation.outcome[0, h].tolist(), strict=True))
        return {
            **happened,
            "voltage_pu": float(self.simulation.house_v_pu[0, h]),
            "grid_eur": float(self.simulation.grid_eur[0, h]),
        }

    @property
    def feeder_info(self) -> dict[str, float]:
        """What the last period says of the feeder, by `FEEDER_NAMES`."""
        return self.simulation.feeder_info

    def state(self) -> np.ndarray:
        """Observations of all houses in a row, shape (H * d,), float32.

        Raises:
            ResetNeededError: No episode has begun.
        """
        if self._rng is None:
            raise ResetNeededError("nothing is seen before an episode; call reset first.")
        return self._observe().reshape(-1)

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here: arrays and the state of the generator."""
        saved = self.simulation.save()
        assert self._rng is not None
        return {**saved, "rng": [self._rng.bit_generator.state]}

    def restore_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of an environment with other options.
        """
        (rng,) = generators_of(saved, 1)
        self.simulation.restore(saved)
        self._rng = rng
        self.agents = [] if self.simulation.done else list(self.possible_agents)

    def render(self) -> np.ndarray | None:
        """Map of the feeder and its voltages now, shape (height, width, 3), uint8."""
        return None if self.render_mode is None else render_simulation(self.simulation)

    def close(self) -> None:
        """Nothing to close."""
