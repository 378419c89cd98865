"""Charts in P and Q: convex, added, coarsened, sent, and refused, for any vertex list."""

import json
import math
import pickle
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.errors import ChartError

SQUARE = [[0.0, -1.0, 2.0], [0.0, 1.0, 2.0], [2.0, -1.0, 1.0], [2.0, 1.0, 1.0]]
KINDS = ("polygon", "segment", "active only", "reactive only", "point", "flat")


def draw(rng, kind, n=12):
    """A chart through random points above a bowl."""
    pq = rng.normal(size=(n, 2)) * rng.uniform(0.1, 5.0, 2)
    if kind == "segment":
        pq = np.outer(pq[:, 0], [1.0, 0.4]) + np.array([1.0, -2.0])
    pq *= {"active only": (1, 0), "reactive only": (0, 1), "point": (0, 0)}.get(kind, (1, 1))
    cost = (pq**2).sum(axis=1) * rng.uniform(0.01, 0.3) + pq @ rng.normal(size=2) * 0.2
    cost = np.full(n, 0.7) if kind == "flat" else cost + 0.2 * rng.random(n)
    return FlexibilityChart.hull(np.column_stack([pq, cost]))


def random_charts(seed, kinds):
    rng = np.random.default_rng(seed)
    return [draw(rng, kind) for kind in kinds]


def inside(rng, chart, n):
    weight = rng.dirichlet(np.ones(len(chart.vertices)), n)
    return weight @ chart.vertices[:, :2]


def by_program(vertex_lists, p, q):
    """Cheapest split of a power over vertex lists; inf where there is none."""
    columns = np.concatenate(vertex_lists)
    owner = np.repeat(np.arange(len(vertex_lists)), [len(v) for v in vertex_lists])
    shares = (owner == np.arange(len(vertex_lists))[:, None]).astype(float)
    answer = linprog(
        columns[:, 2],
        A_eq=np.vstack([columns[:, :2].T, shares]),
        b_eq=[p, q, *np.ones(len(vertex_lists))],
        method="highs",
    )
    return answer.fun if answer.status == 0 else math.inf


some_charts = st.builds(
    lambda seed, kind: random_charts(seed, [kind])[0],
    st.integers(0, 10_000),
    st.sampled_from(KINDS),
)


