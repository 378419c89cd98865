"""The trader's optimum: against recursion over histories, in expectation, and as a bound."""

from functools import cache

import numpy as np
import pytest

from flexgym.baselines.trader import cost_to_go, foresight_eur
from flexgym.envs.errors import ScenarioError
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.trader.params import TraderTerms
from flexgym.envs.trader.scenario import TraderScenario
from flexgym.envs.trader.simulation import TraderSimulation
from flexgym.envs.uncertainty import MarkovChain
from flexgym.policies.trader import BelowValue, OptimalTrader, SpotOnly, trader_rules


def tiny(seed):
    """A scenario with random chains, prices (some negative), noise, depths and spreads."""
    rng = np.random.default_rng(seed)
    D, H, n = int(rng.integers(1, 4)), int(rng.integers(1, 3)), int(rng.integers(1, 4))

    def chain(k):
        return MarkovChain(
            tuple(rng.uniform(0.5, 1.5, k).tolist()),
            tuple(tuple(row) for row in rng.dirichlet(np.ones(k), k).tolist()),
        )

    terms = TraderTerms(
        need_lots=int(rng.integers(1, 5)), lot_kwh=float(rng.uniform(0.2, 2.0)), first_delivery=D,
        delivery_hours=H, forward_depth=int(rng.integers(0, 4)),
        option_depth=int(rng.integers(0, 3)), spread_eur_per_kwh=float(rng.uniform(0.0, 0.02)),
        strike_ratio=float(rng.uniform(0.5, 1.2)), forward_quote=chain(2), option_quote=chain(2),
    )  # fmt: skip
    process = SignalProcess(
        rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n), (D + H - 1, n)),
        rng.normal(0.25, 0.15, (D + H, n)), [-0.1, 0.1], [0.5, 0.5],
    )  # fmt: skip
    return TraderScenario.create(terms, uncertainty=process)


def brute_force(scenario):
    """Least expected cost by plain recursion over what can happen, in other words than ours."""
    terms, process = scenario.terms, scenario.processes[0]
    D, H, N = terms.first_delivery, terms.delivery_hours, terms.need_lots
    lot = terms.lot_kwh
    f_chain, o_chain = terms.forward_quote, terms.option_quote
    mean = sum(process.marginal[h] @ process.price_eur_per_kwh[h] for h in range(D, D + H)) / H
    strike = terms.strike_ratio * mean

    def ahead(t, s, h, payoff):
        row = np.eye(process.signals)[s]
        for u in range(t, h):
            row = row @ process.transition[u]
        return row @ payoff(process.price_eur_per_kwh[h])

    def quotes(t, s, q, r):
        forward = np.mean([ahead(t, s, h, lambda p: p) for h in range(D, D + H)])
        call = np.mean(
            [ahead(t, s, h, lambda p: np.maximum(p - strike, 0)) for h in range(D, D + H)]
        )
        return (
            forward * f_chain.factors[q] + terms.spread_eur_per_kwh,
            call * o_chain.factors[r] + terms.premium_spread_eur_per_kwh,
        )

    @cache
    def deliver(t, s, c, o):
        if t == D + H:
            return 0.0
        price = process.price_eur_per_kwh[t, s]
        now = min(e * lot * strike + (N - c - e) * lot * price for e in range(o + 1))
        if t + 1 == D + H:
            return now
        chance = process.transition[t][s]
        return now + sum(p * deliver(t + 1, z, c, o) for z, p in enumerate(chance))

    @cache
    def trade(t, s, q, r, c, o):
        forward, premium = quotes(t, s, q, r)
        found = []
        for f in range(terms.forward_depth + 1):
            for b in range(terms.option_depth + 1):
                if c + f + o + b > N:
                    continue
                cost = lot * H * (f * forward + b * premium)
                for z, chance in enumerate(process.transition[t][s]):
                    if t + 1 == D:
                        cost += chance * deliver(D, z, c + f, o + b)
                        continue
                    for q2, p in enumerate(f_chain.transition[q]):
                        for r2, w in enumerate(o_chain.transition[r]):
                            later = trade(t + 1, z, q2, r2, c + f, o + b)
                            cost += chance * p * w * later
                found.append(cost)
        return min(found)

    return sum(
        a * b * c * trade(0, s, q, r, 0, 0)
        for s, a in enumerate(process.initial)
        for q, b in enumerate(f_chain.stationary)
        for r, c in enumerate(o_chain.stationary)
    )


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_recursion_over_all_that_can_happen(seed):
    scenario = tiny(seed)
    assert cost_to_go(scenario).value_eur == pytest.approx(brute_force(scenario), abs=1e-11)


