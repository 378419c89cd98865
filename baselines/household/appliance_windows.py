"""Schedules of appliances by search: each job where it adds least to the house's bill."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.appliance.window import cheapest_hours, cheapest_start
from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import BUY, LOAD, PV, SELL, house_row, idle_cost
from flexgym.envs.household.params import Appliance, Floats, House

Bools = NDArray[np.bool_]


@compiled
def _added_cost(house, series, power_kw, out):
    for t in range(len(out)):
        load, pv, buy, sell = series[LOAD, t], series[PV, t], series[BUY, t], series[SELL, t]
        more = idle_cost(house, load + power_kw, pv, buy, sell)
        out[t] = more - idle_cost(house, load, pv, buy, sell)


def added_cost(house: Floats, series: Floats, power_kw: float) -> Floats:
    """What more load adds to the bill of each period, battery and car idle, shape (T,), EUR.

    Args:
        house: Shape (18,), see `house_row`.
        series: Load, PV, import and export price, shape (4, T).
        power_kw: The load, kW.
    """
    out = np.empty(series.shape[1])
    _added_cost(house, series, power_kw, out)
    return out


def cheapest_periods(job: Appliance, cost: Floats) -> Bools:
    """Where a job adds least, given what a period adds, shape (T,), EUR; ties go to the earlier."""
    runs = np.zeros(len(cost), dtype=bool)
    within = cost[job.earliest : job.deadline]
    if job.interruptible:
        runs[job.earliest + cheapest_hours(within, job.periods)] = True
        return runs
    first = job.earliest + cheapest_start(within, job.periods)
    runs[first : first + job.periods] = True
    return runs


def cheapest_schedule(house: House, series: Floats) -> Bools:
    """Each job of a house in its cheapest periods beside those placed before, shape (k, T).

    Jobs are placed one after the other, those with most energy first; battery and car idle,
    and what the sun gives for nothing is counted once.

    Args:
        house: The house.
        series: Load, PV, import and export price, shape (4, T).
    """
    row, taken = house_row(house), series.copy()
    runs = np.zeros((len(house.appliances), series.shape[1]), dtype=bool)
    energy = [-job.power_kw * job.periods for job in house.appliances]
    for k in np.argsort(energy, kind="stable"):
        job = house.appliances[k]
        runs[k] = cheapest_periods(job, added_cost(row, taken, job.power_kw))
        taken[LOAD] += job.power_kw * runs[k]
    return runs
