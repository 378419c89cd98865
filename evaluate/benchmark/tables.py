"""Tables of the benchmark, from the content of ``results.json``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flexgym.evaluate.report import made_with

KINDS = {
    "rule": "rule",
    "exact": "exact",
    "bound": "bound, no policy",
    "learned": "learned",
    "own": "own",
}
IMPOSSIBLE = "costs less than the bound: it used what no policy can know, or cheated"
_WIDE = 160
SHORTEST_S = 1e-5
"""Preparing an episode in less is not told."""
HEADS = (
    "policy", "kind", "seeds", "EUR", "score", "95 %", "IQM", "95 %", "better than rule",
    "violated", "decision",
)  # fmt: skip


def settings_of(
    results: Mapping[str, Any],
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]]:
    """Each setting with its rows and times."""
    for title in results["scenario"]["settings"]:
        where = title["environment"], title["scenario"]
        rows, timings = (
            [row for row in results[key] if (row["environment"], row["scenario"]) == where]
            for key in ("rows", "timings")
        )
        yield title, rows, timings


def believable(rows: Sequence[Mapping[str, Any]], *kinds: str) -> list[Mapping[str, Any]]:
    """Rows of some kinds, without those that cost less than the bound."""
    return [row for row in rows if row["kind"] in kinds and not row["impossible"]]


def name_of(title: Mapping[str, Any]) -> str:
    """A setting's name, as patterns of ``--only`` have it."""
    return f"{title['environment']}/{title['scenario']}"


def entries_of(title: Mapping[str, Any], row: Mapping[str, Any], timing: Mapping[str, Any]) -> list:
    """A row's entries by `HEADS`, as text."""
    improvement = row["improvement_percent"]
    better = f"{improvement['mean']:.0f} %" if improvement else ""
    return [
        row["policy"] + (f" ({IMPOSSIBLE})" if row["impossible"] else ""),
        KINDS[row["kind"]],
        str(row["seeds"]),
        f"{row['cost_eur']['mean']:.3f}",
        f"{row['score']['mean']:.1f}",
        ends(row["score"]),
        f"{row['iqm']['mean']:.1f}",
        ends(row["iqm"]),
        better,
        f"{row['violated_percent']:.0f} %" if title["violation"] else "",
        decision(timing),
    ]


def decision(timing: Mapping[str, Any]) -> str:
    """Computing time of a decision, and of preparing an episode where there is any."""
    if timing["step_us"] == 0.0:
        return ""
    text = duration(1e-6 * timing["step_us"])
    prepared = 1e-3 * timing["plan_ms"]
    return f"{text} + {duration(prepared)}" if prepared > SHORTEST_S else text


def caption(title: Mapping[str, Any]) -> str:
    """What the table of a setting is of."""
    told = (
        f"{title['episodes']} {title['episode']}s. 0: {title['zero']}; 100: {title['best']}; "
        f"strongest rule: {title['strongest_rule']}."
    )
    return told + (f" Violated: {title['violation'].split(',')[0]}." if title["violation"] else "")


def markdown_tables(results: Mapping[str, Any]) -> str:
    """The leaderboard in Markdown."""
    lines = []
    for title, rows, timings in settings_of(results):
        lines += [f"### {name_of(title)}", "", caption(title), ""]
        lines += [f"| {' | '.join(HEADS)} |", "|---|---|" + "---:|" * (len(HEADS) - 2)]
        for row, timing in zip(rows, timings, strict=True):
            lines.append(f"| {' | '.join(entries_of(title, row, timing))} |")
        lines.append("")
    return "\n".join([*lines, provenance(results)])


def provenance(results: Mapping[str, Any]) -> str:
    """Where the numbers come from, in a sentence or two."""
    return (
        f"Suite {results['scenario']['suite']}, seed {results['seed']}. Written by "
        f"`{results['command'] or 'flexgym benchmark'}`: {made_with(results)}"
    )


def print_summary(results: Mapping[str, Any]) -> None:
    """Print each setting's strongest rule, and the best policy that learned or is one's own.

    Who costs less than the bound is named below.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=results["scenario"]["title"], title_justify="left")
    best_of = "best learned or own"
    for head in ("setting", "strongest rule", "score", best_of, "score", "95 %", "CPU s"):
        left = head in ("setting", "strongest rule", best_of)
        table.add_column(head, justify="left" if left else "right")
    for title, rows, timings in settings_of(results):
        rule = next(row for row in rows if row["policy"] == title["strongest_rule"])
        learned = believable(rows, "learned", "own")
        best = max(learned, key=lambda row: row["score"]["mean"], default=None)
        told = ("", "", "")
        if best is not None:
            told = best["policy"], f"{best['score']['mean']:.1f}", ends(best["score"])
        table.add_row(
            name_of(title), rule["policy"], f"{rule['score']['mean']:.1f}", *told,
            f"{sum(timing['cell_s'] for timing in timings):.0f}",
        )  # fmt: skip
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console = Console(soft_wrap=True, width=_WIDE)
    console.print(table)
    for title, rows, _ in settings_of(results):
        for row in rows:
            if row["impossible"]:
                print(f"{name_of(title)}, {row['policy']}: {IMPOSSIBLE}")


def ends(interval: Mapping[str, float]) -> str:
    """An interval's ends."""
    return f"{interval['low']:.1f} to {interval['high']:.1f}"


def duration(seconds: float) -> str:
    """A time with its unit, to two digits: the next run has others."""
    for unit, of in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= of:
            return f"{float(f'{seconds / of:.2g}'):g} {unit}"
    return f"{float(f'{seconds * 1e9:.2g}'):g} ns"
