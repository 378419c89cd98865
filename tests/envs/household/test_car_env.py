"""The environment with cars: what is seen, who has one, own sessions, parity with the program."""

import datetime as dt
import math
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

import flexgym  # noqa: F401
from flexgym.baselines.household import perfect_foresight
from flexgym.envs import Battery, Car, House, Session
from flexgym.envs.data import Prices, Sessions, load_sessions, synthetic_prices, synthetic_sessions
from flexgym.envs.data.calendar import date
from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.household.action_map import ACTION_MAPS
from flexgym.envs.household.dynamics import COST_TERMS, OUTCOME_NAMES
from flexgym.envs.household.env import HouseholdEnv
from flexgym.envs.household.scenario import HouseholdScenario, default_houses
from flexgym.envs.uncertainty import Uncertainty

ID = "flexgym/Household-v0"
PLAIN = House(Battery(8.0, 4.0), 6.0, 8.0, 30.0, 30.0, car=Car(7.0, 50.0, 0.9))
GIVING = replace(
    PLAIN,
    inverter_kva=4.0,
    import_limit_kw=6.0,
    export_limit_kw=3.0,
    car=Car(11.0, 40.0, 0.92, 8.0, 0.9, 0.03, 1.2),
)
NO_CAR = replace(PLAIN, car=None)
DAY = 120
VISITS = (Session(0, 9, 10.0, 35.0), Session(40, 90, 12.0, 20.0))


def make(**options):
    return gym.make(ID, **options).unwrapped


def of_day(*visits):
    return Sessions("mine", ({DAY: visits},))


def car_entries(env, observation):
    names = env.observation_names
    first = names.index("car_plugged_in [1]")
    return {name: float(observation[k]) for k, name in enumerate(names) if k >= first}


def expected_entries(env, car_kwh):
    """The car's entries from session, car and forecast, for a connection that never limits."""
    sim, car, t = env.simulation, env.house.car, env.simulation.t
    sessions = env.forecast_series.sessions
    here = [s for s in sessions if s.arrival <= t < s.departure]
    coming = [s for s in sessions if s.arrival > t]
    load, pv = sim.now[:2, 0]
    values = dict.fromkeys(env.observation_names[21 + 53 * (len(env.observation_names) > 40) :], 0)
    values["car_state_of_charge [car capacity]"] = car_kwh / car.capacity_kwh
    values["car_power [10 kW]"] = car.power_kw / 10
    values["car_discharging_power [10 kW]"] = car.discharge_kw / 10
    values["surplus [car power]"] = (pv - load) / car.power_kw
    if here:
        session, left = here[0], here[0].departure - t
        missing = max(session.needed_kwh - car_kwh, 0.0)
        periods = missing / (car.efficiency_charge * car.power_kw * 0.25)
        room = max(car.target_kwh(session) - car_kwh, 0.0) / (car.efficiency_charge * 0.25)
        stock = car_kwh * car.efficiency_discharge / 0.25
        price = env.forecast_series.import_eur_per_kwh[t : session.departure]
        values |= {
            "car_plugged_in [1]": 1,
            "car_energy_missing [10 kWh]": missing / 10,
            "car_time_to_departure [day]": left / 96,
            "car_time_to_spare [day]": (left - periods) / 96,
            "car_share_of_time_needed [1]": min(periods / left, 4),
            "car_least_power [car power]": -min(car.discharge_kw, stock) / car.power_kw,
            "car_largest_power [car power]": min(car.power_kw, room) / car.power_kw,
        }
        if "rank_of_price_until_departure [1]" in values:
            values["rank_of_price_until_departure [1]"] = (price < price[0]).mean()
            lowest = "lowest_price_until_departure_below_now [0.1 EUR/kWh]"
            values[lowest] = 10 * (price[0] - price.min())
    elif coming:
        need = coming[0].needed_kwh - coming[0].arrival_kwh
        values["car_time_to_arrival [day]"] = (coming[0].arrival - t) / 96
        values["car_energy_missing_at_arrival [10 kWh]"] = max(need, 0.0) / 10
    return values


