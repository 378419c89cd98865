"""Charts of known days with battery and car against programs told the power at the meter."""

import math
from dataclasses import replace

import numpy as np
import pytest

from flexgym.baselines.household import cost_to_go
from flexgym.envs import Battery, Car, House, Load, Series, Session
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.capability import SIDES
from flexgym.envs.errors import ConvexityError

KINDS = ("hybrid", "hybrid, power factor", "separate", "separate, power factor")
HOUSES, PERIODS = 15, 5
EXPORT, CHARGE, DISCHARGE, PV, UNSERVED, TAKE, GIVE = 1, 2, 3, 4, 5, 7, 8


class Meter:
    """A program whose first period has inverters with q and a power at the meter."""

    def __init__(self, program):
        self.program, house = program, program.house
        self.q, self.own = (program.column(-math.inf, math.inf) for _ in range(2))
        separate = house.inverter == "separate"
        if separate:
            self._polygon({PV: 1}, self.q, house.inverter_kva if house.pv_kwp > 0 else 0.0)
            rating = 0.0
            if house.battery:
                rating = house.battery_inverter_kva
                rating = house.battery.power_kw if rating is None else rating
            self._polygon({CHARGE: 1, DISCHARGE: -1}, self.own, rating)
        else:
            there = house.battery is not None or house.pv_kwp > 0
            rating = house.inverter_kva if there else 0.0
            self._polygon({CHARGE: 1, DISCHARGE: -1, PV: -1}, self.q, rating)
            self._polygon({}, self.own, 0.0)
        if house.min_power_factor is not None:
            tan_phi = math.tan(math.acos(house.min_power_factor))
            for sign in (-1.0, 1.0):
                program.row({self.q: sign, PV: -tan_phi}, -math.inf, 0.0)
        self.tan_phi, self.load = house.load.tan_phi, program.upper[UNSERVED]
        self.p_row = {0: 1.0, EXPORT: -1.0}
        self.q_row = {self.q: 1.0, self.own: 1.0, UNSERVED: -self.tan_phi}
        # Load stays unserved only if it must, and then the limit is all there is.
        program.upper[UNSERVED] = 0.0
        self.short = not math.isfinite(program.solve(np.zeros(len(program.cost))))
        if self.short:
            program.upper[UNSERVED] = self.load
            program.row(self.p_row, house.import_limit_kw, house.import_limit_kw)

    def _polygon(self, active, reactive, kva):
        if not math.isfinite(kva) or kva == 0.0:
            self.program.row({reactive: 1.0}, 0.0, 0.0)
            return
        for k in range(SIDES):
            angle = (2 * k + 1) * math.pi / SIDES
            side = {column: sign * math.cos(angle) for column, sign in active.items()}
            side[reactive] = math.sin(angle)
            self.program.row(side, -math.inf, kva * math.cos(math.pi / SIDES))

    def at(self, p, q=None):
        fixed = [(self.p_row, p)]
        if q is not None:
            fixed.append((self.q_row, q - self.tan_phi * self.load))
        return self.program.solve(fixed=fixed, exclusive=True)

    def support(self, a, b, weight):
        """Least of weight*cost - a*p - b*q."""
        objective = weight * np.array(self.program.cost)
        for price, row in ((a, self.p_row), (b, self.q_row)):
            for column, value in row.items():
                objective[column] -= price * value
        return self.program.solve(objective, exclusive=True) - b * self.tan_phi * self.load


def draw(rng, kind, random_car_house_day):
    """A house whose car is there in the period asked for, as a rule."""
    while True:
        house, series, _, terminal = random_car_house_day(rng, PERIODS + 2)
        t = int(rng.integers(2))
        there = [s for s in series.sessions if s.arrival <= t < s.departure]
        if there or rng.random() < 0.05:
            break
    house = replace(house, load=Load(tan_phi=float(rng.choice([0.0, 0.3, -0.2]))))
    if kind.startswith("separate"):
        rating = max(house.pv_kwp, 1.0) * rng.choice([1.0, 1.3])
        own = rng.choice([None, 0.5, 1.2]) if house.battery else None
        own = None if own is None else float(own) * house.battery.power_kw
        house = replace(house, inverter="separate", inverter_kva=rating, battery_inverter_kva=own)
    if "factor" in kind:
        house = replace(house, min_power_factor=float(rng.choice([0.8, 0.95, 1.0])))
    most = house.battery.capacity_kwh if house.battery else 0.0
    soc = float(rng.choice([0.0, most, rng.uniform(0.0, most)]))
    stored = None
    if there and there[0].arrival < t:
        low = 0.0 if house.car.discharge_kw > 0.0 else there[0].arrival_kwh
        high = max(house.car.target_kwh(there[0]), there[0].arrival_kwh)
        stored = float(rng.choice([low, high, rng.uniform(low, high)]))
    return house, series, terminal, t, soc, stored


