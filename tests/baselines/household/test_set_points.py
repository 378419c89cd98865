"""From a point of the chart back to the devices, and holding it inside the period."""

from dataclasses import replace

import numpy as np
import pytest

from flexgym.baselines.household import cost_to_go
from flexgym.envs import Battery, Car, House, Series, Session
from flexgym.envs.charts.capability import capability, in_circle, kink_powers
from flexgym.envs.charts.set_points import absorb, active_set_points, disaggregate
from flexgym.envs.errors import ChartError
from flexgym.envs.household import dynamics as d
from flexgym.envs.household.params import DT_H

INVERTERS = ({}, {"inverter": "separate"}, {"min_power_factor": 0.9})
CAR = Car(7.4, 40.0, 0.93, 3.0, 0.94, 0.02)


def house(**changes):
    base = House(Battery(9.0, 4.0, 0.94, 0.95), 6.0, 6.5, 30.0, 30.0, car=CAR)
    return replace(base, **changes)


def day(load=0.8, sun=4.0):
    buy = np.array([0.3, 0.32, 0.22, 0.2, 0.21, 0.35, 0.38, 0.3])
    pv = sun * np.array([1.0, 0.9, 0.6, 0.3, 0.0, 0.0, 0.0, 0.0])
    return Series(np.full(8, load), pv, buy, np.full(8, 0.08), (Session(1, 7, 18.0, 24.0),))


def played_cost(solved, t, soc, car, points):
    """Cost of set-points by the physics, future included."""
    row = d.house_row(solved.house)
    visit = d.visits(solved.house.car, solved.series.sessions, len(solved.series))[t]
    stored = d.next_soc(row, soc, points.battery_kw)
    in_car = d.next_car(row, visit, car, points.car_kw) if car is not None else None
    later = float(solved.after(t, car_kwh=in_car)(stored))
    paid, earned = d.energy_bill(
        points.power_kw,
        solved.series.import_eur_per_kwh[t],
        solved.series.export_eur_per_kwh[t],
    )
    worn = row[d.WEAR] * abs(points.battery_kw) + row[d.CAR_WEAR] * max(-points.car_kw, 0.0)
    return paid + earned + DT_H * (worn + row[d.UNSERVED] * points.unserved_kw) + later


def check_physics(solved, t, soc, car, points, load, pv):
    row, limits = d.house_row(solved.house), capability(solved.house)
    drawn = load + points.battery_kw + points.car_kw - points.pv_used_kw - points.unserved_kw
    assert points.power_kw == pytest.approx(drawn, abs=1e-8)
    assert points.pv_used_kw + points.curtailed_kw == pytest.approx(pv, abs=1e-9)
    assert -1e-9 <= points.pv_used_kw <= pv + 1e-9
    reactive = points.inverter_kvar + points.battery_kvar
    reactive += limits.load_tan_phi * (load - points.unserved_kw)
    assert points.reactive_kvar == pytest.approx(reactive, abs=1e-8)
    low, high = d.store_range(row, soc)
    assert low - 1e-9 <= points.battery_kw <= high + 1e-9
    if limits.battery_kva is None:
        through = (points.battery_kw - points.pv_used_kw, points.inverter_kvar)
        assert in_circle(limits.kva, *through) <= 1e-8
    else:
        assert in_circle(limits.kva, points.pv_used_kw, points.inverter_kvar) <= 1e-8
        assert in_circle(limits.battery_kva, points.battery_kw, points.battery_kvar) <= 1e-8
    if np.isfinite(limits.tan_phi):
        assert abs(points.inverter_kvar) <= limits.tan_phi * points.pv_used_kw + 1e-8


