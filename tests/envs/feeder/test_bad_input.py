"""Bad input is refused with a named error that says what to do."""

import datetime as dt
import math
import pickle
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pandapower
import pytest

import flexgym  # noqa: F401
from flexgym.envs import Load, Session, feeder_v0
from flexgym.envs.data import (
    Prices,
    Profiles,
    Sessions,
    load_profiles,
    load_profiles_csv,
    synthetic_prices,
)
from flexgym.envs.errors import (
    ActionError,
    FlexgymError,
    HouseError,
    NetworkError,
    PriceDataError,
    ProfileDataError,
    ResetNeededError,
    ScenarioError,
    SeriesError,
    StateError,
)
from flexgym.envs.feeder.env import FeederEnv
from flexgym.envs.feeder.params import GridCosts
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.feeder.vector_env import FeederVectorEnv, HouseRowsVectorEnv
from flexgym.envs.grid import Network


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"scenario": "calmer"}, "winter_evening"),
        ({"scenario": None}, "winter_evening"),
        ({"scenario": 3}, "winter_evening"),
        ({"split": "holdout"}, "validation"),
        ({"observation": "tiny"}, "compact"),
        ({"action_map": "linear"}, "plateau"),
        ({"curtailment": "never"}, "automatic"),
        ({"reactive": "free"}, "load"),
        ({"colour": "red"}, "colour"),
        ({"render_mode": "human"}, "rgb_array"),
        ({"draws": []}, "at least one"),
        ({"draws": [-1]}, "integer >= 0"),
        ({"draws": [0.5]}, "integer >= 0"),
        ({"days": []}, "days"),
        ({"days": [365]}, "364"),
        ({"days": [-1]}, "364"),
        ({"days": [1.5]}, "days"),
        ({"uncertainty": "fog"}, "markov"),
        ({"initial_soc": 1.5}, r"\[0, 1\]"),
        ({"initial_soc": math.nan}, r"\[0, 1\]"),
        ({"prices": "cheap"}, "prices"),
        ({"sessions": "often"}, "sessions"),
        ({"costs": 5.0}, "costs"),
    ],
)
def test_unknown_options(options, match):
    for make in (lambda **o: gym.make("flexgym/Feeder-v0", **o), feeder_v0.parallel_env):
        if "render_mode" in options and make is not feeder_v0.parallel_env:
            continue  # Gymnasium checks it first
        with pytest.raises(ScenarioError, match=match):
            make(**{"draws": [0], "days": [100], **options})


def test_options_of_agents_and_batches(mixed):
    for make in (feeder_v0.parallel_env, HouseRowsVectorEnv):
        with pytest.raises(ScenarioError, match="common, local, marginal"):
            make(scenario=mixed, share="fair")
    with pytest.raises(ScenarioError, match="direct"):
        feeder_v0.parallel_env(scenario=mixed, mode="menu of the day")
    for make in (FeederVectorEnv, HouseRowsVectorEnv):
        with pytest.raises(ScenarioError, match=">= 1"):
            make(0, scenario=mixed)
    with pytest.raises(ScenarioError, match="share"):
        FeederSimulation(mixed, 1, share="fair")
    batch = FeederVectorEnv(3, scenario=mixed)
    with pytest.raises(ScenarioError, match="2 seeds"):
        batch.reset(seed=[1, 2])


@pytest.mark.parametrize(
    "options", [{"draws": [1]}, {"days": [3]}, {"initial_soc": 0.5}, {"split": "test"},
                {"split": "holdout"}, {"costs": GridCosts()}]
)  # fmt: skip
def test_a_scenario_takes_no_options_beside_it(mixed, options):
    with pytest.raises(ScenarioError):
        FeederEnv(scenario=mixed, **options)


@pytest.mark.parametrize(
    "name", ["loss_eur_per_kwh", "voltage_eur_per_pu_h", "overload_eur_per_kwh"]
)
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "dear", None])
def test_penalties(name, value):
    with pytest.raises(ScenarioError, match=name):
        GridCosts(**{name: value})


