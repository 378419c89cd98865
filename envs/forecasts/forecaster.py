"""Forecasts for those who have prices only: the usual price of the hour and what is left over.

Ours, not the source's, which takes its forecasts from outside ("prediction tool"):

    y_hat_{s+k|s} = m_s(s + k) + x_hat_{s+k|s},   k = 0..K
    x_hat_{s+k|s} = sum_l b_l x_hat_{s+k-l|s},    l in {1, 2, 24, 25} hours;  known x where k <= l

m_s(t) is the mean price of the hours before s in the last ``window_days`` days that share t's
hour of the day and kind of day (weekend or not); x_r = y_r - m_r(r) is the deviation from it. The
weights b are the regression of x on its own lags over the same window, anew every 24 hours, with
the roots of the autoregression held at 0.999 or below, so that deviations decay. A forecast
issued in hour s knows the price of hour s and nothing later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.envs.data.calendar import HOURS_PER_DAY, as_index
from flexgym.envs.data.hourly_prices import HOUR, HourlyPrices
from flexgym.envs.errors import ForecastError, PriceDataError
from flexgym.envs.forecasts.record import ForecastRecord
from flexgym.envs.household.params import Floats

LEADS = 24
"""Default longest lead time, hours."""
_LAGS = (1, 2, 24, 25)
_LARGEST_ROOT = 0.999
_SATURDAY = 5
_FIT_DAYS = 7
"""Days of deviations that the weights are fitted to at least."""


@dataclass(frozen=True)
class Forecaster:
    """Trailing means by hour and kind of day, plus a deviation that decays.

    Attributes:
        window_days: Days that means and weights are taken from, at least 7.
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
            f"mean of the hour and kind of day over {self.window_days} days, plus the deviation "
            "from it carried on"
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
            least = 2 * _FIT_DAYS * HOURS_PER_DAY
            raise PriceDataError(
                f"{prices.name} has {n} hours; expected more than {first + K}, since forecasts "
                f"begin after {self.window_days} + {_FIT_DAYS} days. Use a longer file"
                + (f", or Forecaster({_FIT_DAYS})." if n > least + K else ".")
            )
        kind = _kinds(prices, n)
        usual = _trailing_means(y, kind, window)
        deviation = np.zeros(n)
        deviation[window:] = y[window:] - usual[np.arange(window, n), kind[window:]]
        issued = np.arange(first, n)
        ahead = _extrapolate(deviation, issued, K, _weights(deviation, window, first))
        target = np.arange(first + K, n)
        forecast = np.empty((len(target), K + 1))
        forecast[:, 0] = y[target]
        for k in range(1, K + 1):
            s = target - k
            forecast[:, k] = usual[s, kind[target]] + ahead[s - first, k - 1]
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
    # Any 7 days hold every hour of both kinds of day.
    out[window:] = (total[rows] - total[rows - window]) / (count[rows] - count[rows - window])
    return out


def _weights(x: Floats, window: int, first: int) -> Floats:
    """Weights of the lags for every hour from ``first`` on, shape (n - first, lags).

    They change every 24 hours from ``first`` on. Deviations begin with hour ``window``.
    """
    lags, longest = np.array(_LAGS), max(_LAGS)
    out = []
    for now in range(first, len(x), HOURS_PER_DAY):
        row = np.arange(max(now + 1 - window, window + longest), now + 1)
        before = x[row[:, None] - lags]
        # A series without deviations has the weights 0, the least of all that fit.
        weights = np.linalg.lstsq(before, x[row], rcond=None)[0]
        companion = np.eye(longest, k=-1)
        companion[0, lags - 1] = weights
        root = float(np.abs(np.linalg.eigvals(companion)).max())
        out.append(weights * min(1.0, _LARGEST_ROOT / max(root, _LARGEST_ROOT)) ** lags)
    return np.repeat(out, HOURS_PER_DAY, axis=0)[: len(x) - first]


def _extrapolate(x: Floats, issued: np.ndarray, K: int, weights: Floats) -> Floats:
    """Deviations expected 1..K hours after each hour of issue, shape (n, K)."""
    longest = max(_LAGS)
    path = np.empty((len(issued), longest + K))
    path[:, :longest] = x[issued[:, None] + np.arange(1 - longest, 1)]
    for k in range(longest, longest + K):
        path[:, k] = sum(weights[:, i] * path[:, k - lag] for i, lag in enumerate(_LAGS))
    return path[:, longest:]
