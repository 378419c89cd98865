"""The cheapest hours of a window on given prices: best on known ones, a plan on forecasts.

Ties go to the earliest hours, within `TIE_EUR_PER_KWH`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.baselines.appliance.hurdle import TIE_EUR_PER_KWH
from flexgym.baselines.appliance.stopping import window_cost
from flexgym.envs.compiled import compiled
from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import JobError
from flexgym.envs.household.params import Floats
from flexgym.envs.quantity import as_floats


def cheapest_start(price_eur_per_kwh: ArrayLike, hours: int) -> int:
    """Hour in which ``hours`` hours on end begin that cost least.

    Args:
        price_eur_per_kwh: Prices of the window, shape (H,), EUR/kWh.
        hours: How long it runs, 0 to H.

    Raises:
        JobError: The job is longer than the window, or a price is not finite.
    """
    price = _window(price_eur_per_kwh, hours)
    return int(first_start(price, hours, 0, len(price)))


def cheapest_hours(price_eur_per_kwh: ArrayLike, hours: int) -> NDArray[np.int64]:
    """The ``hours`` hours that cost least, ascending; arguments as `cheapest_start`."""
    price = _window(price_eur_per_kwh, hours)
    chosen = np.zeros(len(price), dtype=np.bool_)
    mark_hours(price, hours, 0, len(price), chosen)
    return np.flatnonzero(chosen)


def _window(price_eur_per_kwh: ArrayLike, hours: int) -> Floats:
    price, number = as_floats(price_eur_per_kwh, "price_eur_per_kwh", JobError), as_index(hours)
    if price.ndim != 1 or not np.isfinite(price).all():
        raise JobError(f"the prices are of shape {price.shape}; expected (H,) finite numbers.")
    if number is None or not 0 <= number <= len(price):
        raise JobError(
            f"the job runs {hours!r} hours and the window has {len(price)}; expected a whole "
            "number of hours and a window at least as long as the job. Move the deadline, or "
            "shorten the job."
        )
    return price


@compiled
def first_start(price, hours, earliest, deadline):
    """See `cheapest_start`; ``price`` of shape (T,), the window earliest <= t < deadline."""
    best, at = np.inf, earliest
    for t in range(earliest, deadline - hours + 1):
        cost = window_cost(price, t, hours)
        if cost < best - TIE_EUR_PER_KWH:
            best, at = cost, t
    return at


@compiled
def mark_hours(price, hours, earliest, deadline, chosen):
    """See `cheapest_hours`; sets ``chosen``, shape (T,), where the window's cheapest are."""
    for t in range(len(chosen)):
        chosen[t] = False
    for _ in range(hours):
        best, at = np.inf, -1
        for t in range(earliest, deadline):
            if not chosen[t] and price[t] < best - TIE_EUR_PER_KWH:
                best, at = price[t], t
        chosen[at] = True


@compiled
def plan_rows(price, hours, earliest, deadline, interruptible, chosen):
    """Cheapest hours of many jobs on their prices.

    Args:
        price: Shape (m, T), EUR/kWh.
        hours: Hours to run, shape (m,).
        earliest: First hour that may be used, shape (m,).
        deadline: Hour after the last one, shape (m,).
        interruptible: Whether each may pause, shape (m,).
        chosen: Shape (m, T), overwritten.
    """
    for i in range(len(price)):
        if interruptible[i]:
            mark_hours(price[i], hours[i], earliest[i], deadline[i], chosen[i])
        else:
            chosen[i] = False
            at = first_start(price[i], hours[i], earliest[i], deadline[i])
            chosen[i, at : at + hours[i]] = True
