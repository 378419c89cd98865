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
def certainty_equivalent(
    t, rows, soc_kwh, now, state, forecast, terminal, weather, price, load_mean, powers, room,
    battery_kw,
):  # fmt: skip
    """Battery power that is optimal if the future is its conditional mean.

    Args:
        t: Period.
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
        battery_kw: Shape (n,), overwritten, kW.

    Returns:
        False where the room was too small.
    """
    T = forecast.shape[0]
    left = T - t - 1
    series = np.empty((4, left))
    offset = np.empty(left + 2, dtype=np.int64)
    value = np.empty(left + 1)
    slopes, lengths = np.empty(room), np.empty(room)
    m = len(weather)
    for i in range(len(soc_kwh)):
        for k in range(left):
            ahead = forecast[t + 1 + k]
            pv, factor = 0.0, 0.0
            for s in range(m):
                chance = powers[k + 1, state[i], s]
                pv += chance * realised_pv(weather[s], ahead[PV, i], rows[i, PV_KWP])
                factor += chance * price[s]
            series[LOAD, k] = ahead[LOAD, i] * load_mean
            series[PV, k] = pv
            series[BUY, k] = ahead[BUY, i] * factor
            series[SELL, k] = ahead[SELL, i]
        if not backward(rows[i], series, terminal[i], offset, value, slopes, lengths):
            return False
        start, end = offset[left], offset[left + 1]
        battery_kw[i] = best_battery(
            rows[i], soc_kwh[i], now[LOAD, i], 0.0, now[PV, i], now[BUY, i], now[SELL, i],
            slopes[start:end], lengths[start:end],
        )  # fmt: skip
    return True
