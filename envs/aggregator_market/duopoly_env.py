"""The contest for buses day by day as a PettingZoo environment: offers alternate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pettingzoo import AECEnv, ParallelEnv

from flexgym.envs.aggregator_market.competition import Duopoly, revise
from flexgym.envs.aggregator_market.competitors import Aggregators, accounts, checked_rules
from flexgym.envs.aggregator_market.duopoly_games import OBSERVATION_NAMES, Start, observed
from flexgym.envs.errors import ActionError, ScenarioError, StateError


class _Duopoly(Aggregators):
    """The game day by day, whatever form it is played in."""

    def __init__(
        self,
        game: Duopoly | None = None,
        start: tuple[int, int] | str | None = None,
        standing: float | None = None,
        render_mode: str | None = None,
        **rules: Any,
    ) -> None:
        if game is None:
            rules = {"outside": 0.7, **rules}
        self.game = game = checked_rules(Duopoly, game, rules, render_mode)
        super().__init__(game.offers, OBSERVATION_NAMES, 2, 1.0)
        self.start = Start.of(game, start, standing)
        self.day = 0

    def _start(self, seed: int | None) -> None:
        rng, game = self.begin(seed), self.game
        first, second, standing = self.start.draw(game, rng)
        self.buses = np.array([first, second, game.buses - first - second], dtype=np.int64)
        self.positions = [standing, standing]
        self.day = 0
        self._totals = [{"earned_eur": 0.0, "paid_eur": 0.0} for _ in self.agents]

    def _day(self, position: int) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
        """The one whose turn it is offers; buses think again; a day is paid."""
        game, mover = self.game, self.day % 2
        self.positions[mover] = position
        offers = self.offers[self.positions]
        uniform = self.np_random.random(game.revisions)  # type: ignore[union-attr]
        self.buses = revise(game, offers, self.buses, uniform)
        self.day += 1
        infos = accounts(game.worth_eur, offers, self.buses[:2] / game.buses)
        for total, info in zip(self._totals, infos, strict=True):
            for key in total:
                total[key] += info[key]
            if self.over:
                info["totals"] = dict(total)
        rewards = {agent: infos[k]["earned_eur"] for k, agent in enumerate(self.possible_agents)}
        return rewards, dict(zip(self.possible_agents, infos, strict=True))

    @property
    def over(self) -> bool:
        """Whether all days have been played."""
        return self.day >= self.game.days

    @property
    def mover(self) -> str:
        """Whose turn it is."""
        return self.possible_agents[self.day % 2]

    def _observation(self, k: int) -> np.ndarray:
        return observed(self.game, self.day, self.buses, np.array(self.positions))[k]

    def state(self) -> np.ndarray:
        """The whole game as the first aggregator sees it; nothing is hidden from anybody."""
        return self._observation(0)

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here, between two days."""
        if self.np_random is None:
            raise ActionError("save_state was called before a game; call reset first.")
        return {
            "day": self.day,
            "buses": self.buses.copy(),
            "positions": list(self.positions),
            "totals": [dict(total) for total in self._totals],
            "rng": self.np_random.bit_generator.state,
        }

    def restore_state(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of a game with other rules.
        """
        try:
            day, positions = int(saved["day"]), [int(p) for p in saved["positions"]]
            buses = np.array(saved["buses"], dtype=np.int64)
            totals, rng = [dict(total) for total in saved["totals"]], saved["rng"]
            self.game.state(*buses[:2])
            good = 0 <= day <= self.game.days and buses.sum() == self.game.buses
            good = good and len(positions) == 2 and {*positions} <= {*range(len(self.offers))}
            if not good:
                raise ScenarioError("the numbers are out of range.")
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(
                f"the state cannot be restored ({error}); expected what save_state of a game with "
                "these rules returned."
            ) from error
        self.reset()  # type: ignore[attr-defined]
        self.day, self.buses, self.positions = day, buses, positions
        self._totals = totals
        self.np_random.bit_generator.state = rng  # type: ignore[union-attr]
        self._resume()

    def _resume(self) -> None:
        self.agents = [] if self.over else self.possible_agents[:]


class DuopolyParallelEnv(_Duopoly, ParallelEnv[str, np.ndarray, np.ndarray]):
    """Two aggregators compete for buses day by day; every other day each may change its offer.

    **Agents**: ``aggregator_1``, who moves on the first day, and ``aggregator_2``.

    **Action** (1,) in [-1, 1]: the offer, as in `ContestParallelEnv`. Only that of the one whose
    turn it is counts; the other's offer stands, and its action is checked and then ignored.

    **Observation** float32, everything there is to know: shares of the buses (``own_buses``,
    ``rival_buses``; the rest stays out), ``own_offer`` and ``rival_offer`` that stand, scaled as
    actions, ``days_left`` from 1 to 0, ``own_turn``.

    **Reward** in EUR: what the agent's buses bring on this day, less what they are paid.

    **Info**: ``offer``, ``share``, ``earned_eur``, ``paid_eur``; at the end also ``totals``.

    **Episode**: `Duopoly.days` days; both agents end together, ``terminated``.

    **Reference**: `flexgym.baselines.aggregator_market.duopoly.alternating_equilibrium(env.game)`,
    against a fixed rival `best_response`; of strategies `exploitability`.

    Args:
        game: The rules; or give fields of `Duopoly` instead, then staying out is worth 0.7 unless
            ``outside`` says otherwise.
        start: Buses of the first and of the second aggregator; None for half of them each,
            ``"random"`` for any state and standing offer.
        standing: The offer that stands when the game begins, one of the grid; None is its middle.
        render_mode: Must be None.
        **rules: Fields of `Duopoly`.

    Raises:
        ScenarioError: A rule or the start is unknown or out of range.
        PriceBoundError: An offer lies outside bound (10).

    Version History:
        v0: first version.
    """

    def reset(
        self, seed: int | None = None, options: dict | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
        """Begin a game; options are left to others."""
        self._start(seed)
        return self._observations(), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, np.ndarray]
    ) -> tuple[
        dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict]
    ]:
        """Play a day.

        Raises:
            ActionError: An agent is missing or unknown, an action has the wrong shape or lies
                outside [-1, 1], or the game is over.
        """
        rewards, infos = self._day(self.chosen(actions)[self.day % 2])
        agents = self.agents
        over, cut = dict.fromkeys(agents, self.over), dict.fromkeys(agents, False)
        answer = self._observations(), rewards, over, cut, infos
        self._resume()
        return answer

    def _observations(self) -> dict[str, np.ndarray]:
        return {agent: self._observation(k) for k, agent in enumerate(self.possible_agents)}


class DuopolyAECEnv(_Duopoly, AECEnv[str, np.ndarray, np.ndarray]):
    """The same game with the one who may move selected: a step is a day, turns alternate.

    See `DuopolyParallelEnv` for everything else.
    """

    metadata: ClassVar[dict[str, Any]] = {**Aggregators.metadata, "is_parallelizable": False}

    def reset(self, seed: int | None = None, options: dict | None = None) -> None:
        """Begin a game; options are left to others."""
        self._start(seed)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}
        self._resume()

    def observe(self, agent: str) -> np.ndarray:
        """What an agent sees, at any time."""
        return self._observation(self.possible_agents.index(agent))

    def step(self, action: np.ndarray | None) -> None:
        """Play a day with the offer of the one whose turn it is.

        Raises:
            ActionError: The action has the wrong shape or lies outside [-1, 1], or the game is
                over.
        """
        if not self.agents:
            raise ActionError("step was called before a game or after its end; call reset first.")
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)  # type: ignore[arg-type]
            return
        position = self.position(agent, action)
        self._cumulative_rewards[agent] = 0.0
        self.rewards, self.infos = self._day(position)
        self._accumulate_rewards()
        self.terminations = dict.fromkeys(self.agents, self.over)
        self.agent_selection = self.mover

    def _resume(self) -> None:
        self.terminations = dict.fromkeys(self.agents, self.over)
        self.agent_selection = self.mover
