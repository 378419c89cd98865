"""Which days, prices and quotes a trader meets, and how an episode is drawn.

Randomness enters here and nowhere else: an episode is a row of uniform numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np

from flexgym.envs.data import Prices, split_days, synthetic_prices
from flexgym.envs.data.calendar import EPISODES, one_or_several
from flexgym.envs.errors import ScenarioError
from flexgym.envs.forecasts.price_models import PriceModel, hourly_curves, price_model
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.forecasts.valuation import expected_later
from flexgym.envs.household.params import Floats
from flexgym.envs.trader.dynamics import Ints
from flexgym.envs.trader.params import TraderTerms

PERSISTENCE, SD_EUR_PER_KWH, VALUES = 0.95, 0.05, 9
"""The default price model: hourly autocorrelation, deviation, values of the chain. Ours."""


def slow_prices(curve: Floats) -> SignalProcess:
    """An autoregression that keeps its level for hours, so that forecasts are worth following."""
    return SignalProcess.autoregressive(curve, PERSISTENCE, SD_EUR_PER_KWH, VALUES)


@dataclass(frozen=True, eq=False)
class Episodes:
    """One episode for each of n traders.

    Attributes:
        day: Day of each, shape (n,).
        row: Its position in the scenario's tables, shape (n,).
        signal: Signals, shape (n, T); a trader sees those up to now.
        quote: States of the quotes, shape (n, hours of trading).
        price_eur_per_kwh: Spot prices, shape (n, T), EUR/kWh; seen after the decision.
    """

    day: Ints
    row: Ints
    signal: Ints
    quote: Ints
    price_eur_per_kwh: Floats


@dataclass(frozen=True, eq=False)
class Quotes:
    """What traders are told by day, hour and signal, EUR/kWh.

    Attributes:
        price: Expected spot price, shape (D, T, n).
        block: Expected mean price of the hours of delivery, shape (D, trading hours, n).
        call: Value of an option for all of them, per kWh, same shape.
        forward: Quote of a forward, shape (D, trading hours, n, quotes).
        premium: Quote of an option, same shape.
        strike: Strike of the day's options, shape (D,).
    """

    price: Floats
    block: Floats
    call: Floats
    forward: Floats
    premium: Floats
    strike: Floats


@dataclass(frozen=True, eq=False)
class TraderScenario:
    """Days with their price processes, and the terms of trade.

    Attributes:
        days: Days that may be drawn, shape (k,).
        processes: Price process of each of them, alike but for the prices.
        terms: Need and quotes.
        name: Where the prices come from.
    """

    days: Ints
    processes: tuple[SignalProcess, ...]
    terms: TraderTerms
    name: str

    def __post_init__(self) -> None:
        first, terms = self.processes[0], self.terms
        for process in self.processes:
            for field in ("initial", "transition", "noise_eur_per_kwh", "noise_probabilities"):
                if not np.array_equal(getattr(process, field), getattr(first, field)):
                    raise ScenarioError(
                        f"{field} differs between days; expected one chain of signals for all. "
                        "Let the days differ in price_eur_per_kwh only."
                    )
        if terms.hours > first.periods:
            raise ScenarioError(
                f"delivery ends after hour {terms.hours} and the prices after {first.periods}; "
                "expected prices for all hours of delivery. Deliver earlier."
            )

    @classmethod
    def create(
        cls,
        terms: TraderTerms | None = None,
        days: Iterable[int] | int | None = None,
        prices: Prices | None = None,
        split: str = "train",
        uncertainty: PriceModel | SignalProcess = slow_prices,
    ) -> TraderScenario:
        """Fill in defaults; see `TraderEnv` for the arguments.

        Raises:
            ScenarioError: An option is unknown, empty or out of range.
        """
        terms = TraderTerms() if terms is None else terms
        if not isinstance(terms, TraderTerms):
            raise ScenarioError(f"terms is {terms!r}; expected TraderTerms.")
        if isinstance(uncertainty, SignalProcess):
            if not (days is None and prices is None):
                raise ScenarioError(
                    "got days or prices beside a SignalProcess; expected none, since it is one "
                    "day with its own prices. Pass a function of the forecast curve instead."
                )
            only = np.zeros(1, dtype=np.int64)
            return cls(only, (uncertainty,), terms, "a given signal process")
        prices = synthetic_prices() if prices is None else prices
        if not isinstance(prices, Prices):
            raise ScenarioError(
                f"prices is {type(prices).__name__}; expected flexgym.envs.data.Prices. "
                "Read your file with load_prices(path)."
            )
        covered = prices.covered_days()
        if days is None:
            chosen = np.intersect1d(split_days(split), covered)
        else:
            chosen = np.unique(one_or_several(days))
        whole = chosen.size and chosen.dtype.kind in "iu"
        if not whole or not np.isin(chosen, covered).all():
            raise ScenarioError(
                f"days is {days!r} (split {split!r}); expected days from 0 to {EPISODES - 1} that "
                "the prices cover, at least one. Pass days=prices.covered_days()."
            )
        model, curves = price_model(uncertainty), hourly_curves(prices)
        worlds = tuple(model(curves[day]) for day in chosen)
        for world in worlds:
            if not isinstance(world, SignalProcess):
                raise ScenarioError(
                    f"the price model gave {type(world).__name__}; expected a SignalProcess."
                )
        return cls(chosen.astype(np.int64), worlds, terms, prices.name)

    @cached_property
    def quotes(self) -> Quotes:
        """What traders are told, by day."""
        terms, D = self.terms, self.terms.first_delivery
        hours = range(D, terms.hours)
        first = self.processes[0]
        price = np.stack([process.price_eur_per_kwh for process in self.processes])
        block, call = np.zeros((2, len(price), D, first.signals))
        at_delivery = np.zeros((len(price), first.signals))
        for h in hours:
            ahead = expected_later(first, h, price[:, h].T)
            at_delivery += np.einsum("n,nd->d", first.initial, ahead[0])[:, None]
            block += np.moveaxis(ahead[:D], 2, 0)
        block /= terms.delivery_hours
        strike = terms.strike_ratio * at_delivery[:, 0] / terms.delivery_hours
        for h in hours:
            payoff = (price[:, h] - strike[:, None]).clip(0.0)
            call += np.moveaxis(expected_later(first, h, payoff.T)[:D], 2, 0)
        call /= terms.delivery_hours
        of_forward, of_option = self.quote_factors
        forward = block[..., None] * of_forward + terms.spread_eur_per_kwh
        premium = call[..., None] * of_option + terms.premium_spread_eur_per_kwh
        return Quotes(price, block, call, forward, premium, strike)

    @property
    def quote_factors(self) -> tuple[Floats, Floats]:
        """Factor on a forward and on an option in each state of the quotes, (quotes,) each."""
        of_forward = np.array(self.terms.forward_quote.factors)
        of_option = np.array(self.terms.option_quote.factors)
        return np.repeat(of_forward, len(of_option)), np.tile(of_option, len(of_forward))

    @cached_property
    def quote_process(self) -> SignalProcess:
        """The chain of the quotes' states over the hours of trading."""
        terms = self.terms
        chains = terms.forward_quote, terms.option_quote
        initial: Floats = np.kron(*(chain.stationary for chain in chains)).astype(np.float64)
        transition: Floats = np.kron(*(chain.matrix for chain in chains)).astype(np.float64)
        return SignalProcess(initial, transition, np.zeros((terms.first_delivery, terms.quotes)))

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen digits that change with prices, chain, days and terms."""
        first, digest = self.processes[0], sha256()
        parts = (self.quotes.price, first.initial, first.transition, first.noise_eur_per_kwh)
        for part in (*parts, first.noise_probabilities, self.days):
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(repr(self.terms).encode())
        return digest.hexdigest()[:16]

    @property
    def draws(self) -> int:
        """Uniform numbers that one episode takes: the day, signals, noise, quotes."""
        return 1 + 2 * self.processes[0].periods + self.terms.first_delivery

    def draw(self, uniform: Floats, day: Sequence[int] | Ints | None = None) -> Episodes:
        """Turn uniform numbers, shape (n, draws), into n episodes.

        Args:
            uniform: Uniform numbers in [0, 1).
            day: Days to play, shape (n,), or None to draw them.

        Raises:
            ScenarioError: A day is none of the scenario's.
        """
        if day is None:
            row = (uniform[:, 0] * len(self.days)).astype(np.int64)
        else:
            row = np.searchsorted(self.days, day)
            if (self.days[np.minimum(row, len(self.days) - 1)] != day).any():
                raise ScenarioError(
                    f"day is {day}; expected days of the scenario, {self.days[0]} to "
                    f"{self.days[-1]}. Name it in days=."
                )
        first, T = self.processes[0], self.processes[0].periods
        signal = first.draw(uniform[:, 1 : 1 + T])
        expected = self.quotes.price[row[:, None], np.arange(T), signal]
        price = expected + first.noise(uniform[:, 1 + T : 1 + 2 * T])
        quote = self.quote_process.draw(uniform[:, 1 + 2 * T :])
        hours = self.terms.hours
        return Episodes(self.days[row], row, signal[:, :hours], quote, price[:, :hours])
