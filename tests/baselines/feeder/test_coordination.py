"""Houses plan at prices, the operator mixes: it converges, its bound holds, houses stay private."""

from dataclasses import fields, replace
from itertools import pairwise
from typing import get_type_hints

import highspy
import numpy as np
import pytest

from flexgym.baselines.feeder.central_program import central_optimum
from flexgym.baselines.feeder.coordination import CLOSE_EUR, RANGE_EUR_PER_KWH, coordinate
from flexgym.baselines.feeder.feeder_day import FeederDay
from flexgym.baselines.feeder.network_rows import NetworkRows
from flexgym.baselines.feeder.plan_mixture import OperatorDay, PlanMixture
from flexgym.baselines.feeder.planning_house import Plan, PlanningHouse
from flexgym.baselines.feeder.stacked_houses import StackedHouses
from flexgym.envs import House, Series
from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.household.params import DT_H

PULL = 0.005


@pytest.fixture(scope="module")
def day(own, begun):
    """Seven houses whose transformer carries 30 kVA."""
    return FeederDay.of(begun(own()))


@pytest.fixture(scope="module")
def optimum(day):
    return central_optimum(day)


@pytest.fixture(scope="module")
def agreed(day):
    return coordinate(day, 15)


@pytest.fixture
def house(day):
    return planning_houses(day)[0]


def planning_houses(day):
    columns = (day.houses, day.series, day.soc_kwh, day.terminal_eur_per_kwh)
    return [PlanningHouse(h, s, float(c), float(p)) for h, s, c, p in zip(*columns, strict=True)]


def known_to_operator(day):
    grid = {name: getattr(day, name) for name in ("network", "house_bus", "rating_kva")}
    kvar, limits = day.meter_kvar(), day.connection_kw
    return OperatorDay(
        **grid, band_pu=day.band_pu, costs=day.costs, meter_kvar=kvar, limit_kw=limits
    )


def stacked(answers):
    cost_eur = np.array([answer.cost_eur for answer in answers])
    return np.stack([answer.meter_kw for answer in answers]), cost_eur


def complete_rows(grid, check):
    """Every limit of one linear model, and losses that are exact at the same point."""
    grid.points.shift(check, check.q_kvar)
    grid.price_losses(check)
    grid.add(grid.all_limits())
    grid.bound(np.empty(0))


def test_it_converges_to_the_optimum_of_the_same_linear_program(day):
    """The oracle holds all houses' rows; and the operator's bound never exceeds it."""
    houses = planning_houses(day)
    plans = [house.answer(np.zeros(day.periods)) for house in houses]
    operator = PlanMixture(known_to_operator(day), *stacked(plans))
    check = day.check(stacked(plans)[0], day.meter_kvar())
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    whole = StackedHouses(day)
    whole.pass_to(highs)
    grid = NetworkRows(highs, whole, day)
    for rows in (grid, operator.grid):
        complete_rows(rows, check)
    highs.run()
    oracle = highs.getInfo().objective_function_value
    assert oracle > whole.own_eur + 0.1
    costs, bounds = [], []
    for _ in range(60):
        mixture = operator.solve(rounds=0)
        prices = mixture.price_eur_per_kwh
        answers = [house.answer(price) for house, price in zip(houses, prices, strict=True)]
        least = [answer.least_eur for answer in answers]
        costs.append(mixture.program_eur)
        bounds.append(mixture.program_eur - np.maximum(mixture.plan_eur - least, 0.0).sum())
        operator.add(*stacked(answers))
        if costs[-1] - bounds[-1] < 1e-7:
            break
    assert costs[-1] == pytest.approx(oracle, abs=1e-6)
    assert max(bounds) == pytest.approx(oracle, abs=1e-6)
    assert max(bounds) <= oracle + 1e-7
    assert min(costs) >= oracle - 1e-7
    assert all(after <= before + 1e-7 for before, after in pairwise(costs))
    assert bounds[0] < oracle - 1.0


