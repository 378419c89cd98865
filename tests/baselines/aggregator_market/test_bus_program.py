"""Buses: values of the reference, enumeration, and the policy played against its chain."""

from itertools import product

import numpy as np
import pytest

from flexgym.baselines.aggregator_market.bus_program import bus_program, open_loop_value
from flexgym.baselines.aggregator_market.group_tables import shipped_problems
from flexgym.envs.aggregator_market.params import Day, Tariffs
from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.errors import ScenarioError, StateError
from flexgym.envs.uncertainty import MarkovChain

DAY = shipped_problems()[0].day
CERTAIN = MarkovChain((1.0,), ((1.0,),))
KNOWN = Day(DAY.source_percent, DAY.rtem_eur_per_mwh, price=CERTAIN)
LP_31_EUR = 322.29111


@pytest.mark.parametrize(
    ("customers", "value_eur", "ratio"),
    [(3, 299.565, 0.929), (8, 319.854, 0.992), (32, 321.589, 0.998), (5, None, 0.986)],
)
def test_balanced_days_with_known_prices_equal_the_milp_of_the_reference(
    customers, value_eur, ratio
):
    value = bus_program(KNOWN, Tariffs(), customers, 1.0, "balanced").value_eur
    assert value / LP_31_EUR == pytest.approx(ratio, abs=6e-4)
    if value_eur is not None:
        assert value == pytest.approx(value_eur, abs=6e-4)


@pytest.mark.parametrize(("customers", "value_eur"), [(3, 348.5), (8, 352.9), (32, 354.7)])
def test_uncertain_prices_are_worth_what_the_reference_says(customers, value_eur):
    program = bus_program(DAY, Tariffs(), customers, 1.0)
    assert program.value_eur == pytest.approx(value_eur, abs=0.05)
    assert bus_program(DAY, Tariffs(), customers, 1.0, "balanced").value_eur < value_eur


def test_a_schedule_made_before_the_day_is_worth_less():
    # 11 customers can do 5/11, which the best schedule needs in one hour.
    assert open_loop_value(DAY, Tariffs(), 11, 1.0) == pytest.approx(327.1, abs=0.05)


def test_a_share_scales_the_value():
    whole = bus_program(DAY, Tariffs(), 4, 1.0).value_eur
    assert bus_program(DAY, Tariffs(), 4, 0.25).value_eur == pytest.approx(0.25 * whole)


def test_short_known_days_equal_enumeration():
    # 18 hours of next to no load and price leave 6 that count.
    percent = (1,) * 18 + (40, 70, 90, 60, 55, 80)
    price = (0.0,) * 18 + (31.0, 44.0, 52.0, 8.0, 27.0, 60.0)
    day, tariffs, N = Day(percent, price, price=CERTAIN), Tariffs(), 2
    program = bus_program(day, tariffs, N, 1.0)
    best = -np.inf
    for ups in product(range(N + 1), repeat=6):
        m = np.array([2 * n / N - 1 for n in ups])
        owed = m @ percent[18:] - 18.0
        paid = 37.15e-3 * ((m * price[18:]) @ percent[18:] - 45.0 * max(owed, 0.0))
        best = max(best, paid)
    assert program.value_eur == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("settlement", ["bought", "balanced"])
def test_played_days_earn_the_value_on_average(settlement):
    program = bus_program(DAY, Tariffs(), 5, 1.0, settlement)
    rng, days = np.random.default_rng(4), 3000
    owed, state, earned = np.zeros(days), np.full(days, DAY.first_state), np.zeros(days)
    rising = np.cumsum(DAY.price.matrix, axis=1)
    for t in range(24):
        up = program.act(t, owed, state)
        m = 2 * up / 5 - 1
        earned += 37.15e-3 * DAY.source_percent[t] * DAY.rtem[t, state] * m
        owed += DAY.source_percent[t] * m
        state = (rng.random((days, 1)) >= rising[state, :-1]).sum(axis=1)
    earned -= 45.0 * 37.15e-3 * np.maximum(owed, 0.0)
    half = 2.576 * earned.std(ddof=1) / np.sqrt(days)
    assert abs(earned.mean() - program.value_eur) <= half
    assert half < 0.01 * program.value_eur
    if settlement == "balanced":
        np.testing.assert_allclose(owed, 0.0, atol=1e-9)


def test_selfish_buses_can_rank_hours_otherwise():
    quotes = case33_day().aggregator_eur_per_mwh[2]
    # 77 can do 5/11, which the social plan needs in hour 14, and 3/7, the selfish one in hour 9.
    social = bus_program(KNOWN, Tariffs(), 77, 1.0, "balanced")
    selfish = bus_program(KNOWN, Tariffs(), 77, 1.0, "balanced", quotes)

    def welfare(program):
        owed, total = 0.0, 0.0
        for t in range(24):
            m = 2 * int(program.act(t, owed, 0)) / 77 - 1
            total += 37.15e-3 * KNOWN.source_percent[t] * KNOWN.rtem_eur_per_mwh[t] * m
            owed += KNOWN.source_percent[t] * m
        return total

    assert welfare(social) == pytest.approx(LP_31_EUR, abs=1e-4)
    assert welfare(selfish) == pytest.approx(321.221, abs=6e-4)


def test_days_that_cannot_be_balanced_say_so():
    odd = Day((2,) * 23 + (1,), DAY.rtem_eur_per_mwh, price=CERTAIN)
    program = bus_program(odd, Tariffs(), 1, 1.0, "balanced")
    assert program.value_eur == -np.inf
    assert (program.act(0, 0.0, 0) == -1).all()


def test_bad_requests_are_refused():
    with pytest.raises(ScenarioError, match="settlement"):
        bus_program(DAY, Tariffs(), 3, 1.0, "free")
    with pytest.raises(ScenarioError, match="customers"):
        bus_program(DAY, Tariffs(), 0, 1.0)
    with pytest.raises(ScenarioError, match="price_eur_per_mwh"):
        bus_program(DAY, Tariffs(), 3, 1.0, price_eur_per_mwh=np.zeros(23))
    program = bus_program(DAY, Tariffs(), 3, 1.0)
    with pytest.raises(StateError, match="t is 24"):
        program.act(24, 0.0, 0)
    with pytest.raises(StateError, match="X has"):
        program.act(1, 100.0, 0)
    with pytest.raises(StateError, match="price_state"):
        program.act(0, 0.0, 3)
