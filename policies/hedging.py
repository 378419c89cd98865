"""Participants of a local market who agree on contracts ahead and trade the rest at spot."""

from __future__ import annotations

import numpy as np

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.contract_trade import ContractTrade
from flexgym.envs.local_market.params import HOURS
from flexgym.envs.local_market.simulation import LocalMarketSimulation
from flexgym.policies.local_market import is_share


class Hedging:
    """Truthful at spot; ahead of it, contracts for a share of what it expects to need or have left.

    A forward is posted at the limit that it will have in the hour of delivery. Who needs energy
    bids a share of what a call would save it at most, who has some left writes calls for what the
    strike lacks to its limit, or for nothing; calls are exercised as far as there is need and the
    strike is below the limit.

    Args:
        forward: Share of the open position that is posted as a forward.
        call: Share of what is then open that is posted as a call.
        premium: Share of the most that a call saves, that is bid for it.

    Raises:
        ScenarioError: A share lies outside [0, 1].
    """

    def __init__(self, forward: float = 1.0, call: float = 0.0, premium: float = 0.5) -> None:
        if not all(is_share(share) for share in (forward, call, premium)):
            raise ScenarioError(
                f"forward is {forward}, call {call} and premium {premium}; expected shares, 0 to 1."
            )
        self.forward, self.call, self.premium = forward, call, premium
        kinds = [kind for kind, share in (("forwards", forward), ("calls", call)) if share]
        self.name = " and ".join(kinds) or "spot only"

    def begin(self, market: LocalMarketSimulation) -> None:
        """Nothing to prepare."""

    def orders(self, market: LocalMarketSimulation) -> tuple[Floats, Floats]:
        """See `LocalMarketPolicy`."""
        return market.hour.limit, np.ones_like(market.hour.limit)

    def agreements(self, market: LocalMarketSimulation) -> Floats:
        """Action entries of the contracts, shape (m, n, 5), see `ContractTrade`.

        Raises:
            ScenarioError: The market has no contracts of this kind.
        """
        contracts = market.contracts
        if not isinstance(contracts, ContractTrade):
            raise ScenarioError("the market has no contracts; expected contracts=True.")
        t, book, days, hour = market.t, contracts.book, market.days, market.hour
        out = np.tile(np.array(contracts.idle), (market.n, market.participants, 1))
        held, strike = np.maximum(book.option_kwh[t], 0.0), book.strike_eur_per_kwh[t][:, None]
        need = np.maximum(hour.position_kwh, 0.0)
        useful = np.where(hour.limit > strike, np.minimum(need, held), 0.0)
        out[..., 4] = 2.0 * np.divide(useful, held, out=np.zeros_like(held), where=held > 0.0) - 1.0
        at = t + contracts.terms.lead
        if at >= HOURS:
            return out
        retail, feed_in, strike = contracts.tariffs(market, at)
        buys = days.forecast_kwh[at] - book.forward_kwh[at] > 0.0
        value = np.maximum(days.value_factor * retail, feed_in)
        cost = feed_in + days.cost_share * (retail - feed_in)
        limit = np.where(buys, np.minimum(value, retail), np.maximum(cost, feed_in))
        out[..., 0] = _action(limit - feed_in, retail - feed_in)
        out[..., 1] = 2.0 * self.forward - 1.0
        saves = np.maximum(limit - strike[:, None], 0.0)
        bid = np.where(buys, self.premium * saves, saves)
        out[..., 2] = _action(bid, retail - strike[:, None])
        # Who would save nothing has no use for the right.
        wants = self.call * (~buys | (saves > 0.0))
        out[..., 3] = 2.0 * wants - 1.0
        return out


def _action(amount: Floats, most: Floats) -> Floats:
    """From 0 (-1) to the most (1)."""
    share = np.divide(amount, most, out=np.zeros_like(amount), where=most > 0.0)
    return np.clip(2.0 * share - 1.0, -1.0, 1.0)
