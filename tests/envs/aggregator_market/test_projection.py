"""Both constraints are met exactly by their projections, and nearest where that is claimed."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from flexgym.envs.aggregator_market.projection import (
    balance_by_chain,
    balance_penalty_eur,
    balance_residual,
    nearest_spins,
    project_balanced,
    project_shiftable,
    project_shiftable_spins,
    shiftable_penalty_eur,
    shiftable_residual,
)
from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.errors import ActionError, InfeasibleError, MarketError
from flexgym.envs.ising import Couplings, magnetisation, random_spins, random_state

DAY = case33_day()
SHARE = DAY.load_kw / DAY.load_kw.sum()


@given(seed=st.integers(0, 2**32 - 1), bias=st.floats(-1.0, 1.0))
@settings(max_examples=40, deadline=None)
def test_shifted_loads_end_even_and_stay_within_bounds(seed, bias):
    rng = np.random.default_rng(seed)
    wanted = np.clip(rng.uniform(-1, 1, (3, 24, 5)) + bias, -1, 1)
    m = project_shiftable(wanted, DAY.source_kw)
    assert np.abs(m).max() <= 1.0
    np.testing.assert_allclose(np.einsum("t,atb->ab", DAY.source_kw, m), 0.0, atol=1e-8)
    # A choice is bent only from the hour on where it would no longer come out even.
    np.testing.assert_allclose(project_shiftable(m, DAY.source_kw), m, atol=1e-12)
    assert np.array_equal(m[:, :10], wanted[:, :10])


def test_the_extremes_of_the_clip_rule():
    m = project_shiftable(np.ones((24, 1)), DAY.source_kw)[:, 0]
    fraction = np.nonzero(np.abs(m) < 1 - 1e-12)[0]
    assert len(fraction) <= 1
    assert (m[: fraction[0]] == 1).all()
    np.testing.assert_allclose(m[fraction[0] + 1 :], -1.0, atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_whole_spins_end_exactly_even(seed):
    rng = np.random.default_rng(seed)
    wanted = np.clip(rng.normal(0.2, 1.0, (24, 32)), -1, 1)
    up = project_shiftable_spins(wanted, DAY.customers, DAY.source_percent)
    assert ((up >= 0) & (up <= DAY.customers)).all()
    assert not shiftable_residual(up, DAY.customers, DAY.source_percent).any()
    again = project_shiftable_spins(
        2.0 * up / DAY.customers - 1.0, DAY.customers, DAY.source_percent
    )
    assert np.array_equal(up, again)


def test_whole_spins_against_brute_force():
    # Two customers, four hours: of all days that end even, the first differing hour is nearest.
    percent, wanted = np.array([2, 3, 4, 5]), np.array([0.9, -0.2, 0.4, -1.0])
    days = np.array(np.meshgrid(*[[0, 1, 2]] * 4)).reshape(4, -1).T
    even = days[(percent * (2 * days - 2)).sum(axis=1) == 0]
    key = np.abs(even - (1.0 + wanted))
    best = even[min(range(len(even)), key=lambda k: tuple(key[k]))]
    got = project_shiftable_spins(wanted[:, None], np.array([2]), percent)[:, 0]
    assert got.tolist() == best.tolist()


def test_odd_customers_and_odd_hours_cannot_end_even():
    percent = np.array([50, 51])
    with pytest.raises(InfeasibleError, match=r"3 customers .* is odd\. Use an even number"):
        project_shiftable_spins(np.zeros((2, 1)), np.array([3]), percent)
    with pytest.raises(InfeasibleError, match="no whole numbers of 3 customers"):
        project_shiftable_spins(np.zeros((2, 1)), np.array([3]), np.array([50, 52]))


@given(seed=st.integers(0, 2**32 - 1), bias=st.floats(-1.2, 1.2))
@settings(max_examples=60, deadline=None)
def test_balance_is_met_and_kept(seed, bias):
    rng = np.random.default_rng(seed)
    wanted = np.clip(rng.uniform(-1, 1, (7, 32)) + bias, -1, 1)
    m = project_balanced(wanted, DAY.load_kw)
    assert np.abs(m).max() <= 1.0
    np.testing.assert_allclose(m @ DAY.load_kw, 0.0, atol=1e-9)
    np.testing.assert_allclose(project_balanced(m, DAY.load_kw), m, atol=1e-12)
    # Where no bound is met the load-weighted mean has been subtracted.
    inside = (np.abs(wanted - (wanted @ SHARE)[:, None]) <= 1.0).all(axis=1)
    mean = wanted - (wanted @ SHARE)[:, None]
    np.testing.assert_allclose(m[inside], mean[inside], atol=1e-12)


@pytest.mark.parametrize("wanted", [np.ones(6), -np.ones(6), [1, 1, 0.9, -0.3, 1, 0.2]])
def test_the_balanced_projection_is_the_nearest(wanted):
    load = np.array([45.0, 60.0, 90.0, 420.0, 210.0, 100.0])
    wanted = np.asarray(wanted, dtype=float)
    found = minimize(
        lambda x: (load * (x - wanted) ** 2).sum() / 100.0,
        np.zeros(6),
        bounds=[(-1, 1)] * 6,
        constraints={"type": "eq", "fun": lambda x: load @ x / 100.0},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(project_balanced(wanted, load), found.x, atol=1e-5)


def test_residuals_are_exact():
    rng = np.random.default_rng(0)
    up = rng.integers(0, DAY.customers + 1)
    got, whole = balance_residual(up, DAY.customers, DAY.load_kw)
    exact = sum(
        int(kw) * Fraction(2 * int(n) - int(of), int(of))
        for kw, n, of in zip(DAY.load_kw, up, DAY.customers, strict=True)
    )
    assert Fraction(int(got), whole) == exact
    ends = nearest_spins(np.where(np.arange(32) % 2, 1.0, -1.0), DAY.customers)
    assert set(np.unique(ends / DAY.customers)) == {0.0, 1.0}
    # Rounding misses at most half a customer's share of each bus.
    m = project_balanced(rng.uniform(-1, 1, (50, 32)), DAY.load_kw)
    left, whole = balance_residual(nearest_spins(m, DAY.customers), DAY.customers, DAY.load_kw)
    assert np.abs(left / whole).max() <= (DAY.load_kw / DAY.customers).sum()


def test_the_constrained_chain_balances_and_keeps_the_balance():
    bus, world, rows = np.repeat(np.arange(32), DAY.customers), Couplings.lattice(17), 40
    rng = np.random.default_rng(0)
    start, state = random_spins(rng, rows, 289), random_state(rng, rows)
    first = start.copy()
    before = np.abs(magnetisation(start, bus) @ SHARE)
    moved, left = balance_by_chain(
        world, start, bus, DAY.load_kw, state, temperature=2.269, sweeps=30
    )
    assert np.array_equal(start, first)
    np.testing.assert_allclose(left, magnetisation(moved, bus) @ SHARE, atol=1e-12)
    assert (np.abs(left) <= before + 1e-15).all()
    assert np.abs(left).mean() < 0.05 * before.mean()
    again, later = balance_by_chain(
        world, moved, bus, DAY.load_kw, state, temperature=2.269, sweeps=30
    )
    assert (np.abs(later) <= np.abs(left)).all()
    # Near balance every single flip would raise it: the chain is at rest.
    rested = (again == moved).all(axis=1)
    flips = 2.0 * (SHARE / DAY.customers)[bus] * moved
    worse = (np.abs(later[:, None] - flips) > np.abs(later)[:, None]).all(axis=1)
    assert rested[worse].all()
    assert worse.mean() > 0.5


def test_penalties_are_the_price_of_the_residual():
    m = np.random.default_rng(1).uniform(-1, 1, (4, 24, 32))
    owed = shiftable_penalty_eur(m, DAY.source_kw, SHARE, 45.0)
    by_hand = 45e-3 * abs(sum(DAY.source_kw[t] * SHARE[3] * m[2, t, 3] for t in range(24)))
    assert owed.shape == (4, 32)
    assert owed[2, 3] == pytest.approx(by_hand, rel=1e-12)
    even = shiftable_penalty_eur(project_shiftable(m, DAY.source_kw), DAY.source_kw, SHARE, 45.0)
    assert even.max() < 1e-12
    gap = balance_penalty_eur(m, DAY.source_kw, SHARE, 45.0)
    assert gap.shape == (4, 24)
    assert gap[1, 5] == pytest.approx(45e-3 * DAY.source_kw[5] * abs(m[1, 5] @ SHARE), rel=1e-12)
    assert (
        balance_penalty_eur(project_balanced(m, DAY.load_kw), DAY.source_kw, SHARE, 45.0).max()
        < 1e-12
    )


def test_bad_input():
    with pytest.raises(ActionError, match="shape"):
        project_shiftable(np.zeros((23, 32)), DAY.source_kw)
    with pytest.raises(ActionError, match="to 1"):
        project_balanced(np.full(32, 1.5), DAY.load_kw)
    with pytest.raises(MarketError, match="positive power"):
        project_shiftable(np.zeros((2, 1)), [1.0, 0.0])
    with pytest.raises(MarketError, match="whole numbers"):
        shiftable_residual(np.zeros((24, 32), int), DAY.customers, DAY.source_kw)
