"""The arrays of many markets say what the clearing house says of one; money and energy add up."""

import numpy as np
import pytest

from flexgym.envs.errors import ContractError, OrderError, StateError
from flexgym.envs.local_market.clearing import pair_trades
from flexgym.envs.local_market.clearing_house import ClearingHouse
from flexgym.envs.local_market.contract_book import ContractBook
from flexgym.envs.local_market.contracts import Forward, Option, PriceFormula
from flexgym.envs.local_market.params import RULES

RETAIL, FEED_IN, STRIKE = 0.40, 0.08, 0.26
SUPPLEMENT = PriceFormula(0.0, -0.004, 10.0, -0.03, 0.05)
TERMS = (SUPPLEMENT.slope_eur_per_kwh, 10.0, -0.03, 0.05)


class Twin:
    """One market in the clearing house, every matched pair a contract of its own."""

    def __init__(self, n, rule):
        self.house, self.rule = ClearingHouse(), rule
        self.names = [f"p{i}" for i in range(n)]
        for name in self.names:
            self.house.join(name)
        self.house.quote(RETAIL, FEED_IN)
        self.count = 0

    def pairs(self, price, volume):
        kwh, eur = pair_trades(price, volume, self.rule)
        for buyer, seller in np.argwhere(kwh > 0.0):
            self.count += 1
            unit = eur[buyer, seller] / kwh[buyer, seller]
            yield self.count, self.names[seller], self.names[buyer], kwh[buyer, seller], unit

    def strike(self, delivery, price, volume):
        for k, seller, buyer, kwh, unit in self.pairs(price, volume):
            self.house.strike(
                Forward(f"f{k}", seller, buyer, delivery, kwh, PriceFormula(unit, *TERMS))
            )

    def sell(self, delivery, premium, volume):
        for k, writer, holder, kwh, unit in self.pairs(premium, volume):
            option = Option(
                f"o{k}", writer, holder, delivery, delivery, kwh, STRIKE, max(unit, 0.0)
            )
            self.house.sell(option)

    def play(self, share, need, condition):
        house = self.house
        house.measure(condition)
        for id, option in list(house.options.items()):
            if option.delivery == house.period:
                part = share[self.names.index(option.holder)]
                house.exercise(id, option.holder, part * option.volume_kwh)
        surplus = dict(zip(self.names, (-need).clip(0.0), strict=True))
        house.settle(surplus)
        house.close(dict(zip(self.names, need, strict=True)))


@pytest.mark.parametrize("rule", RULES)
def test_it_settles_as_the_clearing_house_does(rule):
    rng = np.random.default_rng(RULES.index(rule))
    m, n, T, lead = 3, 6, 7, 2
    book = ContractBook(m, n, T, lead, rule, SUPPLEMENT)
    twins = [Twin(n, rule) for _ in range(m)]
    paid = np.zeros((m, n))
    shortfall = 0.0
    for t in range(T):
        need = rng.uniform(-4.0, 4.0, (m, n))
        condition = rng.uniform(-15.0, 30.0, m)
        # Pairs and pooled writers agree where all holders of a market do the same.
        share = np.repeat(rng.choice([0.0, 0.3, 1.0], (m, 1)), n, axis=1)
        if book.open(t):
            price, premium = rng.uniform(-0.05, 0.4, (m, n)), rng.uniform(0.0, 0.05, (m, n))
            volume, rights = rng.uniform(-5.0, 5.0, (2, m, n))
            book.strike_forwards(t, price, volume)
            paid += book.sell_options(t, premium, rights, STRIKE)[1]
            for i, twin in enumerate(twins):
                twin.strike(t + lead, price[i], volume[i])
                twin.sell(t + lead, premium[i], rights[i])
        else:
            with pytest.raises(ContractError, match="expected one below 7"):
                book.strike_forwards(t, np.zeros((m, n)), np.zeros((m, n)))
        exercised = book.exercise(t, share)
        np.testing.assert_allclose(exercised.sum(axis=1), 0.0, atol=1e-12)
        result = book.settle(t, need, condition)
        for money in (result.forward_eur, result.exercise_eur):
            np.testing.assert_allclose(money.sum(axis=1), 0.0, atol=1e-12)
            paid += money
        np.testing.assert_allclose(result.residual_kwh.sum(axis=1), need.sum(axis=1))
        assert (result.residual_kwh >= result.shortfall_kwh - 1e-12)[result.shortfall_kwh > 0].all()
        shortfall += result.shortfall_kwh.sum()
        rest = result.residual_kwh
        paid += np.where(rest > 0.0, RETAIL, FEED_IN) * rest
        for i, twin in enumerate(twins):
            twin.play(share[i], need[i], condition[i])
    assert shortfall > 1.0
    for i, twin in enumerate(twins):
        cash = [twin.house.ledger.cash_eur[name] for name in twin.names]
        np.testing.assert_allclose(-paid[i], cash, atol=1e-9)


