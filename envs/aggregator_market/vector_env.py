"""The native batch of markets, and its agents as rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexgym.envs.aggregator_market.accounts import HOUR_NAMES
from flexgym.envs.aggregator_market.play import MarketPlay, alone
from flexgym.envs.aggregator_market.simulation import MarketSimulation
from flexgym.envs.lockstep import SavedLockstepVectorEnv


class MarketRowsVectorEnv(SavedLockstepVectorEnv):
    """Every agent of a role is a row, for one policy that all share.

    Row ``i * agents + k`` is agent k of market i. Market i of a batch seeded s plays what the
    single environment seeded s + i plays.

    Args:
        markets: Number of markets.
        learners: The role that learns: ``"dso"``, ``"aggregators"``, ``"buses"`` or
            ``"consumers"``.
        render_mode: Must be None.
        **options: See `flexgym.envs.aggregator_market.env.AggregatorEnv`.

    Raises:
        ScenarioError: An option is unknown or out of range.
    """

    simulation: MarketPlay

    def __init__(
        self,
        markets: int = 1,
        learners: str = "aggregators",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        self.check(markets, render_mode)
        play = alone(MarketPlay(markets, (learners,), **options))
        self._agents = len(play.seats.agents[play.role])
        super().__init__(play, markets * self._agents, play.spaces(play.role))

    @property
    def _kept(self) -> MarketSimulation:
        return self.simulation.market

    def _reward(self) -> np.ndarray:
        return self.simulation.rewards(self.simulation.role).reshape(-1)

    def _info(self) -> dict[str, Any]:
        return self._named(self.simulation.market.hour)

    def _totals(self) -> dict[str, Any]:
        return {"totals": self._named(self.simulation.market.episode.copy())}

    def _reset_info(self) -> dict[str, Any]:
        return {}

    def _named(self, values: np.ndarray) -> dict[str, Any]:
        rows = values.repeat(self._agents, 0) if self._agents > 1 else values
        return dict(zip(HOUR_NAMES, rows.T, strict=True))


class AggregatorVectorEnv(MarketRowsVectorEnv):
    """Markets side by side, an aggregator learns in each; see `AggregatorEnv`.

    Args:
        num_envs: Number of markets.
        render_mode: Must be None.
        **options: As for `AggregatorEnv`.
    """

    _learner = "aggregators"

    def __init__(self, num_envs: int = 1, render_mode: str | None = None, **options: Any) -> None:
        super().__init__(num_envs, self._learner, render_mode, **options)
        alone(self.simulation, agents=1)


class DirectiveVectorEnv(AggregatorVectorEnv):
    """Markets side by side, the DSO learns in each; see `DirectiveEnv`.

    Args:
        num_envs: Number of markets.
        render_mode: Must be None.
        **options: As for `DirectiveEnv`.
    """

    _learner = "dso"
