"""Bounds of battery and car refined until their certified distance is small enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.household.bounds import distance, place
from flexgym.baselines.household.car_prices import lower_stage, recombine
from flexgym.baselines.household.tables import Ints, Moment
from flexgym.baselines.household.two_store_problem import AWAY, Problem, apart
from flexgym.baselines.household.two_stores import (
    blends,
    greedy,
    reaching,
    upper_stage,
)
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.errors import SolverError, StateError
from flexgym.envs.household.dynamics import (
    ARRIVAL_KWH,
    CAPACITY,
    CAR_DISCHARGE,
    CAR_MISSED,
    POWER,
    RETENTION,
    UNSERVED,
)
from flexgym.envs.household.params import Floats

_CELLS, _LEVELS, _PRICES = 48, 24, 40
"""Where refinement starts: cells of the battery, levels of the car, prices of its energy."""
_MOST_ROUNDS = 7
_LEAST_EUR = 1e-4
"""No smaller gap is asked for where flexibility is worth next to nothing."""


def first_levels(problem: Problem, steps: int) -> list[Floats]:
    """Levels of the car of periods 0 to T, shapes (k,), kWh: one while it is away."""
    T = problem.series.shape[1]
    return [
        problem.blocks(t, steps) if t < T and problem.plugged(t) else AWAY for t in range(T + 1)
    ]


def better_levels(
    problem: Problem, levels: list[Floats], values: list[Floats], count: int
) -> list[Floats]:
    """Levels that are dense where the values bend in the car's energy, and its blocks."""
    found = []
    for t, (here, value) in enumerate(zip(levels, values, strict=True)):
        if len(here) < 3:
            found.append(here)
            continue
        bends = value.transpose(0, 2, 1).reshape(1, -1, len(here))
        placed = here[0] + place(here - here[0], bends, count)
        blocks = problem.blocks(t, 1)
        # A level beside a block is worth little.
        far = np.abs(placed[:, None] - blocks).min(axis=1) > 0.2 * (here[-1] - here[0]) / count
        found.append(apart(np.concatenate([placed[far], blocks])))
    return found


def upper_bound(problem: Problem, grid: Floats, levels: list[Floats]) -> list[Floats]:
    """Values at the levels of the car and the grid, shapes (m, k, n), of periods 0 to T."""
    T, u = problem.series.shape[1], problem.uncertainty
    noise, chance = problem.chances
    last = np.broadcast_to(-problem.terminal_price * grid, (u.n_states, 1, len(grid)))
    values = [np.ascontiguousarray(last)] * (T + 1)
    for t in range(T - 1, -1, -1):
        ends, later = ends_of(problem, t, levels[t + 1], values[t + 1])
        values[t] = np.empty((u.n_states, len(levels[t]), len(grid)))
        upper_stage(
            problem.house, np.ascontiguousarray(problem.series[:, t]), u.weather_factor,
            u.price_factor, noise, chance, ends, later, levels[t], grid, values[t],
        )  # fmt: skip
    return values


def ends_of(
    problem: Problem, t: int, levels: Floats, values: NDArray, state: int | None = None
) -> tuple[Floats, Floats]:
    """Expected value after period t, shape (m, k, n), and the car's energies there, (k,).

    Args:
        problem: The house-day.
        t: Period.
        levels: Levels of period t + 1.
        values: Values there.
        state: Markov state of period t; None is all of them.
    """
    if problem.arrives(t + 1):
        k = int(np.argmin(np.abs(levels - problem.visits[t + 1, ARRIVAL_KWH])))
        values, levels = values[:, k : k + 1], AWAY
    chances = problem.transition if state is None else problem.transition[[state]]
    ends = chances @ values.reshape(len(values), -1)
    ends = ends.reshape(-1, *values.shape[1:])
    if problem.leaves(t):
        levels = apart(np.array([*problem.reach(t), problem.due(t)]))
        ends = ends + problem.missed(t, levels)[:, None]
    return np.ascontiguousarray(ends), levels


