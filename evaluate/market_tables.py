"""Rows and tables of ``flexgym evaluate market``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import numpy as np

from flexgym.baselines.aggregator_market.bounds import fluid_bound
from flexgym.envs.aggregator_market.scenario import MarketScenario
from flexgym.evaluate.market_play import MarketDays
from flexgym.evaluate.score import normal_interval, paired_score
from flexgym.policies.market import ReferencePolicy

BEST_KNOWN = "best known"
"""Name of the reference where it is not exact."""
_WIDE = 200


def is_exact(scenario: MarketScenario, role: str) -> bool:
    """Whether the reference of a role is the optimum, and not only the best policy known.

    Consumers on the lattice, and several groups under one directive, are more than its state
    holds. Buses need no spins.
    """
    if role == "buses":
        return True
    single = role == "aggregator" or scenario.n_aggregators == 1
    return scenario.coupling == "aggregator" and single


def market_rows(
    scenario: MarketScenario, role: str, played: Sequence[MarketDays], reference: ReferencePolicy
) -> list[dict[str, Any]]:
    """Rows of ``results.json`` of a scenario and role, agent by agent.

    Args:
        scenario: The market.
        role: ``"aggregator"``, ``"dso"`` or ``"buses"``.
        played: What scores 0 first, what scores 100 last.
        reference: Policy of the last.
    """
    exact = is_exact(scenario, role)
    values = np.atleast_1d(reference.value_eur)
    rows = []
    share = float(sum(group.share for group in scenario.groups))
    # Of welfare: it says nothing of what an aggregator keeps for itself.
    bound = 0.0 if role == "aggregator" else fluid_bound(scenario.day, scenario.tariffs, share)
    agents = played[0].earned_eur.shape[1]
    for k in range(agents):
        who = f"{role}_{k + 1}" if agents > 1 else role
        groups = slice(k, k + 1) if agents > 1 else slice(None)
        zero, best = played[0].earned_eur[:, k], played[-1].earned_eur[:, k]
        value = float(values.sum() if agents == 1 else values[k])
        customers = sum(g.customers for g in scenario.groups[groups])
        same = {"scenario": scenario.name, "role": role, "agent": who, "customers": customers}
        for one in played:
            last = one is played[-1]
            row = {
                **same,
                "policy": one.policy if exact or not last else BEST_KNOWN,
                "kind": "policy",
                **_scored(one.earned_eur[:, k], zero, best),
                **_indicators(one, k, groups),
            }
            if role == "dso" and not exact:
                certain = np.full_like(zero, bound)
                row["guaranteed"] = asdict(paired_score(one.earned_eur[:, k], zero, certain))
            if last:
                row["value_eur"] = value
                if exact:
                    ends = row["earned_99_eur"]
                    row["value_inside"] = bool(ends["low"] <= value <= ends["high"])
            rows.append(row)
        if role != "aggregator":
            # No policy: consumers moved at will, without what directives cost.
            certain = np.full_like(zero, bound)
            rows.append(
                {
                    **same,
                    "policy": "fluid bound",
                    "kind": "bound",
                    "cost_eur": dict.fromkeys(("mean", "low", "high"), -bound),
                    "earned_eur": dict.fromkeys(("mean", "low", "high"), bound),
                    "score": asdict(paired_score(certain, zero, best)),
                }
            )
    return rows


def _scored(earned: np.ndarray, zero: np.ndarray, best: np.ndarray) -> dict[str, Any]:
    return {
        "cost_eur": asdict(normal_interval(-earned)),
        "earned_eur": asdict(normal_interval(earned)),
        "earned_99_eur": asdict(normal_interval(earned, 0.99)),
        "score": asdict(paired_score(earned, zero, best)),
        "score_99": asdict(paired_score(earned, zero, best, 0.99)),
    }


def _indicators(played: MarketDays, agent: int, groups: slice) -> dict[str, Any]:
    """Means a day of what else is known; nothing is played where nothing moves."""
    if not played.totals.any():
        return {"customers_eur": 0.0, "settlement_eur": 0.0, "rms_magnetisation": 0.0}
    return {
        "customers_eur": float(played.customers_eur[:, groups].sum(axis=1).mean()),
        "welfare_eur": float(played.total("welfare_eur").mean()),
        "settlement_eur": float(played.settled_eur[:, agent].mean()),
        "directive_eur": float(played.total("directive_eur").mean()),
        "rms_magnetisation": float(np.sqrt(played.square[:, groups].mean())),
        "lowest_pu": float(played.total("lowest_pu").min()),
        "highest_pu": float(played.total("highest_pu").max()),
        "outside_pu_h": float(played.total("outside_pu_h").mean()),
        "losses_mwh": float(played.total("losses_mwh").mean()),
    }


def _tables(results: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and cells of each table."""
    found = []
    for (scenario, agent), group in groupby(
        results["rows"], key=lambda row: (row["scenario"], row["agent"])
    ):
        rows = list(group)
        guaranteed = any("guaranteed" in row for row in rows)
        paying = rows[0]["role"] == "aggregator"
        heads = [
            "policy", "EUR/day", "99 %", "score", "95 %",
            *(["guaranteed"] if guaranteed else []),
            *(["to customers"] if paying else []),
            "settlement", "rms m", "lowest pu", "losses MWh", "program's value",
        ]  # fmt: skip
        cells = [_cells(row, guaranteed, paying) for row in rows]
        found.append((f"{scenario}, {agent}, {rows[0]['customers']} customers", heads, cells))
    paper = results["paper"]
    for day, group in groupby(paper, key=lambda row: row["day"]):
        rows = list(group)
        heads = ["policy", rows[0]["unit"], "95 %", "score", "constraint missed"]
        cells = [
            [
                row["policy"],
                _number(row["value"]["mean"], 3),
                _ends(row["value"], 3),
                _number(row["score"], 1) if row["score"] is not None else "",
                f"{row['missed']:.1e}" if row["missed"] else "0",
            ]
            for row in rows
        ]
        found.append((f"{results['paper_title']}: {day}", heads, cells))
    return found


