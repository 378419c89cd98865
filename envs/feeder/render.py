"""The feeder as a picture, for ``render_mode="rgb_array"``, and its day as a film."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.panels import (
    INK,
    OVERLOAD,
    FeederMap,
    VoltageProfile,
    checked_band,
    checked_values,
    draw_key,
    draw_map,
    draw_profile,
    voltage_colours,
    voltage_range,
)
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.render import COLOURS, STYLE, clock, clock_axis, edges_h

if TYPE_CHECKING:
    from flexgym.envs.grid.network import Network

__all__ = ["FeederPicture", "animate_day", "draw_map", "draw_profile", "render_feeder"]

WIDTH, HEIGHT, STRIP = 1000, 500, 150
"""Size of a picture and height of the strip below it, pixels."""
_DPI = 100
_GIF_COLOURS = 256


class FeederPicture:
    """The picture of one feeder, drawn again and again with other values.

    What stays is drawn once; `frame` draws what changes above it.

    Attributes:
        figure: The matplotlib figure.
    """

    def __init__(
        self,
        network: Network,
        band_pu: tuple[float, float],
        *,
        meter_kw: Floats | None = None,
        v_range: tuple[float, float] | None = None,
    ) -> None:
        """Lay out the panels.

        Args:
            network: The feeder.
            band_pu: Lowest and highest voltage allowed, pu.
            meter_kw: Power at the meters of the whole feeder over the day, shape (T,), kW, drawn
                as a strip below; None for none.
            v_range: Ends of the voltage axis, pu; None suits each frame.
        """
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._band, self._meter, self._range = band_pu, meter_kw, v_range
        self._ends = (0.0, 0.0)
        height = HEIGHT + (0 if meter_kw is None else STRIP)
        with matplotlib.rc_context(STYLE):
            self.figure = Figure(figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
            self._canvas = FigureCanvasAgg(self.figure)
            place = self._axes(0.015, 95, 0.40, 325), self._axes(0.53, 65, 0.45, 355)
            self._map = FeederMap(place[0], network, band_pu)
            self._profile = VoltageProfile(place[1], network, band_pu)
            place[0].set_title("Voltage of buses, loading of lines in %", pad=8)
            place[1].set_title("Voltage along the lines, pu", pad=8)
            draw_key(place[0], band_pu)
            self._colour_bar(place[1])
            top = 1.0 - 30 / height
            self._clock = self.figure.text(0.02, top, "", fontsize=15, fontweight="bold")
            self._state = self.figure.text(0.98, top, "", fontsize=11, ha="right", color="#333333")
            self._changing = [*self._map.artists, *self._profile.artists]
            self._changing += [self._clock, self._state]
            if meter_kw is not None:
                self._draw_strip(meter_kw)
            for artist in self._changing:
                artist.set_animated(True)

    def _axes(self, left: float, bottom: int, width: float, height: int) -> Any:
        """Axes at a height in pixels above the lower edge of the picture proper."""
        below = 0 if self._meter is None else STRIP
        total = HEIGHT + below
        return self.figure.add_axes((left, (bottom + below) / total, width, height / total))

    def _colour_bar(self, profile: Any) -> None:
        """The colours of voltages as the axis of the profile."""
        box = profile.get_position()
        bar = self.figure.add_axes((box.x0 - 0.018, box.y0, 0.014, box.height), sharey=profile)
        shades, norm = voltage_colours(self._band)
        # Beyond the last colours, too, for the axis may reach further.
        v = np.append(np.append(0.0, np.linspace(norm.vmin, norm.vmax, 257)), 2.0)  # type: ignore[arg-type]
        bar.pcolormesh([0.0, 1.0], v, 0.5 * (v[1:] + v[:-1])[:, None], cmap=shades, norm=norm)
        for limit in self._band:
            bar.axhline(limit, color=INK, lw=1.4)
        bar.set_xticks([])
        bar.grid(visible=False)
        bar.spines[:].set_visible(False)
        profile.tick_params(axis="y", labelleft=False, length=0)
        profile.spines["left"].set_visible(False)

    def _draw_strip(self, meter_kw: Floats) -> None:
        """The power of the day, and a mark that moves along it."""
        axes = self.figure.add_axes((0.065, 38 / (HEIGHT + STRIP), 0.905, 75 / (HEIGHT + STRIP)))
        edges = edges_h(len(meter_kw))
        axes.set_title("Power at the meters of the feeder, kW (import > 0)", pad=6)
        axes.axhline(0.0, color=COLOURS["quiet"], lw=0.8)
        axes.stairs(meter_kw, edges, fill=True, color=COLOURS["meter"], alpha=0.2)
        axes.stairs(meter_kw, edges, baseline=None, color=COLOURS["meter"], lw=1.6)
        clock_axis(axes)
        low, high = float(np.nanmin(meter_kw, initial=0.0)), float(np.nanmax(meter_kw, initial=1.0))
        margin = 0.1 * (high - low)
        axes.set_ylim(low - margin * (low < 0.0), high + margin)
        self._now = axes.axvspan(0.0, 0.0, color=INK, alpha=0.25, lw=0, zorder=3.0)
        self._changing.append(self._now)

    def frame(self, v_pu: Floats, line: Floats, trafo: Floats, period: int) -> NDArray[np.uint8]:
        """Picture after so many periods, shape (height, width, 3); values as `render_feeder`."""
        import matplotlib

        with matplotlib.rc_context(STYLE):
            self._map.update(v_pu, line, trafo)
            self._profile.update(v_pu, line, trafo)
            ends = self._range or voltage_range(v_pu, self._band)
            self._clock.set_text(_heading(period))
            text, colour = _state(v_pu, line, trafo, self._band)
            self._state.set(text=text, color=colour)
            if self._meter is not None:
                edges = edges_h(period)[-2:]
                self._now.set_bounds(edges[0], -1e6, edges[-1] - edges[0], 2e6)
            if ends != self._ends:
                self._profile.axes.set_ylim(ends)
                self._canvas.draw()
                self._background = self._canvas.copy_from_bbox(self.figure.bbox)
                self._ends = ends
            self._canvas.restore_region(self._background)
            for artist in self._changing:
                (artist.axes or self.figure).draw_artist(artist)
            return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()


def _heading(period: int) -> str:
    if period == 0:
        return f"{clock(0)}, start of the day"
    return f"{clock(period - 1)} to {clock(period)}"


def _state(v_pu: Floats, line: Floats, trafo: Floats, band: tuple[float, float]) -> tuple[str, str]:
    """What is out of limits, in words, and their colour."""
    if np.isnan(v_pu).all():
        return "the power flow has no solution", INK
    parts = [f"{np.nanmin(v_pu):.3f} to {np.nanmax(v_pu):.3f} pu"]
    outside = int(((v_pu < band[0]) | (v_pu > band[1])).sum())
    over = [
        f"{count} {name}{'s' if count > 1 else ''}"
        for name, count in (("line", (line > 100.0).sum()), ("transformer", (trafo > 100.0).sum()))
        if count
    ]
    unsolved = int(np.isnan(v_pu).sum())
    if unsolved:
        return f"{parts[0]}, {_buses(unsolved)} without solution", INK
    if outside:
        parts.append(f"{_buses(outside)} outside the band")
    if over:
        parts.append(f"{' and '.join(over)} overloaded")
    if len(parts) == 1:
        return f"{parts[0]}, all within limits", "#555555"
    return ", ".join(parts), OVERLOAD if over else INK


def _buses(count: int) -> str:
    return "1 bus" if count == 1 else f"{count} buses"


_lock = Lock()


@lru_cache(maxsize=4)
def _picture(network: Network, band_pu: tuple[float, float]) -> FeederPicture:
    return FeederPicture(network, band_pu)


def render_feeder(
    network: Network,
    v_pu: ArrayLike,
    line_loading_percent: ArrayLike,
    trafo_loading_percent: ArrayLike,
    *,
    band_pu: tuple[float, float],
    period: int,
) -> NDArray[np.uint8]:
    """Draw the map of a feeder and the voltages along its lines.

    Args:
        network: The feeder.
        v_pu: Voltages, shape (buses,), pu; nan where there is no solution.
        line_loading_percent: Shape (lines,), %.
        trafo_loading_percent: Shape (transformers,), %.
        band_pu: Lowest and highest voltage allowed, pu.
        period: Periods played; the values are those of the last. 0 is the start of the day.

    Returns:
        Picture, shape (500, 1000, 3), uint8; the same for the same arguments.

    Raises:
        ScenarioError: Wrong shapes, values that are negative or infinite, no band, or no period
            of a day.
    """
    band = checked_band(band_pu)
    values = checked_values(network, v_pu, line_loading_percent, trafo_loading_percent)
    if not (isinstance(period, int | np.integer) and 0 <= period <= STEPS_PER_DAY):
        raise ScenarioError(
            f"period is {period!r}; expected how many periods have been played, 0 to "
            f"{STEPS_PER_DAY}. Pass the simulation's t."
        )
    with _lock:
        return _picture(network, band).frame(*values, int(period))


def animate_day(
    network: Network,
    v_pu: ArrayLike,
    line_loading_percent: ArrayLike,
    trafo_loading_percent: ArrayLike,
    path: Path | str,
    *,
    band_pu: tuple[float, float],
    meter_kw: ArrayLike | None = None,
    fps: float = 8.0,
) -> None:
    """Write the day of a feeder as a film.

    Args:
        network: The feeder.
        v_pu: Voltages after each of T periods from 06:00 on, shape (T, buses), pu; nan where
            there is no solution.
        line_loading_percent: Shape (T, lines), %.
        trafo_loading_percent: Shape (T, transformers), %.
        path: ``.gif``, or ``.mp4`` where matplotlib finds ffmpeg. Folders are made.
        band_pu: Lowest and highest voltage allowed, pu.
        meter_kw: Power at the meters, shape (T,), or of each house, shape (T, H), kW; drawn as a
            strip below. None for none.
        fps: Periods a second.

    Raises:
        ScenarioError: Wrong shapes, values that are negative or infinite, no band, more periods
            than a day has, another kind of file, or no ffmpeg.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".gif", ".mp4"):
        raise ScenarioError(f"path is {str(path)!r}; expected a name that ends in .gif or .mp4.")
    if not (isinstance(fps, int | float) and 0.1 <= fps <= 50.0):
        raise ScenarioError(f"fps is {fps!r}; expected periods a second, 0.1 to 50.")
    try:
        periods = len(v_pu)  # type: ignore[arg-type]
    except TypeError:
        periods = 0
    if not 1 <= periods <= STEPS_PER_DAY:
        raise ScenarioError(
            f"v_pu has {periods} periods; expected 1 to {STEPS_PER_DAY}. Pass one row for each "
            "period of one day."
        )
    band = checked_band(band_pu)
    values = checked_values(network, v_pu, line_loading_percent, trafo_loading_percent, (periods,))
    if kind == ".mp4":
        _need_ffmpeg(path)
    picture = FeederPicture(
        network, band, meter_kw=None if meter_kw is None else _total(meter_kw, periods),
        v_range=voltage_range(values[0], band),
    )  # fmt: skip
    frames = (picture.frame(*row, k) for k, row in enumerate(zip(*values, strict=True), start=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    (_write_gif if kind == ".gif" else _write_mp4)(path, frames, fps)


def _total(meter_kw: ArrayLike, periods: int) -> Floats:
    """Power of all houses, shape (T,), kW."""
    try:
        power = np.asarray(meter_kw, dtype=np.float64)
    except (TypeError, ValueError):
        power = np.zeros(())
    if power.ndim not in (1, 2) or len(power) != periods or not np.isfinite(power).all():
        raise ScenarioError(
            f"meter_kw has shape {power.shape}, or holds what is no number; expected shape "
            f"({periods},) or ({periods}, houses), kW. Pass None for no strip."
        )
    return power if power.ndim == 1 else power.sum(axis=1)


def _write_gif(path: Path, frames: Iterator[NDArray[np.uint8]], fps: float) -> None:
    """One palette for all frames, so that only what changes is stored."""
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    wide, high = pictures[0].size
    shown = pictures[:: max(1, len(pictures) // 8)]
    sample = Image.new("RGB", (wide, high * len(shown)))
    for k, one in enumerate(shown):
        sample.paste(one, (0, k * high))
    palette = sample.quantize(_GIF_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    small = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures]
    small[0].save(
        path, save_all=True, append_images=small[1:], duration=round(1000.0 / fps), loop=0,
        optimize=False,
    )  # fmt: skip


def _need_ffmpeg(path: Path) -> None:
    from matplotlib.animation import writers

    if not writers.is_available("ffmpeg"):
        raise ScenarioError(
            f"path is {str(path)!r}, but matplotlib finds no ffmpeg; expected the program on the "
            "search path or in matplotlib's setting animation.ffmpeg_path. Install it, or write "
            "a .gif."
        )


def _write_mp4(path: Path, frames: Iterator[NDArray[np.uint8]], fps: float) -> None:
    from matplotlib.animation import FFMpegWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    first = next(frames)
    high, wide, _ = first.shape
    figure = Figure(figsize=(wide / _DPI, high / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    shown = figure.figimage(first)
    writer = FFMpegWriter(fps=fps)  # type: ignore[arg-type]
    with writer.saving(figure, str(path), _DPI):
        writer.grab_frame()
        for frame in frames:
            shown.set_data(frame)
            writer.grab_frame()
