"""Appliances of a house: what they draw, when they must, and that money follows them."""

import copy
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import flexgym  # noqa: F401
from flexgym.envs import Appliance, Battery, Car, House
from flexgym.envs.errors import ActionError, HouseError, JobError, ScenarioError
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.household.dynamics import COST_TERMS
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.envs.household.simulation import HouseholdSimulation

ID = "flexgym/Household-v0"
PLAIN = House(Battery(8.0, 3.0), 5.0, 6.0, 12.0, 4.0, car=Car(7.0, 40.0))
WASHER = Appliance(6, 8, 40, 2.0)
BOILER = Appliance(10, 0, 96, 1.5, interruptible=True)
NONE_LEFT = Appliance(4, 20, 24, 0.7)
POOL = (
    replace(PLAIN, appliances=(WASHER, BOILER)),
    PLAIN,
    replace(PLAIN, appliances=(BOILER, WASHER, NONE_LEFT)),
    replace(PLAIN, appliances=(Appliance(0, 5, 5, 1.0),)),
)


def make(**options):
    return gym.make(ID, **({"houses": POOL} | options))


def played(env, seed, choose, **options):
    """Infos of a day; ``choose(t) -> action``."""
    env.reset(seed=seed, options=options)
    return [env.step(choose(t))[-1] for t in range(96)]


def wishes(t, devices, *wanted):
    return np.array([*devices, *(2.0 * np.array(wanted) - 1.0)])


def test_spaces_have_an_entry_for_each_slot():
    env = make()
    assert env.action_space.shape == (5,)
    simulation = env.unwrapped.simulation
    assert simulation.action_names[2:] == ("appliance_1", "appliance_2", "appliance_3")
    assert env.observation_space.shape == (len(simulation.observation_names),)
    assert simulation.observation_names[-1] == "appliance_3_power [kW]"
    with_pv = make(curtailment="action").unwrapped.simulation.action_names
    assert with_pv[2:4] == ("pv_used", "appliance_1")


@pytest.mark.parametrize("options", [{}, {"curtailment": "action"}, {"observation": "compact"}])
def test_gymnasium_checks_it(options):
    check_env(make(**options).unwrapped, skip_render_check=True)


def test_without_appliances_nothing_changes():
    plain = HouseholdSimulation(HouseholdScenario.create((PLAIN,) * 4, 3), 1)
    mixed = HouseholdSimulation(HouseholdScenario.create(POOL, 3), 1)
    assert plain.appliances is None
    assert mixed.observation_names[: len(plain.observation_names)] == plain.observation_names
    rngs = [np.random.default_rng(1)], [np.random.default_rng(1)]
    plain.begin(rngs[0], {"house": 1, "soc_kwh": 2.0})
    mixed.begin(rngs[1], {"house": 1, "soc_kwh": 2.0})
    rng = np.random.default_rng(0)
    for _ in range(96):
        action = rng.uniform(-1, 1, (1, 5))
        seen = mixed.observe()
        assert np.array_equal(seen[:, : -mixed.appliances.slots * 6], plain.observe())
        assert not seen[:, -mixed.appliances.slots * 6 :].any()
        assert np.array_equal(mixed.step(action), plain.step(action[:, :2]))
        assert not mixed.happened["appliance_kw"].any()
        assert plain.happened == {}


def test_power_comes_on_top_of_the_load():
    """A day with appliances costs what the same day costs with that much more load."""
    rng = np.random.default_rng(3)
    actions = rng.uniform(-1, 1, (96, 5))
    env = make(uncertainty="none")
    infos = played(env, 7, lambda t: actions[t], house=2, day=100, soc_kwh=4.0)
    extra = np.array([info["appliance_kw"] for info in infos])
    ran = np.array([info["appliances_ran"] for info in infos])
    np.testing.assert_array_equal(extra, ran @ [1.5, 2.0, 0.7])
    assert extra.sum() * 0.25 == pytest.approx((10 * 1.5 + 6 * 2.0 + 4 * 0.7) * 0.25)
    plain = gym.make(ID, houses=(PLAIN,) * 4, uncertainty="none")
    plain.reset(seed=7, options={"house": 2, "day": 100, "soc_kwh": 4.0})
    plain.unwrapped.simulation.episodes.exogenous[:, 0, 0] += extra
    for info, action in zip(infos, actions, strict=True):
        same = plain.step(action[:2])[-1]
        assert same == {name: info[name] for name in same}
        assert info["cost_eur"] == sum(info[term] for term in COST_TERMS)
    assert env.unwrapped.realised_series.load_kw.max() < extra.max()  # it holds no appliance


