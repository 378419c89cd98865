"""PettingZoo, both native batches and the simulation play the same market, and it adds up."""

import pickle

import numpy as np
import pettingzoo
import pytest
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test

import flexgym  # noqa: F401
from flexgym.baselines.local_market.welfare import optimal_welfare, tree_welfare
from flexgym.envs import local_market_v0
from flexgym.envs.errors import (
    ActionError,
    OrderError,
    ResetNeededError,
    ScenarioError,
    StateError,
)
from flexgym.envs.local_market.dynamics import (
    AMOUNTS,
    ITEMS,
    account,
    actions_from_orders,
    orders_from_actions,
)
from flexgym.envs.local_market.observation import NAMES, PRICE_SCALE
from flexgym.envs.local_market.params import HOURS, RULES
from flexgym.envs.local_market.scenario import LocalMarketScenario
from flexgym.envs.local_market.simulation import LocalMarketSimulation
from flexgym.envs.local_market.vector_env import LocalMarketVectorEnv, ParticipantRowsVectorEnv
from flexgym.train.vec_env import BatchedVecEnv

TREE = {"neighbourhoods": 3, "fee_eur_per_kwh": 0.01, "wholesale_margin_eur_per_kwh": 0.05}


@pytest.fixture(scope="module")
def scenario():
    return LocalMarketScenario.create(participants=12)


def begun(scenario, markets=4, seed=0, **options):
    market = LocalMarketSimulation(scenario, markets, **options)
    market.begin([np.random.default_rng(seed + i) for i in range(markets)])
    return market


@pytest.mark.parametrize("options", [{}, {"learners": 2, **TREE}])
def test_pettingzoo(options):
    def parallel():
        return local_market_v0.parallel_env(participants=6, **options)

    parallel_api_test(parallel(), num_cycles=2 * HOURS + 2)
    parallel_seed_test(parallel, num_cycles=HOURS)
    api_test(local_market_v0.env(participants=6, **options), num_cycles=150)
    seed_test(lambda: local_market_v0.env(participants=6, **options), 60)


def test_registered():
    if hasattr(pettingzoo, "register"):
        env = pettingzoo.make("parallel", "flexgym/local-market-v0", participants=5, learners=1)
        assert env.possible_agents == ["participant_1"]


@pytest.mark.parametrize("options", [{}, {"learners": 4, "rule": "mid-price", **TREE}])
def test_batches_and_parallel_are_one(options):
    """The same seeds and actions give the same numbers in every adapter, over two days."""
    env = local_market_v0.parallel_env(participants=7, **options)
    batch = LocalMarketVectorEnv(3, participants=7, **options)
    rows = ParticipantRowsVectorEnv(3, participants=7, **options)
    agents = env.possible_agents
    k = len(agents)
    rng = np.random.default_rng(0)
    seen, _ = env.reset(seed=12)
    of_batch, _ = batch.reset(seed=11)
    of_rows, _ = rows.reset(seed=11)
    total = np.zeros(k)
    for t in range(2 * HOURS):
        np.testing.assert_array_equal(np.stack([seen[a] for a in agents]).ravel(), of_batch[1])
        np.testing.assert_array_equal(of_rows.reshape(3, -1), of_batch)
        played = rng.uniform(-1.0, 1.0, (3, k, 2)).astype(np.float32)
        seen, reward, over, _, infos = env.step(dict(zip(agents, played[1], strict=True)))
        of_batch, batch_reward, batch_over, _, info = batch.step(played)
        of_rows, row_reward, _, _, row_info = rows.step(played.reshape(-1, 2))
        own = np.array([reward[a] for a in agents])
        np.testing.assert_array_equal(row_reward[k : 2 * k], own)
        assert batch_reward[1] == pytest.approx(own.sum(), abs=1e-12)
        last = info["final_info"] if batch_over[0] else info
        np.testing.assert_array_equal(last["agent_reward_eur"][1], own)
        total += own
        for i, agent in enumerate(agents):
            items = infos[agent]
            parts = [items[name] for name in ITEMS]
            assert own[i] == pytest.approx(parts[0] - sum(parts[1:]), abs=1e-12)
            assert last["market_eur"][1, i] == items["market_eur"]
        assert batch_over[0] == over[agents[0]] == (t % HOURS == HOURS - 1)
        if over[agents[0]]:
            totals = [infos[a]["totals"] for a in agents]
            sums = [x["value_eur"] - sum(x[name] for name in ITEMS[1:]) for x in totals]
            np.testing.assert_allclose(sums, total, atol=1e-9)
            final = row_info["final_info"]["totals"]["value_eur"]
            np.testing.assert_array_equal(final[k : 2 * k], [x["value_eur"] for x in totals])
            total[:] = 0.0
            assert not env.agents
            seen, _ = env.reset()


