"""Several seeds: a folder each, side by side, taken up where they were left."""

import json

import numpy as np
import pytest
import yaml

from flexgym.cli import main
from flexgym.envs.errors import RunError, ScenarioError
from flexgym.train.seeds import seed_folder, train_seeds
from flexgym.train.training import train

CONTENT = {
    "flexgym/Aggregator-v0": {
        "n_envs": 4,
        "n_steps": 24,
        "batch_size": 96,
        "n_epochs": 1,
        "n_timesteps": 192,
        "policy": "MlpPolicy",
        "learning_rate": 1e-3,
        "policy_kwargs": "dict(net_arch=[8])",
    }
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ppo.yml"
    path.write_text(yaml.safe_dump(CONTENT))
    return path


def configuration(run):
    return yaml.safe_load((run / "config.yaml").read_text())


def weights(run):
    from flexgym.policies.learned_weights import read_checkpoint

    return read_checkpoint(run / "last.zip").parameters["policy"]


def test_seeds_are_the_runs_that_each_would_be_alone(tmp_path, file, capsys):
    options = {"config": file, "validation": 8}
    scores = train_seeds("aggregator", tmp_path / "both", 2, seed=5, **options)
    assert set(scores) == {5, 6}
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[1] for line in lines if line.startswith("seed")} == {"5", "6"}
    alone = tmp_path / "alone"
    assert train("aggregator", alone, seed=6, **options) == scores[6]
    both = weights(seed_folder(tmp_path / "both", 6))
    for name, tensor in weights(alone).items():
        np.testing.assert_array_equal(tensor, both[name])


def test_seeds_that_were_left_go_on_and_others_begin(tmp_path, file):
    options = {"config": file, "validation": 8, "timesteps": 96}
    train("aggregator", tmp_path / "seed-0", seed=0, **options)
    with pytest.raises(RunError, match="--resume"):
        train_seeds("aggregator", tmp_path, 2, **options)
    # Also where the one in the way is not the first: nothing is trained before it is said.
    (tmp_path / "seed-0").rename(tmp_path / "seed-1")
    with pytest.raises(RunError, match="seed-1 already holds a run"):
        train_seeds("aggregator", tmp_path, 2, **options)
    assert not (tmp_path / "seed-0").exists()
    (tmp_path / "seed-1").rename(tmp_path / "seed-0")
    train_seeds("aggregator", tmp_path, 2, resume=True, **options)
    longer = {**options, "timesteps": 192}
    train_seeds("aggregator", tmp_path, 2, resume=True, **longer)
    for seed in range(2):
        state = json.loads((tmp_path / f"seed-{seed}" / "state.json").read_text())
        assert state["frames"] == 192
        assert configuration(tmp_path / f"seed-{seed}")["lengths_before"] == ["96 frames"]


def test_seeds_that_begin_beside_others_are_as_long(tmp_path, file):
    options = {"config": file, "validation": 8}
    train_seeds("aggregator", tmp_path, 1, timesteps=96, minutes=5, **options)
    train_seeds("aggregator", tmp_path, 2, resume=True, **options)
    told = configuration(tmp_path / "seed-1")
    assert (told["hyperparameters"]["n_timesteps"], told["minutes"]) == (96, 5)
    assert "lengths_before" not in told


@pytest.mark.parametrize(
    ("seeds", "asked", "message"),
    [
        (3, {"timesteps": 192}, r"seed-0 192, first 96 frames; .*seed-2 192;"),
        (3, {"timesteps": 48}, r"seed-0 96; .*seed-2 48;"),
        (3, {"timesteps": 192, "minutes": 5}, r"first 96 frames, no time limit;"),
        (3, {"minutes": 5}, r"seed-0 96; .*seed-2 96, 5 minutes at most;"),
        (2, {"timesteps": 384}, r"seed-0 384, first 96 frames; .*seed-1 384, first .*192 frames;"),
    ],
)  # fmt: skip
def test_seeds_of_several_lengths_do_not_mix(tmp_path, file, seeds, asked, message):
    """It is said before anything is trained."""
    options = {"config": file, "validation": 8}
    train_seeds("aggregator", tmp_path, 2, timesteps=96, **options)
    if seeds == 2:
        train("aggregator", tmp_path / "seed-1", seed=1, timesteps=192, resume=True, **options)
    with pytest.raises(RunError, match=message):
        train_seeds("aggregator", tmp_path, seeds, resume=True, **asked, **options)
    assert not (tmp_path / "seed-2").exists()
    assert configuration(tmp_path / "seed-0")["hyperparameters"]["n_timesteps"] == 96


