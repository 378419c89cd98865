"""Contracts in the environment: delivered, paid, and no money or energy made of nothing."""

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from flexgym.envs import local_market_v0
from flexgym.envs.errors import ContractError, StateError
from flexgym.envs.local_market.contract_trade import ContractTerms, ContractTrade
from flexgym.envs.local_market.contracts import PriceFormula
from flexgym.envs.local_market.params import HOURS, RULES
from flexgym.envs.local_market.scenario import LocalMarketScenario
from flexgym.envs.local_market.simulation import LocalMarketSimulation
from flexgym.envs.local_market.vector_env import LocalMarketVectorEnv


@pytest.fixture(scope="module")
def scenario():
    return LocalMarketScenario.create(participants=10)


def begun(scenario, terms=None, markets=3, rule="uniform"):
    contracts = ContractTrade(markets, scenario.participants, rule, terms)
    market = LocalMarketSimulation(scenario, markets, rule=rule, contracts=contracts)
    market.begin([np.random.default_rng(i) for i in range(markets)])
    return market


def test_pettingzoo():
    def parallel():
        return local_market_v0.parallel_env(participants=4, contracts=True)

    parallel_api_test(parallel(), num_cycles=2 * HOURS + 2)
    parallel_seed_test(parallel, num_cycles=HOURS)


@pytest.mark.parametrize("rule", RULES)
def test_money_and_energy_add_up_whatever_is_agreed(rule, scenario):
    slope = ContractTerms(supplement=PriceFormula(0.0, -0.1, 1.0, low_eur_per_kwh=-0.05))
    market = begun(scenario, slope, rule=rule)
    rng = np.random.default_rng(0)
    moved = np.zeros(2)
    while not market.done:
        hour_net = market.days.net_kwh[market.t]
        market.step(rng.uniform(-1.0, 1.0, (3, 10, 7)))
        a = market.accounts
        for name in ("market_eur", "contract_eur", "traded_kwh", "contract_kwh"):
            assert np.abs(a[name].sum(axis=1)).max() <= 1e-9
        flows = a["traded_kwh"] + a["contract_kwh"] + a["utility_kwh"]
        np.testing.assert_allclose(flows, a["served_kwh"] - a["given_kwh"], atol=1e-12)
        np.testing.assert_allclose(
            market.hour.position_kwh if market.done else hour_net - a["contract_kwh"],
            hour_net - a["contract_kwh"],
            atol=1e-12,
        )
        moved += np.abs(a["contract_kwh"]).sum(), np.abs(a["contract_eur"]).sum()
    assert (moved > 1.0).all()


def test_a_forward_is_delivered_after_its_lead_at_the_agreed_price(scenario):
    market = begun(scenario, ContractTerms(lead=2))
    action = np.tile([0.0, -1.0, *ContractTrade.idle], (3, 10, 1))
    agreed = action.copy()
    # Everybody posts its whole open position at the middle of its tariffs.
    agreed[..., 3] = 1.0
    for _ in range(4):
        market.step(action)  # nothing: hours 0 to 3
    assert not market.contracts.book.forward_kwh.any()
    market.step(agreed)
    kwh, eur = (getattr(market.contracts.book, f"forward_{unit}")[6] for unit in ("kwh", "eur"))
    kwh, eur = kwh.copy(), eur.copy()
    assert np.abs(kwh).sum() > 0.1
    expected = market.days.forecast_kwh[6]
    assert (kwh * np.sign(expected) >= 0.0).all()
    assert (np.abs(kwh) <= np.abs(expected) + 1e-12).all()
    market.step(action)
    np.testing.assert_allclose(market.hour.position_kwh, market.days.net_kwh[6] - kwh)
    market.step(action)
    np.testing.assert_allclose(market.accounts["contract_kwh"], kwh, atol=1e-12)
    np.testing.assert_allclose(market.accounts["contract_eur"], eur, atol=1e-12)
    market.step(action)
    assert not market.accounts["contract_kwh"].any()


