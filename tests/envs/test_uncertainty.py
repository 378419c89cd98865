"""The chains are what they say, and what happens follows them."""

import math

import numpy as np
import pytest

from flexgym.envs import Uncertainty
from flexgym.envs.data import feeder43
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.envs.uncertainty import MarkovChain

HOUSES = tuple(h for h in feeder43(2) if h.pv_kwp > 0)[:4]
SUNNY = [150, 160, 170, 180]


def draw(n, seed=0, **options):
    scenario = HouseholdScenario.create(**({"houses": HOUSES, "days": SUNNY} | options))
    return scenario.draw(np.random.default_rng(seed).random((n, scenario.draws)))


@pytest.mark.parametrize("name", ["weather", "price"])
def test_suite_chains_are_stochastic_and_stationary(name):
    chain = getattr(Uncertainty.markov(), name)
    matrix, share = chain.matrix, chain.stationary
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(share @ matrix, share, rtol=0, atol=1e-12)
    assert share.sum() == pytest.approx(1.0, abs=1e-12)
    assert (share > 0).all()
    np.testing.assert_allclose(np.linalg.matrix_power(matrix, 5000)[0], share, atol=1e-9)
    assert abs(share @ chain.factors - 1.0) <= 0.015


def test_load_factors_average_to_one():
    model = Uncertainty.markov()
    assert sum(model.load_probabilities) == pytest.approx(1.0)
    assert abs(np.dot(model.load_factors, model.load_probabilities) - 1.0) <= 0.015


def test_joint_states_number_weather_then_price():
    model = Uncertainty.markov()
    assert model.n_states == 9
    np.testing.assert_allclose(model.transition.sum(axis=1), 1.0)
    np.testing.assert_allclose(model.stationary @ model.transition, model.stationary, atol=1e-12)
    s, to = 1 * 3 + 2, 2 * 3 + 1
    assert model.weather_factor[s] == model.weather.factors[1]
    assert model.price_factor[s] == model.price.factors[2]
    expected = model.weather.matrix[1, 2] * model.price.matrix[2, 1]
    assert model.transition[s, to] == pytest.approx(expected)


def test_simulated_frequencies_follow_the_chains():
    model = Uncertainty.markov()
    n = 20_000
    episodes = draw(n, seed=1)
    state = episodes.state
    for t in (0, 50, 95):
        share = np.bincount(state[t], minlength=9) / n
        noise = 4.5 * np.sqrt(model.stationary * (1 - model.stationary) / n)
        assert (np.abs(share - model.stationary) <= noise).all()
    moves = model.stationary @ (1 - np.diag(model.transition))
    for t in (0, 1, 50, 94):
        share = (state[t] != state[t + 1]).mean()
        assert abs(share - moves) <= 4.5 * np.sqrt(moves * (1 - moves) / n)
    counts = np.zeros((9, 9))
    np.add.at(counts, (state[:-1].ravel(), state[1:].ravel()), 1)
    seen = counts.sum(axis=1, keepdims=True)
    noise = 5 * np.sqrt(model.transition * (1 - model.transition) / seen) + 1e-12
    assert (np.abs(counts / seen - model.transition) <= noise).all()


def test_what_happens_is_the_forecast_times_its_factors():
    model = Uncertainty.markov()
    episodes = draw(3000, seed=2)
    forecast, happened = episodes.forecast, episodes.exogenous
    price = happened[:, 2] / forecast[:, 2]
    np.testing.assert_allclose(price, model.price_factor[episodes.state], rtol=1e-12)
    assert np.array_equal(happened[:, 3], forecast[:, 3])
    load = happened[:, 0] / forecast[:, 0]
    kinds = np.abs(load[..., None] - np.array(model.load_factors)).argmin(axis=-1)
    np.testing.assert_allclose(load, np.array(model.load_factors)[kinds], rtol=1e-12)
    share = np.bincount(kinds.ravel(), minlength=3) / kinds.size
    np.testing.assert_allclose(share, model.load_probabilities, atol=0.005)
    # Load noise is fresh in every period and does not follow the weather.
    assert abs(np.corrcoef(load[10], load[11])[0, 1]) < 0.08
    assert abs(np.corrcoef(load[10], episodes.state[10] // 3)[0, 1]) < 0.08

    rating = np.array([h.pv_kwp for h in HOUSES])[episodes.house]
    sun = model.weather_factor[episodes.state] * forecast[:, 1]
    np.testing.assert_allclose(happened[:, 1], np.minimum(sun, rating), rtol=1e-12)
    assert (happened[:, 1] <= rating).all()
    assert (sun > rating).any()


def test_forecasts_never_exceed_the_roof():
    for house in HOUSES:
        scenario = HouseholdScenario.create(houses=house, days=SUNNY)
        for day in range(0, 365, 7):
            series, _ = scenario.forecast_series(0, day)
            assert series.pv_kw.max() <= house.pv_kwp


def test_no_uncertainty_is_exactly_the_forecast():
    episodes = draw(200, uncertainty="none")
    assert np.array_equal(episodes.exogenous, episodes.forecast)
    assert not episodes.state.any()


@pytest.mark.parametrize(
    ("factors", "transition", "match"),
    [
        ((1.0, 1.0), ((1.0,), (1.0,)), "shape"),
        ((), (), "shape"),
        ((1.0, 2.0), ((0.5, 0.6), (0.5, 0.5)), "add up to 1"),
        ((1.0, 2.0), ((1.5, -0.5), (0.5, 0.5)), ">= 0"),
        ((1.0, -2.0), ((0.5, 0.5), (0.5, 0.5)), "finite numbers >= 0"),
        ((1.0, math.nan), ((0.5, 0.5), (0.5, 0.5)), "finite numbers >= 0"),
        ((1.0, 2.0), ((math.nan, 0.5), (0.5, 0.5)), "add up to 1"),
    ],
)
def test_bad_chains(factors, transition, match):
    with pytest.raises(ScenarioError, match=match):
        MarkovChain(factors, transition)


def test_bad_load_noise_and_names():
    chain = MarkovChain((1.0,), ((1.0,),))
    for factors, chances in (
        ((1.0,), (0.5, 0.5)),
        ((1.0, 2.0), (0.5, 0.6)),
        ((1.0, 2.0), (1.5, -0.5)),
        ((1.0, -2.0), (0.5, 0.5)),
        ((1.0, 2.0), (0.5, math.nan)),
    ):
        with pytest.raises(ScenarioError, match="load_"):
            Uncertainty(chain, chain, factors, chances)
    with pytest.raises(ScenarioError, match="'fog'"):
        Uncertainty.named("fog")
    assert Uncertainty.named(Uncertainty.markov()) == Uncertainty.markov()
