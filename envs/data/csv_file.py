"""A user's CSV file: its rows as text, numbers and times; errors name line, cause and remedy."""

from __future__ import annotations

import csv
import datetime as dt
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flexgym.envs.errors import FlexgymError

# Stricter than fromisoformat, which also takes week dates and dates without a time.
_STAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.0+)?)?(Z|[+-]\d\d:?\d\d)?")


@dataclass(frozen=True)
class CsvFormat:
    """What a file must look like, and the error that says where it does not.

    Attributes:
        columns: Columns it must have, in any order.
        error: Class of every error.
        content: What stands below the header, such as ``"one row a quarter-hour"``.
        example: A number as it may stand there.
        unit: What to leave out where a number is lacking, such as ``"the whole day"``.
        optional: Columns it may have besides.
        others: What each further column holds, such as ``"load profile"``; there must be one
            at least, of any name. Empty where no further columns are allowed.
    """

    columns: tuple[str, ...]
    error: type[FlexgymError]
    content: str
    example: str
    unit: str
    optional: tuple[str, ...] = ()
    others: str = ""

    @property
    def header(self) -> str:
        """The header as a user would write it."""
        fixed = ",".join(self.columns) + "".join(f"[,{name}]" for name in self.optional)
        return f"{fixed},<{self.others}>[,...]" if self.others else fixed

    def _fits(self, header: list[str]) -> bool:
        names = set(header)
        others = names - {*self.columns, *self.optional}
        if len(names) < len(header) or not names >= set(self.columns):
            return False
        return bool(others) and "" not in others if self.others else not others

    def _columns(self, names: list[str], path: Path) -> list[str]:
        if not names:
            raise self.error(
                f"{path} is empty; expected the header {self.header} and {self.content}. "
                "Export it again."
            )
        header = [name.strip() for name in names]
        if not self._fits(header):
            remedy = (
                f"Name every column once, and one {self.others} or more besides."
                if self.others
                else "Rename the columns and drop the others."
            )
            raise self.error(
                f"line 1: the columns are {', '.join(header)}; expected {self.header}, "
                f"separated by commas. {remedy}"
            )
        return header

    def read(self, path: Path) -> list[CsvRow]:
        """Rows of the file in its order, empty lines left out; at least one.

        Raises:
            FlexgymError: ``error``, where the file cannot be read or has other columns.
        """
        rows: list[CsvRow] = []
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.reader(file, strict=True)
                header = self._columns(next(reader, []), path)
                for fields in reader:
                    if not fields:
                        continue
                    if len(fields) != len(header):
                        raise self.error(
                            f"line {reader.line_num}: {len(fields)} values; expected "
                            f"{len(header)}, separated by commas. "
                            "Write decimal points: a decimal comma splits a number."
                        )
                    text = dict(zip(header, (field.strip() for field in fields), strict=True))
                    rows.append(CsvRow(reader.line_num, text, self))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise self.error(
                f"{path} cannot be read ({error}); expected a UTF-8 CSV file with the columns "
                f"{self.header}. Check the path and the file."
            ) from error
        if not rows:
            raise self.error(
                f"{path} is empty below its header; expected {self.content}. Export it again."
            )
        return rows


@dataclass(frozen=True)
class CsvRow:
    """One row of a file.

    Attributes:
        line: Its line in the file, the header being line 1.
        text: Text of every column, without spaces around it.
        format: What the file must look like.
    """

    line: int
    text: Mapping[str, str]
    format: CsvFormat

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the columns that the format does not name, in the order of the file."""
        named = {*self.format.columns, *self.format.optional}
        return tuple(name for name in self.text if name not in named)

    def number(self, column: str) -> float:
        """Value of a column.

        Raises:
            FlexgymError: ``format.error``, where it is no finite number.
        """
        text = self.text[column]
        try:
            value = float(text)
        except ValueError:
            raise self.format.error(
                f"line {self.line}: {column} is {text!r}; expected a number such as "
                f"{self.format.example}. "
                "Write decimal points, no thousands separators, no units."
            ) from None
        if not math.isfinite(value):
            raise self.format.error(
                f"line {self.line}: {column} is {text}; expected a finite number. "
                f"Fill the gap, or leave out {self.format.unit}."
            )
        return value

    def time(self, column: str) -> tuple[dt.datetime, dt.timedelta | None]:
        """Time stamp of a column without its time zone, and the offset of that from UTC.

        Raises:
            FlexgymError: ``format.error``, where it is no ISO time stamp with date and time.
        """
        text = self.text[column]
        try:
            if not _STAMP.fullmatch(text):
                raise ValueError
            stamp = dt.datetime.fromisoformat(text)
        except ValueError:
            raise self.format.error(
                f"line {self.line}: {column} is {text!r}; expected an ISO time stamp such as "
                "2023-01-31T18:15. "
                "Other orders of day and month are ambiguous: rewrite the column."
            ) from None
        return stamp.replace(tzinfo=None), stamp.utcoffset()
