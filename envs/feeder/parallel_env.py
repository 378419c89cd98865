"""The feeder as a PettingZoo environment: each house is an agent."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import parallel_to_aec

from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.env import (
    RENDER_MODES,
    check_render_mode,
    generators_of,
    render_simulation,
    simulation_of,
    spaces,
)
from flexgym.envs.feeder.params import SHARES, Share
from flexgym.envs.feeder.simulation import RESET_OPTIONS
from flexgym.envs.household.dynamics import OUTCOME_NAMES

MODES = ("direct",)
"""What an agent does: control its devices."""


class FeederParallelEnv(ParallelEnv[str, np.ndarray, np.ndarray]):
    """Forty-three houses on one low-voltage feeder, each an agent of its own.

    **Agents** ``house_0`` to ``house_42``, all with the same spaces, from first to last period.

    **Action** (a,) and **observation** (d,) of a house: as in `FeederEnv`. A house sees its own
    measurements, its forecast, its tariff and the voltage at its bus; nothing of the others.

    **Reward**: minus the house's own cost and minus its share of the grid's cost (losses,
    voltages outside the band, power above ratings):

    - ``share="common"``: everybody bears the same. The rewards add up to minus the social cost.
    - ``share="local"``: a voltage is borne by the houses on its bus; losses and overload of a
      line or transformer by the houses behind it whose power goes with the flow, in
      proportion to it. The rewards add up to minus the social cost.
    - ``share="marginal"``: the grid's cost minus what it would be if the house drew nothing.
      They do not add up; each house feels just what it causes. Costs a power flow a house.

    **Info** of a house after the last period: ``totals``, the feeder's numbers of the day by
    `FEEDER_NAMES`; ``house_info(agent)`` gives what happened in one house in the last period.

    **Episode**: 96 quarter-hours; all agents end together, ``terminated``.

    `state` is the observation of all houses in a row, for critics that may see everything.

    Args:
        scenario: See `FeederEnv`, like all other options.
        mode: ``"direct"``: a house controls its devices.
        share: ``"common"``, ``"local"`` or ``"marginal"``.
        render_mode: ``"rgb_array"`` or None.
        **options: See `FeederEnv`.

    Raises:
        ScenarioError: An option is unknown, empty or out of range.

    Version History:
        v0: first version.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "feeder_v0",
        "render_modes": list(RENDER_MODES),
        "render_fps": 8,
        "is_parallelizable": True,
    }

    def __init__(
        self,
        scenario: Any = "calm",
        mode: str = "direct",
        share: Share = "common",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if mode not in MODES:
            raise ScenarioError(f"mode is {mode!r}; expected one of {', '.join(MODES)}.")
        if share not in SHARES:
            raise ScenarioError(f"share is {share!r}; expected one of {', '.join(SHARES)}.")
        check_render_mode(render_mode)
        options["scenario"] = scenario
        self.simulation = simulation_of(1, options, share=share, detail=True)
        self.observation_names = self.simulation.observation_names
        houses = self.simulation.scenario.n_houses
        self.possible_agents = [f"house_{h}" for h in range(houses)]
        self.agents: list[str] = []
        one = spaces(self.simulation, 1)
        self.observation_spaces = dict.fromkeys(self.possible_agents, one[0])  # type: ignore[assignment]
        self.action_spaces = dict.fromkeys(self.possible_agents, one[1])  # type: ignore[assignment]
        self._spaces = one
        self.state_space, _ = spaces(self.simulation, houses)
        self.render_mode = render_mode
        self._rng: np.random.Generator | None = None
        self._shape = (houses, len(self.simulation.action_names))
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
        day, draw = int(self.simulation.day[0]), int(self.simulation.draw[0])
        infos = {agent: {"draw": draw, "day": day} for agent in self.agents}
        return self._observations(), infos

    def step(
        self, actions: dict[str, np.ndarray]
    ) -> tuple[
        dict[str, np.ndarray],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Play one period.

        Args:
            actions: One a house, each shape (a,), in [-1, 1].

        Raises:
            ActionError: A house is missing or unknown, an action has the wrong shape or lies
                outside [-1, 1], or the day is over.
        """
        simulation, agents = self.simulation, self.possible_agents
        simulation.step(self._joint(actions)[None])
        rewards = dict(zip(agents, simulation.reward_eur[0].tolist(), strict=True))
        observations = self._observations()
        truncated = self._going_on.copy()
        if not simulation.done:
            infos = {agent: {} for agent in agents}
            return observations, rewards, self._going_on.copy(), truncated, infos
        totals = dict(zip(FEEDER_NAMES, simulation.episode[0].tolist(), strict=True))
        self.agents = []
        infos = {agent: {"totals": totals.copy()} for agent in agents}
        return observations, rewards, dict.fromkeys(agents, True), truncated, infos

    def _joint(self, actions: dict[str, np.ndarray]) -> np.ndarray:
        """All houses' actions in a row, shape (H * a,)."""
        if not self.agents:
            raise ActionError("step was called before a day or after its end; call reset first.")
        houses, wide = self._shape
        try:
            parts = [actions[agent] for agent in self.possible_agents]
            if len(actions) == houses and set(map(len, parts)) == {wide}:
                joint = np.concatenate(parts)
                if joint.shape == (houses * wide,):
                    return joint
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise ActionError(
                f"the actions cannot be read ({error!r}); expected a mapping with one array of "
                f"shape ({wide},) for each of {self.possible_agents[0]} to "
                f"{self.possible_agents[-1]}."
            ) from error
        raise ActionError(
            f"got {len(actions)} actions of shapes {sorted(set(map(np.shape, parts)))}; expected "
            f"{houses} of shape ({wide},), one array a house."
        )

    def _observations(self) -> dict[str, np.ndarray]:
        return dict(zip(self.possible_agents, self.simulation.observe()[0], strict=True))

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
        """Observations of all houses in a row, shape (H * d,), float32."""
        return self.simulation.observe().reshape(-1)

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


def parallel_env(**options: Any) -> FeederParallelEnv:
    """The feeder with all houses acting at once; see `FeederParallelEnv`."""
    return FeederParallelEnv(**options)


def raw_env(**options: Any) -> AECEnv:
    """The feeder with one house after the other; it plays when the last one has acted."""
    return parallel_to_aec(parallel_env(**options))  # type: ignore[arg-type]


def env(**options: Any) -> AECEnv:
    """The same: PettingZoo's conversion already guards against calls in a wrong order."""
    return raw_env(**options)
