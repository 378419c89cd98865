"""Train a policy in any environment that has a `Task`: SB3, judged on validation episodes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexgym.envs.errors import FlexgymError, RunError, ScenarioError
from flexgym.train.task import TRAINING_SEEDS, Task, task_class

if TYPE_CHECKING:
    from flexgym.train.run_folder import RunFolder

DEVICES = ("auto", "cpu", "cuda")
"""Where networks learn; the first is the GPU where there is one."""
_VALIDATIONS = 20


def train(
    env: str,
    folder: str | Path,
    *,
    algorithm: str | None = None,
    config: str | Path | None = None,
    timesteps: float | None = None,
    minutes: float | None = None,
    options: Mapping[str, Any] | None = None,
    cache: str | Path | None = None,
    validation: int | None = None,
    seed: int = 0,
    threads: int = 1,
    device: str = "auto",
    resume: bool = False,
    label: str = "",
) -> float:
    """Train a policy.

    Args:
        env: Name of the environment, see `flexgym.train.task.TASKS`.
        folder: Run folder.
        algorithm: One of the task's; None is its usual one.
        config: Hyper-parameters; None takes the shipped ones.
        timesteps: Frames; None takes the file's ``n_timesteps``.
        minutes: Time limit; the learning rate falls with frames or time, whichever is ahead.
        options: What the task's ``options`` would return, such as ``scenario``.
        cache: Folder of solved days, or None.
        validation: Episodes of the validation split to score on; None is the task's number, or what
            the run was started with.
        seed: Seed of networks and episodes.
        threads: Threads of torch, where more than one slows small networks down, and
            days solved side by side.
        device: One of `DEVICES`.
        resume: Continue the run in ``folder``, with the options that started it; only
            ``timesteps`` and ``minutes`` may change.
        label: What lines of progress begin with.

    Returns:
        Best validation score.

    Raises:
        RunError: The folder holds a run already, or none to resume, or a damaged one.
        ScenarioError: An option or hyper-parameter is out of range.
    """
    import torch

    from flexgym.train.run_folder import RunFolder, frames_of, lengthen

    task = task_class(env)
    if validation is not None and validation < 1:
        raise ScenarioError(f"validation is {validation}; expected at least 1.")
    place = training_device(device)
    torch.set_num_threads(threads)
    asked: dict[str, Any] = {
        "environment": task.env_id,
        "task": env,
        "algorithm": task.algorithms[0] if algorithm is None else algorithm,
        "seed": seed,
        "minutes": minutes,
        "validation": validation,
        **(options or {}),
    }
    wanted = (
        _resumed(Path(folder), asked, set(options or {}), task, config)
        if resume
        else _started(asked, task, config)
    )
    begun = resume and frames_of(folder) > 0
    lengthen(wanted, "n_timesteps", timesteps, minutes, begun=begun)
    run_folder = RunFolder.resume(folder) if resume else RunFolder.create(folder, wanted)
    solving = Path(cache) if cache else None, threads
    return run_folder.train(
        lambda: _prepare(run_folder, wanted, task, solving, place, label),
        wanted,
        wanted["hyperparameters"]["n_timesteps"],
        resumed=resume,
        trained_already=f"{label}{folder} is trained already; pass more --timesteps to go on.",
    )


def training_device(name: str) -> str:
    """Where networks learn, ``"cpu"`` or ``"cuda"``.

    Raises:
        ScenarioError: Unknown, or no GPU is there.
    """
    import torch

    if name not in DEVICES:
        raise ScenarioError(f"device is {name!r}; expected one of {', '.join(DEVICES)}.")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ScenarioError("device is 'cuda', but torch finds no GPU; expected 'auto' or 'cpu'.")
    return "cuda" if there and name != "cpu" else "cpu"


def _started(asked: dict[str, Any], task: type[Task], config: str | Path | None) -> dict[str, Any]:
    """Configuration of a new run."""
    from flexgym.evaluate.report import provenance
    from flexgym.train.settings import read_hyperparameters

    parameters = read_hyperparameters(asked["algorithm"], task, config, asked)
    if asked["validation"] is None:
        asked["validation"] = task.episodes
    return {**asked, "hyperparameters": parameters, **provenance()}


def _resumed(
    folder: Path,
    asked: dict[str, Any],
    options: set[str],
    task: type[Task],
    config: str | Path | None,
) -> dict[str, Any]:
    """Configuration of a run to continue: its own.

    Raises:
        RunError: The options contradict those the run was started with.
    """
    from flexgym.policies.learned import read_config
    from flexgym.train.run_folder import check_lengths
    from flexgym.train.settings import (
        check_wrappers,
        checked_hyperparameters,
        read_hyperparameters,
    )

    saved = read_config(folder)
    check_lengths(saved, folder)
    saved.setdefault("validation", task.episodes)
    same = ["environment", "algorithm", "seed", *sorted(options)]
    if asked["validation"] is not None:
        same.append("validation")
    pairs = {key: (saved.get(key), asked[key]) for key in same}
    if config:
        given = read_hyperparameters(asked["algorithm"], task, config, saved)
        ends = {"n_timesteps": saved["hyperparameters"].get("n_timesteps")}
        pairs["config"] = (saved["hyperparameters"], {**given, **ends})
    refuse_others(folder, pairs)
    saved["hyperparameters"] = checked_hyperparameters(
        saved["hyperparameters"], asked["algorithm"], task, str(folder / "config.yaml")
    )
    if not config:
        check_wrappers(saved["hyperparameters"], str(folder / "config.yaml"))
    return saved


def refuse_others(folder: Path, pairs: Mapping[str, tuple[Any, Any]]) -> None:
    """Refuse to go on with a run of another command.

    Args:
        folder: Of the run.
        pairs: What it was started with and what is asked for, by option; None is the default.

    Raises:
        RunError: They differ.
    """

    def told(key: str, value: Any) -> str:
        if value is None:
            return f"the default {key}"
        if isinstance(value, bool):
            return f"--{'' if value else 'no-'}{key}"
        return f"{key} {value}"

    for key, (started_with, got) in pairs.items():
        if started_with != got:
            raise RunError(
                f"{folder} holds a run with {told(key, started_with)}, but this command has "
                f"{told(key, got)}; pass the command that started it."
            )


def _prepare(
    run_folder: RunFolder,
    wanted: dict[str, Any],
    kind: type[Task],
    solving: tuple[Path | None, int],
    device: str,
    label: str,
) -> Callable[[], None]:
    """Build environment, model and supervisor; what is returned trains."""
    import stable_baselines3
    from stable_baselines3.common.logger import configure

    from flexgym.policies.learned_weights import ALGORITHMS, read_checkpoint, restore
    from flexgym.train.callbacks import NoiseCeiling, Supervisor
    from flexgym.train.lean import lean_update
    from flexgym.train.settings import Budget, algorithm_arguments, wrapped
    from flexgym.train.wrappers import Stopwatch

    algorithm, parameters, state = wanted["algorithm"], wanted["hyperparameters"], run_folder.state
    learner = ALGORITHMS[algorithm].learner
    checkpoint = read_checkpoint(run_folder.last) if run_folder.last.exists() else None
    task = kind(algorithm, parameters, wanted)
    # Episodes of different seeds and of a resumed run must not repeat one another.
    episodes = TRAINING_SEEDS * (wanted["seed"] + 1) + state.frames
    batch = task.vec_env(episodes)
    env = Stopwatch(wrapped(batch, parameters))
    task.prepare(int(wanted["validation"]), *solving)
    budget = Budget(wanted["minutes"], state.used_s)
    made = algorithm_arguments(algorithm, parameters, budget, task.policy_kwargs(batch))
    if learner == "SAC":
        from flexgym.train.replay import DiskReplayBuffer

        made["replay_buffer_class"] = DiskReplayBuffer
        made["replay_buffer_kwargs"] = {
            "folder": str(run_folder.path / "replay"),
            "resume": (state.replay_at, state.replay_full) if checkpoint else None,
        }
    with _naming_bad_hyperparameters(learner):
        seed = wanted["seed"] if checkpoint is None else wanted["seed"] + state.frames
        model = getattr(stable_baselines3, learner)(
            env=env, seed=seed % 2**32, device=device, **made
        )
    lean_update(model.policy)
    batch.seed(episodes)  # for SB3 has seeded it with the seed of the networks
    if checkpoint is not None:
        # Not SB3's load, which would open what others have pickled.
        restore(model, checkpoint, run_folder.last)
    model.set_logger(configure(str(run_folder.path / "tb"), ["tensorboard"]))
    on_policy = learner == "PPO"
    rollout_frames = env.num_envs * int(parameters.get("n_steps", task.episode_steps))
    supervisor = Supervisor(
        run_folder,
        task,
        env,
        budget,
        every=max(rollout_frames, parameters["n_timesteps"] // _VALIDATIONS),
        rollout_frames=rollout_frames,
        label=label,
    )
    ends = parameters.get("most_std")
    ceiling = [NoiseCeiling(ends[0], ends[1], budget)] if ends else []

    def learn() -> None:
        try:
            model.learn(
                parameters["n_timesteps"] - (model.num_timesteps if checkpoint else 0),
                callback=[*ceiling, supervisor],
                reset_num_timesteps=checkpoint is None,
                progress_bar=sys.stderr.isatty() and not label,
                log_interval=10 if on_policy else 4 * env.num_envs,
            )
        except (FlexgymError, ValueError) as error:
            if all(bool(weights.isfinite().all()) for weights in model.policy.parameters()):
                raise
            raise RunError(
                f"training in {run_folder.path} diverged: weights of the network are no numbers "
                "any more; expected it to learn. Lower learning_rate in --config and train anew "
                "in another --out."
            ) from error
        env.close()

    return learn


@contextmanager
def _naming_bad_hyperparameters(learner: str) -> Iterator[None]:
    """Turn what SB3 raises while a model is built into a `ScenarioError`."""
    try:
        yield
    except FlexgymError:
        raise
    except (TypeError, ValueError, AssertionError, AttributeError, KeyError) as error:
        raise ScenarioError(
            f"the hyper-parameters do not fit {learner} ({error}); expected values "
            "that stable-baselines3 accepts."
        ) from error
