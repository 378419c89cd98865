"""``flexgym evaluate feeder`` and ``flexgym describe feeder``: policies on feeder-days."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.errors import ScenarioError
from flexgym.evaluate.household import add_cache_argument

if TYPE_CHECKING:
    from flexgym.evaluate.feeder_sample import Days, FeederDays

ENV_ID = "flexgym/Feeder-v0"
DAYS = 4
DEFAULT = ",".join(
    (
        "unmanaged",
        "droop",
        "selfish",
        "menus-agnostic",
        "menus-constant",
        "menus-forecast",
        "menus",
        "menus-aware",
        "menus-coordinated",
        "menus-foresight",
        "menus-aware-foresight",
        "menus-coordinated-foresight",
        "central-mpc",
        "centralised",
    )
)
DRAWN = ("menus-foresight", "menus-forecast", "menus-agnostic", "menus-constant")
"""Menus of which a day is drawn: the first that was played; it is played once more."""
MEANS = (
    "bill_eur",
    "loss_eur",
    "violation_eur",
    "loss_kwh",
    "curtailed_kwh",
    "unserved_kwh",
    "missed_kwh",
    "voltage_violations",
    "voltage_violation_pu_h",
    "overload_h",
    "overload_kwh",
)
"""Means a day in every row: the bill holds wear and terminal payment too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of both commands."""
    parser.add_argument(
        "--scenario", default="stress", help="calm, summer_midday, winter_evening or stress"
    )
    parser.add_argument(
        "--policies",
        default=DEFAULT,
        help=f"comma-separated (default {DEFAULT}); also price-threshold, mpc",
    )
    add_cache_argument(parser)
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument(
        "--days", type=int, default=DAYS, help=f"feeder-days to play (default {DAYS})"
    )
    parser.add_argument(
        "--resume", action="store_true", help="take up the feeder-days already played in --out"
    )
    parser.add_argument("--uncertainty", default="markov", help="markov or none")
    parser.add_argument("--prices", type=Path, help="CSV with your own prices")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- feeder --> gets the table"
    )
    parser.add_argument("--animation", action="store_true", help="also write the worst day as GIF")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as the command line says."""
    from flexgym.envs.data import load_prices
    from flexgym.evaluate.feeder_tables import markdown_tables
    from flexgym.evaluate.report import block_marks, publish

    if arguments.document:
        block_marks(arguments.document, "feeder")
    folder = arguments.out or Path(f"results/feeder-{arguments.scenario}")
    results = evaluate(
        folder,
        scenario=arguments.scenario,
        policies=[name.strip() for name in arguments.policies.split(",") if name.strip()],
        split=arguments.split,
        feeder_days=arguments.days,
        resume=arguments.resume,
        uncertainty=arguments.uncertainty,
        prices=load_prices(arguments.prices) if arguments.prices else None,
        animation=arguments.animation,
        cache=arguments.cache,
        workers=arguments.threads,
        seed=arguments.seed,
        command=arguments.command,
    )
    if arguments.document:
        publish(arguments.document, "feeder", markdown_tables(results), results)
    files = "results.json, results.csv, episodes.csv, day.png, worst.png"
    files += ", menus.png" if (folder / "menus.png").exists() else ""
    print(f"wrote {folder}/{files}{', worst.gif' if arguments.animation else ''}")
    return 0


