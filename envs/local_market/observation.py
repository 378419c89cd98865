"""What a participant sees: its own data, and what the market publishes. Nobody else's data."""

from __future__ import annotations

import numpy as np

from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.dynamics import Terms
from flexgym.envs.local_market.params import HOURS

PRICE_SCALE = 0.4
"""Prices are shown as multiples of it, EUR/kWh."""
AHEAD = 4
"""Hours of forecasts shown, beginning with the next."""
NAMES = (
    "net_kwh", "position_kwh", "retail", "feed_in", "value", "cost", "limit",
    *(f"net_forecast_{k}_kwh" for k in range(1, AHEAD + 1)),
    "last_filled", "market_volume_kwh", "market_low", "market_high",
    *(f"solar_forecast_{k}" for k in range(AHEAD + 1)),
    "hour_sin", "hour_cos", "hours_left",
)  # fmt: skip
"""Entries in their order. Prices as multiples of `PRICE_SCALE`; the market's are those of the
last hour at the participant's node: kWh a participant, and the equilibrium interval, whose end is
one's own tariff where a side is empty."""


def observe(
    t: int,
    hour: Terms,
    forecast: Floats,
    solar: Floats,
    last: Floats,
) -> np.ndarray:
    """Observations of all participants.

    Args:
        t: The hour, 0 to 24.
        hour: Its terms; those of the last at the end.
        forecast: Of what each needs, shape (24, m, n), kWh.
        solar: Of roofs, shape (24, m), kWh per kW.
        last: Of the last hour: share of each order that was filled, volume a participant, and
            both ends of the interval, shape (4, m, n).

    Returns:
        Shape (m, n, entries), float32.
    """
    m, n = hour.net_kwh.shape
    out = np.zeros((len(NAMES), m, n), dtype=np.float32)
    out[0], out[1] = hour.net_kwh, hour.position_kwh
    for k, price in enumerate((hour.retail, hour.feed_in, hour.value, hour.cost, hour.limit)):
        out[2 + k] = price / PRICE_SCALE
    at = 7
    for k in range(1, AHEAD + 1):
        if t + k < HOURS:
            out[at + k - 1] = forecast[t + k]
    at += AHEAD
    filled, volume, low, high = last
    out[at], out[at + 1] = filled, volume
    out[at + 2] = np.where(np.isfinite(low), low, hour.feed_in) / PRICE_SCALE
    out[at + 3] = np.where(np.isfinite(high), high, hour.retail) / PRICE_SCALE
    at += 4
    for k in range(AHEAD + 1):
        if t + k < HOURS:
            out[at + k] = solar[t + k][:, None]
    at += AHEAD + 1
    angle = 2.0 * np.pi * t / HOURS
    out[at], out[at + 1], out[at + 2] = np.sin(angle), np.cos(angle), 1.0 - t / HOURS
    return np.ascontiguousarray(np.moveaxis(out, 0, -1))
