"""Picture of figure 5: buses and spins of the self-sufficient optima on the lattice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexgym.baselines.aggregator_market.self_sufficiency import balanced_spins
from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import COLOURS
from flexgym.envs.ising import snake
from flexgym.evaluate.ising.figure import SIDE, FigureData, bus_of_customer
from flexgym.evaluate.pictures import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PAINTS = ("#e9b48f", "#ffffff", "#9cc3e0")
"""Colours of -1, 0 and 1."""
_TITLES = {
    "max": ("a  largest sum of buses, (34)", "c  its spins, (35)"),
    "min": ("b  least sum of buses, (34)", "d  its spins, (35)"),
}


def draw_balancing(figure: Figure, data: FigureData) -> None:
    """Magnetisation of each bus above, spins below; buses without a solution in red.

    Args:
        figure: Where to.
        data: Of figure 5; of several optima the first is drawn.
    """
    figure.subplots_adjust(left=0.03, right=0.985, top=0.905, bottom=0.045, wspace=0.05, hspace=0.1)
    panels = figure.subplots(2, 2)
    rng = np.random.default_rng(0)
    for column, sense in enumerate(("max", "min")):
        where = {"sense": sense, "optimum": 0}
        m, numbers, solvable = (
            data.column(name, **where) for name in ("magnetisation", "bus", "solvable")
        )
        bus = bus_of_customer()
        _paint(panels[0, column], m[bus].astype(float), numbers, solvable.astype(bool))
        # A bus without a solution has no spins to show.
        shown = np.where(solvable.astype(bool), m, 1)
        spins = balanced_spins(bus, shown, rng).astype(float)
        spins[~solvable.astype(bool)[bus]] = np.nan
        _paint(panels[1, column], spins, numbers, solvable.astype(bool), missing=True)
        for row in range(2):
            panels[row, column].set_title(_TITLES[sense][row])
    figure.text(
        0.03, 0.016,
        "Blue +1, orange \N{MINUS SIGN}1, white 0, grey: no solution. Numbers: buses, in a snake "
        "(our layout); red: at 0 with odd customers.",
        fontsize=10, color="#333333",
    )  # fmt: skip


def _paint(
    axes: Axes, values: Floats, numbers: Floats, solvable: Floats, *, missing: bool = False
) -> None:
    """One lattice with the outlines of its buses."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import ListedColormap

    site, bus = snake(SIDE), bus_of_customer()
    cells, owner = np.empty(SIDE * SIDE), np.empty(SIDE * SIDE, dtype=np.int64)
    cells[site], owner[site] = values, bus
    shades = ListedColormap(_PAINTS)
    shades.set_bad(COLOURS["quiet"], alpha=0.45)
    axes.imshow(cells.reshape(SIDE, SIDE), cmap=shades, vmin=-1.0, vmax=1.0)
    of = owner.reshape(SIDE, SIDE)
    right, below = np.argwhere(of[:, 1:] != of[:, :-1]), np.argwhere(of[1:] != of[:-1])
    edges = [[(x + 0.5, y - 0.5), (x + 0.5, y + 0.5)] for y, x in right]
    edges += [[(x - 0.5, y + 0.5), (x + 0.5, y + 0.5)] for y, x in below]
    axes.add_collection(LineCollection(edges, colors=INK, linewidths=0.8), autolim=False)
    for index, number in enumerate(numbers):
        own = site[bus == index]
        row, column = divmod(int(own[len(own) // 2]), SIDE)
        bad = not solvable[index]
        axes.text(
            column, row, str(number), ha="center", va="center", fontsize=9 if not bad else 10,
            color="#c00000" if bad else "#333333", fontweight="bold" if bad else "normal",
            alpha=1.0 if bad or not missing else 0.75,
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
