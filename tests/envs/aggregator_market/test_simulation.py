"""The market hour by hour: money adds up, energy is owed, consumers herd as they should."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.baselines.aggregator_market.shiftable import shiftable_day
from flexgym.envs.aggregator_market.accounts import HOUR_NAMES
from flexgym.envs.aggregator_market.params import HOURS, Day, Group, Herding, Tariffs
from flexgym.envs.aggregator_market.roles import ROLES, Seats
from flexgym.envs.aggregator_market.scenario import SCENARIOS, MarketScenario, draw
from flexgym.envs.aggregator_market.simulation import PAYERS, MarketSimulation
from flexgym.envs.data.case33_day import case33_day, case33_grid
from flexgym.envs.errors import ActionError, ResetNeededError, ScenarioError, StateError


def column(market, name):
    return market.hour[:, HOUR_NAMES.index(name)]


def begun(scenario, n=3, seed=0, **options):
    market = MarketSimulation(scenario, n, **options)
    market.begin([np.random.default_rng(seed + i) for i in range(n)])
    return market


@pytest.fixture(scope="module")
def three():
    return MarketScenario.create("three", voltage_eur_per_pu_h=20.0)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from(PAYERS), st.booleans())
def test_the_money_of_all_levels_is_the_welfare(three, seed, payer, herd):
    """Identity (27) with (28), at any actions; settlement and directive are paid besides."""
    rng, share = np.random.default_rng(seed), three.flexible / three.customers.sum()
    roles = {"consumers": ("dso", "aggregators", "consumers"), "buses": ("dso", "buses")}
    learners = roles.get(payer, ("dso",) if payer == "dso" else ("dso", "aggregators"))
    seats = Seats(three, learners, reward="own")
    assert seats.payer == payer
    market = begun(three, 2, seed, payer=payer)
    while not market.done:
        chosen = {}
        if not herd and payer == "consumers":
            chosen = {"spins": rng.choice([-1, 1], (2, 289))}
        elif not herd:
            chosen = {"magnetisation": rng.uniform(-1.0, 1.0, (2, 32))}
        bought = rng.uniform(0.0, share, (2, 32))
        quote = rng.uniform(5.0, 40.0, (2, 3))
        rtem, percent = market.rtem, three.day.percent[market.t]
        market.step(rng.uniform(-3.0, 3.0, 2), quote, bought=bought, **chosen)
        welfare = rtem * percent / 100.0 * 3.715 * (share * market.magnetisation).sum(axis=1)
        money = market.money
        np.testing.assert_allclose(column(market, "welfare_eur"), welfare, atol=1e-9)
        parts = money.buses.sum(axis=1) + money.aggregators.sum(axis=1) + money.dso
        np.testing.assert_allclose(parts, welfare, rtol=0, atol=1e-9)
        if payer == "consumers":
            continue  # what buses buy from the DSO is not theirs alone
        # Levels that do not learn have their money, too.
        rewards = {role: seats.rewards(market, role).sum(axis=1) for role in ROLES[:3]}
        costs = sum(column(market, f"{x}_eur") for x in ("directive", "voltage", "settlement"))
        np.testing.assert_allclose(sum(rewards.values()), welfare - costs, rtol=0, atol=1e-9)


def test_consumers_money_is_that_of_their_buses(three):
    seats, market = Seats(three, ("consumers",), reward="own"), begun(three, 4, payer="consumers")
    rng = np.random.default_rng(1)
    while not market.done:
        market.step(0.0, rng.uniform(10.0, 40.0, (4, 3)), spins=rng.choice([-1, 1], (4, 289)))
        got = seats.rewards(market, "consumers").sum(axis=1)
        want = market.money.buses.sum(axis=1) - market.settled.sum(axis=1)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-9)
    assert (market.settled.sum(axis=1) > 0.0).all()


@pytest.mark.parametrize("payer", PAYERS)
def test_only_energy_that_is_still_owed_is_settled(three, payer):
    """Owed at noon, paid back in the afternoon: nothing. A surplus earns nothing either."""
    market = begun(three, 1, payer=payer)
    up, down = np.ones((1, 32)), -np.ones((1, 32))

    def choose(m):
        if payer == "consumers":
            return {"spins": m[:, three.bus_of].astype(int)}
        return {"magnetisation": m}

    percent = three.day.percent
    while not market.done:
        market.step(**choose(up if market.t == 3 else down if market.t == 4 else up * 1.0))
    owed = percent.sum() - 2 * percent[4]
    assert column(market, "settlement_eur")[0] == pytest.approx(45.0 * 0.03715 * owed, rel=1e-9)
    market.begin([np.random.default_rng(0)])
    while not market.done:
        market.step(**choose(down))
    assert market.episode[0, HOUR_NAMES.index("settlement_eur")] == 0.0


def test_the_plan_is_the_linear_program(three):
    """Played in the environment it earns the objective of (31), and leaves nothing owed."""
    reference = shiftable_day(case33_day())
    np.testing.assert_allclose(
        three.planned, np.asarray(reference.magnetisation, float), atol=1e-12
    )
    sure = replace(three, day=replace(three.day, price=type(three.day.price)((1.0,), ((1.0,),))))
    market = begun(sure, 1, payer="dso")
    while not market.done:
        market.step(magnetisation=np.full((1, 32), three.planned[market.t]))
    totals = dict(zip(HOUR_NAMES, market.episode[0], strict=True))
    assert totals["welfare_eur"] == pytest.approx(322.291, abs=5e-4)
    assert totals["welfare_eur"] == pytest.approx(-reference.welfare_eur, rel=1e-9)
    assert totals["settlement_eur"] == pytest.approx(0.0, abs=1e-9)


def test_the_network_is_that_of_the_scenario(three):
    """Voltages and losses against pandapower's Newton-Raphson on the same loads."""
    import pandapower as pp

    market = begun(three, 2)
    for _ in range(3):
        market.step(1.0)
    net = case33_grid()
    order = net.load.sort_values("bus").index
    kw = 3715.0 * three.customers / 289 * three.day.percent[2] / 100.0
    kw = kw * (1.0 - market.magnetisation[1])
    net.load.loc[order, "p_mw"] = kw / 1e3
    net.load.loc[order, "q_mvar"] = kw * three.kvar_per_kw / 1e3
    pp.runpp(net, tolerance_mva=1e-10, numba=False)
    np.testing.assert_allclose(market.v_pu[1], net.res_bus.vm_pu.to_numpy(), atol=1e-7)
    assert column(market, "losses_mwh")[1] == pytest.approx(net.res_line.pl_mw.sum(), rel=1e-6)
    low = column(market, "lowest_pu")[1]
    assert low == pytest.approx(net.res_bus.vm_pu.min(), abs=1e-7)
    outside = np.maximum(0.9 - net.res_bus.vm_pu, 0.0).sum()
    assert column(market, "outside_pu_h")[1] == pytest.approx(outside, abs=1e-6)
    assert column(market, "voltage_eur")[1] == pytest.approx(20.0 * outside, abs=1e-4)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_batch_plays_what_its_markets_play_alone(name):
    scenario = MarketScenario.create(name)
    batch = begun(scenario, 3, seed=7)
    singles = [begun(scenario, 1, seed=7 + i) for i in range(3)]
    for t in range(HOURS):
        batch.step(0.3, 20.0 + t)
        for i, single in enumerate(singles):
            single.step(0.3, 20.0 + t)
            np.testing.assert_array_equal(single.spins[0], batch.spins[i])
            np.testing.assert_allclose(single.hour[0], batch.hour[i], rtol=1e-12, atol=1e-12)
    assert len({row.tobytes() for row in batch.spins}) == 3


