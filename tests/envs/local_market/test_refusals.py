"""What is refused changes nothing: bad calls, huge numbers, debts, forged logs."""

import math
from dataclasses import replace

import numpy as np
import pytest

from flexgym.envs.errors import ContractError, OrderError, ScenarioError
from flexgym.envs.local_market import messages as m
from flexgym.envs.local_market.auction import hold_auction
from flexgym.envs.local_market.clearing import clear, pair_trades
from flexgym.envs.local_market.clearing_house import ClearingHouse
from flexgym.envs.local_market.contract_trade import ContractTerms
from flexgym.envs.local_market.contracts import Forward, Option, PriceFormula
from flexgym.envs.local_market.hierarchy import Hierarchy
from flexgym.envs.local_market.journal import Journal
from flexgym.envs.local_market.orders import Book
from flexgym.envs.local_market.params import LARGEST, RULES
from flexgym.envs.local_market.scenario import LocalMarketScenario
from flexgym.envs.local_market.simulation import LocalMarketSimulation

FORWARD = Forward("f", "ann", "bob", 1, 10.0, PriceFormula(0.20))
OPTION = Option("o", "ann", "bob", 1, 1, 10.0, 0.25, 0.02)


def house(**limits):
    market = ClearingHouse()
    for name in ("ann", "bob", "cem"):
        market.join(name, limits.get(name, math.inf))
    market.quote(0.40, 0.08)
    return market


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("at", [(0, 0), (1, 0), (1, 1)])
def test_huge_orders_are_refused_and_the_largest_balance(rule, at):
    orders = np.array([[0.2, 0.3, 0.1, 0.4, 0.25], [-5.0, 4.0, -3.0, 2.0, 1.0]])
    for huge in (1e308, -1e308, 1.1 * LARGEST):
        bad = orders.copy()
        bad[at] = huge
        for call in (clear, pair_trades):
            with pytest.raises(OrderError, match="of at most"):
                call(*bad, rule)
    largest = np.array([[LARGEST, -LARGEST, 0.1], [LARGEST, -LARGEST, -1e-9]])
    traded, paid = clear(*largest, rule)
    assert abs(traded.sum()) <= 1e-15 * LARGEST
    assert abs(paid.sum()) <= 1e-15 * LARGEST**2


@pytest.mark.parametrize("huge", [1e308, 10**400, 2.0 * LARGEST])
def test_huge_numbers_are_refused_in_contracts_and_messages(huge):
    for make in (
        lambda: replace(FORWARD, volume_kwh=huge),
        lambda: replace(FORWARD, delivery=10**400),
        lambda: replace(OPTION, premium_eur_per_kwh=huge),
        lambda: PriceFormula(huge),
        lambda: house().trade("ann", "bob", huge, 1.0),
        lambda: house().trade("ann", "bob", 1.0, huge),
        lambda: house().settle({"ann": huge}),
        lambda: house().settle({}, huge),
        lambda: house().close({"ann": huge}),
    ):
        with pytest.raises(ContractError, match=r"of at most|from 0 to"):
            make()
    market = house(bob=0.3)
    market.trade("ann", "bob", LARGEST, LARGEST)
    market.close({})
    assert math.isfinite(market.ledger.owed_eur["bob"])
    assert ClearingHouse.rebuild(market.log).ledger == market.ledger


def test_numpy_s_numbers_are_taken_and_written():
    forward = Forward("f", "ann", "bob", np.int64(1), np.float32(4.0), PriceFormula(np.float32(1)))
    option = replace(OPTION, volume_kwh=np.int64(4))
    market = house()
    market.strike(forward)
    market.sell(option)
    market.close({"ann": np.float32(0.5)})
    market.exercise("o", "bob", np.int64(2))
    market.settle({"ann": np.int32(9)}, np.float32(0.5))
    assert ContractTerms(lead=np.int64(3), strike_share=np.float32(0.5)) == ContractTerms(lead=3)
    assert m.read_log(m.write_log(market.log)) == market.log


