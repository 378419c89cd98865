"""`flexgym/Feeder-v0`: a feeder of houses for one day, one agent for all of them."""

from __future__ import annotations

from inspect import signature
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.observation import OBSERVATION_LIMIT
from flexgym.envs.lockstep import generators_of

SETTINGS = ("observation", "action_map", "curtailment", "reactive")
"""Options of the simulation; all others are the scenario's."""
RENDER_MODES = ("rgb_array",)


def simulation_of(n: int, options: dict[str, Any], **settings: Any) -> FeederSimulation:
    """Simulation of n feeders from the options of an environment."""
    chosen = {key: options.pop(key) for key in SETTINGS if key in options}
    known = signature(FeederScenario.create).parameters
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ScenarioError(
            f"got the options {', '.join(unknown)}; expected any of {', '.join(known)}, "
            f"{', '.join(SETTINGS)}."
        )
    scenario = FeederScenario.create(**options)
    return FeederSimulation(scenario, n, **chosen, **settings)


def spaces(simulation: FeederSimulation, houses: int) -> tuple[gym.spaces.Box, gym.spaces.Box]:
    """Observation and action space of so many houses side by side, both float32."""
    seen = houses * len(simulation.observation_names)
    done = houses * len(simulation.action_names)
    return (
        gym.spaces.Box(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, (seen,), np.float32),
        gym.spaces.Box(-1.0, 1.0, (done,), np.float32),
    )


def check_render_mode(render_mode: str | None) -> None:
    """Raise `ScenarioError` unless pictures can be drawn so."""
    if render_mode not in (None, *RENDER_MODES):
        raise ScenarioError(f"render_mode is {render_mode!r}; expected None or 'rgb_array'.")


class FeederEnv(gym.Env[np.ndarray, np.ndarray]):
    """One agent controls every battery and car on a low-voltage feeder for 96 quarter-hours.

    **Action** (H * a,) in [-1, 1]: the a actions of the first house, then those of the second
    and so on; each as in `flexgym.envs.household.env.HouseholdEnv`: battery, car, with
    ``curtailment="action"`` the PV used, with ``reactive="action"`` the inverter's reactive
    power as a share of what its rating leaves now (positive draws it and lowers the voltage).

    **Observation** (H * d,) float32, likewise; entries and units of one house in
    ``observation_names``: what the house environment shows and the voltage at the house in the
    last period. ``"compact"`` has six entries and no forecasts.

    **Reward**: minus the social cost of the period in EUR: bills, wear, unserved load, missing
    car energy and terminal payment of all houses, losses, and what voltages outside the band
    and power above ratings cost. ``info`` itemises it; the terms add up exactly.

    **Episode**: 06:00 to 06:00, ends with ``terminated``. Weather and price are those of the
    whole feeder, the noise of consumption each house's own.

    **Reset options**: ``draw`` (of the houses), ``day``, ``soc_kwh`` (a number or one a house).

    Args:
        scenario: ``"calm"``, ``"summer_midday"``, ``"winter_evening"``, ``"stress"``, or a
            `FeederScenario` (`FeederScenario.from_pandapower` for a grid of your own).
        split: ``"train"``, ``"validation"`` or ``"test"``.
        observation: ``"full"`` or ``"compact"``.
        action_map: ``"plateau"``, ``"knots"``, ``"range"`` or ``"rating"``.
        curtailment: ``"automatic"`` or ``"action"``.
        reactive: ``"load"`` or ``"action"``.
        render_mode: ``"rgb_array"`` or None.
        **options: As for `FeederScenario.create`.

    Raises:
        ScenarioError: An option is unknown, empty or out of range.

    Version History:
        v0: first version.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": list(RENDER_MODES), "render_fps": 8}

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        check_render_mode(render_mode)
        self.simulation = simulation_of(1, options)
        self.observation_names = self.simulation.observation_names
        houses = self.simulation.scenario.n_houses
        self.observation_space, self.action_space = spaces(self.simulation, houses)
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a new episode; see the class for the options."""
        super().reset(seed=seed)
        simulation = self.simulation
        simulation.begin([self.np_random], options)
        info = {"draw": int(simulation.draw[0]), "day": int(simulation.day[0])}
        return simulation.observe().reshape(-1), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Play one period; see `FeederSimulation.step` for errors.

        Returns:
            As Gymnasium; ``info`` has the period's numbers by `FEEDER_NAMES`, and after the
            last period ``totals``, those of the episode.
        """
        played = as_numbers(action)
        if played.shape != self.action_space.shape:
            raise ActionError(
                f"action has shape {played.shape}; expected {self.action_space.shape}."
            )
        simulation = self.simulation
        simulation.step(played[None])
        info: dict[str, Any] = simulation.feeder_info
        done, seen = simulation.done, simulation.observe().reshape(-1)
        reward = -info["cost_eur"]
        if done:
            totals = simulation.episode[0].tolist()
            info["totals"] = dict(zip(FEEDER_NAMES, totals, strict=True))
        return seen, reward, done, False, info

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here: arrays and the state of the generator."""
        return {**self.simulation.save(), "rng": [self.np_random.bit_generator.state]}

    def restore_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of an environment with other options.
        """
        (rng,) = generators_of(saved, 1)
        self.simulation.restore(saved)
        self.np_random = rng

    def render(self) -> np.ndarray | None:
        """Map of the feeder and its voltages now, shape (height, width, 3), uint8."""
        if self.render_mode is None:
            return None
        return render_simulation(self.simulation)


def render_simulation(simulation: FeederSimulation) -> np.ndarray:
    """Picture of the first feeder of a simulation."""
    from flexgym.envs.feeder.render import render_feeder

    return render_feeder(
        simulation.scenario.network,
        np.where(simulation.v_pu[0] > 0.0, simulation.v_pu[0], np.nan),
        simulation.line_loading_percent[0],
        simulation.trafo_loading_percent[0],
        band_pu=simulation.scenario.band_pu,
        period=simulation.t,
    )
