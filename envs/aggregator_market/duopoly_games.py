"""Two aggregators who compete day by day, many games side by side; see `duopoly_env`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from flexgym.envs.aggregator_market.competition import Duopoly, earned_eur, paid_eur, revise
from flexgym.envs.aggregator_market.competitors import scaled
from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.lockstep import LockstepVectorEnv

OBSERVATION_NAMES = (
    *("own_buses", "rival_buses", "own_offer", "rival_offer", "days_left", "own_turn"),
)
_OWN_OFFER, _OWN_TURN = OBSERVATION_NAMES.index("own_offer"), OBSERVATION_NAMES.index("own_turn")
SCENARIOS: Mapping[str, Duopoly] = {
    "herding": Duopoly(herding=0.2, outside=0.7),
    "loose": Duopoly(herding=0.0, outside=0.7),
}
"""Games that are trained and benchmarked: buses that follow each other, and that do not."""


def scenario(name: str) -> Duopoly:
    """A game by its name.

    Raises:
        ScenarioError: Unknown name.
    """
    if name not in SCENARIOS:
        raise ScenarioError(f"scenario is {name!r}; expected {' or '.join(SCENARIOS)}.")
    return SCENARIOS[name]


@dataclass(frozen=True)
class Start:
    """Where games begin.

    Attributes:
        members: Buses of the first and of the second aggregator; None draws any state, and any
            standing offer.
        standing: Position of the offer that stands.
    """

    members: tuple[int, int] | None
    standing: int

    @classmethod
    def of(
        cls, game: Duopoly, start: tuple[int, int] | str | None, standing: float | None
    ) -> Start:
        """From what an environment is given, see `DuopolyParallelEnv`.

        Raises:
            ScenarioError: It is out of range.
        """
        if start is not None and start != "random" and np.shape(start) != (2,):
            raise ScenarioError(f"start is {start!r}; expected buses of both, 'random' or None.")
        if standing is not None and standing not in game.offers:
            raise ScenarioError(f"standing is {standing}; expected one of {game.offers}.")
        position = middle(game) if standing is None else game.offers.index(standing)
        if isinstance(start, str):
            return cls(None, position)
        half = (game.buses - game.buses // 2, game.buses // 2)
        first, second = half if start is None else start
        game.state(first, second)
        return cls((first, second), position)

    def draw(self, game: Duopoly, rng: np.random.Generator) -> tuple[int, int, int]:
        """Buses of the first and of the second, position of the offer of both."""
        if self.members is not None:
            return *self.members, self.standing
        first, second = game.members[rng.integers(len(game.members))].tolist()
        return first, second, int(rng.integers(len(game.offers)))


def middle(game: Duopoly) -> int:
    """Position of the offer in the middle of the grid."""
    return len(game.offers) // 2


def observed(game: Duopoly, day: int, buses: NDArray, positions: NDArray) -> NDArray[np.float32]:
    """What both see: everything there is to know, each with itself first.

    Args:
        game: The rules.
        day: Days played.
        buses: Of the first, of the second, and out, shape (..., 3).
        positions: Positions of the offers that stand, shape (..., 2).

    Returns:
        Shape (..., 2, 6); see `OBSERVATION_NAMES`.
    """
    share, offer = buses[..., :2] / game.buses, scaled(positions, len(game.offers))
    seen = np.empty((*share.shape, len(OBSERVATION_NAMES)), dtype=np.float32)
    seen[..., 0], seen[..., 1] = share, share[..., ::-1]
    seen[..., 2], seen[..., 3] = offer, offer[..., ::-1]
    seen[..., 4] = 1.0 - day / game.days
    seen[..., _OWN_TURN] = [day < game.days and day % 2 == k for k in range(2)]
    return seen


def forgetful(seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same without what no longer matters, new: at its turn an own offer reads 0.

    It is about to be replaced, and nobody's earnings depend on it any more. Whoever does not see it
    has a strategy that `flexgym.baselines.aggregator_market.duopoly` can judge.
    """
    return np.where(
        (seen[..., _OWN_TURN, None] > 0.5) & (np.arange(seen.shape[-1]) == _OWN_OFFER),
        np.float32(0.0),
        seen,
    )


