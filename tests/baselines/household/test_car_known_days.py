"""Known days of houses with battery and car against one program over the whole day."""

from dataclasses import replace

import numpy as np
import pytest

from flexgym.baselines.household import cost_to_go, perfect_foresight
from flexgym.baselines.household.program_day import ProgramDay
from flexgym.envs import Battery, Car, House, Series, Session
from flexgym.envs.errors import ConvexityError, ScenarioError, SeriesError, StateError
from flexgym.envs.household import dynamics as d

DAYS = 300


def stored_in(rng, house, series, t):
    """A random energy in the car in period t, within the visit's reach, or None while away."""
    for session in series.sessions:
        if session.arrival < t < session.departure:
            low = 0.0 if house.car.discharge_kw > 0.0 else session.arrival_kwh
            high = max(house.car.target_kwh(session), session.arrival_kwh)
            return float(rng.choice([low, high, rng.uniform(low, high)]))
    return None


def capacity(house):
    return house.battery.capacity_kwh if house.battery else 0.0


@pytest.fixture(scope="module")
def days(random_car_house_day):
    rng = np.random.default_rng(2025)
    found = []
    for k in range(DAYS):
        house, series, soc, terminal = random_car_house_day(rng, 96 if k % 4 == 0 else 24)
        solved = cost_to_go(house, series, terminal_eur_per_kwh=terminal)
        found.append((house, series, soc, terminal, solved))
    return found


def test_values_of_all_periods_are_those_of_one_program(days, day_program):
    rng = np.random.default_rng(1)
    worst, inside = 0.0, 0
    for house, series, soc, terminal, solved in days:
        worst = max(
            worst, abs(solved.value(0, soc) - day_program(house, series, soc, terminal).solve())
        )
        # Back and forth: the program underneath is solved from wherever it stands.
        for t in rng.integers(0, len(series), 3).tolist():
            e = float(rng.choice([0.0, capacity(house), rng.uniform(0.0, capacity(house))]))
            c = stored_in(rng, house, series, t)
            inside += c is not None
            oracle = day_program(house, series, e, terminal, t, c).solve()
            worst = max(worst, abs(solved.value(t, e, c) - oracle))
        assert solved.value(len(series), soc) == pytest.approx(-terminal * soc, abs=1e-15)
        assert solved.gap_eur == 0.0
    assert worst <= 1e-7
    assert inside >= 200


def test_the_days_press_on_every_limit(days):
    seen = dict.fromkeys(("away", "no battery", "given", "missed", "unserved", "to the end"), 0)
    for house, series, soc, terminal, _ in days:
        plan = perfect_foresight(house, series, soc_kwh=soc, terminal_eur_per_kwh=terminal)
        seen["away"] += not series.sessions
        seen["no battery"] += house.battery is None
        seen["given"] += plan.car_kw.min() < -1e-3
        seen["missed"] += plan.missed_kwh.max() > 1e-3
        seen["unserved"] += plan.unserved_kw.max() > 1e-3
        seen["to the end"] += any(s.departure == len(series) for s in series.sessions)
    assert min(seen.values()) >= 25, seen


def test_the_dispatch_plays_at_its_cost(days, play_powers):
    worst = 0.0
    for house, series, soc, terminal, solved in days:
        plan = perfect_foresight(house, series, soc_kwh=soc, terminal_eur_per_kwh=terminal)
        battery, car = (np.where(np.abs(x) < 1e-9, 0.0, x) for x in (plan.battery_kw, plan.car_kw))
        out = play_powers(house, series, soc, terminal, battery, car)
        paid = out[:, d.COST_EUR].sum()
        worst = max(worst, abs(paid - plan.cost_eur), abs(paid - solved.value(0, soc)))
        np.testing.assert_allclose(out[:, d.SOC_KWH], plan.soc_kwh[1:], rtol=0, atol=1e-7)
        np.testing.assert_allclose(out[:, d.CAR_KWH], plan.car_kwh, rtol=0, atol=1e-7)
        np.testing.assert_allclose(out[:, d.MISSED_KWH], plan.missed_kwh, rtol=0, atol=1e-7)
    assert worst <= 1e-8


