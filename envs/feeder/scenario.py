"""Which grid, houses, days and prices a feeder plays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.data import (
    HOUSE_SEEDS,
    SCENARIOS,
    Prices,
    Profiles,
    SessionModel,
    Sessions,
    feeder43,
    load_grid,
    load_profiles,
    split_days,
    synthetic_prices,
    synthetic_sessions,
)
from flexgym.envs.data.calendar import one_or_several
from flexgym.envs.data.houses import draw_houses
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.params import GridCosts
from flexgym.envs.grid import Network
from flexgym.envs.household.params import House
from flexgym.envs.household.scenario import FEEDERS, HouseholdScenario
from flexgym.envs.uncertainty import MarkovChain, Uncertainty

if TYPE_CHECKING:
    from pandapower import pandapowerNet

Ints = NDArray[np.int64]

INITIAL_SOC = 0.2
"""Share of the batteries' capacity that is stored at 06:00."""
TAN_PHI = (0.1, 0.33)
"""Reactive per active power of the households' consumption, kvar/kW, uniform."""

_TAG = 43_08  # keeps this stream apart from those of houses, prices and sessions


@dataclass(frozen=True, eq=False)
class FeederScenario:
    """A grid, several draws of the houses on it, and the days they play.

    Attributes:
        name: Of tables and pictures.
        network: The grid; its ratings are the limits.
        house_bus: Column of ``network.bus_index`` on which house i stands, shape (H,); several
            houses may share a bus.
        homes: The houses of all draws, one draw after the other (H houses each), with days,
            prices, sessions and uncertainty. Weather and price are those of the whole feeder,
            the noise of consumption each house's own.
        band_pu: Lowest and highest voltage allowed, pu.
        costs: Prices of losses and violated limits.
    """

    name: str
    network: Network
    house_bus: Ints
    homes: HouseholdScenario
    band_pu: tuple[float, float] = (0.95, 1.05)
    costs: GridCosts = field(default_factory=GridCosts)

    def __post_init__(self) -> None:
        bus = np.asarray(self.house_bus)
        if bus.ndim != 1 or bus.size == 0 or bus.dtype.kind not in "iu":
            raise ScenarioError(f"house_bus is {self.house_bus!r}; expected columns, one a house.")
        if bus.min() < 0 or bus.max() >= len(self.network.bus_index):
            raise ScenarioError(
                f"house_bus reaches from {bus.min()} to {bus.max()}; expected columns of "
                f"network.bus_index, 0 to {len(self.network.bus_index) - 1}."
            )
        if len(self.homes.houses) % len(bus):
            raise ScenarioError(
                f"got {len(self.homes.houses)} houses for {len(bus)} places; expected the same "
                "number of houses in every draw. Pass one house a place."
            )
        if any(house.appliances for house in self.homes.houses):
            raise ScenarioError(
                "a house of the feeder has appliances; expected none, since they are played in "
                "flexgym/Household-v0 only. Pass houses with appliances=()."
            )
        if not isinstance(self.costs, GridCosts):
            raise ScenarioError(f"costs is {self.costs!r}; expected a flexgym GridCosts.")
        if not isinstance(self.band_pu, Sequence) or len(self.band_pu) != 2:
            raise ScenarioError(f"band_pu is {self.band_pu!r}; expected lowest and highest, pu.")
        low, high = self.band_pu
        if not 0.0 < low < high < 2.0:
            raise ScenarioError(
                f"band_pu is {self.band_pu}; expected 0 < lowest < highest voltage in pu."
            )
        object.__setattr__(self, "house_bus", bus.astype(np.int64))

    @property
    def n_houses(self) -> int:
        """Houses on the feeder, H."""
        return len(self.house_bus)

    @property
    def draws(self) -> int:
        """Draws of the houses that an episode picks from."""
        return len(self.homes.houses) // self.n_houses

    def houses(self, draw: int = 0) -> tuple[House, ...]:
        """Houses of one draw, in the order of ``house_bus``."""
        first = draw * self.n_houses
        return self.homes.houses[first : first + self.n_houses]

    @classmethod
    def create(
        cls,
        scenario: str | FeederScenario = "calm",
        split: str | None = None,
        *,
        draws: Iterable[int] | None = None,
        days: Iterable[int] | int | None = None,
        prices: Prices | None = None,
        sessions: Sessions | None = None,
        uncertainty: str | Uncertainty | None = None,
        initial_soc: float | None = INITIAL_SOC,
        costs: GridCosts | None = None,
    ) -> FeederScenario:
        """A scenario of the benchmark feeder, SimBench ``1-LV-semiurb4`` with 43 houses.

        Args:
            scenario: A key of ``flexgym.envs.data.SCENARIOS``, or one that is passed through.
            split: ``"train"`` (default), ``"validation"`` or ``"test"``: chooses days and draws.
            draws: Seeds of the houses; None takes the split's first.
            days: Days of the year; None takes the split's in the months of the scenario.
            prices: None is the scenario's synthetic tariff.
            sessions: Of the cars, for the houses of all draws in order; None is the
                scenario's synthetic model.
            uncertainty: ``"markov"`` (default), ``"none"`` or an `Uncertainty`.
            initial_soc: Share of capacity stored at the start; None draws it uniformly.
            costs: Prices of losses and violated limits.

        Raises:
            ScenarioError: An option is unknown, empty or out of range.
        """
        if isinstance(scenario, FeederScenario):
            given = (split, draws, days, prices, sessions, uncertainty, costs)
            if any(value is not None for value in given) or initial_soc != INITIAL_SOC:
                raise ScenarioError(
                    "got a FeederScenario and options beside it; expected one or the other. "
                    "Set the options where the scenario is made."
                )
            return scenario
        ranges = _ranges(scenario)
        split = "train" if split is None else split
        if split not in FEEDERS:
            raise ScenarioError(f"split is {split!r}; expected one of {', '.join(FEEDERS)}.")
        seeds = _whole("draws", HOUSE_SEEDS[split][: FEEDERS[split]] if draws is None else draws)
        drawn = [feeder43(seed, scenario) for seed in seeds]
        network, house_bus = _benchmark(scenario)
        _check_data(prices, sessions)
        months = split_days(split, months=ranges.months)
        chosen = months if days is None else one_or_several(days)
        if days is None and prices is not None:
            chosen = np.intersect1d(months, prices.covered_days())
        homes = _homes(
            drawn, seeds, scenario, chosen, prices, sessions, uncertainty, initial_soc, None
        )
        return cls(
            scenario, network, house_bus, homes, ranges.voltage_band_pu,
            GridCosts() if costs is None else costs,
        )  # fmt: skip

    @classmethod
    def from_pandapower(
        cls,
        net: pandapowerNet,
        *,
        name: str = "own grid",
        scenario: str = "calm",
        buses: Sequence[int] | None = None,
        houses: Sequence[House] | None = None,
        seeds: Iterable[int] = (0,),
        profiles: Profiles | None = None,
        days: Iterable[int] | int | None = None,
        prices: Prices | None = None,
        sessions: Sessions | None = None,
        uncertainty: str | Uncertainty | None = None,
        initial_soc: float | None = INITIAL_SOC,
        band_pu: tuple[float, float] = (0.95, 1.05),
        costs: GridCosts | None = None,
    ) -> FeederScenario:
        """A scenario on a grid of your own, with the grid's own ratings and slack voltage.

        Loads and generators of the net are left out: the houses take their place.

        Args:
            net: A radial pandapower network.
            name: Of tables and pictures.
            scenario: Key of ``SCENARIOS`` whose ranges houses, prices and cars are drawn from.
            buses: pandapower index of the bus of each house; None puts one house on every bus
                that has a load in service.
            houses: One house a bus; None draws them.
            seeds: Of the draws where houses are drawn.
            profiles: From `flexgym.envs.data.load_profiles_csv`; None is the shipped extract.
            days: Days of the year; None takes all of the scenario's months that the prices cover.
            prices: As for `create`, like ``sessions``, ``uncertainty``, ``initial_soc``.
            sessions: See `create`.
            uncertainty: See `create`.
            initial_soc: See `create`.
            band_pu: Lowest and highest voltage allowed, pu.
            costs: Prices of losses and violated limits.

        Raises:
            NetworkError: The net is not radial, or has something that is not supported.
            ScenarioError: An option is unknown, empty or out of range.
        """
        ranges = _ranges(scenario)
        _check_data(prices, sessions)
        network = Network.from_pandapower(net)
        if buses is None:
            loads = net.load[net.load.in_service]
            buses = sorted(set(loads.bus.tolist()))
        buses = _whole("buses", buses)
        if not buses:
            raise ScenarioError(
                "buses is empty; expected one or more, or None: all that have a load in service."
            )
        places = network.columns(list(buses))
        if not len(places):
            raise ScenarioError(
                "no bus has a load in service, so there is no house; expected at least one. "
                "Pass buses=net.bus.index for one house on each."
            )
        seeds = _whole("seeds", seeds)
        if houses is None:
            names = sorted((profiles or load_profiles()).load)
            drawn = [draw_houses([str(b) for b in buses], s, scenario, names) for s in seeds]
        else:
            drawn, seeds = [tuple(houses)], (0,)
        if any(len(one) != len(buses) for one in drawn):
            raise ScenarioError(
                f"got {len(drawn[0])} houses for {len(buses)} buses; expected one a bus. "
                "Name a bus twice where two houses stand on it."
            )
        if days is None:
            covered = (prices or synthetic_prices()).covered_days()
            every = np.concatenate([split_days(s, months=ranges.months) for s in FEEDERS])
            chosen = np.intersect1d(every, covered)
        else:
            chosen = one_or_several(days)
        homes = _homes(
            drawn, seeds, scenario, chosen, prices, sessions, uncertainty, initial_soc, profiles,
            reactive=houses is None,
        )  # fmt: skip
        return cls(name, network, places, homes, band_pu, GridCosts() if costs is None else costs)


