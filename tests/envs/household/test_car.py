"""Physics of the car beside the battery: balances, limits, action maps, and what is missed."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from flexgym.envs import Battery, Car, House, Series, Session
from flexgym.envs.household import dynamics as d
from flexgym.envs.household.action_map import ACTION_MAPS, balancing
from flexgym.envs.household.batch import actions_from_powers
from flexgym.envs.household.params import DT_H

SLACK = 1e-9
NO_BATTERY = Battery(0.0, 0.0, 1.0, 1.0, 0.0)
KINDS = range(len(ACTION_MAPS))


class Day:
    """One house stepped through its series by the compiled physics."""

    def __init__(self, house, series, soc=0.0, terminal=0.0, kind=0):
        self.house, self.series, self.kind = house, series, kind
        self.row = d.house_row(house)
        self.values = np.stack(
            [series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh]
        )
        self.all_visits = d.visits(house.car, series.sessions, len(series))
        self.terminal = np.array([terminal])
        self.soc, self.car, self.t = np.array([soc]), np.zeros(1), 0
        d.plug_in(0, self.visit, self.car)

    @property
    def now(self):
        return np.ascontiguousarray(self.values[:, [self.t]])

    @property
    def visit(self):
        return np.ascontiguousarray(self.all_visits[self.t][:, None])

    @property
    def done(self):
        return self.t >= len(self.series)

    def car_range(self):
        load, pv = self.values[:2, self.t]
        visit = self.all_visits[self.t]
        return d.car_range(self.row, visit, self.t, self.soc[0], self.car[0], load, pv)

    def battery_range(self, car_kw):
        load, pv = self.values[:2, self.t]
        return d.battery_range(self.row, self.soc[0], load, car_kw, pv)

    def action(self, battery_kw, car_kw):
        """The inverse's action (2,), or None where it refuses the powers."""
        action = np.full((1, 2), math.nan)
        bad = actions_from_powers(
            self.kind, np.array([battery_kw]), np.array([car_kw]), self.row[None], self.t,
            self.soc, self.car, self.now, self.visit, action,
        )  # fmt: skip
        return action[0] if bad < 0 else None

    def step(self, action):
        """Play one period; what happened by name."""
        outcome = np.empty((1, len(d.OUTCOME_NAMES)))
        played = np.asarray(action, dtype=np.float64)[None]
        last = self.t == len(self.series) - 1
        d.step(
            self.kind, self.t, last, played, self.row[None], self.now, self.visit,
            self.terminal, self.soc, self.car, outcome,
        )  # fmt: skip
        self.t += 1
        if not self.done:
            d.plug_in(self.t, self.visit, self.car)
        return dict(zip(d.OUTCOME_NAMES, outcome[0].tolist(), strict=True))


def random_action(rng, size):
    """Anywhere in [-1, 1], often at an end or on the edge of a plateau."""
    edges = (-1.0, -0.5, -1 / 3, -0.2, 0.0, 0.2, 1 / 3, 0.5, 1.0)
    return np.where(rng.random(size) < 0.4, rng.choice(edges, size), rng.uniform(-1, 1, size))


@dataclass
class Before:
    """The state before a period, and the session that runs in it."""

    t: int
    soc: float
    car: float
    session: Session | None

    @classmethod
    def of(cls, day):
        running = [s for s in day.series.sessions if s.arrival <= day.t < s.departure]
        return cls(day.t, day.soc[0], day.car[0], running[0] if running else None)


def check_car(before, day, out):
    """Energy, limits and missed energy of the car, from its own data alone."""
    car, session, power = day.house.car, before.session, out["car_kw"]
    if session is None:
        assert before.car == power == out["car_kwh"] == out["missed_kwh"] == 0.0
        return
    if before.t == session.arrival:
        assert before.car == session.arrival_kwh
    stored = before.car + car.efficiency_charge * max(power, 0.0) * DT_H
    stored -= max(-power, 0.0) * DT_H / car.efficiency_discharge
    assert out["car_kwh"] == pytest.approx(stored, abs=SLACK)
    assert -car.discharge_kw - SLACK <= power <= car.power_kw + SLACK
    target = max(session.needed_kwh, session.arrival_kwh) if not car.discharge_kw else math.inf
    assert 0.0 <= out["car_kwh"] <= min(target, car.capacity_kwh)
    if before.t + 1 == session.departure:
        assert out["missed_kwh"] == max(session.needed_kwh - out["car_kwh"], 0.0)
        assert out["missed_kwh"] >= car.unreachable_kwh(session) - SLACK
        following = None if day.done else Before.of(day).session
        assert day.car[0] == (following.arrival_kwh if following else 0.0)
    else:
        assert out["missed_kwh"] == 0.0
        assert day.car[0] == out["car_kwh"]


