"""Pictures of ``flexgym evaluate local-market``: order books, scores, contract cash flows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import COLOURS
from flexgym.envs.local_market.clearing import clear
from flexgym.envs.local_market.params import RULES
from flexgym.envs.local_market.render import draw_book
from flexgym.evaluate.contract_picture import draw_cash_flows
from flexgym.evaluate.local_market_contracts import CONTRACTS, FLOWS
from flexgym.evaluate.local_market_tables import ALONE, EVERYBODY
from flexgym.evaluate.pictures import INK, picture

SOURCE = ((0.20, 0.30, 0.45, 0.55, 0.50, 0.60), (-5.0, -20.0, -5.0, -10.0, 10.0, 10.0))
"""The source's example: prices in EUR/kWh, signed volumes in kWh; prosumers first."""
_MARKS = dict(zip(RULES, "os^", strict=True))
_TINTS = dict(zip(RULES, (COLOURS["meter"], COLOURS["battery"], COLOURS["export"]), strict=True))


def book_picture(path: Path | str, price: Floats, volume: Floats, title: str) -> None:
    """Order books with their clearing point, and what a kWh cost each buyer under each rule.

    Args:
        path: PNG to write.
        price: Limits of an hour's book, shape (n,), EUR/kWh.
        volume: Its signed volumes, shape (n,), kWh.
        title: What the book is.
    """
    books = (
        ("The source's example", np.array(SOURCE[0]), np.array(SOURCE[1])),
        (title, price, volume),
    )
    width, height = 11.6, 5.4
    with picture(path, width, height) as figure:
        figure.text(
            0.06, 1.0 - 0.38 / height, "Order books, where they clear, and what buyers pay",
            fontsize=14, fontweight="bold", color=INK,
        )  # fmt: skip
        panels = figure.subplots(1, 2)
        figure.subplots_adjust(
            left=0.06, right=0.985, top=1.0 - 1.0 / height, bottom=1.35 / height, wspace=0.16
        )
        for axes, (name, prices, volumes) in zip(panels, books, strict=True):
            traded, _ = clear(prices, volumes, "uniform")
            draw_book(axes, prices, volumes, traded[0])
            for rule in RULES:
                kwh, paid = (x[0] for x in clear(prices, volumes, rule))
                buyers = np.flatnonzero(kwh > 0.0)
                buyers = buyers[np.argsort(-prices[buyers], kind="stable")]
                ends = np.concatenate([[0.0], np.cumsum(kwh[buyers])])
                axes.stairs(
                    100.0 * paid[buyers] / kwh[buyers], ends, baseline=None, color=_TINTS[rule],
                    lw=1.8, ls=":", label=f"buyers pay, {rule}",
                )  # fmt: skip
            axes.set_title(name)
            axes.legend(
                loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=9,
            )  # fmt: skip


def contracts_picture(path: Path | str, flows: Mapping[str, Floats], rule: str) -> None:
    """What participants without a roof pay in each hour, and what for: a panel for each policy.

    Args:
        path: PNG to write.
        flows: By policy, shape (flows, 24), EUR, see `play_contracts`.
        rule: Who pays what.
    """
    names = [name for name in flows if name != "spot only"]
    width, height = 11.6, 3.9
    with picture(path, width, height) as figure:
        figure.text(
            0.06, 1.0 - 0.38 / height,
            f"Contract cash flows: what participants without a roof pay, {rule}",
            fontsize=14, fontweight="bold", color=INK,
        )  # fmt: skip
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(
            left=0.06, right=0.985, top=1.0 - 1.3 / height, bottom=0.62 / height, wspace=0.08
        )
        alone = flows["spot only"][FLOWS.index("spot")]
        for axes, name in zip(panels, names, strict=True):
            # What the utility gets would hide the rest.
            paid = {k: x for k, x in zip(FLOWS, flows[name], strict=True) if k != "utility"}
            draw_cash_flows(axes, paid, ("spot, without contracts", alone))
            axes.set_title(name)
            axes.set_xticks(axes.get_xticks()[:-1:2], axes.get_xticklabels()[:-1:2])
            axes.get_legend().remove()
            if axes is not panels[0]:
                axes.set_ylabel("")
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="upper right", ncols=5,
            bbox_to_anchor=(0.985, 1.0 - 0.5 / height),
        )  # fmt: skip


def scores_picture(path: Path | str, results: Mapping[str, Any]) -> None:
    """Scores of every policy under every rule, all together and alone among truthful others.

    Args:
        path: PNG to write.
        results: Content of ``results.json``.
    """
    rows = [row for row in results["rows"] if row["kind"] == "policy" and row["who"] != CONTRACTS]
    series = list(dict.fromkeys((row["scenario"], row["who"]) for row in rows))
    names = {
        key: list(
            dict.fromkeys(row["policy"] for row in rows if (row["scenario"], row["who"]) == key)
        )
        for key in series
    }
    lines = sum(map(len, names.values()))
    height = 1.5 + 0.36 * lines + 0.75 * len(series)
    with picture(path, 9.6, height) as figure:
        figure.text(
            0.02, 1.0 - 0.38 / height, "Scores in the local market: 0 utility alone, 100 optimum",
            fontsize=14, fontweight="bold", color=INK,
        )  # fmt: skip
        panels = figure.subplots(
            len(series),
            1,
            squeeze=False,
            sharex=True,
            height_ratios=[len(names[k]) for k in series],
        )[:, 0]
        figure.subplots_adjust(
            left=0.17, right=0.975, top=1.0 - 1.05 / height, bottom=0.62 / height, hspace=0.42
        )
        for axes, key in zip(panels, series, strict=True):
            who = {EVERYBODY: "all by the same policy", ALONE: ALONE}[key[1]]
            axes.set_title(f"{results['scenario']['titles'][key[0]]}: {who}")
            for x in (0.0, 100.0):
                axes.axvline(x, color="#333333", lw=1.2, zorder=1)
            for row in rows:
                if (row["scenario"], row["who"]) != key:
                    continue
                apart = 0.2 * (RULES.index(row["rule"]) - 1)
                score = row["score"]
                y = names[key].index(row["policy"]) + apart
                colour = _TINTS[row["rule"]]
                axes.plot([score["low"], score["high"]], [y, y], color=colour, lw=1.4, zorder=2)
                axes.plot(
                    score["mean"], y, _MARKS[row["rule"]], color=colour, ms=6, mec="white",
                    mew=0.6, zorder=3,
                )  # fmt: skip
            axes.set_yticks(range(len(names[key])), names[key])
            axes.set_ylim(len(names[key]) - 0.4, -0.6)
            axes.tick_params(axis="y", length=0, labelcolor=INK)
            axes.grid(visible=False, axis="y")
            axes.spines["left"].set_visible(False)
        panels[-1].set_xlabel("score")
        for rule in RULES:
            panels[0].plot([], [], _MARKS[rule], color=_TINTS[rule], ms=6, label=rule)
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="upper right", ncols=len(RULES),
            bbox_to_anchor=(0.975, 1.0 - 0.6 / height),
        )  # fmt: skip
