"""``flexgym evaluate household``: policies on common random numbers, scored 0 to 100."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.errors import ScenarioError

if TYPE_CHECKING:
    from flexgym.evaluate.rollout import Costs, HouseDays
    from flexgym.policies.base import HouseholdPolicy
    from flexgym.policies.household import Optimal
    from flexgym.policies.learned import Learned
    from flexgym.policies.learned_menus import LearnedMenus

ENV_ID = "flexgym/Household-v0"
POLICIES = ("uncontrolled", "self-consumption", "price-threshold", "mpc", "optimal")
HOUSE_DAYS = 256
CACHE = Path("runs/cache")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--run", type=Path, action="append", default=[], help="run folder; may be repeated"
    )
    parser.add_argument(
        "--policies", default=",".join(POLICIES),
        help=f"comma-separated, of {', '.join(POLICIES)}, or policies that ship",
    )  # fmt: skip
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument("--house-days", type=int, default=HOUSE_DAYS, help="episodes to play")
    parser.add_argument("--uncertainty", default="markov", help="markov or none")
    parser.add_argument("--prices", type=Path, help="CSV with your own prices")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- household --> gets the table"
    )
    parser.add_argument("--sessions", type=Path, help="CSV with your own car sessions")
    parser.add_argument("--no-car", action="store_true", help="houses without their cars")
    add_cache_argument(parser)
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")


def add_cache_argument(parser: argparse.ArgumentParser) -> None:
    """Where solved house-days are kept."""
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help=f"folder of solved house-days (default {CACHE})"
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as the command line says."""
    from flexgym.envs.data import load_prices, load_sessions
    from flexgym.evaluate.report import block_marks, markdown_table, publish

    folder = arguments.out or Path("results/household")
    if arguments.document:
        block_marks(arguments.document, "household")
    results = evaluate(
        folder,
        runs=arguments.run,
        policies=[name.strip() for name in arguments.policies.split(",") if name.strip()],
        split=arguments.split,
        house_days=arguments.house_days,
        uncertainty=arguments.uncertainty,
        prices=load_prices(arguments.prices) if arguments.prices else None,
        sessions=load_sessions(arguments.sessions) if arguments.sessions else None,
        car=not arguments.no_car,
        cache=arguments.cache,
        checkpoint=arguments.checkpoint,
        seed=arguments.seed,
        threads=arguments.threads,
        command=arguments.command,
    )
    if arguments.document:
        publish(arguments.document, "household", markdown_table(results), results)
    files = "results.json, results.csv, episodes.csv, scores.png, day.png, cost_map.png, chart.png"
    print(f"wrote {folder}/{files}")
    return 0


def evaluate(
    folder: str | Path,
    *,
    runs: Sequence[str | Path] = (),
    policies: Sequence[str] = POLICIES,
    split: str = "test",
    house_days: int = HOUSE_DAYS,
    uncertainty: str = "markov",
    prices: Any = None,
    sessions: Any = None,
    car: bool = True,
    cache: str | Path | None = None,
    checkpoint: str = "best",
    seed: int = 0,
    threads: int = 1,
    command: str | None = None,
) -> dict[str, Any]:
    """Play policies on the same houses, days and random numbers, and score them.

    Uncontrolled devices and the exact optimum are always played, since the score is made of them.

    Args:
        folder: Where ``results.json``, the CSV files and the pictures go.
        runs: Run folders of trained policies.
        policies: Names out of `POLICIES` or of policies that ship, which play with every seed.
        split: Split of days and houses.
        house_days: Episodes.
        uncertainty: ``"markov"`` or ``"none"``.
        prices: From `load_prices`, or None.
        sessions: From `load_sessions`, or None.
        car: False leaves the cars away.
        cache: Folder of solved house-days, or None.
        checkpoint: ``"best"`` or ``"last"``.
        seed: Seed of the random numbers.
        threads: Threads of torch, and house-days solved side by side.
        command: Command line to note down, or None.

    Returns:
        The content of ``results.json``.

    Raises:
        ScenarioError: Unknown policy, split or option.
        RunError: A run is missing or damaged.
    """
    from flexgym.baselines.household import SolutionCache
    from flexgym.envs.household.scenario import HouseholdScenario
    from flexgym.evaluate import report
    from flexgym.evaluate.household_pictures import household_pictures
    from flexgym.evaluate.rollout import HouseDays
    from flexgym.policies import zoo
    from flexgym.policies.household import Optimal

    setting = f"household/{'car' if car else 'no-car'}"
    fitting = [name for name in zoo.names() if zoo.shipped(name).plays(setting)]
    unknown = [name for name in policies if name not in (*POLICIES, *fitting)]
    if unknown:
        raise ScenarioError(
            f"policies has {', '.join(unknown)}; expected names of "
            f"{', '.join((*POLICIES, *fitting))}. Pass trained policies with --run."
        )
    shipped = [name for name in dict.fromkeys(policies) if name in fitting]
    if house_days < 2:
        raise ScenarioError(f"house_days is {house_days}; expected at least 2.")
    learned = _learned(runs, checkpoint, threads)
    scenario = HouseholdScenario.create(
        split=split, prices=prices, uncertainty=uncertainty, sessions=sessions, car=car
    )
    for policy in learned:
        if (policy.prices is None) != (prices is None):
            trained = policy.prices or "the synthetic tariff"
            print(f"note: {policy.name} was trained on {trained}, played on {scenario.prices.name}")
    played = HouseDays.sample(scenario, house_days, seed)
    out = report.output_folder(folder)
    optimum = Optimal(cache=SolutionCache(cache) if cache else None, workers=threads)
    costs, gaps = _play(played, policies, learned, shipped, optimum)
    rows = _rows(costs, seed)
    optimal = costs["optimal"].cost_eur
    results = report.write_results(
        out,
        command=command,
        seed=seed,
        environment=ENV_ID,
        scenario={
            "title": f"Household-v0{'' if car else ' without car'}, {house_days} {split} "
            f"house-days, uncertainty {uncertainty}",
            "split": split,
            "uncertainty": uncertainty,
            "prices": scenario.prices.name,
            "sessions": scenario.sessions.name if scenario.sessions else None,
            "house_days": house_days,
            "houses": len(np.unique(played.house)),
            "days": len(np.unique(played.day)),
        },
        rows=rows,
        certified_gap_eur=gaps[0],
        certified_gap_percent=gaps[1],
        value_of_flexibility_eur=float((costs["uncontrolled"].cost_eur - optimal).mean()),
    )
    report.write_csv(out / "episodes.csv", _episodes(played, costs))
    drawn = learned[-1] if learned else zoo.load(shipped[0]) if shipped else optimum
    household_pictures(out, results, played, drawn, optimum)
    report.print_scores(results)
    return results


