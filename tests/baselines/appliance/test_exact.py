"""Dynamic programs of a job against enumeration that knows nothing of them."""

from functools import cache
from itertools import combinations, product

import numpy as np
import pytest

from flexgym.baselines.appliance import (
    cheapest_hours,
    cheapest_start,
    expected_cost,
    histories,
    hurdle_prices,
    perfect_foresight,
    stopping_rule,
)
from flexgym.envs.appliance.params import Job, Jobs
from flexgym.envs.errors import JobError, ScenarioError
from flexgym.envs.forecasts.signals import SignalProcess

EVERY = [(H, L) for H in range(1, 11) for L in range(H + 1)]


def value_of(process, job):
    return (hurdle_prices if job.interruptible else stopping_rule)(process, job).expected_eur


@pytest.mark.parametrize("seed", range(3))
def test_on_known_prices_it_equals_every_schedule_s_best(seed):
    rng = np.random.default_rng(seed)
    for H, L in EVERY:
        before = int(rng.integers(3))
        price = rng.normal(0.2, 0.2, before + H + int(rng.integers(3)))
        window = price[before : before + H]
        power = float(rng.uniform(0.5, 3.0))
        pausing = Job(L, before + H, before, power, True)
        whole = Job(L, before + H, before, power)
        loose = min(sum(window[list(hours)]) for hours in combinations(range(H), L))
        tight = min(window[t : t + L].sum() for t in range(H - L + 1))
        known = SignalProcess.known(price)
        assert value_of(known, pausing) == pytest.approx(power * loose, abs=1e-12)
        assert value_of(known, whole) == pytest.approx(power * tight, abs=1e-12)
        hours = cheapest_hours(window, L)
        assert len(set(hours)) == L
        assert window[hours].sum() == pytest.approx(loose, abs=1e-12)
        start = cheapest_start(window, L)
        assert window[start : start + L].sum() == pytest.approx(tight, abs=1e-12)
        cost, ran = perfect_foresight(Jobs.of([pausing, whole]), np.array([price, price]))
        np.testing.assert_allclose(cost, [power * loose, power * tight], atol=1e-12)
        assert ran.sum(axis=1).tolist() == [L, L]


def tree(process, deadline, interruptible):
    """Least expected cost of 1 kW from a history on, and that of running and of idling.

    A recursion over histories, not states: it does not know that the signal now is enough.
    """

    @cache
    def choices(history, left, running):
        t, s = len(history) - 1, history[-1]
        price = process.price_eur_per_kwh[t, s]

        def later(then, goes_on):
            if t + 1 == process.periods:
                return 0.0 if then == 0 else np.inf
            step = process.transition[t, s]
            return sum(
                p * min(choices((*history, k), then, goes_on)) if p > 0.0 else 0.0
                for k, p in enumerate(step)
            )

        able = left > 0 and t < deadline
        pauses = interruptible or not running
        run = price + later(left - 1, left > 1) if able else np.inf
        idle = later(left, False) if pauses and left <= max(deadline - t - 1, 0) else np.inf
        return run, idle

    return choices


@pytest.mark.parametrize(("signals", "longest"), [(2, 10), (3, 6)])
@pytest.mark.parametrize("interruptible", [True, False])
def test_on_finite_processes_it_equals_the_tree_of_histories(
    world, signals, longest, interruptible
):
    rng = np.random.default_rng(signals)
    checked = 0
    for H in range(1, longest + 1):
        process = world.random_process(rng, H, signals)
        choices = tree(process, H, interruptible)
        for L in range(H + 1):
            job = Job(L, H, interruptible=interruptible)
            best = sum(
                p * min(choices((s,), L, False)) for s, p in enumerate(process.initial)
            )  # fmt: skip
            assert value_of(process, job) == pytest.approx(best, abs=1e-12)
            checked += 1
    assert checked == (longest + 1) * (longest + 2) // 2 - 1


