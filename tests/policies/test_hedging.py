"""Contracts ahead of spot: no loss at delivery if all goes as forecast, a shortfall if not."""

import numpy as np
import pytest

from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.local_market.contract_trade import LAST, ContractTrade
from flexgym.envs.local_market.params import RULES
from flexgym.envs.local_market.scenario import LocalMarketScenario
from flexgym.envs.local_market.simulation import LocalMarketSimulation
from flexgym.policies.hedging import Hedging


def begun(markets=6, rule="uniform", contracts=True, **options):
    scenario = LocalMarketScenario.create(participants=15, **options)
    trade = ContractTrade(markets, 15, rule) if contracts else None
    market = LocalMarketSimulation(scenario, markets, rule=rule, contracts=trade)
    market.begin([np.random.default_rng(i) for i in range(markets)])
    return market


def day(policy, market):
    while not market.done:
        market.post(*policy.orders(market), policy.agreements(market))
    value, *costs = market.totals[:6]
    return value - sum(costs)


@pytest.mark.parametrize("rule", RULES)
def test_with_certain_forecasts_the_forward_market_is_the_spot_market(rule):
    hedged, spot = (begun(rule=rule, uncertainty="none") for _ in range(2))
    with_forwards, without = day(Hedging(), hedged), day(Hedging(0.0), spot)
    np.testing.assert_allclose(with_forwards, without, atol=1e-9)
    book = hedged.contracts.book
    assert book.promised_kwh.sum() > 10.0
    np.testing.assert_allclose(book.success_rate, 1.0)
    paid, plain = (x.totals[2] + x.totals[4] for x in (hedged, spot))
    np.testing.assert_allclose(paid, plain, atol=1e-9)
    assert np.abs(hedged.totals[4]).sum() > 1.0


def test_with_real_weather_sellers_fall_short_and_welfare_is_lost():
    hedged, spot = begun(), begun()
    assert day(Hedging(), hedged).sum() < day(Hedging(0.0), spot).sum()
    assert hedged.contracts.book.success_rate.min() < 1.0


def test_a_call_is_exercised_as_far_as_there_is_need_and_gain():
    policy, market, used, idle = Hedging(0.0, 1.0), begun(20), 0, 0
    while not market.done:
        t, book = market.t, market.contracts.book
        held = np.maximum(book.option_kwh[t], 0.0).copy()
        strike, hour = book.strike_eur_per_kwh[t][:, None].copy(), market.hour
        market.post(*policy.orders(market), policy.agreements(market))
        got = np.maximum(market.accounts["contract_kwh"], 0.0)
        worth = (held > 0.0) & (hour.limit > strike) & (hour.position_kwh > 0.0)
        expected = np.where(worth, np.minimum(held, hour.position_kwh), 0.0)
        np.testing.assert_allclose(got, expected, atol=1e-9)
        used += int((expected > 0.0).sum())
        idle += int(((held > 0.0) & (expected < held)).sum())
        premium = market.contracts.last[LAST.index("premium_eur")]
        assert abs(premium.sum()) <= 1e-9
    assert used > 50
    assert idle > 5


def test_bad_input():
    with pytest.raises(ScenarioError, match="contracts=True"):
        Hedging().agreements(begun(1, contracts=False))
    for shares in ((1.2, 0.0), (0.5, -0.1), (0.5, 0.5, np.nan)):
        with pytest.raises(ScenarioError, match="shares"):
            Hedging(*shares)
    market = begun(1)
    for agreed in (np.zeros((1, 15, 4)), np.full((1, 15, 5), 1.1), np.full((1, 15, 5), np.nan)):
        with pytest.raises(ActionError, match="entries"):
            market.post(market.hour.limit, 1.0, agreed)
