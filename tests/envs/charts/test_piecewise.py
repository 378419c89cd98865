"""Convex piecewise-linear functions against their definitions on a fine grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.envs.charts import ConvexPiecewiseLinear
from flexgym.envs.errors import ChartError


@st.composite
def functions(draw, most=6):
    slopes = sorted(draw(st.lists(st.floats(-3, 3), min_size=0, max_size=most)))
    lengths = draw(st.lists(st.floats(0.01, 2), min_size=len(slopes), max_size=len(slopes)))
    start, value = draw(st.floats(-5, 5)), draw(st.floats(-5, 5))
    return ConvexPiecewiseLinear.from_slopes(start, value, np.array(slopes), np.array(lengths))


@given(f=functions(), g=functions())
@settings(max_examples=150, deadline=None)
def test_infimal_convolution_is_the_least_sum(f, g):
    h = f.infimal_convolution(g)
    assert h.x[0] == pytest.approx(f.x[0] + g.x[0])
    assert h.x[-1] == pytest.approx(f.x[-1] + g.x[-1])
    for x in np.linspace(h.x[0], h.x[-1], 7):
        # The optimum of a convex piecewise-linear sum lies at a breakpoint of either.
        split = np.concatenate([f.x, x - g.x])
        split = split[(split >= f.x[0]) & (split <= f.x[-1])]
        best = np.min(f(split) + g(x - split), initial=np.inf)
        assert h(x) == pytest.approx(best, abs=1e-9)


@given(f=functions(), g=functions())
@settings(max_examples=100, deadline=None)
def test_sum_restriction_shift_and_scale(f, g):
    low, high = max(f.x[0], g.x[0]), min(f.x[-1], g.x[-1])
    if high < low - 1e-9:
        with pytest.raises(ChartError, match="empty interval"):
            f + g
    elif high > low + 1e-9:
        x = np.linspace(low, high, 31)
        np.testing.assert_allclose((f + g)(x), f(x) + g(x), atol=1e-9)
        part = f.restrict(low, high)
        np.testing.assert_allclose(part(x), f(x), atol=1e-9)
        assert np.isinf(part([low - 1, high + 1])).all()
    np.testing.assert_allclose(f.shifted(2.5)(f.x + 2.5), f.y, atol=1e-9)
    np.testing.assert_allclose(f.scaled(3.0)(f.x), 3 * f.y)


@given(f=functions())
@settings(max_examples=100, deadline=None)
def test_values_slopes_and_minimum(f):
    np.testing.assert_allclose(f(f.x), f.y)
    assert (np.diff(f.slopes) >= -1e-9).all()
    fine = np.linspace(f.x[0], f.x[-1], 101)
    assert f(f.argmin) <= f(fine).min() + 1e-12
    assert np.isinf(f([f.x[0] - 0.1, f.x[-1] + 0.1])).all()
    assert np.isnan(f.slope_at(f.x[-1] + 0.1))
    if len(f.x) > 1:
        middle = 0.5 * (f.x[1:] + f.x[:-1])
        step = 1e-3 * np.diff(f.x)
        rise = (f(middle + step) - f(middle - step)) / (2 * step)
        np.testing.assert_allclose(f.slope_at(middle), rise, atol=1e-6)
        assert f.slope_at(f.x[0]) == f.slopes[0]
        assert f.slope_at(f.x[-1]) == f.slopes[-1]


def test_slope_at_a_kink_is_the_right_hand_one():
    f = ConvexPiecewiseLinear(np.array([0.0, 1.0, 2.0]), np.array([0.0, -1.0, 1.0]))
    assert f.slope_at([0.0, 0.5, 1.0, 2.0]).tolist() == [-1.0, -1.0, 2.0, 2.0]
    assert f.argmin == 1.0


def test_a_single_point():
    f = ConvexPiecewiseLinear(np.array([2.0]), np.array([7.0]))
    assert f(2.0) == 7.0
    assert np.isinf(f(2.1))
    assert f.argmin == 2.0
    assert np.isnan(f.slope_at(2.0))
    g = f.infimal_convolution(ConvexPiecewiseLinear(np.array([-1.0, 1.0]), np.array([1.0, 0.0])))
    assert (g.x.tolist(), g.y.tolist()) == ([1.0, 3.0], [8.0, 7.0])


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        ([], [], "k >= 1"),
        ([0.0, 1.0], [0.0], "shapes"),
        ([[0.0, 1.0]], [[0.0, 1.0]], "shapes"),
        ([0.0, np.nan], [0.0, 1.0], "not finite"),
        ([0.0, 1.0], [0.0, np.inf], "not finite"),
        ([0.0, 0.0], [0.0, 1.0], "ascending"),
        ([1.0, 0.0], [0.0, 1.0], "ascending"),
        ([0.0, 1.0, 2.0], [0.0, 1.0, 1.0], "convex"),
    ],
)
def test_refuses_what_is_not_convex(x, y, match):
    with pytest.raises(ChartError, match=match):
        ConvexPiecewiseLinear(np.array(x), np.array(y))


def test_keeps_its_own_numbers():
    x, y = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    f = ConvexPiecewiseLinear(x, y)
    x[1] = 5.0
    assert f.x[1] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        f.y[0] = 3.0
