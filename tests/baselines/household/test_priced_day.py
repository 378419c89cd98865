"""Days solved by prices of the car's energy, against a linear program at every question."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from flexgym.baselines.household import CostToGo
from flexgym.baselines.household.cost_to_go import known_day
from flexgym.baselines.household.priced_day import PricedDay
from flexgym.baselines.household.program_day import ProgramDay
from flexgym.baselines.household.tables import Moment
from flexgym.envs import Battery, Car, House, Series, Session
from flexgym.envs.errors import ConvexityError, StateError
from flexgym.envs.household import dynamics as d

DAYS = 90


def sessions_of(rng, car, periods):
    """One to four visits; often the next car arrives as the last leaves, or the day cuts one."""
    count = int(rng.integers(1, 5))
    cuts = np.sort(rng.choice(periods + 1, 2 * count, replace=False))
    if rng.random() < 0.4:
        cuts[0] = 0
    if rng.random() < 0.4:
        cuts[-1] = periods
    if rng.random() < 0.5:
        cuts[2::2] = cuts[1:-1:2]
    found = []
    for arrival, departure in cuts.reshape(-1, 2).tolist():
        stored = rng.choice([0.0, rng.uniform(0.0, 0.8), 1.0]) * car.capacity_kwh
        within = car.efficiency_charge * car.power_kw * 0.25 * (departure - arrival)
        needed = rng.choice([stored + rng.uniform(0.2, 1.5) * within, rng.random() * stored])
        found.append(Session(arrival, departure, float(stored), float(needed)))
    return tuple(found)


def tariffs(rng, periods):
    """Import and export prices: with ties, flat, tight, and such that feeding in costs money."""
    buy = np.round(rng.uniform(0.02, 0.45, periods), int(rng.choice([1, 2, 12])))
    if rng.random() < 0.2:
        buy[:] = 0.3
    kind = int(rng.integers(5))
    sell = (
        np.minimum(buy, 0.08),
        buy.copy(),
        np.full(periods, -0.05),
        buy - rng.uniform(0.0, 0.4, periods),
        np.zeros(periods),
    )[kind]
    if rng.random() < 0.4:  # prices of the grid
        added = rng.uniform(-0.3, 1.0, periods) * (rng.random(periods) < 0.4)
        added = np.clip(added, -buy, 3.0 - buy)
        buy, sell = buy + added, sell + added
    return buy, sell


def draw(rng, random_car_house_day, periods):
    """House, day and pay at the end of a kind that is solved by prices."""
    house, series, _, terminal = random_car_house_day(rng, periods)
    car = replace(house.car, discharge_kw=0.0)
    battery = house.battery and replace(house.battery, retention=1.0)
    house = replace(house, car=car, battery=battery)
    buy, sell = tariffs(rng, periods)
    series = replace(
        series,
        import_eur_per_kwh=buy,
        export_eur_per_kwh=sell,
        sessions=sessions_of(rng, car, periods),
    )
    return house, series, terminal


@pytest.fixture(scope="module")
def days(random_car_house_day):
    """House, day, both solutions; a third of the days in full length."""
    rng = np.random.default_rng(7)
    found = []
    for k in range(DAYS):
        house, series, terminal = draw(rng, random_car_house_day, 96 if k % 3 == 0 else 20)
        priced = known_day(house, series, terminal)
        assert isinstance(priced, PricedDay)
        found.append((house, series, terminal, priced, ProgramDay(house, series, terminal)))
    return found


def capacity(house):
    return house.battery.capacity_kwh if house.battery else 0.0


def a_state(rng, house, series, table, t):
    """Energies in battery and car that the house may have in period t, kWh; often the ends."""
    soc = float(rng.choice([0.0, 1.0, rng.random(), rng.random()])) * capacity(house)
    for session in series.sessions:
        if session.arrival <= t < session.departure:
            least, most = (
                session.arrival_kwh,
                max(house.car.target_kwh(session), session.arrival_kwh),
            )
            if session.arrival == t:
                return soc, least
            share = float(rng.choice([0.0, 1.0, rng.random(), rng.random()]))
            return soc, least + share * (most - least)
    assert not table.plugged(t)
    return soc, 0.0


def charts(house, series, terminal, tables, t, soc, car):
    """The chart of a period by each table; the car's energy only where it has been here."""
    here = any(s.arrival < t < s.departure for s in series.sessions)
    return [
        CostToGo(house, series, None, terminal, table).chart(t, soc, car if here else None)
        for table in tables
    ]


