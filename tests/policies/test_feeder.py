"""Houses that mind their own business, and what their grid says to it."""

import numpy as np
import pytest
from gymnasium.utils import seeding

from flexgym.envs.data import load_grid
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.homes import homes_of
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household.dynamics import OUTCOME_NAMES
from flexgym.policies.feeder import POLICIES, named

COST = OUTCOME_NAMES.index("cost_eur")
COLUMN = {name: k for k, name in enumerate(FEEDER_NAMES)}
DAYS = 3


@pytest.fixture(scope="module", params=["calm", "winter_evening", "summer_midday", "stress"])
def scenario(request):
    return FeederScenario.create(request.param, draws=(0, 1))


def begin(scenario, n=DAYS, seed=20, **settings):
    simulation = FeederSimulation(
        scenario, n, **{"observation": "compact", "detail": True, **settings}
    )
    simulation.begin([seeding.np_random(seed + i)[0] for i in range(n)])
    return simulation


def play(policy, scenario, n=DAYS, **settings):
    """Each house's own cost, shape (n, H), and the feeders' totals of the day."""
    simulation = begin(scenario, n, **{**policy.settings, **settings})
    policy.begin(simulation)
    own = np.zeros((n, scenario.n_houses))
    while not simulation.done:
        action = policy.act(simulation)
        assert np.abs(action).max() <= 1.0
        simulation.step(action)
        own += simulation.outcome[:, :, COST]
    return own, simulation.episode


class Random:
    """Anything at all, for nobody should find a cheaper day than the optimum."""

    name = "random"
    settings = {}  # noqa: RUF012

    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)

    def begin(self, simulation):
        pass

    def act(self, simulation):
        shape = (simulation.n, simulation.scenario.n_houses * len(simulation.action_names))
        return self._rng.uniform(-1.0, 1.0, shape)


def test_nobody_pays_less_than_selfish(scenario):
    """Perfect foresight is a bound on every house's own bill; the feeder's is another matter."""
    own, totals = play(named("selfish"), scenario)
    bills = {}
    for name in ("unmanaged", "price-threshold"):
        bills[name], _ = play(named(name), scenario)
    bills["random"], _ = play(Random(0), scenario)
    bills["random pv"], _ = play(Random(1), scenario, curtailment="action", action_map="knots")
    for name, cost in bills.items():
        assert (own <= cost + 1e-7).all(), name
        assert (own < cost - 0.01).mean() > 0.3, name  # a bound with room
    assert (bills["unmanaged"] <= bills["random"]).mean() > 0.9
    grid = totals[:, [COLUMN[k] for k in ("loss_eur", "voltage_eur", "overload_eur")]].sum(axis=1)
    np.testing.assert_allclose(totals[:, COLUMN["cost_eur"]], own.sum(axis=1) + grid, atol=1e-8)


def test_who_breaks_limits(scenario):
    """Nobody does in calm; selfish houses do in the others, above all in the winter's night."""
    _, unmanaged = play(named("unmanaged"), scenario)
    _, selfish = play(named("selfish"), scenario)
    hours = selfish[:, COLUMN["violation_h"]]
    if scenario.name == "calm":
        assert not hours.any()
        assert not unmanaged[:, COLUMN["violation_h"]].any()
        return
    assert (hours > 0).all()
    if scenario.name == "winter_evening":
        assert (selfish[:, COLUMN["trafo_percent"]] > 100.0).all()
        worse = selfish[:, COLUMN["overload_kwh"]] > unmanaged[:, COLUMN["overload_kwh"]]
        assert worse.all()


def test_unmanaged_cars_charge_on_arrival():
    """Full power until full, whatever the price: the car is early, the selfish one is cheap."""
    scenario = FeederScenario.create("winter_evening", draws=(0,), days=(10,))
    car, price = OUTCOME_NAMES.index("car_kw"), {}
    for name in ("unmanaged", "selfish"):
        policy, simulation = named(name), begin(scenario, 1)
        policy.begin(simulation)
        visits = homes_of(simulation).episodes.visits
        drawn = np.zeros((96, 43))
        while not simulation.done:
            simulation.step(policy.act(simulation))
            drawn[simulation.t - 1] = simulation.outcome[0, :, car]
        bought = (drawn * simulation.shared[:, 2, :1]).sum(axis=0)
        price[name] = bought / drawn.sum(axis=0)
        assert simulation.episode[0, COLUMN["missed_kwh"]] == pytest.approx(0.0, abs=1e-6)
        if name == "unmanaged":
            arrival = visits[0, 0].astype(int)
            ratings = np.array([house.car.power_kw for house in scenario.houses()])
            at = drawn[arrival, np.arange(43)]
            np.testing.assert_allclose(at, np.minimum(ratings, at.max()), atol=1e-9)
            ends = [np.flatnonzero(column > 1e-9) for column in drawn.T]
            assert all((np.diff(end) == 1).all() for end in ends)
    assert price["selfish"].mean() < 0.9 * price["unmanaged"].mean()


def test_reactive_actions_are_left_at_zero():
    scenario = FeederScenario.create("calm", draws=(0,), days=(100,))
    plain, first = play(named("unmanaged"), scenario, 1)
    other, second = play(named("unmanaged"), scenario, 1, reactive="action")
    np.testing.assert_array_equal(plain, other)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("n", [1, 9])
def test_a_policy_plays_one_feeder_as_it_plays_many(n):
    scenario = FeederScenario.create("stress", draws=(0, 1), days=(80, 100))
    for name in ("unmanaged", "price-threshold"):
        own, totals = play(named(name), scenario, n)
        one, total = play(named(name), scenario, 1)
        np.testing.assert_allclose(own[0], one[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(totals[0], total[0], rtol=0, atol=1e-9)


def test_model_predictive_houses_lie_between():
    buses = load_grid().load.bus.unique()[:5]
    scenario = FeederScenario.from_pandapower(
        load_grid(), scenario="winter_evening", buses=buses, days=(10,)
    )
    costs = {name: play(named(name), scenario, 1)[0] for name in ("selfish", "mpc", "unmanaged")}
    assert (costs["selfish"] <= costs["mpc"] + 1e-7).all()
    assert costs["mpc"].sum() < costs["unmanaged"].sum()


def test_names():
    assert {named(name).name for name in POLICIES} == set(POLICIES)
    with pytest.raises(ScenarioError, match="unmanaged"):
        named("obedient")
