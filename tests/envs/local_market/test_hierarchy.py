"""Neighbourhoods first, then up: balances, limits, and never better than the best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.baselines.local_market.welfare import optimal_welfare, tree_welfare, welfare
from flexgym.envs.errors import OrderError, ScenarioError
from flexgym.envs.local_market.clearing import clear
from flexgym.envs.local_market.hierarchy import Hierarchy, clear_tree
from flexgym.envs.local_market.params import RULES

DEEP = ((-1, 0, 0, 1, 1, 3), (0.02, 0.01, 0.0, 0.03, 0.005, 0.02))
"""A root, two districts, neighbourhoods in the first, a house with flats in one of them."""


def drawn(seed, n=14, m=3):
    rng = np.random.default_rng(seed)
    member = tuple(int(k) for k in rng.integers(6, size=n))
    price = np.round(rng.uniform(0.0, 0.5, (m, n)), 2)
    return Hierarchy(*DEEP, member), price, rng.uniform(-4.0, 4.0, (m, n))


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), wholesale=st.sampled_from([None, (0.1, 0.2)]))
def test_what_holds_in_any_tree(rule, seed, wholesale):
    tree, price, volume = drawn(seed)
    found = clear_tree(tree, price, volume, rule, wholesale=wholesale)
    inside, inside_eur = (
        found.traded_kwh - found.wholesale_kwh,
        found.paid_eur - found.wholesale_eur,
    )
    assert np.abs(inside.sum(axis=1)).max() <= 1e-9
    assert np.abs(inside_eur.sum(axis=1)).max() <= 1e-9
    np.testing.assert_allclose(0.5 * np.abs(inside).sum(axis=1), found.node_kwh.sum(axis=1))
    # Fees included, nobody is at a loss against its own limit or trades more than it wants.
    assert (found.fee_eur >= 0.0).all()
    assert (price * found.traded_kwh - found.paid_eur - found.fee_eur >= -1e-9).all()
    assert (found.traded_kwh * np.sign(volume) >= 0.0).all()
    assert (np.abs(found.traded_kwh) <= np.abs(volume) + 1e-9).all()
    # The best trade of the whole tree is worth at least as much.
    outside = found.wholesale_eur.sum(axis=1)
    worth = welfare(price, found.traded_kwh) - found.fee_eur.sum(axis=1) - outside
    best = tree_welfare(tree, price, volume, wholesale).welfare_eur
    assert (worth <= best + 1e-9).all()
    # Level by level all gains below a fee are missed and none is negative.
    assert (worth >= -1e-9).all()


@pytest.mark.parametrize("rule", RULES)
def test_one_leaf_without_fees_is_the_flat_market(rule):
    _, price, volume = drawn(3)
    n = price.shape[1]
    flat = clear(price, volume, rule)
    for tree in (
        Hierarchy.flat(n),
        Hierarchy.neighbourhoods(n, 1),
        Hierarchy((-1, 0, 1), (0.0, 0.0, 0.0), (2,) * n),
        Hierarchy((1, -1), (0.5, 0.5), (0,) * n),
    ):
        found = clear_tree(tree, price, volume, rule)
        np.testing.assert_array_equal((found.traded_kwh, found.paid_eur), flat)
        assert not found.fee_eur.any()
    best = tree_welfare(Hierarchy.flat(n), price, volume).welfare_eur
    np.testing.assert_allclose(best, optimal_welfare(price, volume).welfare_eur)


def test_without_fees_a_tree_may_lose_welfare_and_not_more_is_traded_for_it():
    """A dear bid takes the neighbour's dear offer although a cheap one waits elsewhere."""
    tree = Hierarchy((-1, 0, 0), (0.0, 0.0, 0.0), (1, 1, 2))
    price, volume = [0.6, 0.5, 0.1], [1.0, -1.0, -1.0]
    found = clear_tree(tree, price, volume, "pay-as-bid")
    np.testing.assert_allclose(found.traded_kwh[0], [1.0, -1.0, 0.0])
    assert welfare(price, found.traded_kwh)[0] == pytest.approx(0.1)
    assert tree_welfare(tree, price, volume).welfare_eur[0] == pytest.approx(0.5)


@pytest.mark.parametrize(("rule", "unit"), zip(RULES, (0.15, 0.3, 0.3), strict=True))
def test_fees_are_paid_by_who_crosses(rule, unit):
    """A buyer of one neighbourhood, a seller of another: both cross one edge of 0.05."""
    tree = Hierarchy.neighbourhoods(2, 2, 0.05)
    found = clear_tree(tree, [0.5, 0.1], [2.0, -2.0], rule)
    np.testing.assert_allclose(found.traded_kwh[0], [2.0, -2.0])
    np.testing.assert_allclose(found.paid_eur[0], [2 * unit, -2 * unit])
    np.testing.assert_allclose(found.fee_eur[0], [0.1, 0.1])
    np.testing.assert_allclose(found.node_kwh[0], [2.0, 0.0, 0.0])
    dear = Hierarchy.neighbourhoods(2, 2, 0.21)
    assert not clear_tree(dear, [0.5, 0.1], [2.0, -2.0], rule).traded_kwh.any()


def test_the_wholesaler_takes_what_is_left_at_its_posted_prices():
    tree = Hierarchy.neighbourhoods(3, 1, 0.02)
    price, volume = [0.5, 0.2, 0.05], [3.0, -1.0, -4.0]
    found = clear_tree(tree, price, volume, "uniform", wholesale=(0.08, 0.3))
    np.testing.assert_allclose(found.wholesale_kwh[0], [0.0, 0.0, -1.0])
    np.testing.assert_allclose(found.wholesale_eur[0], [0.0, 0.0, -0.08])
    np.testing.assert_allclose(found.fee_eur[0], [0.0, 0.0, 0.02])
    # 0.30 and a fee of 0.02: worth it for the first, not for the second.
    two = Hierarchy.neighbourhoods(2, 1, 0.02)
    found = clear_tree(two, [0.33, 0.31], [1.0, 1.0], "uniform", wholesale=(0.08, 0.3))
    np.testing.assert_allclose(found.wholesale_kwh[0], [1.0, 0.0])


@pytest.mark.parametrize(
    ("parent", "fee", "member"),
    [
        ((-1, -1), (0.0, 0.0), (0,)),
        ((1, 0), (0.0, 0.0), (0,)),
        ((-1, 2, 1), (0.0, 0.0, 0.0), (0,)),
        ((-1, 5), (0.0, 0.0), (0,)),
        ((-1, 0), (0.0,), (0,)),
        ((-1, 0), (0.0, -0.1), (0,)),
        ((-1, 0), (0.0, np.nan), (0,)),
        ((-1, 0), (0.0, 0.0), (2,)),
        ((-1, 0), (0.0, 0.0), ()),
    ],
)
def test_trees_that_are_none(parent, fee, member):
    with pytest.raises(ScenarioError, match="expected"):
        Hierarchy(parent, fee, member)


def test_bad_input():
    tree = Hierarchy.flat(2)
    with pytest.raises(ScenarioError, match="neighbourhoods"):
        Hierarchy.neighbourhoods(3, 4)
    with pytest.raises(OrderError, match="expected 2"):
        clear_tree(tree, [0.1], [1.0], "uniform")
    for wholesale in ((0.3, 0.2), (np.nan, 0.2), (0.1,), (np.zeros(3), 0.2)):
        with pytest.raises(OrderError, match="wholesale"):
            clear_tree(tree, [0.1, 0.2], [1.0, -1.0], "uniform", wholesale=wholesale)
