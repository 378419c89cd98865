"""The native batch behind ``gym.make_vec("flexgym/Appliance-v0")``."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexgym.envs.appliance.dynamics import COST_EUR, OUTCOME_NAMES
from flexgym.envs.appliance.env import reset_info, spaces
from flexgym.envs.appliance.scenario import ApplianceScenario
from flexgym.envs.appliance.simulation import ApplianceSimulation
from flexgym.envs.lockstep import SavedLockstepVectorEnv


class ApplianceVectorEnv(SavedLockstepVectorEnv):
    """Appliances with jobs of their own, in lockstep.

    Row i seeded s plays what the single environment seeded s + i plays.

    Args:
        num_envs: Number of appliances.
        render_mode: Must be None.
        **options: As for `ApplianceEnv`.
    """

    simulation: ApplianceSimulation

    def __init__(self, num_envs: int = 1, render_mode: str | None = None, **options: Any) -> None:
        self.check(num_envs, render_mode)
        simulation = ApplianceSimulation(ApplianceScenario.create(**options), num_envs)
        super().__init__(simulation, num_envs, spaces(simulation))

    def _reward(self) -> np.ndarray:
        return -self.simulation.outcome[:, COST_EUR]

    def _info(self) -> dict[str, Any]:
        return dict(zip(OUTCOME_NAMES, self.simulation.outcome.T, strict=True))

    def _reset_info(self) -> dict[str, Any]:
        return reset_info(self.simulation)