@pytest.mark.parametrize("band", [(1.05, 0.95), (0.0, 1.1), (-0.9, 1.1), (1.0, 1.0),
                                  (0.9, 2.5), (math.nan, 1.1), (0.9, math.nan)])  # fmt: skip
def test_voltage_bands(mixed, band):
    with pytest.raises(ScenarioError, match="band_pu"):
        replace(mixed, band_pu=band)


@pytest.mark.parametrize("buses", [[], [-1, *range(20)], [18, *range(20)], [0.5] * 21, [[1, 2]],
                                   list(range(10))])  # fmt: skip
def test_places_of_houses(mixed, buses):
    with pytest.raises(ScenarioError, match="house"):
        replace(mixed, house_bus=np.array(buses))


def changed(before, after):
    """What differs between two saved states."""
    return [k for k in before if pickle.dumps(before[k]) != pickle.dumps(after[k])]


def bad_actions(shape):
    """Actions that do not fit a shape or leave [-1, 1], and what the error says."""
    zero = np.zeros(shape)
    for value in (1.0001, -1.5, math.nan, math.inf, -math.inf):
        for at in (0, zero.size - 1):
            action = zero.copy()
            action.flat[at] = value
            yield action, r"\[-1, 1\]"
    yield np.zeros((*shape, 1)), "shape"
    yield np.zeros(zero.size + 1), "shape"
    yield np.zeros(()), "shape"
    yield zero[:-1], "shape"
    if zero.ndim == 2:
        yield zero.T.copy(), "shape"
        yield zero.ravel(), "shape"
        yield np.zeros((shape[0] + 1, shape[1])), "shape"
        yield zero.reshape(-1, 2 * shape[1]), "shape"


@pytest.mark.parametrize("make", [FeederEnv, lambda **o: FeederVectorEnv(2, **o),
                                  lambda **o: FeederVectorEnv(16, **o),
                                  lambda **o: HouseRowsVectorEnv(2, **o)])  # fmt: skip
def test_actions(mixed, make):
    env = make(scenario=mixed)
    shape = env.action_space.shape
    with pytest.raises(ActionError, match="call reset first"):
        env.step(np.zeros(shape))
    env.reset(seed=0)
    env.step(np.zeros(shape))
    before = env.simulation.save()
    for action, match in bad_actions(shape):
        with pytest.raises(ActionError, match=match):
            env.step(action)
    after = env.simulation.save()
    assert changed(before, after) == []
    if make is FeederEnv:
        for _ in range(95):
            env.step(np.zeros(shape))
        with pytest.raises(ActionError, match="call reset first"):
            env.step(np.zeros(shape))


def test_actions_of_agents(mixed):
    env = feeder_v0.parallel_env(scenario=mixed)
    good = {agent: np.zeros(2) for agent in env.possible_agents}
    with pytest.raises(ActionError, match="call reset first"):
        env.step(good)
    env.reset(seed=0)
    before = env.simulation.save()
    last = env.possible_agents[-1]
    for bad in (
        {a: good[a] for a in env.possible_agents[:-1]},
        {**good, "house_99": np.zeros(2)},
        {**{a: good[a] for a in env.possible_agents[:-1]}, "house_99": np.zeros(2)},
        {**good, last: np.zeros(3)},
        {**good, last: np.zeros((1, 2))},
        {**good, last: 0.0},
        {**good, last: None},
        {**good, last: "left"},
        {**good, last: np.array([0.0, math.nan])},
        {**good, last: np.array([0.0, 1.01])},
        {a: np.zeros((2, 1)) for a in good},
        {},
        None,
        np.zeros((21, 2)),
    ):
        with pytest.raises(ActionError):
            env.step(bad)
    after = env.simulation.save()
    assert changed(before, after) == []
    while env.agents:
        env.step(good)
    with pytest.raises(ActionError, match="call reset first"):
        env.step(good)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"draw": 3}, ScenarioError),
        ({"draw": -1}, ScenarioError),
        ({"draw": 0.5}, ScenarioError),
        ({"draw": None}, ScenarioError),
        ({"draw": [0, 1, 2, 0, 1]}, ScenarioError),
        ({"day": 365}, ScenarioError),
        ({"day": -1}, ScenarioError),
        ({"day": "Monday"}, ScenarioError),
        ({"house": 0}, ScenarioError),
        ({"soc_kwh": -1.0}, StateError),
        ({"soc_kwh": 1e6}, StateError),
        ({"soc_kwh": math.nan}, StateError),
        ({"soc_kwh": np.zeros(20)}, StateError),
        ({"soc_kwh": np.zeros((5, 21))}, StateError),
    ],
)
@pytest.mark.parametrize("n", [2, 16])
def test_reset_options(mixed, options, error, n):
    """A refused reset leaves the day that runs as it is, or ends it; never half of each."""
    batch = FeederVectorEnv(n, scenario=mixed)
    batch.reset(seed=0)
    still = np.zeros(batch.action_space.shape)
    batch.step(still)
    before = batch.simulation.save()
    with pytest.raises(error):
        batch.reset(options=options)
    if batch.simulation.done:
        with pytest.raises(ActionError, match="call reset first"):
            batch.step(still)
        return
    after = batch.simulation.save()
    assert changed(before, after) == []


