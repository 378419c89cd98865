"""Feeder-days to optimise: the benchmark's, and small grids of one's own."""

from dataclasses import replace

import numpy as np
import pandapower
import pytest

from flexgym.baselines.feeder.feeder_day import FeederDay
from flexgym.envs import Battery, Car, House, Load
from flexgym.envs.feeder.params import GridCosts
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.grid.sweep import W_CHILD, W_PARENT


def _own_net(buses, length_km, slack_pu):
    net = pandapower.create_empty_network()
    pandapower.create_bus(net, 20.0)
    for _ in range(buses):
        pandapower.create_bus(net, 0.4)
    pandapower.create_ext_grid(net, 0, vm_pu=slack_pu)
    pandapower.create_transformer(net, 0, 1, "0.25 MVA 20/0.4 kV")
    for bus in range(2, buses + 1):
        pandapower.create_line(net, max(1, bus - 2), bus, length_km, "NAYY 4x150 SE")
    return net


def own_scenario(*, trafo_kva=30.0, length_km=0.1, slack_pu=1.0, costs=None, day=200, pv_kwp=12.0):
    """Seven houses with battery and car below one transformer."""
    rng = np.random.default_rng(3)
    net = _own_net(7, length_km, slack_pu)
    houses = [
        House(
            Battery(rng.uniform(5.0, 12.0), rng.uniform(3.0, 6.0)),
            pv_kwp=pv_kwp * rng.uniform(0.5, 1.0),
            inverter_kva=12.0,
            import_limit_kw=30.0,
            export_limit_kw=30.0,
            car=Car(11.0, rng.uniform(30.0, 60.0)),
            load=Load("H0-A", rng.uniform(2e3, 5e3), int(rng.integers(-4, 5)), tan_phi=0.2),
        )
        for _ in range(7)
    ]
    scenario = FeederScenario.from_pandapower(
        net, scenario="stress", buses=list(range(1, 8)), houses=houses, days=[day], costs=costs
    )
    return replace(scenario, network=scenario.network.with_transformer_rating(trafo_kva))


@pytest.fixture(scope="session")
def own():
    """The function `own_scenario`."""
    return own_scenario


@pytest.fixture(scope="session")
def begun():
    """``(scenario, n=1, seed=0, options=None, **settings) -> FeederSimulation`` at its start."""

    def begin(scenario, seed=0, options=None, **settings):
        simulation = FeederSimulation(
            scenario, 1, **{"observation": "compact", "detail": True, **settings}
        )
        simulation.begin([np.random.default_rng(seed)], options)
        return simulation

    return begin


@pytest.fixture(scope="session")
def unlimited():
    """The function that takes the limits and the price of losses from a `FeederDay`."""

    def change(day: FeederDay) -> FeederDay:
        tree = day.network.tree
        element = tree.element.copy()
        element[:, [W_PARENT, W_CHILD]] *= 1e-3
        return replace(
            day,
            network=replace(day.network, tree=tree._replace(element=element)),
            rating_kva=day.rating_kva * 1e3,
            band_pu=(0.01, 1.99),
            costs=GridCosts(loss_eur_per_kwh=0.0),
        )

    return change