def test_the_days_press_on_every_limit(days):
    seen = dict.fromkeys(
        ("no battery", "back to back", "from 0", "to the end", "unreachable", "feeding in costs"), 0
    )
    for house, series, *_ in days:
        visits = series.sessions
        seen["no battery"] += capacity(house) == 0.0
        pairs = pairwise(visits)
        seen["back to back"] += any(a.departure == b.arrival for a, b in pairs)
        seen["from 0"] += visits[0].arrival == 0
        seen["to the end"] += visits[-1].departure == len(series)
        reach = [house.car.power_kw * house.car.efficiency_charge * 0.25 for _ in visits]
        seen["unreachable"] += any(
            s.needed_kwh - s.arrival_kwh > r * (s.departure - s.arrival)
            for s, r in zip(visits, reach, strict=True)
        )
        seen["feeding in costs"] += series.export_eur_per_kwh.min() < 0.0
    assert min(seen.values()) >= 8, seen


def test_values_are_those_of_the_program(days):
    rng = np.random.default_rng(1)
    worst = 0.0
    for house, series, _, priced, program in days:
        for t in [0, *rng.integers(0, len(series) + 1, 6).tolist()]:
            soc, car = a_state(rng, house, series, priced, t)
            worst = max(worst, abs(priced.slopes(t, soc, car)[0] - program.slopes(t, soc, car)[0]))
    assert worst <= 1e-8


def test_slopes_support_the_value(days):
    """A subgradient's plane lies below the function at every other state of the period."""
    rng = np.random.default_rng(2)
    for house, series, _, priced, _ in days:
        for t in rng.integers(0, len(series), 4).tolist():
            places = [a_state(rng, house, series, priced, t) for _ in range(6)]
            found = [priced.slopes(t, *place) for place in places]
            for (soc, car), (value, by_soc, by_car) in zip(places, found, strict=True):
                for (other_soc, other_car), (other, _, _) in zip(places, found, strict=True):
                    plane = value + by_soc * (other_soc - soc) + by_car * (other_car - car)
                    assert other >= plane - 1e-9


def test_charts_are_those_of_the_program(days):
    rng = np.random.default_rng(3)
    worst, within = 0.0, 0
    for house, series, terminal, priced, program in days:
        for t in [len(series) - 1, *rng.integers(0, len(series), 4).tolist()]:
            soc, car = a_state(rng, house, series, priced, t)
            mine, other = charts(house, series, terminal, (priced, program), t, soc, car)
            ends = mine.power_kw[[0, -1]]
            np.testing.assert_allclose(ends, other.power_kw[[0, -1]], rtol=0, atol=1e-9)
            power = np.concatenate([mine.power_kw, other.power_kw]).clip(*ends)
            apart = np.abs(mine.cost(power) - other.cost(power.clip(*other.power_kw[[0, -1]])))
            worst = max(worst, float(apart.max()))
            within += len(mine.power_kw) > 4
    assert worst <= 1e-7
    assert within >= 50


def played(table, house, series, soc_kwh):
    """Powers of battery and car, each shape (T,), kW, when the table plays from period 0."""
    row = d.house_row(house)
    visits = d.visits(house.car, series.sessions, len(series))
    exogenous = np.stack(
        [series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh]
    )
    soc, car = soc_kwh, 0.0
    battery_kw, car_kw = np.zeros((2, len(series)))
    battery, power = np.zeros((2, 1))
    for t in range(len(series)):
        visit = visits[t]
        if visit[d.ARRIVAL] == t:
            car = float(visit[d.ARRIVAL_KWH])
        now = Moment(
            t, row[None], np.array([soc]), np.array([car]), exogenous[:, t : t + 1], np.zeros(1)
        )
        table.play(now, np.array([0]), battery, power)
        battery_kw[t], car_kw[t] = battery[0], power[0]
        soc = d.next_soc(row, soc, battery_kw[t])
        if table.plugged(t):
            car = d.next_car(row, visit, car, car_kw[t])
    return battery_kw, car_kw


def test_what_it_plays_costs_its_value(days, play_powers):
    rng, worst = np.random.default_rng(4), 0.0
    for house, series, terminal, priced, _ in days[::2]:
        soc, _ = a_state(rng, house, series, priced, 0)
        battery, car = played(priced, house, series, soc)
        out = play_powers(house, series, soc, terminal, battery, car)
        arrived = series.sessions[0].arrival_kwh if priced.plugged(0) else 0.0
        value = priced.slopes(0, soc, arrived)[0]
        worst = max(worst, abs(out[:, d.COST_EUR].sum() - value))
    assert worst <= 5e-9  # energies within 1e-9 kWh are taken for one


def test_a_later_start_changes_no_answer(days):
    rng = np.random.default_rng(5)
    for house, series, terminal, priced, _ in days[::3]:
        start = int(rng.integers(1, len(series)))
        late = known_day(house, series, terminal, start)
        for t in [start, *rng.integers(start, len(series), 3).tolist()]:
            soc, car = a_state(rng, house, series, priced, t)
            np.testing.assert_allclose(
                late.slopes(t, soc, car)[0], priced.slopes(t, soc, car)[0], rtol=0, atol=1e-10
            )
            one, other = charts(house, series, terminal, (late, priced), t, soc, car)
            np.testing.assert_allclose(
                one.cost(other.power_kw.clip(*one.power_kw[[0, -1]])),
                other.cost_eur,
                rtol=0,
                atol=1e-9,
            )


