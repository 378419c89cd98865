"""Houses that send menus: standards, money, formats, fall-backs, privacy, saved states."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test

from flexgym.envs import Battery, feeder_v0
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.settlement import pay_as_bid
from flexgym.envs.errors import ActionError, ScenarioError, StateError
from flexgym.envs.feeder.menu_env import FeederMenuEnv
from flexgym.envs.feeder.observation import VOLTAGE
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.policies.feeder import unmanaged

FORMATS = ("segments", "chart", "cost_to_go")


def make(scenario, menu_format="segments", **options) -> FeederMenuEnv:
    options = {"observation": "compact", **options}
    return feeder_v0.parallel_env(
        mode="menu", scenario=scenario, menu_format=menu_format, **options
    )


def actions(env, rng):
    wide = env.action_space("house_0").shape
    return {agent: rng.uniform(-1.0, 1.0, wide) for agent in env.possible_agents}


@pytest.mark.parametrize("menu_format", FORMATS)
def test_pettingzoo_accepts_it(mixed, menu_format):
    parallel_api_test(make(mixed, menu_format), num_cycles=120)
    parallel_seed_test(lambda: make(mixed, menu_format), num_cycles=20)


def test_pettingzoo_accepts_houses_one_by_one(mixed):
    def one_by_one():
        return feeder_v0.env(mode="menu", scenario=mixed)

    api_test(one_by_one(), num_cycles=300)
    seed_test(one_by_one, num_cycles=100)


@pytest.mark.parametrize("menu_format", FORMATS)
@pytest.mark.parametrize("payment", ["marginal", "pay_as_bid"])
def test_money_adds_up_and_powers_are_made(mixed, menu_format, payment):
    """Houses' rewards and the operator's account are the social cost; only true costs count."""
    env, rng = make(mixed, menu_format, payment=payment), np.random.default_rng(4)
    env.reset(seed=2)
    paid_today = cost_today = rewarded = account = 0.0
    while env.agents:
        _, rewards, _, _, infos = env.step(actions(env, rng))
        feeder = env.feeder_info
        assert sum(rewards.values()) + feeder["operator_eur"] == pytest.approx(
            -feeder["cost_eur"], abs=1e-9
        )
        grid = feeder["loss_eur"] + feeder["voltage_eur"] + feeder["overload_eur"]
        assert feeder["operator_eur"] == pytest.approx(-grid - feeder["paid_eur"], abs=1e-12)
        settled = pay_as_bid(env.menus, env.cleared)
        for h, agent in enumerate(env.possible_agents):
            info, house = infos[agent], env.house_info(agent)
            assert "refused" not in info
            assert rewards[agent] == pytest.approx(info["paid_eur"] - house["cost_eur"], abs=1e-12)
            assert info["cleared_kw"] == env.cleared.power_kw[h]
            assert abs(info["deviation_kw"]) < 1e-8
            assert house["meter_kw"] == pytest.approx(info["cleared_kw"], abs=1e-8)
            assert info["paid_eur"] >= settled.harm_eur[h] - 1e-9
            if payment == "pay_as_bid":
                assert info["paid_eur"] == settled.harm_eur[h]
        paid_today += feeder["paid_eur"]
        cost_today += feeder["cost_eur"]
        rewarded += sum(rewards.values())
        account += feeder["operator_eur"]
    totals = infos["house_0"]["totals"]
    assert totals["paid_eur"] == pytest.approx(paid_today, abs=1e-9)
    assert totals["cost_eur"] == pytest.approx(cost_today, abs=1e-9)
    assert rewarded + account == pytest.approx(-cost_today, abs=1e-9)


def test_a_binding_limit_makes_houses_give_way(benchmark_scenario):
    """All want to export at noon; what is paid for not doing so comes from the operator."""
    env = make(benchmark_scenario("summer_midday"), payment="pay_as_bid")
    env.reset(seed=0)
    moved = 0.0
    want = np.full(17, -0.98)
    want[0] = -1.0
    for t in range(40):
        _, _, _, _, infos = env.step(dict.fromkeys(env.possible_agents, want))
        own = np.array([menu.best_power_kw for menu in env.menus])
        moved += np.abs(env.cleared.power_kw - own).sum()
        assert env.cleared.clean, t
        assert env.feeder_info["voltage_eur"] + env.feeder_info["overload_eur"] < 0.1
        paid = sum(info["paid_eur"] for info in infos.values())
        assert paid == pytest.approx(env.feeder_info["paid_eur"], abs=1e-12)
    assert moved > 10.0


@pytest.mark.parametrize("name", ["stress", "calm"])
def test_houses_without_menus_are_unmanaged(benchmark_scenario, name):
    """Fall-back of every house and period: the day that nobody controls."""
    scenario = benchmark_scenario(name)
    env = make(scenario)
    env.reset(seed=7)
    while env.agents:
        _, _, _, _, infos = env.step({})
        assert {info["refused"] for info in infos.values()} == {"missing"}
        assert {info["paid_eur"] for info in infos.values()} == {0.0}
        assert max(abs(info["deviation_kw"]) for info in infos.values()) < 1e-9
    policy = unmanaged()
    direct = feeder_v0.parallel_env(scenario=scenario, observation="compact")
    direct.reset(seed=7)
    simulation = direct.simulation
    policy.begin(simulation)
    while not simulation.done:
        simulation.step(policy.act(simulation))
    np.testing.assert_allclose(env.simulation.episode, simulation.episode, rtol=0, atol=1e-9)


SMOOTH = FlexibilityChart([0.0, 1.0], [0.0, 0.1])
BENT = FlexibilityChart.lazy(  # a chart that nobody checked
    type(SMOOTH._function).trusted(np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 0.1])), list
)
GAPS = FlexibilityChart.lazy(
    type(SMOOTH._function).trusted(np.array([0.0, np.nan]), np.array([0.0, 1.0])), list
)
NOTHING = FlexibilityChart.lazy(type(SMOOTH._function).trusted(np.empty(0), np.empty(0)), list)
MANY = FlexibilityChart(np.linspace(0.0, 1.0, 300), np.linspace(0.0, 1.0, 300) ** 2)
ARRAYS = [
    (None, "missing"),
    ("a menu", "wrong type"),
    ({"power": 1}, "wrong type"),
    (np.full(17, 1j), "wrong type"),
    (object(), "wrong type"),
    ([[1.0], [1.0, 2.0]], "wrong shape"),
    (np.zeros(16), "wrong shape"),
    (np.zeros((17, 1)), "wrong shape"),
    (0.5, "wrong shape"),
    (np.empty(0), "empty"),
    (np.full(17, np.nan), "not finite"),
    (np.full(17, -np.inf), "not finite"),
    (np.full(17, 1.0001), "out of range"),
    (SMOOTH, "wrong type"),
]
CHARTS = [
    (None, "missing"),
    ("a menu", "wrong type"),
    (BENT, "not convex"),
    (GAPS, "not finite"),
    (NOTHING, "empty"),
    (MANY, "too many vertices"),
    (FlexibilityChart([0.0, 500.0], [0.0, 1.0]), "beyond physical limits"),
    (FlexibilityChart([-500.0], [0.0]), "beyond physical limits"),
    (FlexibilityChart([0.0, 1e-3], [0.0, 1.0]), "too dear"),
    (np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 1.0], [1.0, 0.0, 0.0]]), "not convex"),
    (np.array([[0.0, 0.0, np.nan]]), "not finite"),
    (np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 1e300]]), "too dear"),
    (np.empty((0, 3)), "empty"),
    (np.zeros((300, 3)), "too many vertices"),
    (np.zeros((4, 2)), "wrong shape"),
    (np.full(18, 2.0), "out of range"),
]


@pytest.mark.parametrize(
    ("menu_format", "sent", "reason"),
    [("segments", *case) for case in ARRAYS] + [("chart", *case) for case in CHARTS],
)
def test_malformed_menus_are_refused_by_name(mixed, menu_format, sent, reason):
    """The others' period is what it would be had the house sent nothing."""
    rng = np.random.default_rng(0)
    envs = [make(mixed, menu_format) for _ in range(2)]
    for env in envs:
        env.reset(seed=1)
    for _ in range(2):
        played = actions(envs[0], rng)
        played["house_3"] = sent
        results = [env.step(played) for env in envs[:1]]
        del played["house_3"]
        results.append(envs[1].step(played))
        first, second = results
        info, nothing = first[4].pop("house_3"), second[4].pop("house_3")
        assert info["refused"] == reason
        assert "expected" in info["refusal"]
        assert nothing["refused"] == "missing"
        assert info["cleared_kw"] == nothing["cleared_kw"]
        assert first[1:] == second[1:]
        assert not any("refused" in other for other in first[4].values())


