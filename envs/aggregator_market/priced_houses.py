"""Houses that answer to a price, as the market needs them, and where they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np

from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.household.params import DT_H, Floats
from flexgym.envs.household.simulation import HouseholdSimulation

USUAL_HOUSES = "flexgym.policies.quoted_menus:QuotedMenus"
"""How houses plan unless told otherwise: exactly, on what they know of their day."""
USUAL_BUSES = 4
"""So many buses of the last aggregator have houses unless told otherwise."""
MORNING = 6
"""Hour of the clock at which the day of houses begins."""


class PricedHouses(Protocol):
    """A day of several houses; they measure in the simulation that they were made with.

    What they plan may depend on houses, day, forecast and the present hour's price only, so that
    they can be made anew between two hours.
    """

    def price(self, adder_eur_per_kwh: Floats) -> None:
        """An hour begins.

        Args:
            adder_eur_per_kwh: What comes on top of import and export price for the four periods
                from now on, shape (n,); later hours are expected to have none.
        """
        ...

    def offer(self) -> Sequence[FlexibilityChart]:
        """Menus of this period, one a house, with the adder on later periods, not on this one."""
        ...

    def follow(self, power_kw: Floats) -> Floats:
        """Battery, car and PV used that make powers at the meter, shape (3, n), kW.

        Args:
            power_kw: Shape (n,), kW, each within the menu offered.
        """
        ...


MakeHouses = Callable[[HouseholdSimulation], PricedHouses]


@dataclass(frozen=True, eq=False)
class Households:
    """Which load buses of a market are feeders with houses.

    Attributes:
        feeder: Houses and days of each of them. Without uncertainty flexibility is due to quotes
            alone; with it errors of the forecast count as flexibility, too.
        buses: Positions of the buses, 0 to 31 on the 33-bus network, in any order; empty takes
            the first four of the last aggregator.
        houses: How houses plan: takes their `HouseholdSimulation`, returns `PricedHouses`; or
            where it is, ``"module:attribute"``.
    """

    feeder: FeederScenario
    buses: tuple[int, ...] = field(default=())
    houses: str | MakeHouses = USUAL_HOUSES

    def __post_init__(self) -> None:
        if not isinstance(self.feeder, FeederScenario):
            raise ScenarioError(
                f"feeder is {self.feeder!r}; expected a FeederScenario. Make one with "
                "FeederScenario.create('calm', uncertainty='none')."
            )
        buses = np.asarray(self.buses)
        if buses.size and (buses.ndim != 1 or buses.dtype.kind not in "iu"):
            raise ScenarioError(f"buses is {self.buses!r}; expected positions of load buses.")
        if len(np.unique(buses)) < buses.size:
            raise ScenarioError(f"buses is {self.buses!r}; expected each position once.")
        if buses.size and buses.min() < 0:
            raise ScenarioError(f"buses is {self.buses!r}; expected positions from 0.")
        object.__setattr__(self, "buses", tuple(int(b) for b in buses))

    @classmethod
    def create(
        cls,
        scenario: str | FeederScenario = "calm",
        split: str | None = None,
        buses: Sequence[int] = (),
        houses: str | MakeHouses = USUAL_HOUSES,
        **options: Any,
    ) -> Households:
        """Feeders of the benchmark, with perfect forecasts unless told otherwise.

        Args:
            scenario: Of `FeederScenario.create`, like ``split`` and ``options``.
            split: Likewise.
            buses: See the class.
            houses: See the class.
            **options: Likewise; ``uncertainty`` is ``"none"`` where it is not given.
        """
        if isinstance(scenario, str):
            options = {"uncertainty": "none", **options}
        return cls(FeederScenario.create(scenario, split, **options), tuple(buses), houses)

    def among(self, aggregator: np.ndarray) -> Households:
        """The same with the buses named.

        Args:
            aggregator: Of each load bus, shape (B,); -1 for none.

        Raises:
            ScenarioError: A position is too large, or has no aggregator.
        """
        buses = self.buses
        if not buses:
            buses = tuple(np.flatnonzero(aggregator == aggregator.max())[:USUAL_BUSES].tolist())
        if max(buses) >= len(aggregator):
            raise ScenarioError(
                f"buses is {buses}; expected positions of load buses, 0 to {len(aggregator) - 1}."
            )
        idle = [b for b in buses if aggregator[b] < 0]
        if idle:
            raise ScenarioError(
                f"buses has {idle}, which have no aggregator; expected buses of one. Take some of "
                f"{np.flatnonzero(aggregator >= 0).tolist()}, or pass other aggregators."
            )
        return Households(self.feeder, buses, self.houses)


def houses_from(houses: Any) -> MakeHouses:
    """The maker behind ``"module:attribute"``, or the one given.

    Raises:
        ScenarioError: There is none of that name, or it cannot be called.
    """
    found: Any = houses
    if isinstance(houses, str):
        module, _, name = houses.partition(":")
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ScenarioError(
                f"houses is {houses!r}, which cannot be loaded ({error}); expected "
                f"'module:attribute' such as {USUAL_HOUSES!r}."
            ) from error
    if not callable(found):
        raise ScenarioError(
            f"houses is {houses!r}; expected 'module:attribute' or something that takes houses "
            "and returns their PricedHouses."
        )
    return cast(MakeHouses, found)


def best_power_kw(menu: FlexibilityChart, adder_eur_per_kwh: float) -> float:
    """Power of least cost with an adder on top of the menu, kW; the least in a tie.

    The best responses of several houses add up to that of their summed menu
    (`FlexibilityChart.minkowski_sum`): its merit order is that of all their segments.
    """
    cost = menu.cost_eur + DT_H * adder_eur_per_kwh * menu.power_kw
    return float(menu.power_kw[np.argmin(cost)])
