"""Which houses, days and prices an environment plays, and how an episode is drawn.

Randomness enters here and nowhere else: an episode of a house is a row of uniform numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.compiled import compiled
from flexgym.envs.data import (
    HOUSE_SEEDS,
    Prices,
    Profiles,
    Sessions,
    feeder43,
    load_profiles,
    split_days,
    synthetic_prices,
    synthetic_sessions,
)
from flexgym.envs.data.calendar import EPISODES, QUARTERS, START_QUARTER, one_or_several
from flexgym.envs.errors import ScenarioError, SeriesError
from flexgym.envs.household.dynamics import (
    CAPACITY,
    ETA_D,
    PV_KWP,
    VISIT_ROWS,
    check_soc,
    fill_visits,
    house_row,
    session_rows,
)
from flexgym.envs.household.params import STEPS_PER_DAY, Floats, House, Series, Session
from flexgym.envs.uncertainty import Uncertainty, realise, tables

T = STEPS_PER_DAY
Ints = NDArray[np.int64]

PV_YIELD = 0.85
"""Highest forecast of a roof as a share of its rated power."""
TERMINAL_SHARE = 0.9
"""Stored energy left at the end earns this share of what it would save at the mean price."""
FEEDERS = {"train": 12, "validation": 4, "test": 4}
"""Feeders whose houses make up the default pool of each split."""


def default_houses(split: str, car: bool = True) -> tuple[House, ...]:
    """Houses with battery and car of the split's first feeders, scenario ``calm``.

    Without ``car`` all that have a battery; their cars stay away.
    """
    if split not in FEEDERS:
        raise ScenarioError(f"split is {split!r}; expected one of {', '.join(FEEDERS)}.")
    seeds = HOUSE_SEEDS[split][: FEEDERS[split]]
    found = (h for seed in seeds for h in feeder43(seed) if h.battery is not None)
    return tuple(h for h in found if h.car is not None or not car)


@dataclass(frozen=True)
class Episodes:
    """One episode for each of n houses.

    Attributes:
        house: Index of each house in the scenario's pool, shape (n,).
        day: Day of each episode, shape (n,).
        rows: Numbers of the houses, shape (n, 18).
        soc_kwh: State of charge at the start, shape (n,), kWh.
        terminal_price: Pay for stored energy at the end, shape (n,), EUR/kWh.
        forecast: Load, PV, import and export price, shape (T, 4, n).
        exogenous: What happens, shape (T, 4, n).
        state: Markov state, shape (T, n).
        visits: Visits of the cars, shape (T, 5, n); (T, 5, 0) where the pool has no cars.
        unreachable_kwh: Energy that cars will lack however they are charged, shape (n,), kWh.
    """

    house: Ints
    day: Ints
    rows: Floats
    soc_kwh: Floats
    terminal_price: Floats
    forecast: Floats
    exogenous: Floats
    state: Ints
    visits: Floats
    unreachable_kwh: Floats


@dataclass(frozen=True, eq=False)
class HouseholdScenario:
    """A pool of houses and days, prices and uncertainty.

    Attributes:
        houses: The pool.
        days: Days that may be drawn, shape (k,).
        prices: Prices of the year.
        uncertainty: Chains around the forecast.
        initial_soc: State of charge at the start as a share of capacity; None draws it
            uniformly.
        sessions: Visits of the cars; None where no house has one.
        profiles: Consumption and sun of the year; None is the shipped extract.
    """

    houses: tuple[House, ...]
    days: Ints
    prices: Prices
    uncertainty: Uncertainty
    initial_soc: float | None = None
    sessions: Sessions | None = None
    profiles: Profiles | None = None
    rows: Floats = field(init=False, repr=False)
    load_kwh: Floats = field(init=False, repr=False)
    load_shape: Ints = field(init=False, repr=False)
    year: Floats = field(init=False, repr=False)
    _covered: Ints = field(init=False, repr=False)
    _tables: tuple = field(init=False, repr=False)
    visit_table: Floats = field(init=False, repr=False)
    mean_price: Floats = field(init=False, repr=False)
    _unreachable: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        profiles = self.profiles or load_profiles()
        known = profiles.load
        for name, row in (*known.items(), ("pv", profiles.pv)):
            if np.shape(row) != (QUARTERS,) or not (np.isfinite(row).all() and np.min(row) >= 0):
                raise ScenarioError(
                    f"the profile {name!r} has shape {np.shape(row)} and perhaps gaps; expected "
                    f"({QUARTERS},) numbers >= 0. Read your file with load_profiles_csv(path)."
                )
        for i, house in enumerate(self.houses):
            if not isinstance(house, House):
                raise ScenarioError(f"houses[{i}] is {house!r}; expected a flexgym.envs.House.")
            if house.load.profile not in known:
                raise ScenarioError(
                    f"houses[{i}] has load profile {house.load.profile!r}; expected one of "
                    f"{', '.join(known)}."
                )
        if not self.houses:
            raise ScenarioError("houses is empty; expected at least one house.")
        if self.initial_soc is not None and not 0.0 <= self.initial_soc <= 1.0:
            raise ScenarioError(
                f"initial_soc is {self.initial_soc}; expected a share in [0, 1] or None."
            )
        days = np.atleast_1d(np.asarray(self.days))
        if days.size == 0 or days.ndim != 1 or days.dtype.kind not in "iu":
            raise ScenarioError(f"days is {self.days!r}; expected day numbers, at least one.")
        if days.min() < 0 or days.max() >= EPISODES:
            raise ScenarioError(
                f"days reach from {days.min()} to {days.max()}; expected 0 (1 January) to "
                f"{EPISODES - 1} (30 December)."
            )
        missing = np.setdiff1d(days, self.prices.covered_days())
        if missing.size:
            raise ScenarioError(
                f"the prices {self.prices.name!r} do not cover day {missing[0]} (and "
                f"{missing.size - 1} more), 06:00 to 06:00. Pass days=prices.covered_days()."
            )
        at = (days[:, None] * T + START_QUARTER + np.arange(T)).ravel()
        least = float(self.uncertainty.price_factor.min())
        paid, earned = self.prices.import_eur_per_kwh[at], self.prices.export_eur_per_kwh[at]
        if (least * paid < earned).any():
            k = int(np.argmax(least * paid < earned))
            raise ScenarioError(
                f"on day {at[k] // T} the import price {paid[k]:.4f} EUR/kWh times its least "
                f"factor {least:g} is below the export price {earned[k]:.4f}; expected import >= "
                "export whatever happens. Lower the export price, narrow the price factors, or "
                "pass uncertainty='none'."
            )
        most = float(self.uncertainty.price_factor.max()) * float(paid.max())
        shed = min(house.unserved_eur_per_kwh for house in self.houses)
        if most > shed:
            raise ScenarioError(
                f"the import price reaches {most:.4f} EUR/kWh with its largest factor and "
                f"unserved load costs {shed:g}; expected unserved load to cost at least as much. "
                "Raise unserved_eur_per_kwh of the houses, or correct the prices."
            )
        object.__setattr__(self, "days", days.astype(np.int64))
        object.__setattr__(self, "rows", np.stack([house_row(h) for h in self.houses]))
        names = list(known)
        loads = [house.load for house in self.houses]
        shape = [(names.index(x.profile), x.shift_quarters + 7 * T * x.shift_weeks) for x in loads]
        object.__setattr__(self, "load_kwh", np.array([x.energy_kwh for x in loads]))
        object.__setattr__(self, "load_shape", np.array(shape))
        prices = (self.prices.import_eur_per_kwh, self.prices.export_eur_per_kwh)
        year = np.stack([*known.values(), profiles.pv, *prices])
        object.__setattr__(self, "year", year)
        object.__setattr__(self, "_covered", self.prices.covered_days())
        first = START_QUARTER
        paid = self.prices.import_eur_per_kwh[first : first + EPISODES * T].reshape(EPISODES, T)
        object.__setattr__(self, "mean_price", paid.cumsum(axis=1)[:, -1] / T)
        object.__setattr__(self, "_tables", tables(self.uncertainty))
        visits, unreachable = self._tabulated_visits()
        object.__setattr__(self, "visit_table", visits)
        object.__setattr__(self, "_unreachable", unreachable)

    def _tabulated_visits(self) -> tuple[Floats, Floats]:
        """Visits and energy out of reach, by house and day.

        Returns:
            Visits, shape (houses, 365, most a day, 5), inf where there is none; and the energy
            that cannot be charged, shape (houses, 365), kWh.

        Raises:
            ScenarioError: There are cars but no sessions, or one does not fit its car.
        """
        if not self.has_cars:
            return np.empty((0, 0, 0, VISIT_ROWS)), np.zeros((len(self.houses), EPISODES))
        if self.sessions is None:
            raise ScenarioError(
                "sessions is None and there are houses with a car; expected a flexgym.envs.data."
                "Sessions. Pass synthetic_sessions(houses), or car=False to create."
            )
        found = {}
        unreachable = np.zeros((len(self.houses), EPISODES))
        for i, house in enumerate(self.houses):
            for day in range(EPISODES):
                sessions = self.sessions_of(i, day)
                try:
                    rows = session_rows(house.car, sessions)
                except SeriesError as error:
                    raise ScenarioError(f"house {i}, day {day}: {error}") from error
                if house.car is not None and len(rows):
                    found[i, day] = rows
                    unreachable[i, day] = sum(map(house.car.unreachable_kwh, sessions))
        most = max((len(rows) for rows in found.values()), default=0)
        table = np.full((len(self.houses), EPISODES, most, VISIT_ROWS), np.inf)
        for (i, day), rows in found.items():
            table[i, day, : len(rows)] = rows
        return table, unreachable

    @classmethod
    def create(
        cls,
        houses: Sequence[House] | House | None = None,
        days: Iterable[int] | int | None = None,
        prices: Prices | None = None,
        split: str = "train",
        uncertainty: str | Uncertainty = "markov",
        initial_soc: float | None = None,
        car: bool = True,
        sessions: Sessions | None = None,
    ) -> HouseholdScenario:
        """Fill in defaults; see `HouseholdEnv` for the arguments.

        Raises:
            ScenarioError: An option is unknown, empty or out of range.
        """
        if split not in FEEDERS:
            raise ScenarioError(f"split is {split!r}; expected one of {', '.join(FEEDERS)}.")
        if houses is None:
            houses = default_houses(split, car)
        elif isinstance(houses, House):
            houses = (houses,)
        houses = tuple(houses)
        if not car:
            houses = tuple(replace(h, car=None) if isinstance(h, House) else h for h in houses)
        if sessions is not None and not isinstance(sessions, Sessions):
            raise ScenarioError(
                f"sessions is {type(sessions).__name__}; expected flexgym.envs.data.Sessions. "
                "Read your file with load_sessions(path)."
            )
        if not any(isinstance(h, House) and h.car is not None for h in houses):
            sessions = None
        elif sessions is None:
            sessions = synthetic_sessions(houses)
        if prices is None:
            prices = synthetic_prices()
        elif not isinstance(prices, Prices):
            raise ScenarioError(
                f"prices is {type(prices).__name__}; expected flexgym.envs.data.Prices. "
                "Read your file with load_prices(path)."
            )
        if days is None:
            chosen = np.intersect1d(split_days(split), prices.covered_days())
            if not chosen.size:
                raise ScenarioError(
                    f"the prices {prices.name!r} cover no day of the split {split!r}. "
                    "Pass days=prices.covered_days()."
                )
        else:
            chosen = one_or_several(days)
        chains = Uncertainty.named(uncertainty)
        return cls(houses, chosen, prices, chains, initial_soc, sessions)

    @property
    def has_cars(self) -> bool:
        """Whether any house of the pool has a car."""
        return any(house.car is not None for house in self.houses)

    def sessions_of(self, house: int, day: int) -> tuple[Session, ...]:
        """Visits of one house's car on one day."""
        if self.sessions is None or self.houses[house].car is None:
            return ()
        return self.sessions.of(int(house), int(day))

    def visits(self, house: Ints, day: Ints) -> Floats:
        """Visits of the cars on n house-days, shape (T, 5, n); (T, 5, 0) without cars."""
        n = len(house) if self.has_cars else 0
        out = np.empty((T, VISIT_ROWS, n))
        if n:
            _fill_visits(house, day, self.visit_table, out)
        return out

    def unreachable_kwh(self, house: Ints, day: Ints) -> Floats:
        """Energy that cars will lack however they are charged on n house-days, shape (n,), kWh."""
        return self._unreachable[house, day]

    @property
    def draws(self) -> int:
        """Uniform numbers that one episode of one house takes."""
        return 3 + self.uncertainty.draws_per_period * T

    def forecast(self, house: Ints, day: Ints) -> Floats:
        """Load, PV, import and export price as known at the start, shape (T, 4, n)."""
        out = np.empty((T, 4, len(house)))
        _fill_forecast(
            house, day * T + START_QUARTER, self.load_kwh, self.load_shape, self.rows[:, PV_KWP],
            self.year, out,
        )  # fmt: skip
        return out

    def terminal_price(self, house: Ints, forecast: Floats) -> Floats:
        """Pay for energy left at the end, shape (n,), EUR/kWh: 0.9 * eta_d * mean price."""
        # One after the other: numpy's mean adds in another order for one house than for many.
        mean = forecast[:, 2].cumsum(axis=0)[-1] / T
        return TERMINAL_SHARE * self.rows[house, ETA_D] * mean

    def forecast_series(self, house: int, day: int) -> tuple[Series, float]:
        """Forecast of one house's day, and the pay for energy left at its end."""
        index = np.array([house])
        forecast = self.forecast(index, np.array([day]))
        series = Series(*forecast[:, :, 0].T, sessions=self.sessions_of(house, day))
        return series, float(self.terminal_price(index, forecast)[0])

    def draw(
        self,
        uniform: Floats,
        house: Ints | None = None,
        day: Ints | None = None,
        soc_kwh: Floats | None = None,
    ) -> Episodes:
        """Turn uniform numbers, shape (n, draws), into n episodes.

        Args:
            uniform: Uniform numbers in [0, 1).
            house: Houses to play, shape (n,), or None to draw them.
            day: Days to play, shape (n,), or None to draw them.
            soc_kwh: State of charge at the start, shape (n,), or None.

        Raises:
            ScenarioError: No such house or day.
            StateError: A state of charge lies outside its battery's limits.
        """
        n = len(uniform)
        if house is None:
            house = (uniform[:, 0] * len(self.houses)).astype(np.int64)
        if day is None:
            day = self.days[(uniform[:, 1] * len(self.days)).astype(np.int64)]
        if (house < 0).any() or (house >= len(self.houses)).any():
            raise ScenarioError(
                f"house is {house}; expected positions in the pool, 0 to {len(self.houses) - 1}."
            )
        if not np.isin(day, self._covered).all():
            raise ScenarioError(
                f"day is {day}; expected days from 0 to {EPISODES - 1} that the prices cover."
            )
        rows = self.rows[house]
        capacity = rows[:, CAPACITY]
        if soc_kwh is None:
            share = uniform[:, 2] if self.initial_soc is None else self.initial_soc
            soc_kwh = share * capacity
        check_soc(soc_kwh, capacity)
        forecast = self.forecast(house, day)
        exogenous = np.empty_like(forecast)
        state = np.empty((T, n), dtype=np.int64)
        paths = np.ascontiguousarray(uniform[:, 3:])
        rating = np.ascontiguousarray(rows[:, PV_KWP])
        weather, price, load = self._tables
        realise(forecast, rating, paths, weather, price, load, exogenous, state)
        terminal = self.terminal_price(house, forecast)
        return Episodes(
            house, day, rows, np.array(soc_kwh, float), terminal, forecast, exogenous, state,
            self.visits(house, day), self.unreachable_kwh(house, day),
        )  # fmt: skip


