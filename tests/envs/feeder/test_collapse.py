"""Loads that no grid could carry: flagged and paid for, while the neighbours play on."""

import math

import numpy as np
import pytest

from flexgym.envs import House, Load, Uncertainty, feeder_v0
from flexgym.envs.data import synthetic_prices
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.env import FeederEnv
from flexgym.envs.feeder.params import SHARES
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.vector_env import FeederVectorEnv, HouseRowsVectorEnv
from flexgym.envs.grid import Network, RadialPowerFlow
from flexgym.envs.household.scenario import HouseholdScenario


@pytest.fixture(scope="module")
def weak(radial_net, make_house):
    """A long weak line: draw 0 has usual houses, those of draw 1 ask for more than it can carry."""
    rng = np.random.default_rng(1)
    network = Network.from_pandapower(radial_net(12, length_km=0.25))
    usual = [make_house(rng, car=None) for _ in range(10)]
    huge = [House(None, 0.0, 5.0, math.inf, math.inf, load=Load("H0-G", 1e6)) for _ in range(10)]
    homes = HouseholdScenario(
        (*usual, *huge), np.array([30, 200]), synthetic_prices(), initial_soc=0.5,
        uncertainty=Uncertainty.markov(),
    )  # fmt: skip
    return FeederScenario("weak", network, np.arange(2, 12), homes)


@pytest.mark.parametrize("n", [3, 16])
@pytest.mark.parametrize("share", SHARES)
def test_a_collapsed_grid_is_flagged_and_leaves_its_neighbours_alone(weak, n, share, start):
    draw = np.arange(n) % 2
    options = {"draw": draw, "day": 30}
    batch = start(weak, n, seed=0, options=options, share=share, detail=True)
    calm = start(weak, n, seed=0, options={"draw": 0, "day": 30}, share=share, detail=True)
    flow, place = RadialPowerFlow(weak.network), weak.house_bus
    column = {name: k for k, name in enumerate(FEEDER_NAMES)}
    rng, collapses = np.random.default_rng(0), 0
    for _ in range(40):
        for simulation in (batch, calm):
            assert np.isfinite(simulation.observe()).all()
        action = rng.uniform(-1, 1, (n, 10, 1))
        batch.step(action)
        calm.step(action)
        period = batch.period
        for values in (period, batch.episode, batch.reward_eur, batch.grid_eur, batch.v_pu,
                       batch.house_v_pu, batch.line_loading_percent, batch.outcome,
                       batch.trafo_loading_percent):  # fmt: skip
            assert np.isfinite(values).all()
        same = draw == 0
        np.testing.assert_array_equal(period[same], calm.period[same])
        np.testing.assert_array_equal(batch.reward_eur[same], calm.reward_eur[same])
        np.testing.assert_array_equal(batch.observe()[same], calm.observe()[same])
        assert not period[same, column["collapses"]].any()
        powers = np.zeros((2, n, weak.network.n_bus))
        np.add.at(powers[0].T, place, batch.outcome[:, :, 4].T)
        solved = flow.solve(*powers).converged
        np.testing.assert_array_equal(period[:, column["collapses"]] == 1.0, ~solved)
        collapses += (~solved).sum()
        if share != "marginal":
            total = batch.grid_eur.sum(axis=1)
            np.testing.assert_allclose(total, period[:, 6:9].sum(axis=1), rtol=1e-12, atol=1e-9)
    assert collapses > 10
    totals = batch.episode
    assert totals[:, column["collapses"]].sum() == collapses
    # Breaking down costs more than any grid that still works.
    worst = totals[draw == 1, column["voltage_eur"]].min()
    assert worst > totals[draw == 0, column["cost_eur"]].max()


def test_a_collapse_in_every_interface(weak):
    options = {"draw": 1, "day": 30}
    for env in (
        FeederEnv(scenario=weak),
        FeederVectorEnv(2, scenario=weak),
        HouseRowsVectorEnv(16, scenario=weak, share="marginal"),
    ):
        obs, _ = env.reset(seed=1, options=options)
        for _ in range(96):
            assert obs in env.observation_space
            obs, reward, done, _, _ = env.step(np.zeros(env.action_space.shape))
            assert np.isfinite(reward).all()
        assert np.all(done)
    agents = feeder_v0.parallel_env(scenario=weak, share="local")
    agents.reset(seed=1, options=options)
    while agents.agents:
        seen, rewards, *_ = agents.step({a: np.zeros(1) for a in agents.agents})
        assert np.isfinite(list(rewards.values())).all()
        assert all(np.isfinite(o).all() for o in seen.values())
    assert agents.feeder_info["collapses"] in (0.0, 1.0)