def test_the_hurdle_price_is_the_optimal_action_everywhere(world):
    """In every hour, with any number of hours left, on every signal: also off the optimal path."""
    rng = np.random.default_rng(5)
    both = np.zeros(2)
    for H in range(1, 11):
        signals = 3 if H < 8 else 2
        process = world.random_process(rng, H, signals)
        choices = tree(process, H, True)
        solved = hurdle_prices(process, Job(H, H, interruptible=True))
        for t, s, left in product(range(H), range(signals), range(H + 1)):
            if left > H - t:
                assert np.isinf(solved.value_eur_per_kw[t, left]).all()
                continue
            run, idle = choices((0,) * t + (s,), left, False)
            assert solved.value_eur_per_kw[t, left, s] == pytest.approx(min(run, idle), abs=1e-12)
            runs = solved.runs(t, left, s)
            assert (run if runs else idle) == pytest.approx(min(run, idle), abs=1e-12)
            price, hurdle = process.price_eur_per_kwh[t, s], solved.hurdle_eur_per_kwh[t, left, s]
            assert runs == (price <= hurdle)
            if 0 < left < H - t:
                assert price - hurdle == pytest.approx(run - idle, abs=1e-12)
                both[int(runs)] += 1
    assert both.min() > 30


def test_the_stopping_rule_is_the_optimal_action_everywhere(world):
    rng = np.random.default_rng(6)
    both = np.zeros(2)
    for H, L in EVERY:
        if L == 0 or H > 7:
            continue
        process = world.random_process(rng, H, 3)
        choices = tree(process, H, False)
        solved = stopping_rule(process, Job(L, H))
        for t, s in product(range(H - L + 1), range(3)):
            run, idle = choices((0,) * t + (s,), L, False)
            assert solved.value_eur_per_kw[t, s] == pytest.approx(min(run, idle), abs=1e-12)
            starts = solved.starts(t, s)
            assert (run if starts else idle) == pytest.approx(min(run, idle), abs=1e-12)
            both[int(starts)] += t < H - L
    assert both.min() > 30


@pytest.mark.parametrize(
    ("H", "L", "interruptible"),
    [(3, 1, True), (3, 2, True), (3, 3, True), (4, 1, True), (3, 1, False), (4, 2, False)],
)
def test_it_equals_the_best_of_all_policies(world, H, L, interruptible):
    """Every deterministic policy of histories, listed, and played on every history."""
    process = world.random_process(np.random.default_rng(H + L), H, 2)
    job = Job(L, H, interruptible=interruptible)
    paths, chance = histories(process)
    nodes = {}
    for path in paths.tolist():
        for t, left in product(range(H - 1), range(1, L + 1)):
            if left < H - t and (interruptible or left == L):
                nodes.setdefault((*path[: t + 1], left), len(nodes))
    assert len(nodes) <= 14
    price = process.price_eur_per_kwh[np.arange(H), paths]
    costs = []
    for decisions in product((False, True), repeat=len(nodes)):
        total = 0.0
        for path, paid, p in zip(paths.tolist(), price, chance, strict=True):
            left, running = L, False
            for t in range(H):
                forced = left > 0 and (left == H - t or (running and not interruptible))
                free = left > 0 and not forced
                running = forced or (free and decisions[nodes[(*path[: t + 1], left)]])
                total += p * paid[t] * running
                left -= running
        costs.append(total)
    assert value_of(process, job) == pytest.approx(min(costs), abs=1e-12)
    assert max(costs) > min(costs) or L == H


@pytest.mark.parametrize("seed", range(8))
def test_the_value_is_what_the_rule_costs_and_no_table_of_wishes_costs_less(world, seed):
    rng = np.random.default_rng(seed)
    process = world.random_process(rng, 8, 3)
    for interruptible in (True, False):
        job = world.random_job(rng, 8, interruptible)
        wishes = np.zeros((8, job.hours + 1, 2, 3), dtype=bool)
        if interruptible:
            solved = hurdle_prices(process, job)
            for t, left, s in product(range(8), range(job.hours + 1), range(3)):
                wishes[t, left, :, s] = solved.runs(t, left, s)
        else:
            solved = stopping_rule(process, job)
            for t, s in product(range(8), range(3)):
                wishes[t, job.hours, :, s] = solved.starts(t, s)
        value = solved.expected_eur
        assert expected_cost(process, job, wishes) == pytest.approx(value, abs=1e-12)
        for _ in range(20):
            anything = rng.random(wishes.shape) < rng.random()
            assert expected_cost(process, job, anything) >= value - 1e-12


