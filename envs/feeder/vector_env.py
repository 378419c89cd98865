"""The native batch behind ``gym.make_vec("flexgym/Feeder-v0")``, and its houses as rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.env import simulation_of, spaces
from flexgym.envs.feeder.params import SHARES, Share
from flexgym.envs.household.dynamics import OUTCOME_NAMES
from flexgym.envs.lockstep import SavedLockstepVectorEnv


class _Batch(SavedLockstepVectorEnv):
    """Feeders in lockstep; a row is a feeder or a house."""

    def __init__(
        self,
        feeders: int,
        rows: bool,
        options: dict[str, Any],
        render_mode: str | None,
        **keep: Any,
    ) -> None:
        self.check(feeders, render_mode)
        simulation = simulation_of(feeders, options, **keep)
        houses = simulation.scenario.n_houses
        num_envs = feeders * (houses if rows else 1)
        super().__init__(simulation, num_envs, spaces(simulation, 1 if rows else houses))


class FeederVectorEnv(_Batch):
    """Feeders side by side; row i seeded s plays what the single environment seeded s + i plays.

    Args:
        num_envs: Number of feeders.
        render_mode: Must be None.
        **options: As for `FeederEnv`.
    """

    def __init__(self, num_envs: int = 1, render_mode: str | None = None, **options: Any) -> None:
        super().__init__(num_envs, False, options, render_mode)

    def _reward(self) -> np.ndarray:
        return -self.simulation.cost_eur

    def _info(self) -> dict[str, Any]:
        return dict(zip(FEEDER_NAMES, self.simulation.period.T, strict=True))

    def _totals(self) -> dict[str, Any]:
        return {"totals": dict(zip(FEEDER_NAMES, self.simulation.episode.copy().T, strict=True))}

    def _reset_info(self) -> dict[str, Any]:
        return {"draw": self.simulation.draw.copy(), "day": self.simulation.day.copy()}


class HouseRowsVectorEnv(_Batch):
    """Each house of each feeder is a row, for one policy that all share.

    Row ``i * H + h`` is house h of feeder i. Its reward is minus its own cost and minus its
    share of the grid's cost; ``info`` holds what happened in the house by `OUTCOME_NAMES`,
    and ``grid_eur``, its share.

    Args:
        feeders: Number of feeders.
        share: Who bears the grid's cost: ``"common"``, ``"local"`` or ``"marginal"``.
        render_mode: Must be None.
        **options: As for `FeederEnv`.
    """

    def __init__(
        self,
        feeders: int = 1,
        share: Share = "common",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if share not in SHARES:
            raise ScenarioError(f"share is {share!r}; expected one of {', '.join(SHARES)}.")
        super().__init__(feeders, True, options, render_mode, share=share, detail=True)

    def _reward(self) -> np.ndarray:
        return self.simulation.reward_eur.reshape(-1)

    def _info(self) -> dict[str, Any]:
        outcome = self.simulation.outcome.transpose(2, 0, 1).reshape(-1, self.num_envs)
        happened = dict(zip(OUTCOME_NAMES, outcome, strict=True))
        return happened | {"grid_eur": self.simulation.grid_eur.reshape(-1)}

    def _totals(self) -> dict[str, Any]:
        totals = self.simulation.episode.repeat(self.simulation.scenario.n_houses, 0)
        return {"totals": dict(zip(FEEDER_NAMES, totals.T, strict=True))}

    def _reset_info(self) -> dict[str, Any]:
        simulation, houses = self.simulation, self.simulation.scenario.n_houses
        return {
            "draw": simulation.draw.repeat(houses),
            "day": simulation.day.repeat(houses),
            "soc_kwh": simulation.soc_kwh.reshape(-1),
            "terminal_eur_per_kwh": simulation.terminal_eur_per_kwh.reshape(-1),
        }

    @property
    def terminal_eur_per_kwh(self) -> np.ndarray:
        """Pay for energy left at the end, shape (num_envs,), EUR/kWh."""
        return self.simulation.terminal_eur_per_kwh.reshape(-1)

    @property
    def missing_kwh(self) -> np.ndarray:
        """Energy the plugged-in cars lack, shape (num_envs,), kWh."""
        return self.simulation.missing_kwh.reshape(-1)
