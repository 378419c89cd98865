"""Uncertain days with battery and car: bounds around one program over the whole tree."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from flexgym.baselines.household import cost_to_go
from flexgym.baselines.household.tables import Moment
from flexgym.baselines.household.two_store_bounds import TwoStoreBounds
from flexgym.envs import Battery, Car, House, Series, Session, Uncertainty
from flexgym.envs.errors import SolverError
from flexgym.envs.household.dynamics import house_row
from flexgym.envs.uncertainty import MarkovChain

DT = 0.25
ROUNDING = 1e-9


def small(rng, factors=(0.5, 1.4)):
    """Two weather states, two price states, two load factors with random probabilities."""

    def chain(values):
        stay = rng.uniform(0.2, 0.95, 2)
        rows = ((stay[0], 1 - stay[0]), (1 - stay[1], stay[1]))
        return MarkovChain(values, rows)

    p = rng.uniform(0.1, 0.9)
    return Uncertainty(chain(factors), chain((0.8, 1.3)), (0.5, 1.6), (p, 1 - p))


def convex_day(rng, random_car_house_day, periods, gives=None, wide=True):
    """A day with the car, import above export price under every factor.

    With a wide connection, and exports that cost nothing where the car gives, every power of
    the car is feasible and sensible beside an idle battery.
    """
    while True:
        house, series, soc, terminal = random_car_house_day(rng, periods)
        car = house.car
        if not series.sessions or (gives is not None and gives != (car.discharge_kw > 0.0)):
            continue
        is_wide = (
            house.import_limit_kw >= car.power_kw
            and house.export_limit_kw >= car.discharge_kw
            and (car.discharge_kw == 0.0 or series.export_eur_per_kwh.min() >= 0.0)
        )
        if is_wide or not wide:
            sell = np.minimum(series.export_eur_per_kwh, 0.7 * series.import_eur_per_kwh)
            return house, replace(series, export_eur_per_kwh=sell), soc, terminal


def check_bounds(house, series, soc, terminal, uncertainty, tolerance, tree_program):
    """lower <= program <= upper for all states; the widest certified distance."""
    solved = cost_to_go(
        house,
        series,
        uncertainty=uncertainty,
        terminal_eur_per_kwh=terminal,
        tolerance_eur=tolerance,
    )
    table = solved.tables
    assert isinstance(table, TwoStoreBounds)
    assert 0.0 <= solved.gap_eur <= tolerance * (1.0 + 1e-6)
    most = house_row(house)[0]
    # The lower bound is stored at the grid; between its points only the gap speaks.
    j = int(np.argmin(np.abs(table.grid_kwh - soc)))
    on_grid = float(table.grid_kwh[j]) if most > 0.0 else 0.0
    for s in range(uncertainty.n_states):
        exact = tree_program(house, series, soc, terminal, uncertainty, s).solve()
        upper = solved.value(0, soc, state=s)
        assert upper - solved.gap_eur - ROUNDING <= exact <= upper + ROUNDING
        exact = tree_program(house, series, on_grid, terminal, uncertainty, s).solve()
        assert table.lower[s, j if most > 0.0 else 0] <= exact + ROUNDING
        assert exact <= solved.value(0, on_grid, state=s) + ROUNDING
    return solved


@pytest.mark.parametrize(("periods", "trees"), [(2, 24), (3, 16), (4, 2)])
def test_bounds_enclose_the_whole_tree(random_car_house_day, tree_program, periods, trees):
    rng = np.random.default_rng(periods)
    seen = dict.fromkeys(("from the start", "later", "to the end", "leaves"), 0)
    for k in range(trees):
        gives = k % 2 == 0
        house, series, soc, terminal = convex_day(rng, random_car_house_day, periods, gives)
        tolerance = (1e-2, 1e-3)[k // 2 % 2]
        check_bounds(house, series, soc, terminal, small(rng), tolerance, tree_program)
        seen["from the start"] += series.sessions[0].arrival == 0
        seen["later"] += series.sessions[-1].arrival > 0
        seen["to the end"] += series.sessions[-1].departure == periods
        seen["leaves"] += series.sessions[0].departure < periods
    assert periods == 4 or min(seen.values()) >= 4, seen


def test_bounds_enclose_the_tree_of_any_house(random_car_house_day, tree_program):
    """Tight connections and exports that cost money included.

    With limits far below the devices the upper bound may stay apart: then it is said.
    """
    rng = np.random.default_rng(6)
    declined = 0
    for _ in range(20):
        house, series, soc, terminal = convex_day(rng, random_car_house_day, 2, wide=False)
        try:
            check_bounds(house, series, soc, terminal, small(rng), 1e-2, tree_program)
        except SolverError:
            declined += 1
    assert declined <= 2


@pytest.mark.parametrize(
    ("house", "session", "sell"),
    [
        # The battery helps the car across the import limit.
        (
            House(Battery(10.0, 5.0), 0.0, 10.0, 2.0, 5.0, car=Car(9.0, 40.0)),
            Session(0, 2, 10.0, 15.0),
            0.05,
        ),
        # The car charges the battery where nothing may be exported.
        (
            House(Battery(10.0, 5.0), 0.0, 10.0, 9.0, 0.0, car=Car(9.0, 40.0, 0.95, 6.0)),
            Session(0, 1, 20.0, 10.0),
            0.05,
        ),
        # Or where export costs money.
        (
            House(Battery(10.0, 5.0), 0.0, 10.0, 30.0, 30.0, car=Car(9.0, 40.0, 0.95, 6.0)),
            Session(0, 1, 20.0, 10.0),
            -0.2,
        ),
    ],
    ids=["import limit", "export limit", "export price"],
)
def test_bounds_meet_where_the_stores_need_each_other(house, session, sell, tree_program):
    """The car's power is feasible only beside a battery that is not idle."""
    load, buy = [0.2, 6.0], [0.3, 0.4]
    series = Series(load, [0.0] * 2, buy, [sell] * 2, sessions=(session,))
    uncertainty = small(np.random.default_rng(0))
    check_bounds(house, series, 4.0, 0.1, uncertainty, 1e-2, tree_program)


