"""Learned menus: valid whatever the weights, the same alone and in a batch, safe to load."""

import os
import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from gymnasium.utils import seeding
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.baselines.household import cost_to_go
from flexgym.envs import Battery, Car, House, Series, Session
from flexgym.envs.charts import ConvexPiecewiseLinear
from flexgym.envs.errors import RunError, ScenarioError, SeriesError, StateError
from flexgym.envs.feeder.operator_env import FeederOperatorEnv
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.household.dynamics import METER_KW, house_row
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.household import cheapest_meter, pv_shares
from flexgym.policies.learned_menus import LearnedMenus
from flexgym.policies.menu_inputs import CELLS, INPUTS, input_names, inputs_of
from flexgym.policies.menu_network import OUTPUTS, MenuNetwork
from flexgym.policies.menus import Menus


def network(seed=None, spread=1.0, hidden=8):
    """Random weights; those of the plan on the forecast without a seed."""
    rng = np.random.default_rng(seed)
    share = 0.0 if seed is None else spread

    def layer(inputs, outputs):
        weight, bias = rng.normal(size=(inputs, outputs)), rng.normal(size=outputs)
        return (share * weight).astype(np.float32), (share * bias).astype(np.float32)

    layers = {name: [layer(INPUTS, hidden), layer(hidden, n)] for name, n in OUTPUTS.items()}
    shift, scale = np.zeros(INPUTS, np.float32), np.ones(INPUTS, np.float32)
    return MenuNetwork(layers, shift, scale)


def begin(scenario, n, seed=0, **options):
    homes = HouseholdSimulation(scenario, n, observation="compact", curtailment="action")
    homes.begin([seeding.np_random(seed + i)[0] for i in range(n)], options)
    return homes


@pytest.fixture(scope="module")
def scenario():
    return HouseholdScenario.create(split="train")


@cache
def mixed():
    """Houses with and without battery and car, of a feeder."""
    return FeederScenario.create("calm", draws=(0,)).homes


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([1e-2, 1.0, 1e3]))
def test_every_output_is_a_valid_menu_whatever_the_weights(seed, spread):
    homes = begin(mixed(), 12, seed % 1000, house=np.arange(12))
    menus = LearnedMenus(network(seed, spread)).menus(homes)
    rng = np.random.default_rng(seed)
    while not homes.done:
        offers = menus.offer()
        # Checks order and convexity of every menu.
        exact = [ConvexPiecewiseLinear(offer.power_kw, offer.cost_eur) for offer in offers]
        power = np.array([rng.uniform(f.x[0], f.x[-1]) for f in exact])
        battery, car, used = menus.follow(power)
        action = homes.action(battery, pv_shares(homes, battery, car, used), car_kw=car)
        outcome = homes.step(action)
        np.testing.assert_allclose(outcome[:, METER_KW], power, atol=1e-6)


def test_a_batch_is_its_houses_one_by_one(scenario):
    learned, alone = LearnedMenus(network(3)), LearnedMenus(network(3))
    homes = begin(scenario, 5, 7)
    learned.begin(homes)
    singles = []
    for i in range(5):
        single = begin(scenario, 1, 7 + i)
        singles.append((LearnedMenus(alone.network), single))
        singles[-1][0].begin(single)
    while not homes.done:
        action = learned.act(homes)
        for i, (policy, single) in enumerate(singles):
            each = policy.act(single)
            np.testing.assert_allclose(each[0], action[i], atol=2e-5)
            single.step(action[i : i + 1])
        homes.step(action)