def test_a_wish_is_played_where_it_can_be_and_info_says_where_it_is_not():
    env = make(uncertainty="none")
    never = played(env, 0, lambda t: wishes(t, (0, 0), False, False, False), house=2)
    ran = np.array([info["appliances_ran"] for info in never])
    forced = np.array([info["appliances_forced"] for info in never])
    assert np.array_equal(ran, forced)
    assert np.flatnonzero(ran[:, 0]).tolist() == list(range(86, 96))
    assert np.flatnonzero(ran[:, 1]).tolist() == list(range(34, 40))
    assert np.flatnonzero(ran[:, 2]).tolist() == list(range(20, 24))
    always = played(env, 0, lambda t: wishes(t, (0, 0), True, True, True), house=2)
    ran = np.array([info["appliances_ran"] for info in always])
    assert np.flatnonzero(ran[:, 0]).tolist() == list(range(10))
    assert np.flatnonzero(ran[:, 1]).tolist() == list(range(8, 14))
    assert not np.any([info["appliances_forced"] for info in always])
    # Begun for one period only: the washer runs on, the boiler stops.
    once = played(env, 0, lambda t: wishes(t, (0, 0), t == 3, t == 9, False), house=2)
    ran = np.array([info["appliances_ran"] for info in once])
    assert np.flatnonzero(ran[:, 0]).tolist() == [3, *range(87, 96)]
    assert np.flatnonzero(ran[:, 1]).tolist() == list(range(9, 15))


def test_the_picture_has_room_for_them():
    env = make(render_mode="rgb_array")
    env.reset(seed=0, options={"house": 2})
    empty = env.render()
    for _ in range(20):
        env.step(wishes(0, (0, 0), True, True, True))
    assert env.render().shape == empty.shape == (720, 960, 3)
    assert not np.array_equal(env.render(), empty)


def test_observation_tells_what_is_left():
    env = make(observation="compact")
    first, _ = env.reset(seed=0, options={"house": 0})
    names = env.unwrapped.observation_names

    def seen(obs, what):
        return [96 * obs[names.index(f"appliance_{k}_{what} [day]")] for k in (1, 2, 3)]

    assert seen(first, "periods_left") == pytest.approx([6, 10, 0], abs=1e-5)
    assert seen(first, "time_to_window") == pytest.approx([8, 0, 0], abs=1e-5)
    assert seen(first, "slack") == pytest.approx([26, 86, 0], abs=1e-5)
    for t in range(10):
        obs, *_ = env.step(wishes(t, (0, 0), t == 9, t < 2, False))
    assert seen(obs, "periods_left") == pytest.approx([5, 8, 0], abs=1e-5)
    assert seen(obs, "slack") == pytest.approx([25, 78, 0], abs=1e-5)
    assert [obs[names.index(f"appliance_{k}_running [1]")] for k in (1, 2)] == [1.0, 0.0]
    assert [obs[names.index(f"appliance_{k}_power [kW]")] for k in (1, 2)] == [2.0, 1.5]
    assert [obs[names.index(f"appliance_{k}_interruptible [1]")] for k in (1, 2)] == [0.0, 1.0]


@pytest.mark.parametrize("options", [{}, {"observation": "compact", "curtailment": "action"}])
def test_rows_of_the_batch_are_single_environments(options):
    batch = gym.make_vec(ID, num_envs=4, houses=POOL, **options)
    singles = [make(**options) for _ in range(4)]
    obs, _ = batch.reset(seed=11)
    starts = [env.reset(seed=11 + i)[0] for i, env in enumerate(singles)]
    assert np.array_equal(obs, starts)
    rng = np.random.default_rng(0)
    for t in range(96 + 3):
        action = rng.uniform(-1.0, 1.0, batch.action_space.shape)
        obs, reward, done, _, info = batch.step(action)
        assert done.all() == (t == 95)
        final = info["final_info"] if t == 95 else info
        seen = info["final_obs"] if t == 95 else obs
        for i, env in enumerate(singles):
            one, earned, _, _, single = env.step(action[i])
            assert np.array_equal(one, seen[i])
            assert earned == reward[i]
            for name, value in single.items():
                assert np.array_equal(value, final[name][i]), name
                assert final[f"_{name}"].all()
        if t == 95:
            assert np.array_equal(obs, [env.reset()[0] for env in singles])