@pytest.fixture(scope="module", params=KINDS)
def charts(request, random_car_house_day, day_program):
    rng = np.random.default_rng(17)
    found = []
    for _ in range(HOUSES):
        house, series, terminal, t, soc, stored = draw(rng, request.param, random_car_house_day)
        solved = cost_to_go(house, series, terminal_eur_per_kwh=terminal)
        meter = Meter(day_program(house, series, soc, terminal, t, stored))
        found.append((meter, solved.chart(t, soc, stored), solved.value(t, soc, stored)))
    return found


def inside(rng, chart, n):
    """Points of the chart: mixtures of two vertices, drawn a little to the best point.

    At the very end rounding decides what the solver calls feasible; the support tests go there.
    """
    v = chart.vertices[:, :2]
    a, b, share = v[rng.integers(len(v), size=n)], v[rng.integers(len(v), size=n)], rng.random(n)
    mixed = share[:, None] * a + (1 - share[:, None]) * b
    return mixed + 1e-6 * (np.array(chart.best) - mixed)


def test_every_active_power_costs_what_a_program_needs_for_it(charts):
    rng = np.random.default_rng(18)
    worst = 0.0
    for meter, chart, _ in charts:
        low, high = chart.power_kw[[0, -1]]
        powers = np.concatenate([rng.uniform(low, high, 40), rng.choice(chart.power_kw, 8)])
        powers = np.append(powers, [low, high])
        if high - low > 1e-6:
            powers = powers.clip(low + 1e-9, high - 1e-9)
        oracle = [meter.at(p) for p in powers]
        worst = max(worst, np.abs(chart.cost(powers) - oracle).max())
    assert worst <= 1e-7


def test_every_pair_costs_what_a_program_needs_for_it(charts):
    rng = np.random.default_rng(19)
    worst = 0.0
    for meter, chart, _ in charts:
        points = np.concatenate([inside(rng, chart, 49), [chart.best]])
        oracle = [meter.at(p, q) for p, q in points]
        worst = max(worst, np.abs(chart.cost(*points.T) - oracle).max())
    assert worst <= 1e-7


def test_support_in_64_directions(charts):
    """Of the region (cost without weight) and of the cost above it."""
    rng = np.random.default_rng(20)
    for meter, chart, _ in charts[::4]:
        p, q, cost = chart.vertices.T
        for angle in 2 * math.pi * (np.arange(64) + rng.random()) / 64:
            for weight in (0.0, 1.0):
                size = 1.0 if weight == 0.0 else rng.choice([0.003, 0.03, 0.3])
                a, b = size * math.cos(angle), size * math.sin(angle)
                mine = (weight * cost - a * p - b * q).min()
                assert meter.support(a, b, weight) == pytest.approx(mine, abs=1e-7)


def test_nothing_outside_is_feasible(charts):
    for meter, chart, _ in charts[::2]:
        for a, b, c in chart.sides:
            p, q = np.array(chart.best) - (np.dot((a, b), chart.best) + c - 0.01) * np.array((a, b))
            assert not chart.contains(p, q)
            assert np.isinf(chart.cost(p, q))
            assert math.isinf(meter.at(p, q))
        for p in (chart.power_kw[0] - 0.01, chart.power_kw[-1] + 0.01):
            assert np.isinf(chart.cost(p))
            assert math.isinf(meter.at(p))


def test_what_a_chart_says_of_itself_agrees(charts):
    for _, chart, value in charts:
        assert chart.cost_eur.min() == pytest.approx(value, abs=1e-8)
        assert chart.vertices[:, 2].min() == pytest.approx(value, abs=1e-8)
        assert chart.cost(*chart.best) == pytest.approx(value, abs=1e-8)
        again = FlexibilityChart.from_vertices(chart.vertices)
        assert again == chart == FlexibilityChart.from_bytes(chart.to_bytes())
        low, high = chart.power_kw[[0, -1]]
        assert again.power_kw[[0, -1]] == pytest.approx([low, high], abs=1e-8)
        p = np.linspace(low, high, 23)[1:-1] if high > low else chart.power_kw
        np.testing.assert_allclose(again.cost(p), chart.cost(p), rtol=0, atol=1e-7)


