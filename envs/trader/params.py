"""What the trader's need and its market are. Plain data: nothing derived is stored or drawn."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np

from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import ScenarioError
from flexgym.envs.uncertainty import MarkovChain

_HOURLY = ((0.7, 0.3, 0.0), (0.15, 0.7, 0.15), (0.0, 0.3, 0.7))
FORWARD_QUOTE = MarkovChain((0.94, 1.0, 1.06), _HOURLY)
OPTION_QUOTE = MarkovChain((0.75, 1.0, 1.25), _HOURLY)


@dataclass(frozen=True)
class TraderTerms:
    """The need, and how the market quotes. All defaults are ours.

    The same need recurs in every hour of delivery. It is counted in lots: a lot is ``lot_kwh`` in
    each of these hours. A forward of a lot delivers that at a fixed price; an option of a lot is
    one call for each of these hours, all at one strike, used or not used hour by hour.

    Attributes:
        need_lots: Lots needed, at least 1.
        lot_kwh: Energy of a lot in an hour of delivery, kWh, > 0.
        first_delivery: First hour of delivery, counted from 06:00; until then contracts trade.
        delivery_hours: Hours of delivery, at least 1.
        forward_depth: Lots that can be bought forward in an hour, at least 0.
        option_depth: Lots whose options can be bought in an hour, at least 0.
        spread_eur_per_kwh: What a forward costs beyond its quote's share of the expectation.
        premium_spread_eur_per_kwh: Likewise of an option's premium.
        strike_ratio: Strike as a multiple of the price expected for delivery at the day's start.
        forward_quote: Factor of a forward's quote on the conditional expectation; begins
            stationary.
        option_quote: Factor of a premium on the option's value.

    Raises:
        ScenarioError: A number is out of range, or nothing is left of the day to deliver in.
    """

    need_lots: int = 8
    lot_kwh: float = 0.5
    first_delivery: int = 12
    delivery_hours: int = 6
    forward_depth: int = 2
    option_depth: int = 2
    spread_eur_per_kwh: float = 0.004
    premium_spread_eur_per_kwh: float = 0.001
    strike_ratio: float = 1.0
    forward_quote: MarkovChain = FORWARD_QUOTE
    option_quote: MarkovChain = OPTION_QUOTE

    def __post_init__(self) -> None:
        least = {"need_lots": 1, "first_delivery": 1, "delivery_hours": 1}
        for name in (*least, "forward_depth", "option_depth"):
            value = getattr(self, name)
            whole = as_index(value)
            if whole is None or not least.get(name, 0) <= whole <= 1000:
                raise ScenarioError(
                    f"{name} is {value!r}; expected a whole number from {least.get(name, 0)} to "
                    "1000."
                )
            object.__setattr__(self, name, whole)
        for name in (
            "lot_kwh", "spread_eur_per_kwh", "premium_spread_eur_per_kwh", "strike_ratio",
        ):  # fmt: skip
            value = getattr(self, name)
            number = isinstance(value, Real) and not isinstance(value, bool)
            good = number and 0.0 <= value < np.inf  # type: ignore[operator]
            if not good or (name == "lot_kwh" and value == 0.0):
                least_of_it = "> 0" if name == "lot_kwh" else ">= 0"
                raise ScenarioError(f"{name} is {value!r}; expected a finite number {least_of_it}.")
            object.__setattr__(self, name, float(value))
        for name in ("forward_quote", "option_quote"):
            if not isinstance(getattr(self, name), MarkovChain):
                raise ScenarioError(f"{name} is {getattr(self, name)!r}; expected a MarkovChain.")

    @property
    def hours(self) -> int:
        """Hours of an episode: those of trading and those of delivery."""
        return self.first_delivery + self.delivery_hours

    @property
    def contract_kwh(self) -> float:
        """Energy of a lot in all hours of delivery, kWh."""
        return self.lot_kwh * self.delivery_hours

    @property
    def quotes(self) -> int:
        """States of the two quotes together; state k is factor k // m and k % m, m of options."""
        return len(self.forward_quote.factors) * len(self.option_quote.factors)
