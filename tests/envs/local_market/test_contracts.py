"""Contracts by hand: what each pays, who stands in, and what is refused."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from flexgym.envs.errors import ContractError
from flexgym.envs.local_market import messages as m
from flexgym.envs.local_market.clearing_house import ClearingHouse
from flexgym.envs.local_market.contracts import Forward, Option, PriceFormula
from flexgym.envs.local_market.ledger import Ledger, postings

FIXED = PriceFormula(0.20)
FORWARD = Forward("f", "ann", "bob", 1, 10.0, FIXED)
OPTION = Option("o", "ann", "bob", 1, 1, 10.0, 0.25, 0.02)


def house(**limits):
    market = ClearingHouse()
    for name in ("ann", "bob", "cem"):
        market.join(name, limits.get(name, math.inf))
    market.quote(0.40, 0.08)
    return market


def cash(market, *names):
    return [round(market.ledger.cash_eur[name], 12) for name in names]


def test_a_forward_is_paid_at_delivery():
    market = house()
    market.strike(FORWARD)
    market.close({})
    assert cash(market, "ann", "bob") == [0.0, 0.0]
    market.settle({"ann": 12.0})
    assert cash(market, "ann", "bob") == [2.0, -2.0]
    market.close({"ann": -12.0, "bob": 10.0})
    # ann's other two kWh go to the utility
    assert cash(market, "ann", "bob", "utility") == [2.16, -2.0, -0.16]
    assert market.ratings["ann"].success_rate == 1.0
    assert market.ratings["ann"].trades == market.ratings["bob"].trades == 1


@pytest.mark.parametrize(
    ("condition", "price"), [(10.0, 0.20), (0.0, 0.25), (-20.0, 0.26), (25.0, 0.17)]
)
def test_a_formula_s_price_follows_the_condition_within_its_limits(condition, price):
    terms = PriceFormula(0.20, -0.005, 10.0, -0.03, 0.06)
    assert terms.price(condition) == pytest.approx(price)
    np.testing.assert_allclose(terms.supplement(np.array([condition])), [price - 0.20])
    market = house()
    market.strike(replace(FORWARD, formula=terms))
    market.close({})
    with pytest.raises(ContractError, match="condition is None"):
        market.settle({"ann": 10.0})
    market.measure(condition)
    market.settle({"ann": 10.0})
    assert market.ledger.cash_eur["ann"] == pytest.approx(10.0 * price)


def test_a_shortfall_is_bought_at_spot_and_the_difference_is_the_seller_s():
    market = house()
    market.strike(FORWARD)
    market.close({})
    market.settle({"ann": 4.0}, 0.35, supplier="cem")
    # bob pays 10 kWh at 0.20; ann pays cem 6 kWh at 0.35
    assert cash(market, "ann", "bob", "cem") == [-0.1, -2.0, 2.1]
    energy = market.ledger.energy_kwh
    assert (energy["ann"], energy["bob"], energy["cem"]) == (-4.0, 10.0, -6.0)
    assert market.ratings["ann"].success_rate == pytest.approx(0.4)
    assert market.ratings["cem"].success_rate == 1.0


def test_what_one_buys_it_can_deliver_in_the_same_period():
    market = house()
    market.strike(FORWARD)
    market.strike(Forward("g", "bob", "cem", 1, 7.0, PriceFormula(0.30)))
    market.close({})
    market.settle({"ann": 10.0})
    assert not any(isinstance(message, m.Shortfall) for message in market.log)
    assert cash(market, "ann", "bob", "cem") == [2.0, 0.1, -2.1]


@pytest.mark.parametrize("kind", ["call", "put"])
def test_an_option_is_a_right_in_parts_and_without_duty(kind):
    market = house()
    market.sell(replace(OPTION, kind=kind))
    assert cash(market, "ann", "bob") == [0.2, -0.2]
    market.exercise("o", "bob", 3.0)
    market.close({})
    market.exercise("o", "bob", 4.0)
    with pytest.raises(ContractError, match=r"expected 0 to 3\.0"):
        market.exercise("o", "bob", 3.5)
    market.settle({"ann": 9.0, "bob": 9.0})
    market.close({})
    paid = 7.0 * 0.25 * (1 if kind == "call" else -1)
    taken = [x for x in market.log if isinstance(x, m.Delivered)]
    assert [x.volume_kwh for x in taken] == [3.0, 4.0]
    assert {x.seller for x in taken} == {"ann" if kind == "call" else "bob"}
    deals = [x for x in market.log if not isinstance(x, m.UtilitySettled)]
    ledger = Ledger.rebuild(deals)
    assert ledger.cash_eur["ann"] == pytest.approx(0.2 + paid)
    assert market.log[-2] == m.OptionExpired(1, "o", 3.0)


def test_an_option_ends_with_its_expiry():
    market = house()
    market.sell(replace(OPTION, expiry=0))
    market.close({})
    with pytest.raises(ContractError, match="has expired"):
        market.exercise("o", "bob", 1.0)
    with pytest.raises(ContractError, match="does not exist"):
        market.exercise("x", "bob", 1.0)


def test_what_is_settled_cannot_be_exercised_any_more():
    market = house()
    market.sell(OPTION)
    market.strike(FORWARD)
    market.close({})
    market.exercise("o", "bob", 1.0)
    market.settle({"ann": 20.0})
    with pytest.raises(ContractError, match="exercised before"):
        market.exercise("o", "bob", 1.0)
    market.close({})
    assert market.log[-2] == m.OptionExpired(1, "o", 9.0)


def test_a_default_costs_nobody_but_the_one_who_defaults():
    market = house(bob=1.0)
    market.strike(FORWARD)
    market.close({})
    market.settle({"ann": 10.0})
    assert cash(market, "ann", "bob", "guarantee") == [2.0, -1.0, -1.0]
    assert market.ledger.owed_eur["bob"] == pytest.approx(1.0)
    assert market.ratings["bob"].success_rate == pytest.approx(0.5)
    with pytest.raises(ContractError, match="owes the guarantee"):
        market.strike(Forward("g", "cem", "bob", 3, 1.0, FIXED))
    market.trade("bob", "cem", 5.0, 0.5)  # cash 1.5, of which 1 is owed
    assert cash(market, "bob", "cem", "guarantee") == [0.5, -2.5, 0.0]
    market.strike(Forward("g", "cem", "bob", 3, 1.0, FIXED))


def test_a_negative_price_is_paid_by_the_seller():
    market = house(ann=0.0)
    market.trade("ann", "bob", 10.0, -0.05)
    assert cash(market, "ann", "bob", "guarantee") == [0.0, 0.5, -0.5]
    assert market.ledger.owed_eur["ann"] == pytest.approx(0.5)


def test_every_message_moves_what_it_says():
    """Postings of all kinds by hand: (account, EUR, kWh)."""
    moved = {
        m.SpotTraded(0, "ann", "bob", 2.0, 0.3): {"ann": (0.6, -2.0), "bob": (-0.6, 2.0)},
        m.OptionSold(0, OPTION): {"ann": (0.2, 0.0), "bob": (-0.2, 0.0)},
        m.Delivered(0, "f", "ann", "bob", 2.0, 0.3): {"ann": (0.6, -2.0), "bob": (-0.6, 2.0)},
        m.Shortfall(0, "f", "ann", "bob", "utility", 2.0, 0.3, 0.4): {
            "ann": (-0.2, 0.0), "bob": (-0.6, 2.0), "utility": (0.8, -2.0)
        },
        m.Metered(0, "ann", -3.0): {"ann": (0.0, 3.0), "meters": (0.0, -3.0)},
        m.UtilitySettled(0, "ann", -2.0, 0.1): {"ann": (0.2, -2.0), "utility": (-0.2, 2.0)},
        m.FeePaid(0, "ann", 0.1): {"ann": (-0.1, 0.0), "network": (0.1, 0.0)},
        m.Defaulted(0, "ann", 0.1): {"ann": (0.1, 0.0), "guarantee": (-0.1, 0.0)},
        m.DebtRepaid(0, "ann", 0.1): {"ann": (-0.1, 0.0), "guarantee": (0.1, 0.0)},
    }  # fmt: skip
    for message, expected in moved.items():
        found: dict[str, list[float]] = {}
        for entry in postings(message):
            for name, sign in ((entry.giver, -1.0), (entry.taker, 1.0)):
                balance = found.setdefault(name, [0.0, 0.0])
                balance[0] += sign * entry.eur
                balance[1] += sign * entry.kwh
        assert found.keys() == expected.keys()
        for name, balance in expected.items():
            assert found[name] == pytest.approx(balance)
    quiet = {
        m.ParticipantJoined, m.TariffQuoted, m.ConditionMeasured, m.OrderPosted, m.PricePublished,
        m.ForwardStruck, m.OptionExercised, m.OptionExpired, m.DeliveriesSettled, m.PeriodClosed,
    }  # fmt: skip
    assert quiet | {type(message) for message in moved} == set(m.MESSAGES.values())


@pytest.mark.parametrize(
    "terms",
    [
        {"volume_kwh": -1.0}, {"volume_kwh": math.nan}, {"volume_kwh": math.inf},
        {"volume_kwh": "1"}, {"volume_kwh": True}, {"seller": "bob"}, {"seller": "utility"},
        {"seller": ""}, {"id": ""}, {"delivery": -1}, {"delivery": 1.5}, {"formula": 0.2},
    ],
)  # fmt: skip
def test_bad_forwards_are_refused(terms):
    with pytest.raises(ContractError, match="expected"):
        replace(FORWARD, **terms)


@pytest.mark.parametrize(
    "terms",
    [
        {"volume_kwh": -1.0}, {"strike_eur_per_kwh": math.nan}, {"premium_eur_per_kwh": -0.01},
        {"premium_eur_per_kwh": math.inf}, {"expiry": 2}, {"kind": "swap"}, {"holder": "ann"},
        {"writer": "network"},
    ],
)  # fmt: skip
def test_bad_options_are_refused(terms):
    with pytest.raises(ContractError, match="expected"):
        replace(OPTION, **terms)


@pytest.mark.parametrize(
    "terms",
    [(math.nan,), (0.2, math.inf), (0.2, 0.1, math.nan), (0.2, 0.1, 0.0, 0.1), (0, 0, 0, 0, -0.1)],
)
def test_bad_formulas_are_refused(terms):
    with pytest.raises(ContractError, match="expected"):
        PriceFormula(*terms)


def test_the_clearing_house_refuses_what_cannot_be():
    market = house()
    refused = [
        (market.join, "ann"),
        (market.join, "guarantee"),
        (market.join, "dia", -1.0),
        (market.post, "dia", "spot", 1.0, 0.2),
        (market.post, "ann", "swap", 1.0, 0.2),
        (market.post, "ann", "spot", math.nan, 0.2),
        (market.quote, math.nan, 0.1),
        (market.measure, math.inf),
        (market.strike, replace(FORWARD, buyer="dia")),
        (market.strike, replace(FORWARD, delivery=0)),
        (market.sell, replace(OPTION, delivery=0, expiry=0)),
        (market.settle, {"dia": 1.0}),
        (market.settle, {"ann": -1.0}),
        (market.settle, {"ann": math.nan}),
        (market.settle, {}, 0.3, "dia"),
        (market.close, {"dia": 1.0}),
        (ClearingHouse().close, {"dia": 1.0}),
    ]
    before = len(market.log)
    for command, *arguments in refused:
        with pytest.raises(ContractError, match="expected"):
            command(*arguments)
    assert len(market.log) == before
    market.strike(FORWARD)
    market.close({})
    with pytest.raises(ContractError, match="expected settle before close"):
        market.close({})
    bare = ClearingHouse()
    bare.join("ann")
    with pytest.raises(ContractError, match="expected quote before"):
        bare.settle({})


def test_the_ledger_refuses_to_overdraw_and_to_repay_too_much():
    ledger = Ledger()
    ledger.apply(m.ParticipantJoined(0, "ann", 1.0))
    for message in (
        m.UtilitySettled(0, "ann", 10.0, 0.2),
        m.DebtRepaid(0, "ann", 0.5),
        m.SpotTraded(0, "ann", "bob", 1.0, 0.1),
        "a message",
    ):
        with pytest.raises(ContractError):
            ledger.apply(message)
    assert ledger.imbalance == (0.0, 0.0)
    assert set(ledger.cash_eur.values()) == {0.0}


def test_messages_survive_json():
    market = house(cem=2.5)
    market.post("ann", "forward", -10.0, 0.2)
    market.publish("forward", 10.0, 0.1, 0.3)
    market.strike(replace(FORWARD, formula=PriceFormula(0.2, 0.01, 10.0, None, 0.5)))
    market.sell(OPTION)
    market.exercise("o", "bob", 1.5)
    market.measure(7.25)
    market.close({"ann": 0.1})
    assert m.read_log(m.write_log(market.log)) == market.log
    assert ClearingHouse.rebuild(market.log).ledger == market.ledger
    text = m.to_json(market.log[-1])
    assert json.loads(text)["version"] == m.VERSION
    good = json.loads(m.to_json(m.FeePaid(0, "ann", 0.1)))
    for wrong in (
        "{", "[]", json.dumps({**good, "version": 2}), json.dumps({**good, "kind": "Gift"}),
        json.dumps({**good, "format": "x"}), json.dumps({**good, "more": 1}),
        json.dumps({**good, "fee_eur": None}), json.dumps({**good, "participant": 3}),
        m.to_json(m.ForwardStruck(0, FORWARD)).replace('"formula"', '"price"'),
        m.to_json(m.ForwardStruck(0, FORWARD)).replace('"forward": {', '"forward": 3, "x": {'),
        json.dumps({**good, "kind": []}), json.dumps({**good, "kind": {}}), "[" * 100_000,
        json.dumps({**good, "fee_eur": 10**400}), json.dumps({**good, "period": 10**400}),
    ):  # fmt: skip
        with pytest.raises(ContractError):
            m.from_json(wrong)


def test_every_message_passes_between_levels():
    for kind in m.MESSAGES.values():
        assert kind.source in m.LEVELS
        assert kind.target in m.LEVELS
        assert kind.source != kind.target
    touched = {level for kind in m.MESSAGES.values() for level in (kind.source, kind.target)}
    assert touched == set(m.LEVELS)