@pytest.mark.parametrize("inverter", INVERTERS)
@pytest.mark.parametrize("car", [None, 19.0])
def test_points_of_the_chart_are_played_at_their_cost(inverter, car):
    """On a known day: at vertices exactly, between them exactly, with P alone and with Q."""
    solved = cost_to_go(house(**inverter), day(), terminal_eur_per_kwh=0.25)
    t, soc = (0, 4.0) if car is None else (3, 4.0)
    chart = solved.chart(t, soc, car)
    load, pv = float(solved.series.load_kw[t]), float(solved.series.pv_kw[t])
    rng = np.random.default_rng(3)
    weights = rng.dirichlet(np.full(len(chart.vertices), 0.2), 15)
    wanted = np.concatenate([weights @ chart.vertices[:, :2], chart.vertices[::5, :2]])
    for p, q in wanted:
        points = solved.disaggregate(t, soc, car, power_kw=p, reactive_kvar=q)
        assert (points.power_kw, points.reactive_kvar) == pytest.approx((p, q), abs=1e-8)
        check_physics(solved, t, soc, car, points, load, pv)
        assert played_cost(solved, t, soc, car, points) == pytest.approx(
            float(chart.cost(p, q)), abs=1e-7
        )
    for p in chart.power_kw:
        points = solved.disaggregate(t, soc, car, power_kw=p)
        assert played_cost(solved, t, soc, car, points) == pytest.approx(
            float(chart.cost(p)), abs=1e-7
        )


def test_points_of_an_uncertain_day_cost_at_most_what_the_chart_says():
    solved = cost_to_go(
        house(), day(), uncertainty="markov", terminal_eur_per_kwh=0.25, tolerance_eur=0.03
    )
    for state in (0, 4, 8):
        chart = solved.chart(3, 4.0, 19.0, state=state)
        rng = np.random.default_rng(state)
        for weights in rng.dirichlet(np.full(len(chart.vertices), 0.2), 20):
            p, q, cost = weights @ chart.vertices
            points = solved.disaggregate(3, 4.0, 19.0, power_kw=p, reactive_kvar=q, state=state)
            row = d.house_row(solved.house)
            visit = d.visits(CAR, solved.series.sessions, 8)[3]
            in_car = d.next_car(row, visit, 19.0, points.car_kw)
            stored = d.next_soc(row, 4.0, points.battery_kw)
            later = float(solved.after(3, state=state, car_kwh=in_car)(stored))
            buy = solved.series.import_eur_per_kwh[3] * solved.uncertainty.price_factor[state]
            paid, earned = d.energy_bill(p, buy, solved.series.export_eur_per_kwh[3])
            worn = row[d.WEAR] * abs(points.battery_kw)
            worn += row[d.CAR_WEAR] * max(-points.car_kw, 0.0)
            played = paid + earned + DT_H * worn + later
            assert float(chart.cost(p, q)) <= cost + 1e-9
            # The upper bound is convex along e, and only nearly so along c.
            assert played <= float(chart.cost(p, q)) + solved.gap_eur + 1e-9


@pytest.mark.parametrize("inverter", INVERTERS)
def test_what_the_chart_does_not_contain_is_refused(inverter):
    solved = cost_to_go(house(**inverter), day(), terminal_eur_per_kwh=0.25)
    chart = solved.chart(3, 4.0, 19.0)
    low, high = chart.power_kw[[0, -1]]
    for p, q in ((high + 0.01, None), (low - 0.01, None), (0.0, 11.0), (high, 11.0)):
        with pytest.raises(ChartError, match="which the house cannot make"):
            solved.disaggregate(3, 4.0, 19.0, power_kw=p, reactive_kvar=q)


def test_load_is_left_unserved_only_where_nothing_else_helps():
    tight = house(import_limit_kw=1.0, car=None, inverter_kva=2.0)
    series = Series([9.0, 0.5], [0.0, 0.0], [0.3, 0.3], [0.1, 0.1])
    solved = cost_to_go(tight, series)
    chart = solved.chart(0, 4.0)
    points = solved.disaggregate(0, 4.0, power_kw=chart.best_power_kw)
    assert points.power_kw == 1.0
    assert points.unserved_kw == pytest.approx(9.0 - 1.0 + points.battery_kw)
    assert played_cost(solved, 0, 4.0, None, points) == pytest.approx(
        float(chart.cost_eur.min()), abs=1e-9
    )


