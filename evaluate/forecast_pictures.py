"""Pictures of ``flexgym describe forecasts``: distributions by lead time, and a fan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.forecasts.estimate import ForecastStatistics
from flexgym.envs.forecasts.generator import ForecastGenerator
from flexgym.envs.forecasts.record import ForecastRecord
from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import COLOURS, DASHED
from flexgym.evaluate.pictures import INK, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DRAWN_LEADS = (1, 3, 6, 24)
_TINTS = tuple(COLOURS[name] for name in ("import", "battery", "pv", "meter"))
_TAIL = 0.004
"""Share of a sample that may fall outside of a panel on either side."""
_PATHS = 2000
_SHOWN_PATHS = 12
_ISSUE_HOUR = 6
_REISSUED_H = 3


def histogram_picture(
    path: Path | str, results: Mapping[str, Any], counted: Sequence[Mapping[str, Any]]
) -> None:
    """Histograms of prices, errors and updates, and standard deviations by lead time.

    Args:
        path: PNG to write.
        results: Content of ``results.json``.
        counted: Rows of ``histograms.csv``.
    """
    height = 7.6
    with picture(path, 11.6, height) as figure:
        figure.text(
            0.06, 1.0 - 0.4 / height, results["scenario"]["title"],
            fontsize=14, fontweight="bold", color=INK,
        )  # fmt: skip
        (prices, wrong), (revised, deviations) = figure.subplots(2, 2)
        figure.subplots_adjust(
            left=0.065, right=0.985, top=1.0 - 1.0 / height, bottom=0.62 / height,
            hspace=0.42, wspace=0.16,
        )  # fmt: skip
        _stairs(prices, counted, "price", [(0, COLOURS["import"], "")], fill=True)
        prices.set_title("Realised prices")
        K = results["scenario"]["leads"]
        leads = sorted({min(k, K) for k in _DRAWN_LEADS})
        for axes, quantity, title in (
            (wrong, "error", "Errors: forecast minus price"),
            (revised, "update", "Updates: forecast minus the one an hour before"),
        ):
            if quantity == "error":
                series = [(k, tint, f"{k} h ahead") for k, tint in zip(leads, _TINTS, strict=False)]
            else:
                series = [
                    (k, tint, f"{k} to {k - 1} h ahead")
                    for k, tint in zip(leads, _TINTS, strict=False)
                ]
            _stairs(axes, counted, quantity, series)
            axes.set_title(title)
            axes.legend(loc="upper left")
        for axes in (prices, wrong, revised):
            axes.set_xlabel("ct/kWh")
            axes.set_ylabel("share per ct/kWh")
        rows = results["rows"]
        lead = [row["lead_h"] for row in rows]
        for key, label, style in (
            ("error_sd_eur_per_kwh", "error", {"color": INK, "lw": 2.2}),
            ("independent_sd_eur_per_kwh", "error if updates were independent",
             {"color": COLOURS["battery"], "ls": DASHED}),
            ("signals_sd_eur_per_kwh", "error of the fitted chain",
             {"color": COLOURS["meter"], "ls": DASHED}),
            ("update_sd_eur_per_kwh", "next update of that forecast",
             {"color": COLOURS["import"], "lw": 1.4}),
        ):  # fmt: skip
            value = [100 * row[key] for row in rows]
            deviations.plot(lead, value, marker="o", ms=3, label=label, **style)
        deviations.set_title("Standard deviation by lead time")
        deviations.set_xlabel("hours ahead")
        deviations.set_ylabel("ct/kWh")
        deviations.set_xlim(0, K + 0.5)
        top = max(100 * row[key] for row in rows for key in row if "_sd_" in key)
        deviations.set_ylim(0.0, 1.45 * top if top > 0.0 else 1.0)
        deviations.legend(loc="upper left", ncols=2, fontsize=9.5)


def _stairs(
    axes: Axes,
    counted: Sequence[Mapping[str, Any]],
    quantity: str,
    series: Sequence[tuple[int, str, str]],
    *,
    fill: bool = False,
) -> None:
    """Densities of one quantity, one line for each of (lead time, colour, label)."""
    reach, top = [], 0.0
    for lead, colour, label in series:
        rows = [r for r in counted if r["quantity"] == quantity and r["lead_h"] == lead]
        edges = 100 * np.array([rows[0]["low_eur_per_kwh"], *(r["high_eur_per_kwh"] for r in rows)])
        share = np.array([r["count"] for r in rows]) / sum(r["count"] for r in rows)
        density = share / np.diff(edges)
        axes.stairs(density, edges, color=colour, lw=1.6, label=label, fill=False)
        if fill:
            axes.stairs(density, edges, color=colour, alpha=0.25, fill=True)
        inner = np.flatnonzero((np.cumsum(share) > _TAIL) & (np.cumsum(share) - share < 1 - _TAIL))
        reach += [edges[inner[0]], edges[inner[-1] + 1]]
        top = max(top, float(density.max()))
    axes.set_xlim(min(reach), max(reach))
    axes.set_ylim(0.0, 1.08 * top)


def fan_picture(
    path: Path | str,
    record: ForecastRecord,
    statistics: ForecastStatistics,
    generator: ForecastGenerator,
    seed: int,
) -> None:
    """One day's forecasts with the record's quantiles, and what the generator makes of the day.

    Args:
        path: PNG to write.
        record: Forecasts and prices.
        statistics: Their estimates.
        generator: Made of the record.
        seed: Of the generated prices.
    """
    K = record.leads
    s = _issue(record)
    ahead = np.arange(K + 1)
    forecast = 100 * record.forecast[s + ahead, ahead]
    price = 100 * record.price_eur_per_kwh[s + ahead]
    bands = 100 * np.hstack(
        [np.zeros((len(statistics.error.quantiles), 1)), statistics.error.quantiles]
    )
    drawn = forecast + 100 * future(generator, np.random.default_rng(seed), _PATHS)
    outer, inner = (np.quantile(drawn, pair, axis=0) for pair in ((0.05, 0.95), (0.25, 0.75)))
    height = 4.9
    with picture(path, 11.6, height) as figure:
        figure.text(
            0.06, 1.0 - 0.4 / height, f"Forecasts issued on {record.time(s):%d %B %Y at %H:%M}",
            fontsize=14, fontweight="bold", color=INK,
        )  # fmt: skip
        left, right = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(
            left=0.06, right=0.985, top=1.0 - 1.3 / height, bottom=0.62 / height, wspace=0.06
        )
        left.set_title("With the record's quantiles, and as they were revised")
        _band(left, ahead, forecast - bands[4], forecast - bands[0], "90 %", 0.15)
        _band(left, ahead, forecast - bands[3], forecast - bands[1], "50 %", 0.3)
        for later in range(_REISSUED_H, K, _REISSUED_H):
            rest = np.arange(K + 1 - later)
            again = 100 * record.forecast[s + later + rest, rest]
            left.plot(
                later + rest, again, color=COLOURS["meter"], lw=0.9, alpha=0.7,
                label=f"revised every {_REISSUED_H} h" if later == _REISSUED_H else None,
            )  # fmt: skip
        right.set_title(f"With {_PATHS} draws of the generator from there on")
        _band(right, ahead, outer[0], outer[1], "90 %", 0.15)
        _band(right, ahead, inner[0], inner[1], "50 %", 0.3)
        for i, line in enumerate(drawn[:_SHOWN_PATHS]):
            right.plot(
                ahead, line, color=COLOURS["quiet"], lw=0.6, alpha=0.7,
                label=f"{_SHOWN_PATHS} of the draws" if i == 0 else None,
            )  # fmt: skip
        for axes in (left, right):
            axes.plot(ahead, forecast, color=COLOURS["import"], lw=2.2, label="forecast")
            axes.plot(ahead, price, color=INK, lw=1.6, ls=DASHED, label="price")
            axes.set_xlim(0, K)
            axes.set_xlabel("hours ahead")
        left.set_ylabel("ct/kWh")
        parts = {}
        for axes in (left, right):
            handles, labels = axes.get_legend_handles_labels()
            parts |= dict(zip(labels, handles, strict=True))
        figure.legend(
            list(parts.values()), list(parts), loc="upper right", ncols=len(parts),
            bbox_to_anchor=(0.99, 1.0 - 0.55 / height), columnspacing=1.4,
        )  # fmt: skip


def future(generator: ForecastGenerator, rng: np.random.Generator, size: int) -> Floats:
    """Drawn price minus forecast 0..K hours after the forecasts were issued, shape (size, K + 1).

    Prices of one draw share what is learnt on the way.
    """
    K = generator.leads
    table = generator.draw(np.zeros(K), rng, size)
    lead = np.arange(1, K + 1)
    apart = table[:, lead - 1, 0] - table[:, lead - 1, lead]
    return np.concatenate([np.zeros((size, 1)), apart], axis=1)


def _band(axes: Axes, x: NDArray[Any], low: Floats, high: Floats, label: str, alpha: float) -> None:
    axes.fill_between(x, low, high, color=COLOURS["import"], alpha=alpha, lw=0, label=label)


def _issue(record: ForecastRecord) -> int:
    """Hour of issue nearest to the middle of the record, in the morning where there is one."""
    possible = np.arange(record.periods - record.leads)
    morning = possible[record.hour_of_day[possible] == _ISSUE_HOUR]
    chosen = morning if morning.size else possible
    return int(chosen[np.argmin(np.abs(chosen - len(possible) / 2))])
