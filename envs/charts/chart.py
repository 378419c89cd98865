"""The flexibility chart: what a house offers, and all it says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.errors import ChartError
from flexgym.envs.household.params import Floats


@dataclass(frozen=True)
class FlexibilityChart:
    """Convex cost of every power a house could take at the meter now, future included.

    Attributes:
        power_kw: Breakpoints, shape (k,), strictly ascending, kW, import positive. The first
            and the last are the least and the largest feasible power.
        cost_eur: Cost of this period and expected cost of all later ones, shape (k,), EUR.

    Raises:
        ChartError: The breakpoints are empty, not finite, not ascending or not convex.

    Source: Moureau, Stegen, Glavic, Cornelusse, arXiv:2510.15613, for the idea; the
    construction here is our own.
    """

    power_kw: Floats
    cost_eur: Floats

    def __post_init__(self) -> None:
        function = self._function
        object.__setattr__(self, "power_kw", function.x)
        object.__setattr__(self, "cost_eur", function.y)

    @cached_property
    def _function(self) -> ConvexPiecewiseLinear:
        return ConvexPiecewiseLinear(self.power_kw, self.cost_eur)

    def cost(self, power_kw: Floats | float, reactive_kvar: Floats | float | None = None) -> Floats:
        """Cost at ``power_kw`` (any shape, kW), EUR; +inf where it is not feasible.

        Args:
            power_kw: Active power at the meter, kW.
            reactive_kvar: Must be None: these charts are the least cost over reactive power.
        """
        if reactive_kvar is not None:
            raise ChartError(
                "got reactive_kvar; this chart holds active power only. Pass power_kw alone."
            )
        return self._function(power_kw)

    def marginal(self, power_kw: Floats | float) -> Floats:
        """Marginal cost of one more kW for one period, EUR/kW, right-hand inside; nan outside."""
        return self._function.slope_at(power_kw)

    @property
    def best_power_kw(self) -> float:
        """Power the house would take by itself, kW."""
        return self._function.argmin
