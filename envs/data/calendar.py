"""Days of the benchmark year 2016 and how they are split.

The clock is local standard time without daylight saving, 96 quarter-hours a day. Episode d
runs from 06:00 of day d (day 0 is 1 January 2016) to 06:00 of day d + 1, so that a solar day
and a night of car charging stay whole. 31 December starts no episode: its morning is missing.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import STEPS_PER_DAY

YEAR = 2016
DAYS = 366
"""Days of the leap year 2016."""
QUARTERS = DAYS * STEPS_PER_DAY
"""Quarter-hours of the year, 35136."""
EPISODES = DAYS - 1
"""Episodes of the year: numbered 0 to 364."""
START_QUARTER = 24
"""An episode starts with this quarter-hour of its day, at 06:00."""
HOURS_PER_DAY = 24
SPLITS = ("train", "validation", "test")

_TEST_DAYS, _VALIDATION_DAYS = 6, 4
_SPLIT_SEED = 430


def as_index(value: object) -> int | None:
    """``value`` as an int if it is one, else None; True and False are no numbers here."""
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def one_or_several(values: Any) -> np.ndarray:
    """One whole number or several things as an array; what they are, callers check."""
    single = as_index(values)
    if single is not None:
        return np.array([single])
    return np.array(list(values) if isinstance(values, Iterable) else [values])


def _day(day: object, days: int) -> int:
    number = as_index(day)
    if number is None or not 0 <= number < days:
        raise ScenarioError(
            f"day is {day!r}; expected an integer from 0 (1 January {YEAR}) to {days - 1}. "
            "Take days from split_days()."
        )
    return number


def episode_start(day: int) -> int:
    """Index of the episode's first quarter-hour in the arrays of the year.

    Args:
        day: Episode, 0 to 364.

    Raises:
        ScenarioError: ``day`` is no episode of the year.
    """
    return _day(day, EPISODES) * STEPS_PER_DAY + START_QUARTER


def date(day: int) -> dt.date:
    """Calendar date of a day of the year, 0 to 365.

    Raises:
        ScenarioError: ``day`` lies outside the year.
    """
    return dt.date(YEAR, 1, 1) + dt.timedelta(days=_day(day, DAYS))


@cache
def _labels() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Month and split number of each episode, both shape (365,)."""
    month = np.array([date(day).month for day in range(EPISODES)], dtype=np.int64)
    split = np.zeros(EPISODES, dtype=np.int64)
    for number in range(1, 13):
        days = np.flatnonzero(month == number)
        drawn = np.random.default_rng([_SPLIT_SEED, number]).permutation(days)
        split[drawn[:_TEST_DAYS]] = SPLITS.index("test")
        split[drawn[_TEST_DAYS : _TEST_DAYS + _VALIDATION_DAYS]] = SPLITS.index("validation")
    return month, split


def split_days(split: str, months: Iterable[int] | None = None) -> NDArray[np.int64]:
    """Episodes of a split, in the order of the calendar.

    Within each calendar month a permutation of fixed seed gives 6 test days, 4 validation days
    and the rest to training, so every choice of months has all three in the same proportion.

    Args:
        split: ``"train"``, ``"validation"`` or ``"test"``.
        months: Calendar months, 1 to 12, by the day the episode starts; None takes all.

    Returns:
        Day numbers, shape (n,), ascending.

    Raises:
        ScenarioError: Unknown split, or a month outside 1 to 12, or no month at all.
    """
    if split not in SPLITS:
        raise ScenarioError(f"split is {split!r}; expected one of {', '.join(SPLITS)}.")
    month, label = _labels()
    chosen = label == SPLITS.index(split)
    if months is not None:
        wanted = list(months)
        if not wanted or any((as_index(m) or 0) not in range(1, 13) for m in wanted):
            raise ScenarioError(
                f"months is {wanted!r}; expected integers from 1 to 12, at least one. "
                "Pass None for the whole year."
            )
        chosen = chosen & np.isin(month, wanted)
    return np.flatnonzero(chosen)
