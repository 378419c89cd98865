"""Who takes part: real profiles as hourly means, tariffs within their ranges."""

import numpy as np
import pytest

from flexgym.envs.data import HOUSE_SEEDS, feeder43, load_profiles, synthetic_prices
from flexgym.envs.data.calendar import episode_start
from flexgym.envs.errors import ScenarioError
from flexgym.envs.local_market.dynamics import terms
from flexgym.envs.local_market.hierarchy import Hierarchy
from flexgym.envs.local_market.params import HOURS, Limits
from flexgym.envs.local_market.scenario import FEEDERS, LocalMarketScenario, _pool
from flexgym.envs.uncertainty import Uncertainty


def drawn(markets=200, **options):
    scenario = LocalMarketScenario.create(**options)
    return scenario, scenario.draw(np.random.default_rng(0).random((markets, scenario.draws)))


def test_participants_are_houses_with_their_own_profiles():
    """Each expects what one house of the pool has in its profile, and no two are the same."""
    _, days = drawn(markets=3, participants=20, days=100, limits=Limits(prosumer_share=0.0))
    profiles, first = load_profiles(), episode_start(100)
    houses = [h for seed in HOUSE_SEEDS["train"][:FEEDERS] for h in feeder43(seed)]
    known = []
    for house in houses:
        shift = house.load.shift_quarters + 7 * 96 * house.load.shift_weeks
        at = np.arange(first, first + 96) - shift
        kw = house.load.energy_kwh * profiles.load[house.load.profile][at % len(profiles.pv)]
        known.append(0.25 * kw.reshape(HOURS, 4).sum(axis=1))
    for r in range(3):
        found = []
        for i in range(20):
            expected = days.forecast_kwh[:, r, i]
            same = [k for k, h in enumerate(known) if np.allclose(h, expected, rtol=1e-12)]
            assert len(same) == 1
            found += same
        assert len(set(found)) == 20


def test_what_happens_is_the_forecast_times_factors_of_mean_one():
    _, days = drawn(markets=400, participants=30, days=180)
    consumers = (days.forecast_kwh > 0).all(axis=0)
    assert 0.3 < consumers.mean() < 0.5
    off = days.net_kwh[:, consumers] / days.forecast_kwh[:, consumers]
    single = Uncertainty.markov()
    mean = np.dot(single.load_factors, single.load_probabilities)
    variance = np.dot(np.square(single.load_factors), single.load_probabilities) - mean**2
    assert off.mean() == pytest.approx(mean, abs=0.005)
    assert off.var() == pytest.approx(variance / 4, rel=0.05)
    assert (days.net_kwh < 0).any(axis=0)[~consumers].mean() > 0.9
    assert days.weather.mean() == pytest.approx(1.0, abs=0.05)
    certain, days = drawn(markets=5, participants=4, uncertainty="none")
    np.testing.assert_allclose(days.net_kwh, days.forecast_kwh, rtol=1e-12)
    assert certain.uncertainty.n_states == 1


def test_tariffs_and_limits_lie_within_their_ranges():
    limits = Limits()
    _, days = drawn(participants=30)
    t = 6  # noon
    prices = (days.import_eur_per_kwh[t][:, None], days.export_eur_per_kwh[t][:, None])
    factors = (days.retail_factor, days.feed_in_factor, days.value_factor, days.cost_share)
    hour = terms(days.net_kwh[t], days.net_kwh[t], prices, factors)
    assert (hour.feed_in <= hour.retail).all()
    assert (hour.limit >= hour.feed_in - 1e-12).all()
    assert (hour.limit <= hour.retail + 1e-12).all()
    for name in ("retail_factor", "feed_in_factor", "value_factor", "cost_share"):
        low, high = getattr(limits, name)
        values = getattr(days, name)
        assert low <= values.min() < values.max() <= high
        assert values.mean() == pytest.approx(0.5 * (low + high), abs=0.02)
    needs = days.net_kwh[t] > 0
    # Some do without, some keep what is left: the market moves energy, not only money.
    assert 0.05 < (hour.value < hour.retail)[needs].mean() < 0.6
    assert 0.05 < (hour.cost > hour.feed_in)[~needs].mean() < 0.9


def test_contracts_move_the_limit_of_who_is_short_or_long():
    one = np.ones((1, 4))
    net = np.array([[1.0, -1.0, 1.0, -1.0]])
    position = np.array([[2.0, 1.0, -1.0, -2.0]])
    prices = (np.full((1, 1), 0.3), np.full((1, 1), 0.1))
    hour = terms(net, position, prices, (one, one, 0.8 * one, 0.5 * one))
    np.testing.assert_allclose(hour.limit, [[0.24, 0.3, 0.1, 0.2]])


def test_prices_are_those_of_the_day_and_splits_do_not_share_houses():
    prices = synthetic_prices(1.2)
    _, days = drawn(markets=1, participants=2, days=50, prices=prices)
    at = episode_start(50) + np.arange(96)
    expected = prices.import_eur_per_kwh[at].reshape(HOURS, 4).mean(axis=1)
    np.testing.assert_allclose(days.import_eur_per_kwh[:, 0], expected, rtol=1e-12)
    train, test = (LocalMarketScenario.create(split=split) for split in ("train", "test"))
    assert not set(train.days) & set(test.days)
    assert not np.array_equal(_pool("train", FEEDERS)[1], _pool("test", FEEDERS)[1])


def test_a_town_is_larger_than_the_usual_pool():
    scenario, days = drawn(markets=1, participants=400, days=5, neighbourhoods=8)
    assert days.net_kwh.shape == (HOURS, 1, 400)
    assert len({tuple(x) for x in days.forecast_kwh[:, 0].T}) == 400
    assert len(scenario.hierarchy.parent) == 9


@pytest.mark.parametrize(
    "options",
    [
        {"participants": 0},
        {"participants": 2.5},
        {"split": "holiday"},
        {"days": []},
        {"days": 365},
        {"days": "monday"},
        {"prices": 0.3},
        {"uncertainty": "some"},
        {"neighbourhoods": 0},
        {"neighbourhoods": 60},
        {"neighbourhoods": Hierarchy.flat(3)},
        {"neighbourhoods": 2, "fee_eur_per_kwh": -0.1},
        {"wholesale_margin_eur_per_kwh": -0.1},
    ],
)
def test_scenarios_that_are_none(options):
    with pytest.raises(ScenarioError, match="expected"):
        LocalMarketScenario.create(**options)


@pytest.mark.parametrize(
    "ranges",
    [
        {"prosumer_share": 1.2},
        {"prosumer_share": True},
        {"retail_factor": (1.1, 0.9)},
        {"retail_factor": (-0.5, 0.9)},
        {"feed_in_factor": 0.9},
        {"value_factor": (0.7, "much")},
        {"cost_share": (0.0, 1.5)},
    ],
)
def test_ranges_that_are_none(ranges):
    with pytest.raises(ScenarioError, match="expected"):
        Limits(**ranges)