@pytest.mark.parametrize("car", [False, True])
def test_the_power_played_is_the_menu_s_cheapest(car):
    """One way minimises over the exact solver's candidates, the other over the whole chart."""
    homes = begin(HouseholdScenario.create(split="train", car=car), 6, 20)
    learned = LearnedMenus(network(5, 0.1))
    menus = learned.menus(homes)
    learned.begin(homes)
    excess = []
    while not homes.done:
        battery, power = learned.powers(homes)
        used, meter = cheapest_meter(homes, battery, power)
        for offer, at in zip(menus.offer(), meter, strict=True):
            reached = float(offer.cost(np.clip(at, *offer.power_kw[[0, -1]])))
            excess.append(reached - offer.cost_eur.min())
        homes.step(homes.action(battery, pv_shares(homes, battery, power, used), car_kw=power))
    assert min(excess) > -1e-9
    if car:
        # Between the car's candidates the chart knows mixtures.
        assert np.mean(excess) < 5e-4
    else:
        assert max(excess) < 1e-9


def test_without_learning_and_chance_it_is_the_exact_plan():
    """Slopes of the plan on the forecast are those of the exact recursion, cell by cell."""
    scenario = HouseholdScenario.create(car=False, uncertainty="none", split="train")
    homes = begin(scenario, 4, 1)
    episodes = homes.episodes
    for i in range(4):
        series, terminal = homes.forecast_series(i), float(episodes.terminal_price[i])
        learned = LearnedMenus(network()).cost_to_go(
            homes.house(i), series, terminal_eur_per_kwh=terminal
        )
        exact = cost_to_go(homes.house(i), series, terminal_eur_per_kwh=terminal)
        grid = np.linspace(0.0, episodes.rows[i, 0], CELLS + 1)
        for t in (0, 31, 77, 94, 95):
            got, wanted = learned.after(t), exact.after(t)
            np.testing.assert_allclose(
                np.diff(got(grid)), np.diff(wanted(grid)), atol=2e-6
            )  # single precision


def test_it_plans_for_menus_on_the_feeder():
    from flexgym.envs.feeder.simulation import FeederSimulation

    feeder = FeederScenario.create("stress", "train", draws=(0,))
    simulation = FeederSimulation(feeder, 1, observation="compact", curtailment="action")
    simulation.begin([seeding.np_random(0)[0]])
    policy = Menus(LearnedMenus(network()))
    policy.begin(simulation)
    for _ in range(2):
        simulation.step(policy.act(simulation))
    assert all(answer.feasible for answer in policy.answers)


def test_the_operators_environment_takes_its_menus():
    env = FeederOperatorEnv(scenario="calm", menus=LearnedMenus(network()).menus)
    env.reset(seed=0)
    for _ in range(3):
        _, reward, *_ = env.step(env.action_space.sample())
    assert np.isfinite(reward)
    env.close()


HOUSE = House(
    Battery(8.0, 4.0), 6.0, 6.0, 30.0, 30.0, car=Car(power_kw=7.4, capacity_kwh=50.0)
)  # fmt: skip


def day(**changes):
    sun = 4.0 * np.sin(np.linspace(0, np.pi, 96)) ** 4
    series = Series(
        np.full(96, 0.6), sun, 0.3 + 0.1 * np.sin(np.arange(96) / 9.0), np.full(96, 0.08),
        (Session(40, 90, 20.0, 29.0),),
    )  # fmt: skip
    return replace(series, **changes)


def test_charts_of_any_house_hold_reactive_power_and_the_cars_ends():
    learned = LearnedMenus(network()).cost_to_go(HOUSE, day(), terminal_eur_per_kwh=0.2)
    exact = cost_to_go(HOUSE, day(), terminal_eur_per_kwh=0.2)
    for t, car_kwh in ((10, None), (40, None), (60, 24.0), (89, 28.0)):
        got, wanted = (plan.chart(t, 3.0, car_kwh) for plan in (learned, exact))
        np.testing.assert_allclose(got.power_kw[[0, -1]], wanted.power_kw[[0, -1]], atol=1e-9)
        assert got.vertices.shape[1] == 3
        assert got.best_power_kw == pytest.approx(wanted.best_power_kw, abs=12.0)
    # What is missing when the car leaves costs what it costs exactly.
    ((left, a), *_, (right, b)) = learned.ahead(89, 27.0)
    assert left == 0.0
    missed = HOUSE.car.missed_eur_per_kwh * (min(27.0 + right * 0.25 * 0.95, 29.0) - 27.0)
    grid = np.linspace(0.0, 8.0, CELLS + 1)
    np.testing.assert_allclose(a(grid) - b(grid), missed, atol=1e-9)


