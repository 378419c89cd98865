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
    from flexgym.policies.learned import Learned

ENV_ID = "flexgym/Household-v0"
POLICIES = ("uncontrolled", "self-consumption", "price-threshold", "mpc", "optimal")
HOUSE_DAYS = 512


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--run", type=Path, action="append", default=[], help="run folder; may be repeated"
    )
    parser.add_argument(
        "--policies", default=",".join(POLICIES), help="comma-separated, of " + ", ".join(POLICIES)
    )
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument("--house-days", type=int, default=HOUSE_DAYS, help="episodes to play")
    parser.add_argument("--uncertainty", default="markov", help="markov or none")
    parser.add_argument("--prices", type=Path, help="CSV with your own prices")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- household --> gets the table"
    )
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as the command line says."""
    from flexgym.envs.data import load_prices
    from flexgym.evaluate.report import block_marks, markdown_table, update_block

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
        checkpoint=arguments.checkpoint,
        seed=arguments.seed,
        threads=arguments.threads,
        command=arguments.command,
    )
    if arguments.document:
        update_block(arguments.document, "household", markdown_table(results))
    print(f"wrote {folder}/results.json, results.csv, episodes.csv, scores.png, day.png")
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
        policies: Names out of `POLICIES`.
        split: Split of days and houses.
        house_days: Episodes.
        uncertainty: ``"markov"`` or ``"none"``.
        prices: From `load_prices`, or None.
        checkpoint: ``"best"`` or ``"last"``.
        seed: Seed of the random numbers.
        threads: Threads of torch.
        command: Command line to note down, or None.

    Returns:
        The content of ``results.json``.

    Raises:
        ScenarioError: Unknown policy, split or option.
        RunError: A run is missing or damaged.
    """
    from flexgym.envs.household.scenario import HouseholdScenario
    from flexgym.evaluate import report
    from flexgym.evaluate.rollout import HouseDays
    from flexgym.policies.household import Optimal

    unknown = [name for name in policies if name not in POLICIES]
    if unknown:
        raise ScenarioError(
            f"policies has {', '.join(unknown)}; expected names of {', '.join(POLICIES)}. "
            "Pass trained policies with --run."
        )
    if house_days < 2:
        raise ScenarioError(f"house_days is {house_days}; expected at least 2.")
    learned = _learned(runs, checkpoint, threads)
    scenario = HouseholdScenario.create(split=split, prices=prices, uncertainty=uncertainty)
    for policy in learned:
        if (policy.prices is None) != (prices is None):
            trained = policy.prices or "the synthetic tariff"
            print(f"note: {policy.name} was trained on {trained}, played on {scenario.prices.name}")
    played = HouseDays.sample(scenario, house_days, seed)
    out = report.output_folder(folder)
    costs, gap = _play(played, policies, learned)
    rows = _rows(costs, seed)
    optimal = costs["optimal"].cost_eur
    results = report.write_results(
        out,
        command=command,
        seed=seed,
        environment=ENV_ID,
        scenario={
            "title": f"Household-v0, {house_days} {split} house-days, uncertainty {uncertainty}",
            "split": split,
            "uncertainty": uncertainty,
            "prices": scenario.prices.name,
            "house_days": house_days,
            "houses": len(np.unique(played.house)),
            "days": len(np.unique(played.day)),
        },
        rows=rows,
        certified_gap_eur=gap,
        value_of_flexibility_eur=float((costs["uncontrolled"].cost_eur - optimal).mean()),
    )
    report.write_csv(out / "episodes.csv", _episodes(played, costs))
    _pictures(out, results, played, learned[-1] if learned else Optimal())
    report.print_scores(results)
    return results


def _learned(runs: Sequence[str | Path], checkpoint: str, threads: int) -> list[Learned]:
    if not runs:
        return []
    from flexgym.policies.learned import Learned

    if len({Path(path).resolve() for path in runs}) < len(runs):
        raise ScenarioError("a run is given twice; expected each --run once.")
    policies = [Learned.from_run(path, checkpoint, threads) for path in runs]
    if len(policies) == 1:
        policies[0].name = policies[0].algorithm
    return policies


def _play(
    played: HouseDays, names: Sequence[str], learned: Sequence[Learned]
) -> tuple[dict[str, Costs], float]:
    """Costs by policy, and the largest certified gap of the optimum, EUR."""
    from tqdm import tqdm

    from flexgym.evaluate.rollout import Costs, foresight_costs, rollout
    from flexgym.policies.household import RULES, ModelPredictive, Optimal

    known = {**RULES, ModelPredictive.name: ModelPredictive}
    chosen = [known[name]() for name in dict.fromkeys(["uncontrolled", *names]) if name in known]
    optimal = Optimal()
    costs: dict[str, Costs] = {}
    gaps: list[float] = []
    policies: list[HouseholdPolicy] = [*chosen, *learned, optimal]
    total = len(played) * (len(policies) + 1)
    # disable=None: no bar where there is no terminal.
    with tqdm(total=total, desc="house-days", leave=False, disable=None) as bar:

        def advance(count: int) -> None:
            bar.update(count)

        for policy in policies:

            def advance_and_note(count: int, policy: HouseholdPolicy = policy) -> None:
                if policy is optimal:
                    gaps.append(optimal.gap_eur)
                advance(count)

            while policy.name in costs:
                policy.name += "'"
            costs[policy.name] = rollout(policy, played, advance_and_note)
        costs["perfect foresight"] = foresight_costs(played, advance)
    by_algorithm: dict[str, list[Costs]] = {}
    for policy in learned:
        by_algorithm.setdefault(policy.algorithm, []).append(costs[policy.name])
    for algorithm, several in by_algorithm.items():
        if len(several) > 1:
            mean = np.mean([c.cost_eur for c in several], axis=0)
            terms = {
                key: np.mean([c.terms[key] for c in several], axis=0) for key in several[0].terms
            }
            name = f"{algorithm}, mean of {len(several)} runs"
            costs[name] = Costs(name, mean, terms)
    return costs, max(gaps)


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


def _pictures(
    out: Path, results: dict[str, Any], played: HouseDays, policy: HouseholdPolicy
) -> None:
    from flexgym.baselines.household import cost_to_go
    from flexgym.envs.data.calendar import date
    from flexgym.evaluate.day_picture import dispatch_picture
    from flexgym.evaluate.pictures import score_picture
    from flexgym.evaluate.rollout import trace

    score_picture(out / "scores.png", results)
    # A sunny day shows what a battery is for.
    index = int(np.argsort(_sunshine(played))[int(0.8 * (len(played) - 1))])
    simulation, outcomes = trace(policy, played, index)
    solved = cost_to_go(
        simulation.house(),
        simulation.forecast_series(),
        uncertainty=simulation.scenario.uncertainty,
        terminal_eur_per_kwh=float(simulation.episodes.terminal_price[0]),
    )
    title = f"{policy.name}, house {played.house[index]}, {date(int(played.day[index])):%d %B}"
    dispatch_picture(out / "day.png", simulation, outcomes, solved, title)


def _sunshine(played: HouseDays) -> np.ndarray:
    forecast = played.scenario.forecast(played.house, played.day)
    return forecast[:, 1].sum(axis=0)
