"""The pictures of ``flexgym evaluate household``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flexgym.envs.data.calendar import date
from flexgym.envs.household.dynamics import CAPACITY, NEEDED_KWH, PV, SOC_KWH
from flexgym.envs.household.params import DT_H, Floats
from flexgym.envs.household.render import clock
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.evaluate.chart_picture import chart_picture
from flexgym.evaluate.cost_map import cost_map_picture
from flexgym.evaluate.day_picture import chart_at, dispatch_picture, energy_in_car
from flexgym.evaluate.pictures import score_picture
from flexgym.evaluate.rollout import HouseDays, trace
from flexgym.policies.base import HouseholdPolicy
from flexgym.policies.household import Optimal


def household_pictures(
    out: Path,
    results: dict[str, Any],
    played: HouseDays,
    policy: HouseholdPolicy,
    optimal: Optimal,
) -> None:
    """Write ``scores.png``, and of one telling day ``day.png``, ``cost_map.png``, ``chart.png``.

    Args:
        out: Folder.
        results: The content of ``results.json``.
        played: The house-days.
        policy: Whose day is drawn.
        optimal: Solves it.
    """
    score_picture(out / "scores.png", results)
    index = telling_day(played)
    optimal.begin(played.begin(slice(index, index + 1)))
    solved = optimal.solved[0]
    simulation, outcomes = trace(policy, played, index)
    day = date(int(played.day[index]))
    where = f"house {played.house[index]}, {day.day} {day:%B}"
    dispatch_picture(out / "day.png", simulation, outcomes, solved, f"{policy.name}, {where}")
    cost_map_picture(out / "cost_map.png", solved, title=f"What the future costs, {where}")
    period = telling_period(simulation, outcomes)
    chart = chart_at(simulation, outcomes, solved, period)
    chart_picture(out / "chart.png", chart, f"Flexibility at {clock(period)}, {where}")


def telling_day(played: HouseDays) -> int:
    """Position of a house-day with much sun while the car is there, if one needs charging."""
    scenario = played.scenario
    pv = scenario.forecast(played.house, played.day)[:, PV]
    charging = np.zeros(pv.shape, dtype=bool)
    for i, (house, day) in enumerate(zip(played.house, played.day, strict=True)):
        car = scenario.houses[house].car
        for session in scenario.sessions_of(int(house), int(day)):
            if car is not None and session.needed_kwh - session.arrival_kwh > car.power_kw * DT_H:
                charging[session.arrival : session.departure, i] = True
    able = np.flatnonzero(charging.any(axis=0)) if charging.any() else np.arange(len(played))
    sunshine = np.where(charging, pv, 0.0).sum(axis=0) if charging.any() else pv.sum(axis=0)
    order = able[np.argsort(sunshine[able], kind="stable")]
    # Without a car not the sunniest: a battery is for days neither dark nor full of sun.
    return int(order[int((0.95 if charging.any() else 0.8) * (len(order) - 1))])


def telling_period(simulation: HouseholdSimulation, outcomes: Floats) -> int:
    """The sunniest period in which the car still needs energy, else with room in the battery."""
    episodes = simulation.episodes
    able = np.zeros(len(outcomes), dtype=bool)
    for t in range(len(outcomes)):
        stored = energy_in_car(simulation, outcomes, t)
        able[t] = stored is not None and episodes.visits[t, NEEDED_KWH, 0] - stored > 0.1
    if not able.any():
        capacity = float(episodes.rows[0, CAPACITY])
        soc = np.append(episodes.soc_kwh, outcomes[:-1, SOC_KWH])
        able = (soc > 0.2 * capacity) & (soc < 0.8 * capacity)
    # A glimmer of sun does not count: then the first such period.
    return int(np.argmax(np.where(able, episodes.exogenous[:, PV, 0].clip(0.5), 0.0)))
