"""One contest for buses as a PettingZoo environment: all offer at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from pettingzoo import ParallelEnv

from flexgym.envs.aggregator_market.competition import Contest, joining
from flexgym.envs.aggregator_market.competitors import Aggregators, accounts, checked_rules


class ContestParallelEnv(Aggregators, ParallelEnv[str, np.ndarray, np.ndarray]):
    """Aggregators offer buses a share of the real-time price, all at once and once.

    **Agents**: ``aggregator_1`` ..., one for each entry of ``trust``.

    **Action** (1,) in [-1, 1]: from the lowest offer to the highest, rounded to the grid of offers
    that the reference solution knows too. ``as_action(position)`` is the way back.

    **Observation** float32: ``to_play`` (1, at the end 0), ``share`` of the buses that joined,
    ``out`` that stayed out, own ``trust`` and that of the others. Everything but the shares is
    known from the start: it is a game of complete information.

    **Reward** in EUR: what the buses that join bring in a day, less what they are paid: the
    expectation, or with ``sampled`` that of one draw of all buses.

    **Info**: ``offer``, ``share``, ``earned_eur``, ``paid_eur`` of the agent.

    **Episode**: one step; all agents end together, ``terminated``.

    **Reference**: `flexgym.baselines.aggregator_market.membership.every_profile(env.game)`.

    Args:
        game: The rules; or give fields of `Contest` instead.
        sampled: Whether buses are drawn.
        render_mode: Must be None.
        **rules: Fields of `Contest`.

    Raises:
        ScenarioError: A rule is unknown or out of range.
        PriceBoundError: An offer lies outside bound (10).

    Version History:
        v0: first version.
    """

    def __init__(
        self,
        game: Contest | None = None,
        sampled: bool = False,
        render_mode: str | None = None,
        **rules: Any,
    ) -> None:
        self.game = checked_rules(Contest, game, rules, render_mode)
        self.sampled = sampled
        trust = np.asarray(self.game.trust, dtype=np.float64)
        names = ("to_play", "share", "out", "trust")
        names += tuple(f"trust_{i}" for i in range(1, len(trust)))
        bound = max(1.0, float(np.abs(trust).max()))
        super().__init__(self.game.offers, names, len(trust), bound)

    def reset(
        self, seed: int | None = None, options: dict | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
        """Begin a game; options are left to others."""
        self.begin(seed)
        self._share = np.zeros(len(self.agents))
        return self._observations(1.0), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, np.ndarray]
    ) -> tuple[
        dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict]
    ]:
        """Play the game.

        Raises:
            ActionError: An agent is missing or unknown, an action has the wrong shape or lies
                outside [-1, 1], or the game is over.
        """
        offers = self.offers[self.chosen(actions)]
        game, rng, agents = self.game, self.np_random, self.agents
        share = joining(game, offers)
        if self.sampled and rng is not None:
            out = max(1.0 - share.sum(), 0.0) if game.outside is not None else 0.0
            chance = np.append(share, out)
            share = rng.multinomial(game.buses, chance / chance.sum())[:-1] / game.buses
        self._share = share
        money = accounts(game.worth_eur, offers, share)
        answer = (
            self._observations(0.0),
            {agent: money[k]["earned_eur"] for k, agent in enumerate(agents)},
            dict.fromkeys(agents, True),
            dict.fromkeys(agents, False),
            {agent: money[k] for k, agent in enumerate(agents)},
        )
        self.agents = []
        return answer

    def state(self) -> np.ndarray:
        """All trusts and shares in a row."""
        return np.concatenate([self._share, self.game.trust]).astype(np.float32)

    def _observations(self, to_play: float) -> dict[str, np.ndarray]:
        trust, out = np.asarray(self.game.trust), 1.0 - self._share.sum() if not to_play else 0.0
        return {
            agent: np.array(
                [to_play, self._share[k], max(out, 0.0), *np.roll(trust, -k)], dtype=np.float32
            )
            for k, agent in enumerate(self.agents)
        }
