"""Policies that were trained: they see the observation and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from flexgym.envs.errors import FlexgymError, RunError
from flexgym.envs.household.params import Floats
from flexgym.policies.learned_weights import ALGORITHMS, load_policy
from flexgym.policies.runs import read_run

SETTINGS = ("observation", "action_map", "curtailment")
"""Options of the environment that a policy is tied to."""


def read_config(folder: Path, algorithms: Collection[str] = ALGORITHMS) -> dict:
    """Configuration of a run by one of these algorithms.

    Raises:
        RunError: The folder is missing or holds no run.
    """
    config = read_run(folder)
    if config["algorithm"] not in algorithms or "minutes" not in config:
        raise RunError(
            f"{folder / 'config.yaml'} is of a run by {config['algorithm']}; expected one by "
            f"{', '.join(algorithms)} that flexgym train wrote."
        )
    return config


def policy_from(
    source: str,
    wrap: Callable[[Predictor, str], Any],
    *arguments: object,
    acts: str = "act",
) -> Any:
    """A trained policy from where it lies; nothing in a file is executed.

    Args:
        source: A folder of ``flexgym train``, or one with ``best.zip`` of PPO; a ``.zip`` or
            ``.safetensors`` file; or ``module:callable``, which is imported and called.
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
    if not path.is_dir():
        return wrap(load_policy(path), f"learned {path.stem}")
    known = (path / "config.yaml").is_file()
    model = policy_of_run(path) if known else load_policy(path / "best.zip")
    return wrap(model, f"learned {path.name}")


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


def policy_of_run(folder: str | Path, checkpoint: str = "best") -> Predictor:
    """The policy of a run folder; nothing in it is executed.

    Args:
        folder: The run.
        checkpoint: ``"best"`` or ``"last"``.

    Raises:
        RunError: The run or its checkpoint is missing or damaged.
    """
    folder = Path(folder)
    algorithm = read_config(folder)["algorithm"]
    light = folder / "policy.safetensors"
    best = checkpoint == "best" and light.is_file()
    return load_policy(light if best else folder / f"{checkpoint}.zip", algorithm)


class Predictor(Protocol):
    """What maps observations to actions: a policy or an algorithm of stable-baselines3."""

    observation_space: Any
    action_space: Any

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, Any]:
        """Actions of a batch of observations, and a state nobody needs."""
        ...


class Observed(Protocol):
    """A simulation whose agents are rows."""

    @property
    def observation_names(self) -> Sequence[str]:
        """Of each entry of an observation."""
        ...

    def observe(self) -> Any:
        """Observations, shape (rows, names)."""
        ...


class LearnedRows:
    """A trained SB3 policy, played without exploration by every row of a simulation.

    Args:
        model: The model.
        name: For tables.
    """

    def __init__(self, model: Predictor, name: str) -> None:
        self.model, self.name = model, name

    def begin(self, simulation: Observed) -> None:
        """Check that the observation is the one it was trained on.

        Raises:
            RunError: It has another length.
        """
        wanted, given = self.model.observation_space.shape, (len(simulation.observation_names),)
        if wanted != given:
            raise RunError(
                f"{self.name} expects observations of shape {wanted}; the environment gives "
                f"{given}. Use the options it was trained with."
            )

    def act(self, simulation: Observed) -> Floats:
        """Actions of all rows."""
        action, _ = self.model.predict(simulation.observe(), deterministic=True)
        return np.asarray(action, dtype=np.float64)


class Learned(LearnedRows):
    """A trained SB3 policy of houses, played without exploration.

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
        model: Predictor,
        algorithm: str,
        settings: Mapping[str, str],
        name: str | None = None,
    ) -> None:
        super().__init__(model, name or algorithm)
        self.algorithm = algorithm
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
        model = policy_of_run(folder, checkpoint)
        options = config["hyperparameters"].get("env_kwargs") or {}
        policy = cls(model, algorithm, options, f"{algorithm} ({folder.name})")
        policy.prices = config.get("prices")
        return policy