def test_the_charts_are_of_several_kinds(charts):
    sizes = [len(chart.power_kw) for _, chart, _ in charts]
    assert max(sizes) >= 6
    assert sum(meter.short for meter, *_ in charts) <= 0.5 * HOUSES


def test_values_of_separate_inverters(random_car_house_day, day_program):
    rng = np.random.default_rng(21)
    for kind in KINDS[2:]:
        for _ in range(20):
            house, series, terminal, t, soc, stored = draw(rng, kind, random_car_house_day)
            solved = cost_to_go(house, series, terminal_eur_per_kwh=terminal)
            oracle = day_program(house, series, soc, terminal, t, stored).solve()
            assert solved.value(t, soc, stored) == pytest.approx(oracle, abs=1e-7)


def test_a_whole_day_ahead(random_car_house_day, day_program):
    """Real days have many kinks: 96 periods, the car there."""
    rng = np.random.default_rng(22)
    seen = 0
    while seen < 4:
        house, series, _, terminal = random_car_house_day(rng, 96)
        if house.battery is None or not series.sessions or series.sessions[0].arrival > 40:
            continue
        seen += 1
        t = series.sessions[0].arrival
        soc = 0.4 * house.battery.capacity_kwh
        solved = cost_to_go(house, series, terminal_eur_per_kwh=terminal)
        chart = solved.chart(t, soc)
        meter = Meter(day_program(house, series, soc, terminal, t))
        for p, q in inside(rng, chart, 12):
            assert meter.at(p, q) == pytest.approx(float(chart.cost(p, q)), abs=1e-7)
            assert meter.at(p) == pytest.approx(float(chart.cost(p)), abs=1e-7)
        assert chart.cost_eur.min() == pytest.approx(solved.value(t, soc), abs=1e-8)


def test_measurements_move_the_chart(day_program):
    house = House(Battery(8.0, 4.0), 8.0, 8.0, 20.0, 20.0, car=Car(7.0, 40.0, discharge_kw=3.0))
    visit = (Session(0, 4, 20.0, 25.0),)
    series = Series([1.0] * 4, [2.0] * 4, [0.1, 0.3, 0.2, 0.4], [0.05] * 4, sessions=visit)
    solved = cost_to_go(house, series, terminal_eur_per_kwh=0.1)
    chart = solved.chart(1, 5.0, 21.0, load_kw=2.5, pv_kw=0.5)
    load, pv = series.load_kw.copy(), series.pv_kw.copy()
    load[1], pv[1] = 2.5, 0.5
    measured = replace(series, load_kw=load, pv_kw=pv)
    meter = Meter(day_program(house, measured, 5.0, 0.1, 1, 21.0))
    for p in np.linspace(*chart.power_kw[[0, -1]], 30)[1:-1]:
        assert meter.at(p) == pytest.approx(float(chart.cost(p)), abs=1e-8)


def test_a_car_at_full_power_and_load_beyond_the_limit():
    """By hand: 5 kW of load, 2 kW of connection; the car gives what it can."""
    car = Car(7.0, 40.0, 1.0, 2.0, 1.0, 0.0, 1.0)
    house = House(None, 0.0, 0.0, 2.0, 5.0, car=car)
    series = Series([5.0], [0.0], [0.2], [0.1], sessions=(Session(0, 1, 10.0, 10.0),))
    chart = cost_to_go(house, series).chart(0, 0.0)
    assert chart.power_kw.tolist() == [2.0]
    # 1 kW stays unserved for 3 EUR/kWh, the car misses half a kWh.
    expected = 0.25 * (0.2 * 2.0 + 3.0 * 1.0) + 0.5 * 1.0
    np.testing.assert_allclose(chart.cost_eur, [expected], rtol=1e-12)


def test_energy_worth_more_than_unserved_load_is_refused():
    house = House(Battery(5.0, 3.0), 5.0, 5.0, 0.5, 30.0, car=Car(7.0, 40.0))
    series = Series([1.0], [0.0], [0.3], [0.1], sessions=(Session(0, 1, 10.0, 10.0),))
    solved = cost_to_go(house, series, terminal_eur_per_kwh=5.0)
    with pytest.raises(ConvexityError, match="worth more than unserved"):
        solved.chart(0, 1.25)
