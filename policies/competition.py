"""Policies of two aggregators who compete for buses by turns: rules, and the exact equilibrium.

Whatever a policy is, it is judged as a *strategy*: what it offers on every day, in every state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.aggregator_market.duopoly import alternating_equilibrium
from flexgym.envs.aggregator_market.competition import Duopoly
from flexgym.envs.aggregator_market.competitors import positions_of, scaled
from flexgym.envs.aggregator_market.duopoly_games import forgetful, middle, observed
from flexgym.envs.errors import ActionError
from flexgym.envs.household.params import Floats


@dataclass(frozen=True)
class Turn:
    """Everything that the one whose turn it is may find on a day.

    Attributes:
        game: The rules.
        day: Days played.
    """

    game: Duopoly
    day: int

    @property
    def n(self) -> int:
        """States, each with every offer of the rival that may stand."""
        return len(self.game.members) * len(self.game.offers)

    @property
    def rival(self) -> NDArray[np.int64]:
        """Position of the rival's offer in each of them, shape (n,)."""
        return np.tile(np.arange(len(self.game.offers)), len(self.game.members))

    def observe(self) -> NDArray[np.float32]:
        """What is seen in each, as in `DuopolyGames.observe`; shape (n, 6)."""
        buses = self.game.members.repeat(len(self.game.offers), axis=0)
        mover = self.day % 2
        counts = np.column_stack([buses[:, [mover, 1 - mover]], self.game.buses - buses.sum(1)])
        positions = self.rival[:, None].repeat(2, axis=1)
        return forgetful(observed(self.game, self.day, counts, positions))[:, mover]


class CompetitionPolicy(Protocol):
    """Maps what the aggregator whose turn it is sees to its offer.

    Attributes:
        name: Short name for tables.
    """

    name: str

    def begin(self, turn: Turn) -> None:
        """Prepare for a game; ``turn`` is its first day."""
        ...

    def act(self, turn: Turn) -> Floats:
        """Actions in [-1, 1], shape (n, 1), rounded to the grid as the environment does."""
        ...


def strategy(policy: CompetitionPolicy, game: Duopoly) -> NDArray[np.int8]:
    """What a policy offers when it is its turn: positions, shape (days, states, g).

    Raises:
        ActionError: An action is no number in [-1, 1].
    """
    policy.begin(Turn(game, 0))
    g, choice = (
        len(game.offers),
        np.empty((game.days, len(game.members), len(game.offers)), np.int8),
    )
    for day in range(game.days):
        turn = Turn(game, day)
        actions = np.asarray(policy.act(turn), dtype=np.float64)
        if actions.shape != (turn.n, 1) or not (np.abs(actions) <= 1.0).all():
            raise ActionError(
                f"actions of {policy.name} have shape {actions.shape} or leave [-1, 1]; expected "
                f"{(turn.n, 1)}, numbers in [-1, 1]."
            )
        choice[day] = positions_of(actions, g).reshape(choice.shape[1:])
    return choice


class _Rule:
    """Says positions instead of actions."""

    name: str

    def begin(self, turn: Turn) -> None:
        """Nothing to prepare."""

    def act(self, turn: Turn) -> Floats:
        """See `CompetitionPolicy`."""
        return scaled(self.positions(turn), len(turn.game.offers))[:, None]

    def positions(self, turn: Turn) -> NDArray:
        """Positions of its offers, shape (n,)."""
        raise NotImplementedError


class StandStill(_Rule):
    """Always offers the middle of the grid, where a game begins."""

    name = "stand still"

    def positions(self, turn: Turn) -> NDArray:
        """See `_Rule`."""
        return np.full(turn.n, middle(turn.game))


class Outbid(_Rule):
    """Offers buses one step of the grid more than the rival does."""

    name = "outbid by a step"

    def positions(self, turn: Turn) -> NDArray:
        """See `_Rule`."""
        return np.minimum(turn.rival + 1, len(turn.game.offers) - 1)


class RandomOffers(_Rule):
    """Draws its offers.

    A state of a day is met at most once in a game, so drawing an offer for each beforehand is the
    same as drawing it there.

    Args:
        seed: Of the draws.
    """

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def positions(self, turn: Turn) -> NDArray:
        """See `_Rule`."""
        rng = np.random.default_rng([self._seed, turn.day])
        return rng.integers(len(turn.game.offers), size=turn.n)


class Ahead(_Rule):
    """Plays the equilibrium of a game of a few days, as if it ended then.

    Args:
        days: How many; 1 is the best response to what stands, for today's earnings.
        name: For tables.
    """

    def __init__(self, days: int, name: str) -> None:
        self.days, self.name = days, name

    def begin(self, turn: Turn) -> None:
        """See `CompetitionPolicy`."""
        days = min(self.days, turn.game.days)
        self._choice = alternating_equilibrium(replace(turn.game, days=days)).choice

    def positions(self, turn: Turn) -> NDArray:
        """See `_Rule`."""
        left = min(self.days, turn.game.days - turn.day)
        return self._choice[-left].reshape(-1)


class Equilibrium(Ahead):
    """The subgame-perfect equilibrium, exact."""

    name = "equilibrium"

    def __init__(self) -> None:
        super().__init__(10**6, self.name)


def competition_rules() -> list[CompetitionPolicy]:
    """Rules that draw nothing."""
    return [StandStill(), Outbid(), Ahead(1, "myopic"), Ahead(4, "four days ahead")]