def test_missed_energy_may_cost_nothing(tree_program):
    """The car is then a second battery: its only price in the lower bound is not being away."""
    car = Car(7.4, 40.0, discharge_kw=11.0, missed_eur_per_kwh=0.0)
    house = House(Battery(8.0, 4.0), 0.0, 6.0, 30.0, 30.0, car=car)
    day = Series([1.0], [0.0], [0.3], [0.05], (Session(0, 1, 10.0, 0.0),))
    check_bounds(house, day, 2.0, 0.05, small(np.random.default_rng(0)), 1e-3, tree_program)


def test_states_that_do_not_differ_change_nothing(random_car_house_day, day_program):
    """Chains whose states all carry the factor 1 are a known day in disguise."""
    rng = np.random.default_rng(12)
    same = Uncertainty(
        MarkovChain((1.0, 1.0), ((0.9, 0.1), (0.3, 0.7))),
        MarkovChain((1.0, 1.0), ((0.5, 0.5), (0.5, 0.5))),
        (1.0, 1.0),
        (0.25, 0.75),
    )
    for _ in range(8):
        house, series, soc, terminal = convex_day(rng, random_car_house_day, 12)
        solved = cost_to_go(
            house, series, uncertainty=same, terminal_eur_per_kwh=terminal, tolerance_eur=5e-3
        )
        error = solved.value(0, soc) - day_program(house, series, soc, terminal).solve()
        assert -ROUNDING <= error <= solved.gap_eur + ROUNDING


