"""``flexgym reproduce ising``: figures 2 to 8 of the Ising paper, and its claims beside them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.errors import ScenarioError

if TYPE_CHECKING:
    from flexgym.evaluate.ising.figure import Effort

FIGURES = (2, 3, 4, 5, 6, 7, 8)
SOURCE = (
    "An Ising Spin-Based Model to Explore Efficient Flexibility in Distributed Power Systems, "
    "Complexity 2018, 5905932"
)
PRICES = "synthetic: those of the paper are lost, so no figure in EUR is one of the paper"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--quick", action="store_true", help="fewer runs and coarser grids")
    every = ",".join(map(str, FIGURES))
    parser.add_argument("--figures", default=every, help=f"which figures (default {every})")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- ising --> gets the tables"
    )


def run(arguments: argparse.Namespace) -> int:
    """Reproduce as the command line says; exit code 1 where a check value does not come out."""
    from flexgym.evaluate.ising.figure import FULL, QUICK
    from flexgym.evaluate.ising.tables import markdown_tables
    from flexgym.evaluate.report import block_marks, publish

    try:
        figures = [int(each) for each in arguments.figures.split(",") if each.strip()]
    except ValueError:
        raise ScenarioError(
            f"figures is {arguments.figures!r}; expected whole numbers between commas."
        ) from None
    if arguments.document:
        block_marks(arguments.document, "ising")
    folder = arguments.out or Path("results/ising")
    results = reproduce(
        folder,
        effort=QUICK if arguments.quick else FULL,
        figures=figures,
        seed=arguments.seed,
        command=arguments.command,
    )
    if arguments.document:
        publish(arguments.document, "ising", markdown_tables(results), results)
    drawn = ", ".join(f"figure-{number}.png" for number in results["scenario"]["figures"])
    print(f"wrote {folder}/results.json, results.csv, {drawn} and their data as CSV")
    return 0 if all(row["agrees"] for row in results["checks"]) else 1


def reproduce(
    folder: str | Path,
    *,
    effort: Effort,
    figures: Sequence[int] = FIGURES,
    seed: int = 0,
    command: str | None = None,
) -> dict[str, Any]:
    """Compute figures and check values, write data, pictures and the table of claims.

    Args:
        folder: Where results go.
        effort: How many runs, on which grids.
        figures: Which figures, numbers of the paper.
        seed: Of all random numbers; each figure has a stream of its own.
        command: Command line to note down, or None.

    Returns:
        The content of ``results.json``.

    Raises:
        ScenarioError: There is no such figure.
    """
    from tqdm import tqdm

    from flexgym.evaluate import report
    from flexgym.evaluate.ising import market_figures, robustness, spin_figures
    from flexgym.evaluate.ising.checks import check_values
    from flexgym.evaluate.ising.pictures import draw
    from flexgym.evaluate.ising.tables import print_tables

    chosen = sorted(set(figures))
    if not chosen or not set(chosen) <= set(FIGURES):
        raise ScenarioError(
            f"figures is {list(figures)}; expected some of {', '.join(map(str, FIGURES))}: "
            "figure 1 of the paper is a scheme."
        )
    compute = {
        2: spin_figures.forgetting,
        3: market_figures.shifting,
        4: spin_figures.herding,
        5: market_figures.balancing,
        6: robustness.robustness,
        7: market_figures.assigning,
        8: spin_figures.boundaries,
    }
    out = report.output_folder(folder)
    # disable=None: no bar where there is no terminal.
    watch = partial(tqdm, leave=False, disable=None)
    claims = []
    for number in chosen:
        data = compute[number](effort, np.random.default_rng([seed, number]), watch)
        report.write_csv(out / f"figure-{number}.csv", data.rows)
        draw(out / f"figure-{number}.png", data)
        claims += data.claims
    results = report.write_results(
        out,
        command=command,
        seed=seed,
        environment="flexgym.envs.aggregator_market",
        scenario={
            "title": "Claims of the Ising paper",
            "source": SOURCE,
            "prices": PRICES,
            "figures": chosen,
            "effort": asdict(effort),
        },
        checks=check_values(seed),
        rows=[asdict(claim) for claim in claims],
    )
    print_tables(results)
    return results
