"""The feeder as a PettingZoo environment: each house is an agent."""

from __future__ import annotations

from typing import Any

import numpy as np
from pettingzoo import AECEnv
from pettingzoo.utils.conversions import parallel_to_aec

from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.feeder.agents import Answer, FeederAgents
from flexgym.envs.feeder.env import check_render_mode, simulation_of, spaces
from flexgym.envs.feeder.menu_env import FeederMenuEnv
from flexgym.envs.feeder.params import SHARES, Share


class FeederParallelEnv(FeederAgents):
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
        share: ``"common"``, ``"local"`` or ``"marginal"``.
        render_mode: ``"rgb_array"`` or None.
        **options: See `FeederEnv`.

    Raises:
        ScenarioError: An option is unknown, empty or out of range.

    Version History:
        v0: first version.
    """

    def __init__(
        self,
        scenario: Any = "calm",
        share: Share = "common",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if share not in SHARES:
            raise ScenarioError(f"share is {share!r}; expected one of {', '.join(SHARES)}.")
        check_render_mode(render_mode)
        options["scenario"] = scenario
        simulation = simulation_of(1, options, share=share, detail=True)
        super().__init__(simulation, *spaces(simulation, 1), render_mode)
        self.observation_names = simulation.observation_names
        self._shape = (len(self.possible_agents), len(simulation.action_names))

    def step(self, actions: dict[str, np.ndarray]) -> Answer:
        """Play one period.

        Args:
            actions: One a house, each shape (a,), in [-1, 1].

        Raises:
            ActionError: A house is missing or unknown, an action has the wrong shape or lies
                outside [-1, 1], or the day is over.
        """
        self.simulation.step(self._joint(actions)[None])
        infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.possible_agents}
        return self._finish(self.simulation.reward_eur[0], infos)

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


MODES: dict[str, type[FeederAgents]] = {"direct": FeederParallelEnv, "menu": FeederMenuEnv}
"""What an agent does: control its devices, or send a menu."""


def parallel_env(mode: str = "direct", **options: Any) -> FeederAgents:
    """The feeder with all houses acting at once.

    Args:
        mode: ``"direct"``: houses control their devices, see `FeederParallelEnv`; ``"menu"``:
            they send menus, see `flexgym.envs.feeder.menu_env.FeederMenuEnv`.
        **options: Of the environment.

    Raises:
        ScenarioError: An option is unknown, empty or out of range.
    """
    if mode not in MODES:
        raise ScenarioError(f"mode is {mode!r}; expected one of {', '.join(MODES)}.")
    return MODES[mode](**options)


def raw_env(**options: Any) -> AECEnv:
    """The feeder with one house after the other; it plays when the last one has acted."""
    return parallel_to_aec(parallel_env(**options))  # type: ignore[arg-type]


def env(**options: Any) -> AECEnv:
    """The same: PettingZoo's conversion already guards against calls in a wrong order."""
    return raw_env(**options)
