"""What participants post: never a loss, nothing of others, and what it is worth."""

import numpy as np
import pytest

from flexgym.envs import local_market_v0
from flexgym.envs.errors import RunError, ScenarioError
from flexgym.envs.local_market.params import RULES
from flexgym.envs.local_market.scenario import LocalMarketScenario
from flexgym.envs.local_market.simulation import LocalMarketSimulation
from flexgym.envs.local_market.vector_env import LocalMarketVectorEnv, ParticipantRowsVectorEnv
from flexgym.policies.local_market import (
    Adaptive,
    LearnedOrders,
    Shading,
    Truthful,
    UtilityOnly,
    ZeroIntelligence,
    behaviour,
    load_local_market_policy,
    rules,
)
from flexgym.train.vec_env import BatchedVecEnv

POLICIES = [policy.name for policy in rules()]


@pytest.fixture(scope="module")
def scenario():
    return LocalMarketScenario.create(participants=20)


def begun(scenario, markets=6, seed=0, rule="uniform"):
    market = LocalMarketSimulation(scenario, markets, rule=rule)
    market.begin([np.random.default_rng(seed + i) for i in range(markets)])
    return market


def day(policy, scenario, rule="uniform", markets=30):
    market = begun(scenario, markets, rule=rule)
    policy.begin(market)
    while not market.done:
        market.post(*policy.orders(market))
    value, *costs = market.totals[:6]
    return value - sum(costs)


@pytest.mark.parametrize("name", POLICIES)
def test_orders_are_no_loss_and_within_ones_tariffs(name, scenario):
    policy = dict(zip(POLICIES, rules(3), strict=True))[name]
    market = begun(scenario)
    policy.begin(market)
    while not market.done:
        price, share = policy.orders(market)
        hour = market.hour
        buys = hour.position_kwh > 0
        assert (np.where(buys, price <= hour.limit + 1e-12, price >= hour.limit - 1e-12)).all()
        assert (price >= hour.feed_in - 1e-12).all()
        assert (price <= hour.retail + 1e-12).all()
        assert ((share >= 0.0) & (share <= 1.0)).all()
        market.post(price, share)


@pytest.mark.parametrize("name", POLICIES)
def test_orders_follow_from_nothing_of_others(name, scenario):
    posted = []
    for other in (1.0, 1.2):
        policy = dict(zip(POLICIES, rules(3), strict=True))[name]
        market = begun(scenario, 2)
        market.days.value_factor[:, 1:] *= other
        market.days.net_kwh[:, :, 1:] *= other
        market._open()
        policy.begin(market)
        first = policy.orders(market)
        market.post(*first)
        # The same is published, whatever others did.
        market.last[:] = np.array([0.5, 1.0, 0.15, 0.2])[:, None, None]
        posted.append([np.stack(x)[:, :, 0] for x in (first, policy.orders(market))])
    np.testing.assert_array_equal(posted[0], posted[1])


@pytest.mark.parametrize("rule", RULES)
def test_truth_is_efficient_and_the_rest_in_between(rule, scenario):
    nothing = day(UtilityOnly(), scenario, rule).sum()
    best = day(Truthful(), scenario, rule).sum() - nothing
    share = {
        policy.name: (day(policy, scenario, rule).sum() - nothing) / best
        for policy in (ZeroIntelligence(0), Shading(0.0), Shading(), Shading(1.0), Adaptive())
    }
    assert share["shading 0"] == pytest.approx(1.0, abs=1e-12)
    assert 0.3 < share["zero intelligence"] < share["adaptive"] < share["shading 0"]
    # Who all ask for the best price hardly trade.
    assert share["shading 1"] < 0.2 < share["shading 0.3"] < 1.0


def test_zero_intelligence_is_drawn_by_its_seed(scenario):
    market = begun(scenario)
    drawn = []
    for seed in (1, 1, 2):
        policy = ZeroIntelligence(seed)
        policy.begin(market)
        drawn.append(policy.orders(market)[0])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


def test_adaptive_asks_for_more_when_served_and_for_less_when_not(scenario):
    policy = Adaptive(rate=1.0, start=0.3, step=0.05)
    market = begun(scenario, 1)
    policy.begin(market)
    policy.orders(market)
    hour, buys = market.hour, market.hour.position_kwh > 0
    middle = hour.limit + 0.6 * (np.where(buys, hour.feed_in, hour.retail) - hour.limit)
    np.testing.assert_array_equal(policy.margins(market), 0.3)
    market.t += 1
    # Prices had left 60 % of the way: the served ask for 65 %.
    market.last = np.stack([np.ones_like(middle), np.ones_like(middle), middle, middle])
    policy.orders(market)
    policy.orders(market)  # asked twice in an hour it learns once
    np.testing.assert_allclose(np.where(buys, *policy.margins(market)), 0.65, atol=1e-9)
    market.t += 1
    # At their limit those that were not served ask for nothing more.
    market.last = np.stack([0.0 * middle, np.ones_like(middle), hour.limit, hour.limit])
    policy.orders(market)
    np.testing.assert_allclose(np.where(buys, *policy.margins(market)), 0.0, atol=1e-9)
    market.t += 1
    # Nothing published, nothing learned.
    market.last = np.stack([0.0 * middle, 0.0 * middle, -np.inf + middle, np.inf + middle])
    kept = market.memory[policy._key][:2].copy()
    policy.orders(market)
    np.testing.assert_array_equal(policy.margins(market), kept)