def lower_bound(problem: Problem, grid: Floats, prices: list[Floats]) -> Floats:
    """Value and its left- and right-hand slopes in period 0, shape (3, m, n).

    Args:
        problem: The house-day.
        grid: Energies of the battery, shape (n,), kWh.
        prices: Slopes of the cost in the car's energy for each period, ascending, EUR/kWh.
    """
    T, u = problem.series.shape[1], problem.uncertainty
    noise, chance = problem.chances
    weights = np.kron(u.transition, chance)
    now = AWAY
    parts = np.empty((3, u.n_states, len(noise), 1, len(grid)))
    parts[0], parts[1:] = -problem.terminal_price * grid, -problem.terminal_price
    for t in range(T - 1, -1, -1):
        parts = _on_arrival(problem, t + 1, parts, now)
        now = AWAY if problem.arrives(t + 1) else now
        stays = problem.plugged(t) and not problem.leaves(t)
        targets = prices[t] if stays else AWAY
        least, top = problem.reach(t) if stays else (0.0, 0.0)
        ends = np.empty((3, u.n_states, len(targets), len(grid)))
        recombine(parts.reshape(3, -1, *parts.shape[3:]), weights, now, targets, least, top, ends)
        now = targets
        if problem.leaves(t):
            # The least of missed energy minus price times energy lies where nothing is missing,
            # or where least is stored if the price is above that of missing it.
            now = prices[t]
            least, due = problem.reach(t)[0], problem.due(t)
            at = np.where(now < -problem.house[CAR_MISSED], least, due)
            ends = np.repeat(ends, len(now), axis=2)
            ends[0] += (problem.missed(t, at) - now * at)[:, None]
        parts = np.empty((3, u.n_states, len(noise), len(now), len(grid)))
        lower_stage(
            problem.house, np.ascontiguousarray(problem.series[:, t]), u.weather_factor,
            u.price_factor, noise, problem.plugged(t), now, ends[0], ends[1], ends[2], grid, parts,
        )  # fmt: skip
    parts = _on_arrival(problem, 0, parts, now)
    return np.tensordot(parts[:, :, :, 0], chance, (2, 0))


def _on_arrival(problem: Problem, t: int, parts: Floats, prices: Floats) -> Floats:
    """The car arrives with a known energy: the largest line there is all that is needed."""
    if not problem.arrives(t):
        return parts
    value = parts[0] + (prices * problem.visits[t, ARRIVAL_KWH])[:, None]
    pick = value.argmax(axis=2)[None, :, :, None]
    found = np.take_along_axis(parts, pick, axis=3)
    found[0] = value.max(axis=2, keepdims=True)
    return found


