"""A user's own prices from a CSV file.

Columns ``time,import_eur_per_kwh,export_eur_per_kwh``; one row a quarter-hour; ISO time stamps
of a clock without daylight saving (UTC or local standard time); whole days, two at least.
"""

from __future__ import annotations

import datetime as dt
import math
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from flexgym.envs.data.calendar import QUARTERS, YEAR
from flexgym.envs.data.csv_file import CsvFormat
from flexgym.envs.data.prices import Prices
from flexgym.envs.errors import PriceDataError
from flexgym.envs.household.params import STEPS_PER_DAY

COLUMNS = ("time", "import_eur_per_kwh", "export_eur_per_kwh")
_FORMAT = CsvFormat(
    COLUMNS,
    PriceDataError,
    content="one row a quarter-hour",
    example="0.2875",
    unit="the whole day",
)
_QUARTER = dt.timedelta(minutes=15)
_HOUR = dt.timedelta(hours=1)
_SUNDAY = 6


class _Row(NamedTuple):
    line: int
    time: dt.datetime  # without time zone
    offset: dt.timedelta | None
    buy: float
    sell: float


def _read(path: Path) -> list[_Row]:
    return [
        _Row(row.line, *row.time(COLUMNS[0]), *(row.number(column) for column in COLUMNS[1:]))
        for row in _FORMAT.read(path)
    ]


def _refuse_daylight_saving(row: _Row, count: int) -> NoReturn:
    raise PriceDataError(
        f"line {row.line}: the clock jumps by one hour at {row.time.isoformat()}, a "
        f"daylight-saving day of {count} quarter-hours; expected {STEPS_PER_DAY} every day. "
        "Write the time stamps in UTC or in standard time."
    )


def _jump(before: _Row, row: _Row) -> NoReturn:
    """Say what is wrong between two rows that are not a quarter-hour apart."""
    step = row.time - before.time
    where = f"line {row.line}: {row.time.isoformat()} follows {before.time.isoformat()}"
    if row.time.weekday() == _SUNDAY and 1 <= row.time.hour <= 3:
        if step == _QUARTER + _HOUR:
            _refuse_daylight_saving(row, 92)
        if step == _QUARTER - _HOUR:
            _refuse_daylight_saving(row, 100)
    if not step:
        raise PriceDataError(
            f"line {row.line}: duplicate time stamp {row.time.isoformat()}; expected each once. "
            "Delete one of the rows; if it is the hour repeated in autumn, use standard time."
        )
    if step < dt.timedelta(0):
        raise PriceDataError(f"{where}, out of order; expected ascending time. Sort the rows.")
    raise PriceDataError(
        f"{where}, a gap of {step - _QUARTER}; expected every quarter-hour. "
        "Fill the gap, or split the file there."
    )


def _check_times(rows: list[_Row]) -> None:
    first, last = rows[0], rows[-1]
    steps = Counter(b.time - a.time for a, b in pairwise(rows))
    common = steps.most_common(1)[0][0] if steps else _QUARTER
    if common != _QUARTER and common > dt.timedelta(0):
        raise PriceDataError(
            f"line {rows[1].line}: the rows are {common} apart; expected 0:15:00 (quarter-hourly). "
            "Repeat an hourly price four times, or resample."
        )
    for before, row in pairwise(rows):
        if row.offset != before.offset:
            if row.offset is not None and before.offset is not None:
                _refuse_daylight_saving(row, 92 if row.offset > before.offset else 100)
            raise PriceDataError(
                f"line {row.line}: time stamps with and without a time zone are mixed, which is "
                "ambiguous; expected one kind. Write all of them in UTC or in standard time."
            )
        if row.time - before.time != _QUARTER:
            _jump(before, row)
    whole = first.time.time() == dt.time(0) and (last.time + _QUARTER).time() == dt.time(0)
    if not whole or len(rows) < 2 * STEPS_PER_DAY:
        raise PriceDataError(
            f"lines {first.line} to {last.line} run from {first.time.isoformat()} to "
            f"{last.time.isoformat()}; expected whole days from 00:00 to 23:45, two at least. "
            "Cut or complete the first and last day."
        )


def _quarter_of_2016(time: dt.datetime) -> int:
    return int((time.replace(year=YEAR) - dt.datetime(YEAR, 1, 1)) / _QUARTER)


def load_prices(path: str | os.PathLike[str], *, max_eur_per_kwh: float = 3.0) -> Prices:
    """Read prices from a CSV file of any year and lay them on the calendar of 2016.

    A row is matched by month, day and time of day; weekdays therefore differ from the file's.
    A file of an ordinary year leaves 29 February open, so that the episodes of 28 and 29
    February are not covered. The file may pass New Year but must not meet a date twice. One
    constant offset (``Z``, ``+01:00``) is allowed and dropped: clock times count as written.

    Args:
        path: The file.
        max_eur_per_kwh: Prices beyond this size are taken for a wrong unit.

    Returns:
        Prices, NaN where the file has nothing.

    Raises:
        PriceDataError: The file cannot be used; the message names line, cause and remedy.
    """
    path = Path(path)
    rows = _read(path)
    for row in rows:
        for value in (row.buy, row.sell):
            if abs(value) > max_eur_per_kwh:
                raise PriceDataError(
                    f"line {row.line}: a price of {value:g}; expected EUR/kWh of at most "
                    f"{max_eur_per_kwh:g}. It looks like EUR/MWh (divide by 1000) or ct/kWh "
                    "(divide by 100); if it is right, raise max_eur_per_kwh."
                )
        if row.sell > row.buy:
            raise PriceDataError(
                f"line {row.line}: the export price {row.sell:g} is above the import price "
                f"{row.buy:g}; expected export <= import. Swap the columns, or lower it."
            )
    _check_times(rows)
    buy, sell = np.full(QUARTERS, np.nan), np.full(QUARTERS, np.nan)
    for row in rows:
        quarter = _quarter_of_2016(row.time)
        if not math.isnan(buy[quarter]):
            raise PriceDataError(
                f"line {row.line}: {row.time.isoformat()} is a date the file has had already, one "
                "year earlier; expected at most one year. Split the file by years."
            )
        buy[quarter], sell[quarter] = row.buy, row.sell
    return Prices(buy, sell, path.name)
