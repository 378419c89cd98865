"""Picture of one flexibility chart: what every pair of powers costs beyond the best one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import COLOURS, key
from flexgym.evaluate.pictures import INK, LEVELS_CT, cost_bar, cost_colours, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import BoundaryNorm, Colormap

_PANEL = 7.4
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.8, 0.3, 1.45, 1.2
"""Inches: the panel's width and what stands around it."""
_MANY = 80
"""More vertices than this are not drawn: the dots would hide the cost."""


def chart_picture(path: Path | str, chart: FlexibilityChart, title: str) -> None:
    """Draw the feasible pairs of active and reactive power, coloured by their extra cost.

    Colours end where the cost does, exactly: it is linear between the vertices. Equal
    distances are equal powers on both axes, so a rating looks round.

    Args:
        path: PNG to write.
        chart: The chart; a segment or a single point is drawn as such.
        title: Heading.
    """
    shades, norm = cost_colours()
    best = chart.best
    low, high, tall = _limits(chart.vertices)
    width, height = _LEFT + _PANEL + _RIGHT, _BOTTOM + tall + _TOP
    left = _LEFT / width
    with picture(path, width, height) as figure:
        figure.text(left, 1 - 0.4 / height, title, fontsize=15, fontweight="bold", color=INK)
        figure.text(left, 1 - 0.68 / height, _summary(chart), fontsize=11, color="#555555")
        axes = figure.add_axes((left, _BOTTOM / height, _PANEL / width, tall / height))
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        for line in (axes.axhline, axes.axvline):
            line(0.0, color=COLOURS["quiet"], lw=0.9, zorder=1.5)
        _region(axes, chart, shades, norm)
        axes.plot(
            *best, "o", ms=11, mfc="white", mec=COLOURS["meter"], mew=2.6, zorder=6,
            label=f"cheapest: {_number(best[0])} kW, {_number(best[1])} kvar",
        )  # fmt: skip
        axes.set_xlabel("active power at the meter, kW (import > 0)")
        axes.set_ylabel(("reactive power, " if tall > 3.5 else "") + "kvar (inductive > 0)")
        key(axes)
        text = "extra cost over the cheapest pair, ct"
        cost_bar(figure, (left, _PANEL / width), 0.5 / height, 0.14 / height, text)


def _number(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


def _summary(chart: FlexibilityChart) -> str:
    p, q, cost = chart.vertices.T
    spans = [
        f"{_number(a.min())} to {_number(a.max())} {unit}" for a, unit in ((p, "kW"), (q, "kvar"))
    ]
    dearest = f"up to {100 * np.ptp(cost):.3g} ct extra"
    count = f"{len(p)} {'vertex' if len(p) == 1 else 'vertices'}"
    return ", ".join([*spans, dearest, count])


def _region(axes: Axes, chart: FlexibilityChart, shades: Colormap, norm: BoundaryNorm) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.tri import Triangulation

    p, q, cost = chart.vertices.T
    extra = 100.0 * (cost - cost.min())
    corners = chart.triangles.shape[1]
    if corners == 3:
        mesh = Triangulation(p, q, chart.triangles)
        axes.tricontourf(
            mesh, extra, levels=LEVELS_CT, cmap=shades, norm=norm, extend="max", zorder=1
        )
        inner = [level for level in LEVELS_CT[1:] if level < extra.max()]
        if inner:
            axes.tricontour(mesh, extra, levels=inner, colors="white", linewidths=0.9, zorder=1.2)
        axes.plot(*_outline(chart.vertices).T, color=INK, lw=1.4, zorder=4)
    elif corners == 2:
        # A segment: many short pieces, each in the colour of its middle.
        ends = chart.vertices[[0, -1], :2]
        line = ends[0] + np.linspace(0.0, 1.0, 601)[:, None] * (ends[1] - ends[0])
        middle = 0.5 * (line[1:] + line[:-1])
        axes.plot(*ends.T, color=INK, lw=15.0, solid_capstyle="butt", zorder=3)
        strip = LineCollection(
            list(np.stack([line[:-1], line[1:]], axis=1)), lw=12.0, cmap=shades, norm=norm,
            zorder=3, capstyle="butt", antialiaseds=False,
        )  # fmt: skip
        strip.set_array(100.0 * (chart.cost(*middle.T) - cost.min()))
        axes.add_collection(strip)
    if 1 < len(p) <= _MANY:
        axes.plot(p, q, "o", ms=4.0, color=INK, mec="white", mew=0.5, zorder=5, label="vertices")


def _outline(vertices: Floats) -> Floats:
    """Corners of the region in order, the first once more at the end."""
    from scipy.spatial import ConvexHull

    order = ConvexHull(vertices[:, :2]).vertices
    return vertices[np.append(order, order[0]), :2]


def _limits(vertices: Floats) -> tuple[Floats, Floats, float]:
    """Least and largest powers shown, kW and kvar, and the panel's height, inches."""
    low, high = vertices[:, :2].min(axis=0), vertices[:, :2].max(axis=0)
    margin = max(0.06 * float((high - low).max()), 0.5)
    low, high = low - margin, high + margin
    tall = float(np.clip(_PANEL * (high - low)[1] / (high - low)[0], 2.6, 6.6))
    kw_per_inch = max((high - low)[0] / _PANEL, (high - low)[1] / tall)
    middle, half = 0.5 * (low + high), 0.5 * kw_per_inch * np.array([_PANEL, tall])
    return middle - half, middle + half, tall
