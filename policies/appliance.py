"""When an appliance runs: the patterns of the source, re-planning, and the optimum.

Every pattern is a wish; the rules of a job (`flexgym.envs.appliance.job`) make it end in time.
A pattern that has not run a job by then is made to in the last hours of its window.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.appliance import hurdle, stopping
from flexgym.baselines.appliance.hurdle import TIE_EUR_PER_KWH
from flexgym.baselines.appliance.stopping import window_cost
from flexgym.baselines.appliance.window import plan_rows
from flexgym.envs.appliance.params import Ints
from flexgym.envs.appliance.scenario import ApplianceScenario
from flexgym.envs.appliance.simulation import ApplianceSimulation
from flexgym.envs.compiled import compiled
from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.quantity import is_number

QUANTILE = 0.25
"""Default limit of the acceptance patterns, as a quantile of the forecasts."""
GRID = tuple(k / 20 for k in range(21))
"""Quantiles among which `tuned_acceptance` chooses."""


class AppliancePolicy(Protocol):
    """Maps what n appliances see to n actions.

    Rules and solvers read job, signal, forecasts and what is left from the simulation; learned
    policies read its observation only. None reads later signals or prices.

    Attributes:
        name: Short name for tables.
    """

    name: str

    def begin(self, simulation: ApplianceSimulation) -> None:
        """Prepare for new episodes: jobs are known, no signal has been seen."""
        ...

    def act(self, simulation: ApplianceSimulation) -> Floats:
        """Actions for this hour, shape (n, 1), in [-1, 1]; above 0 wishes to run."""
        ...


def action(wishes: NDArray[np.bool_]) -> Floats:
    """Actions that wish so, shape (n, 1)."""
    return np.where(wishes, 1.0, -1.0)[:, None]


def running_on(simulation: ApplianceSimulation) -> NDArray[np.bool_]:
    """Jobs that have begun and may not pause, shape (n,): they run on, whatever is wished."""
    return simulation.running & ~simulation.episodes.jobs.interruptible


def play(policy: AppliancePolicy, simulation: ApplianceSimulation) -> Floats:
    """Cost of every episode the simulation has begun, shape (n,), EUR."""
    policy.begin(simulation)
    while not simulation.done:
        simulation.step(policy.act(simulation))
    return simulation.cost_eur.copy()


class Normal:
    """Start at once and run through: score 0."""

    name = "normal"

    def begin(self, simulation: ApplianceSimulation) -> None:
        """Nothing to prepare."""

    def act(self, simulation: ApplianceSimulation) -> Floats:
        """See `AppliancePolicy`."""
        return np.ones((simulation.n, 1))


class OpenLoop:
    """Choose the cheapest hours on the forecasts of the window's first hour, and stick to them.

    Hours on end where the job may not pause: the source's prediction pattern for these.
    """

    name = "window search"

    def begin(self, simulation: ApplianceSimulation) -> None:
        """Nothing is planned yet."""
        self._plan = np.zeros((simulation.n, simulation.scenario.periods), dtype=bool)

    def act(self, simulation: ApplianceSimulation) -> Floats:
        """See `AppliancePolicy`."""
        jobs = simulation.episodes.jobs
        new = np.flatnonzero(jobs.earliest == simulation.t)
        if len(new):
            here = jobs.take(new)
            chosen = np.zeros((len(new), simulation.scenario.periods), dtype=bool)
            plan_rows(
                simulation.forecast[new], here.hours, here.earliest, here.deadline,
                here.interruptible, chosen,
            )  # fmt: skip
            self._plan[new] = chosen
        return action(self._plan[:, simulation.t])


class Replanned:
    """The cheapest hours on the forecasts of every hour anew: certainty equivalence."""

    name = "window search, re-planned"

    def begin(self, simulation: ApplianceSimulation) -> None:
        """Nothing to prepare."""

    def act(self, simulation: ApplianceSimulation) -> Floats:
        """See `AppliancePolicy`."""
        t, jobs = simulation.t, simulation.episodes.jobs
        chosen = np.zeros((simulation.n, simulation.scenario.periods), dtype=bool)
        plan_rows(
            simulation.forecast, simulation.left, np.maximum(jobs.earliest, t), jobs.deadline,
            jobs.interruptible, chosen,
        )  # fmt: skip
        return action(chosen[:, t] | running_on(simulation))


class Acceptance:
    """Run when it is cheap enough: the source's cost and price acceptance patterns.

    A job that may pause runs while the expected price of the hour is at most P_max; one that may
    not begins once the expected cost of its hours from now on is at most C_max (the source writes
    < here). Limits are given, or quantiles of what is forecast in the window's first hour: of the
    prices of its hours, of the costs of all its starts.

    Args:
        max_price_eur_per_kwh: P_max; None takes the quantile.
        max_cost_eur: C_max; None takes the quantile.
        price_quantile: In [0, 1].
        cost_quantile: In [0, 1].
        name: Short name for tables.

    Raises:
        ScenarioError: A limit is no number, or a quantile none in [0, 1].
    """

    def __init__(
        self,
        max_price_eur_per_kwh: float | None = None,
        max_cost_eur: float | None = None,
        price_quantile: float = QUANTILE,
        cost_quantile: float = QUANTILE,
        name: str = "acceptance",
    ) -> None:
        for limit in (max_price_eur_per_kwh, max_cost_eur):
            if limit is not None and not is_number(limit, -np.inf, np.inf):
                raise ScenarioError(
                    f"max_price_eur_per_kwh is {max_price_eur_per_kwh!r} and max_cost_eur "
                    f"{max_cost_eur!r}; expected numbers, or None."
                )
        for what, share in (("price", price_quantile), ("cost", cost_quantile)):
            if not is_number(share, 0.0, 1.0):
                raise ScenarioError(f"{what}_quantile is {share!r}; expected a number in [0, 1].")
        self.name = name
        self.max_price_eur_per_kwh, self.max_cost_eur = max_price_eur_per_kwh, max_cost_eur
        self.price_quantile, self.cost_quantile = price_quantile, cost_quantile

    def begin(self, simulation: ApplianceSimulation) -> None:
        """Limits that are quantiles follow in the window's first hour."""
        jobs = simulation.episodes.jobs
        # Of 1 kW: EUR/kWh for jobs that may pause, EUR/kW for those that may not.
        self._limit = np.full(simulation.n, np.nan)
        if self.max_price_eur_per_kwh is not None:
            self._limit[jobs.interruptible] = self.max_price_eur_per_kwh
        if self.max_cost_eur is not None:
            fixed = ~jobs.interruptible
            self._limit[fixed] = self.max_cost_eur / jobs.power_kw[fixed]
        self._open = np.isnan(self._limit)

    def act(self, simulation: ApplianceSimulation) -> Floats:
        """See `AppliancePolicy`."""
        t, jobs, forecast = simulation.t, simulation.episodes.jobs, simulation.forecast
        new = np.flatnonzero((jobs.earliest == t) & self._open)
        if len(new):
            here, limit = jobs.take(new), np.empty(len(new))
            quantiles = (self.price_quantile, self.cost_quantile)
            _limits(
                forecast[new], here.hours, here.earliest, here.deadline, here.interruptible,
                quantiles, limit,
            )  # fmt: skip
            self._limit[new] = limit
        wishes = np.zeros(simulation.n, dtype=bool)
        _accept(
            t, forecast, simulation.left, jobs.deadline, jobs.interruptible, self._limit, wishes
        )
        return action(wishes | running_on(simulation))


