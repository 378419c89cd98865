"""The native batch behind ``gym.make_vec("flexgym/Trader-v0")``."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexgym.envs.lockstep import LockstepVectorEnv
from flexgym.envs.trader.env import reset_info, restore_generators, spaces
from flexgym.envs.trader.scenario import TraderScenario
from flexgym.envs.trader.simulation import COST_EUR, OUTCOME_NAMES, TraderSimulation


class TraderVectorEnv(LockstepVectorEnv):
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

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here."""
        states = [rng.bit_generator.state for rng in self._rngs]
        return {**self.simulation.save(), "rngs": states}

    def restore_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of a batch with other options, or damaged.
        """
        if not self._rngs:
            self.reset()
        self.simulation.restore(saved)
        restore_generators(self._rngs, saved.get("rngs"))

    def _reward(self) -> np.ndarray:
        return -self.simulation.outcome[:, COST_EUR]

    def _info(self) -> dict[str, Any]:
        return dict(zip(OUTCOME_NAMES, self.simulation.outcome.T, strict=True))

    def _reset_info(self) -> dict[str, Any]:
        return reset_info(self.simulation)