def test_a_refused_call_changes_nothing():
    market = house()
    market.strike(FORWARD)
    market.strike(Forward("g", "cem", "bob", 1, 5.0, PriceFormula(0.1, 0.01)))
    market.sell(OPTION)
    market.close({})
    market.measure(3.0)
    before, ledger = len(market.log), accounts_of(market)
    for call in (
        lambda: market.settle({"ann": 3.0}, math.nan),
        lambda: market.settle({"ann": 3.0}, "dear"),
        lambda: market.settle({"ann": 3.0}, 0.3, "cem"),  # cem itself falls short
        lambda: market.settle({"ann": 3.0}, 0.3, "bob"),
        lambda: market.settle({"ann": 3.0}, 0.3, "guarantee"),
        lambda: market.settle({"ann": "much"}),
        lambda: market.settle(None),
        lambda: market.settle([1.0]),
        lambda: market.exercise("o", "bob", "all"),
        lambda: market.exercise("o", "bob", None),
        lambda: market.exercise(None, "bob", 1.0),
        lambda: market.charge("ann", -1.0),
        lambda: market.charge("utility", 1.0),
        lambda: market.publish("spot", 1.0, 0.3, 0.2),
        lambda: market.strike(OPTION),
        lambda: market.sell(FORWARD),
        lambda: market.strike(None),
    ):
        with pytest.raises(ContractError):
            call()
    assert (len(market.log), accounts_of(market)) == (before, ledger)
    market.settle({"ann": 10.0, "cem": 5.0}, 0.3, "ann")  # nobody falls short
    before, ledger = len(market.log), accounts_of(market)
    for loads in ({"ann": 1.0, "bob": math.nan}, {"ann": 1.0, "cem": "x"}, {"meters": 1.0}, None):
        with pytest.raises(ContractError):
            market.close(loads)
    assert (len(market.log), accounts_of(market)) == (before, ledger)


def accounts_of(market):
    ledger = market.ledger
    return dict(ledger.cash_eur), dict(ledger.energy_kwh), dict(ledger.owed_eur)


def test_a_refused_auction_changes_nothing():
    book = Book.of(sellers={"ann": (0.1, 1.0), "cem": (0.1, 1.0)}, buyers={"bob": (0.2, 2.0)})
    market = house()
    for terms in (
        {"product": "forward", "delivery": 1, "supplement": PriceFormula(0.1)},
        {"product": "forward", "delivery": 1, "supplement": None},
        {"product": "forward", "delivery": "1"},
        {"product": "forward", "delivery": 1.5},
        {"product": "option", "delivery": 1, "strike_eur_per_kwh": math.nan},
        {"product": "option", "delivery": 1, "strike_eur_per_kwh": "x"},
        {"product": "option", "delivery": 1, "strike_eur_per_kwh": 1e300},
    ):
        before = len(market.log)
        with pytest.raises(ContractError):
            hold_auction(market, book, **terms)
        assert len(market.log) == before
    with pytest.raises(OrderError, match="Book"):
        hold_auction(market, None)
    # A name of one's own does not stand in the way of an auction's.
    for k in range(len(market.log), len(market.log) + 9):
        market.strike(replace(FORWARD, id=f"forward 1, {k}"))
    assert hold_auction(market, book, "forward", delivery=1) == 2.0


def test_who_owes_buys_no_dearer_than_the_utility_sells():
    market = house(bob=0.5)
    market.trade("ann", "bob", 2.0, 0.5)
    assert market.ledger.owed_eur["bob"] == pytest.approx(0.5)
    before = len(market.log)
    for call in (
        lambda: market.trade("cem", "bob", 1.0, 0.41),
        lambda: market.trade("bob", "cem", 1.0, -0.01),
        lambda: hold_auction(
            market, Book.of(sellers={"cem": (0.1, 1.0)}, buyers={"bob": (0.5, 1.0)})
        ),
        lambda: hold_auction(
            market, Book.of(sellers={"bob": (-0.1, 1.0)}, buyers={"cem": (0.5, 1.0)})
        ),
    ):
        with pytest.raises(ContractError, match="owes the guarantee"):
            call()
    assert len(market.log) == before
    market.trade("cem", "bob", 1.0, 0.40)
    market.trade("bob", "cem", 1.0, 0.05)


def test_deliveries_once_settled_are_closed_even_if_there_were_none():
    market = house()
    market.sell(OPTION)
    market.close({})
    market.settle({})
    again = ClearingHouse.rebuild(market.log)
    for one in (market, again):
        with pytest.raises(ContractError, match="are settled"):
            one.exercise("o", "bob", 1.0)
        one.close({})


