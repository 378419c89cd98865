"""What a strategy of the contest by turns is worth, exactly: against the equilibrium and itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.aggregator_market.duopoly import (
    alternating_equilibrium,
    cartel,
    exploitability,
    play,
    worth_to,
)
from flexgym.envs.aggregator_market.competition import Duopoly
from flexgym.envs.aggregator_market.duopoly_games import Start, middle
from flexgym.envs.household.params import Floats

TERMS = ("first_eur", "second_eur", "exploitability_eur", "together_eur")


@dataclass(frozen=True)
class Places:
    """Where games begin.

    Attributes:
        state: Of the buses, as the one who moves first sees it, shape (n,).
        standing: Position of the offer that stands, shape (n,).
    """

    state: NDArray[np.int64]
    standing: NDArray[np.int64]

    def of(self, values: Floats) -> Floats:
        """What has shape (states, g) there, shape (n,)."""
        return values[self.state, self.standing]


def places(game: Duopoly, n: int, seed: int) -> Places:
    """Random states and offers: game i begins where the environment seeded seed + i does."""
    from gymnasium.utils import seeding

    start = Start(None, middle(game))
    drawn = [start.draw(game, seeding.np_random(seed + i)[0]) for i in range(n)]
    state = [game.state(first, second) for first, second, _ in drawn]
    return Places(np.array(state), np.array([standing for *_, standing in drawn]))


@dataclass(frozen=True)
class Reference:
    """What strategies of a game are judged against.

    Attributes:
        game: The rules.
        choice: The subgame-perfect equilibrium, shape (days, states, g).
        nash_eur: What both earn together in it, by first state and standing offer, (states, g).
        cartel_eur: The most that they could earn together, likewise.
    """

    game: Duopoly
    choice: NDArray[np.int8]
    nash_eur: Floats
    cartel_eur: Floats


@lru_cache(maxsize=2)
def reference(game: Duopoly) -> Reference:
    """Solve a game."""
    nash, most = alternating_equilibrium(game), cartel(game)
    together = (value.mover_eur + value.other_eur for value in (nash, most))
    return Reference(game, nash.choice, *together)


@dataclass(frozen=True)
class Earnings:
    """Expected earnings of a game from each place, shape (n,) each, EUR; nothing is sampled.

    Attributes:
        first_eur: Of the strategy that moves first, against the equilibrium.
        second_eur: Likewise where it moves second.
        exploitability_eur: What a player gains by the best response to the strategy over playing
            it too, mean of the first and the second.
        together_eur: What two that play it earn together.
        collusion: Their place between equilibrium (0) and cartel (100), over all places.
    """

    first_eur: Floats
    second_eur: Floats
    exploitability_eur: Floats
    together_eur: Floats
    collusion: float

    @property
    def cost_eur(self) -> Floats:
        """Minus what a game against the equilibrium earns, mean of both roles."""
        return -0.5 * (self.first_eur + self.second_eur)

    @property
    def terms(self) -> dict[str, Floats]:
        """By name, those of `TERMS`, and the place between equilibrium and cartel."""
        found = {name: getattr(self, name) for name in TERMS}
        return found | {"collusion_percent": np.full(len(self.first_eur), self.collusion)}


def earnings(of: Reference, choice: NDArray[np.int8], at: Places) -> Earnings:
    """What a strategy earns.

    Args:
        of: The game and its equilibrium.
        choice: The strategy, shape (days, states, g).
        at: Where games begin.
    """
    sides = [of.choice.copy(), of.choice.copy()]
    for player, mixed in enumerate(sides):
        mixed[player::2] = choice[player::2]
    first, second = (at.of(worth_to(of.game, mixed, k)) for k, mixed in enumerate(sides))
    gains = exploitability(of.game, choice)
    own = play(of.game, choice)
    together = at.of(own.mover_eur + own.other_eur)
    nash, most = at.of(of.nash_eur), at.of(of.cartel_eur)
    worth = float((most - nash).mean())
    collusion = 100.0 * float((together - nash).mean()) / worth if worth > 1e-9 else 0.0
    return Earnings(first, second, 0.5 * (at.of(gains[0]) + at.of(gains[1])), together, collusion)
