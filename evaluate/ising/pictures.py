"""Pictures of the Ising paper's figures, each drawn from its data alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.household.render import COLOURS, DASHED
from flexgym.evaluate.ising.figure import CRITICAL, FigureData
from flexgym.evaluate.ising.lattice_picture import draw_balancing
from flexgym.evaluate.ising.robustness import FIELDS
from flexgym.evaluate.pictures import INK, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEFT = 0.095
_MARKS = ("o", "s", "^", "D", "v", "P")
_SERIES = tuple(COLOURS[name] for name in ("import", "meter", "battery", "export", "pv", "load"))


def draw(path: Path, data: FigureData) -> None:
    """Draw one of the figures 2 to 8.

    Args:
        path: PNG to write.
        data: Its data.
    """
    size, paint = _PAINT[data.number]
    with picture(path, *size) as figure:
        height = size[1]
        figure.text(
            _LEFT if data.number != 5 else 0.03, 1.0 - 0.38 / height,
            f"Figure {data.number}   {data.title}",
            fontsize=14, fontweight="bold", color=INK,
        )  # fmt: skip
        paint(figure, data)


def _panels(figure: Figure, count: int, **more: Any) -> Any:
    top = 1.0 - 0.98 / figure.get_figheight()
    figure.subplots_adjust(
        left=_LEFT, right=0.975, top=top, bottom=0.62 / figure.get_figheight(),
        wspace=more.pop("wspace", 0.24), hspace=0.42,
    )  # fmt: skip
    return figure.subplots(1, count, **more)


def _critical(axes: Axes, text: bool = True) -> None:
    axes.axvline(CRITICAL, color=COLOURS["quiet"], linestyle=DASHED, linewidth=1.2, zorder=1)
    if text:
        axes.text(
            CRITICAL, 1.005, "$T_c$", ha="center", va="bottom", color="#555555",
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip


def _curve(axes: Axes, x: Any, mean: Any, error: Any, **style: Any) -> None:
    """A line with the band of two standard errors."""
    mean, error = np.asarray(mean, dtype=float), np.asarray(error, dtype=float)
    axes.plot(x, mean, **style)
    axes.fill_between(
        x, mean - 2.0 * error, mean + 2.0 * error, color=style["color"], alpha=0.2, linewidth=0
    )


def _forgetting(figure: Figure, data: FigureData) -> None:
    memory, order = _panels(figure, 2)
    hot = dict.fromkeys(data.column("temperature", what="autocorrelation").tolist())
    for temperature, colour, mark in zip(hot, _SERIES, _MARKS, strict=False):
        where = {"what": "autocorrelation", "temperature": temperature}
        x, mean, error = (
            data.column(name, **where) for name in ("iterations", "mean", "standard_error")
        )
        label = "$T_c$" if temperature == CRITICAL else f"{temperature:g}"
        _curve(
            memory, x / 1000.0, mean, error,
            color=colour, marker=mark, ms=4, label=f"T = {label}",
        )  # fmt: skip
    memory.axhline(0.0, color=INK, linewidth=0.9)
    memory.set_title("Autocorrelation with a random start", pad=16)
    memory.set_xlabel("iterations, thousand")
    memory.set_ylabel("C(n)")
    memory.legend(loc="upper right")
    x, mean, error = (
        data.column(name, what="magnetisation")
        for name in ("temperature", "mean", "standard_error")
    )
    _curve(order, x, mean, error, color=COLOURS["import"], marker="o", ms=4)
    _critical(order)
    order.set_title("Order against temperature", pad=16)
    order.set_xlabel("temperature T")
    order.set_ylabel("mean |M|")
    order.set_ylim(0.0, 1.04)


def _shifting(figure: Figure, data: FigureData) -> None:
    axes = _panels(figure, 1)
    hours = data.column("hour")
    m = data.column("magnetisation")
    colours = np.where(m > 0.0, COLOURS["import"], COLOURS["meter"])
    axes.bar(hours, m, width=0.86, color=colours, alpha=0.35, label="magnetisation, program (31)")
    axes.plot(
        hours, data.column("magnetisation_whole_spins"), "_", ms=12, mew=2.2, color=INK,
        label="whole spins, mean weighted by load",
    )  # fmt: skip
    axes.plot(
        hours, data.column("scaled_price"), "-o", ms=4, color=COLOURS["battery"],
        label="real-time price, scaled to [\N{MINUS SIGN}1, 1]",
    )  # fmt: skip
    for hour, value in zip(hours, m, strict=True):
        if abs(value) < 1.0 - 1e-9:
            axes.annotate(
                f"{value:.3f}", (hour, value), (-10, 5), textcoords="offset points", ha="left",
                fontweight="bold", color=INK,
            )  # fmt: skip
    axes.axhline(0.0, color=INK, linewidth=0.9)
    axes.set_xticks(hours)
    axes.set_xlim(0.4, 24.6)
    axes.set_ylim(-1.12, 1.12)
    axes.set_yticks([-1.0, -0.5, 0.0, 0.5, 1.0])
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("hour")
    axes.set_ylabel("magnetisation (1: load dropped)")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.01), ncols=3)


def _herding(figure: Figure, data: FigureData) -> None:
    plane, line = _panels(figure, 2, width_ratios=(1.15, 1.0), wspace=0.3)
    hot = sorted(set(data.column("temperature").tolist()))
    fields = data.column("field", temperature=CRITICAL)
    m = np.stack([data.column("mean", temperature=t) for t in hot], axis=1)
    image = plane.pcolormesh(
        np.arange(len(hot) + 1) - 0.5, _edges(fields), m, cmap="RdBu", vmin=-1.0, vmax=1.0
    )
    plane.contour(
        np.arange(len(hot)), fields, m, [data.marks["wanted"]], colors=INK, linewidths=1.4
    )
    names = ["$T_c$" if t == CRITICAL else f"{t:g}" for t in hot]
    plane.set_xticks(range(len(hot)), names)
    plane.grid(visible=False)
    plane.set_title(f"M from all at \N{MINUS SIGN}1; line: M = {data.marks['wanted']:.3f}")
    plane.set_xlabel("temperature T")
    plane.set_ylabel("field H")
    bar = figure.colorbar(image, ax=plane, pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.outline.set_visible(False)  # type: ignore[operator]
    shown = [t for t in (hot[0], CRITICAL, 5.0, hot[-1]) if t in hot]
    for temperature, colour, mark in zip(dict.fromkeys(shown), _SERIES, _MARKS, strict=False):
        mean, error = (
            data.column(name, temperature=temperature) for name in ("mean", "standard_error")
        )
        label = "$T_c$" if temperature == CRITICAL else f"{temperature:g}"
        _curve(line, fields, mean, error, color=colour, marker=mark, ms=4, label=f"T = {label}")
    wanted, found = data.marks["wanted"], data.marks["field"]
    if found is not None:
        line.plot([0.0, found, found], [wanted, wanted, -1.05], color=INK, ls=DASHED, lw=1.1)
        line.annotate(
            f"H* = {found:.3f}", (found, -0.45), (5, 0), textcoords="offset points", va="center",
            color=INK,
        )  # fmt: skip
    line.set_xlim(0.0, fields[-1])
    line.set_ylim(-1.05, 1.05)
    line.set_title("Field wanted at the critical temperature")
    line.set_xlabel("field H")
    line.set_ylabel("M after 10k iterations")
    line.legend(loc="lower right", bbox_to_anchor=(1.0, 0.03))


def _edges(x: Any) -> Any:
    middle = 0.5 * (x[1:] + x[:-1])
    return np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])


def _robustness(figure: Figure, data: FigureData) -> None:
    from matplotlib.lines import Line2D

    panels = _panels(figure, 3, wspace=0.3)
    styles = {
        "MH": (COLOURS["meter"], "o"),
        "CMH or": (COLOURS["pv"], "^"),
        "CMH gate": (COLOURS["import"], "s"),
    }
    for axes, field in zip(panels[:2], FIELDS, strict=True):
        for rule, (colour, mark) in styles.items():
            where = {"rule": rule, "field": field, "over_temperatures": "mean"}
            d, mean, error = (
                data.column(name, **where) for name in ("flipped", "mean", "standard_error")
            )
            _curve(axes, d, mean, error, color=colour, marker=mark, ms=4, label=rule)
            where["over_temperatures"] = "least"
            least = data.column("mean", **where)
            axes.plot(d, np.where(least > 0.0, least, np.nan), color=colour, ls=DASHED, lw=1.2)
        axes.set_yscale("log")
        axes.set_xscale("log")
        axes.set_title(f"H = {field:g}")
        axes.set_ylabel("|g|, share of the load")
    least = min(axes.get_ylim()[0] for axes in panels[:2])
    for axes in panels[:2]:
        axes.set_ylim(least, 2.0)
    handles, labels = panels[0].get_legend_handles_labels()
    handles.append(Line2D([], [], color=COLOURS["load"], ls=DASHED, lw=1.2))
    figure.legend(
        handles, [*labels, "least over T, else mean"], loc="upper right",
        bbox_to_anchor=(0.975, 1.0 - 0.25 / figure.get_figheight()), ncols=4,
    )  # fmt: skip
    for field, colour, mark in zip(FIELDS, _SERIES, _MARKS, strict=False):
        where = {"rule": "CMH gate", "field": field, "over_temperatures": "mean"}
        d, mean, error = (
            data.column(name, **where) for name in ("flipped", "mean", "standard_error")
        )
        _curve(
            panels[2], d, mean / mean.max(), error / mean.max(),
            color=colour, marker=mark, ms=4, label=f"CMH gate, H = {field:g}",
        )  # fmt: skip
    panels[2].plot([0, d.max()], [0, 1], color=COLOURS["quiet"], ls=DASHED, lw=1.2)
    panels[2].set_ylim(0.0, 1.35)
    panels[2].set_title("Scaled to its largest value")
    panels[2].legend(loc="lower right", bbox_to_anchor=(1.0, 0.04))
    for axes in panels:
        axes.set_xlabel("spins flipped at the start, d")


def _assigning(figure: Figure, data: FigureData) -> None:
    panels = _panels(figure, 2, sharey=True, wspace=0.08)
    slacks = sorted(set(data.column("slack").tolist()))
    titles = {"even": "Prices evenly spaced", "random": "Prices at random, mean of draws"}
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        for slack, colour, mark in zip(slacks, _SERIES, _MARKS, strict=False):
            share = data.column("aggregators_percent", slack=slack)
            value = data.column(name, slack=slack).astype(float)
            # Hollow and larger where slacks that allow the same would hide each other.
            size, fill = (7.0, "white") if slack == slacks[0] else (3.5, colour)
            axes.plot(
                share, value, color=colour, marker=mark, ms=size, mfc=fill, lw=1.3,
                label=f"{slack:g}",
            )  # fmt: skip
        axes.set_title(title)
        axes.set_xlabel("aggregators, % of the buses")
    bottom, top = panels[0].get_ylim()
    height = top
    for level, slack in enumerate(s for s in slacks if not data.column("feasible", slack=s).all()):
        share = data.column("aggregators_percent", slack=slack)
        missing = share[~data.column("feasible", slack=slack).astype(bool)]
        height = top + (0.05 + 0.055 * level) * (top - bottom)
        panels[0].plot(missing, np.full(len(missing), height), "o", ms=3.5, color=INK)
        panels[0].text(101.5, height, f"{slack:g}", va="center", fontsize=9.5, color=INK)
    panels[0].set_ylim(bottom, top + 0.24 * (top - bottom))
    panels[0].text(101.5, height + 0.055 * (top - bottom), "slack", fontsize=9.5, color=INK)
    panels[0].text(
        0.0, height + 0.045 * (top - bottom), "black: no solution at that slack", fontsize=9.5,
        color=INK,
    )  # fmt: skip
    panels[0].set_ylabel("objective (38) over |mean price|")
    panels[1].legend(loc="upper right", title="slack, buses", ncols=3)


def _boundaries(figure: Figure, data: FigureData) -> None:
    axes = _panels(figure, 1)
    figure.subplots_adjust(top=1.0 - 1.55 / figure.get_figheight())
    for (name, text), colour, mark in zip(
        data.marks["names"].items(), _SERIES, _MARKS, strict=False
    ):
        x, mean, error = (
            data.column(column, coupling=name)
            for column in ("temperature", "mean", "standard_error")
        )
        _curve(
            axes, x, mean, error, color=colour, marker=mark, ms=4,
            ls="-" if name == "free" else "--", label=text,
        )  # fmt: skip
    _critical(axes)
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlabel("temperature T")
    axes.set_ylabel("M after 10k iterations from all at 1")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.05), ncols=2, fontsize=10)


_PAINT: dict[int, tuple[tuple[float, float], Callable[[Figure, FigureData], None]]] = {
    2: ((9.6, 4.5), _forgetting),
    3: ((9.6, 4.6), _shifting),
    4: ((10.4, 4.7), _herding),
    5: ((9.6, 10.4), draw_balancing),
    6: ((11.6, 4.5), _robustness),
    7: ((10.4, 4.8), _assigning),
    8: ((9.6, 5.8), _boundaries),
}
"""Width and height in inches, and what draws it."""
