"""Forwards and calls in the local market's environment: actions, observations, deliveries.

After each hour's spot trade a forward, and then a call, for delivery ``lead`` hours ahead are
cleared by the market's rule. At delivery, before the spot trade, calls are exercised, everything
due is delivered and paid, and what a seller lacks it buys at spot or from the utility.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import ContractError
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.contract_book import ContractBook
from flexgym.envs.local_market.contracts import PriceFormula, check_supplement
from flexgym.envs.local_market.observation import PRICE_SCALE
from flexgym.envs.local_market.params import HOURS
from flexgym.envs.saved_state import saved_array

if TYPE_CHECKING:
    from flexgym.envs.local_market.simulation import LocalMarketSimulation


LAST = (
    "forward_kwh", "call_kwh", "forward_eur", "exercise_eur", "premium_eur", "shortfall_kwh",
)  # fmt: skip


@dataclass(frozen=True)
class ContractTerms:
    """Terms of all contracts of a market. Ours.

    Attributes:
        lead: Hours from the auction to delivery.
        strike_share: Strike of a call, as a share of the way from the export to the import price
            of the hour of delivery.
        supplement: What a condition adds to the price of forwards; its base must be 0. The
            condition is the weather's factor on the forecast of the sun, 1 as forecast.
    """

    lead: int = 4
    strike_share: float = 0.5
    supplement: PriceFormula = field(default_factory=lambda: PriceFormula(0.0, reference=1.0))

    def __post_init__(self) -> None:
        lead, share = as_index(self.lead), self.strike_share
        number = isinstance(share, Real) and not isinstance(share, bool)
        if lead is None or not 1 <= lead < HOURS or not number or not 0.0 <= share <= 1.0:
            raise ContractError(
                f"lead is {self.lead!r} and strike_share {self.strike_share!r}; expected 1 to "
                f"{HOURS - 1} hours and a share from 0 to 1."
            )
        check_supplement(self.supplement)
        object.__setattr__(self, "lead", lead)
        object.__setattr__(self, "strike_share", float(share))


class ContractTrade:
    """Contracts of m markets, see `flexgym.envs.local_market.simulation.Contracts`.

    **Action** entries in [-1, 1] after price and share of the spot order: price of the forward,
    from one's own feed-in price (-1) to one's own retail price (1) of the hour of delivery; how
    much of one's open position then to post, none (-1) to all (1); premium of the call, from 0 (-1)
    to what the strike is below one's own retail price (1); how much to post; and how much to
    exercise of the calls of this hour, none (-1) to all (1). The open position is what one expects
    to need (buys, and wants the right) or to have left (sells, and writes), less what is agreed.

    Attributes:
        terms: Of all contracts.
        book: Positions.
        prices: Price of the last forward and premium of the last call, shape (m, 2), EUR/kWh; 0
            before there was one.
        last: Of the last hour, by `LAST`, shape (6, m, n): agreed as forwards and as calls, kWh
            bought above 0; paid for forwards that were delivered, for calls that were exercised,
            and as premiums, EUR; and what was promised and not there, kWh.
    """

    idle = (0.0, -1.0, 0.0, -1.0, -1.0)

    def __init__(
        self, markets: int, participants: int, rule: str, terms: ContractTerms | None = None
    ) -> None:
        self.terms = terms or ContractTerms()
        self.book = ContractBook(
            markets, participants, HOURS, self.terms.lead, rule, self.terms.supplement
        )
        self.prices, self.last = np.zeros((markets, 2)), np.zeros((len(LAST), *self.book.shape))
        self.observation_names = (
            "net_forecast_lead_kwh", "retail_lead", "feed_in_lead", "strike_lead",
            "call_kwh", "strike", "forward_price", "premium", "success_rate",
            *(f"forward_{k}_kwh" for k in range(1, self.terms.lead + 1)),
        )  # fmt: skip

    @property
    def made_of(self) -> str:
        """Terms, which a saved state must agree with."""
        return repr(self.terms)

    def begin(self) -> None:
        """Nothing is agreed yet."""
        self.book.begin()
        self.prices, self.last = np.zeros_like(self.prices), np.zeros_like(self.last)

    def agreed_kwh(self, market: LocalMarketSimulation) -> Floats:
        """What forwards deliver this hour, received above 0, shape (m, n), kWh."""
        return self.book.forward_kwh[market.t]

    def settle(self, market: LocalMarketSimulation, action: Floats) -> tuple[Floats, Floats]:
        """Exercise, deliver and pay what is due this hour.

        Args:
            market: The markets.
            action: Entries of the contracts, shape (m, n, 5).

        Returns:
            Received above 0, kWh, and paid, EUR, each (m, n).
        """
        t, need = market.t, market.days.net_kwh[market.t]
        self.book.exercise(t, 0.5 * (action[..., 4] + 1.0))
        found = self.book.settle(t, need, market.days.weather[t])
        self.last[:] = 0.0
        self.last[2], self.last[3] = found.forward_eur, found.exercise_eur
        self.last[5] = found.shortfall_kwh
        return need - found.residual_kwh, found.forward_eur + found.exercise_eur

    def strike(self, market: LocalMarketSimulation, action: Floats) -> Floats:
        """Clear the forward and the call for delivery ``lead`` hours ahead.

        Args:
            market: The markets.
            action: Entries of the contracts, shape (m, n, 5).

        Returns:
            Premiums paid now, shape (m, n), EUR.
        """
        t, at, book = market.t, market.t + self.terms.lead, self.book
        if not book.open(t):
            return np.zeros(action.shape[:2])
        retail, feed_in, strike = self.tariffs(market, at)
        expected = market.days.forecast_kwh[at]
        price = feed_in + 0.5 * (action[..., 0] + 1.0) * (retail - feed_in)
        wanted = 0.5 * (action[..., 1] + 1.0) * (expected - book.forward_kwh[at])
        traded, paid = book.strike_forwards(t, price, wanted)
        self._publish(0, traded, paid)
        self.last[0] = traded
        premium = 0.5 * (action[..., 2] + 1.0) * np.maximum(retail - strike[:, None], 0.0)
        wanted = 0.5 * (action[..., 3] + 1.0) * (expected - book.forward_kwh[at])
        traded, paid = book.sell_options(t, premium, wanted, strike)
        self._publish(1, traded, paid)
        self.last[1], self.last[4] = traded, paid
        return paid

    def tariffs(self, market: LocalMarketSimulation, t: int) -> tuple[Floats, Floats, Floats]:
        """Retail and feed-in price of each, (m, n), and the strike, (m,), of an hour, EUR/kWh."""
        days = market.days
        paid, earned = days.import_eur_per_kwh[t], days.export_eur_per_kwh[t]
        retail = days.retail_factor * paid[:, None]
        feed_in = np.minimum(days.feed_in_factor * earned[:, None], retail)
        return retail, feed_in, earned + self.terms.strike_share * (paid - earned)

    def _publish(self, column: int, traded: Floats, paid: Floats) -> None:
        bought = np.maximum(traded, 0.0)
        kwh, eur = bought.sum(axis=1), np.where(bought > 0.0, paid, 0.0).sum(axis=1)
        before = self.prices[:, column]
        self.prices[:, column] = np.where(kwh > 0.0, eur / np.where(kwh > 0.0, kwh, 1.0), before)

    def observe(self, market: LocalMarketSimulation) -> np.ndarray:
        """Entries of `observation_names`, shape (m, n, entries), float32.

        Energy in kWh, prices as multiples of `PRICE_SCALE`. Prices are public, all else one's own.
        """
        t, lead, book = min(market.t, HOURS - 1), self.terms.lead, self.book
        m, n = book.shape
        out = np.zeros((m, n, len(self.observation_names)), dtype=np.float32)
        if t + lead < HOURS:
            retail, feed_in, strike = self.tariffs(market, t + lead)
            out[..., 0] = market.days.forecast_kwh[t + lead]
            out[..., 1], out[..., 2] = retail / PRICE_SCALE, feed_in / PRICE_SCALE
            out[..., 3] = strike[:, None] / PRICE_SCALE
        out[..., 4] = book.option_kwh[t]
        out[..., 5] = book.strike_eur_per_kwh[t][:, None] / PRICE_SCALE
        out[..., 6:8] = self.prices[:, None] / PRICE_SCALE
        out[..., 8] = book.success_rate
        for k in range(1, lead + 1):
            if t + k < HOURS:
                out[..., 8 + k] = book.forward_kwh[t + k]
        return out

    def save(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {**self.book.save(), "prices": self.prices.copy(), "last": self.last.copy()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save` returned.

        Raises:
            StateError: It is of other contracts.
        """
        arrays = {
            name: saved_array(saved, name, getattr(self, name)) for name in ("prices", "last")
        }
        self.book.restore(saved)
        self.prices, self.last = arrays["prices"], arrays["last"]
