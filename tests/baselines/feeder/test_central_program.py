"""The centralised optimum: what it costs, that houses can play it, that the grid carries it."""

from dataclasses import replace

import numpy as np
import pytest

from flexgym.baselines.feeder import calibration
from flexgym.baselines.feeder.central_program import CentralProgram, central_optimum
from flexgym.baselines.feeder.feeder_day import FeederDay
from flexgym.baselines.household import perfect_foresight
from flexgym.baselines.household.linear_program import CHARGE, DISCHARGE
from flexgym.envs.errors import ConvexityError, SolverError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.homes import actions_of, follow, homes_of
from flexgym.envs.feeder.params import GridCosts
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.grid import RadialPowerFlow
from flexgym.envs.household.dynamics import pv_range
from flexgym.envs.household.params import DT_H
from flexgym.policies.feeder import named

HOUSE_TERMS = FEEDER_NAMES[:6]
OPTIONS = {"draw": 1, "day": 104}


def play(optimum, simulation):
    """Play a plan; the feeder's totals of the day by name."""
    homes = homes_of(simulation)
    while not simulation.done:
        follow(homes, simulation)
        t, rows = simulation.t, homes.episodes.rows
        load, pv = homes.episodes.exogenous[t, :2]
        powers = optimum.battery_kw[:, t], optimum.car_kw[:, t], optimum.pv_used_kw[:, t]
        share = np.ones(len(rows))
        for h, (battery, car, used) in enumerate(zip(*powers, strict=True)):
            low, high = pv_range(rows[h], battery, load[h], car, pv[h])
            if high > low:
                share[h] = np.clip((used - low) / (high - low), 0.0, 1.0)
        action = homes.action(powers[0], share, car_kw=powers[1])
        simulation.step(actions_of(simulation, action))
    return dict(zip(FEEDER_NAMES, simulation.episode[0], strict=True))


@pytest.fixture(scope="module")
def stress():
    """A scenario, its day and optimum."""
    return FeederScenario.create("stress", "validation")


@pytest.fixture(scope="module")
def solved(stress, begun):
    day = FeederDay.of(begun(stress, options=OPTIONS))
    return day, central_optimum(day)


def test_a_day_of_a_batch_is_that_of_the_feeder_alone(own, begun):
    batch = FeederSimulation(own(), 3)
    batch.begin([np.random.default_rng(i) for i in range(3)])
    alone, second = FeederDay.of(begun(own(), seed=1)), FeederDay.of(batch, 1)
    for one, other in zip(alone.series, second.series, strict=True):
        np.testing.assert_array_equal(one.load_kw, other.load_kw)
        np.testing.assert_array_equal(one.import_eur_per_kwh, other.import_eur_per_kwh)
        assert one.sessions == other.sessions
    np.testing.assert_array_equal(alone.soc_kwh, second.soc_kwh)
    assert alone.houses == second.houses


def test_without_a_grid_it_is_the_sum_of_the_houses(stress, begun, unlimited):
    day = unlimited(FeederDay.of(begun(stress, options=OPTIONS)))
    optimum = central_optimum(day)
    own = [
        perfect_foresight(house, series, soc_kwh=soc, terminal_eur_per_kwh=price).cost_eur
        for house, series, soc, price in zip(
            day.houses, day.series, day.soc_kwh, day.terminal_eur_per_kwh, strict=True
        )
    ]
    assert optimum.cost_eur == pytest.approx(sum(own), abs=1e-6)
    np.testing.assert_allclose(optimum.house_eur, own, atol=1e-6)
    assert optimum.settled
    assert not optimum.uses_slack
    assert not optimum.duals.price_eur_per_kwh.any()


def test_the_plan_plays_at_its_cost_and_within_limits(stress, solved, begun):
    _, optimum = solved
    simulation = begun(stress, options=OPTIONS, curtailment="action")
    played = play(optimum, simulation)
    own = sum(played[name] for name in HOUSE_TERMS)
    assert own == pytest.approx(optimum.house_eur.sum(), abs=1e-6)
    assert played["cost_eur"] == pytest.approx(optimum.cost_eur, abs=1e-5)
    low, high = stress.band_pu
    assert low - 1e-4 <= played["lowest_pu"]
    assert played["highest_pu"] <= high + 1e-4
    assert max(played["line_percent"], played["trafo_percent"]) <= 100.1
    assert optimum.settled
    assert optimum.holds_limits
    assert not optimum.uses_slack


