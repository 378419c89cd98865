"""Forwards and options between two participants: their terms, and what is wrong with bad ones.

The source asks for contracts that are reliable, flexible and negotiable and gives no terms; these
are ours. Prices may be negative, as in wholesale markets; volumes may not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from flexgym.envs.errors import ContractError
from flexgym.envs.local_market.params import LARGEST

RESERVED = ("utility", "network", "guarantee", "meters")
"""Accounts of the ledger that are no participants: who supplies the rest, who owns the wires, who
stands in for those who cannot pay, and where energy goes that is used."""
KINDS = ("call", "put")
_POSITIVE = ("volume_kwh", "limit_eur", "fee_eur", "missing_eur", "repaid_eur")


def check_fields(record: Any) -> None:
    """Raise `ContractError` unless a frozen record's names, periods and numbers are usable.

    Fields of type ``str`` must not be empty, ``int`` must be whole, ``float`` numbers, none beyond
    `LARGEST`, or the record's ``largest`` if it has one. Periods, volumes, fees, limits and debts
    must be >= 0; limits may be infinite. NumPy's numbers become Python's.
    """
    kind, largest = type(record).__name__, getattr(record, "largest", LARGEST)
    for field in fields(record):
        value, wanted = getattr(record, field.name), str(field.type)
        if value is None and "None" in wanted:
            continue
        number: float = 0
        if wanted.startswith("str"):
            good, expected = isinstance(value, str) and bool(value), "a name"
        elif wanted.startswith("int"):
            good = isinstance(value, Integral) and not isinstance(value, bool)
            good = good and 0 <= value <= LARGEST  # type: ignore[operator]
            expected = f"a whole number from 0 to {LARGEST:g}"
            number = int(value) if good else 0  # type: ignore[arg-type]
        elif wanted.startswith("float"):
            positive = field.name.endswith(_POSITIVE)
            good = isinstance(value, Real) and not isinstance(value, bool)
            endless = good and value == math.inf and "limit" in field.name
            good = endless or (good and abs(value) <= largest)  # type: ignore[arg-type]
            good = good and (value >= 0 or not positive)  # type: ignore[operator]
            expected = f"a number of at most {largest:g}" + (", >= 0" if positive else "")
            number = float(value) if good else math.nan  # type: ignore[arg-type]
        else:
            continue
        if not good:
            raise ContractError(f"{field.name} of {kind} is {value!r}; expected {expected}.")
        if not wanted.startswith("str"):
            object.__setattr__(record, field.name, number)


def check_participant(name: str) -> None:
    """Raise `ContractError` if a name is one of the market's own accounts."""
    if name in RESERVED:
        raise ContractError(
            f"{name!r} is an account of the market; expected a participant, of another name than "
            f"{', '.join(RESERVED)}."
        )


def check_contract(contract: object, kind: type) -> None:
    """Raise `ContractError` unless a contract is of a kind."""
    if not isinstance(contract, kind):
        raise ContractError(f"got {contract!r}; expected a {kind.__name__} of `contracts`.")


def check_parties(kind: str, first: str, second: str) -> None:
    """Raise `ContractError` unless two different participants stand on the two sides."""
    if first == second:
        raise ContractError(
            f"{first!r} stands on both sides of a {kind}; expected two participants."
        )
    for name in (first, second):
        check_participant(name)


@dataclass(frozen=True)
class PriceFormula:
    """A price that moves with a condition measured at delivery, such as the temperature.

    price = base + min(max(slope * (condition - reference), low), high): the limits hold for what
    the condition adds, so that the sum of many contracts moves as one of their total volume.

    Attributes:
        base_eur_per_kwh: Price at the reference, EUR/kWh; may be negative.
        slope_eur_per_kwh: What a unit of the condition adds, EUR/kWh; 0 is a fixed price.
        reference: The condition at which nothing is added, in the condition's unit.
        low_eur_per_kwh: Least that may be added, EUR/kWh, <= 0; None is no limit.
        high_eur_per_kwh: Most that may be added, EUR/kWh, >= 0; None is no limit.

    Raises:
        ContractError: A number is not finite, or the limits exclude 0.
    """

    base_eur_per_kwh: float
    slope_eur_per_kwh: float = 0.0
    reference: float = 0.0
    low_eur_per_kwh: float | None = None
    high_eur_per_kwh: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.low_eur_per_kwh or 0.0) > 0.0 or (self.high_eur_per_kwh or 0.0) < 0.0:
            raise ContractError(
                f"the condition may add {self.low_eur_per_kwh} to {self.high_eur_per_kwh} EUR/kWh; "
                "expected a range that holds 0. Put what is always added into the base."
            )

    def supplement(self, condition: Any) -> Any:
        """What the condition adds to the base, EUR/kWh; a number or an array, as given."""
        added = self.slope_eur_per_kwh * (condition - self.reference)
        if self.low_eur_per_kwh is not None:
            added = _larger(added, self.low_eur_per_kwh)
        if self.high_eur_per_kwh is not None:
            added = -_larger(-added, -self.high_eur_per_kwh)
        return added

    def price(self, condition: float | None) -> float:
        """The price at delivery, EUR/kWh.

        Args:
            condition: What was measured; may be None if the price is fixed.

        Raises:
            ContractError: The price depends on a condition and none was measured.
        """
        if self.slope_eur_per_kwh == 0.0:
            return self.base_eur_per_kwh
        if condition is None or not math.isfinite(condition):
            raise ContractError(
                f"condition is {condition}; expected what was measured at delivery, since the "
                "price depends on it. Report it before contracts are settled."
            )
        return self.base_eur_per_kwh + float(self.supplement(condition))


