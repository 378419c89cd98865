"""What houses know of their future when they make menus, and prices of the grid within it."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils import seeding

from flexgym.baselines.household.cost_to_go import known_day
from flexgym.envs.charts.capability import capability, kink_powers
from flexgym.envs.charts.construction import house_chart
from flexgym.envs.errors import HouseError, ScenarioError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.homes import homes_of
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    BUY,
    CAPACITY,
    DEPARTURE,
    LOAD,
    PV,
    SELL,
    UNSERVED,
)
from flexgym.envs.household.params import Battery, House, Series
from flexgym.policies.exchange import Exchange, alone
from flexgym.policies.feeder import named
from flexgym.policies.menus import Menus
from flexgym.policies.planning import (
    Agnostic,
    Certified,
    Expected,
    Foreseen,
    revised,
    with_adders,
)

NO_KINKS = np.zeros(0)
HOUSE = House(Battery(4.0, 2.0), 6.0, 6.0, 30.0, 30.0)


def street(houses=None, scenario="stress", day=100):
    """Three houses on one bus bar."""
    import pandapower as pp

    net = pp.create_empty_network()
    high, at = pp.create_bus(net, 20.0), pp.create_bus(net, 0.4)
    pp.create_ext_grid(net, high)
    pp.create_transformer(net, high, at, "0.25 MVA 20/0.4 kV")
    buses = [pp.create_bus(net, 0.4) for _ in range(3)]
    for bus in buses:
        pp.create_line(net, at, bus, 0.03, "NAYY 4x150 SE")
    return FeederScenario.from_pandapower(
        net, buses=buses, scenario=scenario, days=[day], houses=houses
    )


@pytest.fixture(scope="module")
def scenario():
    return street()


@pytest.fixture(scope="module")
def plain():
    """The same houses without cars."""
    return street([replace(house, car=None) for house in street().houses()])


def houses(scenario, seed=1):
    simulation = FeederSimulation(scenario, 1, observation="compact", curtailment="action")
    simulation.begin([seeding.np_random(seed)[0]])
    return homes_of(simulation)


def at(homes, t):
    """The same houses in period t, with cars as they arrived."""
    later = revised(homes, homes.episodes.exogenous)
    later.t = t
    arrival, departure, stored = later.visit[[ARRIVAL, DEPARTURE, ARRIVAL_KWH]]
    later.car_kwh = np.where((arrival <= t) & (t < departure), stored, 0.0)
    return later


def menu(planner, homes, row, adders):
    """What a house would send, prices of the grid expected."""
    planner.begin(homes, adders)
    planner.look(homes)
    load, pv, buy, sell = (float(x) for x in homes.now[:, row])
    limits = capability(homes.house(row))
    levels = planner.ahead(homes, row, kink_powers(limits, pv))
    soc = float(homes.soc_kwh[row])
    return house_chart(homes.episodes.rows[row], soc, load, pv, buy, sell, levels, limits)


def levels_of(planner, homes, row):
    planner.look(homes)
    levels = planner.ahead(homes, row, NO_KINKS)
    return levels.car_kw, levels.x, levels.y


def random_adders(homes, seed=0, size=0.3):
    rng = np.random.default_rng(seed)
    some = rng.random((96, homes.n)) < 0.3
    return rng.uniform(-size, size, (96, homes.n)) * some


def test_prices_of_the_grid_keep_costs_convex(scenario):
    homes = houses(scenario)
    series, rows = homes.episodes.exogenous, homes.episodes.rows
    before = series.copy()
    assert with_adders(series, rows, None) is series
    for size in (0.05, 1.0, 100.0):
        adders = random_adders(homes, 1, size)
        priced = with_adders(series, rows, adders)
        assert (priced[:, BUY] >= priced[:, SELL] - 1e-12).all()
        assert (priced[:, BUY] >= -1e-12).all()
        assert (priced[:, BUY] <= rows[:, UNSERVED] + 1e-12).all()
        np.testing.assert_array_equal(priced[:, [LOAD, PV]], series[:, [LOAD, PV]])
        spread = series[:, BUY] - series[:, SELL]
        np.testing.assert_allclose(priced[:, BUY] - priced[:, SELL], spread, rtol=0, atol=1e-12)
        free = np.abs(adders) < series[:, BUY]
        added = (priced - series)[:, BUY]
        np.testing.assert_allclose(added[free], adders[free], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(series, before)


@pytest.mark.parametrize("planner", [Foreseen, Expected])
def test_the_price_of_the_present_period_is_left_to_clearing(scenario, planner):
    """A plan holds prices of the periods to come, not of this one, nor of those past."""
    homes = houses(scenario)
    adders = random_adders(homes)
    for t in (0, 37, 80, 95):
        now, ahead_only = at(homes, t), adders.copy()
        ahead_only[: t + 1] = 0.0
        for row in range(homes.n):
            menus = [menu(planner(), now, row, a) for a in (adders, ahead_only, None)]
            power = np.concatenate([menus[0].power_kw, menus[1].power_kw])
            power = power.clip(*menus[0].power_kw[[0, -1]])
            mine, same, none = (one.cost(power) for one in menus)
            np.testing.assert_allclose(mine, same, rtol=0, atol=1e-9)
            assert t > 90 or np.abs(mine - none).max() > 1e-3


def test_no_adders_are_adders_of_zero(scenario):
    homes = houses(scenario)
    for planner in (Foreseen, Expected):
        found = []
        for adders in (None, np.zeros((96, homes.n))):
            plan = planner()
            plan.begin(homes, adders)
            found.append(levels_of(plan, homes, 0))
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_high_prices_of_the_grid_move_what_houses_take(scenario):
    """Dear hours are left, which costs more at the houses' own prices."""
    homes = houses(scenario)
    power, cost = alone(revised(homes, homes.episodes.exogenous), Foreseen())
    hours = power.sum(axis=1) > 0.5 * power.sum(axis=1).max()
    adders = np.zeros((96, homes.n))
    adders[hours] = 0.5
    priced = revised(homes, with_adders(homes.episodes.exogenous, homes.episodes.rows, adders))
    moved, dearer = alone(priced, Foreseen())
    assert moved[hours].sum() < 0.5 * power[hours].sum()
    own = dearer - 0.25 * (adders * moved).sum(axis=0)
    assert (own >= cost - 1e-7).all()
    assert own.sum() > cost.sum() + 0.01


