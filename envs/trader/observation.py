"""What a trader sees."""

from __future__ import annotations

import numpy as np

from flexgym.envs.household.params import Floats
from flexgym.envs.trader.dynamics import Ints
from flexgym.envs.trader.params import TraderTerms
from flexgym.envs.trader.scenario import Episodes, Quotes

OBSERVATION_LIMIT = 100.0
OBSERVATION_NAMES = (
    "hours_over [episode]",
    "trading_left [trading hours]",
    "delivering [1]",
    "price_above_strike [0.1 EUR/kWh]",
    "delivery_above_strike [0.1 EUR/kWh]",
    "call_value [0.1 EUR/kWh]",
    "forward_above_value [0.01 EUR/kWh]",
    "premium_above_value [0.01 EUR/kWh]",
    "strike [0.1 EUR/kWh]",
    "covered [need]",
    "optioned [need]",
    "open [need]",
)
"""Name and unit of each entry. ``price`` is the expected spot price of the hour, ``delivery`` that
of the hours of delivery on average, ``call`` an option on them; value is that under the price
model, and what is above it is the market's mispricing. Delivery, call and quotes are 0 when trading
is over. Covered are lots bought forward, optioned those with an option, open the rest."""


def observe(
    terms: TraderTerms, quotes: Quotes, episodes: Episodes, t: int, covered: Ints, optioned: Ints
) -> np.ndarray:
    """Observation of each trader, shape (n, 12), float32.

    Args:
        terms: The need.
        quotes: Tables of all days.
        episodes: What was drawn.
        t: Hour, 0 to T; at the end what was seen last.
        covered: Lots bought forward, shape (n,).
        optioned: Lots with an option, shape (n,).
    """
    out = np.zeros((len(covered), len(OBSERVATION_NAMES)))
    hours, D = terms.hours, terms.first_delivery
    now = min(t, hours - 1)
    row, signal = episodes.row, episodes.signal[:, now]
    out[:, 0], out[:, 1], out[:, 2] = t / hours, max(D - t, 0) / D, float(t >= D)
    strike = quotes.strike[row]
    out[:, 3] = (quotes.price[row, now, signal] - strike) / 0.1
    if t < D:
        block, call = quotes.block[row, t, signal], quotes.call[row, t, signal]
        forward, premium = quoted(quotes, episodes, t)
        out[:, 4], out[:, 5] = (block - strike) / 0.1, call / 0.1
        out[:, 6], out[:, 7] = (forward - block) / 0.01, (premium - call) / 0.01
    out[:, 8] = strike / 0.1
    out[:, 9], out[:, 10] = covered / terms.need_lots, optioned / terms.need_lots
    out[:, 11] = 1.0 - out[:, 9] - out[:, 10]
    return out.clip(-OBSERVATION_LIMIT, OBSERVATION_LIMIT).astype(np.float32)


def quoted(quotes: Quotes, episodes: Episodes, t: int) -> tuple[Floats, Floats]:
    """Quotes of a forward and of an option in an hour of trading, (n,) each, EUR/kWh."""
    at = episodes.row, t, episodes.signal[:, t], episodes.quote[:, t]
    return quotes.forward[at], quotes.premium[at]
