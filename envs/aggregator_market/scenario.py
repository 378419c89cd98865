"""Which consumers and aggregators a market has, and what is drawn for its days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.aggregator_market.params import HOURS, Day, Group, Herding, Tariffs
from flexgym.envs.aggregator_market.priced_houses import MORNING, Households
from flexgym.envs.data.case33_day import case33_day, case33_grid
from flexgym.envs.errors import ScenarioError
from flexgym.envs.grid import Network
from flexgym.envs.household.params import Floats
from flexgym.envs.ising import Couplings, random_state, snake

Ints = NDArray[np.int64]
CouplingKind = Literal["aggregator", "lattice"]
COUPLINGS: tuple[CouplingKind, ...] = ("aggregator", "lattice")
"""Every consumer feels all others of its aggregator, or its neighbours on the 17 x 17 lattice."""

CRITICAL = 2.269185314213022
"""Critical temperature of the square lattice with bonds of strength 1 (Onsager 1944)."""

THREE = (
    1, 2, 1, 0, 2, 1, 1, 2, 0, 0, 2, 0, 1, 0, 2, 0,
    2, 2, 2, 2, 2, 2, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0,
)  # fmt: skip
"""Aggregator of each load bus: program (38) with a slack of 2/3 on the synthetic prices."""
ONLY_A3 = tuple(2 if k == 2 else -1 for k in THREE)
_ABSTAIN = (4, 7)
"""Positions of two buses of A3 of which one customer each abstains: 67 are left, 0.232 of all."""

SCENARIOS: dict[str, dict] = {
    "ordered": {"temperature": 3.2},
    "loose": {"temperature": 4.4},
    "free": {"temperature": 5.2},
    "three": {"temperature": 3.2, "aggregators": THREE},
    "lattice": {"temperature": 0.8 * CRITICAL, "coupling": "lattice"},
}
"""One aggregator (A3) of 67 consumers below, above and far above the temperature at which a group
orders by itself; all 289 consumers with three aggregators; and on the lattice, at the first one's
distance from its critical temperature, with one aggregator."""


@dataclass(frozen=True, eq=False)
class MarketScenario:
    """A market on a radial network.

    All consumers have the same scheduled load. Bus loads are sums of these; with Baran and
    Wu's network they are within a quarter of the table's. Reactive power goes with active power.

    Attributes:
        network: Network; its slack bus is where the real-time market delivers.
        bus: Column in ``network.bus_index`` of each load bus, shape (B,).
        customers: Consumers on each, shape (B,).
        flexible: How many of them take part, shape (B,).
        aggregator: Aggregator of each load bus, shape (B,); -1 for none.
        kvar_per_kw: Reactive per active power of each load bus, shape (B,).
        day: Loads and prices.
        herding: How consumers move.
        tariffs: What may be quoted, and what is paid.
        coupling: ``"aggregator"`` or ``"lattice"``.
        band_pu: Voltages outside are counted.
        voltage_eur_per_pu_h: What the DSO pays for them.
        name: Short name for tables.
        households: Buses that are feeders with real houses in place of their customers' spins;
            None for none. Customers of such a bus only say what share of the load is scheduled
            for it elsewhere: what it draws is planned by its houses.
    """

    network: Network
    bus: Ints
    customers: Ints
    flexible: Ints
    aggregator: Ints
    kvar_per_kw: Floats
    day: Day
    herding: Herding = field(default_factory=Herding)
    tariffs: Tariffs = field(default_factory=Tariffs)
    coupling: CouplingKind = "aggregator"
    band_pu: tuple[float, float] = (0.9, 1.1)
    voltage_eur_per_pu_h: float = 0.0
    name: str = "own"
    households: Households | None = None

    def __post_init__(self) -> None:
        for name, kind in (("day", Day), ("herding", Herding), ("tariffs", Tariffs)):
            if not isinstance(getattr(self, name), kind):
                raise ScenarioError(
                    f"{name} is {getattr(self, name)!r}; expected a {kind.__name__}."
                )
        B = len(self.bus)
        for name in ("customers", "flexible", "aggregator", "kvar_per_kw"):
            part = getattr(self, name)
            if np.shape(part) != (B,):
                raise ScenarioError(f"{name} has shape {np.shape(part)}; expected ({B},).")
        if (self.customers < 1).any():
            raise ScenarioError("customers has buses without any; expected at least one a bus.")
        if (self.flexible < 0).any() or (self.flexible > self.customers).any():
            raise ScenarioError("flexible must lie between 0 and the customers of each bus.")
        used = np.unique(self.aggregator[self.aggregator >= 0])
        if not len(used) or self.aggregator.min() < -1:
            raise ScenarioError(
                f"aggregators is {self.aggregator.tolist()}; expected a number from 0 for each "
                "bus, or -1 where nobody takes part, and at least one aggregator."
            )
        if ((self.aggregator >= 0) != (self.flexible > 0)).any():
            raise ScenarioError(
                "a bus has an aggregator but no flexible customer, or the other way round; "
                "expected both or none. Give -1 to buses that do not take part."
            )
        if self.coupling not in COUPLINGS:
            raise ScenarioError(
                f"coupling is {self.coupling!r}; expected one of {', '.join(COUPLINGS)}."
            )
        top = float(self.day.rtem.min()) / self.tariffs.profit_factor
        if top < self.tariffs.lowest_quote_eur_per_mwh:
            raise ScenarioError(
                f"the real-time price falls to {float(self.day.rtem.min()):g} EUR/MWh, which "
                f"leaves {top:g} for quotes; expected at least the lowest quote, "
                f"{self.tariffs.lowest_quote_eur_per_mwh:g}. Lower it in the tariffs."
            )
        low, high = self.band_pu
        price = self.voltage_eur_per_pu_h
        known = isinstance(price, int | float) and not isinstance(price, bool)
        if not 0.0 <= low < high or not known or not 0.0 <= price < np.inf:
            raise ScenarioError(
                f"band_pu is {self.band_pu} and voltage_eur_per_pu_h "
                f"{self.voltage_eur_per_pu_h}; expected lowest < highest and a price >= 0."
            )
        if self.households is not None:
            object.__setattr__(self, "households", self.households.among(self.aggregator))

    @classmethod
    def create(
        cls,
        scenario: str = "ordered",
        *,
        temperature: float | None = None,
        aggregators: ArrayLike | None = None,
        coupling: CouplingKind | None = None,
        herding: Herding | None = None,
        tariffs: Tariffs | None = None,
        day: Day | None = None,
        voltage_eur_per_pu_h: float = 0.0,
        households: bool | Households = False,
    ) -> MarketScenario:
        """A market on Baran and Wu's 33-bus network.

        Args:
            scenario: One of `SCENARIOS`; the other arguments replace parts of it.
            temperature: How much chance there is in a consumer's choice.
            aggregators: Aggregator of each of the 32 load buses, numbers from 0 without a gap,
                -1 for buses that do not take part.
            coupling: ``"aggregator"`` or ``"lattice"``.
            herding: Everything about how consumers move, the temperature included.
            tariffs: What may be quoted, and what is paid.
            day: Loads and prices.
            voltage_eur_per_pu_h: What the DSO pays for voltages outside 0.9 to 1.1 pu.
            households: Which buses have real houses; True is four of the last aggregator. Their day
                begins at 06:00, so where ``day`` is None the market's does, too.

        Raises:
            ScenarioError: Unknown name, or a part that does not fit.
        """
        if not isinstance(scenario, str) or scenario not in SCENARIOS:
            raise ScenarioError(
                f"scenario is {scenario!r}; expected one of {', '.join(SCENARIOS)}."
            )
        if herding is not None and temperature is not None:
            raise ScenarioError("got herding and temperature; expected one of them.")
        chosen = SCENARIOS[scenario]
        data, net = case33_day(), case33_grid()
        network = Network.from_pandapower(net)
        loads = net.load.sort_values("bus")
        customers = data.customers.copy()
        kind: CouplingKind = chosen.get("coupling", "aggregator") if coupling is None else coupling
        if aggregators is not None:
            of = _partition(aggregators, len(customers))
        elif kind == "lattice":
            of = np.zeros(len(customers), dtype=np.int64)
        else:
            of = _partition(chosen.get("aggregators", ONLY_A3), len(customers), renumber=True)
        flexible = np.where(of >= 0, customers, 0)
        if aggregators is None and kind == "aggregator" and "aggregators" not in chosen:
            flexible[list(_ABSTAIN)] -= 1
        if not isinstance(households, bool | Households):
            raise ScenarioError(
                f"households is {households!r}; expected True, False or Households. Make some with "
                "Households.create(...)."
            )
        if households is True:
            households = Households.create()
        if day is None:
            day = rolled(synthetic_day(), MORNING) if households else synthetic_day()
        if herding is None:
            herding = Herding(
                temperature=chosen["temperature"] if temperature is None else temperature
            )
        return cls(
            network=network,
            bus=network.columns(loads.bus.tolist()),
            customers=customers,
            flexible=flexible,
            aggregator=of,
            kvar_per_kw=(loads.q_mvar / loads.p_mw).to_numpy(np.float64),
            day=day,
            herding=herding,
            tariffs=Tariffs() if tariffs is None else tariffs,
            coupling=kind,
            voltage_eur_per_pu_h=voltage_eur_per_pu_h,
            name=scenario,
            households=households or None,
        )

    @property
    def n_aggregators(self) -> int:
        """Aggregators."""
        return int(self.aggregator.max()) + 1

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Flexible consumers of each aggregator and their share of the load."""
        count = np.bincount(
            self.aggregator[self.aggregator >= 0],
            self.flexible[self.aggregator >= 0],
            self.n_aggregators,
        )
        return tuple(Group(int(k), float(k / self.customers.sum())) for k in count)

    @cached_property
    def bus_of(self) -> Ints:
        """Load bus (0 to B - 1) of each flexible consumer, bus by bus, shape (S,).

        Where real houses stand there are none.
        """
        count = self.flexible.copy()
        if self.households is not None:
            count[list(self.households.buses)] = 0
        return np.repeat(np.arange(len(self.bus)), count)

    @cached_property
    def couplings(self) -> Couplings:
        """Who feels whom.

        Raises:
            ScenarioError: The lattice is smaller than the consumers.
        """
        if self.coupling == "aggregator":
            # Aggregators of houses alone have nobody here.
            _, group = np.unique(self.aggregator[self.bus_of], return_inverse=True)
            return Couplings.all_to_all(group, self.herding.coupling)
        side = int(np.ceil(np.sqrt(len(self.bus_of))))
        return Couplings.lattice(
            side, strength=self.herding.coupling / 4.0, site=snake(side, len(self.bus_of))
        )

    @cached_property
    def planned(self) -> Floats:
        """Magnetisation of program (31) on the forecast prices, shape (24,).

        A fractional knapsack: the dearest hours drop their load, the cheapest take it up.
        """
        order = np.argsort(-np.asarray(self.day.rtem_eur_per_mwh), kind="stable")
        room, plan = 0.5 * float(self.day.percent.sum()), np.full(HOURS, -1.0)
        for t in order:
            used = min(float(self.day.percent[t]), room)
            plan[t] += 2.0 * used / float(self.day.percent[t])
            room -= used
        return plan


