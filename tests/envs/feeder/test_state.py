"""Nobody can change an environment from outside, and a state goes only where it belongs."""

import numpy as np
import pandapower as pp
import pytest

from flexgym.envs import feeder_v0
from flexgym.envs.errors import ResetNeededError, StateError
from flexgym.envs.feeder.env import FeederEnv
from flexgym.envs.feeder.params import GridCosts
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.vector_env import FeederVectorEnv, HouseRowsVectorEnv


def chain(length_km=0.1):
    """Three houses behind each other."""
    net = pp.create_empty_network()
    at = pp.create_bus(net, 0.4)
    pp.create_ext_grid(net, at)
    for _ in range(3):
        bus = pp.create_bus(net, 0.4)
        pp.create_line(net, at, bus, length_km, "NAYY 4x150 SE")
        at = bus
    return net


def own(length_km=0.1, **options):
    return FeederScenario.from_pandapower(
        chain(length_km), buses=[1, 2, 3], **{"days": [100, 101], **options}
    )


@pytest.mark.parametrize("kind", ["compact", "full"])
def test_what_is_handed_out_is_a_copy(kind):
    agents = feeder_v0.parallel_env(scenario=own(), observation=kind)
    observations, _ = agents.reset(seed=0)
    before = agents.state().copy()
    observations["house_0"][:] = 99.0
    agents.state()[:] = -5.0
    np.testing.assert_array_equal(agents.state(), before)
    assert np.abs(observations["house_1"]).max() < 99.0
    batch = FeederVectorEnv(2, scenario=own(), observation=kind)
    kept, _ = batch.reset(seed=0)
    copy = kept.copy()
    batch.step(np.zeros(batch.action_space.shape))
    np.testing.assert_array_equal(kept, copy)


def test_totals_of_one_agent_are_its_own():
    agents = feeder_v0.parallel_env(scenario=own(), observation="compact")
    agents.reset(seed=0)
    still = {agent: np.zeros(2) for agent in agents.possible_agents}
    while agents.agents:
        *_, infos = agents.step(still)
    infos["house_0"]["totals"]["cost_eur"] = 1e9
    assert infos["house_1"]["totals"]["cost_eur"] < 1e9


def test_a_new_day_knows_nothing_of_the_last():
    agents = feeder_v0.parallel_env(scenario=own(), observation="compact")
    with pytest.raises(ResetNeededError):
        agents.house_info("house_0")
    with pytest.raises(ResetNeededError):
        _ = agents.simulation.soc_kwh
    agents.reset(seed=0)
    full = {agent: np.ones(2) for agent in agents.possible_agents}
    while agents.agents:
        agents.step(full)
    assert agents.house_info("house_0")["cost_eur"] != 0.0
    agents.reset(seed=1)
    assert agents.house_info("house_0")["cost_eur"] == 0.0
    assert not any(agents.feeder_info.values())


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_any_generator_draws_alike(bits):
    """Means over many days do not depend on the words a generator makes."""
    env = FeederEnv(scenario=own(), observation="compact")
    loads = []
    for generator in (np.random.PCG64, bits):
        env.np_random = np.random.Generator(generator(0))
        days = []
        for _ in range(40):
            env.reset(options={"draw": 0, "day": 100})
            days.append(env.simulation.load.mean())
        loads.append(np.mean(days))
    assert loads[1] == pytest.approx(loads[0], rel=0.02)


OTHERS = {
    "length": {"scenario": own(1.0)},
    "costs": {"scenario": own(costs=GridCosts(loss_eur_per_kwh=0.3))},
    "days": {"scenario": own(days=[100])},
    "uncertainty": {"scenario": own(uncertainty="none")},
    "initial_soc": {"scenario": own(initial_soc=0.5)},
    "band": {"scenario": own(band_pu=(0.9, 1.1))},
    "share": {"share": "marginal"},
    "map": {"action_map": "rating"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_states_of_other_environments_are_refused(name):
    source = feeder_v0.parallel_env(scenario=own(), observation="compact")
    source.reset(seed=0)
    target = feeder_v0.parallel_env(**{"scenario": own(), "observation": "compact", **OTHERS[name]})
    target.reset(seed=3)
    with pytest.raises(StateError, match="same options"):
        target.restore_state(source.save_state())


def test_a_refused_state_changes_nothing():
    single = FeederEnv(scenario=own(), observation="compact")
    single.reset(seed=0)
    saved = single.save_state()
    damaged = [
        {}, {**saved, "rng": []}, {**saved, "rng": [{"bit_generator": "none"}]}, {**saved, "t": -1},
        {key: value for key, value in saved.items() if key != "draw"},
        {**saved, "load": saved["load"][:, :5]},
    ]  # fmt: skip
    for make in (FeederVectorEnv, HouseRowsVectorEnv):
        batch = make(2, scenario=own(), observation="compact")
        batch.reset(seed=7)
        before = batch.save_state()
        for state in (saved, *damaged):
            with pytest.raises(StateError):
                batch.restore_state(state)
        after = batch.save_state()
        assert after["rng"] == before["rng"]
        for key, value in before.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(after[key], value)
    for state in damaged:
        with pytest.raises(StateError):
            single.restore_state(state)
    single.restore_state(saved)
    first = single.step(np.zeros(6))[1]
    single.restore_state(saved)
    assert single.step(np.zeros(6))[1] == first


def test_day_and_draw_come_back_with_a_state():
    batch = FeederVectorEnv(9, scenario=own(seeds=(0, 1)), observation="compact")
    batch.reset(seed=0)
    saved, day = batch.save_state(), batch.simulation.day.copy()
    draw = batch.simulation.draw.copy()
    batch.reset(seed=5)
    batch.restore_state(saved)
    np.testing.assert_array_equal(batch.simulation.day, day)
    np.testing.assert_array_equal(batch.simulation.draw, draw)
