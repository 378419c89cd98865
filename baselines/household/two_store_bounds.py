"""Bounds of battery and car refined until their certified distance is small enough."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.household.bounds import distance, place
from flexgym.baselines.household.tables import Ints
from flexgym.baselines.household.two_stores import (
    between,
    blend,
    blends,
    car_candidates,
    greedy,
    lower_stage,
    recombine,
    upper_stage,
)
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.errors import SolverError, StateError
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    CAPACITY,
    CAR_DISCHARGE,
    CAR_ETA_C,
    CAR_MISSED,
    CAR_POWER,
    DEPARTURE,
    EXPORT,
    IMPORT,
    NEEDED_KWH,
    POWER,
    RETENTION,
    TARGET_KWH,
)
from flexgym.envs.household.params import DT_H, Floats
from flexgym.envs.uncertainty import Uncertainty

_CELLS, _LEVELS, _PRICES = 48, 24, 40
"""Where refinement starts: cells of the battery, levels of the car, prices of its energy."""
_MOST_ROUNDS = 7
_LEAST_EUR = 1e-4
"""No smaller gap is asked for where flexibility is worth next to nothing."""
_AWAY = np.zeros(1)


@dataclass(frozen=True)
class Problem:
    """One house-day as the kernels read it.

    Attributes:
        house: Shape (18,).
        series: Load, PV, import and export price as forecast, shape (4, T).
        visits: Visits of the car, shape (T, 5).
        terminal_price: Pay for energy left in the battery, EUR/kWh.
        uncertainty: Chains around the forecast.
    """

    house: Floats
    series: Floats
    visits: Floats
    terminal_price: float
    uncertainty: Uncertainty

    @cached_property
    def transition(self) -> Floats:
        """Transition matrix of the Markov states, shape (m, m)."""
        return self.uncertainty.transition

    def plugged(self, t: int) -> bool:
        """Whether the car is plugged in in period t."""
        return bool(self.visits[t, ARRIVAL] <= t < self.visits[t, DEPARTURE])

    def arrives(self, t: int) -> bool:
        """Whether a visit begins with period t."""
        return t < len(self.visits) and self.visits[t, ARRIVAL] == t

    def leaves(self, t: int) -> bool:
        """Whether a visit ends with period t."""
        return self.plugged(t) and self.visits[t, DEPARTURE] == t + 1

    def blocks(self, t: int, steps: int) -> Floats:
        """Energies of the car in period t that full power reaches from what is needed, kWh.

        Shape (k,), with ``steps`` between. The optimum likes to charge fully or not at all.
        """
        visit, house = self.visits[t], self.house
        least, top = self.reach(t)
        apart = house[CAR_POWER] * DT_H * house[CAR_ETA_C] / steps
        # Large batteries that charge slowly would take more levels than they are worth.
        apart = max(apart, (top - least) / (24 * steps), 1e-6)
        due = self.due(t)
        down, up = np.arange(due, least, -apart), np.arange(due, top, apart)
        return _apart(np.concatenate([down, up, [least, visit[ARRIVAL_KWH], due, top]]))

    def due(self, t: int) -> float:
        """Energy in the car at which nothing is missing, or as much as it can have, kWh."""
        return float(np.clip(self.visits[t, NEEDED_KWH], *self.reach(t)))

    def reach(self, t: int) -> tuple[float, float]:
        """Least and largest energy of the car in the visit of period t, kWh."""
        visit = self.visits[t]
        least = 0.0 if self.house[CAR_DISCHARGE] > 0.0 else float(visit[ARRIVAL_KWH])
        return least, float(max(visit[TARGET_KWH], visit[ARRIVAL_KWH]))

    def missed(self, t: int, levels: Floats) -> Floats:
        """Cost of leaving after period t with these energies, EUR."""
        return self.house[CAR_MISSED] * (self.visits[t, NEEDED_KWH] - levels).clip(0.0)

    @property
    def chances(self) -> tuple[Floats, Floats]:
        """Load factors and their probabilities."""
        u = self.uncertainty
        return np.array(u.load_factors, np.float64), np.array(u.load_probabilities, np.float64)


def _apart(levels: Floats) -> Floats:
    levels = np.unique(levels)
    return levels[np.concatenate([[True], np.diff(levels) > 1e-6])]


def first_levels(problem: Problem, steps: int) -> list[Floats]:
    """Levels of the car of periods 0 to T, shapes (k,), kWh: one while it is away."""
    T = problem.series.shape[1]
    return [
        problem.blocks(t, steps) if t < T and problem.plugged(t) else _AWAY for t in range(T + 1)
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
        found.append(_apart(np.concatenate([placed[far], blocks])))
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
        values, levels = values[:, k : k + 1], _AWAY
    chances = problem.transition if state is None else problem.transition[[state]]
    ends = chances @ values.reshape(len(values), -1)
    ends = ends.reshape(-1, *values.shape[1:])
    if problem.leaves(t):
        levels = _apart(np.array([*problem.reach(t), problem.due(t)]))
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
    now = _AWAY
    parts = np.empty((3, u.n_states, len(noise), 1, len(grid)))
    parts[0], parts[1:] = -problem.terminal_price * grid, -problem.terminal_price
    for t in range(T - 1, -1, -1):
        parts = _on_arrival(problem, t + 1, parts, now)
        now = _AWAY if problem.arrives(t + 1) else now
        stays = problem.plugged(t) and not problem.leaves(t)
        targets = prices[t] if stays else _AWAY
        least, top = problem.reach(t) if stays else (0.0, 0.0)
        ends = np.empty((3, u.n_states, len(targets), len(grid)))
        recombine(parts.reshape(3, -1, *parts.shape[3:]), weights, now, targets, least, top, ends)
        now = targets
        if problem.leaves(t):
            # The least of missed energy minus price times energy lies where all is there.
            now = prices[t]
            due = min(problem.visits[t, NEEDED_KWH], problem.visits[t, TARGET_KWH])
            ends = np.repeat(ends, len(now), axis=2)
            ends[0] += (problem.missed(t, np.array([due])) - now * due)[:, None]
        parts = np.empty((3, u.n_states, len(noise), len(now), len(grid)))
        lower_stage(
            problem.house, np.ascontiguousarray(problem.series[:, t]), u.weather_factor,
            u.price_factor, noise, now, ends[0], ends[1], ends[2], grid, parts,
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
    dearest = -problem.house[CAR_MISSED]
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
        prices = np.unique(np.concatenate([[dearest, 0.0], even, quantiles]).round(9))
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
            SolverError: Seven rounds were not enough.
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
            if gap <= tolerance:
                kept = [_rounded_up(v) for v in values]
                gap = distance(kept[0][:, k].astype(np.float64), *lower, grid)
                return cls(solved, grid, levels, kept, lower[0].copy(), gap)
            more = min(max(1.1 * (gap / tolerance) ** 0.7, 1.15), 1.9)
            cells, energies, count = int(cells * more), int(energies * more), int(count * more)
        raise SolverError(
            f"the certified gap is {gap:.2e} EUR with {len(grid) - 1} cells; expected at most "
            f"{tolerance:.2e}. Pass a larger tolerance_eur."
        )

    def _share(self, t: int, car_kwh: float, levels: Floats) -> tuple[int, int, float]:
        """Levels around an energy of the car in the visit of period t, and the share between."""
        if not self.problem.plugged(t):
            return 0, 0, 0.0
        least, top = self.problem.reach(t)
        if not least - 1e-9 <= car_kwh <= top + 1e-9:
            raise StateError(
                f"car_kwh is {car_kwh:g} in period {t}; expected an energy in [{least:g}, "
                f"{top:g}] kWh, what this visit can reach."
            )
        below, share = between(levels, car_kwh)
        return below, min(below + 1, len(levels) - 1), share

    def value(self, t: int, soc_kwh: Floats, car_kwh: float, weights: Floats) -> Floats:
        """See `Tables`."""
        values = np.tensordot(weights, self.values[t], 1)
        if t == len(self.values) - 1:
            here = values[0]
        else:
            function = self._function(values, t, car_kwh, self.levels_kwh[t])
            return np.interp(soc_kwh, function.x, function.y)
        return np.interp(soc_kwh, self.grid_kwh, here)

    def ends(self, t: int, state: int | None = None) -> tuple[Floats, Floats]:
        """Expected upper bound after period t, shape (m, k, n), and the car's energies, (k,)."""
        return ends_of(self.problem, t, self.levels_kwh[t + 1], self.values[t + 1], state)

    def _function(
        self, ends: Floats, t: int, car_kwh: float, levels: Floats
    ) -> ConvexPiecewiseLinear:
        below, above, share = self._share(t, car_kwh, levels)
        cells = np.diff(self.grid_kwh)
        slopes, lengths = np.empty(2 * len(cells)), np.empty(2 * len(cells))
        start, n = blend(ends[below], ends[above], share, cells, slopes, lengths)
        x, y = np.empty(n + 1), np.empty(n + 1)
        x[0], y[0] = 0.0, start
        np.cumsum(lengths[:n], out=x[1:])
        np.cumsum(slopes[:n] * lengths[:n], out=y[1:])
        y[1:] += start
        return ConvexPiecewiseLinear.trusted(x, y)

    def after(self, t: int, state: int, car_kwh: float) -> ConvexPiecewiseLinear:
        """See `Tables`."""
        ends, levels = self.ends(t, state)
        return self._function(ends[0], t, car_kwh, levels)

    def ahead(
        self, t: int, state: int, soc_kwh: float, car_kwh: float, kinks_kw: Floats
    ) -> CarLevels:
        """See `Tables`."""
        ends, levels = self.ends(t, state)
        house, powers = self.problem.house, _AWAY
        if self.problem.plugged(t):
            self._share(t, car_kwh, levels)
            room = np.empty(len(levels) + 6)
            # Without limits of the connection: those are the chart's own.
            free = house.copy()
            free[[IMPORT, EXPORT]] = np.inf
            powers = _apart(room[: car_candidates(free, car_kwh, levels, 0.0, 0.0, room)])
        starts = np.empty(len(powers) + 1, dtype=np.int64)
        x, y = np.empty((2, len(powers) * (2 * len(self.grid_kwh) - 1)))
        blends(house, ends[0], levels, self.grid_kwh, car_kwh, powers, starts, x, y)
        return CarLevels(powers, starts, x[: starts[-1]], y[: starts[-1]])

    def play(
        self,
        t: int,
        rows: Ints,
        house: Floats,
        soc_kwh: Floats,
        car_kwh: Floats,
        now: Floats,
        state: Ints,
        battery_kw: Floats,
        car_kw: Floats,
    ) -> None:
        """See `Tables`."""
        ends, later = self.ends(t)
        greedy(
            rows, self.problem.house, self.problem.plugged(t), ends, later, self.grid_kwh, soc_kwh,
            car_kwh, now, state, battery_kw, car_kw,
        )  # fmt: skip
