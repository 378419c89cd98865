"""A day's messages lead to the same money and energy as the environment's accounts."""

import numpy as np
import pytest

from flexgym.envs.errors import ContractError
from flexgym.envs.local_market.clearing_house import ClearingHouse
from flexgym.envs.local_market.contract_trade import ContractTrade
from flexgym.envs.local_market.journal import Journal
from flexgym.envs.local_market.ledger import Ledger
from flexgym.envs.local_market.messages import SpotTraded, read_log, write_log
from flexgym.envs.local_market.params import RULES
from flexgym.envs.local_market.scenario import LocalMarketScenario
from flexgym.envs.local_market.simulation import LocalMarketSimulation

TREE = {"neighbourhoods": 3, "fee_eur_per_kwh": 0.01, "wholesale_margin_eur_per_kwh": 0.02}


@pytest.mark.parametrize("options", [{}, TREE])
@pytest.mark.parametrize("rule", RULES)
def test_the_ledger_says_what_the_environment_says(rule, options):
    scenario = LocalMarketScenario.create(participants=12, **options)
    market = LocalMarketSimulation(scenario, 2, rule=rule)
    market.begin([np.random.default_rng(i) for i in range(2)])
    journal = Journal(market, row=1)
    rng = np.random.default_rng(0)
    while not market.done:
        market.step(rng.uniform(-0.5, 1.0, (2, 12, 2)))
        journal.note()
        ledger = journal.ledger
        assert np.abs(ledger.imbalance).max() <= 1e-9
        # Everything a participant got was metered: nothing is left on its account.
        left = [ledger.energy_kwh[name] for name in journal.names]
        np.testing.assert_allclose(left, 0.0, atol=1e-9)
    totals = dict(zip(market.accounts, market.totals[:, 1], strict=True))
    paid = totals["market_eur"] + totals["fee_eur"] + totals["utility_eur"]
    cash = np.array([ledger.cash_eur[name] for name in journal.names])
    np.testing.assert_allclose(cash, -paid, atol=1e-9)
    assert ledger.cash_eur["network"] == pytest.approx(totals["fee_eur"].sum(), abs=1e-9)
    assert sum(ledger.cash_eur[name] for name in ("utility", "network")) == pytest.approx(
        paid.sum(), abs=1e-9
    )
    used = totals["served_kwh"].sum() - totals["given_kwh"].sum()
    assert ledger.energy_kwh["meters"] == pytest.approx(used, abs=1e-9)
    log = read_log(write_log(journal.log))
    assert log == journal.log
    assert Ledger.rebuild(log) == ledger
    house = ClearingHouse.rebuild(log)
    assert house.ledger == ledger
    assert house.ratings == journal.ratings
    trades = sum(isinstance(message, SpotTraded) for message in log)
    assert trades > 10
    assert sum(rating.trades for rating in journal.ratings.values()) == 2 * trades
    assert all(rating.success_rate == 1.0 for rating in journal.ratings.values())


def test_who_has_no_journal():
    scenario = LocalMarketScenario.create(participants=3)
    market = LocalMarketSimulation(scenario, 1)
    market.begin([np.random.default_rng(0)])
    with pytest.raises(ContractError, match="row 1"):
        Journal(market, 1)
    contracts = ContractTrade(1, 3, "uniform")
    with pytest.raises(ContractError, match="without"):
        Journal(LocalMarketSimulation(scenario, 1, contracts=contracts))
