"""Merit order and linear program agree; misreports pay where a rule is not strategy-proof."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.baselines.local_market.deviations import best_deviation, price_grid, truth_gap
from flexgym.baselines.local_market.welfare import optimal_welfare, tree_welfare, welfare
from flexgym.envs.errors import OrderError
from flexgym.envs.local_market.clearing import clear, equilibrium_interval
from flexgym.envs.local_market.hierarchy import Hierarchy
from flexgym.envs.local_market.params import RULES

LIMIT = np.array([0.20, 0.30, 0.45, 0.55, 0.50, 0.60])
VOLUME = np.array([-5.0, -20.0, -5.0, -10.0, 10.0, 10.0])
"""The source's example; sellers first."""


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 40), tied=st.booleans())
def test_merit_order_is_worth_what_the_linear_program_says(seed, n, tied):
    rng = np.random.default_rng(seed)
    price = rng.uniform(-0.1, 0.5, (3, n))
    price = np.round(price, 1) if tied else price
    volume = rng.uniform(-4.0, 4.0, (3, n))
    best = optimal_welfare(price, volume)
    low, high = equilibrium_interval(price, volume)
    for rule in RULES:
        traded, paid = clear(price, volume, rule)
        np.testing.assert_allclose(welfare(price, traded), best.welfare_eur, atol=1e-9)
        # Money only changes hands: surpluses add up to the welfare.
        surplus = (price * traded - paid).sum(axis=1)
        np.testing.assert_allclose(surplus, best.welfare_eur, atol=1e-9)
    # Its dual is an equilibrium price.
    dual = best.price_eur_per_kwh[:, 0]
    both = np.isfinite(low) & np.isfinite(high)
    assert (dual[both] >= low[both] - 1e-7).all()
    assert (dual[both] <= high[both] + 1e-7).all()
    assert np.abs(best.traded_kwh.sum(axis=1)).max() <= 1e-9


def test_the_example_of_the_source_is_worth_five_euro():
    """5 kWh of 0.20 and 5 of 0.30 for 0.60, 10 of 0.30 for 0.50."""
    assert optimal_welfare(LIMIT, VOLUME).welfare_eur[0] == pytest.approx(5.5)
    assert optimal_welfare(LIMIT, VOLUME).price_eur_per_kwh[0, 0] == pytest.approx(0.30)


@pytest.mark.parametrize(
    ("rule", "who", "truthful", "above"),
    [
        # P1 is paid its ask; just below 0.30 it still sells first, and just below P3's more.
        ("pay-as-bid", 0, 0.0, 0.49),
        # C1 outbids C2 and takes the cheaper offers, though it pays nobody its bid.
        ("pay-as-bid", 4, 2.00, 2.49),
        # P2 sets the price. At P3's ask, less a hair, it still sells 15 kWh.
        ("uniform", 1, 0.0, 2.24),
        # A lower bid lowers the mean, as long as it is still served.
        ("mid-price", 5, 1.75, 2.9),
        # A higher ask raises it.
        ("mid-price", 1, 1.75, 2.87),
    ],
)
def test_a_misreport_that_pays(rule, who, truthful, above):
    found = best_deviation(LIMIT, VOLUME, who, rule)
    assert found.truthful_eur == pytest.approx(truthful)
    assert found.surplus_eur > above
    assert found.gain_eur > 0.0
    # It is what the market pays.
    posted = LIMIT.copy()
    posted[who] = found.price_eur_per_kwh
    traded, paid = clear(posted, VOLUME, rule)
    surplus = LIMIT[who] * traded[0, who] - paid[0, who]
    assert surplus == pytest.approx(found.surplus_eur, abs=1e-12)


def test_holding_back_volume_raises_a_uniform_price():
    """One seller, two buyers: with less to sell the dearer bid alone sets the price."""
    limit, volume = np.array([0.10, 0.60, 0.20]), np.array([-10.0, 6.0, 4.0])
    whole = best_deviation(limit, volume, 0, "uniform", prices=[0.10])
    part = best_deviation(limit, volume, 0, "uniform", prices=[0.10], shares=[0.5, 0.6, 1.0])
    assert whole.gain_eur == 0.0
    assert part.share < 1.0
    assert part.gain_eur > 0.5


def test_who_cannot_gain_gains_nothing():
    """Too dear to trade: P4 under any rule, and the first buyer where it pays asks anyway."""
    for rule in RULES:
        gap = truth_gap(LIMIT, VOLUME, rule)
        assert gap[3] == pytest.approx(0.0, abs=1e-12)
        assert (gap >= 0.0).all()
        assert gap.max() > 0.1
    assert truth_gap(LIMIT, VOLUME, "pay-as-bid")[5] == pytest.approx(0.0, abs=1e-12)


def test_many_participants_leave_little_to_gain_at_one_price():
    rng = np.random.default_rng(4)
    share = []
    for n in (6, 100):
        gain, worth = 0.0, 0.0
        for _ in range(5):
            limit = rng.uniform(0.05, 0.4, n)
            volume = rng.uniform(0.5, 1.5, n) * np.where(np.arange(n) % 2, 1.0, -1.0)
            gain += truth_gap(limit, volume, "uniform").max()
            worth += optimal_welfare(limit, volume).welfare_eur[0]
        share.append(gain / worth)
    assert share[1] < 0.01 < 0.05 < share[0]


def test_nobody_cannot_deviate():
    with pytest.raises(OrderError, match="who"):
        best_deviation(LIMIT, VOLUME, 6, "uniform")


def test_what_cannot_be_posted_is_not_tried():
    for options in (
        {"shares": [0.5, 1.2]}, {"shares": [-0.1]}, {"shares": [np.nan]}, {"shares": "x"},
        {"prices": [np.inf]}, {"prices": "x"},
    ):  # fmt: skip
        with pytest.raises(OrderError, match="expected"):
            best_deviation(LIMIT, VOLUME, 0, "uniform", **options)
    grid = price_grid(LIMIT, within=(0.25, 0.35))
    assert (grid.min(), grid.max()) == (0.25, 0.35)
    assert np.isin([0.30, 0.30 - 1e-6], grid).all()
    for wholesale in ((0.5, 0.1), (np.nan, 0.1), ("x", 0.2), 3.0, (0.1, 0.2, 0.3)):
        with pytest.raises(OrderError, match="expected"):
            tree_welfare(Hierarchy.flat(6), LIMIT, VOLUME, wholesale)
    with pytest.raises(OrderError, match="one of each"):
        tree_welfare(Hierarchy.flat(5), LIMIT, VOLUME)
