"""``flexgym evaluate privacy``: what menus tell, what coarser ones cost, what can be guessed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.errors import ScenarioError

if TYPE_CHECKING:
    from flexgym.envs.household.params import Floats
    from flexgym.evaluate.feeder_sample import FeederDays
    from flexgym.evaluate.privacy_play import WatchedDay

DAYS, TRAINING_DAYS = 4, 8
LIMITS = (4, 8, 16, 32)
"""Most vertices of a menu that are tried, beside all."""
NUMBER = 8
"""Bytes of a number."""
BLIND = "nothing but public data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--scenario", default="stress", help="calm, summer_midday, winter_evening or stress"
    )
    parser.add_argument("--days", type=int, default=DAYS, help=f"test feeder-days (default {DAYS})")
    parser.add_argument(
        "--training-days",
        type=int,
        default=TRAINING_DAYS,
        help=f"train feeder-days that the attackers learn from (default {TRAINING_DAYS})",
    )
    default = ",".join(str(limit) for limit in LIMITS)
    parser.add_argument(
        "--vertices", default=default, help=f"limits of a menu's vertices (default {default})"
    )
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- privacy --> gets the tables"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure as the command line says."""
    from flexgym.evaluate.privacy_tables import markdown_tables
    from flexgym.evaluate.report import block_marks, publish

    try:
        limits = [int(each) for each in arguments.vertices.split(",") if each.strip()]
    except ValueError:
        raise ScenarioError(
            f"vertices is {arguments.vertices!r}; expected whole numbers between commas."
        ) from None
    if arguments.document:
        block_marks(arguments.document, "privacy")
    folder = arguments.out or Path(f"results/privacy-{arguments.scenario}")
    results = evaluate(
        folder,
        scenario=arguments.scenario,
        feeder_days=arguments.days,
        training_days=arguments.training_days,
        limits=limits,
        workers=arguments.threads,
        seed=arguments.seed,
        command=arguments.command,
    )
    if arguments.document:
        publish(arguments.document, "privacy", markdown_tables(results), results)
    print(f"wrote {folder}/results.json, results.csv, privacy.png")
    return 0


def evaluate(
    folder: str | Path,
    *,
    scenario: str = "stress",
    feeder_days: int = DAYS,
    training_days: int = TRAINING_DAYS,
    limits: Sequence[int] = LIMITS,
    workers: int = 1,
    seed: int = 0,
    command: str | None = None,
) -> dict[str, Any]:
    """Play menus of every size on the same days, attack them, write tables and a picture.

    Args:
        folder: Where results go.
        scenario: Name of the scenario.
        feeder_days: Test feeder-days, on which menus are played and attackers judged.
        training_days: Feeder-days of the train split, other houses and days, whose secrets the
            attackers know and learn from.
        limits: Most vertices of a menu; menus with all of them are played as well.
        workers: Processes that play feeder-days side by side.
        seed: Of samples, episodes and attackers.
        command: Command line to note down, or None.

    Returns:
        The content of ``results.json``.

    Raises:
        ScenarioError: Unknown scenario, fewer than two days of either kind, or a limit below 1.
    """
    from tqdm import tqdm

    from flexgym.evaluate import report
    from flexgym.evaluate.privacy_picture import privacy_picture
    from flexgym.evaluate.privacy_play import PLAN_EVERY, watch_days
    from flexgym.evaluate.privacy_tables import print_tables

    for name, value in (("feeder_days", feeder_days), ("training_days", training_days)):
        if value < 2:
            raise ScenarioError(f"{name} is {value}; expected at least 2.")
    steps = tuple(sorted(set(limits)))
    if not steps or steps[0] < 1:
        raise ScenarioError(f"vertices is {list(limits)}; expected limits of at least 1.")
    make = partial(_days, scenario, feeder_days, training_days, seed)
    houses = make()["test"].scenario.n_houses
    out = report.output_folder(folder)
    sizes = (*steps, None)
    tasks = [("train", i, None, sizes) for i in range(training_days)]
    tasks += [
        ("test", i, limit, () if limit else sizes) for i in range(feeder_days) for limit in sizes
    ]
    # disable=None: no bar where there is no terminal.
    with tqdm(total=len(tasks), desc="feeder-days", leave=False, disable=None) as bar:
        played = watch_days(make, tasks, workers=workers, progress=bar.update)
    of = {
        limit: [played["test", i, limit, () if limit else sizes] for i in range(feeder_days)]
        for limit in sizes
    }
    learned = [played["train", i, None, sizes] for i in range(training_days)]
    results = report.write_results(
        out,
        command=command,
        seed=seed,
        environment="flexgym/Feeder-v0",
        scenario={
            "title": f"Privacy on Feeder-v0 {scenario}, {feeder_days} test feeder-days",
            "name": scenario,
            "feeder_days": feeder_days,
            "training_days": training_days,
            "houses": houses,
            "plan_every_periods": PLAN_EVERY,
        },
        sizes=_sizes(of[None]),
        rows=[*_menu_rows(of, seed), *_attack_rows(learned, of[None], sizes, seed)],
    )
    privacy_picture(out / "privacy.png", results)
    print_tables(results)
    return results


