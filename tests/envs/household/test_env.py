"""The Gymnasium environment: interface, money, parity with the optimum."""

import copy
import pickle
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import flexgym  # noqa: F401
from flexgym.baselines.household import cost_to_go, perfect_foresight
from flexgym.envs import Battery, Car, House, Load, Uncertainty
from flexgym.envs.data import feeder43, synthetic_prices
from flexgym.envs.household.dynamics import COST_TERMS, OUTCOME_NAMES
from flexgym.policies.household import Optimal

ID = "flexgym/Household-v0"
TIGHT = House(
    Battery(6.0, 3.0, 0.9, 0.92, 0.01, 0.999),
    pv_kwp=7.0,
    inverter_kva=3.5,
    import_limit_kw=0.4,
    export_limit_kw=1.5,
    load=Load("H0-G", 5200.0, 2, 1),
)
BARE = House(None, 0.0, 5.0, 30.0, 30.0)
ROOF = House(None, 6.0, 5.0, 30.0, 30.0)
GIVING = replace(TIGHT, import_limit_kw=6.0, car=Car(11.0, 45.0, 0.9, discharge_kw=5.0))
OPTIONS = [
    {},
    {"car": False},
    {"observation": "compact", "curtailment": "action"},
    {"observation": "compact", "action_map": "knots", "car": False},
    {"action_map": "range", "curtailment": "action", "split": "test"},
    {"action_map": "rating", "uncertainty": "none", "initial_soc": 0.5, "split": "validation"},
    {"houses": (TIGHT, BARE, ROOF), "days": [3, 200], "prices": synthetic_prices(export="spot")},
    {"houses": (GIVING, BARE), "days": [3, 200], "prices": synthetic_prices(export="spot")},
]
EITHER = pytest.mark.parametrize("house", [TIGHT, GIVING], ids=["no car", "car"])


def make(**options):
    return gym.make(ID, **options)


@pytest.mark.parametrize("options", OPTIONS)
def test_gymnasium_and_sb3_accept_it(options):
    check_env(make(**options).unwrapped, skip_render_check=True)
    sb3_check_env(make(**options).unwrapped, warn=True)


@pytest.mark.parametrize("options", OPTIONS)
def test_same_seed_same_trajectory(options):
    def play():
        env = make(**options)
        env.action_space.seed(1)
        seen = [env.reset(seed=11)]
        for _ in range(2):
            done = False
            while not done:
                *rest, done, _, info = env.step(env.action_space.sample())
                seen.append((*rest, done, info))
            seen.append(env.reset())
        return seen

    first, second = play(), play()
    assert len(first) == 2 * 97 + 1
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a[0], b[0])
        assert a[1:] == b[1:]
    other = make(**options)
    assert not np.array_equal(other.reset(seed=12)[0], first[0][0])


@pytest.mark.parametrize("options", OPTIONS)
def test_a_day_has_96_periods_and_rewards_add_up_to_its_cost(options):
    env = make(**options)
    rng = np.random.default_rng(0)
    for seed in range(3):
        obs, start = env.reset(seed=seed)
        assert set(start) == {
            "house", "day", "soc_kwh", "unreachable_kwh", "terminal_eur_per_kwh"
        }  # fmt: skip
        total, terms, steps, done = 0.0, dict.fromkeys(COST_TERMS, 0.0), 0, False
        battery_kwh = car_kwh = energy = missed = 0.0
        house, day = env.unwrapped.house, env.unwrapped.realised_series
        while not done:
            action = rng.uniform(-1, 1, env.action_space.shape)
            obs, reward, done, truncated, info = env.step(action)
            assert obs in env.observation_space
            assert isinstance(reward, float)
            assert not truncated
            assert set(info) == set(OUTCOME_NAMES)
            assert reward == -info["cost_eur"]
            total += reward
            for name in COST_TERMS:
                terms[name] += info[name]
            buy, sell = day.import_eur_per_kwh[steps], day.export_eur_per_kwh[steps]
            meter = info["meter_kw"]
            energy += 0.25 * (buy * max(meter, 0.0) + sell * min(meter, 0.0))
            battery_kwh += 0.25 * abs(info["battery_kw"])
            car_kwh += 0.25 * max(-info["car_kw"], 0.0)
            missed += info["missed_kwh"]
            steps += 1
        assert steps == 96
        assert total == pytest.approx(-sum(terms.values()), abs=1e-12)
        assert terms["import_eur"] + terms["export_eur"] == pytest.approx(energy, abs=1e-12)
        wear = house.battery.wear_eur_per_kwh * battery_kwh if house.battery else 0.0
        if house.car:
            wear += house.car.wear_eur_per_kwh * car_kwh
            assert terms["missed_eur"] == pytest.approx(house.car.missed_eur_per_kwh * missed)
            assert missed >= start["unreachable_kwh"] - 1e-9
        else:
            assert car_kwh == missed == terms["missed_eur"] == start["unreachable_kwh"] == 0.0
        assert terms["wear_eur"] == pytest.approx(wear, abs=1e-12)
        left = env.unwrapped.terminal_eur_per_kwh * info["soc_kwh"]
        assert terms["terminal_eur"] == pytest.approx(-left, abs=1e-12)
        assert info["terminal_eur"] == terms["terminal_eur"]


