"""One feeder behind every interface: standards pass, trajectories agree, states are saved."""

import pickle

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import flexgym  # noqa: F401
from flexgym.envs import feeder_v0
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.env import FeederEnv
from flexgym.envs.feeder.vector_env import FeederVectorEnv, HouseRowsVectorEnv
from flexgym.envs.household.dynamics import OUTCOME_NAMES

ID = "flexgym/Feeder-v0"
OPTIONS = [
    {},
    {"observation": "compact", "curtailment": "action", "reactive": "action"},
    {"action_map": "rating", "reactive": "action"},
    {"observation": "compact", "action_map": "knots"},
]
SHARES = ["common", "local", "marginal"]


@pytest.fixture(params=["mixed", "winter_evening"])
def scenario(request, mixed, benchmark_scenario):
    return mixed if request.param == "mixed" else benchmark_scenario(request.param)


def actions(seed, shape, count=120):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (count, *shape))


@pytest.mark.parametrize("options", OPTIONS)
def test_gymnasium_and_sb3_accept_it(scenario, options):
    check_env(FeederEnv(scenario=scenario, **options), skip_render_check=True)
    sb3_check_env(FeederEnv(scenario=scenario, **options), warn=True)


@pytest.mark.parametrize("options", OPTIONS)
def test_pettingzoo_accepts_it(scenario, options):
    def parallel(**more):
        return feeder_v0.parallel_env(scenario=scenario, **options, **more)

    parallel_api_test(parallel(share="local"), num_cycles=200)
    parallel_seed_test(parallel)


@pytest.mark.parametrize("make", [feeder_v0.raw_env, feeder_v0.env])
def test_pettingzoo_accepts_houses_one_by_one(mixed, make):
    api_test(make(scenario=mixed), num_cycles=3000)
    seed_test(lambda: make(scenario=mixed), num_cycles=300)


def test_they_are_made_by_name(benchmark_scenario):
    scenario = benchmark_scenario("calm")
    one = gym.make(ID, scenario=scenario)
    assert isinstance(one.unwrapped, FeederEnv)
    batch = gym.make_vec(ID, num_envs=2, scenario=scenario)
    assert isinstance(batch.unwrapped, FeederVectorEnv)
    assert batch.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    parallel = feeder_v0.parallel_env(scenario=scenario)
    assert parallel.possible_agents == [f"house_{h}" for h in range(43)]
    if hasattr(pettingzoo, "register"):
        for kind in ("parallel", "aec"):
            made = pettingzoo.make(kind, "flexgym/feeder-v0", scenario=scenario)
            assert made.possible_agents == parallel.possible_agents
        made = pettingzoo.make("parallel", "flexgym/feeder-v0", scenario=scenario)
        made.reset(seed=0)
        steps = 0
        while made.agents:
            *_, over, cut, _ = made.step({a: np.zeros(2) for a in made.agents})
            steps += 1
        assert steps == 96
        assert all(over.values())
        assert not any(cut.values())


def single_rows(n):
    return {3: (0, 1, 2), 16: (0, 7, 15), 40: (0, 15, 16, 39)}[n]