def test_it_comes_to_the_central_optimum(day, optimum, agreed):
    assert agreed.settled
    cost = agreed.cost_eur
    tolerance = optimum.gap_eur + 2 * CLOSE_EUR
    assert cost.min() == pytest.approx(optimum.cost_eur, abs=tolerance)
    assert cost[0] > cost.min() + 10.0
    assert agreed.bound_eur.max() <= optimum.cost_eur + 1e-3
    assert agreed.gap_eur < 0.2
    assert agreed.unplanned_kwh[-1] == 0.0
    # The mixture's own cost is at most what its plans cost.
    check = day.check(agreed.meter_kw, day.meter_kvar())
    grid = sum(check.costs_eur(day.costs))
    assert agreed.house_eur.sum() + grid == pytest.approx(cost.min(), abs=1e-6)
    for house, profile, cost_eur in zip(
        planning_houses(day), agreed.meter_kw, agreed.house_eur, strict=True
    ):
        plan = house.answer(np.zeros(day.periods), profile, 1.0)
        np.testing.assert_allclose(plan.meter_kw, profile, atol=1e-6)
        assert plan.cost_eur <= cost_eur + 1e-6


def test_its_adders_are_the_grids_prices(day, optimum, agreed):
    """Losses and limits, by house and period; and the houses' planning stays convex."""
    adders, price = agreed.adders_eur_per_kwh, optimum.duals.price_eur_per_kwh
    assert adders.shape == price.shape
    assert np.abs(adders - price).mean() < 0.2 * np.abs(price).mean()
    tariff = np.stack([series.import_eur_per_kwh for series in day.series])
    shed = np.array([house.unserved_eur_per_kwh for house in day.houses])
    assert (tariff + adders >= 0.0).all()
    assert (tariff + adders <= shed[:, None]).all()
    assert agreed.clipped == 0


def test_it_ends_when_houses_have_nothing_to_add(day, unlimited):
    """Without a grid their own optima are all there is, and the first answers prove it."""
    free = unlimited(day)
    seen = []
    agreed = coordinate(free, progress=seen.append)
    assert agreed.converged
    assert agreed.iterations == len(seen) == 1
    assert not agreed.adders_eur_per_kwh.any()
    own = sum(house.own_eur for house in planning_houses(free))
    np.testing.assert_allclose([agreed.cost_eur[-1], agreed.bound_eur[0]], own, atol=1e-6)


def test_plans_given_are_mixed(day, optimum):
    given = (optimum.meter_kw, optimum.house_eur)
    cost = coordinate(day, 1, plans=[given]).cost_eur
    assert cost[0] <= optimum.cost_eur + 2 * CLOSE_EUR
    assert coordinate(day, 1).cost_eur[0] > cost[0] + 1.0


def test_limits_that_cannot_be_held_are_paid_for(own, begun):
    """Prices widen until plans suffice; what houses plan with stays in bounds."""
    day = FeederDay.of(begun(own(trafo_kva=1.0, pv_kwp=0.0, day=80)))
    agreed, optimum = coordinate(day, 8), central_optimum(day)
    assert optimum.uses_slack
    assert agreed.unplanned_kwh[0] > 1.0
    assert agreed.unplanned_kwh[-1] == 0.0
    assert agreed.cost_eur[-1] < 0.7 * agreed.cost_eur[0]
    assert agreed.bound_eur.max() <= optimum.cost_eur <= agreed.cost_eur.min()
    tariff = np.stack([series.import_eur_per_kwh for series in day.series])
    total = tariff + agreed.adders_eur_per_kwh
    assert agreed.adders_eur_per_kwh.max() > RANGE_EUR_PER_KWH
    assert (total <= day.houses[0].unserved_eur_per_kwh + 1e-12).all()


def test_a_positive_adder_makes_drawing_dearer(house):
    T = house.periods
    before = house.answer(np.zeros(T))
    period = int(np.argmax(before.meter_kw))
    adder = np.where(np.arange(T) == period, 0.3, 0.0)
    after = house.answer(adder)
    assert after.meter_kw[period] < before.meter_kw[period] - 0.1
    assert after.cost_eur > before.cost_eur
    assert after.least_eur == pytest.approx(after.cost_eur + DT_H * adder @ after.meter_kw)
    back = house.answer(np.zeros(T))
    assert back.cost_eur == pytest.approx(house.own_eur, abs=1e-8)


