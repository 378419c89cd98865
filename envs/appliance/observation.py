"""What an appliance sees: its job, the hour, the price now and forecasts, scaled by hand."""

from __future__ import annotations

import math

import numpy as np

from flexgym.envs.appliance.job import may_run, must_run, slack
from flexgym.envs.compiled import compiled
from flexgym.envs.data.calendar import START_QUARTER

START_HOUR = START_QUARTER // 4
"""Hour of the clock at which an episode starts."""
OBSERVATION_LIMIT = 1e6
"""Bound of every entry; usual prices stay within ten, and `SignalProcess` takes none beyond."""
_NAMES = (
    "hours_left [4 h]",
    "hours_to_earliest [12 h]",
    "hours_to_deadline [12 h]",
    "slack [12 h]",
    "running [1]",
    "interruptible [1]",
    "may_run [1]",
    "must_run [1]",
    "power [kW]",
    "sine_of_time [1]",
    "cosine_of_time [1]",
    "signal [from -1 to 1]",
    "price_now [0.1 EUR/kWh]",
    "waiting_saves [0.1 EUR/kWh]",
)
AHEAD = len(_NAMES)
"""Position of the first forecast."""


def observation_names(periods: int) -> tuple[str, ...]:
    """Name and unit of each entry for an episode of so many hours."""
    return (
        *_NAMES,
        *(f"price_in_{k}_h_above_now [0.1 EUR/kWh]" for k in range(1, periods)),
    )


@compiled
def waiting_saves(t, left, deadline, ahead, interruptible):
    """What waiting this hour saves by the forecasts, for each kWh that it puts off, EUR/kWh.

    Where the job may pause: this hour's price less that of the dearest later hour it would then
    run in. Where it may not: the mean price of its hours if it begins now, less the cheapest later
    begin's. Forecasts alone: what news may still bring is not in it.

    Args:
        t: Hour, within the window.
        left: Hours left to run, > 0 and fewer than the window has left.
        deadline: Hour after the window's last.
        ahead: Expected prices given what is known now, shape (T,), EUR/kWh.
        interruptible: Whether the job may pause.
    """
    if interruptible:
        return ahead[t] - np.sort(ahead[t + 1 : deadline])[left - 1]
    cost = ahead[t : t + left].sum()
    first, best = cost, np.inf
    for u in range(t + 1, deadline - left + 1):
        cost += ahead[u + left - 1] - ahead[u - 1]
        best = min(best, cost)
    return (first - best) / left


@compiled
def observe(t, jobs, left, running, row, signal, price, forecast, out):
    """Write observations.

    Forecasts are expected prices given the signal of this hour; beyond the deadline, where they
    do not matter, they are 0. What waiting saves is 0 where there is nothing to decide. After the
    last hour signal and prices are 0.

    Args:
        t: Hour.
        jobs: Fields of `Jobs`.
        left: Hours left to run, shape (n,).
        running: Shape (n,).
        row: Position in the tables, shape (n,).
        signal: Shape (n, T).
        price: Expected price, shape (D, T, signals), EUR/kWh.
        forecast: Shape (D, T, signals, T), EUR/kWh.
        out: Shape (n, 14 + T - 1), float32, overwritten.
    """
    _, earliest, deadline, power_kw, interruptible = jobs
    T, signals = price.shape[1], price.shape[2]
    angle = 2.0 * math.pi * ((START_HOUR + t) % 24) / 24.0
    sine, cosine = math.sin(angle), math.cos(angle)
    for i in range(len(left)):
        begin, end, now = earliest[i], deadline[i], out[i]
        may = may_run(t, left[i], begin, end, running[i], interruptible[i])
        must = must_run(t, left[i], begin, end, running[i], interruptible[i])
        now[0] = left[i] / 4.0
        now[1] = max(begin - t, 0) / 12.0
        now[2] = max(end - t, 0) / 12.0
        now[3] = slack(t, left[i], begin, end) / 12.0
        now[4] = 1.0 if running[i] else 0.0
        now[5] = 1.0 if interruptible[i] else 0.0
        now[6] = 1.0 if may else 0.0
        now[7] = 1.0 if must else 0.0
        now[8] = power_kw[i]
        now[9], now[10] = sine, cosine
        for k in range(11, len(now)):
            now[k] = 0.0
        if t >= T:
            continue
        s = signal[i, t]
        if signals > 1:
            now[11] = 2.0 * s / (signals - 1) - 1.0
        current = price[row[i], t, s]
        now[12] = 10.0 * current
        ahead = forecast[row[i], t, s]
        if may and not must:
            now[13] = 10.0 * waiting_saves(t, left[i], end, ahead, interruptible[i])
        for u in range(t + 1, end):
            now[13 + u - t] = 10.0 * (ahead[u] - current)
