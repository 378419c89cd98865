"""Local markets in lockstep: the state that all adapters and policies share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from flexgym.envs.data.calendar import as_index, one_or_several
from flexgym.envs.errors import ActionError, ResetNeededError, ScenarioError, StateError
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market import observation as seen
from flexgym.envs.local_market.clearing import MIDDLE, rule_number
from flexgym.envs.local_market.dynamics import (
    AMOUNTS,
    ITEMS,
    Terms,
    account,
    orders_from_actions,
    terms,
)
from flexgym.envs.local_market.hierarchy import clear_tree
from flexgym.envs.local_market.orders import checked_orders
from flexgym.envs.local_market.params import HOURS
from flexgym.envs.local_market.scenario import LocalMarketScenario, MarketDays
from flexgym.envs.saved_state import saved_array

SPOT_ACTIONS = 2
_SAVED = ("uniform", "last", "totals")
_PLAYED = ("posted", "clearing", "reward", "accounts")


class Contracts(Protocol):
    """Contracts of m markets as the simulation plays them; see `contract_trade`.

    Attributes:
        idle: What an action's entries for them are that agrees on nothing and exercises nothing.
        observation_names: What they add to a participant's observation.
    """

    idle: tuple[float, ...]
    observation_names: tuple[str, ...]

    @property
    def made_of(self) -> str:
        """Terms, which a saved state must agree with."""
        ...

    def begin(self) -> None:
        """Nothing is agreed yet."""
        ...

    def agreed_kwh(self, market: LocalMarketSimulation) -> Floats:
        """What is sure to be delivered this hour, received above 0, shape (m, n)."""
        ...

    def settle(self, market: LocalMarketSimulation, action: Floats) -> tuple[Floats, Floats]:
        """Deliver what is due, before the spot trade: kWh received and EUR paid, each (m, n)."""
        ...

    def strike(self, market: LocalMarketSimulation, action: Floats) -> Floats:
        """Agree on new ones, after the spot trade: EUR paid now, shape (m, n)."""
        ...

    def observe(self, market: LocalMarketSimulation) -> np.ndarray:
        """Entries of `observation_names`, shape (m, n, entries)."""
        ...

    def save(self) -> dict[str, Any]:
        """Everything needed to go on."""
        ...

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save` returned."""
        ...


