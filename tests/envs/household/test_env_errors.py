"""Bad input to the Gymnasium environment: errors say what is wrong and what to do."""

import math

import gymnasium as gym
import numpy as np
import pytest

import flexgym  # noqa: F401
from flexgym.baselines.household import cost_to_go, perfect_foresight
from flexgym.envs import Battery, House, Load
from flexgym.envs.data import Prices, synthetic_prices
from flexgym.envs.errors import ActionError, ScenarioError, StateError
from flexgym.envs.household.env import HouseholdEnv

TIGHT = House(
    Battery(6.0, 3.0, 0.9, 0.92, 0.01, 0.999),
    pv_kwp=7.0,
    inverter_kva=3.5,
    import_limit_kw=0.4,
    export_limit_kw=1.5,
    load=Load("H0-G", 5200.0, 2, 1),
)


def make(**options):
    return gym.make("flexgym/Household-v0", **options)


@pytest.mark.parametrize(
    ("action", "match"),
    [
        ([1.1], r"numbers in \[-1, 1\]"),
        ([-1.0000001], r"numbers in \[-1, 1\]"),
        ([math.nan], "nan"),
        ([math.inf], "inf"),
        ([0.0, 0.0], "shape"),
        (0.0, "shape"),
        ([[0.0]], "shape"),
        ([], "shape"),
    ],
)
def test_bad_actions(action, match):
    env = make(houses=TIGHT, days=10).unwrapped
    env.reset(seed=0)
    soc = env.simulation.soc_kwh.copy()
    with pytest.raises(ActionError, match=match):
        env.step(np.array(action))
    assert env.simulation.t == 0
    assert np.array_equal(env.simulation.soc_kwh, soc)


def test_a_dispatch_that_is_not_feasible_is_refused():
    env = make(houses=TIGHT, days=10, initial_soc=0.0).unwrapped
    env.reset(seed=0)
    for power in (3.5, -0.1, math.nan):
        with pytest.raises(ActionError, match="feasible"):
            env.simulation.action(np.array([power]))
    with pytest.raises(ActionError, match="shape"):
        env.simulation.action(np.zeros(2))


def test_the_day_ends_once():
    env = make(houses=TIGHT, days=10).unwrapped
    env.reset(seed=0)
    for _ in range(96):
        env.step(np.zeros(1))
    with pytest.raises(ActionError, match="call reset first"):
        env.step(np.zeros(1))
    env.reset()
    env.step(np.zeros(1))


@pytest.mark.parametrize("soc", [-0.5, 6.5, math.nan])
def test_a_state_of_charge_outside_limits(soc):
    env = make(houses=TIGHT, days=10).unwrapped
    with pytest.raises(StateError, match=r"\[0, 6\] kWh"):
        env.reset(seed=0, options={"soc_kwh": soc})
    series = _series(env)
    with pytest.raises(StateError, match=r"\[0, 6\] kWh"):
        perfect_foresight(TIGHT, series, soc_kwh=soc)
    with pytest.raises(StateError, match=r"\[0, 6\] kWh"):
        cost_to_go(TIGHT, series).value(0, soc)
    with pytest.raises(StateError, match=r"\[0, 6\] kWh"):
        cost_to_go(TIGHT, series).chart(0, soc)


def _series(env):
    env.reset(seed=0)
    return env.realised_series


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"speed": 1}, "reset options"),
        ({"house": 1}, "positions in the pool"),
        ({"house": -1}, "positions in the pool"),
        ({"house": 0.5}, "expected integers"),
        ({"day": 365}, "0 to 364"),
        ({"day": -1}, "0 to 364"),
        ({"day": [1, 2]}, "shape"),
        ({"soc_kwh": [1.0, 2.0]}, "shape"),
    ],
)
def test_bad_reset_options(options, match):
    env = make(houses=TIGHT, days=10).unwrapped
    with pytest.raises(ScenarioError, match=match):
        env.reset(seed=0, options=options)


def short_prices():
    full = synthetic_prices()
    buy, sell = full.import_eur_per_kwh.copy(), full.export_eur_per_kwh.copy()
    buy[2000:], sell[2000:] = math.nan, math.nan
    return Prices(buy, sell, "three weeks")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"split": "holiday"}, "split is 'holiday'; expected one of"),
        ({"observation": "all"}, "expected one of full, compact"),
        ({"action_map": "linear"}, "expected one of plateau"),
        ({"curtailment": "yes"}, "expected one of automatic"),
        ({"uncertainty": "fog"}, "expected 'markov', 'none'"),
        ({"render_mode": "human"}, "render_mode is 'human'"),
        ({"houses": ()}, "houses is empty"),
        ({"houses": [1]}, r"houses\[0\] is 1"),
        ({"houses": House(None, 1.0, 1.0, 1.0, 1.0, load=Load("H0-Z"))}, "load profile 'H0-Z'"),
        ({"days": []}, "at least one"),
        ({"days": [1.5]}, "day numbers"),
        ({"days": [0, 365]}, "0 .* to 364"),
        ({"days": -1}, "0 .* to 364"),
        ({"initial_soc": 1.5}, r"a share in \[0, 1\]"),
        ({"initial_soc": math.nan}, r"a share in \[0, 1\]"),
        ({"prices": "prices.csv"}, "load_prices"),
        ({"prices": short_prices(), "days": [3, 100]}, "do not cover day 100"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(ScenarioError, match=match):
        HouseholdEnv(**({"houses": TIGHT, "days": 10} | options))


def test_days_follow_the_prices():
    env = make(prices=short_prices()).unwrapped
    assert env.simulation.scenario.days.max() < 21
    with pytest.raises(ScenarioError, match="that the prices cover"):
        env.reset(options={"day": 100})


def test_prices_that_cross_under_uncertainty_are_named_when_the_environment_is_made():
    prices = Prices(np.full(35136, 0.1), np.full(35136, 0.09), "narrow")
    with pytest.raises(ScenarioError, match=r"day .* times its least factor 0\.8"):
        gym.make("flexgym/Household-v0", prices=prices)
    gym.make("flexgym/Household-v0", prices=prices, uncertainty="none").reset(seed=0)
