"""What an agent sees: measurements, forecasts and the house's sizes, scaled by hand.

Every entry has a name and a unit in `observation_names`. Entries are dimensionless or in a
unit that keeps them within a few units of zero, so that networks need no normaliser.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    BUY,
    CAPACITY,
    CAR_CAPACITY,
    CAR_DISCHARGE,
    CAR_ETA_C,
    CAR_POWER,
    DEPARTURE,
    DT_H,
    ETA_C,
    ETA_D,
    INVERTER,
    LOAD,
    NEEDED_KWH,
    POWER,
    PV,
    PV_KWP,
    RETENTION,
    SELL,
    WEAR,
    battery_range,
    car_range,
    plugged,
)
from flexgym.envs.household.params import STEPS_PER_DAY, Floats

OBSERVATIONS = ("full", "compact")
BIN_EDGES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96)
"""Edges of the forecast bins, periods ahead."""
OBSERVATION_LIMIT = 1e6
"""Bound of every entry; usual houses stay within ten."""
_EDGES = np.array(BIN_EDGES)
_BINS = len(BIN_EDGES) - 1

_COMPACT = (
    "state_of_charge [capacity]",
    "sine_of_time [1]",
    "cosine_of_time [1]",
    "time_left [day]",
    "import_price_above_terminal [0.1 EUR/kWh]",
    "export_price [0.1 EUR/kWh]",
    "terminal_price [0.1 EUR/kWh]",
    "load [battery power]",
    "pv [battery power]",
    "surplus [battery power]",
    "surplus [capacity/h]",
    "weather_factor_minus_1 [1]",
    "price_factor_minus_1 [0.2]",
    "least_battery_power [battery power]",
    "largest_battery_power [battery power]",
    "capacity [10 kWh]",
    "battery_power [capacity/h]",
    "round_trip_loss [0.1]",
    "wear [0.01 EUR/kWh]",
    "pv_rating [capacity/h]",
    "inverter [battery power]",
)
_CAR = (
    "car_plugged_in [1]",
    "car_energy_missing [10 kWh]",
    "car_time_to_departure [day]",
    "car_time_to_spare [day]",
    "car_share_of_time_needed [1]",
    "car_least_power [car power]",
    "car_largest_power [car power]",
    "car_time_to_arrival [day]",
    "car_energy_missing_at_arrival [10 kWh]",
    "car_state_of_charge [car capacity]",
    "car_power [10 kW]",
    "car_discharging_power [10 kW]",
    "surplus [car power]",
)
_CAR_AHEAD = (
    "rank_of_price_until_departure [1]",
    "lowest_price_until_departure_below_now [0.1 EUR/kWh]",
)
_TOTALS = (
    "highest_price_ahead_above_terminal [0.1 EUR/kWh]",
    "lowest_price_ahead_above_terminal [0.1 EUR/kWh]",
    "rank_of_price_ahead [1]",
    "surplus_ahead [capacity]",
    "deficit_ahead [capacity]",
)


def observation_names(kind: str, cars: bool = False) -> tuple[str, ...]:
    """Name and unit of each entry of an observation of this kind, with or without a car."""
    if kind not in OBSERVATIONS:
        raise ScenarioError(f"observation is {kind!r}; expected one of {', '.join(OBSERVATIONS)}.")
    if kind == "compact":
        return (*_COMPACT, *(_CAR if cars else ()))
    bins = [
        f"{what}_{a}_to_{b}_periods_ahead [{unit}]"
        for what, unit in (
            ("price_above_terminal", "0.1 EUR/kWh"),
            ("surplus", "capacity"),
            ("deficit", "capacity"),
        )
        for a, b in pairwise(BIN_EDGES)
    ]
    return (*_COMPACT, *_TOTALS, *bins, *((*_CAR, *_CAR_AHEAD) if cars else ()))


class Outlook(NamedTuple):
    """What observations read from the forecasts of n houses.

    Attributes:
        sums: Shape (T + 1, n, 6): sums up to t of price, surplus and deficit (kWh), over t..T
            the highest and lowest price and the rank of the price of t. Period by period,
            since all houses are in the same one.
        price: Import price, shape (n, T), EUR/kWh.
    """

    sums: Floats
    price: Floats


@compiled
def summarise(forecast, first, outlook):
    """Fill in the outlook of the houses from ``first`` on.

    Args:
        forecast: Shape (T, 4, n).
        first: First house.
        outlook: See `Outlook`, overwritten.
    """
    T = forecast.shape[0]
    for i in range(forecast.shape[2]):
        total, price = outlook.sums[:, first + i], outlook.price[first + i]
        total[0, 0] = total[0, 1] = total[0, 2] = 0.0
        for t in range(T):
            price[t] = forecast[t, BUY, i]
            net = (forecast[t, PV, i] - forecast[t, LOAD, i]) * DT_H
            total[t + 1, 0] = total[t, 0] + price[t]
            total[t + 1, 1] = total[t, 1] + max(net, 0.0)
            total[t + 1, 2] = total[t, 2] - min(net, 0.0)
        total[T, 3] = -np.inf
        total[T, 4] = np.inf
        total[T, 5] = 0.0
        for t in range(T - 1, -1, -1):
            total[t, 3] = max(total[t + 1, 3], price[t])
            total[t, 4] = min(total[t + 1, 4], price[t])
            below = 0
            for k in range(t, T):
                below += price[k] < price[t]
            total[t, 5] = below / (T - t)


@compiled
def _observe_car(t, row, visit, soc_kwh, car_kwh, now, price, o):
    """Write the car's entries of one row; ``price`` is empty for compact observations."""
    power = max(row[CAR_POWER], 0.1)
    low, high = car_range(row, visit, t, soc_kwh, car_kwh, now[LOAD], now[PV])
    o[:] = 0.0
    left = 0.0
    if plugged(visit, t):
        missing = max(visit[NEEDED_KWH] - car_kwh, 0.0)
        left = visit[DEPARTURE] - t
        needed = missing / (row[CAR_ETA_C] * power * DT_H)
        o[0] = 1.0
        o[1] = 0.1 * missing
        o[2] = left / STEPS_PER_DAY
        o[3] = max(left - needed, -STEPS_PER_DAY) / STEPS_PER_DAY
        o[4] = min(needed / left, 4.0)
    elif t < visit[ARRIVAL] < np.inf:
        o[7] = (visit[ARRIVAL] - t) / STEPS_PER_DAY
        o[8] = 0.1 * max(visit[NEEDED_KWH] - visit[ARRIVAL_KWH], 0.0)
    o[5] = low / power
    o[6] = high / power
    o[9] = car_kwh / max(row[CAR_CAPACITY], 0.1)
    o[10] = 0.1 * row[CAR_POWER]
    o[11] = 0.1 * row[CAR_DISCHARGE]
    o[12] = (now[PV] - now[LOAD]) / power if row[CAR_POWER] > 0.0 else 0.0
    if len(o) > 13 and left > 0.0:
        here = price[t]
        below, lowest = 0, here
        for other in price[t : t + int(left)]:
            below += other < here
            lowest = min(lowest, other)
        o[13] = below / left
        o[14] = 10.0 * (here - lowest)