def test_a_revised_day_goes_as_it_is_told(scenario):
    homes = houses(scenario)
    kept = homes.episodes.exogenous.copy(), homes.soc_kwh.copy()
    series = homes.episodes.exogenous.copy()
    series[:, LOAD] *= 2.0
    again = revised(homes, series)
    alone(again, Foreseen())
    assert again.done
    assert homes.t == 0
    np.testing.assert_array_equal(homes.episodes.exogenous, kept[0])
    np.testing.assert_array_equal(homes.soc_kwh, kept[1])
    np.testing.assert_array_equal(again.episodes.exogenous[:, LOAD], 2.0 * kept[0][:, LOAD])


def test_expectations_start_from_what_is_measured(scenario):
    """Now as measured; what is past as forecast; the known day itself where nothing is random."""
    homes = houses(scenario)
    likely = Expected().expected(at(homes, 40))
    episodes = homes.episodes
    np.testing.assert_array_equal(likely[40], episodes.exogenous[40])
    np.testing.assert_array_equal(likely[:40], episodes.forecast[:40])
    assert not np.allclose(likely[41:], episodes.exogenous[41:])
    np.testing.assert_allclose(likely[:, SELL], episodes.forecast[:, SELL], rtol=0, atol=1e-12)
    assert Foreseen().expected(homes) is episodes.exogenous
    assert Agnostic().expected(homes) is episodes.forecast


def test_plans_made_anew_are_other_plans(scenario):
    """Nobody beats those who know the day; one plan for all of it is not a plan a period."""
    homes = houses(scenario)
    found = [
        alone(revised(homes, homes.episodes.exogenous), planner)
        for planner in (Foreseen(), Expected(), Expected(every=96), Expected(every=96))
    ]
    (_, known), (power, anew), (other, once), (again, _) = found
    assert (known <= np.minimum(anew, once) + 1e-7).all()
    assert anew.sum() > known.sum() + 0.01
    assert np.abs(power - other).max() > 0.1
    np.testing.assert_array_equal(other, again)


def test_dear_grids_do_not_stop_the_plan(scenario):
    """Whatever the operator says, plans are made: prices are cut to what load is worth."""
    homes = houses(scenario)
    for planner in (Foreseen(), Expected()):
        planner.begin(homes, random_adders(homes, 2, 100.0))
        assert np.isfinite(levels_of(planner, homes, 0)[2]).all()


