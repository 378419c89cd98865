"""Rules and solvers of the house: feasible, as good as they claim, never better than optimal."""

import math
from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils import seeding

from flexgym.baselines.household import cost_to_go, perfect_foresight
from flexgym.envs import Battery, House, Load, Uncertainty
from flexgym.envs.data import feeder43, synthetic_prices
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.action_map import ACTION_MAPS
from flexgym.envs.household.dynamics import (
    BATTERY_KW,
    COST_EUR,
    CURTAILED_KW,
    METER_KW,
    battery_range,
)
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.envs.uncertainty import MarkovChain
from flexgym.policies.household import (
    ModelPredictive,
    Optimal,
    PriceThreshold,
    SelfConsumption,
    Uncontrolled,
)

ALL = (Uncontrolled, SelfConsumption, PriceThreshold, ModelPredictive, Optimal)
HOUSE = replace(next(h for h in feeder43(0) if h.battery), car=None)
DAY = 10
SOC = 0.4 * HOUSE.battery.capacity_kwh
TIGHT = House(Battery(6.0, 3.0, 0.9, 0.92, 0.01, 0.999), 7.0, 3.5, 0.4, 1.5, load=Load("H0-G"))
BARE = House(None, 5.0, 5.0, 30.0, 30.0)


def begin(scenario, n, seed, options=None, **settings):
    simulation = HouseholdSimulation(scenario, n, **({"observation": "compact"} | settings))
    simulation.begin([seeding.np_random(seed + i)[0] for i in range(n)], options)
    return simulation


def play(policy, simulation):
    """Cost of each row, EUR, and every outcome, shape (96, n, 17)."""
    policy.begin(simulation)
    outcomes = []
    while not simulation.done:
        outcomes.append(simulation.step(policy.act(simulation)))
    outcomes = np.stack(outcomes)
    return outcomes[..., COST_EUR].sum(axis=0), outcomes


@pytest.fixture(scope="module")
def one_day():
    return HouseholdScenario.create(houses=HOUSE, days=DAY, split="test")


@pytest.fixture(scope="module")
def solved(one_day):
    series, terminal = one_day.forecast_series(0, DAY)
    return cost_to_go(HOUSE, series, uncertainty=one_day.uncertainty, terminal_eur_per_kwh=terminal)


@pytest.fixture(scope="module")
def optimal_cost(one_day):
    return play(Optimal(), begin(one_day, 10_000, 7, {"soc_kwh": SOC}))[0]


def test_mean_of_ten_thousand_optimal_days_is_the_value(optimal_cost, solved):
    value = solved.value(0, SOC)
    half = 2.576 * optimal_cost.std(ddof=1) / math.sqrt(len(optimal_cost))
    assert solved.gap_eur <= 1e-4
    assert abs(optimal_cost.mean() - value) <= half + solved.gap_eur
    # The test is sharp: it would notice an error of two per cent of what the battery earns.
    assert half < 0.02


def test_the_mean_from_every_first_state_is_its_value(optimal_cost, one_day, solved):
    state = begin(one_day, 10_000, 7, {"soc_kwh": SOC}).state
    for s in range(9):
        cost = optimal_cost[state == s]
        half = 3.5 * cost.std(ddof=1) / math.sqrt(len(cost))
        assert len(cost) > 500
        assert abs(cost.mean() - solved.value(0, SOC, state=s)) <= half + solved.gap_eur


@pytest.mark.parametrize(
    ("policy", "episodes"),
    [
        (Uncontrolled, 10_000),
        (SelfConsumption, 10_000),
        (PriceThreshold, 10_000),
        (ModelPredictive, 600),
    ],
)
def test_no_policy_beats_the_optimum_beyond_noise(one_day, optimal_cost, policy, episodes):
    cost, _ = play(policy(), begin(one_day, episodes, 7, {"soc_kwh": SOC}))
    extra = cost - optimal_cost[:episodes]
    noise = 2.576 * extra.std(ddof=1) / math.sqrt(episodes)
    assert extra.mean() >= -noise - 1e-4
    # Planning on means is not optimal: the test can tell them apart.
    assert extra.mean() > noise


