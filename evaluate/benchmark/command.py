"""``flexgym benchmark``: every policy in every environment, on the same days, with intervals."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexgym.evaluate.benchmark.arena import Setting
    from flexgym.evaluate.benchmark.entry import Team

FOLDER = Path("runs/benchmark")
BLOCK = "leaderboard"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--suite", default="small", help="small (default) or full")
    parser.add_argument(
        "--policy", action="append", default=[], metavar="[PATTERN=]MODULE:CALLABLE",
        help="own policy, also FILE.py:CALLABLE, played in the settings that fit PATTERN; "
        "may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--run", action="append", default=[], metavar="[NAME=]FOLDER",
        help="run of flexgym train, or a folder of them, one for each seed; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--only", action="append", default=[], metavar="PATTERN",
        help="settings to play, such as 'household/*'; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--document", type=Path,
        help=f"Markdown file whose block <!-- {BLOCK} --> gets the tables",
    )  # fmt: skip
    parser.add_argument(
        "--cards", action="store_true",
        help="write the scores of shipped policies into their model cards",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Benchmark as the command line says."""
    from flexgym.envs.errors import ScenarioError
    from flexgym.evaluate.benchmark.cards import check_cards, update_cards
    from flexgym.evaluate.benchmark.suite import chosen
    from flexgym.evaluate.benchmark.tables import markdown_tables
    from flexgym.evaluate.report import block_marks, update_block

    if arguments.document:
        block_marks(arguments.document, BLOCK)
    if arguments.cards:
        if arguments.only:
            raise ScenarioError(
                f"--cards goes with --only {' '.join(arguments.only)}; expected the whole suite, "
                "for a card has the scores of all settings. Leave out one of them."
            )
        check_cards()
    folder = arguments.out or FOLDER
    results = benchmark(
        folder,
        settings=chosen(arguments.suite, arguments.only),
        suite=arguments.suite,
        runs=arguments.run,
        code=arguments.policy,
        seed=arguments.seed,
        workers=arguments.threads,
        command=arguments.command,
    )
    if arguments.document:
        update_block(arguments.document, BLOCK, markdown_tables(results))
    if arguments.cards:
        update_cards(results)
    print(
        f"wrote {folder}/results.json, results.csv, timings.csv, leaderboard.md, overview.png, "
        "report.html"
    )
    return 0


def benchmark(
    folder: str | Path,
    *,
    settings: Sequence[Setting],
    suite: str = "small",
    runs: Sequence[str] = (),
    code: Sequence[str] = (),
    weights: str | Path | None = None,
    seed: int = 0,
    workers: int = 1,
    command: str | None = None,
) -> dict[str, Any]:
    """Play all cells that are not there yet; write tables and the report.

    Args:
        folder: Where everything goes; cells that lie there and still hold are taken up.
        settings: What is played.
        suite: What to call them.
        runs: Run folders; see `flexgym.evaluate.benchmark.entry.run_entries`.
        code: Own policies; see `flexgym.evaluate.benchmark.entry.code_entries`.
        weights: Where shipped policies lie; None is the package's folder.
        seed: Of the first episode, and of the resamples.
        workers: Processes side by side.
        command: Command line to note down, or None.

    Returns:
        The content of ``results.json``.

    Raises:
        RunError: A trained policy is missing, damaged, or fits no setting.
        ScenarioError: The reference gains nothing in a setting, or the seed is one that policies
            are trained or chosen on.
    """
    from time import perf_counter

    from tqdm import tqdm

    from flexgym.envs.errors import ScenarioError
    from flexgym.evaluate import report
    from flexgym.evaluate.benchmark.cell import Cell, play_cells
    from flexgym.evaluate.benchmark.html import write_report
    from flexgym.evaluate.benchmark.rows import rows_of
    from flexgym.evaluate.benchmark.suite import VALIDATION_SEED
    from flexgym.evaluate.benchmark.tables import markdown_tables, print_summary
    from flexgym.policies.zoo import WEIGHTS

    most = max(setting.episodes for setting in settings)
    if not 0 <= seed <= VALIDATION_SEED - most:
        raise ScenarioError(
            f"seed is {seed}; expected 0 to {VALIDATION_SEED - most}, for policies are chosen and "
            "trained on those behind."
        )
    started = perf_counter()
    out = report.output_folder(folder)
    teams = _teams(settings, runs, code, Path(weights or WEIGHTS), seed, out)
    cells = [
        Cell(team.setting, entry, part, seed)
        for team in teams
        for entry in team.entries
        for part in range(team.setting.parts)
    ]
    # What somebody brings along may fail: that is heard of before hours have gone by.
    cells.sort(key=lambda cell: cell.entry.origin != "code")
    # disable=None: no bar where there is no terminal.
    with tqdm(total=len(cells), desc="cells", leave=False, disable=None) as bar:
        played = play_cells(cells, out, workers=workers, progress=bar.update)
    rows, timings, titles = [], [], []
    for team in teams:
        found = rows_of(team, seed, out)
        rows += found.rows
        timings += found.timings
        titles.append(found.title)
    results = report.write_results(
        out,
        command=command,
        seed=seed,
        environment="benchmark",
        scenario={"title": f"suite {suite}, seed {seed}", "suite": suite, "settings": titles},
        rows=rows,
        timings=timings,
    )
    report.write_csv(out / "timings.csv", timings)
    (out / "leaderboard.md").write_text(markdown_tables(results) + "\n")
    write_report(out / "report.html", results)
    print_summary(results)
    print(f"{played} of {len(cells)} cells played, {perf_counter() - started:.0f} s")
    return results


def _teams(
    settings: Sequence[Setting],
    runs: Sequence[str],
    code: Sequence[str],
    weights: Path,
    seed: int,
    out: Path,
) -> list[Team]:
    """Who takes part in each setting."""
    from flexgym.envs.errors import RunError
    from flexgym.evaluate.benchmark.cell import arena_of
    from flexgym.evaluate.benchmark.entry import (
        code_entries,
        run_entries,
        shipped_entries,
        team_of,
    )

    trained, own, shipped = run_entries(runs), code_entries(code), shipped_entries(weights)
    for entry in trained:
        _say_other_data(entry.source)
    teams = [
        team_of(setting, arena_of(setting, seed, out / "solutions"), trained, own, shipped)
        for setting in settings
    ]
    taken = {entry for team in teams for entry in team.entries}
    left = [entry for entry in (*trained, *(one for _, one in own)) if entry not in taken]
    if left:
        raise RunError(
            f"{', '.join(entry.source for entry in left)} fits none of the settings "
            f"{', '.join(setting.name for setting in settings)}; expected policies that were "
            "trained for one of them. Choose --only, or the pattern before '='."
        )
    return teams


def _say_other_data(folder: str) -> None:
    """Tell who was trained on prices or sessions that the benchmark does not play."""
    from flexgym.policies.runs import read_run

    config = read_run(folder)
    for what in ("prices", "sessions"):
        if config.get(what):
            print(
                f"note: {folder} was trained on {what} of {config[what]}; the benchmark plays the "
                f"{what} that ship.",
                file=sys.stderr,
            )
