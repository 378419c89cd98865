"""The lean update is that of stable-baselines3."""

import pickle
from copy import deepcopy

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3 import PPO
from stable_baselines3.common.distributions import DiagGaussianDistribution

from flexgym.train.lean import Gaussian, lean_update


@given(n=st.integers(1, 5), d=st.integers(1, 6), rows=st.booleans(), seed=st.integers(0, 2**31))
def test_density_entropy_and_gradients_are_those_of_sb3(n, d, rows, seed):
    torch.manual_seed(seed)
    mean, actions = torch.randn(2, n, d, dtype=torch.float64)
    log_std = torch.randn((n, d) if rows else d, dtype=torch.float64)
    found = []
    for kind in (DiagGaussianDistribution, Gaussian):
        inputs = mean.clone().requires_grad_(), log_std.clone().requires_grad_()
        one = kind(d).proba_distribution(*inputs)
        log_prob, entropy = one.log_prob(actions), one.entropy()
        (log_prob * torch.arange(1.0, n + 1.0) + entropy).sum().backward()
        found.append((log_prob, entropy, *(tensor.grad for tensor in inputs)))
    for theirs, ours in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("env", ["Pendulum-v1", "CartPole-v1"])
def test_training_comes_to_the_same_weights(env):
    """Rollouts are those of SB3; where actions are no Gaussians, everything is."""
    found = []
    for lean in (False, True):
        model = PPO(
            "MlpPolicy", gym.make(env), n_steps=64, batch_size=32, seed=3, device="cpu"
        )  # fmt: skip
        if lean:
            lean_update(model.policy)
        assert ("evaluate_actions" in vars(model.policy)) == (lean and env == "Pendulum-v1")
        model.learn(128)
        found.append(model.policy.state_dict())
    for name, theirs in found[0].items():
        np.testing.assert_allclose(found[1][name], theirs, rtol=1e-3, atol=1e-5)


def test_copies_are_their_own():
    policy = PPO("MlpPolicy", gym.make("Pendulum-v1"), seed=3, device="cpu").policy
    lean_update(policy)
    copy = deepcopy(policy)
    with torch.no_grad():
        for weights in copy.parameters():
            weights.zero_()
        seen = torch.ones(1, 3), torch.ones(1, 1)
        values = [one.evaluate_actions(*seen)[0].item() for one in (policy, copy)]
    assert values[0] != 0.0
    assert values[1] == 0.0
    assert type(copy.action_dist) is DiagGaussianDistribution
    again = pickle.loads(pickle.dumps(policy))  # as another process gets it
    assert again.evaluate_actions(*seen)[0].item() == pytest.approx(values[0])
