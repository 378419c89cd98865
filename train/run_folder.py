"""A run on disk: configuration, checkpoints and the state that resuming needs.

Files: ``config.yaml`` (algorithm, hyper-parameters, seed, versions), ``last.zip`` and
``best.zip`` (SB3 models; learned menus keep safetensors), ``policy.safetensors`` (the best, as it
is played), ``state.json``, ``validation.csv``, ``day.png``, ``tb/`` (TensorBoard) and, for
off-policy algorithms, ``replay/``. Every file is replaced in one piece, so a run that is killed
leaves complete files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import yaml

from flexgym.envs.errors import RunError, ScenarioError
from flexgym.envs.kept import replace_file
from flexgym.train.settings import whole_number

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


LENGTHS_BEFORE = "lengths_before"
"""Key of ``config.yaml``: how long a run was meant to be before that was changed."""
_LOCK = "lock"
_LONGEST = 10**12


@dataclass
class RunState:
    """What a run has to remember besides its model.

    Attributes:
        frames: Frames trained when the last checkpoint was written.
        used_s: Seconds trained, all processes together.
        best_score: Validation score of the best network so far.
        best_keeps_limits: Whether that one keeps limits.
        next_evaluation: Frames at which to evaluate next.
        replay_at: Position in the replay buffer.
        replay_full: Whether the replay buffer has been filled once.
    """

    frames: int = 0
    used_s: float = 0.0
    best_score: float = -1e9
    best_keeps_limits: bool = False
    next_evaluation: int = 0
    replay_at: int = 0
    replay_full: bool = False


def length_of(config: Mapping[str, Any]) -> int:
    """Frames or updates that a run is meant to take, by its configuration; 0 if it does not say."""
    parameters = config["hyperparameters"]
    return whole_number(parameters.get("n_timesteps", parameters.get("updates")))


def frames_of(path: str | Path) -> int:
    """Frames or updates trained in a folder; 0 where there are none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return whole_number(json.loads((Path(path) / "state.json").read_text())["frames"])
    return 0


def check_length(key: str, length: float | None, minutes: float | None) -> None:
    """Refuse lengths of training that are none.

    Args:
        key: Hyper-parameter that says it.
        length: Frames or updates, or None.
        minutes: Time limit, or None.

    Raises:
        ScenarioError: The length is no whole number from 1, or the limit not above 0.
    """
    if length is not None and not 1 <= whole_number(length) <= _LONGEST:
        raise ScenarioError(
            f"{key.removeprefix('n_')} is {length:g}; expected a whole number from 1 to "
            f"{_LONGEST:g}."
        )
    if minutes is not None and not 0 < minutes < _LONGEST:
        raise ScenarioError(f"minutes is {minutes}; expected a number > 0 and below {_LONGEST:g}.")


def check_lengths(config: Mapping[str, Any], folder: str | Path) -> None:
    """Refuse a configuration whose time limit or lengths before cannot be read.

    Raises:
        RunError: One is damaged.
    """
    limit, before = config.get("minutes"), config.get(LENGTHS_BEFORE, [])
    numbers = limit is None or (type(limit) in (int, float) and 0 < limit < _LONGEST)
    if not numbers or not isinstance(before, list) or not all(isinstance(x, str) for x in before):
        raise RunError(
            f"cannot read minutes or {LENGTHS_BEFORE} in {Path(folder) / 'config.yaml'}; expected "
            "what flexgym train wrote."
        )


def lengthen(
    config: dict[str, Any],
    key: str,
    length: float | None,
    minutes: float | None,
    *,
    begun: bool,
) -> None:
    """Write how long training shall be into a configuration, and how long it was meant to be.

    Args:
        config: Of the run.
        key: Hyper-parameter that says it.
        length: Frames or updates; None leaves it.
        minutes: Time limit; None leaves it.
        begun: Whether something has been trained.

    Raises:
        ScenarioError: See `check_length`.
    """
    check_length(key, length, minutes)
    name, parameters = key.removeprefix("n_"), config["hyperparameters"]
    before = []
    if length is not None:
        whole, meant = whole_number(length), whole_number(parameters.get(key))
        if whole != meant:
            before.append(f"{meant:,} {'updates' if name == 'updates' else 'frames'}")
        parameters[key] = whole
    if minutes is not None:
        limit = config.get("minutes")
        if limit != minutes:
            before.append("no time limit" if limit is None else f"{limit:g} minutes")
        config["minutes"] = minutes
    if begun and before:
        # The learning rate of what was trained went by the old length.
        config[LENGTHS_BEFORE] = [*config.get(LENGTHS_BEFORE, []), ", ".join(before)]


