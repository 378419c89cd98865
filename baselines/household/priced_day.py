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
from flexgym.envs.charts.recursion import convolve
from flexgym.envs.compiled import compiled
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
    LOAD,
    NEEDED_KWH,
    PV,
    RETENTION,
    SELL,
    TARGET_KWH,
    UNSERVED,
    WEAR,
)
from flexgym.envs.household.params import Floats, House, Series
from flexgym.envs.household.stage import STAGE_PIECES, priced_stage_cost, stage_cost


@compiled
def merged(
    house, series, first, last, plugged, prices, end_value, end_slopes, end_lengths, offset, value,
    slopes, lengths,
):  # fmt: skip
    """Cost-to-go of periods first to last for each price of the car's energy.

    Args:
        house: Shape (18,).
        series: Load, PV, import and export price, shape (4, T).
        first: First period.
        last: Period after the last.
        plugged: Whether the car is there; else prices do not matter.
        prices: Shape (k,), EUR/kWh.
        end_value: Cost-to-go of the empty battery at ``last`` for each price, shape (k,), EUR.
        end_slopes: Its slopes there, the same for all.
        end_lengths: Lengths of its segments, kWh.
        offset: Shape (k, last - first + 2), overwritten: segments at period t of price k are
            ``offset[k, t - first]:offset[k, t - first + 1]``, counted from the last period down.
        value: Cost-to-go of the empty battery, shape (k, last - first + 1), likewise, EUR.
        slopes: Room for all segments, overwritten, EUR/kWh.
        lengths: Likewise, kWh.

    Returns:
        Number of segments, or -1 where the room was too small.
    """
    psi_slopes, psi_lengths = np.empty(STAGE_PIECES), np.empty(STAGE_PIECES)
    n = 0
    for k in range(len(prices)):
        offset[k, 0] = n
        if n + len(end_slopes) > len(slopes):
            return -1
        for j in range(len(end_slopes)):
            slopes[n], lengths[n] = end_slopes[j], end_lengths[j]
            n += 1
        offset[k, 1], value[k, 0] = n, end_value[k]
        for s in range(last - first):
            t = last - 1 - s
            begin = offset[k, s]
            if n + (n - begin) + STAGE_PIECES > len(slopes):
                return -1
            load, pv, buy, sell = series[LOAD, t], series[PV, t], series[BUY, t], series[SELL, t]
            if plugged:
                count, low, cost = priced_stage_cost(
                    house, load, prices[k], pv, buy, sell, psi_slopes, psi_lengths
                )
            else:
                count, low, cost = stage_cost(
                    house, load, 0.0, pv, buy, sell, psi_slopes, psi_lengths
                )
            value[k, s + 1], more = convolve(
                house[RETENTION], house[CAPACITY], value[k, s], slopes, lengths, begin, n - begin,
                psi_slopes, psi_lengths, count, low, cost, slopes, lengths, n,
            )  # fmt: skip
            n += more
            offset[k, s + 2] = n
    return n


@compiled
def _at(value, slopes, lengths, begin, end, soc_kwh):
    """Value of one function at an energy, and its slope to the right (left at the end)."""
    slope = 0.0
    for j in range(begin, end):
        slope = slopes[j]
        part = min(soc_kwh, lengths[j])
        value += slope * part
        soc_kwh -= part
        if soc_kwh <= 0.0 and part < lengths[j]:
            break
    return value, slope


@compiled
def dearest_line(stage, prices, offset, value, slopes, lengths, soc_kwh, car_kwh):
    """Largest over prices of W(e; mu) - mu*c, concave in mu: value, slope in e, price.

    Args:
        stage: Column of ``offset`` that belongs to the period.
        prices: Shape (k,), ascending, EUR/kWh.
        offset: See `merged`.
        value: Likewise.
        slopes: Likewise.
        lengths: Likewise.
        soc_kwh: Energy in the battery, kWh.
        car_kwh: Energy in the car, kWh.
    """
    low, high = 0, len(prices) - 1
    while low < high:
        middle = (low + high) // 2
        here, _ = _at(
            value[middle, stage], slopes, lengths, offset[middle, stage],
            offset[middle, stage + 1], soc_kwh,
        )  # fmt: skip
        there, _ = _at(
            value[middle + 1, stage], slopes, lengths, offset[middle + 1, stage],
            offset[middle + 1, stage + 1], soc_kwh,
        )  # fmt: skip
        if there - here > (prices[middle + 1] - prices[middle]) * car_kwh:
            low = middle + 1
        else:
            high = middle
    best, slope = _at(
        value[low, stage], slopes, lengths, offset[low, stage], offset[low, stage + 1], soc_kwh
    )
    return best - prices[low] * car_kwh, slope, prices[low]


