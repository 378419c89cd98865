"""The environment's own picture: same size whatever has happened."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

import flexgym  # noqa: F401
from flexgym.envs import Battery, House
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.env import HouseholdEnv
from flexgym.envs.household.render import render_day

SHAPE = (720, 960, 3)
HOUSE = House(Battery(6.0, 3.0), 6.0, 5.0, 30.0, 30.0)


def test_the_environment_draws_its_day():
    env = gym.make("flexgym/Household-v0", houses=HOUSE, days=120, render_mode="rgb_array")
    env.reset(seed=1)
    before = env.render()
    for _ in range(50):
        env.step(np.zeros(1, dtype=np.float32))
    noon = env.render()
    for _ in range(46):
        env.step(np.zeros(1, dtype=np.float32))
    evening = env.render()
    for picture in (before, noon, evening):
        assert picture.shape == SHAPE
        assert picture.dtype == np.uint8
    assert (before != noon).any()
    assert (noon != evening).any()
    env.reset(seed=1)
    np.testing.assert_array_equal(env.render(), before)
    env.close()


@pytest.mark.parametrize("periods", [0, 1, 96])
@pytest.mark.parametrize(
    "house", [replace(HOUSE, pv_kwp=0.0), replace(HOUSE, battery=None)], ids=["no pv", "no battery"]
)
def test_houses_that_lack_something(house, periods):
    env = gym.make("flexgym/Household-v0", houses=house, days=1, render_mode="rgb_array")
    env.reset(seed=0)
    names = ("battery_kw", "pv_used_kw", "curtailed_kw", "meter_kw", "unserved_kw", "soc_kwh")
    outcomes = np.zeros((periods, 13))
    for row in outcomes:
        *_, info = env.step(np.zeros(1, dtype=np.float32))
        row[: len(names)] = [info[name] for name in names]
    picture = render_day(env.unwrapped.forecast_series, house, outcomes)
    assert picture.shape == SHAPE
    assert picture.dtype == np.uint8


def test_no_picture_unless_asked():
    env = gym.make("flexgym/Household-v0", houses=HOUSE, days=1).unwrapped
    env.reset(seed=0)
    assert env.render() is None
    with pytest.raises(ScenarioError, match="render_mode"):
        HouseholdEnv(houses=HOUSE, days=1, render_mode="human")