@compiled
def _limits(forecast, hours, earliest, deadline, interruptible, quantiles, out):
    for i in range(len(out)):
        width = 1 if interruptible[i] else hours[i]
        starts = deadline[i] - earliest[i] - width + 1
        if starts < 1:
            out[i] = 0.0
            continue
        cost = np.empty(starts)
        for k in range(starts):
            cost[k] = window_cost(forecast[i], earliest[i] + k, width)
        out[i] = np.quantile(cost, quantiles[0 if interruptible[i] else 1])


@compiled
def _accept(t, forecast, left, deadline, interruptible, limit, wishes):
    for i in range(len(wishes)):
        width = 1 if interruptible[i] else left[i]
        # After the window there is nothing to run; before it the limit is not known yet (NaN).
        able = left[i] > 0 and t + width <= deadline[i]
        wishes[i] = able and window_cost(forecast[i], t, width) <= limit[i] + TIE_EUR_PER_KWH


class Optimal:
    """Hurdle prices where the job may pause, optimal stopping where it may not: score 100.

    Attributes:
        value_eur: Expected cost of each episode before its first signal, shape (n,), EUR.
    """

    name = "optimal"

    def begin(self, simulation: ApplianceSimulation) -> None:
        """Solve every job."""
        scenario, episodes = simulation.scenario, simulation.episodes
        first = scenario.processes[0]
        pausing = episodes.jobs.interruptible
        self._pausing, self._fixed = np.flatnonzero(pausing), np.flatnonzero(~pausing)
        begin = np.empty((simulation.n, scenario.signals))

        def solved(solve: Any, table: Floats, rows: Ints) -> Floats:
            jobs = episodes.jobs.take(rows)
            found, begin[rows] = solve(
                table, first.transition, episodes.row[rows], jobs.hours, jobs.earliest,
                jobs.deadline,
            )  # fmt: skip
            return found

        self._hurdle = solved(hurdle.solve_all, scenario.price_table, self._pausing)
        self._saving = solved(stopping.solve_all, scenario.forecast_table, self._fixed)
        self.value_eur = episodes.jobs.power_kw * (begin * first.initial).sum(axis=1)

    def act(self, simulation: ApplianceSimulation) -> Floats:
        """See `AppliancePolicy`."""
        return action(self.wishes(simulation))

    def wishes(self, simulation: ApplianceSimulation) -> NDArray[np.bool_]:
        """Whether each job should run now, shape (n,)."""
        t, signal = simulation.t, simulation.signal
        out = np.zeros(simulation.n, dtype=bool)
        rows = self._pausing
        limit = self._hurdle[np.arange(len(rows)), t, simulation.left[rows], signal[rows]]
        price = simulation.expected_eur_per_kwh[rows]
        out[rows] = price <= limit + TIE_EUR_PER_KWH
        rows = self._fixed
        out[rows] = self._saving[np.arange(len(rows)), t, signal[rows]] >= -TIE_EUR_PER_KWH
        return out | running_on(simulation)


