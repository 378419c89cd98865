"""Two aggregators who compete for buses day by day, solved by backward induction.

Each day one of them may change its offer, the other's stands; then some buses, one after the
other, think again. Everybody sees everything, so the game has an exact subgame-perfect
equilibrium. (With simultaneous offers many stage games have no pure equilibrium at all.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats


@dataclass(frozen=True, eq=False)
class Duopoly:
    """The repeated game.

    A bus that thinks again weighs what each aggregator offers and how many of the other buses it
    has: it goes to k with a chance in proportion to ``exp((offer_k + herding * share_k) /
    noise)``. Staying out is one more such option, if there is one. Without it ``herding = 2 *
    noise`` is critical.

    Attributes:
        offers: Shares of the real-time price that may be offered to buses, ascending, shape (g,).
        herding: What it counts that others are there, J.
        noise: Spread of tastes, theta.
        outside: Offer of staying out; None is no such option.
        buses: How many buses there are, all of the same size.
        revisions: Buses that think again in a day.
        days: Length of the game.
        worth_eur: What the flexibility of all buses earns in a day, EUR.
    """

    offers: tuple[float, ...] = tuple(np.round(np.arange(0.50, 0.905, 0.02), 2).tolist())
    herding: float = 0.0
    noise: float = 0.1
    outside: float | None = None
    buses: int = 32
    revisions: int = 8
    days: int = 30
    worth_eur: float = 322.291

    def __post_init__(self) -> None:
        offers = np.asarray(self.offers)
        if offers.ndim != 1 or not 1 <= len(offers) <= 127 or not (np.diff(offers) > 0).all():
            raise ScenarioError(f"offers are {self.offers}; expected up to 127, ascending.")
        if not (self.noise > 0 and min(self.buses, self.revisions, self.days) >= 1):
            raise ScenarioError(
                f"noise is {self.noise}, buses {self.buses}, revisions {self.revisions} and days "
                f"{self.days}; expected numbers > 0."
            )

    @cached_property
    def members(self) -> NDArray[np.int64]:
        """Buses of the mover and of the other in each state, shape (states, 2)."""
        B = self.buses
        if self.outside is None:
            return np.array([(n, B - n) for n in range(B + 1)])
        return np.array([(n, k) for n in range(B + 1) for k in range(B + 1 - n)])

    def state(self, mover: int, other: int) -> int:
        """Position in `members`, from the buses of the mover and of the other.

        Raises:
            ScenarioError: There is no such state.
        """
        found = np.flatnonzero((self.members == (mover, other)).all(axis=1))
        if len(found) == 0:
            raise ScenarioError(
                f"buses are {mover} and {other}; expected at most {self.buses} together, and "
                "exactly so many where nobody can stay out."
            )
        return int(found[0])

    @cached_property
    def _swapped(self) -> NDArray[np.int64]:
        """State as the other sees it, shape (states,)."""
        B = self.buses
        place = np.full((B + 1, B + 1), -1)
        place[self.members[:, 0], self.members[:, 1]] = np.arange(len(self.members))
        return place[self.members[:, 1], self.members[:, 0]]

    @cached_property
    def _steps(self) -> tuple[NDArray[np.int64], Floats]:
        """One revision: where to (states, 7) and with which chance (g, g, states, 7).

        First axis: the mover's offer, second: the other's.
        """
        B, outside = self.buses, self.outside is not None
        place = np.full((B + 3, B + 3), -1)
        place[self.members[:, 0], self.members[:, 1]] = np.arange(len(self.members))
        counts = np.column_stack([self.members, B - self.members.sum(axis=1)])
        moves = [(i, j) for i in range(3) for j in range(3) if i != j]
        where = np.repeat(np.arange(len(counts))[:, None], 1 + len(moves), axis=1)
        chance = np.zeros((len(self.offers), len(self.offers), *where.shape))
        for i in range(3):
            others = counts.copy()
            others[:, i] -= 1
            picked = counts[:, i, None] / B * self._choice(others)
            chance[..., 0] += picked[..., i]
            for m in (1 + moves.index((i, j)) for j in range(3) if j != i):
                j = moves[m - 1][1]
                possible = (counts[:, i] > 0) & (outside or 2 not in (i, j))
                after = others + np.eye(3, dtype=np.int64)[j]
                where[possible, m] = place[after[possible, 0], after[possible, 1]]
                chance[..., m] = np.where(possible, picked[..., j], 0.0)
        return where, chance

    def _choice(self, others: NDArray[np.int64]) -> Floats:
        """Where a bus goes that sees the others so; shapes (states, 3), (g, g, states, 3)."""
        offers = np.asarray(self.offers)
        pull = self.herding * others / max(self.buses - 1, 1)
        appeal = np.empty((len(offers), len(offers), len(others), 3))
        appeal[..., 0] = offers[:, None, None] + pull[:, 0]
        appeal[..., 1] = offers[None, :, None] + pull[:, 1]
        appeal[..., 2] = (-np.inf if self.outside is None else self.outside) + pull[:, 2]
        chosen = np.exp((appeal - appeal.max(axis=-1, keepdims=True)) / self.noise)
        return chosen / chosen.sum(axis=-1, keepdims=True)

    def _earned(self) -> tuple[Floats, Floats]:
        """A day's earnings of the mover and of the other by state and own offer, (states, g)."""
        left = self.worth_eur * (1.0 - np.asarray(self.offers))
        share = self.members / self.buses
        return share[:, :1] * left, share[:, 1:] * left


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
    return _induction(game, None, (True, True))


