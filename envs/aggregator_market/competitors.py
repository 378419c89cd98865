"""What the forms of the contest for buses share: agents, actions, seeds, accounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.aggregator_market.competition import Contest, Duopoly, earned_eur, paid_eur
from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.params import Floats

_Game = TypeVar("_Game", Contest, Duopoly)


def scaled(position: ArrayLike, offers: int) -> Floats:
    """Places of offers in a grid of so many, from -1 to 1."""
    return 2.0 * np.asarray(position) / max(offers - 1, 1) - 1.0


def positions_of(action: ArrayLike, offers: int) -> NDArray[np.int64]:
    """Positions of the offers that are nearest to actions in [-1, 1]."""
    return np.rint((np.asarray(action) + 1.0) / 2.0 * (offers - 1)).astype(np.int64)


class Aggregators:
    """What all forms share: agents, spaces, seeds, and the way from an action to an offer."""

    metadata: ClassVar[dict[str, Any]] = {
        "name": "bus_competition_v0",
        "render_modes": [],
        "is_parallelizable": True,
    }

    def __init__(
        self, offers: tuple[float, ...], names: tuple[str, ...], players: int, bound: float
    ) -> None:
        self.offers = np.asarray(offers)
        self.names = names
        self.possible_agents = [f"aggregator_{k + 1}" for k in range(players)]
        self.agents: list[str] = []
        self.render_mode = None
        # One object of each agent: PettingZoo seeds them one by one.
        self.observation_spaces = {
            agent: spaces.Box(-bound, bound, (len(names),), np.float32)
            for agent in self.possible_agents
        }
        self.action_spaces = {
            agent: spaces.Box(-1.0, 1.0, (1,), np.float32) for agent in self.possible_agents
        }
        self.np_random: np.random.Generator | None = None

    def observation_space(self, agent: str) -> Any:
        """Space of an agent's observations, the same object each time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """Space of an agent's actions, the same object each time."""
        return self.action_spaces[agent]

    def observation_names(self, agent: str) -> tuple[str, ...]:
        """Entries of an agent's observation in their order."""
        return self.names

    def as_action(self, position: int) -> np.ndarray:
        """The action that makes the offer at a position of the grid.

        Raises:
            ActionError: There is no such offer.
        """
        g = len(self.offers)
        if not 0 <= position < g:
            raise ActionError(f"position of an offer is {position}; expected 0 to {g - 1}.")
        return np.array([self.scaled(position)], dtype=np.float32)

    def scaled(self, position: int) -> float:
        """An offer's place in the grid, from -1 to 1."""
        return float(scaled(position, len(self.offers)))

    def position(self, agent: str, action: Any) -> int:
        """Place in the grid of what an action offers."""
        played = as_numbers(action)
        if played.shape != (1,) or not abs(played[0]) <= 1.0:
            raise ActionError(
                f"action of {agent} is {action!r}; expected shape (1,), a number in [-1, 1]."
            )
        return int(positions_of(played[0], len(self.offers)))

    def chosen(self, actions: Mapping[str, Any]) -> list[int]:
        """The same of everybody's actions."""
        if not self.agents:
            raise ActionError("step was called before a game or after its end; call reset first.")
        if set(actions) != set(self.agents):
            raise ActionError(
                f"actions are of {sorted(actions)}; expected one of each of {self.agents}."
            )
        return [self.position(agent, actions[agent]) for agent in self.agents]

    def begin(self, seed: int | None) -> np.random.Generator:
        """A new game: everybody plays; the generator goes on unless a seed is given."""
        if seed is not None or self.np_random is None:
            self.np_random = seeding.np_random(seed)[0]
        self.agents = self.possible_agents[:]
        return self.np_random

    def render(self) -> None:
        """No pictures."""

    def close(self) -> None:
        """Nothing to close."""


def checked_rules(
    kind: type[_Game], game: _Game | None, rules: dict, render_mode: str | None
) -> _Game:
    """The rules given, or those made of their fields; refused where neither."""
    if render_mode is not None:
        raise ScenarioError(f"render_mode is {render_mode!r}; expected None.")
    known = set(kind.__dataclass_fields__)
    if not set(rules) <= known:
        raise ScenarioError(f"rules are {sorted(rules)}; expected some of {sorted(known)}.")
    if game is None:
        return kind(**rules)
    if rules or not isinstance(game, kind):
        raise ScenarioError(
            f"game is {game!r}, rules {sorted(rules)}; expected a {kind.__name__} or its fields."
        )
    return game


def accounts(worth_eur: float, offers: Floats, share: Floats) -> list[dict[str, Any]]:
    """A day's accounts of each aggregator."""
    columns = {
        "offer": offers,
        "share": share,
        "earned_eur": earned_eur(worth_eur, offers, share),
        "paid_eur": paid_eur(worth_eur, offers, share),
    }
    return [{key: float(of[k]) for key, of in columns.items()} for k in range(len(offers))]
