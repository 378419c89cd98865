"""The dual simplex of menus in active and reactive power against HiGHS."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandapower
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexgym.envs.charts.vertex_basis import MOST_ROWS
from flexgym.envs.charts.vertex_dispatch import (
    COLD,
    OPTIMAL,
    TOO_MANY_ROWS,
    dispatch_vertices,
    vertices_with_highs,
)
from flexgym.envs.data import load_grid
from flexgym.envs.grid import Network
from flexgym.envs.grid.linear import LinDistFlow

NETS = Path(__file__).parents[1] / "grid" / "nets"


def random_menus(rng, count, most=40, size=8.0):
    """Vertices of convex costs on discs, some of which also lie above the hull of the others."""
    many = rng.integers(1, most + 1, count)
    angle = rng.uniform(0.0, 2.0 * np.pi, many.sum())
    radius = size * np.sqrt(rng.random(many.sum()))
    p, q = radius * np.cos(angle), radius * np.sin(angle)
    of = np.repeat(np.arange(count), many)
    bowl = rng.uniform(0.0, 0.01, count)[of] * (p - rng.uniform(-4.0, 4.0, count)[of]) ** 2
    cost = bowl + rng.normal(0.0, 0.03, count)[of] * p
    cost = cost + rng.uniform(0.0, 0.004, count)[of] * np.abs(q)
    return np.concatenate([[0], np.cumsum(many)]), p, q, cost


def cheapest(start, p, q, cost):
    at = [a + np.argmin(cost[a:b]) for a, b in pairwise(start)]
    return p[at], q[at]


def check(menus, matrix_p, matrix_q, limit, owner, unit, price):
    """Solve, compare with HiGHS, prove by the duals; number of limits that bind."""
    start, p, q, cost = menus
    columns = [np.ascontiguousarray(matrix.T) for matrix in (matrix_p, matrix_q)]
    problem = *menus, *columns, limit, owner, unit, price
    share, dual, broken, status, _, _ = dispatch_vertices(*problem, COLD)
    assert status == OPTIMAL
    assert share.min() >= 0.0
    np.testing.assert_allclose(np.add.reduceat(share, start[:-1]), 1.0, rtol=0, atol=1e-8)
    power, reactive = np.add.reduceat(share * p, start[:-1]), np.add.reduceat(share * q, start[:-1])
    excess = matrix_p @ power + matrix_q @ reactive - limit - unit * broken[owner]
    assert excess.max(initial=0.0) <= 1e-7
    total = share @ cost + price @ broken
    # The oracle sees the limits that bind: fewer limits cost no more, and ours keeps them all.
    tight = dual > 0.0
    fewer = *menus, *(part[:, tight] for part in columns), limit[tight], owner[tight], unit[tight]
    other, _, z = vertices_with_highs(*fewer, price)
    assert total == pytest.approx(other @ cost + price @ z, abs=1e-7)
    # Strong duality: the duals alone prove that nothing is cheaper.
    assert (dual >= 0.0).all()
    assert (np.bincount(owner, unit * dual, len(price)) <= price + 1e-9).all()
    of = np.repeat(np.arange(len(start) - 1), np.diff(start))
    reduced = cost + (dual @ matrix_p)[of] * p + (dual @ matrix_q)[of] * q
    bound = np.minimum.reduceat(reduced, start[:-1]).sum() - dual @ limit
    assert bound == pytest.approx(total, abs=1e-7)
    check_warm(problem, total)
    return int((dual > 1e-9).sum())


def check_warm(problem, total):
    """From the basis of the first half of the limits the way leads to the same cost."""
    *menus, a, b, limit, owner, unit, price = problem
    half = len(limit) // 2
    parts = [np.ascontiguousarray(part[..., :half]) for part in (a, b, limit, owner, unit)]
    *_, status, _, basis = dispatch_vertices(*menus, *parts, price, COLD)
    assert status == OPTIMAL
    share, _, broken, status, _, _ = dispatch_vertices(*problem, basis)
    assert status == OPTIMAL
    assert share @ menus[3] + price @ broken == pytest.approx(total, abs=1e-7)


@pytest.mark.parametrize("seed", range(10))
def test_random_limits(seed):
    """Limits of any kind, some of which share the variable that breaks them."""
    rng = np.random.default_rng(seed)
    for _ in range(30):
        count, rows = int(rng.integers(1, 50)), int(rng.integers(0, 30))
        menus = random_menus(rng, count)
        a, b = rng.normal(size=(2, rows, count)) * (rng.random((rows, count)) < 0.5)
        p, q = cheapest(*menus)
        reach = 0.15 * (np.abs(a) + np.abs(b)).sum(axis=1)
        limit = a @ p + b @ q + reach * rng.normal(rng.uniform(-0.5, 1.0), 1.0, rows)
        groups = int(rng.integers(1, rows + 2))
        owner, unit = rng.integers(0, groups, rows), rng.uniform(0.5, 2.0, rows)
        check(menus, a, b, limit, owner, unit, rng.uniform(0.02, 0.5, groups))


def tree_limits(network, bus):
    """Rows of voltages, and of apparent power by polygons: coefficients and owners, scaled."""
    model = LinDistFlow(network)
    counted = np.flatnonzero(network.bus_node > 0)
    falls = [2.0 * m[np.ix_(counted, bus)] for m in (model.resistance, model.reactance)]
    through = model.subtree[:, bus]
    angles = np.linspace(0.0, 2.0 * np.pi, 8, endpoint=False)
    a = np.vstack([-falls[0], falls[0], *(np.cos(t) * through for t in angles)])
    b = np.vstack([-falls[1], falls[1], *(np.sin(t) * through for t in angles)])
    size = np.maximum(np.abs(a).max(axis=1), np.abs(b).max(axis=1))[:, None]
    branches, n = len(through), 2 * len(counted)
    owner = np.concatenate([np.arange(n), n + np.tile(np.arange(branches), len(angles))])
    return a / size, b / size, owner, 1.0 / size[:, 0]


@pytest.mark.parametrize(("name", "cases"), [("semiurb4", 160), ("rural2", 30), ("rural3", 20)])
def test_limits_of_a_grid(name, cases):
    """No row to ten or more that bind."""
    net = load_grid() if name == "semiurb4" else pandapower.from_json(str(NETS / f"{name}.json"))
    network = Network.from_pandapower(net)
    bus = np.flatnonzero(network.bus_node > 0)
    rng, binding = np.random.default_rng(7), []
    a, b, owner, unit = tree_limits(network, bus)
    unit[: 2 * (network.bus_node > 0).sum()] = 1.0
    spread = (np.abs(a) + np.abs(b)).sum(axis=1)
    for _ in range(cases):
        menus = random_menus(rng, len(bus), 90)
        p, q = cheapest(*menus)
        # A share of the limits lies below what the menus would take by themselves.
        broken = rng.random(len(a)) < rng.uniform(0.0, 10.0 / len(a))
        limit = a @ p + b @ q + spread * np.where(broken, -0.2, 1.0) * rng.random(len(a))
        price = rng.uniform(0.5, 50.0, owner.max() + 1)
        binding.append(check(menus, a, b, limit, owner, unit, price))
    assert min(binding) == 0
    assert max(binding) >= 10


def test_cheapest_vertices_without_limits():
    menus = random_menus(np.random.default_rng(0), 43)
    none = np.zeros((43, 0)), np.zeros((43, 0)), np.zeros(0)
    owner = np.zeros(0, dtype=np.int64)
    share, dual, broken, status, pivots, _ = dispatch_vertices(
        *menus, *none, owner, np.zeros(0), np.zeros(0), COLD
    )
    power = np.add.reduceat(share * menus[1], menus[0][:-1])
    np.testing.assert_array_equal(power, cheapest(*menus)[0])
    assert (status, pivots, len(dual), len(broken)) == (OPTIMAL, 0, 0, 0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 6))
def test_ties_and_parallel_limits(seed, levels, rows):
    """Few different costs, powers and coefficients: every step of the simplex is degenerate."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 8))
    many = rng.integers(1, 9, count)
    start = np.concatenate([[0], np.cumsum(many)])
    p, q = rng.integers(-2, 3, (2, many.sum())).astype(float)
    cost = rng.integers(-levels, levels + 1, many.sum()).astype(float)
    a, b = rng.integers(-1, 2, (2, rows, count)).astype(float)
    limit = rng.integers(-3, 4, rows).astype(float)
    owner = rng.integers(0, 3, rows)
    check((start, p, q, cost), a, b, limit, owner, np.ones(rows), np.array([1.0, 2.0, 1.0]))


