"""Training: batch adapter, shaping, settings, run folders, resume."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from flexgym.envs.errors import RunError, ScenarioError
from flexgym.train.tasks.household import HouseholdTask
from flexgym.train.training import train as train_in

ENV_ID = HouseholdTask.env_id


def train(folder, **options):
    return train_in("household", folder, **options)


def policy_shape(run):
    """Length of an observation by the run's own checkpoint."""
    from flexgym.policies.learned_weights import read_checkpoint

    return tuple(read_checkpoint(run / "last.zip").facts["observation_space"]["_shape"])


def test_batch_adapter_equals_single_environments():
    import gymnasium as gym

    from flexgym.train import sb3_vec_env

    env = sb3_vec_env(ENV_ID, 3, seed=11)
    singles = [gym.make(ENV_ID, disable_env_checker=True) for _ in range(3)]
    first = env.reset()
    for i, single in enumerate(singles):
        np.testing.assert_array_equal(single.reset(seed=11 + i)[0], first[i])
    rng = np.random.default_rng(0)
    returns = np.zeros(3)
    for t in range(96):
        action = rng.uniform(-1, 1, (3, 2)).astype(np.float32)
        observation, reward, done, infos = env.step(action)
        for i, single in enumerate(singles):
            seen, expected, over, _, _ = single.step(action[i])
            returns[i] += expected
            assert reward[i] == np.float32(expected)
            assert done[i] == over == (t == 95)
            if over:
                np.testing.assert_array_equal(infos[i]["terminal_observation"], seen)
                assert infos[i]["episode"]["l"] == 96
                assert infos[i]["episode"]["r"] == pytest.approx(returns[i], abs=1e-9)
                assert infos[i]["TimeLimit.truncated"] is False
                np.testing.assert_array_equal(single.reset()[0], observation[i])
            else:
                assert infos[i] == {}
                np.testing.assert_array_equal(observation[i], seen)


def test_batch_adapter_needs_same_step_resets():
    import gymnasium as gym

    from flexgym.train.vec_env import BatchedVecEnv

    other = gym.vector.SyncVectorEnv([lambda: gym.make("Pendulum-v1")])
    with pytest.raises(ScenarioError, match="SAME_STEP"):
        BatchedVecEnv(other)


@pytest.mark.parametrize("policy", ["random", "idle"])
def test_shaping_changes_the_return_by_a_constant_of_the_episode(policy):
    from flexgym.train import ShapedReward, sb3_vec_env

    inner = sb3_vec_env(ENV_ID, 5, seed=3, car=policy == "random")
    env = ShapedReward(inner, scale=2.0)
    env.reset()
    start = inner.last_info
    constant = -start["terminal_eur_per_kwh"] * start["soc_kwh"]
    rng = np.random.default_rng(1)
    shaped, idle = np.zeros(5), np.zeros(5)
    for _ in range(96):
        if policy == "idle":
            action = inner.batch.simulation.action(np.zeros(5))
        else:
            action = rng.uniform(-1, 1, (5, 2))
        _, reward, done, infos = env.step(action)
        info = inner.last_info.get("final_info", inner.last_info)
        shaped += reward
        idle += info["idle_eur"]
    assert done.all()
    bill = np.array([info["episode"]["r"] for info in infos])
    np.testing.assert_allclose(shaped / 2.0, bill + idle + constant, atol=1e-4)
    if policy == "idle":
        np.testing.assert_allclose(shaped, 0.0, atol=1e-4)


def test_shaping_of_house_rows_counts_their_share_of_the_grid():
    from flexgym.train import ShapedReward, sb3_house_rows

    inner = sb3_house_rows(2, scenario="stress", share="local", seed=3, observation="compact")
    env = ShapedReward(inner, scale=2.0)
    assert env.reset().shape == (86, 6)
    start = inner.last_info
    constant = -start["terminal_eur_per_kwh"] * start["soc_kwh"]
    rng = np.random.default_rng(1)
    shaped, idle, grid = np.zeros(86), np.zeros(86), np.zeros(86)
    for _ in range(96):
        _, reward, done, infos = env.step(rng.uniform(-1, 1, (86, 2)))
        info = inner.last_info.get("final_info", inner.last_info)
        shaped += reward
        idle += info["idle_eur"]
        grid += info["grid_eur"]
    assert done.all()
    returns = np.array([info["episode"]["r"] for info in infos])
    np.testing.assert_allclose(shaped / 2.0, returns + idle + constant, rtol=1e-5, atol=1e-3)
    assert grid.max() > 0.0


