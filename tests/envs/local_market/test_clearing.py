"""Clearing by merit order: against counting kWh by kWh, and what must hold for any book."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.envs.errors import MarketError, OrderError
from flexgym.envs.local_market.clearing import clear, equilibrium_interval, pair_trades
from flexgym.envs.local_market.orders import Book
from flexgym.envs.local_market.params import RULES

SOURCE = Book.of(
    sellers={"P1": (0.20, 5), "P2": (0.30, 20), "P3": (0.45, 5), "P4": (0.55, 10)},
    buyers={"C1": (0.50, 10), "C2": (0.60, 10)},
)
"""The source's example: ct/kWh and kWh of an hour."""


FEW_PRICES, WHOLE = st.integers(-3, 9), st.integers(-6, 6)


def books(most=12, price=FEW_PRICES, volume=WHOLE):
    """Few prices, so that ties are common; whole volumes, so that sums are exact."""
    order = st.tuples(price, volume)
    orders = st.lists(order, min_size=1, max_size=most)
    return orders.map(lambda x: tuple(np.array(x, dtype=float).T))


def by_the_kwh(price, volume, rule, position=0.5):
    """Match kWh with kWh; equal prices are not shared, so only their groups can be compared."""
    bids = sorted((-p, i) for i, (p, v) in enumerate(zip(price, volume, strict=True)) if v > 0
                  for _ in range(int(v)))  # fmt: skip
    asks = sorted((p, i) for i, (p, v) in enumerate(zip(price, volume, strict=True)) if v < 0
                  for _ in range(int(-v)))  # fmt: skip
    pairs = [(b, a) for b, a in zip(bids, asks, strict=False) if -b[0] >= a[0]]
    traded, paid = np.zeros((2, len(price)))
    rejected_bids = [-b[0] for b in bids[len(pairs) :]]
    rejected_asks = [a[0] for a in asks[len(pairs) :]]
    if pairs:
        low = max([pairs[-1][1][0], *rejected_bids])
        high = min([-pairs[-1][0][0], *rejected_asks])
    for (bid, i), (ask, j) in pairs:
        unit = {"pay-as-bid": ask, "mid-price": 0.5 * (ask - bid)}.get(rule)
        unit = low + position * (high - low) if unit is None else unit
        traded[[i, j]] += (1.0, -1.0)
        paid[[i, j]] += (unit, -unit)
    return traded, paid


@pytest.mark.parametrize(
    ("rule", "paid"),
    [
        # C2 bids more, so it takes the cheapest offers: 5 kWh of P1 and 5 of P2, then C1 10 of P2.
        ("pay-as-bid", {"P1": -1.00, "P2": -4.50, "C1": 3.00, "C2": 2.50}),
        # P2 sells a part of what it has: the interval is its ask, 0.30, and all pay that.
        ("uniform", {"P1": -1.50, "P2": -4.50, "C1": 3.00, "C2": 3.00}),
        # C2 pays 0.40 to P1 and 0.45 to P2, C1 0.40 to P2.
        ("mid-price", {"P1": -2.00, "P2": -6.25, "C1": 4.00, "C2": 4.25}),
    ],
)
def test_the_example_of_the_source(rule, paid):
    traded, eur = clear(SOURCE.price_eur_per_kwh, SOURCE.volume_kwh, rule)
    expected = {"P1": -5, "P2": -15, "P3": 0, "P4": 0, "C1": 10, "C2": 10}
    assert dict(zip(SOURCE.names, traded[0], strict=True)) == pytest.approx(expected)
    expected = {"P3": 0.0, "P4": 0.0, **paid}
    assert dict(zip(SOURCE.names, eur[0], strict=True)) == pytest.approx(expected, abs=1e-12)
    low, high = equilibrium_interval(SOURCE.price_eur_per_kwh, SOURCE.volume_kwh)
    assert low[0] == high[0] == 0.30


@pytest.mark.parametrize(("rule", "unit"), zip(RULES, (0.20, 0.55, 0.40), strict=True))
def test_two_consumers_compete_for_one_offer(rule, unit):
    """The source's open question: the higher bid has priority; what it pays, the rule says."""
    book = Book.of(sellers={"P": (0.20, 5)}, buyers={"C1": (0.50, 5), "C2": (0.60, 5)})
    traded, paid = clear(book.price_eur_per_kwh, book.volume_kwh, rule)
    np.testing.assert_allclose(traded[0], [-5, 0, 5])
    np.testing.assert_allclose(paid[0], [-5 * unit, 0, 5 * unit])


