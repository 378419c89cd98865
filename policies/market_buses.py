"""Policies of the market's buses: by chance, in their own dynamics, balanced, or optimal."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from flexgym.baselines.aggregator_market.bus_program import BusProgram, bus_program
from flexgym.envs.aggregator_market.roles import Role
from flexgym.envs.aggregator_market.simulation import MarketSimulation
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.ising import evolve, random_state
from flexgym.policies.market import MarketPolicy, group_problems, nearest_option, table_prices

Interest = Literal["social", "selfish"]


class Coins:
    """Every consumer drops or doubles its load by the toss of a coin.

    Args:
        seed: Of its generator, which goes on from day to day.
    """

    name = "random"
    role: Role = "buses"

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng([seed, 2])

    def begin(self, market: MarketSimulation) -> None:
        """See `MarketPolicy`."""

    def act(self, market: MarketSimulation) -> Floats:
        """See `MarketPolicy`."""
        flexible = market.scenario.flexible
        up = self._rng.binomial(flexible, 0.5, (market.n, len(flexible)))
        return _means(up, flexible)


class Spins:
    """Consumers in the Metropolis dynamics alone: no price, directive or memory of what is owed.

    Args:
        balanced: Whether flips must not raise the network's imbalance, (22): constrained
            Metropolis, gate. All consumers have the same load, so it is the sum of spins.
        seed: Of the chains, which goes on from day to day.
    """

    role: Role = "buses"

    def __init__(self, balanced: bool, seed: int = 0) -> None:
        self.name = "CMH" if balanced else "MH"
        self._balanced, self._rng = balanced, np.random.default_rng([seed, 3 + balanced])

    def begin(self, market: MarketSimulation) -> None:
        """See `MarketPolicy`."""
        self._spins = market.spins.copy()
        self._state = random_state(self._rng, market.n)

    def act(self, market: MarketSimulation) -> Floats:
        """See `MarketPolicy`."""
        scenario, herding = market.scenario, market.scenario.herding
        evolve(
            scenario.couplings, self._spins, self._state,
            temperature=herding.temperature,
            attempts=herding.sweeps * self._spins.shape[1],
            weights=np.ones(self._spins.shape[1], dtype=np.int64) if self._balanced else None,
        )  # fmt: skip
        # Consumers stand bus by bus.
        starts = np.concatenate([[0], np.cumsum(scenario.flexible)])
        sums = np.concatenate(
            [np.zeros((market.n, 1), dtype=np.int64), np.cumsum(self._spins > 0, axis=1)], axis=1
        )
        return _means(np.diff(sums[:, starts], axis=1), scenario.flexible)


class Told:
    """Consumers do as their bus tells them, and the bus does what is best.

    Args:
        interest: Best for all, at real-time prices; or for the bus alone, at the table's prices.

    Attributes:
        value_eur: Expected earnings of each bus that takes part at the prices it looks at, less
            its settlement, EUR.
    """

    role: Role = "buses"

    def __init__(self, interest: Interest = "social") -> None:
        if interest not in get_args(Interest):
            raise ScenarioError(
                f"interest is {interest!r}; expected one of {', '.join(get_args(Interest))}."
            )
        self.name = "exact" if interest == "social" else "selfish"
        self._interest = interest

    def begin(self, market: MarketSimulation) -> None:
        """See `MarketPolicy`."""
        scenario = market.scenario
        found: dict[tuple[int, int], BusProgram] = {}
        self._programs: list[BusProgram | None] = []
        value = []
        prices = _quoted_table(market) if self._interest == "selfish" else None
        everybody = int(scenario.customers.sum())
        for flexible, k in zip(
            scenario.flexible.tolist(), scenario.aggregator.tolist(), strict=True
        ):
            if not flexible:
                self._programs.append(None)
                continue
            key = flexible, -1 if prices is None else k
            if key not in found:
                found[key] = bus_program(
                    scenario.day, scenario.tariffs, flexible, flexible / everybody,
                    price_eur_per_mwh=None if prices is None else prices[k],
                )  # fmt: skip
            self._programs.append(found[key])
            value.append(found[key].value_eur)
        self.value_eur = np.array(value)

    def act(self, market: MarketSimulation) -> Floats:
        """See `MarketPolicy`."""
        up = np.zeros(market.magnetisation.shape, dtype=np.int64)
        for i, program in enumerate(self._programs):
            if program is not None:
                up[:, i] = program.act(market.t, market.bus_owed_percent[:, i], market.state)
        return _means(up, market.scenario.flexible)


def bus_policies(seed: int = 0) -> list[MarketPolicy]:
    """Every policy of the buses, the exact one last; without no flexibility, worth 0."""
    return [
        Coins(seed),
        Spins(balanced=False, seed=seed),
        Spins(balanced=True, seed=seed),
        Told("selfish"),
        Told("social"),
    ]


def _means(up: np.ndarray, flexible: np.ndarray) -> Floats:
    """Magnetisations of numbers of consumers up; 0 where nobody takes part."""
    return np.where(flexible > 0, (2.0 * up - flexible) / np.maximum(flexible, 1), 0.0)


def _quoted_table(market: MarketSimulation) -> Floats:
    """The table's prices as they may be quoted, shape (K, 24, k), EUR/MWh."""
    scenario = market.scenario
    problem = group_problems(scenario, "aggregators")[0]
    wish = table_prices(scenario)[:, :, None]
    shape = (len(wish), *problem.allowed.shape)
    return nearest_option(problem, np.broadcast_to(wish, shape), problem.allowed)
