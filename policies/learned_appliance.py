"""Policies of an appliance that were trained: they see its observation and nothing else."""

from __future__ import annotations

from flexgym.policies.appliance import AppliancePolicy
from flexgym.policies.learned import LearnedRows, policy_from


class LearnedAppliance(LearnedRows):
    """A trained SB3 policy of an appliance; see `LearnedRows`."""


def load_appliance_policy(source: str) -> AppliancePolicy:
    """A policy from where it lies.

    Args:
        source: A folder with ``best.zip`` (and ``config.yaml``, where it is no PPO), a ``.zip``
            file of PPO, or ``module:callable``, called without arguments.

    Raises:
        RunError: There is none, or it is damaged.
    """
    return policy_from(source, LearnedAppliance)