def check_connection(before, day, out):
    """Balance and limits of battery, inverter and meter."""
    house, t = day.house, before.t
    b = house.battery or NO_BATTERY
    load, pv = day.series.load_kw[t], day.series.pv_kw[t]
    battery, used, meter, unserved = (
        out[name] for name in ("battery_kw", "pv_used_kw", "meter_kw", "unserved_kw")
    )
    stored = b.retention * before.soc + b.efficiency_charge * max(battery, 0.0) * DT_H
    stored -= max(-battery, 0.0) * DT_H / b.efficiency_discharge
    assert out["soc_kwh"] == pytest.approx(stored, abs=SLACK)
    assert 0.0 <= out["soc_kwh"] <= b.capacity_kwh
    assert abs(battery) <= b.power_kw + SLACK
    assert meter == pytest.approx(load + out["car_kw"] + battery - used - unserved, abs=SLACK)
    assert used + out["curtailed_kw"] == pytest.approx(pv, abs=SLACK)
    assert -SLACK <= used <= pv + SLACK
    assert abs(battery - used) <= house.inverter_kva + SLACK
    assert -house.export_limit_kw - SLACK <= meter <= house.import_limit_kw + SLACK
    # Load alone stays unserved: the car never draws what the connection cannot give.
    assert 0.0 <= unserved <= load + SLACK
    if unserved > 0.0:
        assert meter == pytest.approx(house.import_limit_kw, abs=SLACK)


def check_money(before, day, out):
    house, t = day.house, before.t
    buy, sell = day.series.import_eur_per_kwh[t], day.series.export_eur_per_kwh[t]
    meter = out["meter_kw"]
    assert out["import_eur"] == pytest.approx(DT_H * buy * max(meter, 0.0), abs=SLACK)
    assert out["export_eur"] == pytest.approx(DT_H * sell * min(meter, 0.0), abs=SLACK)
    wear = (house.battery or NO_BATTERY).wear_eur_per_kwh * abs(out["battery_kw"])
    wear += house.car.wear_eur_per_kwh * max(-out["car_kw"], 0.0)
    assert out["wear_eur"] == pytest.approx(wear * DT_H, abs=SLACK)
    lost = house.unserved_eur_per_kwh * out["unserved_kw"] * DT_H
    assert out["unserved_eur"] == pytest.approx(lost, abs=SLACK)
    assert out["missed_eur"] == house.car.missed_eur_per_kwh * out["missed_kwh"]
    left = -day.terminal[0] * out["soc_kwh"] if day.done else 0.0
    assert out["terminal_eur"] == left
    assert out["cost_eur"] == sum(out[name] for name in d.COST_TERMS)


@pytest.mark.parametrize("entries", [2, 3], ids=["automatic", "PV by action"])
@pytest.mark.parametrize("kind", KINDS, ids=ACTION_MAPS)
def test_every_action_keeps_balances_and_limits(random_car_house_day, kind, entries):
    rng = np.random.default_rng([7, kind, entries])
    seen = dict.fromkeys(("charged", "given", "missed", "unserved", "no battery", "away"), 0)
    for _ in range(120):
        house, series, soc, terminal = random_car_house_day(rng, 24)
        day = Day(house, series, soc, terminal, kind)
        while not day.done:
            before = Before.of(day)
            idle = d.idle_cost(day.row, *day.values[:, day.t])
            out = day.step(random_action(rng, entries))
            check_car(before, day, out)
            check_connection(before, day, out)
            check_money(before, day, out)
            assert out["idle_eur"] == idle
            seen["charged"] += out["car_kw"] > 0.1
            seen["given"] += out["car_kw"] < -0.1
            seen["missed"] += out["missed_kwh"] > 0.0
            seen["unserved"] += out["unserved_kw"] > 0.0
            seen["no battery"] += house.battery is None and before.session is not None
            seen["away"] += before.session is None
    assert min(seen.values()) >= 10, seen


