"""Forwards and options of many markets at once: the arrays behind the market environment.

What the contracts say is in `contracts`; `clearing_house` keeps single ones, with names, credit and
messages. Here a participant's contracts for a period are one position, and nobody defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import ContractError
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.clearing import clear, rule_number
from flexgym.envs.local_market.contracts import PriceFormula, check_supplement
from flexgym.envs.saved_state import saved_array

_FIXED = PriceFormula(0.0)
_STATE = (
    "forward_kwh", "forward_eur", "option_kwh", "strike_eur_per_kwh", "exercised_kwh", "settled",
    "promised_kwh", "delivered_kwh",
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
        exercised_kwh: Exercised of them so far, shape (T, m, n), kWh, signed likewise.
        settled: Which periods are settled, shape (T,); nothing of them can be changed any more.
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
        OrderError: The rule is unknown.
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
            whole = as_index(value)
            if whole is None or whole < 1:
                raise ContractError(f"{name} is {value!r}; expected a whole number >= 1.")
        rule_number(rule)
        check_supplement(supplement)
        self.shape, self.periods, self.lead = (markets, participants), periods, lead
        self.rule, self.supplement = rule, supplement
        self.begin()

    def begin(self) -> None:
        """Forget everything: new episodes."""
        by_period = (self.periods, *self.shape)
        self.forward_kwh, self.forward_eur = np.zeros(by_period), np.zeros(by_period)
        self.option_kwh = np.zeros(by_period)
        self.strike_eur_per_kwh = np.zeros(by_period[:2])
        self.exercised_kwh = np.zeros(by_period)
        self.settled = np.zeros(self.periods, dtype=bool)
        self.promised_kwh, self.delivered_kwh = np.zeros(self.shape), np.zeros(self.shape)

    def open(self, t: int) -> bool:
        """Whether something can be struck in period t: its delivery is within the episode."""
        whole = as_index(t)
        return whole is not None and whole >= 0 and whole + self.lead < self.periods

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
            ContractError: The delivery is beyond the last period or settled, or a shape is wrong.
            OrderError: An order is not finite.
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
            OrderError: An order is not finite.
        """
        strike = _numbers("strike_eur_per_kwh", strike_eur_per_kwh, (), self.shape[:1])
        if (_numbers("premium_eur_per_kwh", premium_eur_per_kwh, self.shape) < 0.0).any():
            raise ContractError("a premium is negative; expected >= 0: a right without duty.")
        if self.open(t) and self.option_kwh[t + self.lead].any():
            raise ContractError(f"calls for period {t + self.lead} exist; expected one auction.")
        traded, paid = self._auction(t, premium_eur_per_kwh, volume_kwh)
        self.option_kwh[t + self.lead] = traded
        self.strike_eur_per_kwh[t + self.lead] = strike
        return traded, paid

    def exercise(self, t: int, share: ArrayLike) -> Floats:
        """Exercise calls for delivery in a period; what is left can be until it is settled.

        Args:
            t: Period of delivery.
            share: Share of what each still holds, shape (m, n) or a number, in [0, 1]; writers'
                entries do not count.

        Returns:
            Volumes exercised now, shape (m, n), kWh: bought above 0, sold below.

        Raises:
            ContractError: There is no such period or it is settled, or a share has a wrong shape
                or lies outside [0, 1].
        """
        self._check_period(t)
        shares = _numbers("share", share, (), self.shape)
        if not ((shares >= 0.0) & (shares <= 1.0)).all():
            raise ContractError("a share to exercise lies outside [0, 1]; expected a part of 1.")
        held, written = self.option_kwh[t].clip(0.0), self.option_kwh[t].clip(max=0.0)
        used = shares * held
        wanted, all_written = used.sum(axis=1), -written.sum(axis=1)
        ratio = np.divide(wanted, all_written, out=np.zeros_like(wanted), where=all_written > 0.0)
        now = used + written * ratio[:, None]
        self.exercised_kwh[t] += now
        self.option_kwh[t] -= now
        return now

    def settle(self, t: int, need_kwh: ArrayLike, condition: ArrayLike | None = None) -> Settlement:
        """Deliver and pay the contracts of a period, once; what was not exercised is gone.

        Args:
            t: Period.
            need_kwh: Consumption less production, shape (m, n), kWh; a surplus is negative.
            condition: What was measured, shape (m,) or a number; may be None if prices are fixed.

        Raises:
            ContractError: There is no such period or it is settled, a shape is wrong, a number not
                finite, or the condition is missing.
        """
        self._check_period(t)
        need = _numbers("need_kwh", need_kwh, self.shape)
        forward, called = self.forward_kwh[t], self.exercised_kwh[t]
        forward_eur = self.forward_eur[t] + self._added(condition) * forward
        exercise_eur = self.strike_eur_per_kwh[t][:, None] * called
        sold = -(forward.clip(max=0.0) + called.clip(max=0.0))
        has = (-need).clip(0.0) + forward.clip(0.0) + called.clip(0.0)
        shortfall = (sold - has).clip(0.0)
        self.promised_kwh += sold
        self.delivered_kwh += sold - shortfall
        residual = need - forward - called
        for positions in (self.forward_kwh, self.forward_eur, self.exercised_kwh, self.option_kwh):
            positions[t] = 0.0
        self.settled[t] = True
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
        arrays = {name: saved_array(saved, name, getattr(self, name)) for name in _STATE}
        for name, array in arrays.items():
            setattr(self, name, array)

    def _added(self, condition: ArrayLike | None) -> Floats | float:
        """What the condition adds to forwards, shape (m, 1) or a number, EUR/kWh."""
        if self.supplement.slope_eur_per_kwh == 0.0:
            return 0.0
        if condition is None:
            raise ContractError("condition is None; expected what was measured at delivery.")
        measured = _numbers("condition", condition, (), self.shape[:1])
        return np.reshape(self.supplement.supplement(measured), (-1, 1))

    def _auction(self, t: int, price: ArrayLike, volume: ArrayLike) -> tuple[Floats, Floats]:
        if not self.open(t):
            raise ContractError(
                f"period is {t!r} and delivery {self.lead} later; expected one below "
                f"{self.periods}, and no period before 0. Ask `open` first."
            )
        self._check_period(t + self.lead)
        for name, values in (("price", price), ("volume", volume)):
            if np.shape(values) != self.shape:
                raise ContractError(
                    f"{name} has shape {np.shape(values)}; expected {self.shape}, (markets, "
                    "participants)."
                )
        return clear(price, volume, self.rule)

    def _check_period(self, t: int) -> None:
        whole = as_index(t)
        if whole is None or not 0 <= whole < self.periods or self.settled[whole]:
            raise ContractError(
                f"period is {t!r}; expected a whole number from 0 to {self.periods - 1}, of a "
                "period that is not settled."
            )


def _numbers(name: str, values: ArrayLike, *shapes: tuple[int, ...]) -> Floats:
    """Values as finite numbers of one of some shapes, or a `ContractError`."""
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.array(None)
    numbers = array.dtype.kind in "fiu"
    if not numbers or array.shape not in shapes or not np.isfinite(array).all():
        raise ContractError(
            f"{name} is {array.dtype} of shape {array.shape}; expected finite numbers of shape "
            f"{' or '.join(map(str, shapes))}."
        )
    return array.astype(np.float64)
