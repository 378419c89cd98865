"""What a participant sees: its own data, and what the market publishes. Nobody else's data."""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.local_market.params import HOURS

PRICE_SCALE = 0.4
"""Prices are shown as multiples of it, EUR/kWh."""
AHEAD = 4
"""Hours of forecasts shown, beginning with the next."""
OBSERVATION_LIMIT = 1e6
"""Far beyond any observation; PettingZoo wants finite bounds."""
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


@compiled
def observe(t, terms, forecast, solar, last, out):
    """Observations of all participants.

    Args:
        t: The hour, 0 to 24.
        terms: Net energy, position, retail, feed-in, value, cost and limit of the hour, or of the
            last at the end; seven arrays (m, n).
        forecast: Of what each needs, shape (24, m, n), kWh.
        solar: Of roofs, shape (24, m), kWh per kW.
        last: Of the last hour: share of each order that was filled, volume a participant, and
            both ends of the interval, shape (4, m, n).
        out: Shape (m, n, entries), overwritten from its first entry.
    """
    net, position, retail, feed_in, value, cost, limit = terms
    m, n = net.shape
    angle = 2.0 * np.pi * t / HOURS
    sine, cosine, left = np.sin(angle), np.cos(angle), 1.0 - t / HOURS
    for r in range(m):
        for i in range(n):
            row = out[r, i]
            row[0], row[1] = net[r, i], position[r, i]
            row[2], row[3] = retail[r, i] / PRICE_SCALE, feed_in[r, i] / PRICE_SCALE
            row[4], row[5] = value[r, i] / PRICE_SCALE, cost[r, i] / PRICE_SCALE
            row[6] = limit[r, i] / PRICE_SCALE
            for k in range(1, AHEAD + 1):
                row[6 + k] = forecast[t + k, r, i] if t + k < HOURS else 0.0
            row[7 + AHEAD], row[8 + AHEAD] = last[0, r, i], last[1, r, i]
            low, high = last[2, r, i], last[3, r, i]
            row[9 + AHEAD] = (low if np.isfinite(low) else feed_in[r, i]) / PRICE_SCALE
            row[10 + AHEAD] = (high if np.isfinite(high) else retail[r, i]) / PRICE_SCALE
            for k in range(AHEAD + 1):
                row[11 + AHEAD + k] = solar[t + k, r] if t + k < HOURS else 0.0
            row[12 + 2 * AHEAD], row[13 + 2 * AHEAD], row[14 + 2 * AHEAD] = sine, cosine, left
