"""Hyper-parameters: files, schedules, exploration."""

import math

import pytest
import yaml

from flexgym.envs.errors import RunError, ScenarioError
from flexgym.train.settings import Budget, LinearSchedule, algorithm_arguments, read_hyperparameters
from flexgym.train.task import TASKS, task_class
from flexgym.train.tasks.household import HouseholdTask
from flexgym.train.training import train as train_in

NAN = math.nan


def train(folder, **options):
    return train_in("household", folder, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rat": 1e-3}, "unknown keys learning_rat"),
        ({"device": "cuda"}, "unknown keys device"),
        ({"batch_size": -1}, "batch_size"),
        ({"n_steps": 0}, "n_steps"),
        ({"policy": "Foo"}, "do not fit PPO"),
        ({"clip_range": "a"}, "clip_range"),
        ({"policy_kwargs": "dict(foo=1)"}, "do not fit PPO"),
        ({"env_kwargs": {"foo": 1}}, "env_kwargs"),
        ({"env_kwargs": {"split": "test"}}, "env_kwargs"),
        ({"env_kwargs": "a"}, "env_kwargs"),
        ({"env_kwargs": {"action_map": "a"}}, "action_map is 'a'"),
        (
            {"vec_env_wrapper": ["stable_baselines3.common.vec_env.VecNormalize"]},
            "changes observations",
        ),
        (
            {
                "vec_env_wrapper": [
                    {"stable_baselines3.common.vec_env.VecFrameStack": {"n_stack": 2}}
                ]
            },
            "changes observations",
        ),
        ({"vec_env_wrapper": [{"flexgym.train.vec_env.ShapedReward": {"a": 1}}]}, "does not take"),
        ({"vec_env_wrapper": [{}]}, "vec_env_wrapper has the entry {}"),
        ({"vec_env_wrapper": [{"a.B": 1}]}, "vec_env_wrapper has the entry"),
        ({"vec_env_wrapper": [7]}, "vec_env_wrapper has the entry 7"),
        ({"n_envs": 0}, "n_envs"),
        ({"n_timesteps": "many"}, "n_timesteps"),
        ({"learning_rate": "cos_1e-3"}, "learning_rate"),
        ({"learning_rate": "lin_fast"}, "learning_rate"),
        ({"policy_kwargs": "__import__('os').getcwd()"}, "policy_kwargs"),
        ({"vec_env_wrapper": ["nowhere.Nothing"]}, "vec_env_wrapper"),
        ({"most_std": 0.5}, "most_std"),
        ({"most_std": [0.5, 0.0]}, "most_std"),
        ({"most_std": ["a", "b"]}, "most_std"),
        ({"vec_env_wrapper": [{"flexgym.train.vec_env.ShapedReward": {"scale": NAN}}]}, "scale"),
    ],
)
def test_bad_hyperparameters_are_named(tmp_path, change, message, small_config):
    config = small_config("ppo", **change)
    with pytest.raises(ScenarioError, match=message):
        train(tmp_path / "run", config=config, timesteps=384, validation=2)
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ent_coef": NAN}, "ent_coef in .* is nan"),
        ({"ent_coef": "auto"}, None),
        ({"gamma": "high"}, "gamma"),
        ({"gamma": 7}, "gamma in .* is 7; expected a number from 0 to 1"),
        ({"gamma": True}, "gamma"),
        ({"learning_rate": 1e30}, "learning_rate"),
        ({"n_envs": 1e12}, "n_envs"),
        ({"n_envs": True}, "n_envs"),
        ({"n_epochs": 2.7}, "n_epochs in .* is 2.7; expected a whole number"),
        ({"most_std": [0.5, NAN]}, "most_std"),
        ({"most_std": [True, 0.05]}, "most_std"),
        ({"normalize_advantage": "no"}, "normalize_advantage .* expected true or false"),
        ({"policy": 5}, "policy"),
        ({"stats_window_size": -1}, "stats_window_size"),
        ({"use_sde": True}, "unknown keys use_sde"),
    ],
)
def test_numbers_out_of_range_are_named_before_anything_is_built(change, message, small_config):
    file = small_config("ppo", **change)
    if message is None:
        assert read_hyperparameters("ppo", HouseholdTask, file)["ent_coef"] == "auto"
        return
    with pytest.raises(ScenarioError, match=message):
        read_hyperparameters("ppo", HouseholdTask, file)


@pytest.mark.parametrize(
    "sizes", ["[0]", "[64, 10**9]", "[100000]", "dict(pi=[True], vf=[8])", "8"]
)
def test_sizes_of_layers_are_numbers_of_layers(sizes):
    given = {"policy": "MlpPolicy", "policy_kwargs": f"dict(net_arch={sizes})"}
    with pytest.raises(ScenarioError, match=r"net_arch|policy_kwargs"):
        algorithm_arguments("ppo", given, Budget(None), {})


