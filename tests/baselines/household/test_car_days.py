"""Real days with battery and car under uncertainty: certificates against what happens."""

import math
from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils import seeding

from flexgym.baselines.household import SolutionCache, cost_to_go
from flexgym.envs.data import synthetic_sessions
from flexgym.envs.household.dynamics import COST_EUR, MISSED_KWH
from flexgym.envs.household.scenario import HouseholdScenario, default_houses
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.household import (
    ModelPredictive,
    Optimal,
    PriceThreshold,
    SelfConsumption,
    Uncontrolled,
)

EPISODES = 2000
SEED = 11


def begin(scenario, n, house, day, soc_kwh):
    simulation = HouseholdSimulation(scenario, n, observation="compact")
    rngs = [seeding.np_random(SEED + i)[0] for i in range(n)]
    simulation.begin(rngs, {"house": house, "day": day, "soc_kwh": soc_kwh})
    return simulation


def play(policy, simulation):
    """Cost of each row, EUR, and energy missed, kWh."""
    policy.begin(simulation)
    cost, missed = np.zeros(simulation.n), np.zeros(simulation.n)
    while not simulation.done:
        outcome = simulation.step(policy.act(simulation))
        cost += outcome[:, COST_EUR]
        missed += outcome[:, MISSED_KWH]
    return cost, missed


def half_width(sample):
    """Of the 99 % interval of the mean."""
    return 2.576 * sample.std(ddof=1) / math.sqrt(len(sample))


def giving_houses():
    """Houses of the test split whose cars give back 7 kW."""
    houses = default_houses("test")[:6]
    return tuple(replace(h, car=replace(h.car, discharge_kw=7.0)) for h in houses)


CASES = {"summer": (0, 3, 25), "winter": (0, 0, 0), "giving": (1, 5, 20)}
"""Scenario, house, position of the day in the split."""


@pytest.fixture(scope="module")
def scenarios():
    houses = giving_houses()
    giving = HouseholdScenario.create(
        houses=houses, split="test", sessions=synthetic_sessions(houses)
    )
    return HouseholdScenario.create(split="test"), giving


class Case:
    """A house-day solved, and the optimal policy's episodes of it."""

    def __init__(self, scenarios, cache, which, house, position):
        self.scenario, self.house = scenarios[which], house
        self.day = int(self.scenario.days[position])
        series, terminal = self.scenario.forecast_series(house, self.day)
        assert series.sessions
        self.solved = cost_to_go(
            self.scenario.houses[house],
            series,
            uncertainty=self.scenario.uncertainty,
            terminal_eur_per_kwh=terminal,
            cache=cache,
        )
        table = self.solved.tables
        k = int(np.argmin(np.abs(table.grid_kwh - 0.4 * table.grid_kwh[-1])))
        self.soc = float(table.grid_kwh[k])
        self.lower = float(self.scenario.uncertainty.stationary @ table.lower[:, k])
        self.upper = self.solved.value(0, self.soc)
        self.policy = Optimal(cache=cache)
        self.optimal, self.missed = play(self.policy, self.begin(EPISODES))
        assert (cache.found, cache.solved) == (1, 1)

    def begin(self, n):
        return begin(self.scenario, n, self.house, self.day, self.soc)


@pytest.fixture(scope="module")
def cases(scenarios, tmp_path_factory):
    """Each solved and played when first asked for."""
    found = {}

    def case(name):
        if name not in found:
            cache = SolutionCache(tmp_path_factory.mktemp("solutions"))
            found[name] = Case(scenarios, cache, *CASES[name])
        return found[name]

    return case


@pytest.fixture(scope="module", params=CASES)
def case(request, cases):
    return cases(request.param)


def test_the_certificate_is_small(case):
    solved = case.solved
    worth = solved.flexibility_eur()
    assert 0.0 <= solved.gap_eur <= 0.005 * worth * (1.0 + 1e-6)
    assert case.lower <= case.upper <= case.lower + solved.gap_eur + 1e-9
    saved = case.solved.flexibility_eur(case.soc)
    assert saved > 0.05
    assert case.policy.gap_eur == pytest.approx(solved.gap_eur)


def test_the_mean_of_optimal_days_lies_between_the_bounds(case):
    mean, half = case.optimal.mean(), half_width(case.optimal)
    assert case.lower - half <= mean <= case.upper + half
    # The test is sharp enough to notice a tenth of what flexibility is worth.
    assert half < 0.1 * case.solved.flexibility_eur()


