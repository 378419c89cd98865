"""Charging sessions of the electric cars over the year: the container, and a synthetic model.

The synthetic sessions are invented, not fitted to data: a car that is away by day, comes home
towards evening and leaves before or at 06:00. Public holidays are not known.
"""

from __future__ import annotations

import hashlib
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.data.calendar import EPISODES, START_QUARTER, as_index, date
from flexgym.envs.data.houses import SCENARIOS, Range
from flexgym.envs.errors import ScenarioError, SessionDataError
from flexgym.envs.household.params import DT_H, STEPS_PER_DAY, Car, House, Session

KWH_PER_KM = 0.18
ARRIVAL_LIMITS_H: Range = (8.0, 23.0)
"""Arrivals are clipped to these hours of the day."""
DEPARTURES = range(STEPS_PER_DAY - 4, STEPS_PER_DAY + 1)
"""Periods of departure before a working day, 05:00 to 06:00, equally likely."""
LEAST_ARRIVAL_SHARE = 0.1
"""A car arrives with at least this share of its capacity."""

_DAYS = range(EPISODES)
_TAG = 43_06  # keeps these streams apart from those of houses and prices


@dataclass(frozen=True)
class Sessions:
    """Sessions of the cars in the year's episodes.

    Attributes:
        name: Where the sessions come from.
        by_car: For each car its sessions of an episode by the episode's day, 0 to 364, in
            order of time; periods count from 06:00 of that day, 0 to 96. A day that is not
            there has none.
    """

    name: str
    by_car: tuple[Mapping[int, tuple[Session, ...]], ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.by_car:
            raise SessionDataError(
                "by_car is empty; expected one mapping a car. Pass ({},) for a car always away."
            )
        # Plain dicts, because copies and other processes cannot take read-only views.
        copies = tuple({day: tuple(days[day]) for day in days} for days in self.by_car)
        object.__setattr__(self, "by_car", copies)
        for car, days in enumerate(copies):
            for day, sessions in days.items():
                _check(car, day, sessions)

    def of(self, index: int, day: int) -> tuple[Session, ...]:
        """Sessions of a house in an episode.

        Args:
            index: Position of the house in its pool; houses take the cars in turn.
            day: Episode, 0 to 364.
        """
        return self.by_car[index % len(self.by_car)].get(day, ())


def _check(car: int, day: object, sessions: tuple[Session, ...]) -> None:
    if as_index(day) not in _DAYS:
        raise SessionDataError(
            f"car {car} has sessions on day {day!r}; expected an integer from 0 to "
            f"{EPISODES - 1}. Take days from split_days()."
        )
    free_from = 0
    for session in sessions:
        if not isinstance(session, Session):
            raise SessionDataError(
                f"car {car} has {session!r} on day {day}; expected a flexgym.envs.Session."
            )
        if session.arrival < free_from:
            raise SessionDataError(
                f"car {car} arrives on day {day} in period {session.arrival}, before it leaves "
                f"in {free_from}; expected sessions in order that do not overlap. "
                "Sort or merge them."
            )
        if session.departure > STEPS_PER_DAY:
            raise SessionDataError(
                f"car {car} leaves on day {day} in period {session.departure}; expected at most "
                f"{STEPS_PER_DAY}, 06:00 of the next day. Cut the session there."
            )
        free_from = session.departure


def _require(value: float, name: str, low: float, high: float) -> None:
    try:
        inside = low <= value <= high
    except TypeError:
        inside = False
    if not inside:
        raise ScenarioError(
            f"{name} is {value!r}; expected a number from {low:g} to {high:g}. "
            "Correct the SessionModel."
        )


@dataclass(frozen=True)
class SessionModel:
    """A synthetic model of one trip a day; the defaults are those of scenario ``calm``.

    Whether there is a trip, when it ends and how long it is are independent of each other and
    from day to day; weekends are Saturday and Sunday. On a day without a trip the car is not
    plugged in. It comes home at an hour drawn from a normal distribution, clipped to 08:00 to
    23:00 and rounded to quarter-hours, with what it needs at departure less 0.18 kWh/km of the
    trip, but at least 10 % of its capacity, whatever the night before gave it. It leaves
    between 05:00 and 06:00 when the next morning is that of a working day, else at 06:00, the
    end of the episode.

    Attributes:
        weekday_trip_share: Probability of a trip on a weekday.
        weekend_trip_share: Probability of a trip on a day of the weekend.
        weekday_arrival_h: Mean and standard deviation of the arrival, hours of the day.
        weekend_arrival_h: The same at weekends.
        trip_km: Shortest and longest trip of a weekday, km, uniform between.
        weekend_trip_factor: Length of a trip at weekends over that of a weekday's.
        target_share: Energy needed at departure as a share of the car's capacity.
    """

    weekday_trip_share: float = 0.95
    weekend_trip_share: float = 0.7
    weekday_arrival_h: Range = (17.75, 1.25)
    weekend_arrival_h: Range = (16.5, 2.5)
    trip_km: Range = (4.0 / KWH_PER_KM, 12.0 / KWH_PER_KM)
    weekend_trip_factor: float = 0.75
    target_share: float = 0.8

    def __post_init__(self) -> None:
        for name in ("weekday_arrival_h", "weekend_arrival_h", "trip_km"):
            value = getattr(self, name)
            if not isinstance(value, tuple | list) or len(value) != 2:
                raise ScenarioError(
                    f"{name} is {value!r}; expected a pair of numbers. Correct the SessionModel."
                )
            object.__setattr__(self, name, tuple(value))
        for name in ("weekday_arrival_h", "weekend_arrival_h"):
            mean, sd = getattr(self, name)
            _require(mean, f"the mean of {name}", *ARRIVAL_LIMITS_H)
            _require(sd, f"the standard deviation of {name}", 0.0, 24.0)
        for name in ("weekday_trip_share", "weekend_trip_share"):
            _require(getattr(self, name), name, 0.0, 1.0)
        _require(self.trip_km[1], "the longest of trip_km", 0.0, 1e4)
        _require(self.trip_km[0], "the shortest of trip_km", 0.0, self.trip_km[1])
        _require(self.weekend_trip_factor, "weekend_trip_factor", 0.0, 10.0)
        _require(self.target_share, "target_share", LEAST_ARRIVAL_SHARE, 1.0)

    @classmethod
    def of_feeder(cls, scenario: str) -> SessionModel:
        """The model with arrivals and energy needs of a feeder's scenario.

        Where its cars make a trip every day, weekends are like weekdays.

        Args:
            scenario: A key of ``SCENARIOS``.

        Raises:
            ScenarioError: Unknown scenario.
        """
        if not isinstance(scenario, str) or scenario not in SCENARIOS:
            raise ScenarioError(
                f"scenario is {scenario!r}; expected one of {', '.join(SCENARIOS)}. "
                "flexgym.envs.data.SCENARIOS lists their ranges."
            )
        ranges = SCENARIOS[scenario]
        low, high = ranges.car_need_kwh
        model = cls(
            weekday_arrival_h=ranges.arrival_h, trip_km=(low / KWH_PER_KM, high / KWH_PER_KM)
        )
        if not ranges.daily_trips:
            return model
        return replace(
            model,
            weekday_trip_share=1.0,
            weekend_trip_share=1.0,
            weekend_arrival_h=ranges.arrival_h,
            weekend_trip_factor=1.0,
        )


@cache
def _week() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether an episode starts at a weekend, and ends on a working day; both shape (365,)."""
    weekend = np.array([date(day).weekday() >= 5 for day in range(EPISODES + 1)])
    return weekend[:-1], ~weekend[1:]


def _drawn(car: Car, model: SessionModel, rng: np.random.Generator) -> dict:
    """Sessions of one car by day, one on every day with a trip."""
    weekend, working = _week()
    # Everything is drawn, also on days without a trip, so that no parameter of the model
    # moves the numbers of another day.
    trip, length, leave = rng.random((3, EPISODES))
    normal = rng.standard_normal(EPISODES)
    mean, sd = (
        np.where(weekend, *pair)
        for pair in zip(model.weekend_arrival_h, model.weekday_arrival_h, strict=True)
    )
    hours = np.clip(mean + sd * normal, *ARRIVAL_LIMITS_H)
    arrival = np.rint(hours / DT_H).astype(int) - START_QUARTER
    early = DEPARTURES.start + (leave * len(DEPARTURES)).astype(int)
    departure = np.where(working, early, STEPS_PER_DAY)
    low, high = model.trip_km
    km = (low + (high - low) * length) * np.where(weekend, model.weekend_trip_factor, 1.0)
    needed_kwh = float(model.target_share * car.capacity_kwh)
    kwh = np.maximum(needed_kwh - KWH_PER_KM * km, LEAST_ARRIVAL_SHARE * car.capacity_kwh)
    days = np.flatnonzero(
        trip < np.where(weekend, model.weekend_trip_share, model.weekday_trip_share)
    )
    columns = (column[days].tolist() for column in (arrival, departure, kwh))
    return {
        day: (Session(a, d, energy, needed_kwh),)
        for day, a, d, energy in zip(days.tolist(), *columns, strict=True)
    }


def _plain(value: object) -> object:
    """The content of a house as nested tuples, alike for every kind of number.

    Without its appliances: the car's visits are the same whatever else the house has.
    """
    if is_dataclass(value):
        names = [part.name for part in fields(value) if part.name != "appliances"]
        return tuple(_plain(getattr(value, name)) for name in names)
    return float(value) if isinstance(value, numbers.Real) else value


def _digest(house: House) -> int:
    return int.from_bytes(hashlib.sha256(repr(_plain(house)).encode()).digest()[:8], "big")


def synthetic_sessions(
    houses: Sequence[House], model: SessionModel | None = None, seed: int = 0
) -> Sessions:
    """Invented sessions of the houses' cars for all episodes of 2016; see `SessionModel`.

    Args:
        houses: The pool. A house's sessions depend on the house but for its appliances, the
            model and the seed, not on its position or the other houses; two equal houses have
            equal sessions.
        model: The model; None is ``SessionModel()``, which suits scenario ``calm``.
        seed: Of all draws, an integer >= 0.

    Returns:
        One mapping a house, empty where it has no car.

    Raises:
        ScenarioError: No house at all, something else than a house or model, or a bad seed.
    """
    if model is None:
        model = SessionModel()
    if not isinstance(model, SessionModel):
        raise ScenarioError(
            f"model is {model!r}; expected a SessionModel or None. "
            "SessionModel.of_feeder(scenario) gives that of a feeder's scenario."
        )
    number = as_index(seed)
    if number is None or number < 0:
        raise ScenarioError(f"seed is {seed!r}; expected an integer >= 0. Pass seed=0.")
    if not len(houses):
        raise ScenarioError("houses is empty; expected at least one house.")
    by_car = []
    for i, house in enumerate(houses):
        if not isinstance(house, House):
            raise ScenarioError(f"houses[{i}] is {house!r}; expected a flexgym.envs.House.")
        rng = np.random.default_rng([_TAG, number, _digest(house)])
        by_car.append({} if house.car is None else _drawn(house.car, model, rng))
    return Sessions(f"synthetic sessions, seed {number}", tuple(by_car))
