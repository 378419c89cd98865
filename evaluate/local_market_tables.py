"""Rows and tables of ``flexgym evaluate local-market``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.scenario import LocalMarketScenario
from flexgym.evaluate.local_market_contracts import CONTRACTS
from flexgym.evaluate.local_market_play import LEARNER, LocalDays, consumers_percent, gini, jain
from flexgym.evaluate.score import normal_interval, paired_score

EVERYBODY, ALONE = "everybody", "one among truthful others"
_WIDE = 200
_MORE = {
    EVERYBODY: (
        ("kWh/day", "traded_kwh", 1), ("fees", "fee_eur", 2),
        ("consumers' %", "consumers_percent", 0), ("Jain", "jain", 2), ("Gini", "gini", 2),
        ("gap %", "truth_gap_percent", 1),
    ),
    CONTRACTS: (
        ("forwards kWh", "forward_kwh", 1), ("calls kWh", "call_kwh", 1),
        ("delivered kWh", "delivered_kwh", 1), ("short kWh", "shortfall_kwh", 1),
        ("success rate", "success_rate", 2),
    ),
}  # fmt: skip
"""Further columns of a table: heading, key, digits."""


def rows_of_all(
    scenario: LocalMarketScenario,
    name: str,
    rule: str,
    played: Sequence[LocalDays],
    best_eur: Floats,
    gap_percent: float | None,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of policies that everybody follows.

    Args:
        scenario: The neighbourhood.
        name: Its name.
        rule: Who pays what.
        played: Days of each policy; the first is the utility alone and scores 0.
        best_eur: What the best trade adds to that, shape (m,), EUR a day; it scores 100.
        gap_percent: Of the truth, see `truth_gap_percent`; None where it is not known.
        seed: Of the days.
    """
    alone = played[0].reward_eur.sum(axis=1)
    rows = []
    for one in played:
        total = one.reward_eur.sum(axis=1)
        gains = one.reward_eur - played[0].reward_eur
        row = {
            "scenario": name,
            "who": EVERYBODY,
            "rule": rule,
            "policy": one.policy,
            "kind": "policy",
            "cost_eur": asdict(normal_interval(-total)),
            "gain_eur": asdict(normal_interval(total - alone)),
            "score": asdict(paired_score(total, alone, alone + best_eur)),
            "traded_kwh": float(one.traded_kwh.mean()),
            "fee_eur": float(one.fee_eur.mean()),
            "imbalance_eur": one.imbalance_eur,
        }
        if (gains > 1e-9).any():
            row |= {
                "jain": jain(gains),
                "gini": gini(gains),
                "consumers_percent": consumers_percent(scenario, gains, len(gains), seed),
            }
        if gap_percent is not None and one.policy == "truthful":
            row["truth_gap_percent"] = gap_percent
        rows.append(row)
    certain = alone + best_eur
    rows.append(
        {
            "scenario": name,
            "who": EVERYBODY,
            "rule": rule,
            "policy": "linear program",
            "kind": "bound",
            "cost_eur": asdict(normal_interval(-certain)),
            "gain_eur": asdict(normal_interval(best_eur)),
            "score": {"mean": 100.0, "low": 100.0, "high": 100.0},
        }
    )
    return rows


def rows_of_one(name: str, rule: str, played: Sequence[LocalDays]) -> list[dict[str, Any]]:
    """Rows of the policies of one participant among truthful others; the last scores 100."""
    zero, best = played[0].reward_eur[:, LEARNER], played[-1].reward_eur[:, LEARNER]
    return [
        {
            "scenario": name,
            "who": ALONE,
            "rule": rule,
            "policy": one.policy,
            "kind": "policy",
            "cost_eur": asdict(normal_interval(-one.reward_eur[:, LEARNER])),
            "gain_eur": asdict(normal_interval(one.reward_eur[:, LEARNER] - zero)),
            "score": asdict(paired_score(one.reward_eur[:, LEARNER], zero, best)),
        }
        for one in played
    ]


def _tables(results: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and cells of each table."""
    found = []
    titles = results["scenario"]["titles"]
    for (name, who), group in groupby(results["rows"], key=lambda r: (r["scenario"], r["who"])):
        rows = list(group)
        heads = ["rule", "policy", "EUR/day", "score", "95 %"]
        heads += [head for head, _, _ in _MORE.get(who, ())]
        cells = []
        for row in rows:
            kind = " (no policy)" if row["kind"] == "bound" else ""
            score = row["score"]
            line = [
                row["rule"], row["policy"] + kind, _number(row["gain_eur"]["mean"], 2),
                _number(score["mean"], 1),
                f"{_number(score['low'], 1)} to {_number(score['high'], 1)}",
            ]  # fmt: skip
            for _, key, digits in _MORE.get(who, ()):
                line.append(_number(row[key], digits) if key in row else "")
            cells.append(line)
        found.append((f"{titles[name]}, {who}", heads, cells))
    return found


def _number(value: float, digits: int) -> str:
    # No "-0.0".
    return f"{value if abs(value) >= 0.5 * 10.0**-digits else 0.0:.{digits}f}"


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
            table.add_column(head, justify="right" if k > 1 else "left", no_wrap=k <= 1)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def markdown_tables(results: dict[str, Any]) -> str:
    """The same in Markdown."""
    lines: list[str] = []
    for title, heads, rows in _tables(results):
        lines += [f"{title}:", "", _line(heads), "|---|---|" + "---:|" * (len(heads) - 2)]
        lines += [*map(_line, rows), ""]
    scenario = results["scenario"]
    imbalance = max(row.get("imbalance_eur", 0.0) for row in results["rows"])
    lines.append(
        f"{scenario['days']} {scenario['split']} days ({scenario['response_days']} for one among "
        f"truthful others and the gap), seed {results['seed']}; the same days for all. EUR/day: "
        "what is gained over the utility alone, by all or by the one. No hour's payments add up to "
        f"more than {imbalance:.0e} EUR. Tariffs and values are synthetic."
    )
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
