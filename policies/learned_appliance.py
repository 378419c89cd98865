"""Policies of an appliance that were trained: they see its observation and nothing else."""

from __future__ import annotations

import numpy as np

from flexgym.envs.appliance.simulation import ApplianceSimulation
from flexgym.envs.errors import RunError
from flexgym.envs.household.params import Floats
from flexgym.policies.appliance import AppliancePolicy
from flexgym.policies.learned import Predictor, policy_from


class LearnedAppliance:
    """A trained SB3 policy, played without exploration.

    Args:
        model: The model.
        name: For tables.
    """

    def __init__(self, model: Predictor, name: str) -> None:
        self.model, self.name = model, name

    def begin(self, simulation: ApplianceSimulation) -> None:
        """Check that the observation is the one it was trained on.

        Raises:
            RunError: It has another length.
        """
        wanted, given = self.model.observation_space.shape, (len(simulation.observation_names),)
        if wanted != given:
            raise RunError(
                f"{self.name} expects observations of shape {wanted}; the environment gives "
                f"{given}. Use the options it was trained with."
            )

    def act(self, simulation: ApplianceSimulation) -> Floats:
        """See `AppliancePolicy`."""
        chosen, _ = self.model.predict(simulation.observe(), deterministic=True)  # type: ignore[arg-type]
        return np.asarray(chosen, dtype=np.float64)


def load_appliance_policy(source: str) -> AppliancePolicy:
    """A policy from where it lies.

    Args:
        source: A folder with ``best.zip`` (and ``config.yaml``, where it is no PPO), a ``.zip``
            file of PPO, or ``module:callable``, called without arguments.

    Raises:
        RunError: There is none, or it is damaged.
    """
    return policy_from(source, LearnedAppliance)
