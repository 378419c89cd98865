"""Convex piecewise-linear functions of one variable on a bounded interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.envs.errors import ChartError
from flexgym.envs.household.params import Floats


@dataclass(frozen=True)
class ConvexPiecewiseLinear:
    """A convex function through breakpoints; +inf outside of them.

    Attributes:
        x: Breakpoints, shape (k,), strictly ascending; k = 1 is a function on one point.
        y: Values there, shape (k,).

    Raises:
        ChartError: The points are empty, not finite, not ascending or not convex.
    """

    x: Floats
    y: Floats

    def __post_init__(self) -> None:
        x, y = (np.array(a, dtype=np.float64, ndmin=1) for a in (self.x, self.y))
        if x.ndim != 1 or x.shape != y.shape or x.size == 0:
            raise ChartError(
                f"got breakpoints of shapes {x.shape} and {y.shape}; expected (k,) twice, k >= 1."
            )
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ChartError("got breakpoints that are not finite; expected numbers only.")
        if (np.diff(x) <= 0).any():
            raise ChartError(f"got breakpoints x = {x}; expected strictly ascending values.")
        slope = np.diff(y) / np.diff(x)
        # Two nearly equal breakpoints turn rounding of y into a large error of the slope.
        noise = 1e-12 * (1.0 + np.abs(y).max()) / np.diff(x)
        if (slope[1:] - slope[:-1] < -1e-9 - noise[1:] - noise[:-1]).any():
            raise ChartError(
                f"got slopes {slope}; expected ascending ones (a convex function). "
                "Take the lower convex hull of the points first."
            )
        for name, array in (("x", x), ("y", y)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def trusted(cls, x: Floats, y: Floats) -> ConvexPiecewiseLinear:
        """The function through breakpoints that are known to be in order; nothing is checked."""
        function = cls.__new__(cls)
        object.__setattr__(function, "x", x)
        object.__setattr__(function, "y", y)
        return function

    @classmethod
    def from_slopes(
        cls, start: float, value: float, slopes: Floats, lengths: Floats
    ) -> ConvexPiecewiseLinear:
        """Function with value ``value`` at ``start`` and these slopes over these lengths."""
        keep = np.asarray(lengths) > 1e-12
        slopes, lengths = np.asarray(slopes)[keep], np.asarray(lengths)[keep]
        x = start + np.concatenate([[0.0], np.cumsum(lengths)])
        return cls(x, value + np.concatenate([[0.0], np.cumsum(slopes * lengths)]))

    @property
    def slopes(self) -> Floats:
        """Slope of each piece, shape (k - 1,)."""
        return np.diff(self.y) / np.diff(self.x)

    def __call__(self, x: Floats | float) -> Floats:
        """Values at ``x`` (any shape); +inf outside the interval."""
        x = np.asarray(x, dtype=np.float64)
        slack = 1e-9 * (1.0 + np.abs(self.x[[0, -1]]).max())
        inside = (x >= self.x[0] - slack) & (x <= self.x[-1] + slack)
        return np.where(inside, np.interp(x, self.x, self.y), np.inf)

    def slope_at(self, x: Floats | float) -> Floats:
        """Right-hand slope at ``x``, left-hand at the right end; nan outside or on a point."""
        x = np.asarray(x, dtype=np.float64)
        if len(self.x) == 1:
            return np.full(x.shape, np.nan)
        piece = np.clip(np.searchsorted(self.x, x, side="right") - 1, 0, len(self.x) - 2)
        return np.where(np.isfinite(self(x)), self.slopes[piece], np.nan)

    @property
    def argmin(self) -> float:
        """Least minimiser."""
        return float(self.x[np.argmin(self.y)])

    def restrict(self, low: float, high: float) -> ConvexPiecewiseLinear:
        """The function on ``[low, high]`` and nowhere else."""
        low, high = max(low, self.x[0]), min(high, self.x[-1])
        slack = 1e-9 * (1.0 + np.abs(self.x[[0, -1]]).max())
        if high < low - slack:
            raise ChartError(
                f"got the empty interval [{low:g}, {high:g}]; expected one that meets "
                f"[{self.x[0]:g}, {self.x[-1]:g}]."
            )
        if high - low < 1e-12:
            return ConvexPiecewiseLinear(np.array([low]), np.interp([low], self.x, self.y))
        inner = (self.x > low + 1e-12) & (self.x < high - 1e-12)
        x = np.concatenate([[low], self.x[inner], [high]])
        return ConvexPiecewiseLinear(x, np.interp(x, self.x, self.y))

    def __add__(self, other: ConvexPiecewiseLinear) -> ConvexPiecewiseLinear:
        """Sum on the common interval."""
        low, high = max(self.x[0], other.x[0]), min(self.x[-1], other.x[-1])
        a, b = self.restrict(low, high), other.restrict(low, high)
        x = np.concatenate([a.x, b.x])
        x = np.unique(x[(x >= a.x[0]) & (x <= a.x[-1])])
        x = x[np.concatenate([[True], np.diff(x) > 1e-12])]
        return ConvexPiecewiseLinear(x, np.interp(x, a.x, a.y) + np.interp(x, b.x, b.y))

    def scaled(self, factor: float) -> ConvexPiecewiseLinear:
        """``factor`` times the function, factor >= 0."""
        return ConvexPiecewiseLinear(self.x, factor * self.y)

    def shifted(self, by: float) -> ConvexPiecewiseLinear:
        """The function moved to the right by ``by``."""
        return ConvexPiecewiseLinear(self.x + by, self.y)

    def infimal_convolution(self, other: ConvexPiecewiseLinear) -> ConvexPiecewiseLinear:
        """``min over x1 + x2 = x`` of the sum: left ends add, slopes merge."""
        slopes = np.concatenate([self.slopes, other.slopes])
        lengths = np.concatenate([np.diff(self.x), np.diff(other.x)])
        order = np.argsort(slopes, kind="stable")
        return ConvexPiecewiseLinear.from_slopes(
            self.x[0] + other.x[0], self.y[0] + other.y[0], slopes[order], lengths[order]
        )