def test_it_is_cheaper_than_selfish_and_unmanaged(stress, solved, begun):
    _, optimum = solved
    assert optimum.selfish_eur <= optimum.bound_eur <= optimum.cost_eur
    assert optimum.gap_eur <= 0.05
    for name in ("selfish", "unmanaged"):
        policy = named(name)
        simulation = begun(stress, options=OPTIONS, **policy.settings)
        policy.begin(simulation)
        while not simulation.done:
            simulation.step(policy.act(simulation))
        totals = dict(zip(FEEDER_NAMES, simulation.episode[0], strict=True))
        assert totals["violation_h"] > 0.0
        assert optimum.cost_eur < totals["cost_eur"]


def test_at_the_grids_prices_every_house_wants_its_plan(solved):
    """The duals as prices decompose the program: what makes it one optimum."""
    day, optimum = solved
    for h in range(len(day.houses)):
        series, adder = day.series[h], optimum.duals.price_eur_per_kwh[h]
        priced = replace(
            series,
            import_eur_per_kwh=series.import_eur_per_kwh + adder,
            export_eur_per_kwh=series.export_eur_per_kwh + adder,
        )
        own = perfect_foresight(
            day.houses[h],
            priced,
            soc_kwh=day.soc_kwh[h],
            terminal_eur_per_kwh=day.terminal_eur_per_kwh[h],
        )
        plan = optimum.house_eur[h] + DT_H * adder @ optimum.meter_kw[h]
        assert plan == pytest.approx(own.cost_eur, abs=1e-6)


def test_the_grids_prices_are_what_the_power_flow_says(solved):
    """Losses and binding limits, each with its derivative by central differences."""
    day, optimum = solved
    check, duals = optimum.check, optimum.duals
    flow = RadialPowerFlow(day.network, 1e-12)
    rng = np.random.default_rng(0)
    binding = np.flatnonzero(duals.branch_eur_per_kwh.max(axis=1) > 1e-3)
    assert len(binding)
    low, high = day.band_pu
    for t in [*rng.choice(binding, 3), *rng.choice(96, 5)]:
        for h in rng.choice(len(day.houses), 3):
            step = np.zeros((2, day.network.n_bus))
            step[:, day.house_bus[h]] = 0.1, -0.1
            found = flow.solve(check.p_kw[t] + step, check.q_kvar[t] + np.zeros_like(step))
            loading = np.hstack([found.line_loading_percent, found.trafo_loading_percent])
            side = np.where(check.v_pu[t] > (low + high) / 2.0, 1.0, -1.0)
            worth = (
                day.costs.loss_eur_per_kwh * found.losses_kw
                + loading / 100.0 @ (day.rating_kva * duals.branch_eur_per_kwh[t])
                + found.v_pu @ (side * duals.voltage_eur_per_pu_h[t])
            )
            slope = (worth[0] - worth[1]) / 0.2
            assert duals.price_eur_per_kwh[h, t] == pytest.approx(slope, abs=0.006)


@pytest.mark.parametrize(
    "options",
    [
        {"trafo_kva": 30.0},
        {"trafo_kva": 250.0, "slack_pu": 1.04, "length_km": 0.3},
        {"day": 80, "trafo_kva": 25.0},
    ],
)
def test_rows_that_come_when_needed_suffice(own, begun, options):
    day = FeederDay.of(begun(own(**options)))
    lazy, full = CentralProgram(day).solve(), CentralProgram(day).solve(all_limits=True)
    assert lazy.settled
    assert full.settled
    assert lazy.limits < full.limits / 3
    assert lazy.holds_limits
    duals = lazy.duals
    assert max(duals.branch_eur_per_kwh.max(), duals.voltage_eur_per_pu_h.max()) > 0.01
    tolerance = lazy.gap_eur + full.gap_eur + 1e-4
    assert lazy.cost_eur == pytest.approx(full.cost_eur, abs=tolerance)
    assert tolerance < 0.05


