"""Arrays of a saved state, checked before anything of it is taken over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.errors import StateError


def saved_array(
    saved: Any, name: str, like: NDArray[Any], *, endless: bool = False
) -> NDArray[Any]:
    """A copy of an array of a saved state.

    Args:
        saved: The state.
        name: Of the array.
        like: Has the shape and type that it must have.
        endless: Whether infinite numbers are allowed; NaN never is.

    Raises:
        StateError: It is not there, of another shape or type, or not finite.
    """
    array = saved[name] if isinstance(saved, Mapping) and name in saved else None
    if not isinstance(array, np.ndarray) or array.dtype != like.dtype or array.shape != like.shape:
        raise StateError(
            f"the state's {name} is not of shape {like.shape} and type {like.dtype}; expected what "
            "save of an environment with the same options returned."
        )
    if np.isnan(array).any() or not (endless or np.isfinite(array).all()):
        raise StateError(f"the state's {name} is not finite; expected what save returned.")
    return array.copy()
