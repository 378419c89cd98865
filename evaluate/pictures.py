"""Pictures of results: scores with intervals, a training run.

matplotlib is imported inside the functions; figures are objects of their own, so nothing
here touches pyplot or its state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import COLOURS, STYLE

if TYPE_CHECKING:
    from matplotlib.colors import BoundaryNorm, Colormap
    from matplotlib.figure import Figure


DPI = 150
INK = "#1a1a1a"
"""Colour of titles, outlines and marks."""
LEVELS_CT = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Edges of the colours for extra cost, ct; the last colour holds everything above."""


@contextmanager
def picture(path: Path | str, width: float, height: float) -> Iterator[Figure]:
    """A figure that is written to ``path`` as PNG at the end."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DPI, format="png")


def cost_colours() -> tuple[Colormap, BoundaryNorm]:
    """Colours of extra cost, one between two levels and one above the last."""
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm, ListedColormap

    shades = ListedColormap(colormaps["YlGnBu"](np.linspace(0.06, 0.95, len(LEVELS_CT))))
    return shades, BoundaryNorm(LEVELS_CT, shades.N, extend="max")


def cost_bar(
    figure: Figure, panel: tuple[float, float], bottom: float, height: float, text: str
) -> None:
    """Colour bar of extra cost below a panel, and beside it what it means.

    Args:
        figure: The figure.
        panel: Left edge and width of the panel, as shares of the figure.
        bottom: Lower edge of the bar, likewise.
        height: Its height, likewise.
        text: What the colours mean.
    """
    from matplotlib.cm import ScalarMappable

    shades, norm = cost_colours()
    left, width = panel
    bar = figure.colorbar(
        ScalarMappable(norm, shades),
        cax=figure.add_axes((left + 0.42 * width, bottom, 0.58 * width, height)),
        orientation="horizontal",
        extend="max",
        ticks=LEVELS_CT,
        spacing="uniform",
    )
    bar.ax.set_xticklabels([f"{level:g}" for level in LEVELS_CT])
    bar.outline.set_linewidth(0.6)  # type: ignore[operator]
    figure.text(left, bottom + 0.5 * height, text, fontsize=10.5, va="center", color="#333333")


def score_picture(path: Path | str, results: Mapping[str, Any]) -> None:
    """Draw the scores of ``results.json`` with their 95 % intervals.

    Args:
        path: PNG to write.
        results: The file's contents; rows need ``policy`` and ``score`` with ``mean``,
            ``low`` and ``high``; ``kind`` is ``"bound"`` where nothing can play it.

    Raises:
        ScenarioError: There is no row with a score.
    """
    rows = [row for row in results.get("rows", ()) if row.get("score")]
    if not rows:
        raise ScenarioError("results hold no row with a score; expected at least one policy.")
    rows.sort(key=lambda row: (_is_bound(row), row["score"]["mean"]))
    means = [row["score"]["mean"] for row in rows]
    reach = [_ends(row["score"]) for row in rows]
    left = max(min(-8.0, min(low for low, _ in reach) - 6.0), -100.0)
    right = max(108.0, max(high for _, high in reach) + 4.0)
    labels = [_label(row) for row in rows]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    start = min(0.35 + 0.095 * longest, 4.0) / 9.0
    height = 1.85 + 0.46 * len(rows)
    with picture(path, 9.0, height) as figure:
        axes = figure.add_axes((start, 0.72 / height, 0.90 - start, 1 - 1.50 / height))
        figure.text(0.015, 1 - 0.36 / height, _headline(results), fontsize=14, fontweight="bold")
        for x, name in ((0.0, "uncontrolled"), (100.0, "exact optimum")):
            axes.axvline(x, color="#333333", lw=1.2, zorder=1)
            axes.text(
                x, 1.01, name, ha="center", va="bottom", fontsize=10.5, color="#333333",
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
        for y, (row, mean, (low, high)) in enumerate(zip(rows, means, reach, strict=True)):
            bound = _is_bound(row)
            colour = COLOURS["quiet"] if bound else COLOURS["import"]
            at = max(mean, left + 1.0)
            if not bound:
                axes.barh(y, at, height=0.5, color=colour, alpha=0.25, zorder=2)
            axes.plot([max(low, left), high], [y, y], color=colour, lw=2.4, zorder=3)
            shape = "<" if mean < left else ("D" if bound else "o")
            axes.plot(
                at, y, shape, ms=8, color="white" if bound else colour, mec=colour, mew=1.6,
                zorder=4,
            )  # fmt: skip
            number = f"{mean + 0.0:.1f}".replace("-", "\N{MINUS SIGN}")
            axes.text(
                1.0 + 0.073 / (0.90 - start), y, number, ha="right", va="center", color=colour,
                fontweight="bold", transform=axes.get_yaxis_transform(),
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), labels)
        axes.tick_params(axis="y", length=0, labelsize=11.5, labelcolor="#1a1a1a")
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(left, right)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlabel("score: share of the exact optimum's saving, %; lines are 95 % intervals")


def _headline(results: Mapping[str, Any]) -> str:
    scenario = results.get("scenario")
    title = scenario.get("title") if isinstance(scenario, Mapping) else scenario
    return str(title or results.get("environment") or "Scores")


def _is_bound(row: Mapping[str, Any]) -> bool:
    return row.get("kind") == "bound"


def _ends(score: Mapping[str, float]) -> tuple[float, float]:
    """Interval of a score; its mean where none was measured."""
    low, high = (score.get(name) for name in ("low", "high"))
    mean = score["mean"]
    return (mean if low is None else low), (mean if high is None else high)


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['policy']}\n(bound, not a policy)" if _is_bound(row) else row["policy"]


def training_picture(
    path: Path | str,
    timesteps: Sequence[float] | Floats,
    scores: Sequence[float] | Floats,
    reference: Mapping[str, float],
) -> None:
    """Draw the validation score of a training run against the frames it has seen.

    Args:
        path: PNG to write.
        timesteps: Frames seen at each evaluation, shape (k,).
        scores: Score on the validation days, shape (k,).
        reference: Scores of other policies on the same days by name, drawn as lines.

    Raises:
        ScenarioError: There is nothing to draw, or the two lengths differ.
    """
    x, y = np.asarray(timesteps, dtype=float), np.asarray(scores, dtype=float)
    if x.ndim != 1 or x.shape != y.shape or not np.isfinite(y).any():
        raise ScenarioError(
            f"got timesteps of shape {x.shape} and scores of shape {y.shape}; expected (k,) "
            "twice and at least one score."
        )
    unit, name = (1e6, "million frames") if x.max() >= 1e6 else (1e3, "thousand frames")
    x = x / unit
    lines = {**reference, "exact optimum": 100.0}
    least = min(np.nanmin(y), *lines.values(), 0.0)
    # A policy that starts far below zero must not squeeze everything else together.
    bottom, top = max(least, -40.0) - 4.0, max(105.0, float(np.nanmax(y)) + 3.0)
    names = {
        label: f"{label} {value:.1f}" if label in reference else f"{label} 100"
        for label, value in lines.items()
    }
    margin = (0.35 + 0.085 * max(len(name) for name in names.values())) / 9.0
    with picture(path, 9.0, 5.0) as figure:
        axes = figure.add_axes((0.085, 0.125, 0.91 - margin, 0.775))
        axes.set_title("Score on validation days", fontsize=14, pad=10)
        places = _apart([max(v, bottom) for v in lines.values()], 0.052 * (top - bottom))
        for (label, value), place in zip(lines.items(), places, strict=True):
            axes.axhline(value, color=COLOURS["quiet"], lw=1.3, ls=(0, (4, 2)), zorder=1)
            axes.annotate(
                names[label], (1.0, value), (1.025, place), xycoords=axes.get_yaxis_transform(),
                textcoords=axes.get_yaxis_transform(), va="center", color="#333333",
                arrowprops={
                    "arrowstyle": "-", "color": COLOURS["quiet"], "lw": 0.8, "relpos": (0.0, 0.5)
                },
                annotation_clip=False,
            )  # fmt: skip
        colour = COLOURS["import"]
        axes.plot(x, y, "-o", color=colour, ms=4, lw=2.0, zorder=3)
        best = int(np.nanargmax(y))
        axes.plot(x[best], y[best], "o", ms=9, mfc="white", mec=colour, mew=2.2, zorder=4)
        axes.annotate(
            f"best {y[best]:.1f}", (x[best], y[best]), (0, -15), textcoords="offset points",
            ha="right" if x[best] > 0.88 * x.max() else "center", va="top",
            color=colour, fontweight="bold", zorder=5,
            bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.85},
        )  # fmt: skip
        if np.nanmin(y) < bottom:
            lowest = f"{np.nanmin(y):.0f}".replace("-", "\N{MINUS SIGN}")
            axes.text(
                0.99, 0.02, f"lowest score {lowest}, below the picture", color=colour,
                ha="right", transform=axes.transAxes,
            )  # fmt: skip
        axes.set_ylim(bottom, top)
        axes.set_xlim(0.0, 1.02 * max(x.max(), 1e-9))
        axes.set_xlabel(name)
        axes.set_ylabel("0 = uncontrolled, 100 = exact optimum")


def _apart(values: Sequence[float], distance: float) -> list[float]:
    """Places at least ``distance`` apart, as near to ``values`` as pushing upwards allows."""
    places = [0.0] * len(values)
    last = -np.inf
    for k in np.argsort(values):
        last = max(values[k], last + distance)
        places[k] = last
    return places