@compiled
def _fill_visits(house, day, table, out):
    one = np.empty((out.shape[0], out.shape[1]))
    for i in range(len(house)):
        fill_visits(table[house[i], day[i]], one)
        out[:, :, i] = one


@compiled
def _fill_forecast(house, first, energy_kwh, shape, pv_kwp, year, out):
    """Cut the forecasts of n house-days from the year.

    Args:
        house: Position in the pool, shape (n,).
        first: First quarter-hour of the episode, shape (n,).
        energy_kwh: Consumption of each house of the pool, kWh a year.
        shape: Profile and shift (quarter-hours) of each house of the pool, shape (H, 2).
        pv_kwp: Rated PV power of each house of the pool, kW.
        year: Load profiles, PV, import and export price, shape (k + 3, quarter-hours).
        out: Shape (T, 4, n), overwritten.
    """
    T, _, n = out.shape
    size = year.shape[1]
    sun = year.shape[0] - 3
    for block in range(0, n, 16):
        for t in range(T):
            for i in range(block, min(block + 16, n)):
                h = house[i]
                at = first[i] + t
                out[t, 0, i] = energy_kwh[h] * year[shape[h, 0], (at - shape[h, 1]) % size]
                out[t, 1, i] = PV_YIELD * pv_kwp[h] * year[sun, at]
                out[t, 2, i] = year[sun + 1, at]
                out[t, 3, i] = year[sun + 2, at]
