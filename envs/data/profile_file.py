"""A user's own consumption and solar profiles from a CSV file.

Columns ``time,pv`` and one column a load profile, named as the user likes; one row a
quarter-hour of a whole year; ISO time stamps of a clock without daylight saving (UTC or local
standard time).
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.data.calendar import QUARTERS, YEAR
from flexgym.envs.data.csv_file import CsvFormat, CsvRow
from flexgym.envs.data.profiles import Profiles
from flexgym.envs.data.time_axis import QUARTER, Stamp, TimeAxis
from flexgym.envs.errors import ProfileDataError
from flexgym.envs.household.params import DT_H, STEPS_PER_DAY

COLUMNS = ("time", "pv")
_FORMAT = CsvFormat(
    COLUMNS,
    ProfileDataError,
    content="one row a quarter-hour",
    example="0.412",
    unit="the column",
    others="load profile",
)
_AXIS = TimeAxis(ProfileDataError, gap_remedy="Fill the gap: profiles cover the whole year.")
_START = dt.datetime(YEAR, 1, 1)
_DAY_BEFORE, _LEAP_DAY = (
    slice(day * STEPS_PER_DAY, (day + 1) * STEPS_PER_DAY)
    for day in ((dt.datetime(YEAR, 2, date) - _START).days for date in (28, 29))
)
_LARGEST = 1e9  # beyond every house in every unit of power, and sums of it stay finite


def _power(row: CsvRow, column: str) -> float:
    value = row.number(column)
    if 0.0 <= value <= _LARGEST:
        return value
    kind, remedy = (
        ("solar generation", "Write 0 for what the inverter draws at night")
        if column == "pv"
        else ("consumption", "Add the solar generation back if it is a meter's net power")
    )
    raise ProfileDataError(
        f"line {row.line}: {column} is {value:g}; expected {kind} from 0 to {_LARGEST:g}, in kW "
        f"or another unit of power. {remedy}, or correct it."
    )


def _check_start(first: Stamp) -> None:
    if first.time.time() != dt.time(0):
        raise ProfileDataError(
            f"line {first.line}: the first time stamp is {first.time.isoformat()}; expected 00:00 "
            "of a day, the beginning of its quarter-hour. Begin with a whole day, or, if the "
            "stamps are the ends of the quarter-hours, move them 15 minutes back."
        )


def _check_whole_year(stamps: list[Stamp], missing: NDArray[np.bool_]) -> None:
    """Refuse a file without some of the quarter-hours; ``missing``, shape (35136,), are True."""
    if not missing.any():
        return
    first, last = stamps[0], stamps[-1]
    gap = _START + int(np.argmax(missing)) * QUARTER
    raise ProfileDataError(
        f"lines {first.line} to {last.line} run from {first.time.isoformat()} to "
        f"{last.time.isoformat()} and lack {missing.sum()} quarter-hours of the year, the first "
        f"at {gap:%m-%dT%H:%M}; expected a whole year, of which only the whole 29 February may "
        "lack. Add the missing rows."
    )


def _check_not_zero(column: str, total: float) -> None:
    if total > 0.0:
        return
    remedy = (
        "Write the profile of any roof: a house without one has pv_kwp=0."
        if column == "pv"
        else "Drop the column: a house without consumption has energy_kwh=0."
    )
    raise ProfileDataError(
        f"column {column} is 0 in every row; expected a profile to scale, so power > 0 at some "
        f"time. {remedy}"
    )


def load_profiles_csv(path: str | os.PathLike[str]) -> Profiles:
    """Read profiles from a CSV file of any year and lay them on the calendar of 2016.

    A row is matched by month, day and time of day; weekdays therefore differ from the file's.
    The file starts at 00:00 of any day and covers a whole year; it may pass New Year but must
    not meet a date twice. A file of an ordinary year has no 29 February: that day gets the
    values of 28 February. Every other gap is an error. One constant offset (``Z``, ``+01:00``)
    is allowed and dropped: clock times count as written, so a user's prices and sessions need
    the same clock.

    Columns may be in kW or any unit of power, each in its own, since they are normalised: a
    load to 1 kWh in the 366 days of the calendar year 2016, pv to a peak of 1. Only
    ``energy_kwh``, which keeps the level of a load, takes the file for kW: divide it by 1000
    where the column is in W, multiply it by 4 where it is in kWh a quarter-hour.

    Args:
        path: The file. Its columns besides ``time`` and ``pv`` are loads, one at least.

    Returns:
        The profiles, loads in the order of the columns, with ``energy_kwh`` of each.

    Raises:
        ProfileDataError: The file cannot be used; the message names line, cause and remedy.
    """
    rows = _FORMAT.read(Path(path))
    columns = ("pv", *rows[0].others)
    stamps = [Stamp(row.line, *row.time("time")) for row in rows]
    values = np.array([[_power(row, column) for column in columns] for row in rows])
    _AXIS.check(stamps)
    _check_start(stamps[0])
    year = np.full((len(columns), QUARTERS), np.nan)
    year[:, _AXIS.quarters(stamps)] = values.T
    missing = np.isnan(year[0])
    if missing[_LEAP_DAY].all():
        missing[_LEAP_DAY] = False
        year[:, _LEAP_DAY] = year[:, _DAY_BEFORE]
    _check_whole_year(stamps, missing)
    energy_kwh = dict(zip(columns, (year.sum(axis=1) * DT_H).tolist(), strict=True))
    for column in columns:
        _check_not_zero(column, energy_kwh[column])
    pv = year[0] / year[0].max()
    del energy_kwh["pv"]
    loads = zip(energy_kwh.items(), year[1:], strict=True)
    load = {column: row / energy for (column, energy), row in loads}
    for array in (pv, *load.values()):
        array.flags.writeable = False
    return Profiles(MappingProxyType(load), pv, _START, MappingProxyType(energy_kwh))
