"""The operator of a feeder, as its scenario makes it, and what the grid's service costs."""

from __future__ import annotations

import numpy as np

from flexgym.envs.charts.clearing import Cleared, Operator
from flexgym.envs.feeder.draw import ratings_kva
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.household.params import DT_H, Floats
from flexgym.envs.household.simulation import HouseholdSimulation


def operator_of(scenario: FeederScenario) -> Operator:
    """The operator of the scenario's grid, with its band and its prices."""
    return Operator(
        scenario.network,
        scenario.house_bus,
        band_pu=scenario.band_pu,
        loss_eur_per_kwh=scenario.costs.loss_eur_per_kwh,
        voltage_eur_per_pu_h=scenario.costs.voltage_eur_per_pu_h,
        overload_eur_per_kwh=scenario.costs.overload_eur_per_kwh,
    )


def load_kvar(homes: HouseholdSimulation) -> Floats:
    """Reactive power that goes with the load of each house now, shape (n,), kvar."""
    tan_phi = np.array([homes.house(row).load.tan_phi for row in range(homes.n)])
    return tan_phi * homes.now[0]


def grid_cost_eur(scenario: FeederScenario, cleared: Cleared) -> tuple[float, float, float]:
    """Cost of losses, voltages and overload by the AC power flow of an answer, EUR a period.

    As the simulation counts them; without a solution all voltages are missing.
    """
    network, costs, (low, high) = scenario.network, scenario.costs, scenario.band_pu
    # A node counts once, whatever number of buses switches join in it.
    _, first = np.unique(network.bus_node, return_index=True)
    first = first[network.bus_node[first] > 0]
    v = cleared.v_pu[first]
    if not cleared.v_pu.any():
        return 0.0, DT_H * costs.voltage_eur_per_pu_h * low * len(v), 0.0
    outside = np.maximum(np.maximum(v - high, low - v), 0.0).sum()
    rating = ratings_kva(network)
    elements = np.concatenate([network.line_element, network.trafo_element])
    above = np.maximum(0.01 * cleared.loading_percent - 1.0, 0.0) @ rating[elements]
    return (
        DT_H * costs.loss_eur_per_kwh * cleared.losses_kw,
        DT_H * costs.voltage_eur_per_pu_h * float(outside),
        DT_H * costs.overload_eur_per_kwh * float(above),
    )
