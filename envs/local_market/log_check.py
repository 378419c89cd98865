"""Whether a log is that of a clearing house: what it never writes is refused before it counts."""

from __future__ import annotations

from typing import NoReturn

from flexgym.envs.errors import ContractError
from flexgym.envs.local_market import messages as m
from flexgym.envs.local_market.clearing_house import ClearingHouse
from flexgym.envs.local_market.contracts import Forward


def check_message(house: ClearingHouse, message: m.Message) -> None:
    """Raise `ContractError` unless a message may come next on a clearing house's log.

    Accounts are the ledger's to check: who is unknown, pays beyond its limit or repays too much.

    Args:
        house: What the messages before have led to.
        message: The next.
    """
    if not isinstance(message, m.Message) or message.period != house.period:
        _refuse(message, f"a message of period {house.period}")
    match message:
        case m.OrderPosted(_, participant):
            house.ledger.check_known(participant)
        case m.ForwardStruck(_, forward):
            house.ledger.check_known(forward.seller, forward.buyer)
            if house.knows(forward.id) or forward.delivery <= house.period:
                _refuse(message, "a new name and a later delivery")
        case m.OptionSold(_, option):
            late = option.expiry < house.period or option.delivery <= house.period
            if house.knows(option.id) or late:
                _refuse(message, "a new name, and neither expired nor delivered")
        case m.OptionExercised(_, id, forward):
            option = house.options.get(id)
            if option is None or forward.volume_kwh > house.left_kwh[id]:
                _refuse(message, "a right that is there and as much as is left of it")
            of_right = option.exercised(house.step_of(id), forward.volume_kwh)
            if forward != of_right or (option.delivery == house.period and house.settled):
                _refuse(message, f"{of_right}, before deliveries are settled")
        case m.OptionExpired(_, id, volume):
            option = house.options.get(id)
            if option is None or option.expiry > house.period or volume != house.left_kwh[id]:
                _refuse(message, "a right that ends now, and what is left of it")
        case m.Delivered(_, id, seller, buyer, volume, price):
            forward = _due(house, message, id)
            found = seller, buyer, price
            said = forward.seller, forward.buyer, forward.formula.price(house.condition)
            if found != said or volume > forward.volume_kwh:
                _refuse(message, f"a part of {forward}")
        case m.Shortfall(_, id, seller, buyer, _, volume, price):
            forward = _due(house, message, id)
            # What the seller has it delivers before.
            delivered = (x for x in reversed(house.log) if isinstance(x, m.Delivered))
            given = next((x.volume_kwh for x in delivered if x.contract == id), None)
            found = seller, buyer, price
            said = forward.seller, forward.buyer, forward.formula.price(house.condition)
            if found != said or given is None or volume != forward.volume_kwh - given:
                _refuse(message, f"what was not delivered of {forward}")
        case m.DeliveriesSettled() | m.PeriodClosed():
            due = [x.id for x in house.forwards.values() if x.delivery == house.period]
            if due:
                _refuse(message, f"{', '.join(due)} to be delivered before")


def _due(house: ClearingHouse, message: m.Message, id: str) -> Forward:
    forward = house.forwards.get(id)
    if forward is None or forward.delivery != house.period:
        _refuse(message, "a forward that is due in this period")
    return forward


def _refuse(message: object, expected: str) -> NoReturn:
    raise ContractError(
        f"the log holds {message!r}; expected {expected}. Rebuild from a log that a clearing house "
        "wrote, complete and in its order."
    )