def test_a_limit_nobody_can_keep_is_broken_as_little_as_pays():
    """One menu between (-5, 0) and (0, 5); two limits that the same variable breaks."""
    menus = np.array([0, 2]), np.array([-5.0, 0.0]), np.array([0.0, 5.0]), np.array([0.0, 1.0])
    rows = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), np.array([-6.0, -2.0])
    owner, unit = np.zeros(2, dtype=np.int64), np.ones(2)
    for price, share, z in ((10.0, 0.2, 2.0), (1e-3, 0.0, 2.0)):
        found = dispatch_vertices(*menus, *rows, owner, unit, np.array([price]), COLD)
        oracle = vertices_with_highs(*menus, *rows, owner, unit, np.array([price]))
        assert found[0] @ menus[3] + price * found[2][0] == pytest.approx(
            oracle[0] @ menus[3] + price * oracle[2][0], abs=1e-12
        )
        assert found[2][0] == pytest.approx(z)
        assert found[0][1] <= share


def test_more_rows_than_it_has_room_for():
    """It says so; `Operator` then asks HiGHS."""
    n = MOST_ROWS + 1
    start = np.arange(0, 2 * n + 1, 2)
    p, cost = np.tile([0.0, 1.0], n), np.tile([0.0, -1.0], n)
    rows = np.eye(n), np.zeros((n, n)), np.full(n, 0.5), np.arange(n), np.ones(n)
    *_, status, _, _ = dispatch_vertices(
        start, p, np.zeros(2 * n), cost, *rows, np.full(n, 9.0), COLD
    )
    assert status == TOO_MANY_ROWS