def _learned(
    runs: Sequence[str | Path], checkpoint: str, threads: int
) -> list[Learned | LearnedMenus]:
    if not runs:
        return []
    from flexgym.policies.learned import ALGORITHMS, Learned, read_config
    from flexgym.policies.learned_menus import MENUS, LearnedMenus

    if len({Path(path).resolve() for path in runs}) < len(runs):
        raise ScenarioError("a run is given twice; expected each --run once.")
    policies: list[Learned | LearnedMenus] = []
    for path in runs:
        if read_config(Path(path), (*ALGORITHMS, MENUS))["algorithm"] == MENUS:
            policies.append(LearnedMenus.from_run(path, checkpoint))
        else:
            policies.append(Learned.from_run(path, checkpoint, threads))
    if len(policies) == 1:
        policies[0].name = policies[0].algorithm
    return policies


def _play(
    played: HouseDays,
    names: Sequence[str],
    learned: Sequence[Learned | LearnedMenus],
    shipped: Sequence[str],
    optimal: Optimal,
) -> tuple[dict[str, Costs], tuple[float, float]]:
    """Costs by policy, and the largest certified gaps of the optimum, EUR and percent."""
    from tqdm import tqdm

    from flexgym.evaluate.rollout import foresight_costs, rollout
    from flexgym.policies import zoo
    from flexgym.policies.household import RULES, ModelPredictive

    known = {**RULES, ModelPredictive.name: ModelPredictive}
    chosen = [known[name]() for name in dict.fromkeys(["uncontrolled", *names]) if name in known]
    costs: dict[str, Costs] = {}
    gaps: list[tuple[float, float]] = []
    policies: list[HouseholdPolicy] = [*chosen, *learned, optimal]
    seeds = {name: [zoo.load(name, seed) for seed in zoo.shipped(name).seeds] for name in shipped}
    # The optimum counts twice: it is solved, then played.
    total = len(played) * (len(policies) + sum(map(len, seeds.values())) + 2)
    # disable=None: no bar where there is no terminal.
    with tqdm(total=total, desc="house-days", leave=False, disable=None) as bar:

        def advance(count: int) -> None:
            bar.update(count)

        optimal.progress = lambda done, total: bar.update(1)

        for policy in policies:

            def advance_and_note(count: int, policy: HouseholdPolicy = policy) -> None:
                if policy is optimal:
                    gaps.append((optimal.gap_eur, optimal.gap_percent))
                advance(count)

            while policy.name in costs:
                policy.name += "'"
            costs[policy.name] = rollout(policy, played, advance_and_note)
        for name, several in seeds.items():
            title = f"{name}, mean of {len(several)} seeds"
            costs[title] = _mean(title, [rollout(policy, played, advance) for policy in several])
        costs["perfect foresight"] = foresight_costs(played, advance)
    by_algorithm: dict[str, list[Costs]] = {}
    for policy in learned:
        by_algorithm.setdefault(policy.algorithm, []).append(costs[policy.name])
    for algorithm, several in by_algorithm.items():
        if len(several) > 1:
            name = f"{algorithm}, mean of {len(several)} runs"
            costs[name] = _mean(name, several)
    optimal.progress = lambda done, total: None
    return costs, (max(g[0] for g in gaps), max(g[1] for g in gaps))


def _mean(name: str, several: Sequence[Costs]) -> Costs:
    """What several policies come to on average, episode by episode."""
    from flexgym.evaluate.rollout import Costs

    terms = {key: np.mean([c.terms[key] for c in several], axis=0) for key in several[0].terms}
    return Costs(name, np.mean([c.cost_eur for c in several], axis=0), terms)


def _rows(costs: dict[str, Costs], seed: int) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from flexgym.evaluate.score import bootstrap

    idle, optimal = costs["uncontrolled"].cost_eur, costs["optimal"].cost_eur
    rows = []
    for name, played in costs.items():
        cost, reached = bootstrap(played.cost_eur, idle, optimal, seed)
        rows.append(
            {
                "policy": name,
                "kind": "bound" if name == "perfect foresight" else "policy",
                "cost_eur": asdict(cost),
                "score": asdict(reached),
                **{key: float(values.mean()) for key, values in played.terms.items()},
            }
        )
    return sorted(rows, key=lambda row: row["score"]["mean"])


def _episodes(played: HouseDays, costs: dict[str, Costs]) -> list[dict[str, Any]]:
    return [
        {
            "policy": name,
            "house": int(played.house[i]),
            "day": int(played.day[i]),
            "cost_eur": float(result.cost_eur[i]),
            **{key: float(values[i]) for key, values in result.terms.items()},
        }
        for name, result in costs.items()
        for i in range(len(played))
    ]
