"""Forecasts from prices alone: they know the past only, and find what is regular."""

import datetime as dt

import numpy as np
import pytest

from flexgym.envs.data import HourlyPrices, synthetic_prices
from flexgym.envs.errors import ForecastError, PriceDataError
from flexgym.envs.forecasts.estimate import estimate
from flexgym.envs.forecasts.forecaster import Forecaster
from flexgym.envs.forecasts.record import ForecastRecord

MONDAY = dt.datetime(2023, 5, 1)
WEEK = Forecaster(7)


def series(values, start=MONDAY):
    return HourlyPrices(start, values, "mine")


def regular(hours, start=MONDAY):
    """A price that depends on the hour and the kind of day only."""
    times = [start + i * dt.timedelta(hours=1) for i in range(hours)]
    return np.array([0.1 + 0.01 * t.hour + 0.05 * (t.weekday() >= 5) for t in times])


@pytest.mark.parametrize("hour", [0, 17])
def test_what_is_regular_is_forecast_exactly(hour):
    start = MONDAY + dt.timedelta(hours=hour)
    record = WEEK.record(series(regular(24 * 40, start), start), 30)
    price = record.price_eur_per_kwh
    np.testing.assert_allclose(record.forecast, np.tile(price[:, None], 31), atol=1e-12)
    np.testing.assert_array_equal(price, regular(24 * 40, start)[14 * 24 + 30 :])
    assert record.start == start + dt.timedelta(hours=14 * 24 + 30)


def test_forecasts_know_nothing_of_later_prices():
    rng = np.random.default_rng(0)
    prices = regular(24 * 25) + 0.02 * rng.standard_normal(24 * 25)
    cut = 24 * 20
    other = prices.copy()
    other[cut:] += rng.standard_normal(len(prices) - cut)
    one, two = (WEEK.record(series(p), 12) for p in (prices, other))
    first = 14 * 24 + 12
    same = 0
    for row in range(one.periods):
        for k in range(13):
            if first + row - k < cut:  # issued before the prices part
                assert one.forecast[row, k] == two.forecast[row, k]
                same += 1
    assert 0 < same < one.forecast.size
    assert not np.allclose(one.forecast[cut - first + 12], two.forecast[cut - first + 12])


def test_one_forecast_by_hand():
    """The rule written out in loops for one hour of issue, with the regression solved anew."""
    rng = np.random.default_rng(3)
    n, window = 24 * 18, 7 * 24
    y = regular(n) + 0.03 * rng.standard_normal(n)
    weekend = [((i // 24) % 7) >= 5 for i in range(n)]

    def usual(s, t):
        kind = [y[r] for r in range(s - window, s) if r % 24 == t % 24 and weekend[r] == weekend[t]]
        return np.mean(kind)

    x = {r: y[r] - usual(r, r) for r in range(window, n)}
    s = now = 14 * 24 + 24  # a midnight, when weights are fitted
    rows = [r for r in range(now + 1 - window, now + 1) if r - 25 >= window]
    lags = (1, 2, 24, 25)
    b = np.linalg.lstsq([[x[r - i] for i in lags] for r in rows], [x[r] for r in rows], rcond=None)[
        0
    ]
    path = dict(x)
    record = WEEK.record(series(y), 6)
    for k in range(1, 7):
        path[s + k] = sum(w * path[s + k - i] for w, i in zip(b, lags, strict=True))
        expected = usual(s, s + k) + path[s + k]
        row = s + k - (14 * 24 + 6)
        assert record.forecast[row, k] == pytest.approx(expected, abs=1e-12)


def test_an_autoregression_is_forecast_nearly_as_well_as_can_be():
    rng = np.random.default_rng(1)
    n, decay, sd = 24 * 200, 0.8, 0.02
    x = np.zeros(n)
    for t in range(1, n):
        x[t] = decay * x[t - 1] + sd * np.sqrt(1 - decay**2) * rng.standard_normal()
    found = estimate(Forecaster(56).record(series(regular(n) + x), 12)).error.sd
    best = sd * np.sqrt(1 - decay ** (2 * np.arange(1, 13)))
    assert (found > 0.95 * best).all()
    assert (found < 1.12 * best).all()


def test_an_explosive_past_is_not_carried_on():
    growing = regular(24 * 16) + 1e-6 * np.exp(0.02 * np.arange(24 * 16))
    record = WEEK.record(series(growing), 24)
    assert np.isfinite(record.forecast).all()
    assert np.abs(record.forecast[:, 24]).max() <= 1.2 * np.abs(growing).max()


def test_the_synthetic_year():
    record = Forecaster().record(HourlyPrices.of_year(synthetic_prices()), 24)
    assert record.forecast.shape == (366 * 24 - 35 * 24 - 24, 25)
    quarters = synthetic_prices().import_eur_per_kwh.reshape(-1, 4)[-record.periods :]
    np.testing.assert_allclose(record.price_eur_per_kwh, quarters.mean(axis=1), atol=1e-15)
    sd = estimate(record).error.sd
    assert sd[0] < 0.4 * record.price_eur_per_kwh.std()
    assert sd[0] < sd[3] < sd[-1] < record.price_eur_per_kwh.std()


def test_bad_input_is_named():
    with pytest.raises(ForecastError, match="window_days is 6"):
        Forecaster(6)
    with pytest.raises(ForecastError, match="leads is 0"):
        WEEK.record(series(regular(24 * 40)), 0)
    with pytest.raises(PriceDataError, match="has 336 hours; expected more than 338"):
        WEEK.record(series(regular(14 * 24)), 2)
    with pytest.raises(PriceDataError, match="2023-05-01T02:00:00 is nan"):
        series([0.1, 0.1, np.nan])
    with pytest.raises(PriceDataError, match=r"Use a longer file\.$"):
        Forecaster().record(series(regular(48)), 24)
    with pytest.raises(PriceDataError, match=r"longer file, or Forecaster\(7\)\.$"):
        Forecaster().record(series(regular(24 * 20)), 24)
    for values in ("abc", ["1"], None, [True]):
        with pytest.raises(PriceDataError, match="no array of numbers"):
            series(values)
    for start in (None, "2023-05-01", dt.date(2023, 5, 1)):
        with pytest.raises(PriceDataError, match="full hour"):
            series([0.1], start)
    with pytest.raises(PriceDataError, match="expected flexgym"):
        HourlyPrices.of_year(None)
    with pytest.raises(PriceDataError, match="shape"):
        series([[0.1]])
    with pytest.raises(PriceDataError, match="full hour"):
        series([0.1], MONDAY + dt.timedelta(minutes=15))
    with pytest.raises(ForecastError, match="expected 24 at least"):
        _ = ForecastRecord(MONDAY, np.zeros((5, 2)), "short").daily_curve_eur_per_kwh
    with pytest.raises(ForecastError, match="shape"):
        ForecastRecord(MONDAY, np.zeros((2, 5, 2)), "batch")
