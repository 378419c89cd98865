"""Menus cleared on a small feeder, and the centralised optimum played."""

import numpy as np
import pandapower as pp
import pytest
from gymnasium.utils import seeding

from flexgym.envs.charts.settlement import pay_as_bid, pay_marginal
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household.dynamics import OUTCOME_NAMES
from flexgym.policies.feeder import Centralised, named
from flexgym.policies.menus import Menus

METER = OUTCOME_NAMES.index("meter_kw")


@pytest.fixture(scope="module")
def narrow():
    """Four houses behind a transformer that does not carry all their cars at once."""
    net = pp.create_empty_network()
    high, at = pp.create_bus(net, 20.0), pp.create_bus(net, 0.4)
    pp.create_ext_grid(net, high)
    pp.create_transformer(net, high, at, "0.25 MVA 20/0.4 kV")
    net.trafo["sn_mva"] = 0.02
    for _ in range(4):
        bus = pp.create_bus(net, 0.4)
        pp.create_line(net, at, bus, 0.03, "NAYY 4x150 SE")
        at = bus
    return FeederScenario.from_pandapower(
        net, buses=[2, 3, 4, 5], scenario="winter_evening", days=[20]
    )


def play(policy, scenario, watch=lambda simulation: None, seed=1):
    simulation = FeederSimulation(
        scenario, 1, observation="compact", detail=True, **policy.settings
    )
    simulation.begin([seeding.np_random(seed)[0]])
    policy.begin(simulation)
    while not simulation.done:
        simulation.step(policy.act(simulation))
        watch(simulation)
    return dict(zip(FEEDER_NAMES, simulation.episode[0].tolist(), strict=True))


@pytest.fixture(scope="module")
def days(narrow):
    """Totals of the day by policy; what houses did is what the operator asked for."""
    found = {name: play(named(name), narrow) for name in ("unmanaged", "selfish")}
    policy, harm, paid = Menus(), [], []

    def watch(simulation):
        (answer,), (menus,) = policy.answers, policy.menus
        asked = simulation.outcome[0, :, METER]
        np.testing.assert_allclose(asked, answer.power_kw, rtol=0, atol=1e-6)
        assert answer.clean
        harm.append(pay_as_bid(menus, answer).harm_eur.sum())
        paid.append(pay_marginal(menus, answer).deficit_eur)

    found["menus"] = play(policy, narrow, watch)
    assert min(harm) >= -1e-9
    assert sum(paid) >= sum(harm) > 0.0
    centralised = Centralised()
    found["centralised"] = play(centralised, narrow)
    planned = centralised.optima[0].cost_eur
    assert found["centralised"]["cost_eur"] == pytest.approx(planned, abs=1e-6)
    return found


def test_menus_keep_the_limits_that_others_break(days):
    for name in ("unmanaged", "selfish"):
        assert days[name]["violation_h"] > 0.0
    for name in ("menus", "centralised"):
        assert days[name]["trafo_percent"] <= 100.1
        assert days[name]["voltage_violation_pu_h"] <= 1e-4


def test_order_of_the_methods(days):
    cost = {name: totals["cost_eur"] for name, totals in days.items()}
    assert cost["centralised"] <= cost["menus"] + 0.01
    assert cost["menus"] < min(cost["unmanaged"], cost["selfish"])


def test_menus_need_curtailment_as_an_action(narrow):
    simulation = FeederSimulation(narrow, 1, observation="compact")
    simulation.begin([seeding.np_random(0)[0]])
    with pytest.raises(ScenarioError, match="curtailment"):
        Menus().begin(simulation)
