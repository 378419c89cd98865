"""``flexgym evaluate local-market``: policies under every price rule, scored 0 to 100."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexgym.envs.errors import ScenarioError
from flexgym.envs.local_market.params import RULES

if TYPE_CHECKING:
    from flexgym.envs.household.params import Floats
    from flexgym.envs.local_market.scenario import LocalMarketScenario

ENV_ID = "flexgym.envs.local_market_v0"
DAYS, RESPONSE_DAYS, GAP_DAYS = 512, 64, 4
PARTICIPANTS, NEIGHBOURHOODS, FEE_EUR_PER_KWH = 50, 5, 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--rule", default=",".join(RULES), help="comma-separated (default all): " + ", ".join(RULES)
    )
    parser.add_argument("--days", type=int, default=DAYS, help=f"days to play (default {DAYS})")
    parser.add_argument(
        "--response-days", type=int, default=RESPONSE_DAYS,
        help=f"days of one among truthful others (default {RESPONSE_DAYS})",
    )  # fmt: skip
    parser.add_argument(
        "--participants", type=int, default=PARTICIPANTS,
        help=f"of each market (default {PARTICIPANTS})",
    )  # fmt: skip
    parser.add_argument(
        "--neighbourhoods", type=int, default=NEIGHBOURHOODS,
        help=f"of the hierarchy (default {NEIGHBOURHOODS}; 1 leaves it out)",
    )  # fmt: skip
    parser.add_argument(
        "--fee", type=float, default=FEE_EUR_PER_KWH,
        help=f"of leaving a neighbourhood, EUR/kWh (default {FEE_EUR_PER_KWH})",
    )  # fmt: skip
    parser.add_argument("--split", default="test", help="split of houses and days (default test)")
    parser.add_argument("--prices", type=Path, help="CSV with your own prices")
    parser.add_argument(
        "--policy", action="append", default=[],
        help="trained policy: folder, .zip or module:callable; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--document", type=Path,
        help="Markdown file whose block <!-- local-market --> gets the tables",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as the command line says."""
    from flexgym.envs.data import load_prices
    from flexgym.evaluate.local_market_tables import markdown_tables
    from flexgym.evaluate.report import block_marks, publish

    if arguments.document:
        block_marks(arguments.document, "local-market")
    folder = arguments.out or Path("results/local-market")
    results = evaluate(
        folder,
        rules=[name.strip() for name in arguments.rule.split(",") if name.strip()],
        days=arguments.days,
        response_days=arguments.response_days,
        participants=arguments.participants,
        neighbourhoods=arguments.neighbourhoods,
        fee_eur_per_kwh=arguments.fee,
        split=arguments.split,
        prices=load_prices(arguments.prices) if arguments.prices else None,
        learned=arguments.policy,
        seed=arguments.seed,
        command=arguments.command,
    )
    if arguments.document:
        publish(arguments.document, "local-market", markdown_tables(results), results)
    print(f"wrote {folder}/results.json, results.csv, scores.png, book.png, contracts.png")
    return 0


