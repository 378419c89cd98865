"""The one way functions are compiled, and how their caches are kept in step with the sources.

numba caches a compiled function beside its source and renews it when that file changes, but
not when a function it calls lives in another file that changed: after an update of a checkout
old physics would keep running. So the caches are dropped whenever any source file changed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])

ROOMS = ("envs", "baselines", "policies", "evaluate", "train")


def compiled(function: _Function) -> _Function:
    """Compile with numba: cached on disk, no fast-math, no check for division by zero.

    Without Python's lock, so that threads can solve different house-days side by side.
    """
    from numba import njit

    return njit(function, cache=True, nogil=True, error_model="numpy")  # type: ignore[return-value]


def inlined(function: _Function) -> _Function:
    """As `compiled`, and inlined wherever it is called, so that loops around it vectorise."""
    from numba import njit

    return njit(function, cache=True, nogil=True, error_model="numpy", forceinline=True)  # type: ignore[return-value]


def drop_stale(root: Path) -> bool:
    """Delete numba's caches below ``root`` if a source file changed since the last call.

    Args:
        root: Folder that holds the rooms.

    Returns:
        Whether the caches were dropped.
    """
    files = sorted(path for room in ROOMS for path in (root / room).rglob("*.py"))
    stamps = [(str(path.relative_to(root)), path.stat()) for path in files]
    now = "\n".join(f"{name} {stat.st_mtime_ns} {stat.st_size}" for name, stat in stamps)
    stamp = root / "envs" / "__pycache__" / "sources.stamp"
    # A read-only installation never changes file by file: nothing to do there.
    with suppress(OSError):
        if stamp.exists() and stamp.read_text() == now:
            return False
        for room in ROOMS:
            for cached in (root / room).rglob("__pycache__/*.nb[ic]"):
                cached.unlink(missing_ok=True)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(now)
        return True
    return False