def test_the_mean_from_every_first_state_lies_between_its_bounds(case):
    state = case.begin(EPISODES).state
    k = int(np.argmin(np.abs(case.solved.tables.grid_kwh - case.soc)))
    for s in range(9):
        cost = case.optimal[state == s]
        half = 3.5 * cost.std(ddof=1) / math.sqrt(len(cost))
        assert len(cost) > 50
        lower = case.solved.tables.lower[s, k]
        assert lower - half <= cost.mean() <= case.solved.value(0, case.soc, state=s) + half


@pytest.mark.parametrize(
    ("policy", "episodes"),
    [(Uncontrolled, EPISODES), (SelfConsumption, EPISODES), (PriceThreshold, EPISODES)],
)
def test_no_rule_beats_the_lower_bound(case, policy, episodes):
    cost, _ = play(policy(), case.begin(episodes))
    extra = cost - case.optimal[:episodes]
    assert extra.mean() >= -half_width(extra) - case.solved.gap_eur
    assert cost.mean() >= case.lower - half_width(cost)
    # Rules are not optimal: the test can tell them apart.
    assert extra.mean() > half_width(extra)


def test_planning_on_means_does_not_beat_the_lower_bound(cases):
    case = cases("summer")
    n = 40
    cost, _ = play(ModelPredictive(), case.begin(n))
    extra = cost - case.optimal[:n]
    assert extra.mean() >= -half_width(extra) - case.solved.gap_eur
    assert extra.mean() < 0.5 * case.solved.flexibility_eur()


def test_the_optimum_leaves_no_car_short_for_nothing(case):
    """Missed energy costs five times the grid's: what is missed is out of reach."""
    start = case.begin(1)
    assert case.missed.max() <= start.episodes.unreachable_kwh[0] + 1e-6


def test_uncontrolled_is_what_uncontrolled_devices_cost(case):
    simulation = begin(case.scenario, EPISODES, case.house, case.day, 0.0)
    cost, _ = play(Uncontrolled(), simulation)
    assert abs(cost.mean() - case.solved.uncontrolled_eur) <= half_width(cost)
    # A battery that is not empty earns what is left in it, whatever happens.
    solved = case.solved
    keeps = case.scenario.houses[case.house].battery.retention ** 96
    expected = solved.uncontrolled_eur - solved.terminal_eur_per_kwh * case.soc * keeps
    assert solved.flexibility_eur(case.soc) == pytest.approx(expected - case.upper, abs=1e-9)


def test_uncontrolled_is_exact_where_nothing_is_uncertain():
    scenario = HouseholdScenario.create(split="test", uncertainty="none")
    for house, day in ((1, scenario.days[3]), (4, scenario.days[30]), (9, scenario.days[50])):
        series, terminal = scenario.forecast_series(house, int(day))
        solved = cost_to_go(scenario.houses[house], series, terminal_eur_per_kwh=terminal)
        cost, _ = play(Uncontrolled(), begin(scenario, 1, house, int(day), 0.0))
        assert solved.uncontrolled_eur == pytest.approx(cost[0], abs=1e-9)
        optimal, _ = play(Optimal(), begin(scenario, 1, house, int(day), 0.0))
        assert optimal[0] == pytest.approx(solved.value(0, 0.0), abs=1e-7)


def test_charts_of_a_real_day_are_convex_and_start_at_the_value(case):
    solved, series = case.solved, case.solved.series
    session = series.sessions[0]
    for t in (0, session.arrival, session.arrival + 3):
        stored = None
        if session.arrival < t < session.departure:
            stored = session.arrival_kwh + 1.0
        for s in (0, 4, 8):
            best = 0.0
            u = solved.uncertainty
            for factor, chance in zip(u.load_factors, u.load_probabilities, strict=True):
                load = float(series.load_kw[t] * factor)
                chart = solved.chart(t, case.soc, stored, state=s, load_kw=load)
                slopes = np.diff(chart.cost_eur) / np.diff(chart.power_kw)
                assert (np.diff(slopes) >= -1e-6).all()
                best += chance * chart.cost_eur.min()
            value = solved.value(t, case.soc, stored, state=s)
            assert value - 0.02 <= best <= value + 1e-5
