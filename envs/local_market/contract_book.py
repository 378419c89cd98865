"""Forwards and options of many markets at once: the arrays behind the market environment.

What the contracts say is in `contracts`; `clearing_house` keeps single ones, with names, credit and
messages. Here a participant's contracts for a period are one position, and nobody defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.errors import ContractError, StateError
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.clearing import clear
from flexgym.envs.local_market.contracts import PriceFormula

_FIXED = PriceFormula(0.0)
_STATE = (
    "forward_kwh", "forward_eur", "option_kwh", "strike_eur_per_kwh", "exercised_kwh",
    "trades", "promised_kwh", "delivered_kwh",
)  # fmt: skip


class Settlement(NamedTuple):
    """What contracts leave of a period, each of shape (m, n).

    Attributes:
        residual_kwh: What is still needed after them, kWh; a surplus is negative. What a seller
            lacked is in its residual: it buys that at spot, or from the utility.
        forward_eur: Paid for forwards, EUR, negative for sellers; adds up to 0 in a market.
        exercise_eur: Likewise for exercised options.
        shortfall_kwh: What sellers had promised and did not have, kWh.
    """

    residual_kwh: Floats
    forward_eur: Floats
    exercise_eur: Floats
    shortfall_kwh: Floats


class ContractBook:
    """Positions of n participants in each of m markets over T periods.

    In period t a forward and a call for delivery in period t + lead are cleared, each in an
    auction of its own under the market's rule; a forward's orders are in EUR/kWh at the reference
    condition, a call's are premiums. At delivery, before spot, holders exercise what they like,
    writers serve them in proportion to what they wrote, and everything is settled. Nothing is
    struck whose delivery lies beyond the last period.

    Attributes:
        forward_kwh: By period of delivery, shape (T, m, n), kWh: bought above 0, sold below.
        forward_eur: What is to be paid for it at the reference condition, EUR, same shape.
        option_kwh: Calls that can be exercised, same shape, kWh: held above 0, written below.
        strike_eur_per_kwh: Their strike, shape (T, m), EUR/kWh.
        exercised_kwh: Exercised for this delivery, shape (m, n), kWh, signed likewise.
        trades: Auctions in which each has bought or sold, shape (m, n).
        promised_kwh: What each had to deliver in periods that are settled, shape (m, n), kWh.
        delivered_kwh: What it had of that, shape (m, n), kWh.

    Args:
        markets: m.
        participants: n.
        periods: T.
        lead: Periods from the auction to delivery, at least 1.
        rule: Price rule of the auctions, one of `RULES`.
        supplement: What a condition adds to every forward's price; its base must be 0.

    Raises:
        ContractError: A number is no whole one in its range, or the supplement has a base.
    """

    def __init__(
        self,
        markets: int,
        participants: int,
        periods: int,
        lead: int = 4,
        rule: str = "uniform",
        supplement: PriceFormula = _FIXED,
    ) -> None:
        for name, value in (
            ("markets", markets), ("participants", participants), ("periods", periods),
            ("lead", lead),
        ):  # fmt: skip
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
                raise ContractError(f"{name} is {value!r}; expected a whole number >= 1.")
        if supplement.base_eur_per_kwh != 0.0:
            raise ContractError(
                f"the supplement's base is {supplement.base_eur_per_kwh} EUR/kWh; expected 0: the "
                "auction finds the base."
            )
        self.shape, self.periods, self.lead = (markets, participants), periods, lead
        self.rule, self.supplement = rule, supplement
        self.begin()

    def begin(self) -> None:
        """Forget everything: new episodes."""
        by_period = (self.periods, *self.shape)
        self.forward_kwh, self.forward_eur = np.zeros(by_period), np.zeros(by_period)
        self.option_kwh = np.zeros(by_period)
        self.strike_eur_per_kwh = np.zeros(by_period[:2])
        self.exercised_kwh = np.zeros(self.shape)
        self.trades = np.zeros(self.shape, dtype=np.int64)
        self.promised_kwh, self.delivered_kwh = np.zeros(self.shape), np.zeros(self.shape)

    def open(self, t: int) -> bool:
        """Whether something can be struck in period t: its delivery is within the episode."""
        return t >= 0 and t + self.lead < self.periods

    def strike_forwards(
        self, t: int, price_eur_per_kwh: ArrayLike, volume_kwh: ArrayLike
    ) -> tuple[Floats, Floats]:
        """Clear the forward for delivery in period t + lead.

        Args:
            t: Period.
            price_eur_per_kwh: Limits at the reference condition, shape (m, n), EUR/kWh.
            volume_kwh: Signed volumes, shape (m, n), kWh.

        Returns:
            Traded volumes, kWh, and what will be paid at the reference condition, EUR, (m, n).

        Raises:
            ContractError: The delivery is beyond the last period, or a shape is wrong.
            OrderError: An order is not finite, or the rule is unknown.
        """
        traded, paid = self._auction(t, price_eur_per_kwh, volume_kwh)
        self.forward_kwh[t + self.lead] += traded
        self.forward_eur[t + self.lead] += paid
        return traded, paid

    def sell_options(
        self,
        t: int,
        premium_eur_per_kwh: ArrayLike,
        volume_kwh: ArrayLike,
        strike_eur_per_kwh: ArrayLike,
    ) -> tuple[Floats, Floats]:
        """Clear the call for delivery in period t + lead, once a period; premiums are paid now.

        Args:
            t: Period.
            premium_eur_per_kwh: Limits of the premium, shape (m, n), EUR/kWh, >= 0.
            volume_kwh: Signed volumes, shape (m, n), kWh: above 0 wants the right, below writes it.
            strike_eur_per_kwh: Strike, shape (m,) or a number, EUR/kWh.

        Returns:
            Traded volumes, kWh, and premiums paid now, EUR, each (m, n), adding up to 0.

        Raises:
            ContractError: The delivery is beyond the last period, there was an auction for it
                already, a premium is negative, a strike not finite, or a shape is wrong.
            OrderError: An order is not finite, or the rule is unknown.
        """
        strike = np.asarray(strike_eur_per_kwh, dtype=np.float64)
        if strike.shape not in ((), self.shape[:1]) or not np.isfinite(strike).all():
            raise ContractError(
                f"strike_eur_per_kwh has shape {strike.shape}; expected () or {self.shape[:1]}, "
                "finite numbers."
            )
        if (np.asarray(premium_eur_per_kwh) < 0.0).any():
            raise ContractError("a premium is negative; expected >= 0: a right without duty.")
        if self.open(t) and self.option_kwh[t + self.lead].any():
            raise ContractError(f"calls for period {t + self.lead} exist; expected one auction.")
        traded, paid = self._auction(t, premium_eur_per_kwh, volume_kwh)
        self.option_kwh[t + self.lead] = traded
        self.strike_eur_per_kwh[t + self.lead] = strike
        return traded, paid

    def exercise(self, t: int, share: ArrayLike) -> Floats:
        """Exercise calls in the period of their delivery; nothing of them is left afterwards.

        Args:
            t: Period.
            share: Share of what each holds, shape (m, n) or a number, in [0, 1]; writers' entries
                do not count.

        Returns:
            Exercised volumes, shape (m, n), kWh: bought above 0, sold below.

        Raises:
            ContractError: There is no such period, or a share has a wrong shape or lies outside
                [0, 1].
        """
        self._check_period(t)
        shares = np.asarray(share, dtype=np.float64)
        if shares.shape not in ((), self.shape):
            raise ContractError(f"share has shape {shares.shape}; expected () or {self.shape}.")
        if not ((shares >= 0.0) & (shares <= 1.0)).all():
            raise ContractError("a share to exercise lies outside [0, 1]; expected a part of 1.")
        held, written = self.option_kwh[t].clip(0.0), self.option_kwh[t].clip(max=0.0)
        used = shares * held
        wanted, all_written = used.sum(axis=1), -written.sum(axis=1)
        ratio = np.divide(wanted, all_written, out=np.zeros_like(wanted), where=all_written > 0.0)
        self.exercised_kwh = used + written * ratio[:, None]
        self.option_kwh[t] = 0.0
        return self.exercised_kwh

    def worth_exercising(self, t: int, spot_eur_per_kwh: ArrayLike) -> Floats:
        """1 where a call's strike is below what the energy costs otherwise, else 0, (m, n).

        Args:
            t: Period.
            spot_eur_per_kwh: What it costs otherwise, shape (m, n), (m, 1) or a number, EUR/kWh.
        """
        self._check_period(t)
        cheaper = self.strike_eur_per_kwh[t][:, None] < np.asarray(spot_eur_per_kwh)
        return np.broadcast_to(cheaper, self.shape).astype(np.float64)

    def settle(self, t: int, need_kwh: ArrayLike, condition: ArrayLike | None = None) -> Settlement:
        """Deliver and pay the contracts of a period.

        Args:
            t: Period.
            need_kwh: Consumption less production, shape (m, n), kWh; a surplus is negative.
            condition: What was measured, shape (m,) or a number; may be None if prices are fixed.

        Raises:
            ContractError: There is no such period, a shape is wrong, a number not finite, or the
                condition is missing.
        """
        self._check_period(t)
        need = np.asarray(need_kwh, dtype=np.float64)
        if need.shape != self.shape or not np.isfinite(need).all():
            raise ContractError(
                f"need_kwh has shape {need.shape}; expected {self.shape}, finite numbers."
            )
        forward, called = self.forward_kwh[t], self.exercised_kwh
        forward_eur = self.forward_eur[t] + self._added(condition) * forward
        exercise_eur = self.strike_eur_per_kwh[t][:, None] * called
        sold = -(forward.clip(max=0.0) + called.clip(max=0.0))
        has = (-need).clip(0.0) + forward.clip(0.0) + called.clip(0.0)
        shortfall = (sold - has).clip(0.0)
        self.promised_kwh += sold
        self.delivered_kwh += sold - shortfall
        residual = need - forward - called
        self.forward_kwh[t] = self.forward_eur[t] = 0.0
        self.exercised_kwh = np.zeros(self.shape)
        return Settlement(residual, forward_eur, exercise_eur, shortfall)

    @property
    def success_rate(self) -> Floats:
        """Share delivered of what was promised, shape (m, n); 1 before the first promise."""
        rate = np.ones(self.shape)
        some = self.promised_kwh > 0.0
        return np.divide(self.delivered_kwh, self.promised_kwh, out=rate, where=some)

    def save(self) -> dict[str, Floats]:
        """Everything needed to go on from here."""
        return {name: getattr(self, name).copy() for name in _STATE}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save` returned.

        Raises:
            StateError: It is of another book.
        """
        for name in _STATE:
            shape = getattr(self, name).shape
            if name not in saved or np.shape(saved[name]) != shape:
                raise StateError(
                    f"the contracts' {name} is not of shape {shape}; expected what save of a book "
                    "with these options returned."
                )
        for name in _STATE:
            setattr(self, name, np.array(saved[name], dtype=getattr(self, name).dtype))

    def _added(self, condition: ArrayLike | None) -> Floats | float:
        """What the condition adds to forwards, shape (m, 1) or a number, EUR/kWh."""
        if self.supplement.slope_eur_per_kwh == 0.0:
            return 0.0
        if condition is None:
            raise ContractError("condition is None; expected what was measured at delivery.")
        measured = np.asarray(condition, dtype=np.float64)
        if measured.shape not in ((), self.shape[:1]) or not np.isfinite(measured).all():
            raise ContractError(
                f"condition has shape {measured.shape}; expected () or {self.shape[:1]}, finite."
            )
        return np.reshape(self.supplement.supplement(measured), (-1, 1))

    def _auction(self, t: int, price: ArrayLike, volume: ArrayLike) -> tuple[Floats, Floats]:
        if not self.open(t):
            raise ContractError(
                f"delivery would be in period {t + self.lead}; expected one below {self.periods}, "
                "and no period before 0. Ask `open` first."
            )
        for name, values in (("price", price), ("volume", volume)):
            if np.shape(values) != self.shape:
                raise ContractError(
                    f"{name} has shape {np.shape(values)}; expected {self.shape}, (markets, "
                    "participants)."
                )
        traded, paid = clear(price, volume, self.rule)
        self.trades += traded != 0.0
        return traded, paid

    def _check_period(self, t: int) -> None:
        if not 0 <= t < self.periods:
            raise ContractError(f"period is {t}; expected 0 to {self.periods - 1}.")
