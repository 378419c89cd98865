"""Solutions of two-store days on disk, found by the content of their question.

An entry is a checksum and a compressed archive of plain arrays that holds its own key. What
does not match its checksum, key or shape is solved anew and overwritten.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from flexgym.baselines.household.two_store_bounds import TwoStoreBounds
from flexgym.baselines.household.two_store_problem import Problem
from flexgym.envs.errors import RunError

_ROOMS = Path(__file__).parent.parent.parent
_SOURCES = (
    "baselines/household/bounds.py",
    "baselines/household/car_prices.py",
    "baselines/household/two_stores.py",
    "baselines/household/two_store_problem.py",
    "baselines/household/two_store_bounds.py",
    "baselines/household/solution_cache.py",
    "baselines/household/uncontrolled.py",
    "envs/charts/recursion.py",
    "envs/household/dynamics.py",
    "envs/household/params.py",
    "envs/household/stage.py",
    "envs/uncertainty.py",
)
"""What the numbers of a solution come from: a change there makes old entries unknown."""


@cache
def _sources() -> bytes:
    digest = hashlib.sha256()
    for name in _SOURCES:
        digest.update((_ROOMS / name).read_bytes())
    return digest.digest()


class SolutionCache:
    """A folder of solutions, about 3 MB a house-day.

    Args:
        folder: The folder; created if it is not there.

    Raises:
        RunError: It cannot be created.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.found = self.solved = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot create the folder {folder} ({error.strerror}).") from error

    @staticmethod
    def key(problem: Problem, tolerance: tuple[float | None, float]) -> str:
        """Name of the entry of a question."""
        u = problem.uncertainty
        digest = hashlib.sha256(_sources())
        chances = (np.array(u.load_factors), np.array(u.load_probabilities))
        chains = (u.weather_factor, u.price_factor, u.transition, u.stationary, *chances)
        given = (problem.house, problem.series, problem.visits, *chains)
        for array in (*given, np.array(problem.terminal_price)):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        digest.update(repr(tolerance).encode())
        return digest.hexdigest()

    def get(
        self,
        problem: Problem,
        tolerance: tuple[float | None, float],
        solve: Callable[[], TwoStoreBounds],
    ) -> TwoStoreBounds:
        """The solution from the folder, or solved now and put there."""
        key = self.key(problem, tolerance)
        path = self.folder / f"{key}.solution"
        known = _read(path, key, problem)
        if known is not None:
            self.found += 1
            return known
        solution = solve()
        self.solved += 1
        # A folder that cannot be written to, or is full, costs time and nothing else.
        with suppress(OSError):
            _write(path, key, solution)
        return solution


def _write(path: Path, key: str, solution: TwoStoreBounds) -> None:
    archive = io.BytesIO()
    np.savez_compressed(
        archive,
        key=np.array(key),
        house=solution.problem.house,
        grid=solution.grid_kwh,
        lower=solution.lower,
        gap=np.array(solution.gap_eur),
        counts=np.array([len(levels) for levels in solution.levels_kwh]),
        levels=np.concatenate(solution.levels_kwh),
        values=np.concatenate([v.ravel() for v in solution.values]),
    )
    content = archive.getvalue()
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(hashlib.sha256(content).digest() + content)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _read(path: Path, key: str, problem: Problem) -> TwoStoreBounds | None:
    """The solution of a file, or None where it is missing or anything about it is wrong."""
    try:
        data = path.read_bytes()
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        with np.load(io.BytesIO(data[32:]), allow_pickle=False) as archive:
            entry = {name: archive[name] for name in archive.files}
        if str(entry["key"]) != key:
            return None
        counts, grid, m = entry["counts"], entry["grid"], problem.uncertainty.n_states
        if counts.shape != (problem.series.shape[1] + 1,):
            return None
        ends = np.cumsum(counts)
        levels = np.split(entry["levels"], ends[:-1])
        sizes = m * counts * len(grid)
        flat = np.split(entry["values"], np.cumsum(sizes)[:-1])
        values = [v.reshape(m, k, len(grid)) for v, k in zip(flat, counts, strict=True)]
        lower, gap = entry["lower"], float(entry["gap"])
        if entry["house"].shape != problem.house.shape or lower.shape != (m, len(grid)):
            return None
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    solved = Problem(
        entry["house"], problem.series, problem.visits, problem.terminal_price, problem.uncertainty
    )
    return TwoStoreBounds(solved, grid, levels, values, lower, gap)
