"""Local markets with seats: who learns, what the others do, what learners see and get."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import (
    ActionError,
    FlexgymError,
    OrderError,
    ScenarioError,
    StateError,
)
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.clearing import MIDDLE
from flexgym.envs.local_market.contract_trade import ContractTerms, ContractTrade
from flexgym.envs.local_market.dynamics import actions_from_orders
from flexgym.envs.local_market.observation import OBSERVATION_LIMIT
from flexgym.envs.local_market.orders import checked_orders
from flexgym.envs.local_market.scenario import LocalMarketScenario
from flexgym.envs.local_market.simulation import LocalMarketSimulation

Behaviour = Callable[[LocalMarketSimulation], tuple[Floats, Floats]]
"""Orders of all participants of m markets: prices in EUR/kWh and shares of the volume, (m, n)."""


def truthful(market: LocalMarketSimulation) -> tuple[Floats, Floats]:
    """Everybody posts its limit and all of its volume."""
    return market.hour.limit, np.ones_like(market.hour.limit)


def names(participants: int) -> list[str]:
    """Agents of a market."""
    return [f"participant_{i + 1}" for i in range(participants)]


class LocalMarketPlay:
    """m local markets, some of whose participants learn.

    Attributes:
        market: The markets.
        n: Number of markets, m.
        seats: Positions of the learners.
        agents: Their names.

    Args:
        n: Number of markets.
        learners: How many learn, the first ones; or their names; None is all.
        scenario: A `LocalMarketScenario`; None makes one of the options.
        others: Orders of those that do not learn, or where they are found, "module:function".
            They are held within each one's own tariffs, and agree on no contracts.
        rule: One of `flexgym.envs.local_market.params.RULES`.
        position: Where in the equilibrium interval the uniform price lies.
        contracts: True for forwards and calls with the default terms, False for none, or a
            `flexgym.envs.local_market.contract_trade.ContractTerms`.
        **options: Of `LocalMarketScenario.create`.

    Raises:
        ScenarioError: An option is unknown or out of range.
    """

    def __init__(
        self,
        n: int = 1,
        learners: int | Sequence[str] | None = None,
        scenario: LocalMarketScenario | None = None,
        others: Behaviour | str | None = None,
        rule: str = "uniform",
        position: float = MIDDLE,
        contracts: Any = False,
        **options: Any,
    ) -> None:
        known = list(signature(LocalMarketScenario.create).parameters)
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise ScenarioError(
                f"got the options {', '.join(unknown)}; expected any of {', '.join(known)}, "
                "learners, others, rule, position, contracts."
            )
        if scenario is None:
            scenario = LocalMarketScenario.create(**options)
        elif options or not isinstance(scenario, LocalMarketScenario):
            raise ScenarioError(
                f"got the scenario {scenario!r} and {', '.join(options) or 'no options'}; expected "
                "a LocalMarketScenario alone, or options of LocalMarketScenario.create."
            )
        self.n = n
        self.market = LocalMarketSimulation(
            scenario, n, rule=rule, position=position,
            contracts=_contracts(contracts, n, scenario.participants, rule),
        )  # fmt: skip
        everybody = names(scenario.participants)
        self.seats = _seats(learners, everybody)
        self.agents = [everybody[k] for k in self.seats]
        self._all = self.seats == list(range(len(everybody)))  # in this order, too
        self._others = truthful if others is None else _found(others)

    @property
    def observation_names(self) -> tuple[str, ...]:
        """Entries of an agent's observation in their order."""
        return self.market.observation_names

    @property
    def done(self) -> bool:
        """Whether the day is over."""
        return self.market.done

    def spaces(self) -> tuple[Box, Box]:
        """Observation and action space of an agent."""
        seen, played = (len(self.observation_names),), (self.market.actions,)
        return (
            Box(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, seen, dtype=np.float32),
            Box(-1.0, 1.0, played, dtype=np.float32),
        )

    def begin(self, rngs: Sequence[np.random.Generator], options: Any = None) -> None:
        """Draw a day for each market; see `LocalMarketSimulation.begin`."""
        self.market.begin(rngs, options)

    def step(self, actions: np.ndarray) -> None:
        """Play an hour with the learners' actions, shape (m, agents * entries).

        Raises:
            ActionError: Wrong shape, not a number, or outside [-1, 1]; or the day is over.
            OrderError: Others' orders are none.
        """
        market, given = self.market, as_numbers(actions)
        shape = (self.n, market.participants, market.actions)
        if given.size != self.n * len(self.seats) * market.actions or len(given) != self.n:
            raise ActionError(
                f"actions have shape {given.shape}; expected {(self.n, len(self.seats), shape[2])}."
            )
        if self._all or market.done:
            market.step(given.reshape(self.n, len(self.seats), -1))
            return
        price, share = self._behave()
        everybody = np.empty(shape)
        everybody[..., :2] = actions_from_orders(market.hour, price, share)
        if market.contracts is not None:
            everybody[..., 2:] = market.contracts.idle
        everybody[:, self.seats] = given.reshape(self.n, len(self.seats), -1)
        market.step(everybody)

    def _behave(self) -> tuple[Floats, Floats]:
        """Orders of the others, checked: prices and shares, each (m, n)."""
        market = self.market
        try:
            price, share = self._others(market)
        except (TypeError, ValueError) as error:
            if isinstance(error, FlexgymError):
                raise
            raise OrderError(
                f"others cannot be asked ({error}); expected a function of the market that returns "
                "prices and shares."
            ) from error
        prices, shares = checked_orders(price, share)
        wanted = (self.n, market.participants)
        if prices.shape != wanted or not ((shares >= 0.0) & (shares <= 1.0)).all():
            raise OrderError(
                f"others gave prices of shape {prices.shape} and shares from {shares.min()} to "
                f"{shares.max()}; expected shape {wanted} and shares from 0 to 1."
            )
        return prices, shares

    def save(self) -> dict[str, Any]:
        """Everything needed to go on from here, without the generators."""
        return {**self.market.save(), "seats": tuple(self.seats)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save` returned, identically.

        Raises:
            StateError: It is of an environment with other options, or damaged.
        """
        seats = saved.get("seats") if isinstance(saved, Mapping) else None
        if not isinstance(seats, tuple) or seats != tuple(self.seats):
            raise StateError(
                f"the state is of learners in the seats {seats}; expected {tuple(self.seats)}. "
                "Restore into an environment made with the same options."
            )
        self.market.restore(saved)

    def observe(self) -> np.ndarray:
        """What the learners see, shape (m, agents, entries), float32."""
        found = self.market.observe()
        return found if self._all else np.ascontiguousarray(found[:, self.seats])

    def rewards(self) -> Floats:
        """What the learners got in the last hour, shape (m, agents), EUR."""
        return self.of_learners(self.market.reward)

    def of_learners(self, values: Floats) -> Floats:
        """Their columns of (..., n) values."""
        return values if self._all else values[..., self.seats]


def _seats(learners: int | Sequence[str] | None, everybody: list[str]) -> list[int]:
    n, count = len(everybody), None if learners is None else as_index(learners)
    if learners is None:
        return list(range(n))
    if count is not None and 1 <= count <= n:
        return list(range(count))
    chosen = list(learners) if isinstance(learners, Sequence) else []
    good = not isinstance(learners, str) and chosen
    good = good and all(chosen.count(name) == 1 for name in chosen)
    if not good or not all(name in everybody for name in chosen):
        raise ScenarioError(
            f"learners is {learners!r}; expected a number from 1 to {n}, different names from "
            f"{everybody[0]} to {everybody[-1]}, or None for all."
        )
    return [everybody.index(name) for name in chosen]


def _found(others: Behaviour | str) -> Behaviour:
    if callable(others) and not isinstance(others, type):
        return others
    try:
        module, name = others.split(":")
        behaviour = getattr(import_module(module), name)
    except (AttributeError, ImportError, ValueError) as error:
        raise ScenarioError(
            f"others is {others!r} ({error}); expected a function of the market, or "
            "'module:function'."
        ) from error
    if not callable(behaviour):
        raise ScenarioError(f"others {others!r} is {behaviour!r}; expected a function.")
    return behaviour  # type: ignore[return-value]


def _contracts(wanted: Any, markets: int, participants: int, rule: str) -> ContractTrade | None:
    if wanted is False or wanted is None:
        return None
    if wanted is True or isinstance(wanted, ContractTerms):
        terms = wanted if isinstance(wanted, ContractTerms) else None
        return ContractTrade(markets, participants, rule, terms)
    raise ScenarioError(f"contracts is {wanted!r}; expected True, False or ContractTerms.")
