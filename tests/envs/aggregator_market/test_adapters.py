"""Gymnasium, native batch and PettingZoo play the same market."""

import pickle
import warnings

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import flexgym  # noqa: F401
from flexgym.envs import aggregator_market_v0
from flexgym.envs.aggregator_market.accounts import HOUR_NAMES
from flexgym.envs.aggregator_market.observation import PRICE_SCALE
from flexgym.envs.aggregator_market.params import HOURS
from flexgym.envs.aggregator_market.scenario import MarketScenario
from flexgym.envs.aggregator_market.vector_env import MarketRowsVectorEnv
from flexgym.envs.errors import ActionError, PriceBoundError, ScenarioError, StateError
from flexgym.train.vec_env import BatchedVecEnv

IDS = ("flexgym/Aggregator-v0", "flexgym/Directive-v0")
LEARNERS = (
    ("dso",),
    ("aggregators",),
    ("dso", "aggregators"),
    ("dso", "aggregators", "buses"),
    ("consumers",),
)
REWARDS = ("welfare", "own", "welfare", "own", "welfare")


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("scenario", ["ordered", "lattice"])
def test_gymnasium(name, scenario):
    env = gym.make(name, scenario=scenario, render_mode="rgb_array").unwrapped
    check_env(env)
    sb3_check_env(env)


@pytest.mark.parametrize(("learners", "reward"), zip(LEARNERS, REWARDS, strict=True))
def test_pettingzoo(learners, reward):
    def parallel():
        return aggregator_market_v0.parallel_env(learners=learners, reward=reward)

    with warnings.catch_warnings():
        # Levels differ in what they see; PettingZoo warns of it.
        warnings.filterwarnings("ignore", "Agents have different")
        warnings.filterwarnings("ignore", "Observations are different")
        parallel_api_test(parallel(), num_cycles=2 * HOURS + 2)
        parallel_seed_test(parallel, num_cycles=HOURS)
        api_test(aggregator_market_v0.raw_env(learners=learners, reward=reward), num_cycles=60)
        seed_test(lambda: aggregator_market_v0.env(learners=learners, reward=reward), 60)


def test_registered():
    for name in IDS:
        batch = gym.make_vec(name, num_envs=2, vectorization_mode="vector_entry_point")
        observation, _ = batch.reset(seed=0)
        assert observation.shape == batch.observation_space.shape
    if hasattr(pettingzoo, "register"):
        env = pettingzoo.make("parallel", "flexgym/aggregator-market-v0", learners=("dso",))
        assert env.possible_agents == ["dso_1"]


@pytest.mark.parametrize("name", IDS)
def test_batch_single_and_parallel_are_one(name):
    """The same seeds and actions give the same numbers in every adapter, over two days."""
    role = {"Aggregator": "aggregators", "Directive": "dso"}[name[8:-3]]
    batch = gym.make_vec(name, num_envs=3, vectorization_mode="vector_entry_point")
    env = gym.make(name).unwrapped
    parallel = aggregator_market_v0.parallel_env(learners=(role,), scenario="ordered")
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (2 * HOURS, 3, 1))
    rows, _ = batch.reset(seed=4)
    observation, _ = env.reset(seed=5)
    by_agent, _ = parallel.reset(seed=5)
    (agent,) = parallel.agents
    total = 0.0
    for t, played in enumerate(actions):
        np.testing.assert_array_equal(observation, rows[1])
        np.testing.assert_array_equal(by_agent[agent], rows[1])
        rows, reward, over, _, info = batch.step(played)
        observation, single, terminated, _, own = env.step(played[1])
        by_agent, rewards, ended, _, _ = parallel.step({agent: played[1]})
        assert reward[1] == pytest.approx(single, rel=1e-12, abs=1e-12)
        assert rewards[agent] == pytest.approx(single, rel=1e-12, abs=1e-12)
        assert over[1] == terminated == ended[agent] == (t % HOURS == HOURS - 1)
        of_batch = info["final_info"] if terminated else info
        for key in HOUR_NAMES:
            assert of_batch[key][1] == pytest.approx(own[key], rel=1e-12, abs=1e-12)
        total += single
        if terminated:
            np.testing.assert_array_equal(info["final_obs"][1], observation)
            earned = {"aggregators": "aggregators_eur", "dso": "welfare_eur"}[role]
            paid = ("directive_eur", "settlement_eur", "voltage_eur")
            own = own["totals"]
            assert total == pytest.approx(own[earned] - sum(own[key] for key in paid), abs=1e-9)
            observation, _ = env.reset()
            by_agent, _ = parallel.reset()
            total = 0.0