def test_no_two_runs_train_on_the_same_episodes(tmp_path, small_config, monkeypatch):
    """Nor on those of validation and test; a run that goes on has new ones."""
    from flexgym.train.vec_env import BatchedVecEnv

    seeds, reset = [], BatchedVecEnv.reset

    def noted(self):
        seeds.append(self._seed)
        return reset(self)

    monkeypatch.setattr(BatchedVecEnv, "reset", noted)
    for seed in (0, 1):
        options = {"config": small_config("ppo"), "validation": 1, "seed": seed}
        for frames in (384, 768):
            train(tmp_path / f"{seed}", timesteps=frames, resume=frames > 384, **options)
    assert seeds == [1_000_000_000, 1_000_000_384, 2_000_000_000, 2_000_000_384]


def test_who_keeps_limits_is_preferred_whatever_the_scores(tmp_path, small_config, monkeypatch):
    """The best network is the best of those that keep limits, over a resume as well."""
    from flexgym.train.task import Judgement

    found = iter(
        [
            (50.0, False),
            (30.0, True),
            (80.0, False),
            (20.0, True),
            (40.0, True),
            (90.0, False),
            (35.0, True),
        ]
    )

    def judge(self, model):
        score, keeps = next(found)
        return Judgement(score, 0.0, 0.0, keeps_limits=keeps)

    monkeypatch.setattr(HouseholdTask, "judge", judge)
    options = {"config": small_config("ppo"), "validation": 1}
    best = [
        train(tmp_path / "run", timesteps=768 * run, resume=run > 1, **options)
        for run in range(1, 4)
    ]
    assert best == [30.0, 40.0, 40.0]


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_training_writes_a_run_that_can_be_evaluated_and_resumed(tmp_path, algorithm, small_config):
    from flexgym.policies.learned import Learned

    config = small_config(algorithm)
    run = tmp_path / "run"
    options = {"algorithm": algorithm, "config": config, "validation": 4}
    best = train(run, timesteps=768, **options)
    first = json.loads((run / "state.json").read_text())
    assert first["frames"] == 768
    assert first["best_score"] == best
    rows = (run / "validation.csv").read_text().splitlines()
    train(run, timesteps=1536, resume=True, **options)
    after = json.loads((run / "state.json").read_text())
    assert after["frames"] == 1536
    assert after["used_s"] > first["used_s"]
    assert after["best_score"] >= first["best_score"]
    assert (run / "validation.csv").read_text().splitlines()[: len(rows)] == rows
    if algorithm == "sac":
        assert after["replay_at"] == 1536 // 4
    for checkpoint in ("best", "last"):
        policy = Learned.from_run(run, checkpoint)
        assert policy.model.observation_space.shape == policy_shape(run)
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["seed"] == 0
    assert saved["versions"]["flexgym"]
    assert train(run, timesteps=1536, resume=True, **options) == after["best_score"]
    # Who asks for less gets nothing, and the run still says how it was trained.
    assert train(run, timesteps=384, resume=True, **options) == after["best_score"]
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["hyperparameters"]["n_timesteps"] == 1536
    assert saved["lengths_before"] == ["768 frames"]


@pytest.mark.parametrize("timesteps", [0.5, 0, -1, float("nan"), 384.5, 1e13])
def test_frames_are_whole(tmp_path, small_config, timesteps):
    with pytest.raises(ScenarioError, match=r"timesteps is .*expected a whole number from 1"):
        train(tmp_path / "run", config=small_config("ppo"), timesteps=timesteps)
    assert not (tmp_path / "run").exists()