@compiled
def observe(
    t, house, soc_kwh, car_kwh, now, visit, state, weather, price_factor, terminal, outlook, out
):  # fmt: skip
    """Write one row of observations a house.

    Args:
        t: Period; at T (after the last step) measurements are those of the last period.
        house: Shape (n, 18).
        soc_kwh: Shape (n,), kWh.
        car_kwh: Energy in the car, shape (n,), kWh.
        now: Measured load, PV and prices, shape (4, n).
        visit: The car's visit, shape (5, n), or (5, 0) where there are no cars.
        state: Markov state, shape (n,).
        weather: Weather factor of each Markov state, shape (m,).
        price_factor: Price factor of each Markov state, shape (m,).
        terminal: Pay for stored energy at the end, shape (n,), EUR/kWh.
        outlook: See `Outlook`; empty for compact observations.
        out: Shape (n, d), overwritten.
    """
    angle = 2.0 * np.pi * t / STEPS_PER_DAY
    sine, cosine = np.sin(angle), np.cos(angle)
    sums, prices = outlook
    T = sums.shape[0] - 1
    full = T >= 0
    cars = visit.shape[1] > 0
    for i in range(len(soc_kwh)):
        row = house[i]
        per_kw = 1.0 / max(row[POWER], 0.1)
        per_kwh = 1.0 / max(row[CAPACITY], 0.1)
        load, pv = now[LOAD, i], now[PV, i]
        low, high = battery_range(row, soc_kwh[i], load, 0.0, pv)
        even = terminal[i] / row[ETA_D]
        o = out[i]
        o[0] = soc_kwh[i] * per_kwh
        o[1] = sine
        o[2] = cosine
        o[3] = 1.0 - t / STEPS_PER_DAY
        o[4] = 10.0 * (now[BUY, i] - even)
        o[5] = 10.0 * now[SELL, i]
        o[6] = 10.0 * terminal[i]
        o[7] = load * per_kw
        o[8] = pv * per_kw
        o[9] = (pv - load) * per_kw
        o[10] = (pv - load) * per_kwh
        o[11] = weather[state[i]] - 1.0
        o[12] = 5.0 * (price_factor[state[i]] - 1.0)
        o[13] = low * per_kw
        o[14] = high * per_kw
        o[15] = 0.1 * row[CAPACITY]
        o[16] = row[POWER] * per_kwh
        o[17] = 10.0 * (1.0 - row[ETA_C] * row[ETA_D] * row[RETENTION])
        o[18] = 100.0 * row[WEAR]
        o[19] = row[PV_KWP] * per_kwh
        o[20] = min(row[INVERTER], 1e3) * per_kw
        if full:
            o[21] = 10.0 * (sums[t, i, 3] - even) if t < T else 0.0
            o[22] = 10.0 * (sums[t, i, 4] - even) if t < T else 0.0
            o[23] = sums[t, i, 5]
            o[24] = (sums[T, i, 1] - sums[t, i, 1]) * per_kwh
            o[25] = (sums[T, i, 2] - sums[t, i, 2]) * per_kwh
            for k in range(_BINS):
                a = min(t + _EDGES[k], T)
                b = min(t + _EDGES[k + 1], T)
                mean = (sums[b, i, 0] - sums[a, i, 0]) / (b - a) - even if b > a else 0.0
                o[26 + k] = 10.0 * mean
                o[26 + _BINS + k] = (sums[b, i, 1] - sums[a, i, 1]) * per_kwh
                o[26 + 2 * _BINS + k] = (sums[b, i, 2] - sums[a, i, 2]) * per_kwh
        if cars:
            price = prices[i] if full else prices[0]
            first = 26 + 3 * _BINS if full else 21
            _observe_car(t, row, visit[:, i], soc_kwh[i], car_kwh[i], now[:, i], price, o[first:])


def new_outlook(kind: str, n: int) -> Outlook:
    """Room for `summarise`, or the empty one that stands for compact observations."""
    if kind == "full":
        return Outlook(np.zeros((STEPS_PER_DAY + 1, n, 6)), np.zeros((n, STEPS_PER_DAY)))
    return Outlook(np.zeros((0, 0, 6)), np.zeros((1, 0)))