@pytest.mark.parametrize("rule", RULES)
def test_truthful_play_earns_what_the_linear_program_says(rule, scenario):
    """Parity: the utility alone, plus the best welfare of every hour's book."""
    market, alone = begun(scenario, rule=rule), begun(scenario, rule=rule)
    traded = 0.0
    while not market.done:
        best = optimal_welfare(market.hour.limit, market.hour.position_kwh).welfare_eur
        reward = market.post(market.hour.limit).sum(axis=1)
        without = alone.post(alone.hour.limit, 0.0).sum(axis=1)
        np.testing.assert_allclose(reward, without + best, rtol=1e-9, atol=1e-9)
        traded += np.abs(market.accounts["traded_kwh"]).sum()
    assert traded > 10.0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("options", [{}, TREE])
def test_no_orders_beat_the_bound(rule, options):
    scenario = LocalMarketScenario.create(participants=9, **options)
    market, alone = begun(scenario, 3, rule=rule), begun(scenario, 3, rule=rule)
    rng = np.random.default_rng(5)
    while not market.done:
        book, hour = (market.hour.limit, market.hour.position_kwh), market.hour
        posted = market.wholesale
        best = np.array([
            tree_welfare(
                scenario.hierarchy, book[0][r], book[1][r],
                None if posted is None else (float(posted[0][r]), float(posted[1][r])),
            ).welfare_eur[0]
            for r in range(3)
        ])  # fmt: skip
        price = hour.feed_in + rng.random(hour.feed_in.shape) * (hour.retail - hour.feed_in)
        mixed = np.where(rng.random(price.shape) < 0.5, price, hour.limit)
        reward = market.post(mixed, rng.random(price.shape)).sum(axis=1)
        assert (reward <= alone.post(hour.limit, 0.0).sum(axis=1) + best + 1e-9).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("options", [{}, TREE])
def test_money_and_energy_add_up(rule, options):
    scenario = LocalMarketScenario.create(participants=9, **options)
    market = begun(scenario, 3, rule=rule)
    rng = np.random.default_rng(2)
    while not market.done:
        hour = market.hour
        market.step(rng.uniform(-1.0, 1.0, (3, 9, 2)))
        a, found = market.accounts, market.clearing
        outside = found.wholesale_eur.sum(axis=1)
        assert np.abs(a["market_eur"].sum(axis=1) - outside).max() <= 1e-9
        inside = a["traded_kwh"] - found.wholesale_kwh
        assert np.abs(inside.sum(axis=1)).max() <= 1e-9
        # What each got came from somewhere.
        flows = a["traded_kwh"] + a["contract_kwh"] + a["utility_kwh"]
        np.testing.assert_allclose(flows, a["served_kwh"] - a["given_kwh"], atol=1e-12)
        assert (a["served_kwh"] <= np.maximum(hour.net_kwh, 0.0) + 1e-12).all()
        assert (a["given_kwh"] <= np.maximum(-hour.net_kwh, 0.0) + 1e-12).all()
        bought, fed = np.maximum(a["utility_kwh"], 0.0), np.maximum(-a["utility_kwh"], 0.0)
        np.testing.assert_allclose(
            a["utility_eur"], bought * hour.retail - fed * hour.feed_in, atol=1e-12
        )


def test_nobody_loses_by_taking_part_at_its_limit_or_better(scenario):
    """Individually rational, hour by hour: against the utility alone, whatever others post."""
    rng = np.random.default_rng(8)
    for rule in RULES:
        market, alone = begun(scenario, rule=rule), begun(scenario, rule=rule)
        while not market.done:
            hour = market.hour
            shade = rng.random(hour.limit.shape)
            toward = np.where(hour.position_kwh > 0, hour.feed_in, hour.retail)
            reward = market.post(hour.limit + shade * (toward - hour.limit))
            assert (reward >= alone.post(hour.limit, 0.0) - 1e-9).all()