class RunFolder:
    """The folder of one training run.

    Args:
        path: The folder; created by `create`.
        resumed_from: Name of the checkpoint to go on from.
    """

    def __init__(self, path: str | Path, resumed_from: str = "last.zip") -> None:
        self.path, self._resumed_from = Path(path), resumed_from
        self.state = RunState()
        self._lock: TextIO | None = None
        self.algorithm = ""

    @classmethod
    def create(cls, path: str | Path, config: dict, resumed_from: str = "last.zip") -> RunFolder:
        """Start a run.

        Raises:
            RunError: The folder already holds one.
        """
        run = cls(path, resumed_from)
        if (run.path / "config.yaml").exists():
            raise RunError(
                f"{run.path} already holds a run; pass --resume to continue it, or another --out."
            )
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot create the folder {run.path} ({error.strerror}).") from error
        run.lock()
        run.write_state()
        run.configure(config)
        return run

    def train(
        self,
        prepare: Callable[[], Callable[[], object]],
        config: dict,
        length: int,
        *,
        resumed: bool,
        trained_already: str,
    ) -> float:
        """Train and let other processes in again; a run that cannot start leaves nothing behind.

        Args:
            prepare: Builds everything; what it returns trains.
            config: The run's configuration from now on.
            length: Frames or updates at which the run is over.
            resumed: Whether the run was there before.
            trained_already: Said where nothing is left to do; the configuration stays as it was.

        Returns:
            Best validation score.
        """
        try:
            if self.last.exists() and self.state.frames >= length:
                print(trained_already)
                return self.state.best_score
            self.configure(config)
            try:
                prepare()()
            except BaseException:
                if not resumed and not self.last.exists():
                    self.discard()
                raise
            return self.state.best_score
        finally:
            self.release()

    def configure(self, config: dict) -> None:
        """Write the configuration."""
        self.algorithm = str(config.get("algorithm", ""))
        text = yaml.safe_dump(config, sort_keys=False)
        replace_file(self.path / "config.yaml", lambda part: part.write_text(text))

    def discard(self) -> None:
        """Take back a run that could not start."""
        shutil.rmtree(self.path / "replay", ignore_errors=True)
        for name in ("config.yaml", "state.json", _LOCK):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()  # unless somebody has something else in it

    def lock(self) -> None:
        """Keep other processes out of the folder until this one ends, however it ends.

        Raises:
            RunError: Another process trains in it.
        """
        try:
            import fcntl
        except ImportError:  # not on Windows
            return
        self._lock = (self.path / _LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            raise RunError(
                f"another process is training in {self.path}; wait for it, or pass another --out."
            ) from error

    def release(self) -> None:
        """Let other processes in."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def write_state(self) -> None:
        """Write the state."""
        text = json.dumps(asdict(self.state))
        replace_file(self.path / "state.json", lambda part: part.write_text(text))

    @classmethod
    def resume(cls, path: str | Path, resumed_from: str = "last.zip") -> RunFolder:
        """Continue a run.

        Raises:
            RunError: Its state or checkpoint is missing or damaged, or another process has it.
        """
        run = cls(path, resumed_from)
        file = run.path / "state.json"
        try:
            content = json.loads(file.read_text())
            run.state = RunState(**content)
            if not {"frames", "used_s", "best_score"} <= content.keys():
                raise KeyError
            kinds = {f.name: type(f.default) for f in fields(RunState)}
            state = asdict(run.state)  # a field that was unknown then has its default
            wrong = [k for k, kind in kinds.items() if not isinstance(state[k], (kind, int))]
            if wrong or run.state.frames < 0 or run.state.used_s < 0:
                raise ValueError
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"cannot read {file}; expected the state flexgym train wrote. Train anew."
            ) from error
        if run.state.frames > 0 and not run.last.exists():
            raise RunError(
                f"{run.last} is missing after {run.state.frames} frames; copy the best checkpoint "
                "there to go on from it, or train anew."
            )
        run.lock()
        return run

    @property
    def last(self) -> Path:
        """Checkpoint to resume from."""
        return self.path / self._resumed_from

    def save(self, model: BaseAlgorithm, name: str) -> None:
        """Write a model as ``name.zip``."""
        replace_file(self.path / f"{name}.zip", lambda part: model.save(str(part)))

    def save_best(self, model: BaseAlgorithm) -> None:
        """Write the best model so far, and beside it what playing it takes."""
        from flexgym.policies.learned_weights import write_policy

        algorithm = self.algorithm
        self.save(model, "best")
        light = self.path / "policy.safetensors"
        replace_file(light, lambda part: write_policy(model, algorithm, part))

    def checkpoint(self, model: BaseAlgorithm) -> None:
        """Write model and state, so that only the running rollout can be lost."""
        buffer = getattr(model, "replay_buffer", None)
        if buffer is not None:
            self.state.replay_at, self.state.replay_full = int(buffer.pos), bool(buffer.full)
        self.state.frames = model.num_timesteps
        self.save(model, "last")
        self.write_state()
