"""Random histories of trades, contracts, shortfalls and defaults against plain arithmetic."""

import math
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flexgym.envs.errors import ContractError
from flexgym.envs.local_market.clearing_house import ClearingHouse
from flexgym.envs.local_market.contracts import Forward, Option, PriceFormula
from flexgym.envs.local_market.ledger import Ledger
from flexgym.envs.local_market.messages import read_log, write_log

NAMES = ("ann", "bob", "cem", "dia")
LIMITS = (math.inf, 2.0, 0.5, 0.0)
WHO = st.integers(0, 3)
OTHER = st.integers(1, 3)
VOLUME = st.integers(0, 100).map(lambda k: k / 10)
PRICE = st.integers(-20, 60).map(lambda k: k / 100)
FORWARD = st.tuples(WHO, OTHER, st.integers(0, 2), VOLUME, PRICE, st.sampled_from([0, 0.01, -0.02]))
OPTION = st.tuples(
    WHO, OTHER, st.integers(0, 2), st.integers(0, 2), VOLUME, PRICE,
    st.sampled_from([0.0, 0.02, 0.3]), st.sampled_from(["call", "put"]),
)  # fmt: skip
HOURS = st.tuples(
    st.integers(-10, 35), PRICE, st.tuples(*[st.integers(0, 6)] * 4),
    st.tuples(*[st.integers(-6, 6)] * 4),
)  # fmt: skip
REACHED = Counter()
"""In how many histories each thing has happened."""


def close(found, expected):
    return abs(found - expected) <= 1e-9


