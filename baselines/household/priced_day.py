"""The known day of a house with battery and car, solved by prices of the car's energy.

While a car is here nothing bounds its energy but what it needs in the end, so one price mu for
the whole visit tells all about it: V_t(e, c) is the largest over mu of W_t(e; mu) - mu*c, where
W lets the car take what pays at mu and is found by merging slopes. V is piecewise linear, and
its slopes in c are what one more kWh in the car costs at some moment: from the grid, from the
roof, or by way of the battery. Trying all of these is exact; no linear program is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.baselines.household.known_car_day import KnownCarDay
from flexgym.baselines.household.price_lines import (
    along_battery,
    at_price,
    bends,
    dearest,
    merged,
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


@dataclass(frozen=True)
class _Stretch:
    """Functions of periods during which the car is here, or away: arguments of `merged`."""

    first: int
    last: int
    plugged: bool
    prices: Floats
    offset: np.ndarray
    value: Floats
    slopes: Floats
    lengths: Floats

    end: tuple[Floats, Floats]

    @property
    def lines(self) -> tuple:
        """Arguments of the kernels."""
        return self.prices, self.offset, self.value, self.slopes, self.lengths

    def line(self, t: int, soc_kwh: float, car_kwh: float) -> tuple[float, float, float]:
        """Value in period t, and its slopes in the energies of battery and car."""
        stage, lines = self.last - t, self.lines
        k = dearest(stage, lines, soc_kwh, car_kwh, 0, len(self.prices) - 1)
        value, slope = at_price(stage, lines, k, soc_kwh)
        return value - self.prices[k] * car_kwh, slope, -float(self.prices[k])

    def function(
        self, t: int, car_kwh: float, least: float, most: float, low: int = 0, high: int = -1
    ) -> tuple[Floats, Floats]:
        """Breakpoints of the function of the battery's energy, kWh and EUR, in an interval."""
        room, top = 64, high % len(self.prices)
        while True:
            x, y = np.empty(room), np.empty(room)
            n = along_battery(self.last - t, self.lines, low, top, car_kwh, least, most, x, y)
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
            n, low, high = bends(self.last - t, self.lines, *box, marks, levels)
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
            stretch = _solved(
                self._house, rows, max(first, start), end, prices if here else np.zeros(1), later,
                self._missed(end - 1, prices) if here else np.zeros(1), here,
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


def _solved(
    house: Floats,
    rows: Floats,
    first: int,
    last: int,
    prices: Floats,
    later: tuple[Floats, Floats],
    left: Floats,
    plugged: bool,
) -> _Stretch:
    """Functions of a stretch: ``later`` is what follows it, ``left`` what leaving costs."""
    k, room = len(prices), 40 * len(prices) * (last - first + 1)
    x, y = later
    wide = np.diff(x)
    offset = np.empty((k, last - first + 2), dtype=np.int64)
    value = np.empty((k, last - first + 1))
    while True:
        slopes, lengths = np.empty(room), np.empty(room)
        used = merged(
            house, rows, first, last, plugged, prices, left + y[0], np.diff(y) / wide, wide,
            offset, value, slopes, lengths,
        )  # fmt: skip
        if used >= 0:
            kept = slopes[:used].copy(), lengths[:used].copy()
            return _Stretch(first, last, plugged, prices, offset, value, *kept, later)
        room *= 2


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