@pytest.mark.parametrize("observation", ["full", "compact"])
@pytest.mark.parametrize("discharge_kw", [0.0, 6.0])
def test_the_car_s_entries_say_what_its_session_says(observation, discharge_kw):
    house = replace(PLAIN, car=replace(PLAIN.car, discharge_kw=discharge_kw))
    env = make(houses=house, days=DAY, sessions=of_day(*VISITS), observation=observation)
    rng = np.random.default_rng(0)
    obs, _ = env.reset(seed=0)
    plugged = 0
    for t in range(97):
        kwh = env.simulation.car_kwh[0]
        there = any(s.arrival <= t < s.departure for s in VISITS)
        assert kwh == 0.0 or there
        plugged += there
        seen, wanted = car_entries(env, obs), expected_entries(env, kwh)
        assert seen.keys() == wanted.keys()
        for name, value in wanted.items():
            assert seen[name] == pytest.approx(value, rel=1e-5, abs=1e-6), (t, name)
        if t < 96:
            obs, *_ = env.step(rng.uniform([-1.0, -1.0], [1.0, 0.8]))
    assert plugged == 59


def test_the_first_period_by_numbers():
    env = make(houses=PLAIN, days=DAY, sessions=of_day(*VISITS))
    obs, info = env.reset(seed=0)
    seen = car_entries(env, obs)
    # 25 kWh missing, 1.575 kWh a period: 15.87 periods, of which there are 9.
    assert seen["car_plugged_in [1]"] == 1.0
    assert seen["car_energy_missing [10 kWh]"] == 2.5
    assert seen["car_time_to_departure [day]"] == pytest.approx(9 / 96)
    assert seen["car_time_to_spare [day]"] == pytest.approx(-0.071594, abs=1e-6)
    assert seen["car_share_of_time_needed [1]"] == pytest.approx(1.76367, abs=1e-5)
    assert seen["car_largest_power [car power]"] == 1.0
    assert seen["car_state_of_charge [car capacity]"] == pytest.approx(0.2)
    assert info["unreachable_kwh"] == pytest.approx(35.0 - 10.0 - 9 * 1.575)
    for _ in range(20):
        obs, *_ = env.step(np.zeros(2))
    seen = car_entries(env, obs)
    assert seen["car_time_to_arrival [day]"] == pytest.approx(20 / 96)
    assert seen["car_energy_missing_at_arrival [10 kWh]"] == pytest.approx(0.8)
    assert seen["car_plugged_in [1]"] == seen["car_energy_missing [10 kWh]"] == 0.0


def test_a_flat_price_has_rank_zero():
    """No rounding of sums makes one of equal prices the cheaper one."""
    for price in (0.3, 0.31, 0.27):
        flat = Prices(np.full(35136, price), np.full(35136, 0.08), "flat")
        env = make(
            houses=PLAIN, days=DAY, prices=flat, sessions=of_day(*VISITS), uncertainty="none"
        )
        env.reset(seed=0)
        for _ in range(96):
            obs, *_ = env.step(np.zeros(2))
            assert car_entries(env, obs)["rank_of_price_until_departure [1]"] == 0.0
            assert obs[env.observation_names.index("rank_of_price_ahead [1]")] == 0.0


@pytest.mark.parametrize("observation", ["full", "compact"])
def test_without_car_it_is_the_environment_of_before(observation):
    """`car=False`, a house without car and one whose car never comes are the same to play."""
    size = {"full": 74, "compact": 21}[observation]
    options = {"days": [DAY], "observation": observation, "initial_soc": 0.4}
    envs = [
        make(houses=PLAIN, car=False, **options),
        make(houses=NO_CAR, **options),
        make(houses=PLAIN, sessions=Sessions("away", ({},)), **options),
    ]
    off, without, away = envs
    assert off.observation_space.shape == without.observation_space.shape == (size,)
    assert off.action_space.shape == without.action_space.shape == (1,)
    assert off.simulation.action_names == ("battery",)
    assert away.simulation.action_names == ("battery", "car")
    assert not any("car" in name.split("_") for name in off.observation_names)
    assert away.observation_names[:size] == off.observation_names
    starts = [env.reset(seed=5) for env in envs]
    assert off.house == NO_CAR
    assert off.forecast_series.sessions == ()
    assert starts[0][1] == starts[1][1] == starts[2][1]
    rng = np.random.default_rng(1)
    for _ in range(96):
        action = rng.uniform(-1.0, 1.0, 1)
        results = [env.step(action) for env in envs[:2]] + [away.step(np.append(action, 1.0))]
        for result in results:
            assert np.array_equal(result[0][:size], results[0][0])
            assert result[1:] == results[0][1:]
            assert result[-1]["car_kw"] == result[-1]["car_kwh"] == 0.0


def test_default_houses():
    for split in ("train", "validation", "test"):
        with_car, all_of_them = default_houses(split), default_houses(split, car=False)
        assert all(house.car and house.battery for house in with_car)
        assert all(house.battery for house in all_of_them)
        assert set(with_car) < set(all_of_them)
        off = make(split=split, car=False)
        assert len(off.simulation.scenario.houses) == len(all_of_them)
        assert not off.simulation.scenario.has_cars
        assert make(split=split).simulation.scenario.houses == with_car


