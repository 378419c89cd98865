"""One step of model predictive control: plan as if everything went as expected."""

from __future__ import annotations

import numpy as np

from flexgym.envs.charts.recursion import backward, best_battery
from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import BUY, LOAD, PV, PV_KWP, SELL
from flexgym.envs.household.params import Floats
from flexgym.envs.uncertainty import Uncertainty, realised_pv


def expected_factors(uncertainty: Uncertainty, periods: int) -> Floats:
    """Powers of the transition matrix, shape (periods + 1, m, m)."""
    powers = [np.eye(uncertainty.n_states)]
    for _ in range(periods):
        powers.append(powers[-1] @ uncertainty.transition)
    return np.stack(powers)


@compiled
def conditional_means(t, state, forecast, rating, weather, price, load_mean, powers, series):
    """Expected load, PV and prices after period t given its Markov state.

    Args:
        t: Period.
        state: Markov state observed.
        forecast: Shape (T, 4).
        rating: Rated PV power, kW.
        weather: Weather factor of each Markov state, shape (m,).
        price: Price factor of each Markov state, shape (m,).
        load_mean: Mean load factor.
        powers: Powers of the transition matrix, shape (>= T, m, m).
        series: Shape (4, T - t - 1), overwritten.
    """
    for k in range(series.shape[1]):
        ahead = forecast[t + 1 + k]
        pv, factor = 0.0, 0.0
        for s in range(len(weather)):
            chance = powers[k + 1, state, s]
            pv += chance * realised_pv(weather[s], ahead[PV], rating)
            factor += chance * price[s]
        series[LOAD, k] = ahead[LOAD] * load_mean
        series[PV, k] = pv
        series[BUY, k] = ahead[BUY] * factor
        series[SELL, k] = ahead[SELL]


@compiled
def certainty_equivalent(
    t, chosen, rows, soc_kwh, now, state, forecast, terminal, weather, price, load_mean, powers,
    room, battery_kw,
):  # fmt: skip
    """Battery power that is optimal if the future is its conditional mean, the car away.

    Args:
        t: Period.
        chosen: Houses to plan for.
        rows: Houses, shape (n, 18).
        soc_kwh: State of charge, shape (n,), kWh.
        now: Measurements, shape (4, n).
        state: Markov state observed, shape (n,).
        forecast: Shape (T, 4, n).
        terminal: Pay for stored energy at the end, shape (n,), EUR/kWh.
        weather: Weather factor of each Markov state, shape (m,).
        price: Price factor of each Markov state, shape (m,).
        load_mean: Mean load factor.
        powers: Powers of the transition matrix, shape (>= T, m, m).
        room: Segments the recursion may store.
        battery_kw: Shape (n,), overwritten for those chosen, kW.

    Returns:
        False where the room was too small.
    """
    T = forecast.shape[0]
    left = T - t - 1
    series = np.empty((4, left))
    offset = np.empty(left + 2, dtype=np.int64)
    value = np.empty(left + 1)
    slopes, lengths = np.empty(room), np.empty(room)
    for i in chosen:
        conditional_means(
            t, state[i], forecast[:, :, i], rows[i, PV_KWP], weather, price, load_mean, powers,
            series,
        )  # fmt: skip
        if not backward(rows[i], series, terminal[i], offset, value, slopes, lengths):
            return False
        start, end = offset[left], offset[left + 1]
        battery_kw[i] = best_battery(
            rows[i], soc_kwh[i], now[LOAD, i], 0.0, now[PV, i], now[BUY, i], now[SELL, i],
            slopes[start:end], lengths[start:end],
        )  # fmt: skip
    return True
