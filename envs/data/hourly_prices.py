"""Hourly prices of any stretch of time: what forecasts are made and judged with."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from flexgym.envs.data.calendar import YEAR
from flexgym.envs.data.prices import Prices
from flexgym.envs.errors import FlexgymError, PriceDataError
from flexgym.envs.household.params import Floats
from flexgym.envs.quantity import as_floats

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
        check_start(self.start, PriceDataError)
        array = as_floats(self.price_eur_per_kwh, "price_eur_per_kwh", PriceDataError)
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
        array.flags.writeable = False
        object.__setattr__(self, "price_eur_per_kwh", array)

    @classmethod
    def of_year(cls, prices: Prices) -> HourlyPrices:
        """Hourly means of the import prices of 2016.

        Raises:
            PriceDataError: The prices do not cover the whole year.
        """
        if not isinstance(prices, Prices):
            raise PriceDataError(
                f"prices is {type(prices).__name__}; expected flexgym.envs.data.Prices."
            )
        return cls(dt.datetime(YEAR, 1, 1), hourly_means(prices.import_eur_per_kwh), prices.name)


def check_start(start: object, error: type[FlexgymError]) -> None:
    """Refuse what is no full hour of a clock without time zone, by the class of error given."""
    if not isinstance(start, dt.datetime) or (
        start.replace(minute=0, second=0, microsecond=0, tzinfo=None) != start
    ):
        raise error(f"start is {start}; expected a datetime at a full hour, without time zone.")


def hourly_means(quarters: Floats) -> Floats:
    """Means of four quarter-hours each, shape (n,) of (4 n,); NaN where one is missing."""
    return np.asarray(quarters, dtype=np.float64).reshape(-1, _QUARTERS_PER_HOUR).mean(axis=1)
