"""What a participant's history says about it: number of transactions and success rate."""

from __future__ import annotations

from dataclasses import dataclass, field

from flexgym.envs.local_market import messages as m
from flexgym.envs.local_market.contracts import RESERVED
from flexgym.envs.local_market.ledger import outflows


@dataclass
class Rating:
    """History of one participant.

    The source asks for "number of transactions, transaction success rate and so on"; what counts
    as success is ours: to deliver what was promised, and to pay what was due.

    Attributes:
        trades: Spot trades, forwards and options of more than 0 kWh entered, on either side.
        promised_kwh: Volume it had to deliver in periods that are over, kWh.
        delivered_kwh: What it delivered of that itself, kWh.
        due_eur: What it had to pay, EUR.
        unpaid_eur: What the guarantee had to lend it, EUR.
    """

    trades: int = 0
    promised_kwh: float = 0.0
    delivered_kwh: float = 0.0
    due_eur: float = 0.0
    unpaid_eur: float = 0.0

    @property
    def success_rate(self) -> float:
        """Share delivered of what was promised times share paid of what was due, in [0, 1].

        Who has promised nothing and owed nothing has disappointed nobody: 1.
        """
        delivered = self.delivered_kwh / self.promised_kwh if self.promised_kwh > 0.0 else 1.0
        unpaid = self.unpaid_eur / self.due_eur if self.due_eur > 0.0 else 0.0
        return delivered * max(0.0, 1.0 - unpaid)


@dataclass
class Ratings:
    """Ratings of all participants, from messages alone."""

    of: dict[str, Rating] = field(default_factory=dict)

    def apply(self, message: m.Message) -> None:
        """Take note of a message that the ledger has accepted."""
        match message:
            case m.ParticipantJoined(_, name):
                self.of[name] = Rating()
            case m.SpotTraded(_, seller, buyer, volume):
                self._trade(volume, seller, buyer)
                self._deliver(seller, volume, volume)
            case m.ForwardStruck(_, forward):
                self._trade(forward.volume_kwh, forward.seller, forward.buyer)
            case m.OptionSold(_, option):
                self._trade(option.volume_kwh, option.writer, option.holder)
            case m.Delivered(_, _, seller, _, volume):
                self._deliver(seller, volume, volume)
            case m.Shortfall(_, _, seller, _, _, volume):
                self._deliver(seller, volume, 0.0)
            case m.Defaulted(_, name, missing):
                self.of[name].unpaid_eur += missing
        if not isinstance(message, m.Defaulted | m.DebtRepaid):
            for account, due in outflows(message).items():
                if account not in RESERVED:
                    self.of[account].due_eur += due

    def _trade(self, volume_kwh: float, *parties: str) -> None:
        for name in parties:
            self.of[name].trades += volume_kwh > 0.0

    def _deliver(self, seller: str, promised_kwh: float, delivered_kwh: float) -> None:
        self.of[seller].promised_kwh += promised_kwh
        self.of[seller].delivered_kwh += delivered_kwh
