"""Everything that maps what a house sees to what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexgym.policies.zoo import load, names

__all__ = ["load", "names"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from flexgym.policies import zoo

        return getattr(zoo, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
