"""Hyper-parameters in rl_zoo3's YAML form."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from flexgym.envs.errors import ScenarioError
from flexgym.policies.learned_weights import ALGORITHMS, literal_kwargs, policy_class
from flexgym.train.task import Task

CONFIG_FOLDER = Path(__file__).parent / "config"
WRAPPERS = ("flexgym.train.vec_env", "flexgym.train.wrappers", "flexgym.train.shaping")
"""Modules whose wrappers a run may name that somebody else has written."""
_OURS = ("n_envs", "n_timesteps", "env_kwargs", "vec_env_wrapper", "most_std")
_NOT_THEIRS = (
    *("env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model"),
    *("replay_buffer_class", "replay_buffer_kwargs", "use_sde", "sde_sample_freq"),
    "use_sde_at_warmup",
)
"""Arguments of SB3's classes that the command line or the run folder decides, or that the
policies written do not keep."""
_MOST = {
    **dict.fromkeys(("n_envs", "n_steps", "batch_size", "n_epochs"), 10**6),
    **dict.fromkeys(("buffer_size", "learning_starts"), 10**9),
    "n_timesteps": 10**12,
    "stats_window_size": 10**6,
}
"""Whole numbers from 1 to these."""
_WITHIN = {
    **dict.fromkeys(("gamma", "gae_lambda", "tau"), 1.0),
    **dict.fromkeys(("learning_rate", "clip_range", "clip_range_vf", "vf_coef", "ent_coef"), 100.0),
    **dict.fromkeys(("max_grad_norm", "target_kl"), 1e6),
}
"""Numbers from 0 to these."""
_WIDEST = 4096
"""Of a hidden layer."""


def read_hyperparameters(
    algorithm: str,
    task: type[Task],
    path: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict:
    """Hyper-parameters of an environment.

    Houses without a car have those of the entry ``ENV/no-car`` where a file has one: another
    problem, for which an algorithm may need others.

    Args:
        algorithm: One of the task's.
        task: Whose ``env_id`` is the key in the file.
        path: YAML file in rl_zoo3's form; None takes the tuned ones that are shipped.
        options: What the task's ``options`` would return.

    Raises:
        ScenarioError: Unknown algorithm, unreadable file, missing or unknown keys.
    """
    if algorithm not in task.algorithms:
        raise ScenarioError(f"algo is {algorithm!r}; expected one of {', '.join(task.algorithms)}.")
    env_id = task.env_id
    file = Path(path) if path else CONFIG_FOLDER / f"{algorithm}.yml"
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ScenarioError(f"cannot read {file} ({reason}); expected a YAML file.") from error
    if not isinstance(content, dict):
        content = {}
    without = f"{env_id}/no-car"
    if (options or {}).get("car") is False and without in content:
        env_id = without
    if not isinstance(content.get(env_id), dict):
        raise ScenarioError(f"{file} has no entry {env_id!r}; expected one as in rl_zoo3.")
    return checked_hyperparameters(content[env_id], algorithm, task, str(file))


def checked_hyperparameters(
    given: Mapping[str, Any], algorithm: str, task: type[Task], source: str
) -> dict[str, Any]:
    """Hyper-parameters of an environment, whole numbers as such.

    Args:
        given: What a file says.
        algorithm: One of the task's.
        task: Who is trained.
        source: Where they come from, for messages.

    Raises:
        ScenarioError: One is missing, unknown or out of range.
    """
    parameters = dict(given)
    missing = [key for key in ("n_envs", "n_timesteps", "policy") if key not in parameters]
    if missing:
        raise ScenarioError(f"{source} lacks {', '.join(missing)} for {task.env_id}.")
    import stable_baselines3

    learner = ALGORITHMS[algorithm].learner
    known = inspect.signature(getattr(stable_baselines3, learner)).parameters
    allowed = {*known, *_OURS} - {*_NOT_THEIRS}
    unknown = [str(key) for key in parameters if key not in allowed]
    if unknown:
        raise ScenarioError(
            f"{source} has unknown keys {', '.join(unknown)}; expected arguments of "
            f"{learner} or {', '.join(_OURS)}."
        )
    for key, value in parameters.items():
        if key in _MOST:
            parameters[key] = _whole(value, key, source)
        elif key in _WITHIN and isinstance(value, int | float):
            if isinstance(value, bool) or not 0.0 <= value <= _WITHIN[key]:
                raise ScenarioError(
                    f"{key} in {source} is {value!r}; expected a number from 0 to {_WITHIN[key]:g}."
                )
        elif key in _WITHIN and not _may_be(value, key):
            raise ScenarioError(f"{key} in {source} is {value!r}; expected a number.")
        elif key in known and isinstance(known[key].default, bool) and not isinstance(value, bool):
            raise ScenarioError(f"{key} in {source} is {value!r}; expected true or false.")
    if not isinstance(parameters["policy"], str):
        raise ScenarioError(f"policy in {source} is {parameters['policy']!r}; expected a name.")
    _check_most_std(parameters.get("most_std"), learner, source)
    options = parameters.get("env_kwargs") or {}
    if not isinstance(options, dict) or set(options) - {*task.env_kwargs}:
        raise ScenarioError(
            f"env_kwargs in {source} is {options!r}; expected a mapping with any of "
            f"{', '.join(task.env_kwargs)}."
        )
    return parameters


def whole_number(value: Any) -> int:
    """The whole number that a value of a file stands for; 0 where it is none."""
    try:
        number = float(value) if not isinstance(value, bool) else 0.0
        return int(number) if number.is_integer() else 0
    except (TypeError, ValueError, OverflowError):
        return 0


def _whole(value: Any, key: str, source: str) -> int:
    whole = whole_number(value)
    if not 1 <= whole <= _MOST[key]:
        raise ScenarioError(
            f"{key} in {source} is {value!r}; expected a whole number from 1 to {_MOST[key]:,}."
        )
    return whole


def _may_be(value: Any, key: str) -> bool:
    """Whether what is no number may stand for one: a schedule, or what SB3 chooses."""
    if value is None:
        return key in ("clip_range_vf", "target_kl")
    schedules = {"ent_coef": "auto", "learning_rate": "lin_", "clip_range": "lin_"}
    return isinstance(value, str) and value.startswith(schedules.get(key, "\0"))


def _check_most_std(ends: Any, learner: str, source: str) -> None:
    """Refuse what `flexgym.train.callbacks.NoiseCeiling` cannot go by."""
    if ends is None:
        return
    numbers = isinstance(ends, list) and [x for x in ends if type(x) in (int, float)]
    if learner != "PPO" or numbers != ends or len(ends) != 2 or not all(0 < x < 1e3 for x in ends):
        raise ScenarioError(
            f"most_std in {source} is {ends!r} for {learner}; expected [first, last], the largest "
            "standard deviation of PPO's actions at the start and at the end, each > 0."
        )


class Budget:
    """How much training is left, in frames and in time, across interruptions.

    Args:
        minutes: Time limit; None for none.
        used_s: Seconds used before this process.
    """

    def __init__(self, minutes: float | None, used_s: float = 0.0) -> None:
        self.limit_s = None if minutes is None else 60.0 * minutes
        self._start = time.monotonic() - used_s

    @property
    def used_s(self) -> float:
        """Seconds trained so far, all processes together."""
        return time.monotonic() - self._start

    def pause(self, seconds: float) -> None:
        """Do not count these seconds, which went into something else."""
        self._start += seconds

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.limit_s is not None and self.used_s >= self.limit_s

    def remaining(self, frames: float) -> float:
        """Share of the training left, given the share of frames left.

        SB3 ends with a whole rollout, so its own share falls below zero.
        """
        in_time = 1.0 if self.limit_s is None else 1.0 - self.used_s / self.limit_s
        return max(0.0, min(frames, in_time))


class LinearSchedule:
    """A learning rate that falls linearly to zero with what is left of the budget."""

    def __init__(self, initial: float, budget: Budget) -> None:
        self.initial, self.budget = initial, budget

    def __call__(self, progress_remaining: float) -> float:
        """Learning rate when this share of the frames is left."""
        return self.initial * self.budget.remaining(progress_remaining)


def algorithm_arguments(
    algorithm: str, parameters: dict, budget: Budget, policy_kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments for the SB3 algorithm: rl_zoo3's strings turned into objects.

    Args:
        algorithm: One of `ALGORITHMS`.
        parameters: Of the file.
        budget: What schedules go by.
        policy_kwargs: Arguments of the policy besides those of the file.

    Raises:
        ScenarioError: A schedule or ``policy_kwargs`` cannot be read.
    """
    arguments = {key: value for key, value in parameters.items() if key not in _OURS}
    for key in ("learning_rate", "clip_range"):
        value = arguments.get(key)
        if isinstance(value, str):
            try:
                if not value.startswith("lin_"):
                    raise ValueError
                arguments[key] = LinearSchedule(float(value[4:]), budget)
                if not 0.0 < arguments[key].initial <= _WITHIN[key]:
                    raise ValueError
            except ValueError:
                raise ScenarioError(
                    f"{key} is {value!r}; expected a number or a schedule such as 'lin_1e-3'."
                ) from None
    given = arguments.get("policy_kwargs")
    if isinstance(given, str):
        given = literal_kwargs(given)
    if not isinstance(given, dict | None):
        raise ScenarioError(f"policy_kwargs is {given!r}; expected 'dict(name=literal, ...)'.")
    sizes = (given or {}).get("net_arch", [])
    for wide in sizes.values() if isinstance(sizes, dict) else [sizes]:
        if not isinstance(wide, list) or not all(
            type(size) is int and 1 <= size <= _WIDEST for size in wide
        ):
            raise ScenarioError(
                f"net_arch is {sizes!r}; expected sizes of layers from 1 to {_WIDEST}."
            )
    arguments["policy_kwargs"] = {**(given or {}), **policy_kwargs}
    if arguments["policy"] == "MlpPolicy":
        arguments["policy"] = policy_class(algorithm)
    return arguments