def test_a_call_is_paid_now_and_is_a_right_without_duty(scenario):
    for exercise in (-1.0, 0.0, 1.0):
        market = begun(scenario, ContractTerms(lead=3, strike_share=0.2))
        idle = np.tile([0.0, -1.0, *ContractTrade.idle], (3, 10, 1))
        wanted = idle.copy()
        wanted[..., 5] = 1.0
        for _ in range(5):
            market.step(idle)
        market.step(wanted)
        book = market.contracts.book
        held = book.option_kwh[8].copy()
        assert np.abs(held).sum() > 0.1
        paid = market.accounts["contract_eur"]
        assert (paid * np.sign(held) >= 0.0).all()
        assert np.abs(paid).sum() > 0.0
        market.step(idle)
        market.step(idle)
        strike = book.strike_eur_per_kwh[8][:, None]
        low = market.days.export_eur_per_kwh[8]
        high = market.days.import_eur_per_kwh[8]
        np.testing.assert_allclose(strike[:, 0], low + 0.2 * (high - low))
        used = idle.copy()
        used[..., 6] = exercise
        market.step(used)
        share = 0.5 * (exercise + 1.0)
        np.testing.assert_allclose(market.accounts["contract_kwh"], share * held, atol=1e-12)
        np.testing.assert_allclose(
            market.accounts["contract_eur"], strike * share * held, atol=1e-12
        )


def test_weather_moves_the_price_of_a_forward(scenario):
    fixed = ContractTerms(lead=1)
    formula = ContractTerms(lead=1, supplement=PriceFormula(0.0, -0.1, 1.0))
    action = np.tile([0.0, -1.0, 0.0, 1.0, 0.0, -1.0, -1.0], (3, 10, 1))
    markets = [begun(scenario, terms) for terms in (fixed, formula)]
    for _ in range(7):
        for market in markets:
            market.step(action)
        plain, moved = (market.accounts for market in markets)
        t = markets[0].t - 1
        added = -0.1 * (markets[0].days.weather[t] - 1.0)[:, None] * plain["contract_kwh"]
        difference = moved["contract_eur"] - plain["contract_eur"]
        np.testing.assert_allclose(difference, added, atol=1e-12)
    assert np.abs(added).max() > 0.0


def test_without_agreements_nothing_changes(scenario):
    plain = LocalMarketSimulation(scenario, 3)
    plain.begin([np.random.default_rng(i) for i in range(3)])
    market = begun(scenario)
    rng = np.random.default_rng(4)
    while not plain.done:
        spot = rng.uniform(-1.0, 1.0, (3, 10, 2))
        idle = np.broadcast_to(ContractTrade.idle, (3, 10, 5))
        np.testing.assert_array_equal(
            market.step(np.concatenate([spot, idle], axis=-1)), plain.step(spot)
        )
    assert not market.accounts["contract_eur"].any()


def test_a_saved_market_goes_on_with_its_contracts():
    played = np.random.default_rng(1).uniform(-1.0, 1.0, (20, 2, 5, 7))
    batch = LocalMarketVectorEnv(2, participants=5, contracts=True)
    batch.reset(seed=3)
    for k in range(9):
        batch.step(played[k])
    saved = batch.save_state()
    other = LocalMarketVectorEnv(2, participants=5, contracts=True)
    other.restore_state(saved)
    for k in range(9, 20):
        ours, theirs = batch.step(played[k]), other.step(played[k])
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
    with pytest.raises(StateError):
        LocalMarketVectorEnv(2, participants=5).restore_state(saved)


def test_terms_that_are_none():
    for terms in ({"lead": 0}, {"lead": 24}, {"lead": True}, {"strike_share": 1.5}):
        with pytest.raises(ContractError, match="expected"):
            ContractTerms(**terms)
    with pytest.raises(ContractError, match="base"):
        ContractTrade(1, 2, "uniform", ContractTerms(supplement=PriceFormula(0.1)))
