"""The synthetic tariff has the shape it claims, and Prices refuses nonsense."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.envs.data import EPISODES, QUARTERS, SCENARIOS, Prices, date, synthetic_prices
from flexgym.envs.data.prices import SEASONS, SPOT_SHAPES_CT
from flexgym.envs.errors import PriceDataError, ScenarioError

DAYS = range(366)
WEEKEND = np.array([date(day).weekday() >= 5 for day in DAYS])


def spot_ct(prices):
    """Back from the import price to the day-ahead price, shape (366, 96), ct/kWh."""
    return ((prices.import_eur_per_kwh - 0.18) / 1.19 * 100).reshape(366, 96)


def in_season(season):
    return np.array([date(day).month in SEASONS[season] for day in DAYS])


@given(
    seed=st.integers(0, 2**32),
    spread=st.floats(0.0, 1.2),
    export=st.sampled_from(["fixed", "spot"]),
)
@settings(max_examples=25, deadline=None)
def test_always_positive_and_above_export(seed, spread, export):
    prices = synthetic_prices(spread, export, seed)
    assert (prices.import_eur_per_kwh > 0).all()
    assert (0.8 * prices.import_eur_per_kwh >= prices.export_eur_per_kwh).all()
    assert prices.covered_days().tolist() == list(range(EPISODES))


@pytest.mark.parametrize("season", sorted(SEASONS))
def test_means_follow_the_published_shape(season):
    days = in_season(season) & ~WEEKEND
    mean = np.mean([spot_ct(synthetic_prices(seed=s))[days].mean(axis=0) for s in range(10)], 0)
    shape = np.array(SPOT_SHAPES_CT[season])
    # Between quarters 1 and 2 of an hour lies half past, where the shape's value stands; a
    # kink there lies an eighth of its change of slope off the mean of the two neighbours.
    at_half = (mean[1::4] + mean[2::4]) / 2
    kink = (np.roll(shape, -1) - 2 * shape + np.roll(shape, 1)) / 16
    np.testing.assert_allclose(at_half, shape + kink, atol=0.35)


@pytest.mark.parametrize("season", sorted(SEASONS))
def test_cheap_night_noon_dip_evening_peak(season):
    hourly = spot_ct(synthetic_prices())[in_season(season)].mean(axis=0).reshape(24, 4).mean(axis=1)
    night, morning = hourly[1:5].mean(), hourly[6:9].mean()
    noon, evening = hourly[11:15].mean(), hourly[18:21].mean()
    assert night < morning < evening
    assert noon < morning - 2
    assert 17 <= int(np.argmax(hourly)) <= 20


def test_weekends_are_cheaper():
    spot = np.mean([spot_ct(synthetic_prices(seed=s)) for s in range(10)], axis=0).mean(axis=1)
    for season in SEASONS:
        days = in_season(season)
        ratio = spot[days & WEEKEND].mean() / spot[days & ~WEEKEND].mean()
        assert ratio == pytest.approx(0.85, abs=0.02)


def test_noise_is_autoregressive():
    # Without spread only level and noise are left.
    spot = spot_ct(synthetic_prices(spread=0.0))
    month = np.array([date(day).month for day in DAYS])
    noise = np.concatenate(
        [
            (spot[d] - spot[d].mean())[None]
            for m in SEASONS["summer"]
            for d in [(month == m) & ~WEEKEND]
        ],
        axis=1,
    )[0]
    assert noise.std() == pytest.approx(0.35, abs=0.04)
    follow = np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]
    assert follow == pytest.approx(0.9, abs=0.03)


def test_spread_scales_the_swing():
    wide, narrow = (spot_ct(synthetic_prices(spread=s)) for s in (1.0, 0.5))
    noise = spot_ct(synthetic_prices(spread=0.0))
    np.testing.assert_allclose(narrow - noise, 0.5 * (wide - noise), atol=1e-9)
    swing = (wide - noise).std(axis=1)
    assert 0.07 < np.log(swing[in_season("winter")]).std() < 0.17


def test_export_kinds():
    fixed, spot = synthetic_prices(export="fixed"), synthetic_prices(export="spot")
    assert (fixed.export_eur_per_kwh == 0.07).all()
    np.testing.assert_array_equal(fixed.import_eur_per_kwh, spot.import_eur_per_kwh)
    np.testing.assert_allclose(
        spot.import_eur_per_kwh, 0.18 + 1.19 * spot.export_eur_per_kwh / 0.95, rtol=1e-12
    )


def test_repeatable_by_seed():
    assert synthetic_prices(1.0, "fixed", 0) is synthetic_prices()
    assert (
        synthetic_prices(seed=1).import_eur_per_kwh != synthetic_prices().import_eur_per_kwh
    ).any()
    for scenario in SCENARIOS.values():
        synthetic_prices(scenario.price_spread, scenario.export)


@pytest.mark.parametrize(
    "options",
    [
        {"export": "free"},
        {"seed": -1},
        {"seed": 0.5},
        {"spread": -0.1},
        {"spread": float("nan")},
        {"spread": float("inf")},
        {"spread": 5.0},
    ],
)
def test_bad_options(options):
    with pytest.raises(ScenarioError, match="expected"):
        synthetic_prices(**options)


def test_arrays_are_read_only_and_copied():
    buy = np.full(QUARTERS, 0.3)
    prices = Prices(buy, buy, "flat")
    buy[0] = -1.0
    assert prices.import_eur_per_kwh[0] == 0.3
    with pytest.raises(ValueError, match="read-only"):
        prices.export_eur_per_kwh[0] = 0.0


def test_coverage_is_by_episode():
    buy = np.full(QUARTERS, np.nan)
    buy[10 * 96 : 12 * 96] = 0.3  # days 10 and 11: only episode 10 is whole
    prices = Prices(buy, buy, "two days")
    assert prices.covered_days().tolist() == [10]
    assert [prices.covers(day) for day in (9, 10, 11)] == [False, True, False]
    with pytest.raises(ScenarioError):
        prices.covers(365)


def test_prices_refuse_nonsense():
    flat = np.full(QUARTERS, 0.3)
    with pytest.raises(PriceDataError, match="shape"):
        Prices(flat[:-1], flat[:-1], "short")
    for index, value, match in (
        (7, np.inf, "infinite: True"),
        (7, np.nan, "only one of the two"),
        (7, 0.31, "above the import price in quarter-hour 7"),
    ):
        broken = flat.copy()
        broken[index] = value
        with pytest.raises(PriceDataError, match=match):
            Prices(flat, broken, "broken")
