"""What a house may send as its menu, and how an array of numbers in [-1, 1] is read as one.

Every array of the right shape within [-1, 1] is a valid menu; anything else is refused, see
`flexgym.envs.feeder.menu_reading`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.construction import house_chart
from flexgym.envs.charts.hull import lower_chain
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.charts.separable import car_levels
from flexgym.envs.household.dynamics import (
    ARRIVAL_KWH,
    CAPACITY,
    NEEDED_KWH,
    TARGET_KWH,
    UNSERVED,
    car_range,
    plugged,
)
from flexgym.envs.household.params import DT_H, Floats

ASKED_EUR_PER_KWH = (1e-3, 2.0)
"""Prices of the format ``segments``, per kWh more or less than the house's own choice."""
POINT_EUR = 2.0
"""Cost that an entry 1 stands for in the format ``chart``; -1 is 0."""
STORED_EUR_PER_KWH = (1.0, 2.0)
"""Largest worth of a kWh stored, in the format ``cost_to_go``: in the battery, in the car."""
SAME_KW = 1e-6
"""Powers closer than this are one."""
_LEAST_WEIGHT = 0.01
_SHORTEST_KWH = 1e-9


class HouseNow(NamedTuple):
    """What a house knows of itself when it makes its menu.

    Attributes:
        house: Shape (18,), see `house_row`.
        visit: The car's visit, shape (5,).
        t: Period.
        soc_kwh: Energy in the battery, kWh.
        car_kwh: Energy in the car, kWh.
        now: Load, PV (kW), import and export price (EUR/kWh), shape (4,).
        low_kw: Least power it can make at the meter, kW.
        high_kw: Largest, kW.
    """

    house: Floats
    visit: Floats
    t: int
    soc_kwh: float
    car_kwh: float
    now: Floats
    low_kw: float
    high_kw: float


class MenuFormat(ABC):
    """How actions are read as menus.

    Args:
        n_segments: Segments that an array describes, at least 2.
    """

    def __init__(self, n_segments: int) -> None:
        self.n_segments = n_segments

    @abstractmethod
    def size(self, cars: bool) -> int:
        """Numbers in an action, where there are cars and where there are none."""

    @abstractmethod
    def read(self, action: Floats, at: HouseNow) -> tuple[FlexibilityChart, CarLevels | None]:
        """Menu of checked numbers; and the cost-to-go behind it if the format knows one."""


class Segments(MenuFormat):
    """``2 * n + 1`` numbers: own choice, widths of n segments, prices of n segments.

    - Entry 0 is the power the house would take by itself: -1 is the least that it can make
      now, 1 the largest. There the menu costs nothing.
    - The first ``n // 2`` segments lie below it, the others above. Entry ``1 + k`` is the
      weight of segment k, ``0.01 + (1 + a) / 2``; the segments of a side share what can be
      made there in proportion, the first next to the own choice.
    - Entry ``1 + n + k`` is a price, -1 and 1 standing for `ASKED_EUR_PER_KWH`; the prices of
      a side are sorted, the lowest next to the own choice.
    """

    def size(self, cars: bool) -> int:
        """See `MenuFormat`."""
        return 2 * self.n_segments + 1

    def read(self, action: Floats, at: HouseNow) -> tuple[FlexibilityChart, CarLevels | None]:
        """See `MenuFormat`."""
        n, half = self.n_segments, self.n_segments // 2
        unit = 0.5 * (1.0 + action)
        own = at.low_kw + unit[0] * (at.high_kw - at.low_kw)
        low, high = ASKED_EUR_PER_KWH
        weight = _LEAST_WEIGHT + unit[1 : 1 + n]
        price = DT_H * (low + unit[1 + n :] * (high - low))
        down = _side(own - at.low_kw, weight[:half], price[:half])
        up = _side(at.high_kw - own, weight[half:], price[half:])
        x = np.concatenate([own - down[0][::-1], [own], own + up[0]])
        y = np.concatenate([down[1][::-1], [0.0], up[1]])
        return FlexibilityChart(x, y), None


def _side(width_kw: float, weight: Floats, price: Floats) -> tuple[Floats, Floats]:
    """Distances of the breakpoints from the own choice, kW, and cost there, EUR."""
    if width_kw <= SAME_KW:
        return np.empty(0), np.empty(0)
    length = width_kw * weight / weight.sum()
    ends = length.cumsum()
    ends[-1] = width_kw
    return ends, (np.sort(price) * length).cumsum()


