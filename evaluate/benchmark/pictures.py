"""Pictures of the benchmark, from the content of ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flexgym.envs.household.render import COLOURS
from flexgym.evaluate.benchmark.tables import (
    SHORTEST_S,
    believable,
    caption,
    duration,
    name_of,
)
from flexgym.evaluate.pictures import INK, picture

TINTS = {
    "rule": "quiet",
    "exact": "battery",
    "bound": "quiet",
    "learned": "import",
    "own": "import",
}
_LEFT = -60.0
"""Scores below are drawn at the edge."""
_LOW = 55.0
"""The same in the overview."""


def setting_picture(
    path: Path | str,
    title: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    timings: Sequence[Mapping[str, Any]],
) -> None:
    """Scores with intervals, each seed a stroke, and beside them what a decision takes.

    Who costs less than the bound is only named.

    Args:
        path: PNG to write.
        title: Of ``scenario.settings``.
        rows: Of the setting.
        timings: Of the setting.
    """
    height = 1.75 + 0.36 * len(rows)
    longest = max(len(row["policy"]) for row in rows)
    left = (0.35 + 0.085 * longest) / 9.6
    with picture(path, 9.6, height) as figure:
        low, tall = 0.66 / height, 1.0 - 1.5 / height
        axes = figure.add_axes((left, low, 0.68 - left, tall))
        clock = figure.add_axes((0.715, low, 0.265, tall), sharey=axes)
        figure.text(
            0.015, 1 - 0.34 / height, name_of(title), fontsize=14, fontweight="bold", color=INK
        )
        figure.text(0.015, 1 - 0.62 / height, caption(title), fontsize=9.5, color="#444444")
        for x in (0.0, 100.0):
            axes.axvline(x, color="#333333", lw=1.2, zorder=1)
        scores = [row["score"] for row in rows if not row["impossible"]]
        edge = max(_LEFT, min(-8.0, *(score["low"] - 4.0 for score in scores)))
        top = max(108.0, *(score["mean"] + 8.0 for score in scores))
        taken: list[float] = []
        for y, (row, timing) in enumerate(zip(rows, timings, strict=True)):
            colour, score = COLOURS[TINTS[row["kind"]]], row["score"]
            if row["impossible"]:
                axes.text(0.0, y, "  costs less than the bound", va="center", fontsize=9.5)
            elif score["mean"] < edge:
                inside = edge + 0.015 * (top - edge)
                axes.plot(inside, y, "<", color=colour, ms=7)
                axes.text(inside, y, f"   {score['mean']:.0f}", va="center", fontsize=9.5)
            else:
                axes.plot([max(score["low"], edge), score["high"]], [y, y], color=colour, lw=2.6)
                hollow = row["kind"] == "bound"
                axes.plot(
                    score["mean"], y, "D" if hollow else "o", color=colour, ms=7,
                    mfc="white" if hollow else colour, zorder=3,
                )  # fmt: skip
                if row["seeds"] > 1:
                    seeds = [max(x, edge) for x in row["seed_scores"].values()]
                    axes.plot(seeds, [y - 0.27] * len(seeds), "|", color=colour, ms=6, alpha=0.8)
            for seconds, fill in (
                (1e-3 * timing["plan_ms"], "white"),
                (1e-6 * timing["step_us"], colour),
            ):
                if seconds > (SHORTEST_S if fill == "white" else 0.0):
                    clock.plot(seconds, y, "o", color=colour, ms=6, mfc=fill)
                    taken.append(seconds)
        axes.set_yticks(range(len(rows)), [row["policy"] for row in rows])
        axes.tick_params(axis="y", length=0, labelsize=10.5, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlim(edge, top)
        axes.set_xlabel("score; lines are 95 % intervals, strokes seeds")
        clock.tick_params(axis="y", left=False, labelleft=False)
        clock.grid(visible=False, axis="y")
        clock.spines["left"].set_visible(False)
        clock.set_xlabel("a decision; hollow: its preparation")
        first, last = (
            (np.floor(np.log10(min(taken))), np.ceil(np.log10(max(taken)))) if taken else (-6, -3)
        )
        ends = np.array([first - 0.3, max(last, first + 1) + 0.3])
        clock.set_xscale("log")
        clock.set_xlim(*10.0**ends)
        marks = 10.0 ** np.arange(first, max(last, first + 1) + 1, max(1, (last - first + 2) // 3))
        clock.set_xticks(marks, [duration(mark) for mark in marks], minor=False)
        clock.set_xticks([], minor=True)


def overview_picture(
    path: Path | str,
    settings: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]], Any]],
) -> None:
    """Strongest rule of every setting, and its policies that learned or are one's own.

    Without those that cost less than the bound.

    Args:
        path: PNG to write.
        settings: From `flexgym.evaluate.benchmark.tables.settings_of`.
    """
    shown = [*settings][::-1]
    height = 1.6 + 0.34 * len(shown)
    longest = max(len(name_of(title)) for title, _, _ in shown)
    left = (0.35 + 0.085 * longest) / 9.6
    with picture(path, 9.6, height) as figure:
        axes = figure.add_axes((left, 0.66 / height, 0.97 - left, 1.0 - 1.3 / height))
        figure.text(
            0.015, 1 - 0.38 / height, "Share of what the reference saves over no control",
            fontsize=14, fontweight="bold", color=INK,
        )  # fmt: skip
        lowest, highest = 100.0, 100.0
        for y, (title, rows, _) in enumerate(shown):
            rule = next(row for row in rows if row["policy"] == title["strongest_rule"])
            learned = believable(rows, "learned", "own")
            for row, marker in ((rule, "s"), *((one, "o") for one in learned)):
                colour, score = COLOURS[TINTS[row["kind"]]], row["score"]
                low, mean, high = (max(score[key], _LOW) for key in ("low", "mean", "high"))
                axes.plot([low, high], [y, y], color=colour, lw=2.4)
                shape = "<" if score["mean"] < _LOW else marker
                axes.plot(mean, y, shape, color=colour, ms=7, zorder=3)
                lowest = min(lowest, low)
                highest = max(highest, score["high"])
        axes.axvline(100.0, color="#333333", lw=1.2, zorder=1)
        axes.plot([], [], "s", color=COLOURS[TINTS["rule"]], label="strongest rule")
        own = any(believable(rows, "own") for _, rows, _ in shown)
        told = "learned or own" if own else "learned"
        axes.plot([], [], "o", color=COLOURS[TINTS["learned"]], label=told)
        axes.set_yticks(range(len(shown)), [name_of(title) for title, _, _ in shown])
        axes.tick_params(axis="y", length=0, labelsize=10.5, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.set_xlim(min(lowest - 2.0, 60.0), highest + 3.0)
        axes.set_xlabel(f"score, %; lines are 95 % intervals; below {_LOW:g} at the edge")
        figure.legend(
            *axes.get_legend_handles_labels(), loc="upper right", ncols=2,
            bbox_to_anchor=(0.97, 1.0 - 0.12 / height),
        )  # fmt: skip
