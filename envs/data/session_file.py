"""A user's own car sessions from a CSV file.

Columns ``arrival,departure,arrival_kwh,needed_kwh`` and optionally ``car``; one row a session;
ISO time stamps on quarter-hours of a clock without daylight saving (UTC or local standard time).
"""

from __future__ import annotations

import datetime as dt
import os
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from flexgym.envs.data.calendar import START_QUARTER, YEAR
from flexgym.envs.data.csv_file import CsvFormat, CsvRow
from flexgym.envs.data.sessions import Sessions
from flexgym.envs.errors import SessionDataError
from flexgym.envs.household.params import STEPS_PER_DAY, Session

COLUMNS = ("arrival", "departure", "arrival_kwh", "needed_kwh")
_FORMAT = CsvFormat(
    COLUMNS,
    SessionDataError,
    content="one row a session",
    example="12.5",
    unit="the session",
    optional=("car",),
)
_QUARTER = dt.timedelta(minutes=15)
_START = START_QUARTER * _QUARTER


class _Row(NamedTuple):
    line: int
    car: str
    arrival: dt.datetime  # without time zone, as is the departure
    departure: dt.datetime
    offsets: tuple[dt.timedelta | None, dt.timedelta | None]
    arrival_kwh: float
    needed_kwh: float


def _time(row: CsvRow, column: str) -> tuple[dt.datetime, dt.timedelta | None]:
    time, offset = row.time(column)
    if (time - dt.datetime.min) % _QUARTER:
        raise SessionDataError(
            f"line {row.line}: {column} is {time.isoformat()}; expected a quarter-hour such as "
            "18:00 or 18:15. Round arrivals up and departures down."
        )
    return time, offset


def _energy(row: CsvRow, column: str) -> float:
    value = row.number(column)
    if value < 0.0:
        raise SessionDataError(
            f"line {row.line}: {column} is {value:g}; expected the energy in the car's battery, "
            "kWh >= 0. Correct it, or leave out the session."
        )
    return value


def _row(row: CsvRow) -> _Row:
    label = row.text.get("car")
    if label == "":
        raise SessionDataError(
            f"line {row.line}: car is empty; expected a label. "
            "Name the car, or drop the column if there is only one."
        )
    arrival, at_arrival = _time(row, "arrival")
    departure, at_departure = _time(row, "departure")
    car = "the car" if label is None else f"car {label}"
    energies = (_energy(row, column) for column in COLUMNS[2:])
    return _Row(row.line, car, arrival, departure, (at_arrival, at_departure), *energies)


def _check_offsets(rows: list[_Row]) -> None:
    """Refuse time stamps of different offsets from UTC."""
    first = rows[0].offsets[0]
    for row in rows:
        for offset in row.offsets:
            if offset == first:
                continue
            if offset is None or first is None:
                raise SessionDataError(
                    f"line {row.line}: time stamps with and without a time zone are mixed, which "
                    "is ambiguous; expected one kind. "
                    "Write all of them in UTC or in standard time."
                )
            raise SessionDataError(
                f"line {row.line}: the time zone changes from {dt.timezone(first)} to "
                f"{dt.timezone(offset)}, as with daylight saving; expected one offset "
                "throughout. Write the time stamps in UTC or in standard time."
            )


def _check_order(rows: list[_Row]) -> None:
    """Refuse sessions of one car, in order of arrival, that are empty or overlap."""
    for row in rows:
        if row.departure <= row.arrival:
            raise SessionDataError(
                f"line {row.line}: the departure {row.departure.isoformat()} is not after the "
                f"arrival {row.arrival.isoformat()}; expected arrival < departure. "
                "Swap or correct them."
            )
    for before, row in pairwise(rows):
        if row.arrival < before.departure:
            raise SessionDataError(
                f"line {row.line}: {row.car} arrives at {row.arrival.isoformat()}, before it "
                f"leaves at {before.departure.isoformat()} in line {before.line}; expected "
                "sessions of a car that do not overlap. "
                "Merge the two, or tell two cars apart in a column car."
            )


def _episode_start(row: _Row) -> dt.datetime:
    """The last 06:00 at or before the arrival."""
    time = row.arrival
    midnight = dt.datetime.combine(time, dt.time(0))
    early = time - midnight < _START
    if (time.month, time.day) == ((1, 1) if early else (12, 31)):
        raise SessionDataError(
            f"line {row.line}: the arrival {time.isoformat()} lies between 06:00 of 31 December "
            "and 06:00 of 1 January; expected one of the year's episodes, and that night is "
            "none. Leave out the session."
        )
    return midnight + _START - (dt.timedelta(days=1) if early else dt.timedelta(0))


def _session(row: _Row, start: dt.datetime, cut_at_end: bool) -> Session:
    arrival, departure = ((time - start) // _QUARTER for time in (row.arrival, row.departure))
    if departure > STEPS_PER_DAY and not cut_at_end:
        end = start + STEPS_PER_DAY * _QUARTER
        raise SessionDataError(
            f"line {row.line}: the session from {row.arrival.isoformat()} to "
            f"{row.departure.isoformat()} runs past {end.isoformat()}; expected sessions to end "
            "by 06:00, the end of the episode. "
            "Pass cut_at_end=True, which makes the energy due at 06:00."
        )
    return Session(arrival, min(departure, STEPS_PER_DAY), row.arrival_kwh, row.needed_kwh)


def _days(rows: list[_Row], cut_at_end: bool) -> dict[int, tuple[Session, ...]]:
    """Sessions of one car by day of 2016."""
    rows = sorted(rows, key=lambda row: row.arrival)
    _check_order(rows)
    days: dict[int, tuple[Session, ...]] = {}
    years: dict[int, int] = {}
    for row in rows:
        start = _episode_start(row)
        day = (start.date().replace(year=YEAR) - dt.date(YEAR, 1, 1)).days
        if years.setdefault(day, start.year) != start.year:
            raise SessionDataError(
                f"line {row.line}: the episode of {start.date().isoformat()} is a date that "
                f"{row.car} has had already in {years[day]}; expected at most one year. "
                "Split the file by years."
            )
        days[day] = (*days.get(day, ()), _session(row, start, cut_at_end))
    return days


def load_sessions(path: str | os.PathLike[str], *, cut_at_end: bool = False) -> Sessions:
    """Read car sessions from a CSV file of any year and lay them on the calendar of 2016.

    A session belongs to the episode in which the car arrives, and goes with it: the episode is
    matched by month and day of the 06:00 at which it starts, so weekdays differ from the
    file's. Rows may stand in any order. The file may pass New Year, but a car must not meet a
    date twice. One constant offset (``Z``, ``+01:00``) is allowed and dropped: clock times
    count as written.

    Args:
        path: The file. Cars are numbered in the order in which the labels of its column
            ``car`` appear; without the column there is one.
        cut_at_end: A session that runs past 06:00, the end of the episode, is cut there, so
            that its energy is due at 06:00 and what would follow is left out.

    Returns:
        Sessions; the houses of a pool take the cars in turn.

    Raises:
        SessionDataError: The file cannot be used; the message names line, cause and remedy.
    """
    path = Path(path)
    rows = [_row(row) for row in _FORMAT.read(path)]
    _check_offsets(rows)
    cars: dict[str, list[_Row]] = {}
    for row in rows:
        cars.setdefault(row.car, []).append(row)
    return Sessions(path.name, tuple(_days(cars[car], cut_at_end) for car in cars))