def test_the_learning_rate_never_turns_negative(tmp_path, small_config):
    """A rollout has 384 frames: the second one begins after all that were asked for."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = small_config("ppo")
    for timesteps in (300, 600):
        train(
            tmp_path / "run", config=config, timesteps=timesteps, validation=2,
            resume=timesteps > 300,
        )  # fmt: skip
    events = EventAccumulator(str(tmp_path / "run" / "tb"))
    events.Reload()
    rates = [
        event.value
        for name in ("train/learning_rate", "flexgym/learning_rate")
        if name in events.Tags()["scalars"]
        for event in events.Scalars(name)
    ]
    assert len(rates) > 2
    assert min(rates) == 0.0


def test_diverged_training_is_said(tmp_path, small_config):
    config = small_config("ppo", learning_rate=100.0, n_epochs=20, max_grad_norm=1e6)
    with pytest.raises(RunError, match=r"diverged.*Lower learning_rate"):
        train(tmp_path / "run", config=config, timesteps=3840, validation=1)
    from flexgym.policies.learned import policy_of_run

    kept = policy_of_run(tmp_path / "run", "last")
    assert all(bool(weights.isfinite().all()) for weights in kept.parameters())


def test_tensorboard_gets_scores_and_cost_terms(tmp_path, small_config):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    train(run, config=small_config("ppo"), timesteps=1536, validation=4)
    events = EventAccumulator(str(run / "tb"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    wanted = {"score", "cost_eur", "gap_eur", "violation_h", "wear_eur", "learning_rate"}
    assert {f"flexgym/{name}" for name in wanted} | {"train/loss"} <= tags
    assert {"time/frames_per_s", "time/environment_percent"} <= tags
    for event in events.Scalars("time/environment_percent"):
        assert 0.0 < event.value < 100.0
    assert events.Tags()["images"] == ["flexgym/day"]
    assert (run / "day.png").stat().st_size > 1000


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_killed_run_resumes_with_nothing_lost_but_the_running_rollout(
    tmp_path, algorithm, small_config
):
    config = small_config(algorithm)
    run = tmp_path / "run"
    command = [sys.executable, "-m", "flexgym", "train", "household", "--algo", algorithm]
    command += ["--config", str(config), "--timesteps", "1e7", "--validation", "2"]
    command += ["--out", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    state = run / "state.json"
    while time.monotonic() < deadline:
        if state.exists() and json.loads(state.read_text())["frames"] >= 3 * 384:
            break
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed = json.loads(state.read_text())
    assert killed["frames"] >= 3 * 384
    frames = killed["frames"] + 768
    train(
        run,
        algorithm=algorithm,
        timesteps=frames,
        validation=2,
        resume=True,
    )
    resumed = json.loads(state.read_text())
    # The model is written just before the state: a kill between the two is one rollout ahead.
    assert frames <= resumed["frames"] <= frames + 384
    assert resumed["best_score"] >= killed["best_score"]


def test_damaged_and_missing_runs_are_named(tmp_path, small_config):
    config = small_config("ppo")
    run = tmp_path / "run"
    options = {"config": config, "timesteps": 384, "validation": 2}
    with pytest.raises(RunError, match="no run in"):
        train(run, resume=True, **options)
    train(run, **options)
    with pytest.raises(RunError, match="--resume"):
        train(run, **options)
    with pytest.raises(RunError, match="algorithm ppo, but this command has algorithm sac"):
        train(run, algorithm="sac", resume=True, validation=2)
    whole = (run / "last.zip").read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 10):
        (run / "last.zip").write_bytes(whole[:size])
        with pytest.raises(RunError, match=r"cannot read the checkpoint .*last.zip"):
            train(run, resume=True, timesteps=768, validation=2)
    (run / "last.zip").unlink()
    with pytest.raises(RunError, match=r"last\.zip is missing after 384 frames"):
        train(run, resume=True, timesteps=768, validation=2)
    (run / "last.zip").write_bytes(whole)
    state = (run / "state.json").read_text()
    for broken in (
        '{"frames": ',
        "{}",
        "[]",
        state.replace("384", '"a"'),
        state.replace("384", "-5"),
    ):
        (run / "state.json").write_text(broken)
        with pytest.raises(RunError, match=r"state\.json"):
            train(run, resume=True, timesteps=768, validation=2)
    (run / "state.json").write_text(state)
    text = (run / "config.yaml").read_text()
    for broken in ("algorithm: [", "", text.replace("seed:", "sed:"), text.replace("ppo", "dqn")):
        (run / "config.yaml").write_text(broken)
        with pytest.raises(RunError, match=r"config\.yaml"):
            train(run, resume=True, timesteps=768, validation=2)


def test_resume_refuses_options_that_contradict_the_run(tmp_path, small_config):
    run = tmp_path / "run"
    config = small_config("ppo")
    options = {"timesteps": 384, "validation": 2, "resume": True}
    train(run, **{**options, "config": config, "resume": False, "seed": 3})
    with pytest.raises(RunError, match="seed 3, but this command has seed 4"):
        train(run, **options, seed=4)
    other = small_config("ppo", gamma=0.9)
    with pytest.raises(RunError, match="holds a run with config"):
        train(run, **options, seed=3, config=other)
    with pytest.raises(RunError, match="the default car, but this command has --no-car"):
        train(run, **options, seed=3, options={"car": False})
    assert train(run, **options, seed=3, config=small_config("ppo")) > -1e9


def test_two_processes_never_train_in_one_folder(tmp_path, small_config):
    from flexgym.train.run_folder import RunFolder

    run = tmp_path / "run"
    train(run, config=small_config("ppo"), timesteps=384, validation=2)
    held = RunFolder.resume(run)
    with pytest.raises(RunError, match="another process"):
        train(run, timesteps=768, validation=2, resume=True)
    held.release()
    train(run, timesteps=768, validation=2, resume=True)


def test_evaluating_a_run_leaves_its_replay_buffer_alone(tmp_path, small_config):
    from flexgym.policies.learned import Learned

    run = tmp_path / "run"
    config = small_config("sac")
    train(run, algorithm="sac", config=config, timesteps=768, validation=2)
    before = (run / "replay" / "rewards.npy").read_bytes()
    assert any(before[200:])
    Learned.from_run(run)
    assert (run / "replay" / "rewards.npy").read_bytes() == before


def test_loading_a_policy_does_not_import_the_training_room(tmp_path, small_config):
    run = tmp_path / "run"
    train(run, config=small_config("ppo"), timesteps=384, validation=2)
    program = (
        "import sys; from flexgym.policies.learned import Learned; "
        f"Learned.from_run({str(run)!r}); "
        "print([m for m in sys.modules if m.startswith('flexgym.train')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_adapter_keeps_the_contract_of_sb3():
    from stable_baselines3.common.monitor import Monitor

    from flexgym.train import sb3_vec_env

    env = sb3_vec_env(ENV_ID, 3, seed=0)
    env.set_options({"house": 4, "day": 9})
    env.reset()
    assert env.batch.simulation.episodes.house.tolist() == [4, 4, 4]
    assert env.batch.simulation.episodes.day.tolist() == [9, 9, 9]
    prices = env.get_attr("terminal_eur_per_kwh", [2])
    assert prices == [env.batch.terminal_eur_per_kwh[2]]
    assert env.env_is_wrapped(Monitor) == [True] * 3
    with pytest.raises(ScenarioError, match="lockstep"):
        env.env_method("reset", indices=[0])


def test_a_missing_replay_buffer_is_named(tmp_path, small_config):
    run = tmp_path / "run"
    options = {"algorithm": "sac", "validation": 2}
    train(run, config=small_config("sac"), timesteps=768, **options)
    shutil.rmtree(run / "replay")
    with pytest.raises(RunError, match="replay buffer"):
        train(run, timesteps=1536, resume=True, **options)
