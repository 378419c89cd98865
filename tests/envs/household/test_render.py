"""The environment's own picture: same size whatever has happened."""

from dataclasses import replace
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest

import flexgym  # noqa: F401
from flexgym.envs import Battery, Car, House, Session
from flexgym.envs.data import Sessions
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.dynamics import OUTCOME_NAMES
from flexgym.envs.household.env import HouseholdEnv
from flexgym.envs.household.render import COLOURS, render_day

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
    outcomes = np.zeros((periods, len(OUTCOME_NAMES)))
    for row in outcomes:
        *_, info = env.step(np.zeros(1, dtype=np.float32))
        row[:] = [info[name] for name in OUTCOME_NAMES]
    picture = render_day(env.unwrapped.forecast_series, house, outcomes)
    assert picture.shape == SHAPE
    assert picture.dtype == np.uint8


CAR = Car(11.0, 40.0, 0.9, discharge_kw=6.0)
SESSIONS = (Session(0, 9, 0.0, 12.0), Session(40, 90, 8.0, 44.0))


def has_colour(picture, name):
    """Whether the unmixed colour is somewhere in the picture."""
    colour = [int(COLOURS[name][k : k + 2], 16) for k in (1, 3, 5)]
    return bool((picture == colour).all(axis=2).any())


@pytest.mark.parametrize("battery", [HOUSE.battery, None], ids=["battery", "no battery"])
def test_the_car_is_drawn_where_it_visits(battery):
    house = replace(HOUSE, battery=battery, car=CAR)
    visits = Sessions("mine", ({120: SESSIONS},))
    env = gym.make(
        "flexgym/Household-v0", houses=house, days=120, sessions=visits, render_mode="rgb_array"
    ).unwrapped
    env.reset(seed=1)
    pictures = [env.render()]
    for t in range(96):
        env.step(np.array([np.sin(0.2 * t), np.cos(0.1 * t)]))
        if t in (0, 8, 9, 39, 40, 70, 89, 95):
            pictures.append(env.render())
    for picture in pictures:
        assert picture.shape == SHAPE
        assert has_colour(picture, "car")
        assert has_colour(picture, "battery") is (battery is not None)
    for before, after in pairwise(pictures):
        assert (before != after).any()


def test_nothing_changes_for_houses_without_car_and_days_without_visit():
    env = gym.make("flexgym/Household-v0", houses=HOUSE, days=120, render_mode="rgb_array")
    env.reset(seed=1)
    for t in range(50):
        env.step(np.array([np.sin(0.2 * t)]))
    picture = env.render()
    assert not has_colour(picture, "car")
    away = gym.make(
        "flexgym/Household-v0", houses=replace(HOUSE, car=CAR), days=120,
        sessions=Sessions("away", ({},)), render_mode="rgb_array",
    )  # fmt: skip
    away.reset(seed=1)
    for t in range(50):
        away.step(np.array([np.sin(0.2 * t), 1.0]))
    np.testing.assert_array_equal(away.render(), picture)


def test_no_picture_unless_asked():
    env = gym.make("flexgym/Household-v0", houses=HOUSE, days=1).unwrapped
    env.reset(seed=0)
    assert env.render() is None
    with pytest.raises(ScenarioError, match="render_mode"):
        HouseholdEnv(houses=HOUSE, days=1, render_mode="human")
