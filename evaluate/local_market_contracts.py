"""Contracts in the local market: what they move, what falls short, and who pays whom when."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.contract_trade import LAST, ContractTrade
from flexgym.envs.local_market.params import HOURS
from flexgym.envs.local_market.scenario import LocalMarketScenario
from flexgym.envs.local_market.simulation import LocalMarketSimulation
from flexgym.evaluate.local_market_play import begin_days
from flexgym.evaluate.score import normal_interval, paired_score
from flexgym.policies.hedging import Hedging

CONTRACTS = "contracts, then spot"
FLOWS = ("spot", "forwards", "premiums", "calls", "utility")
"""What is paid for, in the order of the picture."""


def policies() -> list[Hedging]:
    """Those that are compared."""
    return [Hedging(0.0, 0.0), Hedging(1.0, 0.0), Hedging(0.0, 1.0), Hedging(0.5, 1.0)]


def play_contracts(
    policy: Hedging, scenario: LocalMarketScenario, rule: str, days: int, seed: int = 0
) -> tuple[Floats, dict[str, float], Floats]:
    """Play days with contracts.

    Args:
        policy: What all participants do.
        scenario: The neighbourhood.
        rule: Who pays what.
        days: How many, m.
        seed: Of the first.

    Returns:
        Rewards of all together, shape (m,), EUR a day; means a day and market of kWh agreed as
        forwards and calls, exercised and short, and the share delivered of what was promised; and
        what participants without a roof pay in each hour, shape (flows, 24), EUR, by `FLOWS`.
    """
    contracts = ContractTrade(days, scenario.participants, rule)
    market = LocalMarketSimulation(scenario, days, rule=rule, contracts=contracts)
    begin_days(market, seed)
    no_roof = market.days.roof_kw == 0.0
    flows, moved = np.zeros((len(FLOWS), HOURS)), np.zeros(4)
    while not market.done:
        t = market.t
        market.post(*policy.orders(market), policy.agreements(market))
        last, now = dict(zip(LAST, contracts.last, strict=True)), market.accounts
        paid = (
            now["market_eur"], last["forward_eur"], last["premium_eur"], last["exercise_eur"],
            now["utility_eur"],
        )  # fmt: skip
        flows[:, t] = [np.where(no_roof, eur, 0.0).sum() / days for eur in paid]
        delivered = 0.5 * np.abs(now["contract_kwh"]).sum()
        bought = (np.maximum(last[name], 0.0).sum() for name in ("forward_kwh", "call_kwh"))
        moved += np.array([*bought, delivered, last["shortfall_kwh"].sum()]) / days
    value, *costs = market.totals[:6]
    book = contracts.book
    promised = float(book.promised_kwh.sum())
    names = ("forward_kwh", "call_kwh", "delivered_kwh", "shortfall_kwh")
    numbers: dict[str, float] = dict(zip(names, moved.tolist(), strict=True))
    numbers["success_rate"] = float(book.delivered_kwh.sum()) / promised if promised else 1.0
    return (value - sum(costs)).sum(axis=1), numbers, flows


def contract_rows(
    scenario: LocalMarketScenario,
    name: str,
    rule: str,
    days: int,
    alone_eur: Floats,
    best_eur: Floats,
    seed: int,
) -> tuple[list[dict[str, Any]], dict[str, Floats]]:
    """Rows of contracts in a scenario, and the cash flows of each policy.

    Args:
        scenario: The neighbourhood.
        name: Its name.
        rule: Who pays what.
        days: How many, m.
        alone_eur: Rewards of all with the utility alone, shape (m,); scores 0.
        best_eur: What the best spot trade adds, shape (m,); scores 100. With contracts it is no
            bound: who bought forward may feed in what others sold, at its own tariff.
        seed: Of the days.
    """
    rows, flows = [], {}
    for policy in policies():
        total, numbers, paid = play_contracts(policy, scenario, rule, days, seed)
        flows[policy.name] = paid
        rows.append(
            {
                "scenario": name,
                "who": CONTRACTS,
                "rule": rule,
                "policy": policy.name,
                "kind": "policy",
                "cost_eur": asdict(normal_interval(-total)),
                "gain_eur": asdict(normal_interval(total - alone_eur)),
                "score": asdict(paired_score(total, alone_eur, alone_eur + best_eur)),
                **numbers,
            }
        )
    return rows, flows