def test_a_run_that_had_not_begun_was_of_no_other_length(tmp_path, file):
    run = tmp_path / "run"
    train("aggregator", run, config=file, validation=8, timesteps=96)
    state = json.loads((run / "state.json").read_text()) | {"frames": 0}
    (run / "state.json").write_text(json.dumps(state))
    (run / "last.zip").unlink()
    train("aggregator", run, validation=8, timesteps=192, resume=True)
    assert "lengths_before" not in configuration(run)


@pytest.mark.parametrize("length", ["abc", None, 1.5, [1]])
def test_a_damaged_length_is_named(tmp_path, file, length):
    train_seeds("aggregator", tmp_path, 1, config=file, validation=8, timesteps=96)
    told = configuration(tmp_path / "seed-0")
    told["hyperparameters"]["n_timesteps"] = length
    (tmp_path / "seed-0" / "config.yaml").write_text(yaml.safe_dump(told))
    with pytest.raises((RunError, ScenarioError), match=r"timesteps"):
        train_seeds("aggregator", tmp_path, 2, resume=True, validation=8)


@pytest.mark.parametrize(
    "damage", [{"minutes": "abc"}, {"minutes": [1]}, {"lengths_before": 5}, {"lengths_before": "a"}]
)
def test_a_damaged_limit_is_named(tmp_path, file, damage):
    train_seeds("aggregator", tmp_path, 1, config=file, validation=8, timesteps=96)
    told = configuration(tmp_path / "seed-0") | damage
    (tmp_path / "seed-0" / "config.yaml").write_text(yaml.safe_dump(told))
    with pytest.raises(RunError, match="cannot read minutes or lengths_before"):
        train_seeds("aggregator", tmp_path, 2, resume=True, validation=8)
    with pytest.raises(RunError, match="cannot read minutes or lengths_before"):
        train("aggregator", tmp_path / "seed-0", resume=True, minutes=3)


@pytest.mark.parametrize("option", ["timesteps", "minutes"])
@pytest.mark.parametrize("length", [-1, 0, float("nan")])
def test_lengths_that_are_none_are_named(tmp_path, file, option, length):
    """Also where all seeds are trained already."""
    asked = {option: length}
    options = {"config": file, "validation": 8}
    train_seeds("aggregator", tmp_path, 1, timesteps=96, **options)
    for seeds in (1, 2):
        with pytest.raises(ScenarioError, match=f"{option} is"):
            train_seeds("aggregator", tmp_path, seeds, resume=True, **asked, **options)
    assert not (tmp_path / "seed-1").exists()


@pytest.mark.parametrize("env", ["directive", "menus"])
def test_seeds_of_another_environment_are_named(tmp_path, file, env):
    train_seeds("aggregator", tmp_path, 1, config=file, validation=8, timesteps=96)
    with pytest.raises(RunError, match=r"holds a run of ppo in flexgym/Aggregator-v0; expected"):
        train_seeds(env, tmp_path, 2, resume=True)


def test_seeds_side_by_side_in_processes(tmp_path, file):
    done = main(
        f"train aggregator --config {file} --validation 8 --seeds 2 --threads 2 --steps 96 "
        f"--out {tmp_path / 'runs'}".split()
    )
    assert done == 0
    for seed in range(2):
        assert configuration(tmp_path / f"runs/seed-{seed}")["seed"] == seed


def test_bad_numbers_of_seeds_are_named(tmp_path):
    for seeds in (0, -1, 10_000):
        with pytest.raises(ScenarioError, match="seeds is"):
            train_seeds("aggregator", tmp_path, seeds)
    with pytest.raises(ScenarioError, match="env is 'x'"):
        train_seeds("x", tmp_path, 1)


@pytest.mark.parametrize(
    ("env", "config", "told"),
    [
        ("household", {"car": False, "prices": "/my prices.csv"},
         "--run X --no-car --prices '/my prices.csv'"),
        ("household", {"hyperparameters": {"env_kwargs": {"car": True}}}, "household --run X"),
        ("feeder", {"hyperparameters": {"env_kwargs": {"scenario": "calm"}}}, "--scenario calm"),
        ("aggregator", {"scenario": "loose"}, "--policy X --scenario loose"),
        ("appliance", {"scenario": "mixed"}, "--policy X --jobs mixed"),
        ("trader", {}, "trader --policy X"),
    ],
)  # fmt: skip
def test_what_to_do_next_plays_in_the_same_world(tmp_path, env, config, told):
    from flexgym.train.command import next_command

    basics = {"environment": env, "algorithm": "ppo", "seed": 0}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**basics, **config}))
    command = next_command(env, tmp_path).replace(str(tmp_path), "X")
    assert command.endswith(told)
