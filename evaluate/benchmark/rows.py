"""Rows of ``results.json``: statistics of every policy of a setting, and its times apart."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flexgym.envs.errors import RunError
from flexgym.evaluate.benchmark.arena import Played
from flexgym.evaluate.benchmark.cell import Cell, joined, read_cell
from flexgym.evaluate.benchmark.entry import Team
from flexgym.evaluate.benchmark.statistics import Resamples
from flexgym.evaluate.score import Interval

_NONE_EUR = 1e-9
_PASSED = 1e-3
"""Share of what the reference gains by which a policy may cost less than a bound, for solvers stop
at tolerances."""


@dataclass(frozen=True)
class SettingRows:
    """What came of a setting.

    Attributes:
        title: What was played, by name.
        rows: One a policy, the best last; bounds at the end.
        timings: One a policy, in the same order.
    """

    title: dict[str, Any]
    rows: list[dict[str, Any]]
    timings: list[dict[str, Any]]


def rows_of(team: Team, seed: int, folder: Path) -> SettingRows:
    """Read the cells of a setting and sum them up.

    Args:
        team: Who took part, and in what.
        seed: Of the first episode, and of the resamples.
        folder: Of the benchmark.

    Raises:
        RunError: A cell cannot be read back.
        ScenarioError: The reference gains nothing.
    """
    setting = team.setting
    played: dict[str, dict[int, Played]] = {}
    kinds: dict[str, str] = {}
    for entry in team.entries:
        parts = [_kept(Cell(setting, entry, k, seed), folder) for k in range(setting.parts)]
        played.setdefault(entry.policy, {})[entry.seed] = joined(parts)
        kinds[entry.policy] = entry.kind
    costs = {
        name: np.stack([one.cost_eur for one in seeds.values()]) for name, seeds in played.items()
    }
    resamples = Resamples(costs[team.zero][0], costs[team.best][0], seed)
    rules = [name for name, kind in kinds.items() if kind == "rule"]
    strongest = min(rules, key=lambda name: float(costs[name].mean()))
    bounds = [float(costs[name].mean()) for name, kind in kinds.items() if kind == "bound"]
    gain = float((costs[team.zero][0] - costs[team.best][0]).mean())
    least = min(bounds, default=-np.inf) - _PASSED * gain
    same = {"environment": setting.environment, "scenario": setting.scenario}
    rows, timings = {}, {}
    for name, seeds in played.items():
        other = None if name == strongest else costs[strongest]
        standing = resamples.standing(costs[name], other)
        violated = np.stack([one.violation for one in seeds.values()])
        first = next(iter(seeds.values()))
        rows[name] = {
            **same,
            "policy": name,
            "kind": kinds[name],
            "seeds": len(seeds),
            "impossible": kinds[name] != "bound" and bool(costs[name].mean() < least),
            "cost_eur": asdict(standing.cost_eur),
            "score": asdict(standing.score),
            "iqm": asdict(standing.iqm),
            "improvement_percent": _plain(standing.improvement),
            "violated_percent": float(100.0 * (violated > _NONE_EUR).mean()),
            "violation": float(violated.mean()),
            "seed_scores": dict(zip(map(str, seeds), standing.seed_scores, strict=True)),
            "terms": {
                term: float(np.mean([one.terms[term].mean() for one in seeds.values()]))
                for term in first.terms
            },
        }
        timings[name] = {
            **same,
            "policy": name,
            "kind": kinds[name],
            "plan_ms": 1e3 * float(np.median([one.plan_s for one in seeds.values()])),
            "step_us": 1e6 * float(np.median([one.step_s for one in seeds.values()])),
            "cell_s": sum(one.cell_s for one in seeds.values()),
        }
    order = sorted(rows, key=lambda n: (kinds[n] == "bound", rows[n]["score"]["mean"]))
    title = {
        **same,
        "episodes": setting.episodes,
        "episode": team.episode,
        "violation": team.violation,
        "zero": team.zero,
        "best": team.best,
        "strongest_rule": strongest,
        "groups": len(resamples.groups),
    }
    return SettingRows(title, [rows[n] for n in order], [timings[n] for n in order])


def _kept(cell: Cell, folder: Path) -> Played:
    found = read_cell(cell, folder)
    if found is None:
        raise RunError(
            f"cannot read back the cell {cell.name} of {folder}; expected what was just played. "
            "Did a source file or the weights change meanwhile? Run the command again."
        )
    return found


def _plain(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else asdict(interval)
