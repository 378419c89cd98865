"""Policies that were trained: they see the observation and nothing else."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def read_config(folder: Path) -> dict:
    """Configuration of a run.

    Raises:
        RunError: The folder is missing or holds no run.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise RunError(f"got no run in {folder}; expected a folder written by flexgym train.")
    try:
        config = yaml.safe_load(path.read_text())
        if config["algorithm"] not in ALGORITHMS or not isinstance(config["seed"], int):
            raise ValueError
        if not isinstance(config["hyperparameters"], dict):
            raise TypeError
        config["environment"], config["minutes"], config["prices"]  # pyright: ignore
    except (yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        raise RunError(f"cannot read {path}; expected the file flexgym train wrote.") from error
    return config


def policy_from(
    source: str,
    wrap: Callable[[BaseAlgorithm, str], Any],
    *arguments: object,
    acts: str = "act",
) -> Any:
    """A trained policy from where it lies.

    Args:
        source: A folder with ``best.zip`` (and ``config.yaml``, where it is no PPO), a ``.zip``
            file of PPO, or ``module:callable``.
        wrap: Makes a policy of a model and its name for tables.
        *arguments: What the callable is called with.
        acts: Method that what it gives must have, beside ``begin`` and a ``name``.

    Raises:
        RunError: There is none, it is damaged, or what the callable gives is no policy.
    """
    path = Path(source)
    module, _, name = source.partition(":")
    if name and not path.exists():
        return _made(source, module, name, arguments, acts)
    if path.is_dir():
        known = (path / "config.yaml").is_file()
        algorithm = read_config(path)["algorithm"] if known else "ppo"
        return wrap(load_model(path / "best.zip", algorithm), f"learned {path.name}")
    return wrap(load_model(path, "ppo"), f"learned {path.stem}")


def _made(source: str, module: str, name: str, arguments: tuple[object, ...], acts: str) -> Any:
    """What a callable of a module gives, if it is a policy."""
    try:
        made = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RunError(
            f"got the policy {source} ({error}); expected a folder, a .zip file or module:callable."
        ) from error
    try:
        policy = made(*arguments)
    except FlexgymError:
        raise
    except Exception as error:
        # Whatever somebody else's code raises, it is no policy.
        raise RunError(
            f"the policy {source} cannot be made ({error!r}); expected a callable that takes "
            f"{len(arguments)} arguments and returns a policy."
        ) from error
    missing = [method for method in ("begin", acts) if not callable(getattr(policy, method, None))]
    if missing or not isinstance(getattr(policy, "name", None), str) or isinstance(policy, type):
        raise RunError(
            f"the policy {source} gives {policy!r}; expected an object with a name and the methods "
            f"begin and {acts}."
        )
    return policy


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