def test_a_run_of_others_names_no_code(tmp_path, small_config, monkeypatch):
    (tmp_path / "elsewhere.py").write_text(
        "from pathlib import Path\nPath('ran').touch()\n"
        "from flexgym.train.vec_env import ShapedReward as Mine\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    train(tmp_path / "run", config=small_config("ppo"), timesteps=384, validation=2)
    file = tmp_path / "run" / "config.yaml"
    told = file.read_text().replace("flexgym.train.vec_env.ShapedReward", "elsewhere.Mine")
    file.write_text(told)
    with pytest.raises(ScenarioError, match=r"names the wrapper .elsewhere\.Mine."):
        train(tmp_path / "run", timesteps=768, resume=True)
    assert not (tmp_path / "ran").exists()
    # Whoever has the file with it may go on.
    wrapper = [{"elsewhere.Mine": {"scale": 10.0}}]
    mine = small_config("ppo", vec_env_wrapper=wrapper)
    train(tmp_path / "run", config=mine, timesteps=768, resume=True)
    assert (tmp_path / "ran").exists()
    file.write_text(file.read_text().replace("gamma: 1.0", "gamma: .nan"))
    with pytest.raises(ScenarioError, match=r"gamma in .*config\.yaml is nan"):
        train(tmp_path / "run", timesteps=1152, resume=True)


def test_validation_days_stay_the_same_when_a_run_goes_on(tmp_path, small_config):
    train(tmp_path / "run", config=small_config("ppo"), timesteps=384, validation=2)
    with pytest.raises(RunError, match="with validation 2, but this command has validation 3"):
        train(tmp_path / "run", timesteps=768, validation=3, resume=True)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["validation"] == 2
    train(tmp_path / "run", timesteps=768, resume=True)


def test_a_refused_run_leaves_nothing_behind(tmp_path, small_config):
    with pytest.raises(ScenarioError):
        train(tmp_path / "run", config=small_config("ppo", clip_range="wide"), validation=2)
    train(tmp_path / "run", config=small_config("ppo"), timesteps=384, validation=2)


def test_bad_hyperparameter_files_are_named(tmp_path):
    with pytest.raises(ScenarioError, match="algo is 'dqn'"):
        read_hyperparameters("dqn", HouseholdTask)
    with pytest.raises(ScenarioError, match="cannot read"):
        read_hyperparameters("ppo", HouseholdTask, tmp_path / "nothing.yml")
    broken = tmp_path / "broken.yml"
    broken.write_text("a: [")
    with pytest.raises(ScenarioError, match="cannot read"):
        read_hyperparameters("ppo", HouseholdTask, broken)
    broken.write_text("other/Env-v0: {}")
    with pytest.raises(ScenarioError, match="no entry"):
        read_hyperparameters("ppo", HouseholdTask, broken)


def test_houses_without_a_car_may_have_hyperparameters_of_their_own(tmp_path):
    file = tmp_path / "two.yml"
    usual = {"n_envs": 4, "n_timesteps": 8, "policy": "MlpPolicy"}
    name = HouseholdTask.env_id
    for content, expected in (({}, 4), ({f"{name}/no-car": {**usual, "n_envs": 2}}, 2)):
        file.write_text(yaml.safe_dump({name: usual, **content}))
        for car, n_envs in ((None, 4), (True, 4), (False, expected)):
            found = read_hyperparameters("ppo", HouseholdTask, file, {"car": car})
            assert found["n_envs"] == n_envs


@pytest.mark.parametrize(
    ("env", "algorithm", "options"),
    [
        *((env, algo, {}) for env in TASKS for algo in task_class(env).algorithms),
        ("household", "sac", {"car": False}),
    ],
)
def test_shipped_hyperparameters_fit_environment_and_algorithm(env, algorithm, options):
    import stable_baselines3

    from flexgym.policies.learned_weights import ALGORITHMS
    from flexgym.train.settings import wrapped

    kind = task_class(env)
    parameters = read_hyperparameters(algorithm, kind, options=options)
    task = kind(algorithm, parameters, options)
    batch = task.vec_env(0)
    arguments = algorithm_arguments(algorithm, parameters, Budget(None), task.policy_kwargs(batch))
    learner = getattr(stable_baselines3, ALGORITHMS[algorithm].learner)
    model = learner(env=wrapped(batch, parameters), device="cpu", **arguments)
    rows = batch.num_envs * model.n_steps if algorithm != "sac" else parameters["batch_size"]
    assert rows % model.batch_size == 0


def test_exploration_falls_below_its_ceiling(tmp_path, small_config):
    from flexgym.policies.learned_weights import read_checkpoint

    found = {}
    for name, change in (("free", {}), ("held", {"most_std": [0.5, 0.1]})):
        config = small_config("ppo", **change)
        train(tmp_path / name, config=config, timesteps=1536, validation=2)
        tensors = read_checkpoint(tmp_path / name / "last.zip").parameters["policy"]
        found[name] = tensors["log_std"].exp().numpy()
    # The last of four rollouts begins with a quarter of the frames left.
    assert (found["held"] <= 0.5 * 0.25 + 0.1 * 0.75 + 0.02).all()
    assert (found["free"] > 0.8).all()


def test_learning_rate_falls_with_frames_or_time_whichever_is_ahead():
    unlimited = LinearSchedule(2.0, Budget(None))
    assert unlimited(1.0) == 2.0
    assert unlimited(0.25) == 0.5
    assert unlimited(-0.1) == 0.0  # SB3 finishes its rollout
    half_gone = LinearSchedule(2.0, Budget(1.0, used_s=30.0))
    assert half_gone(0.9) == pytest.approx(1.0, abs=0.05)
    assert half_gone(0.1) == pytest.approx(0.2, abs=1e-9)
    assert LinearSchedule(2.0, Budget(1.0, used_s=90.0))(1.0) == 0.0
    assert Budget(1.0, used_s=90.0).over
