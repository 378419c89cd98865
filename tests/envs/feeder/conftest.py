"""Feeders to attack: the benchmark's, one with every kind of house, and small own grids."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pandapower
import pytest
from gymnasium.utils import seeding

from flexgym.envs import Battery, Car, House, Load, Session, Uncertainty
from flexgym.envs.data import Sessions, load_profiles, synthetic_prices
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.grid import Network
from flexgym.envs.household.scenario import HouseholdScenario

MIXED_DAYS = (3, 100, 200, 300)


def radial(buses, *, kind="0.25 MVA 20/0.4 kV", length_km=0.04, slack_pu=1.02, seed=0):
    """A pandapower tree below one transformer, with a load on every low-voltage bus but the first.

    ``buses`` counts all, the medium-voltage bus 0 included.
    """
    rng = np.random.default_rng(seed)
    net = pandapower.create_empty_network()
    pandapower.create_bus(net, 20.0)
    for _ in range(buses - 1):
        pandapower.create_bus(net, 0.4)
    pandapower.create_ext_grid(net, 0, vm_pu=slack_pu)
    pandapower.create_transformer(net, 0, 1, kind)
    for bus in range(2, buses):
        parent = int(rng.integers(max(1, bus - 4), bus))
        pandapower.create_line(net, parent, bus, length_km, "NAYY 4x150 SE")
        pandapower.create_load(net, bus, p_mw=0.002)
    return net


def plain_house(rng, **changes):
    """A house with roof, battery and car that nothing but its devices limits."""
    house = House(
        Battery(rng.uniform(5.0, 12.0), rng.uniform(3.0, 6.0)),
        pv_kwp=rng.uniform(5.0, 12.0),
        inverter_kva=10.0,
        import_limit_kw=math.inf,
        export_limit_kw=math.inf,
        car=Car(11.0, rng.uniform(30.0, 60.0)),
        load=Load("H0-A", rng.uniform(2e3, 5e3), int(rng.integers(-4, 5)), tan_phi=0.2),
    )
    return replace(house, **changes)


def _car(rng):
    give = rng.choice([0.0, rng.uniform(1.0, 11.0)])
    return Car(
        rng.uniform(1.0, 11.0), rng.uniform(20.0, 70.0), rng.uniform(0.8, 1.0),
        discharge_kw=give, efficiency_discharge=rng.uniform(0.8, 1.0),
        wear_eur_per_kwh=rng.choice([0.0, 0.05]), missed_eur_per_kwh=rng.uniform(0.5, 2.5),
    )  # fmt: skip


def _mixed_house(rng, draw_house, profiles):
    house = draw_house(rng)
    load = Load(
        str(rng.choice(profiles)), rng.uniform(0.0, 9e3), int(rng.integers(-96, 97)),
        int(rng.integers(-60, 61)), rng.uniform(-0.5, 0.8),
    )  # fmt: skip
    house = replace(house, load=load, car=_car(rng) if rng.random() < 0.7 else None)
    if rng.random() < 0.4:
        roof = rng.choice([math.inf, house.pv_kwp * rng.uniform(1.0, 1.3)])
        store = None
        if house.battery is not None:
            store = [None, math.inf, 0.7 * house.battery.power_kw][rng.integers(3)]
        house = replace(
            house, inverter="separate", inverter_kva=roof, battery_inverter_kva=store
        )  # fmt: skip
    factor = [None, 1.0, rng.uniform(0.8, 1.0)][rng.integers(3)]
    return replace(house, min_power_factor=factor)


def _visits(rng, car):
    """None to three visits of a day; some follow each other, begin at 0 or end at 96."""
    cuts = np.sort(rng.choice(97, 2 * int(rng.integers(4)), replace=False)).tolist()
    if cuts:
        cuts[0] = 0 if rng.random() < 0.3 else cuts[0]
        cuts[-1] = 96 if rng.random() < 0.3 else cuts[-1]
    if len(cuts) >= 4 and rng.random() < 0.5:
        cuts[2] = cuts[1]
    return tuple(
        Session(begin, end, *(car.capacity_kwh * rng.uniform(0.0, (1.0, 1.1))).tolist())
        for begin, end in zip(cuts[::2], cuts[1::2], strict=True)
    )


@pytest.fixture(scope="session")
def benchmark_scenario() -> Callable[[str], FeederScenario]:
    """The function ``name -> FeederScenario`` with two draws of houses, each made once."""
    return cache(lambda name: FeederScenario.create(name, draws=(0, 1)))


@pytest.fixture(scope="session")
def mixed(random_house) -> FeederScenario:
    """Three draws of 21 houses of every kind; several on a bus, one on the slack bus."""
    rng = np.random.default_rng(7)
    network = Network.from_pandapower(radial(18))
    profiles = sorted(load_profiles().load)
    pool = tuple(_mixed_house(rng, random_house, profiles) for _ in range(63))
    pool = (*pool[:-1], replace(plain_house(rng), pv_kwp=0.0, car=None))
    cars = tuple(
        {} if house.car is None else {day: _visits(rng, house.car) for day in MIXED_DAYS}
        for house in pool
    )
    homes = HouseholdScenario(
        pool, np.array(MIXED_DAYS), synthetic_prices(export="spot"), Uncertainty.markov(),
        None, Sessions("own", cars),
    )  # fmt: skip
    places = np.concatenate([[0, 1], np.arange(2, 18), [9, 9, 17]])
    return FeederScenario("mixed", network, places, homes)


@pytest.fixture(scope="session")
def radial_net() -> Callable:
    """The function `radial`."""
    return radial


@pytest.fixture(scope="session")
def make_house() -> Callable:
    """The function `plain_house`."""
    return plain_house


@pytest.fixture(scope="session")
def start() -> Callable[..., FeederSimulation]:
    """The function ``(scenario, n, seed, options, **settings)`` that begins a simulation."""

    def begin(scenario, n, seed=0, options=None, **settings):
        simulation = FeederSimulation(scenario, n, **{"observation": "compact", **settings})
        simulation.begin([seeding.np_random(seed + i)[0] for i in range(n)], options)
        return simulation

    return begin
