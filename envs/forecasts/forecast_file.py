"""A user's own forecasts from a CSV file, one row a forecast.

Columns ``issued,target,price_eur_per_kwh``: when it was said, of which hour, and what. Both times
are the beginnings of full hours on one clock without daylight saving. The row whose two times are
equal holds the realised price.
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import numpy as np

from flexgym.envs.data.csv_file import CsvFormat, CsvRow
from flexgym.envs.data.hourly_prices import HOUR
from flexgym.envs.data.price_file import check_unit, load_hourly_prices
from flexgym.envs.errors import ForecastError
from flexgym.envs.forecasts.forecaster import LEADS, Forecaster
from flexgym.envs.forecasts.record import ForecastRecord

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
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise ForecastError(
            f"{path} cannot be read ({error}); expected a UTF-8 CSV file with the columns "
            f"{_FORMAT.header}, or a price file. Check the path and the file."
        ) from error
    if COLUMNS[0] in [name.strip() for name in header.split(",")]:
        return load_forecasts(path, leads, max_eur_per_kwh=max_eur_per_kwh)
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
    path = Path(path)
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
    longest = max(lead) if leads is None else leads
    if longest < 1:
        raise ForecastError(
            f"the longest lead time is {longest} hours; expected 1 at least. Add forecasts, rows "
            "whose target is after they were issued."
        )
    start = min(target)
    span = int((max(target) - start) / HOUR) + 1
    if span > len(rows):
        raise ForecastError(
            f"{len(rows)} rows cover {span} hours from {start.isoformat()} to "
            f"{max(target).isoformat()}; expected {longest + 1} rows an hour. Fill the gap, or "
            "split the file there."
        )
    table = np.full((span, longest + 1), np.nan)
    for row, of, ahead, value in zip(rows, target, lead, price, strict=True):
        if ahead > longest:
            continue
        t = int((of - start) / HOUR)
        if not np.isnan(table[t, ahead]):
            raise ForecastError(
                f"line {row.line}: a second forecast of {of.isoformat()}, {ahead} hours before; "
                "expected each once. Delete one of the rows."
            )
        table[t, ahead] = value
    first, last = _complete(table, start)
    return ForecastRecord(start + first * HOUR, table[first : last + 1], path.name)


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


def _complete(table: np.ndarray, start: dt.datetime) -> tuple[int, int]:
    """First and last hour with all lead times; none between may lack one."""
    known = np.isfinite(table)
    whole = np.flatnonzero(known.all(axis=1))
    if not whole.size:
        best = int(np.argmax(known.sum(axis=1)))
        raise ForecastError(
            f"no hour has all lead times 0 to {table.shape[1] - 1}: {_lacks(known, best, start)}. "
            "Use fewer lead times, or repeat the last forecast for hours in which none was issued."
        )
    first, last = int(whole[0]), int(whole[-1])
    if len(whole) < last - first + 1:
        gap = first + int(np.argmin(known[first : last + 1].all(axis=1)))
        raise ForecastError(
            f"{_lacks(known, gap, start)}; expected every lead time from 0 to "
            f"{table.shape[1] - 1} in every hour. Fill the gap (a forecast that did not change is "
            "repeated), use fewer lead times, or split the file there."
        )
    return first, last


def _lacks(known: np.ndarray, t: int, start: dt.datetime) -> str:
    missing = np.flatnonzero(~known[t])
    names = ", ".join(str(k) for k in missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
    return f"{(start + t * HOUR).isoformat()} lacks the lead times {names}"
