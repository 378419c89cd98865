"""What the comparison of policies on the feeder adds to their costs: gaps and their parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from flexgym.evaluate.feeder_sample import Days
from flexgym.evaluate.score import mean_interval

REFERENCE = "centralised"
PARTS = {
    "lack of prediction": ("menus-agnostic", "menus-forecast"),
    "lack of prediction, against a constant worth": ("menus-constant", "menus-forecast"),
    "forecast error": ("menus-forecast", "menus-foresight"),
    "network-blind planning": ("menus-foresight", "centralised"),
    "left with rehearsed prices, day known": ("menus-aware-foresight", "centralised"),
    "left with prices by column generation, day known": (
        "menus-coordinated-foresight",
        "centralised",
    ),
    "saved by rehearsed prices, day known": ("menus-foresight", "menus-aware-foresight"),
    "saved by rehearsed prices, forecast": ("menus-forecast", "menus-aware"),
    "saved by prices by column generation, forecast": ("menus-forecast", "menus-coordinated"),
    "rehearsed prices beside central control, same forecast": ("menus-aware", "central-mpc"),
    "prices by column generation beside central control, same forecast": (
        "menus-coordinated",
        "central-mpc",
    ),
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