@pytest.mark.parametrize("learners", ["aggregators", "buses", "consumers"])
def test_agents_as_rows(learners):
    """Rows of one market are its agents; SB3 takes them."""
    env = MarketRowsVectorEnv(2, learners, scenario="three")
    parallel = aggregator_market_v0.parallel_env(learners=(learners,))
    agents = len(parallel.possible_agents)
    assert env.num_envs == 2 * agents
    rng = np.random.default_rng(3)
    rows, _ = env.reset(seed=9)
    seen, _ = parallel.reset(seed=10)
    for _ in range(HOURS):
        played = rng.uniform(-1.0, 1.0, (2 * agents, 1)).astype(np.float32)
        np.testing.assert_array_equal(rows[agents:], np.stack(list(seen.values())))
        rows, reward, *_ = env.step(played)
        seen, rewards, *_ = parallel.step(
            dict(zip(parallel.possible_agents, played[agents:], strict=True))
        )
        np.testing.assert_allclose(reward[agents:], list(rewards.values()), rtol=1e-12, atol=1e-12)
    vec = BatchedVecEnv(MarketRowsVectorEnv(2, learners, scenario="three"))
    vec.seed(1)
    vec.reset()
    for _ in range(HOURS):
        _, _, done, infos = vec.step(np.zeros((2 * agents, 1), dtype=np.float32))
    assert done.all()
    assert set(infos[0]["totals"]) == set(HOUR_NAMES)


def test_levels_see_what_those_before_have_announced():
    """In their order of moves: DSO, aggregators, buses."""
    env = aggregator_market_v0.raw_env(learners=("dso", "aggregators", "buses"), scenario="three")
    env.reset(seed=0)
    told = {"dso_1": 1.0, "aggregator_1": -1.0, "aggregator_2": 1.0, "aggregator_3": 0.0}
    for agent, action in told.items():
        assert env.agent_selection == agent
        if agent.startswith("aggregator"):
            at = env.observation_names(agent).index("directive")
            assert env.observe(agent)[at] == pytest.approx(1.0)
        env.step(np.array([action]))
    rtem = env.play.market.rtem[0]
    top = 10.0 + 2.0 * np.floor((min(46.0, rtem / 1.1) - 10.0) / 2.0)
    middle = 10.0 + 2.0 * np.rint((rtem / 1.1 - 10.0) / 4.0)
    of = env.play.seats.scenario.aggregator
    quotes = np.array([10.0, top, middle])[of]
    for i, agent in enumerate(a for a in env.agents if a.startswith("bus")):
        names = env.observation_names(agent)
        seen = env.observe(agent)
        assert seen[names.index("directive")] == pytest.approx(1.0)
        assert seen[names.index("quote")] == pytest.approx(quotes[i] / PRICE_SCALE)
        assert env.play.market.t == 0
        env.step(np.array([1.0]))
    assert env.play.market.t == 1
    assert (env.play.market.magnetisation == 1.0).all()
    np.testing.assert_allclose(env.play.market.quote[0], [10.0, top, middle])


def test_a_restored_market_is_seen_anew():
    env, other = (aggregator_market_v0.raw_env(learners=("dso",)) for _ in range(2))
    env.reset(seed=1)
    other.reset(seed=2)
    for _ in range(3):
        env.step(np.array([0.7]))
        other.step(np.array([-0.7]))
    assert not np.array_equal(env.observe("dso_1"), other.observe("dso_1"))
    other.restore_state(env.save_state())
    for _ in range(3):
        np.testing.assert_array_equal(env.observe("dso_1"), other.observe("dso_1"))
        env.step(np.array([0.2]))
        other.step(np.array([0.2]))
        assert env.rewards == other.rewards


def test_others_act_for_levels_that_do_not_learn():
    def quotes(market):
        return np.full((market.n, 3), 12.0 + market.t)

    env = aggregator_market_v0.parallel_env(
        learners=("buses",), others={"aggregators": quotes, "dso": lambda m: 0.5}
    )
    observations, _ = env.reset(seed=0)
    names = env.observation_names("bus_2")
    for t in range(3):
        seen = observations["bus_2"]
        assert seen[names.index("quote")] == pytest.approx((12.0 + t) / PRICE_SCALE)
        assert seen[names.index("directive")] == pytest.approx(0.5 / 3.0)
        observations, rewards, *_ = env.step(dict.fromkeys(env.agents, np.ones(1)))
        energy = 3.715 * env.play.seats.scenario.day.percent[t] / 100.0
        assert rewards["bus_2"] == pytest.approx((12.0 + t) * energy * 8 / 289)