def test_one_bad_house_among_many_and_all_of_them(mixed):
    env = make(mixed, "chart")
    env.reset(seed=0)
    bad = [case[0] for case in CHARTS]
    while env.agents:
        played = {a: bad[h % len(bad)] for h, a in enumerate(env.possible_agents)}
        _, rewards, _, _, infos = env.step(played)
        assert all("refused" in info for info in infos.values())
        assert np.isfinite(list(rewards.values())).all()


@pytest.mark.parametrize("t", [0, 50])
def test_charts_are_taken_as_they_are(mixed, t):
    """One power each, as chart or vertices: the house makes just that, reach included."""
    env = make(mixed, "chart")
    env.reset(seed=5)
    for _ in range(t):
        env.step({})
    low, high = env._reach
    power = low + np.resize([0.0, 0.3, 1.0], len(low)) * (high - low)
    sent = {
        a: FlexibilityChart([p], [3.0]) if h % 2 else np.array([[p, 0.1, -2.0]])
        for h, (a, p) in enumerate(zip(env.possible_agents, power, strict=True))
    }
    _, _, _, _, infos = env.step(sent)
    assert not any("refused" in info for info in infos.values())
    made = [env.house_info(a)["meter_kw"] for a in env.possible_agents]
    np.testing.assert_allclose(made, power, rtol=0, atol=1e-9)


