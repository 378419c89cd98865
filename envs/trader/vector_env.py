"""The native batch behind ``gym.make_vec("flexgym/Trader-v0")``."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexgym.envs.lockstep import SavedLockstepVectorEnv
from flexgym.envs.trader.env import reset_info, spaces
from flexgym.envs.trader.scenario import TraderScenario
from flexgym.envs.trader.simulation import COST_EUR, OUTCOME_NAMES, TraderSimulation


class TraderVectorEnv(SavedLockstepVectorEnv):
    """Traders in lockstep; row i seeded s plays what the single environment seeded s + i plays.

    Args:
        num_envs: Number of traders.
        render_mode: Must be None.
        **options: As for `TraderEnv`.
    """

    simulation: TraderSimulation

    def __init__(self, num_envs: int = 1, render_mode: str | None = None, **options: Any) -> None:
        self.check(num_envs, render_mode)
        simulation = TraderSimulation(TraderScenario.create(**options), num_envs)
        super().__init__(simulation, num_envs, spaces(simulation))

    def _reward(self) -> np.ndarray:
        return -self.simulation.outcome[:, COST_EUR]

    def _info(self) -> dict[str, Any]:
        return dict(zip(OUTCOME_NAMES, self.simulation.outcome.T, strict=True))

    def _reset_info(self) -> dict[str, Any]:
        return reset_info(self.simulation)