def _ranges(scenario: Any) -> Any:
    if not isinstance(scenario, str) or scenario not in SCENARIOS:
        raise ScenarioError(
            f"scenario is {scenario!r}; expected one of {', '.join(SCENARIOS)}, or a "
            "FeederScenario."
        )
    return SCENARIOS[scenario]


def _check_data(prices: Any, sessions: Any) -> None:
    if not isinstance(prices, Prices | None):
        raise ScenarioError(
            f"prices is {prices!r}; expected flexgym.envs.data.Prices. Read your file with "
            "load_prices(path)."
        )
    if not isinstance(sessions, Sessions | None):
        raise ScenarioError(
            f"sessions is {sessions!r}; expected flexgym.envs.data.Sessions. Read your file with "
            "load_sessions(path)."
        )


@cache
def _benchmark(scenario: str) -> tuple[Network, Ints]:
    """The benchmark grid with the scenario's slack and transformer, and the houses' buses."""
    ranges = SCENARIOS[scenario]
    net = load_grid()
    network = Network.from_pandapower(net, slack_pu=ranges.slack_pu)
    network = network.with_transformer_rating(ranges.transformer_kva)
    column = {net.bus.name.at[bus]: i for i, bus in enumerate(network.bus_index)}
    buses = [house.bus for house in feeder43(0, scenario)]
    return network, np.array([column[bus] for bus in buses])


