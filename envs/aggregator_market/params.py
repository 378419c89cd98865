"""What a market day is made of. Plain data: no derived values are stored, nothing is drawn here.

Signs: a magnetisation of +1 drops the whole scheduled load, -1 doubles it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Real

import numpy as np

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.uncertainty import MarkovChain

HOURS = 24
"""Hours of an episode."""


@dataclass(frozen=True)
class Herding:
    """How consumers move: Metropolis spins that feel each other and one local field.

    The field of an hour is ``directive + incentive * (quote - shadow_price - rebound * owed)``,
    with what is owed in hours of the mean load, rounded to 0.1 and held within ``most_owed_h``.

    Attributes:
        temperature: How much chance there is in a consumer's choice, T; k_B = 1.
        coupling: Sum of a consumer's couplings, J0. Where all members of an aggregator are
            coupled to each other, T = J0 is critical.
        sweeps: Attempts to flip an hour, per consumer.
        incentive: Field of one EUR/MWh of price.
        shadow_price_eur_per_mwh: Price at which consumers do not care.
        rebound_eur_per_mwh_h: How much more one owed hour makes them ask, EUR/MWh per hour.
        most_owed_h: Where the rebound grows no further, hours.
    """

    temperature: float = 3.2
    coupling: float = 4.0
    sweeps: int = 2
    incentive: float = 0.3
    shadow_price_eur_per_mwh: float = 28.0
    rebound_eur_per_mwh_h: float = 2.0
    most_owed_h: float = 14.0

    def __post_init__(self) -> None:
        _number(self.temperature, "temperature", 1e-6)
        _number(self.coupling, "coupling", 0.0)
        _number(self.incentive, "incentive", 0.0)
        _number(self.shadow_price_eur_per_mwh, "shadow_price_eur_per_mwh")
        _number(self.rebound_eur_per_mwh_h, "rebound_eur_per_mwh_h", 0.0)
        _number(self.most_owed_h, "most_owed_h", 0.1)
        if not isinstance(self.sweeps, int) or isinstance(self.sweeps, bool) or self.sweeps < 1:
            raise ScenarioError(f"sweeps is {self.sweeps!r}; expected a whole number >= 1.")


@dataclass(frozen=True)
class Tariffs:
    """What may be quoted, and what is paid besides.

    Attributes:
        lowest_quote_eur_per_mwh: Lowest price that an aggregator may offer its customers.
        highest_quote_eur_per_mwh: Highest one; the real-time price over ``profit_factor`` is
            another limit.
        quote_step_eur_per_mwh: Quotes are whole multiples of it above the lowest.
        profit_factor: Least ratio of what an aggregator is paid to what it pays.
        most_directive: Largest absolute field of the DSO's directive.
        directive_step: Directives are whole multiples of it.
        directive_eur_per_mwh: What a directive costs per unit of field and MWh of load.
        shortage_eur_per_mwh: Price at which loads buy from the DSO, and so of the energy that is
            still owed at the end of the day; what was consumed too much earns nothing. Below what
            flexibility earns in an hour, owing pays.
    """

    lowest_quote_eur_per_mwh: float = 10.0
    highest_quote_eur_per_mwh: float = 46.0
    quote_step_eur_per_mwh: float = 2.0
    profit_factor: float = 1.10
    most_directive: float = 3.0
    directive_step: float = 0.5
    directive_eur_per_mwh: float = 1.0
    shortage_eur_per_mwh: float = 45.0

    def __post_init__(self) -> None:
        _number(self.lowest_quote_eur_per_mwh, "lowest_quote_eur_per_mwh", 0.0)
        _number(
            self.highest_quote_eur_per_mwh,
            "highest_quote_eur_per_mwh",
            self.lowest_quote_eur_per_mwh,
        )
        _number(self.quote_step_eur_per_mwh, "quote_step_eur_per_mwh", 1e-6)
        _number(self.profit_factor, "profit_factor", 1.0)
        _number(self.most_directive, "most_directive", 0.0)
        _number(self.directive_step, "directive_step", 1e-6)
        _number(self.directive_eur_per_mwh, "directive_eur_per_mwh", 0.0)
        _number(self.shortage_eur_per_mwh, "shortage_eur_per_mwh", 0.0)

    @property
    def quotes_eur_per_mwh(self) -> Floats:
        """Every price that may be quoted when the real-time price is high, ascending."""
        low, high = self.lowest_quote_eur_per_mwh, self.highest_quote_eur_per_mwh
        count = math.floor((high - low) / self.quote_step_eur_per_mwh + 1e-9) + 1
        return low + self.quote_step_eur_per_mwh * np.arange(count, dtype=np.float64)

    @property
    def directives(self) -> Floats:
        """Every directive, ascending and symmetric."""
        count = math.floor(self.most_directive / self.directive_step + 1e-9)
        return self.directive_step * np.arange(-count, count + 1, dtype=np.float64)


def _price_chain() -> MarkovChain:
    return MarkovChain((0.85, 1.0, 1.2), ((0.6, 0.4, 0.0), (0.2, 0.6, 0.2), (0.0, 0.4, 0.6)))


@dataclass(frozen=True)
class Day:
    """What the hours of a day are like.

    Attributes:
        source_percent: Power at the slack bus, % of the network's load, whole numbers, (24,).
        rtem_eur_per_mwh: Forecast of the real-time price, (24,), EUR/MWh.
        load_kw: The network's load at 100 %, kW.
        price: Chain of factors on the real-time price; a day begins in its middle state.
    """

    source_percent: tuple[int, ...]
    rtem_eur_per_mwh: tuple[float, ...]
    load_kw: float = 3715.0
    price: MarkovChain = field(default_factory=_price_chain)

    def __post_init__(self) -> None:
        for name in ("source_percent", "rtem_eur_per_mwh"):
            try:
                values = np.asarray(getattr(self, name), dtype=np.float64)
            except (TypeError, ValueError):
                values = np.empty(0)
            if values.shape != (HOURS,) or not np.isfinite(values).all():
                raise ScenarioError(
                    f"{name} has shape {values.shape}; expected {HOURS} finite numbers."
                )
        percent = np.asarray(self.source_percent)
        if percent.dtype.kind not in "iu" or percent.min() < 1:
            raise ScenarioError(
                f"source_percent is {self.source_percent}; expected whole numbers >= 1."
            )
        _number(self.load_kw, "load_kw", 1e-6)

    @property
    def percent(self) -> np.ndarray:
        """``source_percent`` as integers, shape (24,)."""
        return np.array(self.source_percent, dtype=np.int64)

    @property
    def first_state(self) -> int:
        """State of the price in the first hour."""
        return len(self.price.factors) // 2

    @property
    def rtem(self) -> Floats:
        """Real-time price of each hour and price state, shape (24, k), EUR/MWh."""
        return np.outer(self.rtem_eur_per_mwh, self.price.factors)


@dataclass(frozen=True)
class Group:
    """Consumers of one aggregator; all have the same load.

    Attributes:
        customers: How many.
        share: Their share of the network's load.
    """

    customers: int
    share: float

    def __post_init__(self) -> None:
        if not isinstance(self.customers, int | np.integer) or self.customers < 1:
            raise ScenarioError(f"customers is {self.customers!r}; expected a number >= 1.")
        _number(self.share, "share", 0.0, 1.0)


def _number(value: float, name: str, low: float = -math.inf, high: float = math.inf) -> None:
    real = isinstance(value, Real | np.floating | np.integer) and not isinstance(value, bool)
    if not real or not low <= value <= high or not math.isfinite(value):
        raise ScenarioError(
            f"{name} is {value!r}; expected a finite number from {low:g} to {high:g}."
        )
