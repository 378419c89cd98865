"""Networks of houses: each house its own, or an actor that the critic's view does not reach."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from flexgym.policies.learned_networks import CentralCriticPolicy, OwnNetworksPolicy

HOUSES, SEEN, ACTIONS = 5, 4, 2


def policy_of(kind, wide, **options):
    torch.manual_seed(0)
    return kind(
        Box(-50.0, 50.0, (wide,), np.float32),
        Box(-1.0, 1.0, (ACTIONS,), np.float32),
        lambda _: 1e-3,
        net_arch=[7, 6],
        **options,
    )


def rows_of(house, rng):
    own = rng.normal(size=(len(house), SEEN))
    return torch.tensor(np.column_stack([own, house]), dtype=torch.float32)


def by_hand(layers, house, x):
    """One row through one house's layers."""
    for k, (weight, bias) in enumerate(zip(layers.weights, layers.biases, strict=True)):
        x = (torch.tanh(x) if k else x) @ weight[house] + bias[house, 0]
    return x


@pytest.mark.parametrize("house", [[0, 1, 2, 3, 4] * 3, [4, 0, 0, 2, 2, 2, 1], [3]])
def test_every_house_has_networks_of_its_own(house):
    policy = policy_of(OwnNetworksPolicy, SEEN + 1, houses=HOUSES)
    with torch.no_grad():
        policy.log_std.copy_(torch.randn(HOUSES, ACTIONS))
    rows = rows_of(house, np.random.default_rng(1))
    values, log_prob, _ = policy.evaluate_actions(rows, torch.zeros(len(house), ACTIONS))
    networks = policy.mlp_extractor
    for i, h in enumerate(house):
        mean = by_hand(networks.policy_net, h, rows[i, :-1])
        value = by_hand(networks.value_net, h, rows[i, :-1])
        torch.testing.assert_close(values[i], value)
        likely = torch.distributions.Normal(mean, policy.log_std[h].exp())
        torch.testing.assert_close(log_prob[i], likely.log_prob(torch.zeros(ACTIONS)).sum())


def test_a_house_learns_from_its_own_rows_alone():
    policy = policy_of(OwnNetworksPolicy, SEEN + 1, houses=HOUSES)
    rows = rows_of([1, 1, 3], np.random.default_rng(2))
    values, log_prob, _ = policy.evaluate_actions(rows, torch.ones(3, ACTIONS))
    (values.sum() + log_prob.sum()).backward()
    for parameter in policy.parameters():
        touched = parameter.grad.abs().flatten(1).sum(dim=1) > 0.0
        assert not touched[[0, 2, 4]].any()
        assert touched[[1, 3]].all()


def test_the_actor_does_not_see_what_the_critic_sees():
    policy = policy_of(CentralCriticPolicy, SEEN + 9, own=SEEN)
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(20, SEEN + 9)).astype(np.float32)
    other = rows.copy()
    other[:, SEEN:] = rng.normal(size=(20, 9))
    one, two = (policy.predict(x, deterministic=True)[0] for x in (rows, other))
    np.testing.assert_array_equal(one, two)
    values = [policy.predict_values(torch.tensor(x)).detach().numpy() for x in (rows, other)]
    assert np.abs(values[0] - values[1]).min() > 0.0
    other[:, 0] += 1.0
    assert np.abs(policy.predict(other, deterministic=True)[0] - one).max() > 0.0
