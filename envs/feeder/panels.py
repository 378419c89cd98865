"""Panels that show a feeder: a map, and the voltage along its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.layout import distance_ohm, map_places
from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import COLOURS, DASHED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap, Normalize

    from flexgym.envs.grid.network import Network

INK = "#1a1a1a"
NO_SOLUTION = "#c4c4c4"
OVERLOAD = "#b000dc"
"""Colour of lines and transformers above their limit, used for nothing else."""
_REACH = 1.5
"""Colours and axes reach so many times as far from 1 pu as the band."""
_TRAFO_TEXT, _PERCENT_TEXT = (76.0, 30.0), (46.0, 18.0)
"""Room for the text at a transformer and for a number, points."""
_LEADER: dict[str, Any] = {"arrowstyle": "-", "lw": 1.2, "shrinkA": 0.0, "shrinkB": 0.0}
_WHITE_BOX: dict[str, Any] = {"boxstyle": "square,pad=0.12", "fc": "white", "ec": "none"}


def _numbers(name: str, values: ArrayLike, shape: tuple[int, ...], of: str) -> Floats:
    """Values as floats of a shape, none negative or infinite."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.full((), np.nan)
    if array.shape != shape:
        got = f"has shape {array.shape}" if array.ndim else f"is {values!r:.40}"
        raise ScenarioError(
            f"{name} {got}; expected numbers of shape {shape}, {of}. Take the values of one "
            "feeder, from a simulation of the same network."
        )
    if np.isinf(array).any() or (array < 0.0).any():
        raise ScenarioError(
            f"{name} holds {array[np.isinf(array) | (array < 0.0)][0]}; expected numbers >= 0, or "
            "nan where there is no solution."
        )
    return array


def checked_values(
    network: Network, v_pu: ArrayLike, line: ArrayLike, trafo: ArrayLike, lead: tuple[int, ...] = ()
) -> tuple[Floats, Floats, Floats]:
    """Voltages and loadings as arrays of the shapes that the network has."""
    return (
        _numbers("v_pu", v_pu, (*lead, network.n_bus), "one a bus"),
        _numbers("line_loading_percent", line, (*lead, len(network.line_index)), "one a line"),
        _numbers(
            "trafo_loading_percent", trafo, (*lead, len(network.trafo_index)), "one a transformer"
        ),
    )


def checked_band(band_pu: tuple[float, float]) -> tuple[float, float]:
    """The band as two floats."""
    try:
        low, high = (float(limit) for limit in band_pu)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not 0.0 < low < high < 2.0:
        raise ScenarioError(
            f"band_pu is {band_pu!r}; expected 0 < lowest < highest voltage in pu, such as "
            "(0.95, 1.05)."
        )
    return low, high


def colour_reach(band: tuple[float, float]) -> float:
    """Distance from 1 pu at which colours end, pu."""
    return _REACH * max(abs(limit - 1.0) for limit in band)


def voltage_colours(band_pu: tuple[float, float]) -> tuple[ListedColormap, Normalize]:
    """Colours of voltages: blue below 1 pu, vermilion above, darker at once outside the band."""
    from matplotlib.colors import LinearSegmentedColormap, ListedColormap, Normalize

    reach = colour_reach(band_pu)
    inside = LinearSegmentedColormap.from_list("inside", ["#5aa9dc", "#f7f7f7", "#f2a25c"])
    v = np.linspace(1.0 - reach, 1.0 + reach, 511)
    shades = inside(0.5 + 0.5 * _REACH * (v - 1.0) / reach)
    shades[v < band_pu[0] - 1e-9, :3] = np.array([0.0, 0.22, 0.50])
    shades[v > band_pu[1] + 1e-9, :3] = np.array([0.70, 0.18, 0.0])
    return ListedColormap(shades), Normalize(1.0 - reach, 1.0 + reach)


