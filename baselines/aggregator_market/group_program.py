"""Near-exact optimum of an aggregator's or a DSO's day: a table over what is owed.

The state is hour, consumers up, energy owed and price state. What is owed takes very many
values; here it lies on a grid and the value is interpolated between its points.
`group_certificate` solves the same problem without a grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.aggregator_market.group_problem import GroupProblem, Role
from flexgym.envs.aggregator_market.params import HOURS, Day, Group, Herding, Tariffs
from flexgym.envs.errors import ScenarioError, StateError
from flexgym.envs.household.params import Floats

WIDEST_H = 14.0
"""Where the grid ends, hours of the mean load owed; values are extended in straight lines."""


@dataclass(frozen=True, eq=False)
class GroupProgram:
    """A day's best quotes or directives.

    Attributes:
        role: Who acts.
        options: Every quote (EUR/MWh) or directive, shape (a,).
        owed_percent: Grid of energy owed, sum of hourly load times magnetisation, shape (p,), %.
        choice: Position of the best option, shape (24, k, customers + 1, p).
        value_eur: Expected reward of the day, settlement included, EUR; of the interpolated
            recursion, so a little off the exact one.
    """

    role: Role
    options: Floats
    owed_percent: Floats
    choice: NDArray[np.int8]
    value_eur: float

    @property
    def customers(self) -> int:
        """Consumers of the group."""
        return self.choice.shape[2] - 1

    def act(
        self, t: int | NDArray, up: NDArray, owed_percent: NDArray, price_state: NDArray | int
    ) -> Floats:
        """Best quotes (EUR/MWh) or directives; arguments broadcast against each other.

        Args:
            t: Hour, 0 to 23.
            up: Consumers up, before this hour's sweeps.
            owed_percent: Sum of earlier hours' loads times magnetisations, %.
            price_state: State of the real-time price, revealed.

        Raises:
            StateError: There is no such hour, number of consumers or price state.
        """
        hour, n, state = (np.asarray(x) for x in (t, up, price_state))
        shape = self.choice.shape
        for name, got, end in (
            ("t", hour, HOURS),
            ("price_state", state, shape[1]),
            ("up", n, shape[2]),
        ):
            if got.size and not (got.min() >= 0 and got.max() < end):
                raise StateError(
                    f"{name} has values from {got.min()} to {got.max()}; expected 0 to {end - 1}."
                )
        grid = self.owed_percent
        at = np.rint((np.asarray(owed_percent) - grid[0]) / (grid[1] - grid[0]))
        j = np.clip(at, 0, len(grid) - 1).astype(np.int64)
        return self.options[self.choice[hour, state, n, j]]

    def save(self, path: Path | str) -> None:
        """Write the table as a small ``.npz`` file."""
        np.savez_compressed(
            path,
            role=np.array(self.role),
            options=self.options,
            owed_percent=self.owed_percent,
            # Steps between neighbours compress much better than positions.
            choice=np.diff(self.choice, axis=3, prepend=np.int8(0)),
            value_eur=np.array(self.value_eur),
        )

    @classmethod
    def load(cls, path: Path | str) -> GroupProgram:
        """Read a table that `save` wrote."""
        with Path(path).open("rb") as stream, np.load(stream) as parts:
            return cls(
                cast(Role, str(parts["role"])),
                parts["options"],
                parts["owed_percent"],
                np.cumsum(parts["choice"], axis=3, dtype=np.int8),
                float(parts["value_eur"]),
            )


def group_program(
    day: Day,
    herding: Herding,
    tariffs: Tariffs,
    group: Group,
    role: Role = "aggregator",
    points: int = 281,
) -> GroupProgram:
    """Solve a day on a grid of what is owed.

    Args:
        day: Loads and prices.
        herding: How consumers move.
        tariffs: What may be quoted, and what is paid.
        group: The consumers, all coupled to each other.
        role: Who acts.
        points: Size of the grid.

    Raises:
        ScenarioError: The grid has less than two points, or there are too many options.
    """
    problem = GroupProblem(day, herding, tariffs, group, role)
    grid = owed_grid(problem, points)
    if len(problem.options) > np.iinfo(np.int8).max:
        raise ScenarioError(
            f"there are {len(problem.options)} options; expected at most 127. Take a larger step."
        )
    level = problem.level(grid)
    moves = problem.moves(level)
    mean_after = moves.matrices @ problem.magnetisation
    pairs = moves.position[level]  # (points, options)
    order = np.argsort(pairs, axis=None, kind="stable")
    starts = np.flatnonzero(np.diff(pairs.ravel()[order], prepend=-1))
    blocks = np.split(order, starts[1:])
    Z, N, A = len(day.price.factors), group.customers, len(problem.options)
    value = np.broadcast_to(-problem.settlement_eur(grid), (Z, N + 1, points)).copy()
    choice = np.empty((HOURS, Z, N + 1, points), dtype=np.int8)
    gain = np.empty((points * A, N + 1, Z))
    for t in reversed(range(HOURS)):
        ahead = continuation(problem, grid, t, value)
        for block in blocks:
            f, j = pairs.ravel()[block[0]], block // A
            gain[block] = moves.matrices[f] @ ahead[:, :, j].transpose(2, 1, 0)
        total = gain.reshape(points, A, N + 1, Z) - problem.charge_eur[t][:, None, None]
        for s in range(Z):
            allowed = problem.allowed[t, s]
            now = total[:, :allowed, :, s]
            earned = mean_after[pairs[:, :allowed]] * problem.margin_eur[t, s, :allowed, None]
            now = now + earned
            best = now.argmax(axis=1)
            choice[t, s] = best.T
            value[s] = np.take_along_axis(now, best[:, None], axis=1)[:, 0].T
    first = float(value[day.first_state, :, points // 2] @ problem.start)
    return GroupProgram(role, problem.options, grid, choice, first)


def owed_grid(problem: GroupProblem, points: int) -> Floats:
    """Grid of energy owed, symmetric about 0, shape (points,), %."""
    if points < 3 or points % 2 == 0:
        raise ScenarioError(f"points is {points}; expected an odd number >= 3.")
    return float(problem.day.percent.mean()) * np.linspace(-WIDEST_H, WIDEST_H, points)


def continuation(problem: GroupProblem, grid: Floats, t: int, value: Floats) -> Floats:
    """Expected value after an hour, by consumers up then and what was owed before.

    Args:
        problem: The day.
        grid: Energy owed before the hour, shape (p,), %.
        t: Hour.
        value: Of the next hour, shape (k, customers + 1, p).

    Returns:
        Same shape; the state is that of the price in hour t.
    """
    expected = np.tensordot(problem.day.price.matrix, value, axes=1)
    then = grid + problem.day.percent[t] * problem.magnetisation[:, None]
    at = (then - grid[0]) / (grid[1] - grid[0])
    low = np.clip(np.floor(at).astype(np.int64), 0, len(grid) - 2)
    rows = np.arange(len(then))[:, None]
    left, right = expected[:, rows, low], expected[:, rows, low + 1]
    return left + (at - low) * (right - left)
