"""The scenarios of the benchmark, and grids, houses and profiles of one's own."""

import datetime as dt
import math

import numpy as np
import pytest

from flexgym.envs import Load
from flexgym.envs.data import (
    HOUSE_SEEDS,
    SCENARIOS,
    Profiles,
    date,
    feeder43,
    load_profiles,
    load_profiles_csv,
    split_days,
    synthetic_prices,
)
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.params import GridCosts
from flexgym.envs.feeder.scenario import INITIAL_SOC, TAN_PHI, FeederScenario
from flexgym.envs.feeder.vector_env import FeederVectorEnv

COLUMN = {name: k for k, name in enumerate(FEEDER_NAMES)}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_scenarios(name, benchmark_scenario, start):
    scenario, ranges = benchmark_scenario(name), SCENARIOS[name]
    assert (scenario.n_houses, scenario.draws, scenario.name) == (43, 2, name)
    assert scenario.network.slack_pu == ranges.slack_pu
    assert scenario.network.trafo_rating_kva.tolist() == [ranges.transformer_kva]
    assert scenario.band_pu == ranges.voltage_band_pu
    assert {date(day).month for day in scenario.homes.days.tolist()} <= set(ranges.months)
    names = scenario.network.bus_name
    assert len(set(scenario.house_bus.tolist())) == 43
    for draw in range(2):
        houses = scenario.houses(draw)
        assert [house.bus for house in houses] == [names[k] for k in scenario.house_bus]
        tan_phi = np.array([house.load.tan_phi for house in houses])
        assert TAN_PHI[0] <= tan_phi.min() < tan_phi.max() <= TAN_PHI[1]
        assert len(set(tan_phi)) == 43
        for house, plain in zip(houses, feeder43(draw, name), strict=True):
            assert (house.battery, house.car, house.pv_kwp) == (
                plain.battery, plain.car, plain.pv_kwp
            )  # fmt: skip
    simulation = start(scenario, 8)
    capacity = np.array([
        [h.battery.capacity_kwh if h.battery else 0.0 for h in scenario.houses(int(d))]
        for d in simulation.draw
    ])  # fmt: skip
    np.testing.assert_allclose(simulation.soc_kwh, INITIAL_SOC * capacity, rtol=1e-12)
    assert (simulation.house_v_pu > 0.8).all()


def test_draws_differ_and_are_repeatable():
    one, again, other = (
        FeederScenario.create("winter_evening", draws=[seed], days=[10]) for seed in (4, 4, 5)
    )
    assert one.houses() == again.houses()
    for a, b in zip(one.houses(), other.houses(), strict=True):
        assert a.load.tan_phi != b.load.tan_phi
        assert a.pv_kwp != b.pv_kwp
    both = FeederScenario.create("winter_evening", draws=[5, 4], days=[10])
    assert both.houses(0) == other.houses()
    assert both.houses(1) == one.houses()


def test_every_draw_and_day_is_played(mixed):
    batch = FeederVectorEnv(40, scenario=mixed)
    draws, days = set(), set()
    for seed in range(0, 200, 40):
        _, info = batch.reset(seed=seed)
        draws |= set(info["draw"].tolist())
        days |= set(info["day"].tolist())
    assert draws == {0, 1, 2}
    assert days == set(mixed.homes.days.tolist())


def test_splits_share_neither_days_nor_houses():
    found = {}
    for split in HOUSE_SEEDS:
        scenario = FeederScenario.create("stress", split)
        days = set(scenario.homes.days.tolist())
        assert days == set(split_days(split, months=SCENARIOS["stress"].months).tolist())
        found[split] = (days, set(scenario.homes.houses))
        assert scenario.draws >= 4
        assert len(days) > 5
    for a, b in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not found[a][0] & found[b][0]
        assert not found[a][1] & found[b][1]


