"""The native batch plays what single environments play, bit for bit."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import flexgym  # noqa: F401
from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.household.dynamics import ACTION_MAPS, OUTCOME_NAMES

ID = "flexgym/Household-v0"
N, SEED = 3, 40


@pytest.mark.parametrize(
    ("action_map", "observation", "curtailment"),
    itertools.product(ACTION_MAPS, ("full", "compact"), ("automatic", "action")),
)
def test_rows_are_single_environments(action_map, observation, curtailment):
    options = {"action_map": action_map, "observation": observation, "curtailment": curtailment}
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


def test_make_vec_takes_the_native_batch():
    batch = gym.make_vec(ID, num_envs=5, split="test", observation="compact")
    assert batch.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert batch.observation_space.shape == (5, 21)
    assert batch.action_space.shape == (5, 1)
    assert not isinstance(batch.unwrapped, gym.vector.SyncVectorEnv)
    obs, _ = batch.reset(seed=0)
    assert obs in batch.observation_space
    for _ in range(100):
        obs, *_ = batch.step(batch.action_space.sample())
        assert obs in batch.observation_space
    assert batch.unwrapped.terminal_eur_per_kwh.shape == (5,)


def test_same_seed_same_batch():
    def play():
        batch = gym.make_vec(ID, num_envs=4)
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


def test_bad_input():
    with pytest.raises(ScenarioError, match="num_envs is 0"):
        gym.make_vec(ID, num_envs=0)
    batch = gym.make_vec(ID, num_envs=2)
    with pytest.raises(ActionError, match="call reset first"):
        batch.step(np.zeros((2, 1)))
    batch.reset(seed=0)
    for action in (np.zeros((3, 1)), np.zeros(2), np.full((2, 1), np.nan), [[0.0], [1.5]]):
        with pytest.raises(ActionError):
            batch.step(np.array(action))


def test_what_was_returned_does_not_change():
    batch = gym.make_vec(ID, num_envs=2)
    batch.reset(seed=0)
    obs, reward, done, _, info = batch.step(np.zeros((2, 1)))
    kept = obs.copy(), reward.copy(), done.copy(), info["soc_kwh"].copy()
    for _ in range(97):
        batch.step(np.ones((2, 1)))
    for old, new in zip(kept, (obs, reward, done, info["soc_kwh"]), strict=True):
        assert np.array_equal(old, new)


def test_writing_into_what_was_returned_changes_no_reward():
    one, two = (gym.make_vec(ID, num_envs=2) for _ in range(2))
    results = []
    for batch, spoil in ((one, False), (two, True)):
        obs, info = batch.reset(seed=0)
        total = np.zeros(2)
        for _ in range(96):
            if spoil:
                for array in (obs, *info.values()):
                    if isinstance(array, np.ndarray) and array.flags.writeable:
                        array[...] = 1
            obs, reward, _, _, info = batch.step(np.full((2, 1), 0.9))
            total += reward
        results.append(total)
    assert np.array_equal(*results)
