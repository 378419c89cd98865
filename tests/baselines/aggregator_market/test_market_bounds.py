"""Bounds of any spin dynamics against a linear program, a coarse program and the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from flexgym.baselines.aggregator_market.bounds import (
    fluid_bound,
    known_price_bound,
    known_price_plan,
    price_paths,
)
from flexgym.baselines.aggregator_market.bus_program import bus_program
from flexgym.baselines.aggregator_market.group_tables import shipped_problems
from flexgym.envs.aggregator_market.params import Day, Tariffs
from flexgym.envs.errors import ScenarioError
from flexgym.envs.uncertainty import MarkovChain

DAY = shipped_problems()[0].day
LP_31_EUR = 322.29111


def earned(plan, price, percent, shortage):
    return (plan * price) @ percent - shortage * max(plan @ percent, 0.0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shortage=st.sampled_from([0.0, 20.0, 45.0, 90.0]))
def test_the_plan_of_a_known_day_equals_a_linear_program(seed, shortage):
    rng = np.random.default_rng(seed)
    percent, price = rng.integers(1, 101, 24), rng.uniform(-30.0, 120.0, 24)
    plan = known_price_plan(percent, price, shortage)
    assert np.abs(plan).max() <= 1.0
    found = linprog(
        np.append(-price * percent, shortage),
        A_ub=np.append(percent, -1.0)[None],
        b_ub=[0.0],
        bounds=[(-1, 1)] * 24 + [(0, None)],
    )
    assert earned(plan, price, percent, shortage) == pytest.approx(-found.fun, abs=1e-6)


def test_the_plan_of_the_forecast_is_lp_31():
    price = np.asarray(DAY.rtem_eur_per_mwh)
    plan = known_price_plan(DAY.percent, price, 45.0)
    assert plan[13] == pytest.approx(5 / 11)
    assert (plan * price) @ DAY.percent * 37.15e-3 == pytest.approx(LP_31_EUR, abs=1e-4)


def test_the_fluid_bound_is_the_limit_of_many_customers():
    bound = fluid_bound(DAY, Tariffs())
    values = [bus_program(DAY, Tariffs(), n, 1.0).value_eur for n in (4, 16, 64)]
    assert values == sorted(values)
    assert values[-1] < bound
    # What is missing falls as one over the number of customers.
    assert bound - values[-1] < 0.3 * (bound - values[-2])
    assert bound / LP_31_EUR == pytest.approx(1.102, abs=5e-4)


def test_the_fluid_bound_of_a_known_day_is_its_plan():
    price = np.asarray(DAY.rtem_eur_per_mwh) - 20.0
    known = Day(DAY.source_percent, tuple(price.tolist()), price=MarkovChain((1.0,), ((1.0,),)))
    tariffs = Tariffs(shortage_eur_per_mwh=12.0)
    plan = known_price_plan(known.percent, price, 12.0)
    best = earned(plan, price, known.percent, 12.0) * 37.15e-3
    assert fluid_bound(known, tariffs) == pytest.approx(best, rel=1e-12)


def test_knowing_all_prices_is_worth_what_the_reference_says():
    free = known_price_bound(DAY, Tariffs(), draws=1000, seed=1)
    slow = known_price_bound(DAY, Tariffs(), draws=300, seed=1, visited=1 - np.exp(-2))
    assert abs(free.value_eur / LP_31_EUR - 1.163) < 0.014 + free.half_width_eur / LP_31_EUR
    assert abs(slow.value_eur / LP_31_EUR - 1.116) < 0.014 + slow.half_width_eur / LP_31_EUR
    assert free.value_eur - free.half_width_eur > fluid_bound(DAY, Tariffs())


def test_a_visit_of_everybody_is_no_limit():
    free = known_price_bound(DAY, Tariffs(), 0.3, draws=20, seed=5)
    all_visited = known_price_bound(DAY, Tariffs(), 0.3, draws=20, seed=5, visited=1.0)
    assert all_visited.value_eur == pytest.approx(free.value_eur, rel=1e-9)


def test_drawn_prices_follow_the_chain():
    price = price_paths(DAY, 20_000, np.random.default_rng(2))
    factor = price / np.asarray(DAY.rtem_eur_per_mwh)
    assert (factor[:, 0] == 1.0).all()
    low = (np.abs(factor[:, 1] - 0.85) < 1e-9).mean()
    assert low == pytest.approx(0.2, abs=0.01)
    assert factor[:, 23].mean() == pytest.approx(1.0125, abs=0.005)


@pytest.mark.parametrize("bad", [{"draws": 1}, {"visited": 0.0}, {"visited": 1.5}])
def test_bad_requests_are_refused(bad):
    with pytest.raises(ScenarioError, match="draws"):
        known_price_bound(DAY, Tariffs(), **bad)