def test_foresight_bounds_every_policy_in_every_episode(one_day, optimal_cost):
    n = 150
    start = begin(one_day, n, 7, {"soc_kwh": SOC})
    terminal = start.episodes.terminal_price[0]
    bound = np.array(
        [
            perfect_foresight(
                HOUSE, start.realised_series(i), soc_kwh=SOC, terminal_eur_per_kwh=terminal
            ).cost_eur
            for i in range(n)
        ]
    )
    for policy in ALL:
        cost, _ = play(policy(), begin(one_day, n, 7, {"soc_kwh": SOC}))
        assert (cost >= bound - 1e-9).all()
    np.testing.assert_allclose(cost, optimal_cost[:n], rtol=0, atol=1e-12)
    assert bound.mean() < optimal_cost[:n].mean() - 0.1


@pytest.mark.parametrize("policy", [ModelPredictive, Optimal])
@pytest.mark.parametrize("export", ["fixed", "spot"])
def test_solvers_are_optimal_when_nothing_is_uncertain(policy, export):
    houses = (TIGHT, BARE, *[replace(h, car=None) for h in feeder43(5) if h.battery][:4])
    scenario = HouseholdScenario.create(
        houses=houses,
        days=[20, 110, 200, 290],
        prices=synthetic_prices(export=export),
        uncertainty="none",
    )
    cost, _ = play(policy(), begin(scenario, 24, 1))
    start = begin(scenario, 24, 1)
    for i in range(24):
        terminal = start.episodes.terminal_price[i]
        soc = float(start.soc_kwh[i])
        bound = perfect_foresight(
            start.house(i), start.realised_series(i), soc_kwh=soc, terminal_eur_per_kwh=terminal
        )
        assert cost[i] == pytest.approx(bound.cost_eur, abs=1e-9)


@pytest.mark.parametrize("weather", [1.0, 0.4])
def test_a_certain_but_different_future_is_planned_for(weather):
    """One state whose factors are not 1: the forecast is wrong, and everybody knows how."""
    known = Uncertainty(
        MarkovChain((weather,), ((1.0,),)), MarkovChain((1.2,), ((1.0,),)), (1.4,), (1.0,)
    )
    scenario = HouseholdScenario.create(houses=HOUSE, days=DAY, uncertainty=known)
    for policy in (Optimal, ModelPredictive):
        simulation = begin(scenario, 1, 0, {"soc_kwh": SOC})
        bound = perfect_foresight(
            HOUSE,
            simulation.realised_series(),
            soc_kwh=SOC,
            terminal_eur_per_kwh=simulation.episodes.terminal_price[0],
        )
        cost, _ = play(policy(), simulation)
        assert cost[0] == pytest.approx(bound.cost_eur, abs=1e-9)