def loading_style(percent: Floats) -> tuple[NDArray, Floats]:
    """Colours, shape (k, 4), and widths in points, shape (k,), of branches by their loading.

    Grey and thicker up to the limit, `OVERLOAD` and much thicker above; thin where not known.
    """
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    greys = LinearSegmentedColormap.from_list("loading", ["#c9c9c9", "#8a8a8a", "#2e2e2e"])
    share = np.nan_to_num(percent).clip(0.0, 100.0) / 100.0
    colours, widths = greys(share), 1.1 + 2.6 * share
    over = percent > 100.0
    colours[over], widths[over] = to_rgba(OVERLOAD), 5.0
    colours[np.isnan(percent)] = to_rgba(NO_SOLUTION)
    return colours, widths


def branch_loading(network: Network, line: Floats, trafo: Floats) -> Floats:
    """Loading of the branch to each node, shape (nodes,), %: the highest of those in parallel."""
    loading = np.full(len(network.tree.parent), np.nan)
    for element, percent in ((network.line_element, line), (network.trafo_element, trafo)):
        node = network.tree.element_node[element]
        np.fmax.at(loading, node, percent)
    return loading


class _Branches:
    """Lines coloured by loading, and buses coloured by voltage, at fixed or moving places."""

    def __init__(self, axes: Axes, band: tuple[float, float], buses: int, size: float) -> None:
        from matplotlib.collections import LineCollection

        self.band, self.size = band, size
        self.shades, self.norm = voltage_colours(band)
        self.casing = LineCollection([], colors=INK, capstyle="round", zorder=2.0)
        self.lines = LineCollection([], capstyle="round", zorder=2.1)
        for collection in (self.casing, self.lines):
            axes.add_collection(collection, autolim=False)
        self.buses = axes.scatter(*np.zeros((2, buses)), edgecolors=INK, zorder=3.0)

    def show(self, places: Floats, segments: Floats, v_pu: Floats, loading: Floats) -> None:
        """Draw buses at places (n, 2) and branches along segments (k, 2, 2)."""
        from matplotlib.colors import to_rgba
        from matplotlib.markers import MarkerStyle

        colours, widths = loading_style(loading)
        over = loading > 100.0
        self.lines.set(segments=list(segments), color=colours, linewidths=widths)
        self.casing.set(segments=list(segments[over]), linewidths=widths[over] + 2.0)
        paths = []
        for shape in "v^o":
            style = MarkerStyle(shape)
            paths.append(style.get_path().transformed(style.get_transform()))
        low, high = v_pu < self.band[0], v_pu > self.band[1]
        kind = np.where(low, 0, np.where(high, 1, 2))
        faces = self.shades(self.norm(v_pu))
        faces[np.isnan(v_pu)] = to_rgba(NO_SOLUTION)
        outside = low | high
        self.buses.set_offsets(places)
        self.buses.set_paths([paths[k] for k in kind])
        self.buses.set(
            facecolors=faces, sizes=np.where(outside, 2.0 * self.size, self.size),
            linewidths=np.where(outside, 1.1, 0.6),
        )  # fmt: skip

    @property
    def artists(self) -> list[Any]:
        return [self.casing, self.lines, self.buses]


