"""A feeder-day that is known in advance, as the references of the feeder take it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.feeder.draw import world_of
from flexgym.envs.feeder.homes import homes_of
from flexgym.envs.feeder.params import GridCosts
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.grid import Network
from flexgym.envs.household.params import Floats, House, Series

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FeederDay:
    """What happens on a feeder on one day, and what it costs.

    Attributes:
        network: The grid.
        house_bus: Column of ``network.bus_index`` of each house, shape (H,).
        rating_kva: Rating of each branch (lines, then transformers) at nominal voltage.
        houses: The houses.
        series: What happens around each, T periods.
        soc_kwh: States of charge at the start, shape (H,), kWh.
        terminal_eur_per_kwh: Pay for energy left in the batteries, shape (H,), EUR/kWh.
        band_pu: Lowest and highest voltage allowed, pu.
        costs: Prices of losses and violated limits.
    """

    network: Network
    house_bus: Ints
    rating_kva: Floats
    houses: tuple[House, ...]
    series: tuple[Series, ...]
    soc_kwh: Floats
    terminal_eur_per_kwh: Floats
    band_pu: tuple[float, float]
    costs: GridCosts

    @classmethod
    def of(cls, simulation: FeederSimulation, feeder: int = 0) -> FeederDay:
        """The day of one feeder of a simulation that stands at its start."""
        scenario = simulation.scenario
        homes = homes_of(simulation)
        rows = range(feeder * scenario.n_houses, (feeder + 1) * scenario.n_houses)
        return cls(
            scenario.network,
            scenario.house_bus,
            _ratings(scenario),
            tuple(homes.house(i) for i in rows),
            tuple(homes.realised_series(i) for i in rows),
            homes.soc_kwh[rows].copy(),
            homes.episodes.terminal_price[rows].copy(),
            scenario.band_pu,
            scenario.costs,
        )

    @property
    def periods(self) -> int:
        """Number of periods, T."""
        return len(self.series[0])

    @cached_property
    def at_bus(self) -> Floats:
        """Shape (H, bus): 1 where a house stands on a bus."""
        places = np.zeros((len(self.houses), self.network.n_bus))
        places[np.arange(len(self.houses)), self.house_bus] = 1.0
        return places

    def reactive_kvar(self, unserved_kw: Floats | float = 0.0) -> Floats:
        """Reactive power of what the houses consume, shape (H, T), kvar."""
        load = np.stack([series.load_kw for series in self.series])
        tan_phi = np.array([house.load.tan_phi for house in self.houses])
        return tan_phi[:, None] * (load - unserved_kw)


def _ratings(scenario: FeederScenario) -> Floats:
    rating, network = world_of(scenario).rating_kva, scenario.network
    return np.concatenate([rating[network.line_element], rating[network.trafo_element]])
