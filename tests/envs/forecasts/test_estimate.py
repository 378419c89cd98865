"""Estimates equal what is computed another way; the tests tell a martingale from others."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexgym.envs.data import HourlyPrices
from flexgym.envs.errors import ForecastError
from flexgym.envs.forecasts.estimate import QUANTILES, estimate, histogram
from flexgym.envs.forecasts.forecaster import Forecaster
from flexgym.envs.forecasts.record import ForecastRecord
from flexgym.envs.forecasts.signal_fit import fit_signals
from flexgym.envs.forecasts.signals import SignalProcess

START = dt.datetime(2023, 1, 1)


def autoregression(T: int, persistence: float = 0.8, sd: float = 0.03) -> SignalProcess:
    curve = 0.2 + 0.05 * np.sin(2 * np.pi * np.arange(T) / 24)
    return SignalProcess.autoregressive(curve, persistence, sd, 9)


@pytest.fixture(scope="module")
def exact(record_of) -> ForecastRecord:
    return record_of(autoregression(1500), 6, 5)


def test_estimates_against_loops(exact):
    found, table = estimate(exact), exact.forecast
    T, K = exact.periods, exact.leads
    for k in range(1, K + 1):
        error = [table[t, k] - table[t, 0] for t in range(T)]
        assert found.error.mean[k - 1] == pytest.approx(np.mean(error), abs=1e-15)
        assert found.error.sd[k - 1] == pytest.approx(np.std(error))
        np.testing.assert_allclose(
            found.error.quantiles[:, k - 1], np.quantile(error, QUANTILES), atol=1e-15
        )
    issued = np.array(
        [[table[s + k, k] - table[s + k, k + 1] for k in range(K)] for s in range(T - K + 1)]
    )
    np.testing.assert_allclose(
        found.update_covariance, np.cov(issued.T, bias=True), rtol=1e-9, atol=1e-18
    )
    later = [table[t, 2] - table[t, 3] for t in range(T)]
    earlier = [table[t, 3] - table[t, 4] for t in range(T)]
    assert found.martingale.revision_correlation[2] == pytest.approx(
        np.corrcoef(later, earlier)[0, 1]
    )
    assert found.price_mean_eur_per_kwh == pytest.approx(table[:, 0].mean())


def test_the_estimates_approach_the_process(exact):
    persistence, sd, K = 0.8, 0.03, exact.leads
    found = estimate(exact)
    expected = sd * np.sqrt(1 - persistence ** (2 * np.arange(1, K + 1)))
    np.testing.assert_allclose(found.error.sd, expected, rtol=0.1)
    shock = sd**2 * (1 - persistence**2) * persistence ** np.add.outer(np.arange(K), np.arange(K))
    np.testing.assert_allclose(found.update_covariance, shock, rtol=0.15)


def test_conditional_expectations_pass_as_a_martingale(record_of):
    p = [estimate(record_of(autoregression(400), 5, seed)).martingale.p_value for seed in range(60)]
    assert np.mean(np.array(p) < 0.05) <= 0.12  # Bonferroni: 5 % at most in the limit
    assert max(p) == 1.0


def test_others_do_not(exact):
    table = exact.forecast.copy()
    table[:, 1:] += 0.004
    biased = estimate(ForecastRecord(START, table, "biased"))
    assert abs(biased.martingale.mean_z[0]) > 5.0
    assert biased.martingale.p_value < 1e-5
    np.testing.assert_allclose(biased.error.mean, estimate(exact).error.mean + 0.004, atol=1e-12)
    # smoothed: half of each update comes one period late
    smooth = exact.forecast.copy()
    smooth[:, 1:-1] = 0.5 * (exact.forecast[:, 1:-1] + exact.forecast[:, 2:])
    slow = estimate(ForecastRecord(START, smooth, "slow"))
    assert slow.martingale.revision_z[1:4].min() > 5.0
    assert slow.martingale.p_value < 1e-5


def test_perfect_forecasts():
    price = np.random.default_rng(0).normal(size=50)
    found = estimate(ForecastRecord(START, np.tile(price[:, None], 4), "perfect"))
    assert not found.error.sd.any()
    assert not found.update_covariance.any()
    assert found.martingale.p_value == 1.0
    one = estimate(ForecastRecord(START, np.tile(price[:, None], 2), "one lead time"))
    assert one.martingale.revision_z.shape == (0,)


@given(st.integers(0, 1000), st.integers(1, 50))
def test_histograms_count_everything(seed, bins):
    values = np.random.default_rng(seed).normal(size=(37, 3))
    edges, counts = histogram(values, bins)
    assert edges.shape == (bins + 1,)
    assert counts.sum(axis=1).tolist() == [37] * 3
    assert counts[1, 0] == (values[:, 1] < edges[1]).sum() or bins == 1


def test_rounding_is_no_finding():
    """Prices that never change, or forecasts that are off by the same: nothing to be found."""
    up = np.nextafter(0.3, 1.0)
    rounded = np.full((200, 5), 0.3)
    rounded[:, 0] = up
    rounded[::2, 3] = up
    price = np.random.default_rng(1).normal(0.3, 0.1, (200, 1))
    for table in (rounded, price + np.linspace(0.0, 0.4, 5)):
        found = estimate(ForecastRecord(START, table, "rounded"))
        test, fit = found.martingale, fit_signals(found)
        assert not found.error.sd.any()
        assert not test.serial_z.any()
        assert not test.revision_z.any()
        assert not test.serial_correlation.any()
        assert (fit.persistence, fit.sd_eur_per_kwh, fit.misfit) == (0.0, 0.0, 0.0)
    found = estimate(ForecastRecord(START, rounded, "rounded"))
    assert found.martingale.p_value == 1.0
    assert not found.error.mean.any()
    flat = HourlyPrices(START, np.full(24 * 90, 0.1 + 0.2), "flat")
    found = estimate(Forecaster(14).record(flat, 12))
    assert found.martingale.p_value == 1.0
    assert not found.error.sd.any()


def test_bad_input_is_named():
    for wrong in ("abc", None, np.zeros((40, 2))):
        with pytest.raises(ForecastError, match="expected a ForecastRecord"):
            estimate(wrong)
    for values in ("abc", ["1", "2"], None, [[1.0], [1.0, 2.0]]):
        with pytest.raises(ForecastError, match="no array of numbers"):
            histogram(values, 4)
    for start in (dt.datetime(2023, 1, 1, 0, 30), dt.datetime(2023, 1, 1, tzinfo=dt.UTC), "2023"):
        with pytest.raises(ForecastError, match="full hour"):
            ForecastRecord(start, np.zeros((40, 2)), "odd")
    with pytest.raises(ForecastError, match="has 31 hours with 3 lead times; expected 32"):
        estimate(ForecastRecord(START, np.zeros((31, 4)), "short"))
    for values, bins in (([], 4), ([np.nan], 4), ([0.1], 0), ([0.1], 2.5)):
        with pytest.raises(ForecastError, match="bins"):
            histogram(values, bins)
