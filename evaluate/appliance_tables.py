"""Rows and tables of ``flexgym evaluate appliance``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import numpy as np

from flexgym.evaluate.appliance_play import BOUND, ApplianceDays
from flexgym.evaluate.score import normal_interval, paired_score

ACCEPTANCE = {
    "interruptible": "price acceptance",
    "uninterruptible": "cost acceptance",
    "mixed": "acceptance",
}
"""What the source calls acceptance, by the kind of job."""
_ROUNDING_EUR = 1e-9
HEADS = ("pattern", "EUR/job", "95 %", "score", "95 %", "ct/kWh", "moved", "forced", "expected")


def appliance_rows(kind: str, played: Sequence[ApplianceDays]) -> list[dict[str, Any]]:
    """Rows of ``results.json``, by score; the first policy scores 0, the one with a value 100.

    Args:
        kind: Kind of job.
        played: Of every policy, on the same days.
    """
    normal = played[0]
    best = next(days for days in played if days.value_eur is not None)
    energy_kwh = normal.power_kw.sum(axis=1)
    rows = []
    for days in played:
        # The optimum is judged by what it costs, not by what it expects.
        reached = paired_score(-days.cost_eur, -normal.cost_eur, -best.cost_eur)
        at_once = np.minimum(days.power_kw, normal.power_kw).sum()
        row: dict[str, Any] = {
            "jobs": kind,
            "pattern": days.policy,
            "policy": days.policy.replace("acceptance", ACCEPTANCE[kind]),
            "kind": "bound" if days.policy == BOUND else "policy",
            "cost_eur": _plain(normal_interval(days.cost_eur)),
            "score": _plain(reached),
            "paid_eur_per_kwh": float(days.cost_eur.sum() / energy_kwh.sum()),
            "moved_share": float(1.0 - at_once / energy_kwh.sum()),
            "forced_share": float(days.forced.mean()),
        }
        if days.value_eur is not None:
            apart = normal_interval(days.cost_eur - days.value_eur, 0.99)
            row["expected_eur"] = float(days.value_eur.mean())
            # On known prices the interval is a point, up to rounding.
            inside = apart.low <= _ROUNDING_EUR and apart.high >= -_ROUNDING_EUR
            row["expected_inside"] = bool(inside)
        rows.append(row)
    return sorted(rows, key=lambda row: (row["kind"] == "bound", row["score"]["mean"]))


def _plain(interval: Any) -> dict[str, float]:
    return {name: float(value) for name, value in asdict(interval).items()}


def _tables(results: dict[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """Title and cells of each table."""
    found = []
    for kind, group in groupby(results["rows"], key=lambda row: row["jobs"]):
        found.append((f"{kind} jobs", [_cells(row) for row in group]))
    return found


def _cells(row: dict[str, Any]) -> list[str]:
    expected = ""
    if "expected_eur" in row:
        expected = f"{row['expected_eur']:.4f} {'' if row['expected_inside'] else 'NOT '}inside"
    bound = " (bound, no policy)" if row["kind"] == "bound" else ""
    cost, reached = row["cost_eur"], row["score"]
    return [
        row["policy"] + bound,
        f"{cost['mean']:.4f}",
        f"{cost['low']:.4f} to {cost['high']:.4f}",
        f"{reached['mean']:.1f}",
        f"{reached['low']:.1f} to {reached['high']:.1f}",
        f"{100 * row['paid_eur_per_kwh']:.2f}",
        f"{round(100 * row['moved_share'])} %",
        f"{round(100 * row['forced_share'])} %",
        expected,
    ]


def print_tables(results: dict[str, Any]) -> None:
    """Print the tables from the content of ``results.json``."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    if not console.is_terminal:
        # Into a file nothing needs to be cut.
        console = Console(soft_wrap=True, width=160)
    for title, rows in _tables(results):
        table = Table(title=title, title_justify="left")
        for k, head in enumerate(HEADS):
            table.add_column(head, justify="right" if k else "left", no_wrap=k == 0)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def markdown_tables(results: dict[str, Any]) -> str:
    """The same in Markdown."""
    lines: list[str] = []
    for title, rows in _tables(results):
        lines += [f"{title.capitalize()}:", "", _line(HEADS), "|---|" + "---:|" * (len(HEADS) - 1)]
        lines += [*map(_line, rows), ""]
    scenario = results["scenario"]
    lines.append(
        f"{scenario['days']} {scenario['split']} days of each kind, seed {results['seed']}, the "
        f"same for every pattern of a table; uncertainty {scenario['uncertainty']}, prices: "
        f"{scenario['prices']}. Moved: energy used in other hours than at once. Forced: hours run "
        "though the pattern would rather have waited. Expected: the optimum's cost by dynamic "
        "programming, and whether the 99 % interval of the days played holds it."
    )
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
