"""Networks and their power flow: pandapower nets as trees, an exact sweep, a linear model.

Nothing is imported before its name is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexgym.envs.grid.linear import LinDistFlow
    from flexgym.envs.grid.network import Network
    from flexgym.envs.grid.power_flow import PowerFlowResult, RadialPowerFlow

__all__ = ["LinDistFlow", "Network", "PowerFlowResult", "RadialPowerFlow"]

_MODULE = {
    "LinDistFlow": "linear",
    "Network": "network",
    "PowerFlowResult": "power_flow",
    "RadialPowerFlow": "power_flow",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
