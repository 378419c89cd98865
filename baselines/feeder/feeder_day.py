"""A feeder-day that is known in advance, and what the grid says of powers on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.errors import StateError
from flexgym.envs.feeder.draw import world_of
from flexgym.envs.feeder.homes import homes_of
from flexgym.envs.feeder.params import GridCosts
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.grid import Network, RadialPowerFlow
from flexgym.envs.household.params import DT_H, Floats, House, Series, Session
from flexgym.envs.household.simulation import HouseholdSimulation

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FeederGrid(ABC):
    """What is known of a feeder without its houses.

    Attributes:
        network: The grid.
        house_bus: Column of ``network.bus_index`` of each house, shape (H,).
        rating_kva: Rating of each branch (lines, then transformers) at nominal voltage.
        band_pu: Lowest and highest voltage allowed, pu.
        costs: Prices of losses and violated limits.
    """

    network: Network
    house_bus: Ints
    rating_kva: Floats
    band_pu: tuple[float, float]
    costs: GridCosts

    @property
    @abstractmethod
    def periods(self) -> int:
        """Number of periods, T."""

    @property
    @abstractmethod
    def connection_kw(self) -> Floats:
        """Most power that each house may draw or feed in, shape (H,), kW."""

    @cached_property
    def at_bus(self) -> Floats:
        """Shape (H, bus): 1 where a house stands on a bus."""
        places = np.zeros((len(self.house_bus), self.network.n_bus))
        places[np.arange(len(self.house_bus)), self.house_bus] = 1.0
        return places

    @cached_property
    def counted(self) -> Ints:
        """Columns of the buses whose voltage counts: one a node, the slack's left out."""
        nodes, first = np.unique(self.network.bus_node, return_index=True)
        return first[nodes > 0]

    def check(self, meter_kw: Floats, meter_kvar: Floats) -> GridCheck:
        """The AC power flow of active and reactive powers at the meters, shape (H, T)."""
        p_kw, q_kvar = meter_kw.T @ self.at_bus, meter_kvar.T @ self.at_bus
        flow = RadialPowerFlow(self.network).solve(p_kw, q_kvar)
        loading = np.hstack([flow.line_loading_percent, flow.trafo_loading_percent])
        low, high = self.band_pu
        excess = np.zeros_like(flow.v_pu)
        v = flow.v_pu[:, self.counted]
        excess[:, self.counted] = np.maximum(np.maximum(v - high, low - v), 0.0)
        overload = np.maximum(loading / 100.0 - 1.0, 0.0) * self.rating_kva
        return GridCheck(p_kw, q_kvar, flow.v_pu, loading, flow.losses_kw, excess, overload)


