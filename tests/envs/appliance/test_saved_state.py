"""A saved state that could not have been played is refused, and nothing is changed by it."""

import gymnasium as gym
import numpy as np
import pytest

import flexgym  # noqa: F401
from flexgym.envs.appliance.params import Job
from flexgym.envs.errors import StateError

ID = "flexgym/Appliance-v0"
FIXED, PAUSING = Job(4, 12, 2), Job(4, 12, 2, interruptible=True)


def played(hours, **options):
    """A single environment whose job of hours 2 to 5 ran as soon as it could."""
    env = gym.make(ID, **{"jobs": FIXED, **options}).unwrapped
    env.reset(seed=1)
    for _ in range(hours):
        env.step(np.ones(1))
    return env


def flat(state):
    return repr({k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in state.items()})


def refused(env, saved, match=""):
    before = flat(env.save_state())
    with pytest.raises(StateError, match=match):
        env.restore_state(saved)
    assert flat(env.save_state()) == before


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        ({"row": np.array([-1])}, "row of row 0 is -1"),
        ({"row": np.array([10**6])}, "row of row 0 is 1000000"),
        ({"row": np.array([0.5])}, "row has shape"),
        ({"day": np.array([400])}, "day of row 0 is 400"),
        ({"signal": np.full((1, 24), 9)}, "signal of row 0"),
        ({"signal": np.full((1, 24), -1)}, "signal of row 0"),
        ({"signal": np.full((1, 24), "3")}, "signal has shape"),
        ({"price_eur_per_kwh": np.full((1, 24), np.nan)}, "price_eur_per_kwh is not finite"),
        ({"price_eur_per_kwh": np.full((1, 24), "a")}, "price_eur_per_kwh has shape"),
        ({"job_hours": np.array([11])}, "at least as long"),
        ({"job_earliest": np.array([-5])}, "earliest is -5"),
        ({"job_deadline": np.array([25])}, "at most 24"),
        ({"job_deadline": np.array([10**12])}, "deadline is 1000000000000"),
        ({"job_power_kw": np.array([np.inf])}, "not finite"),
        ({"job_power_kw": np.array([-1.0])}, "power_kw is -1"),
        ({"job_interruptible": np.array([1])}, "job_interruptible has shape"),
        ({"left": np.array([-1])}, "left of row 0 is -1"),
        ({"left": np.array([5])}, "left of row 0 is 5"),
        ({"left": np.array([1])}, "left of row 0 is 1"),  # three hours in two
        ({"left": np.array([2.0])}, "left has shape"),
        ({"left": np.array([4])}, "running of row 0 is True"),
        ({"running": np.array([False])}, "running of row 0 is False"),
        ({"running": np.array([1])}, "running has shape"),
        ({"t": 3}, "left of row 0|its t is 3"),
        ({"t": 4.0}, "its t is 4.0"),
        ({"t": "4"}, "its t is '4'"),
        ({"t": None}, "its t is None"),
        ({"outcome": np.full((1, 8), np.nan)}, "outcome is not finite"),
        ({"cost_eur": np.array([np.inf])}, "cost_eur is not finite"),
        ({"cost_eur": [None]}, "cost_eur has shape"),
        ({"made_of": np.zeros(3)}, "same options"),
        ({"outcomes": None}, "outcomes are NoneType"),
        ({"outcomes": 3}, "outcomes are int"),
        ({"outcomes": ["x"] * 4}, r"outcomes\[0\] is no array"),
        ({"outcomes": [np.zeros(7)] * 4}, r"outcomes\[0\] has shape \(7,\)"),
        ({"outcomes": [np.full(8, np.nan)] * 4}, r"outcomes\[0\]"),
        ({"outcomes": [np.zeros(8)] * 3}, "one for each period"),
        ({"rng": [None]}, "generators"),
    ],
)
def test_values_out_of_range_are_refused(damage, match):
    env = played(4)
    refused(env, {**env.save_state(), **damage}, match)


@pytest.mark.parametrize("saved", [None, 3, "state", [], {}])
def test_what_is_no_state_is_refused(saved):
    refused(played(2), saved, "same options")


def test_time_that_is_over_is_refused():
    env = played(4)
    saved = env.save_state()
    late = {**saved, "t": 11, "outcomes": [np.zeros(8)] * 11}
    refused(env, late, "left of row 0 is 2; expected hours its window leaves in hour 11")
    pausing = played(4, jobs=PAUSING)
    saved = pausing.save_state()
    # What may pause may have: it need not be running.
    pausing.restore_state({**saved, "running": np.array([False])})
    refused(pausing, {**saved, "left": np.array([4])}, "running")


def test_a_batch_is_as_it_was():
    env = gym.make_vec(ID, num_envs=3, jobs=FIXED)
    env.reset(seed=0)
    for _ in range(4):
        env.step(np.ones((3, 1)))
    saved = env.save_state()
    for damage in ({"row": np.array([0, 0, 10**9])}, {"left": np.array([2, 2, -7])}):
        refused(env, {**saved, **damage}, "of row (1|2|0)")
    env.restore_state(saved)
    # Later changes of what was saved change nothing.
    saved["left"][:] = 99
    assert env.simulation.left.tolist() == [2, 2, 2]
