"""The flexibility chart: what a house offers, and all it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.charts import message
from flexgym.envs.charts.hull import LowerHull, lower_chain
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.errors import ChartError
from flexgym.envs.household.params import Floats

_TIE = 1e-9
_MOST_PAIRS = 4_000_000


class FlexibilityChart:
    """Convex cost of every power a house could take at the meter now, future included.

    A convex piecewise-linear function on a polygon of active and reactive power, either of
    which may shrink to a segment or a point. Import and inductive power are positive. The
    vertices are the message; everything else follows from them. Names without reactive
    power mean the least cost over it, and are computed without the vertices where a house
    builds the chart. Objects cannot be changed.

    ``FlexibilityChart(power_kw, cost_eur)`` is a chart of active power alone (q = 0);
    `from_vertices` takes a vertex list that must be convex, `hull` any points at all.

    Args:
        power_kw: Breakpoints, shape (k,), strictly ascending, kW.
        cost_eur: Cost there, shape (k,), EUR.

    Raises:
        ChartError: The breakpoints are empty, not finite, not ascending or not convex.

    Source: Moureau, Stegen, Glavic, Cornelusse, arXiv:2510.15613, for the idea; the
    construction here is our own.
    """

    _function: ConvexPiecewiseLinear
    _build: Callable[[], Floats]

    def __init__(self, power_kw: ArrayLike, cost_eur: ArrayLike) -> None:
        x, y = (np.asarray(a, dtype=np.float64) for a in (power_kw, cost_eur))
        self._function = ConvexPiecewiseLinear(x, y)
        self._build = partial(_active_only, self._function)

    @classmethod
    def lazy(cls, function: ConvexPiecewiseLinear, build: Callable[[], Floats]) -> FlexibilityChart:
        """Chart from its least cost over reactive power and a promise of its vertices.

        Nothing is checked: for constructions that know that the two agree.
        """
        chart = cls.__new__(cls)
        chart._function, chart._build = function, build
        return chart

    @classmethod
    def from_vertices(cls, vertices: ArrayLike) -> FlexibilityChart:
        """Chart with these vertices, kept to the bit and sorted by kW, then kvar.

        Args:
            vertices: Shape (k, 3): kW, kvar, EUR. Each must lie on the lower hull of all of
                them (within 1e-9 of one plus the largest cost); one that could be left out
                without changing the function is allowed.

        Raises:
            ChartError: The list is empty, of another shape, not finite, or a vertex lies
                above the lower hull.
        """
        points = _checked(vertices)
        points = points[np.lexsort(points.T[[2, 1, 0]])]
        hull = LowerHull(points)
        above = points[:, 2] - hull(points[:, 0], points[:, 1])
        worst = int(np.argmax(above))
        if above[worst] > 1e-9 * (1.0 + np.abs(points[:, 2]).max()):
            p, q, cost = points[worst]
            raise ChartError(
                f"got the vertex ({p:g} kW, {q:g} kvar, {cost:g} EUR), which lies "
                f"{above[worst]:.3g} EUR above the lower hull of the others; expected vertices "
                "of a convex function. FlexibilityChart.hull drops what lies above."
            )
        return cls._of(hull, np.arange(len(points)))

    @classmethod
    def hull(cls, points: ArrayLike) -> FlexibilityChart:
        """Largest chart whose cost is at most that of each point, shape (n, 3)."""
        hull = LowerHull(_checked(points))
        return cls._of(hull, hull.corners)

    @classmethod
    def _of(cls, hull: LowerHull, rows: NDArray[np.intp]) -> FlexibilityChart:
        vertices = hull.points[rows]
        chain = vertices[lower_chain(vertices[:, 0], vertices[:, 2])]
        function = ConvexPiecewiseLinear(chain[:, 0], chain[:, 2])
        return cls.lazy(function, partial(np.array, vertices))

    @property
    def vertices(self) -> Floats:
        """Vertices (kW, kvar, EUR), shape (k, 3), ascending in kW, then kvar; read-only."""
        return self._vertices

    @cached_property
    def _vertices(self) -> Floats:
        vertices = np.ascontiguousarray(self._build())
        vertices.setflags(write=False)
        return vertices

    @cached_property
    def _hull(self) -> LowerHull:
        return LowerHull(self.vertices)

    @property
    def facets(self) -> Floats:
        """Planes (a, b, c), shape (m, 3): the cost is the largest ``a*p + b*q + c``, EUR."""
        return self._hull.facets

    @property
    def sides(self) -> Floats:
        """Half-planes (a, b, c), shape (n, 3): feasible is ``a*p + b*q + c <= 0`` for all."""
        return self._hull.sides

    @property
    def triangles(self) -> NDArray[np.intp]:
        """Rows of `vertices` between which the cost is linear, shape (m, 3).

        Shape (m, 2) where the chart is a segment, (1, 1) where it is a point.
        """
        return self._hull.pieces

    @property
    def power_kw(self) -> Floats:
        """Breakpoints of the least cost, shape (k,), ascending, from least to largest kW."""
        return self._function.x

    @property
    def cost_eur(self) -> Floats:
        """Least cost over reactive power at `power_kw`: this period and all later, EUR."""
        return self._function.y

    def cost(self, power_kw: ArrayLike, reactive_kvar: ArrayLike | None = None) -> Floats:
        """Cost of powers at the meter (any shapes that broadcast), EUR; +inf if infeasible.

        Args:
            power_kw: Active power, kW.
            reactive_kvar: Reactive power, kvar; None is the cheapest.
        """
        if reactive_kvar is None:
            return self._function(np.asarray(power_kw, dtype=np.float64))
        p, q = (np.asarray(a, dtype=np.float64) for a in (power_kw, reactive_kvar))
        return self._hull(p, q)

    def contains(self, power_kw: ArrayLike, reactive_kvar: ArrayLike) -> NDArray[np.bool_]:
        """Whether powers are feasible (within 1e-9 of one plus the largest power)."""
        p, q = (np.asarray(a, dtype=np.float64) for a in (power_kw, reactive_kvar))
        return self._hull.contains(*np.broadcast_arrays(p, q))

    def marginal(self, power_kw: Floats | float) -> Floats:
        """Marginal cost of one more kW for one period, EUR/kW, right-hand inside; nan outside."""
        return self._function.slope_at(power_kw)

    @property
    def best_power_kw(self) -> float:
        """Active power the house would take by itself, kW: the least in a tie."""
        return self._function.argmin

    @cached_property
    def best(self) -> tuple[float, float]:
        """Power (kW, kvar) the house would take by itself: least cost, then kW, then abs(kvar)."""
        p, q, cost = self.vertices.T
        tie = cost <= self.cost_eur.min() + _TIE * (1.0 + np.abs(cost).max())
        least = self.best_power_kw + _TIE * (1.0 + np.abs(p).max())
        at = q[tie & (p <= least)]
        if len(at) == 0:
            at = q[[np.argmin(cost)]]
        return self.best_power_kw, float(np.clip(0.0, at.min(), at.max()))

    def __add__(self, other: FlexibilityChart) -> FlexibilityChart:
        """Chart of two independent devices or houses together: `minkowski_sum`."""
        if not isinstance(other, FlexibilityChart):
            return NotImplemented
        function = self._function.infimal_convolution(other._function)
        return self.lazy(function, partial(_sum, self, other))

    @staticmethod
    def minkowski_sum(charts: Iterable[FlexibilityChart]) -> FlexibilityChart:
        """Chart of independent devices or houses together.

        Powers add; the cost of a sum is that of its cheapest split (infimal convolution).
        Vertices multiply before the hull is taken: coarsen many large charts first.

        Raises:
            ChartError: There is none; or, once vertices are asked for, too many pairs of them.
        """
        charts = list(charts)
        if not charts:
            raise ChartError("got no chart; expected at least one to add up.")
        while len(charts) > 1:
            # Neighbours first: sums of like size meet, so hulls stay small for longer.
            pairs = [charts[k : k + 2] for k in range(0, len(charts), 2)]
            charts = [pair[0] if len(pair) == 1 else pair[0] + pair[1] for pair in pairs]
        return charts[0]

    def coarsen(self, n_vertices: int) -> FlexibilityChart:
        """Chart through `best` and the vertices that matter most, ``n_vertices`` in all.

        It lies inside this chart, never costs less, and has the same best point and cost;
        with more vertices it only grows. Vertices are taken where what was taken so far
        leaves out most power, or overstates the cost most, relative to the chart's extent.

        Raises:
            ChartError: ``n_vertices`` is below 1.
        """
        if n_vertices < 1:
            raise ChartError(f"n_vertices is {n_vertices}; expected at least 1.")
        if n_vertices >= len(self.vertices):
            return self
        p, q, cost = self.vertices.T
        extent = max(float(np.ptp(p)), float(np.ptp(q)))
        rise = float(np.ptp(cost)) or 1.0
        kept = np.array([[*self.best, self.cost_eur.min()]])
        while len(kept) < n_vertices:
            hull = LowerHull(kept)
            now = hull(p, q)
            score = np.where(np.isfinite(now), (now - cost) / rise, hull.outside(p, q) / extent)
            worst = int(np.argmax(score))
            if score[worst] <= 1e-12:
                break
            kept = np.concatenate([kept, self.vertices[worst : worst + 1]])
        return FlexibilityChart.hull(kept)

    def to_bytes(self) -> bytes:
        """The vertices as a message with version and checksum."""
        return message.to_bytes(self.vertices)

    @classmethod
    def from_bytes(cls, data: bytes) -> FlexibilityChart:
        """Chart of a message from `to_bytes`.

        Raises:
            ChartError: The message is damaged, of another version, or no chart.
        """
        return cls.from_vertices(message.from_bytes(data))

    def to_json(self) -> str:
        """The vertices as JSON with version; numbers survive the round trip."""
        return message.to_json(self.vertices)

    @classmethod
    def from_json(cls, text: str) -> FlexibilityChart:
        """Chart of a text from `to_json`.

        Raises:
            ChartError: The text is damaged, of another version, or no chart.
        """
        return cls.from_vertices(message.from_json(text))

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, FlexibilityChart):
            return NotImplemented
        return np.array_equal(self.vertices, other.vertices)

    def __hash__(self) -> int:
        return hash((self.vertices + 0.0).tobytes())

    def __repr__(self) -> str:
        low, high = self.power_kw[[0, -1]]
        return f"<FlexibilityChart {low:g} to {high:g} kW, best {self.best_power_kw:g} kW>"


def _active_only(function: ConvexPiecewiseLinear) -> Floats:
    return np.column_stack([function.x, np.zeros(len(function.x)), function.y])


def _checked(points: ArrayLike) -> Floats:
    try:
        array = np.array(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ChartError(f"got points that are no numbers ({error}); expected (k, 3).") from None
    if array.ndim != 2 or array.shape[1] != 3 or len(array) == 0:
        raise ChartError(
            f"got points of shape {array.shape}; expected (k, 3), k >= 1: kW, kvar and EUR of each."
        )
    if not np.isfinite(array).all():
        raise ChartError("got points that are not finite; expected numbers only.")
    return array


def _sum(a: FlexibilityChart, b: FlexibilityChart) -> Floats:
    if len(a.vertices) * len(b.vertices) > _MOST_PAIRS:
        raise ChartError(
            f"got charts of {len(a.vertices)} and {len(b.vertices)} vertices; expected at most "
            f"{_MOST_PAIRS} pairs in a sum. Coarsen them first."
        )
    pairs = (a.vertices[:, None] + b.vertices).reshape(-1, 3)
    hull = LowerHull(pairs)
    return hull.points[hull.corners]