@pytest.mark.parametrize(("name", "payer"), [("three", "consumers"), ("lattice", "dso")])
def test_saved_and_restored_it_goes_on_alike(name, payer):
    scenario = MarketScenario.create(name)
    market, other = begun(scenario, 2, payer=payer), begun(scenario, 2, 50, payer=payer)
    for _ in range(5):
        market.step(1.0)
    other.restore(market.save())
    while not market.done:
        np.testing.assert_array_equal(market.step(-1.0), other.step(-1.0))
    np.testing.assert_array_equal(market.episode, other.episode)
    with pytest.raises(StateError, match="price_state of the state has shape"):
        begun(scenario, 3, payer=payer).restore(market.save())
    with pytest.raises(StateError, match="spins of the state"):
        begun(MarketScenario.create("ordered"), 2).restore(market.save())


def test_consumers_follow_field_price_and_what_they_owe():
    """Each part of the local field moves the mean as its sign says."""
    scenario = MarketScenario.create("free")
    means = {}
    for label, directive, quote in (("+H", 2.0, 28.0), ("-H", -2.0, 28.0), ("+p", 0.0, 44.0)):
        market = begun(scenario, 400)
        market.step(directive, quote)
        means[label] = market.group_magnetisation.mean()
    assert means["+H"] > 0.4
    assert means["-H"] < -0.4
    assert means["+p"] > 0.4
    market = begun(scenario, 400)
    for _ in range(3):
        market.step(3.0)
    owed = market.group_magnetisation.mean()
    market.step(0.0)
    market.step(0.0)
    assert owed > 0.7
    assert market.group_magnetisation.mean() < 0.0  # the rebound


