"""Appliances planned with battery and car: as good as trying every schedule."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest

from flexgym.baselines.household import cost_to_go, perfect_foresight
from flexgym.baselines.household.appliance_program import ApplianceProgram, with_schedule
from flexgym.baselines.household.appliance_windows import (
    added_cost,
    cheapest_periods,
    cheapest_schedule,
)
from flexgym.baselines.household.cost_to_go import known_day
from flexgym.envs import Appliance, Battery, House, Series
from flexgym.envs.errors import HouseError, JobError
from flexgym.envs.household.dynamics import house_row

T = 7


def schedules(job, periods, start=0, left=None, running=False):
    """Every way to run what is left of a job from a period on, each shape (T,)."""
    left = job.periods if left is None else left
    window = range(max(start, job.earliest), job.deadline)
    found = []
    for chosen in combinations(window, left):
        first = chosen[0] if chosen else 0
        whole = chosen == tuple(range(first, first + left)) and (not running or first == start)
        if job.interruptible or whole:
            found.append(np.isin(np.arange(periods), chosen))
    return found


def draw_job(rng, periods):
    length = int(rng.integers(0, 4))
    earliest = int(rng.integers(0, periods - length + 1))
    deadline = int(rng.integers(earliest + length, periods + 1))
    return Appliance(length, earliest, deadline, rng.uniform(0.2, 4.0), bool(rng.random() < 0.5))


def cheapest(house, series, soc, terminal):
    """Least cost over all schedules of a house's appliances."""
    best = np.inf
    for runs in product(*(schedules(job, len(series)) for job in house.appliances)):
        fixed = with_schedule(house, series, np.array(runs))
        best = min(
            best, perfect_foresight(*fixed, soc_kwh=soc, terminal_eur_per_kwh=terminal).cost_eur
        )
    return best


def drawn_day(random_car_house_day, rng):
    """A house with one or two appliances, and a day on which shedding load costs most."""
    house, series, soc, terminal = random_car_house_day(rng, T)
    jobs = tuple(draw_job(rng, T) for _ in range(int(rng.integers(1, 3))))
    return replace(house, appliances=jobs), series, soc, terminal


def test_the_optimum_is_the_best_of_all_schedules(random_car_house_day):
    rng = np.random.default_rng(5)
    tried = 0
    for _ in range(40):
        house, series, soc, terminal = drawn_day(random_car_house_day, rng)
        tried += int(np.prod([len(schedules(job, T)) for job in house.appliances]))
        found = perfect_foresight(house, series, soc_kwh=soc, terminal_eur_per_kwh=terminal)
        assert found.cost_eur == pytest.approx(cheapest(house, series, soc, terminal), abs=1e-9)
        for job, runs in zip(house.appliances, found.runs, strict=True):
            assert any(np.array_equal(runs, other) for other in schedules(job, T))
        fixed = with_schedule(house, series, found.runs)
        again = perfect_foresight(*fixed, soc_kwh=soc, terminal_eur_per_kwh=terminal)
        assert again.cost_eur == found.cost_eur
    assert tried > 300


def test_so_it_is_where_importing_pays(random_car_house_day):
    rng = np.random.default_rng(8)
    for _ in range(12):
        house, series, soc, terminal = drawn_day(random_car_house_day, rng)
        lower = rng.uniform(0.0, 0.5, T)
        series = replace(
            series,
            import_eur_per_kwh=series.import_eur_per_kwh - lower,
            export_eur_per_kwh=series.export_eur_per_kwh - lower,
        )
        found = perfect_foresight(house, series, soc_kwh=soc, terminal_eur_per_kwh=terminal)
        assert found.cost_eur == pytest.approx(cheapest(house, series, soc, terminal), abs=1e-9)


def test_a_plan_within_the_day_is_the_best_of_what_is_left(random_house_day):
    rng = np.random.default_rng(21)
    programs = 0
    for _ in range(25):
        house, series, soc, terminal = random_house_day(rng, T)
        job = draw_job(rng, T)
        house = replace(house, appliances=(job,))
        program = ApplianceProgram(house, T)
        program.load(series, terminal_eur_per_kwh=terminal)
        for start in range(T):
            for left in range(job.periods + 1):
                begun = left < job.periods
                running = begun and left > 0 and not job.interruptible
                ways = schedules(job, T, start, left, running)
                ran = start - job.earliest >= job.periods - left
                if not ways or not ran or (begun and left and start <= job.earliest):
                    continue
                if running and start - (job.periods - left) < job.earliest:
                    continue
                runs = program.plan(soc_kwh=soc, start=start, left=[left], running=[running])
                rest = Series(*(x[start:] for x in _rows(series)))
                costs = [
                    perfect_foresight(
                        *with_schedule(house, rest, way[None, start:]),
                        soc_kwh=soc,
                        terminal_eur_per_kwh=terminal,
                    ).cost_eur
                    for way in ways
                ]
                assert program.dispatch().cost_eur == pytest.approx(min(costs), abs=1e-8)
                assert any(np.array_equal(runs[0], way) for way in ways)
                programs += 1
    assert programs > 100


