"""Forecasts, their updates and their errors: one table told in three ways.

A forecast table holds y_hat_{t|t-k}, the price of period t as it was forecast k periods before,
for lead times k = 0..K; y_hat_{t|t} = y_t is the realised price. From it follow

    update  u_{t,k} = y_hat_{t|t-k} - y_hat_{t|t-k-1},   k = 0..K-1    (issued in period t - k)
    error   e_{t,k} = y_hat_{t|t-k} - y_t = -sum_{j=0}^{k-1} u_{t,j},  k = 0..K

Source: "Information Updating Process and Optimal Decision Making" of the microgrid source. Its
equation (3) sums j = 1..k; by its own equation (2) that is e_{t,k+1} - e_{t,1}, one lead time off
and without the last update u_{t,0}. The sum above is the one its definitions give.

Lead times stand on the last axis, periods on the one before; leading axes are batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.errors import ForecastError
from flexgym.envs.household.params import Floats
from flexgym.envs.quantity import as_floats

_ROUNDING = 1e-12
"""Share of the numbers subtracted below which a difference is rounding."""


def updates(forecast: ArrayLike) -> Floats:
    """Updates of a forecast table.

    Args:
        forecast: Forecast of period t, k periods before, shape (..., T, K + 1), EUR/kWh, K >= 1.

    Returns:
        u, shape (..., T, K), EUR/kWh.

    Raises:
        ForecastError: The table is no table, or holds NaN or infinities.
    """
    table = check_table(forecast)
    return table[..., :-1] - table[..., 1:]


def errors(forecast: ArrayLike) -> Floats:
    """Errors of a forecast table; those of lead time 0 are 0.

    Args:
        forecast: As in `updates`.

    Returns:
        e, shape (..., T, K + 1), EUR/kWh.

    Raises:
        ForecastError: As in `updates`.
    """
    table = check_table(forecast)
    return table - table[..., :1]


def errors_from_updates(update: ArrayLike) -> Floats:
    """Errors e_{t,k} = -sum_{j<k} u_{t,j}, shape (..., T, K + 1), of updates (..., T, K)."""
    u = _check(update, "updates", 1)
    return -np.concatenate([np.zeros_like(u[..., :1]), np.cumsum(u, axis=-1)], axis=-1)


def updates_from_errors(error: ArrayLike) -> Floats:
    """Updates u_{t,k} = e_{t,k} - e_{t,k+1}, shape (..., T, K), of errors (..., T, K + 1)."""
    e = _check(error, "errors", 2)
    return e[..., :-1] - e[..., 1:]


def forecasts_from_updates(earliest_eur_per_kwh: ArrayLike, update: ArrayLike) -> Floats:
    """The forecast table that begins with given forecasts and is updated.

    Args:
        earliest_eur_per_kwh: Forecasts K periods before, shape (T,) or (..., T), EUR/kWh.
        update: Updates, shape (..., T, K), EUR/kWh.

    Returns:
        y_hat_{t|t-k} = y_hat_{t|t-K} + sum_{j=k}^{K-1} u_{t,j}, shape (..., T, K + 1), EUR/kWh.

    Raises:
        ForecastError: Shapes differ, or numbers are not finite.
    """
    u = _check(update, "updates", 1)
    base = _of_periods(earliest_eur_per_kwh, "earliest_eur_per_kwh", u)
    later = np.flip(np.cumsum(np.flip(u, axis=-1), axis=-1), axis=-1)
    return np.concatenate([base + later, base], axis=-1)


def forecasts_from_errors(price_eur_per_kwh: ArrayLike, error: ArrayLike) -> Floats:
    """The forecast table of realised prices (..., T) and errors (..., T, K + 1)."""
    e = _check(error, "errors", 2)
    return _of_periods(price_eur_per_kwh, "price_eur_per_kwh", e) + e


def by_issue(update: ArrayLike) -> Floats:
    """Updates that were issued together, period by period.

    Row s holds U_{s,k} = u_{s+k,k}: what was learnt in period s of the prices of s, s + 1, ...,
    s + K - 1. Only rows are given whose updates all stand in the table.

    Args:
        update: Updates by period of delivery, shape (..., T, K), T >= K.

    Returns:
        Shape (..., T - K + 1, K), EUR/kWh.

    Raises:
        ForecastError: The table is shorter than its longest lead time.
    """
    u = _check(update, "updates", 1)
    T, K = u.shape[-2:]
    if T < K:
        raise ForecastError(
            f"updates cover {T} periods and {K} lead times; expected as many periods as lead times "
            "at least, or nothing was issued together. Use fewer lead times."
        )
    return u[..., np.arange(T - K + 1)[:, None] + np.arange(K), np.arange(K)]


def by_delivery(issued: ArrayLike) -> Floats:
    """Updates by the period they speak of: u_{t,k} = U_{t-k,k}.

    Args:
        issued: Updates issued together, shape (..., S, K), S >= K; row 0 is issued K - 1 periods
            before the first period of the result.

    Returns:
        Shape (..., S - K + 1, K), EUR/kWh: the periods all of whose updates are given.

    Raises:
        ForecastError: Fewer rows than lead times.
    """
    vectors = _check(issued, "issued", 1)
    S, K = vectors.shape[-2:]
    if S < K:
        raise ForecastError(
            f"issued holds {S} periods and {K} lead times; expected as many periods as lead times "
            "at least. Issue more."
        )
    rows = np.arange(S - K + 1)[:, None] + K - 1 - np.arange(K)
    return vectors[..., rows, np.arange(K)]


def without_rounding(difference: Floats, size: float) -> Floats:
    """Differences of numbers up to ``size`` with 0 where nothing but rounding is left."""
    return np.where(np.abs(difference) > _ROUNDING * size, difference, 0.0)


def check_table(forecast: ArrayLike) -> Floats:
    """A forecast table as an array of numbers, shape (..., T, K + 1), or `ForecastError`."""
    return _check(forecast, "forecast", 2)


def _of_periods(values: Any, name: str, table: Floats) -> Floats:
    """A number for each period of a table (..., T, K), shape (..., T, 1); (T,) goes for all."""
    array, shape = as_floats(values, name, ForecastError), table.shape[:-1]
    if array.shape not in (shape, shape[-1:]) or not np.isfinite(array).all():
        raise ForecastError(
            f"{name} has shape {array.shape}; expected {shape} or {shape[-1:]} finite numbers, one "
            "for every period."
        )
    return np.broadcast_to(array, shape)[..., None]


def _check(values: Any, name: str, least: int) -> Floats:
    array = as_floats(values, name, ForecastError)
    if array.ndim < 2 or array.shape[-1] < least or array.shape[-2] < 1:
        raise ForecastError(
            f"{name} has shape {array.shape}; expected (..., periods, lead times) with at least "
            f"{least} on the last axis."
        )
    if not np.isfinite(array).all():
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ForecastError(
            f"{name}{list(bad)} is {array[bad]}; expected finite numbers. Fill the gap, or leave "
            "the period out."
        )
    return array