def test_what_was_paid_and_what_is_to_come_add_up(days, play_powers):
    """Bellman's equation along the optimal day, the energy in the car part of the state."""
    for house, series, soc, terminal, solved in days[1::10]:
        plan = perfect_foresight(house, series, soc_kwh=soc, terminal_eur_per_kwh=terminal)
        battery, car = (np.where(np.abs(x) < 1e-9, 0.0, x) for x in (plan.battery_kw, plan.car_kw))
        out = play_powers(house, series, soc, terminal, battery, car)
        paid = np.cumsum(out[:, d.COST_EUR] - out[:, d.TERMINAL_EUR])
        ahead = []
        for t in range(1, len(series) + 1):
            there = any(s.arrival < t < s.departure for s in series.sessions)
            stored = float(out[t - 1, d.CAR_KWH]) if there else None
            ahead.append(solved.value(t, float(out[t - 1, d.SOC_KWH]), stored))
        np.testing.assert_allclose(paid + ahead, solved.value(0, soc), rtol=0, atol=1e-7)


def test_a_subgradient_supports_the_cost(days):
    rng = np.random.default_rng(3)
    sharp = 0
    for house, series, _, terminal, _ in days[1::6]:
        if not series.sessions:
            continue
        table = ProgramDay(house, series, terminal)
        for t in rng.integers(0, len(series), 3).tolist():
            places = []
            for _ in range(6):
                c = stored_in(rng, house, series, t)
                e = float(rng.choice([0.0, capacity(house), rng.uniform(0.0, capacity(house))]))
                places.append((e, 0.0 if c is None else c, c))
            if places[0][2] is None and table.plugged(t):
                continue
            found = [table.slopes(t, e, c) for e, c, _ in places]
            for (e, c, _), (value, by_e, by_c) in zip(places, found, strict=True):
                for (other_e, other_c, _), (other, _, _) in zip(places, found, strict=True):
                    plane = value + by_e * (other_e - e) + by_c * (other_c - c)
                    assert other >= plane - 1e-8
                    sharp += plane > other - 1e-6 and abs(other_c - c) > 0.1
    assert sharp >= 100


def test_a_car_that_stays_away_changes_nothing(days):
    rng = np.random.default_rng(4)
    seen = 0
    for house, series, _, terminal, solved in days:
        if series.sessions:
            continue
        seen += 1
        alone = cost_to_go(replace(house, car=None), series, terminal_eur_per_kwh=terminal)
        soc = rng.uniform(0.0, capacity(house), 5)
        for t in (0, int(rng.integers(len(series))), len(series)):
            assert solved.value(t, soc).tolist() == alone.value(t, soc).tolist()
        assert solved.chart(0, soc[0]) == alone.chart(0, soc[0])
    assert seen >= 50


def test_a_certain_future_is_the_day_scaled(random_car_house_day, day_program, certain):
    rng = np.random.default_rng(5)
    for _ in range(10):
        house, series, soc, terminal = random_car_house_day(rng, 12)
        sell = np.minimum(series.export_eur_per_kwh, 0.5 * series.import_eur_per_kwh)
        series = replace(series, export_eur_per_kwh=sell)
        scaled = replace(
            series,
            load_kw=1.3 * series.load_kw,
            pv_kw=0.6 * series.pv_kw,
            import_eur_per_kwh=0.9 * series.import_eur_per_kwh,
        )
        solved = cost_to_go(
            house, series, uncertainty=certain(0.6, 0.9, 1.3), terminal_eur_per_kwh=terminal
        )
        oracle = day_program(house, scaled, soc, terminal).solve()
        assert solved.value(0, soc) == pytest.approx(oracle, abs=1e-7)


