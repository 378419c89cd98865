"""flexgym/Appliance-v0: interface, rules of a job, money, batches, saved states."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import flexgym  # noqa: F401
from flexgym.envs.appliance.dynamics import OUTCOME_NAMES
from flexgym.envs.appliance.observation import AHEAD
from flexgym.envs.appliance.params import Job
from flexgym.envs.appliance.scenario import ApplianceScenario
from flexgym.envs.appliance.simulation import ApplianceSimulation
from flexgym.envs.data import synthetic_prices
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.uncertainty import MarkovChain

ID = "flexgym/Appliance-v0"
SMALL = SignalProcess(
    [0.3, 0.7],
    [[0.8, 0.2], [0.4, 0.6]],
    [[0.3, -0.1], [0.2, 0.1], [0.0, 0.4], [0.5, 0.2], [0.1, 0.1]],
    [-0.05, 0.05],
    [0.5, 0.5],
)
OPTIONS = [
    {},
    {"kind": "interruptible", "split": "test", "uncertainty": "autoregressive"},
    {"kind": "uninterruptible", "uncertainty": "none", "prices": synthetic_prices(1.2, "spot")},
    {"jobs": (Job(3, 20, 4), Job(0, 9), Job(2, 2, interruptible=True)), "days": [3, 200]},
    {"uncertainty": SMALL, "jobs": Job(2, 5, 1, 1.5, True)},
    {"uncertainty": MarkovChain((0.5, 1.5), ((0.9, 0.1), (0.2, 0.8))), "noise_sd_eur_per_kwh": 0.1},
]


def make(**options):
    return gym.make(ID, **options)


@pytest.mark.parametrize("options", OPTIONS)
def test_gymnasium_and_sb3_accept_it(options):
    check_env(make(**options).unwrapped, skip_render_check=True)
    sb3_check_env(make(**options).unwrapped, warn=True)


@pytest.mark.parametrize("options", OPTIONS)
def test_same_seed_same_trajectory(options):
    def play():
        env = make(**options)
        env.action_space.seed(1)
        seen = [env.reset(seed=11)]
        for _ in range(2):
            done = False
            while not done:
                *rest, done, _, info = env.step(env.action_space.sample())
                seen.append((*rest, done, info))
            seen.append(env.reset())
        return seen

    first, second = play(), play()
    assert len(first) == 2 * make(**options).unwrapped.simulation.scenario.periods + 3
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a[0], b[0])
        assert a[1:] == b[1:]


@pytest.mark.parametrize("options", OPTIONS)
def test_jobs_end_in_time_and_rewards_add_up_to_the_cost(options):
    env = make(**options)
    rng = np.random.default_rng(0)
    T = env.unwrapped.simulation.scenario.periods
    for seed in range(12):
        _, start = env.reset(seed=seed)
        job, wish = env.unwrapped.job, rng.random()
        assert start == {
            "day": start["day"], "hours": job.hours, "earliest": job.earliest,
            "deadline": job.deadline, "power_kw": job.power_kw, "interruptible": job.interruptible,
        }  # fmt: skip
        price = env.unwrapped.simulation.episodes.price_eur_per_kwh[0]
        ran, rewards, left = [], 0.0, job.hours
        for t in range(T):
            action = np.array([1.0 if rng.random() < wish else -1.0])
            obs, reward, done, cut, info = env.step(action)
            assert obs in env.observation_space
            assert done == (t == T - 1)
            assert not cut
            assert reward == -info["cost_eur"]
            assert info["price_eur_per_kwh"] == price[t]
            assert info["power_kw"] == info["ran"] * job.power_kw
            assert info["cost_eur"] == pytest.approx(info["power_kw"] * price[t], abs=1e-15)
            # What was wished is what was played, or info says so.
            assert info["ran"] == (action[0] > 0) + info["forced"] - info["refused"]
            left -= int(info["ran"])
            assert info["hours_left"] == left
            rewards += reward
            ran += [t] * int(info["ran"])
        assert len(ran) == job.hours
        assert all(job.earliest <= t < job.deadline for t in ran)
        if not job.interruptible and ran:
            assert ran == list(range(ran[0], ran[0] + job.hours))
        assert rewards == pytest.approx(-job.power_kw * price[ran].sum(), abs=1e-12)
        assert env.unwrapped.simulation.cost_eur[0] == pytest.approx(-rewards, abs=1e-12)


def waiting(t, left, job, running, ahead):
    """What waiting saves a kWh that it puts off: the best plan that idles now, beside the best."""
    last = job.deadline
    runs_on = running and not job.interruptible
    if runs_on or not (left and job.earliest <= t and t + left < last):
        return 0.0
    if job.interruptible:
        later = np.sort(ahead[t + 1 : last])
        idle, run = later[:left].sum(), later[: left - 1].sum()
        return ahead[t] + run - idle
    begins = [ahead[u : u + left].mean() for u in range(t, last - left + 1)]
    return begins[0] - min(begins[1:])


def test_the_observation_is_what_it_says():
    env = make(uncertainty="autoregressive", split="validation").unwrapped
    names = env.observation_names
    assert len(names) == len(set(names)) == AHEAD + 23
    for seed in range(5):
        obs, info = env.reset(seed=seed)
        simulation, job = env.simulation, env.job
        process = simulation.scenario.processes[int(np.flatnonzero(
            simulation.scenario.covered == info["day"])[0])]  # fmt: skip
        for t in range(24):
            s = simulation.episodes.signal[0, t]
            now = process.price_eur_per_kwh[t, s]
            ahead = process.forecasts[t, s]
            np.testing.assert_allclose(simulation.forecast[0, t:], ahead[t:], atol=1e-12)
            seen = dict(zip(names, obs.tolist(), strict=True))
            left = simulation.left[0]
            assert seen["hours_left [4 h]"] == left / 4
            assert seen["price_now [0.1 EUR/kWh]"] == pytest.approx(10 * now, abs=1e-5)
            assert seen["signal [from -1 to 1]"] == pytest.approx(s / 4 - 1)
            angle = 2 * np.pi * (6 + t) / 24
            assert seen["sine_of_time [1]"] == pytest.approx(np.sin(angle), abs=1e-6)
            assert seen["slack [12 h]"] * 12 == pytest.approx(
                job.deadline - max(t, job.earliest) - left if left else 0, abs=1e-5
            )
            assert seen["may_run [1]"] == (left > 0 and job.earliest <= t < job.deadline)
            assert seen["waiting_saves [0.1 EUR/kWh]"] == pytest.approx(
                10 * waiting(t, left, job, simulation.running[0], ahead), abs=1e-5
            )
            for u in range(t + 1, 24):
                known = 10 * (ahead[u] - now) if u < job.deadline else 0.0
                assert obs[AHEAD + u - t - 1] == pytest.approx(known, abs=1e-5)
            forced = seen["must_run [1]"] == 1.0
            obs, _, _, _, after = env.step(np.array([-1.0]))
            assert after["ran"] == forced


def test_noise_is_seen_after_the_decision_and_has_its_deviation():
    scenario = ApplianceScenario.create(uncertainty="none", noise_sd_eur_per_kwh=0.03)
    uniform = np.random.default_rng(0).random((4000, scenario.draws))
    episodes = scenario.draw(uniform)
    expected = scenario.price_table[episodes.row, :, 0]
    noise = episodes.price_eur_per_kwh - expected
    assert noise.mean() == pytest.approx(0.0, abs=5e-4)
    assert noise.std() == pytest.approx(0.03, rel=0.02)
    simulation = ApplianceSimulation(scenario, 4000)
    simulation.start(episodes)
    np.testing.assert_array_equal(simulation.expected_eur_per_kwh, expected[:, 0])
    added = ApplianceScenario.create(uncertainty=SMALL, noise_sd_eur_per_kwh=0.1).processes[0]
    assert added.noise_eur_per_kwh.size == 6
    spread = added.noise_probabilities @ added.noise_eur_per_kwh**2
    assert spread == pytest.approx(0.05**2 + 0.1**2)


def test_jobs_are_drawn_as_documented():
    scenario = ApplianceScenario.create()
    jobs = scenario.draw(np.random.default_rng(1).random((20_000, scenario.draws))).jobs
    assert set(jobs.hours) == set(range(1, 7))
    assert (jobs.earliest.min(), jobs.deadline.max()) == (0, 24)
    assert (jobs.deadline - jobs.earliest >= jobs.hours).all()
    assert 0.5 <= jobs.power_kw.min() < 0.51
    assert 2.99 < jobs.power_kw.max() < 3.0
    assert jobs.interruptible.mean() == pytest.approx(0.5, abs=0.02)
    for kind in ("interruptible", "uninterruptible"):
        only = ApplianceScenario.create(kind=kind)
        drawn = only.draw(np.random.default_rng(1).random((100, only.draws))).jobs
        assert set(drawn.interruptible) == {kind == "interruptible"}


@pytest.mark.parametrize("options", OPTIONS)
def test_rows_of_a_batch_are_single_environments(options):
    n, seed = 5, 40
    batch = gym.make_vec(ID, num_envs=n, vectorization_mode="vector_entry_point", **options)
    assert batch.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    singles = [make(**options) for _ in range(n)]
    T = singles[0].unwrapped.simulation.scenario.periods
    rng = np.random.default_rng(0)
    obs, info = batch.reset(seed=seed)
    starts = [env.reset(seed=seed + i) for i, env in enumerate(singles)]
    same_start(obs, info, starts)
    for t in range(2 * T + 1):
        action = rng.uniform(-1.0, 1.0, (n, 1))
        obs, reward, done, cut, info = batch.step(action)
        results = [env.step(action[i]) for i, env in enumerate(singles)]
        ended = t % T == T - 1
        assert done.tolist() == [r[2] for r in results] == [ended] * n
        assert not cut.any()
        last, final = (info["final_obs"], info["final_info"]) if ended else (obs, info)
        for i, (one, single_reward, _, _, single_info) in enumerate(results):
            assert np.array_equal(one, last[i])
            assert single_reward == reward[i]
            assert single_info == {name: final[name][i] for name in OUTCOME_NAMES}
        if ended:
            same_start(obs, info, [env.reset() for env in singles])


def same_start(obs, info, starts):
    for i, (one, single) in enumerate(starts):
        assert np.array_equal(one, obs[i])
        assert single == {name: info[name][i] for name in single}


@pytest.mark.parametrize(("batch", "steps"), [(0, 0), (0, 7), (0, 23), (3, 0), (3, 11), (3, 30)])
def test_a_saved_state_goes_on_identically(batch, steps):
    def new():
        return gym.make_vec(ID, num_envs=batch) if batch else make().unwrapped

    def go_on(env, actions):
        return [[np.asarray(x).tolist() for x in env.step(a)[:2]] for a in actions]

    rng, shape = np.random.default_rng(steps), (batch, 1) if batch else (1,)
    env, other = new(), new()
    env.reset(seed=5)
    for _ in range(steps):
        env.step(rng.uniform(-1, 1, shape))
    saved = pickle.loads(pickle.dumps(env.unwrapped.save_state()))
    actions = rng.uniform(-1, 1, (24 - steps % 24, *shape))
    first, after = go_on(env, actions), env.reset()[0]
    other.reset(seed=6)
    other.unwrapped.restore_state(saved)
    assert go_on(other, actions) == first
    # And so do the episodes that follow.
    assert np.array_equal(other.reset()[0], after)
    # Into an environment that has not begun, and back into the same one.
    for fresh in (new(), env):
        fresh.unwrapped.restore_state(saved)
        assert go_on(fresh, actions) == first


def test_reset_options_are_played():
    job = Job(4, 15, 2, 1.25, True)
    env = make(days=[5, 6])
    for day in (5, 300):
        _, info = env.reset(seed=1, options={"day": day, "job": job})
        assert info["day"] == day
        assert env.unwrapped.job == job
    assert {env.reset()[1]["day"] for _ in range(30)} == {5, 6}
    batch = gym.make_vec(ID, num_envs=2)
    _, info = batch.reset(seed=0, options={"day": [1, 2], "job": [job, Job(0, 3)]})
    assert info["day"].tolist() == [1, 2]
    assert info["hours"].tolist() == [4, 0]
    # Choosing the job leaves day and prices as they were: paired comparisons.
    one, two = make().unwrapped, make().unwrapped
    one.reset(seed=3)
    two.reset(seed=3, options={"job": job})
    prices = [e.simulation.episodes.price_eur_per_kwh for e in (one, two)]
    assert np.array_equal(*prices)


def test_forecasts_are_hourly_means_of_the_tariff():
    env = make(uncertainty="none").unwrapped
    _, info = env.reset(seed=4)
    first = 24 + 96 * info["day"]
    tariff = synthetic_prices().import_eur_per_kwh[first : first + 96].reshape(24, 4).mean(axis=1)
    np.testing.assert_allclose(env.simulation.episodes.price_eur_per_kwh[0], tariff, atol=1e-15)


def test_the_picture_shows_the_day_at_any_hour():
    env = make(render_mode="rgb_array", uncertainty="autoregressive")
    env.reset(seed=0)
    pictures = [env.render()]
    for t in range(24):
        env.step(np.array([1.0]))
        if t % 6 == 5:
            pictures.append(env.render())
    assert {p.shape for p in pictures} == {(360, 960, 3)}
    assert {p.dtype for p in pictures} == {np.dtype(np.uint8)}
    assert len({p.tobytes() for p in pictures}) == 5
    assert make().render_mode is None
