"""The operator's environment: standards, the exact reference reproduced, money, saved states."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import flexgym  # noqa: F401
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.errors import ActionError, ChartError, ScenarioError, StateError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.env import FeederEnv
from flexgym.envs.feeder.operator_choice import cheapest_powers, menu_arrays, move, moved
from flexgym.envs.feeder.operator_env import TERMS, FeederOperatorEnv
from flexgym.policies.quick_menus import QuickMenus

ID = "flexgym/Operator-v0"
DT_H = 0.25


@pytest.fixture(scope="module")
def stress(benchmark_scenario):
    return benchmark_scenario("stress")


@pytest.mark.parametrize("options", [{}, {"control": "price"}, {"n_vertices": 3}])
def test_gymnasium_and_sb3_accept_it(mixed, options):
    env = gym.make(ID, scenario=mixed, **options)
    assert isinstance(env.unwrapped, FeederOperatorEnv)
    check_env(env.unwrapped, skip_render_check=True)
    sb3_check_env(FeederOperatorEnv(scenario=mixed, **options), warn=True)


def play(env, policy, seed=1, periods=96):
    """Observations, rewards and infos of a day."""
    env.reset(seed=seed)
    found = []
    for _ in range(periods):
        seen, reward, done, cut, info = env.step(policy(env))
        assert done == (env.simulation.t == 96)
        assert not cut
        found.append((seen, reward, info))
    return found


def exact(env):
    return env.action_of(env.cleared.power_kw)


def test_the_exact_clearing_is_reproduced(stress):
    """Played through the simulation with its power flow, it costs what was said beforehand."""
    env, moved_kw = FeederOperatorEnv(scenario=stress), 0.0

    def policy(env):
        nonlocal moved_kw
        own = np.array([menu.best_power_kw for menu in env.menus])
        moved_kw += np.abs(env.cleared.power_kw - own).sum()
        return exact(env)

    for _, reward, info in play(env, policy):
        assert info["operator_eur"] == pytest.approx(info["reference_eur"], abs=1e-6)
        assert reward == -info["operator_eur"]
        assert info["operator_eur"] == pytest.approx(sum(info[name] for name in TERMS), abs=1e-12)
        assert info["deviation_kw"] < 1e-7
        assert info["voltage_eur"] + info["overload_eur"] < 0.05
    assert moved_kw > 1.0
    totals = info["totals"]
    assert set(FEEDER_NAMES) < set(totals)
    assert totals["operator_eur"] == pytest.approx(totals["reference_eur"], abs=1e-5)
    assert totals["violation_h"] == 0.0


def test_no_other_dispatch_is_cheaper(stress):
    """In the moment, as far as losses are linear there."""
    env, rng = FeederOperatorEnv(scenario=stress), np.random.default_rng(0)

    def policy(env):
        shift = rng.normal(0.0, 0.3, env.action_space.shape) * (rng.random() < 0.5)
        return (exact(env) + shift).clip(-1.0, 1.0)

    for _, _, info in play(env, policy):
        assert info["operator_eur"] >= info["reference_eur"] - 2e-3


def test_prices_of_the_clearing_make_houses_choose_it(stress):
    """At the DLMPs each house is as well off with its choice as with the power cleared."""
    env, chosen = FeederOperatorEnv(scenario=stress, control="price", most_eur_per_kwh=50.0), 0

    def policy(env):
        nonlocal chosen
        price = env.cleared.price_eur_per_kwh.sum(axis=0)
        arrays = menu_arrays(env.menus, env.n_vertices)
        power = cheapest_powers(arrays, price)
        for h, menu in enumerate(env.menus):
            own, cleared = (
                float(menu.cost(np.clip(p, *menu.power_kw[[0, -1]]))) + DT_H * price[h] * p
                for p in (power[h], env.cleared.power_kw[h])
            )
            assert own == pytest.approx(cleared, abs=1e-8)
        chosen += np.isclose(power, env.cleared.power_kw, atol=1e-6).mean()
        return price / 50.0

    infos = [info for _, _, info in play(env, policy)]
    # Ties aside, that is the cleared dispatch; a tie at a binding limit may overload.
    assert chosen > 0.95 * 96
    same = sum(abs(i["operator_eur"] - i["reference_eur"]) < 1e-6 for i in infos)
    assert same > 60


def random_menus(rng, count):
    menus = []
    for _ in range(count):
        power = np.sort(rng.uniform(-9.0, 9.0, rng.integers(1, 9)))
        slope = np.sort(rng.normal(0.0, 0.1, len(power) - 1))
        cost = np.concatenate([[0.0], np.cumsum(slope * np.diff(power))])
        menus.append(FlexibilityChart(power, cost))
    return menus


def test_what_actions_mean():
    rng = np.random.default_rng(0)
    menus = random_menus(rng, 60)
    arrays = menu_arrays(menus, 8)
    own = np.array([menu.best_power_kw for menu in menus])
    low, high = (np.array([menu.power_kw[k] for menu in menus]) for k in (0, -1))
    np.testing.assert_array_equal(move(arrays, np.zeros(60)), own)
    np.testing.assert_allclose(move(arrays, -np.ones(60)), low, atol=1e-12)
    np.testing.assert_allclose(move(arrays, np.ones(60)), high, atol=1e-12)
    np.testing.assert_allclose(move(arrays, np.full(60, 0.25)), own + 0.25 * (high - own))
    power = low + rng.random(60) * (high - low)
    np.testing.assert_allclose(move(arrays, moved(arrays, power)), power, atol=1e-12)
    np.testing.assert_array_equal(cheapest_powers(arrays, np.zeros(60)), own)
    price = rng.normal(0.0, 0.5, 60)
    chosen = cheapest_powers(arrays, price)
    for menu, p, at in zip(menus, price, chosen, strict=True):
        grid = np.concatenate([np.linspace(*menu.power_kw[[0, -1]], 301), menu.power_kw])
        assert float(menu.cost(at)) + DT_H * p * at <= (
            menu.cost(grid) + DT_H * p * grid
        ).min() + 1e-9  # fmt: skip
    # In a tie the power nearest to the own choice.
    flat = menu_arrays([FlexibilityChart([0.0, 2.0, 5.0], [0.0, 0.0, 0.75])], 4)
    assert cheapest_powers(flat, np.array([0.0]))[0] == 0.0
    assert cheapest_powers(flat, np.array([-1.0]))[0] == 2.0
    assert cheapest_powers(flat, np.array([-1.1]))[0] == 5.0


def test_it_sees_the_menus_and_the_grid(mixed):
    env = FeederOperatorEnv(scenario=mixed, n_vertices=5)
    seen, _ = env.reset(seed=3)
    for _ in range(30):
        assert len(seen) == len(env.observation_names)
        at = dict(zip(env.observation_names, seen.tolist(), strict=True))
        for h, menu in enumerate(env.menus):
            assert len(menu.power_kw) <= 5
            assert at[f"house_{h}_own_power [10 kW]"] == pytest.approx(
                0.1 * menu.best_power_kw, abs=1e-6
            )
            for k in range(5):
                j = min(k, len(menu.power_kw) - 1)
                power, cost = at[f"house_{h}_power_{k} [10 kW]"], at[f"house_{h}_cost_{k} [EUR]"]
                assert power == pytest.approx(0.1 * menu.power_kw[j], abs=1e-6)
                assert cost == pytest.approx(menu.cost_eur[j] - menu.cost_eur.min(), rel=1e-6)
        voltage = [v for name, v in at.items() if name.startswith("bus")]
        np.testing.assert_allclose(
            voltage, (env.simulation.v_pu[0] - 1.0) / 0.05, rtol=0, atol=1e-5
        )
        seen, *_ = env.step(exact(env))


def test_menus_are_all_it_knows_of_the_houses(mixed):
    """Houses with other batteries and energies that send the same say the same to it."""

    class Alike(QuickMenus):
        def offer(self):
            super().offer()
            return [FlexibilityChart([-0.1, 0.0, 0.1], [0.2, 0.0, 0.1])] * self._homes.n

    seen = []
    capacity = [h.battery.capacity_kwh if h.battery else 0.0 for h in mixed.houses(0)]
    for soc in (0.0, 2.0):
        env = FeederOperatorEnv(scenario=mixed, menus=Alike)
        options = {"draw": 0, "day": 200, "soc_kwh": np.minimum(soc, capacity)}
        seen.append(env.reset(seed=1, options=options)[0])
    np.testing.assert_array_equal(*seen)


def test_same_seed_same_day_and_saved_states_go_on_alike(mixed):
    one = FeederOperatorEnv(scenario=mixed)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1.0, 1.0, (40, mixed.n_houses))

    def step(env, action):
        seen, *rest = env.step(action)
        note = [seen.tolist(), rest]
        if env.simulation.done:
            note.append(env.reset()[0].tolist())
        return pickle.dumps(note)

    one.reset(seed=9)
    first = [step(one, actions[t % 40]) for t in range(120)]
    saved = pickle.dumps(one.save_state())
    one.reset(seed=9)
    assert [step(one, actions[t % 40]) for t in range(120)] == first
    fresh = FeederOperatorEnv(scenario=mixed)
    fresh.restore_state(pickle.loads(saved))
    expected = [step(one, action) for action in actions]
    assert [step(fresh, action) for action in actions] == expected
    for bad in (None, {}, {**pickle.loads(saved), "totals": {}}):
        with pytest.raises(StateError):
            fresh.restore_state(bad)
    feeder = FeederEnv(scenario=mixed, observation="compact")
    feeder.reset(seed=0)
    with pytest.raises(StateError):
        fresh.restore_state(feeder.save_state())


def test_bad_calls_are_named(mixed):
    env = FeederOperatorEnv(scenario=mixed, reference=False)
    with pytest.raises(ActionError, match="reset"):
        env.step(env.action_space.sample())
    for ask in (lambda: env.cleared, env.save_state):
        with pytest.raises(AttributeError, match="reset"):
            ask()
    env.reset(seed=0)
    assert "reference_eur" not in env.step(np.zeros(mixed.n_houses))[4]
    for bad in (
        np.zeros(3), np.full(mixed.n_houses, np.nan), np.full(mixed.n_houses, 1.01), "no", None,
    ):  # fmt: skip
        with pytest.raises(ActionError):
            env.step(bad)
    assert env.simulation.t == 1
    while not env.simulation.done:
        env.step(np.zeros(mixed.n_houses))
    with pytest.raises(ActionError, match="reset"):
        env.step(np.zeros(mixed.n_houses))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"control": "wish"}, "dispatch, price"),
        ({"n_vertices": 1}, "2 to 256"),
        ({"n_vertices": 8.0}, "2 to 256"),
        ({"most_eur_per_kwh": 0.0}, "price > 0"),
        ({"most_eur_per_kwh": "much"}, "price > 0"),
        ({"menus": "flexgym.policies.quick_menus:Slow"}, "module:attribute"),
        ({"menus": "no_such_module:Menus"}, "module:attribute"),
        ({"menus": ""}, "module:attribute"),
        ({"menus": 3}, "HouseMenus"),
        ({"curtailment": "automatic"}, "curtailment"),
        ({"observation": "full"}, "observation"),
        ({"render_mode": "human"}, "rgb_array"),
        ({"colour": "green"}, "colour"),
    ],
)
def test_wrong_options_are_named(mixed, options, named):
    with pytest.raises(ScenarioError, match=named):
        FeederOperatorEnv(scenario=mixed, **options)


@pytest.mark.parametrize("sent", [[], [None] * 21, [FlexibilityChart([0.0], [0.0])] * 20])
def test_houses_that_offer_no_menus_are_named(mixed, sent):
    class Broken(QuickMenus):
        def offer(self):
            return sent

    with pytest.raises(ChartError, match="21 of FlexibilityChart"):
        FeederOperatorEnv(scenario=mixed, menus=Broken).reset(seed=0)
