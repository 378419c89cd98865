"""Statistics of the benchmark against hand values, SciPy, and what must hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, trim_mean

from flexgym.envs.errors import ScenarioError
from flexgym.evaluate.benchmark.statistics import (
    GROUPS,
    Resamples,
    chances,
    interquartile_mean,
    strata,
)


def test_interquartile_mean_by_hand():
    # 8 values: two cut off at each end, (3 + 4 + 5 + 6) / 4.
    assert interquartile_mean(np.array([8.0, 1, 7, 2, 6, 3, 5, 4])) == 4.5
    # 5 values: one at each end, (2 + 3 + 4) / 3; 3 values: none.
    assert interquartile_mean(np.array([100.0, 2, 3, 4, -50])) == 3.0
    assert interquartile_mean(np.array([0.0, 3, 30])) == 11.0


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40))
def test_interquartile_mean_is_that_of_scipy(values):
    expected = trim_mean(values, 0.25)
    assert interquartile_mean(np.array(values)) == pytest.approx(expected, abs=1e-9)


def test_chance_to_be_better_by_hand():
    # Seed 0: cheaper on the first day, equal on the second, dearer on the third.
    cost, rule = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), np.array([[2.0, 2.0, 2.0]])
    np.testing.assert_array_equal(chances(cost, rule), [[1.0, 0.5, 0.0], [1.0, 1.0, 1.0]])


def test_chance_to_be_better_is_the_mann_whitney_statistic():
    rng = np.random.default_rng(0)
    mine, theirs = (
        rng.integers(0, 4, (6, 1)).astype(float),
        rng.integers(0, 4, (5, 1)).astype(float),
    )
    u = mannwhitneyu(-mine[:, 0], -theirs[:, 0]).statistic
    assert chances(mine, theirs).mean() == pytest.approx(u / 30.0)


def test_standing_by_hand():
    # Two groups of 8 days; 10 EUR a day without control, 0 with the reference.
    zero, best = np.full(16, 10.0), np.zeros(16)
    cost = np.stack([np.repeat([2.0, 4.0], 8), np.repeat([0.0, 6.0], 8)])
    found = Resamples(zero, best).standing(cost, np.full((1, 16), 3.0))
    assert found.cost_eur.mean == pytest.approx(3.0)
    assert found.score.mean == pytest.approx(70.0)
    # Scores of seed by group: 80, 60, 100, 40; one cut off at each end.
    assert found.iqm.mean == pytest.approx(70.0)
    assert found.seed_scores == pytest.approx((70.0, 70.0))
    assert found.improvement is not None
    assert found.improvement.mean == pytest.approx(50.0)
    # Days are alike within a group, so only the seeds make the interval, and every resample of
    # them has 70 in sum; picking one seed twice leaves 80, 80, 60, 60 or 100, 100, 40, 40.
    assert (found.score.low, found.score.high) == pytest.approx((70.0, 70.0))


def test_references_score_0_and_100_in_every_resample():
    rng = np.random.default_rng(1)
    best = rng.normal(size=200)
    zero = best + rng.exponential(size=200)
    both = Resamples(zero, best)
    for cost, score in ((zero, 0.0), (best, 100.0)):
        found = both.standing(cost[None])
        for interval in (found.score, found.iqm):
            assert (interval.low, interval.mean, interval.high) == pytest.approx([score] * 3)
        assert found.improvement is None


def test_intervals_cover_what_they_should():
    """Of 200 samples of days and seeds, about 95 % of the intervals hold the true score."""
    rng = np.random.default_rng(2)
    inside = {"score": 0, "iqm": 0}
    for _ in range(200):
        worth = rng.gamma(4.0, 0.5, 120)
        skill = 0.8 + 0.05 * rng.normal(size=(12, 1))
        cost = worth * (1.0 - skill - 0.2 * rng.normal(size=(12, 120)))
        found = Resamples(worth, np.zeros(120), count=300).standing(cost)
        inside["score"] += found.score.low <= 80.0 <= found.score.high
        inside["iqm"] += found.iqm.low <= 80.0 <= found.iqm.high
    # Binomial with 200 and 0.95: 170 is five deviations below; twelve seeds cost some points.
    assert all(count >= 170 for count in inside.values())
    assert any(count < 200 for count in inside.values())


def test_days_matter_where_there_is_one_seed():
    rng = np.random.default_rng(3)
    found = Resamples(np.ones(80), np.zeros(80)).standing(rng.uniform(0.0, 0.4, (1, 80)))
    assert found.score.low < found.score.mean < found.score.high
    again = Resamples(np.ones(80), np.zeros(80)).standing(np.full((1, 80), 0.2))
    assert again.score.low == pytest.approx(again.score.high)


@pytest.mark.parametrize(("n", "count"), [(2, 1), (15, 1), (16, 2), (79, 9), (4096, GROUPS)])
def test_groups_are_large_enough(n, count):
    groups = strata(np.ones(n))
    assert len(groups) == count
    np.testing.assert_array_equal(np.concatenate(groups), np.arange(n))


def test_groups_in_which_nothing_is_gained_are_joined():
    worth = np.concatenate([np.full(16, -1.0), np.full(64, 2.0)])
    assert len(strata(worth)) == 2
    with pytest.raises(ScenarioError, match="Play more days"):
        strata(-worth)


def test_a_resample_in_which_a_group_gains_nothing_says_nothing():
    # Five groups of eight days, one of which is worth anything: scores 10, 20, 30, 40, 50.
    zero = np.tile(np.eye(8)[0], 5)
    cost = zero * np.repeat(1.0 - np.arange(0.1, 0.6, 0.1), 8)
    both = Resamples(zero, np.zeros(40))
    assert len(both.groups) == 5
    whole, without = np.ones(8), np.ones(8) - np.eye(8)[0]
    weights = [np.stack([whole, without if k == 0 else whole]) for k in range(5)]
    _, score, middle = both._values(cost[None], None, weights, np.zeros((2, 1), dtype=np.int64))
    assert score[0] == middle[0] == pytest.approx(30.0)
    assert np.isnan(score[1])
    assert np.isnan(middle[1])
