"""The known day of a house with battery and car, solved by prices of the car's energy.

While a car is here nothing bounds its energy but what it needs in the end, so one price mu for
the whole visit tells all about it: V_t(e, c) is the largest over mu of W_t(e; mu) - mu*c, where
W lets the car take what pays at mu and is found by merging slopes. V is piecewise linear, and
its slopes in c are what one more kWh in the car costs at some moment: from the grid, from the
roof, or by way of the battery. Trying all of these is exact; no linear program is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flexgym.baselines.household.known_car_day import KnownCarDay
from flexgym.baselines.household.price_lines import (
    Lines,
    along_battery,
    at_price,
    bends,
    dearest,
)
from flexgym.baselines.household.two_store_problem import apart
from flexgym.envs.errors import StateError
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    BUY,
    CAPACITY,
    CAR_CAPACITY,
    CAR_DISCHARGE,
    CAR_ETA_C,
    CAR_MISSED,
    ETA_C,
    ETA_D,
    NEEDED_KWH,
    RETENTION,
    SELL,
    TARGET_KWH,
    UNSERVED,
    WEAR,
)
from flexgym.envs.household.params import Floats, House, Series

_SAME_KWH = 1e-9


class _Stretch:
    """Periods during which the car is here, or away, and their functions.

    Args:
        house: Shape (18,).
        series: Load, PV, import and export price, shape (4, T).
        span: First period, and the period after the last.
        prices: What the car's energy may be worth, shape (k,), EUR/kWh; None while it is away.
        left: What leaving costs at each price, shape (k,), EUR.
        end: Breakpoints of what follows the stretch, kWh and EUR.
    """

    def __init__(
        self,
        house: Floats,
        series: Floats,
        span: tuple[int, int],
        prices: Floats | None,
        left: Floats,
        end: tuple[Floats, Floats],
    ) -> None:
        self.plugged, self.end = prices is not None, end
        self.first, self.last = span
        prices = np.zeros(1) if prices is None else prices
        k, stages = len(prices), self.last - self.first + 1
        x, y = end
        wide = np.diff(x)
        room = 32 * stages * min(k, 16)
        self._lines = Lines(
            prices, house, series, np.array([*span, self.plugged]), left + y[0], np.diff(y) / wide,
            wide, np.zeros(2, np.int64), np.zeros(k, np.bool_), np.empty((k, stages + 1), np.int64),
            np.empty((k, stages)), np.empty(room), np.empty(room),
        )  # fmt: skip

    def _ask(self, kernel: Callable[..., Any], t: int, *question: Any) -> Any:
        """What a kernel finds in period t; more room where it runs out."""
        while True:
            answer = kernel(self.last - t, self._lines, *question)
            lines = self._lines
            if lines.used[1] == 0:
                return answer
            lines.used[1] = 0
            longer = [np.concatenate([a, np.empty_like(a)]) for a in lines[-2:]]
            self._lines = lines._replace(slopes=longer[0], lengths=longer[1])

    def line(self, t: int, soc_kwh: float, car_kwh: float) -> tuple[float, float, float]:
        """Value in period t, and its slopes in the energies of battery and car."""
        prices = self._lines.prices
        k = self._ask(dearest, t, soc_kwh, car_kwh, 0, len(prices) - 1)
        value, slope = self._ask(at_price, t, k, soc_kwh)
        return value - prices[k] * car_kwh, slope, -float(prices[k])

    def function(
        self, t: int, car_kwh: float, least: float, most: float, low: int = 0, high: int = -1
    ) -> tuple[Floats, Floats]:
        """Breakpoints of the function of the battery's energy, kWh and EUR, in an interval."""
        room, top = 64, high % len(self._lines.prices)
        while True:
            x, y = np.empty(room), np.empty(room)
            n = self._ask(along_battery, t, low, top, car_kwh, least, most, x, y)
            if n > 0:
                return x[:n], y[:n]
            room *= 4

    def levels(
        self, t: int, box: tuple[float, float, float, float], marks: Floats
    ) -> tuple[Floats, int, int]:
        """Energies of the car between which V is linear along lines; see `bends`."""
        room = 256
        while True:
            levels = np.empty(room)
            n, low, high = self._ask(bends, t, *box, marks, levels)
            if n > 0:
                return levels[:n], low, high
            room *= 4