def test_houses_that_do_not_look_ahead_ignore_prices(scenario):
    homes = houses(scenario)
    with pytest.raises(ScenarioError, match="prices of the grid"):
        Agnostic().begin(homes, np.zeros((96, homes.n)))
    planner = Agnostic(0.2)
    planner.begin(homes)
    levels = planner.ahead(homes, 0, NO_KINKS)
    for _, later in levels:
        end = float(homes.episodes.rows[0, CAPACITY])
        assert later(0.0) - later(end) == pytest.approx(0.2 * end, abs=1e-12)


def test_the_certified_optimum_takes_prices_of_the_grid(plain):
    """Prices that are cut keep every outcome convex; later ones move the value of energy."""
    homes = houses(plain)
    worth = {}
    for label, adders in {
        "none": None,
        "zero": np.zeros((96, homes.n)),
        "dear": np.full((96, homes.n), 0.2),
        "wild": random_adders(homes, 3, 50.0),
    }.items():
        planner = Certified()
        planner.begin(homes, adders)
        planner.look(homes)
        ahead = [planner.ahead(homes, row, NO_KINKS) for row in range(homes.n)]
        worth[label] = np.array([levels.y[0] - levels.y[-1] for levels in ahead])
        assert all(np.isfinite(levels.y).all() for levels in ahead)
    np.testing.assert_allclose(worth["none"], worth["zero"], rtol=0, atol=1e-4)
    has = homes.episodes.rows[:, CAPACITY] > 0.0
    assert has.any()
    assert (worth["dear"] > worth["none"] + 0.01)[has].all()


def test_menus_price_the_present_with_what_the_house_pays(scenario):
    """Adders of this period alone leave the menus that are sent as they are."""
    homes = houses(scenario)
    menus = []
    for first in (0.0, 0.7):
        adders = random_adders(homes)
        adders[0] = first
        planner = Foreseen()
        planner.begin(homes, adders)
        menus.append(Exchange(scenario).period(homes, planner).menus[0])
    for one, other in zip(*menus, strict=True):
        np.testing.assert_allclose(one.power_kw, other.power_kw, rtol=0, atol=1e-9)
        np.testing.assert_allclose(one.cost_eur, other.cost_eur, rtol=0, atol=1e-9)


def test_droop_lowers_the_highest_voltage_on_a_sunny_day():
    scenario = FeederScenario.create("summer_midday", draws=(0,))
    days = scenario.homes.days
    found = {}
    for name in ("unmanaged", "droop"):
        policy = named(name)
        simulation = FeederSimulation(
            scenario, 3, observation="compact", detail=True, **policy.settings
        )
        options = {"draw": np.zeros(3, np.int64), "day": np.asarray(days)[[40, 60, 80]]}
        simulation.begin([seeding.np_random(i)[0] for i in range(3)], options)
        policy.begin(simulation)
        highest = np.zeros(3)
        while not simulation.done:
            action = policy.act(simulation)
            assert np.abs(action).max() <= 1.0
            simulation.step(action)
            highest = np.maximum(highest, simulation.v_pu.max(axis=1))
        totals = dict(zip(FEEDER_NAMES, simulation.episode.T, strict=True))
        found[name] = highest, totals["voltage_violation_pu_h"], totals["curtailed_kwh"]
    (before, violated, unused), (after, left, curtailed) = found["unmanaged"], found["droop"]
    hot = before > 1.05
    assert hot.any()
    # Inverters see the last quarter-hour: the first moment of a sudden sun they cannot meet.
    assert (after[hot] < before[hot]).all()
    assert (after[hot] < before[hot] - 0.005).any()
    assert (left[hot] < 0.5 * violated[hot]).all()
    assert (curtailed[hot] >= unused[hot]).all()


@pytest.mark.parametrize(
    ("options", "match"), [({"again": 0}, "again is 0"), ({"n_vertices": 0}, "n_vertices is 0")]
)
def test_menus_refuse_what_makes_no_sense(options, match):
    with pytest.raises(ScenarioError, match=match):
        Menus(Foreseen(), **options)


@pytest.mark.parametrize("start", [-3, 96, 200])
def test_known_days_begin_within_the_day(start):
    series = Series([1.0] * 4, [0.0] * 4, [0.3] * 4, [0.1] * 4)
    with pytest.raises(ScenarioError, match=f"start is {start}; expected a period from 0 to 3"):
        known_day(HOUSE, series, 0.1, start)
    with pytest.raises(HouseError, match="terminal_eur_per_kwh is nan"):
        known_day(HOUSE, series, float("nan"))
