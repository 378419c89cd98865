"""Physics of the house: balances, limits, action maps and the cost of a period."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.envs import Battery, House
from flexgym.envs.errors import StateError
from flexgym.envs.household import dynamics as d
from flexgym.envs.household.action_map import (
    ACTION_MAPS,
    action_from_power,
    balancing,
    power_from_action,
)
from flexgym.envs.household.params import DT_H
from flexgym.envs.household.stage import STAGE_PIECES, is_convex, stage_cost

SLACK = 1e-9


def limits(most):
    return st.one_of(st.just(math.inf), st.just(0.0), st.floats(0.0, most))


batteries = st.builds(
    Battery,
    capacity_kwh=st.one_of(st.just(0.0), st.floats(0.1, 15.0)),
    power_kw=st.one_of(st.just(0.0), st.floats(0.1, 8.0)),
    efficiency_charge=st.floats(0.5, 1.0),
    efficiency_discharge=st.floats(0.5, 1.0),
    wear_eur_per_kwh=st.floats(0.0, 0.1),
    retention=st.floats(0.9, 1.0),
)
houses = st.builds(
    House,
    battery=st.one_of(st.none(), batteries),
    pv_kwp=st.floats(0.0, 12.0),
    inverter_kva=limits(12.0),
    import_limit_kw=limits(10.0),
    export_limit_kw=limits(10.0),
    unserved_eur_per_kwh=st.floats(1.0, 5.0),
)
powers = st.one_of(st.just(0.0), st.floats(0.0, 12.0))
actions = st.floats(-1.0, 1.0)
shares = st.floats(0.0, 1.0)
any_price = st.floats(-0.3, 0.5)
kinds = st.integers(0, len(ACTION_MAPS) - 1)


def capacity(house):
    return house.battery.capacity_kwh if house.battery else 0.0


def play(house, soc, action, load, pv, buy, sell, *, kind=0, last=False, terminal=0.0):
    """One period of one house; the outcome by name."""
    outcome = np.empty((1, len(d.OUTCOME_NAMES)))
    now = np.array([[load], [pv], [buy], [sell]])
    state, car = np.array([soc]), np.zeros(1)
    played = np.atleast_2d(np.asarray(action, dtype=np.float64))
    row, no_visit, price = d.house_row(house)[None], np.empty((5, 0)), np.array([terminal])
    d.step(kind, 0, last, played, row, now, no_visit, price, state, car, outcome)
    assert state[0] == outcome[0, d.SOC_KWH]
    assert not outcome[0, [d.CAR_KW, d.CAR_KWH, d.MISSED_KWH, d.MISSED_EUR]].any()
    assert not car.any()
    return dict(zip(d.OUTCOME_NAMES, outcome[0].tolist(), strict=True))


@given(
    house=houses,
    share=shares,
    action=st.lists(actions, min_size=1, max_size=2),
    load=powers,
    pv=powers,
    buy=any_price,
    margin=shares,
    kind=kinds,
    last=st.booleans(),
)
@settings(max_examples=600, deadline=None)
def test_balances_and_limits(house, share, action, load, pv, buy, margin, kind, last):
    b = house.battery or Battery(0.0, 0.0, wear_eur_per_kwh=0.0)
    soc, sell = share * b.capacity_kwh, buy - 0.5 * margin
    out = play(house, soc, action, load, pv, buy, sell, kind=kind, last=last, terminal=0.2)
    battery, used, meter = out["battery_kw"], out["pv_used_kw"], out["meter_kw"]

    # Energy and power balance.
    charge, discharge = max(battery, 0.0), max(-battery, 0.0)
    stored = b.retention * soc + b.efficiency_charge * charge * DT_H
    stored -= discharge * DT_H / b.efficiency_discharge
    assert out["soc_kwh"] == pytest.approx(stored, abs=SLACK)
    assert meter == pytest.approx(load - out["unserved_kw"] + battery - used, abs=SLACK)
    assert used + out["curtailed_kw"] == pytest.approx(pv, abs=SLACK)

    # Limits.
    assert abs(battery) <= b.power_kw + SLACK
    assert 0.0 <= out["soc_kwh"] <= b.capacity_kwh
    assert abs(battery - used) <= house.inverter_kva + SLACK
    assert -house.export_limit_kw - SLACK <= meter <= house.import_limit_kw + SLACK
    assert out["curtailed_kw"] >= -SLACK
    assert used >= 0.0
    assert 0.0 <= out["unserved_kw"] <= load + SLACK
    if out["unserved_kw"] > 0.0:
        assert meter == pytest.approx(house.import_limit_kw, abs=SLACK)

    # Money.
    bill = buy * DT_H * meter if meter > 0.0 else sell * DT_H * meter
    assert out["import_eur"] + out["export_eur"] == pytest.approx(bill, abs=SLACK)
    assert out["wear_eur"] == pytest.approx(
        b.wear_eur_per_kwh * (charge + discharge) * DT_H, abs=SLACK
    )
    lost = house.unserved_eur_per_kwh * out["unserved_kw"] * DT_H
    assert out["unserved_eur"] == pytest.approx(lost, abs=SLACK)
    assert out["terminal_eur"] == pytest.approx(-0.2 * out["soc_kwh"] if last else 0.0, abs=SLACK)
    terms = sum(out[name] for name in d.COST_TERMS)
    assert out["cost_eur"] == pytest.approx(terms, abs=SLACK)


@given(house=houses, share=shares, load=powers, pv=powers, kind=kinds, position=shares)
@settings(max_examples=600, deadline=None)
def test_action_map_has_a_right_inverse(house, share, load, pv, kind, position):
    row = d.house_row(house)
    low, high = d.battery_range(row, share * capacity(house), load, 0.0, pv)
    assert low <= 0.0 <= high
    kink = balancing(low, high, load, pv)
    for wanted in (low + position * (high - low), low, high, 0.0, kink):
        power = min(max(wanted, low), high)
        action = action_from_power(kind, power, row[d.POWER], low, high, kink)
        assert -1.0 <= action <= 1.0
        played = power_from_action(kind, action, row[d.POWER], low, high, kink)
        assert abs(played - power) <= 1e-12
        assert low <= played <= high


@given(house=houses, share=shares, load=powers, pv=powers, kind=kinds)
@settings(max_examples=200, deadline=None)
def test_action_map_is_monotone_onto_the_feasible_range(house, share, load, pv, kind):
    row = d.house_row(house)
    low, high = d.battery_range(row, share * capacity(house), load, 0.0, pv)
    grid = np.linspace(-1.0, 1.0, 161)
    kink = balancing(low, high, load, pv)
    played = [power_from_action(kind, a, row[d.POWER], low, high, kink) for a in grid]
    assert (np.diff(played) >= -1e-12).all()
    assert played[0] == pytest.approx(low, abs=1e-12)
    assert played[-1] == pytest.approx(high, abs=1e-12)
    assert max(played) <= high
    assert min(played) >= low


def test_plateaus_are_the_two_kinks_of_the_cost():
    house = House(Battery(10.0, 4.0), 8.0, 10.0, 30.0, 30.0)
    row = d.house_row(house)
    for load, pv, kinks in ((1.0, 3.0, (0.0, 2.0)), (3.0, 1.0, (-2.0, 0.0))):
        low, high = d.battery_range(row, 5.0, load, 0.0, pv)
        assert (low, high) == (-4.0, 4.0)
        args = (row[d.POWER], low, high, balancing(low, high, load, pv))
        for action, power in ((-1.0, -4.0), (-0.5, kinks[0]), (-0.2, kinks[0])):
            assert power_from_action(0, action, *args) == power
        for action, power in ((0.2, kinks[1]), (0.5, kinks[1]), (1.0, 4.0)):
            assert power_from_action(0, action, *args) == power


@given(
    house=houses,
    share=shares,
    action=actions,
    load=powers,
    pv=powers,
    buy=any_price,
    margin=shares,
)
@settings(max_examples=400, deadline=None)
def test_automatic_curtailment_is_the_cheapest(house, share, action, load, pv, buy, margin):
    sell = buy - 0.5 * margin
    soc = share * capacity(house)
    best = play(house, soc, [action], load, pv, buy, sell)
    for usage in np.linspace(-1.0, 1.0, 21):
        other = play(house, soc, [action, usage], load, pv, buy, sell)
        assert other["battery_kw"] == best["battery_kw"]
        assert best["cost_eur"] <= other["cost_eur"] + SLACK


@given(
    house=houses,
    share=shares,
    action=actions,
    load=powers,
    pv=powers,
    buy=st.floats(0.0, 0.5),
    margin=shares,
)
@settings(max_examples=600, deadline=None)
def test_cost_against_stored_energy_is_what_the_step_charges(
    house, share, action, load, pv, buy, margin
):
    row = d.house_row(house)
    sell, soc = buy - 0.5 * margin, share * capacity(house)
    out = play(house, soc, [action], load, pv, buy, sell)
    slopes, lengths = np.empty(STAGE_PIECES), np.empty(STAGE_PIECES)
    n, low, cost = stage_cost(row, load, 0.0, pv, buy, sell, slopes, lengths)
    slopes, lengths = slopes[:n], lengths[:n]
    x = low + np.concatenate([[0.0], np.cumsum(lengths)])
    y = cost + np.concatenate([[0.0], np.cumsum(slopes * lengths)])
    change = out["soc_kwh"] - row[d.RETENTION] * soc
    assert x[0] - SLACK <= change <= x[-1] + SLACK
    assert np.interp(change, x, y) == pytest.approx(out["cost_eur"], abs=1e-8)
    assert (np.diff(slopes) >= -1e-12).all()
    assert is_convex(row, *(np.array([v]) for v in (load, pv, buy, sell))) == -1


def test_feasible_range_is_as_wide_as_the_limits_allow():
    """Half a kW beyond either end breaks a limit, so nothing feasible is out of reach."""
    rng = np.random.default_rng(3)
    for _ in range(400):
        battery = Battery(rng.uniform(0.5, 5), rng.uniform(1, 8), 0.9, 0.8, 0.0, 0.99)
        house = House(battery, 9.0, *rng.uniform(0.5, 9.0, 3))
        row, soc = d.house_row(house), rng.random() * battery.capacity_kwh
        load, pv = rng.uniform(0, 6, 2)
        for power, side in zip(d.battery_range(row, soc, load, 0.0, pv), (-1, 1), strict=True):
            beyond = power + side * 0.5
            stored = 0.99 * soc + (0.9 * beyond * DT_H if beyond > 0 else beyond * DT_H / 0.8)
            within_store = 0.0 <= stored <= battery.capacity_kwh
            within_power = abs(beyond) <= battery.power_kw
            # Some PV use in [0, pv] and some unserved load must fit inverter and meter; the
            # battery itself may not draw more than the connection gives.
            used = np.linspace(0.0, pv, 2001)
            fits = np.abs(beyond - used) <= house.inverter_kva
            fits &= load + beyond - used >= -house.export_limit_kw
            fits &= beyond - used <= house.import_limit_kw
            assert not (within_store and within_power and fits.any())


def test_negative_import_price_is_where_convexity_ends():
    row = d.house_row(House(Battery(10.0, 4.0, 0.9, 0.9, 0.0), 0.0, 9.0, 30.0, 30.0))
    one, none = np.array([1.0, 1.0]), np.zeros(2)
    assert is_convex(row, one, none, np.array([0.2, 0.2]), np.array([0.1, -0.3])) == -1
    assert is_convex(row, one, none, np.array([0.2, -0.1]), np.array([0.1, -0.1])) == 1


def test_state_of_charge_is_checked():
    d.check_soc(np.array([0.0, 5.0]), 5.0)
    for soc in (-1e-6, 5.1, math.nan):
        with pytest.raises(StateError, match=r"\[0, 5\] kWh"):
            d.check_soc(np.array([1.0, soc]), 5.0)
