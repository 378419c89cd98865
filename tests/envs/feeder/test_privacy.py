"""What a house sees of the others: nothing but the voltage at its own bus."""

from dataclasses import replace

import numpy as np
import pytest

from flexgym.envs import Battery, Load, Session, feeder_v0
from flexgym.envs.data import Sessions
from flexgym.envs.feeder.observation import VOLTAGE
from flexgym.envs.feeder.params import SHARES, GridCosts
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.household.observation import observation_names

HOUSES, OTHER, DAYS = 8, 3, (40, 200)
COSTS = GridCosts(0.2, 2000.0, 5.0)


@pytest.fixture(scope="module")
def street(radial_net, make_house):
    """The function that makes a small feeder of eight houses; two of them share a bus."""
    net = radial_net(9)
    rng = np.random.default_rng(5)
    houses = [make_house(rng) for _ in range(HOUSES)]
    visits = [{day: (Session(40 + k, 92, 10.0, 24.0),) for day in DAYS} for k in range(HOUSES)]

    def make(house=None, sessions=None, initial_soc=0.3):
        changed = list(houses)
        changed[OTHER] = houses[OTHER] if house is None else house
        of_cars = list(visits)
        of_cars[OTHER] = visits[OTHER] if sessions is None else sessions
        return FeederScenario.from_pandapower(
            net, buses=[2, 3, 4, 5, 6, 7, 8, 5], houses=changed, days=DAYS,
            sessions=Sessions("own", tuple(of_cars)), initial_soc=initial_soc, costs=COSTS,
            band_pu=(0.99, 1.03),
        )  # fmt: skip

    return make


CHANGES = {
    "battery": {"battery": Battery(30.0, 15.0, 0.8, 0.8)},
    "no battery": {"battery": None},
    "roof": {"pv_kwp": 25.0, "inverter_kva": 25.0},
    "inverter": {"inverter_kva": 2.0},
    "load": {"load": Load("H0-G", 12e3, 3, tan_phi=0.4)},
    "connection": {"import_limit_kw": 2.0, "export_limit_kw": 1.0},
    "no car": {"car": None},
}


def play(scenario, *, seed=3, spoil=None, options=None, others=None, **settings):
    """A day of all houses: observations, rewards, infos, houses' infos and periods."""
    env = feeder_v0.parallel_env(scenario=scenario, **settings)
    observations, infos = env.reset(seed=seed, options=options)
    if spoil:
        spoil(env.simulation)
    seen = [(observations, None, infos, None, None)]
    rng = np.random.default_rng(0)
    for t in range(96):
        played = {a: rng.uniform(-1, 1, env.action_space(a).shape) for a in env.possible_agents}
        if others is not None:
            played[env.possible_agents[OTHER]] = others(t, env.action_space("").shape)
        observations, rewards, _, _, infos = env.step(played)
        own = {a: env.house_info(a) for a in env.possible_agents}
        seen.append((observations, rewards, infos, own, env.feeder_info))
    return env, seen


def compare(first, second, share, *, exact_voltage=False):
    """What houses but `OTHER` get to know is equal but for voltage and share; count changes."""
    env, one = first
    _, two = second
    voltage = env.observation_names.index(VOLTAGE)
    agents = [a for a in env.possible_agents if a != env.possible_agents[OTHER]]
    moved = {"voltage": 0, "share": 0}
    for a_moment, b_moment in zip(one, two, strict=True):
        for agent in agents:
            a, b = a_moment[0][agent].copy(), b_moment[0][agent].copy()
            moved["voltage"] += a[voltage] != b[voltage]
            a[voltage] = b[voltage] = 0.0
            np.testing.assert_array_equal(a, b)
            if a_moment[1] is None:
                assert a_moment[2][agent] == b_moment[2][agent]
                continue
            own, other = a_moment[3][agent].copy(), b_moment[3][agent].copy()
            for moment, info in ((a_moment, own), (b_moment, other)):
                expected = -info["cost_eur"] - info["grid_eur"]
                assert moment[1][agent] == pytest.approx(expected, abs=1e-12)
                if share == "common":
                    period = moment[4]
                    grid = period["loss_eur"] + period["voltage_eur"] + period["overload_eur"]
                    assert info["grid_eur"] == pytest.approx(grid / HOUSES, abs=1e-12)
            moved["share"] += own.pop("grid_eur") != other.pop("grid_eur")
            own.pop("voltage_pu")
            other.pop("voltage_pu")
            assert own == other
            # During the day a house is told nothing more; in the end the feeder's totals, which
            # are the same for all.
            assert set(a_moment[2][agent]) <= {"totals"}
            assert a_moment[2][agent] == a_moment[2][agents[0]]
    return moved


@pytest.fixture(scope="module")
def undisturbed(street):
    scenario, played = street(), {}

    def get(observation, share):
        key = observation, share
        if key not in played:
            played[key] = play(scenario, observation=observation, share=share)
        return played[key]

    return get