class FeederMap:
    """A map on axes, from `draw_map`; ``artists`` is what `update` changes, in drawing order."""

    def __init__(self, axes: Axes, network: Network, band: tuple[float, float]) -> None:
        from matplotlib.markers import MarkerStyle
        from matplotlib.path import Path as Outline

        self._network = network
        box = axes.get_window_extent()
        self._room = np.array([box.width, box.height]) * 72.0 / axes.figure.dpi  # points
        axes.set(xlim=(0.0, self._room[0]), ylim=(0.0, self._room[1]), xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        self._place = map_places(network, *self._room)
        parent, child = network.tree.parent[1:], np.arange(1, len(network.tree.parent))
        self._segments = self._place[np.stack([parent, child], axis=1)]
        share = np.linspace(0.0, 1.0, 13)[:, None, None]
        start, end = self._segments[:, 0], self._segments[:, 1]
        self._drawn = ((1.0 - share) * start + share * end).reshape(-1, 2)
        size = float(np.clip(0.035 * self._room.prod() / network.n_bus, 5.0, 36.0))
        self._branches = _Branches(axes, band, network.n_bus, size)
        axes.plot(*self._place[0], "s", ms=9, color=INK, zorder=2.5)
        style: dict[str, Any] = {"fontsize": 10.5, "ha": "center", "va": "center", "zorder": 5.0}
        # The line with the highest overload.
        self._text = axes.annotate(
            "", (0.0, 0.0), (0.0, 0.0), xycoords="data", textcoords="data", fontweight="bold",
            color=OVERLOAD, bbox=_WHITE_BOX, arrowprops={**_LEADER, "color": OVERLOAD}, **style,
        )  # fmt: skip
        self._trafos = []
        self._few = len(network.trafo_index) <= 3
        size_text = _TRAFO_TEXT if self._few else _PERCENT_TEXT
        node = network.tree.element_node[network.trafo_element]
        top, bottom = self._place[network.tree.parent[node]], self._place[node]
        middle = 0.5 * (top + bottom)
        self._taken = np.append(middle, np.full_like(middle, 24.0), axis=1)
        for at, way in zip(middle, bottom - top, strict=True):
            x, y = 0.38 * way / max(float(np.hypot(*way)), 1e-9)
            rings = [Outline.circle(centre, 0.62) for centre in ((x, y), (-x, -y))]
            symbol = MarkerStyle(Outline.make_compound_path(*rings))
            mark = axes.plot(
                *at, marker=symbol, ls="", ms=19 if self._few else 10, mfc="white",
                mew=2.0 if self._few else 1.2, zorder=4.0,
            )[0]  # fmt: skip
            text = axes.text(*self._free(at, size_text, 13.0 if self._few else 7.0), "", **style)
            self._trafos.append((mark, text))
            if self._few:
                box = (*text.get_position(), *size_text)
                self._taken = np.append(self._taken, [box], axis=0)
        marks = [m for pair in zip(*self._trafos, strict=True) for m in pair]
        self.artists = [*self._branches.artists, *marks, self._text]

    def _free(self, at: Floats, size: tuple[float, float], away: float) -> tuple[float, float]:
        """Middle of a place for a text of some size near a point, where little is drawn.

        Args:
            at: The point.
            size: Width and height of the text.
            away: Least distance of the text from the point.
        """
        half, best, least = 0.5 * np.array(size), at, np.inf
        for far in (1.0, 1.8, 3.0, 5.0):
            for angle in np.pi * (0.5 + np.arange(16) / 8):
                side = np.array([np.cos(angle), np.sin(angle)])
                side /= np.abs(side).max()  # so that the text stays clear of a square
                middle = at + side * (half + far * away)
                cost = (np.abs(self._drawn - middle) < half + 2.0).all(axis=1).sum() + far
                cost += 3.0 * (half - np.minimum(middle, self._room - middle)).clip(0.0).sum()
                apart = np.abs(self._taken[:, :2] - middle) - 0.5 * self._taken[:, 2:]
                cost += 100 * (apart < half).all(axis=1).sum()
                if cost < least:
                    best, least = middle, cost
        return float(best[0]), float(best[1])

    def update(self, v_pu: Floats, line: Floats, trafo: Floats) -> None:
        """Show other voltages, shape (buses,), pu, and loadings, (lines,) and (trafos,), %."""
        loading = branch_loading(self._network, line, trafo)[1:]
        at = self._place[self._network.bus_node]
        self._branches.show(at, self._segments, v_pu, loading)
        colours, _ = loading_style(trafo)
        for k, (symbol, text) in enumerate(self._trafos):
            symbol.set_markeredgecolor(colours[k])
            named = self._few or k == np.argmax(np.nan_to_num(trafo))
            over = trafo[k] > 100.0
            text.set(
                text=("transformer\n" if self._few else "") + _percent(trafo[k]) if named else "",
                color=OVERLOAD if over else INK, fontweight="bold" if over else "normal",
            )  # fmt: skip
        any_over = bool((line > 100.0).any())
        self._text.set_visible(any_over)
        if any_over:
            node = self._network.tree.element_node[self._network.line_element[np.nanargmax(line)]]
            self._text.set_text(_percent(np.nanmax(line)))
            middle = self._segments[node - 1].mean(axis=0)
            self._text.xy = (float(middle[0]), float(middle[1]))
            self._text.set_position(self._free(middle, _PERCENT_TEXT, 6.0))


class VoltageProfile:
    """A profile on axes, from `draw_profile`; ``artists`` is what `update` changes."""

    def __init__(self, axes: Axes, network: Network, band: tuple[float, float]) -> None:
        self._network, self.axes = network, axes
        distance = distance_ohm(network)
        small = distance.max() < 1.0
        distance = distance * (1e3 if small else 1.0)
        self._at = distance[network.bus_node]
        parent = network.tree.parent[1:]
        self._distance = np.stack([distance[parent], distance[1:]], axis=1)
        end = max(float(distance.max()), 1e-9)
        axes.set_xlim(-0.02 * end, 1.03 * end)
        unit = "m\N{GREEK CAPITAL LETTER OMEGA}" if small else "\N{GREEK CAPITAL LETTER OMEGA}"
        axes.set_xlabel(f"impedance from the external grid, {unit}")
        axes.axhspan(*band, color="#eef4ee", lw=0, zorder=0.5)
        for limit in band:
            axes.axhline(limit, color="#5f8f5f", lw=1.2, ls=DASHED, zorder=1.5)
        if len(network.trafo_index) == 1:
            self._name_trafo(int(network.tree.element_node[network.trafo_element[0]]))
        size = float(np.clip(1600.0 / network.n_bus, 8.0, 30.0))
        self._branches = _Branches(axes, band, network.n_bus, size)
        self._text = axes.text(
            0.5, 0.5, "", transform=axes.transAxes, ha="center", va="center", color="#555555",
            fontsize=13, zorder=5.0, bbox=_WHITE_BOX,
        )  # fmt: skip
        self.artists = [*self._branches.artists, self._text]

    def _name_trafo(self, node: int) -> None:
        """Say which part is the transformer, where there is room to say it."""
        start, end = self._distance[node - 1]
        left, right = self.axes.get_xlim()
        if (end - start) / (right - left) * self.axes.get_window_extent().width < 95.0:
            return
        self.axes.axvline(end, color=COLOURS["quiet"], lw=0.8, zorder=1.0)
        self.axes.text(
            0.5 * (start + end), 0.02, "transformer", transform=self.axes.get_xaxis_transform(),
            ha="center", va="bottom", fontsize=10, color="#555555", zorder=1.5,
        )  # fmt: skip

    def update(self, v_pu: Floats, line: Floats, trafo: Floats) -> None:
        """Show other voltages, shape (buses,), pu, and loadings, (lines,) and (trafos,), %."""
        loading = branch_loading(self._network, line, trafo)[1:]
        node = np.full(len(self._network.tree.parent), np.nan)
        node[self._network.bus_node] = v_pu
        v = np.stack([node[self._network.tree.parent[1:]], node[1:]], axis=1)
        known = np.isfinite(v).all(axis=1)
        segments = np.stack([self._distance, v], axis=2)[known]
        places = np.stack([self._at, v_pu], axis=1)
        self._branches.show(places, segments, v_pu, loading[known])
        self._text.set_text("no solution" if np.isnan(v_pu).all() else "")


def voltage_range(v_pu: Floats, band_pu: tuple[float, float]) -> tuple[float, float]:
    """Ends of a voltage axis, pu: the same for most days, wider where voltages reach further."""
    reach = colour_reach(band_pu)
    known = v_pu[np.isfinite(v_pu)]
    low = min(1.0 - reach, 0.01 * np.floor(100.0 * known.min(initial=1.0) - 0.2))
    high = max(1.0 + reach, 0.01 * np.ceil(100.0 * known.max(initial=1.0) + 0.2))
    return float(low), float(high)


def draw_map(
    axes: Axes,
    network: Network,
    v_pu: ArrayLike,
    line_loading_percent: ArrayLike,
    trafo_loading_percent: ArrayLike,
    *,
    band_pu: tuple[float, float],
) -> FeederMap:
    """Draw where on the feeder voltages and loadings are high.

    Buses have the colours of `voltage_colours`; triangles show that they lie above or below the
    band. Lines are darker and thicker the more they carry; overloads have a colour of their own,
    and the highest its number.

    Args:
        axes: Where to draw. Place and size must not change afterwards.
        network: The feeder.
        v_pu: Voltages, shape (buses,), pu; nan is drawn grey.
        line_loading_percent: Shape (lines,), %.
        trafo_loading_percent: Shape (transformers,), %.
        band_pu: Lowest and highest voltage allowed, pu.

    Returns:
        The map; its ``update`` shows other values.

    Raises:
        ScenarioError: Wrong shapes, values that are negative or infinite, or no band.
    """
    values = checked_values(network, v_pu, line_loading_percent, trafo_loading_percent)
    drawn = FeederMap(axes, network, checked_band(band_pu))
    drawn.update(*values)
    return drawn


def draw_profile(
    axes: Axes,
    network: Network,
    v_pu: ArrayLike,
    line_loading_percent: ArrayLike,
    trafo_loading_percent: ArrayLike,
    *,
    band_pu: tuple[float, float],
) -> VoltageProfile:
    """Draw voltages against the impedance from the external grid, branch by branch.

    The band is shaded; colours, widths and triangles are those of `draw_map`, and so are
    arguments and errors.

    Returns:
        The profile; its ``update`` shows other values, on the same axis.
    """
    values = checked_values(network, v_pu, line_loading_percent, trafo_loading_percent)
    drawn = VoltageProfile(axes, network, checked_band(band_pu))
    drawn.update(*values)
    axes.set_ylim(voltage_range(values[0], checked_band(band_pu)))
    return drawn


def draw_key(axes: Axes, band_pu: tuple[float, float]) -> None:
    """Explain the marks of `draw_map` and `draw_profile` below axes, in two rows."""
    from matplotlib.lines import Line2D

    percent = np.array([10.0, 50.0, 100.0, 101.0])
    names = ("10", "50", "100 %", "overloaded")
    lines = [
        Line2D([], [], color=colour, lw=width, label=name)
        for colour, width, name in zip(*loading_style(percent), names, strict=True)
    ]
    shades, norm = voltage_colours(band_pu)
    marks = [
        Line2D([], [], ls="", marker=shape, ms=8, mec=INK, mfc=shades(norm(v)), label=name)
        for shape, v, name in (
            ("v", 0.0, f"below {band_pu[0]:g} pu"),
            ("o", 1.0, "within the band"),
            ("^", 2.0, f"above {band_pu[1]:g} pu"),
        )
    ]
    style: dict[str, Any] = {
        "loc": "upper left",
        "ncols": 4,
        "fontsize": 10,
        "columnspacing": 1.0,
        "handletextpad": 0.5,
    }
    first = axes.legend(handles=lines, bbox_to_anchor=(0.0, 0.0), **style)
    axes.legend(handles=marks, bbox_to_anchor=(0.0, -0.07), **style)
    axes.add_artist(first)


def _percent(value: float) -> str:
    """A loading as text; never 100 where the limit is only just exceeded."""
    if np.isnan(value):
        return "no solution"
    return f"{value:.1f} %" if 100.0 < value < 100.5 else f"{value:.0f} %"