@pytest.mark.parametrize(
    ("n", "options"), [(3, OPTIONS[0]), (3, OPTIONS[1]), (16, OPTIONS[1]), (16, OPTIONS[2]),
                       (40, OPTIONS[0]), (40, OPTIONS[3])]
)  # fmt: skip
def test_rows_of_the_batch_are_single_feeders(scenario, n, options):
    batch = FeederVectorEnv(n, scenario=scenario, **options)
    rows = single_rows(n)
    singles = [FeederEnv(scenario=scenario, **options) for _ in rows]
    obs, info = batch.reset(seed=50)
    starts = [env.reset(seed=50 + i) for i, env in zip(rows, singles, strict=True)]
    for i, (one, start) in zip(rows, starts, strict=True):
        np.testing.assert_array_equal(obs[i], one)
        assert {k: info[k][i] for k in start} == start
    for t, action in enumerate(actions(n, batch.action_space.shape)):
        obs, reward, done, cut, info = batch.step(action)
        results = [env.step(action[i]) for i, env in zip(rows, singles, strict=True)]
        ended = t % 96 == 95
        assert done.tolist() == [ended] * n
        assert not cut.any()
        seen, now = (info["final_obs"], info["final_info"]) if ended else (obs, info)
        for i, (one, single_reward, single_done, _, single_info) in zip(
            rows, results, strict=True
        ):  # fmt: skip
            np.testing.assert_array_equal(seen[i], one)
            assert reward[i] == pytest.approx(single_reward, abs=1e-12)
            assert single_done == ended
            assert single_reward == -single_info["cost_eur"]
            for name in FEEDER_NAMES:
                assert now[name][i] == pytest.approx(single_info[name], abs=1e-12), (t, name)
                assert now[f"_{name}"][i]
                if ended:
                    total = single_info["totals"][name]
                    assert now["totals"][name][i] == pytest.approx(total, abs=1e-12)
        if ended:
            for i, env in zip(rows, singles, strict=True):
                np.testing.assert_array_equal(obs[i], env.reset()[0])


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("n", [3, 16])
@pytest.mark.parametrize("options", OPTIONS[:2])
def test_houses_as_agents_and_as_rows(scenario, n, share, options):
    """PettingZoo's houses, the rows of the row-wise batch and the slices of the single feeder."""
    rows = HouseRowsVectorEnv(n, share=share, scenario=scenario, **options)
    parallel = feeder_v0.parallel_env(scenario=scenario, share=share, **options)
    single = FeederEnv(scenario=scenario, **options)
    count, agents = scenario.n_houses, parallel.possible_agents
    i = n - 1
    part = slice(i * count, (i + 1) * count)
    obs, start = rows.reset(seed=4)
    seen, infos = parallel.reset(seed=4 + i)
    joint, _ = single.reset(seed=4 + i)
    np.testing.assert_array_equal(np.stack([seen[a] for a in agents]), obs[part])
    np.testing.assert_array_equal(joint, obs[part].ravel())
    assert infos[agents[-1]] == {"draw": start["draw"][part][0], "day": start["day"][part][0]}
    for action in actions(n, rows.action_space.shape):
        obs, reward, done, _, info = rows.step(action)
        mine = action[part]
        seen, rewards, over, cut, infos = parallel.step(dict(zip(agents, mine, strict=True)))
        joint, total, ended, _, totals = single.step(mine.ravel())
        assert done.all() == ended == all(over.values())
        assert not any(cut.values())
        last, now = (info["final_obs"], info["final_info"]) if ended else (obs, info)
        np.testing.assert_array_equal(np.stack([seen[a] for a in agents]), last[part])
        np.testing.assert_array_equal(joint, last[part].ravel())
        np.testing.assert_array_equal(parallel.state(), joint)
        got = np.array([rewards[a] for a in agents])
        np.testing.assert_allclose(got, reward[part], rtol=0, atol=1e-12)
        if share != "marginal":
            assert got.sum() == pytest.approx(total, abs=1e-9)
        for h in (0, count - 1):
            house = parallel.house_info(agents[h])
            for name in (*OUTCOME_NAMES, "grid_eur"):
                assert now[name][part][h] == pytest.approx(house[name], abs=1e-12)
            assert rewards[agents[h]] == pytest.approx(
                -house["cost_eur"] - house["grid_eur"], abs=1e-12
            )
        for name, value in parallel.feeder_info.items():
            assert value == pytest.approx(totals[name], abs=1e-12)
        if not ended:
            assert parallel.agents == agents
            assert not any(infos.values())
        else:
            assert parallel.agents == []
            assert infos[agents[0]]["totals"] == pytest.approx(totals["totals"], abs=1e-12)
            seen, _ = parallel.reset()
            np.testing.assert_array_equal(np.stack([seen[a] for a in agents]), obs[part])
            single.reset()


