"""Which days, prices and jobs an appliance meets, and how an episode is drawn.

Randomness enters here and nowhere else: an episode is a row of uniform numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256

import numpy as np

from flexgym.envs.appliance.params import Ints, Job, Jobs
from flexgym.envs.data import Prices, split_days, synthetic_prices
from flexgym.envs.data.calendar import EPISODES, one_or_several
from flexgym.envs.errors import ScenarioError
from flexgym.envs.forecasts.price_models import PriceModel, hourly_curves, price_model
from flexgym.envs.forecasts.signals import MOST_EUR_PER_KWH, SignalProcess, conditional_means
from flexgym.envs.household.params import Floats
from flexgym.envs.quantity import is_number

KINDS = ("mixed", "interruptible", "uninterruptible")
MOST_HOURS = 6
LOWEST_KW, HIGHEST_KW = 0.5, 3.0
_JOB_DRAWS = 6


@dataclass(frozen=True, eq=False)
class Episodes:
    """One episode for each of n appliances.

    Attributes:
        day: Day of each, shape (n,).
        row: Its position in the scenario's tables, shape (n,).
        jobs: The jobs.
        signal: Signals, shape (n, T); an appliance sees those up to now.
        price_eur_per_kwh: Prices that are charged, shape (n, T), EUR/kWh.
    """

    day: Ints
    row: Ints
    jobs: Jobs
    signal: Ints
    price_eur_per_kwh: Floats

    def take(self, rows: slice) -> Episodes:
        """Some of them, as views."""
        jobs = self.jobs.take(rows)
        return Episodes(
            self.day[rows], self.row[rows], jobs, self.signal[rows], self.price_eur_per_kwh[rows]
        )


@dataclass(frozen=True, eq=False)
class ApplianceScenario:
    """Days with their price processes, and the jobs.

    Attributes:
        days: Days that may be drawn, shape (k,).
        covered: Days that have prices, ascending, shape (D,).
        processes: Price process of each of them, alike but for the prices.
        jobs: Jobs to draw from; None draws them from the documented distribution.
        kind: Which of these are drawn, of `KINDS`.
        name: Where the prices come from.
    """

    days: Ints
    covered: Ints
    processes: tuple[SignalProcess, ...]
    jobs: tuple[Job, ...] | None
    kind: str
    name: str

    def __post_init__(self) -> None:
        first = self.processes[0]
        for process in self.processes:
            for field in ("initial", "transition", "noise_eur_per_kwh", "noise_probabilities"):
                if not np.array_equal(getattr(process, field), getattr(first, field)):
                    raise ScenarioError(
                        f"{field} differs between days; expected one chain of signals for all. "
                        "Let the days differ in price_eur_per_kwh only."
                    )
        late = [job for job in self.jobs or () if job.deadline > first.periods]
        if late:
            raise ScenarioError(
                f"{late[0]} ends after hour {first.periods}, the end of the episode; expected "
                "deadlines within it. Move the deadline."
            )

    @cached_property
    def price_table(self) -> Floats:
        """Expected price by day, hour and signal, shape (D, T, n), EUR/kWh."""
        table = np.stack([process.price_eur_per_kwh for process in self.processes])
        table.setflags(write=False)
        return table

    @cached_property
    def forecast_table(self) -> Floats:
        """Expected price of hour u given the signal of hour t, shape (D, T, n, T); 0 for u < t.

        `SignalProcess.forecasts` of all days at once.
        """
        ahead = conditional_means(self.price_table, self.processes[0].transition, 0.0)
        ahead.setflags(write=False)
        return ahead

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen digits that change with prices, chain, days and jobs."""
        first, digest = self.processes[0], sha256()
        parts = (self.price_table, first.initial, first.transition, first.noise_eur_per_kwh)
        for part in (*parts, first.noise_probabilities, self.days, self.covered):
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(repr((self.jobs, self.kind)).encode())
        return digest.hexdigest()[:16]

    @classmethod
    def create(
        cls,
        jobs: Sequence[Job] | Job | None = None,
        kind: str = "mixed",
        days: Iterable[int] | int | None = None,
        prices: Prices | None = None,
        split: str = "train",
        uncertainty: PriceModel | SignalProcess = "autoregressive",
        noise_sd_eur_per_kwh: float = 0.0,
    ) -> ApplianceScenario:
        """Fill in defaults; see `ApplianceEnv` for the arguments.

        Raises:
            ScenarioError: An option is unknown, empty or out of range.
        """
        if kind not in KINDS:
            raise ScenarioError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}.")
        if not is_number(noise_sd_eur_per_kwh, 0.0, MOST_EUR_PER_KWH):
            raise ScenarioError(
                f"noise_sd_eur_per_kwh is {noise_sd_eur_per_kwh!r}; expected a number >= 0, at "
                f"most {MOST_EUR_PER_KWH:g} EUR/kWh."
            )
        pool = None
        if jobs is not None:
            several = tuple(jobs) if isinstance(jobs, Iterable) else ()
            pool = (jobs,) if isinstance(jobs, Job) else several
            if not pool or not all(isinstance(job, Job) for job in pool):
                raise ScenarioError(f"jobs is {jobs!r}; expected a Job, or several.")
            if kind != "mixed":
                pool = tuple(j for j in pool if j.interruptible == (kind == "interruptible"))
            if not pool:
                raise ScenarioError(f"jobs holds none that is {kind}; expected at least one.")
        if isinstance(uncertainty, SignalProcess):
            if not (days is None and prices is None):
                raise ScenarioError(
                    "got days or prices beside a SignalProcess; expected none, since it is one "
                    "day with its own prices. Pass a function of the forecast curve instead."
                )
            world = _with_noise(uncertainty, noise_sd_eur_per_kwh)
            only = np.zeros(1, dtype=np.int64)
            return cls(only, only, (world,), pool, kind, "a given signal process")
        if prices is None:
            prices = synthetic_prices()
        elif not isinstance(prices, Prices):
            raise ScenarioError(
                f"prices is {type(prices).__name__}; expected flexgym.envs.data.Prices. "
                "Read your file with load_prices(path)."
            )
        covered = prices.covered_days()
        chosen = split_days(split) if days is None else one_or_several(days)
        if days is None:
            chosen = np.intersect1d(chosen, covered)
        whole = chosen.ndim == 1 and chosen.size and chosen.dtype.kind in "iu"
        if not whole or not np.isin(chosen, covered).all():
            raise ScenarioError(
                f"days is {days!r} (split {split!r}); expected days from 0 to {EPISODES - 1} that "
                "the prices cover, at least one. Pass days=prices.covered_days()."
            )
        build = _named_worlds if isinstance(uncertainty, str) else _worlds
        worlds = build(prices, uncertainty, noise_sd_eur_per_kwh)
        return cls(chosen.astype(np.int64), covered, worlds, pool, kind, prices.name)

    @property
    def periods(self) -> int:
        """Hours of an episode, T."""
        return self.price_table.shape[1]

    @property
    def signals(self) -> int:
        """Number of signals, n."""
        return self.price_table.shape[2]

    @property
    def draws(self) -> int:
        """Uniform numbers that one episode takes."""
        return 1 + _JOB_DRAWS + 2 * self.periods

    def draw(
        self, uniform: Floats, day: Ints | None = None, job: Sequence[Job] | None = None
    ) -> Episodes:
        """Turn uniform numbers, shape (n, draws), into n episodes.

        Args:
            uniform: Uniform numbers in [0, 1).
            day: Days to play, shape (n,), or None to draw them.
            job: Jobs to do, n of them, or None to draw them.

        Raises:
            ScenarioError: No such day, or a job ends after the episode.
        """
        if day is None:
            day = self.days[(uniform[:, 0] * len(self.days)).astype(np.int64)]
        row = np.searchsorted(self.covered, day)
        if (self.covered[np.minimum(row, len(self.covered) - 1)] != day).any():
            raise ScenarioError(
                f"day is {day}; expected days that the prices cover, {self.covered[0]} to "
                f"{self.covered[-1]}."
            )
        jobs = self._jobs(uniform[:, 1 : 1 + _JOB_DRAWS]) if job is None else Jobs.of(job)
        if (jobs.deadline > self.periods).any():
            raise ScenarioError(
                f"a job ends at hour {jobs.deadline.max()} and the episode at {self.periods}; "
                "expected deadlines within it. Move the deadline."
            )
        paths = uniform[:, 1 + _JOB_DRAWS :]
        return self.on_paths(day, row, jobs, *np.hsplit(paths, 2))

    def on_paths(
        self, day: Ints, row: Ints, jobs: Jobs, signal_draw: Floats, noise_draw: Floats
    ) -> Episodes:
        """Episodes whose signals and noise follow from draws, each of shape (n, T)."""
        first = self.processes[0]
        signal = first.draw(signal_draw)
        expected = self.price_table[row[:, None], np.arange(self.periods), signal]
        price = expected + first.noise(noise_draw)
        return Episodes(np.array(day), row, jobs, signal, price)

    def _jobs(self, uniform: Floats) -> Jobs:
        """Jobs of n episodes from uniform numbers, shape (n, 6)."""

        def whole(column: int, most: np.ndarray | int) -> Ints:
            return (uniform[:, column] * (most + 1)).astype(np.int64)

        if self.jobs is not None:
            return Jobs.of([self.jobs[i] for i in whole(0, len(self.jobs) - 1)])
        T = self.periods
        hours = 1 + whole(1, min(MOST_HOURS, T) - 1)
        earliest = whole(2, T - hours)
        deadline = earliest + hours + whole(3, T - hours - earliest)
        power_kw = LOWEST_KW + (HIGHEST_KW - LOWEST_KW) * uniform[:, 4]
        share = {"mixed": 0.5, "interruptible": 1.0, "uninterruptible": 0.0}[self.kind]
        return Jobs(hours, earliest, deadline, power_kw, uniform[:, 5] < share)


