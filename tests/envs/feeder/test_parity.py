"""The houses are those of the household environment, the grid is pandapower's."""

import copy
import math

import numpy as np
import pandapower
import pytest
from gymnasium.utils import seeding

from flexgym.envs.data import SCENARIOS, load_grid
from flexgym.envs.feeder import lanes
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.homes import homes_of
from flexgym.envs.household.dynamics import OUTCOME_NAMES
from flexgym.envs.household.observation import observation_names
from flexgym.envs.household.simulation import HouseholdSimulation

COLUMN = {name: k for k, name in enumerate(OUTCOME_NAMES)}
SETTINGS = [
    (1, {"action_map": "plateau"}),
    (5, {"action_map": "knots", "curtailment": "action", "reactive": "action"}),
    (16, {"action_map": "range", "curtailment": "action"}),
    (33, {"action_map": "rating", "reactive": "action"}),
    (7, {"action_map": "plateau", "curtailment": "action", "reactive": "action"}),
    (8, {"action_map": "knots"}),
]


def copied(homes):
    """The houses with energies of their own, so that stepping them moves nothing else."""
    homes.soc_kwh, homes.car_kwh = homes.soc_kwh.copy(), homes.car_kwh.copy()
    return homes


def random_actions(rng, simulation):
    """Actions everywhere in [-1, 1], the ends and kinks included, shape (n, H, a)."""
    shape = (simulation.n, simulation.scenario.n_houses, len(simulation.action_names))
    special = rng.choice([-1.0, -0.5, -0.2, 0.0, 1 / 3, 1.0], shape)
    return np.where(rng.random(shape) < 0.3, special, rng.uniform(-1.0, 1.0, shape))


def scenario_of(name, mixed, benchmark_scenario):
    return mixed if name == "mixed" else benchmark_scenario(name)


@pytest.mark.parametrize(
    ("name", "n", "settings"),
    [("mixed", *one) for one in SETTINGS]
    + [("stress", *one) for one in SETTINGS[:4]]
    + [("calm", *one) for one in SETTINGS[2:4]],
)
def test_a_day_of_every_house(name, n, settings, mixed, benchmark_scenario, start):
    scenario = scenario_of(name, mixed, benchmark_scenario)
    simulation = start(scenario, n, seed=17, detail=True, observation="full", **settings)
    count, rng = scenario.n_houses, np.random.default_rng(n)
    homes = copied(homes_of(simulation))
    own = [k for k, name in enumerate(simulation.action_names) if name != "reactive"]
    assert tuple(simulation.action_names[k] for k in own) == homes.action_names
    compact = observation_names("compact", cars=True)
    entries = [simulation.observation_names.index(name) for name in compact]
    seen = {"visits": 0, "missed": 0, "unserved": 0, "curtailed": 0}
    for t in range(96):
        observed = simulation.observe().reshape(n * count, -1)
        np.testing.assert_array_equal(observed[:, entries], homes.observe())
        missing = simulation.missing_kwh.ravel()
        np.testing.assert_allclose(missing, homes.missing_kwh, rtol=0, atol=1e-12)
        action = random_actions(rng, simulation)
        simulation.step(action)
        expected = homes.step(action[:, :, own].reshape(n * count, -1))
        got = simulation.outcome.reshape(n * count, -1)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12, err_msg=f"period {t}")
        np.testing.assert_allclose(simulation.soc_kwh.ravel(), homes.soc_kwh, atol=1e-12)
        np.testing.assert_allclose(simulation.car_kwh.ravel(), homes.car_kwh, atol=1e-12)
        seen["visits"] += (got[:, COLUMN["car_kwh"]] > 0).sum()
        seen["missed"] += (got[:, COLUMN["missed_kwh"]] > 0).sum()
        seen["unserved"] += (got[:, COLUMN["unserved_kw"]] > 0).sum()
        seen["curtailed"] += (got[:, COLUMN["curtailed_kw"]] > 1e-9).sum()
    assert simulation.done
    assert homes.done
    assert seen["visits"] > 0
    if name == "mixed":
        assert min(seen.values()) > 0