class DuopolyGames:
    """Games in lockstep, by the rules of `competition`.

    Args:
        game: The rules.
        n: How many games.
        start: See `DuopolyParallelEnv`.
        standing: Likewise.

    Attributes:
        day: Days played.
        buses: Of the first, of the second, and out, shape (n, 3).
        positions: Positions of the offers that stand, shape (n, 2).
        earned_eur: Of both on the day that was played last, shape (n, 2), EUR.
        paid_eur: What their buses got, likewise.
        totals: Both so far, by name.

    Raises:
        ScenarioError: The start is out of range.
    """

    observation_names = OBSERVATION_NAMES

    def __init__(
        self,
        game: Duopoly,
        n: int,
        start: tuple[int, int] | str | None = None,
        standing: float | None = None,
    ) -> None:
        self.game, self.n, self.day = game, n, 0
        self._start = Start.of(game, start, standing)
        self.begin([np.random.default_rng(0) for _ in range(n)])

    def begin(self, rngs: Sequence[np.random.Generator], options: Any = None) -> None:
        """New games, each with its generator; there are no options."""
        game, drawn = self.game, [self._start.draw(self.game, rng) for rng in rngs]
        first, second, standing = np.array(drawn, dtype=np.int64).T
        self.buses = np.stack([first, second, game.buses - first - second], axis=1)
        self.positions = np.stack([standing, standing], axis=1)
        # Day by day these are the draws of the single environment.
        self._uniform = np.stack([rng.random((game.days, game.revisions)) for rng in rngs])
        self.day = 0
        self.earned_eur, self.paid_eur = np.zeros((self.n, 2)), np.zeros((self.n, 2))
        self.totals = {"earned_eur": self.earned_eur, "paid_eur": self.paid_eur}

    def step(self, actions: Floats) -> None:
        """Play a day.

        Args:
            actions: Positions of offers of both, shape (n, 2); of those whose turn it is not, they
                are checked and then ignored.

        Raises:
            ActionError: One is no position, or the games are over.
        """
        g = len(self.game.offers)
        if self.done:
            raise ActionError("step was called after the end of a game; call begin first.")
        # A comparison that is false for what is no number.
        if not ((actions >= 0) & (actions < g) & (actions == np.rint(actions))).all():
            raise ActionError(f"actions are {actions}; expected whole numbers from 0 to {g - 1}.")
        game, mover = self.game, self.day % 2
        self.positions[:, mover] = actions[:, mover]
        offers = np.asarray(game.offers)[self.positions]
        self.buses = revise(game, offers, self.buses, self._uniform[:, self.day])
        self.day += 1
        share = self.buses[:, :2] / game.buses
        self.earned_eur = earned_eur(game.worth_eur, offers, share)
        self.paid_eur = paid_eur(game.worth_eur, offers, share)
        self.totals = {name: so_far + getattr(self, name) for name, so_far in self.totals.items()}

    @property
    def done(self) -> bool:
        """Whether all days have been played."""
        return self.day >= self.game.days

    def observe(self) -> NDArray[np.float32]:
        """What both see, but for own offers at their turn, see `forgetful`; shape (n, 2, 6)."""
        return forgetful(observed(self.game, self.day, self.buses, self.positions))


class DuopolyRowsVectorEnv(LockstepVectorEnv):
    """Both aggregators of every game are rows, for one policy that they share.

    Row ``2 i + k`` is aggregator k of game i; game i of a batch seeded s plays what
    `DuopolyParallelEnv` seeded s + i plays. Actions are positions in the grid of offers,
    ``Discrete(g)``: what pays best is often the lowest offer or nearly the highest and nothing
    between, which a policy over a list can learn and one over an interval can hardly. Observations
    are those of `DuopolyGames.observe`.

    Args:
        games: Number of games.
        render_mode: Must be None.
        game: The rules.
        start: See `DuopolyParallelEnv`.
        standing: Likewise.

    Raises:
        ScenarioError: An option is out of range.
    """

    simulation: DuopolyGames

    def __init__(
        self,
        games: int = 1,
        render_mode: str | None = None,
        *,
        game: Duopoly = SCENARIOS["herding"],
        start: tuple[int, int] | str | None = None,
        standing: float | None = None,
    ) -> None:
        self.check(games, render_mode)
        seen = spaces.Box(-1.0, 1.0, (len(OBSERVATION_NAMES),), np.float32)
        # Gymnasium's batches take any two spaces.
        both: Any = seen, spaces.Discrete(len(game.offers))
        super().__init__(DuopolyGames(game, games, start, standing), 2 * games, both)

    def _reward(self) -> np.ndarray:
        return self.simulation.earned_eur.reshape(-1)

    def _info(self) -> dict[str, Any]:
        games = self.simulation
        return {name: getattr(games, name).reshape(-1) for name in games.totals}

    def _totals(self) -> dict[str, Any]:
        totals = {name: of.reshape(-1) for name, of in self.simulation.totals.items()}
        return {"totals": totals}

    def _reset_info(self) -> dict[str, Any]:
        return {}