def evaluate(
    folder: str | Path,
    *,
    scenario: str = "stress",
    policies: Sequence[str] = ("unmanaged", "selfish"),
    split: str = "test",
    feeder_days: int = DAYS,
    resume: bool = False,
    uncertainty: str = "markov",
    prices: Any = None,
    animation: bool = False,
    cache: str | Path | None = None,
    workers: int = 1,
    seed: int = 0,
    command: str | None = None,
) -> dict[str, Any]:
    """Play policies on the same feeder-days; write tables and pictures.

    Args:
        folder: Where results go.
        scenario: Name of the scenario.
        policies: Names of `flexgym.policies.feeder.POLICIES`.
        split: Whose days and houses are played.
        feeder_days: How many; they spread evenly over draws of the houses and days.
        resume: Whether feeder-days that were played into this folder before are taken up.
        uncertainty: ``"markov"`` or ``"none"``.
        prices: From `load_prices`, or None.
        animation: Whether the worst day is also written as GIF.
        cache: Folder where solved house-days are kept and looked up; None keeps none.
        workers: Processes that play feeder-days side by side.
        seed: Of the sample and the episodes.
        command: Command line to note down, or None.

    Returns:
        The content of ``results.json``. Where ``unmanaged`` and ``centralised`` are among the
        policies, the former scores 0 and the latter 100.

    Raises:
        ScenarioError: Unknown scenario, policy or split, or fewer than two days.
    """
    from flexgym.baselines.household import SolutionCache
    from flexgym.envs.feeder.scenario import FeederScenario
    from flexgym.evaluate import report
    from flexgym.evaluate.comparison import gap_parts
    from flexgym.evaluate.feeder_pictures import feeder_pictures
    from flexgym.evaluate.feeder_sample import FeederDays
    from flexgym.evaluate.feeder_tables import print_tables
    from flexgym.evaluate.menu_pictures import menus_picture
    from flexgym.policies.feeder import named
    from flexgym.policies.menus import Menus

    if feeder_days < 2:
        raise ScenarioError(f"feeder_days is {feeder_days}; expected at least 2.")
    names = list(dict.fromkeys(policies))
    if not names:
        raise ScenarioError("policies is empty; expected at least one name.")
    for name in names:
        named(name)
    world = FeederScenario.create(scenario, split, uncertainty=uncertainty, prices=prices)
    make = partial(_days, scenario, split, uncertainty, prices, feeder_days, seed)
    days = FeederDays.sample(world, feeder_days, seed)
    out = report.output_folder(folder)
    kept = out / "days" / "-".join([scenario, split, uncertainty, world.homes.prices.name])
    solved = Path(cache) if cache else None
    played = _play(names, days, make, kept, solved, workers, resume)
    known = {one.policy: one for one in played}
    results = report.write_results(
        out,
        command=command,
        seed=seed,
        environment=ENV_ID,
        scenario={
            "title": f"Feeder-v0 {scenario}, {feeder_days} {split} feeder-days",
            "name": scenario,
            "split": split,
            "uncertainty": uncertainty,
            "prices": world.homes.prices.name,
            "feeder_days": feeder_days,
            "draws": len(np.unique(days.draw)),
            "days": len(np.unique(days.day)),
            "houses": world.n_houses,
        },
        gaps=gap_parts(known, seed),
        rows=[_row(one, known, seed) for one in played],
    )
    report.write_csv(out / "episodes.csv", _episodes(days, played))
    last = named(names[-1], cache=SolutionCache(solved) if solved else None)
    feeder_pictures(out, days, played, last, animation=animation)
    drawn = next((name for name in DRAWN if name in known), None)
    if drawn:
        policy = named(drawn)
        if isinstance(policy, Menus):
            busiest = int(np.argmax(known[drawn].figures["menu_harm_eur"]))
            menus_picture(out / "menus.png", days, busiest, policy)
    print_tables(results)
    return results


def _days(
    scenario: str, split: str, uncertainty: str, prices: Any, n: int, seed: int
) -> FeederDays:
    """The same feeder-days in any process."""
    from flexgym.envs.feeder.scenario import FeederScenario
    from flexgym.evaluate.feeder_sample import FeederDays

    world = FeederScenario.create(scenario, split, uncertainty=uncertainty, prices=prices)
    return FeederDays.sample(world, n, seed)


def _play(
    names: Sequence[str],
    days: FeederDays,
    make: Callable[[], FeederDays],
    folder: Path,
    cache: Path | None,
    workers: int,
    resume: bool,
) -> list[Days]:
    from tqdm import tqdm

    from flexgym.evaluate.feeder_play import play_days

    # disable=None: no bar where there is no terminal.
    with tqdm(total=len(days) * len(names), desc="feeder-days", leave=False, disable=None) as bar:
        return play_days(
            names,
            days,
            make,
            folder,
            cache=cache,
            resume=resume,
            workers=workers,
            progress=bar.update,
        )


def _row(played: Days, all_played: Mapping[str, Days], seed: int) -> dict[str, Any]:
    from dataclasses import asdict

    from flexgym.evaluate.comparison import REFERENCE, gap, menu_figures
    from flexgym.evaluate.score import bootstrap, mean_interval
    from flexgym.policies.feeder import BOUNDS

    scored = {}
    if REFERENCE in all_played:
        scored["gap_eur"] = gap(played, all_played[REFERENCE], seed)
    if "unmanaged" in all_played and REFERENCE in all_played:
        worst, best = (all_played[name].cost_eur for name in ("unmanaged", REFERENCE))
        scored["score"] = asdict(bootstrap(played.cost_eur, worst, best, seed)[1])

    house_terms = ("import_eur", "export_eur", "wear_eur", "terminal_eur")
    values = {
        "bill_eur": sum(played.total(name) for name in house_terms),
        "violation_eur": played.total("voltage_eur") + played.total("overload_eur"),
    }
    broken = {f"days_{key}_percent": 100.0 * there for key, there in played.broken.items()}
    return {
        "policy": played.policy,
        "kind": "bound" if played.policy in BOUNDS else "policy",
        **scored,
        "cost_eur": asdict(mean_interval(played.cost_eur, seed)),
        **{key: asdict(mean_interval(there, seed)) for key, there in broken.items()},
        "violation_time_percent": float(100.0 * played.violated.mean()),
        **{
            name: float((values[name] if name in values else played.total(name)).mean())
            for name in MEANS
        },
        "highest_pu": float(played.total("highest_pu").max()),
        "lowest_pu": float(played.total("lowest_pu").min()),
        "line_percent": float(played.total("line_percent").max()),
        "trafo_percent": float(played.total("trafo_percent").max()),
        **menu_figures(played),
    }


def _episodes(days: FeederDays, played: Sequence[Days]) -> list[dict[str, Any]]:
    from flexgym.envs.feeder.accounts import FEEDER_NAMES

    return [
        {
            "policy": one.policy,
            "draw": int(days.draw[i]),
            "day": int(days.day[i]),
            **dict(zip(FEEDER_NAMES, one.totals[i].tolist(), strict=True)),
        }
        for one in played
        for i in range(len(days))
    ]