class Player:
    """Plays any adapter with the same joint actions and notes all it says."""

    def __init__(self, kind, scenario, n, **options):
        self.kind, self.scenario, self.n = kind, scenario, n
        make = {
            "single": lambda: FeederEnv(scenario=scenario, **options),
            "batch": lambda: FeederVectorEnv(n, scenario=scenario, **options),
            "rows": lambda: HouseRowsVectorEnv(n, scenario=scenario, share="local", **options),
            "agents": lambda: feeder_v0.parallel_env(scenario=scenario, share="local", **options),
        }
        self.env = make[kind]()

    def step(self, action):
        """Play an action of shape (n, H, a); reset where the environment does not by itself."""
        if self.kind == "agents":
            played = dict(zip(self.env.possible_agents, action[0], strict=True))
        else:
            space = self.env.action_space.shape
            played = action.reshape(space)
        result = self.env.step(played)
        seen = [pickle.dumps(_plain(result))]
        ended = self.env.simulation.done
        if ended and self.kind in ("single", "agents"):
            seen.append(pickle.dumps(_plain(self.env.reset())))
        return seen


def _plain(value):
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return (value.dtype.str, value.tolist()) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("kind", ["single", "batch", "rows", "agents"])
@pytest.mark.parametrize("options", OPTIONS[:2])
def test_saved_states_go_on_alike(mixed, kind, options):
    """In a fresh environment, to the end of the day and through the next one."""
    for n in (1,) if kind in ("single", "agents") else (2, 17):
        one = Player(kind, mixed, n, **options)
        one.env.reset(seed=3)
        shape = (n, mixed.n_houses, len(one.env.simulation.action_names))
        played = actions(n, shape, 200)
        for action in played[:130]:  # into the second day, which was drawn from the generators
            one.step(action)
        saved = pickle.dumps(one.env.save_state())
        fresh, used = (Player(kind, mixed, n, **options) for _ in range(2))
        used.env.reset(seed=77)
        used.step(played[0])
        for other in (fresh, used):
            other.env.restore_state(pickle.loads(saved))
            assert other.env.simulation.t == 130 % 96
            assert np.array_equal(other.env.simulation.observe(), one.env.simulation.observe())
        expected = [one.step(action) for action in played[130:]]
        for other in (fresh, used):
            assert [other.step(action) for action in played[130:]] == expected
        # What was saved is a copy: playing on did not change it.
        again = Player(kind, mixed, n, **options)
        again.env.restore_state(pickle.loads(saved))
        assert again.step(played[130]) == expected[0]


def test_a_saved_state_is_not_played_on(mixed):
    env = FeederEnv(scenario=mixed)
    env.reset(seed=0)
    saved = env.save_state()
    before = pickle.dumps(_plain(saved))
    played = actions(0, env.action_space.shape, 4)
    first = [env.step(a)[1] for a in played]
    assert pickle.dumps(_plain(saved)) == before
    env.restore_state(saved)
    assert [env.step(a)[1] for a in played] == first
    assert pickle.dumps(_plain(saved)) == before


@pytest.mark.parametrize("kind", ["single", "batch", "rows", "agents"])
def test_same_seed_same_trajectory(mixed, kind):
    seen = []
    for seed in (5, 5, 6):
        player = Player(kind, mixed, 9 if kind in ("batch", "rows") else 1)
        first = player.env.reset(seed=seed)
        shape = (player.n, mixed.n_houses, 2)
        notes = [pickle.dumps(_plain(first))]
        notes += [note for action in actions(1, shape, 100) for note in player.step(action)]
        seen.append(notes)
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


