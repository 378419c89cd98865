"""What each role of the market sees. Nobody sees a consumer of somebody else."""

from __future__ import annotations

import numpy as np

from flexgym.envs.aggregator_market.params import HOURS
from flexgym.envs.aggregator_market.roles import Role, Seats
from flexgym.envs.aggregator_market.simulation import MarketSimulation
from flexgym.envs.household.params import Floats

PRICE_SCALE = 50.0
"""EUR/MWh that stand for 1."""
OBSERVATION_LIMIT = 16.0
_SHARED = ("hours_left", "hour_sin", "hour_cos", "rtem", "rtem_next", "percent")


class Observer:
    """Observations of the agents of a market.

    Everybody sees the hour, the real-time price and its state, the next forecast, the scheduled
    load, the directive and what the deterministic plan (31) would owe by now. Besides, the DSO
    and aggregators see the magnetisation of aggregators' consumers and what these owe, the DSO of
    all, an aggregator its own; a bus sees its own and its aggregator's quote; a consumer its
    spin, the mean of those it feels, and the same of its bus.

    Directive and quote are this hour's where `told` was given them, else the last hour's.

    Args:
        seats: Who acts.
    """

    def __init__(self, seats: Seats) -> None:
        self._seats = seats
        scenario = seats.scenario
        day = scenario.day
        percent = day.percent.astype(np.float64)
        self._percent = np.append(percent, percent[-1]) / 100.0
        self._mean = float(percent.mean())
        forecast = np.append(day.rtem_eur_per_mwh, day.rtem_eur_per_mwh[-1])
        self._next = np.append(forecast[1:], forecast[-1]) / PRICE_SCALE
        owed = np.concatenate([[0.0], np.cumsum(percent * scenario.planned)])
        self._planned = owed / self._mean / scenario.herding.most_owed_h
        self._states = len(day.price.factors)
        self._limit_h = scenario.herding.most_owed_h

    def names(self, role: Role) -> tuple[str, ...]:
        """Entries of an agent's observation in their order."""
        shared = (*_SHARED, *(f"price_state_{k}" for k in range(self._states)), "planned_owed")
        own: dict[str, tuple[str, ...]] = {
            "dso": tuple(
                f"{name}_{k + 1}"
                for k in range(self._seats.scenario.n_aggregators)
                for name in ("magnetisation", "owed")
            ),
            "aggregators": ("directive", "magnetisation", "owed", "share"),
            "buses": ("directive", "quote", "magnetisation", "owed", "share"),
            "consumers": ("directive", "quote", "magnetisation", "owed", "share", "spin", "felt"),
        }
        return (*shared, *own[role])

    def observe(
        self,
        market: MarketSimulation,
        role: Role,
        directive: Floats | None = None,
        quote: Floats | None = None,
    ) -> np.ndarray:
        """Observations of a role's agents, shape (n, agents, entries), float32.

        Args:
            market: The market.
            role: Whose.
            directive: Announced for this hour, shape (n,); None is not yet.
            quote: Announced for this hour, shape (n, K), EUR/MWh; None is not yet.
        """
        scenario, n = self._seats.scenario, market.n
        names, agents = self.names(role), len(self._seats.agents[role])
        out = np.empty((n, agents, len(names)), dtype=np.float32)
        t = min(market.t, HOURS)
        turn = 2.0 * np.pi * t / HOURS
        shared = (
            1.0 - t / HOURS, np.sin(turn), np.cos(turn), market.rtem[:, None] / PRICE_SCALE,
            self._next[t], self._percent[t],
        )  # fmt: skip
        for k, value in enumerate(shared):
            out[:, :, k] = value
        at = len(shared)
        for k in range(self._states):
            out[:, :, at + k] = (market.state == k)[:, None]
        at += self._states
        out[:, :, at] = self._planned[t]
        own = out[:, :, at + 1 :]
        owed = self._in_limits(market.owed_percent)
        if role == "dso":
            own[:, 0, 0::2], own[:, 0, 1::2] = market.group_magnetisation, owed
            return out
        told = market.directive if directive is None else directive
        largest = max(scenario.tariffs.most_directive, 1e-9)
        own[:, :, 0] = told[:, None] / largest
        if role == "aggregators":
            own[:, :, 1], own[:, :, 2] = market.group_magnetisation, owed
            own[:, :, 3] = np.array([group.share for group in scenario.groups])
            return out
        active = self._seats.active
        at_bus = active if role == "buses" else scenario.bus_of
        offered = market.quote if quote is None else quote
        own[:, :, 1] = offered[:, scenario.aggregator[at_bus]] / PRICE_SCALE
        own[:, :, 2] = market.magnetisation[:, at_bus]
        own[:, :, 3] = self._in_limits(market.bus_owed_percent)[:, at_bus]
        share = scenario.flexible / scenario.customers.sum()
        own[:, :, 4] = share[at_bus]
        if role == "consumers":
            own[:, :, 5], own[:, :, 6] = market.spins, self._felt(market)
            if market.payer == "consumers":
                own[:, :, 3] = self._in_limits(market.spin_owed_percent)
        return out

    def _in_limits(self, owed_percent: Floats) -> Floats:
        hours = owed_percent / self._mean
        return np.clip(hours, -self._limit_h, self._limit_h) / self._limit_h

    def _felt(self, market: MarketSimulation) -> Floats:
        """Mean of the spins that each consumer feels, shape (n, S)."""
        scenario = self._seats.scenario
        if scenario.coupling == "lattice":
            links = scenario.couplings
            total = np.add.reduceat(market.spins[:, links.neighbour], links.start[:-1], axis=1)
            return total / np.diff(links.start)
        size = np.array([group.customers for group in scenario.groups])
        of = scenario.aggregator[scenario.bus_of]
        total = (market.group_magnetisation * size)[:, of] - market.spins
        return total / np.maximum(size[of] - 1, 1)