@pytest.mark.parametrize("inverter", INVERTERS)
def test_the_battery_absorbs_first_then_curtailment(inverter):
    h = house(**inverter)
    solved = cost_to_go(h, day(), terminal_eur_per_kwh=0.25)
    row, limits, t, soc, car = d.house_row(h), capability(h), 2, 4.0, 19.0
    load, pv = float(solved.series.load_kw[t]), float(solved.series.pv_kw[t])
    plan = solved.disaggregate(t, soc, car, power_kw=0.5, reactive_kvar=0.3)
    same = absorb(row, soc, limits, plan, load, pv)
    assert same.held
    assert same.battery_kw == pytest.approx(plan.battery_kw, abs=1e-9)
    rng = np.random.default_rng(1)
    held = not_held = 0
    for _ in range(300):
        now = (load * rng.uniform(0.0, 6.0), pv * rng.uniform(0.0, 2.0))
        found = absorb(row, soc, limits, plan, *now)
        check_physics(solved, t, soc, car, found, *now)
        assert found.car_kw == plan.car_kw
        assert found.power_kw - found.deviation_kw == pytest.approx(0.5, abs=1e-9)
        assert found.reactive_kvar - found.deviation_kvar == pytest.approx(0.3, abs=1e-9)
        low, high = d.store_range(row, soc)
        if limits.battery_kva is None:
            low = max(low, found.pv_used_kw - limits.kva)
            high = min(high, found.pv_used_kw + limits.kva)
        if found.deviation_kw > 1e-9:  # draws too much: nothing is left to give
            assert found.battery_kw == pytest.approx(low, abs=1e-6)
            assert found.curtailed_kw <= 1e-6 or limits.battery_kva is None
        if found.deviation_kw < -1e-9:  # feeds too much: all sun is curtailed
            assert found.battery_kw == pytest.approx(high, abs=1e-6)
            assert found.pv_used_kw <= 1e-6
        if found.curtailed_kw > 1e-6 and plan.curtailed_kw <= 1e-9 and found.held:
            assert found.battery_kw == pytest.approx(high, abs=1e-6)
        held += found.held
        not_held += not found.held
    assert held > 50
    assert not_held > 5


def test_measurements_are_numbers():
    solved = cost_to_go(house(), day(), terminal_eur_per_kwh=0.25)
    plan = solved.disaggregate(3, 4.0, 19.0, power_kw=0.5)
    row, limits = d.house_row(house()), capability(house())
    for load, pv in ((-1.0, 0.0), (1.0, np.nan)):
        with pytest.raises(ChartError, match="expected a measurement"):
            absorb(row, 4.0, limits, plan, load, pv)


def test_sums_of_houses_with_cars_are_associative():
    """As functions of P and Q; lists of vertices may differ by ones that could be left out."""
    charts = []
    for k, inverter in enumerate(INVERTERS):
        solved = cost_to_go(house(**inverter), day(0.5 + k, 4.0 - k), terminal_eur_per_kwh=0.25)
        charts.append(solved.chart(2 + k, 3.0 + k, 18.5 + k).coarsen(24))
    a, b, c = charts
    left, right = (a + b) + c, a + (b + c)
    rng = np.random.default_rng(5)
    p, q = (rng.dirichlet(np.full(len(left.vertices), 0.1), 200) @ left.vertices[:, :2]).T
    np.testing.assert_allclose(left.cost(p, q), right.cost(p, q), rtol=0, atol=1e-9)
    np.testing.assert_allclose(left.cost(p), right.cost(p), rtol=0, atol=1e-9)


def any_house(rng, random_car_house_day, k):
    """A random house, its inverters hybrid or separate, with its solved day of 12 periods."""
    found, series, _, terminal = random_car_house_day(rng, 12)
    if k % 2 and found.battery:
        rating = found.battery.power_kw * rng.uniform(0.3, 1.5)
        kva = found.pv_kwp + 1.0
        found = replace(found, inverter="separate", battery_inverter_kva=rating, inverter_kva=kva)
    return found, cost_to_go(found, series, terminal_eur_per_kwh=terminal)


