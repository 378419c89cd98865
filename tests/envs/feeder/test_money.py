"""Energy and money: every sum closes, every penalty and share is what its definition says."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexgym.envs import House, Load
from flexgym.envs.feeder.accounts import FEEDER_NAMES, FEEDER_TERMS
from flexgym.envs.feeder.params import SHARES, GridCosts
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.grid import Network, RadialPowerFlow
from flexgym.envs.household.dynamics import COST_TERMS, OUTCOME_NAMES

COLUMN = {name: k for k, name in enumerate(OUTCOME_NAMES)}
EXTREMES = {"highest_pu": max, "lowest_pu": min, "line_percent": max, "trafo_percent": max,
            "grid_kw": max}  # fmt: skip
COSTS = GridCosts(0.3, 700.0, 4.0)


def named(values):
    return dict(zip(FEEDER_NAMES, values, strict=True))


def actions(rng, simulation, push=0.0):
    """Random actions, shifted towards -1 (push -1) or 1 (push 1)."""
    shape = (simulation.n, simulation.scenario.n_houses, len(simulation.action_names))
    return np.clip(rng.uniform(-1.0, 1.0, shape) + push, -1.0, 1.0)


@pytest.fixture(scope="module")
def narrow(mixed):
    """The mixed feeder with a narrow band and a small transformer: much is violated."""
    network = mixed.network.with_slack(1.0).with_transformer_rating(20.0)
    return FeederScenario("narrow", network, mixed.house_bus, mixed.homes, (0.997, 1.003), COSTS)


def expected_grid_costs(scenario, v_pu, line_percent, trafo_percent, loss_kw):
    """Losses, voltages, overload of a quarter-hour from the documentation, EUR, and their size."""
    network, costs = scenario.network, scenario.costs
    low, high = scenario.band_pu
    v = np.delete(v_pu, network.slack_column)
    outside = np.maximum(v - high, 0.0) + np.maximum(low - v, 0.0)
    lines = math.sqrt(3.0) * 0.4 * 1e3 * network.line_limit_ka  # all at 400 V
    over = (lines * np.maximum(line_percent / 100.0 - 1.0, 0.0)).sum()
    over += (network.trafo_rating_kva * np.maximum(trafo_percent / 100.0 - 1.0, 0.0)).sum()
    return {
        "loss_eur": 0.25 * costs.loss_eur_per_kwh * loss_kw,
        "voltage_eur": 0.25 * costs.voltage_eur_per_pu_h * outside.sum(),
        "overload_eur": 0.25 * costs.overload_eur_per_kwh * over,
        "voltage_violations": (outside > 1e-4).sum(),
        "voltage_violation_pu_h": 0.25 * outside.sum(),
        "overload_kwh": 0.25 * over,
        "overload_h": 0.25 * (max(line_percent.max(), trafo_percent.max()) > 100.1),
        "highest_pu": v.max(),
        "lowest_pu": v.min(),
        "line_percent": line_percent.max(),
        "trafo_percent": trafo_percent.max(),
    }


@pytest.mark.parametrize("n", [1, 3, 20])
@pytest.mark.parametrize("name", ["narrow", "winter_evening", "summer_midday"])
def test_terms_penalties_and_totals(name, n, narrow, benchmark_scenario, start):
    scenario = narrow if name == "narrow" else benchmark_scenario(name)
    simulation = start(scenario, n, seed=2, detail=True, curtailment="action")
    rng = np.random.default_rng(n)
    sums, extremes = np.zeros((n, len(FEEDER_NAMES))), None
    violated = {"high": 0, "low": 0, "overload": 0}
    for t in range(96):
        simulation.step(actions(rng, simulation, (-0.6, 0.6)[t % 2]))
        period, outcome = simulation.period, simulation.outcome
        lines, trafos = simulation.line_loading_percent, simulation.trafo_loading_percent
        np.testing.assert_array_equal(
            simulation.cost_eur, period[:, FEEDER_NAMES.index("cost_eur")]
        )
        for i in {0, n // 2, n - 1}:
            got = named(period[i])
            assert got["cost_eur"] == pytest.approx(sum(got[k] for k in FEEDER_TERMS), abs=1e-12)
            for term in COST_TERMS:
                assert got[term] == pytest.approx(outcome[i, :, COLUMN[term]].sum(), abs=1e-9)
            for k, column, hours in (
                ("curtailed_kwh", "curtailed_kw", 0.25),
                ("unserved_kwh", "unserved_kw", 0.25),
                ("missed_kwh", "missed_kwh", 1.0),
            ):
                total = hours * outcome[i, :, COLUMN[column]].sum()
                assert got[k] == pytest.approx(total, abs=1e-9)
            loss_kw = got["grid_kw"] - outcome[i, :, COLUMN["meter_kw"]].sum()
            assert got["loss_kwh"] == pytest.approx(0.25 * loss_kw, abs=1e-9)
            expected = expected_grid_costs(
                scenario, simulation.v_pu[i], lines[i], trafos[i], loss_kw
            )
            for k, value in expected.items():
                assert got[k] == pytest.approx(value, abs=1e-7), k
            voltage, overload = got["voltage_violations"] > 0, got["overload_h"] > 0
            assert got["violation_h"] == 0.25 * (voltage or overload)
            assert got["collapses"] == 0.0
            violated["high"] += got["highest_pu"] > scenario.band_pu[1]
            violated["low"] += got["lowest_pu"] < scenario.band_pu[0]
            violated["overload"] += overload
        sums += period
        rows = [named(row) for row in period]
        extremes = rows if extremes is None else [
            {k: f(a[k], b[k]) for k, f in EXTREMES.items()}
            for a, b in zip(extremes, rows, strict=True)
        ]  # fmt: skip
    for i in range(n):
        totals = named(simulation.episode[i])
        for k, value in totals.items():
            expected = extremes[i][k] if k in EXTREMES else sums[i, FEEDER_NAMES.index(k)]
            assert value == pytest.approx(expected, abs=1e-9), k
    if name == "narrow" and n > 1:
        assert min(violated.values()) > 10


@pytest.mark.parametrize("n", [1, 4, 18])
@pytest.mark.parametrize("name", ["narrow", "stress"])
def test_rewards_add_up_to_minus_the_social_cost(name, n, narrow, benchmark_scenario, start):
    scenario = narrow if name == "narrow" else benchmark_scenario(name)
    for share in ("common", "local"):
        simulation = start(scenario, n, seed=9, detail=True, share=share)
        rng, rewards, cost = np.random.default_rng(0), np.zeros(n), np.zeros(n)
        spread = 0.0
        for t in range(96):
            simulation.step(actions(rng, simulation, (-0.6, 0.6)[t % 2]))
            own = simulation.outcome[:, :, COLUMN["cost_eur"]]
            mine = -(own + simulation.grid_eur)
            np.testing.assert_allclose(simulation.reward_eur, mine, rtol=0, atol=1e-12)
            grid = simulation.period[:, 6:9].sum(axis=1)
            np.testing.assert_allclose(simulation.grid_eur.sum(axis=1), grid, rtol=0, atol=1e-9)
            if share == "common":
                each = np.broadcast_to(grid[:, None] / scenario.n_houses, own.shape)
                np.testing.assert_allclose(simulation.grid_eur, each, rtol=0, atol=1e-12)
            spread = max(spread, np.ptp(simulation.grid_eur))
            rewards += simulation.reward_eur.sum(axis=1)
            cost += simulation.cost_eur
        np.testing.assert_allclose(rewards, -cost, rtol=0, atol=1e-9 * max(1.0, abs(cost).max()))
        np.testing.assert_allclose(cost, simulation.episode[:, 9], rtol=0, atol=1e-9)
        assert spread > 0.01 or share == "common"


@pytest.mark.parametrize("n", [1, 16])
def test_marginal_shares_are_differences(n, narrow, start):
    """Each share is the grid's cost minus that of the same moment without the house."""
    network = narrow.network
    flow = RadialPowerFlow(network)
    rng = np.random.default_rng(n)
    simulation = start(narrow, n, seed=6, detail=True, share="marginal")
    count, negative = narrow.n_houses, 0

    def grid_eur(p, q):
        result = flow.solve(p, q)
        costs = expected_grid_costs(
            narrow, result.v_pu, result.line_loading_percent, result.trafo_loading_percent,
            result.losses_kw,
        )  # fmt: skip
        return costs["loss_eur"] + costs["voltage_eur"] + costs["overload_eur"]

    for t in range(96):
        simulation.step(actions(rng, simulation, (-0.6, 0.6)[t // 2 % 2]))
        if t % 16 not in (0, 3):
            continue
        i = int(rng.integers(n))
        outcome = simulation.outcome[i]
        houses = narrow.houses(int(simulation.draw[i]))
        p = outcome[:, COLUMN["meter_kw"]]
        served = simulation.load[t, i] - outcome[:, COLUMN["unserved_kw"]]
        q = np.array([house.load.tan_phi for house in houses]) * served
        powers = np.zeros((2, network.n_bus))
        np.add.at(powers[0], narrow.house_bus, p)
        np.add.at(powers[1], narrow.house_bus, q)
        with_all = grid_eur(*powers)
        assert with_all == pytest.approx(simulation.period[i, 6:9].sum(), abs=1e-7)
        for h in range(count):
            without = powers.copy()
            without[:, narrow.house_bus[h]] -= p[h], q[h]
            share = with_all - grid_eur(*without)
            assert simulation.grid_eur[i, h] == pytest.approx(share, abs=1e-6), (t, h)
            negative += share < -1e-3
    assert negative > 0  # some relieve the grid


def test_local_shares_fall_on_those_behind(radial_net, make_house, start):
    """On a line of three buses: what one house causes alone, it bears alone."""
    net = radial_net(5)
    net.line["from_bus"], net.line["to_bus"] = [1, 2, 3], [2, 3, 4]
    nothing = Load(energy_kwh=0.0)
    idle = House(None, 0.0, 5.0, 30.0, 30.0, load=nothing)
    driver = make_house(np.random.default_rng(0), pv_kwp=0.0, load=nothing)
    scenario = FeederScenario.from_pandapower(
        net, buses=[2, 3, 4], houses=[idle, idle, driver], days=[40], uncertainty="none",
        band_pu=(1.018, 1.05), costs=GridCosts(1.0, 500.0, 2.0),
    )  # fmt: skip
    simulation = start(scenario, 1, share="local", detail=True)
    charged = 0
    while not simulation.done:
        simulation.step(np.ones((1, 3, 2)))
        shares, meter_kw = simulation.grid_eur[0], simulation.outcome[0, :, COLUMN["meter_kw"]]
        assert meter_kw[:2].tolist() == [0.0, 0.0]
        outside = 0.25 * 500.0 * np.maximum(1.018 - simulation.v_pu[0], 0.0)
        grid = simulation.period[0, 6:9].sum()
        assert shares.sum() == pytest.approx(grid, abs=1e-9)
        if meter_kw[2] == 0.0:
            np.testing.assert_allclose(shares, grid / 3, rtol=0, atol=1e-9)
            continue
        # Nobody causes the voltage of the busbar, where no house stands, and the iron losses
        # before the transformer (half of them in pandapower's model); all bear them alike.
        iron = 0.25 * 1.0 * 0.5 * net.trafo.pfe_kw[0] * 1.02**2
        common = (outside[1] + iron) / 3
        np.testing.assert_allclose(shares[:2], outside[2:4] + common, rtol=0, atol=1e-4)
        charged += 1
    assert charged > 5


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_energy_balances_after_every_step(data, mixed, radial_net, start):
    """Slack = houses + losses, whatever the grid, the batch and the actions."""
    buses = data.draw(st.integers(2, 18), "buses")
    seed = data.draw(st.integers(0, 2**16), "seed")
    length = data.draw(st.sampled_from([0.005, 0.03, 0.15]), "km")
    slack = data.draw(st.floats(0.94, 1.08), "slack")
    n = data.draw(st.sampled_from([1, 2, 9]), "batch")
    chosen = {
        "action_map": data.draw(st.sampled_from(["plateau", "knots", "range", "rating"])),
        "curtailment": data.draw(st.sampled_from(["automatic", "action"])),
        "reactive": data.draw(st.sampled_from(["load", "action"])),
        "share": data.draw(st.sampled_from([None, *SHARES])),
    }
    net = radial_net(buses, length_km=length, slack_pu=slack, seed=seed)
    rng = np.random.default_rng(seed)
    places = rng.integers(0, buses, mixed.n_houses)
    scenario = FeederScenario("any", Network.from_pandapower(net), places, mixed.homes)
    simulation = start(scenario, n, seed=seed, detail=True, **chosen)
    push = data.draw(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), "push")
    while not simulation.done:
        simulation.step(actions(rng, simulation, push))
        houses = simulation.outcome[:, :, COLUMN["meter_kw"]].sum(axis=1)
        for i, row in enumerate(simulation.period):
            now = named(row)
            assert np.isfinite(row).all()
            if now["collapses"]:
                continue
            losses = now["loss_kwh"] / 0.25
            assert losses >= 0.0
            assert now["grid_kw"] == pytest.approx(houses[i] + losses, abs=1e-9)