def _cells(row: dict[str, Any], guaranteed: bool, paying: bool) -> list[str]:
    def known(name: str, digits: int) -> str:
        return _number(row[name], digits) if name in row else ""

    value = known("value_eur", 3)
    if "value_inside" in row:
        value += " inside" if row["value_inside"] else " OUTSIDE"
    kind = " (no policy)" if row["kind"] == "bound" else ""
    return [
        row["policy"] + kind,
        _number(row["earned_eur"]["mean"], 2),
        _ends(row["earned_99_eur"], 2) if "earned_99_eur" in row else "",
        _number(row["score"]["mean"], 1),
        _ends(row["score"], 1),
        *([_number(row["guaranteed"]["mean"], 1) if "guaranteed" in row else ""] * guaranteed),
        *([known("customers_eur", 2)] * paying),
        known("settlement_eur", 2),
        known("rms_magnetisation", 2),
        known("lowest_pu", 3),
        known("losses_mwh", 2),
        value,
    ]


def _number(value: float, digits: int) -> str:
    # No "-0.0".
    return f"{value if abs(value) >= 0.5 * 10.0**-digits else 0.0:.{digits}f}"


def _ends(interval: dict[str, float], digits: int) -> str:
    return f"{_number(interval['low'], digits)} to {_number(interval['high'], digits)}"


def print_tables(results: dict[str, Any]) -> None:
    """Print the tables from the content of ``results.json``."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    if not console.is_terminal:
        # Into a file nothing needs to be cut.
        console = Console(soft_wrap=True, width=_WIDE)
    for title, heads, rows in _tables(results):
        table = Table(title=title, title_justify="left")
        for k, head in enumerate(heads):
            table.add_column(head, justify="right" if k else "left", no_wrap=k == 0)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def markdown_tables(results: dict[str, Any]) -> str:
    """The same in Markdown."""
    lines: list[str] = []
    for title, heads, rows in _tables(results):
        lines += [f"{title}:", "", _line(heads), "|---|" + "---:|" * (len(heads) - 1)]
        lines += [*map(_line, rows), ""]
    lines.append(
        f"{results['scenario']['days']} days each, seed {results['seed']}; the same days for every "
        "policy of a table. Prices are synthetic."
    )
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
