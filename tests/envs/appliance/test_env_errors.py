"""Bad input to the appliance: errors say what is wrong and what to do."""

import math
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

import flexgym  # noqa: F401
from flexgym.envs.appliance.env import ApplianceEnv
from flexgym.envs.appliance.params import Job
from flexgym.envs.appliance.scenario import ApplianceScenario
from flexgym.envs.data import Prices
from flexgym.envs.errors import (
    ActionError,
    JobError,
    ResetNeededError,
    ScenarioError,
    StateError,
)
from flexgym.envs.forecasts.signals import SignalProcess

ID = "flexgym/Appliance-v0"
FLAT = SignalProcess.known([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("job", "match"),
    [
        ({"hours": 4, "deadline": 3}, "at least as long"),
        ({"hours": 3, "deadline": 5, "earliest": 3}, "at least as long"),
        ({"hours": -1, "deadline": 3}, "hours is -1; expected a whole number of hours, >= 0"),
        ({"hours": 1, "deadline": 10**30}, "deadline is 10"),
        ({"hours": True, "deadline": 3}, "hours is True"),
        ({"hours": 1, "deadline": 3, "power_kw": True}, "power_kw is True"),
        ({"hours": 1, "deadline": 3, "power_kw": np.ones(2)}, "power_kw is array"),
        ({"hours": 1, "deadline": 3, "power_kw": "1"}, "power_kw is '1'"),
        ({"hours": 1.5, "deadline": 3}, "whole number"),
        ({"hours": 1, "deadline": 3, "earliest": -1}, "earliest is -1"),
        ({"hours": 1, "deadline": 3, "power_kw": 0.0}, "power_kw is 0"),
        ({"hours": 1, "deadline": 3, "power_kw": math.nan}, "power_kw is nan"),
        ({"hours": 1, "deadline": 3, "interruptible": "no"}, "True or False"),
    ],
)
def test_what_is_no_job(job, match):
    with pytest.raises(JobError, match=match):
        Job(**job)


def test_a_job_knows_its_window():
    assert Job(2, 9, 3).window == 6
    with pytest.raises(JobError, match="at least as long"):
        replace(Job(2, 9, 3), earliest=8)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kind": "all"}, "expected one of mixed"),
        ({"jobs": 5}, "expected a Job"),
        ({"jobs": "abc"}, "expected a Job"),
        ({"jobs": ()}, "expected a Job"),
        ({"jobs": [1]}, "expected a Job"),
        ({"jobs": Job(1, 25)}, "the end of the episode"),
        ({"jobs": Job(1, 5), "kind": "interruptible"}, "none that is interruptible"),
        ({"split": "holiday"}, "split is 'holiday'"),
        ({"days": []}, "at least one"),
        ({"days": 365}, "0 to 364"),
        ({"days": 1.5}, "0 to 364"),
        ({"prices": "prices.csv"}, "load_prices"),
        ({"uncertainty": "fog"}, "expected one of markov"),
        ({"uncertainty": lambda curve: curve}, "expected a SignalProcess"),
        ({"uncertainty": FLAT, "days": 3}, "one day with its own prices"),
        ({"uncertainty": FLAT, "jobs": Job(1, 4)}, "the end of the episode"),
        ({"noise_sd_eur_per_kwh": -0.1}, "number >= 0"),
        ({"noise_sd_eur_per_kwh": math.nan}, "number >= 0"),
        ({"noise_sd_eur_per_kwh": [0.1]}, "number >= 0"),
        ({"noise_sd_eur_per_kwh": "x"}, "number >= 0"),
        ({"noise_sd_eur_per_kwh": None}, "number >= 0"),
        ({"noise_sd_eur_per_kwh": True}, "number >= 0"),
        ({"noise_sd_eur_per_kwh": math.inf}, "number >= 0"),
        ({"uncertainty": lambda: FLAT}, "cannot be called with one argument"),
        ({"uncertainty": lambda a, b: FLAT}, "cannot be called with one argument"),
        ({"uncertainty": SignalProcess}, "cannot be called with one argument"),
        ({"uncertainty": lambda curve: SignalProcess.known(1e5 * curve)}, "at most 10000"),
        ({"render_mode": "human"}, "render_mode is 'human'"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(ScenarioError, match=match):
        ApplianceEnv(**options)


def test_a_price_model_must_keep_its_chain():
    def wandering(curve):
        return SignalProcess.autoregressive(curve, 0.5, float(curve.mean()), 3)

    def changing(curve):
        return SignalProcess.autoregressive(curve, min(1.0, float(curve.mean())), 0.1, 3)

    assert ApplianceScenario.create(uncertainty=wandering).signals == 3
    with pytest.raises(ScenarioError, match="transition differs"):
        ApplianceScenario.create(uncertainty=changing)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"speed": 1}, "reset options"),
        (5, "reset options 5"),
        ("abc", "reset options 'abc'"),
        ({3: 4}, "reset options {3: 4}"),
        ({"day": 1, 3: 4}, "reset options"),
        ({"day": 365}, "that the prices cover"),
        ({"day": -1}, "that the prices cover"),
        ({"day": [1, 2]}, "one integer"),
        ({"day": 0.5}, "one integer"),
        ({"job": "wash"}, "expected a Job"),
        ({"job": [Job(1, 2)] * 2}, "expected a Job"),
        ({"job": Job(1, 25)}, "deadlines within it"),
    ],
)
def test_bad_reset_options(options, match):
    env = gym.make(ID).unwrapped
    with pytest.raises(ScenarioError, match=match):
        env.reset(seed=0, options=options)


