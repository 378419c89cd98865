"""``flexgym train household``: SB3 on the batched house, judged on validation days."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from flexgym.envs.errors import RunError, ScenarioError
from flexgym.train.settings import ALGORITHMS

ENV_ID = "flexgym/Household-v0"
VALIDATION_SEED = 7_000_000
VALIDATION_HOUSE_DAYS = 192
_VALIDATIONS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--algo", choices=ALGORITHMS, default="ppo", help="algorithm")
    parser.add_argument("--config", type=Path, help="hyper-parameters, YAML in rl_zoo3's form")
    parser.add_argument("--timesteps", type=float, help="frames to train (house-quarter-hours)")
    parser.add_argument("--minutes", type=float, help="stop after this time")
    parser.add_argument("--prices", type=Path, help="CSV with your own prices")
    parser.add_argument(
        "--validation", type=int, default=VALIDATION_HOUSE_DAYS, help="house-days to validate on"
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")


def run(arguments: argparse.Namespace) -> int:
    """Train as the command line says."""
    folder = arguments.out or Path("runs") / f"household-{arguments.algo}-{arguments.seed}"
    reached = train(
        folder,
        algorithm=arguments.algo,
        config=arguments.config,
        timesteps=arguments.timesteps,
        minutes=arguments.minutes,
        prices=arguments.prices,
        validation_house_days=arguments.validation,
        seed=arguments.seed,
        threads=arguments.threads,
        resume=arguments.resume,
    )
    print(f"best validation score {reached:.1f}; run in {folder}")
    print(f"next: flexgym evaluate household --run {folder}   |   tensorboard --logdir {folder}")
    return 0


def train(
    folder: str | Path,
    *,
    algorithm: str = "ppo",
    config: str | Path | None = None,
    timesteps: float | None = None,
    minutes: float | None = None,
    prices: str | Path | None = None,
    validation_house_days: int = VALIDATION_HOUSE_DAYS,
    seed: int = 0,
    threads: int = 1,
    resume: bool = False,
) -> float:
    """Train a policy for the house.

    Args:
        folder: Run folder.
        algorithm: ``"ppo"`` or ``"sac"``.
        config: Hyper-parameters; None takes the shipped ones.
        timesteps: Frames; None takes the file's ``n_timesteps``.
        minutes: Time limit; the learning rate falls with frames or time, whichever is ahead.
        prices: CSV for `load_prices`; None is the synthetic tariff.
        validation_house_days: House-days of the validation split to score on.
        seed: Seed of networks and episodes.
        threads: Threads of torch; more than one slows small networks down.
        resume: Continue the run in ``folder``; hyper-parameters are the run's own.

    Returns:
        Best validation score.

    Raises:
        RunError: The folder holds a run already, or none to resume, or a damaged one.
        ScenarioError: An option or hyper-parameter is out of range.
    """
    import stable_baselines3
    import torch
    from stable_baselines3.common.logger import configure

    from flexgym.envs.data import load_prices
    from flexgym.envs.household.scenario import HouseholdScenario
    from flexgym.evaluate.report import provenance
    from flexgym.evaluate.rollout import HouseDays
    from flexgym.policies.learned import SETTINGS, load_model, read_config
    from flexgym.train.callbacks import Supervisor, Validation
    from flexgym.train.replay import DiskReplayBuffer
    from flexgym.train.run_folder import RunFolder
    from flexgym.train.settings import (
        Budget,
        algorithm_arguments,
        read_hyperparameters,
        wrapped,
    )
    from flexgym.train.vec_env import sb3_vec_env

    for name, value in (("minutes", minutes), ("timesteps", timesteps)):
        if value is not None and not 0 < value < 1e12:
            raise ScenarioError(f"{name} is {value}; expected a number > 0.")
    if validation_house_days < 1:
        raise ScenarioError(f"validation is {validation_house_days}; expected at least 1.")
    torch.set_num_threads(threads)
    if resume:
        saved = read_config(Path(folder))
        if saved["algorithm"] != algorithm:
            raise RunError(
                f"{folder} holds a {saved['algorithm']} run, got --algo {algorithm}; "
                "pass the command that started it."
            )
        run_folder = RunFolder.resume(folder)
        parameters, seed, prices = saved["hyperparameters"], saved["seed"], saved["prices"]
        minutes = minutes if minutes is not None else saved["minutes"]
        if timesteps is not None:
            parameters["n_timesteps"] = int(timesteps)
        tariff = load_prices(prices) if prices else None
    else:
        parameters = read_hyperparameters(algorithm, ENV_ID, config)
        if timesteps is not None:
            parameters["n_timesteps"] = int(timesteps)
        tariff = load_prices(prices) if prices else None
        run_folder = RunFolder.create(
            folder,
            {
                "environment": ENV_ID,
                "algorithm": algorithm,
                "seed": seed,
                "minutes": minutes,
                "prices": str(Path(prices).resolve()) if prices else None,
                "hyperparameters": parameters,
                **provenance(),
            },
        )

    state = run_folder.state
    started = run_folder.last.exists()
    if started and state.frames >= parameters["n_timesteps"]:
        return state.best_score
    options: dict[str, Any] = dict(parameters.get("env_kwargs") or {})
    settings = {key: options[key] for key in SETTINGS if key in options}
    world = {key: value for key, value in options.items() if key not in SETTINGS}
    scenario = HouseholdScenario.create(
        **{**world, "split": "validation", "prices": tariff}  # type: ignore[arg-type]
    )
    validation = Validation.prepare(
        HouseDays.sample(scenario, validation_house_days, VALIDATION_SEED)
    )
    # Episodes of different seeds and of a resumed run must not repeat one another.
    first = 1_000_000 * (seed + 1) * 10 + state.frames
    batch = sb3_vec_env(ENV_ID, parameters["n_envs"], seed=first, prices=tariff, **options)
    env = wrapped(batch, parameters)

    budget = Budget(minutes, state.used_s)
    made = algorithm_arguments(parameters, budget)
    if algorithm == "sac":
        made["replay_buffer_class"] = DiskReplayBuffer
        made["replay_buffer_kwargs"] = {
            "folder": str(run_folder.path / "replay"),
            "resume": (state.replay_at, state.replay_full) if started else None,
        }
    if started:
        model = load_model(run_folder.last, algorithm, env=env, custom_objects=made)
    else:
        model = getattr(stable_baselines3, algorithm.upper())(
            env=env, seed=seed, device="cpu", **made
        )
    model.set_logger(configure(str(run_folder.path / "tb"), ["tensorboard"]))
    rollout_frames = parameters["n_envs"] * int(parameters.get("n_steps", 96))
    supervisor = Supervisor(
        run_folder,
        validation,
        settings,
        budget,
        every=max(rollout_frames, parameters["n_timesteps"] // _VALIDATIONS),
        rollout_frames=rollout_frames,
    )
    model.learn(
        parameters["n_timesteps"] - (model.num_timesteps if started else 0),
        callback=supervisor,
        reset_num_timesteps=not started,
        progress_bar=sys.stderr.isatty(),
        log_interval=10 if algorithm == "ppo" else 4 * parameters["n_envs"],
    )
    env.close()
    return run_folder.state.best_score
