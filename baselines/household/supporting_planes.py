"""A convex piecewise-linear function of one or two variables from its values and slopes.

Each evaluation gives a supporting plane. The largest of the planes so far is a lower model;
where one of its vertices lies below the function, the plane there is new. When none does,
the model is the function: two convex functions that agree at all vertices of the lower one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flexgym.envs.compiled import compiled
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
        return _corners(planes)
    axis = int(np.argmax(wide))
    x, _ = largest_line(planes[:, axis], planes[:, 2], 0.0, 1.0)
    places = np.zeros((len(x), 2))
    places[:, axis] = x
    return places


def _corners(planes: Floats) -> Floats:
    """`_vertices` in two dimensions: ends of the edges between planes, and the box's sides."""
    found = [_edge_ends(planes)]
    for axis in (0, 1):
        for side in (0.0, 1.0):
            offsets = planes[:, 2] + side * planes[:, axis]
            x, _ = largest_line(planes[:, 1 - axis], offsets, 0.0, 1.0)
            places = np.full((len(x), 2), side)
            places[:, 1 - axis] = x
            found.append(places)
    return np.concatenate(found)


@compiled
def _edge_ends(planes):
    """Ends of the segments of the unit box on which two planes are the largest, shape (m, 2)."""
    n = len(planes)
    found = np.empty((n * n, 2))
    count = 0
    for i in range(n):
        for j in range(i):
            a, b = planes[i, 0] - planes[j, 0], planes[i, 1] - planes[j, 1]
            c = planes[i, 2] - planes[j, 2]
            size = np.hypot(a, b)
            if size <= 1e-12:
                continue
            # The line on which both are equal, from its point nearest to the origin.
            x, y = -a * c / (size * size), -b * c / (size * size)
            step_x, step_y = -b / size, a / size
            low, high = -4.0, 4.0
            for k in range(n + 4):
                # Room of a half-plane and how fast it is used up along the line.
                if k < n:
                    slope_x, slope_y = planes[k, 0] - planes[i, 0], planes[k, 1] - planes[i, 1]
                    room = planes[i, 2] - planes[k, 2] - slope_x * x - slope_y * y
                    use = slope_x * step_x + slope_y * step_y
                elif k < n + 2:
                    use = step_x if k == n else -step_x
                    room = 1.0 - x if k == n else x
                else:
                    use = step_y if k == n + 2 else -step_y
                    room = 1.0 - y if k == n + 2 else y
                if k in (i, j) or abs(use) <= 1e-14:
                    if k not in (i, j) and room < -1e-11:
                        low, high = 1.0, 0.0
                    continue
                if use > 0.0:
                    high = min(high, room / use)
                else:
                    low = max(low, room / use)
                if low > high + 1e-9:
                    break
            if low <= high + 1e-9:
                found[count, 0], found[count, 1] = x + low * step_x, y + low * step_y
                found[count + 1, 0], found[count + 1, 1] = x + high * step_x, y + high * step_y
                count += 2
    return found[:count]


def largest_line(slopes: Floats, offsets: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """Breakpoints (x, y) of the largest of lines on an interval, its ends included."""
    if high <= low:
        return np.array([low]), np.array([(slopes * low + offsets).max()])
    order = np.lexsort((offsets, slopes))
    kept: list[int] = []
    starts: list[float] = []
    for k in order.tolist():
        start = low
        while kept:
            j = kept[-1]
            rise, drop = slopes[k] - slopes[j], offsets[j] - offsets[k]
            # Of parallel lines, also those that only rounding tells apart, the higher counts.
            parallel = rise <= 1e-12
            start = (np.inf if drop > 0.0 else -np.inf) if parallel else drop / rise
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
