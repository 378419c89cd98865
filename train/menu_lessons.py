"""Lessons of learned menus, and the two teachers that give them.

- `solutions`: the solution of training houses on the forecast's chains.
- `experience`: what a drawn day was worth, by exact Bellman steps of what happened in it. Over a
  horizon of a whole day that is hindsight: it teaches fast, but knows too much. Over a shorter one
  the network's own answer stands at its end, over one period alone no future is known. It needs
  the house's own physics and tariff, never the probability of anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.household.two_store_bounds import ends_of, first_levels, upper_bound
from flexgym.baselines.household.two_store_problem import Problem
from flexgym.envs.household.dynamics import CAPACITY, VISIT_ROWS
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.scenario import Episodes, HouseholdScenario
from flexgym.policies import menu_tables
from flexgym.policies.menu_inputs import (
    CELLS,
    INPUTS,
    LEVELS,
    STEPS,
    Singles,
    inputs_of,
    standing,
    with_state,
)
from flexgym.policies.menu_network import MenuNetwork
from flexgym.policies.menu_plan import fill_answers
from flexgym.train import menu_targets

T = STEPS_PER_DAY
_GRID = 32
"""Cells of the battery in solutions."""
_SHARES = 3
"""Energies of the car in solutions, for each that full power reaches."""


@dataclass(frozen=True)
class Lessons:
    """Inputs and what the network should say to them.

    Attributes:
        inputs: Where the car does not stay, shape (a, INPUTS).
        slopes: Slopes of the cost-to-go there, shape (a, CELLS), EUR/kWh.
        both_inputs: Where it stays, shape (b, INPUTS).
        tables: Cost-to-go there up to a constant, shape (b, STEPS + 1, CELLS + 1), EUR.
        sizes: Cells of battery and car, shape (b, 2), kWh.
    """

    inputs: Singles
    slopes: Singles
    both_inputs: Singles
    tables: Singles
    sizes: Singles

    @classmethod
    def pick(cls, rows: Floats, visits: Floats, inputs: Singles, tables: Floats) -> Lessons:
        """From inputs (T - 1, n, INPUTS) and tables (T - 1, n, LEVELS, CELLS + 1)."""
        shape = tables.shape[:2]
        slopes, sizes = np.empty((*shape, CELLS)), np.empty((*shape, 2))
        values = np.empty((*shape, STEPS + 1, CELLS + 1))
        menu_targets.gather(rows, np.ascontiguousarray(visits), tables, slopes, values, sizes)
        stay = sizes[..., 1] > 0.0
        found = values[stay]
        found -= found[:, -1:, CELLS // 2, None]
        single = np.float32
        return cls(
            inputs[~stay], slopes[~stay].astype(single), inputs[stay], found.astype(single),
            sizes[stay].astype(single),
        )  # fmt: skip


class Memory:
    """The latest lessons, mixed.

    Args:
        room: How many of each kind are kept.
    """

    def __init__(self, room: int) -> None:
        shapes = ((INPUTS,), (CELLS,)), ((INPUTS,), (STEPS + 1, CELLS + 1), (2,))
        self._kinds = [[np.empty((room, *s), dtype=np.float32) for s in kind] for kind in shapes]
        self._at, self.counts = [0, 0], [0, 0]

    def add(self, lessons: Lessons) -> None:
        """Keep these, forget the oldest."""
        given = (
            (lessons.inputs, lessons.slopes),
            (lessons.both_inputs, lessons.tables, lessons.sizes),
        )
        for k, (arrays, kept) in enumerate(zip(given, self._kinds, strict=True)):
            room = len(kept[0])
            n = min(len(arrays[0]), room)
            places = (self._at[k] + np.arange(n)) % room
            for array, target in zip(arrays, kept, strict=True):
                target[places] = array[-n:] if n else array
            self._at[k] = (self._at[k] + n) % room
            self.counts[k] = min(self.counts[k] + n, room)

    def inputs(self) -> Singles:
        """Inputs of all lessons kept, shape (n, INPUTS)."""
        kept = zip(self._kinds, self.counts, strict=True)
        return np.concatenate([arrays[0][:count] for arrays, count in kept])

    def sample(self, kind: int, n: int, rng: np.random.Generator) -> list[Singles]:
        """Random ones of a kind (0: the car does not stay, 1: it stays)."""
        at = rng.integers(self.counts[kind], size=n)
        return [array[at] for array in self._kinds[kind]]


def draw(scenario: HouseholdScenario, n: int, rng: np.random.Generator) -> Episodes:
    """House-days of a scenario, with what happens in them."""
    return scenario.draw(rng.random((n, scenario.draws)))


def _inputs_along(scenario: HouseholdScenario, episodes: Episodes) -> Singles:
    """Inputs at the ends of periods 0 to T - 2 as the state went, shape (T - 1, n, INPUTS)."""
    inputs = inputs_of(
        episodes.rows, episodes.forecast, episodes.visits, episodes.terminal_price
    ).transpose(1, 0, 2)
    state, u = episodes.state[: T - 1], scenario.uncertainty
    with_state(inputs, u.weather_factor[state], u.price_factor[state])
    return inputs


def experience(
    scenario: HouseholdScenario,
    n: int,
    rng: np.random.Generator,
    network: MenuNetwork,
    horizon: int = 1,
) -> Lessons:
    """Lessons of what happened in n house-days; see the module.

    Args:
        scenario: Houses and days to draw from; its probabilities are not read.
        n: House-days.
        rng: Of what is drawn.
        network: The network as it stands.
        horizon: Periods after which its answer is taken; from a day on it is not asked.
    """
    episodes = draw(scenario, n, rng)
    rows, visits = standing(episodes.rows), np.ascontiguousarray(episodes.visits)
    inputs = _inputs_along(scenario, episodes)
    fresh = np.zeros(T, dtype=bool)
    if horizon < T:
        fresh[rng.integers(horizon) :: horizon] = True
    tables = backed(network, rows, visits, inputs, episodes, fresh)
    return Lessons.pick(rows, visits, inputs, tables)


def backed(
    network: MenuNetwork,
    rows: Floats,
    visits: Floats,
    inputs: Singles,
    episodes: Episodes,
    fresh: NDArray[np.bool_],
) -> Floats:
    """Tables of periods 0 to T - 2 by steps back along what happened.

    Args:
        network: The network.
        rows: Houses with capacity > 0, shape (n, 18).
        visits: The cars' visits, shape (T, 5, n) or (T, 5, 0).
        inputs: At the ends of periods 0 to T - 2, shape (T - 1, n, INPUTS).
        episodes: What happened.
        fresh: Periods at whose end the network is asked, shape (T,).

    Returns:
        Shape (T - 1, n, LEVELS, CELLS + 1), not closed, EUR.
    """
    n = len(rows)
    slopes, prices = np.zeros((T, n, STEPS + 1, CELLS)), np.zeros((T, n, STEPS))
    asked = np.flatnonzero(fresh[: T - 1])
    if asked.size:
        stay = np.stack([menu_tables.staying(rows, visits[t], t) for t in asked])
        found, worth = np.zeros((len(asked) * n, STEPS + 1, CELLS)), prices[asked]
        worth = worth.reshape(-1, STEPS)
        fill_answers(network, inputs[asked].reshape(-1, INPUTS), stay.ravel(), found, worth)
        slopes[asked] = found.reshape(-1, n, STEPS + 1, CELLS)
        prices[asked] = worth.reshape(-1, n, STEPS)
    # What is left at the day's end has its price.
    slopes[T - 1] = -episodes.terminal_price[:, None, None]
    ends = fresh.copy()
    ends[T - 1] = True
    tables = np.zeros((T - 1, n, LEVELS, CELLS + 1))
    menu_targets.back_along(rows, visits, episodes.exogenous, slopes, prices, ends, tables)
    return tables


def solutions(scenario: HouseholdScenario, n: int, rng: np.random.Generator) -> Lessons:
    """Lessons of solved house-days, in a few Markov states each; see the module."""
    episodes = draw(scenario, n, rng)
    several = min(3, scenario.uncertainty.n_states)
    parts = []
    inputs = inputs_of(
        episodes.rows, episodes.forecast, episodes.visits, episodes.terminal_price
    ).transpose(1, 0, 2)
    for i in range(n):
        states = rng.permuted(
            np.tile(np.arange(scenario.uncertainty.n_states), (T - 1, 1)), axis=1
        )[:, :several]
        parts.append(_solved(scenario, episodes, i, states, inputs[:, i]))
    return Lessons(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("inputs", "slopes", "both_inputs", "tables", "sizes")
        )
    )


def _solved(
    scenario: HouseholdScenario,
    episodes: Episodes,
    i: int,
    states: NDArray[np.int64],
    inputs: Singles,
) -> Lessons:
    """Lessons of one house-day in these states of each period, shape (T - 1, k)."""
    u, row = scenario.uncertainty, standing(episodes.rows[i : i + 1])
    problem = problem_of(scenario, episodes, i)
    visits = episodes.visits[:, :, i : i + 1]
    grid = np.linspace(0.0, row[0, CAPACITY], _GRID + 1)
    energies = first_levels(problem, _SHARES)
    values = upper_bound(problem, grid, energies)
    k = states.shape[1]
    tables, levels = np.zeros((T - 1, k, LEVELS, CELLS + 1)), np.empty(LEVELS)
    for t in range(T - 1):
        ends, known = ends_of(problem, t, energies[t + 1], values[t + 1])
        first, count = menu_tables.table_levels(row[0], problem.visits[t], t, levels)
        for j, s in enumerate(states[t]):
            menu_tables.resample(
                ends[s], known, grid, levels[first : first + count].copy(),
                tables[t, j, first : first + count],
            )  # fmt: skip
    seen = np.repeat(inputs[:, None], k, axis=1)
    with_state(seen, u.weather_factor[states], u.price_factor[states])
    return Lessons.pick(np.repeat(row, k, axis=0), np.repeat(visits, k, axis=2), seen, tables)


def problem_of(scenario: HouseholdScenario, episodes: Episodes, i: int) -> Problem:
    """The house-day of an episode as the solver's kernels read it."""
    if episodes.visits.shape[2]:
        visits = np.ascontiguousarray(episodes.visits[:, :, i])
    else:
        visits = np.zeros((T, VISIT_ROWS))
        visits[:, :2] = np.inf
    return Problem(
        standing(episodes.rows[i : i + 1])[0],
        np.ascontiguousarray(episodes.forecast[:, :, i].T),
        visits,
        float(episodes.terminal_price[i]),
        scenario.uncertainty,
    )