def real_house_days():
    """Houses and days, among them tight connections and days with negative export prices."""
    fixed, spot = synthetic_prices(), synthetic_prices(export="spot")
    cheap = [d for d in range(365) if spot.export_eur_per_kwh[96 * d + 24 :][:96].min() < 0]
    homes = [replace(h, car=None) for h in feeder43(3) if h.battery]
    for k, house in enumerate(homes[:14]):
        yield (house, (29 * k) % 365, fixed) if k % 2 else (house, cheap[7 * k % len(cheap)], spot)
    for k in range(14):
        yield (TIGHT, (23 * k) % 365, fixed) if k % 2 else (TIGHT, cheap[5 * k % len(cheap)], spot)
    yield BARE, 10, fixed
    yield ROOF, cheap[0], spot


@pytest.mark.parametrize("action_map", ["plateau", "rating"])
def test_optimal_dispatch_costs_what_the_optimum_says(action_map):
    """The recursion's and the program's dispatch of real days, played in the environment."""
    negative = unserved = 0
    policy = Optimal()
    for house, day, prices in real_house_days():
        env = make(
            houses=house, days=day, prices=prices, uncertainty="none", action_map=action_map
        ).unwrapped
        _, info = env.reset(seed=day)
        terminal, soc, series = env.terminal_eur_per_kwh, info["soc_kwh"], env.realised_series
        np.testing.assert_array_equal(series.pv_kw, env.forecast_series.pv_kw)
        solved = cost_to_go(house, series, terminal_eur_per_kwh=terminal)
        bound = perfect_foresight(house, series, soc_kwh=soc, terminal_eur_per_kwh=terminal)
        assert solved.value(0, soc) == pytest.approx(bound.cost_eur, abs=1e-9)
        negative += series.export_eur_per_kwh.min() < 0
        unserved += bound.unserved_kw.max() > 0

        cost = rewards = 0.0
        policy.begin(env.simulation)
        for t in range(96):
            chart = solved.chart(t, env.simulation.soc_kwh[0])
            _, reward, done, _, info = env.step(policy.act(env.simulation)[0])
            chosen = float(chart.cost(info["meter_kw"]))
            assert chosen == pytest.approx(chart.cost_eur.min(), abs=1e-9)
            rewards += reward
            cost += sum(info[name] for name in COST_TERMS)
        assert done
        assert cost == pytest.approx(bound.cost_eur, abs=1e-9)
        assert rewards == pytest.approx(-cost, abs=1e-12)

        env.reset(seed=day)
        rewards = 0.0
        for power in bound.battery_kw:
            wanted = np.array([0.0 if abs(power) < 1e-9 else power])
            _, reward, done, _, _ = env.step(env.simulation.action(wanted)[0])
            rewards += reward
        assert done
        assert rewards == pytest.approx(-bound.cost_eur, abs=1e-9)
    assert negative >= 10
    assert unserved >= 5


@pytest.mark.parametrize("prices", [synthetic_prices(), synthetic_prices(export="spot")])
def test_reset_options_are_played(prices):
    houses = tuple(h for h in feeder43(1) if h.battery)[:3]
    env = make(houses=houses, days=[5, 6], prices=prices)
    for house, day, soc in ((2, 6, 1.5), (0, 300, 0.0), (1, 5, houses[1].battery.capacity_kwh)):
        _, info = env.reset(seed=1, options={"house": house, "day": day, "soc_kwh": soc})
        assert (info["house"], info["day"], info["soc_kwh"]) == (house, day, soc)
        assert env.unwrapped.house is houses[house]
    # Without options draws stay inside the pool and reach all of it.
    drawn = [env.reset()[1] for _ in range(60)]
    assert {i["day"] for i in drawn} == {5, 6}
    assert {i["house"] for i in drawn} == {0, 1, 2}
    for info in drawn:
        assert 0.0 <= info["soc_kwh"] <= houses[info["house"]].battery.capacity_kwh
    half = make(houses=houses, days=5, initial_soc=0.5)
    _, info = half.reset(seed=0)
    assert info["soc_kwh"] == 0.5 * houses[info["house"]].battery.capacity_kwh


def test_options_do_not_shift_the_random_numbers():
    """Choosing the house leaves weather, prices and load as they were: paired comparisons."""
    env = make(split="test").unwrapped
    env.reset(seed=4)
    state = env.simulation.episodes.state.copy()
    env.reset(seed=4, options={"house": 1, "day": 7, "soc_kwh": 0.0})
    assert np.array_equal(env.simulation.episodes.state, state)


