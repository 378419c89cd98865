"""Tables of ``flexgym evaluate privacy``, from the content of ``results.json``."""

from __future__ import annotations

from typing import Any

TITLES = {
    "soc_kwh": ("state of charge, kWh", "{:.2f} kWh"),
    "soc_percent": ("state of charge, %", "{:.1f} points"),
    "pv_kw": ("PV, kW", "{:.2f} kW"),
    "load_kw": ("load, kW", "{:.2f} kW"),
    "car_kwh": ("car still lacks, kWh", "{:.2f} kWh"),
}
"""Heading and error of each secret in tables."""


def _tables(results: dict[str, Any]) -> list[list[list[str]]]:
    """Three tables as rows of cells, headings first."""
    menus, attackers = (
        [row for row in results["rows"] if row["kind"] == kind] for kind in ("menu", "attacker")
    )
    sizes = [["bytes a house and period", "leave the house", "come back"]]
    sizes += [[row["what"], f"{row['out']:.0f}", f"{row['back']:.0f}"] for row in results["sizes"]]
    costs = [[
        "what is sent", "bytes a period", "social cost, EUR/day", "above all vertices, EUR/day",
        "violations, h", "car energy missed, kWh",
    ]]  # fmt: skip
    costs += [
        [
            row["policy"],
            f"{row['bytes_per_period']:.0f}",
            _cell(row["cost_eur"], "{:.2f}"),
            f"{_cell(row['extra_eur'], '{:.2f}')}, median {row['extra_eur']['median']:.2f}",
            f"{row['violation_h']:.2f}",
            f"{row['missed_kwh']:.2f}",
        ]
        for row in menus
    ]
    attack = [["attacker sees", *(heading for heading, _ in TITLES.values())]]
    attack += [
        [row["policy"], *(_guessed(row, secret, unit) for secret, (_, unit) in TITLES.items())]
        for row in attackers
    ]
    return [sizes, costs, attack]


def _guessed(row: dict[str, Any], secret: str, unit: str) -> str:
    explained = {end: 100.0 * value for end, value in row[f"{secret}_r2"].items()}
    return f"{unit.format(row[f'{secret}_rmse']['mean'])}; {_cell(explained, '{:.0f}')} %"


def _cell(value: dict[str, float], form: str) -> str:
    mean, low, high = (form.format(value[end]) for end in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def print_tables(results: dict[str, Any]) -> None:
    """Print the tables from the content of ``results.json``."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    titles = (
        results["scenario"]["title"],
        "Coarser menus",
        "Attack: root mean square error; share of variance explained, %",
    )
    for title, (head, *rows) in zip(titles, _tables(results), strict=True):
        table = Table(title=title, title_justify="left")
        for k, heading in enumerate(head):
            table.add_column(heading, justify="right" if k else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def markdown_tables(results: dict[str, Any]) -> str:
    """The same in Markdown."""
    parts = []
    for head, *rows in _tables(results):
        lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
        parts.append("\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]))
    scenario = results["scenario"]
    parts.append(
        f"`{scenario['name']}`, {scenario['houses']} houses that plan on their forecast, anew "
        f"every {scenario['plan_every_periods']} periods. Costs and errors on "
        f"{scenario['feeder_days']} test feeder-days with 95 % intervals over them; attackers "
        f"learned from {scenario['training_days']} train feeder-days, other houses on other "
        "days. In each cell of the last table: root mean square error; share of the variance "
        "explained."
    )
    return "\n\n".join(parts)