def test_points_of_active_power_alone_are_those_of_the_program(random_car_house_day):
    """At all corners, where ways of equal power cost differently, and between them."""
    rng = np.random.default_rng(11)
    seen = dict.fromkeys(("hybrid", "separate", "unserved", "curtailed", "shared"), 0)
    for k in range(60):
        h, solved = any_house(rng, random_car_house_day, k)
        row, limits, t = d.house_row(h), capability(h), int(rng.integers(12))
        soc, car = rng.choice([0.0, 0.5, 1.0]) * row[d.CAPACITY], 0.0
        here = [s for s in solved.series.sessions if s.arrival <= t < s.departure]
        for session in here:
            top = max(h.car.target_kwh(session), session.arrival_kwh)
            car = session.arrival_kwh + rng.random() * (top - session.arrival_kwh)
        load, pv = float(solved.series.load_kw[t]), float(solved.series.pv_kw[t])
        levels = solved.tables.ahead(t, 0, soc, car, kink_powers(limits, pv))
        inside = here and here[0].arrival < t
        if here and not inside:
            car = here[0].arrival_kwh
            levels = solved.tables.ahead(t, 0, soc, car, kink_powers(limits, pv))
        chart = solved.chart(t, soc, car if inside else None)
        low, high = chart.power_kw[[0, -1]]
        wanted = np.concatenate(
            [chart.power_kw, rng.uniform(low, high, 6), [chart.best_power_kw, load, 0.0, load - pv]]
        )
        for p in wanted.clip(low, high):
            points = active_set_points(row, soc, load, pv, levels, limits, p)
            check_active(row, limits, points, soc, load, pv, p)
            mine = played_cost(solved, t, soc, car if here else None, points)
            assert mine == pytest.approx(float(chart.cost(p)), abs=1e-7), (k, p)
            program = disaggregate(row, soc, load, pv, levels, limits, p)
            other = played_cost(solved, t, soc, car if here else None, program)
            assert mine == pytest.approx(other, abs=1e-7), (k, p)
            seen[h.inverter] += 1
            seen["unserved"] += points.unserved_kw > 1e-6
            seen["curtailed"] += points.curtailed_kw > 1e-6
            seen["shared"] += points.battery_kw < -1e-6 and points.car_kw > 1e-6
        shed = points.unserved_kw > 0.0  # then any less could be served
        for p in (high + 0.01, np.nan, *([] if shed else [low - 0.01])):
            with pytest.raises(ChartError):
                active_set_points(row, soc, load, pv, levels, limits, float(p))
    assert min(seen.values()) >= 10, seen


def check_active(row, limits, points, soc, load, pv, wanted):
    """The power is made exactly, within the ranges of every device."""
    drawn = load + points.battery_kw + points.car_kw - points.pv_used_kw - points.unserved_kw
    assert points.power_kw == wanted == pytest.approx(drawn, abs=1e-8)
    assert points.pv_used_kw + points.curtailed_kw == pytest.approx(pv, abs=1e-9)
    assert -1e-9 <= points.pv_used_kw <= pv + 1e-9
    low, high = d.store_range(row, soc)
    assert low - 1e-9 <= points.battery_kw <= high + 1e-9
    assert abs(points.battery_kw - points.pv_used_kw) <= row[d.INVERTER] + 1e-9
    if limits.battery_kva is not None and limits.kva > 0.0:
        assert points.pv_used_kw <= limits.kva + 1e-9


def test_a_power_that_idling_makes_may_be_made_cheaper():
    """Battery to car leaves the meter where it was: the house gives what it stored."""
    h = House(Battery(10.0, 5.0, 1.0, 1.0), 0.0, 8.0, 30.0, 30.0, car=Car(2.2, 40.0))
    series = Series(
        [0.0] * 4, [0.0] * 4, [0.3] * 4, [0.0] * 4, sessions=(Session(0, 4, 10.0, 12.0),)
    )
    solved = cost_to_go(h, series, terminal_eur_per_kwh=0.1)
    points = solved.disaggregate(3, 6.0, 11.6, power_kw=0.0)
    assert points.car_kw == pytest.approx(1.6 / Car(2.2, 40.0).efficiency_charge, abs=1e-9)
    assert points.battery_kw == pytest.approx(-points.car_kw, abs=1e-9)
