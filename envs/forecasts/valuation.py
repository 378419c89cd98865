"""What a forward and an option are worth under a price model: exact, by dynamic programming.

Nobody is averse to risk and money has no interest, so a value is an expectation over the
process's signals. Energy is delivered and paid in the period of delivery.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.errors import ContractError
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.contracts import KINDS, PriceFormula


def expected_later(process: SignalProcess, period: int, payoff: Floats) -> Floats:
    """Expectation of a payoff that depends on the signal of a period, by earlier signal.

    Args:
        process: The price model.
        period: When the payoff is made.
        payoff: By signal of that period, shape (n,) or (n, k).

    Returns:
        Shape (period + 1, n) or (period + 1, n, k), row t given the signal of period t.
    """
    rows = [np.asarray(payoff, dtype=np.float64)]
    for t in reversed(range(period)):
        rows.append(process.transition[t] @ rows[-1])
    return np.stack(rows[::-1])


def forward_value(
    process: SignalProcess,
    delivery: int,
    formula: PriceFormula,
    condition: ArrayLike = 0.0,
) -> Floats:
    """Value of a kWh bought forward, less its formula's price, to the buyer; EUR/kWh.

    Args:
        process: The price model.
        delivery: Period of delivery.
        formula: Price of the contract.
        condition: What the formula depends on, by signal of the delivery, shape (n,), or a number.

    Returns:
        Shape (delivery + 1, n): in period t given its signal. 0 is fair; minus it is the seller's.

    Raises:
        ContractError: No such period, or a condition of a wrong shape or not finite.
    """
    _check_period(process, "delivery", delivery)
    measured = np.asarray(condition, dtype=np.float64)
    if measured.shape not in ((), (process.signals,)) or not np.isfinite(measured).all():
        raise ContractError(
            f"condition has shape {measured.shape}; expected () or ({process.signals},), finite."
        )
    price = formula.base_eur_per_kwh + formula.supplement(measured)
    return expected_later(process, delivery, process.price_eur_per_kwh[delivery] - price)


def option_value(
    process: SignalProcess,
    delivery: int,
    strike_eur_per_kwh: float,
    expiry: int | None = None,
    kind: str = "call",
) -> Floats:
    """Value of the right to a kWh at a strike, to its holder, before the premium; EUR/kWh.

    V(t | s) = max(E[P | s] - strike, E[V(t + 1) | s]) for a call, by which it is exercised or kept,
    and max(E[P | s] - strike, 0) in the period of expiry: the holder sees the signal, not the noise
    of the price. For a put the first term's sign is turned.

    Args:
        process: The price model.
        delivery: Period of delivery.
        strike_eur_per_kwh: Strike.
        expiry: Last period in which it can be exercised; None is the delivery.
        kind: ``"call"`` or ``"put"``.

    Returns:
        Shape (expiry + 1, n): in period t given its signal.

    Raises:
        ContractError: No such period or kind, expiry after delivery, or the strike is not finite.
    """
    _check_period(process, "delivery", delivery)
    expiry = delivery if expiry is None else expiry
    _check_period(process, "expiry", expiry)
    if kind not in KINDS or expiry > delivery or not np.isfinite(strike_eur_per_kwh):
        raise ContractError(
            f"kind is {kind!r}, expiry {expiry}, delivery {delivery}, strike {strike_eur_per_kwh}; "
            f"expected one of {', '.join(KINDS)}, expiry <= delivery and a finite strike."
        )
    sign = 1.0 if kind == "call" else -1.0
    value = np.empty((expiry + 1, process.signals))
    kept = np.zeros(process.signals)
    for t in reversed(range(expiry + 1)):
        if t < expiry:
            kept = process.transition[t] @ value[t + 1]
        gain = sign * (process.forecasts[t, :, delivery] - strike_eur_per_kwh)
        value[t] = np.maximum(gain, kept)
    return value


def _check_period(process: SignalProcess, name: str, period: int) -> None:
    whole = isinstance(period, int | np.integer) and not isinstance(period, bool)
    if not whole or not 0 <= period < process.periods:
        raise ContractError(f"{name} is {period!r}; expected 0 to {process.periods - 1}.")
