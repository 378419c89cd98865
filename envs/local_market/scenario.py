"""Who takes part, on which days, at which tariffs; and how an episode is drawn.

Participants are houses of SimBench's 43 buses with their real profiles as hourly means, a share
of them with a solar roof. Randomness enters here and nowhere else: an episode of a market is a row
of uniform numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import sha256
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.compiled import compiled
from flexgym.envs.data import (
    HOUSE_SEEDS,
    Prices,
    feeder43,
    load_profiles,
    split_days,
    synthetic_prices,
)
from flexgym.envs.data.calendar import EPISODES, as_index, episode_start, one_or_several
from flexgym.envs.data.houses import HOUSES
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import DT_H, STEPS_PER_DAY, Floats
from flexgym.envs.household.scenario import PV_YIELD
from flexgym.envs.local_market.hierarchy import Hierarchy
from flexgym.envs.local_market.params import HOURS, LARGEST, Limits
from flexgym.envs.uncertainty import Uncertainty, pick, realised_pv

Ints = NDArray[np.int64]

FEEDERS = 4
"""Feeders whose houses make up the pool; more where the participants are more than their houses."""
MOST_PARTICIPANTS = 10_000
QUARTERS_PER_HOUR = STEPS_PER_DAY // HOURS


@lru_cache(maxsize=8)
def _pool(split: str, feeders: int) -> tuple[Floats, Floats]:
    """Hourly consumption of the pool's houses, shape (pool, hours), kWh, and roofs, (pool,), kW."""
    profiles = load_profiles()
    houses = [h for seed in HOUSE_SEEDS[split][:feeders] for h in feeder43(seed)]
    load = np.empty((len(houses), len(profiles.pv) // QUARTERS_PER_HOUR))
    for i, house in enumerate(houses):
        shift = house.load.shift_quarters + 7 * STEPS_PER_DAY * house.load.shift_weeks
        kw = house.load.energy_kwh * np.roll(profiles.load[house.load.profile], shift)
        load[i] = DT_H * kw.reshape(-1, QUARTERS_PER_HOUR).sum(axis=1)
    roof = np.array([h.pv_kwp for h in houses])
    for array in (load, roof):
        array.setflags(write=False)
    return load, roof


@dataclass(frozen=True, eq=False)
class MarketDays:
    """m markets of n participants, each on its day.

    Attributes:
        day: Day of each market, shape (m,).
        net_kwh: What each participant needs (above 0) or has left (below), shape (24, m, n), kWh.
        forecast_kwh: What it expects of that before the day, same shape.
        weather: Factor on the forecast of the sun in each hour, shape (24, m): the condition of
            forward contracts.
        solar: Forecast of what a roof yields per rated kW, shape (24, m), kWh.
        import_eur_per_kwh: Import price of the hour, shape (24, m).
        export_eur_per_kwh: Export price of the hour, shape (24, m).
        roof_kw: Rating of each roof, shape (m, n), kW; 0 without one.
        retail_factor: See `Limits`, shape (m, n).
        feed_in_factor: Likewise.
        value_factor: Likewise.
        cost_share: Likewise.
    """

    day: Ints
    net_kwh: Floats
    forecast_kwh: Floats
    weather: Floats
    solar: Floats
    import_eur_per_kwh: Floats
    export_eur_per_kwh: Floats
    roof_kw: Floats
    retail_factor: Floats
    feed_in_factor: Floats
    value_factor: Floats
    cost_share: Floats


@dataclass(frozen=True, eq=False)
class LocalMarketScenario:
    """A neighbourhood and its days.

    Attributes:
        participants: How many take part, n: neighbours in the pool, drawn anew for each day.
        split: Whose houses: ``"train"``, ``"validation"`` or ``"test"``.
        days: Days that may be drawn, shape (k,).
        prices: Prices of the year, from which the tariffs are drawn.
        limits: Ranges of tariffs and private values.
        hierarchy: Where participants' orders enter.
        uncertainty: Weather and consumption around the forecast. An hour has the weather of its
            first quarter-hour; its consumption is off by the mean of four draws.
        wholesale_margin_eur_per_kwh: A wholesaler above the root sells this far above, and buys
            this far below, the middle of the hour's import and export price; None is no
            wholesaler.
    """

    participants: int
    split: str
    days: Ints
    prices: Prices
    limits: Limits
    hierarchy: Hierarchy
    uncertainty: Uncertainty
    wholesale_margin_eur_per_kwh: float | None = None
    _hourly: Floats = field(init=False, repr=False)
    _noise: tuple[Floats, Floats] = field(init=False, repr=False)
    _weather: tuple[Floats, Floats, Floats] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        n = as_index(self.participants)
        if n is None or not 1 <= n <= MOST_PARTICIPANTS:
            raise ScenarioError(
                f"participants is {self.participants!r}; expected 1 to {MOST_PARTICIPANTS}."
            )
        if not isinstance(self.limits, Limits) or not isinstance(self.hierarchy, Hierarchy):
            raise ScenarioError(
                f"limits is {self.limits!r} and the hierarchy {self.hierarchy!r}; expected Limits "
                "and a Hierarchy of flexgym.envs.local_market."
            )
        if self.hierarchy.participants != n:
            raise ScenarioError(
                f"the hierarchy has {self.hierarchy.participants} members; expected {n}, the "
                "participants."
            )
        if not isinstance(self.split, str) or self.split not in HOUSE_SEEDS:
            raise ScenarioError(
                f"split is {self.split!r}; expected one of {', '.join(HOUSE_SEEDS)}."
            )
        margin = self.wholesale_margin_eur_per_kwh
        number = isinstance(margin, Real) and not isinstance(margin, bool)
        if margin is not None and not (number and 0.0 <= margin <= LARGEST):
            raise ScenarioError(
                f"wholesale_margin_eur_per_kwh is {margin}; expected a number >= 0 or None."
            )
        days = np.atleast_1d(np.asarray(self.days))
        if days.ndim != 1 or not days.size or days.dtype.kind not in "iu":
            raise ScenarioError(f"days is {self.days!r}; expected day numbers, at least one.")
        if days.min() < 0 or days.max() >= EPISODES:
            raise ScenarioError(f"days reach to {days.max()}; expected 0 to {EPISODES - 1}.")
        missing = np.setdiff1d(days, self.prices.covered_days())
        if missing.size:
            raise ScenarioError(
                f"the prices {self.prices.name!r} do not cover day {missing[0]}; pass "
                "days=prices.covered_days()."
            )
        object.__setattr__(self, "days", days.astype(np.int64))
        year = np.stack(
            [
                load_profiles().pv * PV_YIELD * DT_H * QUARTERS_PER_HOUR,
                self.prices.import_eur_per_kwh,
                self.prices.export_eur_per_kwh,
            ]
        )
        hourly = year.reshape(3, -1, QUARTERS_PER_HOUR).mean(axis=2)
        object.__setattr__(self, "_hourly", hourly)
        object.__setattr__(self, "_noise", _mean_of_four(self.uncertainty))
        chain = self.uncertainty.weather
        steps = np.linalg.matrix_power(chain.matrix, QUARTERS_PER_HOUR)
        tables = np.array(chain.factors), np.cumsum(chain.stationary), np.cumsum(steps, axis=1)
        object.__setattr__(self, "_weather", tables)

    @classmethod
    def create(
        cls,
        participants: int = 50,
        split: str = "train",
        days: Iterable[int] | int | None = None,
        prices: Prices | None = None,
        limits: Limits | None = None,
        uncertainty: str | Uncertainty = "markov",
        neighbourhoods: int | Hierarchy = 1,
        fee_eur_per_kwh: float = 0.0,
        wholesale_margin_eur_per_kwh: float | None = None,
    ) -> LocalMarketScenario:
        """Fill in defaults.

        Args:
            participants: How many take part.
            split: Of houses, and of days where none are given.
            days: Days that may be drawn; None takes the split's.
            prices: Of the year; None is the suite's synthetic tariff.
            limits: Ranges of tariffs and private values; None is `Limits`'s.
            uncertainty: ``"markov"``, ``"none"`` or an `Uncertainty`.
            neighbourhoods: Their number, or a whole `Hierarchy`.
            fee_eur_per_kwh: Of crossing from a neighbourhood to the market of all, and from there
                to the wholesaler.
            wholesale_margin_eur_per_kwh: See `LocalMarketScenario`.

        Raises:
            ScenarioError: An option is unknown, empty or out of range.
        """
        if not isinstance(split, str) or split not in HOUSE_SEEDS:
            raise ScenarioError(f"split is {split!r}; expected one of {', '.join(HOUSE_SEEDS)}.")
        tariff = synthetic_prices() if prices is None else prices
        if not isinstance(tariff, Prices):
            raise ScenarioError(
                f"prices is {type(prices).__name__}; expected flexgym.envs.data.Prices. Read your "
                "file with load_prices(path)."
            )
        if days is None:
            chosen = np.intersect1d(split_days(split), tariff.covered_days())
        else:
            chosen = one_or_several(days)
        if isinstance(neighbourhoods, Hierarchy):
            tree = neighbourhoods
        else:
            count, n = as_index(neighbourhoods), as_index(participants)
            if count is None or n is None or n < 1:
                raise ScenarioError(
                    f"participants is {participants!r} and neighbourhoods {neighbourhoods!r}; "
                    "expected whole numbers from 1, or a Hierarchy."
                )
            tree = Hierarchy.neighbourhoods(n, count, fee_eur_per_kwh)
        return cls(
            participants, split, chosen, tariff, Limits() if limits is None else limits, tree,
            Uncertainty.named(uncertainty), wholesale_margin_eur_per_kwh,
        )  # fmt: skip

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen digits that change with anything of which days are made."""
        digest = sha256(self.days.tobytes())
        digest.update(self._hourly.tobytes())
        tree = self.hierarchy
        parts = (
            int(self.participants), self.split, self.limits, self.uncertainty,
            tree.parent, tree.fee_eur_per_kwh, tree.member, self.wholesale_margin_eur_per_kwh,
        )  # fmt: skip
        digest.update(repr(parts).encode())
        return digest.hexdigest()[:16]

    @property
    def draws(self) -> int:
        """Uniform numbers that an episode of one market takes."""
        return 2 + HOURS + (5 + HOURS) * self.participants

    def draw(self, uniform: Floats, day: Ints | None = None) -> MarketDays:
        """Turn uniform numbers, shape (m, draws), into m markets.

        Args:
            uniform: Uniform numbers in [0, 1).
            day: Days to play, shape (m,), or None to draw them.

        Raises:
            ScenarioError: No such day, or one without prices.
        """
        m, n = len(uniform), self.participants
        if day is None:
            day = self.days[(uniform[:, 0] * len(self.days)).astype(np.int64)]
        elif not np.isin(day, self.prices.covered_days()).all():
            raise ScenarioError(
                f"day is {day}; expected days from 0 to {EPISODES - 1} that have prices."
            )
        load, roof = _pool(self.split, max(FEEDERS, -(-n // HOUSES)))
        pool = len(roof)
        # Neighbours in the pool, so that nobody takes part twice.
        house = ((uniform[:, 1] * pool).astype(np.int64)[:, None] + np.arange(n)) % pool
        hour = day * HOURS + episode_start(0) // QUARTERS_PER_HOUR + np.arange(HOURS)[:, None]
        solar, paid, earned = self._hourly[:, hour]
        weather, at = self._weather, 2 + HOURS
        state = np.empty((HOURS, m), dtype=np.int64)
        state[0] = _pick(weather[1], uniform[:, 2])
        for t in range(1, HOURS):
            state[t] = _pick(weather[2][state[t - 1]], uniform[:, 2 + t])
        drawn = uniform[:, at : at + 5 * n].reshape(m, 5, n)
        limits, factor = self.limits, weather[0][state]
        has_roof = np.where(drawn[:, 0] < limits.prosumer_share, roof[house], 0.0)
        net, expected = np.empty((2, HOURS, m, n))
        noise = uniform[:, at + 5 * n :]
        _fill(load, house, hour, has_roof, solar, factor, *self._noise, noise, net, expected)
        return MarketDays(
            day=day,
            net_kwh=net,
            forecast_kwh=expected,
            weather=factor,
            solar=solar,
            import_eur_per_kwh=paid,
            export_eur_per_kwh=earned,
            roof_kw=has_roof,
            retail_factor=_between(limits.retail_factor, drawn[:, 1]),
            feed_in_factor=_between(limits.feed_in_factor, drawn[:, 2]),
            value_factor=_between(limits.value_factor, drawn[:, 3]),
            cost_share=_between(limits.cost_share, drawn[:, 4]),
        )


@compiled
def _fill(load, house, hour, roof_kw, solar, weather, factors, shares, noise, net, expected):
    """What every participant needs in each hour, and what it expects of that.

    Args:
        load: Consumption of the pool's houses, shape (pool, hours of the year), kWh.
        house: Who takes part, shape (m, n).
        hour: Hours of the day in the year, shape (24, m).
        roof_kw: Rating of each roof, shape (m, n), 0 without one.
        solar: Forecast per kW, shape (24, m), kWh.
        weather: Factor on it, shape (24, m).
        factors: What consumption may be off by, shape (k,).
        shares: Their cumulated probabilities, shape (k,).
        noise: Uniform numbers, shape (m, 24 * n).
        net: Shape (24, m, n), overwritten, kWh.
        expected: Likewise.
    """
    T, m, n = net.shape
    for t in range(T):
        for r in range(m):
            for i in range(n):
                consumed = load[house[r, i], hour[t, r]]
                sun = solar[t, r] * roof_kw[r, i]
                # A roof never gives more than its rating.
                given = realised_pv(weather[t, r], sun, roof_kw[r, i])
                expected[t, r, i] = consumed - sun
                net[t, r, i] = factors[pick(shares, noise[r, t * n + i])] * consumed - given


def _mean_of_four(uncertainty: Uncertainty) -> tuple[Floats, Floats]:
    """Values and cumulated shares of an hour's mean of the quarter-hours' load factors."""
    means = {0.0: 1.0}
    for _ in range(QUARTERS_PER_HOUR):
        grown: dict[float, float] = {}
        for total, share in means.items():
            for factor, p in zip(
                uncertainty.load_factors, uncertainty.load_probabilities, strict=True
            ):
                key = round(total + factor / QUARTERS_PER_HOUR, 12)
                grown[key] = grown.get(key, 0.0) + share * p
        means = grown
    values = sorted(means)
    return np.array(values), np.cumsum([means[value] for value in values])


def _pick(cumulated: Floats, uniform: Floats) -> Ints:
    """Position that each uniform number picks by cumulated shares, (k,) or one row each."""
    return np.minimum((cumulated <= uniform[:, None]).sum(axis=-1), cumulated.shape[-1] - 1)


def _between(ends: tuple[float, float], uniform: Floats) -> Floats:
    return ends[0] + (ends[1] - ends[0]) * uniform
