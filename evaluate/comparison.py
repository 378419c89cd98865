"""What the comparison of policies on the feeder adds to their costs: gaps, payments, effort."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from flexgym.evaluate.feeder_sample import Days
from flexgym.evaluate.score import mean_interval

Cell = Callable[[dict[str, Any], int], str]
REFERENCE = "centralised"
PARTS = {
    "lack of prediction": ("menus-agnostic", "menus-forecast"),
    "forecast error": ("menus-forecast", "menus-foresight"),
    "network-blind planning": ("menus-foresight", "centralised"),
    "left with network-aware planning, day known": ("menus-aware-foresight", "centralised"),
    "left with network-aware planning, forecast": ("menus-aware", "centralised"),
    "saved by network-aware planning, day known": ("menus-foresight", "menus-aware-foresight"),
    "saved by network-aware planning, forecast": ("menus-forecast", "menus-aware"),
    "network-aware menus beside central control, same forecast": ("menus-aware", "central-mpc"),
}
"""Parts of the gap to the optimum: cost of the first policy minus that of the second."""


def gap(policy: Days, reference: Days, seed: int) -> dict[str, Any]:
    """Cost of a policy above another's on the same days: mean with interval, median, most."""
    apart = policy.cost_eur - reference.cost_eur
    return {
        **asdict(mean_interval(apart, seed)),
        "median": float(np.median(apart)),
        "most": float(apart.max()),
    }


def gap_parts(played: Mapping[str, Days], seed: int) -> list[dict[str, Any]]:
    """The parts whose two policies were both played."""
    return [
        {"part": part, "from": a, "to": b, "eur": gap(played[a], played[b], seed)}
        for part, (a, b) in PARTS.items()
        if a in played and b in played
    ]


def menu_figures(played: Days) -> dict[str, float]:
    """Means a day of what is known of a policy besides its costs; see `settled`."""
    found = {}
    for name, values in played.figures.items():
        known = values[np.isfinite(values)]
        if len(known):
            most = name.endswith(("_worst_eur", "_most"))
            found[name] = float(known.max() if most else known.mean())
    return found


def _per_house_s(row: dict[str, Any], houses: int) -> str:
    return f"{row['plan_s'] / houses:.2f}" if "plan_s" in row else ""


def _per_house_ms(row: dict[str, Any], houses: int) -> str:
    return f"{1e3 * row['menu_s'] / houses / 96:.2f}" if "menu_s" in row else ""


def _operator_ms(row: dict[str, Any], houses: int) -> str:
    return f"{1e3 * row['clear_s'] / 96:.1f}" if "clear_s" in row else ""


def _plain(key: str, form: str) -> Cell:
    return lambda row, houses: format(row[key], form) if key in row else ""


def _rule(rule: str) -> Cell:
    def cell(row: dict[str, Any], houses: int) -> str:
        if f"{rule}_deficit_eur" not in row:
            return ""
        worse, worst = row[f"{rule}_worse"], row[f"{rule}_worst_eur"]
        text = f"{row[f'{rule}_deficit_eur']:.1f}"
        return f"{text}; {worse:.0f} (by {worst:.2f})" if worst > 1e-6 else f"{text}; 0"

    return cell


LINES = {
    "least any fair rule pays, EUR/day": _plain("least_deficit_eur", ".1f"),
    "pay-as-bid: paid; houses worse off (by EUR)": _rule("pay-as-bid"),
    "DLMP, own choice of the moment": _rule("marginal"),
    "DLMP, plan of the day": _rule("day-plan"),
    "Jain's index of the latter's payments": _plain("day-plan_jain", ".2f"),
    "gain of a plan declared 10 % too large, EUR": _plain("inflation_gain_eur", ".2f"),
    "menus moved from own choice, %": _plain("moved_percent", ".1f"),
    "periods without a feasible answer": _plain("infeasible_periods", ".1f"),
    "feasible periods that AC finds violated": _plain("unclean_periods", ".1f"),
    "bytes a house and period": _plain("bytes_per_period", ".0f"),
    "offline, s a house": _per_house_s,
    "online, ms a house and period": _per_house_ms,
    "online, ms an operator and period": _operator_ms,
}
"""Further lines of the table: cells from a row and the number of houses."""


def lines(rows: Sequence[dict[str, Any]], houses: int) -> dict[str, list[str]]:
    """Those of `LINES` that some policy has a figure for."""
    found = {label: [cell(row, houses) for row in rows] for label, cell in LINES.items()}
    return {label: cells for label, cells in found.items() if any(cells)}
