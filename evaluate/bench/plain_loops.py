"""The rivals of ``flexgym bench contracts``: appliances and order books as plain Python loops.

The same rules as the environments', written as one would at first; tests hold them to the same
costs and trades.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flexgym.envs.household.params import Floats


class PlainJob(NamedTuple):
    """A job: hours to run in ``earliest <= t < deadline``, kW, and whether it may pause."""

    hours: int
    earliest: int
    deadline: int
    power_kw: float
    interruptible: bool


def appliance_day(
    job: PlainJob, price_eur_per_kwh: Sequence[float], forecast: Floats, wished: Sequence[bool]
) -> float:
    """Cost of one appliance's day, EUR, if it runs when wished, or when it must.

    Args:
        job: The job.
        price_eur_per_kwh: Price of each hour, T of them.
        forecast: Price of every hour as expected in each hour, shape (T, T), EUR/kWh; it goes into
            the observation of each hour, which an agent would be given.
        wished: Whether it is wished to run in each hour.
    """
    left, running, cost = job.hours, False, 0.0
    for t, (price, wish) in enumerate(zip(price_eur_per_kwh, wished, strict=True)):
        seen = np.empty(6 + len(forecast), dtype=np.float32)
        seen[:6] = (t, left, job.deadline - t, running, job.interruptible, job.power_kw)
        seen[6:] = forecast[t]
        inside = left > 0 and job.earliest <= t < job.deadline
        late = left >= job.deadline - t
        if inside and (wish or late or (running and not job.interruptible)):
            cost += job.power_kw * price
            left -= 1
            running = left > 0
        else:
            running = False
    return cost


def clear_book(
    price_eur_per_kwh: Sequence[float], volume_kwh: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Clear one book by merit order; buyers pay the sellers' asks. Prices must differ.

    Args:
        price_eur_per_kwh: Limit of each order.
        volume_kwh: Its volume, above 0 to buy, below 0 to sell.

    Returns:
        Traded kWh and paid EUR of each order, with the signs of the volumes.
    """
    people = range(len(volume_kwh))
    buyers = sorted((i for i in people if volume_kwh[i] > 0.0), key=lambda i: -price_eur_per_kwh[i])
    sellers = sorted((i for i in people if volume_kwh[i] < 0.0), key=lambda i: price_eur_per_kwh[i])
    traded, paid = [0.0] * len(people), [0.0] * len(people)
    left = [abs(volume) for volume in volume_kwh]
    for buyer in buyers:
        for seller in sellers:
            ask = price_eur_per_kwh[seller]
            if ask > price_eur_per_kwh[buyer] or left[buyer] <= 0.0:
                break
            kwh = min(left[buyer], left[seller])
            left[buyer] -= kwh
            left[seller] -= kwh
            traded[buyer] += kwh
            traded[seller] -= kwh
            paid[buyer] += kwh * ask
            paid[seller] -= kwh * ask
    return traded, paid