@pytest.mark.parametrize("rule", RULES)
def test_equal_bids_share_one_offer_in_proportion_to_volume(rule):
    book = Book.of(sellers={"P": (0.20, 6)}, buyers={"C1": (0.60, 4), "C2": (0.60, 8)})
    traded, paid = clear(book.price_eur_per_kwh, book.volume_kwh, rule)
    np.testing.assert_allclose(traded[0], [-6, 2, 4])
    unit = {"pay-as-bid": 0.20, "uniform": 0.60, "mid-price": 0.40}[rule]
    np.testing.assert_allclose(paid[0], [-6 * unit, 2 * unit, 4 * unit])


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=150, deadline=None)
@given(book=books())
def test_every_kwh_is_where_it_should_be(rule, book):
    price, volume = book
    traded, paid = clear(price, volume, rule)
    expected, eur = by_the_kwh(price, volume, rule)
    for sign in (1, -1):
        for level in np.unique(price):
            group = (price == level) & (np.sign(volume) == sign)
            assert traded[0, group].sum() == pytest.approx(expected[group].sum(), abs=1e-9)
            assert paid[0, group].sum() == pytest.approx(eur[group].sum(), abs=1e-9)
            # Equal prices get equal shares.
            if group.any():
                share = traded[0, group] / volume[group]
                np.testing.assert_allclose(share, share[0], atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=150, deadline=None)
@given(
    book=books(most=20, price=st.floats(-1, 1), volume=st.floats(-10, 10)),
    position=st.floats(0, 1),
)
def test_what_holds_for_any_book(rule, book, position):
    price, volume = book
    traded, paid = clear(price, volume, rule, position)
    assert abs(traded.sum()) <= 1e-9
    assert abs(paid.sum()) <= 1e-9
    # Nobody trades more than it wants, on the other side, or at a loss against its own limit.
    assert (traded * np.sign(volume) >= 0.0).all()
    assert (np.abs(traded) <= np.abs(volume) + 1e-12).all()
    assert (price * traded - paid >= -1e-9).all()
    low, high = equilibrium_interval(price, volume)
    assert low[0] <= high[0]


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_the_order_of_participants_never_matters(rule, data):
    price, volume = data.draw(
        books(price=st.sampled_from([0.1, 0.2, 0.3]), volume=st.floats(-5, 5))
    )
    order = np.array(data.draw(st.permutations(range(len(price)))))
    traded, paid = clear(price, volume, rule)
    again, eur = clear(price[order], volume[order], rule)
    np.testing.assert_array_equal(again[0], traded[0, order])
    np.testing.assert_array_equal(eur[0], paid[0, order])


@settings(max_examples=200, deadline=None)
@given(book=books())
def test_the_interval_holds_the_prices_at_which_demand_meets_supply(book):
    price, volume = book
    low, high = (float(x[0]) for x in equilibrium_interval(price, volume))

    def equilibrium(p):
        wants, offers = np.maximum(volume, 0.0), np.maximum(-volume, 0.0)
        least, most = wants[price > p].sum(), wants[price >= p].sum()
        return least <= offers[price <= p].sum() and offers[price < p].sum() <= most

    for p in np.arange(-4.0, 10.5, 0.25):
        inside = low <= p <= high
        assert equilibrium(p) == inside, (p, low, high)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=50, deadline=None)
@given(book=books())
def test_pairs_add_up_to_what_each_trades(rule, book):
    traded, paid = clear(*book, rule)
    kwh, eur = pair_trades(*book, rule)
    buys = book[1] > 0
    np.testing.assert_allclose(kwh.sum(axis=1)[buys], traded[0, buys], atol=1e-9)
    np.testing.assert_allclose(kwh.sum(axis=0)[~buys], -traded[0, ~buys], atol=1e-9)
    np.testing.assert_allclose(eur.sum(axis=1)[buys], paid[0, buys], atol=1e-9)
    np.testing.assert_allclose(eur.sum(axis=0)[~buys], -paid[0, ~buys], atol=1e-9)
    assert (kwh >= 0.0).all()


