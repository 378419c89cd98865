"""A user's own prices from a CSV file.

Columns ``time,import_eur_per_kwh,export_eur_per_kwh``; one row a quarter-hour; ISO time stamps
of a clock without daylight saving (UTC or local standard time); whole days, two at least.
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flexgym.envs.data.calendar import QUARTERS
from flexgym.envs.data.csv_file import CsvFormat
from flexgym.envs.data.hourly_prices import HourlyPrices, hourly_means
from flexgym.envs.data.prices import Prices
from flexgym.envs.data.time_axis import QUARTER, Stamp, TimeAxis
from flexgym.envs.errors import FlexgymError, PriceDataError
from flexgym.envs.household.params import STEPS_PER_DAY

COLUMNS = ("time", "import_eur_per_kwh", "export_eur_per_kwh")
_FORMAT = CsvFormat(
    COLUMNS,
    PriceDataError,
    content="one row a quarter-hour",
    example="0.2875",
    unit="the whole day",
)
_AXIS = TimeAxis(PriceDataError, gap_remedy="Fill the gap, or split the file there.")


class _Row(NamedTuple):
    stamp: Stamp
    buy: float
    sell: float


def _read(path: Path) -> list[_Row]:
    return [
        _Row(
            Stamp(row.line, *row.time(COLUMNS[0])), *(row.number(column) for column in COLUMNS[1:])
        )
        for row in _FORMAT.read(path)
    ]


def _check_whole_days(stamps: list[Stamp]) -> None:
    first, last = stamps[0], stamps[-1]
    whole = first.time.time() == dt.time(0) and (last.time + QUARTER).time() == dt.time(0)
    if not whole or len(stamps) < 2 * STEPS_PER_DAY:
        raise PriceDataError(
            f"lines {first.line} to {last.line} run from {first.time.isoformat()} to "
            f"{last.time.isoformat()}; expected whole days from 00:00 to 23:45, two at least. "
            "Cut or complete the first and last day."
        )


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
    rows = _checked(path, max_eur_per_kwh)
    quarters = _AXIS.quarters([row.stamp for row in rows])
    buy, sell = np.full(QUARTERS, np.nan), np.full(QUARTERS, np.nan)
    buy[quarters] = [row.buy for row in rows]
    sell[quarters] = [row.sell for row in rows]
    return Prices(buy, sell, path.name)


def load_hourly_prices(
    path: str | os.PathLike[str], *, max_eur_per_kwh: float = 3.0
) -> HourlyPrices:
    """Read the import prices of the same file as hourly means at their own dates.

    Unlike `load_prices` this keeps weekdays and years, so that a file of several years can be
    used whole.

    Args:
        path: The file.
        max_eur_per_kwh: Prices beyond this size are taken for a wrong unit.

    Returns:
        Prices of every hour of the file.

    Raises:
        PriceDataError: The file cannot be used; the message names line, cause and remedy.
    """
    path = Path(path)
    rows = _checked(path, max_eur_per_kwh)
    means = hourly_means(np.array([row.buy for row in rows]))
    return HourlyPrices(rows[0].stamp.time, means, path.name)


def _checked(path: Path, max_eur_per_kwh: float) -> list[_Row]:
    """Rows of a file: whole days, every quarter-hour, prices of the right size."""
    rows = _read(path)
    for row in rows:
        for value in (row.buy, row.sell):
            check_unit(row.stamp.line, value, max_eur_per_kwh, PriceDataError)
        if row.sell > row.buy:
            raise PriceDataError(
                f"line {row.stamp.line}: the export price {row.sell:g} is above the import price "
                f"{row.buy:g}; expected export <= import. Swap the columns, or lower it."
            )
    stamps = [row.stamp for row in rows]
    _AXIS.check(stamps)
    _check_whole_days(stamps)
    return rows


def check_unit(line: int, price: float, most: float, error: type[FlexgymError]) -> None:
    """Refuse a price that is too large to be EUR/kWh, by the class of error given."""
    if abs(price) > most:
        raise error(
            f"line {line}: a price of {price:g}; expected EUR/kWh of at most "
            f"{most:g}. It looks like EUR/MWh (divide by 1000) or ct/kWh "
            "(divide by 100); if it is right, read the file in Python with a larger "
            "max_eur_per_kwh."
        )
