"""Feeder-days played by menus, with what was sent and what was to stay at home."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field

import numpy as np

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.coarse import coarsen_active
from flexgym.envs.feeder.clearing import load_kvar
from flexgym.envs.feeder.homes import follow, homes_of
from flexgym.envs.household.dynamics import BUY, CAPACITY, LOAD, PV, PV_KWP, SELL
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.evaluate.attack import menu_features, public_features
from flexgym.evaluate.feeder_sample import FeederDays
from flexgym.evaluate.processes import processes
from flexgym.policies.menus import Menus
from flexgym.policies.planning import Expected

PLAN_EVERY = 4
"""Periods between two plans of a house: an hour."""
SECRETS = ("soc_kwh", "soc_percent", "pv_kw", "load_kw", "car_kwh")
"""What attackers guess: state of charge, PV, load, and energy that the plugged-in car lacks."""
REACTIVE_EVERY = 8
"""Periods between two looks at the size of the chart in active and reactive power."""


@dataclass(frozen=True, eq=False)
class WatchedDay:
    """What one feeder-day with menus of at most so many vertices cost and told.

    Attributes:
        totals: Shape (names,), columns `FEEDER_NAMES`.
        menu_bytes: Mean size of the messages in active power.
        chart_bytes: Mean size of the charts in active and reactive power; 0 where coarsened.
        sessions: Mean number of a car's visits.
        power_kw: What the houses were asked for, shape (T, H), kW; empty where not watched,
            as what follows.
        kvar: Reactive power of the loads, shape (T, H), kvar.
        secrets: Shape (T, H, 5), columns `SECRETS`.
        public: See `public_features`, shape (T, p).
        seen: Features of each limit's menus in the same states, shape (T, H, f).
    """

    totals: Floats
    menu_bytes: float
    chart_bytes: float
    sessions: float
    power_kw: Floats
    kvar: Floats
    secrets: Floats
    public: Floats
    seen: dict[int | None, Floats] = field(default_factory=dict)


def watch_day(
    days: FeederDays,
    index: int,
    n_vertices: int | None = None,
    watched: tuple[int | None, ...] = (),
) -> WatchedDay:
    """Play one of the feeder-days.

    Args:
        days: The feeder-days.
        index: Which.
        n_vertices: Most vertices of a menu; None sends all.
        watched: Limits of vertices by which attackers may see the menus; empty keeps nothing of
            what they see and want.
    """
    policy = Menus(Expected(PLAN_EVERY), n_vertices=n_vertices)
    simulation = days.begin(slice(index, index + 1), detail=True, **policy.settings)
    policy.begin(simulation)
    homes = homes_of(simulation)
    size, charts = [], [0.0]
    kept: dict[int | None, list[Floats]] = {limit: [] for limit in watched}
    power, kvar, secrets, outside = [], [], [], []
    for t in range(STEPS_PER_DAY):
        follow(homes, simulation)
        actions = policy.act(simulation)
        menus = [FlexibilityChart(menu.power_kw, menu.cost_eur) for menu in policy.menus[0]]
        size += [len(menu.to_bytes()) for menu in menus]
        if n_vertices is None and watched and t % REACTIVE_EVERY == 0:
            charts += [float(len(menu.to_bytes())) for menu in policy.menus[0]]
        if watched:
            buy, sell = (float(x) for x in homes.now[[BUY, SELL], 0])
            for limit, there in kept.items():
                sent = menus if limit is None else [coarsen_active(m, limit) for m in menus]
                there.append(np.stack([menu_features(menu, buy, sell) for menu in sent]))
            rating = homes.episodes.rows[:, PV_KWP].sum()
            outside.append((buy, sell, homes.now[PV].sum() / rating if rating > 0.0 else 0.0))
            power.append(policy.answers[0].power_kw)
            kvar.append(load_kvar(homes))
            capacity = homes.episodes.rows[:, CAPACITY]
            share = 100.0 * homes.soc_kwh / np.where(capacity > 0.0, capacity, 1.0)
            secrets.append(np.column_stack([
                homes.soc_kwh, share, homes.now[PV], homes.now[LOAD], homes.missing_kwh
            ]))  # fmt: skip
        simulation.step(actions)
    visits = [len(homes.realised_series(row).sessions) for row in range(homes.n)]
    return WatchedDay(
        totals=simulation.episode[0].copy(),
        menu_bytes=float(np.mean(size)),
        chart_bytes=float(np.mean(charts[1:])) if len(charts) > 1 else 0.0,
        sessions=float(np.mean(visits)),
        power_kw=np.array(power),
        kvar=np.array(kvar),
        secrets=np.array(secrets),
        public=public_features(*np.array(outside).T) if watched else np.empty(0),
        seen={limit: np.stack(there) for limit, there in kept.items()},
    )


Task = tuple[str, int, int | None, tuple[int | None, ...]]
"""Which feeder-days, which of them, most vertices, by which limits it is watched."""


def watch_days(
    make: Callable[[], dict[str, FeederDays]],
    tasks: Sequence[Task],
    *,
    workers: int = 1,
    progress: Callable[[], object] = lambda: None,
) -> dict[Task, WatchedDay]:
    """Play feeder-days, side by side with several workers.

    Args:
        make: Makes the feeder-days by name, in any process.
        tasks: What to play.
        workers: Processes.
        progress: Called after each feeder-day.
    """
    found = {}
    if workers > 1 and len(tasks) > 1:
        with processes(min(workers, len(tasks)), _begin, make) as pool:
            waiting = {pool.submit(_watch, task): task for task in tasks}
            for done in as_completed(waiting):
                found[waiting[done]] = done.result()
                progress()
        return found
    _begin(make)
    for task in tasks:
        found[task] = _watch(task)
        progress()
    return found


_DAYS: dict[str, FeederDays]


def _begin(make: Callable[[], dict[str, FeederDays]]) -> None:
    global _DAYS
    _DAYS = make()


def _watch(task: Task) -> WatchedDay:
    name, index, n_vertices, watched = task
    return watch_day(_DAYS[name], index, n_vertices, watched)
