"""Policies that were trained: they see the observation and nothing else."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from flexgym.envs.errors import FlexgymError, RunError
from flexgym.envs.household.params import Floats

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from flexgym.envs.household.simulation import HouseholdSimulation

ALGORITHMS = ("ppo", "sac")
"""Algorithms of stable-baselines3 that can be trained and played."""
SETTINGS = ("observation", "action_map", "curtailment")
"""Options of the environment that a policy is tied to."""


def load_model(path: Path, algorithm: str, **options: object) -> BaseAlgorithm:
    """Load an SB3 checkpoint.

    Args:
        path: A ``.zip`` file.
        algorithm: ``"ppo"`` or ``"sac"``.
        **options: For SB3's ``load``.

    Raises:
        RunError: The file is missing or damaged.
    """
    import stable_baselines3

    if not path.is_file():
        raise RunError(f"got no checkpoint {path}; expected one written by flexgym train.")
    try:
        return getattr(stable_baselines3, algorithm.upper()).load(path, device="cpu", **options)
    except FlexgymError:
        raise
    except (
        AssertionError,
        zipfile.BadZipFile,
        EOFError,
        KeyError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        raise RunError(
            f"cannot read the checkpoint {path} ({type(error).__name__}); expected a complete "
            f"{algorithm.upper()} model. Copy best.zip over last.zip, or train anew."
        ) from error


def _zero(_: float) -> float:
    """A learning rate for policies that no longer learn."""
    return 0.0


def read_config(folder: Path, algorithms: Collection[str] = ALGORITHMS) -> dict:
    """Configuration of a run by one of these algorithms.

    Raises:
        RunError: The folder is missing or holds no run.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise RunError(f"got no run in {folder}; expected a folder written by flexgym train.")
    try:
        config = yaml.safe_load(path.read_text())
        if config["algorithm"] not in algorithms or not isinstance(config["seed"], int):
            raise ValueError
        if not isinstance(config["hyperparameters"], dict):
            raise TypeError
        config["environment"], config["minutes"], config["prices"]  # pyright: ignore
    except (yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        raise RunError(f"cannot read {path}; expected the file flexgym train wrote.") from error
    return config


class Learned:
    """A trained SB3 policy, played without exploration.

    Args:
        model: The model.
        algorithm: ``"ppo"`` or ``"sac"``.
        settings: Options of the environment it was trained with.
        name: Name for tables; None takes the algorithm's.

    Attributes:
        prices: Price file it was trained on; None is the synthetic tariff.
    """

    prices: str | None = None

    def __init__(
        self,
        model: BaseAlgorithm,
        algorithm: str,
        settings: Mapping[str, str],
        name: str | None = None,
    ) -> None:
        self.model, self.algorithm, self.name = model, algorithm, name or algorithm
        self.settings: Mapping[str, str] = {
            key: settings[key] for key in SETTINGS if key in settings
        }

    @classmethod
    def from_run(cls, folder: str | Path, checkpoint: str = "best", threads: int = 1) -> Learned:
        """The policy of a run folder, computed with this many threads.

        Raises:
            RunError: The run or its checkpoint is missing or damaged.
        """
        import torch

        torch.set_num_threads(threads)
        folder = Path(folder)
        config = read_config(folder)
        algorithm = config["algorithm"]
        # What only training needs is left out, above all the replay buffer on disk.
        unused = {
            "learning_rate": 0.0,
            "lr_schedule": _zero,
            "clip_range": _zero,
            "replay_buffer_class": None,
            "replay_buffer_kwargs": {},
            "buffer_size": 1,
        }
        model = load_model(folder / f"{checkpoint}.zip", algorithm, custom_objects=unused)
        options = config["hyperparameters"].get("env_kwargs") or {}
        policy = cls(model, algorithm, options, f"{algorithm} ({folder.name})")
        policy.prices = config["prices"]
        return policy

    def begin(self, simulation: HouseholdSimulation) -> None:
        """Check that the observation is the one it was trained on.

        Raises:
            RunError: It has another length.
        """
        shape = self.model.observation_space.shape
        if shape != (len(simulation.observation_names),):
            raise RunError(
                f"the policy expects observations of shape {shape}; the environment gives "
                f"({len(simulation.observation_names)},). Use the options it was trained with."
            )

    def act(self, simulation: HouseholdSimulation) -> Floats:
        """See `HouseholdPolicy`."""
        action, _ = self.model.predict(simulation.observe(), deterministic=True)  # type: ignore[arg-type]
        return np.asarray(action, dtype=np.float64)
