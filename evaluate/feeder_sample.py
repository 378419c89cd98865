"""Feeder-days and what happened on them: common random numbers for all policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from flexgym.envs.feeder.accounts import (
    FEEDER_COST,
    FEEDER_NAMES,
    HIGHEST_PU,
    LINE_PERCENT,
    LOWEST_PU,
    TRAFO_PERCENT,
    VIOLATION_H,
)
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.grid.tolerance import CLEAN_PERCENT, CLEAN_PU
from flexgym.envs.household.params import Floats
from flexgym.policies.feeder import FeederPolicy


@dataclass(frozen=True)
class FeederDays:
    """What is played: draw i of the houses on day i with random numbers of seed + i.

    Attributes:
        scenario: Grid, houses and days.
        draw: Draws of the houses, shape (n,).
        day: Days, shape (n,).
        seed: First seed.
    """

    scenario: FeederScenario
    draw: NDArray[np.int64]
    day: NDArray[np.int64]
    seed: int

    @classmethod
    def sample(cls, scenario: FeederScenario, n: int, seed: int) -> FeederDays:
        """Sample n feeder-days that spread evenly over the draws and days."""
        rng = np.random.default_rng([n, seed])

        def spread(values: NDArray[np.int64]) -> NDArray[np.int64]:
            rounds = [rng.permutation(values) for _ in range(-(-n // len(values)))]
            return np.concatenate(rounds)[:n]

        return cls(scenario, spread(np.arange(scenario.draws)), spread(scenario.homes.days), seed)

    def __len__(self) -> int:
        return len(self.day)

    def begin(self, part: slice, **settings: Any) -> FeederSimulation:
        """Simulation at the start of these feeder-days."""
        day = self.day[part]
        first = self.seed + (part.start or 0)
        rngs = [seeding.np_random(first + i)[0] for i in range(len(day))]
        chosen: dict[str, Any] = {"observation": "compact", **settings}
        simulation = FeederSimulation(self.scenario, len(day), **chosen)
        simulation.begin(rngs, {"draw": self.draw[part], "day": day})
        return simulation


@dataclass(frozen=True)
class Days:
    """What happened on each feeder-day under a policy.

    Attributes:
        policy: Its name.
        totals: Shape (n, names), columns `FEEDER_NAMES`.
        grid_kw: Power drawn from the grid above, shape (n, T), kW.
        violated: Whether a limit was violated, shape (n, T).
        band_pu: Voltage band of the scenario.
        figures: Further numbers by name, each shape (n,).
    """

    policy: str
    totals: Floats
    grid_kw: Floats
    violated: NDArray[np.bool_]
    band_pu: tuple[float, float]
    figures: Mapping[str, Floats] = field(default_factory=dict)

    def total(self, name: str) -> Floats:
        """One of `FEEDER_NAMES`, shape (n,)."""
        return self.totals[:, FEEDER_NAMES.index(name)]

    @property
    def cost_eur(self) -> Floats:
        """Social cost, shape (n,), EUR."""
        return self.totals[:, FEEDER_COST]

    @property
    def broken(self) -> dict[str, NDArray[np.bool_]]:
        """Whether any limit, the band, a line or a transformer was violated, each shape (n,)."""
        low, high = self.band_pu
        full = 100.0 + CLEAN_PERCENT
        voltage = self.totals[:, HIGHEST_PU] > high + CLEAN_PU
        voltage |= self.totals[:, LOWEST_PU] < low - CLEAN_PU
        return {
            "any": self.totals[:, VIOLATION_H] > 0.0,
            "voltage": voltage,
            "line": self.totals[:, LINE_PERCENT] > full,
            "trafo": self.totals[:, TRAFO_PERCENT] > full,
        }


def trace(policy: FeederPolicy, days: FeederDays, index: int) -> tuple[FeederSimulation, tuple]:
    """One feeder-day in full: the simulation, and its voltages and loadings by period.

    Returns:
        The simulation at the end; voltages (T, buses), loadings of lines (T, lines) and of
        transformers (T, trafos).
    """
    simulation = days.begin(slice(index, index + 1), **policy.settings)
    policy.begin(simulation)
    seen: list[tuple[Floats, Floats, Floats]] = []
    while not simulation.done:
        simulation.step(policy.act(simulation))
        loadings = simulation.line_loading_percent[0], simulation.trafo_loading_percent[0]
        seen.append((simulation.v_pu[0], *loadings))
    return simulation, tuple(np.stack(column) for column in zip(*seen, strict=True))
