"""Buses of the market with real houses: plan, answers, energy, money, states."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils import seeding

from flexgym.envs import aggregator_market_v0
from flexgym.envs.aggregator_market.accounts import HOUR_NAMES
from flexgym.envs.aggregator_market.household_buses import HouseholdBuses
from flexgym.envs.aggregator_market.priced_houses import Households, best_power_kw
from flexgym.envs.aggregator_market.scenario import MarketScenario, rolled, synthetic_day
from flexgym.envs.aggregator_market.simulation import MarketSimulation
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.data import load_grid
from flexgym.envs.errors import ActionError, ResetNeededError, ScenarioError, StateError
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.grid import RadialPowerFlow
from flexgym.envs.household.dynamics import UNSERVED
from flexgym.envs.household.params import DT_H
from flexgym.policies.quoted_menus import QuotedMenus

SILENT = 28.0


@pytest.fixture(scope="module")
def feeder():
    """Three houses, two draws of them and two days."""
    buses = load_grid().load.bus.unique()[:3]
    return FeederScenario.from_pandapower(
        load_grid(), buses=buses, seeds=(0, 1), days=(100, 180), uncertainty="none"
    )


@pytest.fixture(scope="module")
def scenario(feeder):
    """Everybody of the only aggregator is a house on one of two buses, so nobody herds."""
    of = np.full(32, -1)
    of[[4, 7]] = 0
    return MarketScenario.create("ordered", aggregators=of, households=Households(feeder, (7, 4)))


def rngs(*seeds):
    return [seeding.np_random(seed)[0] for seed in seeds]


def begun(scenario, *seeds, **options):
    market = MarketSimulation(scenario, len(seeds), **options)
    market.begin(rngs(*seeds))
    return market


def quotes(hour, n=1):
    """Quotes that move every house, other ones in each market."""
    return 110.0 + 110.0 * np.sin(1.7 * hour + np.arange(n))[:, None]


@pytest.mark.parametrize("planner", ["QuotedMenus", "QuickQuotedMenus"])
def test_silence_is_the_plan_to_the_bit(scenario, planner):
    made_by = replace(scenario.households, houses=f"flexgym.policies.quoted_menus:{planner}")
    market = begun(replace(scenario, households=made_by), 3, 4)
    while not market.done:
        market.step()
        assert not market.magnetisation[:, [4, 7]].any()
    houses = market.houses
    np.testing.assert_array_equal(houses.cost_eur, houses.plan_eur)
    assert not houses.gain_eur.any()
    assert not market.episode[:, : HOUR_NAMES.index("lowest_pu")][:, :6].any()
    assert houses.plan_kw.std() > 0.1


class Watched(QuotedMenus):
    """Houses that remember what they offered and what was asked of them."""

    seen = ()

    def follow(self, power_kw):
        Watched.seen = (*Watched.seen, ([teller.menu for teller in self._tellers], power_kw.copy()))
        return super().follow(power_kw)


def test_answers_are_the_best_response_of_the_summed_menu(feeder):
    houses = HouseholdBuses(Households(feeder, (4,), Watched), 1, SILENT)
    houses.begin(rngs(5))
    for hour in range(12):
        quote = np.full((1, 1), quotes(hour)[0, 0])
        _ = houses.plan_kw
        Watched.seen = ()
        (adder,) = set(houses.adders(quote).tolist())
        assert adder == pytest.approx(1e-3 * (quote[0, 0] - SILENT), abs=1e-15)
        houses.play(quote)
        assert len(Watched.seen) == 4
        for menus, power in Watched.seen:
            summed = FlexibilityChart.minkowski_sum(menus)
            found = float(summed.cost(power.sum())) + DT_H * adder * power.sum()
            # Every combination of breakpoints and points between them of all houses.
            each = [np.unique([*m.power_kw, *np.linspace(*m.power_kw[[0, -1]], 25)]) for m in menus]
            grid = np.meshgrid(*each, indexing="ij")
            cost = sum(m.cost(g) + DT_H * adder * g for m, g in zip(menus, grid, strict=True))
            assert found == pytest.approx(cost.min(), abs=1e-9)
            tilted = best_power_kw(summed, adder)
            at_best = float(summed.cost(tilted)) + DT_H * adder * tilted
            assert found == pytest.approx(at_best, abs=1e-9)


def test_menus_are_told_without_moving_anything(feeder):
    houses = HouseholdBuses(Households(feeder, (4, 7)), 1, SILENT)
    houses.begin(rngs(2))
    houses.play(np.full((1, 2), 300.0))
    before = houses.homes.soc_kwh.copy()
    ((one, two),) = houses.menus()
    for menu in (one, two):
        assert menu.power_kw[-1] - menu.power_kw[0] > 1.0
        assert menu.power_kw[0] <= menu.best_power_kw <= menu.power_kw[-1]
    np.testing.assert_array_equal(before, houses.homes.soc_kwh)


def test_energy_and_money_add_up(scenario):
    market = begun(scenario, 3, 4)
    houses, at = market.houses, [7, 4]
    flow, mwh = RadialPowerFlow(scenario.network), np.zeros(2)
    paid = np.zeros((2, 2))
    while not market.done:
        t, rtem = market.t, market.rtem
        hour = market.step(0.5, quotes(t, 2))
        assert houses.homes.t == 4 * market.t
        flexible = 1e-3 * (houses.plan_kw[t] - houses.power_kw)
        money = market.money
        np.testing.assert_allclose(money.buses[:, at], quotes(t, 2) * flexible, atol=1e-9)
        np.testing.assert_allclose(
            money.aggregators[:, 0], (rtem - quotes(t, 2)[:, 0]) * flexible.sum(1), atol=1e-9
        )
        np.testing.assert_allclose(money.welfare, rtem * flexible.sum(1), atol=1e-9)
        np.testing.assert_allclose(hour[:, 0], hour[:, 1:4].sum(1), atol=1e-9)
        # Nobody hears the directive, so nobody is paid for.
        assert not hour[:, HOUR_NAMES.index("directive_eur")].any()
        mwh, paid = mwh + flexible.sum(1), paid + quotes(t, 2) * flexible
    due = 45.0 * np.maximum(mwh, 0.0)
    np.testing.assert_allclose(market.settled[:, 0], due, atol=1e-9)
    np.testing.assert_allclose(houses.paid_eur, paid, atol=1e-9)
    np.testing.assert_allclose(houses.gain_eur, paid - houses.cost_eur + houses.plan_eur)
    p, q = np.zeros((2, 33)), np.zeros((2, 33))
    p[:, scenario.bus] = 1e-2 * scenario.day.percent[-1] * market._load_kw
    q[:, scenario.bus] = p[:, scenario.bus] * scenario.kvar_per_kw
    p[:, scenario.bus[at]], q[:, scenario.bus[at]] = houses.power_kw, houses.reactive_kvar
    assert (houses.reactive_kvar > 0.0).all()
    np.testing.assert_allclose(market.v_pu, flow.solve(p, q).v_pu, atol=1e-12)


def test_price_moves_houses_the_right_way(feeder):
    """A dear hour lowers what they draw and a cheap one raises it; later they take it back."""
    houses = HouseholdBuses(Households(feeder, (4,)), 1, SILENT)
    houses.begin(rngs(2))
    found = []
    for _ in range(24):
        saved, moved = houses.save(), []
        for quote in (SILENT - 100.0, SILENT, SILENT + 100.0):
            houses.restore(saved)
            moved.append(houses.play(np.full((1, 1), quote))[0, 0])
        found.append(moved)
        houses.restore(saved)
        houses.play(np.full((1, 1), SILENT))
    low, silent, high = np.array(found).T
    assert not silent.any()
    assert low.max() <= 1e-9
    assert high.min() >= -1e-9
    assert low.min() < -0.1
    assert high.max() > 0.1
    early = int(np.argmax(high[:20] > 0.1))
    houses.begin(rngs(2))
    played = [
        houses.play(np.full((1, 1), SILENT + 100.0 * (hour == early)))[0, 0] for hour in range(24)
    ]
    assert not np.any(played[:early])
    assert played[early] == high[early] > 0.1
    assert sum(played[early + 1 :]) < -0.5 * high[early]


def test_market_of_a_batch_is_the_single_one(scenario):
    batch, singles = begun(scenario, 6, 7), [begun(scenario, 6), begun(scenario, 7)]
    for _ in range(24):
        quote = quotes(batch.t, 2)
        batch.step(0.0, quote)
        for i, single in enumerate(singles):
            single.step(0.0, quote[[i]])
            np.testing.assert_array_equal(batch.hour[i], single.hour[0])
    for i, single in enumerate(singles):
        np.testing.assert_array_equal(batch.houses.plan_kw[:, i], single.houses.plan_kw[:, 0])
        np.testing.assert_array_equal(batch.houses.gain_eur[i], single.houses.gain_eur[0])


@pytest.mark.parametrize("hour", [0, 9])
def test_a_saved_day_goes_on_identically(scenario, hour):
    market = begun(scenario, 8)
    while market.t < hour:
        market.step(0.0, quotes(market.t))
    saved, rest = market.save(), []
    other, copied = MarketSimulation(scenario, 1), copy.deepcopy(market)
    other.restore(saved)
    for one in (market, other, copied):
        hours = []
        while not one.done:
            hours.append(one.step(0.0, quotes(one.t)))
        rest.append((np.array(hours), one.houses.gain_eur))
    for a, b, c in zip(*rest, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_states_of_other_markets_are_refused(scenario):
    market = begun(scenario, 8)
    saved = market.save()
    with pytest.raises(StateError, match="has no houses"):
        market.restore({key: value for key, value in saved.items() if key != "houses"})
    market.step()
    late = market.save()
    houses = {key: value for key, value in late["houses"].items() if key != "plan_kw"}
    with pytest.raises(StateError, match="plan_kw"):
        market.restore({**late, "houses": houses})
    with pytest.raises(StateError, match="soc_kwh"):
        market.restore({**saved, "houses": {**saved["houses"], "soc_kwh": np.zeros(2)}})


def test_beside_houses_others_herd(feeder):
    """Spins of other buses neither feel the houses nor stand on their buses."""
    scenario = MarketScenario.create("ordered", households=Households(feeder))
    assert scenario.households.buses == (1, 4, 7, 10)
    assert not np.isin(scenario.bus_of, scenario.households.buses).any()
    assert len(scenario.bus_of) == 67 - scenario.flexible[[1, 4, 7, 10]].sum()
    market = begun(scenario, 1, power_flow=False)
    market.step(3.0, 46.0)
    herd = market.magnetisation[0, scenario.bus_of[0]]
    assert -1.0 <= herd <= 1.0
    dropped = scenario.flexible * market.magnetisation[0]
    assert market.group_magnetisation[0, 0] == pytest.approx(dropped.sum() / 67)


def test_uncertain_days_are_planned_on_the_forecast(feeder):
    uncertain = FeederScenario.from_pandapower(
        load_grid(), buses=load_grid().load.bus.unique()[:3], days=(180,), uncertainty="markov"
    )
    one, two = (HouseholdBuses(Households(uncertain, (4,)), 1, SILENT) for _ in range(2))
    for houses in (one, two):
        houses.begin(rngs(1))
    # The plan does not see what happens.
    two.homes.episodes.exogenous[:, 0] *= 1.3
    two.homes.episodes.state[...] = 0
    np.testing.assert_array_equal(one.plan_kw, two.plan_kw)
    flexible = np.array([one.play(np.full((1, 1), SILENT)) for _ in range(24)])
    assert np.isfinite(flexible).all()
    assert np.abs(flexible).max() > 0.0


def test_plans_are_kept(feeder):
    """The same houses on the same day are planned once; others are not mistaken for them."""
    made = []

    def make(homes):
        made.append(homes.n)
        return QuotedMenus(homes)

    houses = HouseholdBuses(Households(feeder, (4, 7), make), 3, SILENT)
    houses.begin(rngs(0, 1, 2))
    first, cost = houses.plan_kw, houses.plan_eur
    feeders = np.stack([houses._feeders.draw, houses._feeders.day])
    different, where = np.unique(feeders, axis=1, return_inverse=True)
    assert made == [3 * different.shape[1]]
    assert different.shape[1] > 1
    for k in range(6):
        for j in range(6):
            same = np.array_equal(first.reshape(24, 6)[:, k], first.reshape(24, 6)[:, j])
            assert same == (where[k] == where[j])
    houses.begin(rngs(0, 1, 2))
    np.testing.assert_array_equal(houses.plan_kw, first)
    np.testing.assert_array_equal(houses.plan_eur, cost)
    assert len(made) == 1


def test_adders_stay_where_houses_are_convex(feeder):
    houses = HouseholdBuses(Households(feeder, (4,)), 1, SILENT)
    houses.begin(rngs(1))
    buy = houses.homes.episodes.exogenous[:4, 2]
    low, high = (houses.adders(np.full((1, 1), quote)) for quote in (-1e6, 1e6))
    assert ((buy + low >= 0.0) & (buy + low < buy)).all()
    assert (buy + high <= houses.homes.episodes.rows[:, UNSERVED]).all()
    houses.play(np.full((1, 1), -1e6))
    assert np.isfinite(houses.play(np.full((1, 1), 1e6))).all()


def test_the_parallel_environment_has_them(feeder):
    env = aggregator_market_v0.parallel_env(
        scenario="three", learners=("dso", "aggregators", "buses"),
        households=Households(feeder, (1, 2)), reward="own",
    )  # fmt: skip
    env.reset(seed=1)
    assert "bus_3" not in env.agents
    assert "bus_5" in env.agents
    for _ in range(2):
        actions = {agent: np.full(1, 0.4, dtype=np.float32) for agent in env.agents}
        seen, rewards, *_, infos = env.step(actions)
        assert all(env.observation_space(a).contains(seen[a]) for a in env.agents)
    market = env.play.market
    of_houses = market.money.buses[0, [1, 2]].sum()
    hour = infos["aggregator_1"]
    paid = hour["welfare_eur"] - hour["directive_eur"] - hour["settlement_eur"]
    assert sum(rewards.values()) + of_houses == pytest.approx(paid - hour["voltage_eur"])


def test_the_days_of_houses_and_market_begin_together():
    day = synthetic_day()
    assert MarketScenario.create("ordered").day == day
    usual = MarketScenario.create("ordered", households=True)
    assert usual.day == rolled(day, 6)
    assert usual.households.feeder.n_houses == 43
    assert len(usual.households.buses) == 4
    assert (usual.aggregator[list(usual.households.buses)] == 0).all()
    six = rolled(day, 6)
    assert six.rtem_eur_per_mwh[0] == day.rtem_eur_per_mwh[6]
    assert six.source_percent[18:] == day.source_percent[:6]
    assert rolled(six, -6) == day


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: Households(None), "expected a FeederScenario"),
        (lambda f: Households(f, (1, 1)), "each position once"),
        (lambda f: Households(f, (-1,)), "positions from 0"),
        (lambda f: Households(f, (1.5,)), "positions of load buses"),
        (lambda f: MarketScenario.create(households="all"), "expected True, False or Households"),
        (lambda f: MarketScenario.create(households=Households(f, (32,))), "0 to 31"),
        (lambda f: MarketScenario.create(households=Households(f, (0,))), "no aggregator"),
        (lambda f: HouseholdBuses(Households(f), 1, SILENT), "buses is empty"),
        (lambda f: HouseholdBuses(Households(f, (1,), "nowhere:X"), 1, SILENT), "cannot be loaded"),
        (lambda f: HouseholdBuses(Households(f, (1,), 3), 1, SILENT), "takes houses"),
    ],
)
def test_bad_settings_are_named(feeder, make, message):
    with pytest.raises(ScenarioError, match=message):
        make(feeder)


def test_bad_input_is_named(feeder, scenario):
    with pytest.raises(ScenarioError, match="payer is consumers"):
        MarketSimulation(scenario, 1, payer="consumers")
    houses = HouseholdBuses(Households(feeder, (4,)), 1, SILENT)
    for name in ("homes", "plan_kw", "cost_eur"):
        with pytest.raises(ResetNeededError, match=name):
            getattr(houses, name)
    with pytest.raises(ActionError, match="after its end"):
        houses.play(np.zeros((1, 1)))
    houses.begin(rngs(0))
    for quote in (np.zeros(1), np.full((1, 1), np.nan)):
        with pytest.raises(ActionError, match="quotes have shape"):
            houses.play(quote)
    assert replace(scenario, households=None).bus_of.size