def _worlds(
    prices: Prices, uncertainty: PriceModel, noise_sd_eur_per_kwh: float
) -> tuple[SignalProcess, ...]:
    """Processes of all days that have prices, around the hourly means of their import price."""
    model, curves = price_model(uncertainty), hourly_curves(prices)[prices.covered_days()]
    return tuple(_with_noise(model(curve), noise_sd_eur_per_kwh) for curve in curves)


_named_worlds = lru_cache(maxsize=8)(_worlds)


def _with_noise(process: SignalProcess, sd_eur_per_kwh: float) -> SignalProcess:
    """The process with three-valued noise of a deviation (Gauss-Hermite) beside its own."""
    if not isinstance(process, SignalProcess):
        raise ScenarioError(
            f"the price model gave {type(process).__name__}; expected a SignalProcess."
        )
    if sd_eur_per_kwh == 0.0:
        return process
    value = np.sqrt(3.0) * sd_eur_per_kwh * np.array([-1.0, 0.0, 1.0])
    chance = np.array([1.0, 4.0, 1.0]) / 6.0
    return SignalProcess(
        process.initial,
        process.transition,
        process.price_eur_per_kwh,
        (process.noise_eur_per_kwh[:, None] + value).ravel(),
        (process.noise_probabilities[:, None] * chance).ravel(),
    )
