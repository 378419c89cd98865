"""The cheapest dispatch of a day that is known in advance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flexgym.baselines.household.appliance_program import best_schedule, with_schedule
from flexgym.baselines.household.linear_program import HouseDayProgram, PerfectForesight
from flexgym.envs.errors import SolverError
from flexgym.envs.household.dynamics import house_row, next_car, next_soc, visits
from flexgym.envs.household.params import House, Series
from flexgym.envs.household.stage import is_convex

_SAME_EUR = 1e-7
"""Within this a schedule costs what the program that found it says: its tolerances."""


def perfect_foresight(
    house: House, series: Series, *, soc_kwh: float, terminal_eur_per_kwh: float = 0.0
) -> PerfectForesight:
    """Cheapest dispatch of a day that is known in advance: a bound no policy can beat.

    Appliances are planned together with battery and car, by a mixed-integer program.

    Args:
        house: The house.
        series: What happens, T periods.
        soc_kwh: State of charge at the start, kWh.
        terminal_eur_per_kwh: Pay for energy in the battery at the end, EUR/kWh.

    Raises:
        StateError: The state of charge lies outside the battery's limits.
        ConvexityError: The import price exceeds the price of unserved load.
        SeriesError: The sessions do not fit the car.
        JobError: An appliance's window ends after the series.
        SolverError: HiGHS found no optimum.
    """
    if house.appliances:
        return _with_appliances(house, series, soc_kwh, terminal_eur_per_kwh)
    row = house_row(house)
    exclusive = (
        terminal_eur_per_kwh < 0
        or (house.car is not None and series.import_eur_per_kwh.min() < 0)
        or (
            is_convex(
                row,
                series.load_kw,
                series.pv_kw,
                series.import_eur_per_kwh,
                series.export_eur_per_kwh,
            )
            >= 0
        )
    )
    program = HouseDayProgram(house, len(series), exclusive=exclusive)
    found = program.solve(series, soc_kwh=soc_kwh, terminal_eur_per_kwh=terminal_eur_per_kwh)
    if exclusive or not _wastes(house, series, found):
        return found
    # A tie: wasting energy costs nothing here, but no battery can play it.
    program = HouseDayProgram(house, len(series), exclusive=True)
    return program.solve(series, soc_kwh=soc_kwh, terminal_eur_per_kwh=terminal_eur_per_kwh)


def _with_appliances(
    house: House, series: Series, soc_kwh: float, terminal_eur_per_kwh: float
) -> PerfectForesight:
    """The best schedule, and the exact dispatch beside it."""
    energies = {"soc_kwh": soc_kwh, "terminal_eur_per_kwh": terminal_eur_per_kwh}
    # Losses pay where importing does; else a schedule whose cost holds on its own is best.
    pays = terminal_eur_per_kwh < 0 or series.import_eur_per_kwh.min() < 0
    for exclusive in (True,) if pays else (False, True):
        runs, least = best_schedule(house, series, exclusive=exclusive, **energies)
        found = perfect_foresight(*with_schedule(house, series, runs), **energies)
        if found.cost_eur <= least + _SAME_EUR:
            return replace(found, runs=runs)
    raise SolverError(
        f"the schedule found costs {found.cost_eur:.9f} EUR and its program said {least:.9f}; "
        "expected the same. Check the series for extreme values."
    )


def _wastes(house: House, series: Series, found: PerfectForesight) -> bool:
    """Whether the program charged and discharged at once, so that energy went astray."""
    row = house_row(house)
    stored = zip(found.soc_kwh[:-1], found.battery_kw, strict=True)
    played = np.array([next_soc(row, soc, power) for soc, power in stored])
    if np.abs(played - found.soc_kwh[1:]).max() > 1e-8:
        return True
    if house.car is None or not series.sessions:
        return False
    visit = visits(house.car, series.sessions, len(series))
    for session in series.sessions:
        stored_kwh = session.arrival_kwh
        for t in range(session.arrival, session.departure):
            stored_kwh = next_car(row, visit[t], stored_kwh, found.car_kw[t])
            if abs(stored_kwh - found.car_kwh[t]) > 1e-8:
                return True
    return False