def synthetic_day() -> Day:
    """The shipped day; see ``data/case33/SOURCES.md``."""
    data = case33_day()
    return Day(
        tuple(data.source_percent.tolist()),
        tuple(data.rtem_eur_per_mwh.tolist()),
        float(data.load_kw.sum()),
    )


def rolled(day: Day, hours: int) -> Day:
    """The same day, begun so many hours later; its first hours come last."""
    percent, price = day.source_percent, day.rtem_eur_per_mwh
    at = hours % HOURS
    return replace(
        day,
        source_percent=percent[at:] + percent[:at],
        rtem_eur_per_mwh=price[at:] + price[:at],
    )


@dataclass(frozen=True, eq=False)
class Draws:
    """What chance gives to n markets for a day.

    Attributes:
        price_state: State of the real-time price in each hour, shape (n, 24).
        spins: Flexible consumers at the start, shape (n, S), +1 or -1.
        stream: Random bits of the consumers' attempts, shape (n, 4).
    """

    price_state: Ints
    spins: NDArray[np.int8]
    stream: NDArray[np.uint64]


def draw(scenario: MarketScenario, rngs: Sequence[np.random.Generator]) -> Draws:
    """Draw a day for each of n markets, each from a generator of its own."""
    S = len(scenario.bus_of)
    uniform, spins = np.empty((len(rngs), HOURS - 1)), np.empty((len(rngs), S), dtype=np.int8)
    stream = np.empty((len(rngs), 4), dtype=np.uint64)
    for i, rng in enumerate(rngs):
        uniform[i] = rng.random(HOURS - 1)
        spins[i] = 2 * rng.integers(0, 2, S, dtype=np.int8) - 1
        stream[i] = random_state(rng, 1)[0]
    return Draws(price_states(scenario.day, uniform), spins, stream)