def play(policy, scenario, n, seed=0, day=None):
    simulation = TraderSimulation(scenario, n)
    rngs = [np.random.default_rng([seed, i]) for i in range(n)]
    simulation.begin(rngs, None if day is None else {"day": day})
    policy.begin(simulation)
    while not simulation.done:
        simulation.step(policy.act(simulation))
    return simulation


def test_its_mean_over_20000_episodes_is_its_value():
    for scenario in (TraderScenario.create(days=[3]), tiny(7)):
        cost = play(OptimalTrader(), scenario, 20_000).cost_eur
        value = cost_to_go(scenario).value_eur
        half = 2.576 * cost.std(ddof=1) / np.sqrt(len(cost))
        assert half < 0.03
        assert abs(cost.mean() - value) <= half


def test_without_contracts_the_optimum_is_spot():
    terms = TraderTerms(forward_depth=0, option_depth=0)
    scenario = TraderScenario.create(terms, days=[3])
    process = scenario.processes[0]
    expected = sum(process.marginal[h] @ process.price_eur_per_kwh[h] for h in range(12, 18))
    assert cost_to_go(scenario).value_eur == pytest.approx(8 * 0.5 * expected)


def test_with_fair_quotes_nothing_is_gained_by_trade():
    """A martingale: without spread and mispricing every contract is worth what it costs."""
    still = MarkovChain((1.0,), ((1.0,),))
    terms = TraderTerms(
        spread_eur_per_kwh=0.0, premium_spread_eur_per_kwh=0.0, forward_quote=still,
        option_quote=still,
    )  # fmt: skip
    scenario = TraderScenario.create(terms, days=[3])
    process = scenario.processes[0]
    expected = sum(process.marginal[h] @ process.price_eur_per_kwh[h] for h in range(12, 18))
    assert cost_to_go(scenario).value_eur == pytest.approx(8 * 0.5 * expected, abs=1e-11)


@pytest.mark.parametrize("seed", range(9))
def test_no_rule_beats_it_and_nothing_beats_foresight(seed):
    scenario = tiny(100 + seed) if seed < 8 else TraderScenario.create(split="test")
    n = 2000
    best = play(OptimalTrader(), scenario, n, seed)
    bound = foresight_eur(scenario, best.episodes)
    assert (bound <= best.cost_eur + 1e-9).all()
    for rule in trader_rules():
        played = play(rule, scenario, n, seed)
        assert (bound <= played.cost_eur + 1e-9).all()
        worse = played.cost_eur - best.cost_eur
        assert worse.mean() >= -2.576 * worse.std(ddof=1) / np.sqrt(n) - 1e-12


def test_the_expected_cost_of_any_rule_is_above_the_value_exactly():
    """Expected costs by forward recursion over the chain, no draws: rules never fall below V."""
    scenario = tiny(3)
    n, k, T = scenario.processes[0].signals, scenario.terms.quotes, scenario.terms.hours
    D = scenario.terms.first_delivery
    draws = np.indices((n,) * T + (k,) * D).reshape(T + D, -1).T
    process, quote = scenario.processes[0], scenario.quote_process
    chance = process.initial[draws[:, 0]] * quote.initial[draws[:, T]]
    for t in range(1, T):
        chance = chance * process.transition[t - 1, draws[:, t - 1], draws[:, t]]
    for t in range(1, D):
        chance = chance * quote.transition[t - 1, draws[:, T + t - 1], draws[:, T + t]]
    assert chance.sum() == pytest.approx(1.0)
    rows = np.zeros(len(draws), dtype=np.int64)
    price = process.price_eur_per_kwh[np.arange(T), draws[:, :T]]
    simulation = TraderSimulation(scenario, len(draws))
    episodes = type(play(SpotOnly(), scenario, 1).episodes)(
        rows, rows, draws[:, :T], draws[:, T:], price
    )
    value = cost_to_go(scenario).value_eur
    for policy in (*trader_rules(), OptimalTrader()):
        simulation.start(episodes)
        policy.begin(simulation)
        while not simulation.done:
            simulation.step(policy.act(simulation))
        expected = chance @ simulation.cost_eur
        assert expected >= value - 1e-12
        if policy.name == "optimal":
            assert expected == pytest.approx(value, abs=1e-12)


def test_a_margin_must_be_below_one():
    for margin in (1.0, np.nan, -np.inf):
        with pytest.raises(ScenarioError, match="expected"):
            BelowValue(margin)


@pytest.mark.parametrize("row", [5, -1, 0.5, None, True])
def test_only_days_of_the_scenario_are_solved(row):
    with pytest.raises(ScenarioError, match="expected a position"):
        cost_to_go(tiny(0), row)
