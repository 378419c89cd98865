"""What a caller passes where numbers are wanted: text, truth values and None are none."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from flexgym.envs.errors import FlexgymError
from flexgym.envs.household.params import Floats

MOST = sys.float_info.max


def is_number(value: object, low: float = -MOST, high: float = MOST) -> bool:
    """Whether ``value`` is one real number in [low, high]; NaN never is."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return low <= float(value) <= high
    except OverflowError:  # of a whole number that no float can hold
        return False


def as_floats(values: Any, name: str, error: type[FlexgymError]) -> Floats:
    """``values`` as a new array of real numbers; whether they are finite, callers check.

    Args:
        values: Anything.
        name: What they are, for the message.
        error: Class of the error.

    Raises:
        FlexgymError: ``error``, where they are no array of numbers.
    """
    try:
        array = np.array(values)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "fiu":
        raise error(f"{name} is no array of numbers; expected real numbers, rows of one length.")
    return array.astype(np.float64)
