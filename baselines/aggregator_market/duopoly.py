"""Two aggregators who compete for buses day by day, solved by backward induction.

Each day one of them may change its offer, the other's stands; then some buses, one after the
other, think again. Everybody sees everything, so the game has an exact subgame-perfect
equilibrium. (With simultaneous offers many stage games have no pure equilibrium at all.) The
rules are those of `flexgym.envs.aggregator_market.competition`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.aggregator_market.competition import Duopoly, earned_eur, revision
from flexgym.envs.compiled import compiled, inlined
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats

_FIXED, _ALONE, _TOGETHER = 0, 1, 2
"""What a mover aims at: what it was told, its own earnings, those of both."""
_AGAINST = (_ALONE, _FIXED), (_FIXED, _ALONE)
"""Aims where one player answers the other's strategy, by player."""


@dataclass(frozen=True, eq=False)
class DuopolyValue:
    """Play and its worth.

    Attributes:
        choice: Position of the mover's offer by day, state and the other's standing offer, shape
            (days, states, g).
        mover_eur: Earnings of the whole game of the one who moves first, by first state and the
            other's standing offer, shape (states, g), EUR.
        other_eur: Likewise of the other.
    """

    choice: NDArray[np.int8]
    mover_eur: Floats
    other_eur: Floats


def alternating_equilibrium(game: Duopoly) -> DuopolyValue:
    """The subgame-perfect equilibrium; of offers that are as good, the lowest is taken."""
    return _induction(game, None, (_ALONE, _ALONE))


def cartel(game: Duopoly) -> DuopolyValue:
    """What the two could earn together if they offered as one."""
    return _induction(game, None, (_TOGETHER, _TOGETHER))


def play(game: Duopoly, choice: NDArray) -> DuopolyValue:
    """What two strategies are worth; ``choice[d]`` is that of the one who moves on day d."""
    return _induction(game, choice, (_FIXED, _FIXED))


def worth_to(game: Duopoly, choice: NDArray, player: int) -> Floats:
    """What two strategies are worth to one player, at half the work of `play`, EUR.

    Args:
        game: The game.
        choice: Strategies, as in `play`.
        player: 0 for the one who moves first, 1 for the other.

    Returns:
        By first state and the other's standing offer, shape (states, g).
    """
    found = _induction(game, choice, (_FIXED, _FIXED), _checked_player(player))
    return found.other_eur if player else found.mover_eur


def best_response(game: Duopoly, choice: NDArray, player: int) -> DuopolyValue:
    """The best that one player can do against the other's strategy.

    Args:
        game: The game.
        choice: Strategies, as in `DuopolyValue`; only the days of the other are read.
        player: 0 for the one who moves first, 1 for the other.
    """
    return _induction(game, choice, _AGAINST[_checked_player(player)])


def exploitability(
    game: Duopoly, choice: NDArray, now: DuopolyValue | None = None
) -> tuple[Floats, Floats]:
    """What each player could gain by its best response, EUR; 0 everywhere in an equilibrium.

    Args:
        game: The game.
        choice: Strategies, as in `DuopolyValue`.
        now: What they are worth, if `play` has said it already.

    Returns:
        For the one who moves first and for the other, by first state and the other's standing
        offer, shape (states, g) each.
    """
    now = play(game, choice) if now is None else now
    first, second = (_induction(game, choice, aims, k) for k, aims in enumerate(_AGAINST))
    return first.mover_eur - now.mover_eur, second.other_eur - now.other_eur


def offers_paid(game: Duopoly, choice: NDArray, state: int, standing: int) -> Floats:
    """Mean offer paid per bus on each day, 0 for those who stay out, shape (days,).

    Args:
        game: The game.
        choice: Strategies, as in `DuopolyValue`.
        state: First state.
        standing: Position of the offer that stands when the game begins.
    """
    where, chance = _steps(game)
    offers, share, swapped = np.asarray(game.offers), game.members / game.buses, _swapped(game)
    mass = np.zeros((len(share), len(offers)))
    mass[state, standing] = 1.0
    paid = np.zeros(game.days)
    for d in range(game.days):
        later = np.zeros_like(mass)
        for q, p in np.argwhere(_used(choice[d], mass)):
            here = np.where(choice[d][:, q] == p, mass[:, q], 0.0)
            for _ in range(game.revisions):
                moved = here[:, None] * chance[p, q]
                here = np.bincount(where.ravel(), moved.ravel(), minlength=len(here))
            paid[d] += here @ (share[:, 0] * offers[p] + share[:, 1] * offers[q])
            later[swapped, p] += here
        mass = later
    return paid


def _place(game: Duopoly) -> NDArray[np.int64]:
    """State by the buses of the mover and of the other, -1 where there is none."""
    place = np.full((game.buses + 1, game.buses + 1), -1)
    place[game.members[:, 0], game.members[:, 1]] = np.arange(len(game.members))
    return place


def _swapped(game: Duopoly) -> NDArray[np.int64]:
    """State as the other sees it, shape (states,)."""
    return _place(game)[game.members[:, 1], game.members[:, 0]]