def test_bad_questions_are_named():
    learned = LearnedMenus(network()).cost_to_go(HOUSE, day())
    short = Series(*(np.ones(95) for _ in range(4)))
    with pytest.raises(SeriesError, match="95 periods"):
        LearnedMenus(network()).cost_to_go(HOUSE, short)
    with pytest.raises(ScenarioError, match="t is 96"):
        learned.after(96)
    with pytest.raises(ScenarioError, match="weather_factor is nan"):
        learned.after(3, weather_factor=np.nan)
    with pytest.raises(StateError, match="car_kwh is None"):
        learned.chart(60, 3.0)
    with pytest.raises(StateError, match="no car is plugged in"):
        learned.chart(3, 3.0, 20.0)
    with pytest.raises(StateError, match="soc_kwh is 9"):
        learned.chart(3, 9.0)
    with pytest.raises(ScenarioError, match="load_kw is -1"):
        learned.chart(3, 3.0, load_kw=-1.0)


def test_inputs_have_names_and_stay_within_a_few_units(scenario):
    assert len(input_names()) == INPUTS
    homes = begin(scenario, 32, 5)
    e = homes.episodes
    inputs = inputs_of(e.rows, e.forecast, e.visits, e.terminal_price)
    assert inputs.shape == (32, 95, INPUTS)
    assert np.isfinite(inputs).all()
    assert np.abs(inputs).max() <= 20.0
    assert np.quantile(np.abs(inputs), 0.99) < 5.0


def test_a_house_without_battery_is_one_that_stands_still():
    bare = replace(HOUSE, battery=None)
    learned = LearnedMenus(network(1)).cost_to_go(bare, day())
    assert house_row(bare)[0] == 0.0
    chart = learned.chart(60, 0.0, 24.0)
    exact = cost_to_go(bare, day()).chart(60, 0.0, 24.0)
    np.testing.assert_allclose(chart.power_kw[[0, -1]], exact.power_kw[[0, -1]], atol=1e-9)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_files_are_read_back_or_refused_and_never_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given_network, path = network(2), tmp_path / "menu.safetensors"
    given_network.save(path)
    inputs = np.random.default_rng(0).normal(size=(7, INPUTS)).astype(np.float32)
    for got, wanted in zip(
        LearnedMenus.load(path).network.both(inputs), given_network.both(inputs), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)
    whole = path.read_bytes()
    with pytest.raises(RunError, match="got no learned menu"):
        LearnedMenus.load(tmp_path / "absent.safetensors")
    for wrong in (whole[:100], whole[:-1], b"", b"PK\x03\x04" + whole, pickle.dumps(Trap())):
        path.write_bytes(wrong)
        with pytest.raises(RunError, match="cannot read"):
            LearnedMenus.load(path)
    assert not (tmp_path / "sprung").exists()
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(RunError, match="another kind of weights"):
        LearnedMenus.load(path)


@pytest.mark.parametrize("wrong", ["missing", "nan", "shape", "double"])
def test_wrong_weights_are_named(tmp_path, wrong):
    good = network(2)
    first, last = good.layers["both"]
    path = tmp_path / "menu.safetensors"
    layers = {
        "missing": {"battery": good.layers["battery"]},
        "nan": {**good.layers, "both": [first, (last[0], last[1] * np.float32(np.nan))]},
        "shape": {**good.layers, "both": [first, (last[0][:, :-1], last[1][:-1])]},
        "double": {**good.layers, "both": [first, (last[0].astype(np.float64), last[1])]},
    }[wrong]
    MenuNetwork(layers, good.shift, good.scale).save(path)
    with pytest.raises(RunError, match="lacks weights or holds wrong ones"):
        LearnedMenus.load(path)
