"""A piecewise-linear function is found exactly from its values and slopes."""

import numpy as np
import pytest
from scipy.optimize import linprog

from flexgym.baselines.household.supporting_planes import largest_line, supporting_planes
from flexgym.envs.errors import SolverError


def check_line(slopes, offsets, low, high):
    """The breakpoints are those of the largest line, in order, from end to end."""
    x, y = largest_line(slopes, offsets, low, high)
    assert (x[0], x[-1]) == (low, high)
    assert (np.diff(x) > 0.0).all()
    places = np.concatenate([np.linspace(low, high, 301), x])
    expected = (np.multiply.outer(places, slopes) + offsets).max(axis=1)
    np.testing.assert_allclose(np.interp(places, x, y), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(y, expected[-len(x) :], rtol=0, atol=1e-12)


LINES = {
    "random": lambda rng, n: rng.normal(size=n),
    "few slopes": lambda rng, n: rng.integers(-2, 3, n).astype(float),
    "parallel": lambda rng, n: np.full(n, -0.7),
    "parallel to rounding": lambda rng, n: -1.0 + 2e-16 * rng.integers(-9, 9, n),
    "some parallel to rounding": lambda rng, n: np.where(
        rng.random(n) < 0.5, -1.0 + 2e-16 * rng.integers(-9, 9, n), rng.normal(size=n)
    ),
}


@pytest.mark.parametrize("draw", LINES.values(), ids=LINES)
def test_largest_line(draw):
    rng = np.random.default_rng(0)
    for _ in range(300):
        n = int(rng.integers(1, 9))
        low = rng.uniform(-5.0, 5.0)
        size = rng.choice([1e-3, 1.0, 60.0])
        check_line(draw(rng, n), rng.normal(size=n), low, low + size)


def test_largest_line_through_one_point_and_twice_the_same():
    rng = np.random.default_rng(1)
    for _ in range(100):
        slopes = rng.normal(size=6)
        check_line(slopes, 0.3 - 0.4 * slopes, 0.0, 1.0)
        check_line(np.tile(slopes, 2), np.tile(slopes**2, 2), -1.0, 1.0)
    check_line(np.array([2.0]), np.array([1.0]), 0.0, 3.0)


def random_planes(rng, kind):
    n = int(rng.integers(1, 25))
    planes = rng.normal(size=(n, 3)) * [rng.choice([0.1, 1.0, 3.0]), rng.choice([0.1, 1.0]), 1.0]
    if kind == "bowl":
        at = rng.normal(size=(n, 2))
        planes = np.column_stack([2 * at, -(at**2).sum(axis=1)])
    elif kind == "through one point":
        planes[:, 2] = -planes[:, :2] @ rng.normal(size=2)
    elif kind == "few slopes":
        planes[:, :2] = rng.integers(-1, 2, (n, 2))
    elif kind == "rounding":
        planes = np.repeat(planes, 3, axis=0) * (1.0 + 1e-15 * rng.normal(size=(3 * n, 3)))
    elif kind == "of one variable":
        planes[:, rng.integers(2)] = 0.0
    return planes


BOXES = {
    "box": ([-1.0, 0.0], [2.0, 1.0]),
    "small": ([3.0, 4.0], [3.001, 4.5]),
    "large": ([0.0, 0.0], [80.0, 10.0]),
    "x only": ([-1.0, 0.5], [2.0, 0.5]),
    "y only": ([0.5, -2.0], [0.5, 2.0]),
    "point": ([0.5, 0.5], [0.5, 0.5]),
}
KINDS = ("random", "bowl", "through one point", "few slopes", "rounding", "of one variable")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_recovers_the_function_exactly(kind, box):
    rng = np.random.default_rng(2)
    low, high = (np.array(end) for end in box)
    for _ in range(25):
        planes = random_planes(rng, kind)

        def evaluate(x, y, planes=planes):
            values = planes @ (x, y, 1.0)
            k = int(rng.choice(np.flatnonzero(values >= values.max() - 1e-12)))
            return values[k], planes[k, 0], planes[k, 1]

        found, vertices = supporting_planes(evaluate, tuple(low), tuple(high))
        assert (vertices >= low - 1e-9).all()
        assert (vertices <= high + 1e-9).all()
        corners = np.array([[x, y] for x in (low[0], high[0]) for y in (low[1], high[1])])
        places = np.concatenate([low + (high - low) * rng.random((200, 2)), vertices, corners])
        lifted = np.column_stack([places, np.ones(len(places))])
        expected = (lifted @ planes.T).max(axis=1)
        scale = 1.0 + np.abs(expected).max()
        assert np.abs((lifted @ found.T).max(axis=1) - expected).max() <= 1e-9 * scale


def test_vertices_span_the_function():
    """At any place the function is a mixture of its values at the vertices."""
    rng = np.random.default_rng(3)
    for kind in KINDS:
        for _ in range(3):
            planes = random_planes(rng, kind)

            def evaluate(x, y, planes=planes):
                values = planes @ (x, y, 1.0)
                k = int(values.argmax())
                return values[k], planes[k, 0], planes[k, 1]

            _, vertices = supporting_planes(evaluate, (0.0, 0.0), (1.0, 2.0))
            height = (np.column_stack([vertices, np.ones(len(vertices))]) @ planes.T).max(axis=1)
            for place in rng.random((8, 2)) * (1.0, 2.0):
                answer = linprog(
                    height,
                    A_eq=np.vstack([vertices.T, np.ones(len(vertices))]),
                    b_eq=[*place, 1.0],
                )
                expected = (planes @ (*place, 1.0)).max()
                assert answer.fun == pytest.approx(expected, abs=1e-8)


@pytest.mark.timeout(120)
def test_a_function_that_is_not_piecewise_linear_is_refused(monkeypatch):
    monkeypatch.setattr("flexgym.baselines.household.supporting_planes._ROUNDS", 4)
    with pytest.raises(SolverError, match="expected a piecewise-linear one"):
        supporting_planes(lambda x, y: (x * x + y * y, 2 * x, 2 * y), (-1.0, -1.0), (1.0, 1.0))
