"""`flexgym/Household-v0`: one house for one day, as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from flexgym.envs.data import Prices, Sessions
from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.dynamics import COST_EUR, OUTCOME_NAMES
from flexgym.envs.household.observation import OBSERVATION_LIMIT
from flexgym.envs.household.params import STEPS_PER_DAY, Floats, House, Series
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.envs.uncertainty import Uncertainty


def spaces(simulation: HouseholdSimulation) -> tuple[gym.spaces.Box, gym.spaces.Box]:
    """Observation and action space of one house, both float32."""
    return (
        gym.spaces.Box(
            -OBSERVATION_LIMIT, OBSERVATION_LIMIT, (len(simulation.observation_names),), np.float32
        ),
        gym.spaces.Box(-1.0, 1.0, (len(simulation.action_names),), np.float32),
    )


class HouseholdEnv(gym.Env[np.ndarray, np.ndarray]):
    """A house with PV, battery and car trades with the grid for 96 quarter-hours from 06:00.

    **Action** (2,) in [-1, 1]: battery and car power, mapped onto what is feasible now, the
    car's first; (1,) where no house of the pool has a car. With the default ``plateau`` map
    -1 is full discharge, 1 full charge, and [-0.5, -0.2] and [0.2, 0.5] are the cost's two
    kinks, idle and zero-at-the-meter, in the order of their powers. `action` of the
    simulation is the right inverse. With ``curtailment="action"`` a last entry sets the PV
    used; otherwise the cheapest amount is used. Where houses of the pool have appliances, one
    more entry for each follows, above 0 to run it; houses with fewer ignore what is beyond.
    Appliances come first: the others are feasible beside their power. One that must run does
    so whatever is wished, see `flexgym.envs.appliance.job`.

    **Observation**: float32, entries and units in ``observation_names``; load means the
    household's without its appliances, which have entries of their own.

    **Reward**: minus the period's cost in EUR: import - export + wear + unserved load, at
    departures plus the energy the car lacks, in the last period minus the terminal price
    times the energy left in the battery. The sum over the day is exactly minus the cost;
    ``info`` itemises it; of appliances it says which ran, which of them were forced to, and
    their power.

    **Episode**: forecasts for the whole day and the car's visits are known at its start;
    load, weather and price factors are observed period by period. The day ends
    (``terminated``) after 96 periods.

    **Reset options**: ``house`` (position in the pool), ``day`` (0 to 364), ``soc_kwh``.

    Args:
        houses: Houses to draw from; None takes the split's own (houses of test seeds are
            never seen in training).
        days: Days of the year to draw from; None takes the split's.
        prices: From `flexgym.envs.data.load_prices` or `synthetic_prices`; None is the
            documented synthetic tariff.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        uncertainty: ``"markov"``, ``"none"`` (perfect forecasts) or an `Uncertainty`.
        observation: ``"full"``, or ``"compact"`` without forecasts.
        action_map: ``"plateau"``, ``"knots"``, ``"range"`` or ``"rating"``.
        curtailment: ``"automatic"`` or ``"action"``.
        initial_soc: Share of capacity stored at the start; None draws it uniformly.
        car: False leaves every house's car away; without ``houses`` it plays all houses with
            a battery, True those with battery and car.
        sessions: From `flexgym.envs.data.load_sessions` or `synthetic_sessions`, for the
            houses in their order; None is the documented synthetic model.
        render_mode: ``"rgb_array"`` or None.

    Raises:
        ScenarioError: An option is unknown, empty or out of range.

    Version History:
        v0: first version.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(
        self,
        houses: Sequence[House] | House | None = None,
        days: Iterable[int] | int | None = None,
        prices: Prices | None = None,
        split: str = "train",
        uncertainty: str | Uncertainty = "markov",
        observation: str = "full",
        action_map: str = "plateau",
        curtailment: str = "automatic",
        initial_soc: float | None = None,
        car: bool = True,
        sessions: Sessions | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ScenarioError(f"render_mode is {render_mode!r}; expected None or 'rgb_array'.")
        scenario = HouseholdScenario.create(
            houses, days, prices, split, uncertainty, initial_soc, car, sessions
        )
        self.simulation = HouseholdSimulation(
            scenario, 1, observation=observation, action_map=action_map, curtailment=curtailment
        )
        self.observation_names = self.simulation.observation_names
        self.observation_space, self.action_space = spaces(self.simulation)
        self.render_mode = render_mode
        self._outcomes: list[Floats] = []

    @property
    def terminal_eur_per_kwh(self) -> float:
        """Pay for energy left at the end of this episode, EUR/kWh."""
        return float(self.simulation.episodes.terminal_price[0])

    @property
    def house(self) -> House:
        """House of this episode."""
        return self.simulation.house()

    @property
    def forecast_series(self) -> Series:
        """Forecast of this episode."""
        return self.simulation.forecast_series()

    @property
    def realised_series(self) -> Series:
        """What happens in this episode, the future included: for oracles, not for agents."""
        return self.simulation.realised_series()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a new episode; see the class for the options."""
        super().reset(seed=seed)
        self.simulation.begin([self.np_random], options)
        self._outcomes = []
        episodes = self.simulation.episodes
        info = {
            "house": int(episodes.house[0]),
            "day": int(episodes.day[0]),
            "soc_kwh": float(self.simulation.soc_kwh[0]),
            "unreachable_kwh": float(episodes.unreachable_kwh[0]),
            "terminal_eur_per_kwh": self.terminal_eur_per_kwh,
        }
        return self.simulation.observe()[0], info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Play one period; see `HouseholdSimulation.step` for errors."""
        played = as_numbers(action)
        if played.shape != self.action_space.shape:
            raise ActionError(
                f"action has shape {played.shape}; expected {self.action_space.shape}."
            )
        outcome = self.simulation.step(played[None])
        if self.render_mode is not None:
            self._outcomes.append(outcome[0])
        values = outcome[0].tolist()
        info: dict[str, Any] = dict(zip(OUTCOME_NAMES, values, strict=True))
        if self.simulation.appliances is not None:
            for name, of_houses in self.simulation.happened.items():
                info[name] = of_houses[0].copy() if of_houses.ndim > 1 else float(of_houses[0])
        done = self.simulation.t >= STEPS_PER_DAY
        return self.simulation.observe()[0], -values[COST_EUR], done, False, info

    def render(self) -> np.ndarray | None:
        """Picture of the day so far, shape (height, width, 3), uint8."""
        if self.render_mode is None:
            return None
        from flexgym.envs.household.render import render_day

        return render_day(
            self.forecast_series,
            self.house,
            np.array(self._outcomes).reshape(-1, len(OUTCOME_NAMES)),
        )
