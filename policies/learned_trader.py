"""Policies of the trader that were trained: they see its observation and nothing else."""

from __future__ import annotations

from flexgym.policies.learned import LearnedRows, policy_from
from flexgym.policies.trader import TraderPolicy


class LearnedTrader(LearnedRows):
    """A trained SB3 policy of a trader; see `LearnedRows`."""


def load_trader_policy(source: str) -> TraderPolicy:
    """A policy from where it lies.

    Args:
        source: A folder with ``best.zip`` (and ``config.yaml``, where it is no PPO), a ``.zip``
            file of PPO, or ``module:callable``, called without arguments.

    Raises:
        RunError: There is none, or it is damaged.
    """
    return policy_from(source, LearnedTrader)
