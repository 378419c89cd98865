"""What jobs had cost, had all prices been known: a bound, no policy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.appliance.window import plan_rows
from flexgym.envs.appliance.params import PERIOD_H, Jobs
from flexgym.envs.errors import JobError
from flexgym.envs.household.params import Floats
from flexgym.envs.quantity import as_floats


def perfect_foresight(jobs: Jobs, price_eur_per_kwh: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Least cost of n jobs on their realised prices, and the hours in which they run.

    Args:
        jobs: The jobs.
        price_eur_per_kwh: Shape (n, T), EUR/kWh.

    Returns:
        Costs, shape (n,), EUR, and hours, shape (n, T).

    Raises:
        JobError: Prices are not finite or too few, or the jobs none.
    """
    if not isinstance(jobs, Jobs):
        raise JobError(f"jobs is {type(jobs).__name__}; expected Jobs. Stack jobs with Jobs.of.")
    price = as_floats(price_eur_per_kwh, "price_eur_per_kwh", JobError)
    n = len(jobs.hours)
    if price.ndim != 2 or len(price) != n or not np.isfinite(price).all():
        raise JobError(f"the prices are of shape {price.shape}; expected ({n}, T) finite numbers.")
    if n and jobs.deadline.max() > price.shape[1]:
        raise JobError(
            f"a window ends at hour {jobs.deadline.max()} and there are {price.shape[1]} prices; "
            "expected deadlines within them."
        )
    hours = np.zeros(price.shape, dtype=bool)
    plan_rows(price, jobs.hours, jobs.earliest, jobs.deadline, jobs.interruptible, hours)
    return PERIOD_H * jobs.power_kw * np.where(hours, price, 0.0).sum(axis=1), hours