def test_states_of_others_are_not_restored(mixed, benchmark_scenario):
    env = FeederEnv(scenario=mixed)
    env.reset(seed=0)
    saved = env.save_state()
    calm, stress = benchmark_scenario("calm"), benchmark_scenario("stress")
    for other in (
        FeederEnv(scenario=calm),
        FeederVectorEnv(16, scenario=mixed),
        FeederEnv(scenario=mixed, observation="compact"),
        FeederEnv(scenario=mixed, curtailment="action"),
    ):
        with pytest.raises(StateError):
            other.restore_state(saved)
    with pytest.raises(StateError):
        env.restore_state({})
    # Much of it fits this one, which keeps more of its houses; it is left as it was.
    agents = feeder_v0.parallel_env(scenario=mixed)
    agents.reset(seed=1)
    before = agents.simulation.save()
    with pytest.raises(StateError):
        agents.restore_state(saved)
    after = agents.simulation.save()
    assert changed(before, after) == []
    env = FeederEnv(scenario=calm)
    env.reset(seed=0)
    with pytest.raises(StateError):  # same shapes, other scenario
        FeederEnv(scenario=stress).restore_state(env.save_state())


def test_before_the_first_episode(mixed):
    env = FeederEnv(scenario=mixed)
    with pytest.raises(ResetNeededError):
        _ = env.simulation.draw
    for adapter in (
        env,
        feeder_v0.parallel_env(scenario=mixed),
        FeederVectorEnv(2, scenario=mixed),
    ):
        with pytest.raises(ResetNeededError):
            adapter.save_state()
    simulation = FeederSimulation(mixed, 1)
    simulation.begin([np.random.default_rng(0)])
    with pytest.raises(FlexgymError, match="detail=True"):
        _ = simulation.outcome
    with pytest.raises(FlexgymError, match="share="):
        _ = simulation.reward_eur
    with pytest.raises(AttributeError, match="wrong_name"):
        _ = env.simulation.wrong_name


def damaged(radial_net, how):
    net = radial_net(8)
    if how == "mesh":
        pandapower.create_line(net, 2, 7, 0.1, "NAYY 4x150 SE")
    elif how == "island":
        net.line = net.line.drop(index=net.line.index[-1])
    elif how == "no slack":
        net.ext_grid = net.ext_grid.iloc[:0]
    elif how == "two slacks":
        pandapower.create_ext_grid(net, 4)
    elif how == "NaN length":
        net.line.loc[2, "length_km"] = math.nan
    elif how == "negative rating":
        net.line.loc[2, "max_i_ka"] = -0.1
    elif how == "negative transformer":
        net.trafo.loc[0, "sn_mva"] = -0.25
    elif how == "no impedance":
        net.line.loc[2, ["r_ohm_per_km", "x_ohm_per_km"]] = 0.0
    return net


@pytest.mark.parametrize(
    "how",
    ["mesh", "island", "no slack", "two slacks", "NaN length", "negative rating",
     "negative transformer", "no impedance"],
)  # fmt: skip
def test_networks(radial_net, how):
    with pytest.raises(NetworkError):
        FeederScenario.from_pandapower(damaged(radial_net, how), days=[100])


