"""Patterns of an appliance in the environment: the optimum's mean is its value, limits hold."""

from dataclasses import replace

import numpy as np
import pytest

from flexgym.baselines.appliance import hurdle_prices, perfect_foresight, stopping_rule
from flexgym.envs.appliance.dynamics import FORCED, RAN
from flexgym.envs.appliance.params import Job
from flexgym.envs.appliance.scenario import ApplianceScenario
from flexgym.envs.appliance.simulation import ApplianceSimulation
from flexgym.envs.errors import ScenarioError
from flexgym.evaluate.score import normal_interval
from flexgym.policies.appliance import (
    Acceptance,
    Normal,
    OpenLoop,
    Optimal,
    Prediction,
    Replanned,
    play,
    tuned_acceptance,
)

EPISODES = 20_000
ALL = (Normal(), OpenLoop(), Replanned(), Prediction(), Acceptance(), Optimal())


def episodes_of(seed, n=EPISODES, **options):
    scenario = ApplianceScenario.create(**options)
    simulation = ApplianceSimulation(scenario, n)
    drawn = scenario.draw(np.random.default_rng(seed).random((n, scenario.draws)))
    simulation.start(drawn)
    return simulation, drawn


@pytest.mark.parametrize("interruptible", [True, False])
def test_the_mean_of_one_job_s_episodes_is_its_value(interruptible):
    job = Job(4, 20, 3, 2.0, interruptible)
    options = {"jobs": job, "days": 30, "uncertainty": "autoregressive"}
    simulation, _ = episodes_of(1, **options, noise_sd_eur_per_kwh=0.02)
    policy = Optimal()
    interval = normal_interval(play(policy, simulation), 0.99)
    process = simulation.scenario.processes[simulation.episodes.row[0]]
    solve = hurdle_prices if interruptible else stopping_rule
    value = solve(process, job).expected_eur
    np.testing.assert_allclose(policy.value_eur, value, rtol=1e-12)
    assert interval.low <= value <= interval.high
    assert interval.high - interval.low < 0.02 * value


@pytest.mark.parametrize("uncertainty", ["markov", "autoregressive"])
def test_the_mean_of_all_jobs_is_that_of_their_values_and_no_pattern_beats_it(uncertainty):
    simulation, drawn = episodes_of(2, uncertainty=uncertainty, noise_sd_eur_per_kwh=0.02)
    best = Optimal()
    optimal = play(best, simulation)
    apart = normal_interval(optimal - best.value_eur, 0.99)
    assert apart.low <= 0.0 <= apart.high
    bound = perfect_foresight(drawn.jobs, drawn.price_eur_per_kwh)[0]
    for policy in ALL[:-1]:
        simulation.start(drawn)
        cost = play(policy, simulation)
        assert (cost >= bound - 1e-12).all()
        # Paired: what both pay for cancels.
        behind = normal_interval(cost - optimal, 0.99)
        assert behind.high >= 0.0
        assert behind.low > 0.0 or not isinstance(policy, Normal | OpenLoop | Acceptance)
    assert bound.mean() < optimal.mean()


def test_on_known_prices_search_and_optimum_are_perfect():
    simulation, drawn = episodes_of(3, 2000, uncertainty="none")
    bound = perfect_foresight(drawn.jobs, drawn.price_eur_per_kwh)[0]
    for policy in (OpenLoop(), Replanned(), Prediction(), Optimal()):
        simulation.start(drawn)
        np.testing.assert_allclose(play(policy, simulation), bound, atol=1e-12)


def test_accepted_is_what_lies_below_the_limit():
    simulation, drawn = episodes_of(4, 3000, uncertainty="autoregressive")
    jobs = drawn.jobs
    policy = Acceptance(max_price_eur_per_kwh=0.25, max_cost_eur=0.8)
    policy.begin(simulation)
    begun = np.zeros(3000, dtype=bool)
    chosen = 0
    while not simulation.done:
        t, price, forecast = simulation.t, simulation.expected_eur_per_kwh, simulation.forecast
        left, open_ = simulation.left.copy(), (jobs.earliest <= simulation.t)
        outcome = simulation.step(policy.act(simulation))
        free = (outcome[:, RAN] > 0) & (outcome[:, FORCED] == 0)
        pausing = free & jobs.interruptible
        assert (price[pausing] <= 0.25 + 1e-9).all()
        starting = free & ~jobs.interruptible & ~begun
        for i in np.flatnonzero(starting):
            cost = jobs.power_kw[i] * forecast[i, t : t + left[i]].sum()
            assert cost <= 0.8 + 1e-9
        idle = (outcome[:, RAN] == 0) & open_ & (left > 0) & jobs.interruptible
        assert (price[idle] > 0.25).all()
        begun |= outcome[:, RAN] > 0
        chosen += pausing.sum() + starting.sum()
    assert chosen > 3000
    assert (simulation.left == 0).all()


