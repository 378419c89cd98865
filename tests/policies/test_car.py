"""Rules and solvers of the house with a car: feasible, honest, never better than they may be."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils import seeding

from flexgym.baselines.household import perfect_foresight
from flexgym.envs import Car
from flexgym.envs.data import SessionModel, feeder43, synthetic_sessions
from flexgym.envs.household.action_map import ACTION_MAPS
from flexgym.envs.household.dynamics import (
    BATTERY_KW,
    CAR_KW,
    COST_EUR,
    MISSED_KWH,
)
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.household import (
    ModelPredictive,
    Optimal,
    PriceThreshold,
    SelfConsumption,
    Uncontrolled,
)

RULES = (Uncontrolled, SelfConsumption, PriceThreshold)
HOUSES = tuple(feeder43(2000, "stress")[:3])
GIVING = replace(HOUSES[0], car=Car(11.0, 50.0, 0.93, 6.0, 0.94, 0.01))
BY_CAR_ALONE = replace(HOUSES[1], battery=None)
TIGHT = replace(HOUSES[2], import_limit_kw=6.0, export_limit_kw=2.0, inverter_kva=4.0)
DAYS = [60, 200, 333]


@pytest.fixture(scope="module")
def pool():
    houses = (*HOUSES, GIVING, BY_CAR_ALONE, TIGHT)
    sessions = synthetic_sessions(houses, SessionModel.of_feeder("stress"))

    def make(uncertainty):
        return HouseholdScenario.create(houses, DAYS, uncertainty=uncertainty, sessions=sessions)

    return make


def begin(scenario, n, seed, options=None, **settings):
    simulation = HouseholdSimulation(scenario, n, **({"observation": "compact"} | settings))
    simulation.begin([seeding.np_random(seed + i)[0] for i in range(n)], options)
    return simulation


def play(policy, simulation):
    policy.begin(simulation)
    outcomes = []
    while not simulation.done:
        action = policy.act(simulation)
        assert (np.abs(action) <= 1.0).all()
        outcomes.append(simulation.step(action))
    outcomes = np.stack(outcomes)
    return outcomes[..., COST_EUR].sum(axis=0), outcomes


def bounds(simulation):
    return np.array(
        [
            perfect_foresight(
                simulation.house(i),
                simulation.realised_series(i),
                soc_kwh=float(simulation.episodes.soc_kwh[i]),
                terminal_eur_per_kwh=float(simulation.episodes.terminal_price[i]),
            ).cost_eur
            for i in range(simulation.n)
        ]
    )


@pytest.mark.parametrize("policy", [Optimal, ModelPredictive])
def test_solvers_are_optimal_when_nothing_is_uncertain(pool, policy):
    cost, _ = play(policy(), begin(pool("none"), 18, 4))
    bound = bounds(begin(pool("none"), 18, 4))
    rounded = 2e-5 if policy is ModelPredictive else 0.0  # ties go to the earlier plan
    np.testing.assert_allclose(cost, bound, rtol=0, atol=1e-7 + rounded)


@pytest.mark.parametrize("policy", [*RULES, ModelPredictive])
def test_foresight_bounds_every_policy(pool, policy):
    cost, outcomes = play(policy(), begin(pool("markov"), 18, 9))
    assert (cost >= bounds(begin(pool("markov"), 18, 9)) - 1e-9).all()
    assert np.abs(outcomes[..., CAR_KW]).max() > 1.0


@pytest.mark.parametrize("action_map", ACTION_MAPS)
@pytest.mark.parametrize("policy", RULES)
def test_the_action_map_does_not_matter(pool, policy, action_map):
    one, first = play(policy(), begin(pool("markov"), 12, 2, action_map=action_map))
    other, second = play(policy(), begin(pool("markov"), 12, 2))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-8)


@pytest.mark.parametrize("policy", RULES)
def test_rules_bring_the_car_what_it_needs(pool, policy):
    """Except what no charging could: the limits of TIGHT bind."""
    simulation = begin(pool("markov"), 30, 6)
    roomy = simulation.episodes.house < 5
    _, outcomes = play(policy(), simulation)
    missed = outcomes[..., MISSED_KWH].sum(axis=0)
    unreachable = simulation.episodes.unreachable_kwh
    np.testing.assert_allclose(missed[roomy], unreachable[roomy], atol=1e-9)
    assert (missed >= unreachable - 1e-9).all()


def test_uncontrolled_cars_charge_at_once(pool):
    scenario = pool("markov")
    day = next(d for d in range(365) if scenario.sessions_of(0, d) and scenario.sessions_of(1, d))
    simulation = begin(scenario, 12, 1, {"house": [0, 1] * 6, "day": [day] * 12})
    _, outcomes = play(Uncontrolled(), simulation)
    assert not outcomes[..., BATTERY_KW].any()
    for i in (0, 1):
        (session,) = simulation.scenario.sessions_of(int(simulation.episodes.house[i]), day)
        power = outcomes[:, i, CAR_KW]
        rating = simulation.house(i).car.power_kw
        full = int(4 * (session.needed_kwh - session.arrival_kwh) / (0.95 * rating))
        np.testing.assert_allclose(power[session.arrival : session.arrival + full], rating)
        assert not power[: session.arrival].any()
        assert not power[session.arrival + full + 1 :].any()


@pytest.mark.parametrize("policy", [PriceThreshold, ModelPredictive])
def test_only_the_past_counts(pool, policy):
    powers = []
    for spoil in (False, True):
        simulation = begin(pool("markov"), 6, 5)
        if spoil:
            simulation.episodes.exogenous[60:, :2] *= 0.3
            simulation.episodes.exogenous[60:, 2] *= 1.1
            simulation.episodes.state[60:] = 8
        powers.append(play(policy(), simulation)[1][:60, :, [BATTERY_KW, CAR_KW]])
    assert np.array_equal(powers[0], powers[1])


def test_cars_without_need_of_control_cost_nothing_extra(pool):
    """A house whose car stays away plays as one without."""
    houses = HOUSES[:2]
    sessions = synthetic_sessions(houses)
    free = next(d for d in range(365) if not sessions.of(0, d))
    costs = []
    for car in (True, False):
        scenario = HouseholdScenario.create(houses, free, sessions=sessions, car=car)
        simulation = begin(scenario, 4, 3, {"house": [0] * 4})
        costs.append(play(Optimal(), simulation)[0])
    np.testing.assert_allclose(costs[0], costs[1], rtol=0, atol=1e-12)
