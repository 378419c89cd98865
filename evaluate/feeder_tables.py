"""Tables of the comparison on the feeder, in the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from flexgym.envs.household.params import STEPS_PER_DAY

_WIDE = 240
Cell = Callable[[dict[str, Any]], str]


def _interval(key: str, form: str = ".0f") -> Cell:
    def cell(row: dict[str, Any]) -> str:
        mean, low, high = (format(row[key][part], form) for part in ("mean", "low", "high"))
        return f"{mean} ({low} to {high})"

    return cell


def _plain(key: str, form: str, factor: float = 1.0) -> Cell:
    return lambda row: format(factor * row[key], form)


def _mean(key: str, form: str = ".0f") -> Cell:
    return lambda row: format(row[key]["mean"], form)


def _rule(rule: str) -> Cell:
    """What a rule pays, and the houses it leaves worse off with the largest loss of one."""

    def cell(row: dict[str, Any]) -> str:
        worse, worst = row[f"{rule}_worse"], row[f"{rule}_worst_eur"]
        paid = f"{row[f'{rule}_deficit_eur']:.2f}"
        return f"{paid}; {worse:.1f} (by {worst:.2f})" if worse else f"{paid}; 0"

    return cell


def _gap(value: Mapping[str, float]) -> str:
    low, high = value["low"], value["high"]
    return f"{value['mean']:.2f} ({low:.2f} to {high:.2f}), median {value['median']:.2f}"


COSTS: Mapping[str, Cell] = MappingProxyType(
    {
        "EUR/day": _mean("cost_eur", ".1f"),
        "score": _interval("score"),
        "above the optimum, EUR/day": lambda row: _gap(row["gap_eur"]),
        "bills": _plain("bill_eur", ".1f"),
        "losses, kWh": _plain("loss_kwh", ".0f"),
        "PV curtailed, kWh": _plain("curtailed_kwh", ".0f"),
        "car energy missed, kWh": _plain("missed_kwh", ".1f"),
    }
)
LIMITS: Mapping[str, Cell] = MappingProxyType(
    {
        "days with violations, %": _interval("days_any_percent"),
        "voltage": _mean("days_voltage_percent"),
        "line": _mean("days_line_percent"),
        "transformer": _mean("days_trafo_percent"),
        "pu h": _plain("voltage_violation_pu_h", ".2f"),
        "overload, h": _plain("overload_h", ".1f"),
        "voltages, pu": lambda row: f"{row['lowest_pu']:.3f} to {row['highest_pu']:.3f}",
        "line, %": _plain("line_percent", ".0f"),
        "transformer, %": _plain("trafo_percent", ".0f"),
    }
)
PAYMENTS: Mapping[str, Cell] = MappingProxyType(
    {
        "least that any fair rule pays": _plain("least_deficit_eur", ".2f"),
        "pay-as-bid; worse off": _rule("pay-as-bid"),
        "DLMP, own choice of the moment": _rule("marginal"),
        "announced prices, plan of the day": _rule("day-plan"),
        "Jain's index of its payments": _plain("day-plan_jain", ".2f"),
        "worth of declaring 10 % more, a house": _plain("inflation_gain_eur", ".2f"),
    }
)
EFFORT: Mapping[str, Cell] = MappingProxyType(
    {
        "choices changed, %": _plain("moved_percent", ".1f"),
        "periods without a feasible answer": _plain("infeasible_periods", ".1f"),
        "feasible, but violated by AC": _plain("unclean_periods", ".1f"),
        "bytes a house and period": _plain("bytes_per_period", ".0f"),
        "bytes a house to plan a day": _plain("planning_bytes", ".0f"),
        "offline, s a house": lambda row: f"{row['plan_s'] / row['houses']:.2f}",
        "online, ms a house and period": _plain("menu_ms", ".2f"),
        "prices of the grid, s of all a day": _plain("expecting_s", ".1f"),
        "online, ms an operator and period": _plain("clear_s", ".1f", 1e3 / STEPS_PER_DAY),
    }
)
GROUPS: Mapping[str, Mapping[str, Cell]] = MappingProxyType(
    {
        "Costs": COSTS,
        "Limits, by the AC power flow": LIMITS,
        "Payments by the operator, EUR/day": PAYMENTS,
        "What menus take": EFFORT,
    }
)
"""Tables by title; a policy is a row where all of a table is known of it."""


def tables(results: dict[str, Any]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Heads and rows of cells of each table that has any, by title."""
    found = {}
    houses = results["scenario"]["houses"]
    for title, columns in GROUPS.items():
        body: dict[str, dict[str, str]] = {}
        for row in results["rows"]:
            cells = _cells(row, columns, houses)
            if cells:
                body[row["policy"]] = cells
        heads = [head for head in columns if any(head in cells for cells in body.values())]
        if body:
            lines = [[name, *(cells.get(h, "") for h in heads)] for name, cells in body.items()]
            found[title] = ["policy", *heads], lines
    gaps = results.get("gaps")
    if gaps:
        rows = [[g["part"], f"{g['from']} - {g['to']}", _gap(g["eur"])] for g in gaps]
        found["Where the gap comes from, EUR/day"] = (["", "difference", "mean and interval"], rows)
    return found


def _cells(row: dict[str, Any], columns: Mapping[str, Cell], houses: int) -> dict[str, str]:
    """Cells of a policy by head: those of which something is known."""
    known = {**row, "houses": houses}
    if "menu_s" in row:
        known["menu_ms"] = 1e3 * row["menu_s"] / houses / STEPS_PER_DAY
    cells = {}
    for head, cell in columns.items():
        try:
            cells[head] = cell(known)
        except KeyError:
            continue
    # How long planning took is known of everybody, and no reason for a row of its own.
    return cells if set(cells) - {"offline, s a house"} else {}


def print_tables(results: dict[str, Any]) -> None:
    """Print the tables from the content of ``results.json``."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    if not console.is_terminal:
        # Into a file nothing needs to be cut.
        console = Console(soft_wrap=True, width=_WIDE)
    console.print(results["scenario"]["title"], style="bold")
    for title, (heads, rows) in tables(results).items():
        table = Table(title=title, title_justify="left")
        for k, head in enumerate(heads):
            table.add_column(head, justify="right" if k else "left", no_wrap=k == 0)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def markdown_tables(results: dict[str, Any]) -> str:
    """The same in Markdown."""
    scenario = results["scenario"]
    lines: list[str] = []
    for title, (heads, rows) in tables(results).items():
        lines += [f"{title}:", "", _line(heads), "|---|" + "---:|" * (len(heads) - 1)]
        lines += [*map(_line, rows), ""]
    lines.append(
        f"{scenario['name']}: {scenario['feeder_days']} {scenario['split']} feeder-days "
        f"({scenario['draws']} draws of {scenario['houses']} houses, {scenario['days']} days); "
        "95 % intervals over feeder-days."
    )
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