def test_levels_that_do_not_learn_hear_those_above():
    """A reference bus answers this hour's quote; each behaviour is asked once an hour."""
    heard, asked, rng = [], [], np.random.default_rng(0)

    def buses(market):
        heard.append(float(market.quote[0, 0]))
        return np.ones((market.n, 32))

    env = aggregator_market_v0.parallel_env(
        scenario="ordered", learners=("aggregators",), others={"buses": buses}
    )
    env.reset(seed=0)
    for action in (1.0, -1.0, 1.0):
        env.step({"aggregator_1": np.array([action])})
        assert heard[-1] == env.play.market.quote[0, 0]
    assert heard[0] == heard[2] > heard[1] == 10.0

    def quotes(market):
        asked.append(market.t)
        return rng.uniform(10.0, 17.0, (market.n, 1))

    env = aggregator_market_v0.parallel_env(
        scenario="ordered", learners=("buses",), others={"aggregators": quotes}
    )
    seen, _ = env.reset(seed=0)
    at = env.observation_names(env.possible_agents[0]).index("quote")
    for t in range(3):
        told = seen[env.agents[0]][at]
        energy = 3.715 * env.play.seats.scenario.day.percent[t] / 100.0
        seen, *_ = env.step(dict.fromkeys(env.agents, np.ones(1)))
        assert asked[: t + 1] == list(range(t + 1))
        # What the customers got was played with what they had been told.
        paid = env.play.market.money.buses.sum() / (energy * 67 / 289)
        assert paid == pytest.approx(told * PRICE_SCALE, rel=1e-6)
    assert asked == [0, 1, 2, 3]


@pytest.mark.parametrize("quote", [1000.0, -1.0])
def test_quotes_outside_of_the_bounds_are_refused(quote):
    env = aggregator_market_v0.parallel_env(
        learners=("buses",), others={"aggregators": lambda m: quote}
    )
    with pytest.raises(PriceBoundError, match="aggregators quote"):
        env.reset(seed=0)


def test_everybody_has_something_to_earn_by_default():
    for learners, others, rewards in (
        (("dso", "aggregators"), None, {"dso": "welfare", "aggregators": "own"}),
        (("buses",), None, {"buses": "welfare"}),
        (("buses",), {"aggregators": lambda m: 15.0}, {"buses": "own"}),
        (("aggregators", "consumers"), None, {"aggregators": "own", "consumers": "own"}),
    ):
        seats = aggregator_market_v0.parallel_env(learners=learners, others=others).play.seats
        assert {role: seats.reward(role) for role in seats.roles} == rewards


def test_purchases_of_buses():
    """What a bus buys from the DSO at the retail price and sells on at the quote: (24)."""
    env = aggregator_market_v0.parallel_env(learners=("buses",), purchases=True, reward="own")
    env.reset(seed=0)
    plain = aggregator_market_v0.parallel_env(learners=("buses",), reward="own")
    plain.reset(seed=0)
    assert env.action_space("bus_2").shape == (2,)
    _, rewards, *_ = env.step(dict.fromkeys(env.agents, np.array([0.0, 1.0])))
    _, without, *_ = plain.step(dict.fromkeys(plain.agents, np.array([0.0])))
    energy = 3.715 * 0.54 * 8 / 289
    assert rewards["bus_2"] - without["bus_2"] == pytest.approx((28.0 - 45.0) * energy)