def test_later_values_lie_above_the_program(random_car_house_day, tree_program):
    """After the first period too the value is an upper bound, whatever is in the car."""
    rng = np.random.default_rng(13)
    for k in range(10):
        house, series, _, terminal = convex_day(rng, random_car_house_day, 3, k % 2 == 0)
        arrival = float(rng.uniform(0.0, house.car.capacity_kwh))
        needed = min(arrival + 1.0, house.car.capacity_kwh)
        series = replace(series, sessions=(Session(0, 3, arrival, needed),))
        uncertainty = small(rng)
        solved = cost_to_go(
            house,
            series,
            uncertainty=uncertainty,
            terminal_eur_per_kwh=terminal,
            tolerance_eur=1e-3,
        )
        rest = Series(
            series.load_kw[1:], series.pv_kw[1:], series.import_eur_per_kwh[1:],
            series.export_eur_per_kwh[1:],
        )  # fmt: skip
        low = 0.0 if house.car.discharge_kw > 0.0 else arrival
        high = house.car.target_kwh(series.sessions[0])
        for _ in range(2):
            stored = float(rng.uniform(low, high))
            soc = float(rng.uniform(0.0, house_row(house)[0]))
            later = replace(rest, sessions=(Session(0, 2, stored, needed),))
            for s in range(4):
                exact = tree_program(house, later, soc, terminal, uncertainty, s).solve()
                found = solved.value(1, soc, stored, state=s)
                assert exact - ROUNDING <= found <= exact + 0.05


def cheapest_split(solved, t, state, soc, car_kwh, load, pv, p):
    """Least cost of a meter power over battery, car and PV, the future as the table has it.

    After the period the cost is the convex hull of the table's values over both energies.
    """
    house, series = solved.house, solved.series
    b = house.battery or Battery(0.0, 0.0)
    car = house.car
    ends, levels = solved.tables.ends(t)
    grid = solved.tables.grid_kwh if b.capacity_kwh > 0.0 else np.zeros(1)
    values = ends[state][:, : len(grid)]
    there = any(s.arrival <= t < s.departure for s in series.sessions)
    n = values.size
    cost = np.concatenate([values.ravel(), DT * np.array([b.wear_eur_per_kwh] * 2)])
    cost = np.concatenate([cost, [0.0, 0.0, DT * car.wear_eur_per_kwh]])
    # Charge, discharge, PV, take, give behind the weights.
    upper = [1.0] * n + [b.power_kw, b.power_kw, pv, *((car.power_kw, car.discharge_kw))]
    if not there:
        upper[-2:] = 0.0, 0.0
    equal = np.zeros((4, n + 5))
    equal[0, :n] = 1.0
    equal[1, :n] = np.tile(grid, len(levels))
    equal[1, n : n + 2] = -b.efficiency_charge * DT, DT / b.efficiency_discharge
    equal[2, :n] = np.repeat(levels, len(grid))
    equal[2, n + 3 :] = -car.efficiency_charge * DT, DT / car.efficiency_discharge
    equal[3, n:] = 1.0, -1.0, -1.0, 1.0, -1.0
    right = [1.0, b.retention * soc, car_kwh if there else 0.0, p - load]
    if b.capacity_kwh == 0.0:
        right[1] = 0.0
    shared = np.zeros((2, n + 5))
    shared[0, n : n + 3] = 1.0, -1.0, -1.0
    shared[1] = -shared[0]
    finite = np.isfinite(house.inverter_kva)
    best = np.inf
    for off in ((0, 3), (0, 4), (1, 3), (1, 4)):
        most = list(upper)
        for k in off:
            most[n + k] = 0.0
        answer = linprog(
            cost,
            A_ub=shared if finite else None,
            b_ub=[house.inverter_kva] * 2 if finite else None,
            A_eq=equal,
            b_eq=right,
            bounds=np.column_stack([np.zeros(n + 5), most]),
            method="highs-ds",
        )
        best = min(best, answer.fun) if answer.status == 0 else best
    buy = series.import_eur_per_kwh[t] * solved.uncertainty.price_factor[state]
    return best + DT * (buy * max(p, 0.0) + series.export_eur_per_kwh[t] * min(p, 0.0))


