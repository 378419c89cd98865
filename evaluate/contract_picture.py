"""Pictures of what contracts, spot and utility cost hour by hour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import COLOURS
from flexgym.evaluate.pictures import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

START_H = 6
_ORDER = ("import", "pv", "battery", "meter", "export", "car", "load", "quiet")


def cash_flow_picture(
    path: Path | str,
    flows_eur: Mapping[str, ArrayLike],
    title: str,
    reference: tuple[str, ArrayLike] | None = None,
) -> None:
    """Draw what is paid in every hour, stacked by kind; what is received stands below zero.

    Args:
        path: PNG to write.
        flows_eur: By name (forward, premium, ...), paid above 0, shape (T,), EUR.
        title: What is shown.
        reference: Name and sum in every hour of something to compare with, drawn as a line.

    Raises:
        ScenarioError: There is nothing to draw, or lengths differ.
    """
    with picture(path, 9.0, 4.4) as figure:
        axes = figure.add_axes((0.09, 0.13, 0.885, 0.66))
        figure.text(0.015, 0.93, title, fontsize=14, fontweight="bold")
        draw_cash_flows(axes, flows_eur, reference)


def draw_cash_flows(
    axes: Axes, flows_eur: Mapping[str, ArrayLike], reference: tuple[str, ArrayLike] | None = None
) -> None:
    """The panel of `cash_flow_picture`, with its legend above."""
    flows = {name: np.asarray(values, dtype=np.float64) for name, values in flows_eur.items()}
    lengths = {values.shape for values in flows.values()}
    if reference is not None:
        lengths.add(np.shape(reference[1]))
    if len(lengths) != 1 or len(next(iter(lengths))) != 1:
        raise ScenarioError(
            f"cash flows have shapes {sorted(lengths)}; expected one (T,) for all, at least one."
        )
    hours = next(iter(lengths))[0]
    clock = START_H + np.arange(hours)
    above, below = np.zeros((2, hours))
    for (name, values), colour in zip(flows.items(), _cycled(len(flows)), strict=True):
        base = np.where(values >= 0.0, above, below)
        axes.bar(clock + 0.5, values, bottom=base, width=0.82, color=COLOURS[colour], label=name)
        above, below = above + values.clip(0.0), below + values.clip(max=0.0)
    if reference is not None:
        sums: Floats = np.asarray(reference[1], dtype=np.float64)
        edges = np.append(clock, clock[-1] + 1)
        axes.stairs(
            sums, edges, color="#1a1a1a", lw=1.4, ls=(0, (3, 2)), label=reference[0], baseline=None
        )
    axes.axhline(0.0, color="#333333", lw=1.0)
    axes.set_xlim(clock[0], clock[-1] + 1)
    ticks = np.arange(START_H, clock[-1] + 2, 3)
    axes.set_xticks(ticks, [f"{hour % 24:02d}:00" for hour in ticks])
    axes.set_ylabel("paid, EUR")
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.02),
        ncols=min(len(flows) + 1, 6),
        borderaxespad=0.0,
    )


def _cycled(count: int) -> list[str]:
    return [_ORDER[k % len(_ORDER)] for k in range(count)]