class LocalMarketSimulation:
    """m markets of n participants, each on its own day, all in the same hour.

    Attributes:
        scenario: The neighbourhood.
        n: Number of markets, m.
        rule: Who pays what.
        position: Where in the equilibrium interval the uniform price lies.
        contracts: Forwards and options, or None.
        t: Current hour, 0 to 24.
        uniform: The numbers that the days were drawn from, shape (m, draws).
        days: What happens.
        hour: Terms of this hour; of the last at the end.
        last: Of the last hour: share filled of each order, kWh a participant at its node, and both
            ends of its equilibrium interval, shape (4, m, n).
        posted: Prices and signed volumes of the last hour's orders, each shape (m, n).
        clearing: What happened to them, a `TreeClearing`.
        reward: What each got in the last hour, shape (m, n), EUR.
        accounts: `ITEMS` and `AMOUNTS` of the last hour, each shape (m, n).
        totals: Their sums over the hours so far, shape (items and amounts, m, n).
        memory: What policies keep of the day, arrays by name; saved with it, forgotten at its end.

    Args:
        scenario: The neighbourhood.
        n: Number of markets.
        rule: One of `flexgym.envs.local_market.params.RULES`.
        position: Where in the equilibrium interval the uniform price lies.
        contracts: Forwards and options, or None.
    """

    def __init__(
        self,
        scenario: LocalMarketScenario,
        n: int = 1,
        *,
        rule: str = "uniform",
        position: float = MIDDLE,
        contracts: Contracts | None = None,
    ) -> None:
        rule_number(rule, position)
        self.scenario, self.n, self.rule, self.position = scenario, n, rule, position
        self.contracts = contracts
        self.t = HOURS  # nothing to play before `begin`
        tree = scenario.hierarchy
        below = dict(tree.levels)
        self._node = np.array(tree.member)
        self._members = np.array([max(len(below[k]), 1) for k in range(len(tree.parent))])
        more = () if contracts is None else contracts.observation_names
        self.observation_names = (*seen.NAMES, *more)

    def __getattr__(self, name: str) -> Any:
        # Properties end here, too, when they need what is not there.
        if name in (*_SAVED, "memory", "days", "hour", *_PLAYED):
            raise ResetNeededError(f"{name} is not there before it is played; reset and step.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def participants(self) -> int:
        """How many take part in each market."""
        return self.scenario.participants

    @property
    def actions(self) -> int:
        """Entries of a participant's action."""
        return SPOT_ACTIONS + (0 if self.contracts is None else len(self.contracts.idle))

    @property
    def done(self) -> bool:
        """Whether the day is over."""
        return self.t >= HOURS

    def begin(self, rngs: Sequence[np.random.Generator], options: Any = None) -> None:
        """Draw a day for each market.

        Args:
            rngs: One generator a market; each is asked for the same amount.
            options: ``day``, the day to play, one for all or one a market.

        Raises:
            ScenarioError: An option is unknown or out of range.
        """
        if options is not None and not isinstance(options, Mapping):
            raise ScenarioError(f"options is {options!r}; expected a mapping such as {{'day': 3}}.")
        known = dict(options or {})
        day = known.pop("day", None)
        if known:
            raise ScenarioError(
                f"got the reset options {sorted(map(str, known))}; expected day, or none."
            )
        chosen = None
        if day is not None:
            chosen = one_or_several(day)
            if chosen.dtype.kind not in "iu" or chosen.shape not in ((1,), (self.n,)):
                raise ScenarioError(f"day is {day!r}; expected a whole number, or {self.n}.")
            chosen = np.broadcast_to(chosen, (self.n,)).astype(np.int64)
        uniform = np.stack([rng.random(self.scenario.draws) for rng in rngs])
        self._start(uniform, self.scenario.draw(uniform, chosen))
        if self.contracts is not None:
            self.contracts.begin()
        self._open()

    def _start(self, uniform: Floats, days: MarketDays) -> None:
        self.uniform, self.days, self.t = uniform, days, 0
        shape = (self.n, self.participants)
        none, endless = np.zeros(shape), np.full(shape, np.inf)
        self.last = np.stack([none, none, -endless, endless])
        self.memory: dict[str, Floats] = {}
        self.totals: Floats = np.zeros((len(ITEMS) + len(AMOUNTS), *shape))
        for name in _PLAYED:
            self.__dict__.pop(name, None)

    def _open(self, due_kwh: Floats | None = None) -> None:
        """Everybody knows what the hour means, with what contracts deliver as far as it is sure."""
        days, t = self.days, min(self.t, HOURS - 1)
        net = days.net_kwh[t]
        position = net
        if due_kwh is not None:
            position = net - due_kwh
        elif self.contracts is not None and not self.done:
            position = net - self.contracts.agreed_kwh(self)
        prices = (days.import_eur_per_kwh[t][:, None], days.export_eur_per_kwh[t][:, None])
        factors = (days.retail_factor, days.feed_in_factor, days.value_factor, days.cost_share)
        self.hour: Terms = terms(net, position, prices, factors)

    @property
    def wholesale(self) -> tuple[Floats, Floats] | None:
        """Prices at which the wholesaler buys and sells this hour, each shape (m,)."""
        margin = self.scenario.wholesale_margin_eur_per_kwh
        if margin is None:
            return None
        t = min(self.t, HOURS - 1)
        middle = 0.5 * (self.days.import_eur_per_kwh[t] + self.days.export_eur_per_kwh[t])
        return middle - margin, middle + margin

    def step(self, action: Any) -> Floats:
        """Play an hour.

        Args:
            action: Shape (m, n, actions) or (m, n * actions), numbers in [-1, 1]: price, share of
                the volume, then those of the contracts.

        Returns:
            Reward of each participant, shape (m, n), EUR.

        Raises:
            ActionError: Wrong shape, not a number, or outside [-1, 1]; or the day is over.
        """
        played = as_numbers(action)
        shape = (self.n, self.participants, self.actions)
        if played.shape not in (shape, (shape[0], shape[1] * shape[2])):
            raise ActionError(f"action has shape {played.shape}; expected {shape}.")
        if not (np.abs(played) <= 1.0).all():
            raise ActionError(
                "an action lies outside [-1, 1] or is NaN; expected numbers in [-1, 1]. Clip or "
                "squash the policy's output."
            )
        if self.done:
            raise ActionError("step was called before a day began or after its end; reset first.")
        played = played.astype(np.float64).reshape(shape)
        spot, agreed = played[..., :SPOT_ACTIONS], played[..., SPOT_ACTIONS:]
        due = self._deliver(agreed)
        return self._play(*orders_from_actions(self.hour, spot), due, agreed)

    def post(
        self, price: Floats, share: Floats | float = 1.0, agreed: Floats | None = None
    ) -> Floats:
        """Play an hour with any prices, also beyond one's own tariffs.

        Args:
            price: Shape (m, n), EUR/kWh.
            share: Of each position, shape (m, n) or a number, in [0, 1].
            agreed: Action entries of the contracts, shape (m, n, entries), in [-1, 1]; None leaves
                them alone.

        Returns:
            As `step`.

        Raises:
            ActionError: A share lies outside [0, 1], an entry outside [-1, 1], or the day is over.
            OrderError: A price is none, or prices have another shape.
        """
        part, shape = as_numbers(share), (self.n, self.participants)
        if self.done or part.shape not in ((), shape) or not ((part >= 0) & (part <= 1)).all():
            raise ActionError(
                f"the share has shape {part.shape} or lies outside [0, 1], or the day is over; "
                f"expected a number or shape {shape}. At the end reset."
            )
        prices, part = checked_orders(price, np.broadcast_to(part, shape))
        idle = () if self.contracts is None else self.contracts.idle
        entries = as_numbers(
            np.broadcast_to(idle, (*shape, len(idle))) if agreed is None else agreed
        )
        if entries.shape != (*shape, len(idle)) or not (np.abs(entries) <= 1.0).all():
            raise ActionError(
                f"the contracts' entries have shape {entries.shape}; expected "
                f"{(*shape, len(idle))}, numbers in [-1, 1]."
            )
        due = self._deliver(entries)
        return self._play(prices, part * self.hour.position_kwh, due, entries)

    def _deliver(self, agreed: Floats) -> tuple[Floats, Floats]:
        """Settle the contracts of this hour; positions then are what is left of needs."""
        if self.contracts is None:
            none = np.zeros((self.n, self.participants))
            return none, none
        due = self.contracts.settle(self, agreed)
        self._open(due[0])
        return due

    def _play(
        self, price: Floats, volume: Floats, due: tuple[Floats, Floats], agreed: Floats
    ) -> Floats:
        self.clearing = found = clear_tree(
            self.scenario.hierarchy, price, volume, self.rule, self.position, self.wholesale
        )
        self.posted = (price, volume)
        size = np.abs(volume)
        per_head, ends = found.node_kwh / self._members, found.interval[:, self._node]
        self.last = np.empty((4, *volume.shape))
        self.last[0] = np.abs(found.traded_kwh) / np.where(size > 0.0, size, 1.0)
        self.last[1], self.last[2:] = per_head[:, self._node], ends.transpose(2, 0, 1)
        if self.contracts is not None:
            due = (due[0], due[1] + self.contracts.strike(self, agreed))
        hour = self.hour
        now = np.empty((len(ITEMS) + len(AMOUNTS), *volume.shape))
        self.reward = np.empty(volume.shape)
        account(
            hour.net_kwh, hour.retail, hour.feed_in, hour.value, hour.cost,
            (found.traded_kwh, found.paid_eur, found.fee_eur), due, now, self.reward,
        )  # fmt: skip
        self.accounts: dict[str, Floats] = {
            name: now[k] for k, name in enumerate((*ITEMS, *AMOUNTS))
        }
        self.totals += now
        self.t += 1
        if not self.done:
            self._open()
        return self.reward

    def observe(self) -> np.ndarray:
        """What every participant sees, shape (m, n, entries), float32."""
        days, hour, spot = self.days, self.hour, len(seen.NAMES)
        out = np.empty((self.n, self.participants, len(self.observation_names)), dtype=np.float32)
        now = (
            hour.net_kwh, hour.position_kwh, hour.retail, hour.feed_in, hour.value, hour.cost,
            hour.limit,
        )  # fmt: skip
        seen.observe(self.t, now, days.forecast_kwh, days.solar, self.last, out)
        if self.contracts is not None:
            out[..., spot:] = self.contracts.observe(self)
        return out

    @property
    def made_of(self) -> tuple[object, ...]:
        """What a saved state must agree with: scenario, markets, rule and contracts."""
        terms = None if self.contracts is None else self.contracts.made_of
        return self.scenario.fingerprint, self.n, self.rule, float(self.position), terms

    def save(self) -> dict[str, Any]:
        """Everything needed to go on, without the generators."""
        saved: dict[str, Any] = {name: getattr(self, name).copy() for name in _SAVED}
        saved |= {"made_of": self.made_of, "memory": {k: x.copy() for k, x in self.memory.items()}}
        saved |= {"t": self.t, "day": self.days.day.copy()}
        if self.done:
            saved["position_kwh"] = self.hour.position_kwh.copy()
        if self.contracts is not None:
            saved["contracts"] = self.contracts.save()
        return saved

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save` returned, identically.

        Raises:
            StateError: It is of an environment with other options.
        """
        made_of = saved.get("made_of") if isinstance(saved, Mapping) else saved
        if not isinstance(made_of, tuple) or made_of != self.made_of:
            raise StateError(
                f"the state is of {made_of}; expected one of {self.made_of}: scenario, markets, "
                "rule and contracts. Restore into an environment made with the same options."
            )
        shape = (self.n, self.participants)
        t, memory = as_index(saved.get("t")), saved.get("memory")
        if t is None or not 0 <= t <= HOURS or not isinstance(memory, dict):
            raise StateError(f"the state's t is {saved.get('t')!r}; it is damaged.")
        uniform = saved_array(saved, "uniform", np.empty((self.n, self.scenario.draws)))
        totals = saved_array(saved, "totals", np.empty((len(ITEMS) + len(AMOUNTS), *shape)))
        day = saved_array(saved, "day", np.empty(self.n, dtype=np.int64))
        last = saved_array(saved, "last", np.empty((4, *shape)), endless=True)
        if not ((uniform >= 0.0) & (uniform < 1.0)).all():
            raise StateError("the state's uniform lies outside [0, 1); it is damaged.")
        kept = {
            name: saved_array(memory, name, np.empty(np.shape(memory[name]))) for name in memory
        }
        end = saved_array(saved, "position_kwh", np.empty(shape)) if t >= HOURS else None
        try:
            days = self.scenario.draw(uniform, day)
        except ScenarioError as error:
            raise StateError(f"the state's day is damaged ({error}).") from error
        if self.contracts is not None:
            self.contracts.restore(saved.get("contracts", {}))
        self._start(uniform, days)
        self.t, self.last, self.totals, self.memory = t, last, totals, kept
        self._open(None if end is None else days.net_kwh[HOURS - 1] - end)
