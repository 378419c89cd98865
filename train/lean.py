"""PPO's update without detours: densities of Gaussian actions in closed form."""

from __future__ import annotations

import math
from types import MethodType
from typing import Any

import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution

_LOG_2PI = math.log(2.0 * math.pi)


class Gaussian(DiagGaussianDistribution):
    """Density and entropy of independent Gaussian actions, without `torch.distributions`.

    With it a dozen arrays as large as a minibatch's actions are made, and reading and writing
    those takes longer than some of the networks. Means have shape (n, d), deviations
    (d,) or (n, d).
    """

    def proba_distribution(self, mean_actions: torch.Tensor, log_std: torch.Tensor) -> Gaussian:
        """Take means and logarithms of deviations."""
        self._mean, self._log_std = mean_actions, log_std
        return self

    def log_prob(self, actions: torch.Tensor) -> torch.Tensor:
        """Logarithm of the density at actions, shape (n,)."""
        z = (actions - self._mean) * torch.exp(-self._log_std)
        constant = self._log_std.sum(-1) + 0.5 * _LOG_2PI * actions.shape[-1]
        return -0.5 * (z * z).sum(-1) - constant

    def entropy(self) -> torch.Tensor:
        """Entropies, shape (n,)."""
        each = (self._log_std + 0.5 * (1.0 + _LOG_2PI)).sum(-1)
        return each.expand(self._mean.shape[:-1])


def lean_update(policy: Any) -> None:
    """Let an SB3 policy with Gaussian actions be updated by `Gaussian`; others stay as they are.

    Rollouts stay SB3's: the same random numbers, and its check that means are numbers.
    """
    if type(getattr(policy, "action_dist", None)) is DiagGaussianDistribution:
        policy.evaluate_actions = MethodType(evaluate_actions, policy)


def evaluate_actions(policy: Any, *args: Any, **kwargs: Any) -> Any:
    """Values, log-densities and entropies as SB3's method gives them, by `Gaussian`.

    It has that method's name, so that a policy that is pickled comes back as SB3's.
    """
    given = policy.action_dist
    policy.action_dist = Gaussian(given.action_dim)
    try:
        return type(policy).evaluate_actions(policy, *args, **kwargs)
    finally:
        policy.action_dist = given
