"""Exchanges, prices and objectives of the paper's market, against its equations written out."""

from dataclasses import replace

import numpy as np
import pytest

from flexgym.envs.aggregator_market.objectives import aggregation_eur, exchanges, objectives
from flexgym.envs.aggregator_market.static_market import (
    StaticMarket,
    check_prices,
    read_partition,
)
from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.errors import (
    ActionError,
    MarketError,
    PartitionError,
    PriceBoundError,
)

DAY = case33_day()
HOURS, BUSES, AGGREGATORS = 24, 32, 3


def market(seed=0):
    rng = np.random.default_rng(seed)
    return StaticMarket.of(DAY, rng.integers(AGGREGATORS, size=BUSES))


def actions(world, rng, n=40):
    """Magnetisations, purchases and DSO prices within their bounds."""
    low = world.profit_factor * world.aggregator_eur_per_mwh
    return (
        rng.uniform(-1.0, 1.0, (n, HOURS, BUSES)),
        rng.uniform(0.0, 2.0, (n, HOURS, BUSES)) * world.load_share,
        low + rng.uniform(0.0, 1.0, low.shape) * (world.rtem_eur_per_mwh - low),
    )


def test_the_data_are_those_of_the_text():
    assert DAY.load_kw.sum() == 3715
    assert DAY.customers.sum() == 289 == 17 * 17
    assert np.floor(DAY.load_kw / 13).sum() == 267
    assert np.ceil(DAY.load_kw / 13).sum() == 299
    per_load = {kw: set(DAY.customers[DAY.load_kw == kw]) for kw in set(DAY.load_kw.tolist())}
    assert per_load == {
        45: {3}, 60: {5}, 90: {7}, 100: {8}, 120: {9}, 150: {12}, 200: {15}, 210: {16}, 420: {32},
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_transfers_cancel_at_random_actions(seed):
    world = market(seed)
    m, d, between = actions(world, np.random.default_rng(seed))
    j = objectives(world, m, d, between)
    np.testing.assert_allclose(
        j.loads_eur + j.aggregators_eur + j.dso_eur, j.welfare_eur, rtol=0, atol=1e-9
    )
    flow = exchanges(world, m, d)
    bought = (world.rtem_eur_per_mwh * flow.rtem_kw).sum(axis=-1) / 1e3
    np.testing.assert_allclose(bought, j.welfare_eur, rtol=0, atol=1e-9)


def test_objectives_are_the_normalised_equations_24_to_26():
    world = market()
    m, d, between = actions(world, np.random.default_rng(1), n=1)
    m, d, b, source = m[0], d[0], world.load_share, world.source_kw
    j = objectives(world, m, d, between)
    bus, aggregator, dso = np.zeros(BUSES), np.zeros(AGGREGATORS), 0.0
    for t in range(HOURS):
        rtem, retail = world.rtem_eur_per_mwh[t], world.retail_eur_per_mwh[t]
        for i in range(BUSES):
            k = world.aggregator_of[i]
            paid, got = world.aggregator_eur_per_mwh[k, t], between[k, t]
            sold = b[i] * m[t, i] + d[t, i]
            scale = source[t] / 1e3
            bus[i] += scale * (retail * d[t, i] - paid * sold)
            aggregator[k] += scale * (paid - got) * sold
            dso += scale * (-rtem * b[i] * m[t, i] + got * sold - retail * d[t, i])
    np.testing.assert_allclose(j.bus_eur, bus, rtol=1e-12)
    np.testing.assert_allclose(j.aggregator_eur, aggregator, rtol=1e-12)
    np.testing.assert_allclose(j.dso_eur, dso, rtol=1e-12)


def test_powers_balance():
    world = market(2)
    m, d, _ = actions(world, np.random.default_rng(2))
    flow = exchanges(world, m, d)
    members = world.members
    np.testing.assert_allclose(flow.flexible_kw, flow.sold_kw - flow.bought_kw, atol=1e-9)  # 4
    np.testing.assert_allclose(flow.aggregator_kw, flow.sold_kw @ members, atol=1e-9)  # 9
    np.testing.assert_allclose(  # 12
        flow.bought_kw.sum(-1), flow.aggregator_kw.sum(-1) + flow.rtem_kw, atol=1e-8
    )
    # A consumer's flexibility is its load times its spin, eqs. 15 and 16.
    spins = np.where(m > 0, 1.0, -1.0)
    scheduled = world.source_kw[:, None] * world.load_share
    np.testing.assert_allclose(exchanges(world, spins).flexible_kw, scheduled * spins, atol=1e-12)


def test_aggregation_is_the_sum_of_aggregators_without_purchases():
    world = market(3)
    m, _, _ = actions(world, np.random.default_rng(3))
    np.testing.assert_allclose(
        aggregation_eur(world, m), objectives(world, m).aggregators_eur, rtol=0, atol=1e-9
    )


def test_more_purchases_raise_the_aggregators_gain_and_cost_the_buses():
    # What the paper says of eq. 36 and of the buses' optimum d = 0.
    world = market(4)
    m, d, between = actions(world, np.random.default_rng(4))
    none, some, more = (objectives(world, m, scale * d, between) for scale in (0.0, 1.0, 3.0))
    for less, greater in ((none, some), (some, more)):
        assert (greater.aggregators_eur < less.aggregators_eur).all()
        assert (greater.loads_eur > less.loads_eur).all()


def test_the_shipped_prices_keep_their_bounds_up_to_the_largest_factor():
    world = market()
    rtem = np.broadcast_to(world.rtem_eur_per_mwh, world.profit_factor.shape)
    check_prices(world.aggregator_eur_per_mwh, rtem, world.rtem_eur_per_mwh, world.profit_factor)
    largest = (rtem / world.aggregator_eur_per_mwh).min()
    assert largest == pytest.approx(1.125, abs=5e-4)
    with pytest.raises(PriceBoundError, match=r"at most .* eq. 10\. Lower the price"):
        objectives(
            replace(world, profit_factor=np.full((3, 24), largest + 1e-3)), np.ones((24, 32))
        )


@pytest.mark.parametrize(("change", "where"), [(-0.01, "low"), (0.01, "high")])
def test_a_price_outside_eq_10_is_named(change, where):
    world = market()
    between = np.broadcast_to(world.rtem_eur_per_mwh, (3, 24)).copy()
    if where == "low":
        between[1, 6] = 1.10 * world.aggregator_eur_per_mwh[1, 6]
    objectives(world, np.zeros((24, 32)), 0.0, between)
    between[1, 6] += change
    with pytest.raises(PriceBoundError, match=r"aggregator 1 .* in hour 7; expected at least"):
        objectives(world, np.zeros((24, 32)), 0.0, between)


def test_bad_prices():
    world = market()
    with pytest.raises(PriceBoundError, match="expected at least 1"):
        objectives(replace(world, profit_factor=np.full((3, 24), 0.9)), np.zeros((24, 32)))
    with pytest.raises(PriceBoundError, match="expected finite prices of shape"):
        objectives(world, np.zeros((24, 32)), 0.0, np.full((3, 24), np.nan))


def test_maps_that_are_no_partition():
    eye = np.eye(3, dtype=int)
    assert read_partition(eye[[2, 0, 0, 1]]).tolist() == [2, 0, 0, 1]
    with pytest.raises(PartitionError, match="row 1 of the map belongs to 2 groups"):
        read_partition([[1, 0], [1, 1]])
    with pytest.raises(PartitionError, match="row 0 of the map belongs to 0 groups"):
        read_partition([[0, 0], [1, 0]])
    with pytest.raises(PartitionError, match="zeros and ones"):
        read_partition([[0.5, 0.5]])
    for wrong, text in (
        (np.zeros(31, int), "one for each bus"),
        (np.zeros(32), "whole numbers"),
        (np.full(32, 3), r"aggregator_of\[0\] is 3; expected 0 to 2"),
        (np.full(32, -1), "expected 0 to 2"),
    ):
        with pytest.raises(PartitionError, match=text):
            StaticMarket.of(DAY, wrong)


def test_bad_actions_and_data():
    world = market()
    for wrong, text in ((np.zeros((32, 24)), "shape"), (np.full((24, 32), 1.1), "-1 .*to 1")):
        with pytest.raises(ActionError, match=text):
            exchanges(world, wrong)
        with pytest.raises(ActionError, match=text):
            aggregation_eur(world, wrong)
    with pytest.raises(ActionError):
        exchanges(world, np.full((24, 32), np.nan))
    with pytest.raises(ActionError, match="only buy"):
        exchanges(world, np.zeros((24, 32)), -0.1)
    with pytest.raises(ActionError, match="broadcasts"):
        exchanges(world, np.zeros((24, 32)), np.zeros(7))
    with pytest.raises(MarketError, match="rtem_eur_per_mwh has shape"):
        replace(world, rtem_eur_per_mwh=np.ones(23))
    with pytest.raises(MarketError, match=r"customers\[3\] is 0"):
        replace(world, customers=np.where(np.arange(32) == 3, 0, world.customers))
    with pytest.raises(MarketError, match="negative"):
        replace(world, source_kw=-world.source_kw)
