"""Fitting the network of learned menus to lessons, in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from flexgym.envs.errors import RunError
from flexgym.policies.menu_inputs import CELLS, INPUTS, MERIT_AT, PLAN_AT, STEPS, Singles
from flexgym.policies.menu_network import OUTPUTS, TERMINAL_AT, MenuNetwork
from flexgym.train.menu_lessons import Memory

_UNIT = 10.0
"""Errors are measured in 0.1 EUR/kWh."""
_LARGEST = 20.0
"""Slopes beyond are cut: connection limits seldom matter, and then anything that is dear does."""
_NARROW_KWH = 0.3
"""Cells of the car below this count less: a price over a short way hardly matters."""


class _Layers(nn.Sequential):
    """A network that begins by adding nothing to the plan."""

    def __init__(self, outputs: int, hidden: tuple[int, ...]) -> None:
        layers: list[nn.Module] = []
        width = INPUTS
        for size in hidden:
            layers += [nn.Linear(width, size), nn.SiLU()]
            width = size
        last = nn.Linear(width, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        super().__init__(*layers, last)

    def linear(self) -> list[nn.Linear]:
        return [layer for layer in self if isinstance(layer, nn.Linear)]


class Learner:
    """Both networks, their weight averages and the optimiser.

    Args:
        hidden: Sizes of the hidden layers.
        seed: Of the weights.
        average: Weight of the newest weights in the average.
        device: Where to learn.
    """

    def __init__(
        self, hidden: tuple[int, ...], seed: int, average: float, device: str = "cpu"
    ) -> None:
        torch.manual_seed(seed)
        nets = nn.ModuleDict({name: _Layers(n, hidden) for name, n in OUTPUTS.items()})
        self.nets, self._device = nets.to(device), device
        self._average = average
        self.updates = 0
        self.shift = torch.zeros(INPUTS, device=device)
        self.scale = torch.ones(INPUTS, device=device)
        self._mean = {key: value.clone() for key, value in self.nets.state_dict().items()}
        self._adam = torch.optim.Adam(self.nets.parameters(), lr=1e-3)

    def standardise(self, memory: Memory) -> None:
        """Take shift and scale of the inputs from first lessons."""
        inputs = memory.inputs()
        self.shift = self._tensor(inputs.mean(axis=0))
        # What never varies here may elsewhere: it stays as scaled by hand.
        self.scale = self._tensor(1.0 / np.maximum(inputs.std(axis=0), 0.25))

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def update(
        self, memory: Memory, batch: int, rate: float, rng: np.random.Generator
    ) -> tuple[float, float]:
        """One step of Adam on both networks; mean squared errors, (0.1 EUR/kWh)^2."""
        for group in self._adam.param_groups:
            group["lr"] = rate
        losses = torch.zeros(2, device=self._device)
        if memory.counts[0]:
            losses[0] = self._battery_loss(*map(self._tensor, memory.sample(0, batch, rng)))
        if memory.counts[1]:
            losses[1] = self._both_loss(*map(self._tensor, memory.sample(1, batch, rng)))
        self._adam.zero_grad(set_to_none=True)
        losses.sum().backward()
        nn.utils.clip_grad_norm_(self.nets.parameters(), 10.0)
        self._adam.step()
        self.updates += 1
        share = max(self._average, 1.0 / (self.updates + 1.0))
        for key, value in self.nets.state_dict().items():
            self._mean[key].lerp_(value, share)
        first, second = losses.tolist()
        return first, second

    def _raw(self, name: str, inputs: Tensor) -> Tensor:
        return self.nets[name](((inputs - self.shift) * self.scale).clamp(-8.0, 8.0))

    def _battery_loss(self, inputs: Tensor, slopes: Tensor) -> Tensor:
        got = sorted_slopes(inputs, self._raw("battery", inputs))
        return (got - (_UNIT * slopes).clamp(-_LARGEST, _LARGEST)).square().mean()

    def _both_loss(self, inputs: Tensor, tables: Tensor, sizes: Tensor) -> Tensor:
        raw = self._raw("both", inputs)
        split = (STEPS + 1) * CELLS
        slopes = sorted_slopes(inputs[:, None], raw[:, :split].view(-1, STEPS + 1, CELLS))
        prices = sorted_prices(inputs, raw[:, split:])
        width, step = sizes[:, :1, None], sizes[:, 1:, None]
        wanted = (_UNIT * tables.diff(dim=2) / width).clamp(-_LARGEST, _LARGEST)
        loss = (slopes - wanted).square().mean()
        # Prices of the car's energy at every energy of the battery, from the curves beside it.
        curve = nn.functional.pad((slopes * width).cumsum(dim=2), (1, 0))
        curve = curve - curve[:, :, CELLS // 2, None]
        got = prices[:, :, None] - curve.diff(dim=1) / step
        price = (-_UNIT * tables.diff(dim=1) / step).clamp(-_LARGEST, _LARGEST)
        weight = (step / _NARROW_KWH).clamp(max=1.0).square()
        return loss + (weight * (got - price).square()).mean()

    def network(self, averaged: bool = True) -> MenuNetwork:
        """The network as it stands, for NumPy."""
        kept = self._mean if averaged else self.nets.state_dict()
        state = {key: value.cpu() for key, value in kept.items()}
        layers: dict[str, list[tuple[Singles, Singles]]] = {}
        for name in OUTPUTS:
            keys = [key[: -len(".weight")] for key in state if key.startswith(f"{name}.")]
            keys = list(dict.fromkeys(key for key in keys if f"{key}.weight" in state))
            layers[name] = [
                (state[f"{k}.weight"].T.numpy().copy(), state[f"{k}.bias"].numpy().copy())
                for k in keys
            ]
        return MenuNetwork(layers, self.shift.cpu().numpy().copy(), self.scale.cpu().numpy().copy())

    def save(self, path: Path) -> None:
        """Write all that going on needs as one safetensors file."""
        from safetensors.torch import save_file

        tensors = {f"net.{k}": v for k, v in self.nets.state_dict().items()}
        tensors |= {f"mean.{k}": v for k, v in self._mean.items()}
        tensors |= {"shift": self.shift, "scale": self.scale}
        for k, kept in self._adam.state_dict()["state"].items():
            tensors |= {f"adam.{k}.{name}": value for name, value in kept.items()}
        tensors = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
        save_file(tensors, path, {"updates": str(self.updates)})

    def restore(self, path: Path) -> None:
        """Go on from a file that `save` wrote.

        Raises:
            RunError: It is missing, damaged, or of another network.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                names = file.keys()
                tensors = {key: file.get_tensor(key).to(self._device) for key in names}
                self.updates = int(file.metadata()["updates"])
            # Tensors of other shapes are refused by torch.
            part = {
                kind: {k.partition(".")[2]: v for k, v in tensors.items() if k.startswith(kind)}
                for kind in ("net.", "mean.", "adam.")
            }
            self.nets.load_state_dict(part["net."])
            if {k: v.shape for k, v in part["mean."].items()} != {
                k: v.shape for k, v in self._mean.items()
            }:
                raise ValueError("weight averages of other shapes")
            self._mean = part["mean."]
            self.shift, self.scale = tensors["shift"], tensors["scale"]
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in part["adam."].items():
                index, _, name = key.partition(".")
                state.setdefault(int(index), {})[name] = value
            groups = self._adam.state_dict()["param_groups"]
            self._adam.load_state_dict({"state": state, "param_groups": groups})
        except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"cannot read the checkpoint {path} ({type(error).__name__}); expected one of the "
                "same network by flexgym train menus. Train anew."
            ) from error


def sorted_slopes(inputs: Tensor, raw: Tensor) -> Tensor:
    """`flexgym.policies.menu_network.slopes_of` in torch, in 0.1 EUR/kWh."""
    plan = inputs[..., PLAN_AT : PLAN_AT + CELLS]
    return (plan + raw).sort(dim=-1).values - inputs[..., TERMINAL_AT, None]


def sorted_prices(inputs: Tensor, raw: Tensor) -> Tensor:
    """`flexgym.policies.menu_network.prices_of` in torch, in 0.1 EUR/kWh."""
    merit = inputs[..., MERIT_AT : MERIT_AT + STEPS]
    falling = (merit + raw).sort(dim=-1, descending=True).values
    return falling + inputs[..., TERMINAL_AT, None]