class PricedDay(KnownCarDay):
    """See `Tables`; for cars that only charge and batteries that keep their energy.

    Args:
        house: The house, with a car.
        series: The day, with sessions.
        terminal_eur_per_kwh: Pay for energy left in the battery, EUR/kWh.
        start: First period that will be asked for.
    """

    def __init__(
        self, house: House, series: Series, terminal_eur_per_kwh: float, start: int = 0
    ) -> None:
        super().__init__(house, series, terminal_eur_per_kwh)
        rows = np.stack(
            [series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh]
        )
        capacity = float(self._house[CAPACITY])
        prices = candidate_prices(self._house, rows[:, start:], terminal_eur_per_kwh)
        ends = np.array([0.0, capacity]) if capacity > 0.0 else np.zeros(1)
        later = ends, -terminal_eur_per_kwh * ends
        self._stretches: list[_Stretch] = []
        end = self.periods
        while end > start:
            here = self.plugged(end - 1)
            first = int(self._visits[end - 1, ARRIVAL]) if here else self._away_since(end)
            stretch = _Stretch(
                self._house, rows, (max(first, start), end), prices if here else None,
                self._missed(end - 1, prices) if here else np.zeros(1), later,
            )  # fmt: skip
            self._stretches.append(stretch)
            end = stretch.first
            arrived = float(self._visits[end, ARRIVAL_KWH]) if here else 0.0
            if end > start:
                later = stretch.function(end, arrived, 0.0, capacity)
        self._stretch_of = np.empty(self.periods, dtype=np.int64)
        for k, stretch in enumerate(self._stretches):
            self._stretch_of[stretch.first : stretch.last] = k

    @staticmethod
    def solves(house: Floats) -> bool:
        """Whether days of this house, shape (18,), are solved exactly."""
        return bool(house[CAR_DISCHARGE] == 0.0 and house[RETENTION] == 1.0)

    def _away_since(self, end: int) -> int:
        """First of the periods up to ``end`` without the car."""
        first = end
        while first > 0 and not self.plugged(first - 1):
            first -= 1
        return first

    def _missed(self, t: int, prices: Floats) -> Floats:
        """Least of missed energy plus price times energy on leaving after period t, EUR."""
        visit, house = self._visits[t], self._house
        least, top = visit[ARRIVAL_KWH], max(visit[TARGET_KWH], visit[ARRIVAL_KWH])
        ends = np.clip([least, visit[NEEDED_KWH], top], least, top)
        missed = house[CAR_MISSED] * np.maximum(visit[NEEDED_KWH] - ends, 0.0)
        return (missed[:, None] + ends[:, None] * prices).min(axis=0)

    def slopes(self, t: int, soc_kwh: float, car_kwh: float) -> tuple[float, float, float]:
        """See `KnownCarDay`."""
        if t == self.periods:
            return -self._terminal * soc_kwh, -self._terminal, 0.0
        stretch = self._stretches[self._stretch_of[t]]
        if not stretch.plugged:
            value, slope, _ = stretch.line(t, soc_kwh, 0.0)
            return value, slope, 0.0
        capacity = self._house[CAR_CAPACITY]
        if not -1e-9 <= car_kwh <= capacity + 1e-9:
            raise StateError(
                f"car_kwh is {car_kwh:g}; expected an energy in [0, {capacity:g}] kWh, the car's "
                "capacity."
            )
        # Charging ends at the target: what is above it stays, and is worth nothing more.
        top = max(self._visits[t, TARGET_KWH], self._visits[t, ARRIVAL_KWH])
        value, slope, of_car = stretch.line(t, soc_kwh, min(car_kwh, top))
        return value, slope, of_car if car_kwh < top else 0.0

    def _levels(
        self, t: int, car_kwh: float, box: tuple[float, float, float, float], marks: Floats
    ) -> tuple[Floats, list[tuple[Floats, Floats]]]:
        """See `KnownCarDay`."""
        stretch = self._stretches[self._stretch_of[t]]
        least, most, first, last = box
        if t + 1 < stretch.last:
            if not stretch.plugged:
                return np.zeros(1), [stretch.function(t + 1, 0.0, least, most)]
            levels, low, high = stretch.levels(t + 1, box, marks)
            levels = apart(np.append(levels, car_kwh), _SAME_KWH)
            return levels, [
                stretch.function(t + 1, float(c), least, most, low, high) for c in levels
            ]
        x, y = stretch.end
        if not stretch.plugged:
            return np.zeros(1), [(x, y)]
        due = float(np.clip(self._visits[t, NEEDED_KWH], first, last))
        levels = apart(np.array([first, last, car_kwh, due]), _SAME_KWH)
        missed = self._house[CAR_MISSED] * np.maximum(self._visits[t, NEEDED_KWH] - levels, 0.0)
        return levels, [(x, y + cost) for cost in missed]


def candidate_prices(house: Floats, rows: Floats, terminal_price: float) -> Floats:
    """What one more kWh in the car can cost at the margin, ascending, EUR/kWh.

    Args:
        house: Shape (18,).
        rows: Load, PV, import and export price, shape (4, T).
        terminal_price: Pay for energy left in the battery, EUR/kWh.
    """
    wear, charge, give = house[WEAR], house[ETA_C], house[ETA_D]
    drawn = np.concatenate([rows[BUY], rows[SELL], [0.0, house[UNSERVED]]])
    round_trip = charge * give
    at_the_meter = np.concatenate(
        [
            drawn,
            wear + (drawn + wear) / round_trip,  # stored at another time, given now
            (drawn - wear) * round_trip - wear,  # not stored now, not given at another time
            [wear + terminal_price / give, terminal_price * charge - wear],
        ]
    )
    prices = at_the_meter / house[CAR_ETA_C]
    missed = house[CAR_MISSED]
    # Energy that the car does not need is worth nothing, one that it lacks what missing it costs.
    prices = np.concatenate([prices[prices < missed], [0.0, missed]])
    return apart(prices, 1e-9)