class Histories(RuleBasedStateMachine):
    """The clearing house beside a model that keeps numbers only, in other words."""

    def __init__(self):
        super().__init__()
        self.house = ClearingHouse()
        for name, limit in zip(NAMES, LIMITS, strict=True):
            self.house.join(name, limit)
        self.limit = dict(zip(NAMES, LIMITS, strict=True))
        self.cash = dict.fromkeys((*NAMES, "utility", "network", "guarantee"), 0.0)
        self.debt = dict.fromkeys(NAMES, 0.0)
        self.used = dict.fromkeys(NAMES, 0.0)
        self.given = dict.fromkeys(NAMES, 0.0)
        self.due = []  # seller, buyer, delivery, kWh, price of the condition
        self.rights = {}  # id: option, kWh left
        self.count = 0
        self.defaults = 0
        self.reached = {"history"}

    # the model -----------------------------------------------------------------------------

    def pay(self, **changes):
        """Change cash at once; who falls below its limit is lifted to it by the guarantee."""
        for name, eur in changes.items():
            self.cash[name] += eur
        for name in changes.keys() & self.debt.keys():
            short = -self.limit[name] - self.cash[name]
            if short > 1e-9:
                self.defaults += 1
                self.reached.add("default")
                self.cash[name] += short
                self.debt[name] += short
                self.cash["guarantee"] -= short
        for name in NAMES:
            back = min(self.debt[name], max(self.cash[name], 0.0))
            self.debt[name] -= back
            self.cash[name] -= back
            self.cash["guarantee"] += back

    def bad(self, command, *arguments):
        before = len(self.house.log)
        with pytest.raises(ContractError):
            command(*arguments)
        assert len(self.house.log) == before

    # what happens --------------------------------------------------------------------------

    @initialize(
        retail=st.sampled_from([0.3, 0.4]),
        feed_in=st.sampled_from([-0.05, 0.08]),
        forwards=st.lists(FORWARD, min_size=1, max_size=3),
        options=st.lists(OPTION, min_size=1, max_size=3),
    )
    def tariff_and_first_contracts(self, retail, feed_in, forwards, options):
        self.house.quote(retail, feed_in)
        self.retail, self.feed_in = retail, feed_in
        for terms in forwards:
            self.strike(*terms)
        for terms in options:
            self.sell(*terms)

    @rule(seller=WHO, step=OTHER, volume=VOLUME, price=PRICE)
    def spot(self, seller, step, volume, price):
        seller, buyer = NAMES[seller], NAMES[(seller + step) % 4]
        dear = self.debt[buyer] > 1e-9 and price > self.retail
        if dear or (self.debt[seller] > 1e-9 and price < min(self.feed_in, 0.0)):
            self.reached.add("refused at spot")
            self.bad(self.house.trade, seller, buyer, volume, price)
            return
        self.house.trade(seller, buyer, volume, price)
        self.given[seller] += volume
        self.given[buyer] -= volume
        self.pay(**{seller: volume * price, buyer: -volume * price})

    @rule(terms=FORWARD)
    def forward(self, terms):
        self.strike(*terms)

    def strike(self, seller, step, ahead, volume, base, slope):
        seller, buyer = NAMES[seller], NAMES[(seller + step) % 4]
        self.count += 1
        delivery = self.house.period + ahead
        terms = PriceFormula(base, slope, 10.0, -0.1, 0.1)
        contract = Forward(f"f{self.count}", seller, buyer, delivery, volume, terms)
        if ahead == 0 or self.debt[seller] > 1e-9 or self.debt[buyer] > 1e-9:
            self.bad(self.house.strike, contract)
            return
        self.house.strike(contract)
        self.bad(self.house.strike, contract)  # the same again
        self.due.append((seller, buyer, delivery, volume, base, slope, "delivery"))

    @rule(terms=OPTION)
    def option(self, terms):
        self.sell(*terms)

    def sell(self, writer, step, ahead, wait, volume, strike, premium, kind):
        writer, holder = NAMES[writer], NAMES[(writer + step) % 4]
        self.count += 1
        expiry = self.house.period + ahead
        contract = Option(
            f"o{self.count}", writer, holder, expiry, expiry + wait, volume, strike, premium, kind
        )
        if ahead + wait == 0 or self.debt[writer] > 1e-9 or self.debt[holder] > 1e-9:
            self.bad(self.house.sell, contract)
            return
        self.house.sell(contract)
        self.rights[contract.id] = [contract, volume]
        self.pay(**{holder: -volume * premium, writer: volume * premium})

    @precondition(lambda self: self.rights)
    @rule(data=st.data(), share=st.sampled_from([0.0, 0.25, 1.0]))
    def exercise(self, data, share):
        self.use(data.draw(st.sampled_from(sorted(self.rights))), share)

    def use(self, id, share):
        contract, left = self.rights[id]
        self.bad(self.house.exercise, id, contract.writer, share * left)
        self.bad(self.house.exercise, id, contract.holder, left + 1.0)
        self.house.exercise(id, contract.holder, share * left)
        self.rights[id][1] -= share * left
        call = contract.kind == "call"
        seller, buyer = (
            (contract.writer, contract.holder) if call else (contract.holder, contract.writer)
        )
        strike = contract.strike_eur_per_kwh
        self.due.append(
            (seller, buyer, contract.delivery, share * left, strike, 0.0, "exercised delivery")
        )

    @rule(who=WHO, fee=st.sampled_from([0.0, 0.1, 0.5]))
    def fee(self, who, fee):
        self.house.charge(NAMES[who], fee)
        self.pay(**{NAMES[who]: -fee, "network": fee})

    @rule(who=WHO, volume=st.sampled_from([-1.0, math.nan, math.inf]))
    def nonsense(self, who, volume):
        self.bad(self.house.trade, NAMES[who], NAMES[who], 1.0, 0.1)
        self.bad(self.house.trade, NAMES[who], NAMES[who - 1], volume, 0.1)
        self.bad(self.house.trade, NAMES[who], "nobody", 1.0, 0.1)
        self.bad(self.house.trade, NAMES[who], "utility", 1.0, 0.1)
        self.bad(self.house.exercise, "o0", NAMES[who], 1.0)
        for fee in (math.nan, -0.1):
            self.bad(self.house.charge, NAMES[who], fee)
        self.bad(self.house.charge, "meters", 0.1)
        self.bad(self.house.trade, NAMES[who], NAMES[who - 1], 1e308, 1e308)
        for nothing in (None, 3, "f1"):
            self.bad(self.house.strike, nothing)
            self.bad(self.house.sell, nothing)
        self.bad(self.house.publish, "spot", 1.0, 0.3, 0.1)
        self.house.measure(0.0)
        for price in (math.nan, math.inf, 1e300):
            self.bad(self.house.settle, dict.fromkeys(NAMES, 3.0), price)
        self.bad(self.house.settle, {NAMES[who]: -1.0}, 0.1)
        self.bad(self.house.settle, {}, 0.1, "meters")
        self.bad(self.house.close, {"ann": 1.0, "bob": -1.0, "dia": math.nan})
        self.bad(self.house.close, {"ann": 1.0, "utility": 1.0})

    @rule(hours=HOURS)
    def next_period(self, hours):
        self.end(*hours)

    @rule(hours=HOURS)
    def exercise_and_go_to_delivery(self, hours):
        wait = 0
        for id, (contract, _) in list(self.rights.items()):
            self.use(id, 0.5)
            wait = max(wait, contract.delivery - self.house.period)
        for _ in range(wait + 1):
            self.end(*hours)

    def end(self, condition, spot, own, load):
        now = self.house.period
        self.house.measure(condition)
        has = dict(zip(NAMES, own, strict=True))
        due = [x for x in self.due if x[2] == now]
        for x in due:
            if x[3] > 0.0:
                self.reached.add(x[6])
        if due:
            self.bad(self.house.settle, has, math.nan)
        self.house.settle(has, spot)
        for id, (contract, left) in self.rights.items():
            if contract.delivery == now:
                self.bad(self.house.exercise, id, contract.holder, left)
        self.due = [x for x in self.due if x[2] != now]
        for _, buyer, _, volume, *_ in due:
            has[buyer] += volume
        for seller, buyer, _, volume, base, slope, _ in due:
            price = base + min(max(slope * (condition - 10.0), -0.1), 0.1)
            own_kwh = min(volume, has[seller])
            has[seller] -= own_kwh
            self.given[seller] += own_kwh
            self.given[buyer] -= volume
            self.pay(**{seller: own_kwh * price, buyer: -own_kwh * price})
            lacks = volume - own_kwh
            if lacks > 0.0:
                self.reached.add("shortfall")
            self.pay(
                **{seller: lacks * (price - spot), buyer: -lacks * price, "utility": lacks * spot}
            )
        self.house.close(dict(zip(NAMES, load, strict=True)))
        for name, net in zip(NAMES, load, strict=True):
            rest = net + self.given[name]
            self.used[name] += net
            price = self.retail if rest > 0 else self.feed_in
            self.pay(**{name: -rest * price, "utility": rest * price})
            self.given[name] = 0.0
            assert close(self.house.ledger.energy_kwh[name], 0.0)
        for id, (contract, left) in list(self.rights.items()):
            if contract.expiry <= now:
                self.bad(self.house.exercise, id, contract.holder, left)
                del self.rights[id]
        assert self.house.period == now + 1

    # what always holds ---------------------------------------------------------------------

    @invariant()
    def nothing_is_made_or_lost(self):
        money, energy = self.house.ledger.imbalance
        assert close(money, 0.0)
        assert close(energy, 0.0)
        lent = sum(self.house.ledger.owed_eur.values())
        assert close(self.house.ledger.cash_eur["guarantee"], -lent)

    @invariant()
    def accounts_are_the_model_s(self):
        ledger = self.house.ledger
        for name, eur in self.cash.items():
            assert close(ledger.cash_eur[name], eur)
        for name in NAMES:
            assert ledger.cash_eur[name] >= -self.limit[name] - 1e-9
            assert close(ledger.owed_eur[name], self.debt[name])
            assert close(ledger.energy_kwh[name], -self.given[name])
        assert close(ledger.energy_kwh["meters"], sum(self.used.values()))
        pending = sum(x[3] for x in self.due)
        held = sum(x.volume_kwh for x in self.house.forwards.values())
        assert close(held, pending)

    @invariant()
    def ratings_fall_with_defaults_and_shortfalls_only(self):
        for rating in self.house.ratings.values():
            assert 0.0 <= rating.success_rate <= 1.0
            assert rating.delivered_kwh <= rating.promised_kwh + 1e-12
            failed = rating.unpaid_eur > 0.0 or rating.delivered_kwh < rating.promised_kwh
            assert failed or rating.success_rate == 1.0
        unpaid = sum(r.unpaid_eur for r in self.house.ratings.values())
        assert (unpaid > 1e-9) <= (self.defaults > 0)

    def teardown(self):
        REACHED.update(self.reached)
        log = read_log(write_log(self.house.log))
        assert log == self.house.log
        assert Ledger.rebuild(log) == self.house.ledger
        again = ClearingHouse.rebuild(log)
        for name in (
            "period",
            "settled",
            "condition",
            "forwards",
            "options",
            "left_kwh",
            "ratings",
            "log",
        ):
            assert getattr(again, name) == getattr(self.house, name)


def test_histories():
    REACHED.clear()
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=1000,
            stateful_step_count=4,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    histories = REACHED["history"]
    assert histories >= 1000
    for name in ("delivery", "exercised delivery", "shortfall", "default"):
        assert REACHED[name] >= 0.2 * histories, REACHED
    assert REACHED["refused at spot"] > 0