def test_options_of_the_benchmark(benchmark_scenario):
    costs = GridCosts(0.0, 1.0, 2.0)
    prices = synthetic_prices(spread=0.3)
    scenario = FeederScenario.create(
        "calm", "test", draws=[2001], days=(100, 101), prices=prices, uncertainty="none",
        initial_soc=None, costs=costs,
    )  # fmt: skip
    assert scenario.costs == costs
    assert scenario.homes.prices is prices
    assert scenario.homes.days.tolist() == [100, 101]
    assert scenario.homes.initial_soc is None
    assert scenario.homes.uncertainty.n_states == 1
    assert FeederScenario.create(scenario) is scenario
    calm = benchmark_scenario("calm")
    with pytest.raises(ScenarioError, match="one or the other"):
        FeederScenario.create(calm, days=[1])


def test_without_uncertainty_the_forecast_happens(start):
    scenario = FeederScenario.create("calm", draws=[0], days=[100], uncertainty="none")
    simulation = start(scenario, 2)
    forecast = scenario.homes.forecast(np.arange(43), np.full(43, 100))
    np.testing.assert_array_equal(simulation.load[:, 0], forecast[:, 0])
    np.testing.assert_array_equal(simulation.shared[:, 2, 1], forecast[:, 2, 0])
    np.testing.assert_array_equal(simulation.shared[:, 1], np.ones((96, 2)))
    np.testing.assert_array_equal(simulation.load[:, 0], simulation.load[:, 1])


def play(simulation, seed=0):
    """A day of random actions; the totals of each feeder."""
    rng = np.random.default_rng(seed)
    shape = (simulation.n, simulation.scenario.n_houses, len(simulation.action_names))
    while not simulation.done:
        simulation.step(rng.uniform(-1, 1, shape))
    return simulation.episode


@pytest.mark.parametrize("buses", [3, 15, 64, 128])
@pytest.mark.parametrize("n", [1, 16])
def test_own_grids(radial_net, start, buses, n):
    net = radial_net(buses, kind="0.63 MVA 20/0.4 kV", length_km=0.01, seed=buses)
    scenario = FeederScenario.from_pandapower(net, name="mine", days=[40, 150], seeds=(3, 4))
    assert scenario.n_houses == buses - 2  # one on every bus with a load
    assert scenario.draws == 2
    assert scenario.network.slack_pu == 1.02
    simulation = start(scenario, n, detail=True)
    totals = play(simulation)
    assert np.isfinite(totals).all()
    assert not totals[:, COLUMN["collapses"]].any()
    houses = simulation.outcome[:, :, 4].sum(axis=1)
    losses = simulation.period[:, COLUMN["loss_kwh"]] / 0.25
    np.testing.assert_allclose(
        simulation.period[:, COLUMN["grid_kw"]], houses + losses, rtol=0, atol=1e-9
    )


def test_every_bus_and_several_houses_on_one(radial_net, start):
    net = radial_net(15)
    every = FeederScenario.from_pandapower(net, buses=net.bus.index, days=[150])
    assert every.n_houses == 15
    assert every.house_bus.tolist() == list(range(15))
    simulation = start(every, 1)
    play(simulation)
    # The house at the external grid sees its voltage, whatever happens.
    assert simulation.house_v_pu[0, 0] == pytest.approx(1.02, abs=1e-12)
    shared = FeederScenario.from_pandapower(net, buses=[5] * 3 + [9] * 40, days=[150])
    assert shared.n_houses == 43
    assert len(set(shared.houses())) == 43
    simulation = start(shared, 2, detail=True, share="local")
    play(simulation)
    v = simulation.house_v_pu
    assert (v[:, :3] == v[:, :1]).all()
    assert (v[:, 3:] == v[:, 3:4]).all()
    # Seven houses of one bus behave as one that draws their sum.
    split = FeederScenario.from_pandapower(
        net, buses=[9, 9, 9], houses=shared.houses()[:3], days=[150], uncertainty="none"
    )
    swapped = FeederScenario.from_pandapower(
        net, buses=[9, 9, 9], houses=shared.houses()[:3][::-1], days=[150], uncertainty="none"
    )
    one, two = (start(s, 1, options={"soc_kwh": 0.0}) for s in (split, swapped))
    for _ in range(96):
        one.step(np.full((1, 3, 2), 0.4))
        two.step(np.full((1, 3, 2), 0.4))
        np.testing.assert_allclose(one.cost_eur, two.cost_eur, rtol=0, atol=1e-9)


