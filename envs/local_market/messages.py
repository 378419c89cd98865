"""What passes between the four levels of interaction of the source, as frozen messages.

Generation, market, grid and user; ``source`` and ``target`` of each type say from where to where.
A market's ledger, contracts and ratings follow from its messages alone (`ClearingHouse.rebuild`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from flexgym.envs.errors import ContractError
from flexgym.envs.local_market.contracts import (
    Forward,
    Option,
    PriceFormula,
    check_contract,
    check_fields,
    check_participant,
    check_parties,
)
from flexgym.envs.local_market.params import LARGEST

VERSION = 1
FORMAT = "flexgym.local-market-message"
GENERATION, MARKET, GRID, USER = LEVELS = ("generation", "market", "grid", "user")
PRODUCTS = ("spot", "forward", "option")
_SUM = LARGEST**3
"""Largest sum of products of prices and volumes, in messages that do not come from outside."""


@dataclass(frozen=True)
class Message:
    """What all have.

    Attributes:
        period: When it was sent, >= 0.

    Raises:
        ContractError: A field is unusable.
    """

    source: ClassVar[str] = MARKET
    target: ClassVar[str] = MARKET
    largest: ClassVar[float] = LARGEST
    period: int

    def __post_init__(self) -> None:
        check_fields(self)
        participant = getattr(self, "participant", None)
        if participant is not None:
            check_participant(participant)


@dataclass(frozen=True)
class ParticipantJoined(Message):
    """Somebody opens an account; its cash may fall to minus the limit."""

    source, target, largest = USER, MARKET, _SUM
    participant: str
    credit_limit_eur: float


@dataclass(frozen=True)
class TariffQuoted(Message):
    """What the utility asks for what is missing in a period, and pays for what is left over."""

    source, target = GENERATION, MARKET
    retail_eur_per_kwh: float
    feed_in_eur_per_kwh: float


@dataclass(frozen=True)
class ConditionMeasured(Message):
    """What sensors say of the condition that contract prices depend on."""

    source, target = GRID, MARKET
    condition: float


@dataclass(frozen=True)
class OrderPosted(Message):
    """What somebody wants: a positive volume buys, a negative one sells."""

    source, target = USER, MARKET
    participant: str
    product: str
    signed_kwh: float
    price_eur_per_kwh: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.product not in PRODUCTS:
            raise ContractError(f"product is {self.product!r}; expected one of {PRODUCTS}.")


@dataclass(frozen=True)
class PricePublished(Message):
    """What everybody learns of a cleared product: volume and interval of equilibrium prices.

    An end of the interval is None where a side of the book is empty.
    """

    source, target, largest = MARKET, USER, _SUM
    product: str
    volume_kwh: float
    low_eur_per_kwh: float | None
    high_eur_per_kwh: float | None

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.low_eur_per_kwh, self.high_eur_per_kwh
        if low is not None and high is not None and low > high:
            raise ContractError(
                f"prices from {low} to {high} EUR/kWh are none; expected low <= high."
            )


@dataclass(frozen=True)
class SpotTraded(Message):
    """Energy of this period changes hands for money."""

    source, target = MARKET, GRID
    seller: str
    buyer: str
    volume_kwh: float
    price_eur_per_kwh: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_parties("trade", self.seller, self.buyer)


@dataclass(frozen=True)
class ForwardStruck(Message):
    """Two agree on a delivery in a later period; nothing is paid yet."""

    source, target = MARKET, USER
    forward: Forward

    def __post_init__(self) -> None:
        super().__post_init__()
        check_contract(self.forward, Forward)


@dataclass(frozen=True)
class OptionSold(Message):
    """A right changes hands for its premium."""

    source, target = MARKET, USER
    option: Option

    def __post_init__(self) -> None:
        super().__post_init__()
        check_contract(self.option, Option)


@dataclass(frozen=True)
class OptionExercised(Message):
    """A holder uses a part of its right; from now on the forward stands."""

    source, target = USER, MARKET
    option: str
    forward: Forward

    def __post_init__(self) -> None:
        super().__post_init__()
        check_contract(self.forward, Forward)


@dataclass(frozen=True)
class OptionExpired(Message):
    """What was not exercised is gone."""

    source, target = MARKET, USER
    option: str
    volume_kwh: float


@dataclass(frozen=True)
class Delivered(Message):
    """A seller had what it promised in a forward, and is paid for it."""

    source, target = GRID, MARKET
    contract: str
    seller: str
    buyer: str
    volume_kwh: float
    price_eur_per_kwh: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_parties("delivery", self.seller, self.buyer)


@dataclass(frozen=True)
class Shortfall(Message):
    """A seller lacked what it promised: it buys at spot from ``supplier``; the buyer gets it.

    The supplier is the utility or a third participant.
    """

    source, target = GRID, MARKET
    contract: str
    seller: str
    buyer: str
    supplier: str
    volume_kwh: float
    price_eur_per_kwh: float
    spot_eur_per_kwh: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_parties("delivery", self.seller, self.buyer)
        if self.supplier != "utility":
            check_participant(self.supplier)
        if self.supplier in (self.seller, self.buyer):
            raise ContractError(
                f"{self.supplier!r} is to supply what {self.seller!r} owes {self.buyer!r}; "
                "expected the utility or a third participant."
            )


@dataclass(frozen=True)
class DeliveriesSettled(Message):
    """All contracts that were due in the period are settled; none can be exercised for it."""

    source, target = GRID, MARKET


@dataclass(frozen=True)
class Metered(Message):
    """What a meter shows for a period: consumption less production, negative for a surplus."""

    source, target = GRID, MARKET
    participant: str
    net_load_kwh: float


@dataclass(frozen=True)
class UtilitySettled(Message):
    """The rest of a period at the utility's tariff; a positive amount is bought from it."""

    source, target, largest = MARKET, GENERATION, _SUM
    participant: str
    bought_kwh: float
    price_eur_per_kwh: float


