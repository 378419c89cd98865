"""A cell of the benchmark: one policy with one seed on some episodes of a setting, kept on disk.

A cell's file says what it depends on, so that a run that was interrupted goes on where it was,
and what has changed since is played again, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from flexgym.envs.errors import FlexgymError, RunError
from flexgym.envs.household.params import Floats
from flexgym.evaluate.benchmark.arena import ARENAS, Arena, Played, Setting, arena_class
from flexgym.evaluate.benchmark.entry import Entry, policy_of

TIMES = ("plan_s", "step_s", "cell_s")
SCHEMA = 1
"""Raised when what is kept of a cell changes."""
_ROOT = Path(__file__).parents[2]
_SOURCES = ("envs", "baselines", "policies")
_PLAY = (
    *("rollout", "feeder_play", "feeder_sample", "market_play", "appliance_play"),
    *("local_market_play", "trader", "operator_play", "appliance", "local_market"),
    "competition",
    "benchmark/arena",
)
_PACKAGES = ("numpy", "scipy", "numba", "highspy")
_DATA = (".py", ".csv", ".npz", ".json", ".yaml", ".yml")


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
            "sources": sources_digest(self.setting.environment),
            "packages": _versions(self.entry),
        }
        return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()


@cache
def sources_digest(environment: str) -> str:
    """Digest of what plays an environment: physics, references, policies, data, its arena."""
    module = ARENAS[environment].partition(":")[0].removeprefix("flexgym.")
    arena = _ROOT / f"{module.replace('.', '/')}.py"
    return hashlib.sha256(_rooms_digest() + arena.read_bytes()).hexdigest()


@cache
def _rooms_digest() -> bytes:
    digest = hashlib.sha256()
    files = [path for room in _SOURCES for path in (_ROOT / room).rglob("*")]
    files += [_ROOT / "evaluate" / f"{name}.py" for name in _PLAY]
    for path in sorted(files):
        # Weights have digests of their own: of the policies that they are.
        if path.suffix in _DATA and _ROOT / "policies" / "weights" not in path.parents:
            digest.update(path.relative_to(_ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.digest()


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
        if any(values.shape != (part.stop - part.start,) for values in lists.values()):
            return None
        cost, violation = lists.pop("cost_eur"), lists.pop("violation")
        return Played(cost, violation, lists, **kept["timing"])
    return None


def write_cell(cell: Cell, folder: Path, played: Played) -> None:
    """Keep a cell; its file appears in one piece."""
    path = path_of(cell, folder)
    content = {
        "schema": SCHEMA,
        "fingerprint": cell.fingerprint,
        "cell": asdict(cell),
        "episodes": {
            "cost_eur": played.cost_eur.tolist(),
            "violation": played.violation.tolist(),
            **{name: values.tolist() for name, values in played.terms.items()},
        },
        "timing": {name: getattr(played, name) for name in TIMES},
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content))
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(f"cannot write {path} ({error.strerror}). Is the disk full?") from error


def play_cell(cell: Cell, folder: Path) -> None:
    """Play a cell and keep it.

    Raises:
        RunError: The policy is missing, damaged or does not fit.
    """
    started = process_time()
    arena = arena_of(cell.setting, cell.seed, folder / "solutions")
    try:
        played = arena.play(policy_of(cell.entry, arena), cell.setting.part(cell.part))
    except FlexgymError as error:
        raise RunError(f"{cell.name}: {error}") from error
    except Exception as error:
        if cell.entry.origin != "code":
            raise
        # Somebody else's code may raise anything.
        raise RunError(
            f"{cell.name}: {error!r}; expected a policy that plays. Fix {cell.entry.source}."
        ) from error
    if not np.isfinite(played.cost_eur).all():
        raise RunError(
            f"{cell.name}: a cost is no finite number; expected numbers. Fix the policy."
        )
    write_cell(cell, folder, replace(played, cell_s=process_time() - started))


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
    if workers < 2 or len(missing) < 2:
        for cell in missing:
            play_cell(cell, folder)
            progress()
        return len(missing)
    # A fresh interpreter each: threads and compiled code do not survive a fork.
    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(missing)), context, _alone) as pool:
        waiting = [pool.submit(partial(play_cell, folder=folder), cell) for cell in missing]
        try:
            for done in as_completed(waiting):
                done.result()
                progress()
        except BaseException:
            # What fails shall be heard of now, not after the cells that are left.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return len(missing)


def _alone() -> None:
    """One thread each: they share the cores."""
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = "1"
    threadpool_limits(1)


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