class Prediction:
    """The source's prediction patterns: hurdle prices, or the window found at the start."""

    name = "prediction"

    def __init__(self) -> None:
        self._exact, self._window = Optimal(), OpenLoop()

    def begin(self, simulation: ApplianceSimulation) -> None:
        """Solve, and plan nothing yet."""
        self._exact.begin(simulation)
        self._window.begin(simulation)

    def act(self, simulation: ApplianceSimulation) -> Floats:
        """See `AppliancePolicy`."""
        planned = self._window.act(simulation)
        pausing = simulation.episodes.jobs.interruptible[:, None]
        return np.where(pausing, self._exact.act(simulation), planned)


def tuned_acceptance(
    scenario: ApplianceScenario, episodes: int = 4096, seed: int = 0
) -> Acceptance:
    """Acceptance with the quantiles that cost least on episodes of a scenario, of `GRID`.

    Args:
        scenario: Where they are tuned: of the train split, to be played on another.
        episodes: Played for every quantile, the same ones.
        seed: Of their random numbers.

    Raises:
        ScenarioError: No episode, or a seed that is no whole number >= 0.
    """
    count, number = as_index(episodes), as_index(seed)
    if count is None or count < 1 or number is None or number < 0:
        raise ScenarioError(
            f"episodes is {episodes!r} and seed {seed!r}; expected integers, at least 1 and 0."
        )
    uniform = np.random.default_rng(seed).random((episodes, scenario.draws))
    drawn, simulation = scenario.draw(uniform), ApplianceSimulation(scenario, episodes)
    pausing = drawn.jobs.interruptible
    paid = np.empty((2, len(GRID)))
    for k, share in enumerate(GRID):
        simulation.start(drawn)
        cost = play(Acceptance(price_quantile=share, cost_quantile=share), simulation)
        paid[:, k] = cost[pausing].sum(), cost[~pausing].sum()
    price, cost = (GRID[k] for k in paid.argmin(axis=1))
    return Acceptance(price_quantile=price, cost_quantile=cost, name="acceptance, tuned")
