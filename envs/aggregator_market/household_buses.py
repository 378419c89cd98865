"""Load buses that are feeders with real houses, hour by hour beside the spins of the others.

One hour of the market is four periods of the feeder. What an aggregator quotes above silence,
(quote - shadow price) / 1000 EUR/kWh, comes on top of the houses' import and export price for
this hour; of later hours they expect silence. So, as for spins, whoever drops consumption now
counts on consuming it at the shadow price later. In each period every house takes the best power
of its menu at that price, all together that of their summed menu.

A day begins with a plan: what the same houses do on the day as forecast if nobody quotes.
Flexibility is the plan's power minus the actual one. The feeders' own networks are not solved:
a bus draws what its meters do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from flexgym.envs.aggregator_market.params import HOURS
from flexgym.envs.aggregator_market.priced_houses import (
    Households,
    PricedHouses,
    best_power_kw,
    houses_from,
)
from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.errors import ActionError, ResetNeededError, ScenarioError, StateError
from flexgym.envs.feeder.homes import homes_of
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household.batch import shares_from_pv
from flexgym.envs.household.dynamics import BUY, COST_EUR, METER_KW, UNSERVED, UNSERVED_KW
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.scenario import Episodes
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.envs.uncertainty import Uncertainty

T = STEPS_PER_DAY
PERIODS = T // HOURS
"""Periods of an hour."""
_NO_CHANCE = Uncertainty.named("none")
_MOST_PLANS = 4096
_KEPT = ("plan_kw", "plan_eur", "power_kw", "reactive_kvar", "cost_eur", "paid_eur", "hour_eur")


class HouseholdBuses:
    """The m buses with houses of n markets, all in the same hour.

    Attributes:
        households: Houses and places.
        n: Number of markets.
        hour: Hours played so far, 0 to 24.
        homes: All houses, row ``(i * m + b) * H + h``.
        plan_kw: Power of each bus as declared in the morning, shape (24, n, m), kW.
        plan_eur: What the planned day costs the houses of a bus, shape (n, m), EUR.
        power_kw: Mean power of the last hour, shape (n, m), kW.
        reactive_kvar: Likewise, kvar.
        hour_eur: Cost of the houses in the last hour, shape (n, m), EUR, without payments.
        cost_eur: Its sum over the hours so far.
        paid_eur: What the houses were paid for flexibility so far, likewise, EUR.

    Args:
        households: Houses and places; buses must be named.
        n: Number of markets.
        silent_eur_per_mwh: Quote at which houses do as planned, EUR/MWh.
    """

    homes: HouseholdSimulation

    def __init__(self, households: Households, n: int, silent_eur_per_mwh: float) -> None:
        if not households.buses:
            raise ScenarioError("buses is empty; expected at least one. Call among() first.")
        self.households, self.n, self.m = households, n, len(households.buses)
        self.silent_eur_per_mwh = silent_eur_per_mwh
        self.count = households.feeder.n_houses
        self._make = houses_from(households.houses)
        uncertainty = households.feeder.homes.uncertainty
        self._certain = uncertainty.n_states == 1 and len(uncertainty.load_factors) == 1
        homes = households.feeder.homes
        self._known = homes if self._certain else replace(homes, uncertainty=_NO_CHANCE)
        # It only draws days: the houses are played below.
        self._feeders = FeederSimulation(
            households.feeder, n * self.m, observation="compact", curtailment="action"
        )
        self.hour = HOURS  # nothing to play before `begin`
        self._houses: PricedHouses | None = None
        self._tan_phi = np.array([house.load.tan_phi for house in homes.houses])
        self._plans: dict[tuple[int, int, bytes], tuple[Floats, float]] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "homes":
            raise ResetNeededError(f"{name} is not there before an episode; call reset first.")
        if name in _KEPT:
            if "homes" not in self.__dict__:
                raise ResetNeededError(f"{name} is not there before an episode; call reset first.")
            self._plan()
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes: houses are made anew between two hours."""
        return {**self.__dict__, "_houses": None}

    def begin(self, rngs: Sequence[np.random.Generator]) -> None:
        """Draw the day of each market: one day of the year, and for each bus its houses.

        Where the scenario has uncertainty, weather and prices go their own way on each bus.

        Args:
            rngs: One generator a market; each is asked for the same amount.
        """
        days, seeds = self.households.feeder.homes.days, []
        day = np.empty(self.n, dtype=np.int64)
        for i, rng in enumerate(rngs):
            day[i] = days[int(rng.random() * len(days))]
            seeds.extend(rng.integers(0, 2**63, self.m).tolist())
        each = [np.random.default_rng(seed) for seed in seeds]
        self._feeders.begin(each, {"day": day.repeat(self.m)})
        self._start()
        self.hour = 0

    def _start(self) -> None:
        for name in _KEPT:
            # A new plan takes seconds: it is made when it is first asked for.
            self.__dict__.pop(name, None)
        self.homes, self._houses = homes_of(self._feeders), None

    @property
    def day(self) -> np.ndarray:
        """Day of the year of each market, shape (n,)."""
        return self._feeders.day[:: self.m]

    def _plan(self) -> None:
        """Look up the plans of all feeders, and make those that are missing."""
        draw, day, soc = self._feeders.draw, self._feeders.day, self.homes.episodes.soc_kwh
        known = [
            (int(draw[k]), int(day[k]), own.tobytes())
            for k, own in enumerate(soc.reshape(-1, self.count))
        ]
        if len(self._plans) > _MOST_PLANS:
            self._plans = {}
        missing = {key: k for k, key in enumerate(known) if key not in self._plans}
        if missing:
            made = self._planned(np.array(list(missing.values())))
            self._plans |= dict(zip(missing, made, strict=True))
        shape = self.n, self.m
        self.plan_kw = np.stack([self._plans[key][0] for key in known], 1).reshape(HOURS, *shape)
        self.plan_eur = np.array([self._plans[key][1] for key in known]).reshape(shape)
        for name in _KEPT[2:]:
            setattr(self, name, np.zeros(shape))

    def _planned(self, feeders: np.ndarray) -> list[tuple[Floats, float]]:
        """Play the day of some feeders as forecast without any quote: kW of each hour, and EUR."""
        rows = (feeders[:, None] * self.count + np.arange(self.count)).ravel()
        own = rows_of(self.homes.episodes, rows)
        series = own.exogenous if self._certain else own.forecast
        stage = HouseholdSimulation(
            self._known, len(rows), observation="compact", curtailment="action"
        )
        stage.episodes = replace(own, exogenous=series, state=np.zeros_like(own.state))
        stage.t, stage.soc_kwh = 0, own.soc_kwh.copy()
        stage.car_kwh = self._feeders.car_kwh.ravel()[rows]
        houses, nothing = self._make(stage), np.zeros(len(rows))
        hours = np.stack([self._played(stage, houses, nothing) for _ in range(HOURS)])
        power, cost = hours[:, 0], hours[:, 2].cumsum(axis=0)[-1]
        return list(zip(power.T, cost.tolist(), strict=True))

    @property
    def done(self) -> bool:
        """Whether the day is over."""
        return self.hour >= HOURS

    def adders(self, quote_eur_per_mwh: Floats) -> Floats:
        """What comes on top of each house's prices now at quotes (n, m), shape (houses,), EUR/kWh.

        It is bounded so that importing costs at least nothing and at most what unserved load
        does: beyond, a house would burn energy, or shed load that it could serve.
        """
        above = 1e-3 * (quote_eur_per_mwh - self.silent_eur_per_mwh)
        homes = self.homes
        hour = slice(homes.t, homes.t + PERIODS)
        buy = homes.episodes.exogenous[hour, BUY]
        low = -np.maximum(buy.min(axis=0) - 1e-9, 0.0)
        high = np.maximum(homes.episodes.rows[:, UNSERVED] - buy.max(axis=0) - 1e-9, 0.0)
        return np.clip(above.ravel().repeat(self.count), low, high)

    def menus(self) -> list[list[FlexibilityChart]]:
        """Summed menu of each bus at the start of this hour without a quote, n lists of m."""
        houses = self._ready()
        houses.price(np.zeros(self.homes.n))
        menus = houses.offer()
        of_bus = [
            FlexibilityChart.minkowski_sum(menus[i : i + self.count])
            for i in range(0, len(menus), self.count)
        ]
        return [of_bus[i : i + self.m] for i in range(0, len(of_bus), self.m)]

    def play(self, quote_eur_per_mwh: Floats) -> Floats:
        """Play an hour.

        Args:
            quote_eur_per_mwh: What flexibility is paid, shape (n, m), EUR/MWh.

        Returns:
            Flexibility, shape (n, m): what was planned minus what was drawn on average, kW, which
            is as many kWh.

        Raises:
            ActionError: The day is over, or quotes have another shape or are no numbers.
        """
        if self.hour >= HOURS:
            raise ActionError("play was called before a day began or after its end; reset first.")
        quote = np.asarray(quote_eur_per_mwh, dtype=np.float64)
        if quote.shape != (self.n, self.m) or not np.isfinite(quote).all():
            raise ActionError(
                f"quotes have shape {quote.shape}; expected ({self.n}, {self.m}), finite numbers."
            )
        planned = self.plan_kw[self.hour]
        hour = self._played(self.homes, self._ready(), self.adders(quote))
        self.power_kw, self.reactive_kvar, self.hour_eur = hour.reshape(3, self.n, self.m)
        flexible = planned - self.power_kw
        self.cost_eur = self.cost_eur + self.hour_eur
        self.paid_eur = self.paid_eur + 1e-3 * quote * flexible
        self.hour += 1
        return flexible

    @property
    def gain_eur(self) -> Floats:
        """What the houses of a bus are better off than planned, shape (n, m), EUR; at the end."""
        return self.paid_eur - self.cost_eur + self.plan_eur

    def _ready(self) -> PricedHouses:
        if self._houses is None:
            self._houses = self._make(self.homes)
        return self._houses

    def _played(self, homes: HouseholdSimulation, houses: PricedHouses, adder: Floats) -> Floats:
        """Mean kW and kvar of an hour, and its cost in EUR, of each feeder, shape (3, feeders)."""
        houses.price(adder)
        sums = np.zeros((3, homes.n // self.count))
        share, tan_phi = np.empty(homes.n), self._tan_phi[homes.episodes.house]
        for _ in range(PERIODS):
            menus = houses.offer()
            each = zip(menus, adder.tolist(), strict=True)
            power = np.array([best_power_kw(menu, price) for menu, price in each])
            battery, car, used = np.ascontiguousarray(houses.follow(power))
            now = homes.now
            shares_from_pv(homes.episodes.rows, battery, car, now, used, share)
            outcome = homes.step(homes.action(battery, share, car_kw=car))
            reactive = tan_phi * (now[0] - outcome[:, UNSERVED_KW])
            parts = outcome[:, METER_KW] / PERIODS, reactive / PERIODS, outcome[:, COST_EUR]
            sums += np.stack(parts).reshape(3, -1, self.count).sum(axis=2)
        return sums

    def save(self) -> dict[str, Any]:
        """Everything needed to go on from here, between two hours."""
        return {
            "feeders": self._feeders.save(),
            "hour": self.hour,
            "soc_kwh": self.homes.soc_kwh.copy(),
            "car_kwh": self.homes.car_kwh.copy(),
            **{name: np.copy(self.__dict__[name]) for name in _KEPT if name in self.__dict__},
        }

    def restore(self, saved: Any) -> None:
        """Go on from what `save` returned, identically.

        Raises:
            StateError: It is of buses with other options, or damaged.
        """
        if not isinstance(saved, dict) or "feeders" not in saved:
            raise StateError(
                "the state has no houses; expected one of a market with households. Restore into "
                "an environment made with the same options."
            )
        rows, buses = (self.n * self.m * self.count,), (self.n, self.m)
        shapes = {"hour": (), "soc_kwh": rows, "car_kwh": rows}
        if saved.get("hour") != 0 or "plan_kw" in saved:
            # In the morning there may be no plan yet.
            shapes |= {**dict.fromkeys(_KEPT, buses), "plan_kw": (HOURS, *buses)}
        for name, shape in shapes.items():
            found = np.shape(saved[name]) if name in saved else None
            if found != shape:
                raise StateError(
                    f"{name} of the state's houses has shape {found}; expected {shape}."
                )
        self._feeders.restore(saved["feeders"])
        self._start()
        self.hour = int(saved["hour"])
        self.homes.t = PERIODS * self.hour
        self.homes.soc_kwh, self.homes.car_kwh = saved["soc_kwh"].copy(), saved["car_kwh"].copy()
        for name in _KEPT:
            if name in saved:
                setattr(self, name, np.copy(saved[name]))


def rows_of(episodes: Episodes, rows: np.ndarray) -> Episodes:
    """Episodes of some of the houses."""
    visits = episodes.visits
    return Episodes(
        house=episodes.house[rows],
        day=episodes.day[rows],
        rows=episodes.rows[rows],
        soc_kwh=episodes.soc_kwh[rows],
        terminal_price=episodes.terminal_price[rows],
        forecast=episodes.forecast[:, :, rows],
        exogenous=episodes.exogenous[:, :, rows],
        state=episodes.state[:, rows],
        # Where the pool has no cars there are none.
        visits=visits[:, :, rows] if visits.shape[2] else visits,
        unreachable_kwh=episodes.unreachable_kwh[rows],
    )
