"""Houses as rows of an SB3 `VecEnv`: options, seeds, infos."""

import numpy as np
import pytest

from flexgym.envs.errors import ScenarioError
from flexgym.train import sb3_house_rows


def test_options_and_seeds_of_houses_are_those_of_their_feeder():
    env = sb3_house_rows(2, scenario="calm", observation="compact", seed=5)
    count = env.num_envs // 2
    assert env.seed(5) == [5] * count + [6] * count
    env.set_options({"day": 100})
    env.reset()
    assert (env.last_info["day"] == 100).all()
    env.set_options([{"day": 100}] * count + [{"day": 101}] * count)
    env.reset()
    assert set(env.last_info["day"][count:]) == {101}
    env.set_options([{"day": 100}] + [{"day": 101}] * (2 * count - 1))
    with pytest.raises(ScenarioError, match="same feeder"):
        env.reset()


def test_infos_are_each_rows_own_and_end_with_totals():
    env = sb3_house_rows(1, scenario="calm", observation="compact", seed=0)
    env.reset()
    still = np.zeros((env.num_envs, *env.action_space.shape))
    *_, infos = env.step(still)
    infos[3]["mine"] = 1
    *_, infos = env.step(still)
    assert not any(infos)
    for _ in range(94):
        *_, done, infos = env.step(still)
    assert done.all()
    assert infos[0]["totals"]["overload_h"] == 0.0
    assert infos[0]["totals"] == infos[-1]["totals"]


def test_views_of_houses_add_what_they_say():
    from flexgym.train.wrappers import HouseView

    options = {"scenario": "stress", "observation": "compact", "seed": 3}
    bare = sb3_house_rows(2, **options)
    seen = bare.reset()
    houses = bare.num_envs // 2
    numbered = HouseView(sb3_house_rows(2, **options), "numbered")
    central = HouseView(sb3_house_rows(2, **options), "feeder")
    rng = np.random.default_rng(0)
    one, two = numbered.reset(), central.reset()
    for _ in range(96):
        np.testing.assert_array_equal(one[:, :-1], seen)
        np.testing.assert_array_equal(one[:, -1], np.tile(np.arange(houses), 2))
        own, beside = np.split(two, [seen.shape[1]], axis=1)
        np.testing.assert_array_equal(own, seen)
        soc, missing, voltage = np.split(beside, 3, axis=1)
        # The rows of a feeder see the same: what its houses see themselves.
        for feeder in np.split(np.arange(2 * houses), 2):
            np.testing.assert_allclose(soc[feeder], seen[feeder, :1].T.repeat(houses, 0), atol=1e-6)
            np.testing.assert_allclose(
                voltage[feeder], seen[feeder, 4:5].T.repeat(houses, 0), atol=1e-5
            )
            at_home = seen[feeder, 3] > 0.0
            assert ((missing[feeder[0]] > 0.0) == at_home).all()
        action = rng.uniform(-1.0, 1.0, (bare.num_envs, 2)).astype(np.float32)
        last = seen
        seen, *_ = bare.step(action)
        one, *_, infos = numbered.step(action)
        two, *_ = central.step(action)
    assert infos[0]["terminal_observation"].shape == one[0].shape
    assert last.shape == seen.shape
    with pytest.raises(ScenarioError, match="view is 'own'"):
        HouseView(bare, "own")


def test_scaled_rewards_and_the_stopwatch_change_nothing_else():
    from flexgym.train.vec_env import sb3_vec_env
    from flexgym.train.wrappers import ScaledReward, Stopwatch

    bare = sb3_vec_env("flexgym/Aggregator-v0", 3, seed=1, power_flow=False)
    inner = sb3_vec_env("flexgym/Aggregator-v0", 3, seed=1, power_flow=False)
    env = Stopwatch(ScaledReward(inner, 0.1))
    np.testing.assert_array_equal(bare.reset(), env.reset())
    for _ in range(24):
        action = np.zeros((3, 1), np.float32)
        seen, reward, done, infos = bare.step(action)
        mine, scaled, over, told = env.step(action)
        np.testing.assert_array_equal(seen, mine)
        np.testing.assert_allclose(scaled, 0.1 * reward, rtol=1e-6)
        np.testing.assert_array_equal(done, over)
    assert [info["episode"] for info in told] == [info["episode"] for info in infos]
    assert env.seconds > 0.0


@pytest.mark.parametrize("role", ["buses", "aggregators", "dso"])
def test_owed_energy_leaves_the_days_return_as_it_is(role):
    from flexgym.envs.aggregator_market.vector_env import MarketRowsVectorEnv
    from flexgym.train.vec_env import BatchedVecEnv
    from flexgym.train.wrappers import OwedEnergy

    inner = BatchedVecEnv(MarketRowsVectorEnv(2, role, scenario="three", power_flow=False))
    inner.seed(4)
    env = OwedEnergy(inner, price_eur_per_mwh=30.0, scale=0.5)
    env.reset()
    rng = np.random.default_rng(0)
    shaped, differs = np.zeros(env.num_envs), 0.0
    for _ in range(2):
        shaped[:] = 0.0
        for _ in range(24):
            before = inner._return.copy()
            action = rng.uniform(-1.0, 1.0, (env.num_envs, 1)).astype(np.float32)
            _, reward, done, infos = env.step(action)
            shaped += reward
            if not done.all():
                differs = max(differs, np.abs(reward - 0.5 * (inner._return - before)).max())
        returns = np.array([info["episode"]["r"] for info in infos])
        np.testing.assert_allclose(shaped, 0.5 * returns, rtol=1e-4, atol=1e-4)
    assert differs > 0.01