class Points(MenuFormat):
    """A `FlexibilityChart`; its vertices, shape (k, 3); or ``2 * (n + 1)`` numbers in [-1, 1].

    Numbers describe n + 1 points: first their powers, from the least (-1) to the largest (1)
    that the house can make now, then their costs, from 0 (-1) to `POINT_EUR` (1). The menu is
    their lower convex hull, so some points may not count.
    """

    def size(self, cars: bool) -> int:
        """See `MenuFormat`."""
        return 2 * (self.n_segments + 1)

    def read(self, action: Floats, at: HouseNow) -> tuple[FlexibilityChart, CarLevels | None]:
        """See `MenuFormat`."""
        unit = 0.5 * (1.0 + action)
        half = self.n_segments + 1
        power = at.low_kw + unit[:half] * (at.high_kw - at.low_kw)
        order = np.argsort(power, kind="stable")
        power, cost = power[order], POINT_EUR * unit[half:][order]
        # Points closer than the narrowest segment are one, at its lower cost.
        group = np.concatenate([[0], np.cumsum(np.diff(power) > SAME_KW)])
        x = power[np.unique(group, return_index=True)[1]]
        y = np.full(len(x), np.inf)
        np.minimum.at(y, group, cost)
        chain = lower_chain(x, y)
        return FlexibilityChart(x[chain], y[chain]), None


class CostToGo(MenuFormat):
    """``2 * n`` numbers, or n where no house has a car: what stored energy is worth.

    - Entry k < n is the worth of a kWh in the k-th of n equal parts of the battery, from 0
      (-1) to `STORED_EUR_PER_KWH`; they are sorted, the first kWh is worth most.
    - Entry ``n + k`` likewise of a kWh in the car, in n - 1 equal parts from the energy at
      arrival to what is needed, and in the part from there to where charging ends.

    No worth is above the price of the house's unserved load. Minus their sum is the
    cost-to-go, from which the house's own chart code makes the menu; the powers of battery,
    car and PV that make the cleared power are the cheapest by it.
    """

    def size(self, cars: bool) -> int:
        """See `MenuFormat`."""
        return self.n_segments * (2 if cars else 1)

    def read(self, action: Floats, at: HouseNow) -> tuple[FlexibilityChart, CarLevels | None]:
        """See `MenuFormat`."""
        n, house = self.n_segments, at.house
        load, pv, buy, sell = at.now.tolist()
        unit = 0.5 * (1.0 + action)
        in_battery, in_car = (min(top, float(house[UNSERVED])) for top in STORED_EUR_PER_KWH)
        battery = _worth(np.linspace(0.0, house[CAPACITY], n + 1), in_battery * unit[:n])
        levels = CarLevels.of([(0.0, battery)])
        if plugged(at.visit, at.t):
            low, high = car_range(house, at.visit, at.t, at.soc_kwh, at.car_kwh, load, pv)
            arrival, needed, target = at.visit[[ARRIVAL_KWH, NEEDED_KWH, TARGET_KWH]].tolist()
            needed, target = max(needed, arrival), max(target, needed, arrival)
            ends = np.append(np.linspace(arrival, needed, n), target)
            car = _worth(ends, in_car * unit[n:], begin=0.0)
            levels = car_levels(house, battery, car, at.car_kwh, low, high)
        return house_chart(house, at.soc_kwh, load, pv, buy, sell, levels), levels


def _worth(ends_kwh: Floats, worth: Floats, begin: float | None = None) -> ConvexPiecewiseLinear:
    """Cost-to-go that falls by ``worth`` a kWh, sorted, between ends; from ``begin`` on."""
    worth = np.sort(worth)[::-1]
    if begin is not None:
        ends_kwh = np.concatenate([[begin], ends_kwh[1:]])
    length = np.diff(ends_kwh)
    kept = np.concatenate([[True], length > _SHORTEST_KWH])
    cost = np.concatenate([[0.0], -(worth * length).cumsum()])
    return ConvexPiecewiseLinear.trusted(ends_kwh[kept], cost[kept])


MENU_FORMATS: dict[str, type[MenuFormat]] = {
    "segments": Segments,
    "chart": Points,
    "cost_to_go": CostToGo,
}
"""Formats by name."""
