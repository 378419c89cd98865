"""The native batch plays what single environments play, bit for bit."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import flexgym  # noqa: F401
from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.household.action_map import ACTION_MAPS
from flexgym.envs.household.dynamics import OUTCOME_NAMES

ID = "flexgym/Household-v0"
N, SEED = 3, 40
CAR = pytest.mark.parametrize("car", [True, False])


@pytest.mark.parametrize(
    ("action_map", "observation", "curtailment", "car"),
    itertools.product(ACTION_MAPS, ("full", "compact"), ("automatic", "action"), (True, False)),
)
def test_rows_are_single_environments(action_map, observation, curtailment, car):
    options = {"action_map": action_map, "observation": observation, "curtailment": curtailment}
    options["car"] = car
    batch = gym.make_vec(ID, num_envs=N, **options)
    singles = [gym.make(ID, **options) for _ in range(N)]
    rng = np.random.default_rng(0)
    obs, info = batch.reset(seed=SEED)
    starts = [env.reset(seed=SEED + i) for i, env in enumerate(singles)]
    same_start(obs, info, starts)
    for t in range(2 * 96 + 5):
        action = rng.uniform(-1.0, 1.0, batch.action_space.shape)
        obs, reward, done, cut, info = batch.step(action)
        assert obs.dtype == np.float32
        results = [env.step(action[i]) for i, env in enumerate(singles)]
        ended = t % 96 == 95
        assert done.tolist() == [r[2] for r in results] == [ended] * N
        assert not cut.any()
        final_obs, final = (info["final_obs"], info["final_info"]) if ended else (obs, info)
        for i, (one, single_reward, _, _, single_info) in enumerate(results):
            assert np.array_equal(one, final_obs[i])
            assert single_reward == reward[i]
            assert single_info == {name: final[name][i] for name in OUTCOME_NAMES}
        assert all(final[f"_{name}"].all() for name in OUTCOME_NAMES)
        if ended:
            assert info["_final_obs"].all()
            assert info["_final_info"].all()
            same_start(obs, info, [env.reset() for env in singles])


def same_start(obs, info, starts):
    for i, (one, single) in enumerate(starts):
        assert np.array_equal(one, obs[i])
        assert single == {name: info[name][i] for name in single}
        assert all(info[f"_{name}"][i] for name in single)


@pytest.mark.parametrize(("car", "entries"), [(True, 34), (False, 21)])
def test_make_vec_takes_the_native_batch(car, entries):
    batch = gym.make_vec(ID, num_envs=5, split="test", observation="compact", car=car)
    assert batch.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert batch.observation_space.shape == (5, entries)
    assert batch.action_space.shape == (5, 1 + car)
    assert not isinstance(batch.unwrapped, gym.vector.SyncVectorEnv)
    obs, _ = batch.reset(seed=0)
    assert obs in batch.observation_space
    for _ in range(100):
        obs, *_ = batch.step(batch.action_space.sample())
        assert obs in batch.observation_space
    assert batch.unwrapped.terminal_eur_per_kwh.shape == (5,)


@CAR
def test_same_seed_same_batch(car):
    def play():
        batch = gym.make_vec(ID, num_envs=4, car=car)
        batch.action_space.seed(2)
        seen = [batch.reset(seed=9)[0]]
        for _ in range(200):
            obs, reward, *_ = batch.step(batch.action_space.sample())
            seen += [obs, reward]
        return seen

    for a, b in zip(play(), play(), strict=True):
        assert np.array_equal(a, b)


def test_a_list_of_seeds_and_reseeding_one_row():
    batch = gym.make_vec(ID, num_envs=3)
    by_list, _ = batch.reset(seed=[8, 3, 5])
    assert np.array_equal(by_list[1], gym.make(ID).reset(seed=3)[0])
    part, _ = batch.reset(seed=[None, 3, None])
    assert np.array_equal(part[1], by_list[1])
    assert not np.array_equal(part[0], by_list[0])
    with pytest.raises(ScenarioError, match="2 seeds"):
        batch.reset(seed=[1, 2])


def test_one_option_for_each_row():
    batch = gym.make_vec(ID, num_envs=3, split="test")
    _, info = batch.reset(seed=0, options={"house": [0, 1, 2], "day": 7, "soc_kwh": 0.0})
    assert info["house"].tolist() == [0, 1, 2]
    assert info["day"].tolist() == [7, 7, 7]
    assert info["soc_kwh"].tolist() == [0.0, 0.0, 0.0]


@CAR
def test_bad_input(car):
    with pytest.raises(ScenarioError, match="num_envs is 0"):
        gym.make_vec(ID, num_envs=0)
    batch = gym.make_vec(ID, num_envs=2, car=car)
    size = 1 + car
    with pytest.raises(ActionError, match="call reset first"):
        batch.step(np.zeros((2, size)))
    batch.reset(seed=0)
    for shape in ((3, size), (2, size + 1), (2,), (2, size - 1)):
        with pytest.raises(ActionError, match="shape"):
            batch.step(np.zeros(shape))
    for row, column in itertools.product(range(2), range(size)):
        for value in (np.nan, 1.5, -1.0001, np.inf):
            action = np.zeros((2, size))
            action[row, column] = value
            with pytest.raises(ActionError, match=r"expected numbers in \[-1, 1\]"):
                batch.step(action)


@CAR
def test_what_was_returned_does_not_change(car):
    batch = gym.make_vec(ID, num_envs=2, car=car)
    batch.reset(seed=0)
    obs, reward, done, _, info = batch.step(np.zeros((2, 1 + car)))
    kept = obs.copy(), reward.copy(), done.copy(), info["soc_kwh"].copy()
    for _ in range(97):
        batch.step(np.ones((2, 1 + car)))
    for old, new in zip(kept, (obs, reward, done, info["soc_kwh"]), strict=True):
        assert np.array_equal(old, new)


@CAR
def test_writing_into_what_was_returned_changes_no_reward(car):
    one, two = (gym.make_vec(ID, num_envs=2, car=car) for _ in range(2))
    results = []
    for batch, spoil in ((one, False), (two, True)):
        obs, info = batch.reset(seed=0)
        total = np.zeros(2)
        for _ in range(96):
            if spoil:
                for array in (obs, *info.values()):
                    if isinstance(array, np.ndarray) and array.flags.writeable:
                        array[...] = 1
            obs, reward, _, _, info = batch.step(np.full((2, 1 + car), 0.9))
            total += reward
        results.append(total)
    assert np.array_equal(*results)
