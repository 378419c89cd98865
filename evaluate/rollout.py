"""Play policies on common random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from flexgym.baselines.household import perfect_foresight
from flexgym.envs.household.dynamics import COST_EUR, COST_TERMS, OUTCOME_NAMES
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.base import HouseholdPolicy

_CHUNK = 64


@dataclass(frozen=True)
class HouseDays:
    """What is played: house i of the pool on day i with random numbers of seed + i.

    Attributes:
        scenario: The pool.
        house: Positions in the pool, shape (n,).
        day: Days, shape (n,).
        seed: First seed.
    """

    scenario: HouseholdScenario
    house: NDArray[np.int64]
    day: NDArray[np.int64]
    seed: int

    @classmethod
    def sample(cls, scenario: HouseholdScenario, n: int, seed: int) -> HouseDays:
        """Sample n house-days that spread evenly over the pool's houses and days."""
        rng = np.random.default_rng([n, seed])

        def spread(values: NDArray[np.int64]) -> NDArray[np.int64]:
            rounds = [rng.permutation(values) for _ in range(-(-n // len(values)))]
            return np.concatenate(rounds)[:n]

        return cls(scenario, spread(np.arange(len(scenario.houses))), spread(scenario.days), seed)

    def __len__(self) -> int:
        return len(self.house)

    def begin(self, part: slice, **settings: str) -> HouseholdSimulation:
        """Simulation at the start of these house-days."""
        house = self.house[part]
        first = self.seed + (part.start or 0)
        rngs = [seeding.np_random(first + i)[0] for i in range(len(house))]
        simulation = HouseholdSimulation(self.scenario, len(house), **settings)
        simulation.begin(rngs, {"house": house, "day": self.day[part]})
        return simulation


@dataclass(frozen=True)
class Costs:
    """Cost of each house-day.

    Attributes:
        policy: Name of the policy.
        cost_eur: Shape (n,), EUR.
        terms: Its terms by name, each shape (n,), EUR.
    """

    policy: str
    cost_eur: Floats
    terms: dict[str, Floats]


def rollout(
    policy: HouseholdPolicy,
    house_days: HouseDays,
    progress: Callable[[int], None] | None = None,
) -> Costs:
    """Cost of every house-day under a policy.

    Args:
        policy: The policy.
        house_days: What to play.
        progress: Called with the number of house-days finished since the last call.
    """
    totals = np.zeros((len(house_days), len(OUTCOME_NAMES)))
    for start in range(0, len(house_days), _CHUNK):
        part = slice(start, min(start + _CHUNK, len(house_days)))
        simulation = house_days.begin(part, **policy.settings)
        policy.begin(simulation)
        for _ in range(STEPS_PER_DAY):
            totals[part] += simulation.step(policy.act(simulation))
        if progress:
            progress(part.stop - part.start)
    terms = {name: totals[:, OUTCOME_NAMES.index(name)] for name in COST_TERMS}
    return Costs(policy.name, totals[:, COST_EUR], terms)


def trace(
    policy: HouseholdPolicy, house_days: HouseDays, index: int
) -> tuple[HouseholdSimulation, Floats]:
    """One house-day in full: the simulation and its outcomes, shape (T, 17)."""
    simulation = house_days.begin(slice(index, index + 1), **policy.settings)
    policy.begin(simulation)
    outcomes = [simulation.step(policy.act(simulation))[0] for _ in range(STEPS_PER_DAY)]
    return simulation, np.stack(outcomes)


def foresight_costs(house_days: HouseDays, progress: Callable[[int], None] | None = None) -> Costs:
    """Cost of every house-day had it been known in advance: a bound, not a policy."""
    cost = np.empty(len(house_days))
    for i in range(len(house_days)):
        simulation = house_days.begin(slice(i, i + 1))
        cost[i] = perfect_foresight(
            simulation.house(),
            simulation.realised_series(),
            soc_kwh=float(simulation.soc_kwh[0]),
            terminal_eur_per_kwh=float(simulation.episodes.terminal_price[0]),
        ).cost_eur
        if progress:
            progress(1)
    return Costs("perfect foresight", cost, {})