def test_limits_that_cannot_be_held_are_paid_for(own, begun):
    """And the program says so: no less than the houses' consumption must come through."""
    simulation = begun(own(trafo_kva=1.0, pv_kwp=0.0, day=80), curtailment="action")
    optimum = central_optimum(FeederDay.of(simulation))
    assert optimum.uses_slack
    assert not optimum.holds_limits
    price = GridCosts().overload_eur_per_kwh
    assert optimum.overload_eur == pytest.approx(price * optimum.slack_kvah, rel=1e-4)
    played = play(optimum, simulation)
    assert played["overload_eur"] == pytest.approx(optimum.overload_eur, rel=1e-6)
    # Where a limit is broken its dual is the price.
    assert optimum.duals.branch_eur_per_kwh.max() == pytest.approx(price, rel=1e-6)


def test_a_price_below_the_dual_is_not_exact(own, begun):
    """Nobody would hold a limit that costs less to break than to hold."""
    source = own(trafo_kva=20.0)
    day = FeederDay.of(begun(source))
    worth = central_optimum(day).duals.branch_eur_per_kwh.max()
    assert 0.0 < worth < day.costs.overload_eur_per_kwh
    for factor, breaks in ((0.7, True), (1.3, False)):
        costs = replace(day.costs, overload_eur_per_kwh=float(factor * worth))
        assert central_optimum(replace(day, costs=costs)).uses_slack == breaks


def test_plans_without_a_power_flow_on_the_way_are_no_obstacle(own, begun):
    """Four kilometres of cable do not carry what everybody wants at once."""
    program = CentralProgram(FeederDay.of(begun(own(pv_kwp=0.0, day=80, length_km=4.0))))
    day = program.day
    own_plans = [block.dispatch() for block in program.houses.blocks]
    meter = np.stack([plan.meter_kw for plan in own_plans])
    assert np.isnan(day.judge(meter, np.zeros_like(meter)).losses_kw).any()
    optimum = program.solve()
    assert optimum.settled
    assert optimum.holds_limits
    assert optimum.gap_eur < 0.02 * optimum.cost_eur
    again = program.solve()
    assert again.settled
    assert again.cost_eur == pytest.approx(optimum.cost_eur, abs=optimum.gap_eur + 1e-3)


def test_ties_that_waste_energy_are_broken(own, begun):
    """Where surplus earns nothing and wear is free, a program may burn it in a battery."""
    day = FeederDay.of(begun(own(trafo_kva=30.0)))
    houses = tuple(
        replace(house, battery=replace(house.battery, wear_eur_per_kwh=0.0)) for house in day.houses
    )
    series = tuple(
        replace(each, export_eur_per_kwh=np.zeros(len(each.load_kw))) for each in day.series
    )
    program = CentralProgram(replace(day, houses=houses, series=series))
    optimum, stacked = program.solve(), program.houses
    wasteful = program.x.copy()
    for kind in (CHARGE, DISCHARGE):
        wasteful[stacked.columns(kind)[2, 50]] += 1.0
    stacked.plans(wasteful)
    assert [block.wastes() for block in stacked.blocks].index(True) == 2
    assert stacked.discourage_waste(program.highs)
    assert not stacked.discourage_waste(program.highs)  # once is enough
    again = program.solve()
    assert not any(block.wastes() for block in stacked.blocks)
    assert again.settled
    assert again.cost_eur == pytest.approx(optimum.cost_eur, abs=0.01)


def test_a_solver_that_gives_up_is_an_error(own, begun):
    program = CentralProgram(FeederDay.of(begun(own())))
    program.highs.setOptionValue("time_limit", 0.0)
    program.highs.clearSolver()
    with pytest.raises(SolverError, match="expected an optimum"):
        program.solve()


def test_a_plan_that_no_house_can_play_is_an_error(own, begun):
    """Shedding load to relieve the grid is no power of a house."""
    day = FeederDay.of(begun(own(trafo_kva=1.0, pv_kwp=0.0, day=80)))
    houses = tuple(replace(h, import_limit_kw=5.0, unserved_eur_per_kwh=0.6) for h in day.houses)
    with pytest.raises(ConvexityError, match="no house can do"):
        central_optimum(replace(day, houses=houses))


def test_calibration_reports_the_duals(own):
    (worth,) = calibration.limit_worths(own(trafo_kva=30.0), days=1)
    assert worth.settled
    assert not worth.infeasible
    assert not worth.broken
    assert 0.0 < worth.trafo_eur_per_kwh < GridCosts().overload_eur_per_kwh
    assert worth.voltages_eur_per_pu_h >= worth.voltage_eur_per_pu_h