def test_no_point_of_a_chart_is_cheaper_than_its_best_split(random_car_house_day):
    rng = np.random.default_rng(14)
    compared = 0
    for k in range(8):
        house, series, soc, terminal = convex_day(rng, random_car_house_day, 3, k % 2 == 0)
        house = replace(house, import_limit_kw=50.0)
        uncertainty = small(rng)
        solved = cost_to_go(
            house,
            series,
            uncertainty=uncertainty,
            terminal_eur_per_kwh=terminal,
            tolerance_eur=1e-2,
        )
        t = min(series.sessions[0].arrival, 2)
        arrival = series.sessions[0].arrival_kwh if t == series.sessions[0].arrival else 0.0
        for s in (0, 3):
            load = float(series.load_kw[t] * uncertainty.load_factors[s % 2])
            pv = float(series.pv_kw[t] * 0.8)
            chart = solved.chart(t, soc, state=s, load_kw=load, pv_kw=pv)
            slopes = np.diff(chart.cost_eur) / np.diff(chart.power_kw)
            assert (np.diff(slopes) >= -1e-7).all()
            low, high = chart.power_kw[[0, -1]]
            for p in (*rng.uniform(low, high, 6), chart.best_power_kw):
                split = cheapest_split(solved, t, s, soc, arrival, load, pv, p)
                if np.isinf(split):  # at the very end rounding decides
                    continue
                assert chart.cost(p) >= split - 1e-7
                assert chart.cost(p) <= split + 1e-3
                compared += 1
    assert compared >= 60


def test_a_charts_minimum_is_the_greedy_step(random_car_house_day, tree_program):
    """It costs what the greedy powers cost now plus the table's cost after them."""
    rng = np.random.default_rng(15)
    for k in range(8):
        house, series, soc, terminal = convex_day(rng, random_car_house_day, 3, k % 2 == 0)
        uncertainty = small(rng)
        solved = cost_to_go(
            house,
            series,
            uncertainty=uncertainty,
            terminal_eur_per_kwh=terminal,
            tolerance_eur=1e-2,
        )
        for s in range(4):
            best = 0.0
            pairs = zip(uncertainty.load_factors, uncertainty.load_probabilities, strict=True)
            for factor, chance in pairs:
                load = float(series.load_kw[0] * factor)
                chart = solved.chart(0, soc, state=s, load_kw=load)
                best += chance * chart.cost_eur.min()
                greedy = greedy_step(solved, soc, s, load)
                assert chart.cost_eur.min() == pytest.approx(greedy, abs=1e-6)
            exact = tree_program(house, series, soc, terminal, uncertainty, s).solve()
            # The table is kept in single precision, rounded up.
            assert exact - ROUNDING <= best <= solved.value(0, soc, state=s) + 1e-6


def greedy_step(solved, soc, state, load):
    """Cost of what `play` does in period 0 and of the table after it."""
    house, series, u = solved.house, solved.series, solved.uncertainty
    b, car, session = house.battery or Battery(0.0, 0.0), house.car, series.sessions[0]
    there = session.arrival == 0
    stored = session.arrival_kwh if there else 0.0
    weather = u.weather_factor[state]
    pv = min(weather * series.pv_kw[0], max(house.pv_kwp, series.pv_kw[0]))
    buy, sell = series.import_eur_per_kwh[0] * u.price_factor[state], series.export_eur_per_kwh[0]
    battery, power = np.empty(1), np.zeros(1)
    now = Moment(
        0, house_row(house)[None], np.array([soc]), np.array([stored]),
        np.array([[load], [pv], [buy], [sell]]), np.array([state]),
    )  # fmt: skip
    solved.tables.play(now, np.arange(1), battery, power)
    x, y = float(battery[0]), float(power[0])
    least = max(0.0, x - house.inverter_kva)
    most = min(pv, x + house.inverter_kva, load + x + y + house.export_limit_kw)
    used = most if sell >= 0.0 else min(max(load + x + y, least), most)
    wanted = load + x + y - used
    shed = max(0.0, wanted - house.import_limit_kw)
    p = wanted - shed
    cost = DT * (buy * max(p, 0.0) + sell * min(p, 0.0) + house.unserved_eur_per_kwh * shed)
    cost += DT * (b.wear_eur_per_kwh * abs(x) + car.wear_eur_per_kwh * max(-y, 0.0))
    e = b.retention * soc + DT * (x * b.efficiency_charge if x > 0 else x / b.efficiency_discharge)
    c = stored + DT * (y * car.efficiency_charge if y > 0 else y / car.efficiency_discharge)
    after = solved.after(0, state=state, car_kwh=c if there else None)
    return cost + float(after(min(max(e, 0.0), b.capacity_kwh)))