@compiled
def line_after(stage, prices, offset, value, slopes, lengths, car_kwh, capacity, x, y):
    """The function of the battery's energy beside one of the car's, exactly; its length.

    Where the lines of both ends of an interval meet, either a third one lies above, or the
    function bends.

    Args:
        stage: See `dearest_line`.
        prices: Likewise.
        offset: Likewise.
        value: Likewise.
        slopes: Likewise.
        lengths: Likewise.
        car_kwh: Energy in the car, kWh.
        capacity: Of the battery, kWh.
        x: Room, overwritten: energies at which the function bends, kWh.
        y: Values there, EUR.

    Returns:
        Number of points, or -1 where the room was too small.
    """
    room = len(x)
    left, slope, _ = dearest_line(stage, prices, offset, value, slopes, lengths, 0.0, car_kwh)
    x[0], y[0] = 0.0, left
    n = 1
    if capacity <= 0.0:
        return n
    # Intervals still to look at, as a stack of right ends; the left end is the last point.
    right, right_slope, _ = dearest_line(
        stage, prices, offset, value, slopes, lengths, capacity, car_kwh
    )
    ends = np.empty((room, 3))
    ends[0, 0], ends[0, 1], ends[0, 2] = capacity, right, right_slope
    waiting = 1
    while waiting > 0:
        e, v, s = ends[waiting - 1, 0], ends[waiting - 1, 1], ends[waiting - 1, 2]
        rise = s - slope
        meet = 0.0
        if rise > 1e-12:
            meet = (y[n - 1] - v + s * e - slope * x[n - 1]) / rise
        inside = rise > 1e-12 and x[n - 1] + 1e-10 < meet < e - 1e-10
        if inside:
            found, at, _ = dearest_line(
                stage, prices, offset, value, slopes, lengths, meet, car_kwh
            )
            line = y[n - 1] + slope * (meet - x[n - 1])
            if found > line + 1e-12 * (1.0 + abs(line)):
                if waiting == room:
                    return -1
                ends[waiting, 0], ends[waiting, 1], ends[waiting, 2] = meet, found, at
                waiting += 1
                continue
            e, v, s = meet, found, s
        else:
            waiting -= 1
        if n == room:
            return -1
        x[n], y[n] = e, v
        slope = s
        n += 1
    return n


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

    def line(self, t: int, soc_kwh: float, car_kwh: float) -> tuple[float, float, float]:
        """Value in period t, its slope in the battery's energy, and minus that in the car's."""
        return dearest_line(
            self.last - t, self.prices, self.offset, self.value, self.slopes, self.lengths,
            soc_kwh, car_kwh,
        )  # fmt: skip

    def function(self, t: int, car_kwh: float, capacity: float) -> tuple[Floats, Floats]:
        """Breakpoints of the function of the battery's energy, kWh and EUR."""
        room = 512
        while True:
            x, y = np.empty(room), np.empty(room)
            n = line_after(
                self.last - t, self.prices, self.offset, self.value, self.slopes, self.lengths,
                car_kwh, capacity, x, y,
            )  # fmt: skip
            if n > 0:
                return x[:n], y[:n]
            room *= 2


class PricedDay(KnownCarDay):
    """See `Tables`; for cars that only charge and batteries that keep their energy.

    Args:
        house: The house, with a car.
        series: The day, with sessions.
        terminal_eur_per_kwh: Pay for energy left in the battery, EUR/kWh.
    """

    def __init__(self, house: House, series: Series, terminal_eur_per_kwh: float) -> None:
        super().__init__(house, series, terminal_eur_per_kwh)
        rows = np.stack(
            [series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh]
        )
        capacity = float(self._house[CAPACITY])
        prices = candidate_prices(self._house, rows, terminal_eur_per_kwh)
        ends = np.array([0.0, capacity]) if capacity > 0.0 else np.zeros(1)
        later = ends, -terminal_eur_per_kwh * ends
        self._stretches: list[_Stretch] = []
        end = self.periods
        while end > 0:
            here = self.plugged(end - 1)
            first = int(self._visits[end - 1, ARRIVAL]) if here else self._away_since(end)
            stretch = _solved(
                self._house, rows, max(first, 0), end, prices if here else np.zeros(1), later,
                self._missed(end - 1, prices) if here else np.zeros(1), here,
            )  # fmt: skip
            self._stretches.append(stretch)
            arrived = float(self._visits[stretch.first, ARRIVAL_KWH]) if here else 0.0
            end = stretch.first
            later = stretch.function(end, arrived, capacity)
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
        value, slope, price = stretch.line(t, soc_kwh, min(car_kwh, top))
        return value, slope, -price if car_kwh < top else 0.0


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
            return _Stretch(first, last, plugged, prices, offset, value, *kept)
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
    return np.unique(prices.round(12))
