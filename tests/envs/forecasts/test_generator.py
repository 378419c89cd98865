"""Generated forecasts have the statistics they were made from, and are a martingale."""

import datetime as dt
import itertools

import numpy as np
import pytest

from flexgym.envs.errors import ForecastError
from flexgym.envs.forecasts.estimate import QUANTILES, estimate
from flexgym.envs.forecasts.generator import KINDS, ForecastGenerator
from flexgym.envs.forecasts.record import ForecastRecord

START = dt.datetime(2023, 1, 1)
K = 4


def source(T=600, seed=0):
    """A record with skewed updates of every lead time, correlated, and a bias."""
    rng = np.random.default_rng(seed)
    mix = np.array(
        [[1.0, 0.0, 0.0, 0.0], [0.8, 0.5, 0.0, 0.0], [0.3, -0.4, 0.5, 0.0], [0.0, 0.2, 0.1, 0.4]]
    )
    issued = 0.01 * (rng.exponential(size=(T + K - 1, K)) - 0.8) @ mix.T
    generator = ForecastGenerator(issued)
    return ForecastRecord(START, generator.draw(np.full(T, 0.2), rng), "made")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep_bias", [False, True])
def test_statistics_come_again_within_their_errors(kind, keep_bias):
    record = source()
    generator = ForecastGenerator.of(record, kind, keep_bias=keep_bias)
    T = 20_000
    table = generator.draw(np.full(T, 0.2), np.random.default_rng(1))
    found, given = estimate(ForecastRecord(START, table, kind)), estimate(record)
    issued = generator.vectors_eur_per_kwh
    se = issued.std(axis=0) / np.sqrt(T)
    np.testing.assert_array_less(np.abs(found.update.mean - issued.mean(axis=0)), 4.5 * se)
    # the error of a sample covariance is that of the mean of products of deviations
    deviation = issued - issued.mean(axis=0)
    if kind == "bootstrap":
        products = deviation[:, :, None] * deviation[:, None, :]
        spread = products.std(axis=0)
    else:
        c = generator.covariance
        spread = np.sqrt(np.outer(np.diag(c), np.diag(c)) + c**2)
    apart = np.abs(found.update_covariance - given.update_covariance)
    np.testing.assert_array_less(apart, 4.5 * spread / np.sqrt(T) + 1e-12)
    np.testing.assert_allclose(
        generator.error_sd_eur_per_kwh, np.sqrt(np.cumsum(np.diag(given.update_covariance)))
    )
    np.testing.assert_allclose(found.error.sd, generator.error_sd_eur_per_kwh, rtol=0.04)
    if not keep_bias:
        assert found.martingale.p_value > 0.01
        np.testing.assert_array_less(np.abs(found.error.mean), 1e-3)
    if kind == "bootstrap":  # quantiles too, skewness included
        share = (issued[:, None, :] <= found.update.quantiles).mean(axis=0)
        np.testing.assert_allclose(share, np.tile(np.array(QUANTILES)[:, None], K), atol=0.02)


def test_forecasts_are_the_expectations_of_what_can_follow():
    """Exactly, over every sequence of vectors that the bootstrap can draw."""
    vectors = np.array([[0.01, -0.02], [-0.03, 0.05], [0.02, -0.03]])
    assert np.abs(vectors.sum(axis=0)).max() < 1e-15

    class Chosen:
        def __init__(self, picks):
            self.picks = picks

        def integers(self, high, size):
            assert size == self.picks.shape
            return self.picks

    generator, T = ForecastGenerator(vectors), 3
    picks = np.array(list(itertools.product(range(3), repeat=T + 1)))
    tables = generator.draw(np.array([0.1, 0.3, -0.2]), Chosen(picks), len(picks))
    for t, k in itertools.product(range(T), range(2)):
        now = t - k - 1  # when the forecast k + 1 periods before was issued
        for past in itertools.product(range(3), repeat=max(now + 2, 0)):
            same = (picks[:, : now + 2] == past).all(axis=1)
            before = tables[same, t, k + 1]
            assert np.ptp(before) == 0.0
            assert tables[same, t, k].mean() == pytest.approx(before[0], abs=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_and_shapes(kind):
    generator = ForecastGenerator.of(source(), kind)
    first = np.linspace(0.1, 0.3, 24)
    one, again = (generator.draw(first, np.random.default_rng(7), 5) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert one.shape == (5, 24, K + 1)
    np.testing.assert_array_equal(one[:, :, -1], np.tile(first, (5, 1)))
    assert generator.draw(first, np.random.default_rng(7)).shape == (24, K + 1)
    assert generator.draw(first, np.random.default_rng(7), 0).shape == (0, 24, K + 1)
    assert np.ptp(one[:, 3, 0]) > 0.0


def test_a_record_of_perfect_forecasts_stays_perfect():
    record = ForecastRecord(START, np.full((60, 3), 0.2), "flat")
    for kind in KINDS:
        table = ForecastGenerator.of(record, kind).draw([0.1, 0.2], np.random.default_rng(0))
        np.testing.assert_array_equal(table, [[0.1] * 3, [0.2] * 3])


def test_bad_input_is_named():
    with pytest.raises(ForecastError, match="kind is 'normal'"):
        ForecastGenerator.of(source(), "normal")
    for vectors in ([0.1], [[np.nan]], "x", np.empty((0, 2))):
        with pytest.raises(ForecastError, match="vectors_eur_per_kwh"):
            ForecastGenerator(vectors)
    generator, rng = ForecastGenerator(np.zeros((2, 2))), np.random.default_rng(0)
    for first, size in (([], None), ([[0.1]], None), ([0.1], -1), ([0.1], 1.5)):
        with pytest.raises(ForecastError, match="earliest"):
            generator.draw(first, rng, size)
    with pytest.raises(ForecastError, match="finite"):
        generator.draw([np.nan], rng)
    for first in ("abc", ["0.1"], None):
        with pytest.raises(ForecastError, match="no array of numbers"):
            generator.draw(first, rng)
    with pytest.raises(ForecastError, match="no array of numbers"):
        ForecastGenerator([["0.1", "0.2"]])
    for wrong in (None, 0, np.random):
        with pytest.raises(ForecastError, match="numpy Generator"):
            generator.draw([0.1], wrong)