def _days(scenario: str, n: int, training: int, seed: int) -> dict[str, FeederDays]:
    """The same feeder-days in any process."""
    from flexgym.envs.feeder.scenario import FeederScenario
    from flexgym.evaluate.feeder_sample import FeederDays

    return {
        split: FeederDays.sample(FeederScenario.create(scenario, split), count, seed)
        for split, count in (("train", training), ("test", n))
    }


def _sizes(days: Sequence[WatchedDay]) -> list[dict[str, Any]]:
    """Bytes that leave a house and that come back, by method."""
    from flexgym.envs.household.dynamics import HOUSE_COLUMNS
    from flexgym.envs.household.params import STEPS_PER_DAY, Session

    menu = float(np.mean([day.menu_bytes for day in days]))
    chart = float(np.mean([day.chart_bytes for day in days]))
    sessions = float(np.mean([day.sessions for day in days]))
    # Load and PV as forecast; the house and its power factor, worth of energy; the car's visits.
    daily = 2.0 * STEPS_PER_DAY + HOUSE_COLUMNS + 2.0 + len(fields(Session)) * sessions
    return [
        {"what": "menu in active power, all vertices", "out": menu, "back": 2.0 * NUMBER},
        {"what": "with the load's reactive power", "out": menu + NUMBER, "back": 2.0 * NUMBER},
        {
            "what": "chart in active and reactive power, all vertices",
            "out": chart,
            "back": 3.0 * NUMBER,
        },
        {
            "what": "central control: load, its Markov state, PV, battery's and car's energy",
            "out": 5.0 * NUMBER,
            "back": 3.0 * NUMBER,
        },
        {
            "what": f"and once a day {daily:.0f} numbers: forecasts, parameters, car's visits",
            "out": daily * NUMBER / STEPS_PER_DAY,
            "back": 0.0,
        },
    ]


def _menu_rows(of: Mapping[int | None, list[WatchedDay]], seed: int) -> list[dict[str, Any]]:
    """What menus of each size cost."""
    from flexgym.envs.feeder.accounts import FEEDER_COST, MISSED, VIOLATION_H
    from flexgym.evaluate.score import mean_interval

    def total(limit: int | None, column: int) -> Floats:
        return np.array([day.totals[column] for day in of[limit]])

    rows = []
    for limit, days in of.items():
        cost = total(limit, FEEDER_COST)
        above = cost - total(None, FEEDER_COST)
        rows.append({
            "policy": _named(limit),
            "kind": "menu",
            "bytes_per_period": float(np.mean([day.menu_bytes for day in days])),
            "cost_eur": asdict(mean_interval(cost, seed)),
            "extra_eur": {**asdict(mean_interval(above, seed)), "median": float(np.median(above))},
            "violation_h": float(total(limit, VIOLATION_H).mean()),
            "missed_kwh": float(total(limit, MISSED).mean()),
        })  # fmt: skip
    return rows


def _named(limit: int | None) -> str:
    return f"menus of {limit} vertices" if limit else "menus of all vertices"


def _attack_rows(
    learned: Sequence[WatchedDay],
    judged: Sequence[WatchedDay],
    sizes: Sequence[int | None],
    seed: int,
) -> list[dict[str, Any]]:
    """How well each attacker guesses each secret."""
    from flexgym.evaluate.attack import Attacker, errors
    from flexgym.evaluate.privacy_play import SECRETS

    def rows_of(values: Sequence[Floats]) -> Floats:
        return np.concatenate([each.reshape(-1, each.shape[2]) for each in values])

    per_day = learned[0].power_kw.size
    day = np.repeat(np.arange(len(learned)), per_day)
    known, truth = (rows_of([one.secrets for one in days]) for days in (learned, judged))
    views, test_views = ([_views(one, sizes) for one in days] for days in (learned, judged))
    rows = []
    for name in views[0]:
        attacker = Attacker(rows_of([one[name] for one in views]), known, day, seed=seed)
        guess = attacker.guess(rows_of([one[name] for one in test_views]))
        row: dict[str, Any] = {"policy": name, "kind": "attacker"}
        for column, secret in enumerate(SECRETS):
            shape = len(judged), -1
            found = errors(
                guess[:, column].reshape(shape), truth[:, column].reshape(shape), seed
            )  # fmt: skip
            row[f"{secret}_rmse"], row[f"{secret}_r2"] = asdict(found.rmse), asdict(found.r2)
        rows.append(row)
    return rows


def _views(day: WatchedDay, sizes: Sequence[int | None]) -> dict[str, Floats]:
    """What each attacker sees of a day, each shape (T, H, f), by name."""
    from flexgym.evaluate.attack import LEVEL, memory_features, meter_features

    houses = day.power_kw.shape[1]
    public = np.repeat(day.public[:, None], houses, axis=1)
    everything, whole = day.seen[None], _named(None)
    seen = {"meter readings of the day so far": meter_features(day.power_kw)}
    seen |= {_named(limit): day.seen[limit] for limit in sizes}
    seen[f"{whole}, differences of cost only"] = np.delete(everything, LEVEL, axis=2)
    seen[f"{whole}, load's reactive power"] = np.dstack([everything, day.kvar])
    memory = memory_features(everything, day.power_kw)
    seen[f"{whole}, day so far"] = np.concatenate([everything, memory], axis=2)
    views = {name: np.concatenate([public, there], axis=2) for name, there in seen.items()}
    return {BLIND: public, **views}
