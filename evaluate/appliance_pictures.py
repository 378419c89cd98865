"""Pictures of ``flexgym evaluate appliance``: scores, load moved against price, a telling day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.baselines.appliance import hurdle_prices, stopping_rule
from flexgym.envs.appliance.observation import START_HOUR
from flexgym.envs.appliance.scenario import ApplianceScenario, Episodes
from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import COLOURS, DASHED, key
from flexgym.evaluate.appliance_play import BOUND, ApplianceDays
from flexgym.evaluate.pictures import INK, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TINTS = {"interruptible": "battery", "uninterruptible": "meter", "mixed": "import"}
_DRAWN = {"normal": "quiet", "window search": "pv", "optimal": "battery"}
"""Patterns whose load is drawn, with their colours."""
_LOOKED_AT = 2000


def _clock(axes: Axes, hours: int) -> None:
    edges = START_HOUR + np.arange(0, hours + 1, 3)
    axes.set_xlim(START_HOUR, START_HOUR + hours)
    axes.set_xticks(edges, [f"{hour % 24:02d}:00" for hour in edges])


def scores_picture(path: Path | str, results: Mapping[str, Any]) -> None:
    """Scores of every pattern with their 95 % intervals, a mark for each kind of job.

    Args:
        path: PNG to write.
        results: Content of ``results.json``.
    """
    rows = results["rows"]
    kinds = list(dict.fromkeys(row["jobs"] for row in rows))
    means: dict[str, list[float]] = {}
    for row in rows:
        means.setdefault(row["pattern"], []).append(row["score"]["mean"])
    names = sorted(means, key=lambda name: (name == BOUND, np.mean(means[name])))
    height = 1.9 + 0.5 * len(names)
    with picture(path, 9.6, height) as figure:
        left = (0.35 + 0.095 * max(map(len, names))) / 9.6
        axes = figure.add_axes((left, 0.75 / height, 0.965 - left, 1.0 - 1.95 / height))
        figure.text(
            0.02, 1.0 - 0.4 / height, "When to run: 0 at once, 100 the exact optimum",
            fontsize=14, fontweight="bold", color=INK,
        )  # fmt: skip
        for x in (0.0, 100.0):
            axes.axvline(x, color="#333333", lw=1.2, zorder=1)
        for k, kind in enumerate(kinds):
            colour, lift = COLOURS[_TINTS[kind]], 0.2 * (0.5 * (len(kinds) - 1) - k)
            for row in rows:
                if row["jobs"] == kind:
                    y, score = names.index(row["pattern"]) + lift, row["score"]
                    axes.plot([score["low"], score["high"]], [y, y], color=colour, lw=2.4)
                    hollow = row["kind"] == "bound"
                    axes.plot(
                        score["mean"], y, "D" if hollow else "o", color=colour, ms=7,
                        mfc="white" if hollow else colour,
                    )  # fmt: skip
            axes.plot([], [], "o", color=colour, label=f"{kind} jobs")
        labels = [f"{name}\n(bound, no policy)" if name == BOUND else name for name in names]
        axes.set_yticks(range(len(names)), labels)
        axes.tick_params(axis="y", length=0, labelsize=11.5, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlabel("score: share of the exact optimum's saving, %; lines are 95 % intervals")
        figure.legend(
            *axes.get_legend_handles_labels(), loc="upper right", ncols=len(kinds),
            bbox_to_anchor=(0.965, 1.0 - 0.62 / height),
        )  # fmt: skip


def load_picture(
    path: Path | str, worlds: Mapping[str, tuple[Episodes, Sequence[ApplianceDays]]]
) -> None:
    """Load moved against price: the mean price of each hour, and each kind's mean power in it.

    Args:
        path: PNG to write.
        worlds: Episodes and what each policy came to, by kind of job.
    """
    episodes = next(iter(worlds.values()))[0]
    hours = episodes.price_eur_per_kwh.shape[1]
    edges = START_HOUR + np.arange(hours + 1.0)
    height = 2.6 + 2.0 * len(worlds)
    with picture(path, 9.6, height) as figure:
        figure.text(
            0.02, 1.0 - 0.38 / height, "Load moved against price, mean of all days",
            fontsize=14, fontweight="bold", color=INK,
        )  # fmt: skip
        panels = figure.subplots(1 + len(worlds), 1, sharex=True)
        figure.subplots_adjust(
            left=0.085, right=0.965, top=1.0 - 0.95 / height, bottom=0.4 / height, hspace=0.42
        )
        price = 100.0 * np.quantile(episodes.price_eur_per_kwh, [0.1, 0.5, 0.9], axis=0)
        mean = 100.0 * episodes.price_eur_per_kwh.mean(axis=0)
        panels[0].stairs(
            price[2], edges, baseline=price[0], fill=True, color=COLOURS["import"], alpha=0.18,
            label="80 % of days",
        )  # fmt: skip
        panels[0].stairs(mean, edges, baseline=None, color=COLOURS["import"], lw=2.0, label="mean")
        panels[0].set_title("Price, ct/kWh")
        panels[0].set_ylim(min(0.0, 1.1 * price[0].min()), 1.1 * price[2].max())
        key(panels[0])
        for axes, (kind, (_, played)) in zip(panels[1:], worlds.items(), strict=True):
            for days in played:
                if days.policy in _DRAWN:
                    power, colour = days.power_kw.mean(axis=0), COLOURS[_DRAWN[days.policy]]
                    normal = days.policy == "normal"
                    axes.stairs(
                        power, edges, baseline=0.0 if normal else None, fill=normal, color=colour,
                        alpha=0.45 if normal else 1.0, lw=2.0, label=days.policy,
                    )  # fmt: skip
            axes.set_title(f"Power of an appliance, {kind} jobs, kW")
            axes.set_ylim(bottom=0.0)
            key(axes)
        for axes in panels:
            _clock(axes, hours)


def telling_day(episodes: Episodes, played: Sequence[ApplianceDays]) -> int:
    """Where the optimum saves most over the window search: a day of news, not an average one."""
    cost = {days.policy: days.cost_eur[:_LOOKED_AT] for days in played}
    return int(np.argmax(cost["window search"] - cost["optimal"]))


def day_picture(
    path: Path | str,
    scenario: ApplianceScenario,
    episodes: Episodes,
    played: Sequence[ApplianceDays],
) -> None:
    """One job in full: price, forecast and limit of the optimum; hours in which each pattern ran.

    Args:
        path: PNG to write.
        scenario: Where the episodes come from.
        episodes: The episodes.
        played: What each policy came to on them.
    """
    i = telling_day(episodes, played)
    job, signal = episodes.jobs.job(i), episodes.signal[i]
    process, hours = scenario.processes[episodes.row[i]], scenario.periods
    edges = START_HOUR + np.arange(hours + 1.0)
    ran = {days.policy: days.power_kw[i] > 0.0 for days in played}
    height = 3.9 + 0.34 * len(played)
    with picture(path, 9.6, height) as figure:
        pause = "may pause" if job.interruptible else "may not pause"
        figure.text(
            0.02, 1.0 - 0.38 / height,
            f"One telling job: {job.hours} h of {job.window} h at {job.power_kw:.1f} kW, {pause}",
            fontsize=14, fontweight="bold", color=INK,
        )  # fmt: skip
        longest = max(len(days.policy) for days in played)
        left = (0.3 + 0.087 * longest) / 9.6
        width = 0.885 - left
        axes = figure.add_axes((left, 1.0 - 3.3 / height, width, 2.35 / height))
        axes.set_title("Price, ct/kWh", loc="left")
        axes.stairs(
            100.0 * episodes.price_eur_per_kwh[i], edges, baseline=None, color=COLOURS["import"],
            lw=2.0, label="price",
        )  # fmt: skip
        first = job.earliest
        axes.stairs(
            100.0 * process.forecasts[first, signal[first], first:], edges[first:], baseline=None,
            color=COLOURS["import"], lw=1.2, ls=DASHED, label="forecast at first",
        )  # fmt: skip
        limit, name = _limit(process, job, signal, ran["optimal"])
        axes.stairs(
            100.0 * limit, edges, baseline=None, color=COLOURS["battery"], lw=2.0, label=name
        )
        below = figure.add_axes((left, 0.45 / height, width, (0.34 * len(played)) / height))
        for y, days in enumerate(reversed(played)):
            hollow = days.policy == BOUND
            below.barh(
                np.full(ran[days.policy].sum(), y), 1.0, left=edges[:-1][ran[days.policy]],
                height=0.62, align="center", color=COLOURS["quiet" if hollow else "battery"],
                edgecolor="white",
            )  # fmt: skip
            below.text(
                1.015, y, f"{days.cost_eur[i]:.2f} EUR".replace("-", "\N{MINUS SIGN}"),
                transform=below.get_yaxis_transform(), va="center", color=INK,
            )  # fmt: skip
        below.set_yticks(range(len(played)), [days.policy for days in reversed(played)])
        below.tick_params(axis="y", length=0, labelcolor=INK)
        below.set_ylim(-0.6, len(played) - 0.4)
        below.grid(visible=False, axis="y")
        for panel in (axes, below):
            panel.axvspan(
                edges[job.earliest], edges[job.deadline], color=COLOURS["quiet"], alpha=0.12, lw=0
            )
            _clock(panel, hours)
        axes.tick_params(axis="x", labelbottom=False)
        key(axes)


def _limit(process: Any, job: Any, signal: np.ndarray, ran: np.ndarray) -> tuple[Floats, str]:
    """Highest price at which the optimum ran or began in each hour, EUR/kWh, and its name.

    NaN, which is not drawn, where there is nothing left to decide.
    """
    hours = process.periods
    out, left = np.full(hours, np.nan), job.hours
    at = np.arange(hours)
    if job.interruptible:
        hurdle, name = hurdle_prices(process, job).hurdle_eur_per_kwh, "hurdle price"
        left = job.hours - np.concatenate([[0], np.cumsum(ran)[:-1]])
        out = hurdle[at, left, signal]
    else:
        name = "reserve, mean of its hours"
        waiting = np.cumsum(ran) - ran == 0
        reserve = stopping_rule(process, job).reserve_eur_per_kw[at, signal]
        out = np.where(waiting, reserve / max(job.hours, 1), np.nan)
    return np.where(np.isfinite(out), out, np.nan), name
