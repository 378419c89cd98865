"""A cell of the benchmark: one policy with one seed on some episodes of a setting, kept on disk.

A cell's file says what it depends on, so that a run that was interrupted goes on where it was,
and what has changed since is played again, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from flexgym.envs.errors import FlexgymError, RunError
from flexgym.envs.household.params import Floats
from flexgym.envs.kept import replace_file, sources_digest
from flexgym.evaluate.benchmark.arena import ARENAS, Arena, Played, Setting, arena_class
from flexgym.evaluate.benchmark.entry import Entry, policy_of
from flexgym.evaluate.processes import one_thread, processes

TIMES = ("plan_s", "step_s", "cell_s")
SCHEMA = 1
"""Raised when what is kept of a cell changes."""
_SOURCES = ("envs", "baselines", "policies")
_PLAY = (
    *("rollout", "feeder_play", "feeder_sample", "market_play", "appliance_play"),
    *("local_market_play", "trader", "operator_play", "appliance", "local_market"),
    "competition",
    "benchmark/arena",
)
_PACKAGES = ("numpy", "scipy", "numba", "highspy")


@dataclass(frozen=True)
class Cell:
    """One policy with one seed on one part of a setting.

    Attributes:
        setting: What is played.
        entry: Who plays.
        part: Which part.
        seed: Of the setting's first episode.
    """

    setting: Setting
    entry: Entry
    part: int
    seed: int

    @property
    def name(self) -> str:
        """Of its file, without ending; also of messages."""
        policy = re.sub(r"[^\w.-]+", "_", self.entry.policy)
        # Names that differ only in what a file name cannot hold stay apart.
        mark = hashlib.sha256(self.entry.policy.encode()).hexdigest()[:6]
        return f"{self.setting.name}/{policy}-{mark}-seed{self.entry.seed}-part{self.part}"

    @property
    def fingerprint(self) -> str:
        """Digest of everything its numbers depend on."""
        setting = asdict(self.setting)
        del setting["without"]
        entry = {k: v for k, v in asdict(self.entry).items() if k != "source"}
        if self.entry.origin == "contender":
            entry["source"] = self.entry.source
        of = {
            "schema": SCHEMA,
            "setting": setting,
            "entry": entry,
            "part": self.part,
            "seed": self.seed,
            "sources": sources_of(self.setting.environment),
            "packages": _versions(self.entry),
        }
        return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()


def sources_of(environment: str) -> str:
    """Digest of what plays an environment: physics, references, policies, data, its arena."""
    module = ARENAS[environment].partition(":")[0].removeprefix("flexgym.")
    play = (f"evaluate/{name}.py" for name in _PLAY)
    return sources_digest(*_SOURCES, *play, f"{module.replace('.', '/')}.py")


def _versions(entry: Entry) -> dict[str, str]:
    found = {}
    for package in _PACKAGES + (("torch",) if entry.origin != "contender" else ()):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def path_of(cell: Cell, folder: Path) -> Path:
    """File of a cell in a folder of the benchmark."""
    return folder / "cells" / f"{cell.name}.json"


def read_cell(cell: Cell, folder: Path) -> Played | None:
    """What was kept of a cell; None where there is nothing, or something has changed since."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path_of(cell, folder).read_text())
        if kept["fingerprint"] != cell.fingerprint:
            return None
        part = cell.setting.part(cell.part)
        lists: dict[str, Floats] = {k: np.array(v, float) for k, v in kept["episodes"].items()}
        shape = (part.stop - part.start,)
        if any(v.shape != shape or not np.isfinite(v).all() for v in lists.values()):
            return None
        cost, violation = lists.pop("cost_eur"), lists.pop("violation")
        return Played(cost, violation, lists, **kept["timing"])
    return None


def write_cell(cell: Cell, fingerprint: str, folder: Path, played: Played) -> None:
    """Keep a cell; its file appears in one piece."""
    path = path_of(cell, folder)
    content = {
        "schema": SCHEMA,
        "fingerprint": fingerprint,
        "cell": asdict(cell),
        "episodes": {
            "cost_eur": played.cost_eur.tolist(),
            "violation": played.violation.tolist(),
            **{name: values.tolist() for name, values in played.terms.items()},
        },
        "timing": {name: getattr(played, name) for name in TIMES},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda part: part.write_text(json.dumps(content)))
    except OSError as error:
        raise RunError(f"cannot write {path} ({error.strerror}). Is the disk full?") from error


def play_cell(cell: Cell, fingerprint: str, folder: Path) -> None:
    """Play a cell and keep it.

    Args:
        cell: Which.
        fingerprint: Its fingerprint when the sources that play were read.
        folder: Of the benchmark.

    Raises:
        RunError: The policy is missing, damaged or does not fit.
    """
    started = process_time()
    arena = arena_of(cell.setting, cell.seed, folder / "solutions")
    try:
        played = arena.play(policy_of(cell.entry, arena), cell.setting.part(cell.part))
    except FlexgymError as error:
        raise RunError(f"{cell.name}: {error}") from error
    except (Exception, SystemExit) as error:
        if cell.entry.origin != "code":
            raise
        # Somebody else's code may raise anything, and must not end the benchmark in silence.
        raise RunError(
            f"{cell.name}: {error!r}; expected a policy that plays. Fix {cell.entry.source}."
        ) from error
    if not np.isfinite(played.cost_eur).all():
        raise RunError(
            f"{cell.name}: a cost is no finite number; expected numbers. Fix the policy."
        )
    write_cell(cell, fingerprint, folder, replace(played, cell_s=process_time() - started))


@lru_cache(maxsize=2)
def arena_of(setting: Setting, seed: int, cache_folder: Path) -> Arena:
    """The arena of a setting; the last two are kept."""
    return arena_class(setting.environment)(setting, seed, cache_folder)


def play_cells(
    cells: Sequence[Cell],
    folder: Path,
    *,
    workers: int = 1,
    progress: Callable[[], object] = lambda: None,
) -> int:
    """Play what is not there yet, as many side by side as there are workers.

    Args:
        cells: What is wanted, the longest first.
        folder: Where cells are kept.
        workers: Processes.
        progress: Called after each cell, also after those that were there.

    Returns:
        How many were played.
    """
    missing = []
    for cell in cells:
        if read_cell(cell, folder) is None:
            missing.append(cell)
        else:
            progress()
    # The digest is of what is running now, whatever becomes of the sources meanwhile.
    jobs = [(cell, cell.fingerprint) for cell in missing]
    if workers < 2 or len(missing) < 2:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):  # as side by side, to the last digit
            for job in jobs:
                play_cell(*job, folder)
                progress()
        return len(missing)
    with processes(min(workers, len(missing)), one_thread) as pool:
        waiting = [pool.submit(play_cell, *job, folder) for job in jobs]
        for done in as_completed(waiting):
            done.result()
            progress()
    return len(missing)


def joined(parts: Sequence[Played]) -> Played:
    """Parts of a setting as one; times of policies are the median part's."""
    terms: Mapping[str, Any] = {
        name: np.concatenate([part.terms[name] for part in parts]) for name in parts[0].terms
    }
    return Played(
        np.concatenate([part.cost_eur for part in parts]),
        np.concatenate([part.violation for part in parts]),
        terms,
        float(np.median([part.plan_s for part in parts])),
        float(np.median([part.step_s for part in parts])),
        sum(part.cell_s for part in parts),
    )