def test_own_grids(radial_net, make_house):
    net = radial_net(6)
    rng = np.random.default_rng(0)
    houses = [make_house(rng) for _ in range(4)]

    def make(**options):
        return FeederScenario.from_pandapower(net, **{"days": [100], **options})

    with pytest.raises(NetworkError, match=r"\[77\]"):
        make(buses=[2, 77])
    for wrong in (houses[:3], [*houses, houses[0]], []):
        with pytest.raises(ScenarioError, match="4 buses"):
            make(houses=wrong)
    with pytest.raises(ScenarioError, match="load in service"):
        make(buses=[])
    with pytest.raises(ScenarioError, match="H0-Z"):
        make(houses=[*houses[:3], replace(houses[3], load=Load("H0-Z"))])
    with pytest.raises(ScenarioError, match="House"):
        make(houses=[*houses[:3], "villa"])
    with pytest.raises(ScenarioError, match="winter_evening"):
        make(scenario="own")
    with pytest.raises(ScenarioError, match="at least one"):
        make(seeds=[])
    for wrong in (-30.0, math.nan):
        with pytest.raises(HouseError):
            replace(houses[0], import_limit_kw=wrong)
        with pytest.raises(NetworkError):
            Network.from_pandapower(net).with_transformer_rating(wrong)
    bare = radial_net(6)
    bare.load = bare.load.iloc[:0]
    with pytest.raises(ScenarioError, match="load in service"):
        FeederScenario.from_pandapower(bare)


def test_gaps_in_the_data(radial_net, make_house, tmp_path):
    net = radial_net(4)
    for wrong in (math.nan, -1.0, math.inf):
        with pytest.raises(SeriesError):
            Session(10, 20, wrong, 10.0)
    known = synthetic_prices()
    paid = known.import_eur_per_kwh.copy()
    paid[96 * 100 + 30] = math.nan
    with pytest.raises(PriceDataError):
        Prices(paid, known.export_eur_per_kwh, "half a gap")
    prices = Prices(paid, np.where(np.isnan(paid), paid, known.export_eur_per_kwh), "gap")
    with pytest.raises(ScenarioError, match="do not cover day 100"):
        FeederScenario.from_pandapower(net, days=[99, 100], prices=prices)
    covered = FeederScenario.from_pandapower(net, prices=prices)
    assert 100 not in covered.homes.days
    with pytest.raises(ScenarioError, match="day"):
        FeederEnv(scenario=covered).reset(seed=0, options={"day": 100})
    full = Sessions("own", ({100: (Session(10, 90, 70.0, 75.0),)},))
    houses = [make_house(np.random.default_rng(0)) for _ in range(2)]
    with pytest.raises(ScenarioError, match="day 100"):  # arrives with more than it holds
        FeederScenario.from_pandapower(net, houses=houses, days=[100], sessions=full)
    path = tmp_path / "profiles.csv"
    path.write_text("time,pv,house\n2016-01-01 00:00,0,nan\n")
    with pytest.raises(ProfileDataError):
        load_profiles_csv(path)


@pytest.mark.parametrize("what", ["load", "pv"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_profiles_with_gaps(radial_net, what, value):
    """Profiles made by hand, without `load_profiles_csv`, are looked at too."""
    shipped = load_profiles()
    load, pv = {name: row.copy() for name, row in shipped.load.items()}, shipped.pv.copy()
    (pv if what == "pv" else load["H0-A"])[5000:5004] = value
    with pytest.raises(FlexgymError):
        FeederScenario.from_pandapower(radial_net(4), profiles=Profiles(load, pv, shipped.start))


def test_profiles_of_another_length(radial_net):
    shipped = load_profiles()
    short = {name: row[:35040] for name, row in shipped.load.items()}
    for load, pv in ((short, shipped.pv), (shipped.load, shipped.pv[:-4]), (short, short["H0-A"])):
        with pytest.raises(FlexgymError):
            FeederScenario.from_pandapower(
                radial_net(4), profiles=Profiles(load, pv, dt.datetime(2016, 1, 1))
            )