@pytest.mark.parametrize("n", [1, 16])
def test_houses_of_a_feeder_can_be_played_without_moving_it(n, mixed, start):
    simulation = start(mixed, n)
    before = simulation.soc_kwh.copy(), simulation.car_kwh.copy()
    homes = homes_of(simulation)
    for _ in range(40):
        homes.step(np.ones((homes.n, 2)))
    np.testing.assert_array_equal(simulation.soc_kwh, before[0])
    np.testing.assert_array_equal(simulation.car_kwh, before[1])


@pytest.mark.parametrize("n", [1, 3, 16, 21])
def test_what_happens_is_what_the_house_scenario_draws(n, mixed, benchmark_scenario, start):
    """The feeder's uniform numbers, dealt out to single houses."""
    for scenario in (mixed, benchmark_scenario("winter_evening")):
        homes, count, T = scenario.homes, scenario.n_houses, 96
        simulation = start(scenario, n, seed=5)
        for i in range(n):
            rng = seeding.np_random(5 + i)[0]
            u = rng.random(2 + count + 2 * T)
            raw = rng.bit_generator.random_raw(-(-count * T // 4)).astype("<u8")
            noise = raw.view("<u2")[: count * T].reshape(count, T)
            draw, day = int(u[0] * scenario.draws), homes.days[int(u[1] * len(homes.days))]
            assert (simulation.draw[i], simulation.day[i]) == (draw, day)
            rows = np.zeros((count, 3 + 3 * T))
            rows[:, 2] = u[2 : 2 + count]
            rows[:, 3::3], rows[:, 4::3] = u[2 + count :: 2], u[3 + count :: 2]
            rows[:, 5::3] = (noise + 0.5) / 65536
            house = draw * count + np.arange(count)
            expected = homes.draw(rows, house, np.full(count, day))
            mine = homes_of(simulation).episodes
            part = slice(i * count, (i + 1) * count)
            np.testing.assert_array_equal(mine.house[part], house)
            np.testing.assert_array_equal(mine.exogenous[:, :, part], expected.exogenous)
            np.testing.assert_array_equal(mine.state[:, part], expected.state)
            np.testing.assert_array_equal(mine.forecast[:, :, part], expected.forecast)
            np.testing.assert_array_equal(mine.visits[:, :, part], expected.visits)
            np.testing.assert_array_equal(simulation.load[:, i], expected.exogenous[:, 0])
            terminal = simulation.terminal_eur_per_kwh[i]
            np.testing.assert_array_equal(terminal, expected.terminal_price)
            np.testing.assert_array_equal(simulation.soc_kwh[i], expected.soc_kwh)
            for h in (0, count - 1):
                series, pay = homes.forecast_series(int(house[h]), int(day))
                np.testing.assert_array_equal(series.load_kw, mine.forecast[:, 0, part.start + h])
                assert pay == terminal[h]


@pytest.mark.parametrize("n", [2, 16])
def test_measurements_are_those_of_the_period(n, mixed, start):
    """What the lanes hold is what the house environment measures, day after day."""
    simulation = start(mixed, n, seed=1)
    rngs = [np.random.default_rng(i) for i in range(n)]
    for _ in range(3):
        homes = homes_of(simulation)
        for t in range(96):
            got = simulation.measured.reshape(4, -1)
            expected = homes.episodes.exogenous[t]
            np.testing.assert_allclose(got, expected, rtol=1e-15, atol=0)
            simulation.step(np.zeros((n, mixed.n_houses, 2)))
        simulation.begin(rngs)


def inverters_kvar(house, battery_kw, pv_used_kw):
    """Most reactive power of a house's inverters, from its ratings alone."""
    most = 0.0
    hybrid = house.inverter == "hybrid"
    roof = house.inverter_kva
    if math.isfinite(roof) and (house.pv_kwp > 0 or (hybrid and house.battery)):
        through = battery_kw - pv_used_kw if hybrid else pv_used_kw
        most = math.sqrt(max(0.0, roof**2 - through**2))
        if house.min_power_factor is not None:
            most = min(most, math.tan(math.acos(house.min_power_factor)) * pv_used_kw)
    if not hybrid and house.battery:
        rating = house.battery_inverter_kva
        rating = house.battery.power_kw if rating is None else rating
        if math.isfinite(rating):
            most += math.sqrt(max(0.0, rating**2 - battery_kw**2))
    return most


def expected_powers(simulation, t, i, action):
    """Active and reactive power of each house of feeder i in the period t just played."""
    outcome, load = simulation.outcome[i], simulation.load[t, i]
    houses = simulation.scenario.houses(int(simulation.draw[i]))
    p, q = outcome[:, COLUMN["meter_kw"]], np.zeros(len(houses))
    for h, house in enumerate(houses):
        happened = dict(zip(OUTCOME_NAMES, outcome[h], strict=True))
        q[h] = house.load.tan_phi * (load[h] - happened["unserved_kw"])
        if "reactive" in simulation.action_names:
            most = inverters_kvar(house, happened["battery_kw"], happened["pv_used_kw"])
            q[h] += action[i, h, -1] * most
    return p, q


@pytest.mark.parametrize("name", ["mixed", "stress"])
@pytest.mark.parametrize("reactive", ["load", "action"])
@pytest.mark.parametrize("n", [2, 16])
def test_reactive_power_of_every_house(name, reactive, n, mixed, benchmark_scenario, start):
    scenario = scenario_of(name, mixed, benchmark_scenario)
    simulation = start(scenario, n, seed=3, detail=True, reactive=reactive)
    rng = np.random.default_rng(n)
    for t in range(96):
        action = random_actions(rng, simulation)
        simulation.step(action)
        got = simulation.of_houses(lanes.Q_KVAR)
        for i in range(0, n, 5):
            _, q = expected_powers(simulation, t, i, action)
            np.testing.assert_allclose(got[i], q, atol=1e-9, err_msg=f"period {t}")


def grid_of(name, scenario, radial_net):
    """The scenario's pandapower net without loads, and its transformer's rating in it, kVA."""
    if name == "mixed":
        net = radial_net(18)
    else:
        net = load_grid()
        net.ext_grid["vm_pu"] = SCENARIOS[name].slack_pu
    for table in ("load", "sgen", "storage"):
        net[table] = net[table].iloc[:0]
    pandapower.create_loads(net, scenario.network.bus_index, p_mw=0.0, q_mvar=0.0)
    return net, 1e3 * float(net.trafo.sn_mva.iloc[0])


@pytest.mark.parametrize("name", ["mixed", "stress", "winter_evening", "summer_midday", "calm"])
def test_the_grid_is_pandapowers(name, mixed, benchmark_scenario, radial_net, start):
    scenario = scenario_of(name, mixed, benchmark_scenario)
    network = scenario.network
    net, rating = grid_of(name, scenario, radial_net)
    allowed = rating if name == "mixed" else SCENARIOS[name].transformer_kva
    rng = np.random.default_rng(2)
    for n, reactive in ((1, "load"), (17, "action")):
        simulation = start(scenario, n, seed=8, detail=True, reactive=reactive)
        chosen = set(rng.choice(96, 3, replace=False).tolist())
        for t in range(96):
            action = random_actions(rng, simulation)
            simulation.step(action)
            if t not in chosen:
                continue
            for i in {0, n - 1}:
                p, _ = expected_powers(simulation, t, i, action)
                q = simulation.of_houses(lanes.Q_KVAR)[i]
                powers = np.zeros((2, network.n_bus))
                np.add.at(powers[0], scenario.house_bus, p)
                np.add.at(powers[1], scenario.house_bus, q)
                net.load["p_mw"], net.load["q_mvar"] = powers / 1e3
                pandapower.runpp(net, tolerance_mva=1e-10, max_iteration=30, numba=False)
                check(simulation, i, net, network, rating / allowed, p.sum())


def check(simulation, i, net, network, trafo_factor, houses_kw):
    v = net.res_bus.vm_pu.loc[network.bus_index].to_numpy()
    np.testing.assert_allclose(simulation.v_pu[i], v, rtol=0, atol=1e-8)
    at_houses = v[simulation.scenario.house_bus]
    np.testing.assert_allclose(simulation.house_v_pu[i], at_houses, rtol=0, atol=1e-8)
    line = net.res_line.loading_percent.loc[network.line_index]
    np.testing.assert_allclose(simulation.line_loading_percent[i], line, rtol=0, atol=1e-6)
    trafo = net.res_trafo.loading_percent.loc[network.trafo_index] * trafo_factor
    np.testing.assert_allclose(simulation.trafo_loading_percent[i], trafo, rtol=0, atol=1e-6)
    period = dict(zip(FEEDER_NAMES, simulation.period[i], strict=True))
    losses = 1e3 * (net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum())
    assert period["loss_kwh"] == pytest.approx(0.25 * losses, abs=1e-5)
    assert period["grid_kw"] == pytest.approx(1e3 * net.res_ext_grid.p_mw.sum(), abs=1e-4)
    assert period["grid_kw"] == pytest.approx(houses_kw + period["loss_kwh"] / 0.25, abs=1e-9)
    assert period["line_percent"] == pytest.approx(line.max(), abs=1e-6)
    assert period["trafo_percent"] == pytest.approx(trafo.max(), abs=1e-6)
    free = np.delete(v, network.slack_column)
    assert period["highest_pu"] == pytest.approx(free.max(), abs=1e-8)
    assert period["lowest_pu"] == pytest.approx(free.min(), abs=1e-8)


@pytest.mark.parametrize("n", [1, 16])
def test_the_day_begins_with_the_voltages_of_idle_houses(n, mixed, start):
    """The first voltage a house sees is that of everybody's batteries and cars at rest."""
    simulation = start(mixed, n, seed=4, detail=True)
    seen = simulation.house_v_pu.copy()
    homes = homes_of(simulation)
    rest = HouseholdSimulation(mixed.homes, homes.n, action_map="rating")
    rest.episodes, rest.t = homes.episodes, 0
    rest.soc_kwh, rest.car_kwh = homes.soc_kwh.copy(), homes.car_kwh.copy()
    simulation = start(mixed, n, seed=4, detail=True, action_map="rating")
    simulation.step(np.zeros((n, mixed.n_houses, 2)))
    idle = rest.step(np.zeros((homes.n, 2)))
    np.testing.assert_array_equal(simulation.outcome.reshape(homes.n, -1), idle)
    still = (idle[:, COLUMN["battery_kw"]] == 0.0).reshape(n, -1).all(axis=1)
    assert still.any()
    np.testing.assert_allclose(seen[still], simulation.house_v_pu[still], rtol=0, atol=1e-12)


def test_the_houses_of_a_batch_are_not_mixed_up(mixed, start):
    """Row i of a batch of any size is the feeder alone."""
    alone = [start(mixed, 1, seed=30 + i, detail=True, reactive="action") for i in range(21)]
    for n in (3, 8, 21):
        batch = start(mixed, n, seed=30, detail=True, reactive="action")
        singles = [copy.copy(s) for s in alone[:n]]
        for single, seed in zip(singles, range(30, 30 + n), strict=True):
            single.begin([seeding.np_random(seed)[0]])
        rng = np.random.default_rng(n)
        for _ in range(12):
            action = random_actions(rng, batch)
            batch.step(action)
            for i, single in enumerate(singles):
                single.step(action[i : i + 1])
                np.testing.assert_array_equal(batch.outcome[i], single.outcome[0])
                np.testing.assert_array_equal(batch.house_v_pu[i], single.house_v_pu[0])
                np.testing.assert_allclose(batch.period[i], single.period[0], atol=1e-12)
