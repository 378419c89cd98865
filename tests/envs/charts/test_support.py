"""Vertices of costs of active and reactive power against Qhull and linear programs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial import ConvexHull

from flexgym.baselines.household import cost_to_go
from flexgym.envs import Battery, Load
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.support import is_vertex, on_line

NOWHERE = np.zeros((1, 2))
KINDS = ("random", "bowl", "lattice", "flat", "line", "upright", "no reactive power", "twice")


def draw(rng, kind, n=18):
    """Points (p, q, cost) with q >= 0; the function is the hull of them and their mirrors."""
    points = np.column_stack([rng.normal(size=n), rng.random(n), rng.random(n)])
    if kind == "bowl":
        points[:, 2] = points[:, 0] ** 2 + points[:, 1] ** 2
    elif kind == "lattice":
        points[:, :2] = rng.integers(0, 4, (n, 2))
        points[:, 2] = rng.integers(0, 3, n)
    elif kind == "flat":
        points[:, 2] = 0.4
    elif kind == "line":
        points[:, 1] = 0.5 * np.abs(points[:, 0])
    elif kind == "upright":
        points[:, 0] = 1.5
    elif kind == "no reactive power":
        points[:, 1] = 0.0
    elif kind == "twice":
        points[n // 2 :] = points[: n // 2]
    return points


def sums(points, roof):
    k, j = np.divmod(np.arange(len(points) * len(roof)), len(roof))
    return np.column_stack([points[k, :2] + roof[j], points[k, 2]])


def mirrored(points):
    return np.concatenate([points, points * (1.0, -1.0, 1.0)])


def lowest(points, p, q):
    """Least cost of a mixture of points at (p, q), inf where there is none."""
    answer = linprog(
        points[:, 2], A_eq=np.vstack([points[:, :2].T, np.ones(len(points))]), b_eq=[p, q, 1.0]
    )
    return answer.fun if answer.status == 0 else np.inf


def corners_by_qhull(points):
    """Rows of the vertices of the lower hull of points in general position."""
    size = np.ptp(points, axis=0)
    top = np.append(points[:, :2].mean(axis=0), points[:, 2].max() + 10.0 * size[2])
    hull = ConvexHull(np.concatenate([points, top[None]]))
    floor = hull.equations[:, 2] < -1e-9
    used = np.unique(hull.simplices[floor])
    return {int(k) for k in used if k < len(points)}


@pytest.mark.parametrize("kind", ["random", "bowl"])
def test_vertices_are_those_of_qhull(kind):
    rng = np.random.default_rng(0)
    for _ in range(60):
        points = draw(rng, kind)
        found = set(np.flatnonzero(is_vertex(points, NOWHERE)[:, 0]).tolist())
        both = mirrored(points)
        expected = {k for k in corners_by_qhull(both) if k < len(points)}
        assert found == expected


@pytest.mark.parametrize("kind", ["random", "bowl"])
def test_vertices_of_sums_are_those_of_qhull(kind):
    rng = np.random.default_rng(1)
    for _ in range(25):
        points = draw(rng, kind, 12)
        roof = np.column_stack([-rng.random(6), rng.random(6)])
        used = is_vertex(points, roof)
        every = sums(points, roof)
        whole = mirrored(sums(points, mirrored(np.column_stack([roof, np.zeros(6)]))[:, :2]))
        expected = whole[sorted(corners_by_qhull(whole))]
        expected = {tuple(v) for v in expected[expected[:, 1] >= 0.0].round(9).tolist()}
        found = {tuple(v) for v in every[used.ravel()].round(9).tolist()}
        assert found == expected


@pytest.mark.parametrize("kind", KINDS)
def test_kept_points_span_the_function_and_none_is_spare(kind):
    """Degenerate lists too: nothing is lost, and nothing kept could be left out."""
    rng = np.random.default_rng(2)
    for _ in range(12):
        points = draw(rng, kind)
        kept = points[is_vertex(points, NOWHERE)[:, 0]]
        assert len(kept)
        whole, part = mirrored(points), mirrored(kept)
        for p, q, cost in points:
            low = lowest(whole, p, q)
            assert lowest(part, p, q) == pytest.approx(low, abs=1e-7)
            assert low <= cost + 1e-9
        for k, (p, q, cost) in enumerate(kept):
            others = mirrored(np.delete(kept, k, axis=0))
            if q > 0.0:
                others = np.concatenate([others, [[p, -q, cost]]])
            assert len(others) == 0 or lowest(others, p, q) > cost + 1e-13


@pytest.mark.parametrize("kind", KINDS)
def test_vertices_on_a_line_are_those_of_the_function_there(kind):
    rng = np.random.default_rng(3)
    for _ in range(8):
        points = draw(rng, kind)
        roof = np.column_stack([-rng.random(3), rng.random(3)]) if rng.random() < 0.5 else NOWHERE
        every = sums(points, roof)
        whole = mirrored(sums(points, mirrored(np.column_stack([roof, 0 * roof[:, :1]]))[:, :2]))
        low, high = every[:, 0].min(), every[:, 0].max()
        for p in (rng.uniform(low, high), 0.5 * (low + high), low, high):
            line = on_line(points, roof, p)
            assert (np.diff(line[:, 0]) > 0.0).all()
            most = linprog(
                -whole[:, 1], A_eq=np.vstack([whole[:, 0], np.ones(len(whole))]), b_eq=[p, 1.0]
            )
            if most.status != 0:  # at the very end rounding decides
                continue
            assert line[-1, 0] == pytest.approx(-most.fun, abs=1e-7)
            for q in np.linspace(0.0, line[-1, 0] * (1 - 1e-9), 5):
                cost = np.interp(q, *line.T)
                assert cost == pytest.approx(lowest(whole, p, q), abs=1e-6)


@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["hybrid", "separate"]))
@settings(max_examples=40, deadline=None)
def test_charts_of_houses_with_a_car(random_car_house_day, seed, kind):
    """Convex, and coarser ones lie inside and are never cheaper."""
    rng = np.random.default_rng(seed)
    house, series, soc, terminal = random_car_house_day(rng, 4)
    factor = rng.choice([None, 0.8, 0.95])
    house = replace(house, load=Load(tan_phi=float(rng.uniform(-0.3, 0.3))))
    house = replace(house, min_power_factor=factor if factor is None else float(factor))
    if kind == "separate":
        battery = house.battery or Battery(5.0, 3.0)
        house = replace(
            house, battery=battery, inverter="separate", inverter_kva=max(house.pv_kwp, 1.0)
        )
    chart = cost_to_go(house, series, terminal_eur_per_kwh=terminal).chart(0, soc)
    assert FlexibilityChart.from_vertices(chart.vertices) == chart
    weight = rng.dirichlet(np.ones(len(chart.vertices)), 30)
    a, b = weight[:15] @ chart.vertices[:, :2], weight[15:] @ chart.vertices[:, :2]
    mean = 0.5 * (chart.cost(*a.T) + chart.cost(*b.T))
    assert (chart.cost(*(0.5 * (a + b)).T) <= mean + 1e-8).all()
    p, q, cost = chart.vertices.T
    np.testing.assert_allclose(chart.cost(p, q), cost, rtol=0, atol=1e-8)
    for n in (1, 3, 8):
        coarse = chart.coarsen(n)
        assert len(coarse.vertices) <= max(n, 1) or coarse is chart
        weight = rng.dirichlet(np.ones(len(coarse.vertices)), 15)
        p, q = (weight @ coarse.vertices[:, :2]).T
        assert chart.contains(p, q).all()
        assert (coarse.cost(p, q) >= chart.cost(p, q) - 1e-8).all()
        assert coarse.cost(*chart.best) == pytest.approx(chart.cost_eur.min(), abs=1e-8)