def test_of_equal_hours_the_earliest_are_taken():
    flat = SignalProcess.known(np.full(8, 0.1 + 0.2))
    solved = hurdle_prices(flat, Job(3, 7, 1, interruptible=True))
    left = 3
    for t in range(8):
        runs = solved.runs(t, left, 0)
        assert runs == (1 <= t < 4)
        left -= runs
    assert stopping_rule(flat, Job(3, 7, 1)).starts(1, 0)
    assert cheapest_start(np.full(8, 0.3), 3) == 0
    assert cheapest_hours([0.3, 0.1, 0.3, 0.3], 2).tolist() == [0, 1]


def test_a_job_of_no_hours_costs_nothing_and_needs_no_action(world):
    process = world.random_process(np.random.default_rng(0), 5, 2)
    none = hurdle_prices(process, Job(0, 3, 1, interruptible=True))
    assert none.expected_eur == 0.0
    assert not any(none.runs(t, 0, s) for t in range(5) for s in range(2))
    whole = stopping_rule(process, Job(0, 2))
    assert whole.expected_eur == 0.0
    assert not any(whole.starts(t, s) for t in range(5) for s in range(2))
    assert len(cheapest_hours([0.1, 0.2], 0)) == 0
    cost, ran = perfect_foresight(Jobs.of([Job(0, 3)]), np.ones((1, 5)))
    assert cost.tolist() == [0.0]
    assert not ran.any()


def test_bad_input_is_named(world):
    process = world.random_process(np.random.default_rng(0), 5, 2)
    with pytest.raises(JobError, match="Use hurdle_prices"):
        stopping_rule(process, Job(1, 5, interruptible=True))
    with pytest.raises(JobError, match="Use stopping_rule"):
        hurdle_prices(process, Job(1, 5))
    with pytest.raises(JobError, match="deadline within it"):
        hurdle_prices(process, Job(1, 6, interruptible=True))
    with pytest.raises(JobError, match="window at least as long"):
        cheapest_start([0.1, 0.2], 3)
    for hours in (1.5, "1", None, True, -1):
        with pytest.raises(JobError, match="whole number of hours"):
            cheapest_start([0.1, 0.2], hours)
    for prices in ("abc", ["0.1", "0.2"], None):
        with pytest.raises(JobError, match="no array of numbers"):
            cheapest_hours(prices, 1)
        with pytest.raises(JobError, match="no array of numbers"):
            perfect_foresight(Jobs.of([Job(1, 2)]), prices)
    with pytest.raises(JobError, match="jobs is Job; expected Jobs"):
        perfect_foresight(Job(1, 2), np.zeros((1, 2)))
    pausing = hurdle_prices(process, Job(2, 5, interruptible=True))
    whole = stopping_rule(process, Job(2, 5))
    for state in ((-1, 1, 0), (5, 1, 0), (0, -1, 0), (0, 3, 0), (0, 1, 2), (0, 1, 0.5)):
        with pytest.raises(JobError, match="expected a whole number from 0 to"):
            pausing.runs(*state)
    for state in ((-1, 0), (5, 0), (0, -1), (0, 2), ("0", 0)):
        with pytest.raises(JobError, match="expected a whole number from 0 to"):
            whole.starts(*state)
    with pytest.raises(JobError, match="expected a SignalProcess and a Job"):
        hurdle_prices([0.1, 0.2], Job(1, 2, interruptible=True))
    late = np.zeros((5, 2, 2, 2), dtype=bool)
    for interruptible in (True, False):
        with pytest.raises(JobError, match="deadline within it"):
            expected_cost(process, Job(1, 6, interruptible=interruptible), late)
    for wishes in (np.full(late.shape, np.nan), late.astype(float), [[1], [1, 2]]):
        with pytest.raises(ScenarioError, match="wishes has shape"):
            expected_cost(process, Job(1, 5), wishes)
    for prices in ([0.1, np.nan], [[0.1]]):
        with pytest.raises(JobError, match="finite numbers"):
            cheapest_hours(prices, 1)
    with pytest.raises(JobError, match="finite numbers"):
        perfect_foresight(Jobs.of([Job(1, 2)]), np.full((1, 2), np.nan))
    with pytest.raises(JobError, match="deadlines within them"):
        perfect_foresight(Jobs.of([Job(1, 3)]), np.zeros((1, 2)))
    with pytest.raises(ScenarioError, match="wishes has shape"):
        expected_cost(process, Job(1, 5), np.zeros((5, 1, 2, 2), dtype=bool))
    with pytest.raises(ScenarioError, match="histories"):
        histories(SignalProcess.independent(np.zeros((24, 2)), [0.5, 0.5]))
