"""What operates a feeder by menus: nobody, the exact clearing, or a trained policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from flexgym.envs.errors import RunError
from flexgym.envs.feeder.operator_env import FeederOperatorEnv
from flexgym.envs.household.params import Floats
from flexgym.policies.learned import Predictor, policy_of_run, read_config

SETTINGS = ("control", "n_vertices", "most_eur_per_kwh")
"""Options of the environment that a policy is tied to."""


class OperatorPolicy(Protocol):
    """Decides for the operator of `flexgym/Operator-v0`.

    The exact clearing reads the menus from the environment; learned policies read what is seen.

    Attributes:
        name: Short name for tables.
        settings: Options of the environment it wants to be played in, of `SETTINGS`.
    """

    name: str
    settings: Mapping[str, Any]

    def begin(self, env: FeederOperatorEnv) -> None:
        """Prepare for a new day."""
        ...

    def act(self, env: FeederOperatorEnv, seen: np.ndarray) -> Floats:
        """Action of this period, shape (H,), in [-1, 1]."""
        ...


class OwnChoices:
    """Every house does what it would by itself: score 0."""

    name = "own choices"
    settings: Mapping[str, Any] = {}

    def begin(self, env: FeederOperatorEnv) -> None:
        """Nothing to prepare."""

    def act(self, env: FeederOperatorEnv, seen: np.ndarray) -> Floats:
        """See `OperatorPolicy`."""
        return np.zeros(env.action_space.shape or ())


class ExactClearing:
    """The cheapest powers of the menus within the grid's limits, period by period: score 100."""

    name = "exact clearing"
    settings: Mapping[str, Any] = {"control": "dispatch"}

    def begin(self, env: FeederOperatorEnv) -> None:
        """Nothing to prepare."""

    def act(self, env: FeederOperatorEnv, seen: np.ndarray) -> Floats:
        """See `OperatorPolicy`."""
        return env.action_of(env.cleared.power_kw)


class LearnedOperator:
    """A trained SB3 policy, played without exploration.

    Args:
        model: The model.
        name: For tables.
        options: Options of the environment it was trained with.
    """

    def __init__(self, model: Predictor, name: str, options: Mapping[str, Any]) -> None:
        self.model, self.name = model, name
        self.settings: Mapping[str, Any] = {k: options[k] for k in SETTINGS if k in options}

    @classmethod
    def from_run(cls, folder: str | Path) -> LearnedOperator:
        """The policy of a run folder; nothing in it is executed.

        Raises:
            RunError: The run or its checkpoint is missing or damaged.
        """
        folder = Path(folder)
        options = read_config(folder)["hyperparameters"].get("env_kwargs") or {}
        return cls(policy_of_run(folder), f"learned {folder.name}", options)

    def begin(self, env: FeederOperatorEnv) -> None:
        """Check that observation and action are those it was trained on.

        Raises:
            RunError: They have other lengths.
        """
        wanted = self.model.observation_space.shape, self.model.action_space.shape
        given = env.observation_space.shape, env.action_space.shape
        if wanted != given:
            raise RunError(
                f"{self.name} expects observations and actions of shape {wanted}; the environment "
                f"has {given}. Play it on the feeder and with the options it was trained with."
            )

    def act(self, env: FeederOperatorEnv, seen: np.ndarray) -> Floats:
        """See `OperatorPolicy`."""
        return np.asarray(self.model.predict(seen, deterministic=True)[0], dtype=np.float64)
