"""Networks of houses on a feeder: one for each house, or an actor with a critic that sees more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

_HIDDEN_GAIN, _ACTION_GAIN, _VALUE_GAIN = float(np.sqrt(2.0)), 0.01, 1.0
"""Gains of orthogonal weights, those of stable-baselines3."""


class HouseLayers(nn.Module):
    """Perceptrons of the same shape, one a house, as one batch of matrices.

    Args:
        houses: How many.
        sizes: Entries of the input, of each hidden layer, and of the output.
        gain: Of the last layer's weights.
        activation: Class of the activation between layers.
    """

    def __init__(
        self, houses: int, sizes: Sequence[int], gain: float, activation: type[nn.Module]
    ) -> None:
        super().__init__()
        self.activation = activation()
        gains = [*[_HIDDEN_GAIN] * (len(sizes) - 2), gain]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for wide, narrow, scale in zip(sizes, sizes[1:], gains, strict=False):
            weight = torch.empty(houses, wide, narrow)
            for of_house in weight:
                nn.init.orthogonal_(of_house, scale)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(houses, 1, narrow)))

    def forward(self, seats: Tensor) -> Tensor:
        """Outputs (houses, rows, out) of inputs (houses, rows, in)."""
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            seats = torch.baddbmm(bias, self.activation(seats) if k else seats, weight)
        return seats


class _OwnNetworks(nn.Module):
    """Actors and critics of the houses; the last entry of a row says whose it is."""

    def __init__(
        self, houses: int, seen: int, actions: int, net_arch: dict, activation: type[nn.Module]
    ) -> None:
        super().__init__()
        self.houses = houses
        self.latent_dim_pi, self.latent_dim_vf = actions + 1, 1
        self.policy_net = HouseLayers(
            houses, [seen, *net_arch["pi"], actions], _ACTION_GAIN, activation
        )
        self.value_net = HouseLayers(houses, [seen, *net_arch["vf"], 1], _VALUE_GAIN, activation)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        """Mean actions of each row, and whose it is."""
        return torch.cat([self._of_rows(self.policy_net, features), features[:, -1:]], dim=1)

    def forward_critic(self, features: Tensor) -> Tensor:
        """Value of each row."""
        return self._of_rows(self.value_net, features)

    def _of_rows(self, layers: HouseLayers, features: Tensor) -> Tensor:
        """Each row through its own house's network: rows of a house are put side by side."""
        house = whose(features[:, -1], self.houses)
        order = torch.argsort(house, stable=True)
        of = house[order]
        count = torch.bincount(of, minlength=self.houses)
        place = torch.arange(len(of), device=of.device) - (torch.cumsum(count, 0) - count)[of]
        seats = features.new_zeros(self.houses, int(count.max()), features.shape[1] - 1)
        seats[of, place] = features[order, :-1]
        found = layers(seats)[of, place]
        back = torch.empty_like(order)
        back[order] = torch.arange(len(of), device=of.device)
        return found[back]


def whose(number: Tensor, houses: int) -> Tensor:
    """Numbers of houses as integers; what a buffer's neutral rows hold is kept in range."""
    return number.round().long().clamp(0, houses - 1)


class OwnNetworksPolicy(ActorCriticPolicy):
    """Independent PPO: every house has an actor, a critic and a spread of its own.

    The last entry of an observation is the number of the house; no network sees it.

    Args:
        *args: As for `ActorCriticPolicy`.
        houses: Number of houses.
        **kwargs: As for `ActorCriticPolicy`.
    """

    def __init__(self, *args: Any, houses: int, **kwargs: Any) -> None:
        self.houses = houses
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        arch = self.net_arch
        both = arch if isinstance(arch, dict) else {"pi": arch, "vf": arch}
        actions = int(np.prod(self.action_space.shape or ()))
        networks = _OwnNetworks(
            self.houses, self.features_dim - 1, actions, both, self.activation_fn
        )
        self.mlp_extractor = networks  # type: ignore[assignment]
        self.action_net, self.value_net = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        self.log_std = nn.Parameter(torch.full((self.houses, actions), float(self.log_std_init)))
        make: Any = self.optimizer_class
        self.optimizer = make(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        mean, house = latent_pi[:, :-1], whose(latent_pi[:, -1], self.houses)
        return self.action_dist.proba_distribution(mean, self.log_std[house])  # type: ignore[call-arg]


class _CentralCritic(nn.Module):
    def __init__(self, own: int, seen: int, net_arch: dict, activation: type[nn.Module]) -> None:
        super().__init__()
        self.own = own
        self.latent_dim_pi = [own, *net_arch["pi"]][-1]
        self.latent_dim_vf = [seen, *net_arch["vf"]][-1]
        self.policy_net = nn.Sequential(*create_mlp(own, -1, net_arch["pi"], activation))
        self.value_net = nn.Sequential(*create_mlp(seen, -1, net_arch["vf"], activation))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        return self.policy_net(features[:, : self.own])

    def forward_critic(self, features: Tensor) -> Tensor:
        return self.value_net(features)


class CentralCriticPolicy(ActorCriticPolicy):
    """PPO for houses whose critic sees the feeder; the actor acts on what its house sees.

    Args:
        *args: As for `ActorCriticPolicy`.
        own: Entries of an observation that the actor sees, the first ones.
        **kwargs: As for `ActorCriticPolicy`.

    Source:
        Yu et al., The Surprising Effectiveness of PPO in Cooperative Multi-Agent Games, 2022.
    """

    def __init__(self, *args: Any, own: int, **kwargs: Any) -> None:
        self.own = own
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        arch = self.net_arch
        both = arch if isinstance(arch, dict) else {"pi": arch, "vf": arch}
        critic = _CentralCritic(self.own, self.features_dim, both, self.activation_fn)
        self.mlp_extractor = critic  # type: ignore[assignment]
