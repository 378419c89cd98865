"""Tables of ``flexgym reproduce ising``, from the content of ``results.json``."""

from __future__ import annotations

from typing import Any

_STYLES = {"yes": "green", "partly": "yellow", "no": "red"}


def _claims(results: dict[str, Any]) -> list[list[str]]:
    """Rows of cells, headings first."""
    head = ["figure", "claim of the source", "what was found", "agrees"]
    return [head] + [
        [str(row["figure"]), row["claim"], row["found"], row["agrees"]] for row in results["rows"]
    ]


def _checks(results: dict[str, Any]) -> list[list[str]]:
    """Likewise for check values."""
    return [["check value", "expected", "found", "agrees"]] + [
        [row["what"], _cell(row["expected"]), _cell(row["found"]), "yes" if row["agrees"] else "no"]
        for row in results["checks"]
    ]


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1e}" if 0.0 < abs(value) < 1e-6 else f"{value:.3f}"


def print_tables(results: dict[str, Any]) -> None:
    """Print both tables from the content of ``results.json``."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for title, (head, *rows) in (
        (f"{results['scenario']['title']}; prices are synthetic", _claims(results)),
        ("Check values", _checks(results)),
    ):
        table = Table(title=title, title_justify="left", show_lines=len(head[1]) > 10)
        for heading in head:
            table.add_column(heading)
        for *cells, verdict in rows:
            table.add_row(*cells, f"[{_STYLES.get(verdict, 'dim')}]{verdict}")
        console.print(table)


def markdown_tables(results: dict[str, Any]) -> str:
    """Both tables in Markdown."""
    parts = []
    for head, *rows in (_claims(results), _checks(results)):
        lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
        parts.append("\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]))
    scenario = results["scenario"]
    parts.append(
        f"Source: {scenario['source']}. Prices are {scenario['prices']}. Seed {results['seed']}."
    )
    return "\n\n".join(parts)
