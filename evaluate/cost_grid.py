"""A cost-to-go over time and stored energy, sampled for a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flexgym.baselines.household.program_day import ProgramDay
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import DT_H, Car, Floats, Session

if TYPE_CHECKING:
    from flexgym.baselines.household import CostToGo

_CELLS, _CAR_CELLS, _PROGRAMS = 96, 48, 24
"""Cells over the energy in battery and car, and in both where a value is a linear program."""


@dataclass(frozen=True)
class CarValues:
    """Cost-to-go against the energy in the car during one visit, the battery half full.

    Attributes:
        session: The visit.
        car_kwh: Energies, shape (m + 1,), kWh.
        cost_eur: Expected cost from the start of each of its periods on, shape
            (departure - arrival, m + 1), EUR.
        early_kwh: Energy at the start of each period and at departure when it charges at once
            what it needs, shape (departure - arrival + 1,), kWh.
        late_kwh: The same when it charges as late as possible.
    """

    session: Session
    car_kwh: Floats
    cost_eur: Floats
    early_kwh: Floats
    late_kwh: Floats

    @property
    def value_ct(self) -> Floats:
        """Value of one more kWh, shape (departure - arrival, m), ct/kWh."""
        return -100.0 * np.diff(self.cost_eur, axis=1) / np.diff(self.car_kwh)


@dataclass(frozen=True)
class CostGrid:
    """Cost-to-go on a grid.

    Attributes:
        soc_kwh: Energies in the battery, shape (n + 1,), kWh; one zero without a battery.
        cost_eur: Expected cost from the start of period t to the end of the day, shape
            (T + 1, n + 1), EUR; the car, while it is there, on a straight line from what it
            brings to what it needs.
        visits: One for each visit in which the car can be charged or discharged.
    """

    soc_kwh: Floats
    cost_eur: Floats
    visits: tuple[CarValues, ...]

    @property
    def saved_eur(self) -> Floats:
        """What the energy in the battery saves, shape (T + 1, n + 1), EUR."""
        return self.cost_eur[:, :1] - self.cost_eur

    @property
    def value_ct(self) -> Floats:
        """Value of one more kWh in the battery, shape (T + 1, n), ct/kWh."""
        return -100.0 * np.diff(self.cost_eur, axis=1) / np.diff(self.soc_kwh)


def cost_grid(solved: CostToGo, *, state: int | None = None) -> CostGrid:
    """Sample a cost-to-go over time and stored energy.

    Args:
        solved: Cost-to-go of one house-day.
        state: Markov state at each time; None averages over the stationary distribution.

    Raises:
        ScenarioError: Unknown state, or there is neither a battery nor a visit of the car.
    """
    house, series = solved.house, solved.series
    capacity = house.battery.capacity_kwh if house.battery else 0.0
    if capacity == 0.0 and not series.sessions:
        raise ScenarioError(
            "the house has no battery and no car comes on this day; expected something that "
            "stores energy. Choose another house or day."
        )
    programs = isinstance(solved.tables, ProgramDay)
    cells, in_car = (_PROGRAMS, _PROGRAMS) if programs else (_CELLS, _CAR_CELLS)
    soc = np.linspace(0.0, capacity, cells + 1) if capacity > 0.0 else np.zeros(1)
    visits = [
        _visit(solved, session, 0.5 * capacity, in_car, state)
        for session in (series.sessions if house.car else ())
    ]
    there: dict[int, float] = {}
    for visit in visits:
        on_the_way = np.linspace(visit.early_kwh[0], visit.early_kwh[-1], len(visit.early_kwh))
        there.update(enumerate(on_the_way[:-1], visit.session.arrival))
    cost = [
        np.atleast_1d(solved.value(t, soc, there.get(t), state=state))
        for t in range(len(series) + 1)
    ]
    return CostGrid(soc, np.stack(cost), tuple(v for v in visits if np.ptp(v.car_kwh) > 0.01))


def _visit(
    solved: CostToGo, session: Session, soc_kwh: float, cells: int, state: int | None
) -> CarValues:
    car = solved.house.car
    assert car is not None
    early, late = _paths(car, session)
    least = 0.0 if car.discharge_kw > 0.0 else session.arrival_kwh
    energies = _energies(car, least, max(car.target_kwh(session), least), early[-1], cells)
    cost = [
        [solved.value(t, soc_kwh, float(energy), state=state) for energy in energies]
        for t in range(session.arrival, session.departure)
    ]
    return CarValues(session, energies, np.array(cost, dtype=np.float64), early, late)


def _energies(car: Car, least: float, most: float, needed: float, cells: int) -> Floats:
    """Energies of the car on which bends fall: whole periods of charging from what it needs."""
    block = car.efficiency_charge * car.power_kw * DT_H
    share = max((most - least) / cells, 1e-6) / block
    step = block * (np.floor(share) if share >= 1.0 else 1.0 / np.ceil(1.0 / share))
    inner = np.concatenate([np.arange(needed, least, -step), np.arange(needed, most, step)])
    energies = np.unique(np.concatenate([[least], inner, [most]]))
    return energies[np.append(True, np.diff(energies) > 1e-6)]


def _paths(car: Car, session: Session) -> tuple[Floats, Floats]:
    """Energy over a visit when charging what is needed at once, and as late as possible."""
    periods = np.arange(session.departure - session.arrival + 1)
    a_period = car.efficiency_charge * car.power_kw * DT_H
    start = session.arrival_kwh
    most = min(start + a_period * periods[-1], car.capacity_kwh)
    needed = float(np.clip(session.needed_kwh, start, most))
    early = np.minimum(start + a_period * periods, needed)
    return early, np.maximum(needed - a_period * periods[::-1], start)
