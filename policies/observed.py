"""Policies that act on observations alone: anything with ``predict``, or a function.

What is given gets a batch of observations, a row each, as float32, and returns as many rows of
actions in [-1, 1], alone or, as in stable-baselines3, with a state that nobody needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flexgym.envs.aggregator_market.observation import Observer
from flexgym.envs.aggregator_market.roles import Role, Seats
from flexgym.envs.aggregator_market.simulation import MarketSimulation
from flexgym.envs.errors import ActionError, RunError
from flexgym.envs.feeder.operator_env import FeederOperatorEnv
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.dynamics import orders_from_actions
from flexgym.envs.local_market.simulation import LocalMarketSimulation


class _Observed:
    """Asks what was given for the actions of observations.

    Args:
        given: Has ``predict(observations)``, or is a function of them. ``settings`` of it, where
            there are any, are options of the environment it wants to be played in.
        name: For tables.

    Raises:
        RunError: It is neither.
    """

    def __init__(self, given: Any, name: str) -> None:
        found = getattr(given, "predict", given)
        if not callable(found):
            raise RunError(
                f"the policy {name} is {given!r}; expected something with predict(observations), "
                "or a function of observations."
            )
        self._decide: Callable[[np.ndarray], Any] = found
        self.name = name
        self.settings: Mapping[str, Any] = dict(getattr(given, "settings", {}))

    def begin(self, simulation: Any) -> None:
        """Nothing to prepare."""

    def _actions(self, seen: np.ndarray) -> Floats:
        """Actions of observations, shapes (n, entries) and (n, actions)."""
        found = self._decide(seen)
        if isinstance(found, tuple):
            found = found[0]
        try:
            actions = np.asarray(found, dtype=np.float64)
            if not len(seen) == len(actions):
                raise ValueError(f"shape {actions.shape}")
            return actions.reshape(len(seen), -1)
        except (TypeError, ValueError) as error:
            raise ActionError(
                f"what {self.name} does cannot be read ({error}); expected a row of actions for "
                f"each of {len(seen)} rows of observations."
            ) from error


class Observed(_Observed):
    """On a house, an appliance or a trader: what has ``observe()`` gives it a row each."""

    def act(self, simulation: Any) -> Floats:
        """Actions for this period, shape (n, actions)."""
        return self._actions(simulation.observe())


class ObservedHouses(_Observed):
    """On the feeder, where each house is a row."""

    def __init__(self, given: Any, name: str) -> None:
        super().__init__(given, name)
        self.settings = {"observation": "full", **self.settings}

    def act(self, simulation: FeederSimulation) -> Floats:
        """See `FeederPolicy`."""
        seen = simulation.observe()
        return self._actions(seen.reshape(-1, seen.shape[2])).reshape(simulation.n, -1)


class ObservedOperator(_Observed):
    """For the operator of a feeder: one row, an action for each house."""

    def act(self, env: FeederOperatorEnv, seen: np.ndarray) -> Floats:
        """See `flexgym.policies.operator.OperatorPolicy`."""
        return self._actions(seen[None])[0]


class ObservedMarket(_Observed):
    """In the 33-bus market, where each agent of a role is a row.

    Args:
        given: See the module.
        name: For tables.
        role: Who acts.
    """

    def __init__(self, given: Any, name: str, role: Role) -> None:
        super().__init__(given, name)
        self.role: Role = role

    def begin(self, market: MarketSimulation) -> None:
        """See `MarketPolicy`."""
        self._seats = Seats(market.scenario, (self.role,))
        self._observer = Observer(self._seats)

    def act(self, market: MarketSimulation) -> Floats:
        """See `MarketPolicy`."""
        seen = self._observer.observe(market, self.role)
        n, agents = seen.shape[:2]
        played = self._actions(seen.reshape(n * agents, -1)).reshape(n, agents, -1)
        if self.role == "dso":
            return self._seats.directive(market, played)
        if self.role == "aggregators":
            return self._seats.quote(market, played)
        moves = np.zeros((n, len(market.scenario.bus)))
        moves[:, self._seats.active] = played[:, :, 0]
        return moves


class ObservedOrders(_Observed):
    """In the local market, where each participant is a row."""

    def orders(self, market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        """See `LocalMarketPolicy`."""
        seen = market.observe()
        m, n, _ = seen.shape
        played = self._actions(seen.reshape(m * n, -1)).reshape(m, n, -1)
        price, _ = orders_from_actions(market.hour, played)
        return price, 0.5 * (played[..., 1] + 1.0)
