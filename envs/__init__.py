"""What the world does: houses, data, charts and the environments around them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexgym.envs.household.params import Battery, Car, House, Load, Series, Session
    from flexgym.envs.uncertainty import Uncertainty

from flexgym.envs.compiled import drop_stale

drop_stale(Path(__file__).parent.parent)

_HOME = {
    "Battery": "flexgym.envs.household.params",
    "Car": "flexgym.envs.household.params",
    "House": "flexgym.envs.household.params",
    "Load": "flexgym.envs.household.params",
    "Series": "flexgym.envs.household.params",
    "Session": "flexgym.envs.household.params",
    "Uncertainty": "flexgym.envs.uncertainty",
}

__all__ = ["Battery", "Car", "House", "Load", "Series", "Session", "Uncertainty", "register"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def register() -> None:
    """Register every environment with Gymnasium; called by ``import flexgym``."""
    import gymnasium

    if "flexgym/Household-v0" not in gymnasium.registry:
        gymnasium.register(
            id="flexgym/Household-v0",
            entry_point="flexgym.envs.household.env:HouseholdEnv",
            vector_entry_point="flexgym.envs.household.vector_env:HouseholdVectorEnv",
        )
