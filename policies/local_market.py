"""What participants of a local market post: rules, and trained policies.

Each order follows from the participant's own data and what the market has published; that all
participants of many markets are computed at once shares nothing between them.
"""

from __future__ import annotations

from numbers import Real
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import RunError, ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.dynamics import Terms, orders_from_actions
from flexgym.envs.local_market.params import HOURS
from flexgym.envs.local_market.play import Behaviour
from flexgym.envs.local_market.simulation import SPOT_ACTIONS, LocalMarketSimulation
from flexgym.policies.learned import Predictor, policy_from

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


def is_share(number: object) -> bool:
    """Whether it is a number from 0 to 1."""
    real = isinstance(number, Real) and not isinstance(number, bool)
    return real and 0.0 <= number <= 1.0  # type: ignore[operator]


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
        if not is_share(share):
            raise ScenarioError(f"share is {share!r}; expected a number from 0 to 1.")
        self.share, self.name = share, f"shading {share:g}"

    def begin(self, market: LocalMarketSimulation) -> None:
        """Nothing to prepare."""

    def orders(self, market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        """See `LocalMarketPolicy`."""
        return shaded(market.hour, self.share), np.ones_like(market.hour.limit)


class ZeroIntelligence:
    """Posts any price that is no loss: uniform between its limit and the best it may hope for.

    Source: Gode and Sunder, Journal of Political Economy 101(1):119, 1993, their traders with a
    budget constraint ("ZI-C"); here in a call market, and within one's own tariffs. Its draws
    follow from the seed and from the numbers that the market's day was drawn from, so they are the
    same in a batch, after a restored state, and whoever else it plays for.

    Args:
        seed: Of the prices.
    """

    name = "zero intelligence"

    def __init__(self, seed: int = 0) -> None:
        number = as_index(seed)
        if number is None or number < 0:
            raise ScenarioError(f"seed is {seed!r}; expected a whole number from 0.")
        self._seed = number
        self._drawn: tuple[Floats, Floats] | None = None

    def begin(self, market: LocalMarketSimulation) -> None:
        """Nothing to prepare."""

    def orders(self, market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        """See `LocalMarketPolicy`."""
        limit = market.hour.limit
        margin = self._margins(market)[:, min(market.t, HOURS - 1)]
        return shaded(market.hour, margin), np.ones_like(limit)

    def _margins(self, market: LocalMarketSimulation) -> Floats:
        """Margins of the day, shape (m, 24, n), from the numbers that each market's day is of."""
        if self._drawn is None or self._drawn[0] is not market.uniform:
            shape = HOURS, market.participants
            words = np.ascontiguousarray(market.uniform[:, :4]).view(np.uint64).tolist()
            rngs = [np.random.default_rng([self._seed, *row]) for row in words]
            self._drawn = market.uniform, np.stack([rng.random(shape) for rng in rngs])
        return self._drawn[1]


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
        good = all(is_share(number) for number in (rate, start, step))
        if not good or rate == 0.0:
            raise ScenarioError(
                f"rate is {rate!r}, start {start!r} and step {step!r}; expected numbers "
                "from 0 to 1, a rate above 0."
            )
        self._rate, self._start, self._step = rate, start, step
        self._key = f"adaptive {rate} {start} {step}"

    def begin(self, market: LocalMarketSimulation) -> None:
        """Nothing to prepare: what was learned lies with the market and ends with its day."""

    def orders(self, market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        """See `LocalMarketPolicy`."""
        hour, margins = market.hour, self.margins(market)
        buys = hour.position_kwh > 0.0
        at = np.full(buys.shape, float(market.t))
        market.memory[self._key] = np.stack([*margins, buys, hour.limit, edge(hour), at])
        return shaded(hour, np.where(buys, *margins)), np.ones_like(hour.limit)

    def margins(self, market: LocalMarketSimulation) -> Floats:
        """Margins of this hour, of buying and of selling, shape (2, m, n)."""
        if self._key not in market.memory:
            return np.full((2, market.n, market.participants), self._start)
        buying, selling, buys, limit, best, at = market.memory[self._key]
        margins = np.stack([buying, selling])
        # Who is asked twice in an hour has learned nothing in between.
        known = at[0, 0] == market.t
        return margins if known else self._learned(market, margins, buys > 0.0, limit, best)

    def _learned(
        self,
        market: LocalMarketSimulation,
        margins: Floats,
        buys: NDArray[np.bool_],
        limit: Floats,
        best: Floats,
    ) -> Floats:
        filled, volume, low, high = market.last
        known = (volume > 0.0) & np.isfinite(low) & np.isfinite(high)
        price = 0.5 * (np.where(known, low, 0.0) + np.where(known, high, 0.0))
        room = best - limit
        left = np.divide(price - limit, room, out=np.zeros_like(room), where=np.abs(room) > 1e-9)
        served = filled >= 1.0 - 1e-9
        target = np.clip(left + np.where(served, self._step, -self._step), 0.0, 1.0)
        old = np.where(buys, *margins)
        # Served: never ask for less. Not served: never for more.
        target = np.where(served, np.maximum(target, old), np.minimum(target, old))
        new = np.where(known, old + self._rate * (target - old), old)
        return np.stack([np.where(buys, new, margins[0]), np.where(buys, margins[1], new)])


class LearnedOrders:
    """A trained SB3 policy that all participants share; without exploration.

    Args:
        model: The model.
        name: For tables.
    """

    def __init__(self, model: Predictor, name: str) -> None:
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
    """What ``others=`` of an environment takes: the policy, which begins anew when a day does.

    Several environments may share it. A policy that learns over the day and is to go on from a
    restored state keeps what it learned in the market's ``memory``, as `Adaptive` does.
    """
    days: WeakKeyDictionary[LocalMarketSimulation, Floats] = WeakKeyDictionary()

    def act(market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        if days.get(market) is not market.uniform:
            policy.begin(market)
            days[market] = market.uniform
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
    return policy_from(source, LearnedOrders, acts="orders")
