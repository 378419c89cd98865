"""Forty-three houses, one on each low-voltage bus of SimBench ``1-LV-semiurb4``.

House i stands on bus i of ``lv_bus_names()``, the transformer's busbar included, and is joined
to the grid by the bus's name. SimBench has household loads on 30 of the 43 buses: there the
house keeps the profile of the bus's first household load. On the other 13 (nine with commerce
only, four with nothing, among them the busbar) it draws a profile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from flexgym.envs.data.calendar import as_index
from flexgym.envs.data.profiles import household_loads, load_profiles, lv_bus_names
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Battery, Car, House, Load

Range = tuple[float, float]

HOUSES = 43
HOUSE_SEEDS: dict[str, range] = {
    "train": range(1000),
    "validation": range(1000, 2000),
    "test": range(2000, 3000),
}
"""Feeder seeds of each split: houses of the test seeds are never seen in training."""

CONNECTION_KW = 30.0
LOAD_KWH: Range = (3000.0, 5500.0)
SHIFT_QUARTERS = range(-4, 5)
SHIFT_WEEKS = range(-3, 4)
EFFICIENCY: Range = (0.93, 0.97)
WEAR_EUR_PER_KWH = 0.01
CAR_KWH: Range = (40.0, 75.0)
CAR_EFFICIENCY = 0.95
INVERTER_RATIO: Range = (0.8, 1.0)

_TAG = 43_04  # keeps these streams apart from those of prices and weather


@dataclass(frozen=True)
class ScenarioRanges:
    """Ranges from which the houses, prices and limits of a scenario are drawn.

    Attributes:
        months: Calendar months of its episodes.
        pv_kwp: Rated power of a roof, kW.
        battery_share: Probability that a house has a battery.
        battery_kwh: Usable capacity, kWh.
        battery_kw: Charging and discharging power, kW, before the cap at 1 C.
        car_share: Probability that a house has an electric car.
        car_kw: Charging powers that occur, kW, equally likely.
        car_need_kwh: Energy a car needs by departure, kWh.
        arrival_h: Mean and standard deviation of the time of arrival, hours.
        daily_trips: Whether every car makes a trip every day, at weekends as on weekdays.
        steady_price: Whether the feeder's import price is as forecast; weather and consumption
            are not.
        price_spread: Factor on the price's swing, for ``synthetic_prices``.
        export: Kind of export price, ``"fixed"`` or ``"spot"``.
        slack_pu: Voltage of the 20 kV bus, pu.
        transformer_kva: Rating of the transformer, kVA.
        voltage_band_pu: Lowest and highest voltage allowed, pu.
    """

    months: tuple[int, ...]
    pv_kwp: Range
    battery_share: float
    battery_kwh: Range
    battery_kw: Range
    car_share: float
    car_kw: tuple[float, ...]
    car_need_kwh: Range
    arrival_h: tuple[float, float]
    price_spread: float
    export: str
    slack_pu: float
    transformer_kva: float
    voltage_band_pu: Range = (0.95, 1.05)
    daily_trips: bool = True
    steady_price: bool = False


SCENARIOS: dict[str, ScenarioRanges] = {
    "calm": ScenarioRanges(
        months=(4, 5, 9, 10),
        pv_kwp=(6.0, 8.0),
        battery_share=0.5,
        battery_kwh=(5.0, 15.0),
        battery_kw=(3.0, 7.0),
        car_share=0.4,
        car_kw=(7.4,),
        car_need_kwh=(4.0, 12.0),
        arrival_h=(17.75, 1.25),
        price_spread=0.5,
        export="fixed",
        slack_pu=1.0,
        transformer_kva=400.0,
        daily_trips=False,
        steady_price=True,
    ),
    "summer_midday": ScenarioRanges(
        months=(5, 6, 7, 8),
        pv_kwp=(10.0, 14.0),
        battery_share=1.0,
        battery_kwh=(5.0, 12.0),
        battery_kw=(3.0, 7.0),
        car_share=1.0,
        car_kw=(11.0,),
        car_need_kwh=(8.0, 20.0),
        arrival_h=(17.75, 1.25),
        price_spread=1.0,
        export="fixed",
        slack_pu=1.03,
        transformer_kva=400.0,
    ),
    "winter_evening": ScenarioRanges(
        months=(1, 2, 11, 12),
        pv_kwp=(6.0, 14.0),
        battery_share=1.0,
        battery_kwh=(5.0, 15.0),
        battery_kw=(3.0, 7.0),
        car_share=1.0,
        car_kw=(11.0,),
        car_need_kwh=(8.0, 24.0),
        arrival_h=(17.75, 0.75),
        price_spread=1.0,
        export="fixed",
        slack_pu=1.0,
        transformer_kva=250.0,
    ),
    "stress": ScenarioRanges(
        months=(3, 4, 9, 10),
        pv_kwp=(10.0, 14.0),
        battery_share=1.0,
        battery_kwh=(5.0, 15.0),
        battery_kw=(3.0, 7.0),
        car_share=1.0,
        car_kw=(11.0,),
        car_need_kwh=(8.0, 24.0),
        arrival_h=(17.75, 0.6),
        price_spread=1.2,
        export="spot",
        slack_pu=1.025,
        transformer_kva=250.0,
    ),
}


def _house(rng: np.random.Generator, bus: str, load: Load, ranges: ScenarioRanges) -> House:
    # Everything is drawn, also for devices the house turns out not to have, so that one
    # device never moves the numbers of the next.
    pv_kwp = rng.uniform(*ranges.pv_kwp)
    has_battery = rng.random() < ranges.battery_share
    capacity_kwh = rng.uniform(*ranges.battery_kwh)
    power_kw = min(rng.uniform(*ranges.battery_kw), capacity_kwh)  # at most 1 C
    efficiency = rng.uniform(*EFFICIENCY, size=2)
    has_car = rng.random() < ranges.car_share
    car_kw = float(rng.choice(ranges.car_kw))
    car_kwh = rng.uniform(*CAR_KWH)
    inverter_ratio = rng.uniform(*INVERTER_RATIO)
    battery = Battery(
        capacity_kwh=capacity_kwh,
        power_kw=power_kw,
        efficiency_charge=float(efficiency[0]),
        efficiency_discharge=float(efficiency[1]),
        wear_eur_per_kwh=WEAR_EUR_PER_KWH,
        retention=1.0,
    )
    car = Car(power_kw=car_kw, capacity_kwh=car_kwh, efficiency_charge=CAR_EFFICIENCY)
    return House(
        battery=battery if has_battery else None,
        pv_kwp=pv_kwp,
        inverter_kva=inverter_ratio * max(pv_kwp, power_kw if has_battery else 0.0),
        import_limit_kw=CONNECTION_KW,
        export_limit_kw=CONNECTION_KW,
        car=car if has_car else None,
        load=load,
        bus=bus,
    )


def draw_houses(
    buses: Sequence[str],
    seed: int,
    scenario: str,
    profiles: Sequence[str],
    known: Mapping[str, str] = MappingProxyType({}),
) -> tuple[House, ...]:
    """Houses on the buses of any grid, all different, drawn from the scenario's ranges.

    Args:
        buses: Name of the bus of each house.
        seed: Non-negative.
        scenario: A key of ``SCENARIOS``.
        profiles: Names of the load profiles that houses draw from.
        known: Profile of the buses where it is not drawn.
    """
    number = list(SCENARIOS).index(scenario)
    n = len(buses)
    streams = [np.random.default_rng([_TAG, number, seed, i]) for i in range(n)]
    # Households of one class share a profile. Dealing out time shifts without putting any
    # back makes every pair of them differ, and leaves each shift as likely as any other; on
    # grids with more houses than shifts another deck is opened.
    dealer = np.random.default_rng([_TAG, number, seed, n])
    slots = [(quarters, weeks) for quarters in SHIFT_QUARTERS for weeks in SHIFT_WEEKS]
    decks = {name: list(dealer.permutation(len(slots))) for name in profiles}
    houses = []
    for bus, rng in zip(buses, streams, strict=True):
        drawn = profiles[int(rng.integers(len(profiles)))]
        energy_kwh = rng.uniform(*LOAD_KWH)
        profile = known.get(bus, drawn)
        deck = decks[profile]
        if not deck:
            deck.extend(dealer.permutation(len(slots)))
        quarters, weeks = slots[deck.pop()]
        load = Load(profile, energy_kwh, shift_quarters=quarters, shift_weeks=weeks)
        houses.append(_house(rng, bus, load, SCENARIOS[scenario]))
    return tuple(houses)


@lru_cache(maxsize=4096)
def _feeder(seed: int, scenario: str) -> tuple[House, ...]:
    known: dict[str, str] = {}
    for bus, profile in household_loads():
        known.setdefault(bus, profile)
    return draw_houses(lv_bus_names(), seed, scenario, sorted(load_profiles().load), known)


def feeder43(seed: int, scenario: str = "calm") -> tuple[House, ...]:
    """The 43 houses of a feeder, all different, drawn from the scenario's ranges.

    Args:
        seed: Non-negative; take it from ``HOUSE_SEEDS`` to keep test houses unseen.
        scenario: A key of ``SCENARIOS``.

    Returns:
        House i on bus ``lv_bus_names()[i]``. The same arguments give the same houses.

    Raises:
        ScenarioError: Unknown scenario, or a seed that is no integer >= 0.
    """
    if not isinstance(scenario, str) or scenario not in SCENARIOS:
        raise ScenarioError(
            f"scenario is {scenario!r}; expected one of {', '.join(SCENARIOS)}. "
            "flexgym.envs.data.SCENARIOS lists their ranges."
        )
    number = as_index(seed)
    if number is None or number < 0:
        raise ScenarioError(
            f"seed is {seed!r}; expected an integer >= 0. "
            "Take seeds from HOUSE_SEEDS['train'], ['validation'] or ['test']; "
            f"scenarios are {', '.join(SCENARIOS)}."
        )
    return _feeder(number, scenario)
