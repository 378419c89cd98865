"""Charts of random houses against an optimiser that is told the meter power of the period."""

import math

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, milp

from flexgym.baselines.household import cost_to_go
from flexgym.envs import Battery, House, Series, Uncertainty
from flexgym.envs.errors import ScenarioError, StateError
from flexgym.envs.uncertainty import MarkovChain

DT = 0.25


def least_cost(house, series, soc, terminal, meter_kw=None):
    """Least cost of a day whose first period takes ``meter_kw``; inf where it cannot.

    Columns a period: import, export, charge, discharge, PV, unserved, state of charge after.
    In the first period load stays unserved only at the import limit, and the battery does not
    charge and discharge at once.
    """
    T, b = len(series), house.battery or Battery(0.0, 0.0)
    columns = 7 * T + 1
    upper = np.tile(
        [
            house.import_limit_kw,
            house.export_limit_kw,
            b.power_kw,
            b.power_kw,
            0,
            0,
            b.capacity_kwh,
        ],
        T,
    )
    upper = np.append(upper, 1.0)
    upper[4:-1:7], upper[5:-1:7] = series.pv_kw, series.load_kw
    cost = np.zeros(columns)
    cost[0:-1:7], cost[1:-1:7] = DT * series.import_eur_per_kwh, -DT * series.export_eur_per_kwh
    cost[2:-1:7] = cost[3:-1:7] = DT * b.wear_eur_per_kwh
    cost[5:-1:7] = DT * house.unserved_eur_per_kwh
    cost[-2] = -terminal
    rows, low, high = [], [], []

    def add(entries, least, most):
        row = np.zeros(columns)
        for k, value in entries:
            row[k] += value
        rows.append(row)
        low.append(least)
        high.append(most)

    for t in range(T):
        k = 7 * t
        load = series.load_kw[t]
        balance = [(k, 1), (k + 1, -1), (k + 5, 1), (k + 2, -1), (k + 3, 1), (k + 4, 1)]
        add(balance, load, load)
        limit = house.inverter_kva
        add([(k + 2, 1), (k + 3, -1), (k + 4, -1)], -limit, limit)
        energy = [(k + 6, 1), (k + 2, -b.efficiency_charge * DT)]
        energy.append((k + 3, DT / b.efficiency_discharge))
        before = b.retention * soc if t == 0 else 0.0
        if t:
            energy.append((k - 1, -b.retention))
        add(energy, before, before)
    if meter_kw is not None:
        add([(0, 1), (1, -1)], meter_kw, meter_kw)
        if meter_kw < house.import_limit_kw - 1e-9:
            upper[5] = 0.0
        add([(2, 1), (columns - 1, -b.power_kw)], -math.inf, 0.0)
        add([(3, 1), (columns - 1, b.power_kw)], -math.inf, b.power_kw)
    integrality = np.zeros(columns)
    integrality[-1] = meter_kw is not None
    answer = milp(
        cost,
        integrality=integrality,
        bounds=(np.zeros(columns), upper),
        constraints=LinearConstraint(np.array(rows), low, high),
        options={"mip_rel_gap": 0.0},
    )
    assert answer.status in (0, 2), answer.message
    return answer.fun if answer.status == 0 else math.inf


@pytest.fixture(scope="module")
def charts(random_house_day):
    rng = np.random.default_rng(7)
    found = []
    for _ in range(150):
        house, series, _, terminal = random_house_day(rng, 12)
        t = int(rng.integers(12))
        capacity = house.battery.capacity_kwh if house.battery else 0.0
        soc = (0.0, capacity, capacity * rng.random())[rng.integers(3)]
        solved = cost_to_go(house, series, terminal_eur_per_kwh=terminal)
        rest = Series(
            series.load_kw[t:],
            series.pv_kw[t:],
            series.import_eur_per_kwh[t:],
            series.export_eur_per_kwh[t:],
        )
        chart = solved.chart(t, soc)
        found.append((house, rest, soc, terminal, solved.value(t, soc), chart))
    return found


def test_every_power_costs_what_an_optimiser_needs_for_it(charts):
    rng = np.random.default_rng(8)
    worst = 0.0
    for house, rest, soc, terminal, _, chart in charts:
        low, high = chart.power_kw[[0, -1]]
        powers = [low, high, 0.5 * (low + high), low + rng.random() * (high - low)]
        for p in (*powers, rng.choice(chart.power_kw)):
            # At the very end of the range rounding decides feasibility: step inside.
            p = min(max(p, low + 1e-9), high - 1e-9) if high - low > 1e-6 else p
            oracle = least_cost(house, rest, soc, terminal, p)
            worst = max(worst, abs(oracle - float(chart.cost(p))))

    assert worst <= 1e-7


def test_nothing_outside_the_chart_is_feasible(charts):
    for house, rest, soc, terminal, _, chart in charts[::3]:
        for p in (chart.power_kw[0] - 0.01, chart.power_kw[-1] + 0.01):
            assert np.isinf(chart.cost(p))
            assert np.isinf(least_cost(house, rest, soc, terminal, p))


