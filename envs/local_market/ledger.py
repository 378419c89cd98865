"""Double-entry accounts of money and energy that follow from the market's messages alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from flexgym.envs.errors import ContractError
from flexgym.envs.local_market import messages as m
from flexgym.envs.local_market.contracts import RESERVED


def rounding_eur(amount_eur: float) -> float:
    """What may be missing of an amount because numbers are rounded, EUR."""
    return 1e-9 + 1e-12 * abs(amount_eur)


@dataclass(frozen=True)
class Posting:
    """Money and energy that go from one account to another; negative amounts go back.

    Attributes:
        giver: Account that is debited.
        taker: Account that is credited.
        eur: Money, EUR.
        kwh: Energy, kWh.
    """

    giver: str
    taker: str
    eur: float = 0.0
    kwh: float = 0.0


def postings(message: m.Message) -> tuple[Posting, ...]:
    """What a message moves; nothing for those that only inform."""
    match message:
        case m.SpotTraded(_, seller, buyer, volume, price):
            return Posting(buyer, seller, eur=volume * price), Posting(seller, buyer, kwh=volume)
        case m.OptionSold(_, option):
            premium = option.volume_kwh * option.premium_eur_per_kwh
            return (Posting(option.holder, option.writer, eur=premium),)
        case m.Delivered(_, _, seller, buyer, volume, price):
            return Posting(buyer, seller, eur=volume * price), Posting(seller, buyer, kwh=volume)
        case m.Shortfall(_, _, seller, buyer, supplier, volume, price, spot):
            return (
                Posting(seller, supplier, eur=volume * spot),
                Posting(buyer, seller, eur=volume * price),
                Posting(supplier, buyer, kwh=volume),
            )
        case m.Metered(_, participant, net_load):
            return (Posting(participant, "meters", kwh=net_load),)
        case m.UtilitySettled(_, participant, bought, price):
            return (
                Posting(participant, "utility", eur=bought * price),
                Posting("utility", participant, kwh=bought),
            )
        case m.FeePaid(_, participant, fee):
            return (Posting(participant, "network", eur=fee),)
        case m.Defaulted(_, participant, missing):
            return (Posting("guarantee", participant, eur=missing),)
        case m.DebtRepaid(_, participant, repaid):
            return (Posting(participant, "guarantee", eur=repaid),)
    return ()


def outflows(message: m.Message) -> dict[str, float]:
    """What accounts pay net because of a message, EUR > 0, by account."""
    net: dict[str, float] = {}
    for posting in postings(message):
        net[posting.giver] = net.get(posting.giver, 0.0) + posting.eur
        net[posting.taker] = net.get(posting.taker, 0.0) - posting.eur
    return {account: eur for account, eur in net.items() if eur > 0.0}


@dataclass
class Ledger:
    """Cash and energy of every account; both add up to zero at any time.

    An energy account holds what a participant was given, less what it gave and what its meter
    shows: it is back at zero at the end of every period.

    Attributes:
        cash_eur: Balance by account, EUR; a participant's never falls below minus its limit.
        energy_kwh: Balance by account, kWh; that of ``"meters"`` is what was used in all.
        credit_limit_eur: Limit by participant, EUR.
        owed_eur: What the guarantee account lent each participant, EUR.
    """

    cash_eur: dict[str, float] = field(default_factory=lambda: dict.fromkeys(RESERVED, 0.0))
    energy_kwh: dict[str, float] = field(default_factory=lambda: dict.fromkeys(RESERVED, 0.0))
    credit_limit_eur: dict[str, float] = field(default_factory=dict)
    owed_eur: dict[str, float] = field(default_factory=dict)

    @classmethod
    def rebuild(cls, messages: Iterable[m.Message]) -> Ledger:
        """The ledger that a log of messages leads to, bit by bit."""
        ledger = cls()
        for message in messages:
            ledger.apply(message)
        return ledger

    @property
    def participants(self) -> tuple[str, ...]:
        """Who has joined, in that order."""
        return tuple(self.credit_limit_eur)

    def missing_eur(self, account: str, due_eur: float) -> float:
        """What an account lacks to pay an amount, EUR; the market's own accounts lack nothing."""
        if account in RESERVED:
            return 0.0
        room = self.cash_eur[account] + self.credit_limit_eur[account]
        return max(0.0, due_eur - room)

    def apply(self, message: m.Message) -> None:
        """Post a message; nothing happens if it is refused.

        Raises:
            ContractError: It is no message, an account is unknown or joins twice, a payment
                exceeds a credit limit by more than rounding, or more is repaid than owed.
        """
        if not isinstance(message, m.Message):
            raise ContractError(f"got {message!r}; expected a message of the market.")
        if isinstance(message, m.ParticipantJoined):
            self._join(message)
            return
        entries = postings(message)
        for posting in entries:
            self.check_known(posting.giver, posting.taker)
        if not isinstance(message, m.DebtRepaid | m.Defaulted):
            self._check_credit(message)
        elif isinstance(message, m.Defaulted):
            self.owed_eur[message.participant] += message.missing_eur
        else:
            left = self.owed_eur[message.participant] - message.repaid_eur
            if left < -rounding_eur(message.repaid_eur):
                raise ContractError(
                    f"{message.participant} repays {message.repaid_eur} EUR; expected 0 to "
                    f"{self.owed_eur[message.participant]}, what it owes."
                )
            self.owed_eur[message.participant] = max(0.0, left)
        for posting in entries:
            self.cash_eur[posting.giver] -= posting.eur
            self.cash_eur[posting.taker] += posting.eur
            self.energy_kwh[posting.giver] -= posting.kwh
            self.energy_kwh[posting.taker] += posting.kwh

    def check_known(self, *accounts: str) -> None:
        """Raise `ContractError` unless all are accounts."""
        for account in accounts:
            if not isinstance(account, str) or account not in self.cash_eur:
                raise ContractError(
                    f"{account!r} is unknown; expected a participant that has joined, one of "
                    f"{', '.join(self.participants) or '(nobody yet)'}. Let it join first."
                )

    def _join(self, message: m.ParticipantJoined) -> None:
        name = message.participant
        if name in self.cash_eur:
            raise ContractError(f"{name!r} is taken; expected a new name to join with.")
        self.cash_eur[name] = self.energy_kwh[name] = self.owed_eur[name] = 0.0
        self.credit_limit_eur[name] = message.credit_limit_eur

    def _check_credit(self, message: m.Message) -> None:
        for account, due in outflows(message).items():
            missing = self.missing_eur(account, due)
            if missing > rounding_eur(due):
                raise ContractError(
                    f"{account} lacks {missing:g} EUR of {due:g} within its credit limit; expected "
                    "a Defaulted message before, by which the guarantee lends it."
                )

    @property
    def imbalance(self) -> tuple[float, float]:
        """Sum of all cash, EUR, and of all energy, kWh: zero, or money or energy was made."""
        return math.fsum(self.cash_eur.values()), math.fsum(self.energy_kwh.values())
