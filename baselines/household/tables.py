"""Cost-to-go functions as tables: several ways to compute them, one way to read them.

With one store a table answers ``before(t)`` (expected cost from period t on, load of t not
yet measured) and ``after(t)`` (expected cost after period t, given the Markov state of t).
Both return arrays with one row per Markov state: value of the empty store (m,), slopes (m, k)
and lengths (m, k); rows shorter than k end in segments of length zero.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.charts.recursion import backward, best_battery
from flexgym.envs.compiled import compiled
from flexgym.envs.errors import SolverError
from flexgym.envs.household.dynamics import BUY, CAPACITY, LOAD, PV, PV_KWP, RETENTION, SELL
from flexgym.envs.household.params import Floats
from flexgym.envs.household.stage import STAGE_PIECES, stage_cost
from flexgym.envs.uncertainty import Uncertainty, realised_pv

Functions = tuple[Floats, Floats, Floats]
Ints = NDArray[np.int64]


class Moment(NamedTuple):
    """What a batch of houses measures in a period.

    Attributes:
        t: Period.
        house: Shape (n, 18), see `house_row`.
        soc_kwh: Energy in the batteries, shape (n,), kWh.
        car_kwh: Energy in the cars, shape (n,), kWh.
        exogenous: Load, PV, import and export price, shape (4, n).
        state: Markov state, shape (n,).
    """

    t: int
    house: Floats
    soc_kwh: Floats
    car_kwh: Floats
    exogenous: Floats
    state: Ints


class Tables(Protocol):
    """Cost-to-go functions of every period."""

    @property
    def gap_eur(self) -> float:
        """Certified error of the values in period 0, EUR."""
        ...

    def value(self, t: int, soc_kwh: Floats, car_kwh: float, weights: Floats) -> Floats:
        """Expected cost from period t on, EUR, weighted over the Markov states (m,)."""
        ...

    def ahead(
        self, t: int, state: int, soc_kwh: float, car_kwh: float, kinks_kw: Floats
    ) -> CarLevels:
        """Cost after period t beside each power of the car that counts.

        ``kinks_kw`` are battery powers at which the inverter's capability bends.
        """
        ...

    def after(self, t: int, state: int, car_kwh: float) -> ConvexPiecewiseLinear:
        """Cost after period t against the battery's energy, the car ending it with this."""
        ...

    def play(self, now: Moment, rows: Ints, battery_kw: Floats, car_kw: Floats) -> None:
        """Write the best powers of the rows of a batch that belong to this house-day, kW."""
        ...


class OneStore(ABC):
    """What tables of one store have in common; the car is away all day."""

    @abstractmethod
    def before(self, t: int) -> Functions:
        """Functions at the start of period t, 0 <= t <= T."""

    @abstractmethod
    def functions_after(self, t: int) -> Functions:
        """Functions at the end of period t, 0 <= t < T."""

    def value(self, t: int, soc_kwh: Floats, car_kwh: float, weights: Floats) -> Floats:
        """See `Tables`."""
        value, slopes, lengths = self.before(t)
        total = np.zeros(soc_kwh.shape)
        for s in np.flatnonzero(weights):
            x = np.concatenate([[0.0], np.cumsum(lengths[s])])
            y = value[s] + np.concatenate([[0.0], np.cumsum(slopes[s] * lengths[s])])
            total = total + weights[s] * np.interp(soc_kwh, x, y)
        return total

    def after(self, t: int, state: int, car_kwh: float) -> ConvexPiecewiseLinear:
        """See `Tables`."""
        value, slopes, lengths = self.functions_after(t)
        return ConvexPiecewiseLinear.from_slopes(0.0, value[state], slopes[state], lengths[state])

    def ahead(
        self, t: int, state: int, soc_kwh: float, car_kwh: float, kinks_kw: Floats
    ) -> CarLevels:
        """See `Tables`."""
        return CarLevels.of([(0.0, self.after(t, state, car_kwh))])

    def play(self, now: Moment, rows: Ints, battery_kw: Floats, car_kw: Floats) -> None:
        """See `Tables`."""
        _, slopes, lengths = self.functions_after(now.t)
        slopes, lengths = np.ascontiguousarray(slopes), np.ascontiguousarray(lengths)
        _greedy(rows, now.house, now.soc_kwh, now.exogenous, now.state, slopes, lengths, battery_kw)


@compiled
def _greedy(rows, house, soc_kwh, now, state, slopes, lengths, battery_kw):
    for i in rows:
        s = state[i]
        battery_kw[i] = best_battery(
            house[i], soc_kwh[i], now[LOAD, i], 0.0, now[PV, i], now[BUY, i], now[SELL, i],
            slopes[s], lengths[s],
        )  # fmt: skip