def test_settlement_with_the_utility_is_each_ones_best():
    """Against trying every amount: net energy, inflow and tariffs drawn, contracts included."""
    rng = np.random.default_rng(3)
    n = 400
    net, traded, due = rng.uniform(-3.0, 3.0, (3, 1, n))
    feed_in = rng.uniform(-0.02, 0.1, (1, n))
    retail = feed_in + rng.uniform(0.0, 0.3, (1, n))
    value = feed_in + rng.uniform(0.0, 0.5, (1, n))
    cost = retail - rng.uniform(0.0, 0.4, (1, n))
    none, items, reward = np.zeros((1, n)), np.empty((11, 1, n)), np.empty((1, n))
    account(net, retail, feed_in, value, cost, (traded, none, none), (due, none), items, reward)
    for i in range(n):
        part = np.linspace(0.0, 1.0, 201)
        inflow = traded[0, i] + due[0, i]
        exact = np.clip([inflow / net[0, i] if net[0, i] else 0.0], 0.0, 1.0)
        part = np.append(part, exact)
        served, given = part * max(net[0, i], 0.0), part * max(-net[0, i], 0.0)
        utility = served - given - inflow
        unit = np.where(utility > 0.0, retail[0, i], feed_in[0, i])
        worth = value[0, i] * served - cost[0, i] * given - unit * utility
        assert reward[0, i] == pytest.approx(worth.max(), abs=1e-12)


def test_actions_and_orders_are_inverse(scenario):
    hour = begun(scenario).hour
    rng = np.random.default_rng(0)
    action = rng.uniform(-1.0, 1.0, (4, 12, 2))
    price, volume = orders_from_actions(hour, action)
    share = np.abs(volume / hour.position_kwh)
    np.testing.assert_allclose(actions_from_orders(hour, price, share), action, atol=1e-12)
    # The truth can be posted.
    truth = actions_from_orders(hour, hour.limit, np.ones((4, 12)))
    np.testing.assert_allclose(orders_from_actions(hour, truth)[0], hour.limit, rtol=1e-12)


def test_one_learner_among_truthful_others(scenario):
    play = local_market_v0.parallel_env(scenario=scenario, learners=["participant_3"])
    everybody = begun(scenario, 1)
    play.reset(seed=4)
    everybody.begin([np.random.Generator(np.random.PCG64(np.random.SeedSequence(4)))])
    while play.agents:
        hour = everybody.hour
        truth = actions_from_orders(hour, hour.limit, np.ones((1, 12)))
        _, reward, *_ = play.step({"participant_3": truth[0, 2]})
        expected = everybody.post(hour.limit)
        assert reward["participant_3"] == pytest.approx(expected[0, 2], abs=1e-12)
    silent = local_market_v0.parallel_env(
        scenario=scenario, learners=1, others=lambda m: (m.hour.limit, 0.0 * m.hour.limit)
    )
    silent.reset(seed=4)
    while silent.agents:
        *_, infos = silent.step({"participant_1": np.zeros(2)})
    assert infos["participant_1"]["totals"]["traded_kwh"] == 0.0


def test_participants_see_nothing_of_each_other(scenario):
    """Others' needs, tariffs and values may be anything: what one sees is the same."""
    market = begun(scenario, 2)
    before = market.observe()
    assert before.shape == (2, 12, len(NAMES))
    days = market.days
    for field in ("retail_factor", "feed_in_factor", "value_factor", "cost_share"):
        getattr(days, field)[:, 1:] *= 1.1
    days.net_kwh[:, :, 1:] *= -2.0
    days.forecast_kwh[:, :, 1:] *= -2.0
    market._open()
    after = market.observe()
    np.testing.assert_array_equal(after[:, 0], before[:, 0])
    assert (after[:, 1:] != before[:, 1:]).any(axis=-1).all()


def test_what_is_published_is_the_last_hours_market(scenario):
    market = begun(scenario)
    market.post(market.hour.limit)
    seen, found = market.observe(), market.clearing
    at = NAMES.index("market_volume_kwh")
    np.testing.assert_allclose(seen[:, 0, at], found.node_kwh[:, 0] / 12, rtol=1e-6)
    low = np.where(np.isfinite(found.interval[:, 0, 0]), found.interval[:, 0, 0], np.nan)
    shown = seen[:, 0, at + 1] * PRICE_SCALE
    np.testing.assert_allclose(shown[np.isfinite(low)], low[np.isfinite(low)], rtol=1e-6)