def test_a_copy_plays_on_alike():
    env = make()
    env.reset(seed=5, options={"house": 0})
    rng = np.random.default_rng(1)
    for _ in range(12):
        env.step(rng.uniform(-1, 1, 5))
    twin = copy.deepcopy(env)
    for _ in range(84):
        action = rng.uniform(-1, 1, 5)
        one, two = env.step(action), twin.step(action)
        assert np.array_equal(one[0], two[0])
        assert one[1] == two[1]


def test_powers_are_played_beside_the_chosen_appliances():
    scenario = HouseholdScenario.create(POOL, 100, uncertainty="none")
    simulation = HouseholdSimulation(scenario, 4, curtailment="action")
    simulation.begin([np.random.default_rng(i) for i in range(4)], {"house": [0, 1, 2, 3]})
    rng = np.random.default_rng(2)
    for _ in range(96):
        bare = simulation.episodes.exogenous[simulation.t]
        simulation.choose(rng.random((4, 3)) < 0.3)
        load = simulation.now[0]
        battery = np.minimum(0.1, simulation.episodes.rows[:, 0] - simulation.soc_kwh)
        outcome = simulation.step(simulation.action(battery))
        np.testing.assert_allclose(outcome[:, 0], battery, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(load, bare[0] + simulation.happened["appliance_kw"])
        balance = outcome[:, 4] + outcome[:, 5] - outcome[:, 0] - outcome[:, 1] + outcome[:, 2]
        np.testing.assert_allclose(balance, load, rtol=0, atol=1e-12)


def test_until_told_otherwise_they_start_at_once():
    scenario = HouseholdScenario.create(POOL[0], 100)
    simulation = HouseholdSimulation(scenario, 1)
    simulation.begin([np.random.default_rng(0)])
    ran = []
    for _ in range(96):
        simulation.step(simulation.action(np.zeros(1)))
        ran.append(simulation.happened["appliances_ran"][0])
    assert np.flatnonzero(np.array(ran)[:, 0]).tolist() == list(range(8, 14))
    assert np.flatnonzero(np.array(ran)[:, 1]).tolist() == list(range(10))


def test_a_bad_action_changes_nothing():
    env, twin = make(), make()
    for each in (env, twin):
        each.reset(seed=2, options={"house": 0})
    for place in range(5):
        for value in (np.nan, 1.5, -1.1, np.inf):
            action = np.zeros(5)
            action[place] = value
            with pytest.raises(ActionError, match=r"expected numbers in \[-1, 1\]"):
                env.step(action)
    with pytest.raises(ActionError, match="shape"):
        env.step(np.zeros(2))
    for _ in range(20):
        one, two = env.step(np.full(5, 0.3)), twin.step(np.full(5, 0.3))
        assert np.array_equal(one[0], two[0])
        assert one[1] == two[1]


def test_bad_input():
    with pytest.raises(JobError, match="at least as long as the job"):
        Appliance(5, 10, 14, 1.0)
    for wrong in ("no", 1, None):
        with pytest.raises(JobError, match="expected True or False"):
            Appliance(5, 10, 20, 1.0, interruptible=wrong)
    assert Appliance(5, 10, 20, 1.0, interruptible=np.bool_(True)).interruptible is True
    with pytest.raises(ScenarioError, match="deadline in period 97"):
        make(houses=replace(PLAIN, appliances=(Appliance(2, 0, 97, 1.0),)))
    with pytest.raises(HouseError, match=r"appliances\[1\] is 'kettle'"):
        replace(PLAIN, appliances=(WASHER, "kettle"))
    with pytest.raises(HouseError, match="expected a tuple"):
        replace(PLAIN, appliances=WASHER)
    simulation = HouseholdSimulation(HouseholdScenario.create(POOL, 3), 2)
    simulation.begin([np.random.default_rng(i) for i in range(2)])
    for wrong in (np.ones((2, 2), bool), np.ones((2, 3)), 1.0):
        with pytest.raises(ActionError, match="expected a truth value"):
            simulation.choose(wrong)


def test_the_feeder_takes_no_appliances():
    calm = FeederScenario.create("calm", draws=[0])
    houses = list(calm.homes.houses)
    houses[3] = replace(houses[3], appliances=(WASHER,))
    with pytest.raises(ScenarioError, match="appliances"):
        replace(calm, homes=replace(calm.homes, houses=tuple(houses)))