def write_profiles(path, columns):
    """A year of quarter-hours in kW; the sun shines from 8 to 16."""
    begin, quarter = dt.datetime(2016, 1, 1), dt.timedelta(minutes=15)
    lines = [",".join(("time", "pv", *columns))]
    for k in range(35136):
        at = begin + k * quarter
        pv = max(0.0, math.sin(math.pi * (at.hour + at.minute / 60 - 8) / 8)) * (8 <= at.hour < 16)
        values = (f"{f(at):.4f}" for f in columns.values())
        lines.append(",".join((at.strftime("%Y-%m-%d %H:%M"), f"{3 * pv:.4f}", *values)))
    path.write_text("\n".join(lines) + "\n")


def test_own_profiles(tmp_path, radial_net, make_house, start):
    path = tmp_path / "profiles.csv"
    flat, evening = (lambda at: 0.5), (lambda at: 2.0 if at.hour >= 18 else 0.0)
    write_profiles(path, {"flat": flat, "evening": evening})
    profiles = load_profiles_csv(path)
    net = radial_net(15)
    rng = np.random.default_rng(0)
    houses = [
        make_house(
            rng, battery=None, car=None, pv_kwp=4.0,
            load=Load(name, profiles.energy_kwh[name], tan_phi=0.0),
        )
        for name in ["flat"] * 7 + ["evening"] * 6
    ]  # fmt: skip
    scenario = FeederScenario.from_pandapower(
        net, houses=houses, profiles=profiles, days=[60, 180], uncertainty="none"
    )
    for n in (1, 16):
        simulation = start(scenario, n, detail=True)
        assert simulation.action_names == ("battery",)
        np.testing.assert_allclose(simulation.load[:, 0, 0], 0.5, atol=1e-3)
        late = simulation.load[:, n - 1, 12]
        np.testing.assert_allclose(late[4 * 12 : 4 * 18], 2.0, atol=1e-3)  # 18:00 to 24:00
        assert not late[: 4 * 12].any()
        assert not late[4 * 18 :].any()
        play(simulation)
        expected = 7 * 0.5 * 24 + 6 * 2.0 * 6
        used = simulation.load.sum(axis=(0, 2)) * 0.25
        np.testing.assert_allclose(used, expected, rtol=1e-3)
    drawn = FeederScenario.from_pandapower(net, profiles=profiles, days=[60])
    assert {house.load.profile for house in drawn.houses()} == {"flat", "evening"}


def test_profiles_are_those_given(radial_net, start):
    shipped = load_profiles()
    only = Profiles({"mine": shipped.load["H0-B"]}, shipped.pv, shipped.start)
    net = radial_net(15)
    mine = FeederScenario.from_pandapower(net, profiles=only, days=[60], seeds=[2])
    assert {house.load.profile for house in mine.houses()} == {"mine"}
    dark = Profiles({"mine": shipped.load["H0-B"]}, 0.0 * shipped.pv, shipped.start)
    dark = FeederScenario.from_pandapower(net, profiles=dark, days=[60], seeds=[2])
    light = FeederScenario.from_pandapower(net, profiles=only, days=[60], seeds=[2])
    simulations = [start(s, 1, detail=True) for s in (dark, light)]
    sold = [play(simulation)[0, COLUMN["export_eur"]] for simulation in simulations]
    assert sold[1] < sold[0] <= 0.0


def test_a_year_without_end(radial_net, start):
    """Houses that live later than their profile, on the first and the last days of the year."""
    net = radial_net(6)
    seeds = (0, 1)
    scenario = FeederScenario.from_pandapower(
        net, scenario="winter_evening", days=[0, 1, 363, 364], seeds=seeds
    )
    for day in (0, 364):
        simulation = start(scenario, 2, options={"day": day, "draw": [0, 1]})
        index = np.arange(8)
        forecast = scenario.homes.forecast(index, np.full(8, day))
        noise = simulation.load.reshape(96, -1) / forecast[:, 0]
        # Rounding aside the noise takes its three values: no house reads another's profile.
        factors = np.array(scenario.homes.uncertainty.load_factors)
        assert np.abs(noise[..., None] - factors).min(axis=-1).max() < 1e-12
        assert np.isfinite(play(simulation)).all()
