"""A record of hourly forecasts and what came of them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.data.calendar import HOURS_PER_DAY
from flexgym.envs.data.hourly_prices import HOUR, check_start
from flexgym.envs.errors import ForecastError
from flexgym.envs.forecasts.updates import check_table, errors, updates, without_rounding
from flexgym.envs.household.params import Floats


@dataclass(frozen=True, eq=False)
class ForecastRecord:
    """Forecasts of successive hours with all lead times, read-only.

    Attributes:
        start: Beginning of the first hour that is forecast.
        forecast: Forecast of hour t, k hours before, shape (T, K + 1), EUR/kWh, K >= 1; column 0
            holds the realised prices.
        name: Where the prices come from.
        forecaster: Where the forecasts come from.

    Raises:
        ForecastError: The table is none, or the start no full hour.
    """

    start: dt.datetime
    forecast: Floats
    name: str
    forecaster: str = "the file's own forecasts"

    def __post_init__(self) -> None:
        check_start(self.start, ForecastError)
        table = np.array(check_table(self.forecast))
        if table.ndim != 2:
            raise ForecastError(
                f"forecast has shape {table.shape}; expected (periods, lead times + 1)."
            )
        table.setflags(write=False)
        object.__setattr__(self, "forecast", table)

    @property
    def periods(self) -> int:
        """Hours that are forecast, T."""
        return len(self.forecast)

    @property
    def leads(self) -> int:
        """Longest lead time, K, hours."""
        return self.forecast.shape[1] - 1

    @property
    def price_eur_per_kwh(self) -> Floats:
        """Realised prices, shape (T,)."""
        return self.forecast[:, 0]

    @property
    def error_eur_per_kwh(self) -> Floats:
        """Errors e_{t,k} without rounding, shape (T, K + 1), EUR/kWh."""
        # Flat prices would else have errors of 1e-17, and statistics of them.
        return without_rounding(errors(self.forecast), float(np.abs(self.forecast).max()))

    @property
    def update_eur_per_kwh(self) -> Floats:
        """Updates u_{t,k} without rounding, shape (T, K), EUR/kWh."""
        return without_rounding(updates(self.forecast), float(np.abs(self.forecast).max()))

    @property
    def hour_of_day(self) -> NDArray[np.int64]:
        """Hour of the day of each period, shape (T,)."""
        return (self.start.hour + np.arange(self.periods)) % HOURS_PER_DAY

    @property
    def daily_curve_eur_per_kwh(self) -> Floats:
        """Mean realised price by hour of the day, shape (24,), EUR/kWh.

        Raises:
            ForecastError: The record is shorter than a day.
        """
        if self.periods < HOURS_PER_DAY:
            raise ForecastError(
                f"the record has {self.periods} hours; expected {HOURS_PER_DAY} at least."
            )
        hour = self.hour_of_day
        total = np.bincount(hour, self.price_eur_per_kwh, HOURS_PER_DAY)
        return total / np.bincount(hour, minlength=HOURS_PER_DAY)

    def time(self, period: int) -> dt.datetime:
        """Beginning of a period."""
        return self.start + period * HOUR
