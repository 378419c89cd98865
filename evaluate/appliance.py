"""``flexgym evaluate appliance``: when to run a job, every pattern scored 0 to 100."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexgym.envs.errors import ScenarioError

if TYPE_CHECKING:
    from flexgym.policies.appliance import AppliancePolicy

ENV_ID = "flexgym/Appliance-v0"
JOBS = ("interruptible", "uninterruptible", "mixed")
PATTERNS = (
    "normal",
    "acceptance",
    "acceptance, tuned",
    "window search",
    "window search, re-planned",
    "prediction",
    "optimal",
)
DAYS = 20_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--jobs", default=",".join(JOBS), help="comma-separated (default all): " + ", ".join(JOBS)
    )
    parser.add_argument("--days", type=int, default=DAYS, help=f"days to play (default {DAYS})")
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument(
        "--uncertainty", default="autoregressive", help="autoregressive, markov or none"
    )
    parser.add_argument(
        "--noise", type=float, default=0.0,
        help="deviation of what the price adds after the decision, EUR/kWh (default 0)",
    )  # fmt: skip
    parser.add_argument("--prices", type=Path, help="CSV with your own prices")
    parser.add_argument(
        "--policy", action="append", default=[],
        help="trained policy: folder, .zip or module:callable; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- appliance --> gets the tables"
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as the command line says."""
    from flexgym.envs.data import load_prices
    from flexgym.evaluate.appliance_tables import markdown_tables
    from flexgym.evaluate.report import block_marks, publish

    if arguments.document:
        block_marks(arguments.document, "appliance")
    folder = arguments.out or Path("results/appliance")
    results = evaluate(
        folder,
        jobs=[name.strip() for name in arguments.jobs.split(",") if name.strip()],
        days=arguments.days,
        split=arguments.split,
        uncertainty=arguments.uncertainty,
        noise_sd_eur_per_kwh=arguments.noise,
        prices=load_prices(arguments.prices) if arguments.prices else None,
        learned=arguments.policy,
        seed=arguments.seed,
        command=arguments.command,
    )
    if arguments.document:
        publish(arguments.document, "appliance", markdown_tables(results), results)
    print(f"wrote {folder}/results.json, results.csv, scores.png, load.png, day.png")
    return 0


def evaluate(
    folder: str | Path,
    *,
    jobs: Sequence[str] = JOBS,
    days: int = DAYS,
    split: str = "test",
    uncertainty: str = "autoregressive",
    noise_sd_eur_per_kwh: float = 0.0,
    prices: Any = None,
    learned: Sequence[str] = (),
    seed: int = 0,
    command: str | None = None,
) -> dict[str, Any]:
    """Play every pattern on the same days and jobs; write tables and pictures.

    Args:
        folder: Where results go.
        jobs: Kinds of jobs, of `JOBS`.
        days: Days played of each; day i is that of the environment seeded ``seed + i``.
        split: Split of days. Limits of acceptance are tuned on the train split.
        uncertainty: Name of a price model.
        noise_sd_eur_per_kwh: See `ApplianceEnv`.
        prices: From `load_prices`, or None.
        learned: Trained policies, see `load_appliance_policy`.
        seed: Of all random numbers.
        command: Command line to note down, or None.

    Returns:
        The content of ``results.json``.

    Raises:
        ScenarioError: Unknown kind of job, split or price model, or fewer than two days.
        RunError: A trained policy is missing, damaged or does not fit.
    """
    from tqdm import tqdm

    from flexgym.envs.appliance.scenario import ApplianceScenario
    from flexgym.evaluate import report
    from flexgym.evaluate.appliance_pictures import day_picture, load_picture, scores_picture
    from flexgym.evaluate.appliance_play import draw_days, foresight_days, play_days
    from flexgym.evaluate.appliance_tables import appliance_rows, print_tables
    from flexgym.policies.learned_appliance import load_appliance_policy

    wrong = sorted(set(jobs) - set(JOBS))
    if wrong or not jobs:
        raise ScenarioError(
            f"jobs is {', '.join(jobs) or 'empty'}; expected names of {', '.join(JOBS)}."
        )
    if days < 2:
        raise ScenarioError(f"days is {days}; expected at least 2.")
    trained = [load_appliance_policy(source) for source in learned]
    out, rows, worlds = report.output_folder(folder), [], {}
    options = {
        "prices": prices,
        "uncertainty": uncertainty,
        "noise_sd_eur_per_kwh": noise_sd_eur_per_kwh,
    }
    # disable=None: no bar where there is no terminal.
    total = len(jobs) * days * (len(PATTERNS) + len(trained))
    with tqdm(total=total, desc="days", leave=False, disable=None) as bar:
        for kind in dict.fromkeys(jobs):
            scenario = ApplianceScenario.create(kind=kind, split=split, **options)
            train = ApplianceScenario.create(kind=kind, split="train", **options)
            episodes = draw_days(scenario, days, seed)
            played = [
                play_days(policy, scenario, episodes, bar.update)
                for policy in [*patterns(train, seed), *trained]
            ]
            played.append(foresight_days(episodes))
            rows += appliance_rows(kind, played)
            worlds[kind] = scenario, episodes, played
    results = report.write_results(
        out,
        command=command,
        seed=seed,
        environment=ENV_ID,
        scenario={
            "title": f"Appliance-v0, {days} {split} days, uncertainty {uncertainty}",
            "jobs": list(worlds),
            "days": days,
            "split": split,
            "uncertainty": uncertainty,
            "noise_sd_eur_per_kwh": noise_sd_eur_per_kwh,
            "prices": scenario.name,
        },
        rows=rows,
    )
    scores_picture(out / "scores.png", results)
    load_picture(out / "load.png", {kind: world[1:] for kind, world in worlds.items()})
    day_picture(out / "day.png", *next(iter(worlds.values())))
    print_tables(results)
    return results


def patterns(train: Any, seed: int) -> list[AppliancePolicy]:
    """The patterns by `PATTERNS`; limits are tuned on scenario ``train``."""
    from flexgym.policies.appliance import (
        Acceptance,
        Normal,
        OpenLoop,
        Optimal,
        Prediction,
        Replanned,
        tuned_acceptance,
    )

    tuned = tuned_acceptance(train, seed=seed)
    return [Normal(), Acceptance(), tuned, OpenLoop(), Replanned(), Prediction(), Optimal()]
