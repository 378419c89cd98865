"""Policies of the trader that were trained: they see its observation and nothing else."""

from __future__ import annotations

import numpy as np

from flexgym.envs.errors import RunError
from flexgym.envs.household.params import Floats
from flexgym.envs.trader.observation import OBSERVATION_NAMES
from flexgym.envs.trader.simulation import TraderSimulation
from flexgym.policies.learned import Predictor, policy_from
from flexgym.policies.trader import TraderPolicy


class LearnedTrader:
    """A trained SB3 policy, without exploration.

    Args:
        model: The model.
        name: For tables.

    Raises:
        RunError: It was trained on other observations.
    """

    def __init__(self, model: Predictor, name: str) -> None:
        self.model, self.name = model, name
        wanted, given = model.observation_space.shape, (len(OBSERVATION_NAMES),)
        if wanted != given:
            raise RunError(
                f"{name} expects observations of shape {wanted}; Trader-v0 gives {given}. Train "
                "it on flexgym/Trader-v0."
            )

    def begin(self, simulation: TraderSimulation) -> None:
        """Nothing to prepare."""

    def act(self, simulation: TraderSimulation) -> Floats:
        """See `TraderPolicy`."""
        action, _ = self.model.predict(simulation.observe(), deterministic=True)
        return np.asarray(action, dtype=np.float64)


def load_trader_policy(source: str) -> TraderPolicy:
    """A policy from where it lies.

    Args:
        source: A folder with ``best.zip`` (and ``config.yaml``, where it is no PPO), a ``.zip``
            file of PPO, or ``module:callable``, called without arguments.

    Raises:
        RunError: There is none, or it is damaged.
    """
    return policy_from(source, LearnedTrader)