@given(chart=some_charts, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_charts_are_convex(chart, seed):
    rng = np.random.default_rng(seed)
    a, b = inside(rng, chart, 20), inside(rng, chart, 20)
    share = rng.random((20, 1))
    between = share * a + (1 - share) * b
    mean = share[:, 0] * chart.cost(*a.T) + (1 - share[:, 0]) * chart.cost(*b.T)
    assert (chart.cost(*between.T) <= mean + 1e-9).all()
    p, q, cost = chart.vertices.T
    np.testing.assert_allclose(chart.cost(p, q), cost, rtol=0, atol=1e-9)
    assert (np.column_stack([p, q, np.ones(len(p))]) @ chart.facets.T <= cost[:, None] + 1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_cost_is_the_lower_hull_exactly(kind):
    rng = np.random.default_rng(3)
    for chart in random_charts(4, [kind] * 5):
        for p, q in inside(rng, chart, 6):
            expected = by_program([chart.vertices], p, q)
            assert chart.cost(p, q) == pytest.approx(expected, abs=1e-8)
            assert chart.cost(p) <= expected + 1e-8
        least = min(chart.vertices[:, 2])
        assert chart.cost(*chart.best) == pytest.approx(least, abs=1e-9)
        far = chart.vertices[:, :2].max(axis=0) + 0.1
        assert np.isinf(chart.cost(*far))
        assert not chart.contains(*far)
        assert chart.contains(*chart.vertices[:, :2].T).all()


def test_shapes_broadcast_and_nan_is_outside():
    chart = FlexibilityChart.from_vertices(SQUARE)
    assert chart.cost(np.ones((3, 1)), np.zeros(4)).shape == (3, 4)
    assert chart.contains(1.0, [0.0, np.nan, 2.0]).tolist() == [True, False, False]
    assert np.isinf(chart.cost(np.nan, 0.0))
    assert chart.facets == pytest.approx(np.array([[-0.5, 0.0, 2.0]]))
    assert len(chart.sides) == 4
    assert chart.best == (2.0, 0.0)
    assert chart.power_kw.tolist() == [0.0, 2.0]


@given(
    chart=some_charts,
    n=st.integers(1, 14),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_a_coarse_chart_is_inside_and_never_cheaper(chart, n, seed):
    coarse, finer = chart.coarsen(n), chart.coarsen(n + 2)
    assert len(coarse.vertices) <= max(n, 1)
    best = chart.cost(*chart.best)
    assert coarse.cost(*chart.best) == pytest.approx(best, abs=1e-9)
    assert coarse.best == pytest.approx(chart.best, abs=1e-6)
    p, q = inside(np.random.default_rng(seed), coarse, 20).T
    assert chart.contains(p, q).all()
    assert finer.contains(p, q).all()
    assert (coarse.cost(p, q) >= chart.cost(p, q) - 1e-9).all()
    assert (coarse.cost(p, q) >= finer.cost(p, q) - 1e-9).all()


def test_coarsening_a_chart_keeps_what_matters():
    angle = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    disc = FlexibilityChart.hull(np.column_stack([np.cos(angle), np.sin(angle), np.cos(angle)]))
    corners = disc.coarsen(8).vertices[:, :2]
    area = 0.5 * 8 * math.sin(math.pi / 4)
    x, y = corners[np.argsort(np.arctan2(corners[:, 1], corners[:, 0]))].T
    assert 0.5 * abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) > 0.9 * area
    assert disc.coarsen(60) is disc
    with pytest.raises(ChartError, match="at least 1"):
        disc.coarsen(0)


@pytest.mark.parametrize("kinds", [(a, b) for a in KINDS for b in KINDS])
def test_sums_equal_the_cheapest_split(kinds):
    rng = np.random.default_rng(5)
    a, b = random_charts(6, kinds)
    total = a + b
    for p, q in inside(rng, a, 5) + inside(rng, b, 5):
        expected = by_program([a.vertices, b.vertices], p, q)
        assert total.cost(p, q) == pytest.approx(expected, abs=1e-8)
    for angle in np.linspace(0, 2 * math.pi, 64, endpoint=False):
        normal = np.array([math.cos(angle), math.sin(angle)])
        far = [(chart.vertices[:, :2] @ normal).max() for chart in (a, b, total)]
        assert far[2] == pytest.approx(far[0] + far[1], abs=1e-9)
    again = FlexibilityChart.from_vertices(total.vertices)
    p = np.linspace(*total.power_kw[[0, -1]], 15)
    np.testing.assert_allclose(again.cost(p), total.cost(p), rtol=0, atol=1e-9)


@given(seed=st.integers(0, 10_000), kinds=st.tuples(*[st.sampled_from(KINDS)] * 3))
@settings(max_examples=40, deadline=None)
def test_sums_are_associative_and_commute(seed, kinds):
    a, b, c = random_charts(seed, kinds)
    left, right = (a + b) + c, b + (c + a)
    p, q = inside(np.random.default_rng(seed), left, 20).T
    np.testing.assert_allclose(left.cost(p, q), right.cost(p, q), rtol=0, atol=1e-9)
    np.testing.assert_allclose(left.cost(p), right.cost(p), rtol=0, atol=1e-9)
    many = FlexibilityChart.minkowski_sum([a, b, c])
    np.testing.assert_allclose(many.cost(p, q), left.cost(p, q), rtol=0, atol=1e-9)


def test_sums_refuse_what_they_cannot_do():
    with pytest.raises(ChartError, match="no chart"):
        FlexibilityChart.minkowski_sum([])
    with pytest.raises(TypeError):
        FlexibilityChart.from_vertices(SQUARE) + 1.0
    x = np.linspace(-1, 1, 2100)
    large = FlexibilityChart(x, x**2)
    total = large + large
    assert total.cost(0.0) == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ChartError, match="Coarsen"):
        total.vertices  # noqa: B018


@given(chart=some_charts)
@settings(max_examples=40, deadline=None)
def test_round_trips_are_exact(chart):
    for copy in (
        FlexibilityChart.from_bytes(chart.to_bytes()),
        FlexibilityChart.from_json(chart.to_json()),
        pickle.loads(pickle.dumps(chart)),
    ):
        assert copy == chart
        assert hash(copy) == hash(chart)
        assert copy.vertices.tobytes() == chart.vertices.tobytes()
        assert copy.best == pytest.approx(chart.best, abs=1e-6)


def test_equality_is_of_vertices():
    chart = FlexibilityChart.from_vertices(SQUARE)
    assert chart == FlexibilityChart.from_vertices(SQUARE[::-1])
    assert chart != FlexibilityChart([0.0], [0.0])
    assert chart != "chart"
    assert "0 to 2 kW" in repr(chart)


@pytest.mark.parametrize(
    ("vertices", "match"),
    [
        ([], "shape"),
        (np.empty((0, 3)), "shape"),
        ([[0.0, 0.0]], "shape"),
        ([0.0, 0.0, 0.0], "shape"),
        ([["a", 0.0, 0.0]], "no numbers"),
        ([[0.0, 0.0, np.nan]], "not finite"),
        ([[np.inf, 0.0, 0.0]], "not finite"),
        ([*SQUARE, [1.0, 0.0, 1.6]], "0.1 EUR above the lower hull"),
        ([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [2.0, 0.0, 1.0]], "above the lower hull"),
        ([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], "above the lower hull"),
    ],
)
def test_refuses_vertex_lists_that_are_no_chart(vertices, match):
    with pytest.raises(ChartError, match=match):
        FlexibilityChart.from_vertices(vertices)


def test_hull_drops_what_lies_above_and_a_list_may_hold_what_is_not_needed():
    assert FlexibilityChart.hull([*SQUARE, [1.0, 0.0, 1.6]]).vertices.tolist() == SQUARE
    spare = FlexibilityChart.from_vertices([*SQUARE, [1.0, 0.0, 1.5]])
    assert len(spare.vertices) == 5
    assert spare.cost(1.0, 0.5) == pytest.approx(1.5)


def test_damaged_messages():
    good = FlexibilityChart.from_vertices(SQUARE).to_bytes()
    assert len(good) == 4 + 2 + 4 + 4 * 24 + 4
    flipped = bytearray(good)
    flipped[40] ^= 1
    head = struct.pack("<4sHI", b"FXCH", 2, 4)
    other = head + good[10:-4]
    other += struct.pack("<I", zlib.crc32(other))
    for data, match in (
        (b"", "no flexibility chart"),
        (b"garbage" * 9, "no flexibility chart"),
        (good[:-1], "expected 110"),
        (good[:12], "no flexibility chart"),
        (good + b"\0", "expected 110"),
        (bytes(flipped), "checksum"),
        (other, "version 2"),
    ):
        with pytest.raises(ChartError, match=match):
            FlexibilityChart.from_bytes(data)


def test_damaged_texts():
    chart = FlexibilityChart.from_vertices(SQUARE)
    good = json.loads(chart.to_json())
    concave = [*SQUARE, [1.0, 0.0, 1.6]]
    for change, match in (
        ({"version": 2}, "version 2"),
        ({"version": None}, "version None"),
        ({"format": "other"}, "another format"),
        ({"vertices": [[1.0], [2.0, 3.0]]}, "without vertices"),
        ({"vertices": None}, "shape"),
        ({"vertices": []}, "shape"),
        ({"vertices": concave}, "above the lower hull"),
    ):
        with pytest.raises(ChartError, match=match):
            FlexibilityChart.from_json(json.dumps(good | change))
    for text in ("", "{", "[]", chart.to_json()[:-9]):
        with pytest.raises(ChartError, match="JSON"):
            FlexibilityChart.from_json(text)
