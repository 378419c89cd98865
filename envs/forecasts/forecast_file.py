"""A user's own forecasts from a CSV file, one row a forecast.

Columns ``issued,target,price_eur_per_kwh``: when it was said, of which hour, and what. Both times
are the beginnings of full hours on one clock without daylight saving. The row whose two times are
equal holds the realised price.
"""

from __future__ import annotations

import csv
import datetime as dt
import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from flexgym.envs.data.calendar import as_index
from flexgym.envs.data.csv_file import CsvFormat, CsvRow
from flexgym.envs.data.hourly_prices import HOUR
from flexgym.envs.data.price_file import COLUMNS as PRICE_COLUMNS
from flexgym.envs.data.price_file import check_unit, load_hourly_prices
from flexgym.envs.errors import ForecastError
from flexgym.envs.forecasts.forecaster import LEADS, Forecaster
from flexgym.envs.forecasts.record import ForecastRecord
from flexgym.envs.quantity import is_number

COLUMNS = ("issued", "target", "price_eur_per_kwh")
_FORMAT = CsvFormat(
    COLUMNS,
    ForecastError,
    content="one row a forecast",
    example="0.2875",
    unit="all forecasts of that hour at the begin or end of the file",
)
_SHOWN = 6


def read_record(
    path: str | os.PathLike[str],
    leads: int | None = None,
    *,
    forecaster: Forecaster | None = None,
    max_eur_per_kwh: float = 3.0,
) -> ForecastRecord:
    """Read forecasts, or prices and form the forecasts.

    Args:
        path: A file of forecasts (`load_forecasts`) if its header has a column ``issued``, else
            a price file (`load_hourly_prices`).
        leads: Longest lead time, hours; by default the file's own, or 24 for prices.
        forecaster: Makes forecasts of prices; the default `Forecaster` if None.
        max_eur_per_kwh: Prices beyond this size are taken for a wrong unit.

    Raises:
        ForecastError: Forecasts cannot be used; the message names cause and remedy.
        PriceDataError: Prices cannot be used, likewise.
    """
    path = _checked(path, leads, max_eur_per_kwh)
    try:
        with path.open(encoding="utf-8-sig") as file:
            # Other separators are told apart here and refused by the reader, which names them.
            header = next(csv.reader([file.readline().replace(";", ",").replace("\t", ",")]), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ForecastError(
            f"{path} cannot be read ({error}); expected a UTF-8 CSV file with the columns "
            f"{_FORMAT.header}, or a price file. Check the path and the file."
        ) from error
    names = {name.strip().lower() for name in header}
    if names & {*COLUMNS[:2]}:
        return load_forecasts(path, leads, max_eur_per_kwh=max_eur_per_kwh)
    if not names & {*PRICE_COLUMNS}:
        raise ForecastError(
            f"line 1: the columns are {', '.join(header) or 'none'}; expected {_FORMAT.header} for "
            f"forecasts or {','.join(PRICE_COLUMNS)} for prices. Rename the columns."
        )
    prices = load_hourly_prices(path, max_eur_per_kwh=max_eur_per_kwh)
    return (forecaster or Forecaster()).record(prices, LEADS if leads is None else leads)


def load_forecasts(
    path: str | os.PathLike[str], leads: int | None = None, *, max_eur_per_kwh: float = 3.0
) -> ForecastRecord:
    """Read a CSV file of forecasts.

    Hours at the begin and the end of the file that lack lead times are left out: the first ones
    were forecast before the file begins, the last ones are not realised yet. In between, every
    hour needs all lead times.

    Args:
        path: The file; rows in any order.
        leads: Longest lead time to use, hours; the longest of the file by default.
        max_eur_per_kwh: Prices beyond this size are taken for a wrong unit.

    Returns:
        The record of all hours that have every lead time.

    Raises:
        ForecastError: The file cannot be used; the message names line, cause and remedy.
    """
    path = _checked(path, leads, max_eur_per_kwh)
    rows = _FORMAT.read(path)
    target: list[dt.datetime] = []
    lead: list[int] = []
    price: list[float] = []
    zone = rows[0].time(COLUMNS[0])[1]
    for row in rows:
        issued, of = _hour(row, COLUMNS[0], zone), _hour(row, COLUMNS[1], zone)
        ahead = int((of - issued) / HOUR)
        if ahead < 0:
            raise ForecastError(
                f"line {row.line}: issued {issued.isoformat()} is after its target "
                f"{of.isoformat()}; expected issued <= target. Swap the columns."
            )
        value = row.number(COLUMNS[2])
        check_unit(row.line, value, max_eur_per_kwh, ForecastError)
        target.append(of)
        lead.append(ahead)
        price.append(value)
    most = max(lead)
    longest = most if leads is None else leads
    if most < 1:
        raise ForecastError(
            f"the longest lead time is {most} hours; expected 1 at least. Add forecasts, rows "
            "whose target is after they were issued."
        )
    if longest > most:
        raise ForecastError(
            f"leads is {longest} and the file's longest lead time {most} hours; expected no more. "
            "Use fewer lead times."
        )
    start, end = min(target), max(target)
    span = int((end - start) / HOUR) + 1
    if span > len(rows):
        raise ForecastError(
            f"{len(rows)} rows cover {span} hours from {start.isoformat()} (line "
            f"{rows[target.index(start)].line}) to {end.isoformat()} (line "
            f"{rows[target.index(end)].line}); expected {longest + 1} rows an hour. Correct the "
            "line, fill the gap, or split the file there."
        )
    found: dict[tuple[int, int], float] = {}
    for row, of, ahead, value in zip(rows, target, lead, price, strict=True):
        cell = int((of - start) / HOUR), ahead
        if cell in found:
            raise ForecastError(
                f"line {row.line}: a second forecast of {of.isoformat()}, {ahead} hours before; "
                "expected each once. Delete one of the rows."
            )
        if ahead <= longest:
            found[cell] = value
    line = rows[lead.index(most)].line
    # Hours are counted before a table is made: one wrong year would make it enormous.
    first, last = _complete(found, span, longest, start, line)
    table = np.empty((last + 1 - first, longest + 1))
    for (t, ahead), value in found.items():
        if first <= t <= last:
            table[t - first, ahead] = value
    return ForecastRecord(start + first * HOUR, table, path.name)


def _checked(path: object, leads: object, max_eur_per_kwh: object) -> Path:
    """The path, once the arguments of a reading function are what they should be."""
    if not isinstance(path, str | os.PathLike):
        raise ForecastError(f"path is {path!r}; expected the path of a CSV file.")
    number = as_index(leads)
    if leads is not None and (number is None or number < 1):
        raise ForecastError(
            f"leads is {leads!r}; expected an integer of at least 1, hours, or None."
        )
    if not is_number(max_eur_per_kwh, 0.0):
        raise ForecastError(
            f"max_eur_per_kwh is {max_eur_per_kwh!r}; expected a number >= 0, EUR/kWh."
        )
    return Path(os.fsdecode(path))


def _hour(row: CsvRow, column: str, zone: dt.timedelta | None) -> dt.datetime:
    time, offset = row.time(column)
    if offset != zone:
        raise ForecastError(
            f"line {row.line}: {column} has another time zone than line 2; expected one clock "
            "without daylight saving. Write all times in UTC or in standard time."
        )
    if time.minute or time.second:
        raise ForecastError(
            f"line {row.line}: {column} is {time.isoformat()}; expected a full hour. "
            "Use hourly means."
        )
    return time


def _complete(
    found: Mapping[tuple[int, int], float], span: int, longest: int, start: dt.datetime, line: int
) -> tuple[int, int]:
    """First and last hour with all lead times; none between may lack one.

    Args:
        found: Forecasts by hour and lead time.
        span: Hours of the file.
        longest: Longest lead time.
        start: First hour of the file.
        line: Where its longest lead time stands.
    """
    count = np.bincount([t for t, _ in found], minlength=span)
    whole = np.flatnonzero(count == longest + 1)
    expected = f"expected every lead time from 0 to {longest}"
    if not whole.size:
        lacks = _lacks(found, int(np.argmax(count)), longest, start)
        raise ForecastError(
            f"no hour has all lead times 0 to {longest}: {lacks}; {expected} in one hour at least. "
            f"Correct line {line} if its lead time, the longest, is wrong; else use fewer lead "
            "times, or repeat the last forecast for hours in which none was issued."
        )
    first, last = int(whole[0]), int(whole[-1])
    if len(whole) < last - first + 1:
        gap = first + int(np.argmin(count[first : last + 1] == longest + 1))
        raise ForecastError(
            f"{_lacks(found, gap, longest, start)}; {expected} in every hour. Fill the gap (a "
            "forecast that did not change is repeated), use fewer lead times, or split the file "
            "there."
        )
    return first, last


def _lacks(found: Mapping[tuple[int, int], float], t: int, longest: int, start: dt.datetime) -> str:
    # No further than is shown: a wrong year makes thousands of them.
    missing = list(islice((k for k in range(longest + 1) if (t, k) not in found), _SHOWN + 1))
    names = ", ".join(map(str, missing[:_SHOWN])) + (", ..." if len(missing) > _SHOWN else "")
    return f"{(start + t * HOUR).isoformat()} lacks the lead times {names}"
