"""Lower convex hulls of points (active power, reactive power, cost).

Points in the plane of powers may span all of it, a line or nothing: each case is handled
by itself, so nothing is joggled. Qhull gets the points at unit scale under one point high
above them, which makes flat costs as good as any.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from flexgym.envs.household.params import Floats

SLACK = 1e-9
"""Powers closer than this, relative to one plus the largest, are the same power."""
_SAME = 1e-12
_STEEP = 1e-8
"""Facets at unit scale that rise like one over this or more are the sides, not the floor."""
_CHUNK = 1_000_000


class LowerHull:
    """The largest convex function below points, on their convex hull.

    Attributes:
        points: Shape (n, 3): kW, kvar, EUR.
        slack: How far outside the region a power may lie, kW.
        rank: Dimension of the region: 0 a point, 1 a segment, 2 a polygon.
        pieces: Corners of the linear pieces, shape (m, rank + 1), rows of `points`.
    """

    def __init__(self, points: Floats) -> None:
        self.points = points
        power = points[:, :2]
        self._origin = 0.5 * (power.min(axis=0) + power.max(axis=0))
        centred = power - self._origin
        self.slack = SLACK * (1.0 + float(np.abs(power).max()))
        far = centred[np.argmax((centred**2).sum(axis=1))]
        across = centred - far
        along = across[np.argmax((across**2).sum(axis=1))]
        length = float(np.hypot(*along))
        axis = along / length if length > 0.0 else np.array([1.0, 0.0])
        self._axes = np.column_stack([axis, [-axis[1], axis[0]]])
        turned = centred @ self._axes
        extent = np.ptp(turned, axis=0)
        self.rank = int((extent > self.slack).sum()) if extent[0] > self.slack else 0
        self._size = np.where(extent > self.slack, extent, 1.0)
        self._at = turned / self._size
        rise = float(np.ptp(points[:, 2]))
        self._height = (points[:, 2] - points[:, 2].min()) / (rise if rise > 0.0 else 1.0)
        self.pieces = (_lowest, _chain, _floor)[self.rank](self._at, self._height)

    @cached_property
    def corners(self) -> NDArray[np.intp]:
        """Rows of `points` that are corners of pieces, ascending in kW, then kvar."""
        used = np.unique(self.pieces)
        return used[np.lexsort((self.points[used, 1], self.points[used, 0]))]

    @cached_property
    def sides(self) -> Floats:
        """Half-planes whose intersection is the region: ``a*p + b*q + c <= 0``, shape (n, 3).

        The normals (a, b) have length one, so a positive left side is a distance, kW.
        """
        if self.rank == 2:
            flat = ConvexHull(self._at[self.corners]).equations
            normal = (flat[:, :2] / self._size) @ self._axes.T
            offset = flat[:, 2]
        else:
            ends = self._at * self._size
            normal = np.concatenate([self._axes.T, -self._axes.T])
            offset = np.concatenate([-ends.max(axis=0), ends.min(axis=0)])
        offset = offset - normal @ self._origin
        return np.column_stack([normal, offset]) / np.hypot(*normal.T)[:, None]

    @cached_property
    def facets(self) -> Floats:
        """Planes ``a*p + b*q + c`` whose maximum is the function, shape (m, 3).

        EUR/kW, EUR/kvar and EUR. None lies above a point, not by rounding either.
        """
        corner = np.concatenate([self._at, np.ones((len(self._at), 1))], axis=1)[self.pieces]
        corner = corner[:, :, [*range(self.rank), 2]]
        local = np.linalg.solve(corner, self.points[self.pieces][:, :, 2:])[:, :, 0]
        slope = np.zeros((len(local), 2))
        slope[:, : self.rank] = local[:, : self.rank] / self._size[: self.rank]
        slope = slope @ self._axes.T
        planes = np.column_stack([slope, local[:, -1] - slope @ self._origin])
        # Pieces of one plane differ by rounding: the first stands for all.
        _, first = np.unique(planes.round(9), axis=0, return_index=True)
        planes = planes[np.sort(first)]
        floor = self.points[self.corners]
        above = planes[:, :2] @ floor[:, :2].T + planes[:, 2:] - floor[:, 2]
        planes[:, 2] -= above.max(axis=1).clip(0.0)
        return planes

    @cached_property
    def _inverse(self) -> Floats:
        """From a place to its weights on the first two corners of each triangle."""
        corner = self._at[self.pieces]
        return np.linalg.inv((corner[:, :2] - corner[:, 2:]).transpose(0, 2, 1))

    def contains(self, p: Floats, q: Floats) -> NDArray[np.bool_]:
        """Whether powers (any shape) lie in the region."""
        inside = np.isfinite(p) & np.isfinite(q)
        for a, b, c in self.sides:
            inside &= a * p + b * q + c <= self.slack
        return inside

    def outside(self, p: Floats, q: Floats) -> Floats:
        """Distance to the farthest side that is violated, kW; not positive inside."""
        return (np.stack([p, q, np.ones_like(p)], axis=-1) @ self.sides.T).max(axis=-1)

    def __call__(self, p: Floats, q: Floats) -> Floats:
        """Values at powers (any shape); +inf outside the region."""
        p, q = np.broadcast_arrays(np.asarray(p, np.float64), np.asarray(q, np.float64))
        inside = self.contains(p, q)
        found = np.full(p.shape, np.inf)
        at = (np.stack([p[inside], q[inside]], axis=-1) - self._origin) @ self._axes / self._size
        found[inside] = self._values(at)
        return found

    def _values(self, at: Floats) -> Floats:
        cost = self.points[:, 2]
        if self.rank == 0:
            return np.full(len(at), cost[self.pieces[0, 0]])
        if self.rank == 1:
            chain = np.append(self.pieces[:, 0], self.pieces[-1, 1])
            return np.interp(at[:, 0], self._at[chain, 0], cost[chain])
        rows = max(1, _CHUNK // len(self.pieces))
        parts = [self._interpolate(at[k : k + rows]) for k in range(0, len(at), rows)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _interpolate(self, at: Floats) -> Floats:
        """Interpolation in the triangle that holds each place, shape (n, 2)."""
        last = self._at[self.pieces[:, 2]]
        shift = np.einsum("mij,mj->mi", self._inverse, last)
        two = np.einsum("mij,nj->nmi", self._inverse, at) - shift
        least = np.minimum(two.min(axis=2), 1.0 - two.sum(axis=2))
        piece = least.argmax(axis=1)
        first = two[np.arange(len(at)), piece]
        weight = np.column_stack([first, 1.0 - first.sum(axis=1)])
        # The inverse of a sliver is rough: correct by what is missing, once.
        corner = self._at[self.pieces[piece]]
        missing = at - np.einsum("nk,nkj->nj", weight, corner)
        more = np.einsum("nij,nj->ni", self._inverse[piece], missing)
        weight += np.column_stack([more, -more.sum(axis=1)])
        weight = weight.clip(0.0)
        weight /= weight.sum(axis=1, keepdims=True)
        return (weight * self.points[self.pieces[piece], 2]).sum(axis=1)


def _lowest(at: Floats, height: Floats) -> NDArray[np.intp]:
    return np.array([[np.argmin(height)]])


def _chain(at: Floats, height: Floats) -> NDArray[np.intp]:
    chain = lower_chain(at[:, 0], height)
    return np.column_stack([chain[:-1], chain[1:]])


def _floor(at: Floats, height: Floats) -> NDArray[np.intp]:
    order = np.lexsort((height, at[:, 1], at[:, 0]))
    _, first = np.unique(at[order].round(12), axis=0, return_index=True)
    kept = order[first]
    points = np.column_stack([at[kept], height[kept]])
    top = np.append(points[:, :2].mean(axis=0), 2.0)
    hull = ConvexHull(np.concatenate([points, top[None]]))
    floor = (hull.equations[:, 2] < -_STEEP) & (hull.simplices < len(points)).all(axis=1)
    pieces = kept[hull.simplices[floor]]
    a, b, c = at[pieces].transpose(1, 0, 2)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    return pieces[np.abs(area) > 1e-14]


def lower_chain(x: Floats, y: Floats) -> NDArray[np.intp]:
    """Rows of the points on the lower hull of a curve, ascending in x."""
    order = np.lexsort((y, x))
    least = _SAME * (1.0 + float(np.abs(x).max()))
    chain: list[int] = []
    xs, ys = x.tolist(), y.tolist()
    for k in order.tolist():
        if chain and xs[k] - xs[chain[-1]] <= least:
            # The same place twice; the first is the lower one unless rounding parts them.
            if ys[k] >= ys[chain[-1]]:
                continue
            chain.pop()
        while len(chain) > 1:
            i, j = chain[-2], chain[-1]
            if (ys[j] - ys[i]) * (xs[k] - xs[i]) < (ys[k] - ys[i]) * (xs[j] - xs[i]):
                break
            chain.pop()
        chain.append(k)
    return np.array(chain)
