"""Markets in lockstep: the state that all adapters and policies share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.aggregator_market.accounts import HOUR_NAMES, Hour, trade
from flexgym.envs.aggregator_market.consumers import (
    count_up,
    herd_in_groups,
    herd_on_lattice,
    local_fields,
)
from flexgym.envs.aggregator_market.dynamics import energy_mwh, settlements
from flexgym.envs.aggregator_market.household_buses import HouseholdBuses
from flexgym.envs.aggregator_market.params import HOURS
from flexgym.envs.aggregator_market.saved_state import check_state, fingerprint
from flexgym.envs.aggregator_market.scenario import Ints, MarketScenario, draw
from flexgym.envs.errors import ActionError, ResetNeededError, ScenarioError, StateError
from flexgym.envs.grid import RadialPowerFlow
from flexgym.envs.household.params import Floats

PAYERS = ("consumers", "buses", "aggregators", "dso")
"""Who may settle what is owed at the end of the day."""
_STATE = (
    "price_state", "spins", "stream", "owed_percent", "bus_owed_percent", "spin_owed_percent",
    "magnetisation",
    "directive", "quote", "episode",
)  # fmt: skip


_LOWEST, _HIGHEST = HOUR_NAMES.index("lowest_pu"), HOUR_NAMES.index("highest_pu")
_DERIVED = ("state", "rtem", "up", "group_magnetisation")


class MarketSimulation:
    """n markets, each on its own day, all in the same hour.

    Attributes:
        scenario: The market.
        n: Number of markets.
        t: Current hour, 0 to 24.
        price_state: State of the real-time price in every hour, shape (n, 24).
        spins: Flexible consumers, shape (n, S), +1 drops the load, -1 doubles it.
        magnetisation: What each bus's flexible consumers do on average, shape (n, B).
        bus_owed_percent: Sum over the hours so far of load times it, shape (n, B), %.
        spin_owed_percent: Likewise of every consumer, shape (n, S), where they are the payers, else
            (n, 0).
        owed_percent: Likewise of all consumers of an aggregator, shape (n, K), %.
        directive: Of this hour once it is announced, else of the last, shape (n,); 0 at first.
        quote: Likewise, shape (n, K), EUR/MWh; the shadow price at first.
        announced: What has been announced for this hour: "directive", "quote".
        hour: What happened in the last hour, shape (n, names), columns `HOUR_NAMES`.
        episode: Its sum over the hours so far; extremes of voltages are the day's.
        money: Who got what in the last hour.
        settled: What each payer had to settle in the last hour, EUR, shape (n, payers).
        v_pu: Voltages of the last hour, shape (n, bus).
        houses: Buses with real houses, or None. What they drop is their flexibility over the
            load that is scheduled for their customers, so it may be above 1 or below -1.

    Args:
        scenario: The market.
        n: Number of markets.
        payer: Who settles what is owed at the end of the day: one of `PAYERS`.
        power_flow: Whether voltages and losses are computed.
    """

    def __init__(
        self,
        scenario: MarketScenario,
        n: int,
        *,
        payer: str = "aggregators",
        power_flow: bool = True,
    ) -> None:
        if payer not in PAYERS:
            raise ScenarioError(f"payer is {payer!r}; expected one of {', '.join(PAYERS)}.")
        self.scenario, self.n, self.payer = scenario, n, payer
        self.t = HOURS  # nothing to play before `begin`
        herding, day = scenario.herding, scenario.day
        self._takes_part = scenario.flexible > 0
        self._share = scenario.flexible / scenario.customers.sum()
        self._group_share = np.array([group.share for group in scenario.groups])
        self._group_size = np.array([group.customers for group in scenario.groups])
        self._mean_percent = float(day.percent.mean())
        self._rtem = day.rtem
        self._herding = (
            herding.incentive, herding.shadow_price_eur_per_mwh,
            herding.rebound_eur_per_mwh_h, herding.most_owed_h,
        )  # fmt: skip
        of_spin = scenario.aggregator[scenario.bus_of]
        self._square = scenario.couplings.square if scenario.coupling == "lattice" else None
        self._of_spin = of_spin
        self._members = np.argsort(of_spin, kind="stable")
        spins = np.bincount(of_spin, minlength=scenario.n_aggregators)
        self._starts = np.concatenate([[0], np.cumsum(spins)])
        self._flow = RadialPowerFlow(scenario.network) if power_flow else None
        K = scenario.n_aggregators
        sizes = {"consumers": len(of_spin), "buses": len(scenario.bus), "aggregators": K, "dso": 1}
        self._payers = sizes[payer]
        self._load_kw = day.load_kw * scenario.customers / scenario.customers.sum()
        self.houses, self._with_houses = None, []
        # Who hears the DSO: houses hear prices only.
        self._directed = float(self._share.sum())
        if scenario.households is not None:
            if payer == "consumers":
                raise ScenarioError(
                    "payer is consumers, but buses have houses, which are none; expected buses, "
                    "aggregators or dso to settle. Let buses learn in place of consumers."
                )
            self._with_houses = list(scenario.households.buses)
            self.houses = HouseholdBuses(scenario.households, n, herding.shadow_price_eur_per_mwh)
            self._directed = float(np.delete(self._share, self._with_houses).sum())

    def __getattr__(self, name: str) -> Any:
        # Properties end here, too, when they need what is not there.
        if name in (*_STATE, "hour", "money", "settled", "v_pu", "announced", *_DERIVED):
            raise ResetNeededError(f"{name} is not there before an episode; call reset first.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def begin(self, rngs: Sequence[np.random.Generator], options: dict | None = None) -> None:
        """Draw a day for each market.

        Args:
            rngs: One generator a market; each is asked for the same amount.
            options: None are known.

        Raises:
            ScenarioError: There are options.
        """
        if options:
            raise ScenarioError(f"got the reset options {sorted(options)}; expected none.")
        draws = draw(self.scenario, rngs)
        n, B, K = self.n, len(self.scenario.bus), self.scenario.n_aggregators
        self.price_state, self.spins, self.stream = draws.price_state, draws.spins, draws.stream
        self.t, self.announced = 0, dict[str, Floats]()
        self.owed_percent, self.bus_owed_percent = np.zeros((n, K)), np.zeros((n, B))
        self.directive = np.zeros(n)
        self.quote = np.full((n, K), self.scenario.herding.shadow_price_eur_per_mwh)
        self.episode = np.zeros((n, len(HOUR_NAMES)))
        self.episode[:, _LOWEST] = np.inf
        self.hour = np.zeros((n, len(HOUR_NAMES)))
        self.spin_owed_percent = np.zeros((n, self._payers if self.payer == "consumers" else 0))
        none = np.zeros(n)
        self.money = Hour(0.0, none, np.zeros((n, B)), np.zeros((n, K)), none, none)
        self.settled = np.zeros((n, self._payers))
        self.v_pu = np.ones((n, self.scenario.network.n_bus))
        self.magnetisation = self._count()
        if self.houses is not None:
            self.houses.begin(rngs)
            self.magnetisation[:, self._with_houses] = 0.0

    def announce(self, **levels: Floats) -> None:
        """Tell the levels below what the DSO or the aggregators will do this hour.

        Args:
            **levels: ``directive``, shape (n,), or ``quote``, shape (n, K), EUR/MWh.
        """
        self.announced.update(levels)
        for name, value in levels.items():
            setattr(self, name, value)

    @property
    def done(self) -> bool:
        """Whether the day is over."""
        return self.t >= HOURS

    @property
    def state(self) -> Ints:
        """State of the real-time price now, shape (n,); at the end the last one."""
        return self.price_state[:, min(self.t, HOURS - 1)]

    @property
    def rtem(self) -> Floats:
        """Real-time price now, shape (n,), EUR/MWh; at the end the last one."""
        return self._rtem[min(self.t, HOURS - 1), self.state]

    @property
    def up(self) -> Ints:
        """Consumers at +1 of each aggregator, shape (n, K)."""
        return np.rint(0.5 * (self.group_magnetisation + 1.0) * self._group_size).astype(np.int64)

    @property
    def group_magnetisation(self) -> Floats:
        """Mean spin of each aggregator's consumers, shape (n, K)."""
        flexible = self.scenario.flexible.astype(np.float64)
        return self._grouped(self.magnetisation * flexible) / self._group_size

    def _grouped(self, of_bus: Floats) -> Floats:
        of = self.scenario.aggregator
        K = self.scenario.n_aggregators
        return np.stack([of_bus[:, of == k].sum(axis=1) for k in range(K)], axis=1)

    def _count(self) -> Floats:
        up = np.empty((self.n, len(self.scenario.bus)), dtype=np.int64)
        count_up(self.spins, self.scenario.bus_of, up)
        flexible = self.scenario.flexible
        return np.where(self._takes_part, (2 * up - flexible) / np.maximum(flexible, 1), 0.0)

    def step(
        self,
        directive: Floats | float = 0.0,
        quote: Floats | float | None = None,
        *,
        magnetisation: Floats | None = None,
        spins: NDArray[np.int8] | None = None,
        bought: Floats | None = None,
    ) -> Floats:
        """Play an hour: the directive, the quotes, then the consumers.

        Args:
            directive: Field of the DSO, shape (n,) or a number.
            quote: Price that aggregators pay, shape (n, K) or a number, EUR/MWh; None is silence,
                the shadow price at which consumers do not care.
            magnetisation: What the buses choose, shape (n, B), in [-1, 1]; None lets consumers
                herd. Spins are then left as they were.
            spins: What every consumer chooses, shape (n, S), +1 or -1; None lets them herd.
            bought: What each bus buys from the DSO and sells to its aggregator, as a share of
                the network's load, shape (n, B), from 0 to its own share; None is nothing.

        Returns:
            What happened, shape (n, names), columns `HOUR_NAMES`.

        Raises:
            ActionError: The day is over, or an argument has a wrong shape or lies outside its
                range.
        """
        if self.t >= HOURS:
            raise ActionError("step was called before a day began or after its end; reset first.")
        scenario, t = self.scenario, self.t
        n, B, K = self.n, len(scenario.bus), scenario.n_aggregators
        directive = _given(directive, (n,), "directive", -np.inf, np.inf)
        silent = scenario.herding.shadow_price_eur_per_mwh
        quote = _given(silent if quote is None else quote, (n, K), "quote", 0.0, np.inf)
        share = self._share
        extra = np.zeros((n, B))
        if bought is not None:
            extra = _given(bought, (n, B), "bought", 0.0, share + 1e-12)
        if magnetisation is not None:
            chosen = _given(magnetisation, (n, B), "magnetisation", -1.0, 1.0)
            self.magnetisation = np.where(self._takes_part, chosen, 0.0)
            if self.payer == "consumers":
                raise ActionError("got magnetisation; expected spins, since consumers settle.")
        elif spins is not None:
            picked = np.asarray(spins)
            if picked.shape != self.spins.shape or not np.isin(picked, (-1, 1)).all():
                raise ActionError(
                    f"spins has shape {picked.shape}; expected {self.spins.shape}, each +1 or -1."
                )
            self.spins = picked.astype(np.int8)
            self.magnetisation = self._count()
        else:
            self._herd(directive, quote)
        self.directive, self.quote = directive, quote
        percent = float(scenario.day.percent[t])
        energy = energy_mwh(1.0, percent, scenario.day.load_kw)
        if self.houses is not None:
            at = self._with_houses
            flexible_kw = self.houses.play(quote[:, scenario.aggregator[at]])
            self.magnetisation[:, at] = 1e-3 * flexible_kw / (energy * share[at])
        rtem = self.rtem
        retail = scenario.tariffs.shortage_eur_per_mwh
        dropped = share * self.magnetisation
        self.money = trade(energy, rtem, retail, quote, scenario.aggregator, dropped, extra)
        self.bus_owed_percent = self.bus_owed_percent + percent * self.magnetisation
        self.owed_percent = self.owed_percent + percent * self.group_magnetisation
        if self.payer == "consumers":
            self.spin_owed_percent = self.spin_owed_percent + percent * self.spins
        self.settled = self._settled() if t == HOURS - 1 else np.zeros_like(self.settled)
        self._write(directive, energy, percent, dropped)
        self.t, self.announced = self.t + 1, {}
        return self.hour

    def _herd(self, directive: Floats, quote: Floats) -> None:
        herding = self.scenario.herding
        field = np.empty_like(self.owed_percent)
        local_fields(directive, quote, self.owed_percent, self._mean_percent, self._herding, field)
        chance = herding.temperature, herding.sweeps, self.stream
        if self._square is None:
            herd_in_groups(
                self.spins, self._members, self._starts, herding.coupling, field, *chance
            )
        else:
            neighbour, missing, strength = self._square
            herd_on_lattice(self.spins, neighbour, missing, self._of_spin, strength, field, *chance)
        self.magnetisation = self._count()

    def _settled(self) -> Floats:
        day, price = self.scenario.day, self.scenario.tariffs.shortage_eur_per_mwh
        each = 1.0 / self.scenario.customers.sum()
        owed, share = {
            "consumers": (self.spin_owed_percent, np.full(len(self._of_spin), each)),
            "buses": (self.bus_owed_percent, self._share),
        }.get(self.payer, (self.owed_percent, self._group_share))
        due = settlements(owed, share, day.load_kw, price)
        return due.sum(axis=1, keepdims=True) if self.payer == "dso" else due

    def _write(self, directive: Floats, energy: float, percent: float, dropped: Floats) -> None:
        scenario, money = self.scenario, self.money
        cost = scenario.tariffs.directive_eur_per_mwh * np.abs(directive)
        low, high, outside, losses, collapsed = self._network(percent)
        values = (
            money.welfare,
            money.buses.sum(axis=1),
            money.aggregators.sum(axis=1),
            money.dso,
            energy * self._directed * cost,
            self.settled.sum(axis=1),
            scenario.voltage_eur_per_pu_h * outside,
            energy * dropped.sum(axis=1),
            1e-3 * losses,
            low,
            high,
            outside,
            collapsed,
        )
        self.hour = np.stack(values, axis=1)
        lowest = np.minimum(self.episode[:, _LOWEST], low)
        highest = np.maximum(self.episode[:, _HIGHEST], high)
        self.episode = self.episode + self.hour
        self.episode[:, _LOWEST], self.episode[:, _HIGHEST] = lowest, highest

    def _network(self, percent: float) -> tuple[Floats, ...]:
        """Lowest and highest voltage, pu outside the band, losses in kW, and collapses."""
        n = self.n
        if self._flow is None:
            return np.ones(n), np.ones(n), np.zeros(n), np.zeros(n), np.zeros(n)
        scenario = self.scenario
        # The inflexible customers of a bus follow the schedule.
        flexible = scenario.flexible / scenario.customers
        p = 1e-2 * percent * self._load_kw * (1.0 - flexible * self.magnetisation)
        p_bus = np.zeros((n, scenario.network.n_bus))
        p_bus[:, scenario.bus] = p
        q_bus = np.zeros_like(p_bus)
        q_bus[:, scenario.bus] = p * scenario.kvar_per_kw
        if self.houses is not None:
            at = scenario.bus[self._with_houses]
            p_bus[:, at], q_bus[:, at] = self.houses.power_kw, self.houses.reactive_kvar
        flow = self._flow.solve(p_bus, q_bus)
        solved = np.asarray(flow.converged, dtype=bool)
        v = np.where(solved[:, None], flow.v_pu, 0.0)
        self.v_pu = v
        low, high = scenario.band_pu
        outside = np.maximum(low - v, 0.0).sum(axis=1) + np.maximum(v - high, 0.0).sum(axis=1)
        losses = np.where(solved, flow.losses_kw, 0.0)
        return v.min(axis=1), v.max(axis=1), outside, losses, (~solved).astype(np.float64)

    def save(self) -> dict[str, Any]:
        """Everything needed to go on from here."""
        kept = {name: np.copy(getattr(self, name)) for name in _STATE}
        houses = {} if self.houses is None else {"houses": self.houses.save()}
        return {"t": self.t, "market": fingerprint(self.scenario, self.payer), **kept, **houses}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `save` returned, identically.

        Raises:
            StateError: It is of a market with other options, or damaged.
        """
        n, S, B = self.n, len(self.scenario.bus_of), len(self.scenario.bus)
        K = self.scenario.n_aggregators
        shapes = {
            "price_state": (n, HOURS), "spins": (n, S), "stream": (n, 4),
            "owed_percent": (n, K), "bus_owed_percent": (n, B), "magnetisation": (n, B),
            "spin_owed_percent": (n, S if self.payer == "consumers" else 0),
            "directive": (n,), "quote": (n, K), "episode": (n, len(HOUR_NAMES)),
        }  # fmt: skip
        check_state(saved, fingerprint(self.scenario, self.payer), shapes)
        if not np.isin(saved["price_state"], np.arange(len(self.scenario.day.price.factors))).all():
            raise StateError("the state has price states that this market does not know.")
        self.begin([np.random.default_rng(0)] * n)
        for name in _STATE:
            setattr(self, name, np.copy(saved[name]))
        self.t = int(saved["t"])
        if self.houses is not None:
            self.houses.restore(saved.get("houses"))


def _given(
    value: Any, shape: tuple[int, ...], name: str, low: Floats | float, high: Floats | float
) -> Floats:
    array = np.asarray(value, dtype=np.float64)
    if array.shape not in ((), shape):
        raise ActionError(f"{name} has shape {array.shape}; expected {shape} or one number.")
    if not (np.isfinite(array).all() and (array >= low).all() and (array <= high).all()):
        raise ActionError(
            f"{name} has values from {np.min(array)} to {np.max(array)}; expected finite numbers "
            f"from {np.min(low):g} to {np.max(high):g}."
        )
    return np.array(np.broadcast_to(array, shape))