@pytest.mark.parametrize("n", [1, 2, 7, 8, 19])
def test_reset_options(mixed, n):
    batch = FeederVectorEnv(n, scenario=mixed)
    draw = np.arange(n) % mixed.draws
    day = np.array([(7 * i) % 365 for i in range(n)])
    capacity = np.array([
        [h.battery.capacity_kwh if h.battery else 0.0 for h in mixed.houses(int(d))] for d in draw
    ])  # fmt: skip
    soc = 0.25 * capacity
    _, info = batch.reset(seed=0, options={"draw": draw, "day": day, "soc_kwh": soc})
    assert info["draw"].tolist() == draw.tolist()
    assert info["day"].tolist() == day.tolist()
    np.testing.assert_array_equal(batch.simulation.soc_kwh, soc)
    states = batch.simulation.states.copy()
    _, info = batch.reset(seed=0, options={"draw": 1, "day": 100, "soc_kwh": 0.0})
    assert set(info["draw"]) == {1}
    assert set(info["day"]) == {100}
    assert not batch.simulation.soc_kwh.any()
    # Options leave weather and prices as they were: paired comparisons.
    np.testing.assert_array_equal(batch.simulation.states, states)
    batch.reset(seed=0)
    np.testing.assert_array_equal(batch.simulation.states, states)
    days = set()
    for _ in range(12):
        _, info = batch.reset()
        days |= set(info["day"].tolist())
    assert days <= set(mixed.homes.days.tolist())
    assert len(days) > 1


def test_seeds_one_by_one(mixed):
    batch = FeederVectorEnv(3, scenario=mixed)
    first, _ = batch.reset(seed=[8, 3, 5])
    np.testing.assert_array_equal(first[1], FeederEnv(scenario=mixed).reset(seed=3)[0])
    part, _ = batch.reset(seed=[None, 3, None])
    np.testing.assert_array_equal(part[1], first[1])
    assert not np.array_equal(part[0], first[0])


def arrays(value):
    """All arrays in what an environment returned."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        return [a for v in value.values() for a in arrays(v)]
    if isinstance(value, list | tuple):
        return [a for v in value for a in arrays(v)]
    return []


@pytest.mark.parametrize(
    ("kind", "n"),
    [("single", 1), ("agents", 1), *((k, n) for k in ("batch", "rows") for n in (1, 3, 16))],
)
def test_what_was_returned_stays_and_moves_nothing(mixed, kind, n):
    one, spoilt = (Player(kind, mixed, n) for _ in range(2))
    kept = [(a, a.copy()) for a in arrays(one.env.reset(seed=1))]
    spoilt.env.reset(seed=1)
    rewards = []
    for t, action in enumerate(actions(2, (n, mixed.n_houses, 2), 100)):
        results = []
        for player in (one, spoilt):
            shape = getattr(player.env, "action_space", None)
            played = (
                dict(zip(player.env.possible_agents, action[0], strict=True))
                if kind == "agents" else action.reshape(shape.shape)
            )  # fmt: skip
            results.append(player.env.step(played))
            if player.env.simulation.done:
                player.env.reset()
        kept += [(a, a.copy()) for a in arrays(results[0])] if t in (0, 50, 95) else []
        for array in arrays(results[1]):
            if array.flags.writeable:
                array[...] = 1
        rewards.append(np.sum(results[0][1] if kind != "agents" else list(results[0][1].values())))
    assert all(np.array_equal(a, copy, equal_nan=True) for a, copy in kept)
    cost = spoilt.env.simulation.batch.episode
    np.testing.assert_array_equal(one.env.simulation.batch.episode, cost)
    assert len(kept) >= 4


@pytest.mark.parametrize("n", [1, 3, 16])
def test_what_the_simulation_tells_stays(mixed, n, start):
    simulation = start(mixed, n, detail=True, share="local")
    rng = np.random.default_rng(0)
    for _ in range(30):
        simulation.step(rng.uniform(-1, 1, (n, mixed.n_houses, 2)))
    names = ("soc_kwh", "car_kwh", "cost_eur", "reward_eur", "grid_eur", "house_v_pu", "period",
             "episode", "v_pu", "line_loading_percent", "trafo_loading_percent", "outcome",
             "state", "missing_kwh", "terminal_eur_per_kwh")  # fmt: skip
    told = {name: getattr(simulation, name) for name in names}
    kept = {name: value.copy() for name, value in told.items()}
    for _ in range(30):
        simulation.step(rng.uniform(-1, 1, (n, mixed.n_houses, 2)))
    changed = [name for name in names if not np.array_equal(told[name], kept[name])]
    assert changed == []
