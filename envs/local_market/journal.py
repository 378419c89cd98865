"""The journal of a spot market's day: its messages, and the ledger and ratings that follow.

Contracts with names, credit and defaults are kept by `clearing_house`; the environment's own are
positions in a `contract_book` and have no messages.
"""

from __future__ import annotations

import numpy as np

from flexgym.envs.errors import ContractError
from flexgym.envs.local_market import messages as m
from flexgym.envs.local_market.clearing import pair_trades
from flexgym.envs.local_market.ledger import Ledger
from flexgym.envs.local_market.play import names
from flexgym.envs.local_market.rating import Rating, Ratings
from flexgym.envs.local_market.simulation import LocalMarketSimulation


class Journal:
    """Notes what one of the markets of a simulation does.

    Attributes:
        names: Participants.
        log: Messages so far.
        ledger: Accounts; of participants and utility, with whom the wholesaler is one, and the
            network.

    Args:
        market: Markets whose day has begun and which have no contracts.
        row: Which of them.

    Raises:
        ContractError: They have contracts, or there is no such row.
    """

    def __init__(self, market: LocalMarketSimulation, row: int = 0) -> None:
        if market.contracts is not None or not 0 <= row < market.n:
            raise ContractError(
                f"got row {row} of {market.n} markets, with contracts: "
                f"{market.contracts is not None}; expected one of them, without."
            )
        self.names = tuple(names(market.participants))
        self.log: list[m.Message] = []
        self.ledger, self._ratings = Ledger(), Ratings()
        self._market, self._row, self._noted = market, row, market.t - 1
        for name in self.names:
            self._write(m.ParticipantJoined(market.t, name, float("inf")))

    @property
    def ratings(self) -> dict[str, Rating]:
        """By participant."""
        return self._ratings.of

    def note(self) -> None:
        """Write down the hour that was just played, once after each step.

        Raises:
            ContractError: It is written down already, or one before it was left out.
        """
        market, row = self._market, self._row
        if market.t - 1 != self._noted + 1:
            raise ContractError(
                f"hour {market.t - 1} was played last and hour {self._noted} noted; expected to "
                "note every hour once. Call note after each step, and begin a journal a day."
            )
        self._noted += 1
        t, days, names = market.t - 1, market.days, self.names
        found, now = market.clearing, {k: x[row] for k, x in market.accounts.items()}
        tariff = days.import_eur_per_kwh[t, row], days.export_eur_per_kwh[t, row]
        self._write(m.TariffQuoted(t, *map(float, tariff)))
        self._write(m.ConditionMeasured(t, float(days.weather[t, row])))
        price, volume = (x[row] for x in market.posted)
        for i in np.flatnonzero(volume):
            self._write(m.OrderPosted(t, names[i], "spot", float(volume[i]), float(price[i])))
        for (node, _), (who, at, left) in zip(
            market.scenario.hierarchy.levels, found.books, strict=True
        ):
            kwh, eur = pair_trades(at[row], left[row], market.rule, market.position)
            for i, j in zip(*np.nonzero(kwh), strict=True):
                buyer, seller = names[who[i]], names[who[j]]
                unit = float(eur[i, j] / kwh[i, j])
                self._write(m.SpotTraded(t, seller, buyer, float(kwh[i, j]), unit))
            ends = found.interval[row, node]
            if np.isfinite(ends).all():
                matched = float(found.node_kwh[row, node])
                self._write(m.PricePublished(t, "spot", matched, *map(float, ends)))
        outside = zip(found.wholesale_kwh[row], found.wholesale_eur[row], strict=True)
        rest = zip(now["utility_kwh"], now["utility_eur"], strict=True)
        for i, trades in enumerate(zip(outside, rest, strict=True)):
            if found.fee_eur[row, i] > 0.0:
                self._write(m.FeePaid(t, names[i], float(found.fee_eur[row, i])))
            self._write(m.Metered(t, names[i], float(now["served_kwh"][i] - now["given_kwh"][i])))
            for kwh, eur in trades:
                if kwh != 0.0:
                    self._write(m.UtilitySettled(t, names[i], float(kwh), float(eur / kwh)))
        self._write(m.PeriodClosed(t))

    def _write(self, message: m.Message) -> None:
        self.ledger.apply(message)
        self._ratings.apply(message)
        self.log.append(message)