def worths(
    problem: Problem, levels: list[Floats], values: list[Floats], count: int
) -> list[Floats]:
    """Prices of the car's energy for the lower bound: quantiles of the upper one's slopes.

    Slopes gather at the prices of few hours, so quantiles meet them exactly.
    """
    house = problem.house
    # Energy that can come back may also spare unserved load.
    dearest = -max(house[CAR_MISSED], house[UNSERVED] if house[CAR_DISCHARGE] > 0.0 else 0.0)
    stationary = problem.uncertainty.stationary
    found = []
    for here, value in zip(levels[:-1], values[:-1], strict=True):
        if len(here) < 2:
            found.append(np.unique([dearest, 0.0]))
            continue
        width = np.diff(here)[:, None]
        slope = (np.diff(value, axis=1) / width).clip(dearest, 0.0)
        weight = np.broadcast_to(stationary[:, None, None] * width, slope.shape).ravel()
        order = np.argsort(slope, axis=None)
        mass = np.cumsum(weight[order])
        at = np.searchsorted(mass, (np.arange(count) + 0.5) / count * mass[-1])
        quantiles = slope.ravel()[order][at.clip(0, len(order) - 1)]
        even = np.linspace(slope.min(), slope.max(), count // 4 + 2)
        # Prices apart by rounding only would be told from one another by rounding.
        prices = np.concatenate([[dearest, 0.0], even, quantiles]).round(9)
        prices = np.unique(prices.clip(dearest, 0.0))
        found.append(prices)
    return found


def _rounded_up(values: Floats) -> NDArray[np.float32]:
    """Single precision, for half the memory; an upper bound stays one."""
    short = values.astype(np.float32)
    return np.where(short < values, np.nextafter(short, np.float32(np.inf)), short)


def _bends(values: list[Floats]) -> Floats:
    """All functions of the battery, shape (1, r, n); half of them of period 0.

    That is where the gap is measured, the others is where it comes from.
    """
    whole = np.concatenate([v.reshape(-1, v.shape[2]) for v in values])
    first = values[0].reshape(-1, values[0].shape[2])
    again = np.repeat(first, max(len(whole) // len(first), 1), axis=0)
    return np.concatenate([whole, again])[None]


@dataclass(frozen=True)
class TwoStoreBounds:
    """Upper bound of every period and the certified distance to the lower one at the start.

    Attributes:
        problem: The house-day.
        grid_kwh: Energies of the battery, shape (n,), kWh.
        levels_kwh: Energies of the car in period t, shapes (k,), kWh; one zero while away.
        values: Upper bound at the start of period t, shapes (m, k, n), single precision, EUR.
        lower: Lower bound in period 0 at the grid, shape (m, n), EUR.
        gap_eur: Largest distance of the bounds in period 0, over states and charge, EUR.
    """

    problem: Problem
    grid_kwh: Floats
    levels_kwh: list[Floats]
    values: list[NDArray[np.float32]]
    lower: Floats
    gap_eur: float

    @classmethod
    def solve(
        cls,
        problem: Problem,
        tolerance_eur: float | None,
        tolerance_share: float,
        uncontrolled_eur: float,
    ) -> TwoStoreBounds:
        """Refine until the certified gap is at most the tolerance.

        Args:
            problem: The house-day.
            tolerance_eur: Gap to reach, EUR; None takes the share.
            tolerance_share: Gap as a share of the value of flexibility, the mean over states of
                charge.
            uncontrolled_eur: Expected cost with an empty battery and nothing controlled.

        Raises:
            SolverError: Seven rounds were not enough, or two brought next to nothing.
        """
        solved = problem
        if problem.house[CAPACITY] == 0.0:
            # An empty battery is one of any size that stands still.
            house = problem.house.copy()
            house[CAPACITY], house[POWER] = 1.0, 0.0
            solved = Problem(
                house, problem.series, problem.visits, problem.terminal_price, problem.uncertainty
            )
        cells, energies, count = _CELLS, _LEVELS, _PRICES
        chance = solved.uncertainty.stationary
        left = solved.house[RETENTION] ** solved.series.shape[1] * solved.terminal_price
        grid = np.linspace(0.0, solved.house[CAPACITY], 33)
        levels = first_levels(solved, 4)
        values = upper_bound(solved, grid, levels)
        before, stuck = np.inf, 0
        for _ in range(_MOST_ROUNDS):
            whole = _bends(values)
            levels = better_levels(solved, levels, values, energies)
            grid = place(grid, whole, cells)
            values = upper_bound(solved, grid, levels)
            lower = lower_bound(solved, grid, worths(solved, levels, values, count))
            k = 0
            if solved.arrives(0):
                k = int(np.argmin(np.abs(levels[0] - solved.visits[0, ARRIVAL_KWH])))
            gap = distance(values[0][:, k], *lower, grid)
            saved = uncontrolled_eur - left * grid - chance @ values[0][:, k]
            worth = float(np.trapezoid(saved, grid)) / grid[-1]
            tolerance = tolerance_eur or max(tolerance_share * worth, _LEAST_EUR)
            if gap < -1e-6:
                raise SolverError(
                    f"the bounds cross by {-gap:.2e} EUR; expected the lower one below. Please "
                    "report this house and day."
                )
            if gap <= tolerance:
                kept = [_rounded_up(v) for v in values]
                gap = distance(kept[0][:, k].astype(np.float64), *lower, grid)
                return cls(solved, grid, levels, kept, lower[0].copy(), gap)
            stuck = stuck + 1 if gap > 0.9 * before else 0
            if stuck == 2:
                break
            before = gap
            more = min(max(1.1 * (gap / tolerance) ** 0.7, 1.15), 1.9)
            cells, energies, count = int(cells * more), int(energies * more), int(count * more)
        raise SolverError(
            f"the certified gap is {gap:.2e} EUR with {len(grid) - 1} cells; expected at most "
            f"{tolerance:.2e}. Pass a larger tolerance_eur."
        )

    def value(self, t: int, soc_kwh: Floats, car_kwh: float, weights: Floats) -> Floats:
        """See `Tables`."""
        values = np.tensordot(weights, self.values[t].astype(np.float64), 1)
        function = self._function(values, t, car_kwh, self.levels_kwh[t])
        return np.interp(soc_kwh, function.x, function.y)

    def ends(self, t: int, state: int | None = None) -> tuple[Floats, Floats]:
        """Expected upper bound after period t, shape (m, k, n), and the car's energies, (k,)."""
        return ends_of(self.problem, t, self.levels_kwh[t + 1], self.values[t + 1], state)

    def _function(
        self, values: Floats, t: int, car_kwh: float, levels: Floats
    ) -> ConvexPiecewiseLinear:
        """Values (k, n) at levels of the car as a function of the battery's energy."""
        ((_, function),) = self._beside(values, t, car_kwh, levels, AWAY)
        return function

    def _beside(
        self, values: Floats, t: int, car_kwh: float, levels: Floats, powers: Floats
    ) -> CarLevels:
        """Values (k, n) at levels of the car beside powers of it."""
        if self.problem.plugged(t):
            least, top = self.problem.reach(t)
            if not least - 1e-9 <= car_kwh <= top + 1e-9:
                raise StateError(
                    f"car_kwh is {car_kwh:g} in period {t}; expected an energy in [{least:g}, "
                    f"{top:g}] kWh, what this visit can reach."
                )
        starts = np.empty(len(powers) + 1, dtype=np.int64)
        x, y = np.empty((2, len(powers) * (2 * len(self.grid_kwh) - 1)))
        blends(self.problem.house, values, levels, self.grid_kwh, car_kwh, powers, starts, x, y)
        return CarLevels(powers, starts, x[: starts[-1]], y[: starts[-1]])

    def after(self, t: int, state: int, car_kwh: float) -> ConvexPiecewiseLinear:
        """See `Tables`."""
        ends, levels = self.ends(t, state)
        return self._function(ends[0], t, car_kwh, levels)

    def ahead(
        self, t: int, state: int, soc_kwh: float, car_kwh: float, kinks_kw: Floats
    ) -> CarLevels:
        """See `Tables`."""
        ends, levels = self.ends(t, state)
        powers = AWAY
        if self.problem.plugged(t):
            room = np.empty(len(levels) + 3)
            powers = apart(room[: reaching(self.problem.house, car_kwh, levels, room)])
        return self._beside(ends[0], t, car_kwh, levels, powers)

    def play(self, now: Moment, rows: Ints, battery_kw: Floats, car_kw: Floats) -> None:
        """See `Tables`."""
        ends, later = self.ends(now.t)
        greedy(
            rows, self.problem.house, self.problem.plugged(now.t), ends, later, self.grid_kwh,
            now.soc_kwh, now.car_kwh, now.exogenous, now.state, battery_kw, car_kw,
        )  # fmt: skip
