"""Pictures of ``flexgym evaluate market``: scores, and the phase transition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flexgym.envs.household.render import COLOURS, DASHED
from flexgym.evaluate.market_phase import HIGH, LOW, MOST_LAG_H, SHOWN_H, TEMPERATURES
from flexgym.evaluate.pictures import INK, picture

_COLOURS = tuple(COLOURS[name] for name in ("import", "meter", "battery", "pv"))
_DRAWN = {
    "aggregator": ("cap", "share of price", "table price", "flat", "tuned linear"),
    "dso": ("random", "plan", "price", "plan, feedback", "tuned linear"),
    "buses": ("random", "MH", "CMH", "selfish"),
}
_FLOOR = -100.0
_MINUS = "\N{MINUS SIGN}"


def scores_picture(path: Path | str, results: Mapping[str, Any]) -> None:
    """Scores of every role and scenario: a panel for each role, a mark for each scenario.

    Args:
        path: PNG to write.
        results: Content of ``results.json``.
    """
    rows = [row for row in results["rows"] if row["kind"] == "policy"]
    roles = list(dict.fromkeys(row["role"] for row in rows))
    names = {
        role: [
            name
            for name in dict.fromkeys(row["policy"] for row in rows if row["role"] == role)
            if name in _DRAWN[role] or name.startswith("learned")
        ]
        for role in roles
    }
    series = list(dict.fromkeys((row["scenario"], row["role"], row["agent"]) for row in rows))
    lines = sum(len(names[role]) for role in roles)
    height = 1.5 + 0.42 * lines + 0.75 * len(roles)
    with picture(path, 9.6, height) as figure:
        figure.text(
            0.02, 1.0 - 0.38 / height,
            "Scores in the market: 0 uncontrolled, 100 optimum or best known",
            fontsize=14, fontweight="bold", color=INK,
        )  # fmt: skip
        panels = figure.subplots(
            len(roles), 1, squeeze=False, sharex=True,
            height_ratios=[max(len(names[role]), 1) for role in roles],
        )[:, 0]  # fmt: skip
        figure.subplots_adjust(
            left=0.16, right=0.975, top=1.0 - 1.05 / height, bottom=0.62 / height, hspace=0.42
        )
        marks = dict(zip(_scenarios(series), "os^Dv", strict=False))
        tints = dict(zip(marks, (*_COLOURS, COLOURS["export"]), strict=False))
        for axes, role in zip(panels, roles, strict=True):
            axes.set_title({"dso": "DSO"}.get(role, role.capitalize()))
            for x in (0.0, 100.0):
                axes.axvline(x, color="#333333", lw=1.2, zorder=1)
            for row in rows:
                if row["role"] != role or row["policy"] not in names[role]:
                    continue
                mean, colour = row["score"]["mean"], tints[row["scenario"]]
                apart = 0.13 * (list(marks).index(row["scenario"]) - 0.5 * (len(marks) - 1))
                y = names[role].index(row["policy"]) + apart
                axes.plot(
                    max(mean, _FLOOR + 2.0), y, marks[row["scenario"]] if mean > _FLOOR else "<",
                    color=colour, ms=6, mec="white", mew=0.6, zorder=3,
                )  # fmt: skip
            axes.set_yticks(range(len(names[role])), names[role])
            axes.set_ylim(-0.6, max(len(names[role]), 1) - 0.4)
            axes.tick_params(axis="y", length=0, labelcolor=INK)
            axes.grid(visible=False, axis="y")
            axes.spines["left"].set_visible(False)
        panels[-1].set_xlim(_FLOOR, 108.0)
        panels[-1].set_xlabel(f"score; an arrow at the left is below {_MINUS}{-_FLOOR:.0f}")
        for name, mark in marks.items():
            panels[0].plot([], [], mark, color=tints[name], ms=6, label=name)
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="upper right", ncols=len(marks),
            bbox_to_anchor=(0.975, 1.0 - 0.6 / height),
        )  # fmt: skip


def _scenarios(series: Sequence[tuple[str, str, str]]) -> list[str]:
    return list(dict.fromkeys(scenario for scenario, _, _ in series))


def phase_picture(path: Path | str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Hysteresis of the magnetisation against a slowly moved quote, and rebound cycles.

    Args:
        path: PNG to write.
        rows: Of `phase_rows`.
    """
    from matplotlib.lines import Line2D

    width, height = 11.6, 7.4
    with picture(path, width, height) as figure:
        figure.text(
            0.06, 1.0 - 0.38 / height, "The phase transition as an aggregator meets it",
            fontsize=14, fontweight="bold", color=INK,
        )  # fmt: skip
        figure.subplots_adjust(
            left=0.06, right=0.985, top=1.0 - 1.0 / height, bottom=0.6 / height,
            hspace=0.52, wspace=0.22,
        )  # fmt: skip
        grid = figure.add_gridspec(2, 4)
        summary = {row["temperature"]: row for row in rows if row["what"] == "summary"}
        first = None
        for k, (temperature, colour) in enumerate(zip(TEMPERATURES, _COLOURS, strict=True)):
            axes = first = figure.add_subplot(grid[0, k], sharey=first)
            for what, style in (("up", "-"), ("down", DASHED)):
                x, m = _line(rows, what, temperature)
                axes.plot(x, m, ls=style, color=colour)
            axes.axhline(0.0, color=COLOURS["quiet"], lw=0.8, zorder=1)
            axes.set_xlim(LOW, HIGH)
            axes.set_ylim(-1.05, 1.05)
            axes.set_title(f"T = {temperature:g}" + (" (critical)" if temperature == 4.0 else ""))
            wide = summary[temperature]["loop_width_eur_per_mwh"]
            axes.text(
                0.04, 0.96, f"loop {wide:.1f}\nEUR/MWh", transform=axes.transAxes, va="top",
                color=INK,
            )  # fmt: skip
            axes.set_xlabel("quote, EUR/MWh")
            if k:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("mean magnetisation")
        figure.legend(
            handles=[
                Line2D([], [], color=INK, ls=style, label=f"quote {what} 1 EUR/MWh an hour")
                for what, style in (("rises", "-"), ("falls", DASHED))
            ],
            loc="upper right", ncols=2, bbox_to_anchor=(0.985, 1.0 - 0.3 / height),
        )  # fmt: skip
        path_of, cycles = figure.add_subplot(grid[1, :2]), figure.add_subplot(grid[1, 2:])
        for temperature, colour in zip(TEMPERATURES, _COLOURS, strict=True):
            if temperature in (TEMPERATURES[0], TEMPERATURES[-1]):
                x, m = _line(rows, "path", temperature)
                path_of.plot(x, m, color=colour, label=f"T = {temperature:g}")
            x, c = _line(rows, "autocorrelation", temperature)
            cycles.plot(x, c, "-o", ms=3, color=colour, label=f"T = {temperature:g}")
        for axes in (path_of, cycles):
            axes.axhline(0.0, color=COLOURS["quiet"], lw=0.8, zorder=1)
        path_of.set_title("Flat quote, energy owed: one group of 289", pad=20)
        path_of.set_xlim(0, SHOWN_H - 1)
        path_of.set_xticks(range(0, SHOWN_H, 12))
        path_of.set_ylim(-1.05, 1.05)
        path_of.set_xlabel("hour")
        path_of.set_ylabel("magnetisation")
        path_of.legend(loc="lower left", bbox_to_anchor=(0.0, 1.01), ncols=2)
        cycle = summary[TEMPERATURES[0]]["cycle_h"]
        text = f" in a day: a cycle of {cycle} h at T = {TEMPERATURES[0]:g}" if cycle else ""
        cycles.set_title(f"Its autocorrelation{text}", pad=20)
        cycles.set_xlabel("lag, hours")
        cycles.set_xlim(0, MOST_LAG_H)
        cycles.set_xticks(range(0, MOST_LAG_H + 1, 2))
        cycles.set_ylim(-1.05, 1.05)
        cycles.legend(loc="lower left", bbox_to_anchor=(0.0, 1.01), ncols=4)


def _line(rows: Sequence[Mapping[str, Any]], what: str, temperature: float) -> tuple[Any, Any]:
    chosen = [row for row in rows if row["what"] == what and row["temperature"] == temperature]
    return (
        np.array([row["x"] for row in chosen], dtype=float),
        np.array([row["magnetisation"] for row in chosen], dtype=float),
    )