@dataclass(frozen=True)
class FeePaid(Message):
    """What the network gets for carrying a trade to the next level."""

    source, target, largest = MARKET, GRID, _SUM
    participant: str
    fee_eur: float


@dataclass(frozen=True)
class Defaulted(Message):
    """Somebody cannot pay what is due now; the guarantee lends it what is missing."""

    source, target, largest = MARKET, USER, _SUM
    participant: str
    missing_eur: float


@dataclass(frozen=True)
class DebtRepaid(Message):
    """Somebody pays back to the guarantee as soon as its cash is positive."""

    source, target, largest = MARKET, USER, _SUM
    participant: str
    repaid_eur: float


@dataclass(frozen=True)
class PeriodClosed(Message):
    """Everything of a period is settled."""

    source, target = MARKET, USER


MESSAGES: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        ParticipantJoined, TariffQuoted, ConditionMeasured, OrderPosted, PricePublished, SpotTraded,
        ForwardStruck, OptionSold, OptionExercised, OptionExpired, Delivered, Shortfall,
        DeliveriesSettled, Metered, UtilitySettled, FeePaid, Defaulted, DebtRepaid, PeriodClosed,
    )
}  # fmt: skip
"""Every type by name."""


def to_json(message: Message) -> str:
    """Object with format, version, kind and the fields; an infinite limit is null."""
    body = {key: None if value == float("inf") else value for key, value in asdict(message).items()}
    kind = type(message).__name__
    return json.dumps({"format": FORMAT, "version": VERSION, "kind": kind, **body}, allow_nan=False)


def from_json(text: str) -> Message:
    """The message that `to_json` wrote.

    Raises:
        ContractError: It is no such text, of another version, or a field is missing or unusable.
    """
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ContractError(
            f"got text that is no JSON ({error}); expected that of to_json."
        ) from None
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise ContractError(f"got JSON of another format; expected an object of format {FORMAT!r}.")
    version, kind = found.pop("version", None), found.pop("kind", None)
    if type(version) is not int or version != VERSION or str(kind) not in MESSAGES:
        raise ContractError(
            f"got a {kind!r} of version {version}; expected one of {', '.join(MESSAGES)} of "
            f"version {VERSION}. Read it with the flexgym that wrote it."
        )
    try:
        return MESSAGES[str(kind)](**{key: _field(key, value) for key, value in found.items()})
    except (TypeError, KeyError, AttributeError) as error:
        raise ContractError(f"got a {kind} with other fields than expected ({error}).") from None


def _field(name: str, value: Any) -> Any:
    if name == "credit_limit_eur" and value is None:
        return float("inf")
    if not isinstance(value, dict):
        return value
    if name == "forward":
        return Forward(**{**value, "formula": PriceFormula(**value["formula"])})
    return Option(**value)


def write_log(messages: Iterable[Message]) -> str:
    """Messages one a line."""
    return "".join(to_json(message) + "\n" for message in messages)


def read_log(text: str) -> list[Message]:
    """The messages of `write_log`; see `from_json` for errors."""
    return [from_json(line) for line in text.splitlines()]