@pytest.mark.parametrize(
    ("action", "match"),
    [
        ([1.1], r"numbers in \[-1, 1\]"),
        ([-1.0000001], r"numbers in \[-1, 1\]"),
        ([math.nan], "nan"),
        ([0.0, 0.0], "shape"),
        (0.0, "shape"),
        ([], "shape"),
        ([True], "real numbers"),
        (["x"], "real numbers"),
    ],
)
def test_bad_actions(action, match):
    env = gym.make(ID).unwrapped
    env.reset(seed=0)
    left = env.simulation.left.copy()
    with pytest.raises(ActionError, match=match):
        env.step(np.array(action))
    assert env.simulation.t == 0
    assert np.array_equal(env.simulation.left, left)


def test_before_and_after_an_episode():
    env = gym.make(ID).unwrapped
    with pytest.raises(ActionError, match="call reset first"):
        env.step(np.zeros(1))
    with pytest.raises(ResetNeededError, match="call reset first"):
        _ = env.job
    env.reset(seed=0)
    for _ in range(24):
        env.step(np.zeros(1))
    with pytest.raises(ActionError, match="call reset first"):
        env.step(np.zeros(1))


def test_bad_batches():
    with pytest.raises(ScenarioError, match="num_envs is 0"):
        gym.make_vec(ID, num_envs=0)
    batch = gym.make_vec(ID, num_envs=2)
    batch.reset(seed=0)
    for shape in ((3, 1), (2,), (2, 2)):
        with pytest.raises(ActionError, match="shape"):
            batch.step(np.zeros(shape))
    bad = np.zeros((2, 1))
    bad[1] = np.inf
    with pytest.raises(ActionError, match=r"expected numbers in \[-1, 1\]"):
        batch.step(bad)


def test_a_state_of_another_make_or_damaged_is_refused():
    env = gym.make(ID).unwrapped
    env.reset(seed=0)
    saved = env.save_state()
    for options in ({"kind": "interruptible"}, {"uncertainty": "none"}, {"days": [1]}):
        other = gym.make(ID, **options).unwrapped
        other.reset(seed=0)
        with pytest.raises(StateError, match="same options"):
            other.restore_state(saved)
    for damage in ({"left": np.zeros(2)}, {"signal": None}, {"t": 25}, {"rng": 3}):
        with pytest.raises(StateError):
            env.restore_state({**saved, **damage})
    with pytest.raises(StateError, match="same options"):
        env.restore_state({})


def test_negative_prices_are_played_and_prices_that_are_none_are_named():
    paid = Prices(np.full(35136, -0.1), np.full(35136, -0.2), "paid to take")
    env = gym.make(ID, prices=paid, jobs=Job(3, 24, 0, 2.0), uncertainty="none").unwrapped
    env.reset(seed=0)
    rewards = sum(env.step(np.ones(1))[1] for _ in range(24))
    assert rewards == pytest.approx(3 * 2.0 * 0.1)
    with pytest.raises(ScenarioError, match="not finite"):
        gym.make(ID, uncertainty=lambda curve: SignalProcess.known(curve * np.nan))


def test_days_follow_the_prices():
    year = np.full(35136, 0.3)
    year[2000:] = math.nan
    short = Prices(year, year / 2, "three weeks")
    scenario = ApplianceScenario.create(prices=short)
    assert scenario.days.max() < 21
    assert np.isfinite(scenario.forecast_table).all()
    with pytest.raises(ScenarioError, match="that the prices cover"):
        ApplianceEnv(prices=short).reset(options={"day": 100})
    with pytest.raises(ScenarioError, match="that the prices cover"):
        ApplianceEnv(prices=short, days=[3, 100])