@dataclass(frozen=True)
class KnownDay(OneStore):
    """Exact recursion of a day known in advance."""

    empty_eur: Floats
    offset: np.ndarray
    slopes: Floats
    lengths: Floats
    gap_eur: float = 0.0

    @classmethod
    def solve(cls, house: Floats, series: Floats, terminal_price: float) -> KnownDay:
        """Run the recursion; ``series`` has shape (4, T)."""
        T = series.shape[1]
        offset, value = np.zeros(T + 2, dtype=np.int64), np.zeros(T + 1)
        room = 64 * (T + 2)
        while True:
            slopes, lengths = np.empty(room), np.empty(room)
            if backward(house, series, terminal_price, offset, value, slopes, lengths):
                break
            room *= 2
        used = offset[-1]
        return cls(value, offset, slopes[:used].copy(), lengths[:used].copy())

    def before(self, t: int) -> Functions:
        """See `OneStore`."""
        k = len(self.empty_eur) - 1 - t
        part = slice(self.offset[k], self.offset[k + 1])
        return self.empty_eur[k : k + 1], self.slopes[None, part], self.lengths[None, part]

    def functions_after(self, t: int) -> Functions:
        """See `OneStore`."""
        return self.before(t + 1)


def stage_function(house: Floats, load: float, pv: float, buy: float, sell: float):
    """Cost of a period against the change of stored energy, as a function object."""
    slopes, lengths = np.empty(STAGE_PIECES), np.empty(STAGE_PIECES)
    n, low, cost = stage_cost(house, load, 0.0, pv, buy, sell, slopes, lengths)
    return ConvexPiecewiseLinear.from_slopes(low, cost, slopes[:n], lengths[:n])


def _step_back(
    house: Floats, later: ConvexPiecewiseLinear, psi: ConvexPiecewiseLinear
) -> ConvexPiecewiseLinear:
    """One step of the recursion with function objects, no pruning."""
    mirrored = ConvexPiecewiseLinear(-psi.x[::-1], psi.y[::-1])
    keep = house[RETENTION]
    wide = later.infimal_convolution(mirrored).restrict(0.0, keep * house[CAPACITY])
    return ConvexPiecewiseLinear(wide.x / keep, wide.y)


def _expectation(functions: list[ConvexPiecewiseLinear], weights: Floats) -> ConvexPiecewiseLinear:
    """Weighted sum; the breakpoints are the union of all."""
    total = functions[0].scaled(float(weights[0]))
    for function, weight in zip(functions[1:], weights[1:], strict=True):
        total = total + function.scaled(float(weight))
    return total


@dataclass(frozen=True)
class ExactTree(OneStore):
    """Exact expectation over the Markov states, no pruning: for small trees only.

    The number of segments grows exponentially with the periods.
    """

    before_: list[list[ConvexPiecewiseLinear]]
    after_: list[list[ConvexPiecewiseLinear]]
    gap_eur: float = 0.0

    @classmethod
    def solve(
        cls,
        house: Floats,
        series: Floats,
        terminal_price: float,
        uncertainty: Uncertainty,
        max_segments: int = 20_000,
    ) -> ExactTree:
        """Run the recursion.

        Raises:
            SolverError: A function would need more than ``max_segments`` segments.
        """
        T, m = series.shape[1], uncertainty.n_states
        capacity = house[CAPACITY]
        if capacity > 0.0:
            last = ConvexPiecewiseLinear(
                np.array([0.0, capacity]), np.array([0.0, -terminal_price * capacity])
            )
        else:
            last = ConvexPiecewiseLinear(np.zeros(1), np.zeros(1))
        before: list[list[ConvexPiecewiseLinear]] = [[last] * m]
        after: list[list[ConvexPiecewiseLinear]] = []
        transition = uncertainty.transition
        noise = np.array(uncertainty.load_factors)
        chance = np.array(uncertainty.load_probabilities)
        for t in reversed(range(T)):
            load, pv, buy, sell = series[:, t]
            ends = [_expectation(before[-1], row) for row in transition]
            starts = []
            for s in range(m):
                got = realised_pv(uncertainty.weather_factor[s], pv, house[PV_KWP])
                price = buy * uncertainty.price_factor[s]
                steps = [
                    _step_back(house, ends[s], stage_function(house, load * f, got, price, sell))
                    for f in noise
                ]
                starts.append(_expectation(steps, chance))
            if max(len(f.x) for f in starts) > max_segments:
                raise SolverError(
                    f"the exact function exceeds {max_segments} segments in period {t}; expected "
                    "a small tree. Pass tolerance_eur > 0 to prune with a certificate."
                )
            after.append(ends)
            before.append(starts)
        return cls(before[::-1], after[::-1])

    def before(self, t: int) -> Functions:
        """See `OneStore`."""
        return _padded(self.before_[t])

    def functions_after(self, t: int) -> Functions:
        """See `OneStore`."""
        return _padded(self.after_[t])


def _padded(functions: list[ConvexPiecewiseLinear]) -> Functions:
    k = max(len(f.x) for f in functions) - 1
    slopes, lengths = np.zeros((len(functions), k)), np.zeros((len(functions), k))
    for row, f in enumerate(functions):
        n = len(f.x) - 1
        slopes[row, :n], lengths[row, :n] = f.slopes, np.diff(f.x)
        slopes[row, n:] = f.slopes[-1] if n else 0.0
    return np.array([f.y[0] for f in functions]), slopes, lengths
