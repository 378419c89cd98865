"""`flexgym/Operator-v0`: the operator of a feeder learns to dispatch menus, or to price power."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.clearing import Cleared
from flexgym.envs.charts.coarse import coarsen_active
from flexgym.envs.errors import ActionError, ChartError, ResetNeededError, ScenarioError, StateError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.clearing import grid_cost_eur, load_kvar, operator_of
from flexgym.envs.feeder.env import (
    RENDER_MODES,
    check_render_mode,
    render_simulation,
    simulation_of,
)
from flexgym.envs.feeder.homes import follow, homes_of, played
from flexgym.envs.feeder.house_menus import USUAL_MENUS, menus_from
from flexgym.envs.feeder.operator_choice import CONTROLS, cheapest_powers, menu_arrays, move, moved
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.dynamics import METER_KW
from flexgym.envs.household.observation import OBSERVATION_LIMIT
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.lockstep import generators_of

TERMS = ("harm_eur", "loss_eur", "voltage_eur", "overload_eur")
"""What a period costs the operator; they add up to ``operator_eur``."""
TOTALS = (*TERMS, "operator_eur", "reference_eur")


class FeederOperatorEnv(gym.Env[np.ndarray, np.ndarray]):
    """One agent operates a low-voltage feeder: it sees menus and the grid, never a house.

    **Action** (H,) in [-1, 1], one number a house:

    - ``control="dispatch"``: 0 is the house's own choice, -1 the least power in its menu, 1 the
      largest, linear between; the house takes it.
    - ``control="price"``: a price in addition to what its menu knows, in units of
      ``most_eur_per_kwh``; the house takes the power that is then cheapest for it, its own
      choice or the nearest to it in a tie.

    **Observation** float32, entries and units in ``observation_names``: of each house its own
    choice and ``n_vertices`` vertices (power; cost beside the own choice), the last one repeated
    where there are fewer; voltage of each bus, loading of each line and transformer by the AC
    power flow of the last period; time of day; import and export price.

    **Reward**: minus the harm that the menus declare (what they would be paid as bid), losses,
    and what voltages outside the band and power above ratings cost by the AC power flow.

    **Info**: `TERMS`, ``operator_eur`` their sum; ``cost_eur``, the social cost;
    ``deviation_kw``, the largest difference of a house to what it was to take; with
    ``reference`` also ``reference_eur``, what `Operator.clear` would have cost in this period.
    After the last period ``totals``, their sums, and the feeder's by `FEEDER_NAMES`.

    **Episode**: 06:00 to 06:00, ends with ``terminated``. **Reset options** as for `FeederEnv`.

    Attributes:
        menus: What the houses have sent for this period, reduced to ``n_vertices``.

    Args:
        scenario: See `FeederEnv`.
        control: ``"dispatch"`` or ``"price"``.
        menus: Makes the houses' menus each day: takes their `HouseholdSimulation`, returns their
            `flexgym.envs.feeder.house_menus.HouseMenus`; or where it is, ``"module:attribute"``.
        n_vertices: Vertices a house may send, 2 to 256.
        most_eur_per_kwh: Price that an action of 1 stands for.
        reference: Whether the exact clearing is computed beside.
        render_mode: ``"rgb_array"`` or None.
        **options: As for `FeederScenario.create`.

    Raises:
        ScenarioError: An option is unknown, empty or out of range.

    Version History:
        v0: first version.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": list(RENDER_MODES), "render_fps": 8}

    menus: list[FlexibilityChart]
    _totals: dict[str, float]

    def __init__(
        self,
        scenario: Any = "calm",
        control: str = "dispatch",
        menus: Any = USUAL_MENUS,
        n_vertices: int = 8,
        most_eur_per_kwh: float = 2.0,
        reference: bool = True,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        _check(control, n_vertices, most_eur_per_kwh, options)
        check_render_mode(render_mode)
        self._make = menus_from(menus)
        options |= {"scenario": scenario, "curtailment": "action", "action_map": "range"}
        self.simulation = simulation_of(1, options, observation="compact", detail=True)
        self.control, self.n_vertices = control, n_vertices
        self.most_eur_per_kwh, self.reference = most_eur_per_kwh, reference
        self.render_mode = render_mode
        self._operator = operator_of(self.simulation.scenario)
        names: tuple[str, ...] = TOTALS if reference else TOTALS[:-1]
        self._totals = dict.fromkeys(names, 0.0)
        self.menus = []
        self._cleared: Cleared | None = None
        houses = self.simulation.scenario.n_houses
        self.observation_names = self._names()
        seen = (len(self.observation_names),)
        self.observation_space = gym.spaces.Box(
            -OBSERVATION_LIMIT, OBSERVATION_LIMIT, seen, np.float32
        )
        self.action_space = gym.spaces.Box(-1.0, 1.0, (houses,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a new episode; see the class for the options."""
        super().reset(seed=seed)
        simulation = self.simulation
        simulation.begin([self.np_random], options)
        self._totals = dict.fromkeys(self._totals, 0.0)
        self._plan()
        info = {"draw": int(simulation.draw[0]), "day": int(simulation.day[0])}
        return self._observe(), info

    def _plan(self) -> None:
        """Let the houses of the day plan and offer."""
        self._homes = homes_of(self.simulation)
        follow(self._homes, self.simulation)
        self._houses = self._make(self._homes)
        self._offer()

    def _offer(self) -> None:
        self._cleared = None
        if self.simulation.done:  # the last menus stay for the last observation
            return
        sent = self._houses.offer()
        count = self.simulation.scenario.n_houses
        if len(sent) != count or not all(isinstance(menu, FlexibilityChart) for menu in sent):
            raise ChartError(
                f"got {len(sent)} menus of {sorted({type(menu).__name__ for menu in sent})}; "
                f"expected {count} of FlexibilityChart. Correct what menus= makes."
            )
        self.menus = [coarsen_active(menu, self.n_vertices) for menu in sent]
        self._arrays = menu_arrays(self.menus, self.n_vertices)

    @property
    def cleared(self) -> Cleared:
        """The exact clearing of this period's menus.

        Raises:
            ResetNeededError: No episode has begun.
        """
        if not self.menus:
            raise ResetNeededError("cleared is not there before an episode; call reset first.")
        if self._cleared is None:
            self._cleared = self._operator.clear(self.menus, load_kvar(self._homes))
        return self._cleared

    def action_of(self, power_kw: Floats) -> Floats:
        """Action of ``control="dispatch"`` that takes these powers of the menus, shape (H,)."""
        return moved(self._arrays, power_kw)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Play one period.

        Raises:
            ActionError: Wrong shape, not a number, or outside [-1, 1]; or the day is over.
        """
        simulation = self.simulation
        if simulation.done or not self.menus:
            raise ActionError(
                "step was called before a day began or after its end; call reset first."
            )
        played_action = as_numbers(action)
        if played_action.shape != self.action_space.shape:
            raise ActionError(
                f"action has shape {played_action.shape}; expected {self.action_space.shape}."
            )
        if not (np.abs(played_action) <= 1.0).all():
            raise ActionError(
                "action has entries that are not in [-1, 1]; clip or squash the policy's output."
            )
        chosen = played_action.astype(np.float64)
        if self.control == "dispatch":
            power = move(self._arrays, chosen)
        else:
            power = cheapest_powers(self._arrays, chosen * self.most_eur_per_kwh)
        info: dict[str, Any] = {"harm_eur": self._harm_eur(power)}
        if self.reference:
            grid = grid_cost_eur(simulation.scenario, self.cleared)
            reference = self._harm_eur(self.cleared.power_kw) + sum(grid)
        simulation.step(played(simulation, self._homes, *self._houses.follow(power)))
        feeder = simulation.feeder_info
        info |= {name: feeder[name] for name in TERMS[1:]}
        info["operator_eur"] = sum(info.values())
        if self.reference:
            info["reference_eur"] = reference
        for name, value in info.items():
            self._totals[name] += value
        off = simulation.outcome[0, :, METER_KW] - power
        info |= {"cost_eur": feeder["cost_eur"], "deviation_kw": float(np.abs(off).max())}
        follow(self._homes, simulation)
        self._offer()
        reward = -info["operator_eur"]
        if simulation.done:
            totals = dict(zip(FEEDER_NAMES, simulation.episode[0].tolist(), strict=True))
            info["totals"] = {**totals, **self._totals}
        return self._observe(), reward, simulation.done, False, info

    def _harm_eur(self, power_kw: Floats) -> float:
        """What powers cost by the menus beside the houses' own choices, EUR."""
        x = self._arrays
        pairs = zip(power_kw, x.power_kw, x.harm_eur, strict=True)
        return float(sum(np.interp(at, power, harm) for at, power, harm in pairs))

    def _names(self) -> tuple[str, ...]:
        network = self.simulation.scenario.network
        of_house = ["own_power [10 kW]"]
        of_house += [f"power_{k} [10 kW]" for k in range(self.n_vertices)]
        of_house += [f"cost_{k} [EUR]" for k in range(self.n_vertices)]
        houses = range(self.simulation.scenario.n_houses)
        return (
            *(f"house_{h}_{name}" for h in houses for name in of_house),
            *(f"bus_{bus}_voltage_above_1_pu [0.05 pu]" for bus in network.bus_index),
            *(f"line_{k}_loading [1]" for k in range(len(network.line_element))),
            *(f"transformer_{k}_loading [1]" for k in range(len(network.trafo_element))),
            "sine_of_time [1]",
            "cosine_of_time [1]",
            "time_left [day]",
            "import_price [0.1 EUR/kWh]",
            "export_price [0.1 EUR/kWh]",
        )

    def _observe(self) -> np.ndarray:
        simulation, x = self.simulation, self._arrays
        turn = 2.0 * np.pi * simulation.t / STEPS_PER_DAY
        prices = simulation.measured[2:, 0, 0]
        of_houses = np.concatenate([0.1 * x.own_kw[:, None], 0.1 * x.power_kw, x.harm_eur], axis=1)
        seen = np.concatenate(
            [
                of_houses.ravel(),
                (simulation.v_pu[0] - 1.0) / 0.05,
                0.01 * simulation.line_loading_percent[0],
                0.01 * simulation.trafo_loading_percent[0],
                [np.sin(turn), np.cos(turn), 1.0 - simulation.t / STEPS_PER_DAY],
                10.0 * prices,
            ]
        )
        return seen.clip(-OBSERVATION_LIMIT, OBSERVATION_LIMIT).astype(np.float32)

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here: arrays and the state of the generator.

        The houses' plans are made anew when it is restored.
        """
        rng = [self.np_random.bit_generator.state]
        return {**self.simulation.save(), "rng": rng, "totals": self._totals.copy()}

    def restore_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of an environment with other options.
        """
        (rng,) = generators_of(saved, 1)
        totals = saved.get("totals")
        if not isinstance(totals, Mapping) or set(totals) != set(self._totals):
            raise StateError(
                f"the state's totals are {totals!r}; expected {', '.join(self._totals)}."
            )
        self.simulation.restore(saved)
        self.np_random = rng
        self._totals = dict(totals)
        self._plan()

    def render(self) -> np.ndarray | None:
        """Map of the feeder and its voltages now, shape (height, width, 3), uint8."""
        return None if self.render_mode is None else render_simulation(self.simulation)


def _check(control: Any, n_vertices: Any, most: Any, options: Mapping[str, Any]) -> None:
    """Raise `ScenarioError` unless these are options of the operator."""
    if not isinstance(control, str) or control not in CONTROLS:
        raise ScenarioError(f"control is {control!r}; expected one of {', '.join(CONTROLS)}.")
    whole = isinstance(n_vertices, int | np.integer) and not isinstance(n_vertices, bool)
    if not whole or not 2 <= n_vertices <= 256:
        raise ScenarioError(f"n_vertices is {n_vertices!r}; expected a whole number, 2 to 256.")
    if not isinstance(most, int | float) or not 0.0 < most < np.inf:
        raise ScenarioError(f"most_eur_per_kwh is {most!r}; expected a price > 0.")
    fixed = [n for n in ("observation", "action_map", "curtailment", "reactive") if n in options]
    if fixed:
        raise ScenarioError(
            f"got {', '.join(fixed)}; expected none of them, since the operator sees and controls "
            "no house."
        )