def play(game: Duopoly, choice: NDArray) -> DuopolyValue:
    """What two strategies are worth; ``choice[d]`` is that of the one who moves on day d."""
    return _induction(game, choice, (False, False))


def best_response(game: Duopoly, choice: NDArray, player: int) -> DuopolyValue:
    """The best that one player can do against the other's strategy.

    Args:
        game: The game.
        choice: Strategies, as in `DuopolyValue`; only the days of the other are read.
        player: 0 for the one who moves first, 1 for the other.
    """
    if player not in (0, 1):
        raise ScenarioError(f"player is {player}; expected 0 or 1.")
    return _induction(game, choice, (player == 0, player == 1))


def exploitability(game: Duopoly, choice: NDArray) -> tuple[Floats, Floats]:
    """What each player could gain by its best response, EUR; 0 everywhere in an equilibrium.

    Args:
        game: The game.
        choice: Strategies, as in `DuopolyValue`.

    Returns:
        For the one who moves first and for the other, by first state and the other's standing
        offer, shape (states, g) each.
    """
    now = play(game, choice)
    first = best_response(game, choice, 0).mover_eur - now.mover_eur
    return first, best_response(game, choice, 1).other_eur - now.other_eur


def offers_paid(game: Duopoly, choice: NDArray, state: int, standing: int) -> Floats:
    """Mean offer paid per bus on each day, 0 for those who stay out, shape (days,).

    Args:
        game: The game.
        choice: Strategies, as in `DuopolyValue`.
        state: First state.
        standing: Position of the offer that stands when the game begins.
    """
    where, chance = game._steps
    offers, share = np.asarray(game.offers), game.members / game.buses
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
            later[game._swapped, p] += here
        mass = later
    return paid


def _used(choice: NDArray, mass: Floats) -> NDArray[np.bool_]:
    """Which pairs of standing and new offer occur, shape (g, g)."""
    used = np.zeros((mass.shape[1], mass.shape[1]), dtype=bool)
    states, standing = np.nonzero(mass > 0.0)
    used[standing, choice[states, standing]] = True
    return used


def _induction(game: Duopoly, fixed: NDArray | None, free: tuple[bool, bool]) -> DuopolyValue:
    """Backward induction; on days of players that are not free, ``fixed`` says what is done."""
    where, chance = game._steps
    shape = (len(game.members), len(game.offers))
    if fixed is not None and np.shape(fixed) != (game.days, *shape):
        raise ScenarioError(f"choice has shape {np.shape(fixed)}; expected {(game.days, *shape)}.")
    earned = game._earned()
    choice = np.empty((game.days, *shape), dtype=np.int8)
    mover, other = np.zeros(shape), np.zeros(shape)
    for d in reversed(range(game.days)):
        is_free = fixed is None or free[d % 2]
        if fixed is not None and not is_free:
            choice[d] = _in_range(fixed[d], shape[1])
        # Tomorrow the roles are swapped, and today's new offer is the standing one.
        ahead = other[game._swapped], mover[game._swapped]
        mover, other = np.empty(shape), np.empty(shape)
        _day(where, chance, game.revisions, *earned, *ahead, is_free, choice[d], mover, other)
    return DuopolyValue(choice, mover, other)


def _in_range(choice: NDArray, count: int) -> NDArray:
    if choice.min() < 0 or choice.max() >= count:
        raise ScenarioError(
            f"choice has values from {choice.min()} to {choice.max()}; expected positions of "
            f"offers, 0 to {count - 1}."
        )
    return choice


@compiled
def _day(
    where, chance, revisions, mover_earns, other_earns, mover_ahead, other_ahead, is_free, choice,
    mover, other,
):  # fmt: skip
    """Values before a day's offer, in place; ``choice`` too where the mover is free."""
    states, g = mover.shape
    first, second = np.empty((2, states)), np.empty((2, states))
    for q in range(g):
        for s in range(states):
            mover[s, q] = -np.inf
        for p in range(g):
            for s in range(states):
                first[0, s] = mover_earns[s, p] + mover_ahead[s, p]
                first[1, s] = other_earns[s, q] + other_ahead[s, p]
            for _ in range(revisions):
                for s in range(states):
                    mine, yours = 0.0, 0.0
                    for m in range(7):
                        mine += chance[p, q, s, m] * first[0, where[s, m]]
                        yours += chance[p, q, s, m] * first[1, where[s, m]]
                    second[0, s], second[1, s] = mine, yours
                first, second = second, first
            for s in range(states):
                taken = first[0, s] > mover[s, q] if is_free else choice[s, q] == p
                if taken:
                    mover[s, q], other[s, q] = first[0, s], first[1, s]
                    if is_free:
                        choice[s, q] = p