def _rows(series):
    return (
        series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh,
    )  # fmt: skip


def test_without_battery_one_job_in_its_cheapest_periods_is_optimal(random_house_day):
    rng = np.random.default_rng(13)
    for _ in range(60):
        house, series, _, _ = random_house_day(rng, 24)
        job = draw_job(rng, 24)
        house = replace(house, battery=None, appliances=(job,))
        runs = cheapest_schedule(house, np.stack(_rows(series)))
        added = added_cost(house_row(house), np.stack(_rows(series)), job.power_kw)
        ways = [way @ added for way in schedules(job, 24)]
        assert runs[0] @ added == pytest.approx(min(ways), abs=1e-12)
        played = perfect_foresight(*with_schedule(house, series, runs), soc_kwh=0.0)
        best = perfect_foresight(house, series, soc_kwh=0.0)
        assert played.cost_eur == pytest.approx(best.cost_eur, abs=1e-9)


def test_two_jobs_do_not_count_on_the_same_sun():
    """One surplus period: the larger job takes it, the smaller goes where the grid is cheap."""
    house = House(None, 4.0, 4.0, 30.0, 30.0)
    house = replace(house, appliances=(Appliance(1, 0, 3, 1.0), Appliance(1, 0, 3, 2.0)))
    series = np.array([[0.0] * 3, [0.0, 2.0, 0.0], [0.3, 0.3, 0.2], [0.1] * 3])
    assert cheapest_schedule(house, series).tolist() == [[False, False, True], [False, True, False]]


def test_ties_go_to_the_earlier_periods():
    flat = np.full(6, 0.1)
    assert np.flatnonzero(cheapest_periods(Appliance(2, 1, 6, 1.0), flat)).tolist() == [1, 2]
    pauses = Appliance(2, 1, 6, 1.0, interruptible=True)
    assert np.flatnonzero(cheapest_periods(pauses, flat)).tolist() == [1, 2]
    flat[3] = 0.05
    assert np.flatnonzero(cheapest_periods(pauses, flat)).tolist() == [1, 3]
    assert not cheapest_periods(Appliance(0, 1, 1, 1.0), flat).any()


def test_what_cannot_be_solved_is_refused():
    house = House(Battery(5.0, 2.0), 1.0, 5.0, 30.0, 30.0, appliances=(Appliance(2, 0, 4, 1.0),))
    series = Series([1.0] * 4, [0.0] * 4, [0.3] * 4, [0.1] * 4)
    with pytest.raises(HouseError, match="not convex"):
        cost_to_go(house, series)
    with pytest.raises(HouseError, match="not convex"):
        known_day(house, series)
    late = replace(house, appliances=(Appliance(2, 0, 5, 1.0),))
    with pytest.raises(JobError, match="deadline in period 5"):
        perfect_foresight(late, series, soc_kwh=0.0)
    program = ApplianceProgram(house, 4)
    program.load(series)
    for start, left in ((3, 2), (0, 3), (0, -1), (4, 1)):
        with pytest.raises(JobError, match="periods left"):
            program.plan(soc_kwh=0.0, start=start, left=[left])
    for state, says in (
        ({"start": -1}, "start is -1"),
        ({"start": 5}, "start is 5"),
        ({"start": 1.0}, "start is 1.0"),
        ({"left": []}, "left is .*; expected 1 whole numbers"),
        ({"left": [1, 1]}, "left is"),
        ({"left": [1.5]}, "left is"),
        ({"left": 2}, "left is 2"),
        ({"running": [1]}, "running is .*; expected 1 truth values"),
        ({"running": [True, False]}, "running is"),
        ({"left": [1], "running": [True]}, "could not be run since"),
        ({"start": 1, "left": [0]}, "could not be run since"),
        ({"start": 2, "left": [1]}, "running is False"),
        ({"start": 2, "left": [2], "running": [True]}, "running is True"),
        ({"start": 2, "left": [0], "running": [True]}, "running is True"),
    ):
        with pytest.raises(JobError, match=says):
            program.plan(soc_kwh=0.0, **state)
    # None of them has changed the program.
    assert program.plan(soc_kwh=0.0).sum() == 2
    begun = program.plan(soc_kwh=0.0, start=2, left=[1], running=[True])
    assert np.flatnonzero(begun[0]).tolist() == [2]
