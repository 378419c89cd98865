"""Runs that have come to their end: several seeds of one command, fit to be shown to others."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from flexgym.envs.errors import RunError
from flexgym.policies.runs import CONFIG, read_run, runs_in, weights_file
from flexgym.train.run_folder import RunState, check_lengths, length_of

OWN = ("seed", "date", "versions", "git")
"""What seeds of one policy may differ in."""


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        folder: Where it lies.
        config: Its ``config.yaml``.
        state: Its ``state.json``.
    """

    folder: Path
    config: Mapping[str, Any]
    state: RunState

    @property
    def seed(self) -> int:
        """Seed of training."""
        return self.config["seed"]


def trained_seeds(folder: Path) -> list[Trained]:
    """The runs in a folder, by seed, if they are finished and differ in nothing else.

    Raises:
        RunError: They are not.
    """
    begun = sorted(path for path in folder.glob("seed-*") if not (path / CONFIG).is_file())
    if begun:
        raise RunError(
            f"{', '.join(map(str, begun))} holds no run; expected finished ones only. Train it "
            "with --resume, or remove it."
        )
    seeds = sorted((_finished(path) for path in runs_in(folder)), key=lambda one: one.seed)
    first = seeds[0]
    for one, other in pairwise(seeds):
        if one.seed == other.seed:
            raise RunError(
                f"{one.folder} and {other.folder} are both of seed {one.seed}; expected different "
                "ones."
            )
        keys = {*first.config, *other.config} - {*OWN}
        mixed = sorted(k for k in keys if first.config.get(k) != other.config.get(k))
        if mixed:
            raise RunError(
                f"{other.folder} and {first.folder} differ in {', '.join(mixed)}; expected runs "
                "of one command that differ in their seeds alone."
            )
    return seeds


def _finished(folder: Path) -> Trained:
    """A run, if it has come to its end and may be shown to others."""
    config = read_run(folder)
    check_lengths(config, folder)
    path = folder / "state.json"
    try:
        state = RunState(**json.loads(path.read_text()))
        numbers = state.frames, state.used_s, state.best_score
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError
        minutes, total = config.get("minutes"), length_of(config)
        over = minutes is not None and state.used_s >= 60.0 * minutes
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(
            f"cannot read {path} ({type(error).__name__}); expected the state flexgym train wrote."
        ) from error
    weights = folder / weights_file(config)
    if total < 1 or not (over or state.frames >= total) or not weights.is_file():
        raise RunError(
            f"{folder} is unfinished: {state.frames} of {total} frames or updates, weights "
            f"{'there' if weights.is_file() else 'missing'}. Train it to its end with --resume."
        )
    told = sorted(_places(config))
    if told:
        raise RunError(
            f"{folder / CONFIG} names {', '.join(told)} of this machine; expected a run that "
            "others can repeat, on the data of the package."
        )
    return Trained(folder, config, state)


def _places(value: Any) -> set[str]:
    """Texts among plain values that are paths of a machine."""
    if isinstance(value, Mapping):
        return {place for one in (*value, *value.values()) for place in _places(one)}
    if isinstance(value, list):
        return {place for one in value for place in _places(one)}
    if not isinstance(value, str):
        return set()
    absolute = PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()
    return {value} if absolute or value.startswith("~") else set()