def test_others_of_an_environment_follow_a_policy(scenario):
    env = local_market_v0.parallel_env(
        scenario=scenario, learners=1, others=behaviour(Shading(0.4))
    )
    plain = begun(scenario, 1)
    for seed in (0, 1):
        env.reset(seed=seed)
        plain.begin([np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))])
        policy = Shading(0.4)
        while env.agents:
            env.step({"participant_1": np.array([0.0, -1.0])})
            price, share = policy.orders(plain)
            share[:, 0] = 0.0
            plain.post(price, share)
        np.testing.assert_allclose(env.play.market.totals, plain.totals, atol=1e-9)


@pytest.mark.parametrize("name", ["zero intelligence", "adaptive"])
def test_others_do_the_same_in_a_batch_after_a_restore_and_beside_other_markets(name, scenario):
    def policy():
        return dict(zip(POLICIES, rules(3), strict=True))[name]

    own = np.random.default_rng(0).uniform(-1.0, 1.0, (30, 2, 2))

    def env(others):
        return local_market_v0.parallel_env(scenario=scenario, learners=1, others=others)

    def step(env, k, row):
        return env.step({"participant_1": own[k, row]})[1]["participant_1"]

    batch = LocalMarketVectorEnv(2, scenario=scenario, learners=1, others=behaviour(policy()))
    shared = behaviour(policy())
    singles = [env(shared), env(shared)]
    batch.reset(seed=7)
    for i, single in enumerate(singles):
        single.reset(seed=7 + i)
    restored = env(behaviour(policy()))
    posted = []
    for k in range(30):
        both = batch.step(own[k][:, None])[1]
        if not singles[0].agents:
            for single in (*singles, restored):
                single.reset()
        rewards = [step(single, k, i) for i, single in enumerate(singles)]
        np.testing.assert_array_equal(both, rewards)
        if k == 9:
            restored.restore_state(singles[1].save_state())
        elif k > 9:
            assert step(restored, k, 1) == rewards[1]
        # No two days are alike.
        posted.append(singles[0].play.market.posted[0].copy())
    assert (posted[24] != posted[0]).any()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An untrained PPO of participants, as a run folder and as a file."""
    from stable_baselines3 import PPO

    folder = tmp_path_factory.mktemp("runs") / "first"
    folder.mkdir()
    rows = BatchedVecEnv(ParticipantRowsVectorEnv(2, participants=4))
    PPO("MlpPolicy", rows, n_steps=24, batch_size=48, seed=0, device="cpu").save(
        folder / "best.zip"
    )
    return folder


def test_trained_policies_act_through_the_observation(trained, scenario):
    for source in (trained, trained / "best.zip"):
        policy = load_local_market_policy(str(source))
        assert isinstance(policy, LearnedOrders)
        market, env = begun(scenario, 2), begun(scenario, 2)
        policy.begin(market)
        for _ in range(3):
            action, _ = policy.model.predict(env.observe().reshape(40, -1), deterministic=True)
            env.step(action.reshape(2, 20, 2))
            market.post(*policy.orders(market))
        np.testing.assert_allclose(market.totals, env.totals, atol=1e-12)
    contracts = local_market_v0.parallel_env(scenario=scenario, contracts=True)
    contracts.reset(seed=0)
    with pytest.raises(RunError, match="expects observations"):
        policy.begin(contracts.play.market)


def test_python_entry_points_are_policies_too(tmp_path):
    policy = load_local_market_policy("flexgym.policies.local_market:Truthful")
    assert isinstance(policy, Truthful)
    for source in (
        "flexgym.policies.local_market:Nobody", "nowhere:policy", str(tmp_path), "math:pi",
        "math:sqrt", "builtins:object", ":x", "flexgym.policies.trader:SpotOnly",
    ):  # fmt: skip
        with pytest.raises(RunError):
            load_local_market_policy(source)


def test_bad_input():
    for seed in (-1, 0.5, "x", None):
        with pytest.raises(ScenarioError, match="seed"):
            ZeroIntelligence(seed)
    for share in (-0.1, 1.1, np.nan, "x", None, True):
        with pytest.raises(ScenarioError, match="share"):
            Shading(share)
    for options in ({"rate": 0.0}, {"start": 1.5}, {"step": -0.1}, {"rate": "x"}):
        with pytest.raises(ScenarioError, match="expected"):
            Adaptive(**options)