def test_the_pull_is_what_it_says(house):
    """Of all plans the pulled one is best with the pull; a strong pull reproduces a profile."""
    rng, T = np.random.default_rng(0), house.periods
    others = [house.answer(rng.normal(0.0, 0.05, T)) for _ in range(6)]
    profile = np.mean([other.meter_kw for other in others], axis=0)
    adder = rng.normal(0.0, 0.05, T)

    def worth(plan, pull):
        away = np.abs(plan.meter_kw - profile).sum()
        return plan.cost_eur + DT_H * (adder @ plan.meter_kw + pull * away)

    free = house.answer(adder)
    distance = []
    for pull in (0.001, 0.02, 0.2):
        pulled = house.answer(adder, profile, pull)
        assert all(worth(pulled, pull) <= worth(other, pull) + 1e-7 for other in [*others, free])
        assert pulled.least_eur == pytest.approx(worth(free, 0.0), abs=1e-7)
        distance.append(np.abs(pulled.meter_kw - profile).sum())
    assert distance[0] > distance[1] > distance[2]
    assert distance[2] < 0.5
    assert house.answer(adder).cost_eur == pytest.approx(free.cost_eur, abs=1e-6)


def test_wild_prices_are_bounded_for_planning_but_not_for_the_bound(house):
    adder = np.random.default_rng(1).choice([-9.0, 9.0], house.periods)
    total = house.series.import_eur_per_kwh + house.bounded(adder)
    np.testing.assert_allclose(total[adder < 0.0], 0.0, atol=1e-12)
    np.testing.assert_allclose(total[adder > 0.0], house.house.unserved_eur_per_kwh)
    mild = 0.01 * adder / 9.0
    np.testing.assert_array_equal(house.bounded(mild), mild)
    plan = house.answer(adder)
    assert plan.least_eur < plan.cost_eur + DT_H * adder @ plan.meter_kw - 1.0
    dear = house.answer(np.full(house.periods, 9.0))
    assert dear.cost_eur < house.periods * DT_H * house.house.unserved_eur_per_kwh


def test_no_more_than_a_plan_and_its_cost_leaves_the_house(day, agreed):
    assert [field.name for field in fields(Plan)] == ["meter_kw", "cost_eur", "least_eur"]
    plan = planning_houses(day)[0].answer(np.zeros(day.periods))
    assert plan.n_bytes == 8 * (day.periods + 2)
    # Reactive power once, then the own optimum and a plan an iteration; prices and profile back.
    assert agreed.house_bytes == 8 * day.periods + (agreed.iterations + 1) * plan.n_bytes
    assert agreed.operator_bytes == agreed.iterations * 2 * 8 * day.periods
    hints = [get_type_hints(which) for which in (PlanMixture.__init__, PlanMixture.add)]
    hints.append(get_type_hints(OperatorDay))
    told = {str(hint) for each in hints for hint in each.values()}
    for private in (House, Series, FeederDay, PlanningHouse):
        assert not any(private.__name__ in name.replace("OperatorDay", "") for name in told)


def test_ties_that_waste_energy_are_broken(day):
    """Where surplus earns nothing and wear is free, a plan may burn it in a battery."""
    houses = tuple(
        replace(house, battery=replace(house.battery, wear_eur_per_kwh=0.0)) for house in day.houses
    )
    series = tuple(
        replace(each, export_eur_per_kwh=np.zeros(len(each.load_kw))) for each in day.series
    )
    tied = planning_houses(replace(day, houses=houses, series=series))
    for house in tied:
        plan = house.answer(np.full(day.periods, -9.0))
        assert plan.cost_eur >= house.own_eur - 1e-8
        assert not house.wastes()
    assert any(house._careful for house in tied)


@pytest.mark.parametrize("iterations", [0, -1, 2.5])
def test_iterations_must_be_a_number_from_one_up(day, iterations):
    with pytest.raises(ScenarioError, match="iterations is"):
        coordinate(day, iterations)


@pytest.mark.parametrize("pull", [-0.1, np.nan, np.inf, "much"])
def test_a_pull_must_be_a_price(day, pull):
    with pytest.raises(ScenarioError, match="pull_eur_per_kwh is"):
        coordinate(day, 1, pull)


@pytest.mark.parametrize(
    ("meter_kw", "cost_eur"),
    [
        (np.zeros((7, 95)), np.zeros(7)),
        (np.zeros((7, 96)), np.zeros(6)),
        (np.full((7, 96), np.nan), np.zeros(7)),
        (np.zeros((7, 96)), np.full(7, np.inf)),
    ],
)
def test_plans_of_a_wrong_shape_are_refused(day, meter_kw, cost_eur):
    with pytest.raises(ActionError, match="Pass one plan a house"):
        coordinate(day, 1, plans=[(meter_kw, cost_eur)])
