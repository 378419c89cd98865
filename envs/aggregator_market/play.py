"""A market with seats: what all adapters share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import gymnasium as gym
import numpy as np

from flexgym.envs.aggregator_market.accounts import HOUR_NAMES
from flexgym.envs.aggregator_market.observation import OBSERVATION_LIMIT, Observer
from flexgym.envs.aggregator_market.roles import Behaviour, Role, Seats
from flexgym.envs.aggregator_market.scenario import MarketScenario
from flexgym.envs.aggregator_market.simulation import MarketSimulation
from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.params import Floats


class MarketPlay:
    """n markets, the roles that learn in them, what they see and what they get.

    Attributes:
        market: The markets.
        seats: The roles.
        observer: What they see.
        n: Number of markets.

    Args:
        n: Number of markets.
        learners: Roles that learn.
        scenario: A `MarketScenario`, or the name of one.
        others: What the other roles do, see `Seats`.
        reward: See `Seats`.
        purchases: See `Seats`.
        power_flow: Whether voltages and losses are computed.
        **options: Of `MarketScenario.create`.

    Raises:
        ScenarioError: An option is unknown or out of range.
    """

    def __init__(
        self,
        n: int,
        learners: Sequence[str],
        scenario: MarketScenario | str = "ordered",
        others: Mapping[str, Behaviour] | None = None,
        reward: str | None = None,
        purchases: bool = False,
        power_flow: bool = True,
        **options: Any,
    ) -> None:
        known = list(signature(MarketScenario.create).parameters)
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise ScenarioError(
                f"got the options {', '.join(unknown)}; expected any of {', '.join(known)}, "
                "learners, others, reward, purchases, power_flow."
            )
        if isinstance(scenario, MarketScenario):
            if options:
                raise ScenarioError(
                    f"got a scenario and {', '.join(options)}; expected its name, or it alone."
                )
            world = scenario
        else:
            world = MarketScenario.create(scenario, **options)
        if not isinstance(power_flow, bool):
            raise ScenarioError(f"power_flow is {power_flow!r}; expected True or False.")
        self.seats = Seats(world, learners, others, reward, purchases)
        self.market = MarketSimulation(world, n, payer=self.seats.payer, power_flow=power_flow)
        self.observer, self.n = Observer(self.seats), n

    @property
    def role(self) -> Role:
        """The first role that learns."""
        return self.seats.roles[0]

    @property
    def observation_names(self) -> tuple[str, ...]:
        """Entries of an observation of `role`."""
        return self.observer.names(self.role)

    @property
    def done(self) -> bool:
        """Whether the day is over."""
        return self.market.done

    def begin(self, rngs: Sequence[np.random.Generator], options: dict | None = None) -> None:
        """Draw a day for each market; see `MarketSimulation.begin`."""
        self.market.begin(rngs, options)

    def step(self, actions: Floats) -> Floats:
        """Play an hour of markets in which `role` alone learns.

        Args:
            actions: Shape (n, agents * entries), in [-1, 1].
        """
        shape = (self.n, len(self.seats.agents[self.role]), -1)
        return self.seats.play(self.market, {self.role: as_numbers(actions).reshape(shape)})

    def observe(self) -> np.ndarray:
        """Observations of `role`, shape (n, agents, entries), float32.

        Whoever does not learn and moves before has already announced what it does this hour.
        """
        return self.observe_role(self.role)

    def observe_role(
        self, role: Role, directive: Floats | None = None, quote: Floats | None = None
    ) -> np.ndarray:
        """Observations of a role, shape (n, agents, entries), float32.

        Args:
            role: Whose.
            directive: What a learning DSO has announced for this hour, shape (n,); None where it
                has not.
            quote: What learning aggregators have, shape (n, K), EUR/MWh.
        """
        market, seats = self.market, self.seats
        if not market.done and role != "dso":
            if directive is None and "dso" not in seats.roles:
                directive = seats.directive(market, None)
            if quote is None and role != "aggregators" and "aggregators" not in seats.roles:
                quote = seats.quote(market, None)
        return self.observer.observe(market, role, directive, quote)

    def rewards(self, role: Role) -> Floats:
        """Rewards of the last hour, shape (n, agents), EUR."""
        return self.seats.rewards(self.market, role)

    def spaces(self, role: Role) -> tuple[gym.spaces.Box, gym.spaces.Box]:
        """Observation and action space of an agent, both float32."""
        limit = OBSERVATION_LIMIT
        return (
            gym.spaces.Box(-limit, limit, (len(self.observer.names(role)),), np.float32),
            gym.spaces.Box(-1.0, 1.0, (self.seats.n_actions(role),), np.float32),
        )

    def hour_info(self, i: int = 0) -> dict[str, float]:
        """What happened in the last hour of a market."""
        return dict(zip(HOUR_NAMES, self.market.hour[i].tolist(), strict=True))

    def day_info(self, i: int = 0) -> dict[str, float]:
        """Sums of the hours so far of a market; voltages are extremes."""
        return dict(zip(HOUR_NAMES, self.market.episode[i].tolist(), strict=True))


def alone(play: MarketPlay, agents: int | None = None) -> MarketPlay:
    """The play, if one role (of so many agents) learns in it.

    Raises:
        ScenarioError: Another number of roles or agents.
    """
    roles = play.seats.roles
    if len(roles) != 1:
        raise ScenarioError(f"learners is {roles}; expected one role. Take parallel_env for more.")
    count = len(play.seats.agents[roles[0]])
    if agents is not None and count != agents:
        raise ScenarioError(
            f"the scenario has {count} {roles[0]}; expected {agents}. Take parallel_env, or "
            "MarketRowsVectorEnv for one policy that all share."
        )
    return play


def check_action(play: MarketPlay, action: Any) -> np.ndarray:
    """Actions of a single learner as an array of shape (entries,).

    Raises:
        ActionError: Another shape.
    """
    played = as_numbers(action)
    wide = play.seats.n_actions(play.role)
    if played.shape != (wide,):
        raise ActionError(f"action has shape {played.shape}; expected ({wide},).")
    return played
