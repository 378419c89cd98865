"""What ways to solve a known day of a house with battery and car have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from flexgym.baselines.household.supporting_planes import largest_line, supporting_planes
from flexgym.baselines.household.tables import Ints, Moment
from flexgym.baselines.household.two_store_problem import apart
from flexgym.baselines.household.two_stores import reaching
from flexgym.envs.charts.capability import capability, kink_powers
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.construction import house_chart
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.charts.set_points import active_set_points
from flexgym.envs.errors import StateError
from flexgym.envs.household.dynamics import (
    ARRIVAL_KWH,
    CAPACITY,
    CAR_CAPACITY,
    CAR_MISSED,
    DEPARTURE,
    ETA_C,
    ETA_D,
    NEEDED_KWH,
    RETENTION,
    TARGET_KWH,
    car_change,
    car_power,
    house_row,
    plugged,
    store_range,
    visits,
)
from flexgym.envs.household.params import DT_H, Floats, House, Series

_SAME_KWH = 1e-9


class KnownCarDay(ABC):
    """See `Tables`; exact, so the gap is zero.

    Args:
        house: The house, with a car.
        series: The day, with sessions.
        terminal_eur_per_kwh: Pay for energy left in the battery, EUR/kWh.
    """

    gap_eur = 0.0

    def __init__(self, house: House, series: Series, terminal_eur_per_kwh: float) -> None:
        self.periods, self._terminal = len(series), terminal_eur_per_kwh
        self._house, self._limits = house_row(house), capability(house)
        self._visits = visits(house.car, series.sessions, len(series))
        self._asked: tuple[tuple, CarLevels] | None = None

    def plugged(self, t: int) -> bool:
        """Whether the car is plugged in in period t."""
        return t < self.periods and bool(plugged(self._visits[t], t))

    def _leaves(self, t: int) -> bool:
        return self.plugged(t) and self._visits[t, DEPARTURE] == t + 1

    @abstractmethod
    def slopes(self, t: int, soc_kwh: float, car_kwh: float) -> tuple[float, float, float]:
        """Cost from period t on and a subgradient of it in both energies: EUR, EUR/kWh twice."""

    def value(self, t: int, soc_kwh: Floats, car_kwh: float, weights: Floats) -> Floats:
        """See `Tables`."""
        costs = [self.slopes(t, float(e), car_kwh)[0] for e in soc_kwh.ravel()]
        return np.array(costs).reshape(soc_kwh.shape)

    def _after(self, t: int, soc_kwh: float, car_kwh: float) -> tuple[float, float, float]:
        """Cost after period t and its slopes, with what the car misses if it leaves."""
        leaves = self._leaves(t)
        if self.plugged(t) and not leaves:
            return self.slopes(t + 1, soc_kwh, car_kwh)
        arrival = self._visits[t + 1, ARRIVAL_KWH] if t + 1 < self.periods else 0.0
        value, soc, _ = self.slopes(t + 1, soc_kwh, float(arrival))
        missed = self._visits[t, NEEDED_KWH] - car_kwh if leaves else 0.0
        price = self._house[CAR_MISSED]
        return value + price * max(missed, 0.0), soc, -price if missed > 0.0 else 0.0

    def after(self, t: int, state: int, car_kwh: float) -> ConvexPiecewiseLinear:
        """See `Tables`."""
        capacity = float(self._house[CAPACITY])
        planes, _ = supporting_planes(
            lambda e, c: self._after(t, e, c), (0.0, car_kwh), (capacity, car_kwh)
        )
        return _along(planes[:, 0], planes[:, 2] + planes[:, 1] * car_kwh, 0.0, capacity)

    def ahead(
        self, t: int, state: int, soc_kwh: float, car_kwh: float, kinks_kw: Floats
    ) -> CarLevels:
        """See `Tables`.

        The levels are the car's energies at the function's vertices and where its edges meet
        idling or a kink of the inverter: between two levels it is linear along lines.
        """
        # A chart is often followed by questions about its points.
        question = (t, soc_kwh, car_kwh, kinks_kw.tobytes())
        if self._asked is None or self._asked[0] != question:
            self._asked = question, self._ahead(t, soc_kwh, car_kwh, kinks_kw)
        return self._asked[1]

    def _ahead(self, t: int, soc_kwh: float, car_kwh: float, kinks_kw: Floats) -> CarLevels:
        house, visit = self._house, self._visits[t]
        left = house[RETENTION] * soc_kwh
        low, high = store_range(house, soc_kwh)

        def stored(power: Floats) -> Floats:
            return left + DT_H * np.where(power > 0.0, power * house[ETA_C], power / house[ETA_D])

        least, most = stored(np.array([low, high])).clip(0.0, house[CAPACITY]).tolist()
        first = last = 0.0
        if self.plugged(t):
            if not -1e-9 <= car_kwh <= house[CAR_CAPACITY] + 1e-9:
                raise StateError(
                    f"car_kwh is {car_kwh:g}; expected an energy in [0, {house[CAR_CAPACITY]:g}] "
                    "kWh, the car's capacity."
                )
            ends = np.empty(4)
            reaching(house, car_kwh, np.array([max(visit[TARGET_KWH], car_kwh)]), ends)
            first, last = (float(car_kwh + car_change(house, u)) for u in ends[[0, 2]])
        marks = stored(np.append(kinks_kw[(kinks_kw > low) & (kinks_kw < high)], 0.0))
        here = car_kwh if self.plugged(t) else 0.0
        levels, functions = self._levels(t, here, (least, most, first, last), marks)
        return CarLevels.of(
            [
                (
                    float(car_power(house, c - car_kwh) if self.plugged(t) else 0.0),
                    ConvexPiecewiseLinear.trusted(x, y),
                )
                for c, (x, y) in zip(levels, functions, strict=True)
            ]
        )

    def _levels(
        self, t: int, car_kwh: float, box: tuple[float, float, float, float], marks: Floats
    ) -> tuple[Floats, list[tuple[Floats, Floats]]]:
        """Energies of the car after period t that count, and the cost beside each.

        Args:
            t: Period.
            car_kwh: Energy in the car before, kWh; 0 while it is away.
            box: Least and largest energy of the battery after the period, and of the car, kWh.
            marks: Energies of the battery at which the cost against power has kinks, kWh.

        Returns:
            Shape (m,), ascending, kWh; breakpoints of each function, kWh and EUR.
        """
        least, most, first, last = box
        planes, vertices = supporting_planes(
            lambda e, c: self._after(t, e, c), (least, first), (most, last)
        )
        found = [np.array([first, last, car_kwh]), vertices[:, 1]]
        for e in marks:
            offsets = planes[:, 2] + planes[:, 0] * e
            found.append(largest_line(planes[:, 1], offsets, first, last)[0])
        levels = apart(np.concatenate(found).clip(first, last), _SAME_KWH)
        return levels, [
            largest_line(planes[:, 0], planes[:, 2] + planes[:, 1] * c, least, most) for c in levels
        ]

    def play(self, now: Moment, rows: Ints, battery_kw: Floats, car_kw: Floats) -> None:
        """See `Tables`."""
        for i in rows:
            soc, car = float(now.soc_kwh[i]), float(now.car_kwh[i])
            load, pv, buy, sell = (float(x) for x in now.exogenous[:, i])
            levels = self.ahead(now.t, 0, soc, car, kink_powers(self._limits, pv))
            chart = house_chart(self._house, soc, load, pv, buy, sell, levels, self._limits)
            best = active_set_points(
                self._house, soc, load, pv, levels, self._limits, chart.best_power_kw
            )
            battery_kw[i], car_kw[i] = best.battery_kw, best.car_kw


def _along(slopes: Floats, offsets: Floats, low: float, high: float) -> ConvexPiecewiseLinear:
    return ConvexPiecewiseLinear.trusted(*largest_line(slopes, offsets, low, high))
