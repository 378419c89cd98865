"""What patterns cost in expectation, exactly: every history is played in the environment."""

import numpy as np
import pytest

from flexgym.baselines.appliance import hurdle_prices, perfect_foresight, stopping_rule
from flexgym.envs.appliance.params import Job
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.policies.appliance import (
    Acceptance,
    Normal,
    OpenLoop,
    Optimal,
    Prediction,
    Replanned,
    play,
)

PATTERNS = (
    Normal(),
    OpenLoop(),
    Replanned(),
    Prediction(),
    Acceptance(),
    Acceptance(price_quantile=0.6, cost_quantile=0.0),
    Acceptance(max_price_eur_per_kwh=0.1, max_cost_eur=0.3),
)


def worlds(world):
    """Random processes and jobs, both kinds."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        process = world.random_process(rng, int(rng.integers(4, 7)), int(rng.integers(1, 4)))
        yield process, world.random_job(rng, process.periods, bool(seed % 2))


def test_the_optimum_costs_its_value_and_no_pattern_less(world):
    better = dict.fromkeys(PATTERNS, 0)
    for process, job in worlds(world):
        solved = (hurdle_prices if job.interruptible else stopping_rule)(process, job)
        value = solved.expected_eur
        policy = Optimal()
        assert world.exact_cost(policy, process, job) == pytest.approx(value, abs=1e-9)
        np.testing.assert_allclose(policy.value_eur, value, atol=1e-12)
        for pattern in PATTERNS:
            cost = world.exact_cost(pattern, process, job)
            assert cost >= value - 1e-12
            better[pattern] += cost > value + 1e-6
        simulation, chance = world.all_histories(process, job)
        episodes = simulation.episodes
        least = perfect_foresight(episodes.jobs, episodes.price_eur_per_kwh)[0]
        assert chance @ least <= value + 1e-12
        assert (play(policy, simulation) >= least - 1e-12).all()
    assert min(better.values()) >= 5


def test_window_search_is_never_worse_than_normal_and_better_re_planned(world):
    strictly = np.zeros(2)
    for process, job in worlds(world):
        costs = [world.exact_cost(p, process, job) for p in (Normal(), OpenLoop(), Replanned())]
        assert costs[1] <= costs[0] + 1e-12
        assert costs[2] <= costs[1] + 1e-12
        strictly += np.diff(costs) < -1e-6
    assert strictly.min() >= 5


def test_prediction_is_the_source_s_pattern_for_each_kind(world):
    for process, job in worlds(world):
        like = Optimal() if job.interruptible else OpenLoop()
        expected = world.exact_cost(like, process, job)
        assert world.exact_cost(Prediction(), process, job) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("interruptible", [True, False])
def test_where_acceptance_beats_window_search(world, interruptible):
    """Three prices that come and go by chance: a hope no forecast shows.

    Every forecast of a later hour is the mean, 0.32, so the search runs at 0.29, though the next
    hours bring 0.05 with 1 - (2/3)**5 = 87 %. Who accepts 0.1 at most waits for it.
    """
    process = SignalProcess.independent(np.tile([0.05, 0.29, 0.62], (6, 1)), np.ones(3) / 3.0)
    job = Job(1, 6, interruptible=interruptible)
    accepting = Acceptance(max_price_eur_per_kwh=0.1, max_cost_eur=0.1)
    # Five hours to find it in, in the last one it must run: 0.05 or the mean.
    miss = (2.0 / 3.0) ** 5
    cost = world.exact_cost(accepting, process, job)
    assert cost == pytest.approx(0.05 * (1 - miss) + 0.32 * miss)
    for search in (OpenLoop(), Replanned()):
        assert world.exact_cost(search, process, job) > cost + 0.05


@pytest.mark.parametrize("interruptible", [True, False])
def test_what_accepts_nothing_runs_in_the_last_hours(world, interruptible):
    process = world.random_process(np.random.default_rng(3), 6, 2)
    job = Job(2, 5, 1, interruptible=interruptible)
    simulation, _ = world.all_histories(process, job)
    policy = Acceptance(max_price_eur_per_kwh=-9.0, max_cost_eur=-9.0)
    policy.begin(simulation)
    while not simulation.done:
        outcome = simulation.step(policy.act(simulation))
        late = simulation.t - 1 in (3, 4)
        assert (outcome[:, 0] == late).all()
        # It is made to begin; what may not pause then runs on as it wishes.
        assert (outcome[:, 1] == (late if interruptible else simulation.t - 1 == 3)).all()
