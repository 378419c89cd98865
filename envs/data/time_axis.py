"""The quarter-hours of a user's file: checked one by one, and laid on the calendar of 2016.

The clock has no daylight saving (UTC or local standard time); a time stamp is the beginning of
its quarter-hour.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.data.calendar import QUARTERS, YEAR
from flexgym.envs.errors import FlexgymError
from flexgym.envs.household.params import STEPS_PER_DAY

QUARTER = dt.timedelta(minutes=15)
_HOUR = dt.timedelta(hours=1)
_SUNDAY = 6


class Stamp(NamedTuple):
    """Time stamp of a row.

    Attributes:
        line: Line of the file.
        time: Beginning of the quarter-hour, without time zone.
        offset: Offset of the clock from UTC, or None where it is not written.
    """

    line: int
    time: dt.datetime
    offset: dt.timedelta | None


@dataclass(frozen=True)
class TimeAxis:
    """Rules for the time stamps of a file, and the error that says where they are broken.

    Attributes:
        error: Class of every error.
        gap_remedy: What to do about a gap, as a sentence.
    """

    error: type[FlexgymError]
    gap_remedy: str

    def check(self, stamps: Sequence[Stamp]) -> None:
        """Refuse rows that are not one quarter-hour apart on one clock.

        Args:
            stamps: Time stamps of all rows in the order of the file, at least one.

        Raises:
            FlexgymError: ``error``; a gap, a repetition, a wrong order, another step, daylight
                saving, or mixed time zones.
        """
        steps = Counter(b.time - a.time for a, b in pairwise(stamps))
        common = steps.most_common(1)[0][0] if steps else QUARTER
        if common != QUARTER and common > dt.timedelta(0):
            raise self.error(
                f"line {stamps[1].line}: the rows are {common} apart; expected 0:15:00 "
                "(quarter-hourly). Repeat an hourly value four times, or resample."
            )
        for before, stamp in pairwise(stamps):
            if stamp.offset != before.offset:
                if stamp.offset is not None and before.offset is not None:
                    spring = stamp.offset > before.offset
                    self._refuse_daylight_saving(stamp, 92 if spring else 100)
                raise self.error(
                    f"line {stamp.line}: time stamps with and without a time zone are mixed, which "
                    "is ambiguous; expected one kind. Write all of them in UTC or in standard time."
                )
            if stamp.time - before.time != QUARTER:
                self._jump(before, stamp)

    def quarters(self, stamps: Sequence[Stamp]) -> NDArray[np.int64]:
        """Quarter-hours of 2016 with the month, day and time of day of the stamps, shape (n,).

        Args:
            stamps: Time stamps, n of them, each on a quarter-hour.

        Raises:
            FlexgymError: ``error``, where a date comes again in another year.
        """
        seen = np.zeros(QUARTERS, dtype=bool)
        quarters = np.empty(len(stamps), dtype=np.int64)
        for i, stamp in enumerate(stamps):
            year_begin = dt.datetime(YEAR, 1, 1)
            quarter = int((stamp.time.replace(year=YEAR) - year_begin) / QUARTER)
            if seen[quarter]:
                raise self.error(
                    f"line {stamp.line}: {stamp.time.isoformat()} is a date the file has had "
                    "already, one year earlier; expected at most one year. "
                    "Split the file by years."
                )
            seen[quarter] = True
            quarters[i] = quarter
        return quarters

    def _refuse_daylight_saving(self, stamp: Stamp, count: int) -> NoReturn:
        raise self.error(
            f"line {stamp.line}: the clock jumps by one hour at {stamp.time.isoformat()}, a "
            f"daylight-saving day of {count} quarter-hours; expected {STEPS_PER_DAY} every day. "
            "Write the time stamps in UTC or in standard time."
        )

    def _jump(self, before: Stamp, stamp: Stamp) -> NoReturn:
        """Say what is wrong between two rows that are not a quarter-hour apart."""
        step = stamp.time - before.time
        where = f"line {stamp.line}: {stamp.time.isoformat()} follows {before.time.isoformat()}"
        if stamp.time.weekday() == _SUNDAY and 1 <= stamp.time.hour <= 3:
            if step == QUARTER + _HOUR:
                self._refuse_daylight_saving(stamp, 92)
            if step == QUARTER - _HOUR:
                self._refuse_daylight_saving(stamp, 100)
        if not step:
            raise self.error(
                f"line {stamp.line}: duplicate time stamp {stamp.time.isoformat()}; expected each "
                "once. Delete one of the rows; if it is the hour repeated in autumn, use standard "
                "time."
            )
        if step < dt.timedelta(0):
            raise self.error(f"{where}, out of order; expected ascending time. Sort the rows.")
        raise self.error(
            f"{where}, a gap of {step - QUARTER}; expected every quarter-hour. {self.gap_remedy}"
        )