def test_trades_of_nothing_do_not_count():
    market = house()
    market.trade("ann", "bob", 0.0, 0.3)
    market.strike(replace(FORWARD, volume_kwh=0.0))
    assert market.ratings["ann"].trades == 0
    market.trade("ann", "bob", 1.0, 0.3)
    assert market.ratings["ann"].trades == 1


def history():
    """A log with all that happens to contracts."""
    market = house(bob=1.0)
    market.strike(FORWARD)
    market.sell(OPTION)
    market.exercise("o", "bob", 2.0)
    market.close({})
    market.settle({"ann": 4.0}, 0.3)
    market.close({"bob": 1.0})
    return market.log


def test_a_log_is_rebuilt_only_if_a_clearing_house_could_have_written_it():
    log = history()
    assert ClearingHouse.rebuild(log).log == log
    at = {type(message).__name__: k for k, message in enumerate(log)}

    def changed(kind, **fields):
        k = at[kind]
        return [*log[:k], replace(log[k], **fields), *log[k + 1 :]]

    def without(kind):
        return [message for k, message in enumerate(log) if k != at[kind]]

    stranger = replace(FORWARD, id="g", buyer="eve", delivery=9)
    forged = [
        [None], ["text"], [m.PeriodClosed(3)], log[4:],
        changed("ForwardStruck", period=1), changed("ForwardStruck", forward=stranger),
        changed("ForwardStruck", forward=replace(FORWARD, delivery=0)),
        [*log[: at["OptionSold"]], m.ForwardStruck(0, FORWARD)],
        changed("OptionSold", option=replace(OPTION, id="f")),
        changed("OptionExercised", option="x"),
        changed("OptionExercised", forward=replace(FORWARD, id="o/1")),
        changed("OptionExpired", option="x"), changed("OptionExpired", volume_kwh=10.0),
        changed("Delivered", contract="x"), changed("Delivered", seller="cem"),
        changed("Delivered", volume_kwh=99.0), changed("Delivered", price_eur_per_kwh=0.9),
        changed("Shortfall", contract="x"), changed("Shortfall", volume_kwh=1.0),
        changed("Shortfall", buyer="cem"), without("Shortfall"), without("Delivered"),
        [*log, m.Delivered(2, "f", "ann", "bob", 1.0, 0.2)],
        [*log, m.OrderPosted(2, "eve", "spot", 1.0, 0.1)],
    ]  # fmt: skip
    for messages in forged:
        with pytest.raises(ContractError):
            ClearingHouse.rebuild(messages)
    for make in (
        lambda: m.Defaulted(0, "ann", -1.0), lambda: m.DebtRepaid(0, "ann", -1.0),
        lambda: m.FeePaid(0, "ann", -1.0), lambda: m.Metered(0, "guarantee", 1.0),
        lambda: m.Delivered(0, "f", "ann", "ann", 1.0, 0.2), lambda: m.OptionSold(0, None),
        lambda: m.ForwardStruck(0, "f"), lambda: m.OptionExercised(0, "o", None),
    ):  # fmt: skip
        with pytest.raises(ContractError):
            make()


def test_a_journal_notes_every_hour_once():
    market = LocalMarketSimulation(LocalMarketScenario.create(participants=3), 1)
    market.begin([np.random.default_rng(0)])
    journal = Journal(market)
    with pytest.raises(ContractError, match="noted"):
        journal.note()
    market.post(market.hour.limit)
    journal.note()
    before = len(journal.log)
    with pytest.raises(ContractError, match="noted"):
        journal.note()
    assert len(journal.log) == before


def test_terms_and_trees_that_are_none():
    for terms in (
        {"strike_share": "x"},
        {"strike_share": None},
        {"supplement": None},
        {"lead": 2.5},
    ):
        with pytest.raises(ContractError, match="expected"):
            ContractTerms(**terms)
    for make in (
        lambda: Hierarchy("abc", (0.0,), (0,)), lambda: Hierarchy((-1.0,), (0.0,), (0,)),
        lambda: Hierarchy((-1,), ("x",), (0,)), lambda: Hierarchy((-1,), (0.0,), (0.5,)),
        lambda: Hierarchy(None, (0.0,), (0,)), lambda: Hierarchy.neighbourhoods(4, 2.5),
        lambda: LocalMarketScenario.create(participants=3, limits=0),
        lambda: LocalMarketScenario.create(participants=3, limits={"prosumer_share": 0.5}),
    ):  # fmt: skip
        with pytest.raises(ScenarioError, match="expected"):
            make()
