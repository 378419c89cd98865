"""Pictures of results: a day with its charts, scores with intervals, a training run.

matplotlib is imported inside the functions; figures are objects of their own, so nothing
here touches pyplot or its state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.dynamics import (
    BATTERY_KW,
    BUY,
    COST_EUR,
    COST_TERMS,
    LOAD,
    METER_KW,
    OUTCOME_NAMES,
    PV,
    PV_USED_KW,
    SELL,
    SOC_KWH,
    UNSERVED_KW,
)
from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import (
    COLOURS,
    DASHED,
    STYLE,
    clock_axis,
    edges_h,
    key,
    sunny,
)
from flexgym.envs.household.simulation import HouseholdSimulation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from flexgym.baselines.household import CostToGo

DPI = 150
LEVELS_CT = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Edges of the colours for extra cost, ct; the last colour holds everything above."""
_ROWS = 400
_TERMS = {
    "import_eur": "import",
    "export_eur": "export",
    "wear_eur": "wear",
    "unserved_eur": "unserved load",
    "terminal_eur": "energy left",
}


@contextmanager
def _picture(path: Path | str, width: float, height: float) -> Iterator[Figure]:
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


def day_charts(
    simulation: HouseholdSimulation, outcomes: Floats, solved: CostToGo
) -> list[FlexibilityChart]:
    """Flexibility chart of each period at the state of charge that was played.

    Args:
        simulation: One house at the end of its day.
        outcomes: What happened, shape (T, 13), columns `OUTCOME_NAMES`.
        solved: Cost-to-go of the same house and forecast.
    """
    episodes = simulation.episodes
    soc = np.concatenate([episodes.soc_kwh, outcomes[:-1, SOC_KWH]])
    known = solved.uncertainty is None
    return [
        solved.chart(
            t,
            float(soc[t]),
            state=None if known else int(episodes.state[t, 0]),
            load_kw=float(episodes.exogenous[t, LOAD, 0]),
            pv_kw=float(episodes.exogenous[t, PV, 0]),
        )
        for t in range(len(outcomes))
    ]


def dispatch_picture(
    path: Path | str,
    simulation: HouseholdSimulation,
    outcomes: Floats,
    solved: CostToGo,
    title: str,
) -> None:
    """Draw a day of one house: prices, powers, state of charge and flexibility charts.

    A chart tells the cost of a power at the meter if the house takes it in the cheapest way;
    a policy that curtails where it could have charged loses more than the colours show.

    Args:
        path: PNG to write.
        simulation: One house at the end of its day, from `flexgym.evaluate.rollout.trace`.
        outcomes: What happened, shape (T, 13), columns `OUTCOME_NAMES`.
        solved: Cost-to-go of the same house and forecast.
        title: Heading.

    Raises:
        ScenarioError: The simulation holds more than one house, or outcomes has another shape.
    """
    periods = len(simulation.episodes.exogenous)
    expected = (periods, len(OUTCOME_NAMES))
    if simulation.n != 1 or np.shape(outcomes) != expected:
        raise ScenarioError(
            f"got {simulation.n} houses and outcomes of shape {np.shape(outcomes)}; expected one "
            f"house and {expected}. Use trace(policy, house_days, index)."
        )
    with _picture(path, 10.0, 12.4) as figure:
        grid = figure.add_gridspec(
            4, 1, height_ratios=(1.1, 2.0, 0.9, 2.5), left=0.085, right=0.965, top=0.915,
            bottom=0.09, hspace=0.27,
        )  # fmt: skip
        panels = [figure.add_subplot(cell) for cell in grid]
        figure.text(0.085, 0.972, title, fontsize=15, fontweight="bold")
        figure.text(0.085, 0.951, _cost_line(outcomes), fontsize=11, color="#555555")
        edges = edges_h(periods)
        _prices(panels[0], edges, simulation)
        _powers(panels[1], edges, simulation, outcomes)
        _charge(panels[2], edges, simulation, outcomes)
        _charts(figure, panels[3], edges, day_charts(simulation, outcomes, solved), outcomes)
        for axes in panels:
            clock_axis(axes, labels=axes is panels[-1])


