"""Bounds of battery and car refined until their certified distance is small enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.baselines.household.bounds import distance, place
from flexgym.baselines.household.tables import Ints, Levels
from flexgym.baselines.household.two_stores import (
    after_car,
    between,
    car_candidates,
    greedy,
    lower_stage,
    recombine,
    upper_stage,
)
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

_CELLS, _STEPS, _PRICES = 48, 8, 32
"""Where refinement starts: cells of the battery, levels of the car a period at full power
passes, prices of its energy."""
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

    def plugged(self, t: int) -> bool:
        """Whether the car is plugged in in period t."""
        return bool(self.visits[t, ARRIVAL] <= t < self.visits[t, DEPARTURE])

    def arrives(self, t: int) -> bool:
        """Whether a visit begins with period t."""
        return t < len(self.visits) and self.visits[t, ARRIVAL] == t

    def leaves(self, t: int) -> bool:
        """Whether a visit ends with period t."""
        return self.plugged(t) and self.visits[t, DEPARTURE] == t + 1

    def levels(self, t: int, steps: int) -> Floats:
        """Energies of the car to tabulate in period t, shape (k,), kWh.

        Spaced so that full power passes ``steps`` of them, counted from what is needed: the
        optimum likes to end there, and to charge fully or not at all.
        """
        if not self.plugged(t):
            return _AWAY
        visit, house = self.visits[t], self.house
        least, top = self.reach(t)
        apart = house[CAR_POWER] * DT_H * house[CAR_ETA_C] / steps
        # Large batteries that charge slowly would take more levels than they are worth.
        apart = max(apart, (top - least) / (24 * steps), 1e-6)
        due = float(np.clip(visit[NEEDED_KWH], least, top))
        levels = np.concatenate([np.arange(due, least, -apart), np.arange(due, top, apart)])
        levels = np.unique(np.concatenate([levels, [least, visit[ARRIVAL_KWH], due, top]]))
        kept = np.concatenate([[True], np.diff(levels) > 1e-9])
        return levels[kept]

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


def upper_bound(
    problem: Problem, grid: Floats, steps: int
) -> tuple[list[Floats], list[Floats]]:
    """Levels of the car (k,) and values there, shape (m, k, n), of periods 0 to T."""
    T, u = problem.series.shape[1], problem.uncertainty
    noise, chance = problem.chances
    last = np.broadcast_to(-problem.terminal_price * grid, (u.n_states, 1, len(grid)))
    levels, values = [_AWAY] * (T + 1), [np.ascontiguousarray(last)] * (T + 1)
    for t in range(T - 1, -1, -1):
        here = problem.levels(t, steps)
        ends = ends_of(problem, t, here, levels[t + 1], values[t + 1])
        values[t] = np.empty((u.n_states, len(here), len(grid)))
        levels[t] = here
        upper_stage(
            problem.house, np.ascontiguousarray(problem.series[:, t]), u.weather_factor,
            u.price_factor, noise, chance, ends, here, here[-1], grid, values[t],
        )  # fmt: skip
    return levels, values


def ends_of(problem: Problem, t: int, here: Floats, levels: Floats, values: Floats) -> Floats:
    """Expected value after period t at its levels, from those of period t + 1: (m, k, n)."""
    if problem.arrives(t + 1):
        k = int(np.argmin(np.abs(levels - problem.visits[t + 1, ARRIVAL_KWH])))
        values = values[:, k : k + 1]
    ends = np.tensordot(problem.uncertainty.transition, values, 1)
    if problem.leaves(t):
        ends = ends + problem.missed(t, here)[:, None]
    return np.ascontiguousarray(ends)


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


def worths(problem: Problem, levels: list[Floats], values: list[Floats], count: int) -> list[Floats]:
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


@dataclass(frozen=True)
class TwoStoreBounds:
    """Upper bound of every period and the certified distance to the lower one at the start.

    Attributes:
        problem: The house-day.
        grid_kwh: Energies of the battery, shape (n,), kWh.
        levels_kwh: Energies of the car in period t, shapes (k,), kWh; one zero while away.
        values: Upper bound at the start of period t, shapes (m, k, n), EUR.
        lower: Lower bound in period 0 at the grid, shape (m, n), EUR.
        gap_eur: Largest distance of the bounds in period 0, over states and charge, EUR.
    """

    problem: Problem
    grid_kwh: Floats
    levels_kwh: list[Floats]
    values: list[Floats]
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
            tolerance_share: Gap as a share of the value of flexibility.
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
        cells, steps, count = _CELLS, _STEPS, _PRICES
        chance = solved.uncertainty.stationary
        left = solved.house[RETENTION] ** solved.series.shape[1] * solved.terminal_price
        grid = np.linspace(0.0, solved.house[CAPACITY], cells + 1)
        levels, values = upper_bound(solved, grid, min(steps, 2))
        for _ in range(_MOST_ROUNDS):
            whole = np.concatenate([v.reshape(-1, v.shape[2]) for v in values])
            grid = place(grid, whole[None], cells)
            levels, values = upper_bound(solved, grid, steps)
            lower = lower_bound(solved, grid, worths(solved, levels, values, count))
            k = 0
            if solved.arrives(0):
                k = int(np.argmin(np.abs(levels[0] - solved.visits[0, ARRIVAL_KWH])))
            gap = distance(values[0][:, k], lower[0], lower[1], lower[2], grid)
            worth = (uncontrolled_eur - left * grid - chance @ values[0][:, k]).min()
            tolerance = tolerance_eur or max(tolerance_share * worth, _LEAST_EUR)
            if gap <= tolerance:
                return cls(solved, grid, levels, values, lower[0].copy(), gap)
            more = min(max(1.2 * (gap / tolerance) ** 0.5, 1.2), 1.8)
            cells, count, steps = int(cells * more**0.6), int(count * more**0.6), int(steps * more)
        raise SolverError(
            f"the certified gap is {gap:.2e} EUR with {len(grid) - 1} cells; expected at most "
            f"{tolerance:.2e}. Pass a larger tolerance_eur."
        )

    def _share(self, t: int, car_kwh: float, levels: Floats) -> tuple[int, int, float]:
        if not self.problem.plugged(t):
            return 0, 0, 0.0
        if not levels[0] - 1e-9 <= car_kwh <= levels[-1] + 1e-9:
            raise StateError(
                f"car_kwh is {car_kwh:g} in period {t}; expected an energy in [{levels[0]:g}, "
                f"{levels[-1]:g}] kWh, what this visit can reach."
            )
        below, share = between(levels, car_kwh)
        return below, min(below + 1, len(levels) - 1), share

    def value(self, t: int, soc_kwh: Floats, car_kwh: float, weights: Floats) -> Floats:
        """See `Tables`."""
        values = np.tensordot(weights, self.values[t], 1)
        if t == len(self.values) - 1:
            here = values[0]
        else:
            below, above, share = self._share(t, car_kwh, self.levels_kwh[t])
            here = (1.0 - share) * values[below] + share * values[above]
        return np.interp(soc_kwh, self.grid_kwh, here)

    def ends(self, t: int) -> Floats:
        """Expected upper bound after period t at its levels, shape (m, k, n)."""
        here, later = self.levels_kwh[t], self.levels_kwh[t + 1]
        return ends_of(self.problem, t, here, later, self.values[t + 1])

    def _function(self, ends: Floats, t: int, car_kwh: float) -> ConvexPiecewiseLinear:
        below, above, share = self._share(t, car_kwh, self.levels_kwh[t])
        if len(ends) == 1:
            below = above = 0
        return ConvexPiecewiseLinear.trusted(
            self.grid_kwh, (1.0 - share) * ends[below] + share * ends[above]
        )

    def after(self, t: int, state: int, car_kwh: float) -> ConvexPiecewiseLinear:
        """See `Tables`."""
        return self._function(self.ends(t)[state], t, car_kwh)

    def ahead(
        self, t: int, state: int, soc_kwh: float, car_kwh: float, kinks_kw: Floats
    ) -> Levels:
        """See `Tables`."""
        ends = self.ends(t)[state]
        if not self.problem.plugged(t):
            return [(0.0, self._function(ends, t, 0.0))]
        house, levels = self.problem.house, self.levels_kwh[t]
        self._share(t, car_kwh, levels)
        room = np.empty(len(levels) + 6)
        # Without limits of the connection: those are the chart's own.
        free = house.copy()
        free[[IMPORT, EXPORT]] = np.inf
        count = car_candidates(free, car_kwh, levels, levels[-1], 0.0, 0.0, room)
        powers = np.unique(room[:count])
        powers = powers[np.concatenate([[True], np.diff(powers) > 1e-9])]
        return [
            (float(u), self._function(ends, t, min(after_car(house, car_kwh, u), levels[-1])))
            for u in powers
        ]

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
        greedy(
            rows, self.problem.house, self.problem.plugged(t), self.ends(t), self.levels_kwh[t],
            self.grid_kwh, soc_kwh, car_kwh, now, state, battery_kw, car_kw,
        )  # fmt: skip
