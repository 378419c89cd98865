"""What participants of a local market post: rules, and trained policies.

Each order follows from the participant's own data and what the market has published; that all
participants of many markets are computed at once shares nothing between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.errors import RunError, ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.dynamics import Terms, orders_from_actions
from flexgym.envs.local_market.play import Behaviour
from flexgym.envs.local_market.simulation import SPOT_ACTIONS, LocalMarketSimulation
from flexgym.policies.learned import policy_from

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

SHADED = 0.3
"""Share of the way from the limit to the edge that `Shading` asks for by default."""


class LocalMarketPolicy(Protocol):
    """What participants post in m markets of n.

    Attributes:
        name: Short name for tables.
    """

    name: str

    def begin(self, market: LocalMarketSimulation) -> None:
        """Prepare for new days: nothing has happened yet."""
        ...

    def orders(self, market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        """Prices, EUR/kWh, and shares of the positions, in [0, 1], each (m, n)."""
        ...


def edge(hour: Terms) -> Floats:
    """The best price that each may hope for: who buys its feed-in, who sells its retail price."""
    return np.where(hour.position_kwh > 0.0, hour.feed_in, hour.retail)


def shaded(hour: Terms, margin: Floats | float) -> Floats:
    """Limits moved towards the edge by a share of the way, in [0, 1]."""
    return hour.limit + margin * (edge(hour) - hour.limit)


class Truthful:
    """Posts its limit and all of its volume."""

    name = "truthful"

    def begin(self, market: LocalMarketSimulation) -> None:
        """Nothing to prepare."""

    def orders(self, market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        """See `LocalMarketPolicy`."""
        return market.hour.limit, np.ones_like(market.hour.limit)


class UtilityOnly:
    """Posts nothing: everything is the utility's."""

    name = "utility only"

    def begin(self, market: LocalMarketSimulation) -> None:
        """Nothing to prepare."""

    def orders(self, market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        """See `LocalMarketPolicy`."""
        return market.hour.limit, np.zeros_like(market.hour.limit)


class Shading:
    """Asks for a fixed share of the way from its limit to the best it may hope for.

    Args:
        share: In [0, 1]; 0 is the truth.

    Raises:
        ScenarioError: The share lies outside.
    """

    def __init__(self, share: float = SHADED) -> None:
        if not 0.0 <= share <= 1.0:
            raise ScenarioError(f"share is {share}; expected a number from 0 to 1.")
        self.share, self.name = share, f"shading {share:g}"

    def begin(self, market: LocalMarketSimulation) -> None:
        """Nothing to prepare."""

    def orders(self, market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        """See `LocalMarketPolicy`."""
        return shaded(market.hour, self.share), np.ones_like(market.hour.limit)


class ZeroIntelligence:
    """Posts any price that is no loss: uniform between its limit and the best it may hope for.

    Source: Gode and Sunder, Journal of Political Economy 101(1):119, 1993, their traders with a
    budget constraint ("ZI-C"); here in a call market, and within one's own tariffs.

    Args:
        seed: Of the prices.
    """

    name = "zero intelligence"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def begin(self, market: LocalMarketSimulation) -> None:
        """Draw anew."""
        self._rng = np.random.default_rng(self._seed)

    def orders(self, market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        """See `LocalMarketPolicy`."""
        limit = market.hour.limit
        return shaded(market.hour, self._rng.random(limit.shape)), np.ones_like(limit)


class Adaptive:
    """Learns its margin over the day from the published price and from how much it was served.

    After each hour who was served in full moves its margin towards a little more than the last
    price would have left it, who was not towards a little less; one margin for buying, one for
    selling. After Cliff's zero-intelligence-plus traders (HP Laboratories HPL-97-91, 1997), whose
    rule is for single shouts in a continuous auction; for a call market this one is ours.

    Args:
        rate: How far a margin moves towards its target in an hour, in (0, 1].
        start: Margins in the first hour, as shares of the way to the best price.
        step: How much more, or less, than the last price is tried.

    Raises:
        ScenarioError: A number lies outside its range.
    """

    name = "adaptive"

    def __init__(self, rate: float = 0.4, start: float = 0.1, step: float = 0.05) -> None:
        if not (0.0 < rate <= 1.0 and 0.0 <= start <= 1.0 and 0.0 <= step <= 1.0):
            raise ScenarioError(
                f"rate is {rate}, start {start} and step {step}; expected numbers from 0 to 1, a "
                "rate above 0."
            )
        self._rate, self._start, self._step = rate, start, step

    def begin(self, market: LocalMarketSimulation) -> None:
        """Nobody has learned anything."""
        shape = (market.n, market.participants)
        self._margin = np.full((2, *shape), self._start)
        self._posted: tuple[NDArray[np.bool_], Floats, Floats] | None = None

    def orders(self, market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        """See `LocalMarketPolicy`."""
        if self._posted is not None:
            self._learn(market, *self._posted)
        hour = market.hour
        buys = hour.position_kwh > 0.0
        margin = np.where(buys, self._margin[0], self._margin[1])
        self._posted = (buys, hour.limit, edge(hour))
        return shaded(hour, margin), np.ones_like(margin)

    def _learn(
        self,
        market: LocalMarketSimulation,
        buys: NDArray[np.bool_],
        limit: Floats,
        best: Floats,
    ) -> None:
        filled, volume, low, high = market.last
        known = (volume > 0.0) & np.isfinite(low) & np.isfinite(high)
        price = 0.5 * (np.where(known, low, 0.0) + np.where(known, high, 0.0))
        room = best - limit
        left = np.divide(price - limit, room, out=np.zeros_like(room), where=np.abs(room) > 1e-9)
        served = filled >= 1.0 - 1e-9
        target = np.clip(left + np.where(served, self._step, -self._step), 0.0, 1.0)
        old = np.where(buys, self._margin[0], self._margin[1])
        # Served: never ask for less. Not served: never for more.
        target = np.where(served, np.maximum(target, old), np.minimum(target, old))
        new = np.where(known, old + self._rate * (target - old), old)
        self._margin = np.stack(
            [np.where(buys, new, self._margin[0]), np.where(buys, self._margin[1], new)]
        )


class LearnedOrders:
    """A trained SB3 policy that all participants share; without exploration.

    Args:
        model: The model.
        name: For tables.
    """

    def __init__(self, model: BaseAlgorithm, name: str) -> None:
        self.model, self.name = model, name

    def begin(self, market: LocalMarketSimulation) -> None:
        """Check that the observation and the action are those it was trained on.

        Raises:
            RunError: They have other lengths.
        """
        wanted = (self.model.observation_space.shape, self.model.action_space.shape)
        given = ((len(market.observation_names),), (market.actions,))
        if wanted != given or market.actions != SPOT_ACTIONS:
            raise RunError(
                f"{self.name} expects observations and actions of shape {wanted}; this market has "
                f"{given}. Play it in the market it was trained for, without contracts."
            )

    def orders(self, market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        """See `LocalMarketPolicy`."""
        seen = market.observe()
        m, n, _ = seen.shape
        action, _ = self.model.predict(seen.reshape(m * n, -1), deterministic=True)
        played = np.asarray(action, dtype=np.float64).reshape(m, n, -1)
        price, _ = orders_from_actions(market.hour, played)
        return price, 0.5 * (played[..., 1] + 1.0)


def rules(seed: int = 0) -> list[LocalMarketPolicy]:
    """The rules that ``flexgym evaluate local-market`` compares; the first scores 0."""
    return [UtilityOnly(), ZeroIntelligence(seed), Shading(), Adaptive(), Truthful()]


def behaviour(policy: LocalMarketPolicy) -> Behaviour:
    """What ``others=`` of an environment takes: the policy, which begins anew when a day does."""
    day = None

    def act(market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        nonlocal day
        if market.uniform is not day:
            policy.begin(market)
            day = market.uniform
        return policy.orders(market)

    return act


def load_local_market_policy(source: str) -> LocalMarketPolicy:
    """A policy from where it lies.

    Args:
        source: A folder with ``best.zip`` (and ``config.yaml``, where it is no PPO), a ``.zip``
            file of PPO, or ``module:callable``, called without arguments.

    Raises:
        RunError: There is none, or it is damaged.
    """
    return policy_from(source, LearnedOrders)