def test_what_lies_before_the_start_may_be_anything():
    """A day that could not be solved as a whole: losses pay in its first period."""
    house = House(Battery(6.0, 3.0), 5.0, 6.0, 30.0, 30.0, car=Car(7.0, 40.0))
    buy = np.array([-0.2, 0.1, 0.3, 0.2, 0.25, 0.3])
    series = Series(np.ones(6), np.ones(6), buy, buy - 0.05, (Session(1, 5, 10.0, 14.0),))
    with pytest.raises(ConvexityError):
        known_day(house, series, 0.2)
    late, program = known_day(house, series, 0.2, 2), ProgramDay(house, series, 0.2)
    mine, other = (table.slopes(2, 3.0, 11.0)[0] for table in (late, program))
    assert mine == pytest.approx(other, abs=1e-9)


def test_cars_fuller_than_their_target(days):
    """What is above the target stays in the car and is worth nothing, in values and charts."""
    rng, seen, worst = np.random.default_rng(6), 0, 0.0
    for house, series, terminal, priced, program in days:
        for session in series.sessions:
            top = max(house.car.target_kwh(session), session.arrival_kwh)
            if house.car.capacity_kwh - top < 0.1 or session.departure - session.arrival < 2:
                continue
            t = int(rng.integers(session.arrival + 1, session.departure))
            soc, car = rng.random() * capacity(house), rng.uniform(top, house.car.capacity_kwh)
            found = [table.slopes(t, soc, car)[0] for table in (priced, program)]
            assert found[0] == pytest.approx(found[1], abs=1e-8)
            one, other = charts(house, series, terminal, (priced, program), t, soc, car)
            power = np.concatenate([one.power_kw, other.power_kw])
            power = power.clip(*one.power_kw[[0, -1]]).clip(*other.power_kw[[0, -1]])
            worst = max(worst, float(np.abs(one.cost(power) - other.cost(power)).max()))
            seen += 1
    assert seen >= 30
    assert worst <= 1e-7


@pytest.mark.parametrize("needed", [12.0, 30.0])
def test_import_that_is_paid_for(needed):
    """Without a battery negative import prices are convex: the car takes what it is paid for."""
    house = House(None, 0.0, 5.0, 10.0, 10.0, car=Car(4.0, 20.0))
    buy = np.array([0.2, -0.1, -0.05, 0.1, -0.2, 0.2, 0.3, 0.1])
    series = Series(np.full(8, 0.5), np.zeros(8), buy, buy - 0.1, (Session(0, 7, 8.0, needed),))
    priced, program = PricedDay(house, series, 0.0), ProgramDay(house, series, 0.0)
    for t in range(8):
        for car in (8.0, 8.7, 10.0, 11.9, 12.0, 14.0, 20.0) if 0 < t < 7 else (8.0,):
            stored = car if t < 7 else 0.0
            mine, other = (table.slopes(t, 0.0, stored)[0] for table in (priced, program))
            assert mine == pytest.approx(other, abs=1e-9), (t, car)
            pair = charts(house, series, 0.0, (priced, program), t, 0.0, stored)
            np.testing.assert_allclose(
                pair[0].cost(pair[1].power_kw), pair[1].cost_eur, rtol=0, atol=1e-8
            )


def test_energies_that_no_car_has_are_refused(days):
    house, series, _, priced, _ = next(
        day for day in days if any(s.departure - s.arrival > 2 for s in day[1].sessions)
    )
    session = next(s for s in series.sessions if s.departure - s.arrival > 2)
    t, most = session.arrival + 1, house.car.capacity_kwh
    for wrong in (-0.1, most + 0.1, np.nan):
        with pytest.raises(StateError, match=r"car_kwh is .*expected an energy in \[0"):
            priced.slopes(t, 0.0, wrong)
        with pytest.raises(StateError, match=r"car_kwh is .*expected an energy in \[0"):
            priced.ahead(t, 0, 0.0, wrong, np.zeros(0))


def test_other_days_are_left_to_the_program():
    series = Series(
        np.ones(4), np.ones(4), np.full(4, 0.3), np.full(4, 0.1), (Session(0, 3, 5, 9),)
    )
    plain = House(Battery(6.0, 3.0), 5.0, 6.0, 30.0, 30.0, car=Car(7.0, 40.0))
    giving = replace(plain, car=replace(plain.car, discharge_kw=3.0))
    losing = replace(plain, battery=Battery(6.0, 3.0, retention=0.99))
    assert isinstance(known_day(plain, series), PricedDay)
    for house in (giving, losing):
        assert isinstance(known_day(house, series), ProgramDay)
