"""A job ends in time whatever is wished, and every schedule within its rules can be played."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexgym.envs.appliance.job import advance, check_job, may_run, must_run, runs, slack
from flexgym.envs.errors import JobError


@st.composite
def jobs(draw):
    """Periods, earliest, deadline and whether it may pause."""
    periods = draw(st.integers(0, 5))
    earliest = draw(st.integers(0, 4))
    deadline = earliest + periods + draw(st.integers(0, 4))
    return periods, earliest, deadline, draw(st.booleans())


def play(job, wishes):
    """Periods in which a job runs if it is wished to in these periods."""
    left, earliest, deadline, interruptible = job
    running, ran = False, []
    for t, wanted in enumerate(wishes):
        state = (t, left, earliest, deadline, running, interruptible)
        now = runs(*state, wanted)
        assert not must_run(*state) or may_run(*state)
        assert (now and may_run(*state)) or (not now and not must_run(*state))
        assert slack(t, left, earliest, deadline) >= 0
        if now:
            ran.append(t)
        left, running = advance(left, now)
        assert running == (now and left > 0)
    assert left == 0
    return ran


@given(jobs(), st.lists(st.booleans(), min_size=14, max_size=14))
def test_a_job_ends_within_its_window_whatever_is_wished(job, wishes):
    periods, earliest, deadline, interruptible = job
    ran = play(job, wishes)
    assert len(ran) == periods
    assert all(earliest <= t < deadline for t in ran)
    if not interruptible and ran:
        assert ran == list(range(ran[0], ran[0] + periods))


@given(jobs())
def test_every_schedule_that_keeps_the_rules_can_be_played(job):
    periods, earliest, deadline, interruptible = job
    window = range(earliest, deadline)
    for chosen in combinations(window, periods):
        whole = chosen == tuple(range(chosen[0], chosen[0] + periods)) if chosen else True
        if interruptible or whole:
            assert tuple(play(job, [t in chosen for t in range(14)])) == chosen


@given(jobs())
def test_never_wished_it_runs_at_the_very_end(job):
    periods, _, deadline, _ = job
    assert play(job, [False] * 14) == list(range(deadline - periods, deadline))


@given(jobs())
def test_always_wished_it_runs_at_once(job):
    periods, earliest, _, _ = job
    assert play(job, [True] * 14) == list(range(earliest, earliest + periods))


def test_slack_counts_the_periods_it_can_wait():
    assert slack(0, 2, 3, 8) == 3
    assert slack(4, 2, 3, 8) == 2
    assert slack(6, 2, 3, 8) == 0
    assert slack(7, 0, 3, 8) == 0


@pytest.mark.parametrize(
    ("job", "text"),
    [
        ((3, 2, 4, 1.0), "at least as long as the job"),
        ((-1, 0, 4, 1.0), "periods is -1"),
        ((1, -1, 4, 1.0), "earliest is -1"),
        ((1.0, 0, 4, 1.0), "whole number"),
        ((True, 0, 4, 1.0), "whole number"),
        ((1, 0, 4, 0.0), "power_kw"),
        ((1, 0, 4, float("nan")), "power_kw"),
        ((1, 0, 4, "2"), "power_kw"),
    ],
)
def test_what_is_no_job_is_refused(job, text):
    with pytest.raises(JobError, match=text):
        check_job(*job)


def test_numpy_numbers_and_jobs_of_no_length_are_jobs():
    check_job(np.int64(2), np.int32(1), np.int64(3), np.float64(1.5))
    check_job(0, 3, 3, 1.0)
