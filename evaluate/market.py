"""``flexgym evaluate market``: policies of every level of the 33-bus market, scored 0 to 100."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flexgym.envs.errors import RunError, ScenarioError
from flexgym.evaluate.household import CACHE

if TYPE_CHECKING:
    from flexgym.envs.aggregator_market.roles import Role
    from flexgym.envs.aggregator_market.scenario import MarketScenario
    from flexgym.evaluate.market_play import MarketDays
    from flexgym.policies.market import MarketPolicy, ReferencePolicy

ENV_ID = "flexgym.envs.aggregator_market_v0"
SCENARIOS = ("ordered", "loose", "free", "three", "lattice")
ROLES = {"aggregator": "aggregators", "dso": "dso", "buses": "buses"}
"""Names of the command, and of the environment."""
DAYS = 4096
PAPER_DAYS = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--scenario", default=",".join(SCENARIOS), help="comma-separated (default all): "
        + ", ".join(SCENARIOS)
    )  # fmt: skip
    parser.add_argument(
        "--role", default=",".join(ROLES), help="comma-separated (default all): " + ", ".join(ROLES)
    )
    parser.add_argument("--days", type=int, default=DAYS, help=f"days to play (default {DAYS})")
    parser.add_argument(
        "--policy", action="append", default=[],
        help="trained policy: folder, .zip or module:callable; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help=f"folder of solved tables (default {CACHE})"
    )
    parser.add_argument("--no-paper", action="store_true", help="leave out the paper's two days")
    parser.add_argument("--no-phase", action="store_true", help="leave out the phase transition")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- market --> gets the tables"
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as the command line says."""
    from flexgym.evaluate.market_tables import markdown_tables
    from flexgym.evaluate.report import block_marks, publish

    if arguments.document:
        block_marks(arguments.document, "market")
    folder = arguments.out or Path("results/market")
    results = evaluate(
        folder,
        scenarios=_names(arguments.scenario),
        roles=_names(arguments.role),
        days=arguments.days,
        learned=arguments.policy,
        cache=arguments.cache,
        paper=not arguments.no_paper,
        phase=not arguments.no_phase,
        seed=arguments.seed,
        command=arguments.command,
    )
    if arguments.document:
        publish(arguments.document, "market", markdown_tables(results), results)
    files = "results.json, results.csv, scores.png"
    print(f"wrote {folder}/{files}{'' if arguments.no_phase else ', phase.png, phase.csv'}")
    return 0


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def evaluate(
    folder: str | Path,
    *,
    scenarios: Sequence[str] = SCENARIOS,
    roles: Sequence[str] = tuple(ROLES),
    days: int = DAYS,
    learned: Sequence[str] = (),
    cache: str | Path | None = None,
    paper: bool = True,
    phase: bool = True,
    seed: int = 0,
    command: str | None = None,
) -> dict[str, Any]:
    """Play every policy of the levels on the same days; write tables and pictures.

    Args:
        folder: Where results go.
        scenarios: Names of `SCENARIOS`.
        roles: Names of `ROLES`.
        days: Days played in each; day i has the random numbers of seed + i.
        learned: Trained policies, see `load_market_policy`; each is played where its observation
            fits.
        cache: Folder of tables that do not ship; None solves them anew.
        paper: Whether the paper's two static days are played as well.
        phase: Whether the phase transition is computed and drawn.
        seed: Of all random numbers.
        command: Command line to note down, or None.

    Returns:
        The content of ``results.json``.

    Raises:
        ScenarioError: Unknown scenario or role, or fewer than two days.
        RunError: A trained policy is missing, damaged, or fits nowhere.
    """
    import numpy as np
    from tqdm import tqdm

    from flexgym.envs.aggregator_market.scenario import MarketScenario
    from flexgym.evaluate import report
    from flexgym.evaluate.market_paper import PAPER, paper_rows
    from flexgym.evaluate.market_phase import phase_rows
    from flexgym.evaluate.market_pictures import phase_picture, scores_picture
    from flexgym.evaluate.market_tables import market_rows, print_tables

    for what, names, known in (("scenario", scenarios, SCENARIOS), ("role", roles, tuple(ROLES))):
        wrong = sorted(set(names) - set(known))
        if wrong or not names:
            raise ScenarioError(
                f"{what} is {', '.join(names) or 'empty'}; expected names of {', '.join(known)}."
            )
    if days < 2:
        raise ScenarioError(f"days is {days}; expected at least 2.")
    out, rows, fitted = report.output_folder(folder), [], set()
    with tqdm(total=len(scenarios) * len(roles), desc="tables", leave=False, disable=None) as bar:
        for name in scenarios:
            world = MarketScenario.create(name)
            for role in roles:
                policies = _policies(role, seed, Path(cache) if cache else None)
                trained = _fitting(world, role, learned)
                fitted |= {source for source, _ in trained}
                policies[-1:-1] = [policy for _, policy in trained]
                played = _play(world, policies, days, seed)
                reference = cast("ReferencePolicy", policies[-1])
                rows += market_rows(world, role, played, reference)
                bar.update()
    if set(learned) - fitted:
        raise RunError(
            f"{', '.join(sorted(set(learned) - fitted))} fits none of the scenarios and roles; "
            "expected a policy whose observation is that of a role. Choose --scenario and --role."
        )
    moments = phase_rows(np.random.default_rng([seed, 1])) if phase else []
    results = report.write_results(
        out,
        command=command,
        seed=seed,
        environment=ENV_ID,
        scenario={
            "title": f"aggregator_market_v0, {days} days each",
            "names": list(scenarios),
            "roles": list(roles),
            "days": days,
        },
        paper=paper_rows(PAPER_DAYS, np.random.default_rng([seed, 2])) if paper else [],
        paper_title=PAPER,
        rows=rows,
        phase=[row for row in moments if row["what"] == "summary"],
    )
    scores_picture(out / "scores.png", results)
    if phase:
        report.write_csv(out / "phase.csv", moments)
        phase_picture(out / "phase.png", moments)
    print_tables(results)
    return results


