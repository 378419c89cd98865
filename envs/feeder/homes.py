"""The houses of feeders as a `HouseholdSimulation`, for policies that know single houses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexgym.envs.household.batch import shares_from_pv
from flexgym.envs.household.dynamics import PV_KWP
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.scenario import Episodes
from flexgym.envs.household.simulation import HouseholdSimulation

if TYPE_CHECKING:
    from flexgym.envs.feeder.simulation import FeederSimulation

T = STEPS_PER_DAY


def homes_of(simulation: FeederSimulation) -> HouseholdSimulation:
    """The n * H houses of a simulation at the start of its day; row ``i * H + h``.

    What happens to them is copied; energies follow by `follow`.
    """
    scenario = simulation.scenario
    homes, count = scenario.homes, scenario.n_houses
    house = (simulation.draw[:, None] * count + np.arange(count)).ravel()
    day = np.repeat(simulation.day, count)
    rows = homes.rows[house]
    forecast = homes.forecast(house, day)
    exogenous = forecast.copy()
    shared = simulation.shared.repeat(count, axis=2)
    exogenous[:, 0] = simulation.load.reshape(T, -1)
    rating = np.maximum(rows[:, PV_KWP], forecast[:, 1])
    exogenous[:, 1] = np.minimum(shared[:, 1] * forecast[:, 1], rating)
    exogenous[:, 2] = shared[:, 2]
    found = HouseholdSimulation(
        homes, len(house), observation="compact", action_map=simulation.action_map,
        curtailment=simulation.curtailment,
    )  # fmt: skip
    found.episodes = Episodes(
        house, day, rows, simulation.soc_kwh.ravel(),
        simulation.terminal_eur_per_kwh.ravel(), forecast, exogenous,
        simulation.states.repeat(count, axis=1), homes.visits(house, day),
        homes.unreachable_kwh(house, day),
    )  # fmt: skip
    follow(found, simulation)
    return found


def follow(homes: HouseholdSimulation, simulation: FeederSimulation) -> None:
    """Take over period and energies of the simulation."""
    homes.t = simulation.t
    homes.soc_kwh = simulation.soc_kwh.ravel()
    homes.car_kwh = simulation.car_kwh.ravel()


def actions_of(simulation: FeederSimulation, of_homes: Floats) -> Floats:
    """Actions of `homes_of`, shape (n * H, b), as those of the feeder, shape (n, H * a).

    Where inverters have an action of their own, they give no reactive power.
    """
    actions = of_homes.reshape(simulation.n, simulation.scenario.n_houses, -1)
    if "reactive" in simulation.action_names:
        none = np.zeros((*actions.shape[:2], 1))
        actions = np.concatenate([actions, none], axis=2)
    return actions.reshape(simulation.n, -1)


def played(
    simulation: FeederSimulation,
    homes: HouseholdSimulation,
    battery_kw: Floats,
    car_kw: Floats,
    pv_used_kw: Floats,
) -> Floats:
    """Actions of the feeder that play powers of its houses' devices, shape (n, H * a).

    Args:
        simulation: With ``curtailment="action"``.
        homes: From `homes_of`, at the period of the simulation.
        battery_kw: Shape (n * H,), kW, feasible now, like the others.
        car_kw: Shape (n * H,), kW.
        pv_used_kw: Shape (n * H,), kW.

    Raises:
        ActionError: A power is not feasible now.
    """
    share = np.empty(homes.n)
    shares_from_pv(homes.episodes.rows, battery_kw, car_kw, homes.now, pv_used_kw, share)
    return actions_of(simulation, homes.action(battery_kw, share, car_kw=car_kw))
