"""The network behind learned menus: plain NumPy to play, safetensors to keep.

Two networks of fully connected layers read the same inputs. One gives the battery's slopes where
the car's energy is not free (it is away, or just leaves); the other, where the car stays, gives
the battery's slopes beside each energy of the car and the prices of the car's energy. Both add to
the plan on the forecast and sort the sum, so whatever the weights are, slopes ascend: every output
is convex.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flexgym.envs.errors import RunError
from flexgym.envs.household.params import Floats
from flexgym.policies.menu_inputs import (
    CELLS,
    INPUTS,
    MERIT_AT,
    PLAN_AT,
    STEPS,
    Singles,
    input_names,
)

FORMAT = "flexgym learned menu 1"
"""Written into every file; another format is refused."""
OUTPUTS = {"battery": CELLS, "both": (STEPS + 1) * CELLS + STEPS}
"""Outputs of the two networks."""
TERMINAL_AT = 11
"""Where the pay for stored energy at the end stands among the inputs."""
_LARGEST = 8.0
_DEAD = 80.0


@dataclass(frozen=True)
class MenuNetwork:
    """Weights of both networks.

    Attributes:
        layers: For ``"battery"`` and ``"both"`` the layers: weights (inputs, outputs) and
            biases (outputs,).
        shift: Subtracted from the inputs, shape (INPUTS,).
        scale: Multiplied with the difference, likewise.
    """

    layers: dict[str, list[tuple[Singles, Singles]]]
    shift: Singles
    scale: Singles

    def raw(self, name: str, inputs: Singles) -> Singles:
        """Outputs of one network, shape (n, OUTPUTS[name])."""
        x = ((inputs - self.shift) * self.scale).clip(-_LARGEST, _LARGEST)
        *hidden, last = self.layers[name]
        for weight, bias in hidden:
            x = x @ weight + bias
            # Far below zero nothing is left of it; exp would not be finite.
            x /= 1.0 + np.exp(-np.maximum(x, -_DEAD))
        return x @ last[0] + last[1]

    def battery(self, inputs: Singles) -> Floats:
        """Slopes of the cost-to-go in the battery's energy, shape (n, CELLS), EUR/kWh."""
        return slopes_of(inputs, self.raw("battery", inputs))

    def both(self, inputs: Singles) -> tuple[Floats, Floats]:
        """The same beside each energy of the car, and prices of the car's energy.

        Returns:
            Slopes, shape (n, STEPS + 1, CELLS), and prices half-way up the battery, falling,
            shape (n, STEPS), EUR/kWh.
        """
        raw = self.raw("both", inputs)
        split = (STEPS + 1) * CELLS
        slopes = slopes_of(inputs[:, None], raw[:, :split].reshape(-1, STEPS + 1, CELLS))
        return slopes, prices_of(inputs, raw[:, split:])

    def save(self, path: Path) -> None:
        """Write weights and format as one safetensors file."""
        from safetensors.numpy import save_file

        tensors = {"shift": self.shift, "scale": self.scale}
        for name, layers in self.layers.items():
            for k, (weight, bias) in enumerate(layers):
                tensors[f"{name}.{k}.weight"], tensors[f"{name}.{k}.bias"] = weight, bias
        tensors = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
        save_file(tensors, path, {"format": FORMAT, "inputs": json.dumps(input_names())})

    @classmethod
    def load(cls, path: Path) -> MenuNetwork:
        """Read a file that `save` wrote. Nothing in it is executed.

        Raises:
            RunError: The file is missing, damaged, or holds something else.
        """
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            raise RunError(f"got no learned menu {path}; expected one by flexgym train menus.")
        try:
            with safe_open(path, "numpy") as file:
                about = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"cannot read {path} ({type(error).__name__}); expected a safetensors file by "
                "flexgym train menus. Copy it anew, or train anew."
            ) from error
        if about.get("format") != FORMAT or about.get("inputs") != json.dumps(input_names()):
            raise RunError(
                f"{path} holds {about.get('format', 'another kind of weights')!r}; expected "
                f"{FORMAT!r} with the inputs of this version. Train anew."
            )
        try:
            return cls._from(tensors)
        except (KeyError, ValueError) as error:
            raise RunError(
                f"{path} lacks weights or holds wrong ones ({error}); expected those of a learned "
                "menu. Copy it anew, or train anew."
            ) from error

    @classmethod
    def _from(cls, tensors: dict[str, Singles]) -> MenuNetwork:
        def taken(name: str, *shape: int) -> Singles:
            array = tensors[name]
            if array.dtype != np.float32 or not np.isfinite(array).all():
                raise ValueError(f"{name} is not finite or not in single precision")
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
            return array

        layers: dict[str, list[tuple[Singles, Singles]]] = {}
        for name, outputs in OUTPUTS.items():
            count = sum(key.startswith(f"{name}.") and key.endswith("bias") for key in tensors)
            width, found = INPUTS, []
            for k in range(count):
                size = tensors[f"{name}.{k}.bias"].size if k < count - 1 else outputs
                weight = taken(f"{name}.{k}.weight", width, size)
                found.append((weight, taken(f"{name}.{k}.bias", size)))
                width = size
            if not found:
                raise KeyError(f"{name}.0.weight")
            layers[name] = found
        return cls(layers, taken("shift", INPUTS), taken("scale", INPUTS))


def slopes_of(inputs: Singles, raw: Singles) -> Floats:
    """Slopes from raw outputs, EUR/kWh ascending: the plan's plus what is learned, sorted.

    Args:
        inputs: Shape (..., INPUTS).
        raw: Shape (..., CELLS).
    """
    plan = inputs[..., PLAN_AT : PLAN_AT + CELLS]
    worth = inputs[..., TERMINAL_AT, None]
    return 0.1 * (np.sort(plan + raw, axis=-1) - worth).astype(np.float64)


def prices_of(inputs: Singles, raw: Singles) -> Floats:
    """Prices of the car's energy from raw outputs, EUR/kWh, falling.

    Args:
        inputs: Shape (..., INPUTS).
        raw: Shape (..., STEPS).
    """
    merit = inputs[..., MERIT_AT : MERIT_AT + STEPS]
    worth = inputs[..., TERMINAL_AT, None]
    return 0.1 * (-np.sort(-merit - raw, axis=-1) + worth).astype(np.float64)