@pytest.mark.parametrize("kind", KINDS, ids=ACTION_MAPS)
def test_feasible_powers_have_an_action_that_plays_them(random_car_house_day, kind):
    rng = np.random.default_rng([8, kind])
    together = 0
    for _ in range(150):
        house, series, soc, _ = random_car_house_day(rng, 16)
        day = Day(house, series, soc, kind=kind)
        while not day.done:
            load, pv = day.values[:2, day.t]
            low, high = day.car_range()
            assert low <= 0.0 <= high
            zero = balancing(low, high, load, pv)
            car = rng.choice([low, high, 0.0, zero, *rng.uniform(low, high, 3)])
            least, most = day.battery_range(car)
            assert least <= most
            even = balancing(least, most, load + car, pv)
            idle = min(max(0.0, least), most)
            battery = rng.choice([least, most, idle, even, *rng.uniform(least, most, 3)])
            action = day.action(battery, car)
            assert action is not None
            assert (np.abs(action) <= 1.0).all()
            out = day.step(action)
            assert abs(out["car_kw"] - car) <= SLACK
            assert abs(out["battery_kw"] - battery) <= SLACK
            together += abs(car) > 0.1 and abs(battery) > 0.1
    assert together >= 100


@pytest.mark.parametrize("kind", KINDS, ids=ACTION_MAPS)
def test_idle_is_always_feasible(random_car_house_day, kind):
    rng = np.random.default_rng([9, kind])
    for _ in range(100):
        house, series, soc, _ = random_car_house_day(rng, 16)
        day = Day(house, series, soc, kind=kind)
        while not day.done:
            idle = day.action(0.0, 0.0)
            assert idle is not None
            if rng.random() < 0.5:
                day.step(random_action(rng, 2))
            else:
                out = day.step(idle)
                assert out["car_kw"] == out["battery_kw"] == 0.0
                rest = out["cost_eur"] - out["missed_eur"] - out["terminal_eur"]
                assert rest == pytest.approx(out["idle_eur"], abs=1e-12)


def test_powers_beyond_the_range_are_refused(random_car_house_day):
    rng = np.random.default_rng(10)
    for _ in range(100):
        house, series, soc, _ = random_car_house_day(rng, 12)
        day = Day(house, series, soc)
        while not day.done:
            low, high = day.car_range()
            for car in (low - 1e-6, high + 1e-6, math.nan):
                assert day.action(0.0, car) is None
            car = rng.choice([low, high, 0.0])
            least, most = day.battery_range(car)
            for battery in (least - 1e-6, most + 1e-6, math.nan):
                assert day.action(battery, car) is None
            day.step(random_action(rng, 2))


def test_the_car_cannot_do_anything_while_it_is_away():
    car = Car(11.0, 40.0, discharge_kw=11.0)
    house = House(Battery(8.0, 4.0), 5.0, 10.0, 30.0, 30.0, car=car)
    series = Series(
        np.ones(8), np.ones(8), np.full(8, 0.3), np.full(8, 0.1), (Session(2, 5, 10.0, 30.0),)
    )
    for kind in KINDS:
        day = Day(house, series, 4.0, kind=kind)
        for t in range(8):
            there = 2 <= t < 5
            assert (day.car_range() == (0.0, 0.0)) is not there
            assert (day.action(0.0, 1.0) is None) is not there
            assert day.car[0] == 0.0 or there
            out = day.step([0.0, 1.0])
            assert out["car_kw"] == (11.0 if there else 0.0)


def test_the_car_s_range_is_as_wide_as_the_limits_allow(random_car_house_day):
    """Beyond either end no battery power and no PV keep to the limits."""
    rng = np.random.default_rng(11)
    checked = 0
    while checked < 400:
        house, series, soc, _ = random_car_house_day(rng, 8)
        day = Day(house, series, soc)
        while not day.done:
            before = Before.of(day)
            if before.session is not None:
                load, pv = day.values[:2, day.t]
                for power, side in zip(day.car_range(), (-1, 1), strict=True):
                    beyond = power + side * 1e-3
                    assert not fits_charger(house.car, before, beyond) or not fits_connection(
                        day, beyond, load, pv
                    )
                    checked += 1
            day.step(random_action(rng, 2))


def fits_charger(car, before, power):
    target = car.target_kwh(before.session)
    stored = before.car + car.efficiency_charge * max(power, 0.0) * DT_H
    stored -= max(-power, 0.0) * DT_H / car.efficiency_discharge
    # Nothing is charged above the target; energy that came with the car stays.
    within = 0.0 <= stored <= max(target, before.car)
    return within and -car.discharge_kw <= power <= car.power_kw


def fits_connection(day, car_kw, load, pv):
    """Whether some battery power and PV use, or unserved load, fit beside the car."""
    house, (least, most) = day.house, d.store_range(day.row, day.soc[0])
    battery, used = np.meshgrid(np.linspace(least, most, 201), np.linspace(0.0, pv, 201))
    inverter = battery - used
    fits = np.abs(inverter) <= house.inverter_kva
    fits &= load + car_kw + inverter >= -house.export_limit_kw
    fits &= car_kw + inverter <= house.import_limit_kw
    return bool(fits.any())


