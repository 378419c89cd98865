"""Policies of a house with appliances: the optimum plays at its cost, nobody beats the bound."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from flexgym.baselines.household import perfect_foresight
from flexgym.envs import Appliance, Battery, Car, House
from flexgym.envs.errors import HouseError, ScenarioError
from flexgym.envs.household.dynamics import COST_EUR
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.evaluate.rollout import HouseDays, foresight_costs, rollout
from flexgym.policies.household import (
    ModelPredictive,
    Optimal,
    PriceThreshold,
    SelfConsumption,
    Uncontrolled,
)
from flexgym.policies.household_appliances import (
    PATTERNS,
    AtOnce,
    CheapestWindow,
    JointModelPredictive,
    WithPattern,
)

HOUSE = House(Battery(8.0, 3.0), 5.0, 6.0, 12.0, 4.0, car=Car(7.0, 40.0, discharge_kw=4.0))
JOBS = (
    Appliance(6, 8, 40, 2.0),
    Appliance(10, 0, 96, 1.5, interruptible=True),
    Appliance(7, 48, 90, 2.5),
)
POOL = (
    replace(HOUSE, appliances=JOBS),
    HOUSE,
    replace(HOUSE, battery=None, car=None, appliances=JOBS[1:]),
    replace(HOUSE, battery=Battery(4.0, 2.0), car=None, appliances=JOBS[:1]),
)


class Plan:
    """Plays the perfect foresight of each house."""

    name = "plan"
    settings = MappingProxyType({"observation": "compact"})

    def begin(self, simulation):
        self.plans = [
            perfect_foresight(
                simulation.house(i),
                simulation.realised_series(i),
                soc_kwh=float(simulation.soc_kwh[i]),
                terminal_eur_per_kwh=float(simulation.episodes.terminal_price[i]),
            )
            for i in range(simulation.n)
        ]
        slots = simulation.appliances.slots
        self.runs = np.zeros((96, simulation.n, slots), dtype=bool)
        for i, plan in enumerate(self.plans):
            if len(plan.runs):
                self.runs[:, i, : len(plan.runs)] = plan.runs.T

    def act(self, simulation):
        t = simulation.t
        simulation.choose(self.runs[t])
        battery = np.array([plan.battery_kw[t] for plan in self.plans])
        car = np.array([plan.car_kw[t] for plan in self.plans])
        # The solver keeps limits to 1e-10; the physics to rounding.
        battery[np.abs(battery) < 1e-9] = 0.0
        return simulation.action(battery, car_kw=car)


def house_days(uncertainty, n=8, seed=4):
    scenario = HouseholdScenario.create(POOL, [20, 110, 200, 300], uncertainty=uncertainty)
    return HouseDays.sample(scenario, n, seed)


def test_the_optimum_plays_at_its_cost():
    days = house_days("markov", 12)
    simulation = days.begin(slice(0, 12), observation="compact")
    plan = Plan()
    plan.begin(simulation)
    cost = np.zeros(12)
    for _ in range(96):
        cost += simulation.step(plan.act(simulation))[:, COST_EUR]
        assert np.array_equal(simulation.happened["appliances_ran"], plan.runs[simulation.t - 1])
        assert not simulation.happened["appliances_forced"][~plan.runs[simulation.t - 1]].any()
    np.testing.assert_allclose(cost, [p.cost_eur for p in plan.plans], rtol=0, atol=1e-9)
    np.testing.assert_allclose(cost, foresight_costs(days).cost_eur, rtol=0, atol=1e-9)


def test_the_joint_plan_of_a_known_day_is_optimal():
    days = house_days("none", 4)
    played = rollout(JointModelPredictive(gap_eur=0.0), days).cost_eur
    np.testing.assert_allclose(played, foresight_costs(days).cost_eur, rtol=0, atol=1e-5)


def test_nobody_beats_the_bound_and_planning_jointly_pays():
    days = house_days("markov", 4)
    bound = foresight_costs(days).cost_eur
    policies = [
        *(WithPattern(policy(), pattern()) for policy in (Uncontrolled, PriceThreshold)
          for pattern in PATTERNS.values()),
        WithPattern(ModelPredictive(), CheapestWindow()),
        SelfConsumption(),
        JointModelPredictive(),
    ]  # fmt: skip
    costs = {policy.name: rollout(policy, days).cost_eur for policy in policies}
    for name, cost in costs.items():
        assert (cost >= bound - 1e-9).all(), name
    mean = {name: cost.mean() for name, cost in costs.items()}
    assert mean["uncontrolled + cheapest-window"] < mean["uncontrolled + at-once"]
    assert mean["joint-mpc"] < mean["mpc + cheapest-window"]
    assert mean["mpc + cheapest-window"] < mean["uncontrolled + cheapest-window"]


def test_a_policy_that_says_nothing_starts_them_at_once():
    days = house_days("markov")
    for policy in (Uncontrolled, SelfConsumption, ModelPredictive):
        alone = rollout(policy(), days).cost_eur
        assert np.array_equal(alone, rollout(WithPattern(policy(), AtOnce()), days).cost_eur)


def test_patterns_ask_nothing_of_houses_without_appliances():
    scenario = HouseholdScenario.create(HOUSE, [20, 110])
    days = HouseDays.sample(scenario, 2, 0)
    for policy in (Uncontrolled, ModelPredictive):
        plain = rollout(policy(), days).cost_eur
        for pattern in PATTERNS.values():
            assert np.array_equal(plain, rollout(WithPattern(policy(), pattern()), days).cost_eur)
    joint = rollout(JointModelPredictive(), days).cost_eur
    assert np.array_equal(joint, rollout(ModelPredictive(), days).cost_eur)


def test_the_stochastic_optimum_is_refused():
    days = HouseDays.sample(HouseholdScenario.create(POOL[0], 20), 1, 0)
    with pytest.raises(HouseError, match="appliances; expected none"):
        Optimal().begin(days.begin(slice(0, 1)))


@pytest.mark.parametrize("pattern", [None, 3, "at-once", AtOnce, PriceThreshold()])
def test_a_pattern_says_what_is_wanted(pattern):
    with pytest.raises(ScenarioError, match="expected an object with a method wanted"):
        WithPattern(Uncontrolled(), pattern)


def test_a_policy_beside_a_pattern_plans_no_appliances():
    for policy in (None, ModelPredictive):
        with pytest.raises(ScenarioError, match="expected an object with a method act"):
            WithPattern(policy, AtOnce())
    for policy in (JointModelPredictive(), WithPattern(Uncontrolled(), AtOnce())):
        with pytest.raises(ScenarioError, match="Play it without a pattern"):
            WithPattern(policy, AtOnce())


@pytest.mark.parametrize("gap", [-1.0, np.nan, np.inf, "x", None, True])
def test_a_gap_is_a_number(gap):
    with pytest.raises(ScenarioError, match="gap_eur"):
        JointModelPredictive(gap_eur=gap)
