"""Stochastic cost-to-go between an upper and a lower piecewise-linear bound.

The exact expectation over Markov states grows exponentially, so every function is pruned to
a grid of N cells over the state of charge. Chords through the grid points never lie below a
convex function, tangents at them never above it, and the Bellman operator is monotone: two
backward passes, one with chords and one with tangents, enclose the exact value. Between
prunings each step is exact (slope merging). The error falls with N squared; N is raised
until the certified gap is small enough. The policy that is greedy with respect to the upper
bound costs at most that bound (Bertsekas, Dynamic Programming and Optimal Control, vol. 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.baselines.household.tables import Functions, OneStore
from flexgym.envs.charts.recursion import convolve
from flexgym.envs.compiled import compiled
from flexgym.envs.errors import SolverError
from flexgym.envs.household.dynamics import CAPACITY, PV_KWP, RETENTION
from flexgym.envs.household.params import Floats
from flexgym.envs.household.stage import STAGE_PIECES, stage_cost
from flexgym.envs.uncertainty import Uncertainty, realised_pv

_COARSE = 128
_CELLS = 640
_MOST_CELLS = 8192


@compiled
def sample(value, slopes, lengths, count, grid, out_value, out_left, out_right, weight):
    """Add weight times value, left and right slope at the grid points to the outputs."""
    k = 0
    start = 0.0
    here = value
    for j in range(len(out_value)):
        e = grid[j]
        while k < count - 1 and start + lengths[k] <= e - 1e-12:
            here += slopes[k] * lengths[k]
            start += lengths[k]
            k += 1
        out_value[j] += weight * (here + slopes[k] * (e - start))
        right = k
        if k < count - 1 and start + lengths[k] <= e + 1e-12:
            right = k + 1
        out_left[j] += weight * slopes[k]
        out_right[j] += weight * slopes[right]


@compiled
def tangents(value, left, right, grid, slopes, lengths):
    """Segments of the greatest of the tangents at the grid points; returns their number."""
    n = 0
    for j in range(len(value) - 1):
        rise = value[j + 1] - value[j]
        cell = grid[j + 1] - grid[j]
        a, b = right[j], left[j + 1]
        if b - a > 1e-13:
            first = min(max((rise - b * cell) / (a - b), 0.0), cell)
            slopes[n], lengths[n] = a, first
            slopes[n + 1], lengths[n + 1] = b, cell - first
            n += 2
        else:
            slopes[n], lengths[n] = rise / cell, cell
            n += 1
    return n


@compiled
def _backward(house, series, terminal, weather, price, transition, noise, chance, grid, lower):
    """Backward pass of one bound: values (T + 1, m, N + 1), left and right slopes in period 0."""
    T = series.shape[1]
    m = len(weather)
    points = len(grid)
    cells = points - 1
    values = np.zeros((T + 1, m, points))
    left = np.zeros((m, points))
    right = np.zeros((m, points))
    for s in range(m):
        for j in range(points):
            values[T, s, j] = -terminal * grid[j]
            left[s, j] = -terminal
            right[s, j] = -terminal
    psi_slopes, psi_lengths = np.empty(STAGE_PIECES), np.empty(STAGE_PIECES)
    size = 2 * cells + STAGE_PIECES + 2
    slopes, lengths = np.empty(size), np.empty(size)
    merged, widths = np.empty(size), np.empty(size)
    for t in range(T - 1, -1, -1):
        ends = transition @ values[t + 1]
        ends_left = transition @ left
        ends_right = transition @ right
        left[:] = 0.0
        right[:] = 0.0
        for s in range(m):
            if lower:
                count = tangents(ends[s], ends_left[s], ends_right[s], grid, slopes, lengths)
            else:
                count = cells
                for j in range(cells):
                    lengths[j] = grid[j + 1] - grid[j]
                    slopes[j] = (ends[s, j + 1] - ends[s, j]) / lengths[j]
            pv = realised_pv(weather[s], series[1, t], house[PV_KWP])
            for k in range(len(noise)):
                n_psi, psi_low, psi_cost = stage_cost(
                    house, series[0, t] * noise[k], 0.0, pv, series[2, t] * price[s], series[3, t],
                    psi_slopes, psi_lengths,
                )  # fmt: skip
                start, n = convolve(
                    house[RETENTION], house[CAPACITY], ends[s, 0], slopes, lengths, 0, count,
                    psi_slopes, psi_lengths, n_psi, psi_low, psi_cost, merged, widths, 0,
                )  # fmt: skip
                sample(start, merged, widths, n, grid, values[t, s], left[s], right[s], chance[k])
    return values, left, right


def place(grid: Floats, values: Floats, cells: int) -> Floats:
    """Grid of ``cells`` cells that is dense where the functions bend.

    The error of a chord grows with curvature times length squared, so the density follows
    the square root of the mean curvature; a fifth is spread evenly.
    """
    length = np.diff(grid)
    jump = np.abs(np.diff(np.diff(values, axis=2) / length, axis=2)).mean(axis=(0, 1))
    bend = np.sqrt(2.0 * jump / (length[1:] + length[:-1]))
    density = np.concatenate([bend[:1], 0.5 * (bend[1:] + bend[:-1]), bend[-1:]])
    mass = density * length
    total = mass.sum()
    share = length / grid[-1]
    mass = 0.8 * mass / total + 0.2 * share if total > 0 else share
    cumulated = np.concatenate([[0.0], np.cumsum(mass)])
    placed = np.interp(np.linspace(0.0, cumulated[-1], cells + 1), cumulated, grid)
    placed[0], placed[-1] = 0.0, grid[-1]
    return placed


@dataclass(frozen=True)
class Bounds(OneStore):
    """Upper bound of every period and the certified distance to the lower one at the start.

    Attributes:
        grid_kwh: Grid over the state of charge, shape (N + 1,), kWh.
        values: Upper bound at the grid points, shape (T + 1, m, N + 1), EUR.
        lower: Lower bound at the grid points in period 0, shape (m, N + 1), EUR.
        transition: Transition matrix, shape (m, m).
        gap_eur: Largest distance of the bounds in period 0, over states and charge, EUR.
    """

    grid_kwh: Floats
    values: Floats
    lower: Floats
    transition: Floats
    gap_eur: float

    @classmethod
    def solve(
        cls,
        house: Floats,
        series: Floats,
        terminal_price: float,
        uncertainty: Uncertainty,
        tolerance_eur: float,
    ) -> Bounds:
        """Refine the grid until the certified gap is at most ``tolerance_eur``.

        Raises:
            SolverError: 8192 cells were not enough.
        """
        problem = (
            house, series, float(terminal_price), uncertainty.weather_factor,
            uncertainty.price_factor, uncertainty.transition,
            np.array(uncertainty.load_factors, dtype=np.float64),
            np.array(uncertainty.load_probabilities, dtype=np.float64),
        )  # fmt: skip
        grid = np.linspace(0.0, house[CAPACITY], _COARSE + 1)
        values, _, _ = _backward(*problem, grid, False)
        cells = _CELLS
        while True:
            grid = place(grid, values, cells)
            values, _, _ = _backward(*problem, grid, False)
            lower, left, right = _backward(*problem, grid, True)
            gap = distance(values[0], lower[0], left, right, grid)
            if gap <= tolerance_eur:
                return cls(grid, values, lower[0].copy(), problem[5], gap)
            if cells >= _MOST_CELLS:
                raise SolverError(
                    f"the certified gap is {gap:.2e} EUR with {cells} cells; expected at most "
                    f"{tolerance_eur:.2e}. Pass a larger tolerance_eur."
                )
            cells = int(
                min(np.ceil(cells * 1.2 * max(1.0, (gap / tolerance_eur) ** 0.7)), _MOST_CELLS)
            )

    def before(self, t: int) -> Functions:
        """See `OneStore`."""
        return self._piecewise(self.values[t])

    def functions_after(self, t: int) -> Functions:
        """See `OneStore`."""
        return self._piecewise(self.transition @ self.values[t + 1])

    def _piecewise(self, values: Floats) -> Functions:
        length = np.diff(self.grid_kwh)
        shape = (len(values), len(length))
        return values[:, 0], np.diff(values, axis=1) / length, np.broadcast_to(length, shape)


def distance(upper: Floats, lower: Floats, left: Floats, right: Floats, grid: Floats) -> float:
    """Largest distance of chords above tangents: at a grid point or where tangents cross."""
    worst = float((upper - lower).max())
    a, b = right[:, :-1], left[:, 1:]
    cell, rise = np.diff(grid), np.diff(lower, axis=1)
    bend = b - a > 1e-13
    first = np.where(bend, (rise - b * cell) / np.where(bend, a - b, 1.0), 0.0).clip(0.0, cell)
    at_crossing = lower[:, :-1] + a * first
    chord = upper[:, :-1] + np.diff(upper, axis=1) * (first / cell)
    return max(worst, float((chord - at_crossing).max()))