def test_automatic_curtailment_is_the_cheapest_beside_the_car(random_car_house_day):
    rng = np.random.default_rng(12)
    for _ in range(60):
        house, series, soc, _ = random_car_house_day(rng, 12)
        if rng.random() < 0.3:  # even import pays
            shift = rng.uniform(0.0, 0.6)
            series = replace(
                series,
                import_eur_per_kwh=series.import_eur_per_kwh - shift,
                export_eur_per_kwh=series.export_eur_per_kwh - shift,
            )
        day = Day(house, series, soc)
        while not day.done:
            action = random_action(rng, 2)
            kept = day.t, day.soc.copy(), day.car.copy()
            best = day.step(action)
            after = day.t, day.soc.copy(), day.car.copy()
            used = []
            for share in np.linspace(-1.0, 1.0, 9):
                day.t, day.soc, day.car = kept[0], kept[1].copy(), kept[2].copy()
                other = day.step([*action, share])
                assert best["cost_eur"] <= other["cost_eur"] + SLACK
                assert other["battery_kw"] == best["battery_kw"]
                assert other["car_kw"] == best["car_kw"]
                used.append(other["pv_used_kw"])
            np.testing.assert_allclose(np.diff(used, 2), 0.0, atol=1e-9)
            assert used[0] - SLACK <= best["pv_used_kw"] <= used[-1] + SLACK
            day.t, day.soc, day.car = after


def test_missed_energy_is_priced_at_each_departure():
    """By hand: 2 kW for half an hour at 0.9 stores 0.9 kWh of the 2 kWh that are needed."""
    house = House(None, 0.0, 5.0, 30.0, 30.0, car=Car(2.0, 10.0, 0.9, missed_eur_per_kwh=1.5))
    sessions = (Session(0, 2, 1.0, 3.0), Session(2, 3, 4.0, 3.5), Session(5, 6, 0.0, 12.0))
    series = Series(np.zeros(6), np.zeros(6), np.full(6, 0.4), np.zeros(6), sessions)
    day = Day(house, series)
    outs = [day.step([0.0, 1.0]) for _ in range(6)]
    assert [out["car_kw"] for out in outs] == [2.0, 2.0, 0.0, 0.0, 0.0, 2.0]
    np.testing.assert_allclose([out["car_kwh"] for out in outs], [1.45, 1.9, 4.0, 0.0, 0.0, 0.45])
    np.testing.assert_allclose([out["missed_kwh"] for out in outs], [0, 1.1, 0, 0, 0, 11.55])
    np.testing.assert_allclose([out["missed_eur"] for out in outs], [0, 1.65, 0, 0, 0, 17.325])
    unreachable = [house.car.unreachable_kwh(session) for session in sessions]
    np.testing.assert_allclose(unreachable, [1.1, 0.0, 11.55])


def test_full_charging_misses_no_more_than_what_is_out_of_reach(random_car_house_day):
    rng = np.random.default_rng(13)
    out_of_reach = 0
    for _ in range(200):
        house, series, _, _ = random_car_house_day(rng, 24)
        house = replace(house, battery=None, import_limit_kw=math.inf)
        day = Day(house, series)
        missed = sum(day.step([0.0, 1.0])["missed_kwh"] for _ in range(24))
        expected = sum(house.car.unreachable_kwh(session) for session in series.sessions)
        assert missed == pytest.approx(expected, abs=SLACK)
        out_of_reach += expected > 0.0
    assert out_of_reach >= 30


def test_visits_are_the_one_that_runs_or_comes_next():
    car = Car(7.0, 40.0)
    sessions = (Session(1, 3, 5.0, 20.0), Session(3, 4, 30.0, 20.0))
    table = d.visits(car, sessions, 6)
    first, second = [1, 3, 5, 20, 20], [3, 4, 30, 20, 30]
    none = [math.inf, math.inf, 0, 0, 0]
    assert table.tolist() == [first, first, first, second, none, none]
    assert [t for t in range(6) if d.plugged(table[t], t)] == [1, 2, 3]
    giving = replace(car, discharge_kw=3.0)
    assert d.visits(giving, sessions, 6)[0, d.TARGET_KWH] == 40.0
    assert d.visits(None, (), 6)[:, : d.ARRIVAL_KWH].min() == math.inf