def test_ratings_count_what_was_promised_and_delivered():
    book = ContractBook(1, 2, 3, 1)
    assert (book.success_rate == 1.0).all()
    book.strike_forwards(0, [[0.1, 0.3]], [[-4.0, 4.0]])
    book.settle(0, np.zeros((1, 2)))
    result = book.settle(1, [[-3.0, 2.0]])
    np.testing.assert_allclose(result.residual_kwh, [[1.0, -2.0]])
    np.testing.assert_allclose(result.shortfall_kwh, [[1.0, 0.0]])
    np.testing.assert_allclose(result.forward_eur, [[-0.8, 0.8]])
    np.testing.assert_allclose(book.success_rate, [[0.75, 1.0]])
    # settled once and for all
    for call in (
        lambda: book.settle(1, [[0.0, 0.0]]), lambda: book.exercise(1, 1.0),
        lambda: book.strike_forwards(0, [[0.1, 0.3]], [[-4.0, 4.0]]),
    ):  # fmt: skip
        with pytest.raises(ContractError, match="not settled"):
            call()


def test_writers_serve_in_proportion_and_a_right_ends_with_its_period():
    book = ContractBook(1, 4, 3, 1)
    book.sell_options(0, [[0.0, 0.0, 0.1, 0.1]], [[-6.0, -2.0, 4.0, 4.0]], 0.25)
    exercised = book.exercise(1, [[0.9, 0.9, 0.5, 0.0]])
    np.testing.assert_allclose(exercised, [[-1.5, -0.5, 2.0, 0.0]])
    # A second step takes of what is left, and adds to the first.
    np.testing.assert_allclose(book.exercise(1, [[0, 0, 0.0, 0.5]]), [[-1.5, -0.5, 0.0, 2.0]])
    assert not book.settle(0, np.zeros((1, 4))).exercise_eur.any()  # another period's
    found = book.settle(1, np.zeros((1, 4)))
    np.testing.assert_allclose(found.exercise_eur, [[-0.75, -0.25, 0.5, 0.5]])
    assert not book.option_kwh.any()


def test_saved_and_restored():
    rng = np.random.default_rng(0)
    book = ContractBook(2, 4, 6, 2)
    for t in range(2):
        book.strike_forwards(t, rng.random((2, 4)), rng.normal(size=(2, 4)))
        book.sell_options(t, rng.random((2, 4)), rng.normal(size=(2, 4)), [0.2, 0.3])
    saved = book.save()
    other = ContractBook(2, 4, 6, 2)
    other.restore(saved)

    def rest(x):
        return [x.exercise(t, 1.0) for t in range(3, 4)], x.settle(3, np.zeros((2, 4)))

    for a, b in zip(rest(book)[1], rest(other)[1], strict=True):
        np.testing.assert_array_equal(a, b)
    for wrong in (
        {},
        {**saved, "settled": np.zeros(3)},
        None,
        {**saved, "option_kwh": saved["option_kwh"] * np.nan},
    ):
        with pytest.raises(StateError, match="expected"):
            other.restore(wrong)
    with pytest.raises(StateError):
        ContractBook(2, 3, 6, 2).restore(saved)


def test_bad_input_is_refused():
    book, none = ContractBook(2, 3, 5, 1, supplement=SUPPLEMENT), np.zeros((2, 3))
    for make in (
        lambda: ContractBook(0, 3, 5),
        lambda: ContractBook(2, True, 5),
        lambda: ContractBook(2, 3, 5, 1.5),
        lambda: ContractBook(2, 3, 5, supplement=PriceFormula(0.1)),
        lambda: ContractBook(2, 3, 5, supplement=None),
        lambda: book.strike_forwards(0.5, none, none),
        lambda: book.strike_forwards(0, "x", none),
        lambda: book.sell_options(0, [["a"] * 3] * 2, none, 0.2),
        lambda: book.sell_options(0, none, none, "x"),
        lambda: book.exercise(0.5, 1.0),
        lambda: book.exercise(0, "x"),
        lambda: book.settle(0, "x", 1.0),
        lambda: book.settle(0, none, "x"),
        lambda: book.strike_forwards(0, none[:1], none),
        lambda: book.strike_forwards(-1, none, none),
        lambda: book.sell_options(0, none - 0.1, none, 0.2),
        lambda: book.sell_options(0, none, none, np.nan),
        lambda: book.sell_options(0, none, none, [0.1, 0.2, 0.3]),
        lambda: book.exercise(0, 1.1),
        lambda: book.exercise(0, np.full((2, 3), np.nan)),
        lambda: book.exercise(0, [0.5, 0.5, 0.5]),
        lambda: book.exercise(5, 1.0),
        lambda: book.settle(0, none),
        lambda: book.settle(0, none, np.inf),
        lambda: book.settle(0, none[0], 1.0),
        lambda: book.settle(0, none + np.nan, 1.0),
        lambda: book.settle(7, none, 1.0),
    ):
        with pytest.raises(ContractError, match="expected"):
            make()
    with pytest.raises(OrderError):
        book.strike_forwards(0, none + np.nan, none)
    with pytest.raises(OrderError):
        ContractBook(2, 3, 5, 1, "auction")
    book.sell_options(0, none, np.array([[1.0, -1.0, 0.0]] * 2), 0.2)
    with pytest.raises(ContractError, match="expected one auction"):
        book.sell_options(0, none, none, 0.2)