@pytest.mark.parametrize("observation", ["full", "compact"])
@pytest.mark.parametrize("change", CHANGES)
def test_another_house(street, undisturbed, observation, change):
    share = SHARES[list(CHANGES).index(change) % 3]
    base = street()
    other = street(house=replace(base.homes.houses[OTHER], **CHANGES[change]))
    second = play(other, observation=observation, share=share)
    moved = compare(undisturbed(observation, share), second, share)
    assert moved["voltage"] > 50  # the change was felt
    assert moved["share"] > 50


@pytest.mark.parametrize("observation", ["full", "compact"])
def test_another_houses_car(street, undisturbed, observation):
    none = dict.fromkeys(DAYS, ())
    twice = {day: (Session(1, 20, 5.0, 22.0), Session(50, 96, 2.0, 20.0)) for day in DAYS}
    for sessions in (none, twice):
        second = play(street(sessions=sessions), observation=observation, share="local")
        assert compare(undisturbed(observation, "local"), second, "local")["voltage"] > 50


@pytest.mark.parametrize("observation", ["full", "compact"])
@pytest.mark.parametrize("share", SHARES)
def test_another_houses_noise_charge_and_actions(street, undisturbed, observation, share):
    scenario, first = street(), undisturbed(observation, share)
    settings = {"observation": observation, "share": share}

    def noise(simulation):
        simulation.batch.load[:, :, OTHER] *= 3.0

    second = play(scenario, spoil=noise, **settings)
    assert compare(first, second, share)["share"] > 50

    soc = np.array([0.3 * house.battery.capacity_kwh for house in scenario.houses()])
    start = {"soc_kwh": soc}
    full = {"soc_kwh": np.where(np.arange(HOUSES) == OTHER, soc / 0.3, soc)}
    first_soc = play(scenario, options=start, **settings)
    second = play(scenario, options=full, **settings)
    assert compare(first_soc, second, share)["voltage"] > 5

    for action in (-1.0, 1.0):
        second = play(scenario, others=lambda t, shape, a=action: np.full(shape, a), **settings)
        assert compare(first, second, share)["voltage"] > 50


@pytest.mark.parametrize("observation", ["full", "compact"])
def test_reactive_power_and_curtailment_of_another_house(street, observation):
    scenario = street()
    settings = {
        "observation": observation, "share": "local", "curtailment": "action",
        "reactive": "action",
    }  # fmt: skip
    first = play(scenario, **settings)
    second = play(scenario, others=lambda t, shape: np.array([0.0, 0.0, -1.0, 1.0]), **settings)
    assert compare(first, second, "local")["voltage"] > 50


def test_other_rows_of_a_batch_are_not_seen(street, start):
    """Neither do the houses of another feeder matter, not even through a voltage."""
    scenario = street()
    for n in (2, 16):
        one, two = (start(scenario, n, observation="full", share="marginal") for _ in range(2))
        rng = np.random.default_rng(n)
        for _ in range(96):
            action = rng.uniform(-1, 1, (n, HOUSES, 2))
            one.step(action)
            action[1] = rng.uniform(-1, 1, (HOUSES, 2))
            two.step(action)
            np.testing.assert_array_equal(one.observe()[0], two.observe()[0])
            np.testing.assert_array_equal(one.reward_eur[0], two.reward_eur[0])
            assert not np.array_equal(one.observe()[1], two.observe()[1])


@pytest.mark.parametrize("kind", ["full", "compact"])
def test_names_list_nothing_of_others(street, kind):
    env = feeder_v0.parallel_env(scenario=street(), observation=kind)
    names = env.observation_names
    assert names.count(VOLTAGE) == 1
    assert len(set(names)) == len(names) == env.observation_space("house_0").shape[0]
    if kind == "full":
        assert set(names) - {VOLTAGE} == set(observation_names("full", cars=True))
    else:
        assert len(names) <= 6
    words = ("other", "neighbour", "feeder", "grid", "transformer", "line", "loading", "total")
    assert not [name for name in names for word in words if word in name.lower()]


@pytest.mark.parametrize("kind", ["full", "compact"])
def test_nothing_of_the_future_is_seen(street, kind):
    """Overwriting what is still to come changes nothing that is seen now."""
    one, two = (feeder_v0.parallel_env(scenario=street(), observation=kind) for _ in range(2))
    for env in (one, two):
        env.reset(seed=2)
    batch = two.simulation.batch
    batch.load[:, 41:] *= 2.0
    batch.shared[:, 41:] *= 0.5
    batch.state[:, 41:] = 0
    for t in range(42):
        a, b = (env.step({h: np.full(2, 0.3) for h in env.possible_agents}) for env in (one, two))
        same = all(np.array_equal(a[0][h], b[0][h]) for h in one.possible_agents)
        assert same == (t < 40)
        assert (a[1] == b[1]) == (t < 41)
