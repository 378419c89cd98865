"""``flexgym bench clearing``, menus in active and reactive power."""

from __future__ import annotations

from typing import Any

import numpy as np


def house_menus(rng: np.random.Generator, houses: Any) -> list[Any]:
    """Charts in active and reactive power of houses at some moment of a day.

    The batteries' stored energy is worth less the more there is; cars that are there may be
    charged, worth more the emptier. Sun and prices are those of one hour for all.
    """
    from flexgym.envs.charts.capability import capability
    from flexgym.envs.charts.chains import CarLevels
    from flexgym.envs.charts.construction import house_chart
    from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
    from flexgym.envs.household.dynamics import house_row

    sun, buy = rng.choice([0.0, 0.4, 0.8, 1.0]), rng.uniform(0.15, 0.4)
    menus = []
    for house in houses:
        capacity = 0.0 if house.battery is None else house.battery.capacity_kwh
        levels = []
        car = house.car if rng.random() < 0.4 else None
        there, most = car is not None, 0.0 if car is None else car.power_kw
        energy = np.linspace(0.0, capacity, 6) if capacity > 0.0 else np.zeros(1)
        worth = np.sort(rng.uniform(0.05, 0.4, len(energy) - 1))[::-1]
        stored = np.concatenate([[0.0], np.cumsum(-worth * np.diff(energy))])
        worth_car = np.sort(rng.uniform(0.05, 0.5, 3))[::-1]
        powers = np.linspace(0.0, most, 4) if there else np.zeros(1)
        charged = np.zeros(1)
        if there:
            charged = np.append(0.0, np.cumsum(-worth_car * np.diff(powers) * 0.25))
        for power, gain in zip(powers, charged, strict=True):
            levels.append((float(power), ConvexPiecewiseLinear(energy, stored + gain)))
        menus.append(
            house_chart(
                house_row(house),
                rng.uniform(0.0, capacity),
                rng.gamma(2.0, 0.4),
                house.pv_kwp * sun * rng.uniform(0.85, 1.0),
                buy,
                0.08,
                CarLevels.of(levels),
                capability(house),
            )
        )
    return menus