@pytest.mark.parametrize("curtailment", ["automatic", "action"])
@pytest.mark.parametrize("action_map", ACTION_MAPS)
def test_a_mixed_pool_row_by_row(action_map, curtailment):
    """Cars that charge, that give and none: rows are single environments, bit for bit."""
    options = {
        "houses": (GIVING, NO_CAR, PLAIN),
        "action_map": action_map,
        "curtailment": curtailment,
        "prices": synthetic_prices(export="spot"),
    }
    batch = gym.make_vec(ID, num_envs=4, **options)
    singles = [make(**options) for _ in range(4)]
    obs, info = batch.reset(seed=70)
    starts = [env.reset(seed=70 + i) for i, env in enumerate(singles)]
    rng = np.random.default_rng(2)
    played, given = set(), 0
    for t in range(2 * 96 + 2):
        if t % 96 == 0:
            for i, (one, start) in enumerate(starts):
                assert np.array_equal(one, obs[i])
                assert start == {name: info[name][i] for name in start}
                played.add(start["house"])
        action = rng.uniform(-1.0, 1.0, batch.action_space.shape)
        obs, reward, _, _, info = batch.step(action)
        results = [env.step(action[i]) for i, env in enumerate(singles)]
        ended = t % 96 == 95
        final_obs, final = (info["final_obs"], info["final_info"]) if ended else (obs, info)
        missing = batch.unwrapped.missing_kwh
        for i, (one, single_reward, _, _, single_info) in enumerate(results):
            assert np.array_equal(one, final_obs[i])
            assert single_reward == reward[i]
            assert single_info == {name: final[name][i] for name in OUTCOME_NAMES}
            given += single_info["car_kw"] < -0.1
            if not ended:
                assert missing[i] == singles[i].simulation.missing_kwh[0]
                assert 0.1 * missing[i] == pytest.approx(
                    car_entries(singles[i], one)["car_energy_missing [10 kWh]"]
                )
        if ended:
            starts = [env.reset() for env in singles]
    assert played == {0, 1, 2}
    assert given > 0


def test_a_house_without_car_in_a_pool_with_cars():
    mixed, alone = make(houses=(PLAIN, NO_CAR), days=DAY), make(houses=NO_CAR, days=DAY)
    start = {"soc_kwh": 3.0}
    obs, info = mixed.reset(seed=3, options=start | {"house": 1})
    other, _ = alone.reset(seed=3, options=start)
    assert info["unreachable_kwh"] == 0.0
    assert mixed.simulation.action_names == ("battery", "car")
    rng = np.random.default_rng(4)
    for _ in range(96):
        assert np.array_equal(obs[:74], other)
        assert not obs[74:].any()
        battery, car = rng.uniform(-1.0, 1.0, 2)
        obs, *rest = mixed.step(np.array([battery, car]))
        other, *expected = alone.step(np.array([battery]))
        assert rest == expected


def test_own_sessions_from_a_file(tmp_path):
    """Houses take the file's cars in turn; a day that is not in the file has no visit."""
    begin = dt.datetime.combine(date(DAY), dt.time(6))

    def line(car, session):
        times = (begin + dt.timedelta(minutes=15 * k) for k in (session.arrival, session.departure))
        stamps = ",".join(time.isoformat() for time in times)
        return f"{car},{stamps},{session.arrival_kwh},{session.needed_kwh}"

    other = Session(3, 60, 1.0, 9.0)
    rows = [line("red", VISITS[0]), line("blue", other), line("red", VISITS[1])]
    path = tmp_path / "sessions.csv"
    path.write_text("\n".join(["car,arrival,departure,arrival_kwh,needed_kwh", *rows]) + "\n")
    sessions = load_sessions(path)
    env = make(houses=(PLAIN, GIVING, PLAIN), days=[DAY, DAY + 1], sessions=sessions)
    for house, expected in ((0, VISITS), (1, (other,)), (2, VISITS)):
        _, info = env.reset(seed=0, options={"house": house, "day": DAY})
        assert env.realised_series.sessions == env.forecast_series.sessions == expected
        reach = sum(env.house.car.unreachable_kwh(s) for s in expected)
        assert info["unreachable_kwh"] == pytest.approx(reach)
        there = [t for s in expected for t in range(s.arrival, s.departure)]
        ends = {s.departure: s.needed_kwh for s in expected}
        for t in range(96):
            *_, info = env.step(np.array([0.0, 0.7]))
            assert (info["car_kwh"] > 0.0) is (t in there)
            missed = max(ends.get(t + 1, 0.0) - info["car_kwh"], 0.0)
            assert info["missed_kwh"] == pytest.approx(missed, abs=1e-12)
        _, info = env.reset(seed=0, options={"house": house, "day": DAY + 1})
        assert env.realised_series.sessions == ()
        assert info["unreachable_kwh"] == 0.0


