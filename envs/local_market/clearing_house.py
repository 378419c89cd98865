"""The clearing house: keeps the contracts of one market, settles them, and logs every message.

The vectorised twin for the environment is `contract_book`; this one is for single markets, where
every contract has a name and a history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flexgym.envs.errors import ContractError
from flexgym.envs.local_market import messages as m
from flexgym.envs.local_market.contracts import (
    Forward,
    Option,
    check_contract,
    check_participant,
    check_parties,
)
from flexgym.envs.local_market.ledger import Ledger, outflows, rounding_eur
from flexgym.envs.local_market.params import LARGEST
from flexgym.envs.local_market.rating import Rating, Ratings

_ROUNDING = 1e-9


class ClearingHouse:
    """Contracts, ledger and ratings of one market, period by period.

    A period: tariff and condition become known, contracts are struck and exercised, `settle`
    delivers those that are due, spot trades follow, `close` settles the rest with the utility.

    Who cannot pay within its credit limit defaults: the guarantee account lends what is missing,
    so that nobody else loses, its rating falls, it may enter no new forward or option, and what
    it later has in cash goes to the guarantee until nothing is owed. At spot it may buy no dearer
    and pay for giving energy away no more than the utility's tariff, at which it would settle
    anyway; so who owes cannot trade at the guarantee's expense.

    A call that is refused leaves everything as it was.

    Attributes:
        period: The present one.
        log: Every message so far.
        ledger: Accounts.
        forwards: Those not yet settled, by id.
        options: Those that can still be exercised, by id.
        left_kwh: Volume of each that has not been exercised, kWh.
    """

    def __init__(self) -> None:
        self.period = 0
        self.log: list[m.Message] = []
        self.ledger = Ledger()
        self.forwards: dict[str, Forward] = {}
        self.options: dict[str, Option] = {}
        self.left_kwh: dict[str, float] = {}
        self._ratings = Ratings()
        self._names: set[str] = set()
        self._tariff: m.TariffQuoted | None = None
        self._condition: float | None = None
        self._settled = False
        self._steps: dict[str, int] = {}

    @classmethod
    def rebuild(cls, messages: Iterable[m.Message]) -> ClearingHouse:
        """The clearing house that a log leads to: same accounts, contracts and ratings.

        Raises:
            ContractError: The log is not that of a clearing house.
        """
        from flexgym.envs.local_market.log_check import check_message

        house = cls()
        for message in messages:
            check_message(house, message)  # type: ignore[arg-type]
            house._record(message)
        return house

    def knows(self, id: str) -> bool:
        """Whether there is or was a contract of this name."""
        return id in self._names

    @property
    def condition(self) -> float | None:
        """What was measured of the condition in this period."""
        return self._condition

    @property
    def settled(self) -> bool:
        """Whether the deliveries of this period are settled."""
        return self._settled

    def step_of(self, option: str) -> str:
        """Name of the forward that an option's next exercise makes."""
        return f"{option}/{self._steps.get(option, 0) + 1}"

    @property
    def ratings(self) -> dict[str, Rating]:
        """By participant."""
        return self._ratings.of

    def join(self, participant: str, credit_limit_eur: float = float("inf")) -> None:
        """Open an account.

        Raises:
            ContractError: The name is taken or the limit is negative.
        """
        self._record(m.ParticipantJoined(self.period, participant, credit_limit_eur))

    def quote(self, retail_eur_per_kwh: float, feed_in_eur_per_kwh: float) -> None:
        """The utility's tariff, from now on."""
        self._record(m.TariffQuoted(self.period, retail_eur_per_kwh, feed_in_eur_per_kwh))

    def measure(self, condition: float) -> None:
        """The condition that contract prices depend on, in this period."""
        self._record(m.ConditionMeasured(self.period, condition))

    def post(self, participant: str, product: str, signed_kwh: float, price: float) -> None:
        """Note an order, EUR/kWh; clearing itself is not done here."""
        self.ledger.check_known(participant)
        self._record(m.OrderPosted(self.period, participant, product, signed_kwh, price))

    def publish(
        self, product: str, volume_kwh: float, low: float | None, high: float | None
    ) -> None:
        """Tell everybody what was cleared and the interval of equilibrium prices, EUR/kWh."""
        self._record(m.PricePublished(self.period, product, volume_kwh, low, high))

    def trade(
        self,
        seller: str,
        buyer: str,
        volume_kwh: float,
        price_eur_per_kwh: float,
        *,
        ordered: bool = False,
    ) -> None:
        """A spot trade.

        Args:
            seller: Who gives the energy.
            buyer: Who gets it.
            volume_kwh: kWh, >= 0.
            price_eur_per_kwh: EUR/kWh.
            ordered: Whether `check_spot` was asked when both ordered it, so that who defaults in
                the same auction keeps to what it ordered.

        Raises:
            ContractError: A party is unknown, on both sides, or owes the guarantee and pays more
                than the utility's tariff; or a number is unusable.
        """
        message = m.SpotTraded(self.period, seller, buyer, volume_kwh, price_eur_per_kwh)
        self.ledger.check_known(seller, buyer)
        if not ordered:
            self.check_spot(buyer, 1.0, message.price_eur_per_kwh)
            self.check_spot(seller, -1.0, message.price_eur_per_kwh)
        self._pay(message)

    def check_spot(self, participant: str, sign: float, price_eur_per_kwh: float) -> None:
        """Raise `ContractError` if somebody owes the guarantee and pays more than the tariff.

        Args:
            participant: Who.
            sign: Above 0 buys, below sells.
            price_eur_per_kwh: What it pays at most, or gets at least.
        """
        if self.ledger.owed_eur[participant] <= _ROUNDING:
            return
        tariff = self._known_tariff()
        least, most = min(tariff.feed_in_eur_per_kwh, 0.0), tariff.retail_eur_per_kwh
        if (price_eur_per_kwh > most) if sign > 0.0 else (price_eur_per_kwh < least):
            raise ContractError(
                f"{participant} owes the guarantee and would trade at {price_eur_per_kwh} EUR/kWh; "
                f"expected at most {most} to buy and at least {least} to sell, as the utility "
                "does. Let it earn and repay first."
            )

    def charge(self, participant: str, fee_eur: float) -> None:
        """A fee to the network, EUR."""
        self._pay(m.FeePaid(self.period, participant, fee_eur))

    def strike(self, forward: Forward, *, ordered: bool = False) -> None:
        """Enter a forward.

        Args:
            forward: Its terms.
            ordered: Whether `check_free` was asked when both ordered it, so that who defaults in
                the same auction keeps to what it ordered.

        Raises:
            ContractError: A party is unknown or owes the guarantee, the name is taken, or the
                period of delivery is not in the future.
        """
        check_contract(forward, Forward)
        self._check_new(forward.id, ordered, forward.seller, forward.buyer)
        if forward.delivery <= self.period:
            raise ContractError(
                f"forward {forward.id!r} is to be delivered in period {forward.delivery}, now is "
                f"{self.period}; expected a later one. Trade at spot instead."
            )
        self._record(m.ForwardStruck(self.period, forward))

    def sell(self, option: Option, *, ordered: bool = False) -> None:
        """Sell an option; its premium is paid now.

        Args:
            option: Its terms.
            ordered: As for `strike`.

        Raises:
            ContractError: As for `strike`, or it has expired already.
        """
        check_contract(option, Option)
        self._check_new(option.id, ordered, option.writer, option.holder)
        if option.expiry < self.period or option.delivery <= self.period:
            raise ContractError(
                f"option {option.id!r} expires in period {option.expiry} for delivery in "
                f"{option.delivery}, now is {self.period}; expected expiry now or later and a "
                "later delivery."
            )
        self._pay(m.OptionSold(self.period, option))

    def exercise(self, id: str, holder: str, volume_kwh: float) -> Forward:
        """Use a right or a part of it.

        Returns:
            The forward it becomes.

        Raises:
            ContractError: There is no such option or it has expired, somebody else holds it,
                less is left, or deliveries of its period have been settled.
        """
        option = self.options.get(id) if isinstance(id, str) else None
        if option is None:
            named = isinstance(id, str) and id in self._names
            known = "has expired or was used up" if named else "does not exist"
            raise ContractError(
                f"option {id!r} {known}; expected one of {', '.join(self.options) or '(none)'}."
            )
        if holder != option.holder:
            raise ContractError(
                f"{holder!r} wants to exercise {id!r}; expected its holder {option.holder!r}."
            )
        if not 0.0 <= _number("volume_kwh", volume_kwh) <= self.left_kwh[id]:
            raise ContractError(
                f"{volume_kwh} kWh of option {id!r} are to be exercised; expected 0 to "
                f"{self.left_kwh[id]}, what is left."
            )
        if option.delivery == self.period and self._settled:
            raise ContractError(
                f"deliveries of period {self.period} are settled; expected option {id!r} to be "
                "exercised before. Call exercise, then settle."
            )
        forward = option.exercised(self.step_of(id), volume_kwh)
        self._record(m.OptionExercised(self.period, id, forward))
        return forward

    def settle(
        self,
        available_kwh: Mapping[str, float],
        spot_eur_per_kwh: float | None = None,
        supplier: str = "utility",
    ) -> None:
        """Deliver the forwards that are due; what sellers lack they buy at spot.

        A seller can deliver what it has and what other forwards bring it in this period, contract
        by contract in their order.

        Args:
            available_kwh: Energy that sellers have to deliver, kWh, >= 0; nothing if not named.
            spot_eur_per_kwh: Price of what they lack; None is the utility's retail tariff.
            supplier: Who sells it to them: the utility or a third participant.

        Raises:
            ContractError: Somebody is unknown, no tariff is known, the condition is missing, a
                number is unusable, or the supplier is a party of what falls short.
        """
        available = _numbers("available_kwh", available_kwh)
        self.ledger.check_known(supplier, *available)
        if supplier != "utility":
            check_participant(supplier)
        due = [x for x in self.forwards.values() if x.delivery == self.period]
        if spot_eur_per_kwh is None:
            spot_eur_per_kwh = self._known_tariff().retail_eur_per_kwh
        spot = _number("spot_eur_per_kwh", spot_eur_per_kwh)
        prices = [forward.formula.price(self._condition) for forward in due]
        has = dict.fromkeys(self.ledger.participants, 0.0)
        for name, kwh in available.items():
            if kwh < 0.0:
                raise ContractError(f"{name} has {kwh} kWh to deliver; expected a number >= 0.")
            has[name] = kwh
        for forward in due:
            has[forward.buyer] += forward.volume_kwh
        # All of it is found usable before the first payment.
        messages: list[m.Message] = []
        for forward, price in zip(due, prices, strict=True):
            of = self.period, forward.id, forward.seller, forward.buyer
            own = min(forward.volume_kwh, has[forward.seller])
            has[forward.seller] -= own
            messages.append(m.Delivered(*of, own, price))
            lacks = forward.volume_kwh - own
            if lacks > 0.0:
                messages.append(m.Shortfall(*of, supplier, lacks, price, spot))
        for message in messages:
            self._pay(message)
        self._record(m.DeliveriesSettled(self.period))

    def close(self, net_load_kwh: Mapping[str, float]) -> None:
        """End the period: meters are read, the utility settles the rest, options expire.

        Args:
            net_load_kwh: Consumption less production by participant, kWh; 0 if not named.

        Raises:
            ContractError: Somebody is unknown or no participant, a number is unusable, a forward
                that is due was not settled, or there is something to settle and no tariff.
        """
        loads = _numbers("net_load_kwh", net_load_kwh)
        self.ledger.check_known(*loads)
        for name in loads:
            check_participant(name)
        due = [x.id for x in self.forwards.values() if x.delivery == self.period]
        if due:
            raise ContractError(f"forwards {', '.join(due)} are due; expected settle before close.")
        messages: list[m.Message] = []
        for name in self.ledger.participants:
            load = loads.get(name, 0.0)
            rest = load - self.ledger.energy_kwh[name]
            if load != 0.0:
                messages.append(m.Metered(self.period, name, load))
            if abs(rest) > _ROUNDING:
                tariff = self._known_tariff()
                price = tariff.retail_eur_per_kwh if rest > 0 else tariff.feed_in_eur_per_kwh
                messages.append(m.UtilitySettled(self.period, name, rest, price))
        for message in messages:
            self._pay(message)
        for option in [x for x in self.options.values() if x.expiry <= self.period]:
            self._record(m.OptionExpired(self.period, option.id, self.left_kwh[option.id]))
        self._record(m.PeriodClosed(self.period))

    def _known_tariff(self) -> m.TariffQuoted:
        if self._tariff is None:
            raise ContractError("no tariff of the utility is known; expected quote before.")
        return self._tariff

    def _check_new(self, id: str, ordered: bool, *parties: str) -> None:
        check_parties("contract", *parties)
        self.ledger.check_known(*parties)
        if id in self._names:
            raise ContractError(f"there is a contract {id!r} already; expected a new name.")
        if not ordered:
            self.check_free(*parties)

    def check_free(self, *participants: str) -> None:
        """Raise `ContractError` if somebody owes the guarantee: it may enter no contract."""
        for name in participants:
            if self.ledger.owed_eur[name] > _ROUNDING:
                raise ContractError(
                    f"{name} owes the guarantee {self.ledger.owed_eur[name]:g} EUR; expected "
                    "nothing owed before it enters a contract. Let it earn and repay first."
                )

    def _pay(self, message: m.Message) -> None:
        """Record a payment, before it what cannot be paid and after it what can be repaid."""
        due = outflows(message)
        self.ledger.check_known(*due)
        for account, eur in due.items():
            missing = self.ledger.missing_eur(account, eur)
            if missing > rounding_eur(eur):
                self._record(m.Defaulted(self.period, account, missing))
        self._record(message)
        for name, owed in self.ledger.owed_eur.items():
            if owed > 0.0 and self.ledger.cash_eur[name] > 0.0:
                repaid = min(owed, self.ledger.cash_eur[name])
                self._record(m.DebtRepaid(self.period, name, repaid))

    def _record(self, message: m.Message) -> None:
        """The only place where anything changes."""
        self.ledger.apply(message)
        self._ratings.apply(message)
        match message:
            case m.TariffQuoted():
                self._tariff = message
            case m.ConditionMeasured(_, condition):
                self._condition = condition
            case m.ForwardStruck(_, forward):
                self._names.add(forward.id)
                self.forwards[forward.id] = forward
            case m.OptionSold(_, option):
                self._names.add(option.id)
                self.options[option.id] = option
                self.left_kwh[option.id] = option.volume_kwh
            case m.OptionExercised(_, id, forward):
                self.left_kwh[id] -= forward.volume_kwh
                self._steps[id] = self._steps.get(id, 0) + 1
                if forward.volume_kwh > 0.0:
                    self.forwards[forward.id] = forward
            case m.OptionExpired(_, id):
                del self.options[id], self.left_kwh[id]
            case m.Delivered(_, id, _, _, volume):
                if volume >= self.forwards[id].volume_kwh:
                    del self.forwards[id]
            case m.Shortfall(_, id):
                del self.forwards[id]
            case m.DeliveriesSettled():
                self._settled = True
            case m.PeriodClosed(period):
                self.period, self._condition, self._settled = period + 1, None, False
        self.log.append(message)


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if isinstance(value, str | bool) or not abs(number) <= LARGEST:
        raise ContractError(f"{name} is {value!r}; expected a number of at most {LARGEST:g}.")
    return number


def _numbers(name: str, values: Any) -> dict[str, float]:
    if not isinstance(values, Mapping):
        raise ContractError(f"{name} is {values!r}; expected numbers by participant.")
    return {key: _number(f"{name} of {key}", value) for key, value in values.items()}
