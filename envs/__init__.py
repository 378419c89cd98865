"""What the world does: houses, data, charts and the environments around them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexgym.envs.household.params import (
        Appliance,
        Battery,
        Car,
        House,
        Load,
        Series,
        Session,
    )
    from flexgym.envs.uncertainty import Uncertainty

from flexgym.envs.compiled import drop_stale

drop_stale(Path(__file__).parent.parent)

_HOME = {
    "Appliance": "flexgym.envs.household.params",
    "Battery": "flexgym.envs.household.params",
    "Car": "flexgym.envs.household.params",
    "House": "flexgym.envs.household.params",
    "Load": "flexgym.envs.household.params",
    "Series": "flexgym.envs.household.params",
    "Session": "flexgym.envs.household.params",
    "Uncertainty": "flexgym.envs.uncertainty",
}

__all__ = [
    "Appliance",
    "Battery",
    "Car",
    "House",
    "Load",
    "Series",
    "Session",
    "Uncertainty",
    "register",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_ENVIRONMENTS = {
    "flexgym/Household-v0": (
        "flexgym.envs.household.env:HouseholdEnv",
        "flexgym.envs.household.vector_env:HouseholdVectorEnv",
    ),
    "flexgym/Feeder-v0": (
        "flexgym.envs.feeder.env:FeederEnv",
        "flexgym.envs.feeder.vector_env:FeederVectorEnv",
    ),
    "flexgym/Operator-v0": ("flexgym.envs.feeder.operator_env:FeederOperatorEnv", None),
    "flexgym/Aggregator-v0": (
        "flexgym.envs.aggregator_market.env:AggregatorEnv",
        "flexgym.envs.aggregator_market.vector_env:AggregatorVectorEnv",
    ),
    "flexgym/Directive-v0": (
        "flexgym.envs.aggregator_market.env:DirectiveEnv",
        "flexgym.envs.aggregator_market.vector_env:DirectiveVectorEnv",
    ),
    "flexgym/Appliance-v0": (
        "flexgym.envs.appliance.env:ApplianceEnv",
        "flexgym.envs.appliance.vector_env:ApplianceVectorEnv",
    ),
    "flexgym/Trader-v0": (
        "flexgym.envs.trader.env:TraderEnv",
        "flexgym.envs.trader.vector_env:TraderVectorEnv",
    ),
}
"""Single environment and native batch, if there is one, by Gymnasium's id."""


def register() -> None:
    """Register every environment with Gymnasium and PettingZoo; called by ``import flexgym``."""
    import gymnasium
    import pettingzoo

    for name, (single, batch) in _ENVIRONMENTS.items():
        if name not in gymnasium.registry:
            gymnasium.register(id=name, entry_point=single, vector_entry_point=batch)
    # PettingZoo has a registry since 1.27.
    if not hasattr(pettingzoo, "register"):
        return
    for name, module in _MULTI_AGENT.items():
        if name not in pettingzoo.parallel_registry:
            pettingzoo.register("parallel", name, f"{module}:parallel_env")
            pettingzoo.register("aec", name, f"{module}:env")


_MULTI_AGENT = {
    "flexgym/feeder-v0": "flexgym.envs.feeder.parallel_env",
    "flexgym/aggregator-market-v0": "flexgym.envs.aggregator_market.parallel_env",
    "flexgym/bus-competition-v0": "flexgym.envs.bus_competition_v0",
    "flexgym/local-market-v0": "flexgym.envs.local_market.parallel_env",
}
"""Modules of the multi-agent environments by PettingZoo's id."""
