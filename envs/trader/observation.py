"""What a trader sees."""

from __future__ import annotations

import numpy as np

from flexgym.envs.household.params import Floats
from flexgym.envs.trader.dynamics import Ints
from flexgym.envs.trader.params import TraderTerms
from flexgym.envs.trader.scenario import Episodes, Quotes

OBSERVATION_LIMIT = 100.0
OBSERVATION_NAMES = (
    "hour", "hours_to_delivery", "delivering", "price_eur_per_kwh", "delivery_eur_per_kwh",
    "call_eur_per_kwh", "forward_eur_per_kwh", "premium_eur_per_kwh", "strike_eur_per_kwh",
    "covered", "optioned", "open",
)  # fmt: skip
"""Share of the episode that is over; of the trading hours that are left; whether they are over;
expected spot price of this hour; expected mean price of the hours of delivery and value of an
option on them under the price model, then the two quotes (these four 0 when trading is over);
strike of the day; lots bought forward, lots with an option and neither, as shares of the need."""


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
    out[:, 3] = quotes.price[row, now, signal]
    if t < D:
        out[:, 4] = quotes.block[row, t, signal]
        out[:, 5] = quotes.call[row, t, signal]
        out[:, 6], out[:, 7] = quoted(quotes, episodes, t)
    out[:, 8] = quotes.strike[row]
    out[:, 9], out[:, 10] = covered / terms.need_lots, optioned / terms.need_lots
    out[:, 11] = 1.0 - out[:, 9] - out[:, 10]
    return out.clip(-OBSERVATION_LIMIT, OBSERVATION_LIMIT).astype(np.float32)


def quoted(quotes: Quotes, episodes: Episodes, t: int) -> tuple[Floats, Floats]:
    """Quotes of a forward and of an option in an hour of trading, (n,) each, EUR/kWh."""
    at = episodes.row, t, episodes.signal[:, t], episodes.quote[:, t]
    return quotes.forward[at], quotes.premium[at]