@pytest.mark.parametrize("kind", ["single", "batch", "parallel"])
def test_saved_and_restored_through_pickle(kind):
    """From the middle of a day into the next one."""
    make = {
        "single": lambda: gym.make(IDS[0]).unwrapped,
        "batch": lambda: MarketRowsVectorEnv(2, "dso", scenario="three"),
        "parallel": lambda: aggregator_market_v0.parallel_env(learners=("dso",)),
    }[kind]
    one, other = make(), make()
    shape = one.action_space("dso_1").shape if kind == "parallel" else one.action_space.shape

    def step(env, action):
        if kind == "parallel":
            if not env.agents:
                env.reset()
            return env.step({"dso_1": action})[1]["dso_1"]
        if kind == "single" and env.play.done:
            env.reset()
        return env.step(action)[1]

    one.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(7):
        step(one, rng.uniform(-1.0, 1.0, shape))
    other.restore_state(pickle.loads(pickle.dumps(one.save_state())))
    for _ in range(HOURS + 5):
        action = rng.uniform(-1.0, 1.0, shape)
        np.testing.assert_array_equal(step(one, action), step(other, action))
    with pytest.raises(StateError):
        other.restore_state({**one.save_state(), "rng": 7})
    for wrong in ({"t": -3}, {"t": 99}, {"t": "a"}, {"spins": 5 * one.save_state()["spins"]}):
        with pytest.raises(StateError):
            other.restore_state({**one.save_state(), **wrong})
    with pytest.raises(StateError, match="another scenario"):
        other.restore_state({**one.save_state(), "market": "ordered"})
    with pytest.raises(StateError):
        other.restore_state({**one.save_state(), "spins": np.zeros(3)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learners": ()}, "one or more of dso"),
        ({"learners": ("mayor",)}, "one or more of dso"),
        ({"learners": ("buses", "consumers")}, "expected one of them"),
        ({"learners": ("dso",), "others": {"dso": lambda m: 0.0}}, "that do not learn"),
        ({"learners": ("dso",), "reward": "shared"}, "reward is 'shared'"),
        ({"learners": ("dso",), "purchases": True}, "no buses learn"),
        ({"learners": ("buses",), "purchases": "no"}, "purchases is 'no'"),
        ({"learners": 3}, "learners is 3"),
        ({"others": {"buses": 3}}, "mapping of roles to functions"),
        ({"others": "dso"}, "mapping of roles to functions"),
        ({"power_flow": "no"}, "power_flow is 'no'"),
        ({"scenario": ["ordered"]}, "scenario is"),
        ({"temperature": True}, "temperature is True"),
        ({"temperature": 0}, "temperature is 0"),
        ({"tariffs": 0}, "tariffs is 0"),
        ({"herding": 3}, "herding is 3"),
        ({"voltage_eur_per_pu_h": "a"}, "a price >= 0"),
        ({"learners": ("dso",), "colour": "red"}, "got the options colour"),
        ({"scenario": "hot"}, "scenario is 'hot'"),
        ({"scenario": MarketScenario.create(), "temperature": 3.0}, "got a scenario and"),
        ({"render_mode": "human"}, "render_mode is 'human'"),
    ],
)
def test_options_refused(options, message):
    with pytest.raises(ScenarioError, match=message):
        aggregator_market_v0.parallel_env(**options)


def test_actions_refused():
    env = aggregator_market_v0.parallel_env(learners=("dso", "aggregators"))
    good = {agent: np.zeros(1) for agent in env.possible_agents}
    with pytest.raises(ActionError, match="reset first"):
        env.step(good)
    env.reset(seed=0)
    for wrong, message in (
        ({**good, "dso_1": np.array([1.5])}, "an action of dso is 1.5"),
        ({**good, "dso_1": np.array([np.nan])}, "an action of dso is nan"),
        ({**good, "dso_1": np.zeros(2)}, "expected \\(1,\\)"),
        ({**good, "mayor": np.zeros(1)}, "unknown \\['mayor'\\]"),
        ({"dso_1": np.zeros(1)}, "actions miss"),
    ):
        with pytest.raises(ActionError, match=message):
            env.step(wrong)
    assert env.play.market.t == 0
    with pytest.raises(ScenarioError, match="3 aggregators; expected 1"):
        gym.make(IDS[0], scenario="three")
    single = gym.make(IDS[1]).unwrapped
    single.reset(seed=0)
    with pytest.raises(ActionError, match="action has shape"):
        single.step(np.zeros(2))
    turn = aggregator_market_v0.raw_env(learners=("dso",))
    turn.reset(seed=0)
    with pytest.raises(ActionError, match="action of dso_1"):
        turn.step(np.array([2.0]))


def test_nobody_sees_anothers_consumers():
    """An aggregator's observations do not change with what others' consumers do."""
    env = aggregator_market_v0.parallel_env(learners=("aggregators", "consumers"))
    other = aggregator_market_v0.parallel_env(learners=("aggregators", "consumers"))
    env.reset(seed=1)
    other.reset(seed=1)
    of = env.play.seats.scenario.aggregator[env.play.seats.scenario.bus_of]
    rng = np.random.default_rng(0)
    for _ in range(4):
        actions = {agent: rng.choice([-1.0, 1.0], 1) for agent in env.agents}
        changed = dict(actions)
        for c in np.flatnonzero(of != 0):
            changed[f"consumer_{c + 1}"] = -actions[f"consumer_{c + 1}"]
        seen, *_ = env.step(actions)
        altered, *_ = other.step(changed)
        np.testing.assert_array_equal(seen["aggregator_1"], altered["aggregator_1"])
        assert not np.array_equal(seen["aggregator_2"], altered["aggregator_2"])
