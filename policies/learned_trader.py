"""Policies of the trader that were trained: they see its observation and nothing else."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexgym.envs.errors import RunError
from flexgym.envs.household.params import Floats
from flexgym.envs.trader.observation import OBSERVATION_NAMES
from flexgym.envs.trader.simulation import TraderSimulation
from flexgym.policies.learned import load_model, read_config
from flexgym.policies.trader import TraderPolicy

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


class LearnedTrader:
    """A trained SB3 policy, without exploration.

    Args:
        model: The model.
        name: For tables.

    Raises:
        RunError: It was trained on other observations.
    """

    def __init__(self, model: BaseAlgorithm, name: str) -> None:
        self.model, self.name = model, name
        wanted, given = model.observation_space.shape, (len(OBSERVATION_NAMES),)
        if wanted != given:
            raise RunError(
                f"{name} expects observations of shape {wanted}; Trader-v0 gives {given}. Train "
                "it on flexgym/Trader-v0."
            )

    def begin(self, simulation: TraderSimulation) -> None:
        """Nothing to prepare."""

    def act(self, simulation: TraderSimulation) -> Floats:
        """See `TraderPolicy`."""
        action, _ = self.model.predict(simulation.observe(), deterministic=True)
        return np.asarray(action, dtype=np.float64)


def load_trader_policy(source: str) -> TraderPolicy:
    """A policy from where it lies.

    Args:
        source: A folder with ``best.zip`` (and ``config.yaml``, where it is no PPO), a ``.zip``
            file of PPO, or ``module:callable``, called without arguments.

    Raises:
        RunError: There is none, or it is damaged.
    """
    path = Path(source)
    module, _, name = source.partition(":")
    if name and not path.exists():
        try:
            return getattr(import_module(module), name)()
        except (ImportError, AttributeError) as error:
            raise RunError(
                f"got the policy {source} ({error}); expected a folder, a .zip file or "
                "module:callable."
            ) from error
    if path.is_dir():
        known = (path / "config.yaml").is_file()
        algorithm = read_config(path)["algorithm"] if known else "ppo"
        return LearnedTrader(load_model(path / "best.zip", algorithm), f"learned {path.name}")
    return LearnedTrader(load_model(path, "ppo"), f"learned {path.stem}")
