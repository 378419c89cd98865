"""The native batch behind ``gym.make_vec("flexgym/Household-v0")``."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexgym.envs.household.dynamics import COST_EUR, OUTCOME_NAMES
from flexgym.envs.household.env import spaces
from flexgym.envs.household.params import Floats
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.envs.lockstep import LockstepVectorEnv


class HouseholdVectorEnv(LockstepVectorEnv):
    """Houses in lockstep; row i seeded s plays what the single environment seeded s + i plays.

    Args:
        num_envs: Number of houses.
        render_mode: Must be None.
        **options: As for `HouseholdEnv`.
    """

    def __init__(self, num_envs: int = 1, render_mode: str | None = None, **options: Any) -> None:
        self.check(num_envs, render_mode)
        kept = ("observation", "action_map", "curtailment")
        settings = {key: options.pop(key) for key in kept if key in options}
        scenario = HouseholdScenario.create(**options)
        simulation = HouseholdSimulation(scenario, num_envs, **settings)
        super().__init__(simulation, num_envs, spaces(simulation))

    @property
    def terminal_eur_per_kwh(self) -> Floats:
        """Pay for energy left at the end, shape (num_envs,), EUR/kWh."""
        return self.simulation.episodes.terminal_price

    @property
    def missing_kwh(self) -> Floats:
        """Energy the plugged-in cars lack, shape (num_envs,), kWh."""
        return self.simulation.missing_kwh

    def _reward(self) -> np.ndarray:
        return -self.simulation.outcome[:, COST_EUR]

    def _info(self) -> dict[str, Any]:
        outcome = dict(zip(OUTCOME_NAMES, self.simulation.outcome.T, strict=True))
        return outcome | self.simulation.happened

    def _reset_info(self) -> dict[str, Any]:
        episodes = self.simulation.episodes
        return {
            "house": episodes.house.copy(),
            "day": episodes.day.copy(),
            "soc_kwh": episodes.soc_kwh.copy(),
            "unreachable_kwh": episodes.unreachable_kwh,
            "terminal_eur_per_kwh": episodes.terminal_price.copy(),
        }
