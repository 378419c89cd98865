"""Small trainings of the house."""

import pytest
import yaml

from flexgym.train.tasks.household import HouseholdTask

SMALL = {
    "ppo": {"n_envs": 4, "n_timesteps": 1536, "n_steps": 96, "batch_size": 384, "n_epochs": 1},
    "sac": {
        "n_envs": 4,
        "n_timesteps": 1536,
        "buffer_size": 4000,
        "learning_starts": 100,
        "gradient_steps": 1,
        "batch_size": 32,
    },
}


@pytest.fixture
def small_config(tmp_path):
    """Writes hyper-parameters of an algorithm for some hundred frames."""

    def write(algorithm, **changes):
        path = tmp_path / f"{algorithm}.yml"
        wrapper = [{"flexgym.train.vec_env.ShapedReward": {"scale": 10.0}}]
        content = {
            **SMALL[algorithm],
            "policy": "MlpPolicy",
            "learning_rate": "lin_1e-3",
            "gamma": 1.0,
            "policy_kwargs": "dict(net_arch=[8])",
            "vec_env_wrapper": wrapper,
            **changes,
        }
        path.write_text(yaml.safe_dump({HouseholdTask.env_id: content}))
        return path

    return write