def _cost_line(outcomes: Floats) -> str:
    total = outcomes.sum(axis=0)
    terms = [(name, total[OUTCOME_NAMES.index(name)]) for name in COST_TERMS]
    parts = [f"{_TERMS[name]} {value:.2f}" for name, value in terms if abs(value) >= 0.005]
    text = ", ".join([f"cost {total[COST_EUR]:.2f} EUR", *parts])
    return text.replace(",", ":", 1).replace("-", "\N{MINUS SIGN}")


def _prices(axes: Axes, edges: Floats, simulation: HouseholdSimulation) -> None:
    played, planned = (
        100 * a[:, :, 0] for a in (simulation.episodes.exogenous, simulation.episodes.forecast)
    )
    axes.set_title("Prices, ct/kWh")
    blue, pink = COLOURS["import"], COLOURS["export"]
    axes.stairs(
        planned[:, BUY], edges, baseline=None, color=blue, lw=1.2, ls=DASHED,
        label="import, forecast",
    )  # fmt: skip
    axes.stairs(played[:, BUY], edges, baseline=None, color=blue, lw=2.0, label="import, realised")
    axes.stairs(played[:, SELL], edges, baseline=None, color=pink, lw=2.0, label="export")
    prices = np.concatenate([played[:, [BUY, SELL]], planned[:, [BUY, SELL]]])
    axes.set_ylim(1.1 * min(0.0, prices.min()), 1.1 * max(prices.max(), 1.0))
    key(axes)


def _powers(axes: Axes, edges: Floats, simulation: HouseholdSimulation, outcomes: Floats) -> None:
    now = simulation.episodes.exogenous[:, :, 0]
    used = outcomes[:, PV_USED_KW]
    axes.set_title("Power, kW")
    axes.axhline(0.0, color=COLOURS["quiet"], lw=0.8)
    if now[:, PV].max() > 0:
        orange = COLOURS["pv"]
        axes.stairs(used, edges, fill=True, color=orange, alpha=0.3, label="PV used")
        if (now[:, PV] - used).max() > 1e-6:
            axes.stairs(
                now[:, PV], edges, baseline=used, fill=True, facecolor="none", edgecolor=orange,
                hatch="////", lw=0, label="PV curtailed",
            )  # fmt: skip
        axes.stairs(sunny(now[:, PV]), edges, baseline=None, color=orange, lw=1.2)
    if outcomes[:, UNSERVED_KW].max() > 1e-6:
        axes.stairs(
            now[:, LOAD], edges, baseline=now[:, LOAD] - outcomes[:, UNSERVED_KW], fill=True,
            color="black", alpha=0.5, label="unserved",
        )  # fmt: skip
    axes.stairs(now[:, LOAD], edges, baseline=None, color=COLOURS["load"], lw=1.3, label="load")
    if simulation.house().battery is not None:
        axes.stairs(
            outcomes[:, BATTERY_KW], edges, fill=True, color=COLOURS["battery"], alpha=0.75,
            label="battery (charging > 0)",
        )  # fmt: skip
    axes.stairs(
        outcomes[:, METER_KW], edges, baseline=None, color=COLOURS["meter"], lw=2.0,
        label="meter (import > 0)",
    )  # fmt: skip
    key(axes)


def _charge(axes: Axes, edges: Floats, simulation: HouseholdSimulation, outcomes: Floats) -> None:
    axes.set_title("State of charge, kWh")
    battery = simulation.house().battery
    if battery is None or battery.capacity_kwh == 0.0:
        axes.text(
            0.5, 0.5, "no battery", ha="center", va="center", transform=axes.transAxes,
            color=COLOURS["quiet"],
        )  # fmt: skip
        axes.set_yticks([])
        return
    soc = np.concatenate([simulation.episodes.soc_kwh, outcomes[:, SOC_KWH]])
    axes.fill_between(edges, soc, color=COLOURS["battery"], alpha=0.3, lw=0)
    axes.plot(edges, soc, color=COLOURS["battery"], lw=2.0)
    axes.axhline(
        battery.capacity_kwh, color=COLOURS["quiet"], lw=1.2, ls=DASHED,
        label=f"capacity {battery.capacity_kwh:.1f} kWh",
    )  # fmt: skip
    axes.set_ylim(0.0, 1.12 * battery.capacity_kwh)
    key(axes)


