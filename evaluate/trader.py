"""``flexgym evaluate trader``: forwards, options or spot, scored 0 (spot only) to 100 (exact)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats

if TYPE_CHECKING:
    from flexgym.envs.trader.scenario import TraderScenario
    from flexgym.policies.trader import TraderPolicy

ENV_ID = "flexgym/Trader-v0"
EPISODES = 20_000
BOUND = "perfect foresight"
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class TraderCosts:
    """What a policy came to.

    Attributes:
        policy: Its name.
        cost_eur: Cost of each episode, shape (n,), EUR.
        means: Mean of lots and terms of the cost over the episodes, by name of the outcome; the
            lots exercised and bought at spot are of all hours of delivery together.
    """

    policy: str
    cost_eur: Floats
    means: dict[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--episodes", type=int, default=EPISODES, help=f"episodes to play (default {EPISODES})"
    )
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument("--prices", type=Path, help="CSV with your own prices")
    parser.add_argument(
        "--policy", action="append", default=[],
        help="trained policy: folder, .zip or module:callable; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- trader --> gets the table"
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as the command line says."""
    from flexgym.envs.data import load_prices
    from flexgym.envs.trader.scenario import TraderScenario
    from flexgym.evaluate.report import block_marks, publish

    if arguments.document:
        block_marks(arguments.document, "trader")
    prices = load_prices(arguments.prices) if arguments.prices else None
    folder = arguments.out or Path("results/trader")
    results = evaluate(
        folder,
        scenario=TraderScenario.create(prices=prices, split=arguments.split),
        split=arguments.split,
        episodes=arguments.episodes,
        learned=arguments.policy,
        seed=arguments.seed,
        command=arguments.command,
    )
    if arguments.document:
        publish(arguments.document, "trader", markdown_table(results), results)
    print(f"wrote {folder}/results.json, results.csv, scores.png, cash_flows.png")
    return 0


def evaluate(
    folder: str | Path,
    *,
    scenario: TraderScenario,
    split: str = "test",
    episodes: int = EPISODES,
    learned: Sequence[str] = (),
    seed: int = 0,
    command: str | None = None,
) -> dict[str, Any]:
    """Play rules, trained policies and the optimum on the same days and random numbers.

    Args:
        folder: Where ``results.json``, the CSV file and the pictures go.
        scenario: Days and terms.
        split: What to call its days.
        episodes: How many; episode i has the random numbers of seed + i.
        learned: Trained policies, see `load_trader_policy`.
        seed: Of the first episode.
        command: Command line to note down, or None.

    Returns:
        The content of ``results.json``.

    Raises:
        ScenarioError: Fewer than two episodes, or there is nothing to gain.
        RunError: A trained policy is missing or damaged.
    """
    from tqdm import tqdm

    from flexgym.evaluate import report
    from flexgym.evaluate.pictures import score_picture
    from flexgym.evaluate.trader_picture import trader_picture
    from flexgym.policies.trader import OptimalTrader, trader_rules

    if episodes < 2:
        raise ScenarioError(f"episodes is {episodes}; expected at least 2.")
    out = report.output_folder(folder)
    policies: list[TraderPolicy] = [*trader_rules()]
    if learned:
        from flexgym.policies.learned_trader import load_trader_policy

        policies += [load_trader_policy(source) for source in learned]
    optimal = OptimalTrader()
    policies.append(optimal)
    with tqdm(
        total=episodes * (len(policies) + 1), desc="episodes", leave=False, disable=None
    ) as bar:
        played = [play_trader(p, scenario, episodes, seed, bar.update) for p in policies]
        bound = foresight_costs(scenario, episodes, seed, bar.update)
    results = report.write_results(
        out,
        command=command,
        seed=seed,
        environment=ENV_ID,
        scenario={
            "title": f"Trader-v0, {episodes} {split} episodes",
            "split": split,
            "prices": scenario.name,
            "episodes": episodes,
            "days": len(scenario.days),
            "terms": asdict(scenario.terms),
        },
        rows=score_rows([*played, bound]),
        value_eur=expected_eur(optimal, scenario, episodes, seed),
    )
    score_picture(out / "scores.png", results)
    trader_picture(out / "cash_flows.png", scenario, optimal, seed)
    report.print_scores(results)
    return results