def test_unreachable_energy_is_told_at_reset():
    env = make(split="test", sessions=None)
    found = set()
    for seed in range(20):
        _, info = env.reset(seed=seed)
        sessions = env.realised_series.sessions
        assert sessions == synthetic_sessions(env.simulation.scenario.houses).of(
            info["house"], info["day"]
        )
        expected = sum(env.house.car.unreachable_kwh(s) for s in sessions)
        assert info["unreachable_kwh"] == pytest.approx(expected)
        found.add(len(sessions))
    assert found == {0, 1}


@pytest.mark.parametrize("action_map", ACTION_MAPS)
def test_what_the_program_plans_costs_what_it_says(action_map):
    """Perfect foresight of days with a car, played through the right inverse of the map."""
    spot = synthetic_prices(export="spot")
    charged = given = missed = 0.0
    for k, house in enumerate((PLAIN, GIVING, replace(GIVING, battery=None)) * 3):
        sessions = None if k % 3 else of_day(*VISITS)
        day = DAY if k % 3 == 0 else (37 * k) % 365
        env = make(
            houses=house, days=day, sessions=sessions, prices=spot if k % 2 else None,
            uncertainty="none", action_map=action_map,
        )  # fmt: skip
        _, info = env.reset(seed=k)
        plan = perfect_foresight(
            house, env.realised_series, soc_kwh=info["soc_kwh"],
            terminal_eur_per_kwh=env.terminal_eur_per_kwh,
        )  # fmt: skip
        cost = 0.0
        for battery, car in zip(plan.battery_kw, plan.car_kw, strict=True):
            action = env.simulation.action(np.array([battery]), car_kw=car)
            *_, info = env.step(action[0])
            assert info["car_kw"] == pytest.approx(car, abs=1e-9)
            cost += sum(info[name] for name in COST_TERMS)
            charged += max(info["car_kw"], 0.0)
            given -= min(info["car_kw"], 0.0)
            missed += info["missed_kwh"]
        assert cost == pytest.approx(plan.cost_eur, abs=1e-9)
    assert min(charged, given, missed) > 1.0


def test_powers_of_the_car_that_are_not_feasible_are_refused():
    env = make(houses=PLAIN, days=DAY, sessions=of_day(*VISITS), initial_soc=0.5)
    env.reset(seed=0)
    idle = np.zeros(1)
    for power in (7.1, -0.1, math.nan, math.inf):
        with pytest.raises(ActionError, match=r"car_kw .* in row 0; expected powers .* feasible"):
            env.simulation.action(idle, car_kw=power)
    with pytest.raises(ActionError, match=r"car_kw has shape \(2,\); expected \(\) or \(1,\)"):
        env.simulation.action(idle, car_kw=np.zeros(2))
    for action in ([0.0], [0.0, 1.5], [0.0, math.nan], [0.0, 0.0, 0.0]):
        with pytest.raises(ActionError):
            env.step(np.array(action))
    assert env.simulation.t == 0
    for _ in range(9):
        env.step(env.simulation.action(idle, car_kw=0.0)[0])
    with pytest.raises(ActionError, match="car_kw 1 in row 0"):
        env.simulation.action(idle, car_kw=1.0)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sessions": "sessions.csv"}, r"sessions is str; .*load_sessions\(path\)"),
        (
            {"sessions": of_day(Session(1, 5, 50.5, 20.0))},
            rf"house 0, day {DAY}: sessions\[0\] arrives with 50.5 kWh; .* 50 kWh",
        ),
        (
            {"houses": (NO_CAR, PLAIN), "sessions": of_day(Session(1, 5, 60.0, 20.0))},
            rf"house 1, day {DAY}: sessions\[0\] arrives with 60 kWh",
        ),
        ({"houses": (), "car": False}, "houses is empty"),
        ({"houses": (1,), "car": False}, r"houses\[0\] is 1"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(ScenarioError, match=match):
        HouseholdEnv(**({"houses": PLAIN, "days": DAY} | options))


def test_a_scenario_with_cars_wants_sessions():
    with pytest.raises(ScenarioError, match=r"sessions is None and there are houses with a car"):
        HouseholdScenario((PLAIN,), np.array([3]), synthetic_prices(), Uncertainty.named("none"))
