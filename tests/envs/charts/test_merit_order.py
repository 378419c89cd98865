"""The dual simplex of menus against HiGHS."""

from pathlib import Path

import numpy as np
import pandapower
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexgym.envs.charts import merit_order
from flexgym.envs.charts.active import solve_with_highs
from flexgym.envs.charts.merit_order import OPTIMAL, TOO_MANY_ROWS, dispatch
from flexgym.envs.data import load_grid
from flexgym.envs.grid import Network
from flexgym.envs.grid.linear import LinDistFlow

NETS = Path(__file__).parents[1] / "grid" / "nets"


def random_menus(rng, count, most=8, spread=0.05):
    """Menus of one to ``most`` segments around a price that is worth taking half of them."""
    segments = rng.integers(1, most + 1, count)
    slope = np.concatenate([np.sort(rng.normal(0.0, spread, n)) for n in segments])
    return (
        np.repeat(np.arange(count), segments),
        slope,
        rng.uniform(0.1, 3.0, segments.sum()),
        rng.uniform(-8.0, 0.0, count),
    )


def free_power(menu, slope, length, low):
    return low + np.bincount(menu, np.where(slope < 0.0, length, 0.0), len(low))


def cost_of(power, menu, slope, length, low):
    """Cost of powers by the merit order of each menu; they must be feasible."""
    total = 0.0
    for h, left in enumerate(power - low):
        for j in np.flatnonzero(menu == h):
            taken = min(max(left, 0.0), length[j])
            total += slope[j] * taken
            left -= taken
        assert abs(left) < 1e-8
    return total


def check(menus, matrix, limit, price):
    """Solve, compare with HiGHS, check the duals; number of limits that bind."""
    menu, slope, length, low = menus
    columns = np.ascontiguousarray(matrix.T)
    power, dual, violation, status, _ = dispatch(*menus, columns, limit, price)
    assert status == OPTIMAL
    excess = np.maximum(matrix @ power - limit, 0.0)
    np.testing.assert_allclose(violation, excess, rtol=0, atol=1e-7)
    cost = cost_of(power, *menus) + price @ excess
    other, other_dual, broken = solve_with_highs(*menus, columns, limit, price)
    assert cost == pytest.approx(cost_of(other, *menus) + price @ broken, abs=1e-7)
    # Strong duality: the duals alone prove that nothing is cheaper.
    assert (dual >= 0.0).all()
    assert (dual <= price + 1e-9).all()
    reduced = slope + (dual @ matrix)[menu]
    bound = (dual @ matrix) @ low - dual @ limit + (np.minimum(reduced, 0.0) * length).sum()
    assert bound == pytest.approx(cost, abs=1e-7)
    assert other_dual.shape == dual.shape
    return int((dual > 1e-9).sum())


@pytest.mark.parametrize("seed", range(10))
def test_random_limits(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
        count, rows = int(rng.integers(1, 50)), int(rng.integers(0, 30))
        menus = random_menus(rng, count)
        matrix = rng.normal(0.0, 1.0, (rows, count)) * (rng.random((rows, count)) < 0.5)
        reach = 0.15 * np.abs(matrix).sum(axis=1)
        limit = matrix @ free_power(*menus) + reach * rng.normal(rng.uniform(-0.5, 1.0), 1.0, rows)
        check(menus, matrix, limit, rng.uniform(0.02, 0.5, rows))


def tree_limits(network, bus):
    """Rows of the voltages and flows of the plain linear model, scaled to like size."""
    model = LinDistFlow(network)
    counted = np.flatnonzero(network.bus_node > 0)
    fall, through = 2.0 * model.resistance[np.ix_(counted, bus)], model.subtree[:, bus]
    matrix = np.vstack([-fall, fall, through, -through])
    return matrix / np.abs(matrix).max(axis=1)[:, None]


@pytest.mark.parametrize(("name", "cases"), [("semiurb4", 250), ("rural3", 60)])
def test_limits_of_a_grid(name, cases):
    """No row to ten or more that bind."""
    net = load_grid() if name == "semiurb4" else pandapower.from_json(str(NETS / f"{name}.json"))
    network = Network.from_pandapower(net)
    bus = np.flatnonzero(network.bus_node > 0)
    rng, binding = np.random.default_rng(7), []
    matrix = tree_limits(network, bus)
    for _ in range(cases):
        menus = random_menus(rng, len(bus))
        activity = matrix @ free_power(*menus)
        # A share of the limits lies below what the menus would take by themselves.
        spread = np.abs(matrix).sum(axis=1)
        limit = activity + spread * np.where(
            rng.random(len(matrix)) < rng.uniform(0.0, 0.06), -0.2, 1.0
        ) * rng.uniform(0.0, 1.0, len(matrix))
        binding.append(check(menus, matrix, limit, rng.uniform(0.5, 50.0, len(matrix))))
    assert min(binding) == 0
    assert max(binding) >= 10


def test_merit_order_without_limits():
    menus = random_menus(np.random.default_rng(0), 43)
    none = np.zeros((43, 0)), np.zeros(0), np.zeros(0)
    power, dual, violation, status, pivots = dispatch(*menus, *none)
    np.testing.assert_allclose(power, free_power(*menus), rtol=0, atol=1e-12)
    assert (status, pivots, len(dual), len(violation)) == (OPTIMAL, 0, 0, 0)


def test_a_limit_nobody_can_keep_is_broken_as_little_as_pays():
    one = np.array([0]), np.array([-0.3]), np.array([2.0]), np.array([5.0])
    row = np.array([[1.0]]), np.array([4.0])
    for price, power in ((1.0, 5.0), (0.1, 7.0)):
        found = dispatch(*one, *row, np.array([price]))
        np.testing.assert_allclose(found[0], [power])
        np.testing.assert_allclose(found[1], [price])
        np.testing.assert_allclose(found[2], [power - 4.0])


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 6))
def test_ties_and_parallel_limits(seed, levels, rows):
    """Few different slopes, lengths and coefficients: every step of the simplex is degenerate."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 8))
    segments = rng.integers(0, 4, count)
    slope = [np.sort(rng.integers(-levels, levels, n)) for n in segments]
    menus = (
        np.repeat(np.arange(count), segments),
        np.concatenate([*slope, np.empty(0)]).astype(float),
        rng.integers(1, 3, segments.sum()).astype(float),
        rng.integers(-3, 3, count).astype(float),
    )
    matrix = rng.integers(-1, 2, (rows, count)).astype(float)
    limit = rng.integers(-3, 4, rows).astype(float)
    check(menus, matrix, limit, rng.integers(1, 3, rows).astype(float))


def test_more_rows_than_it_has_room_for():
    """It says so; `Operator` then asks HiGHS."""
    n = merit_order.MOST_ROWS + 1
    menus = np.arange(n), np.full(n, -1.0), np.ones(n), np.zeros(n)
    *_, status, _ = dispatch(*menus, np.eye(n), np.full(n, 0.5), np.full(n, 9.0))
    assert status == TOO_MANY_ROWS
