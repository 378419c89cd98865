"""A convex piecewise-linear function of one or two variables from its values and slopes.

Each evaluation gives a supporting plane. The largest of the planes so far is a lower model;
where one of its vertices lies below the function, the plane there is new. When none does,
the model is the function: two convex functions that agree at all vertices of the lower one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial import HalfspaceIntersection

from flexgym.envs.errors import SolverError
from flexgym.envs.household.params import Floats

Evaluate = Callable[[float, float], tuple[float, float, float]]
"""Value and the slopes in both variables at a point."""
_SAME = 1e-10
_ROUNDS = 200


def supporting_planes(
    evaluate: Evaluate, low: tuple[float, float], high: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Planes and vertices of a function on a box, whose sides may have no length.

    Args:
        evaluate: The function.
        low: Least values of the two variables.
        high: Largest values.

    Returns:
        Planes (a, b, c), shape (n, 3): the function is the largest ``a*x + b*y + c``; and the
        places (x, y) of its vertices, shape (m, 2).

    Raises:
        SolverError: Two hundred rounds were not enough.
    """
    origin, size = np.array(low), np.array(high) - np.array(low)
    wide = size > _SAME
    scale = np.where(wide, size, 1.0)
    seen: dict[tuple[float, float], None] = {}
    planes: list[tuple[float, float, float]] = []

    def visit(place: Floats) -> bool:
        """Evaluate a place of the unit box; whether the model changed there."""
        key = (round(float(place[0]), 9), round(float(place[1]), 9))
        if key in seen:
            return False
        seen[key] = None
        at = origin + size * np.clip(place, 0.0, 1.0)
        value, a, b = evaluate(float(at[0]), float(at[1]))
        slope = np.where(wide, np.array([a, b]) * scale, 0.0)
        offset = value - slope @ np.clip(place, 0.0, 1.0)
        model = max((p[0] * place[0] + p[1] * place[1] + p[2] for p in planes), default=-np.inf)
        if value <= model + _SAME * (1.0 + abs(value)):
            return False
        planes.append((float(slope[0]), float(slope[1]), float(offset)))
        return True

    corners = np.unique(np.array([[x, y] for x in (0.0, 1.0) for y in (0.0, 1.0)]) * wide, axis=0)
    for corner in corners:
        visit(corner)
    for _ in range(_ROUNDS):
        vertices = _vertices(np.array(planes), wide)
        # All new places at once: each is worth its evaluation whatever the others find.
        changed = [visit(place) for place in vertices]
        if not any(changed):
            break
    else:
        raise SolverError(
            f"the function still changed after {_ROUNDS} rounds; expected a piecewise-linear one."
        )
    found = np.array(planes)
    found[:, :2] /= scale
    found[:, 2] -= found[:, :2] @ origin
    return found, origin + size * vertices.clip(0.0, 1.0)


def _vertices(planes: Floats, wide: np.ndarray) -> Floats:
    """Places in the unit box where the largest of the planes has its vertices, shape (m, 2)."""
    if not wide.any():
        return np.zeros((1, 2))
    if wide.all():
        height = planes[:, :2].clip(0.0).sum(axis=1) + planes[:, 2]
        middle, top = float(height.max()) + 1.0, float(height.max()) + 2.0
        above = np.column_stack([planes[:, :2], -np.ones(len(planes)), planes[:, 2]])
        box = np.array(
            [[-1, 0, 0, 0], [1, 0, 0, -1], [0, -1, 0, 0], [0, 1, 0, -1], [0, 0, 1, -top]], float
        )
        inside = np.array([0.5, 0.5, middle])
        corners = HalfspaceIntersection(np.concatenate([above, box]), inside).intersections
        return corners[corners[:, 2] < middle, :2].clip(0.0, 1.0)
    axis = int(np.argmax(wide))
    x, _ = largest_line(planes[:, axis], planes[:, 2], 0.0, 1.0)
    places = np.zeros((len(x), 2))
    places[:, axis] = x
    return places


def largest_line(slopes: Floats, offsets: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """Breakpoints (x, y) of the largest of lines on an interval, its ends included."""
    order = np.lexsort((offsets, slopes))
    kept: list[int] = []
    starts: list[float] = []
    for k in order.tolist():
        start = low
        while kept:
            j = kept[-1]
            rise = slopes[k] - slopes[j]
            # Parallel lines: the later one is the higher.
            start = (offsets[j] - offsets[k]) / rise if rise > 1e-12 else -np.inf
            if start > starts[-1]:
                break
            kept.pop()
            starts.pop()
            start = low
        if start < high:
            kept.append(k)
            starts.append(max(start, low))
    x = np.append(starts, high)
    lines = np.append(kept, kept[-1])
    apart = np.append(np.diff(x) > 1e-12 * (1.0 + abs(high - low)), True)
    x, lines = x[apart], lines[apart]
    x[0] = low if len(x) > 1 else x[0]
    return x, slopes[lines] * x + offsets[lines]
