"""Picture of the future: what stored energy is worth at every time of the day."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.render import COLOURS, DASHED, clock_axis, edges_h, key
from flexgym.evaluate.cost_grid import CarValues, CostGrid, cost_grid
from flexgym.evaluate.pictures import INK, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import BoundaryNorm, Colormap
    from matplotlib.figure import Figure

    from flexgym.baselines.household import CostToGo

_LEFT, _RIGHT, _BAR = 0.85, 1.25, 0.16
_TOP, _BOTTOM, _GAP = 1.15, 0.45, 0.55
_WIDTH, _SHORT, _TALL = 10.0, 1.35, 1.95
_TIP = 0.16
"""Inches: margins, the colour bar's width, the gap between panels, their sizes, the bar's tip."""
_STEPS_CT = (1.0, 2.0, 2.5, 5.0, 10.0, 20.0, 50.0, 100.0)


def cost_map_picture(
    path: Path | str,
    solved: CostToGo,
    *,
    state: int | None = None,
    title: str = "What the future costs",
) -> None:
    """Draw the cost-to-go of a day over time and stored energy.

    Above the expected cost to the end of the day; below it what the energy in the battery
    saves of that, and the value of one more kWh in battery and car. In the panels of the
    battery the car, while it is there, is on a straight line from what it brings to what it
    needs; in the car's panel the battery is half full.

    Args:
        path: PNG to write.
        solved: Cost-to-go of one house-day.
        state: Markov state at each time; None averages over the stationary distribution.
        title: Heading.

    Raises:
        ScenarioError: Unknown state, or there is neither a battery nor a visit of the car.
    """
    values = cost_grid(solved, state=state)
    battery = len(values.soc_kwh) > 1
    tall = [_TALL] * (2 * battery + bool(values.visits))
    height = _TOP + _SHORT + sum(tall) + _GAP * len(tall) + _BOTTOM
    edges = edges_h(len(solved.series))
    with picture(path, _WIDTH, height) as figure:
        left = _LEFT / _WIDTH
        figure.text(left, 1 - 0.4 / height, title, fontsize=15, fontweight="bold", color=INK)
        figure.text(left, 1 - 0.68 / height, _summary(solved, state), fontsize=11, color="#555555")
        panels, top = [], height - _TOP
        for size in (_SHORT, *tall):
            box = (left, (top - size) / height, 1 - left - _RIGHT / _WIDTH, size / height)
            panels.append(figure.add_axes(box))
            top -= size + _GAP
        _costs(panels[0], edges, values)
        shades, norm = _value_colours(values, solved)
        if battery:
            _saved(panels[1], edges, values)
            panels[2].pcolormesh(
                edges, values.soc_kwh, values.value_ct[:-1].T, cmap=shades, norm=norm,
                rasterized=True,
            )  # fmt: skip
            panels[2].set_title("Value of one more kWh in the battery")
            panels[2].set_ylabel("in the battery, kWh")
        if values.visits:
            _car(panels[-1], edges, values.visits, shades, norm)
            half = ", battery half full" if battery else ""
            panels[-1].set_title("Value of one more kWh in the car" + half)
        below = panels[2:] if battery else panels[1:]
        _bar(figure, below, shades, norm)
        figure.align_ylabels(panels)
        for axes in panels:
            clock_axis(axes, labels=axes is panels[-1])
            if len(edges) != STEPS_PER_DAY + 1:
                axes.set_xlim(edges[0], edges[-1])
            for session in solved.series.sessions if solved.house.car else ():
                for period in (session.arrival, session.departure):
                    axes.axvline(edges[period], color=INK, lw=1.1, ls=(0, (1, 1.5)), zorder=2.5)
            if axes is not panels[0]:
                axes.grid(visible=False)
            key(axes)


def _summary(solved: CostToGo, state: int | None) -> str:
    model = solved.uncertainty
    if model is None or model.n_states == 1:
        about = "the day is known"
    elif state is None:
        about = "expected, whatever weather and price are at the time"
    else:
        weather, price = model.weather_factor[state], model.price_factor[state]
        about = f"expected, given PV at {weather:g} and price at {price:g} times the forecast"
    exact = solved.gap_eur == 0.0
    return about + (", exact" if exact else f", certified within {100 * solved.gap_eur:.2g} ct")


def _costs(axes: Axes, edges: Floats, values: CostGrid) -> None:
    axes.set_title("Expected cost from then on, EUR")
    cost, green = values.cost_eur, COLOURS["battery"]
    axes.axhline(0.0, color=COLOURS["quiet"], lw=0.8)
    if len(values.soc_kwh) > 1:
        axes.fill_between(edges, cost[:, 0], cost[:, -1], color=green, alpha=0.2, lw=0)
        axes.plot(edges, cost[:, 0], color=INK, lw=1.6, label="battery empty")
        axes.plot(
            edges, cost[:, cost.shape[1] // 2], color=green, lw=1.4, ls=DASHED, label="half full"
        )
        axes.plot(edges, cost[:, -1], color=green, lw=1.8, label="full")
    else:
        axes.plot(edges, cost[:, 0], color=INK, lw=1.6)
    axes.margins(y=0.08)
    axes.locator_params(axis="y", nbins=5)


def _saved(axes: Axes, edges: Floats, values: CostGrid) -> None:
    from matplotlib import colormaps

    saved, times = values.saved_eur, edges
    axes.set_title("What the energy in the battery saves, EUR")
    axes.set_ylabel("in the battery, kWh")
    levels = _levels(float(min(saved.min(), 0.0)), float(saved.max()), 9, (0.1, 0.2, 0.25, 0.5))
    shades = colormaps["YlGnBu"].resampled(256)
    filled = axes.contourf(times, values.soc_kwh, saved.T, levels=levels, cmap=shades)
    axes.contour(
        times, values.soc_kwh, saved.T, levels=levels[1:-1], colors="white", linewidths=0.9
    )
    figure: Any = axes.figure
    _bar_beside(figure, [axes], filled, levels, "EUR")


def _levels(low: float, high: float, most: int, steps: tuple[float, ...]) -> Floats:
    """Round levels around a range, at most so many steps; the lowest may cut a fifth of one."""
    spread = max(high - low, 1e-9)
    scaled = [s * 10.0**k for k in range(-6, 6) for s in steps if s * 10.0**k * most >= spread]
    step = min(scaled)
    first, last = np.floor(low / step + 0.2), np.ceil(high / step - 0.01)
    return step * np.arange(first, max(last, first + 1) + 1)


def _value_colours(values: CostGrid, solved: CostToGo) -> tuple[Colormap, BoundaryNorm]:
    """One scale for battery and car up to the highest import price, and a colour above it.

    Above it energy is scarce: more of it would keep a car from missing it or a load unserved.
    """
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm, ListedColormap

    parts = [visit.value_ct.ravel() for visit in values.visits]
    if len(values.soc_kwh) > 1:
        parts.append(values.value_ct.ravel())
    seen = np.concatenate(parts)
    factor = solved.uncertainty.price_factor.max() if solved.uncertainty else 1.0
    dear = 100.0 * float(factor * solved.series.import_eur_per_kwh.max())
    usual = seen[seen <= dear] if (seen <= dear).any() else seen
    levels = _levels(float(usual.min()), float(usual.max()), 10, _STEPS_CT)
    above = bool((seen > levels[-1] + 0.5 * (levels[-1] - levels[-2])).any())
    colours = colormaps["YlGnBu"](np.linspace(0.06, 0.95, len(levels) - 1))
    if above:
        from matplotlib.colors import to_rgba

        colours = np.vstack([colours, to_rgba(COLOURS["meter"])])
    shades = ListedColormap(colours)
    return shades, BoundaryNorm(levels, shades.N, extend="max" if above else "neither")


def _car(
    axes: Axes,
    edges: Floats,
    visits: tuple[CarValues, ...],
    shades: Colormap,
    norm: BoundaryNorm,
) -> None:
    axes.set_ylabel("in the car, kWh")
    axes.set_facecolor("#f2f2f2")
    for k, visit in enumerate(visits):
        at = edges[visit.session.arrival : visit.session.departure + 1]
        axes.pcolormesh(
            at, visit.car_kwh, visit.value_ct.T, cmap=shades, norm=norm, rasterized=True
        )
        for path, style, name in (
            (visit.early_kwh, "-", "earliest"),
            (visit.late_kwh, DASHED, "latest"),
        ):
            axes.plot(
                at,
                path,
                color=INK,
                lw=1.6,
                ls=style,
                zorder=4,
                clip_on=False,
                label=None if k else name,
            )
        axes.plot(
            at[-1], visit.session.needed_kwh, "D", ms=7, color=INK, mec="white", clip_on=False,
            zorder=5, label=None if k else "needed",
        )  # fmt: skip
    low = min(float(v.car_kwh[0]) for v in visits)
    high = max(max(float(v.car_kwh[-1]), v.session.needed_kwh) for v in visits)
    axes.set_ylim(low, high)


def _bar(figure: Figure, panels: list[Axes], shades: Colormap, norm: BoundaryNorm) -> None:
    from matplotlib.cm import ScalarMappable

    bar = _bar_beside(figure, panels, ScalarMappable(norm, shades), norm.boundaries, "ct/kWh")
    if norm.extend == "max":
        bar.annotate(
            "scarce", (1.0, 1.0), (5, 0.5 * _TIP * 72), xycoords="axes fraction",
            textcoords="offset points", color=COLOURS["meter"], fontsize=10, va="bottom",
        )  # fmt: skip


def _bar_beside(
    figure: Figure, panels: list[Axes], mappable: Any, levels: Floats, unit: str
) -> Axes:
    """Colour bar to the right of panels that stand one below the other."""
    first, last = panels[0].get_position(), panels[-1].get_position()
    tall = first.y1 - last.y0
    box = (first.x1 + 0.2 / _WIDTH, last.y0, _BAR / _WIDTH, tall)
    # The tip above the highest level is as tall whatever the bar's height.
    tip = _TIP / (figure.get_figheight() * tall - _TIP)
    bar = figure.colorbar(
        mappable, cax=figure.add_axes(box), spacing="proportional", extendfrac=tip
    )
    bar.set_ticks(list(levels), labels=[f"{level:g}" for level in np.round(levels, 6)])
    bar.ax.tick_params(labelsize=10)
    figure.text(
        box[0], first.y1 + 0.09 / figure.get_figheight(), unit, fontsize=10, color="#333333"
    )
    bar.outline.set_linewidth(0.6)  # type: ignore[operator]
    return bar.ax
