"""The native batch of local markets, and its participants as rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from flexgym.envs.local_market.play import LocalMarketPlay
from flexgym.envs.lockstep import SavedLockstepVectorEnv


class _Markets(SavedLockstepVectorEnv):
    """What both batches share: saved states, infos."""

    simulation: LocalMarketPlay

    def _reset_info(self) -> dict[str, Any]:
        return {}


class LocalMarketVectorEnv(_Markets):
    """Local markets side by side; a row is a market with all of its learners.

    Row i of a batch seeded s plays what the single environment seeded s + i plays.

    **Action** (agents, 2) of a row, **observation** (agents * entries,): as in
    `flexgym.envs.local_market.parallel_env.LocalMarketParallelEnv`.

    **Reward** of a row: the sum of its learners'; each one's own is ``agent_reward_eur`` of info,
    beside the items of `flexgym.envs.local_market.simulation`, all of shape (rows, agents).

    Args:
        num_envs: Number of markets.
        render_mode: Must be None.
        **options: Of `LocalMarketPlay`.

    Raises:
        ScenarioError: An option is unknown or out of range.
    """

    def __init__(self, num_envs: int = 1, render_mode: str | None = None, **options: Any) -> None:
        self.check(num_envs, render_mode)
        play = LocalMarketPlay(num_envs, **options)
        seen, played = play.spaces()
        agents = len(play.agents)
        limit = seen.high.flat[0]
        wide = Box(-limit, limit, (agents * seen.shape[0],), dtype=np.float32)
        acts = Box(-1.0, 1.0, (agents, *played.shape), dtype=np.float32)
        super().__init__(play, num_envs, (wide, acts))

    def _reward(self) -> np.ndarray:
        return self.simulation.rewards().sum(axis=1)

    def _info(self) -> dict[str, Any]:
        play = self.simulation
        items = {name: play.of_learners(x) for name, x in play.market.accounts.items()}
        return {"agent_reward_eur": play.rewards(), **items}

    def _totals(self) -> dict[str, Any]:
        play = self.simulation
        sums = play.of_learners(play.market.totals)
        return {"totals": dict(zip(play.market.accounts, sums, strict=True))}


class ParticipantRowsVectorEnv(_Markets):
    """Every learner is a row, for one policy that all share.

    Row ``i * agents + k`` is learner k of market i.

    Args:
        markets: Number of markets.
        render_mode: Must be None.
        **options: Of `LocalMarketPlay`.

    Raises:
        ScenarioError: An option is unknown or out of range.
    """

    def __init__(self, markets: int = 1, render_mode: str | None = None, **options: Any) -> None:
        self.check(markets, render_mode)
        play = LocalMarketPlay(markets, **options)
        super().__init__(play, markets * len(play.agents), play.spaces())

    def _reward(self) -> np.ndarray:
        return self.simulation.rewards().reshape(-1)

    def _info(self) -> dict[str, Any]:
        play = self.simulation
        return {name: play.of_learners(x).ravel() for name, x in play.market.accounts.items()}

    def _totals(self) -> dict[str, Any]:
        play = self.simulation
        sums = play.of_learners(play.market.totals).reshape(len(play.market.totals), -1)
        return {"totals": dict(zip(play.market.accounts, sums, strict=True))}
