"""Everything that maps what a house sees to what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexgym.policies.zoo import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from flexgym.policies.zoo import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