def _policies(role: str, seed: int, cache: Path | None) -> list[MarketPolicy]:
    from flexgym.policies.market_buses import bus_policies
    from flexgym.policies.market_rules import aggregator_policies, directive_policies

    if role == "buses":
        return bus_policies(seed)
    make: Callable[..., list[MarketPolicy]]
    make = aggregator_policies if role == "aggregator" else directive_policies
    return make(seed, cache)


def _fitting(
    world: MarketScenario, role: str, sources: Sequence[str]
) -> list[tuple[str, MarketPolicy]]:
    """Trained policies whose observation is that of the role."""
    from flexgym.envs.aggregator_market.simulation import MarketSimulation
    from flexgym.policies.learned_market import LearnedMarket, load_market_policy

    found: list[tuple[str, MarketPolicy]] = []
    for source in sources:
        policy = load_market_policy(source, cast("Role", ROLES[role]))
        if isinstance(policy, LearnedMarket):
            try:
                policy.begin(MarketSimulation(world, 1, power_flow=False))
            except RunError as misfit:
                print(f"note: left out: {misfit}")
                continue
        if policy.role == ROLES[role]:
            found.append((source, policy))
    return found


def _play(
    world: MarketScenario, policies: Sequence[MarketPolicy], days: int, seed: int
) -> list[MarketDays]:
    from tqdm import tqdm

    from flexgym.evaluate.market_play import idle_days, play_market

    role, total = policies[0].role, days * len(policies)
    agents = world.n_aggregators if role == "aggregators" else 1
    played = [] if role == "dso" else [idle_days(days, agents, world.n_aggregators)]
    # disable=None: no bar where there is no terminal.
    name = f"{world.name}, {role}"
    with tqdm(total=total, desc=name, leave=False, disable=None, position=1) as bar:
        for policy in policies:
            played.append(play_market(policy, world, days, seed, progress=bar.update))
    return played
