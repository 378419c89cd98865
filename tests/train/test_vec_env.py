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