def _homes(
    drawn: Sequence[tuple[House, ...]],
    seeds: Sequence[int],
    scenario: str,
    days: Ints,
    prices: Prices | None,
    sessions: Sessions | None,
    uncertainty: str | Uncertainty | None,
    initial_soc: float | None,
    profiles: Profiles | None,
    reactive: bool = True,
) -> HouseholdScenario:
    ranges = SCENARIOS[scenario]
    pool = tuple(house for houses in drawn for house in houses)
    if not pool:
        raise ScenarioError("draws is empty; expected at least one seed of houses.")
    if not any(isinstance(house, House) and house.car is not None for house in pool):
        sessions = None
    elif sessions is None:
        sessions = synthetic_sessions(pool, SessionModel.of_feeder(scenario))
    if reactive:
        numbers = [np.random.default_rng([_TAG, seed]).random(len(drawn[0])) for seed in seeds]
        spread = TAN_PHI[0] + (TAN_PHI[1] - TAN_PHI[0]) * np.concatenate(numbers)
        pool = tuple(
            replace(house, load=replace(house.load, tan_phi=float(x)))
            for house, x in zip(pool, spread, strict=True)
        )
    return HouseholdScenario(
        pool,
        days,
        prices or synthetic_prices(ranges.price_spread, ranges.export),
        _chains("markov" if uncertainty is None else uncertainty, ranges.steady_price),
        initial_soc,
        sessions,
        profiles,
    )


def _chains(uncertainty: str | Uncertainty, steady_price: bool) -> Uncertainty:
    """The chains by name; ``"markov"`` leaves out that of the price where it is steady."""
    chains = Uncertainty.named(uncertainty)
    if uncertainty == "markov" and steady_price:
        return replace(chains, price=MarkovChain((1.0,), ((1.0,),)))
    return chains


def _whole(name: str, values: Any) -> tuple[int, ...]:
    """One integer or several, as a tuple.

    Raises:
        ScenarioError: They are none.
    """
    several = one_or_several(values)
    if several.ndim != 1 or (several.size and several.dtype.kind not in "iu"):
        raise ScenarioError(f"{name} is {values!r}; expected one or more, each an integer >= 0.")
    return tuple(several.tolist())