def check_wrappers(parameters: Mapping[str, Any], source: str) -> None:
    """Refuse wrappers that are not flexgym's: a file that others wrote executes nothing.

    Raises:
        ScenarioError: There is one.
    """
    for path, _ in _wrappers(parameters):
        if path.rpartition(".")[0] not in WRAPPERS:
            raise ScenarioError(
                f"{source} names the wrapper {path!r}, which is code from elsewhere; expected one "
                f"of {', '.join(WRAPPERS)}. If it is your own, pass the --config again."
            )


def _wrappers(parameters: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Names and arguments of ``vec_env_wrapper``."""
    entries = parameters.get("vec_env_wrapper") or []
    found = []
    for entry in entries if isinstance(entries, list) else [entries]:
        named = entry if isinstance(entry, dict) else {entry: None}
        (path, arguments), *others = named.items() or [("", None)]
        named_once = isinstance(path, str) and path and not others
        if not named_once or not isinstance(arguments, dict | None):
            raise ScenarioError(
                f"vec_env_wrapper has the entry {entry!r}; expected a class, or one class with a "
                "mapping of its arguments."
            )
        found.append((path, arguments or {}))
    return found


def wrapped(env: Any, parameters: Mapping[str, Any]) -> Any:
    """Apply ``vec_env_wrapper``, rl_zoo3's list of classes with arguments.

    Raises:
        ScenarioError: A class cannot be found or does not take the arguments, or it changes
            observations or actions, which validation and evaluation would not do.
    """
    bare = env
    for path, arguments in _wrappers(parameters):
        module, _, name = path.rpartition(".")
        try:
            wrapper = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError):
            raise ScenarioError(
                f"vec_env_wrapper names {path!r}; expected an importable class."
            ) from None
        try:
            env = wrapper(env, **arguments)
        except (TypeError, ValueError, AssertionError) as error:
            raise ScenarioError(
                f"{path} does not take {arguments!r} ({error}); correct vec_env_wrapper."
            ) from error
        spaces = (env.observation_space, env.action_space)
        if getattr(env, "norm_obs", False) or spaces != (bare.observation_space, bare.action_space):
            raise ScenarioError(
                f"{path} changes observations or actions; expected a wrapper of the reward alone, "
                "because policies are judged on the environment's own observations."
            )
    return env