def test_the_price_is_its_chain():
    scenario = MarketScenario.create()
    states = draw(scenario, [np.random.default_rng(i) for i in range(4000)]).price_state
    assert (states[:, 0] == 1).all()
    for before in range(3):
        then = states[:, 1:][states[:, :-1] == before]
        share = np.bincount(then, minlength=3) / len(then)
        expected = scenario.day.price.matrix[before]
        error = 4.0 * np.sqrt(expected * (1.0 - expected) / len(then))
        assert (np.abs(share - expected) <= error + 1e-12).all()


def test_groups_and_partitions():
    assert MarketScenario.create().groups == (Group(67, 67 / 289),)
    three = MarketScenario.create("three")
    assert [group.customers for group in three.groups] == [48, 172, 69]
    assert sum(group.share for group in three.groups) == pytest.approx(1.0)
    one = MarketScenario.create(aggregators=np.zeros(32, int))
    assert one.groups == (Group(289, 1.0),)
    some = MarketScenario.create(aggregators=[0, 1, *[-1] * 30])
    assert [group.customers for group in some.groups] == [8, 7]
    market = begun(some, 1)
    market.step()
    assert (market.magnetisation[0, 2:] == 0.0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenario": "hot"}, "scenario is 'hot'"),
        ({"aggregators": [0] * 31}, "one whole number for each of 32"),
        ({"aggregators": [0.5] * 32}, "one whole number"),
        ({"aggregators": [0, 2, *[0] * 30]}, "without a gap"),
        ({"aggregators": [-1] * 32}, "at least one aggregator"),
        ({"coupling": "ring"}, "coupling is 'ring'"),
        ({"temperature": 3.0, "herding": Herding()}, "one of them"),
        ({"voltage_eur_per_pu_h": -1.0}, "a price >= 0"),
        ({"day": Day((50,) * 24, (-5.0,) * 24)}, "which leaves -5"),
    ],
)
def test_scenarios_refused(options, message):
    with pytest.raises(ScenarioError, match=message):
        MarketScenario.create(**options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Herding(temperature=0.0), "temperature is 0.0"),
        (lambda: Herding(sweeps=0), "sweeps is 0"),
        (lambda: Tariffs(profit_factor=0.9), "profit_factor is 0.9"),
        (lambda: Tariffs(highest_quote_eur_per_mwh=5.0), "highest_quote_eur_per_mwh is 5.0"),
        (lambda: Tariffs(quote_step_eur_per_mwh=float("nan")), "quote_step_eur_per_mwh is nan"),
        (lambda: Day((50,) * 23, (30.0,) * 24), "source_percent has shape"),
        (lambda: Day((50.5,) * 24, (30.0,) * 24), "whole numbers"),
        (lambda: Day((50,) * 24, (float("nan"),) * 24), "rtem_eur_per_mwh has shape"),
        (lambda: Group(0, 0.5), "customers is 0"),
        (lambda: Group(3, 1.5), "share is 1.5"),
    ],
)
def test_parameters_refused(make, message):
    with pytest.raises(ScenarioError, match=message):
        make()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"directive": np.zeros(2)}, r"directive has shape \(2,\)"),
        ({"directive": float("nan")}, "directive has values from nan"),
        ({"quote": -1.0}, "quote has values from -1"),
        ({"magnetisation": np.full((3, 32), 1.1)}, "magnetisation has values"),
        ({"magnetisation": np.zeros((3, 31))}, "magnetisation has shape"),
        ({"spins": np.zeros((3, 289), int)}, "each [+]1 or -1"),
        ({"bought": np.ones((3, 32))}, "bought has values"),
    ],
)
def test_hours_refused(three, arguments, message):
    market = begun(three)
    before = market.save()
    with pytest.raises(ActionError, match=message):
        market.step(**arguments)
    for name, value in market.save().items():
        np.testing.assert_array_equal(value, before[name])


def test_before_and_after_a_day(three):
    market = MarketSimulation(three, 1)
    with pytest.raises(ActionError, match="before a day"):
        market.step()
    with pytest.raises(ResetNeededError, match="magnetisation is not there"):
        _ = market.magnetisation
    with pytest.raises(ScenarioError, match="payer is 'nobody'"):
        MarketSimulation(three, 1, payer="nobody")
    with pytest.raises(ScenarioError, match="expected none"):
        market.begin([np.random.default_rng(0)], {"day": 3})


def test_without_power_flow_the_money_is_the_same(three):
    slow, fast = begun(three), begun(three, power_flow=False)
    while not slow.done:
        slow.step(0.5)
        fast.step(0.5)
    names = [HOUR_NAMES.index(f"{x}_eur") for x in ("welfare", "settlement", "customers")]
    np.testing.assert_array_equal(slow.episode[:, names], fast.episode[:, names])
    assert fast.episode[0, HOUR_NAMES.index("losses_mwh")] == 0.0
