"""Houses of a feeder that were trained: each acts on what it sees, with one network or its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flexgym.envs.errors import RunError
from flexgym.envs.feeder.env import SETTINGS
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household.params import Floats
from flexgym.policies.learned import Predictor, policy_of_run, read_config

VIEWS: Mapping[str, str] = {"ippo": "numbered", "mappo": "feeder"}
"""What a row has beside its house's own observation, by algorithm; others have nothing."""


class LearnedHouses:
    """A trained SB3 policy of houses, played without exploration.

    Args:
        model: The model.
        view: ``"own"``: a row is what its house sees; ``"numbered"``: and the house's number;
            ``"feeder"``: and what only the critic sees in training, which is left at 0 here.
        settings: Options of the feeder it was trained with.
        name: For tables.
    """

    def __init__(self, model: Predictor, view: str, settings: Mapping[str, Any], name: str) -> None:
        self.model, self.view, self.name = model, view, name
        chosen = {k: settings[k] for k in SETTINGS if k in settings}
        self.settings: Mapping[str, Any] = {"observation": "full", **chosen}

    @classmethod
    def from_run(
        cls, folder: str | Path, checkpoint: str = "best", name: str | None = None
    ) -> LearnedHouses:
        """The policy of a run folder.

        Args:
            folder: Of ``flexgym train feeder``.
            checkpoint: ``"best"`` or ``"last"``.
            name: For tables; None is the algorithm's with the folder's.

        Raises:
            RunError: The run or its checkpoint is missing or damaged.
        """
        folder = Path(folder)
        config = read_config(folder)
        algorithm = config["algorithm"]
        options = config["hyperparameters"].get("env_kwargs") or {}
        model = policy_of_run(folder, checkpoint)
        if name is None:
            name = f"{algorithm} ({folder.name})"
        return cls(model, VIEWS.get(algorithm, "own"), options, name)

    def begin(self, simulation: FeederSimulation) -> None:
        """Check that the observation is the one it was trained on; see `FeederPolicy`.

        Raises:
            RunError: It has another length, or the feeder other houses.
        """
        (wanted,) = self.model.observation_space.shape
        own, houses = len(simulation.observation_names), simulation.scenario.n_houses
        given = own + (self.view == "numbered")
        policy: Any = getattr(self.model, "policy", self.model)
        if self.view == "feeder":
            fits = policy.own == given
        else:
            fits = wanted == given and (self.view == "own" or policy.houses == houses)
        if not fits:
            raise RunError(
                f"{self.name} expects rows of {wanted} numbers; {houses} houses of the scenario "
                f"{simulation.scenario.name} give {given}. Use the options it was trained with."
            )
        self._rows = np.zeros((simulation.n * houses, wanted), dtype=np.float32)
        if self.view == "numbered":
            self._rows[:, -1] = np.tile(np.arange(houses), simulation.n)

    def act(self, simulation: FeederSimulation) -> Floats:
        """See `FeederPolicy`."""
        seen = simulation.observe()
        self._rows[:, : seen.shape[2]] = seen.reshape(len(self._rows), -1)
        action, _ = self.model.predict(self._rows, deterministic=True)
        return np.asarray(action, dtype=np.float64).reshape(simulation.n, -1)
