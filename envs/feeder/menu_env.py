"""The feeder with menus: every house sends what powers would cost it, the operator clears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.clearing import Cleared
from flexgym.envs.charts.separable import split_power
from flexgym.envs.charts.settlement import pay_as_bid, pay_marginal
from flexgym.envs.errors import ActionError, MenuError, ScenarioError, StateError
from flexgym.envs.feeder.accounts import LOSS_EUR, OVERLOAD_EUR
from flexgym.envs.feeder.agents import Answer, FeederAgents
from flexgym.envs.feeder.clearing import load_kvar, operator_of
from flexgym.envs.feeder.env import simulation_of
from flexgym.envs.feeder.homes import follow, homes_of, played
from flexgym.envs.feeder.menu_dispatch import AWAY, by_rule, own_choice, reach
from flexgym.envs.feeder.menu_formats import MENU_FORMATS, HouseNow
from flexgym.envs.feeder.menu_reading import read_menu
from flexgym.envs.household.dynamics import COST_EUR, METER_KW
from flexgym.envs.household.observation import OBSERVATION_LIMIT
from flexgym.envs.household.params import Floats

PAYMENTS = {"pay_as_bid": pay_as_bid, "marginal": pay_marginal}
"""How houses are paid, see `flexgym.envs.charts.settlement`."""
TOLD = (
    "least_power [10 kW]",
    "largest_power [10 kW]",
    "cleared_power [10 kW]",
    "payment [0.1 EUR]",
)
"""Entries of an observation beside those of ``mode="direct"``."""
FIXED = ("action_map", "curtailment", "reactive", "share")
"""Options of ``mode="direct"`` that menus leave no choice of."""
_CLEARED, _PAID, _DEVIATION, _PAID_TODAY = range(4)


class FeederMenuEnv(FeederAgents):
    """Houses on one low-voltage feeder that send menus; the operator clears and pays.

    **Agents** ``house_0`` to ``house_42``, all with the same spaces, from first to last period.

    **Action**: a menu in the chosen format, numbers in [-1, 1] of which each array is a valid
    menu; see `flexgym.envs.feeder.menu_formats` for the exact maps:

    - ``"segments"`` (2 * n + 1,): own choice, widths and prices of n segments;
    - ``"chart"`` (2 * n + 2,): n + 1 points; or a `FlexibilityChart`, or its vertices (k, 3);
    - ``"cost_to_go"`` (2 * n,), or (n,) without cars: worth of stored energy.

    Menus are read by their least cost over reactive power; that of its load goes with a house.

    **A menu that is refused** (missing, malformed, out of reach) costs nobody the period: the
    house takes the one power that it would take uncontrolled, car at full power, battery for
    self-consumption. Its ``info`` says ``refused``, one of `REASONS`, and ``refusal``.

    **What happens**: `Operator.clear` finds the powers, each house makes its own: with
    ``"cost_to_go"`` the cheapest way by what it said, else by the rule of
    `flexgym.envs.feeder.menu_dispatch`. What physics leaves between the power cleared and the
    meter is reported; menus within reach leave rounding only.

    **Observation** (d + 4,): as in ``mode="direct"``, then `TOLD`: what the house can make at its
    meter now, and what it was told and paid in the last period. Nothing of the others.

    **Reward**: minus what the period really costs the house (bill, wear, unserved load, missing
    car energy, terminal payment), whatever its menu said, plus what it is paid. Together with
    ``operator_eur`` of `feeder_info` the rewards add up to minus the social cost.

    **Info** of a house: ``cleared_kw``, ``paid_eur``, ``deviation_kw``; after the last period
    ``totals``, the feeder's numbers of the day by `FEEDER_NAMES`, and ``paid_eur``.

    **Episode**: 96 quarter-hours; all agents end together, ``terminated``.

    Attributes:
        menus: What was cleared in the last period, fall-backs included.
        cleared: The operator's answer to it; None before and after a state is restored.

    Args:
        scenario: See `FeederEnv`.
        menu_format: ``"segments"``, ``"chart"`` or ``"cost_to_go"``.
        payment: ``"marginal"``, the grid's price at the bus; or ``"pay_as_bid"``, the harm that
            the menu declares.
        n_segments: Segments of an array, 2 to 255.
        render_mode: ``"rgb_array"`` or None.
        **options: ``observation``, and as for `FeederScenario.create`.

    Raises:
        ScenarioError: An option is unknown, empty or out of range.

    Version History:
        v0: first version.
    """

    menus: list[FlexibilityChart]
    cleared: Cleared | None

    def __init__(
        self,
        scenario: Any = "calm",
        menu_format: str = "segments",
        payment: str = "marginal",
        n_segments: int = 8,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        _check(menu_format, payment, n_segments, options)
        options |= {"scenario": scenario, "curtailment": "action", "action_map": "range"}
        simulation = simulation_of(1, options, detail=True)
        self._form = MENU_FORMATS[menu_format](n_segments)
        self._size = self._form.size(simulation.scenario.homes.has_cars)
        self.observation_names = (*simulation.observation_names, *TOLD)
        seen = (len(self.observation_names),)
        super().__init__(
            simulation,
            gym.spaces.Box(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, seen, np.float32),
            gym.spaces.Box(-1.0, 1.0, (self._size,), np.float32),
            render_mode,
        )
        self.menu_format, self.payment, self.n_segments = menu_format, payment, n_segments
        self._operator = operator_of(simulation.scenario)
        self._told: Floats = np.zeros((4, simulation.scenario.n_houses))
        self.menus, self.cleared = [], None

    def _begin(self) -> None:
        self._told[...] = 0.0
        self._plan()

    def _plan(self) -> None:
        """Look at the day's houses; nothing of what they did is needed."""
        self.menus, self.cleared = [], None
        self._homes = homes_of(self.simulation)
        self._reach = reach(self._homes)

    def step(self, actions: dict[str, Any]) -> Answer:
        """Play one period.

        Args:
            actions: Menus by house; those that are missing or malformed are refused by name.

        Raises:
            ActionError: An agent is unknown, ``actions`` is no mapping, or the day is over.
            SolverError: The clearing found no optimum.
        """
        if not self.agents:
            raise ActionError("step was called before a day or after its end; call reset first.")
        if not isinstance(actions, Mapping):
            raise ActionError(f"got {type(actions).__name__}; expected a mapping of menus.")
        unknown = [agent for agent in actions if agent not in self._going_on]
        if unknown:
            raise ActionError(
                f"got menus of {unknown}; expected agents {self.possible_agents[0]} to "
                f"{self.possible_agents[-1]}."
            )
        simulation, homes = self.simulation, self._homes
        own = own_choice(homes)
        menus, levels, infos = self._read([actions.get(a) for a in self.possible_agents], own[3])
        cleared = self._operator.clear(menus, load_kvar(homes))
        paid = PAYMENTS[self.payment](menus, cleared).paid_eur
        battery, car, used = self._follow(cleared.power_kw, levels, infos, own)
        simulation.step(played(simulation, homes, battery, car, used))
        outcome = simulation.outcome[0]
        told = self._told
        told[_CLEARED], told[_PAID] = cleared.power_kw, paid
        told[_DEVIATION] = outcome[:, METER_KW] - cleared.power_kw
        told[_PAID_TODAY] += paid
        self.menus, self.cleared = menus, cleared
        follow(homes, simulation)
        self._reach = reach(homes)
        for info, (power, money, deviation, _) in zip(infos, told.T.tolist(), strict=True):
            info |= {"cleared_kw": power, "paid_eur": money, "deviation_kw": deviation}
        by_agent = dict(zip(self.possible_agents, infos, strict=True))
        return self._finish(paid - outcome[:, COST_EUR], by_agent)

    def _read(
        self, sent: Sequence[Any], own_kw: Floats
    ) -> tuple[list[FlexibilityChart], list[CarLevels | None], list[dict[str, Any]]]:
        """Menus, cost-to-go behind them and what the houses are told of refusals."""
        homes, menus, behind, infos = self._homes, [], [], []
        for h, message in enumerate(sent):
            at = HouseNow(
                homes.episodes.rows[h], homes.visit[:, h] if homes.cars else AWAY, homes.t,
                float(homes.soc_kwh[h]), float(homes.car_kwh[h]), homes.now[:, h],
                *self._reach[:, h].tolist(),
            )  # fmt: skip
            info: dict[str, Any] = {}
            try:
                menu, levels = read_menu(message, self._form, self._size, at)
            except MenuError as error:
                menu, levels = FlexibilityChart([own_kw[h]], [0.0]), None
                info = {"refused": error.reason, "refusal": str(error)}
            menus.append(menu)
            behind.append(levels)
            infos.append(info)
        return menus, behind, infos

    def _follow(
        self,
        power_kw: Floats,
        levels: Sequence[CarLevels | None],
        infos: Sequence[Mapping[str, Any]],
        own: Floats,
    ) -> Floats:
        """Battery, car and PV used of each house, shape (3, H), kW."""
        homes = self._homes
        chosen = by_rule(homes, power_kw)
        for h, (behind, info) in enumerate(zip(levels, infos, strict=True)):
            if "refused" in info:
                chosen[:, h] = own[:3, h]
            elif behind is not None:
                load, pv = homes.now[:2, h]
                chosen[:, h] = split_power(
                    homes.episodes.rows[h], homes.soc_kwh[h], load, pv, behind, power_kw[h]
                )
        return chosen

    def _observe(self) -> np.ndarray:
        seen = super()._observe()
        told = np.stack([*(0.1 * self._reach), 0.1 * self._told[_CLEARED], 10 * self._told[_PAID]])
        limited = np.clip(told.T, -OBSERVATION_LIMIT, OBSERVATION_LIMIT)
        return np.concatenate([seen, limited.astype(np.float32)], axis=1)

    def _totals(self) -> dict[str, float]:
        return {**super()._totals(), "paid_eur": float(self._told[_PAID_TODAY].sum())}

    def house_info(self, agent: str) -> dict[str, float]:
        """What happened in one house in the last period: `OUTCOME_NAMES`, voltage and payment."""
        info = super().house_info(agent)
        del info["grid_eur"]  # the operator bears it
        told = self._told[:, self.possible_agents.index(agent)].tolist()
        return {**info, **dict(zip(("cleared_kw", "paid_eur", "deviation_kw"), told, strict=False))}

    @property
    def feeder_info(self) -> dict[str, float]:
        """What the last period says of the feeder, by `FEEDER_NAMES`, and of the operator.

        ``paid_eur`` is what it pays the houses; ``operator_eur`` its account, minus that and
        what losses, voltages and overload cost.
        """
        info = self.simulation.feeder_info
        grid = float(self.simulation.period[0, LOSS_EUR : OVERLOAD_EUR + 1].sum())
        paid = float(self._told[_PAID].sum())
        return {**info, "paid_eur": paid, "operator_eur": -paid - grid}

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here: arrays and the state of the generator."""
        return {**super().save_state(), "told": self._told.copy()}

    def restore_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of an environment with other options.
        """
        told: Any = saved.get("told") if isinstance(saved, Mapping) else None
        if np.shape(told) != self._told.shape:
            raise StateError(
                f"the state's told has shape {np.shape(told)}; expected {self._told.shape}, of an "
                "environment with menus."
            )
        super().restore_state(saved)
        self._told[...] = told
        self._plan()


def _check(menu_format: Any, payment: Any, n_segments: Any, options: Mapping[str, Any]) -> None:
    """Raise `ScenarioError` unless these are options of menus."""
    for name, value, known in (
        ("menu_format", menu_format, MENU_FORMATS), ("payment", payment, PAYMENTS),
    ):  # fmt: skip
        if not isinstance(value, str) or value not in known:
            raise ScenarioError(f"{name} is {value!r}; expected one of {', '.join(known)}.")
    whole = isinstance(n_segments, int | np.integer) and not isinstance(n_segments, bool)
    if not whole or not 2 <= n_segments <= 255:
        raise ScenarioError(f"n_segments is {n_segments!r}; expected a whole number, 2 to 255.")
    fixed = [name for name in FIXED if name in options]
    if fixed:
        raise ScenarioError(
            f"got {', '.join(fixed)} with mode='menu'; expected none, since the operator decides. "
            "They are options of mode='direct'."
        )
