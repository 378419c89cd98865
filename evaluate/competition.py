"""What a strategy of the contest by turns is worth, exactly: against itself and the equilibrium.

The score is by exploitability, for that alone is 0 in every equilibrium and nowhere else: two who
learned together may earn more than in the solver's equilibrium and less against it, and yet neither
gains much by leaving.
"""

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
    """What strategies of a game are judged against; all by first state and standing offer, (s, g).

    Attributes:
        game: The rules.
        choice: The subgame-perfect equilibrium, shape (days, states, g).
        nash_eur: What both earn together in it.
        cartel_eur: The most that they could earn together.
        still_eur: What standing still earns against the equilibrium, first and second together.
    """

    game: Duopoly
    choice: NDArray[np.int8]
    nash_eur: Floats
    cartel_eur: Floats
    still_eur: Floats


@lru_cache(maxsize=2)
def reference(game: Duopoly) -> Reference:
    """Solve a game."""
    nash, most = alternating_equilibrium(game), cartel(game)
    still = sum(_against(game, nash.choice, np.full_like(nash.choice, middle(game))))
    together, together_most = (value.mover_eur + value.other_eur for value in (nash, most))
    return Reference(game, nash.choice, together, together_most, np.asarray(still))


@dataclass(frozen=True)
class Earnings:
    """Expected earnings of a game from each place, shape (n,) each, EUR; nothing is sampled.

    Attributes:
        exploitability_eur: What a player gains by the best response to the strategy over playing
            it too, mean of the one who moves first and the other; 0 in an equilibrium.
        together_eur: What two that play the strategy earn together.
        first_eur: What the strategy earns against the equilibrium where it moves first.
        second_eur: Likewise where it moves second.
        collusion_percent: Place of ``together_eur`` between equilibrium (0) and cartel (100).
        against_percent: Place of what is earned against the equilibrium between standing still (0)
            and the equilibrium (100), the best response to itself.
    """

    exploitability_eur: Floats
    together_eur: Floats
    first_eur: Floats
    second_eur: Floats
    collusion_percent: float
    against_percent: float

    @property
    def terms(self) -> dict[str, Floats]:
        """Everything by name; ratios are over all places."""
        n = len(self.first_eur)
        return {name: np.broadcast_to(value, n).copy() for name, value in vars(self).items()}


def earnings(of: Reference, choice: NDArray[np.int8], at: Places) -> Earnings:
    """What a strategy earns.

    Args:
        of: The game and its equilibrium.
        choice: The strategy, shape (days, states, g).
        at: Where games begin.
    """
    first, second = (at.of(earned) for earned in _against(of.game, of.choice, choice))
    own = play(of.game, choice)
    gain = sum(exploitability(of.game, choice, own))
    together, nash = at.of(own.mover_eur + own.other_eur), at.of(of.nash_eur)
    still = at.of(of.still_eur)
    return Earnings(
        0.5 * at.of(np.asarray(gain)),
        together,
        first,
        second,
        _percent(together - nash, at.of(of.cartel_eur) - nash),
        _percent(first + second - still, nash - still),
    )


def _against(game: Duopoly, equilibrium: NDArray, choice: NDArray) -> tuple[Floats, Floats]:
    """What a strategy earns against the equilibrium as first and as second, (states, g) each."""
    first, second = equilibrium.copy(), equilibrium.copy()
    first[::2], second[1::2] = choice[::2], choice[1::2]
    return worth_to(game, first, 0), worth_to(game, second, 1)


def _percent(part: Floats, whole: Floats) -> float:
    """A ratio of sums; 0 where there is nothing to share."""
    return 100.0 * float(part.sum() / whole.sum()) if whole.sum() > 1e-9 else 0.0
