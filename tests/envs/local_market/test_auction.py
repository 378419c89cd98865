"""Auctions on the log: the source's example, contracts from orders, defaults, bad input."""

import numpy as np
import pytest

from flexgym.envs.errors import ContractError, OrderError
from flexgym.envs.local_market import messages as m
from flexgym.envs.local_market.auction import hold_auction
from flexgym.envs.local_market.clearing import clear
from flexgym.envs.local_market.clearing_house import ClearingHouse
from flexgym.envs.local_market.contracts import PriceFormula
from flexgym.envs.local_market.orders import Book
from flexgym.envs.local_market.params import RULES

SELLERS = {"s20": (0.20, 5.0), "s30": (0.30, 20.0), "s45": (0.45, 5.0), "s55": (0.55, 10.0)}
BUYERS = {"b50": (0.50, 10.0), "b60": (0.60, 10.0)}


def house_of(book, **limits):
    house = ClearingHouse()
    for name in book.names:
        house.join(name, limits.get(name, float("inf")))
    house.quote(0.8, 0.05)
    return house


@pytest.mark.parametrize("rule", RULES)
def test_the_source_s_example_on_the_log(rule):
    book = Book.of(sellers=SELLERS, buyers=BUYERS)
    house = house_of(book)
    assert hold_auction(house, book, rule=rule) == pytest.approx(20.0)
    trades = [x for x in house.log if isinstance(x, m.SpotTraded)]
    if rule == "pay-as-bid":
        # the higher bid takes the cheapest first, and each pays what the seller asks
        assert {(x.buyer, x.seller, x.volume_kwh, x.price_eur_per_kwh) for x in trades} == {
            ("b60", "s20", 5.0, 0.20), ("b60", "s30", 5.0, 0.30), ("b50", "s30", 10.0, 0.30),
        }  # fmt: skip
    traded, paid = clear(book.price_eur_per_kwh, book.volume_kwh, rule)
    for k, name in enumerate(book.names):
        assert house.ledger.cash_eur[name] == pytest.approx(-paid[0, k])
        assert house.ledger.energy_kwh[name] == pytest.approx(traded[0, k])
    orders = [x for x in house.log if isinstance(x, m.OrderPosted)]
    assert [(x.participant, x.signed_kwh) for x in orders] == list(
        zip(book.names, book.volume_kwh.tolist(), strict=True)
    )
    assert house.log[-1] == m.PricePublished(0, "spot", 20.0, 0.30, 0.30)


def test_orders_become_contracts_and_these_are_settled():
    book = Book.of(sellers={"ann": (0.1, 4.0), "bob": (0.2, 4.0)}, buyers={"cem": (0.3, 6.0)})
    house = house_of(book)
    supplement = PriceFormula(0.0, 0.01, 10.0)
    hold_auction(house, book, "forward", delivery=1, supplement=supplement)
    premiums = Book.of(sellers={"ann": (0.01, 2.0)}, buyers={"cem": (0.03, 2.0)})
    hold_auction(house, premiums, "option", delivery=1, strike_eur_per_kwh=0.4)
    assert house.ledger.cash_eur["ann"] == pytest.approx(2 * 0.02)
    house.close({})
    house.measure(12.0)
    (option,) = house.options
    house.exercise(option, "cem", 1.5)
    house.settle({"ann": 9.0, "bob": 9.0})
    price = 0.20 + 0.02  # bob, who has some left, sets the price; the weather adds 2 ct
    energy = house.ledger.energy_kwh
    assert (energy["ann"], energy["bob"], energy["cem"]) == pytest.approx((-5.5, -2.0, 7.5))
    owed = 6.0 * price + 1.5 * 0.4 + 2 * 0.02
    assert house.ledger.cash_eur["cem"] == pytest.approx(-owed)
    assert ClearingHouse.rebuild(m.read_log(m.write_log(house.log))).ledger == house.ledger


def test_who_defaults_in_an_auction_keeps_to_its_orders_and_enters_no_other():
    book = Book.of(sellers={"ann": (0.1, 1.0), "bob": (0.1, 1.0)}, buyers={"cem": (0.2, 2.0)})
    house = house_of(book, cem=0.05)
    hold_auction(house, book, "option", delivery=2, strike_eur_per_kwh=0.3)
    assert len(house.options) == 2
    assert house.ledger.owed_eur["cem"] > 0.0
    before = len(house.log)
    with pytest.raises(ContractError, match="owes the guarantee"):
        hold_auction(house, book, "forward", delivery=2)
    assert len(house.log) == before
    hold_auction(house, book)  # energy it needs it may still buy


def test_an_empty_side_publishes_an_open_interval():
    book = Book.of(sellers={}, buyers={"ann": (0.3, 1.0)})
    house = house_of(book)
    assert hold_auction(house, book) == 0.0
    last = house.log[-1]
    assert isinstance(last, m.PricePublished)
    assert None in (last.low_eur_per_kwh, last.high_eur_per_kwh)
    assert m.from_json(m.to_json(last)) == last


def test_bad_auctions_change_nothing():
    book = Book.of(sellers={"ann": (0.1, 1.0)}, buyers={"bob": (0.2, 1.0)})
    house = house_of(book)
    before = len(house.log)
    negative = Book(("ann", "bob"), np.array([-0.1, 0.1]), np.array([-1.0, 1.0]))
    for call in (
        {"product": "swap"}, {"product": "forward"}, {"product": "forward", "delivery": 0},
        {"delivery": 1}, {"product": "option", "delivery": 1}, {"strike_eur_per_kwh": 0.2},
        {"product": "forward", "delivery": 1, "strike_eur_per_kwh": 0.2},
    ):  # fmt: skip
        with pytest.raises(ContractError, match="expected"):
            hold_auction(house, book, **call)
    with pytest.raises(ContractError, match="premium is negative"):
        hold_auction(house, negative, "option", delivery=1, strike_eur_per_kwh=0.2)
    with pytest.raises(OrderError):
        hold_auction(house, book, rule="lottery")
    with pytest.raises(ContractError, match="unknown"):
        hold_auction(house, Book.of(sellers={"dia": (0.1, 1.0)}, buyers={"bob": (0.2, 1.0)}))
    assert len(house.log) == before
    hold_auction(house, negative)  # energy may have a negative price
    assert house.ledger.cash_eur["ann"] == pytest.approx(-house.ledger.cash_eur["bob"])
