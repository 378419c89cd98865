"""Centralised model predictive control, beside the optimum with its day known."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils import seeding

from flexgym.envs.data import load_grid
from flexgym.envs.errors import ConvexityError, ScenarioError, SolverTimeoutError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.grid.tolerance import CLEAN_PERCENT, CLEAN_PU
from flexgym.policies.central_mpc import CentralisedMpc, naming_day
from flexgym.policies.feeder import Centralised, EachHouse
from flexgym.policies.household import ModelPredictive

COLUMN = {name: k for k, name in enumerate(FEEDER_NAMES)}


def few(uncertainty="markov", *, trafo_kva=16.0, days=(100,)):
    """Five houses below a transformer that they can fill."""
    buses = load_grid().load.bus.unique()[:5]
    scenario = FeederScenario.from_pandapower(
        load_grid(), scenario="stress", buses=buses, days=days, uncertainty=uncertainty
    )
    return replace(scenario, network=scenario.network.with_transformer_rating(trafo_kva))


def play(policy, scenario, n=1, seed=5):
    """Totals of the day, shape (n, names)."""
    simulation = FeederSimulation(scenario, n, observation="compact", **policy.settings)
    simulation.begin([seeding.np_random(seed + i)[0] for i in range(n)])
    policy.begin(simulation)
    while not simulation.done:
        action = policy.act(simulation)
        assert np.abs(action).max() <= 1.0
        simulation.step(action)
    return simulation.episode


def test_with_forecasts_that_come_true_it_is_the_optimum():
    scenario, optimum = few("none"), Centralised()
    best = play(optimum, scenario)
    found = play(CentralisedMpc(), scenario)
    assert optimum.optima[0].duals.branch_eur_per_kwh.max() > 0.005  # the transformer counts
    assert found[0, COLUMN["cost_eur"]] == pytest.approx(best[0, COLUMN["cost_eur"]], abs=0.01)
    assert found[0, COLUMN["violation_h"]] == 0.0


def test_with_others_it_never_beats_it_and_holds_the_limits():
    scenario, optimum, mpc = few(days=(80, 290)), Centralised(), CentralisedMpc()
    best, found = play(optimum, scenario, 2), play(mpc, scenario, 2)
    houses = play(EachHouse(ModelPredictive()), scenario, 2)
    cost = COLUMN["cost_eur"]
    gaps = [optimum.gap_eur for optimum in optimum.optima]
    assert (found[:, cost] >= best[:, cost] - gaps - 1e-6).all()
    assert (found[:, cost] < houses[:, cost]).all()
    assert houses[:, COLUMN["violation_h"]].any()
    assert not found[:, COLUMN["violation_h"]].any()
    assert (found[:, COLUMN["trafo_percent"]] <= 100.0 + CLEAN_PERCENT).all()
    low, high = scenario.band_pu
    assert (found[:, COLUMN["highest_pu"]] <= high + CLEAN_PU).all()
    assert (found[:, COLUMN["lowest_pu"]] >= low - CLEAN_PU).all()
    # A feeder alone is planned as it is among others.
    alone = play(CentralisedMpc(), scenario, 1)
    np.testing.assert_allclose(alone[0], found[0], atol=1e-6)


def test_limits_that_cannot_be_held_are_broken_as_little_as_by_the_optimum():
    scenario = few("none", trafo_kva=3.0, days=(20,))
    best, found = play(Centralised(), scenario), play(CentralisedMpc(), scenario)
    overload = COLUMN["overload_eur"]
    assert best[0, overload] > 1.0
    assert found[0, overload] == pytest.approx(best[0, overload], rel=1e-2)


def test_it_needs_to_curtail():
    simulation = FeederSimulation(few(), 1, observation="compact")
    simulation.begin([np.random.default_rng(0)])
    with pytest.raises(ScenarioError, match="'action'"):
        CentralisedMpc().begin(simulation)


def test_errors_name_the_day():
    policy = Centralised(time_limit_s=0.0)
    with pytest.raises(SolverTimeoutError, match=r"day 100 of 'own grid' with draw 0.*out of time"):
        play(policy, few())
    simulation = FeederSimulation(few(days=(80, 100)), 2, observation="compact")
    simulation.begin([np.random.default_rng(0)] * 2, {"day": [80, 100]})
    with (
        pytest.raises(ConvexityError, match=r"day 80 of 'own grid'.*: no"),
        naming_day(simulation, 0),
    ):
        raise ConvexityError("no")