@lru_cache(maxsize=4)
def _steps(game: Duopoly) -> tuple[NDArray[np.int64], Floats]:
    """One revision: where to (states, 7) and with which chance (g, g, states, 7).

    First axis: the mover's offer, second: the other's.
    """
    counts = np.column_stack([game.members, game.buses - game.members.sum(axis=1)])
    pairs = np.stack(np.meshgrid(game.offers, game.offers, indexing="ij"), axis=-1)
    moved = revision(game, pairs[:, :, None, :], counts)
    moves = [(i, j) for i in range(3) for j in range(3) if i != j]
    where = np.repeat(np.arange(len(counts))[:, None], 1 + len(moves), axis=1)
    chance = np.zeros((*moved.shape[:-2], 1 + len(moves)))
    for i in range(3):
        chance[..., 0] += moved[..., i, i]
    place, one = _place(game), np.eye(3, dtype=np.int64)
    for m, (i, j) in enumerate(moves, start=1):
        possible = (counts[:, i] > 0) & (game.outside is not None or 2 not in (i, j))
        after = (counts - one[i] + one[j])[possible]
        where[possible, m] = place[after[:, 0], after[:, 1]]
        chance[..., m] = moved[..., i, j]
    return where, chance


def _earned(game: Duopoly) -> tuple[Floats, Floats]:
    """A day's earnings of the mover and of the other by state and own offer, (states, g)."""
    share, offers = game.members / game.buses, np.asarray(game.offers)
    earned = [earned_eur(game.worth_eur, offers, share[:, k, None]) for k in (0, 1)]
    return earned[0], earned[1]


def _used(choice: NDArray, mass: Floats) -> NDArray[np.bool_]:
    """Which pairs of standing and new offer occur, shape (g, g)."""
    used = np.zeros((mass.shape[1], mass.shape[1]), dtype=bool)
    states, standing = np.nonzero(mass > 0.0)
    used[standing, choice[states, standing]] = True
    return used


def _checked_player(player: int) -> int:
    if player not in (0, 1):
        raise ScenarioError(f"player is {player}; expected 0 or 1.")
    return player


def _induction(
    game: Duopoly, fixed: NDArray | None, aims: tuple[int, int], only: int | None = None
) -> DuopolyValue:
    """Backward induction; on days of players whose aim is `_FIXED`, ``fixed`` says what is done.

    Where only one player's earnings are asked for, the other's stay 0.
    """
    where, chance = _steps(game)[0], _columns(game)
    shape = (len(game.members), len(game.offers))
    if fixed is not None and np.shape(fixed) != (game.days, *shape):
        raise ScenarioError(f"choice has shape {np.shape(fixed)}; expected {(game.days, *shape)}.")
    earned, swapped = _earned(game), _swapped(game)
    choice = np.empty((game.days, *shape), dtype=np.int8)
    mover, other = np.zeros(shape), np.zeros(shape)
    for d in reversed(range(game.days)):
        aim = aims[d % 2]
        if fixed is not None and aim == _FIXED:
            choice[d] = _in_range(fixed[d], shape[1])
        # Tomorrow the roles are swapped, and today's new offer is the standing one.
        ahead = other[swapped], mover[swapped]
        mover, other = np.zeros(shape), np.zeros(shape)
        whose = (0, 2) if only is None else ((d + only) % 2, (d + only) % 2 + 1)
        _day(where, chance, game.revisions, *earned, *ahead, aim, *whose, choice[d], mover, other)
    return DuopolyValue(choice, mover, other)


def _in_range(choice: NDArray, count: int) -> NDArray:
    if choice.min() < 0 or choice.max() >= count:
        raise ScenarioError(
            f"choice has values from {choice.min()} to {choice.max()}; expected positions of "
            f"offers, 0 to {count - 1}."
        )
    return choice


@lru_cache(maxsize=4)
def _columns(game: Duopoly) -> Floats:
    """The chances of `_steps`, the mover's offers side by side: (g of the other, states, 7, g).

    The last axis is filled with zeros to a multiple of eight, which halves the time of its loops.
    """
    chance = _steps(game)[1].transpose(1, 2, 3, 0)
    return np.pad(chance, [(0, 0)] * 3 + [(0, -len(game.offers) % 8)])


@inlined
def _expect(chance, worth, to, mean):
    """Mean worth after one revision, for all offers of the mover at once, in place."""
    a, b, c, d, e, f, g = to[0], to[1], to[2], to[3], to[4], to[5], to[6]
    for p in range(len(mean)):
        mean[p] = (
            chance[0, p] * worth[a, p] + chance[1, p] * worth[b, p] + chance[2, p] * worth[c, p]
            + chance[3, p] * worth[d, p] + chance[4, p] * worth[e, p] + chance[5, p] * worth[f, p]
            + chance[6, p] * worth[g, p]
        )  # fmt: skip


@compiled
def _day(
    where, chance, revisions, mover_earns, other_earns, mover_ahead, other_ahead, aim, begin, end,
    choice, mover, other,
):  # fmt: skip
    """Values before a day's offer, in place; ``choice`` too where the mover is free.

    Those of the mover alone where begin, end = 0, 1, of the other where 1, 2, of both where 0, 2.
    """
    states, g = mover.shape
    wide = chance.shape[3]
    first, second = np.zeros((2, states, wide)), np.zeros((2, states, wide))
    for q in range(g):
        for s in range(states):
            for p in range(g):
                first[0, s, p] = mover_earns[s, p] + mover_ahead[s, p]
                first[1, s, p] = other_earns[s, q] + other_ahead[s, p]
        for _ in range(revisions):
            for s in range(states):
                for i in range(begin, end):
                    _expect(chance[q, s], first[i], where[s], second[i, s])
            first, second = second, first
        for s in range(states):
            taken = choice[s, q]
            if aim != _FIXED:
                most = -np.inf
                for p in range(g):
                    worth = first[0, s, p]
                    if aim == _TOGETHER:
                        worth += first[1, s, p]
                    if worth > most:
                        most, taken = worth, p
                choice[s, q] = taken
            if begin == 0:
                mover[s, q] = first[0, s, taken]
            if end == 2:
                other[s, q] = first[1, s, taken]
