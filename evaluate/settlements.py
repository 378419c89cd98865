"""What clearing menus paid on a feeder-day, whom it left worse off, and what it told."""

from __future__ import annotations

import numpy as np

from flexgym.envs.charts.settlement import gini, inflation_gain, jain, pay_for_plan
from flexgym.envs.household.params import DT_H, Floats
from flexgym.policies.exchange import message_bytes
from flexgym.policies.menus import Menus

INFLATION = 0.1
"""Share by which a house declares too large a plan, where it is asked what that is worth."""
WORSE_EUR = 1e-6
RULES = ("pay-as-bid", "marginal", "day-plan")
"""Payments: the harm declared; DLMP against the choice of the moment; prices announced before the
day against the declared plan, deviations as bid."""


def settled(policy: Menus, house_eur: Floats) -> dict[str, float]:
    """Payments of a day under each rule, and what they mean for the houses.

    Args:
        policy: Menus that have just played one feeder.
        house_eur: Each house's own cost over the day, shape (H,), EUR.

    Returns:
        Numbers by name. ``deficit`` is what the operator pays over the day; ``least_deficit`` is
        what leaving everybody as well off as alone would take: the cost of the houses above that
        of their own choices with the same knowledge. ``worse`` counts houses that a rule leaves
        worse off than that, ``worst`` is the largest loss, EUR.
    """
    day = policy.day
    feasible, harms = day.feasible[:, :1] > 0.0, day.harm_eur[:, 0]
    announced = day.expected_eur_per_kwh[:, 0]
    price = day.price_eur_per_kwh[:, :, 0].sum(axis=1)
    # Playing alone takes planning anew, which is nothing of the day's own effort.
    seconds = dict(policy.seconds)
    own, power, plan = day.own_kw[:, 0], day.power_kw[:, 0], policy.plans()[:, 0]
    paid = {
        "pay-as-bid": harms.sum(axis=0),
        # Where limits cannot be kept, what is paid is the harm; see `pay_marginal`.
        "marginal": np.where(feasible, DT_H * price * (own - power), harms).sum(axis=0),
        "day-plan": pay_for_plan(announced, plan, power, day.deviation_eur[:, 0]),
    }
    alone = policy.alone_eur()[0]
    harm = house_eur - alone
    found = {
        "least_deficit_eur": float(harm.sum()),
        "menu_harm_eur": float(harms.sum()),
        "moved_percent": float(100.0 * (np.abs(own - power) > 1e-6).mean()),
        "bytes_per_period": message_bytes(float(day.vertices.mean())),
        "planning_bytes": policy.planning_bytes,
        "solves_most": float(day.solves.max()),
        "infeasible_periods": float((day.feasible == 0.0).sum()),
        "unclean_periods": float(((day.clean == 0.0) & (day.feasible > 0.0)).sum()),
        "menu_s": seconds["menus"],
        "clear_s": seconds["clearing"],
        "expecting_s": seconds["expecting"],
        "inflation_gain_eur": float(inflation_gain(announced, plan, INFLATION).mean()),
    }
    for rule in RULES:
        gain = paid[rule] - harm
        found |= {
            f"{rule}_deficit_eur": float(paid[rule].sum()),
            f"{rule}_worse": float((gain < -WORSE_EUR).sum()),
            f"{rule}_worst_eur": float(max(-gain.min(), 0.0)),
            f"{rule}_jain": jain(np.maximum(paid[rule], 0.0)),
            f"{rule}_gini": gini(np.maximum(paid[rule], 0.0)),
        }
    return found
