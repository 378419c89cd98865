"""Feeder-days played one by one, kept on disk, so that a long comparison can be resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any
from zipfile import BadZipFile

import numpy as np

from flexgym.envs.errors import RunError
from flexgym.envs.feeder.accounts import FEEDER_NAMES, GRID_KW, VIOLATION_H
from flexgym.envs.household.dynamics import COST_EUR
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.kept import replace_file
from flexgym.evaluate.feeder_sample import Days, FeederDays
from flexgym.evaluate.processes import processes
from flexgym.evaluate.settlements import settled
from flexgym.policies.feeder import FeederPolicy, named
from flexgym.policies.menus import Menus

VERSION = 1
"""Raised when what is kept of a day changes."""


@dataclass(frozen=True, eq=False)
class PlayedDay:
    """What happened on one feeder-day under a policy.

    Attributes:
        policy: Its name.
        totals: Shape (names,), columns `FEEDER_NAMES`.
        grid_kw: Power drawn from the grid above, shape (T,), kW.
        violated: Whether a limit was violated, shape (T,).
        house_eur: Each house's own cost, shape (H,), EUR.
        figures: Numbers by name: seconds of planning and playing, and for menus what
            `flexgym.evaluate.settlements.settled` finds.
    """

    policy: str
    totals: Floats
    grid_kw: Floats
    violated: Floats
    house_eur: Floats
    figures: dict[str, float] = field(default_factory=dict)


def play_day(policy: FeederPolicy, days: FeederDays, index: int) -> PlayedDay:
    """Play one of the feeder-days.

    Args:
        policy: The policy.
        days: The feeder-days.
        index: Which.
    """
    simulation = days.begin(slice(index, index + 1), detail=True, **policy.settings)
    started = process_time()
    policy.begin(simulation)
    planned = process_time()
    grid_kw, violated = np.empty(STEPS_PER_DAY), np.empty(STEPS_PER_DAY)
    house_eur, playing = np.zeros(days.scenario.n_houses), 0.0
    for t in range(STEPS_PER_DAY):
        before = process_time()
        actions = policy.act(simulation)
        playing += process_time() - before
        simulation.step(actions)
        house_eur += simulation.outcome[0, :, COST_EUR]
        period = simulation.period[0]
        grid_kw[t], violated[t] = period[GRID_KW], period[VIOLATION_H] > 0.0
    figures = {"plan_s": planned - started, "play_s": playing}
    if isinstance(policy, Menus):
        figures |= settled(policy, house_eur)
    return PlayedDay(
        policy.name, simulation.episode[0].copy(), grid_kw, violated, house_eur, figures
    )


def play_together(policy: FeederPolicy, days: FeederDays) -> Days:
    """All feeder-days side by side, for policies that are quick; nothing is kept on disk.

    Args:
        policy: The policy.
        days: What to play.
    """
    simulation = days.begin(slice(0, len(days)), **policy.settings)
    policy.begin(simulation)
    grid_kw, violated = (np.empty((len(days), STEPS_PER_DAY)) for _ in range(2))
    for t in range(STEPS_PER_DAY):
        simulation.step(policy.act(simulation))
        period = simulation.period
        grid_kw[:, t], violated[:, t] = period[:, GRID_KW], period[:, VIOLATION_H]
    return Days(policy.name, simulation.episode, grid_kw, violated > 0.0, days.scenario.band_pu)


def play_days(
    names: Sequence[str],
    days: FeederDays,
    make: Callable[[], FeederDays],
    folder: Path,
    *,
    cache: Path | None = None,
    resume: bool = True,
    workers: int = 1,
    progress: Callable[[], object] = lambda: None,
) -> list[Days]:
    """Play policies on every feeder-day and keep each in the folder.

    Args:
        names: Names of `flexgym.policies.feeder.POLICIES`.
        days: What to play.
        make: Makes the same in another process.
        folder: Where played days are kept.
        cache: Where solved house-days are kept.
        resume: Whether feeder-days that are already in the folder are taken up; others that lie
            there stay in either case.
        workers: Processes that play side by side.
        progress: Called after each feeder-day.

    Returns:
        One a policy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = []
    for index in range(len(days)):
        for name in names:
            if not resume or _load(folder, days, name, index) is None:
                missing.append((name, index))
            else:
                progress()
    if workers > 1 and len(missing) > 1:
        with processes(min(workers, len(missing)), _begin, make) as pool:
            waiting = [
                pool.submit(partial(_play_here, folder=folder, cache=cache), name, index)
                for name, index in missing
            ]
            for done in as_completed(waiting):
                done.result()
                progress()
    else:
        _begin(lambda: days)
        for name, index in missing:
            _play_here(name, index, folder=folder, cache=cache)
            progress()
    found = []
    for name in names:
        one = [day for i in range(len(days)) if (day := _load(folder, days, name, i)) is not None]
        if len(one) < len(days):
            raise RunError(
                f"only {len(one)} of {len(days)} feeder-days of {name!r} can be read back from "
                f"{folder}; expected all that were played. Is the disk full?"
            )
        found.append(_together(name, one, days))
    return found


_DAYS: FeederDays


def _begin(make: Callable[[], FeederDays]) -> None:
    global _DAYS
    _DAYS = make()


def _play_here(name: str, index: int, folder: Path, cache: Path | None) -> None:
    from flexgym.baselines.household import SolutionCache

    policy = named(name, cache=SolutionCache(cache) if cache else None)
    _save(_path(folder, _DAYS, name, index), play_day(policy, _DAYS, index))


def _path(folder: Path, days: FeederDays, name: str, index: int) -> Path:
    seed = days.seed + index
    name = name.replace("/", "_")  # of a run folder
    return folder / f"{name}-draw{days.draw[index]}-day{days.day[index]}-seed{seed}.npz"


def _save(path: Path, day: PlayedDay) -> None:
    about = json.dumps({"version": VERSION, "policy": day.policy, "figures": day.figures})
    content = {
        "totals": day.totals, "grid_kw": day.grid_kw, "violated": day.violated,
        "house_eur": day.house_eur, "about": np.array(about),
    }  # fmt: skip
    replace_file(path, lambda part: np.savez(part, **content))


def _load(folder: Path, days: FeederDays, name: str, index: int) -> PlayedDay | None:
    """A day that was kept; None where there is none, or it is damaged or of something else."""
    damaged = OSError, ValueError, KeyError, TypeError, BadZipFile, EOFError
    path = _path(folder, days, name, index)
    with suppress(*damaged), path.open("rb") as stream, np.load(stream) as kept:
        about = json.loads(str(kept["about"]))
        found = [kept[part] for part in ("totals", "grid_kw", "violated", "house_eur")]
        lengths = (len(FEEDER_NAMES), STEPS_PER_DAY, STEPS_PER_DAY, days.scenario.n_houses)
        fits = [part.shape for part in found] == [(length,) for length in lengths]
        if fits and about["version"] == VERSION and about["policy"] == name:
            totals, grid_kw, violated, house_eur = found
            return PlayedDay(name, totals, grid_kw, violated, house_eur, about["figures"])
    return None


def _together(name: str, played: list[PlayedDay], days: FeederDays) -> Days:
    figures: dict[str, Any] = {
        key: np.array([day.figures[key] for day in played]) for key in played[0].figures
    }
    return Days(
        name,
        np.stack([day.totals for day in played]),
        np.stack([day.grid_kw for day in played]),
        np.stack([day.violated for day in played]) > 0.0,
        days.scenario.band_pu,
        figures,
    )