def test_an_open_plan_is_kept_and_made_on_what_is_known_then():
    simulation, drawn = episodes_of(5, 500, uncertainty="autoregressive")
    policy = OpenLoop()
    policy.begin(simulation)
    known = simulation.scenario.forecast_table
    jobs = drawn.jobs
    ran = np.zeros((500, 24), dtype=bool)
    while not simulation.done:
        t = simulation.t
        ran[:, t] = simulation.step(policy.act(simulation))[:, RAN] > 0
    for i in range(500):
        e, d, L = jobs.earliest[i], jobs.deadline[i], jobs.hours[i]
        seen = known[drawn.row[i], e, drawn.signal[i, e]]
        if jobs.interruptible[i]:
            expected = np.sort(np.argsort(seen[e:d], kind="stable")[:L]) + e
        else:
            first = e + np.argmin([seen[t : t + L].sum() for t in range(e, d - L + 1)])
            expected = np.arange(first, first + L)
        assert np.flatnonzero(ran[i]).tolist() == expected.tolist()


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.name)
def test_nobody_sees_the_future(policy):
    """Signals and prices after hour 9 are other ones: until then nothing is done differently."""
    simulation, drawn = episodes_of(6, 400, uncertainty="autoregressive")
    other = episodes_of(7, 400, uncertainty="autoregressive")[1]
    known = np.arange(24) < 10
    signal = np.where(known, drawn.signal, other.signal)
    price = np.where(known, drawn.price_eur_per_kwh, other.price_eur_per_kwh)
    acted, later = [], []
    for episodes in (drawn, replace(drawn, signal=signal, price_eur_per_kwh=price)):
        simulation.start(episodes)
        policy.begin(simulation)
        seen, done = [], []
        while not simulation.done:
            action = policy.act(simulation)
            (seen if simulation.t < 10 else done).append((simulation.observe(), action))
            simulation.step(action)
        acted.append(seen)
        later.append(done)
    for one, two in zip(*acted, strict=True):
        assert np.array_equal(one[0], two[0])
        assert np.array_equal(one[1], two[1])
    assert not np.array_equal(later[0][-1][0], later[1][-1][0])


def test_tuned_limits_are_the_best_of_the_grid_on_train_days():
    scenario = ApplianceScenario.create(uncertainty="autoregressive")
    tuned = tuned_acceptance(scenario, episodes=400, seed=3)
    assert tuned.name == "acceptance, tuned"
    assert tuned.price_quantile != tuned.cost_quantile

    def cost(**quantiles):
        simulation = ApplianceSimulation(scenario, 400)
        simulation.start(scenario.draw(np.random.default_rng(3).random((400, scenario.draws))))
        paid = play(Acceptance(**quantiles), simulation)
        return [paid[rows].sum() for rows in split(simulation)]

    def split(simulation):
        pausing = simulation.episodes.jobs.interruptible
        return pausing, ~pausing

    best = cost(price_quantile=tuned.price_quantile, cost_quantile=tuned.cost_quantile)
    for share in (0.0, 0.1, 0.25, 0.5, 0.75, 1.0):
        other = cost(price_quantile=share, cost_quantile=share)
        assert best[0] <= other[0] + 1e-12
        assert best[1] <= other[1] + 1e-12


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        ({"max_price_eur_per_kwh": float("nan")}, "expected numbers, or None"),
        ({"max_cost_eur": float("nan")}, "expected numbers, or None"),
        ({"max_price_eur_per_kwh": "x"}, "expected numbers, or None"),
        ({"max_cost_eur": [0.1]}, "expected numbers, or None"),
        ({"max_cost_eur": True}, "expected numbers, or None"),
        ({"price_quantile": None}, "price_quantile is None"),
        ({"cost_quantile": "x"}, "cost_quantile is 'x'"),
        ({"cost_quantile": [0.1]}, "cost_quantile is"),
        ({"price_quantile": 1.5}, "price_quantile is 1.5"),
        ({"cost_quantile": float("nan")}, "cost_quantile is nan"),
    ],
)
def test_bad_limits_are_named(limits, match):
    with pytest.raises(ScenarioError, match=match):
        Acceptance(**limits)


@pytest.mark.parametrize("options", [{"episodes": 0}, {"episodes": 1.5}, {"seed": -1}])
def test_there_is_something_to_tune_on(options):
    with pytest.raises(ScenarioError, match="expected integers, at least 1 and 0"):
        tuned_acceptance(ApplianceScenario.create(), **options)


def test_limits_may_be_infinite():
    simulation, _ = episodes_of(8, 50, kind="interruptible")
    play(Acceptance(max_price_eur_per_kwh=float("-inf")), simulation)
    assert (simulation.left == 0).all()