def check_supplement(supplement: object) -> None:
    """Raise `ContractError` unless it is a formula without a base, which an auction finds."""
    check_contract(supplement, PriceFormula)
    if supplement.base_eur_per_kwh != 0.0:  # type: ignore[attr-defined]
        raise ContractError(
            f"the supplement {supplement} has a base; expected 0: the auction finds the base."
        )


def _larger(a: Any, b: float) -> Any:
    import numpy as np

    return np.maximum(a, b)


@dataclass(frozen=True)
class Forward:
    """A volume at a formula's price in a later period; both sides must.

    The buyer always gets the volume at that price. What the seller lacks it buys at the spot
    price, and the difference is the seller's.

    Attributes:
        id: Name of the contract.
        seller: Who delivers.
        buyer: Who takes and pays.
        delivery: Period of delivery and payment.
        volume_kwh: kWh, >= 0.
        formula: Its price.

    Raises:
        ContractError: A field is unusable, or both sides are one.
    """

    id: str
    seller: str
    buyer: str
    delivery: int
    volume_kwh: float
    formula: PriceFormula

    def __post_init__(self) -> None:
        check_fields(self)
        check_parties("forward", self.seller, self.buyer)
        check_contract(self.formula, PriceFormula)


@dataclass(frozen=True)
class Option:
    """The right, not the duty, to a volume at a strike price in a later period.

    The holder pays the premium at once. Up to and in the period of expiry it may exercise any
    part of the volume, in several steps; each step is a forward at the strike for the period of
    delivery. What is left then expires. A call is the right to buy from the writer, a put to sell
    to it.

    Attributes:
        id: Name of the contract.
        writer: Who must, if the holder wants.
        holder: Who may, and pays the premium.
        expiry: Last period in which it can be exercised.
        delivery: Period of delivery and payment, >= expiry.
        volume_kwh: kWh, >= 0.
        strike_eur_per_kwh: Price at delivery, EUR/kWh; may be negative.
        premium_eur_per_kwh: Price of the right, EUR/kWh of the whole volume, >= 0.
        kind: ``"call"`` or ``"put"``.

    Raises:
        ContractError: A field is unusable, both sides are one, or it expires after delivery.
    """

    id: str
    writer: str
    holder: str
    expiry: int
    delivery: int
    volume_kwh: float
    strike_eur_per_kwh: float
    premium_eur_per_kwh: float
    kind: str = "call"

    def __post_init__(self) -> None:
        check_fields(self)
        check_parties("option", self.writer, self.holder)
        if self.delivery < self.expiry:
            raise ContractError(
                f"the option expires in period {self.expiry}, after its delivery in "
                f"{self.delivery}; expected expiry <= delivery."
            )
        if self.premium_eur_per_kwh < 0:
            raise ContractError(
                f"the premium is {self.premium_eur_per_kwh} EUR/kWh; expected >= 0: a right "
                "without duty is worth something."
            )
        if self.kind not in KINDS:
            raise ContractError(f"kind is {self.kind!r}; expected one of {', '.join(KINDS)}.")

    @property
    def seller(self) -> str:
        """Who delivers if it is exercised."""
        return self.writer if self.kind == "call" else self.holder

    @property
    def buyer(self) -> str:
        """Who takes and pays if it is exercised."""
        return self.holder if self.kind == "call" else self.writer

    def exercised(self, id: str, volume_kwh: float) -> Forward:
        """The forward that a part becomes when it is exercised."""
        price = PriceFormula(self.strike_eur_per_kwh)
        return Forward(id, self.seller, self.buyer, self.delivery, volume_kwh, price)