def test_wrong_calls_raise(mixed):
    env = make(mixed)
    with pytest.raises(ActionError, match="reset"):
        env.step({})
    for ask in (
        env.state,
        env.save_state,
        lambda: env.feeder_info,
        lambda: env.house_info("house_0"),
    ):
        with pytest.raises(AttributeError, match="call reset first"):
            ask()
    env.reset(seed=0)
    with pytest.raises(ActionError, match="house_99"):
        env.step({"house_99": np.zeros(17)})
    with pytest.raises(ActionError, match="mapping"):
        env.step([np.zeros(17)])  # type: ignore[arg-type]
    assert env.simulation.t == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"menu_format": "poem"}, "cost_to_go"),
        ({"menu_format": ["segments"]}, "segments"),
        ({"payment": "barter"}, "pay_as_bid"),
        ({"n_segments": 1}, "2 to 255"),
        ({"n_segments": 2.5}, "2 to 255"),
        ({"n_segments": True}, "2 to 255"),
        ({"share": "local"}, "share"),
        ({"curtailment": "action"}, "curtailment"),
        ({"action_map": "range", "reactive": "load"}, "action_map, reactive"),
        ({"render_mode": "human"}, "rgb_array"),
        ({"colour": "green"}, "colour"),
    ],
)
def test_wrong_options_are_named(mixed, options, named):
    with pytest.raises(ScenarioError, match=named):
        make(mixed, **{"menu_format": "segments", **options})


def test_nothing_private_reaches_the_others(radial_net, make_house):
    """Another battery behind the same menu: no neighbour sees, earns or hears anything else."""
    net, rng = radial_net(7), np.random.default_rng(5)
    houses = [make_house(rng, car=None) for _ in range(5)]
    seen = []
    for battery in (Battery(6.0, 3.0), Battery(14.0, 9.0, 0.8, 0.8, 0.1)):
        street = [*houses[:3], replace(houses[3], battery=battery), houses[4]]
        env = make(
            FeederScenario.from_pandapower(net, buses=range(2, 7), houses=street, days=[200]),
            "chart",
        )
        told = [env.reset(seed=1)]
        numbers = np.random.default_rng(0)
        for _ in range(96):
            played = actions(env, numbers)
            low, high = env._reach[:, 3]
            power = min(max(env.simulation.measured[0, 0, 3] * 0.9, low), high)
            played["house_3"] = [[power, 0.0, 0.0]]
            told.append(env.step(played))
            assert "refused" not in told[-1][-1]["house_3"]
            if env.agents:
                assert not any("totals" in info for info in told[-1][-1].values())
        seen.append((env, told))
    (env, one), (_, two) = seen
    voltage = env.observation_names.index(VOLTAGE)
    for a, b in zip(one, two, strict=True):
        for agent in ("house_0", "house_2", "house_4"):
            np.testing.assert_array_equal(
                np.delete(a[0][agent], voltage), np.delete(b[0][agent], voltage)
            )
            first, second = (moment[-1][agent] for moment in (a, b))
            first.pop("totals", None), second.pop("totals", None)
            assert first == second
            assert len(a) == 2 or a[1][agent] == b[1][agent]


@pytest.mark.parametrize("menu_format", FORMATS)
def test_saved_states_go_on_alike(mixed, menu_format):
    one, rng = make(mixed, menu_format), np.random.default_rng(8)
    one.reset(seed=3)
    played = [actions(one, rng) for _ in range(60)]

    def step(env, action):
        found = [env.step(action), env.feeder_info]
        return pickle.dumps([found, None if env.agents else env.reset()])

    for t in range(110):
        step(one, played[t % 60])
    saved = pickle.dumps(one.save_state())
    fresh, used = make(mixed, menu_format), make(mixed, menu_format)
    used.reset(seed=77)
    used.step(played[0])
    for env in (fresh, used):
        env.restore_state(pickle.loads(saved))
        np.testing.assert_array_equal(env.state(), one.state())
        assert env.feeder_info == one.feeder_info
    expected = [step(one, action) for action in played[:20]]
    for env in (fresh, used):
        assert [step(env, action) for action in played[:20]] == expected


def test_a_state_of_another_kind_is_refused(mixed):
    env, direct = make(mixed), feeder_v0.parallel_env(scenario=mixed, observation="compact")
    env.reset(seed=0)
    direct.reset(seed=0)
    for bad in (direct.save_state(), {}, None, {**env.save_state(), "told": np.zeros((4, 2))}):
        with pytest.raises(StateError):
            env.restore_state(bad)
    assert env.simulation.t == 0