@pytest.mark.parametrize("policy", ALL)
@pytest.mark.parametrize("action_map", ACTION_MAPS)
def test_actions_are_feasible_and_the_map_does_not_matter(policy, action_map):
    houses = (TIGHT, BARE, *[replace(h, car=None) for h in feeder43(6) if h.battery][:2])
    scenario = HouseholdScenario.create(
        houses=houses, days=[30, 170], prices=synthetic_prices(export="spot")
    )
    costs = []
    for settings in ({"action_map": action_map}, {}):
        simulation = begin(scenario, 8, 3, {"house": [0, 1, 2, 3] * 2}, **settings)
        player = policy()
        player.begin(simulation)
        cost = np.zeros(8)
        while not simulation.done:
            action = player.act(simulation)
            assert action.shape == (8, 1)
            assert (np.abs(action) <= 1.0).all()
            ranges = [
                battery_range(row, soc, load, 0.0, pv)
                for row, soc, load, pv in zip(
                    simulation.episodes.rows, simulation.soc_kwh, *simulation.now[:2], strict=True
                )
            ]
            outcome = simulation.step(action)
            for (low, high), power in zip(ranges, outcome[:, BATTERY_KW], strict=True):
                assert low <= power <= high
            cost += outcome[:, COST_EUR]
        costs.append(cost)
    np.testing.assert_allclose(costs[0], costs[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("policy", ALL)
def test_only_the_past_counts(policy):
    """Changing what is still to come changes nothing of what a policy has done so far."""
    scenario = HouseholdScenario.create(houses=(HOUSE, TIGHT), days=[DAY])
    powers = []
    for spoil in (False, True):
        simulation = begin(scenario, 4, 5)
        if spoil:
            simulation.episodes.exogenous[30:, :2] *= 0.3
            simulation.episodes.exogenous[30:, 2] *= 1.1
            simulation.episodes.state[30:] = 8
        powers.append(play(policy(), simulation)[1][:, :, BATTERY_KW])
    assert np.array_equal(powers[0][:30], powers[1][:30])


def test_idle_is_the_cost_reported_as_idle():
    scenario = HouseholdScenario.create(houses=(HOUSE, TIGHT), days=[DAY, 200])
    simulation = begin(scenario, 20, 2)
    start = simulation.soc_kwh.copy()
    _, outcomes = play(Uncontrolled(), simulation)
    assert not outcomes[..., BATTERY_KW].any()
    kept = np.array([h.battery.retention for h in (HOUSE, TIGHT)])[simulation.episodes.house] ** 96
    np.testing.assert_allclose(simulation.soc_kwh, start * kept, rtol=1e-12)
    idle = outcomes[..., -1].sum(axis=0)
    paid = outcomes[..., COST_EUR].sum(axis=0) + (
        simulation.episodes.terminal_price * simulation.soc_kwh
    )
    np.testing.assert_allclose(paid, idle, rtol=0, atol=1e-9)


def test_self_consumption_empties_the_meter_while_it_can():
    scenario = HouseholdScenario.create(houses=HOUSE, days=100)
    simulation = begin(scenario, 50, 4)
    policy = SelfConsumption()
    policy.begin(simulation)
    balanced = 0
    while not simulation.done:
        low, high = np.array(
            [
                battery_range(row, soc, load, 0.0, pv)
                for row, soc, load, pv in zip(
                    simulation.episodes.rows, simulation.soc_kwh, *simulation.now[:2], strict=True
                )
            ]
        ).T
        surplus = simulation.now[1] - simulation.now[0]
        outcome = simulation.step(policy.act(simulation))
        inside = (surplus > low) & (surplus < high)
        np.testing.assert_allclose(outcome[inside, METER_KW], 0.0, atol=1e-9)
        assert (outcome[surplus > 0, BATTERY_KW] >= 0).all()
        assert not outcome[inside, CURTAILED_KW].any()
        balanced += inside.sum()
    assert balanced > 1000


def test_price_threshold_charges_cheap_and_discharges_dear():
    scenario = HouseholdScenario.create(houses=HOUSE, days=5, uncertainty="none", initial_soc=0.5)
    simulation = begin(scenario, 1, 0)
    price = simulation.episodes.forecast[:, 2, 0]
    outcomes = play(PriceThreshold(0.2, 0.6), simulation)[1][:, 0]
    low, high = np.quantile(price, [0.2, 0.6])
    power = outcomes[:, BATTERY_KW]
    assert (power[price <= low] >= 0).all()
    assert power[price <= low].max() > 0
    assert (power[(price > low) & (price < high)] >= 0).all()
    assert power[price >= high].min() < 0


@pytest.mark.parametrize(("cheap", "dear"), [(-0.1, 0.5), (0.6, 0.5), (0.5, 1.1), (math.nan, 0.5)])
def test_price_thresholds_are_quantiles(cheap, dear):
    with pytest.raises(ScenarioError, match="quantiles"):
        PriceThreshold(cheap, dear)


def test_the_optimum_reports_its_certificate_and_progress():
    scenario = HouseholdScenario.create(houses=(HOUSE, TIGHT), days=[DAY, 200])
    seen = []
    policy = Optimal(lambda done, total: seen.append((done, total)))
    policy.begin(begin(scenario, 12, 0, {"house": [0, 1] * 6, "day": [200, 200, DAY, DAY] * 3}))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert 0.0 < policy.gap_eur <= 1e-4
