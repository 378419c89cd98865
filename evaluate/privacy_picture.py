"""Picture of ``flexgym evaluate privacy``: what can be guessed, and what coarser menus cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexgym.envs.household.render import COLOURS, DASHED
from flexgym.evaluate.pictures import INK, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = {
    "soc_percent": ("state of charge", COLOURS["battery"], "o"),
    "pv_kw": ("PV", COLOURS["pv"], "s"),
    "load_kw": ("load", COLOURS["load"], "^"),
    "car_kwh": ("car still lacks", COLOURS["car"], "D"),
}


def privacy_picture(path: Path, results: dict[str, Any]) -> None:
    """Draw errors of attacks and costs of coarser menus.

    Args:
        path: PNG to write.
        results: Content of ``results.json``.
    """
    rows = results["rows"]
    menus = [row for row in rows if row["kind"] == "menu"]
    attackers = {row["policy"]: row for row in rows if row["kind"] == "attacker"}
    scenario = results["scenario"]
    with picture(path, 10.4, 4.9) as figure:
        figure.subplots_adjust(left=0.08, right=0.98, top=0.78, bottom=0.2, wspace=0.24)
        guessed, cost = figure.subplots(1, 2)
        ticks = [_size(row) for row in menus]
        _draw_errors(guessed, menus, attackers)
        guessed.set_xticks(range(-1, len(menus)), ["no\nmenu", *ticks])
        _draw_costs(cost, menus)
        cost.set_xticks(range(len(menus)), ticks)
        for axes in (guessed, cost):
            axes.set_xlabel("most vertices of a menu, and bytes a period")
        figure.text(
            0.08, 0.93,
            f"{scenario['name']}: what menus of {scenario['houses']} houses give away",
            fontsize=14, fontweight="bold", color=INK,
        )  # fmt: skip


def _size(row: dict[str, Any]) -> str:
    return f"{row['policy'].split()[2]}\n{row['bytes_per_period']:.0f} B"


def _draw_errors(
    axes: Axes, menus: list[dict[str, Any]], attackers: dict[str, dict[str, Any]]
) -> None:
    """Error of each guess beside that of an attacker who sees no menu, %."""
    blind = next(iter(attackers.values()))
    shown = [blind, *(attackers[row["policy"]] for row in menus)]
    for secret, (label, colour, mark) in _LINES.items():
        usual = blind[f"{secret}_rmse"]["mean"]
        values = [100.0 * row[f"{secret}_rmse"]["mean"] / usual for row in shown]
        axes.plot(
            range(-1, len(menus)), values, color=colour, marker=mark, linewidth=1.8, label=label
        )
    axes.axhline(100.0, color=INK, linestyle=DASHED, linewidth=1.0)
    axes.set_title("Error of the attack")
    axes.set_ylabel("% of the error without menus")
    axes.set_ylim(0.0, 1.28 * max(100.0, axes.get_ylim()[1]))
    axes.legend(loc="upper right", frameon=False, ncols=2, fontsize=10)


def _draw_costs(axes: Axes, menus: list[dict[str, Any]]) -> None:
    extra = [row["extra_eur"] for row in menus]
    mean = [value["mean"] for value in extra]
    away = [
        [value["mean"] - value["low"] for value in extra],
        [value["high"] - value["mean"] for value in extra],
    ]
    axes.errorbar(
        range(len(menus)),
        mean,
        yerr=away,
        fmt="o",
        color=COLOURS["meter"],
        capsize=4,
        linewidth=1.8,
    )
    axes.axhline(0.0, color=INK, linestyle=DASHED, linewidth=1.0)
    axes.set_title("Social cost above that of all vertices")
    axes.set_ylabel("EUR/day, mean and 95 % interval")
    axes.set_xlim(-0.5, len(menus) - 0.5)
