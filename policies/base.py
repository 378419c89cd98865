"""What every policy of the house can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from flexgym.envs.household.params import Floats
from flexgym.envs.household.simulation import HouseholdSimulation


class HouseholdPolicy(Protocol):
    """Maps what n houses see to n actions.

    Rules and solvers read their own house's physics, forecast and measurements from the
    simulation; learned policies read its observation only.

    Attributes:
        name: Short name for tables.
        settings: Options of the simulation it was made for (observation, action_map, ...).
    """

    name: str
    settings: Mapping[str, str]

    def begin(self, simulation: HouseholdSimulation) -> None:
        """Prepare for new episodes: forecasts are known, nothing has happened yet."""
        ...

    def act(self, simulation: HouseholdSimulation) -> Floats:
        """Actions for this period, shape (n, number of actions), in [-1, 1]."""
        ...
