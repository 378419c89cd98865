"""Forecasts for those who have prices only: the usual price of the hour and what is left over.

Ours, not the source's, which takes its forecasts from outside ("prediction tool"):

    y_hat_{s+k|s} = m_s(s + k) + phi_s^k (y_s - m_s(s)),   k = 0..K

m_s(t) is the mean price of the hours before s in the last ``window_days`` days that share t's
hour of the day and kind of day (weekend or not); phi_s is the regression of the deviations
x_r = y_r - m_r(r), s - window < r <= s, on x_{r-1}, held between 0 and 1. A forecast issued in
hour s knows the price of hour s and nothing later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.envs.data.calendar import as_index
from flexgym.envs.data.hourly_prices import HOUR, HourlyPrices
from flexgym.envs.errors import ForecastError, PriceDataError
from flexgym.envs.forecasts.record import HOURS_PER_DAY, ForecastRecord
from flexgym.envs.household.params import Floats

LEADS = 24
"""Default longest lead time, hours."""
_SATURDAY = 5
_FIT_DAYS = 7
"""Days of deviations that phi is fitted to at least."""


@dataclass(frozen=True)
class Forecaster:
    """Trailing means by hour and kind of day, plus a deviation that decays.

    Attributes:
        window_days: Days the means and the decay are taken from, at least 7.
    """

    window_days: int = 28

    def __post_init__(self) -> None:
        days = as_index(self.window_days)
        if days is None or days < _FIT_DAYS:
            raise ForecastError(
                f"window_days is {self.window_days!r}; expected an integer of at least {_FIT_DAYS}."
            )

    @property
    def name(self) -> str:
        """What it does, in words."""
        return (
            f"mean of the hour and kind of day over {self.window_days} days plus a decaying "
            "deviation"
        )

    def record(self, prices: HourlyPrices, leads: int = LEADS) -> ForecastRecord:
        """Forecast every hour of a series that has all its lead times.

        Args:
            prices: The series.
            leads: Longest lead time K, hours, at least 1.

        Returns:
            The record, beginning ``window_days + 7`` days and ``leads`` hours after the series.

        Raises:
            ForecastError: ``leads`` is no integer of at least 1.
            PriceDataError: The series is too short.
        """
        K = as_index(leads)
        if K is None or K < 1:
            raise ForecastError(f"leads is {leads!r}; expected an integer of at least 1, hours.")
        y, n = prices.price_eur_per_kwh, len(prices.price_eur_per_kwh)
        window = self.window_days * HOURS_PER_DAY
        first = window + _FIT_DAYS * HOURS_PER_DAY
        if n <= first + K:
            raise PriceDataError(
                f"{prices.name} has {n} hours; expected more than {first + K}, since forecasts "
                f"begin after {self.window_days} + {_FIT_DAYS} days. Use a longer file, or a "
                "shorter window."
            )
        kind = _kinds(prices, n)
        usual = _trailing_means(y, kind, window)
        deviation = np.zeros(n)
        deviation[window:] = y[window:] - usual[np.arange(window, n), kind[window:]]
        decay = _trailing_decay(deviation, window)
        forecast = np.empty((n - first - K, K + 1))
        target = np.arange(first + K, n)
        for k in range(K + 1):
            s = target - k
            forecast[:, k] = usual[s, kind[target]] + decay[s] ** k * deviation[s]
        forecast[:, 0] = y[target]  # the same but for rounding
        return ForecastRecord(prices.start + (first + K) * HOUR, forecast, prices.name, self.name)


def _kinds(prices: HourlyPrices, n: int) -> np.ndarray:
    """Hour of the day, plus 24 at weekends, shape (n,)."""
    hours = prices.start.hour + np.arange(n)
    weekday = (prices.start.weekday() + hours // HOURS_PER_DAY) % 7
    return hours % HOURS_PER_DAY + HOURS_PER_DAY * (weekday >= _SATURDAY)


def _trailing_means(y: Floats, kind: np.ndarray, window: int) -> Floats:
    """Mean of each kind over the ``window`` hours before each hour, shape (n, 48).

    NaN before a whole window has passed.
    """
    n, kinds = len(y), 2 * HOURS_PER_DAY
    mark = np.zeros((n + 1, kinds))
    mark[np.arange(1, n + 1), kind] = 1.0
    count = np.cumsum(mark, axis=0)
    mark[np.arange(1, n + 1), kind] = y
    total = np.cumsum(mark, axis=0)
    out = np.full((n, kinds), np.nan)
    rows = np.arange(window, n)
    # A window of whole weeks or more holds every kind; one of 7 days at least does, too.
    out[window:] = (total[rows] - total[rows - window]) / (count[rows] - count[rows - window])
    return out


def _trailing_decay(x: Floats, window: int) -> Floats:
    """Regression of x on the value before over the last ``window`` hours, in [0, 1], shape (n,).

    Deviations begin with hour ``window``; until then they are 0 and count nothing.
    """
    n = len(x)
    product, square = np.zeros(n + 1), np.zeros(n + 1)
    product[2:] = np.cumsum(x[1:] * x[:-1])
    square[2:] = np.cumsum(x[:-1] ** 2)
    before = np.maximum(np.arange(1, n + 1) - window, 0)
    above, below = product[1:] - product[before], square[1:] - square[before]
    slope = np.divide(above, below, out=np.zeros(n), where=below > 0.0)
    return np.clip(slope, 0.0, 1.0)
