"""A run on disk: configuration, checkpoints and the state that resuming needs.

Files: ``config.yaml`` (algorithm, hyper-parameters, seed, versions), ``last.zip`` and
``best.zip`` (SB3 models), ``state.json``, ``validation.csv``, ``tb/`` (TensorBoard) and, for
off-policy algorithms, ``replay/``. Every file is replaced in one piece, so a run that is killed
leaves complete files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from flexgym.envs.errors import RunError

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside ``path`` and move it there in one piece."""
    temporary = path.with_name(f".{path.name}.part{path.suffix}")
    write(temporary)
    os.replace(temporary, path)


@dataclass
class RunState:
    """What a run has to remember besides its model.

    Attributes:
        frames: Frames trained when the last checkpoint was written.
        used_s: Seconds trained, all processes together.
        best_score: Best validation score so far.
        next_evaluation: Frames at which to evaluate next.
        replay_at: Position in the replay buffer.
        replay_full: Whether the replay buffer has been filled once.
    """

    frames: int = 0
    used_s: float = 0.0
    best_score: float = -1e9
    next_evaluation: int = 0
    replay_at: int = 0
    replay_full: bool = False


class RunFolder:
    """The folder of one training run.

    Args:
        path: The folder; created by `create`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.state = RunState()

    @classmethod
    def create(cls, path: str | Path, config: dict) -> RunFolder:
        """Start a run.

        Raises:
            RunError: The folder already holds one.
        """
        run = cls(path)
        if (run.path / "config.yaml").exists():
            raise RunError(
                f"{run.path} already holds a run; pass --resume to continue it, or another --out."
            )
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot create the folder {run.path} ({error.strerror}).") from error
        text = yaml.safe_dump(config, sort_keys=False)
        replace_file(run.path / "config.yaml", lambda part: part.write_text(text))
        return run

    @classmethod
    def resume(cls, path: str | Path) -> RunFolder:
        """Continue a run.

        Raises:
            RunError: Its state cannot be read.
        """
        run = cls(path)
        file = run.path / "state.json"
        if file.exists():
            try:
                run.state = RunState(**json.loads(file.read_text()))
            except (ValueError, TypeError) as error:
                raise RunError(
                    f"cannot read {file}; expected the state flexgym train wrote. Train anew."
                ) from error
        return run

    @property
    def last(self) -> Path:
        """Checkpoint to resume from."""
        return self.path / "last.zip"

    def save(self, model: BaseAlgorithm, name: str) -> None:
        """Write a model as ``name.zip``."""
        replace_file(self.path / f"{name}.zip", lambda part: model.save(str(part)))

    def checkpoint(self, model: BaseAlgorithm) -> None:
        """Write model and state, so that only the running rollout can be lost."""
        buffer = getattr(model, "replay_buffer", None)
        if buffer is not None:
            self.state.replay_at, self.state.replay_full = int(buffer.pos), bool(buffer.full)
        self.state.frames = model.num_timesteps
        self.save(model, "last")
        text = json.dumps(asdict(self.state))
        replace_file(self.path / "state.json", lambda part: part.write_text(text))