def extra_cost_ct(charts: Sequence[FlexibilityChart], power_kw: Floats) -> Floats:
    """Cost above each chart's least cost, shape (powers, periods), ct; nan if not feasible."""
    extra = np.stack([chart.cost(power_kw) - chart.cost_eur.min() for chart in charts], axis=1)
    return 100.0 * np.where(np.isfinite(extra), extra.clip(0.0), np.nan)


def _charts(
    figure: Figure,
    axes: Axes,
    edges: Floats,
    charts: Sequence[FlexibilityChart],
    outcomes: Floats,
) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.patheffects import Normal, Stroke

    low = np.array([chart.power_kw[0] for chart in charts])
    high = np.array([chart.power_kw[-1] for chart in charts])
    margin = 0.06 * max(high.max() - low.min(), 1.0)
    bottom, top = low.min() - margin, high.max() + margin
    levels = np.linspace(bottom, top, _ROWS + 1)
    extra = extra_cost_ct(charts, 0.5 * (levels[1:] + levels[:-1]))
    shades = ListedColormap(colormaps["YlGnBu"](np.linspace(0.06, 0.95, len(LEVELS_CT))))
    norm = BoundaryNorm(LEVELS_CT, shades.N, extend="max")
    image = axes.pcolormesh(
        edges, levels, np.ma.masked_invalid(extra), cmap=shades, norm=norm, rasterized=True
    )
    for values in (low, high):
        axes.stairs(values, edges, baseline=None, color="#1a1a1a", lw=0.9)
    axes.stairs(
        outcomes[:, METER_KW], edges, baseline=None, color=COLOURS["meter"], lw=2.8,
        label="meter power played", path_effects=[Stroke(linewidth=4.6, foreground="w"), Normal()],
    )  # fmt: skip
    axes.plot(
        0.5 * (edges[1:] + edges[:-1]), [chart.best_power_kw for chart in charts], "o", ms=3.4,
        color="black", mec="white", mew=0.5, label="cheapest power",
    )  # fmt: skip
    axes.set_ylim(bottom, top)
    axes.grid(visible=False)
    axes.set_title("Flexibility charts: power at the meter, kW")
    key(axes)
    box = axes.get_position()
    bar = figure.colorbar(
        image,
        cax=figure.add_axes((box.x0 + 0.42 * box.width, 0.045, 0.58 * box.width, 0.012)),
        orientation="horizontal",
        extend="max",
        ticks=LEVELS_CT,
        spacing="uniform",
    )
    bar.ax.set_xticklabels([f"{level:g}" for level in LEVELS_CT])
    bar.outline.set_linewidth(0.6)  # type: ignore[operator]
    figure.text(
        box.x0, 0.051, "extra cost over the cheapest power, ct",
        fontsize=10.5, va="center", color="#333333",
    )  # fmt: skip


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
    with _picture(path, 9.0, height) as figure:
        axes = figure.add_axes((start, 0.72 / height, 0.90 - start, 1 - 1.50 / height))
        figure.text(0.015, 1 - 0.36 / height, _headline(results), fontsize=14, fontweight="bold")
        for x, name in ((0.0, "battery idle"), (100.0, "exact optimum")):
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
    # A policy that starts far below idle must not squeeze everything else together.
    bottom, top = max(least, -40.0) - 4.0, max(105.0, float(np.nanmax(y)) + 3.0)
    names = {
        label: f"{label} {value:.1f}" if label in reference else f"{label} 100"
        for label, value in lines.items()
    }
    margin = (0.35 + 0.085 * max(len(name) for name in names.values())) / 9.0
    with _picture(path, 9.0, 5.0) as figure:
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
        axes.set_ylabel("0 = battery idle, 100 = exact optimum")


def _apart(values: Sequence[float], distance: float) -> list[float]:
    """Places at least ``distance`` apart, as near to ``values`` as pushing upwards allows."""
    places = [0.0] * len(values)
    last = -np.inf
    for k in np.argsort(values):
        last = max(values[k], last + distance)
        places[k] = last
    return places
