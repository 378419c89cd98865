"""Policies of the market that were trained: they see their role's observation and nothing else."""

from __future__ import annotations

import numpy as np

from flexgym.envs.aggregator_market.observation import Observer
from flexgym.envs.aggregator_market.roles import Role, Seats
from flexgym.envs.aggregator_market.simulation import MarketSimulation
from flexgym.envs.errors import RunError
from flexgym.envs.household.params import Floats
from flexgym.policies.learned import Predictor, policy_from
from flexgym.policies.market import MarketPolicy


class LearnedMarket:
    """A trained SB3 policy of the DSO, or one that aggregators or buses share; no exploration.

    Args:
        model: The model.
        role: Who acts.
        name: For tables.
    """

    def __init__(self, model: Predictor, role: Role, name: str) -> None:
        self.model, self.name = model, name
        self.role: Role = role

    def begin(self, market: MarketSimulation) -> None:
        """Check that the observation is the one it was trained on.

        Raises:
            RunError: It has another length.
        """
        self._seats = Seats(market.scenario, (self.role,))
        self._observer = Observer(self._seats)
        wanted, given = self.model.observation_space.shape, (len(self._observer.names(self.role)),)
        if wanted != given:
            raise RunError(
                f"{self.name} expects observations of shape {wanted}; {self.role} of the scenario "
                f"{market.scenario.name} give {given}. Play it in the role and the scenario it "
                "was trained for."
            )

    def act(self, market: MarketSimulation) -> Floats:
        """See `MarketPolicy`."""
        seen = self._observer.observe(market, self.role)
        n, agents = seen.shape[:2]
        action, _ = self.model.predict(seen.reshape(n * agents, -1), deterministic=True)
        played = np.asarray(action, dtype=np.float64).reshape(n, agents, -1)
        if self.role == "dso":
            return self._seats.directive(market, played)
        if self.role == "buses":
            return self._seats.chosen(played)
        return self._seats.quote(market, played)


def load_market_policy(source: str, role: Role) -> MarketPolicy:
    """A policy from where it lies; nothing in a file is executed.

    Args:
        source: A folder of ``flexgym train``, or one with ``best.zip`` of PPO; a ``.zip`` or
            ``.safetensors`` file; or ``module:callable``, which is imported and called with the
            role.
        role: ``"dso"``, ``"aggregators"`` or ``"buses"``.

    Raises:
        RunError: There is none, or it is damaged.
    """
    return policy_from(source, lambda model, name: LearnedMarket(model, role, name), role)
