"""Random houses and days that press on every limit, shared by all rooms."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from flexgym.envs import Battery, Car, House, Series, Session

# The first example compiles kernels; how long one takes says nothing on a busy machine.
settings.register_profile("flexgym", deadline=None)
settings.load_profile("flexgym")


_LONG = (
    *("envs/feeder", "evaluate", "baselines/household", "train", "envs/aggregator_market"),
    *("policies", "quality", "envs/household", "envs/grid", "baselines/feeder"),
)
"""Folders that take longest, roughly in that order."""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items):
    """A folder's tests run in one process, so its kernels are compiled once; long folders first."""

    def folder(item):
        return item.path.parent.relative_to(Path(__file__).parent).as_posix()

    for item in items:
        item.add_marker(pytest.mark.xdist_group(folder(item)))
    place = {name: k for k, name in enumerate(_LONG)}
    items.sort(key=lambda item: place.get(folder(item), len(place)))


def _one_of(rng, *choices):
    return choices[rng.integers(len(choices))]


def _battery(rng):
    if rng.random() < 0.08:
        return _one_of(rng, None, Battery(0.0, 0.0), Battery(5.0, 0.0), Battery(0.0, 3.0))
    return Battery(
        capacity_kwh=rng.uniform(0.5, 15.0),
        power_kw=rng.uniform(0.3, 8.0),
        efficiency_charge=_one_of(rng, 1.0, rng.uniform(0.7, 1.0)),
        efficiency_discharge=_one_of(rng, 1.0, rng.uniform(0.7, 1.0)),
        wear_eur_per_kwh=_one_of(rng, 0.0, 0.01, rng.uniform(0.0, 0.1)),
        retention=_one_of(rng, 1.0, rng.uniform(0.9, 1.0)),
    )


def draw_house(rng):
    """A house; every limit is tight, loose or absent."""
    return House(
        battery=_battery(rng),
        pv_kwp=_one_of(rng, 0.0, rng.uniform(1.0, 12.0)),
        inverter_kva=_one_of(rng, math.inf, 0.0, rng.uniform(0.2, 3.0), rng.uniform(3.0, 12.0)),
        import_limit_kw=_one_of(rng, math.inf, 30.0, rng.uniform(0.0, 3.0)),
        export_limit_kw=_one_of(rng, math.inf, 0.0, rng.uniform(0.0, 3.0), 30.0),
    )


def draw_series(rng, house, periods):
    """A day with a sun, a random load and one of five kinds of tariff."""
    sun = np.maximum(0.0, np.sin(np.linspace(-0.5, 2 * np.pi - 0.5, periods)))
    buy = rng.uniform(0.02, 0.45, periods) if rng.random() < 0.7 else np.full(periods, 0.3)
    sell = _one_of(
        rng,
        np.minimum(buy, 0.08),
        np.zeros(periods),
        buy - rng.uniform(0.0, 0.4, periods),
        np.full(periods, -0.05),
        buy.copy(),
    )
    return Series(
        load_kw=rng.gamma(1.0, 1.5, periods) * (rng.random(periods) < 0.9),
        pv_kw=house.pv_kwp * sun * rng.random(periods),
        import_eur_per_kwh=buy,
        export_eur_per_kwh=sell,
    )


def draw_house_day(rng, periods=96):
    """House, series, state of charge (kWh) and pay for stored energy (EUR/kWh)."""
    house = draw_house(rng)
    capacity = house.battery.capacity_kwh if house.battery else 0.0
    soc = _one_of(rng, 0.0, capacity, rng.uniform(0.0, 1.0) * capacity)
    terminal = _one_of(rng, 0.0, rng.uniform(0.0, 0.4))
    return house, draw_series(rng, house, periods), soc, terminal


def _car(rng):
    return Car(
        power_kw=rng.uniform(1.0, 11.0),
        capacity_kwh=_one_of(rng, rng.uniform(2.0, 10.0), rng.uniform(20.0, 80.0)),
        efficiency_charge=_one_of(rng, 1.0, rng.uniform(0.7, 1.0)),
        discharge_kw=_one_of(rng, 0.0, rng.uniform(0.5, 11.0)),
        efficiency_discharge=_one_of(rng, 1.0, rng.uniform(0.7, 1.0)),
        wear_eur_per_kwh=_one_of(rng, 0.0, 0.02, rng.uniform(0.0, 0.1)),
        missed_eur_per_kwh=rng.uniform(0.6, 2.9),
    )


def _session(rng, car, arrival, departure):
    stored = _one_of(rng, 0.0, 1.0, rng.random(), rng.random()) * car.capacity_kwh
    within = car.efficiency_charge * car.power_kw * 0.25 * (departure - arrival)
    needed = _one_of(
        rng,
        rng.random() * stored,
        rng.random() * car.capacity_kwh,
        rng.uniform(1.0, 1.2) * car.capacity_kwh,
        stored + rng.uniform(0.5, 1.5) * within,
        min(stored + rng.random() * within, car.capacity_kwh),
    )
    return Session(arrival, departure, stored, needed)


def draw_car_house_day(rng, periods=96):
    """As `draw_house_day`, with a car that visits up to twice; often its need is out of reach."""
    house, series, soc, terminal = draw_house_day(rng, periods)
    car = _car(rng)
    house = replace(house, car=car)
    if rng.random() < 0.15:
        house, soc = replace(house, battery=None), 0.0
    count = min(int(rng.integers(3)), (periods + 1) // 2)
    at = np.sort(rng.choice(periods + 1, 2 * count, replace=False))
    if count and rng.random() < 0.3:
        at[0] = 0
    if count and rng.random() < 0.3:
        at[-1] = periods
    sessions = tuple(_session(rng, car, *pair) for pair in at.reshape(-1, 2).tolist())
    return house, replace(series, sessions=sessions), soc, terminal


@pytest.fixture(scope="session")
def random_house_day():
    """The function ``(rng, periods=96) -> (house, series, soc_kwh, terminal_eur_per_kwh)``."""
    return draw_house_day


@pytest.fixture(scope="session")
def random_car_house_day():
    """The function ``(rng, periods=96) -> (house, series, soc_kwh, terminal_eur_per_kwh)``."""
    return draw_car_house_day


@pytest.fixture(scope="session")
def random_house():
    """The function ``(rng) -> House``."""
    return draw_house
