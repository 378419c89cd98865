"""Charts in P and Q against optimisers that know nothing of merged slopes or hulls."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from flexgym.baselines.household import cost_to_go, perfect_foresight
from flexgym.envs import Battery, House, Load, Series
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.capability import SIDES, capability, in_circle, polygon, reactive_limit
from flexgym.envs.errors import HouseError

DT = 0.25
KINDS = ("hybrid", "hybrid, power factor", "separate", "separate, power factor")


class Oracle:
    """The rest of the day as two linear programs, inverters with q in the first period.

    Columns a period: import, export, charge, discharge, PV, unserved, state of charge after;
    then whether the battery charges now, q of the first inverter, q of the battery's own.
    """

    def __init__(self, house, series, soc, terminal):
        T, b = len(series), house.battery or Battery(0.0, 0.0)
        n = 7 * T + 3
        self.z, self.q, self.q_battery = n - 3, n - 2, n - 1
        separate = house.inverter == "separate"
        own = house.battery_inverter_kva
        own = b.power_kw if own is None else own
        power = min(b.power_kw, own) if separate else b.power_kw
        self.rows, self.low_, self.high = [], [], []
        self.lower, self.upper = np.zeros(n), np.zeros(n)
        limits = (house.import_limit_kw, house.export_limit_kw, power, power, 0, 0, b.capacity_kwh)
        self.upper[: 7 * T] = np.tile(limits, T)
        self.upper[4 : 7 * T : 7], self.upper[5 : 7 * T : 7] = series.pv_kw, series.load_kw
        self.upper[self.z] = 1.0
        self.lower[-2:], self.upper[-2:] = -math.inf, math.inf
        self.cost = np.zeros(n)
        self.cost[0 : 7 * T : 7] = DT * series.import_eur_per_kwh
        self.cost[1 : 7 * T : 7] = -DT * series.export_eur_per_kwh
        self.cost[2 : 7 * T : 7] = self.cost[3 : 7 * T : 7] = DT * b.wear_eur_per_kwh
        self.cost[5 : 7 * T : 7] = DT * house.unserved_eur_per_kwh
        self.cost[7 * T - 1] = -terminal
        for t in range(T):
            k, load = 7 * t, series.load_kw[t]
            balance = {k: 1, k + 1: -1, k + 5: 1, k + 2: -1, k + 3: 1, k + 4: 1}
            self.add(balance, load, load)
            if not separate:
                s = house.inverter_kva
                self.add({k + 2: 1, k + 3: -1, k + 4: -1}, -s, s)
            energy = {k + 6: 1, k + 2: -b.efficiency_charge * DT}
            energy[k + 3] = DT / b.efficiency_discharge
            if t:
                energy[k - 1] = -b.retention
            before = 0.0 if t else b.retention * soc
            self.add(energy, before, before)
        self.add({2: 1, self.z: -power}, -math.inf, 0.0)
        self.add({3: 1, self.z: power}, -math.inf, power)
        if separate:
            self.polygon({4: -1}, self.q, house.inverter_kva if house.pv_kwp > 0 else 0.0)
            self.polygon({2: 1, 3: -1}, self.q_battery, own if house.battery else 0.0)
        else:
            there = house.battery or house.pv_kwp > 0
            self.polygon({2: 1, 3: -1, 4: -1}, self.q, house.inverter_kva if there else 0.0)
            self.add({self.q_battery: 1}, 0.0, 0.0)
        if house.min_power_factor is not None:
            tan_phi = math.tan(math.acos(house.min_power_factor))
            for sign in (-1, 1):
                self.add({self.q: sign, 4: -tan_phi}, -math.inf, 0.0)
        # Meter: p and q as rows, q = tan_phi * load served + inverters.
        tan_phi, load = house.load.tan_phi, series.load_kw[0]
        self.p_row, self.q_row = np.zeros(n), np.zeros(n)
        self.p_row[[0, 1]] = 1, -1
        self.q_row[[self.q, self.q_battery]], self.q_row[5] = 1.0, -tan_phi
        self.q_load = tan_phi * load
        # Load stays unserved only if it must, and then the limit is all there is.
        allowed, self.upper[5] = self.upper[5], 0.0
        if not math.isfinite(self.solve(np.zeros(n))):
            self.upper[5] = allowed
            self.add(dict(enumerate(self.p_row)), house.import_limit_kw, house.import_limit_kw)

    def add(self, entries, low, high):
        row = np.zeros(len(self.cost))
        for k, value in entries.items():
            row[k] += value
        self.rows.append(row)
        self.low_.append(low)
        self.high.append(high)

    def polygon(self, active, reactive, kva):
        if not math.isfinite(kva) or kva == 0.0:
            self.add({reactive: 1}, 0.0, 0.0)
            return
        for k in range(SIDES):
            angle = (2 * k + 1) * math.pi / SIDES
            entries = {column: sign * math.cos(angle) for column, sign in active.items()}
            entries[reactive] = math.sin(angle)
            self.add(entries, -math.inf, kva * math.cos(math.pi / SIDES))

    def solve(self, objective, *fixed):
        rows = [*self.rows, *(row for row, _ in fixed)]
        ends = [value for _, value in fixed]
        best = math.inf
        # The binary by hand: a solver's integrality tolerance lets the battery burn energy.
        for charging in (0.0, 1.0):
            self.lower[self.z] = self.upper[self.z] = charging
            answer = milp(
                objective,
                bounds=Bounds(self.lower, self.upper),
                constraints=LinearConstraint(
                    np.array(rows), [*self.low_, *ends], [*self.high, *ends]
                ),
            )
            assert answer.status in (0, 2), answer.message
            best = min(best, answer.fun if answer.status == 0 else math.inf)
        return best

    def at(self, p, q):
        return self.solve(self.cost, (self.p_row, p), (self.q_row, q - self.q_load))

    def support(self, a, b, weight):
        """Least of weight*cost - a*p - b*q."""
        least = self.solve(weight * self.cost - a * self.p_row - b * self.q_row)
        return least - b * self.q_load


def draw(rng, kind, random_house_day):
    house, series, soc, terminal = random_house_day(rng, 4)
    house = replace(house, load=Load(tan_phi=float(rng.choice([0.0, 0.3, -0.2]))))
    if kind.startswith("separate"):
        rating = max(house.pv_kwp, 1.0) * rng.choice([1.0, 1.3])
        own = rng.choice([None, 0.5, 1.2]) if house.battery else None
        own = None if own is None else float(own) * house.battery.power_kw
        house = replace(house, inverter="separate", inverter_kva=rating, battery_inverter_kva=own)
    if "factor" in kind:
        house = replace(house, min_power_factor=float(rng.choice([0.8, 0.95, 1.0])))
    return house, series, soc, terminal


@pytest.fixture(scope="module", params=KINDS)
def charts(request, random_house_day):
    rng = np.random.default_rng(11)
    found = []
    for _ in range(75):
        house, series, soc, terminal = draw(rng, request.param, random_house_day)
        chart = cost_to_go(house, series, terminal_eur_per_kwh=terminal).chart(0, soc)
        found.append((Oracle(house, series, soc, terminal), chart))
    return found


def inside(rng, chart, n):
    """Points of the chart: mixtures of two vertices, drawn a little to the best point.

    At the very end rounding decides what the solver calls feasible; the support tests go there.
    """
    v = chart.vertices[:, :2]
    a, b, share = v[rng.integers(len(v), size=n)], v[rng.integers(len(v), size=n)], rng.random(n)
    mixed = share[:, None] * a + (1 - share[:, None]) * b
    return mixed + 1e-6 * (np.array(chart.best) - mixed)


def test_every_pair_costs_what_an_optimiser_needs_for_it(charts):
    rng = np.random.default_rng(12)
    worst = 0.0
    for oracle, chart in charts:
        points = np.concatenate([inside(rng, chart, 15), [chart.best]])
        for (p, q), cost in zip(points, chart.cost(*points.T), strict=True):
            worst = max(worst, abs(oracle.at(p, q) - cost))
    assert worst <= 1e-7


def test_values_of_houses_with_separate_inverters(random_house_day):
    rng = np.random.default_rng(15)
    for _ in range(30):
        house, series, soc, terminal = draw(rng, "separate", random_house_day)
        value = cost_to_go(house, series, terminal_eur_per_kwh=terminal).value(0, soc)
        plan = perfect_foresight(house, series, soc_kwh=soc, terminal_eur_per_kwh=terminal)
        assert value == pytest.approx(plan.cost_eur, abs=1e-7)


def test_support_in_64_directions(charts):
    """Of the region (cost without weight) and of the cost above it."""
    rng = np.random.default_rng(13)
    for oracle, chart in charts[::4]:
        p, q, cost = chart.vertices.T
        for k, angle in enumerate(2 * math.pi * (np.arange(64) + rng.random()) / 64):
            weight = (0.0, 1.0)[k % 2]
            size = 1.0 if weight == 0.0 else rng.choice([0.003, 0.03, 0.3])
            a, b = size * math.cos(angle), size * math.sin(angle)
            mine = (weight * cost - a * p - b * q).min()
            assert oracle.support(a, b, weight) == pytest.approx(mine, abs=1e-7)


def test_nothing_outside_is_feasible(charts):
    for oracle, chart in charts[::4]:
        for a, b, c in chart.sides:
            p, q = np.array(chart.best) - (np.dot((a, b), chart.best) + c - 0.01) * np.array((a, b))
            assert not chart.contains(p, q)
            assert np.isinf(chart.cost(p, q))
            assert math.isinf(oracle.at(p, q))


def test_names_of_active_power_are_the_least_over_reactive(charts):
    for _, chart in charts:
        again = FlexibilityChart.hull(chart.vertices)
        low, high = chart.power_kw[[0, -1]]
        assert again.power_kw[[0, -1]] == pytest.approx([low, high], abs=1e-8)
        p = np.linspace(low, high, 23)[1:-1] if high > low else chart.power_kw
        np.testing.assert_allclose(again.cost(p), chart.cost(p), rtol=0, atol=1e-7)
        assert chart.cost(*chart.best) == pytest.approx(chart.cost_eur.min(), abs=1e-8)
        assert chart.best[0] == chart.best_power_kw


def test_what_a_chart_says_of_itself_agrees(charts):
    rng = np.random.default_rng(14)
    for _, chart in charts:
        p, q = inside(rng, chart, 20).T
        assert chart.contains(p, q).all()
        planes = np.column_stack([p, q, np.ones(20)]) @ chart.facets.T
        np.testing.assert_allclose(planes.max(axis=1), chart.cost(p, q), rtol=0, atol=1e-7)
        assert FlexibilityChart.from_bytes(chart.to_bytes()) == chart


def test_polygon_is_inside_its_circle_and_touches_full_power():
    p = np.linspace(-5, 5, 1001)
    q = reactive_limit(5.0, p)
    assert in_circle(5.0, p, q).max() <= 1e-12
    assert (np.hypot(p, q) >= 5.0 * math.cos(math.pi / SIDES) - 1e-12).all()
    assert polygon(5.0)[0][[0, -1]].tolist() == [-5.0, 5.0]
    assert q[[0, 500, -1]].tolist() == [0.0, 5.0, 0.0]
    assert in_circle(5.0, np.array(6.0), np.array(8.0)) == 5.0


def test_active_range_does_not_shrink_with_reactive_power():
    """The rating alone: the chart at q = 0 reaches as far as the environment does."""
    house = House(Battery(10.0, 6.0), 8.0, 5.0, 30.0, 30.0)
    series = Series([1.0] * 4, [8.0] * 4, [0.3] * 4, [0.1] * 4)
    chart = cost_to_go(house, series).chart(0, 9.0)
    assert chart.power_kw[0] == 1.0 - 5.0
    p, q, _ = chart.vertices.T
    assert np.abs(q[p == -4.0]).max() == 0.0
    assert q.max() == pytest.approx(5.0)
    assert chart.contains(-4.0, 0.0)
    assert not chart.contains(-4.0, 0.1)


def test_a_house_without_inverter_or_rating_gives_no_reactive_power():
    series = Series([2.0], [0.0], [0.3], [0.1])
    for house in (
        House(None, 0.0, 5.0, 30.0, 30.0, load=Load(tan_phi=0.25)),
        House(Battery(5.0, 2.0), 4.0, math.inf, 30.0, 30.0, load=Load(tan_phi=0.25)),
    ):
        chart = cost_to_go(house, series).chart(0, 0.0)
        assert np.ptp(chart.vertices[:, 1]) == 0.0
        assert chart.best[1] == 0.5
        assert capability(house).load_tan_phi == 0.25


def test_a_power_factor_needs_sun():
    house = House(Battery(5.0, 2.0), 6.0, 6.0, 30.0, 30.0, min_power_factor=0.9)
    solved = cost_to_go(house, Series([1.0] * 2, [4.0, 0.0], [0.3] * 2, [0.1] * 2))
    assert solved.chart(0, 2.0).vertices[:, 1].max() == pytest.approx(4 * math.tan(math.acos(0.9)))
    night = solved.chart(1, 2.0)
    assert np.ptp(night.vertices[:, 1]) == 0.0
    np.testing.assert_allclose(night.cost(night.power_kw, 0.0), night.cost_eur, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"inverter": "both"}, "inverter is 'both'"),
        ({"battery_inverter_kva": 3.0}, "expected None"),
        ({"inverter": "separate", "battery_inverter_kva": -1.0}, "battery_inverter_kva is"),
        ({"inverter": "separate", "battery": None, "battery_inverter_kva": 1.0}, "and a battery"),
        ({"inverter": "separate", "inverter_kva": 4.0}, "carries the roof"),
        ({"min_power_factor": 0.0}, "min_power_factor is"),
        ({"min_power_factor": 1.1}, "min_power_factor is"),
    ],
)
def test_refuses_houses_that_cannot_be(change, match):
    house = House(Battery(5.0, 2.0), 6.0, 6.0, 30.0, 30.0)
    with pytest.raises(HouseError, match=match):
        replace(house, **change)