def test_least_cost_is_the_value_and_sits_at_the_best_power(charts):
    worst = 0.0
    for house, rest, soc, terminal, value, chart in charts:
        worst = max(worst, abs(chart.cost_eur.min() - value))
        oracle = least_cost(house, rest, soc, terminal)
        worst = max(worst, abs(oracle - float(chart.cost(chart.best_power_kw))))

    assert worst <= 1e-8


def test_charts_are_convex_and_of_several_kinds(charts):
    points = [len(chart.power_kw) for *_, chart in charts]
    for *_, chart in charts:
        slope = np.diff(chart.cost_eur) / np.diff(chart.power_kw)
        assert (np.diff(slope) >= -1e-6).all()
    assert points.count(1) >= 5
    assert max(points) >= 8


def test_load_beyond_the_limit_leaves_one_power():
    house = House(None, 0.0, 5.0, import_limit_kw=2.0, export_limit_kw=5.0)
    series = Series([5.0, 1.0], [0.0, 0.0], [0.2, 0.2], [0.0, 0.0])
    chart = cost_to_go(house, series).chart(0, 0.0)
    assert chart.power_kw.tolist() == [2.0]
    expected = DT * (0.2 * 2.0 + 3.0 * 3.0) + DT * 0.2 * 1.0
    np.testing.assert_allclose(chart.cost_eur, [expected], rtol=1e-12)
    assert chart.best_power_kw == 2.0
    assert np.isinf(chart.cost([1.9, 2.1])).all()


def test_measurements_move_the_chart():
    """A known surplus measured instead of the forecast enters at once, and only there."""
    battery = Battery(10.0, 4.0, 1.0, 1.0, 0.0)
    house = House(battery, 8.0, 8.0, 20.0, 20.0)
    series = Series([1.0] * 4, [0.0] * 4, [0.1, 0.2, 0.3, 0.4], [0.05] * 4)
    solved = cost_to_go(house, series)
    asked, plain = solved.chart(1, 5.0, load_kw=2.5, pv_kw=0.5), solved.chart(1, 5.0)
    same = solved.chart(1, 5.0, load_kw=1.0, pv_kw=0.0)
    assert same.power_kw.tolist() == plain.power_kw.tolist()
    assert asked.power_kw[-1] == plain.power_kw[-1] + 1.5
    assert asked.power_kw[0] == plain.power_kw[0] + 1.0


def two_states():
    weather = MarkovChain((0.5, 1.5), ((0.8, 0.2), (0.4, 0.6)))
    price = MarkovChain((0.8, 1.2), ((0.7, 0.3), (0.3, 0.7)))
    return Uncertainty(weather, price, (0.5, 1.5), (0.6, 0.4))


def test_expected_best_chart_cost_is_the_value(random_house_day):
    """Before the load is measured, the value is the mean over the charts that may come."""
    rng = np.random.default_rng(9)
    uncertainty = two_states()
    for _ in range(20):
        house, series, soc, terminal = random_house_day(rng, 4)
        series = Series(series.load_kw, series.pv_kw, series.import_eur_per_kwh, np.full(4, -0.01))
        solved = cost_to_go(
            house, series, uncertainty=uncertainty, terminal_eur_per_kwh=terminal, tolerance_eur=0.0
        )
        for t in (0, 2):
            for state in range(4):
                expected = 0.0
                for factor, chance in zip((0.5, 1.5), (0.6, 0.4), strict=True):
                    load = float(series.load_kw[t] * factor)
                    chart = solved.chart(t, soc, state=state, load_kw=load)
                    expected += chance * chart.cost_eur.min()
                np.testing.assert_allclose(
                    expected, solved.value(t, soc, state=state), rtol=0, atol=1e-9
                )


def test_refuses_bad_questions(random_house_day):
    house = House(Battery(10.0, 4.0), 8.0, 8.0, 20.0, 20.0)
    series = Series([1.0] * 3, [1.0] * 3, [0.3] * 3, [0.1] * 3)
    known = cost_to_go(house, series)
    uncertain = cost_to_go(house, series, uncertainty=two_states())
    for soc in (-0.1, 10.1, math.nan):
        with pytest.raises(StateError, match=r"\[0, 10\] kWh"):
            known.chart(0, soc)
        with pytest.raises(StateError, match=r"\[0, 10\] kWh"):
            known.value(0, np.array([1.0, soc]))
    for t in (-1, 3):
        with pytest.raises(ScenarioError, match="period from 0"):
            known.chart(t, 1.0)
    with pytest.raises(ScenarioError, match="period from 0"):
        known.value(4, 1.0)
    for state in (None, -1, 4):
        with pytest.raises(ScenarioError, match="Markov state"):
            uncertain.chart(0, 1.0, state=state)
    with pytest.raises(ScenarioError, match="Markov state"):
        uncertain.value(0, 1.0, state=4)
    for measured in ({"load_kw": -1.0}, {"pv_kw": math.nan}):
        with pytest.raises(ScenarioError, match="measurement"):
            known.chart(0, 1.0, **measured)
    with pytest.raises(StateError, match="no car"):
        known.chart(0, 1.0, 5.0)
    with pytest.raises(StateError, match="no car"):
        known.value(0, 1.0, 5.0)
