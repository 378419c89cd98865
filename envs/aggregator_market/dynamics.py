"""The market's rules as pure functions: the environment and the exact programs share them."""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled


@compiled
def owed_h(owed_percent, mean_percent, most_h):
    """What consumers feel they owe, hours of the mean load.

    Args:
        owed_percent: Sum of the hours' loads times magnetisations so far, %.
        mean_percent: Mean load of the day's hours, %.
        most_h: Bound of what is felt.
    """
    hours = np.rint(10.0 * owed_percent / mean_percent) / 10.0
    return min(max(hours, -most_h), most_h)


@compiled
def local_field(directive, quote, owed, incentive, shadow_price, rebound):
    """Field that a consumer feels, from the levels above and from what it owes.

    Args:
        directive: Of the DSO.
        quote: Price that the aggregator pays, EUR/MWh.
        owed: Of `owed_h`, hours.
        incentive: Field of one EUR/MWh.
        shadow_price: Price at which consumers do not care, EUR/MWh.
        rebound: What one owed hour adds to it, EUR/MWh per hour.
    """
    return directive + incentive * (quote - shadow_price - rebound * owed)


@compiled
def highest_quote(rtem, lowest, highest, step, profit_factor):
    """Largest multiple of ``step`` above ``lowest`` that may be quoted, EUR/MWh."""
    room = min(highest, rtem / profit_factor) - lowest
    return lowest + step * max(np.floor(room / step + 1e-9), 0.0)


@compiled
def quoted(action, rtem, lowest, highest, step, profit_factor):
    """Quote of an action in [-1, 1]: a share of what may be quoted, rounded to the step."""
    room = max(min(highest, rtem / profit_factor) - lowest, 0.0)
    steps = np.rint(0.5 * (action + 1.0) * room / step)
    most = highest_quote(rtem, lowest, highest, step, profit_factor)
    return min(lowest + step * steps, most)


@compiled
def directed(action, most, step):
    """Directive of an action in [-1, 1]: a share of the largest, rounded to the step."""
    largest = step * np.floor(most / step + 1e-9)
    return min(max(step * np.rint(action * most / step), -largest), largest)


@compiled
def energy_mwh(share, percent, load_kw):
    """Energy that a share of the network schedules in an hour, MWh."""
    return share * 1e-5 * percent * load_kw


@compiled
def settlement_eur(owed_percent, share, load_kw, shortage):
    """What is paid at the end of the day for the energy that is still owed, EUR."""
    return shortage * energy_mwh(share, max(owed_percent, 0.0), load_kw)


@compiled
def settlements(owed_percent, share, load_kw, shortage):
    """`settlement_eur` of each payer in each market, shape (n, payers), EUR.

    Args:
        owed_percent: Shape (n, payers), %.
        share: Share of the load of each payer, shape (payers,).
        load_kw: The network's load.
        shortage: Price of what is owed, EUR/MWh.
    """
    due = np.empty_like(owed_percent)
    for i in range(due.shape[0]):
        for k in range(due.shape[1]):
            due[i, k] = settlement_eur(owed_percent[i, k], share[k], load_kw, shortage)
    return due