def test_splits_do_not_share_houses_or_days():
    pools = {}
    for split in ("train", "validation", "test"):
        scenario = make(split=split).unwrapped.simulation.scenario
        pools[split] = (set(scenario.houses), set(scenario.days.tolist()))
        assert len(pools[split][0]) > 20
    for a, b in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not pools[a][0] & pools[b][0]
        assert not pools[a][1] & pools[b][1]


def test_observation_names_fit_and_carry_units():
    for kind in ("full", "compact"):
        env = make(observation=kind, houses=TIGHT, days=150).unwrapped
        names = env.observation_names
        assert len(names) == len(set(names)) == env.observation_space.shape[0]
        assert all(name.endswith("]") and " [" in name for name in names)
        obs, info = env.reset(seed=0)
        by_name = dict(zip(names, obs, strict=True))
        assert by_name["state_of_charge [capacity]"] == pytest.approx(info["soc_kwh"] / 6.0)
        assert by_name["capacity [10 kWh]"] == pytest.approx(0.6)
        assert by_name["load [battery power]"] == pytest.approx(
            env.realised_series.load_kw[0] / 3.0
        )
        assert by_name["time_left [day]"] == 1.0
        assert by_name["terminal_price [0.1 EUR/kWh]"] == pytest.approx(
            10 * env.terminal_eur_per_kwh
        )
    assert sum("ahead" in name for name in names) == 0


@EITHER
def test_the_first_observation_says_nothing_of_the_future(house):
    """Same forecast and same first measurements: same observation, whatever comes."""
    env = make(houses=house, days=150, initial_soc=0.5).unwrapped
    groups = {}
    for seed in range(80):
        obs, _ = env.reset(seed=seed)
        exogenous = env.simulation.episodes.exogenous[:, :, 0]
        key = (*exogenous[0], env.simulation.state[0])
        groups.setdefault(key, []).append((obs, exogenous.copy()))
    pairs = 0
    for first, *others in groups.values():
        for obs, exogenous in others:
            assert not np.array_equal(exogenous, first[1])
            assert np.array_equal(obs, first[0])
            pairs += 1
    assert pairs >= 20


@EITHER
def test_later_observations_say_nothing_of_the_future(house):
    """Overwriting what is still to come changes nothing that is seen now."""
    one, two = (make(houses=house, days=150).unwrapped for _ in range(2))
    for env in (one, two):
        env.reset(seed=5)
    two.simulation.episodes.exogenous[41:] *= 0.5
    two.simulation.episodes.state[41:] = 0
    for t in range(41):
        a, b = (env.step(np.full(env.action_space.shape, 0.3)) for env in (one, two))
        if t < 40:
            assert np.array_equal(a[0], b[0])
            assert a[1:] == b[1:]
    assert not np.array_equal(a[0], b[0])


@pytest.mark.parametrize("car", [True, False])
def test_copies_and_pickles_go_on_alike(car):
    env = make(split="validation", curtailment="action", car=car).unwrapped
    env.reset(seed=3)
    first, later = ([0.4, 0.7, 1.0], [-0.7, 0.6, 0.2]) if car else ([0.4, 1.0], [-0.7, 0.2])
    for _ in range(10):
        env.step(np.array(first))
    twins = [env, copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    for _ in range(3):
        while True:
            results = [twin.step(np.array(later)) for twin in twins]
            for other in results[1:]:
                assert np.array_equal(other[0], results[0][0])
                assert other[1:] == results[0][1:]
            if results[0][2]:
                break
        starts = [twin.reset() for twin in twins]
        assert all(start[1] == starts[0][1] for start in starts)


def test_what_is_passed_in_is_not_written():
    prices = synthetic_prices(export="spot", seed=4)
    before = prices.import_eur_per_kwh.copy()
    days, options = np.array([3, 4]), {"house": 0, "soc_kwh": np.array([2.0])}
    action = np.array([0.5])
    env = make(houses=[TIGHT], days=days, prices=prices)
    env.reset(seed=0, options=options)
    for _ in range(96):
        env.step(action)
    assert np.array_equal(prices.import_eur_per_kwh, before)
    assert days.tolist() == [3, 4]
    assert options == {"house": 0, "soc_kwh": np.array([2.0])}
    assert action.tolist() == [0.5]


@pytest.mark.parametrize("car", [True, False])
def test_observations_already_given_do_not_change(car):
    env = make(split="test", car=car)
    first, _ = env.reset(seed=0)
    kept = first.copy()
    second = env.step(np.zeros(env.action_space.shape))[0]
    env.step(np.ones(env.action_space.shape))
    assert np.array_equal(first, kept)
    assert not np.array_equal(second, first)


def test_custom_chains_are_played():
    sunny = Uncertainty.markov()
    env = make(houses=TIGHT, days=150, uncertainty=sunny).unwrapped
    env.reset(seed=1)
    share = env.realised_series.import_eur_per_kwh / env.forecast_series.import_eur_per_kwh
    assert set(np.round(share, 9)) <= set(sunny.price.factors)
