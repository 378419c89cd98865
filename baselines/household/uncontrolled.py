"""Expected cost of devices nobody controls: what flexibility is worth is measured against it."""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    BUY,
    CAR_MISSED,
    CAR_POWER,
    DEPARTURE,
    IMPORT,
    LOAD,
    NEEDED_KWH,
    PV,
    PV_KWP,
    SELL,
    UNSERVED,
    best_pv,
    car_power,
    energy_bill,
    meter,
    next_car,
    plugged,
)
from flexgym.envs.household.params import DT_H, Floats
from flexgym.envs.uncertainty import Uncertainty, realised_pv


def uncontrolled_cost(
    house: Floats, series: Floats, visits: Floats, uncertainty: Uncertainty
) -> float:
    """Expected cost of a day with an empty battery idle and the car charged at once, EUR.

    Args:
        house: Shape (18,).
        series: Load, PV, import and export price as forecast, shape (4, T).
        visits: Visits of the car, shape (T, 5).
        uncertainty: Chains around the forecast, in their stationary distribution.
    """
    u = uncertainty
    noise = np.array(u.load_factors, np.float64), np.array(u.load_probabilities, np.float64)
    factors = u.weather_factor, u.price_factor, u.stationary
    return float(_expected(house, series, visits, *factors, *noise))


@compiled
def charged_at_once(house, missing_kwh):
    """Power of a car that charges at full power until it has what it needs, kW.

    As far as the connection allows with the battery idle and no sun.
    """
    return min(max(car_power(house, missing_kwh), 0.0), house[CAR_POWER], house[IMPORT])


@compiled
def all_charged_at_once(houses, missing_kwh, car_kw):
    """`charged_at_once` of n houses, written to ``car_kw``, shape (n,), kW."""
    for i in range(len(car_kw)):
        car_kw[i] = charged_at_once(houses[i], missing_kwh[i])


@compiled
def _expected(house, series, visits, weather, price, stationary, noise, chance):
    total, stored = 0.0, 0.0
    for t in range(series.shape[1]):
        visit = visits[t]
        car = 0.0
        if plugged(visit, t):
            if visit[ARRIVAL] == t:
                stored = visit[ARRIVAL_KWH]
            car = charged_at_once(house, visit[NEEDED_KWH] - stored)
            stored = next_car(house, visit, stored, car)
            if visit[DEPARTURE] == t + 1:
                total += house[CAR_MISSED] * max(visit[NEEDED_KWH] - stored, 0.0)
        for s in range(len(weather)):
            pv = realised_pv(weather[s], series[PV, t], house[PV_KWP])
            buy, sell = series[BUY, t] * price[s], series[SELL, t]
            for k in range(len(noise)):
                load = series[LOAD, t] * noise[k]
                used = best_pv(house, 0.0, load, car, pv, buy, sell)
                p, unserved = meter(house, 0.0, car, used, load)
                paid, earned = energy_bill(p, buy, sell)
                cost = paid + earned + house[UNSERVED] * unserved * DT_H
                total += stationary[s] * chance[k] * cost
    return total