@pytest.mark.parametrize("options", [{}, TREE])
def test_a_saved_market_goes_on_identically(options):
    rng = np.random.default_rng(1)
    played = rng.uniform(-1.0, 1.0, (HOURS + 6, 2, 5, 2))
    batch = LocalMarketVectorEnv(2, participants=5, **options)
    batch.reset(seed=3)
    for k in range(7):
        batch.step(played[k])
    saved = pickle.loads(pickle.dumps(batch.save_state()))
    other = LocalMarketVectorEnv(2, participants=5, **options)
    other.restore_state(saved)
    for k in range(7, HOURS + 6):
        ours, theirs = batch.step(played[k]), other.step(played[k])
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
    env = local_market_v0.parallel_env(participants=5, **options)
    env.reset(seed=3)
    while env.agents:
        seen, *_ = env.step({a: np.zeros(2) for a in env.agents})
    again = local_market_v0.parallel_env(participants=5, **options)
    again.restore_state(env.save_state())
    assert not again.agents
    np.testing.assert_array_equal(again.state(), np.concatenate(list(seen.values())))
    np.testing.assert_array_equal(
        again.reset()[0]["participant_2"], env.reset()[0]["participant_2"]
    )
    for wrong in (LocalMarketVectorEnv(2, participants=6), LocalMarketVectorEnv(3, participants=5)):
        with pytest.raises(StateError, match="expected"):
            wrong.restore_state(saved)
    with pytest.raises(StateError):
        other.restore_state({key: saved[key] for key in saved if key != "t"})


def test_seeds_and_days():
    env = local_market_v0.parallel_env(participants=5)
    first, _ = env.reset(seed=1)
    again, _ = env.reset(seed=1)
    other, _ = env.reset(seed=2)
    np.testing.assert_array_equal(first["participant_1"], again["participant_1"])
    assert (first["participant_1"] != other["participant_1"]).any()
    env.reset(options={"day": 30})
    assert env.play.market.days.day.tolist() == [30]
    batch = LocalMarketVectorEnv(2, participants=5)
    batch.reset(seed=0, options={"day": [30, 31]})
    assert batch.simulation.market.days.day.tolist() == [30, 31]
    for bad in ({"day": 400}, {"day": "monday"}, {"day": [1, 2, 3]}, {"house": 1}):
        with pytest.raises(ScenarioError):
            batch.reset(options=bad)


def test_sb3_takes_participants_as_rows():
    vec = BatchedVecEnv(ParticipantRowsVectorEnv(2, participants=5))
    vec.seed(1)
    vec.reset()
    for _ in range(HOURS):
        _, _, done, infos = vec.step(np.zeros((10, 2), dtype=np.float32))
    assert done.all()
    assert set(infos[0]["totals"]) == {*ITEMS, *AMOUNTS}


def test_picture():
    env = local_market_v0.parallel_env(participants=5, render_mode="rgb_array")
    env.reset(seed=0)
    empty = env.render()
    for _ in range(8):
        env.step({a: np.zeros(2) for a in env.agents})
    assert env.render().shape == empty.shape
    assert (env.render() != empty).any()
    assert local_market_v0.parallel_env(participants=5).render() is None


def test_bad_input():
    env = local_market_v0.parallel_env(participants=3)
    with pytest.raises(ActionError, match="reset"):
        env.step({})
    with pytest.raises(ActionError, match="reset"):
        env.save_state()
    with pytest.raises(ResetNeededError):
        env.play.market.observe()
    env.reset(seed=0)
    good = {a: np.zeros(2) for a in env.agents}
    for bad in (np.zeros(3), np.array([0.0, 1.01]), np.array([np.nan, 0.0]), ["high", "low"]):
        with pytest.raises(ActionError):
            env.step({**good, "participant_2": bad})
    with pytest.raises(ActionError, match="unknown"):
        env.step({**good, "participant_9": np.zeros(2)})
    with pytest.raises(ActionError, match="share"):
        env.play.market.post(np.zeros((1, 3)), 1.1)
    with pytest.raises(OrderError, match="finite"):
        env.play.market.post(np.full((1, 3), np.nan))
    batch = LocalMarketVectorEnv(2, participants=3)
    batch.reset(seed=0)
    with pytest.raises(ActionError, match="shape"):
        batch.step(np.zeros((2, 3)))
    for options in (
        {"learners": 0},
        {"learners": ["participant_1", "participant_1"]},
        {"learners": ["me"]},
        {"learners": "participant_1"},
        {"others": "nowhere:truth"},
        {"others": "nonsense"},
        {"contracts": "yes"},
        {"scenario": "calm"},
        {"render_mode": "human"},
        {"colour": "green"},
        {"scenario": LocalMarketScenario.create(participants=3), "split": "test"},
    ):
        with pytest.raises(ScenarioError, match="expected"):
            local_market_v0.parallel_env(**{"participants": 3, **options})
    for options in ({"rule": "vickrey"}, {"position": 2.0}):
        with pytest.raises(OrderError, match="expected"):
            local_market_v0.parallel_env(participants=3, **options)
    for count in (0, -1, 2.5, True):
        with pytest.raises(ScenarioError):
            LocalMarketVectorEnv(count, participants=3)