def play_trader(
    policy: TraderPolicy,
    scenario: TraderScenario,
    episodes: int,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> TraderCosts:
    """Play a policy; episode i is that of the environment seeded ``seed + i``.

    Args:
        policy: Who acts.
        scenario: Days and terms.
        episodes: How many.
        seed: Of the first.
        progress: Called with the number of episodes finished since the last call.
    """
    from flexgym.envs.trader.simulation import OUTCOME_NAMES

    costs, sums = [], np.zeros(len(OUTCOME_NAMES))
    for simulation in _begun(scenario, episodes, seed):
        policy.begin(simulation)
        while not simulation.done:
            sums += simulation.step(policy.act(simulation)).sum(axis=0)
        costs.append(simulation.cost_eur)
        if progress:
            progress(simulation.n)
    means: dict[str, float] = {
        name: float(total / episodes)
        for name, total in zip(OUTCOME_NAMES, sums, strict=True)
        if name not in ("price_eur_per_kwh", "cost_eur")
    }
    return TraderCosts(policy.name, np.concatenate(costs), means)


def foresight_costs(
    scenario: TraderScenario,
    episodes: int,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> TraderCosts:
    """The bound on the same episodes: everything known in advance; arguments as above."""
    from flexgym.baselines.trader import foresight_eur

    costs = []
    for simulation in _begun(scenario, episodes, seed):
        costs.append(foresight_eur(scenario, simulation.episodes))
        if progress:
            progress(simulation.n)
    return TraderCosts(BOUND, np.concatenate(costs), {})


def expected_eur(
    optimal: TraderPolicy, scenario: TraderScenario, episodes: int, seed: int = 0
) -> dict[str, float]:
    """Mean over the played days of the program's value, EUR; what play should come to."""
    from flexgym.baselines.trader import cost_to_go

    rows = np.concatenate([s.episodes.row for s in _begun(scenario, episodes, seed)])
    days, count = np.unique(rows, return_counts=True)
    values = np.array([cost_to_go(scenario, int(row)).value_eur for row in days])
    return {optimal.name: float(values @ count / count.sum())}


def score_rows(played: Sequence[TraderCosts]) -> list[dict[str, Any]]:
    """Rows of ``results.json``: the first scores 0, the one named optimal 100."""
    from flexgym.evaluate.score import normal_interval, paired_score

    zero = played[0].cost_eur
    best = next(one.cost_eur for one in played if one.policy == "optimal")
    rows = [
        {
            "policy": one.policy,
            "kind": "bound" if one.policy == BOUND else "policy",
            "cost_eur": asdict(normal_interval(one.cost_eur)),
            "score": asdict(paired_score(-one.cost_eur, -zero, -best)),
            **one.means,
        }
        for one in played
    ]
    return sorted(rows, key=lambda row: row["score"]["mean"])


def markdown_table(results: dict[str, Any]) -> str:
    """The table in Markdown, from the content of ``results.json``."""
    scenario, terms = results["scenario"], results["scenario"]["terms"]
    lines = [
        "| policy | EUR/day | score | 95 % interval | forward lots | option lots | exercised |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in results["rows"]:
        bound = row["kind"] == "bound"
        cost, reached = row["cost_eur"], row["score"]
        used = "" if bound or not row["option_lots"] else _share(row, terms["delivery_hours"])
        bought = ("", "") if bound else (f"{row[n]:.2f}" for n in ("forward_lots", "option_lots"))
        lines.append(
            f"| {row['policy']}{' (bound, no policy)' if bound else ''} | {cost['mean']:.3f} | "
            f"{reached['mean']:.1f} | {reached['low']:.1f} to {reached['high']:.1f} | "
            f"{' | '.join(bought)} | {used} |"
        )
    value = results["value_eur"]["optimal"]
    lines += [
        "",
        f"{scenario['episodes']} {scenario['split']} episodes on {scenario['days']} days; "
        f"{terms['need_lots']} lots of {terms['lot_kwh']:g} kWh in each of "
        f"{terms['delivery_hours']} hours. The program's own expectation on these days is "
        f"{value:.3f} EUR.",
    ]
    return "\n".join(lines)


def _share(row: dict[str, Any], hours: int) -> str:
    return f"{100.0 * row['exercised_lots'] / (hours * row['option_lots']):.0f} %"


def _begun(scenario: TraderScenario, episodes: int, seed: int) -> Any:
    """Simulations with the episodes of seeds ``seed``, ``seed + 1``, ..., some at a time."""
    from gymnasium.utils import seeding

    from flexgym.envs.trader.simulation import TraderSimulation

    for first in range(0, episodes, _CHUNK):
        n = min(_CHUNK, episodes - first)
        simulation = TraderSimulation(scenario, n)
        simulation.begin([seeding.np_random(seed + first + i)[0] for i in range(n)])
        yield simulation
