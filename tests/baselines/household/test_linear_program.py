"""A thousand random days: the recursion, the linear program and the physics agree."""

from dataclasses import replace

import numpy as np
import pytest

from flexgym.baselines.household import cost_to_go, perfect_foresight
from flexgym.envs import Battery, House, Series
from flexgym.envs.charts.recursion import dispatch
from flexgym.envs.errors import ConvexityError, HouseError
from flexgym.envs.household import dynamics as d
from flexgym.envs.household.params import DT_H

DAYS = 1000


@pytest.fixture(scope="module")
def days(random_house_day):
    rng = np.random.default_rng(2024)
    found = []
    for k in range(DAYS):
        house, series, soc, terminal = random_house_day(rng, 96 if k < 500 else 24)
        solved = cost_to_go(house, series, terminal_eur_per_kwh=terminal)
        bound = perfect_foresight(house, series, soc_kwh=soc, terminal_eur_per_kwh=terminal)
        found.append((house, series, soc, terminal, solved, bound))
    return found


def test_value_is_the_linear_program(days):
    error = [abs(solved.value(0, soc) - bound.cost_eur) for _, _, soc, _, solved, bound in days]
    assert max(error) <= 1e-9


def test_playing_the_recursion_costs_its_value_term_by_term(days, play_powers):
    worst = 0.0
    for house, series, soc, terminal, solved, _ in days:
        table = solved.tables
        now = np.stack(
            [series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh]
        )
        battery = np.empty(len(series))
        dispatch(d.house_row(house), now, soc, table.offset, table.slopes, table.lengths, battery)
        out = play_powers(house, series, soc, terminal, battery, np.zeros(len(series)))
        np.testing.assert_allclose(out[:, d.BATTERY_KW], battery, rtol=0, atol=1e-12)
        worst = max(worst, abs(out[:, d.COST_EUR].sum() - solved.value(0, soc)))
        bill = DT_H * (
            series.import_eur_per_kwh * np.maximum(out[:, d.METER_KW], 0)
            + series.export_eur_per_kwh * np.minimum(out[:, d.METER_KW], 0)
        )
        np.testing.assert_allclose(
            out[:, d.IMPORT_EUR] + out[:, d.EXPORT_EUR], bill, rtol=0, atol=1e-12
        )
        wear = house.battery.wear_eur_per_kwh if house.battery else 0.0
        np.testing.assert_allclose(
            out[:, d.WEAR_EUR], wear * np.abs(battery) * DT_H, rtol=0, atol=1e-12
        )
        assert out[-1, d.TERMINAL_EUR] == -terminal * out[-1, d.SOC_KWH]
        assert not out[:-1, d.TERMINAL_EUR].any()
    assert worst <= 1e-9


def test_cost_to_go_along_the_optimal_day_is_consistent(days, play_powers):
    """What has been paid plus what is still to come never changes on the optimal day."""
    for house, series, soc, terminal, solved, _ in days[::20]:
        table = solved.tables
        now = np.stack(
            [series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh]
        )
        battery = np.empty(len(series))
        dispatch(d.house_row(house), now, soc, table.offset, table.slopes, table.lengths, battery)
        out = play_powers(house, series, soc, terminal, battery, np.zeros(len(series)))
        paid = np.cumsum(out[:, d.COST_EUR] - out[:, d.TERMINAL_EUR])
        ahead = [solved.value(t + 1, out[t, d.SOC_KWH]) for t in range(len(series))]
        np.testing.assert_allclose(paid + ahead, solved.value(0, soc), rtol=0, atol=1e-9)


def test_the_programs_dispatch_plays_at_its_cost(days, play_powers):
    """Even where ties would let a program waste energy by charging and discharging at once."""
    worst = 0.0
    for house, series, soc, terminal, _, bound in days:
        # The solver keeps limits to 1e-10; the physics to rounding.
        battery = np.where(np.abs(bound.battery_kw) < 1e-9, 0.0, bound.battery_kw)
        out = play_powers(house, series, soc, terminal, battery, np.zeros(len(series)))
        worst = max(worst, abs(out[:, d.COST_EUR].sum() - bound.cost_eur))
        np.testing.assert_allclose(out[:, d.SOC_KWH], bound.soc_kwh[1:], rtol=0, atol=1e-8)
    assert worst <= 1e-9


