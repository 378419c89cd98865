"""Hourly prices of any stretch of time: what forecasts are made and judged with."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from flexgym.envs.data.calendar import YEAR
from flexgym.envs.data.prices import Prices
from flexgym.envs.errors import PriceDataError
from flexgym.envs.household.params import Floats

HOUR = dt.timedelta(hours=1)
_QUARTERS_PER_HOUR = 4


@dataclass(frozen=True, eq=False)
class HourlyPrices:
    """Prices of successive hours, read-only.

    Attributes:
        start: Beginning of the first hour, on a clock without daylight saving.
        price_eur_per_kwh: Shape (n,), EUR/kWh; may be negative.
        name: Where the prices come from.
    """

    start: dt.datetime
    price_eur_per_kwh: Floats
    name: str

    def __post_init__(self) -> None:
        array = np.array(self.price_eur_per_kwh, dtype=np.float64)
        if array.ndim != 1 or not array.size:
            raise PriceDataError(
                f"price_eur_per_kwh has shape {array.shape}; expected one number an hour."
            )
        if not np.isfinite(array).all():
            hour = int(np.argmin(np.isfinite(array)))
            raise PriceDataError(
                f"the price of {(self.start + hour * HOUR).isoformat()} is {array[hour]}; expected "
                "a finite number every hour. Fill the gap, or use a stretch without gaps."
            )
        if self.start.replace(minute=0, second=0, microsecond=0, tzinfo=None) != self.start:
            raise PriceDataError(
                f"start is {self.start.isoformat()}; expected a full hour without time zone."
            )
        array.flags.writeable = False
        object.__setattr__(self, "price_eur_per_kwh", array)

    @classmethod
    def of_year(cls, prices: Prices) -> HourlyPrices:
        """Hourly means of the import prices of 2016.

        Raises:
            PriceDataError: The prices do not cover the whole year.
        """
        return cls(dt.datetime(YEAR, 1, 1), hourly_means(prices.import_eur_per_kwh), prices.name)


def hourly_means(quarters: Floats) -> Floats:
    """Means of four quarter-hours each, shape (n,) of (4 n,); NaN where one is missing."""
    return np.asarray(quarters, dtype=np.float64).reshape(-1, _QUARTERS_PER_HOUR).mean(axis=1)