def price_states(day: Day, uniform: Floats) -> Ints:
    """States of the real-time price that uniform numbers, shape (n, 23), pick, shape (n, 24)."""
    # The last share may miss 1 by a rounding.
    cumulated = np.cumsum(day.price.matrix, axis=1)[:, :-1]
    state = np.empty((len(uniform), HOURS), dtype=np.int64)
    state[:, 0] = day.first_state
    for t in range(1, HOURS):
        state[:, t] = (uniform[:, t - 1, None] >= cumulated[state[:, t - 1]]).sum(axis=1)
    return state


def _partition(aggregators: ArrayLike, buses: int, renumber: bool = False) -> Ints:
    try:
        of = np.asarray(aggregators)
    except ValueError:  # ragged
        of = np.empty(0)
    if of.shape != (buses,) or of.dtype.kind not in "iu":
        raise ScenarioError(
            f"aggregators has shape {of.shape} and type {of.dtype}; expected one whole number for "
            f"each of {buses} load buses."
        )
    used = np.unique(of[of >= 0])
    if renumber:
        return np.where(of >= 0, np.searchsorted(used, of), -1).astype(np.int64)
    if len(used) and not np.array_equal(used, np.arange(len(used))):
        raise ScenarioError(
            f"aggregators has the numbers {used.tolist()}; expected 0 to the last without a gap."
        )
    return of.astype(np.int64)
