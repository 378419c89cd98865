"""An hour of many appliances: who runs, what it costs. The rules of a job are in `job`."""

from __future__ import annotations

from flexgym.envs.appliance.job import advance, runs
from flexgym.envs.compiled import compiled

(RAN, FORCED, REFUSED, HOURS_LEFT, POWER_KW, EXPECTED, PRICE, COST_EUR) = range(8)
OUTCOME_NAMES = (
    "ran", "forced", "refused", "hours_left", "power_kw", "expected_eur_per_kwh",
    "price_eur_per_kwh", "cost_eur",
)  # fmt: skip
"""Columns of an outcome. ``forced``: it ran although idling was wished, because time was up or
it may not pause; ``refused``: it idled although running was wished, because it was finished or
outside its window. ``expected_eur_per_kwh`` is the price as known when deciding."""


@compiled
def step(
    t, action, hours, earliest, deadline, power_kw, interruptible, row, signal, price, expected,
    left, running, outcome,
):  # fmt: skip
    """Play hour t of n appliances.

    Args:
        t: Hour.
        action: Shape (n,); above 0 wishes to run.
        hours: Shape (n,), as the next four fields of `Jobs`.
        earliest: See there.
        deadline: See there.
        power_kw: See there.
        interruptible: See there.
        row: Position in ``expected``, shape (n,).
        signal: Shape (n, T).
        price: Charged, shape (n, T), EUR/kWh.
        expected: Given the signal, shape (D, T, n signals), EUR/kWh.
        left: Hours left to run, shape (n,); overwritten.
        running: Whether it ran in the hour before and is not finished, shape (n,); overwritten.
        outcome: Shape (n, 8), columns `OUTCOME_NAMES`, overwritten.

    Returns:
        -1, or the position of an action outside [-1, 1]; then nothing has happened.
    """
    n = len(action)
    for i in range(n):
        if not abs(action[i]) <= 1.0:
            return i
    for i in range(n):
        wanted = action[i] > 0.0
        ran = runs(
            t, left[i], earliest[i], deadline[i], running[i], interruptible[i], wanted
        )  # fmt: skip
        left[i], running[i] = advance(left[i], ran)
        power = power_kw[i] if ran else 0.0
        paid = price[i, t]
        outcome[i, RAN] = 1.0 if ran else 0.0
        outcome[i, FORCED] = 1.0 if ran and not wanted else 0.0
        outcome[i, REFUSED] = 1.0 if wanted and not ran else 0.0
        outcome[i, HOURS_LEFT] = left[i]
        outcome[i, POWER_KW] = power
        outcome[i, EXPECTED] = expected[row[i], t, signal[i, t]]
        outcome[i, PRICE] = paid
        # A period is an hour, so that kW are kWh.
        outcome[i, COST_EUR] = power * paid if ran else 0.0
    return -1
