"""What every benchmark shares: one core, a clock, figures with their limits."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def one_core():
    """Stay on one core, where the system can pin a process; yields its number or None."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    core = max(before)
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)


def seconds(work: Callable[[], Any]) -> float:
    """Seconds one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def figure(
    what: str, value: float, floors: Mapping[str, float], ceilings: Mapping[str, float]
) -> dict[str, Any]:
    """A row of the results, with the floor it must reach or the ceiling it must keep, if any."""
    return {"what": what, "value": value, "floor": floors.get(what), "ceiling": ceilings.get(what)}


def print_figures(rows: list[dict[str, Any]], repeats: int) -> None:
    """Print rows of `figure` with their verdicts."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"median of {repeats}, one core", title_justify="left")
    table.add_column("what")
    for column in ("measured", "required", ""):
        table.add_column(column, justify="right")
    for row in rows:
        met = row["floor"] is None or row["value"] >= row["floor"]
        met = met and (row["ceiling"] is None or row["value"] <= row["ceiling"])
        required = _required(row)
        verdict = "" if not required else ("ok" if met else "MISSED")
        table.add_row(row["what"], f"{row['value']:,.4g}", required, verdict)
    Console(soft_wrap=True).print(table)


def markdown_table(results: dict[str, Any]) -> str:
    """The measurements in Markdown, from the content of ``results.json``."""
    lines = ["| one core | measured | required |", "|---|---:|---:|"]
    for row in results["rows"]:
        lines.append(f"| {row['what']} | {row['value']:,.3g} | {_required(row)} |")
    return "\n".join(lines)


def _required(row: dict[str, Any]) -> str:
    if row["floor"] is not None:
        return f"at least {row['floor']:,.4g}"
    return "" if row["ceiling"] is None else f"at most {row['ceiling']:,.4g}"