def evaluate(
    folder: str | Path,
    *,
    rules: Sequence[str] = RULES,
    days: int = DAYS,
    response_days: int = RESPONSE_DAYS,
    participants: int = PARTICIPANTS,
    neighbourhoods: int = NEIGHBOURHOODS,
    fee_eur_per_kwh: float = FEE_EUR_PER_KWH,
    split: str = "test",
    prices: Any = None,
    learned: Sequence[str] = (),
    seed: int = 0,
    command: str | None = None,
) -> dict[str, Any]:
    """Play every policy under every rule on the same days; write tables and pictures.

    Args:
        folder: Where results go.
        rules: Some of `RULES`.
        days: Days played; day i has the random numbers of seed + i.
        response_days: The first of them on which one plays among truthful others.
        participants: Of each market.
        neighbourhoods: Of the second scenario, the hierarchy; 1 leaves it out.
        fee_eur_per_kwh: Of leaving a neighbourhood there.
        split: Of houses and days.
        prices: `flexgym.envs.data.Prices`; None is the suite's synthetic tariff.
        learned: Trained policies, see `load_local_market_policy`.
        seed: Of all random numbers.
        command: Command line to note down, or None.

    Returns:
        The content of ``results.json``.

    Raises:
        ScenarioError: An option is unknown or out of range.
        RunError: A trained policy is missing, damaged, or does not fit.
    """
    import numpy as np
    from tqdm import tqdm

    from flexgym.envs.local_market.scenario import LocalMarketScenario
    from flexgym.evaluate import local_market_play as played
    from flexgym.evaluate import report
    from flexgym.evaluate.local_market_contracts import contract_rows
    from flexgym.evaluate.local_market_pictures import (
        book_picture,
        contracts_picture,
        scores_picture,
    )
    from flexgym.evaluate.local_market_tables import (
        EVERYBODY,
        print_tables,
        rows_of_all,
        rows_of_one,
    )
    from flexgym.policies import local_market as policies

    if not rules or not set(rules) <= set(RULES):
        raise ScenarioError(f"rule is {', '.join(rules)}; expected some of {', '.join(RULES)}.")
    if not 2 <= response_days <= days:
        raise ScenarioError(
            f"days is {days} and response_days {response_days}; expected at least 2, and days not "
            "fewer than response_days."
        )
    out, rows = report.output_folder(folder), []
    scenarios = {"flat": LocalMarketScenario.create(participants, split, prices=prices)}
    titles = {"flat": f"one market of {participants}"}
    if neighbourhoods != 1:
        scenarios["hierarchy"] = LocalMarketScenario.create(
            participants, split, prices=prices, neighbourhoods=neighbourhoods,
            fee_eur_per_kwh=fee_eur_per_kwh,
        )  # fmt: skip
        titles["hierarchy"] = (
            f"{neighbourhoods} neighbourhoods, {100.0 * fee_eur_per_kwh:g} ct/kWh to leave one"
        )
    flat, best_flat = scenarios["flat"], np.zeros(days)
    everybody = policies.rules(seed) + [policies.load_local_market_policy(x) for x in learned]
    steps = len(rules) * (len(scenarios) + 1)
    # disable=None: no bar where there is no terminal.
    with tqdm(total=steps, desc="local market", leave=False, disable=None) as bar:
        for name, scenario in scenarios.items():
            best = played.best_welfare(scenario, days, seed)
            best_flat = best if name == "flat" else best_flat
            for rule in rules:
                done = [played.play(policy, scenario, rule, days, seed) for policy in everybody]
                gap = None
                if name == "flat":
                    gap_days = min(GAP_DAYS, response_days)
                    gap = played.truth_gap_percent(scenario, rule, gap_days, seed)
                rows += rows_of_all(scenario, name, rule, done, best, gap, seed)
                bar.update()
        for rule in rules:
            done = [
                played.play(policy, flat, rule, response_days, seed, alone=True)
                for policy in everybody
            ]
            done.append(played.best_response(flat, rule, response_days, seed))
            rows += rows_of_one("flat", rule, done)
            bar.update()
    rule = rules[min(1, len(rules) - 1)]  # the uniform price, if it is among them
    alone = played.play(everybody[0], flat, rule, days, seed).reward_eur.sum(axis=1)
    more, flows = contract_rows(flat, "flat", rule, days, alone, best_flat, seed)
    rows += more
    order = list(scenarios)
    rows.sort(key=lambda row: (order.index(row["scenario"]), row["who"] != EVERYBODY))
    results = report.write_results(
        out,
        command=command,
        seed=seed,
        environment=ENV_ID,
        scenario={
            "title": f"local_market_v0, {days} {split} days",
            "titles": titles,
            "rules": list(rules),
            "participants": participants,
            "days": days,
            "response_days": response_days,
            "split": split,
        },
        rows=rows,
    )
    scores_picture(out / "scores.png", results)
    book_picture(out / "book.png", *_busy_hour(flat, seed))
    contracts_picture(out / "contracts.png", flows, rule)
    print_tables(results)
    return results


def _busy_hour(scenario: LocalMarketScenario, seed: int) -> tuple[Floats, Floats, str]:
    """Limits and volumes of the first day's hour in which most is traded, and what it is."""
    from flexgym.envs.data.calendar import date
    from flexgym.evaluate.local_market_play import begun

    market = begun(scenario, "uniform", 1, seed)
    hours = []
    while not market.done:
        hour, t = market.hour, market.t
        market.post(hour.limit)
        kwh = float(market.clearing.node_kwh[0].sum())
        hours.append((kwh, t, hour.limit[0], hour.position_kwh[0]))
    _, t, price, volume = max(hours, key=lambda hour: hour[0])
    day = date(int(market.days.day[0]) + (6 + t) // 24)
    title = f"{scenario.participants} participants, {day:%-d %B}, {(6 + t) % 24}:00"
    return price, volume, title
