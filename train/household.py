"""``flexgym train household``: SB3 on the batched house, judged on validation days."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexgym.envs.errors import FlexgymError, RunError, ScenarioError
from flexgym.evaluate.household import add_cache_argument
from flexgym.policies.learned import ALGORITHMS

if TYPE_CHECKING:
    from flexgym.train.run_folder import RunFolder

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
    parser.add_argument("--sessions", type=Path, help="CSV with your own car sessions")
    add_cache_argument(parser)
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
        sessions=arguments.sessions,
        cache=arguments.cache,
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
    sessions: str | Path | None = None,
    cache: str | Path | None = None,
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
        sessions: CSV for `load_sessions`; None is the synthetic model.
        cache: Folder of solved house-days, or None.
        validation_house_days: House-days of the validation split to score on.
        seed: Seed of networks and episodes.
        threads: Threads of torch, where more than one slows small networks down, and
            house-days solved side by side.
        resume: Continue the run in ``folder``, with the options that started it; only
            ``timesteps`` and ``minutes`` may change.

    Returns:
        Best validation score.

    Raises:
        RunError: The folder holds a run already, or none to resume, or a damaged one.
        ScenarioError: An option or hyper-parameter is out of range.
    """
    import torch

    from flexgym.train.run_folder import RunFolder

    for name, value in (("minutes", minutes), ("timesteps", timesteps)):
        if value is not None and not 0 < value < 1e12:
            raise ScenarioError(f"{name} is {value}; expected a number > 0.")
    if validation_house_days < 1:
        raise ScenarioError(f"validation is {validation_house_days}; expected at least 1.")
    torch.set_num_threads(threads)
    asked: dict[str, Any] = {
        "environment": ENV_ID,
        "algorithm": algorithm,
        "seed": seed,
        "minutes": minutes,
        "prices": str(Path(prices).resolve()) if prices else None,
        "sessions": str(Path(sessions).resolve()) if sessions else None,
    }
    wanted = _resumed(Path(folder), asked, config) if resume else _started(asked, config)
    if timesteps is not None:
        wanted["hyperparameters"]["n_timesteps"] = int(timesteps)
    if resume:
        run_folder = RunFolder.resume(folder)
        run_folder.configure(wanted)
    else:
        run_folder = RunFolder.create(folder, wanted)
    try:
        started = run_folder.last.exists()
        if started and run_folder.state.frames >= wanted["hyperparameters"]["n_timesteps"]:
            return run_folder.state.best_score
        try:
            learn = _prepare(run_folder, wanted, validation_house_days, cache, threads)
        except BaseException:
            if not resume:
                run_folder.discard()
            raise
        learn()
        return run_folder.state.best_score
    finally:
        run_folder.release()


def _started(asked: dict[str, Any], config: str | Path | None) -> dict[str, Any]:
    """Configuration of a new run."""
    from flexgym.evaluate.report import provenance
    from flexgym.train.settings import read_hyperparameters

    parameters = read_hyperparameters(asked["algorithm"], ENV_ID, config)
    return {**asked, "hyperparameters": parameters, **provenance()}


def _resumed(folder: Path, asked: dict[str, Any], config: str | Path | None) -> dict[str, Any]:
    """Configuration of a run to continue: its own, with a new time limit where one is given.

    Raises:
        RunError: The options contradict those the run was started with.
    """
    from flexgym.policies.learned import read_config
    from flexgym.train.settings import read_hyperparameters

    saved = read_config(folder)
    same = {"--algo": "algorithm", "--seed": "seed"}
    same |= {f"--{key}": key for key in ("prices", "sessions") if asked[key]}
    pairs = {option: (saved.get(key), asked[key]) for option, key in same.items()}
    if config:
        given = read_hyperparameters(asked["algorithm"], ENV_ID, config)
        ends = {"n_timesteps": saved["hyperparameters"].get("n_timesteps")}
        pairs["--config"] = (saved["hyperparameters"], {**given, **ends})
    for option, (started_with, got) in pairs.items():
        if started_with != got:
            raise RunError(
                f"{folder} holds a run with {option} {started_with}, got {got}; pass the command "
                "that started it."
            )
    if asked["minutes"] is not None:
        saved["minutes"] = asked["minutes"]
    return saved


def _prepare(
    run_folder: RunFolder,
    wanted: dict[str, Any],
    validation_house_days: int,
    cache: str | Path | None,
    workers: int,
) -> Callable[[], None]:
    """Build environment, model and supervisor; what is returned trains."""
    import stable_baselines3
    from stable_baselines3.common.logger import configure

    from flexgym.envs.data import load_prices, load_sessions
    from flexgym.envs.household.scenario import HouseholdScenario
    from flexgym.evaluate.rollout import HouseDays
    from flexgym.policies.learned import SETTINGS, load_model
    from flexgym.train.callbacks import Supervisor
    from flexgym.train.replay import DiskReplayBuffer
    from flexgym.train.settings import Budget, algorithm_arguments, wrapped
    from flexgym.train.validation import Validation
    from flexgym.train.vec_env import sb3_vec_env

    algorithm, parameters, state = wanted["algorithm"], wanted["hyperparameters"], run_folder.state
    started = run_folder.last.exists()
    data: dict[str, Any] = {
        "prices": load_prices(wanted["prices"]) if wanted["prices"] else None,
        "sessions": load_sessions(wanted["sessions"]) if wanted.get("sessions") else None,
    }
    options: dict[str, Any] = dict(parameters.get("env_kwargs") or {})
    settings = {key: options[key] for key in SETTINGS if key in options}
    world = {key: value for key, value in options.items() if key not in SETTINGS}
    # Episodes of different seeds and of a resumed run must not repeat one another.
    first = 10_000_000 * (wanted["seed"] + 1) + state.frames
    batch = sb3_vec_env(ENV_ID, parameters["n_envs"], seed=first, **data, **options)
    env = wrapped(batch, parameters)
    scenario = HouseholdScenario.create(**world, split="validation", **data)
    house_days = HouseDays.sample(scenario, validation_house_days, VALIDATION_SEED)
    validation = Validation.prepare(house_days, Path(cache) if cache else None, workers)
    # Time runs from here: solving validation days is no training.
    budget = Budget(wanted["minutes"], state.used_s)
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
        kind = getattr(stable_baselines3, algorithm.upper())
        with _naming_bad_hyperparameters(algorithm):
            model = kind(env=env, seed=wanted["seed"], device="cpu", **made)
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

    def learn() -> None:
        model.learn(
            parameters["n_timesteps"] - (model.num_timesteps if started else 0),
            callback=supervisor,
            reset_num_timesteps=not started,
            progress_bar=sys.stderr.isatty(),
            log_interval=10 if algorithm == "ppo" else 4 * parameters["n_envs"],
        )
        env.close()

    return learn


@contextmanager
def _naming_bad_hyperparameters(algorithm: str) -> Iterator[None]:
    """Turn what SB3 raises while a model is built into a `ScenarioError`."""
    try:
        yield
    except FlexgymError:
        raise
    except (TypeError, ValueError, AssertionError, AttributeError, KeyError) as error:
        raise ScenarioError(
            f"the hyper-parameters do not fit {algorithm.upper()} ({error}); expected values "
            "that stable-baselines3 accepts."
        ) from error