@pytest.mark.parametrize("rule", RULES)
def test_many_books_are_cleared_as_one_at_a_time(rule):
    rng = np.random.default_rng(1)
    price = np.round(rng.uniform(0.0, 0.5, (40, 90)), 2)
    volume = rng.uniform(-1.0, 1.0, (40, 90))
    volume[:, ::7] = 0.0
    traded, paid = clear(price, volume, rule)
    for k in range(40):
        one = clear(price[k], volume[k], rule)
        np.testing.assert_array_equal(one, (traded[k : k + 1], paid[k : k + 1]))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("price", "volume", "interval"),
    [
        ([0.2, 0.3], [1.0, 2.0], (0.3, np.inf)),
        ([0.2, 0.3], [-1.0, -2.0], (-np.inf, 0.2)),
        ([0.2, 0.3], [1.0, -2.0], (0.2, 0.3)),
        ([0.2, 0.3], [0.0, 0.0], (-np.inf, np.inf)),
        ([0.4], [1.0], (0.4, np.inf)),
    ],
)
def test_books_without_trade(rule, price, volume, interval):
    traded, paid = clear(price, volume, rule)
    assert not traded.any()
    assert not paid.any()
    assert tuple(float(x[0]) for x in equilibrium_interval(price, volume)) == interval


@pytest.mark.parametrize("rule", RULES)
def test_equal_bid_and_ask_trade_and_prices_may_be_negative(rule):
    traded, paid = clear([-0.05, -0.05], [-2.0, 3.0], rule)
    np.testing.assert_allclose(traded[0], [-2.0, 2.0])
    np.testing.assert_allclose(paid[0], [0.1, -0.1])


def test_volumes_that_differ_by_rounding_are_equal():
    """0.1 + 0.2 kWh wanted, 0.3 offered: nothing is left over that would move the price."""
    price, volume = [0.5, 0.5, 0.2, 0.4], [0.1, 0.2, -0.3, 1.0]
    low, high = equilibrium_interval(price, volume)
    assert (low[0], high[0]) == (0.4, 0.5)


@pytest.mark.parametrize(("position", "unit"), [(0.0, 0.2), (0.25, 0.3), (1.0, 0.6)])
def test_the_uniform_price_may_lie_anywhere_in_the_interval(position, unit):
    _, paid = clear([0.2, 0.6], [-1.0, 1.0], "uniform", position)
    np.testing.assert_allclose(paid[0], [-unit, unit])


@pytest.mark.parametrize(
    ("price", "volume"),
    [
        ([np.nan, 0.2], [1.0, -1.0]),
        ([0.1, 0.2], [np.inf, -1.0]),
        ([0.1, 0.2], [np.nan, -1.0]),
        ([0.1], [1.0, -1.0]),
        ([], []),
        (["dear", "cheap"], [1.0, -1.0]),
        ([[0.1], [0.1, 0.2]], [1.0]),
        (np.zeros((1, 2, 3)), np.zeros((1, 2, 3))),
    ],
)
def test_orders_that_are_none(price, volume):
    with pytest.raises(OrderError, match="expected"):
        clear(price, volume, "uniform")
    with pytest.raises(MarketError):
        equilibrium_interval(price, volume)


def test_books_that_are_none():
    with pytest.raises(OrderError, match="buy from itself"):
        Book.of(sellers={"A": (0.2, 1)}, buyers={"A": (0.3, 1)})
    with pytest.raises(OrderError, match="twice"):
        Book(("A", "A"), np.zeros(2), np.ones(2))
    with pytest.raises(OrderError, match=">= 0"):
        Book.of(sellers={"A": (0.2, -1)}, buyers={})
    with pytest.raises(OrderError, match=">= 0"):
        Book.of(sellers={}, buyers={"A": (0.2, np.nan)})
    with pytest.raises(OrderError, match="finite"):
        Book.of(sellers={}, buyers={"A": (np.inf, 1)})
    with pytest.raises(OrderError, match=r"\(price, volume\)"):
        Book.of(sellers={}, buyers={"A": (0.2,)})
    with pytest.raises(OrderError, match="rule"):
        clear([0.1], [1.0], "second-price")
    with pytest.raises(OrderError, match="position"):
        clear([0.1], [1.0], "uniform", 1.5)
    with pytest.raises(OrderError, match="expected one"):
        pair_trades(np.zeros((2, 2)), np.zeros((2, 2)), "uniform")