@pytest.mark.parametrize("terminal", [np.nan, np.inf, -np.inf])
@pytest.mark.timeout(60)
def test_pay_for_stored_energy_is_a_number(terminal):
    house, day = House(Battery(5.0, 2.0), 1.0, 5.0, 30.0, 30.0), ([1.0], [0.0], [0.3], [0.1])
    with pytest.raises(HouseError, match="terminal_eur_per_kwh"):
        perfect_foresight(house, Series(*day), soc_kwh=1.0, terminal_eur_per_kwh=terminal)
    with pytest.raises(HouseError, match="terminal_eur_per_kwh"):
        cost_to_go(house, Series(*day), terminal_eur_per_kwh=terminal)


def test_the_days_press_on_every_limit(days):
    """The thousand days would prove little if no limit ever bound."""
    unserved = exported_at_limit = curtailed = negative = idle_house = leaking = at_inverter = 0
    for house, series, _, _, _, bound in days:
        unserved += bound.unserved_kw.max() > 1e-6
        exported_at_limit += abs(bound.meter_kw.min() + house.export_limit_kw) < 1e-6
        curtailed += (series.pv_kw - bound.pv_used_kw).max() > 1e-6
        negative += series.export_eur_per_kwh.min() < 0
        idle_house += house.battery is None or house.battery.capacity_kwh == 0
        leaking += house.battery is not None and house.battery.retention < 1
        power = np.abs(bound.battery_kw - bound.pv_used_kw).max()
        at_inverter += power > 0 and abs(power - house.inverter_kva) < 1e-6
    for count in (unserved, exported_at_limit, curtailed, negative, leaking, at_inverter):
        assert count > 100
    assert idle_house > 20


@pytest.mark.parametrize(
    ("retention", "periods"),
    [(0.9, 400), (0.75, 96), (0.7, 96), (0.5, 96), (0.3, 40), (0.01, 24)],
)
def test_strong_self_discharge_does_not_blow_rounding_up(retention, periods, random_house_day):
    rng = np.random.default_rng(8)
    for _ in range(6):
        house, series, _, terminal = random_house_day(rng, periods)
        house = replace(house, battery=Battery(10.0, 3.0, 0.9, 0.9, 0.01, retention))
        solved = cost_to_go(house, series, terminal_eur_per_kwh=terminal)
        for soc in (0.0, 4.0, 10.0):
            program = perfect_foresight(house, series, soc_kwh=soc, terminal_eur_per_kwh=terminal)
            assert solved.value(0, soc) == pytest.approx(program.cost_eur, abs=1e-9)
        lengths = [solved.tables.before(t)[2].sum() for t in range(periods + 1)]
        np.testing.assert_allclose(lengths, 10.0, rtol=1e-13)
        assert solved.chart(0, 4.0).cost_eur.min() == pytest.approx(solved.value(0, 4.0), abs=1e-9)


def test_a_negative_terminal_price_is_refused_by_the_recursion_alone():
    house = House(Battery(5.0, 3.0, 0.9, 0.9, 0.01), 5.0, 5.0, 30.0, 30.0)
    series = Series([1.0, 1.0], [0.0, 0.0], [0.3, 0.3], [0.1, 0.1])
    with pytest.raises(ConvexityError, match="terminal_eur_per_kwh is -2"):
        cost_to_go(house, series, terminal_eur_per_kwh=-2.0)
    found = perfect_foresight(house, series, soc_kwh=2.5, terminal_eur_per_kwh=-2.0)
    assert found.soc_kwh[-1] == pytest.approx(2.5 - 2 * 3.0 * 0.25 / 0.9, abs=1e-7)


def test_a_chart_that_cannot_be_convex_is_refused():
    house = House(Battery(5.0, 3.0, 0.9, 0.9, 0.01), 5.0, 5.0, 0.5, 30.0)
    solved = cost_to_go(house, Series([1.0], [0.0], [0.3], [0.1]), terminal_eur_per_kwh=5.0)
    with pytest.raises(ConvexityError, match="worth more than unserved"):
        solved.chart(0, 1.25)
