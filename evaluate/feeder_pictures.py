"""Pictures of ``flexgym evaluate feeder``: the feeder's power over the day, its worst moment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexgym.envs.feeder.accounts import OVERLOAD_EUR, VOLTAGE_EUR
from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import COLOURS, DASHED, clock_axis, edges_h
from flexgym.evaluate.feeder_sample import Days, FeederDays, trace
from flexgym.evaluate.pictures import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from flexgym.policies.feeder import FeederPolicy

_LINES = (COLOURS["quiet"], COLOURS["meter"], COLOURS["import"], COLOURS["battery"], COLOURS["pv"])
_TELLING = ("unmanaged", "selfish", "menus-forecast", "menus-coordinated", "centralised")


def feeder_pictures(
    folder: Path,
    days: FeederDays,
    played: Sequence[Days],
    last: FeederPolicy,
    *,
    animation: bool = False,
) -> None:
    """Write ``day.png``, ``worst.png`` and, if asked for, ``worst.gif``.

    Args:
        folder: Where to.
        days: What was played.
        played: What happened, one a policy.
        last: The last of the policies; its worst day is shown.
        animation: Whether the worst day is written as GIF too.
    """
    from matplotlib.image import imsave

    from flexgym.envs.feeder.render import animate_day, render_feeder

    power_picture(folder / "day.png", days, played)
    totals = played[-1].totals
    worst = int(np.argmax(totals[:, VOLTAGE_EUR] + totals[:, OVERLOAD_EUR]))
    _, (v_pu, line, trafo) = trace(last, days, worst)
    grid, band = days.scenario.network, days.scenario.band_pu
    t = _worst_moment(v_pu, line, trafo, band)
    v_pu = np.where(v_pu > 0.0, v_pu, np.nan)
    image = render_feeder(grid, v_pu[t], line[t], trafo[t], band_pu=band, period=t + 1)
    imsave(folder / "worst.png", image)
    if animation:
        power = played[-1].grid_kw[worst]
        animate_day(
            grid, v_pu, line, trafo, folder / "worst.gif", band_pu=band, meter_kw=power
        )  # fmt: skip


def _worst_moment(v_pu: Floats, line: Floats, trafo: Floats, band: tuple[float, float]) -> int:
    """Period in which limits are passed furthest: 1 % of loading counts as 0.001 pu."""
    outside = np.maximum(v_pu - band[1], band[0] - v_pu).max(axis=1)
    load = np.concatenate([line, trafo], axis=1).max(axis=1) - 100.0
    return int(np.argmax(np.maximum(outside, 0.001 * load)))


def power_picture(path: Path, days: FeederDays, played: Sequence[Days]) -> None:
    """Draw power at the transformer and how often limits are violated, over the day.

    Args:
        path: PNG to write.
        days: What was played.
        played: What happened, one a policy; of more than five, those of `_TELLING` come first.
    """
    telling = [one for name in _TELLING for one in played if one.policy == name]
    rest = [one for one in played if one.policy not in _TELLING]
    if len(played) > len(_LINES):
        played = (telling + rest)[: len(_LINES)]
    scenario = days.scenario
    rating = float(scenario.network.trafo_rating_kva.sum())
    with picture(path, 9.6, 6.6) as figure:
        figure.subplots_adjust(left=0.09, right=0.97, top=0.86, bottom=0.07, hspace=0.34)
        power, often = figure.subplots(2, 1, height_ratios=(2.0, 1.0))
        _draw_power(power, played, rating)
        _draw_violations(often, played)
        figure.text(
            0.09, 0.955, f"{scenario.name}: {len(days)} feeder-days of {scenario.n_houses} houses",
            fontsize=14, fontweight="bold", color="#1a1a1a",
        )  # fmt: skip


def _draw_power(axes: Axes, played: Sequence[Days], rating: float) -> None:
    at = edges_h(played[0].grid_kw.shape[1])
    for one, colour in zip(played, _LINES, strict=False):
        low, high = np.quantile(one.grid_kw, [0.1, 0.9], axis=0)
        axes.stairs(high, at, baseline=low, fill=True, color=colour, alpha=0.16, linewidth=0)
        axes.stairs(one.grid_kw.mean(axis=0), at, baseline=None, color=colour, linewidth=1.8,
                    label=one.policy)  # fmt: skip
    for sign in (1.0, -1.0):
        axes.axhline(sign * rating, color="#1a1a1a", linestyle=DASHED, linewidth=1.0)
    axes.annotate(
        f"transformer {rating:.0f} kVA", (at[len(at) // 2], rating), xytext=(64, 4),
        textcoords="offset points", fontsize=9,
    )  # fmt: skip
    axes.set_title("Power drawn from the grid above: mean, 10 to 90 % of the days")
    axes.set_ylabel("kW")
    axes.legend(loc="upper left", frameon=False, ncols=len(played), fontsize=10)
    low, high = axes.get_ylim()
    span = high - low
    axes.set_ylim(low - 0.04 * span, high + 0.16 * span)  # room for the legend
    clock_axis(axes)


def _draw_violations(axes: Axes, played: Sequence[Days]) -> None:
    at = edges_h(played[0].violated.shape[1])
    for one, colour in zip(played, _LINES, strict=False):
        share = 100.0 * one.violated.mean(axis=0)
        axes.stairs(share, at, baseline=None, color=colour, linewidth=1.8)
    axes.set_title("Days on which a voltage, line or transformer limit is violated then")
    axes.set_ylabel("%")
    axes.set_ylim(0.0, 105.0)
    clock_axis(axes)
