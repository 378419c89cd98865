"""A replay buffer on disk, so that killing a run does not empty it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer

from flexgym.envs.errors import RunError

_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class DiskReplayBuffer(ReplayBuffer):
    """SB3's replay buffer with its arrays in memory-mapped files.

    Args:
        *args: As for `ReplayBuffer`.
        folder: Folder of the files; existing ones are continued.
        resume: Position to write to and whether the buffer is full; None starts empty.
        **kwargs: As for `ReplayBuffer`.

    Raises:
        RunError: Files to continue are missing or do not fit.
    """

    def __init__(
        self,
        *args: Any,
        folder: str,
        resume: tuple[int, bool] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        home = Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            array = getattr(self, name, None)
            if array is None:
                continue
            file = home / f"{name}.npy"
            if resume is None:
                kept = np.lib.format.open_memmap(file, "w+", dtype=array.dtype, shape=array.shape)
            else:
                try:
                    kept = np.lib.format.open_memmap(file, "r+")
                except (OSError, ValueError) as error:
                    raise RunError(
                        f"cannot read the replay buffer {file}; expected the file training "
                        "wrote. Train anew."
                    ) from error
                if kept.shape != array.shape or kept.dtype != array.dtype:
                    raise RunError(f"{file} has shape {kept.shape}; expected {array.shape}.")
            setattr(self, name, kept)
        if resume is not None:
            self.pos, self.full = resume
