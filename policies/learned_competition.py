"""Policies of competing aggregators that were trained: they see what both know, nothing else."""

from __future__ import annotations

import numpy as np

from flexgym.envs.aggregator_market.competitors import scaled
from flexgym.envs.aggregator_market.duopoly_games import OBSERVATION_NAMES, forgetful
from flexgym.envs.errors import RunError
from flexgym.envs.household.params import Floats
from flexgym.policies.competition import CompetitionPolicy, Turn
from flexgym.policies.learned import Predictor, policy_from


class LearnedCompetitor:
    """A trained SB3 policy over positions of offers, without exploration.

    Args:
        model: The model.
        name: For tables.

    Raises:
        RunError: It was trained on other observations, or chooses from no list.
    """

    def __init__(self, model: Predictor, name: str) -> None:
        self.model, self.name = model, name
        wanted, given = model.observation_space.shape, (len(OBSERVATION_NAMES),)
        self._offers = getattr(model.action_space, "n", None)
        if wanted != given or self._offers is None:
            raise RunError(
                f"{name} expects observations of shape {wanted} and has {model.action_space}; "
                f"expected {given} and positions of offers. Train it: flexgym train competition."
            )

    def begin(self, turn: Turn) -> None:
        """Check that the offers are those it was trained with.

        Raises:
            RunError: There are more or fewer.
        """
        if self._offers != len(turn.game.offers):
            raise RunError(
                f"{self.name} chooses from {self._offers} offers; the game has "
                f"{len(turn.game.offers)}. Play it in the game it was trained for."
            )

    def act(self, turn: Turn) -> Floats:
        """See `CompetitionPolicy`."""
        return self.respond(turn.observe())

    def respond(self, seen: np.ndarray) -> Floats:
        """Actions of observations of ``bus_competition_v0``, shapes (n, 6) and (n, 1)."""
        position, _ = self.model.predict(forgetful(seen), deterministic=True)
        return scaled(position, int(self._offers or 1))[:, None]


def load_competitor(source: str) -> CompetitionPolicy:
    """A policy from where it lies; nothing in a file is executed.

    Args:
        source: A folder of ``flexgym train``, or one with ``best.zip`` of PPO; a ``.zip`` or
            ``.safetensors`` file; or ``module:callable``, called without arguments.

    Raises:
        RunError: There is none, or it is damaged.
    """
    return policy_from(source, LearnedCompetitor)