@dataclass(frozen=True, eq=False)
class FeederDay(FeederGrid):
    """What happens on a feeder on one day, and what it costs.

    Attributes:
        houses: The houses.
        series: What happens around each, T periods.
        soc_kwh: States of charge at the start, shape (H,), kWh.
        terminal_eur_per_kwh: Pay for energy left in the batteries, shape (H,), EUR/kWh.
    """

    houses: tuple[House, ...]
    series: tuple[Series, ...]
    soc_kwh: Floats
    terminal_eur_per_kwh: Floats

    @classmethod
    def of(cls, simulation: FeederSimulation, feeder: int = 0) -> FeederDay:
        """The day of one feeder of a simulation that stands at its start."""
        return cls.of_homes(simulation.scenario, homes_of(simulation), feeder)

    @classmethod
    def of_homes(
        cls, scenario: FeederScenario, homes: HouseholdSimulation, feeder: int = 0
    ) -> FeederDay:
        """The day of one feeder as its houses know it: all of it, whatever the time.

        Args:
            scenario: The feeder.
            homes: The houses of feeders, row ``i * H + h``, with the energies that they have.
            feeder: Which feeder, i.
        """
        rows = range(feeder * scenario.n_houses, (feeder + 1) * scenario.n_houses)
        return cls(
            scenario.network,
            scenario.house_bus,
            _ratings(scenario),
            scenario.band_pu,
            scenario.costs,
            tuple(homes.house(i) for i in rows),
            tuple(homes.realised_series(i) for i in rows),
            homes.soc_kwh[rows].copy(),
            homes.episodes.terminal_price[rows].copy(),
        )

    def rest(self, start: int, soc_kwh: Floats, car_kwh: Floats) -> FeederDay:
        """What is left of the day, as a day of its own: sessions keep what they need.

        Args:
            start: The period it begins with, 0 to T - 1.
            soc_kwh: States of charge then, shape (H,), kWh.
            car_kwh: Energies in the cars then, shape (H,), kWh: read where a car has come
                before.

        Raises:
            StateError: There is no such period, or not one energy a house.
        """
        houses = (len(self.houses),)
        soc_kwh, car_kwh = np.asarray(soc_kwh, float), np.asarray(car_kwh, float)
        if not 0 <= start < self.periods or {soc_kwh.shape, car_kwh.shape} != {houses}:
            raise StateError(
                f"start is {start}, with energies of shapes {soc_kwh.shape} and {car_kwh.shape}; "
                f"expected a period from 0 to {self.periods - 1} and {houses} for both."
            )
        series = (
            _rest_of(each, start, float(stored))
            for each, stored in zip(self.series, car_kwh, strict=True)
        )
        return replace(self, series=tuple(series), soc_kwh=soc_kwh)

    @property
    def periods(self) -> int:
        """Number of periods, T."""
        return len(self.series[0])

    @property
    def connection_kw(self) -> Floats:
        """See `FeederGrid`."""
        return np.array([max(h.import_limit_kw, h.export_limit_kw) for h in self.houses])

    @property
    def _tan_phi(self) -> Floats:
        return np.array([[house.load.tan_phi] for house in self.houses])

    def meter_kvar(self, unserved_kw: Floats | float = 0.0) -> Floats:
        """Reactive power at the meters, shape (H, T), kvar, where some load is unserved."""
        load = np.stack([series.load_kw for series in self.series])
        return self._tan_phi * (load - unserved_kw)

    def judge(self, meter_kw: Floats, unserved_kw: Floats) -> GridCheck:
        """The AC power flow of powers at the meters.

        Args:
            meter_kw: Shape (H, T), kW, import positive.
            unserved_kw: Load left unserved, shape (H, T), kW.
        """
        return self.check(meter_kw, self.meter_kvar(unserved_kw))

    def power_flow(self, meter_kw: Floats, served_kw: Floats) -> GridCheck:
        """The AC power flow of powers at the meters beside consumption, each shape (H, T), kW."""
        return self.check(meter_kw, self._tan_phi * served_kw)


@dataclass(frozen=True, eq=False)
class GridCheck:
    """What the AC power flow says; NaN in periods without a solution.

    Attributes:
        p_kw: Active power drawn at each bus, shape (T, bus), kW.
        q_kvar: Reactive power, likewise.
        v_pu: Voltages, shape (T, bus), pu.
        loading_percent: Loading of lines, then transformers, shape (T, branch), %.
        losses_kw: Losses, shape (T,), kW.
        excess_pu: How far voltages lie outside the band, shape (T, bus); 0 at the slack's bus
            and at all but one bus of those that switches join.
        overload_kva: Apparent power above ratings, shape (T, branch), kVA.
    """

    p_kw: Floats
    q_kvar: Floats
    v_pu: Floats
    loading_percent: Floats
    losses_kw: Floats
    excess_pu: Floats
    overload_kva: Floats

    def costs_eur(self, costs: GridCosts) -> tuple[float, float, float]:
        """Cost of losses, of voltages outside the band and of overload, EUR."""
        return (
            float(DT_H * costs.loss_eur_per_kwh * self.losses_kw.sum()),
            float(DT_H * costs.voltage_eur_per_pu_h * self.excess_pu.sum()),
            float(DT_H * costs.overload_eur_per_kwh * self.overload_kva.sum()),
        )


def _rest_of(series: Series, start: int, car_kwh: float) -> Series:
    sessions = []
    for session in series.sessions:
        if session.departure > start:
            here = session.arrival < start
            sessions.append(
                Session(
                    0 if here else session.arrival - start,
                    session.departure - start,
                    car_kwh if here else session.arrival_kwh,
                    session.needed_kwh,
                )
            )
    names = ("load_kw", "pv_kw", "import_eur_per_kwh", "export_eur_per_kwh")
    return Series(*(getattr(series, name)[start:] for name in names), sessions=tuple(sessions))


def _ratings(scenario: FeederScenario) -> Floats:
    rating, network = world_of(scenario).rating_kva, scenario.network
    return np.concatenate([rating[network.line_element], rating[network.trafo_element]])