def test_a_question_about_a_fuller_car_leaves_later_answers_alone(day_program):
    """Above its target a car keeps what it has, in the answer to that question alone."""
    house = House(Battery(4.0, 2.0), 6.0, 6.0, 30.0, 30.0, car=Car(7.0, 40.0))
    series = Series(
        [1.0] * 8, [5.0] * 8, [0.3] * 8, [0.05] * 8, sessions=(Session(0, 8, 5.0, 12.0),)
    )
    solved = cost_to_go(house, series, terminal_eur_per_kwh=0.1)
    before = solved.value(2, 1.0, 8.0), solved.chart(2, 1.0, 8.0)
    full = solved.value(2, 1.0, 30.0)
    assert full == pytest.approx(day_program(house, series, 1.0, 0.1, 2, 30.0).solve(), abs=1e-8)
    assert solved.value(2, 1.0, 8.0) == pytest.approx(before[0], abs=1e-12)
    np.testing.assert_allclose(
        solved.chart(2, 1.0, 8.0).vertices, before[1].vertices, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("battery", [None, Battery(5.0, 2.0, 0.9, 0.9, 0.1)])
def test_where_losses_of_the_car_pay_the_recursion_declines(battery):
    """A program would charge and discharge at once; perfect foresight keeps them apart."""
    car = Car(4.0, 20.0, 0.8, 4.0, 0.8, 0.0, 1.0)
    house = House(battery, 0.0, 5.0, 10.0, 10.0, car=car)
    series = Series(
        [1.0] * 4, [0.0] * 4, [-0.05] * 4, [-0.06] * 4, sessions=(Session(0, 4, 19.9, 10.0),)
    )
    assert perfect_foresight(house, series, soc_kwh=0.0).cost_eur == pytest.approx(-0.083)
    with pytest.raises(ConvexityError):
        cost_to_go(house, series)


HOUSE = House(Battery(10.0, 4.0), 8.0, 8.0, 20.0, 20.0, car=Car(11.0, 40.0))
VISIT = Series(
    [1.0] * 8, [1.0] * 8, [0.3] * 8, [0.1] * 8, sessions=(Session(2, 6, 10.0, 15.0),)
)  # fmt: skip


@pytest.mark.parametrize("uncertainty", [None, "markov"])
def test_energy_in_the_car_is_asked_for_while_it_is_there(uncertainty):
    solved = cost_to_go(HOUSE, VISIT, uncertainty=uncertainty, tolerance_eur=0.05)
    state = None if uncertainty is None else 4
    for ask in (solved.value, solved.chart):
        for t in (3, 5):
            with pytest.raises(StateError, match="car_kwh is None in period"):
                ask(t, 1.0, state=state)
        for t in (0, 1, 6, 7):
            with pytest.raises(StateError, match=rf"car_kwh is 12.0 in period {t}, in which no"):
                ask(t, 1.0, 12.0, state=state)
        for wrong in (-1.0, 41.0, np.nan):
            with pytest.raises(StateError, match=r"car_kwh is .*expected an energy in \["):
                ask(3, 1.0, wrong, state=state)
        for soc in (-0.1, 10.1, np.nan):
            with pytest.raises(StateError, match=r"soc_kwh is .*\[0, 10\] kWh"):
                ask(3, soc, 12.0, state=state)
        ask(2, 1.0, state=state)
        ask(3, 1.0, 12.0, state=state)
    with pytest.raises(StateError, match=r"car_kwh is 3.0 in period 8"):
        solved.value(8, 1.0, 3.0)
    with pytest.raises(ScenarioError, match="period from 0"):
        solved.chart(8, 1.0, state=state)


def test_an_energy_beyond_the_visits_reach_is_refused():
    solved = cost_to_go(HOUSE, VISIT, uncertainty="markov", tolerance_eur=0.05)
    for wrong in (9.9, 15.1):
        with pytest.raises(StateError, match=r"in period 3; expected an energy in \[10, 15\] kWh"):
            solved.value(3, 1.0, wrong, state=4)


def test_days_that_cannot_be_are_refused():
    with pytest.raises(ScenarioError, match="tolerance_eur is 0 for a house with battery and car"):
        cost_to_go(HOUSE, VISIT, uncertainty="markov", tolerance_eur=0.0)
    dear = replace(HOUSE, car=Car(11.0, 40.0, missed_eur_per_kwh=3.1))
    for uncertainty in (None, "markov"):
        with pytest.raises(ConvexityError, match=r"lacks costs 3.1 EUR/kWh and unserved load 3;"):
            cost_to_go(dear, VISIT, uncertainty=uncertainty)
    with pytest.raises(SeriesError, match="got 1 car sessions for a house without a car"):
        cost_to_go(replace(HOUSE, car=None), VISIT)
    full = replace(VISIT, sessions=(Session(2, 6, 41.0, 15.0),))
    with pytest.raises(SeriesError, match=r"arrives with 41 kWh; expected at most .* 40 kWh"):
        cost_to_go(HOUSE, full, uncertainty="markov")
