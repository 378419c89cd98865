"""Houses in lockstep: the state both adapters and all policies share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flexgym.envs.errors import ActionError, ResetNeededError, ScenarioError
from flexgym.envs.household import observation as obs
from flexgym.envs.household.dynamics import (
    ACTION_MAPS,
    OUTCOME_NAMES,
    POWER,
    actions_from_battery,
    step,
)
from flexgym.envs.household.params import STEPS_PER_DAY, Floats, House, Series
from flexgym.envs.household.scenario import Episodes, HouseholdScenario

CURTAILMENTS = ("automatic", "action")
_RESET_OPTIONS = ("house", "day", "soc_kwh")


class HouseholdSimulation:
    """n houses, each in its own episode, all in the same period.

    Attributes:
        scenario: Pool of houses and days.
        n: Number of houses.
        t: Current period, 0 to 96.
        soc_kwh: State of charge, shape (n,), kWh.
        episodes: What was drawn for the current episodes.
        outcome: Results of the last period, shape (n, 13), columns `OUTCOME_NAMES`.
    """

    episodes: Episodes

    def __init__(
        self,
        scenario: HouseholdScenario,
        n: int,
        *,
        observation: str = "full",
        action_map: str = "plateau",
        curtailment: str = "automatic",
    ) -> None:
        for name, value, known in (
            ("action_map", action_map, ACTION_MAPS),
            ("curtailment", curtailment, CURTAILMENTS),
        ):
            if value not in known:
                raise ScenarioError(f"{name} is {value!r}; expected one of {', '.join(known)}.")
        self.observation_names = obs.observation_names(observation)
        self.scenario, self.n = scenario, n
        self.action_names = ("battery",) if curtailment == "automatic" else ("battery", "pv_used")
        self.t = STEPS_PER_DAY  # nothing to play before `begin`
        self._kind = ACTION_MAPS.index(action_map)
        self._uniform = np.empty((n, scenario.draws))
        self._full = observation == "full"
        self._totals = obs.empty_totals(observation, n)
        uncertainty = scenario.uncertainty
        self._weather = uncertainty.weather_factor
        self._price = uncertainty.price_factor

    def __getattr__(self, name: str) -> Any:
        if name in ("episodes", "soc_kwh", "outcome"):
            raise ResetNeededError(f"{name} is not there before an episode; call reset first.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def begin(self, rngs: Sequence[np.random.Generator], options: dict | None = None) -> None:
        """Draw an episode for each house.

        Args:
            rngs: One generator a house; each is asked for the same amount whatever the options.
            options: Any of ``house`` (position in the pool), ``day`` and ``soc_kwh``; a number
                or one a house.

        Raises:
            ScenarioError: Unknown option, house or day.
            StateError: A state of charge lies outside its battery's limits.
        """
        chosen = dict(options or {})
        unknown = set(chosen) - set(_RESET_OPTIONS)
        if unknown:
            raise ScenarioError(
                f"got the reset options {sorted(unknown)}; expected any of "
                f"{', '.join(_RESET_OPTIONS)}."
            )
        given = {}
        for key, value in chosen.items():
            array = np.asarray(value)
            if key != "soc_kwh" and array.dtype.kind not in "iu":
                raise ScenarioError(f"{key} is {value!r}; expected integers.")
            if array.shape not in ((), (1,), (self.n,)):
                raise ScenarioError(
                    f"{key} has shape {array.shape}; expected one number or ({self.n},)."
                )
            kind = np.float64 if key == "soc_kwh" else np.int64
            given[key] = np.array(np.broadcast_to(array.astype(kind), (self.n,)))
        for rng, row in zip(rngs, self._uniform, strict=True):
            rng.random(out=row)
        self.episodes = self.scenario.draw(self._uniform, **given)
        self.t = 0
        self.soc_kwh = self.episodes.soc_kwh.copy()
        self.outcome = np.zeros((self.n, len(OUTCOME_NAMES)))
        if self._full:
            obs.summarise(self.episodes.forecast, self._totals)

    @property
    def done(self) -> bool:
        """Whether the day is over."""
        return self.t >= STEPS_PER_DAY

    @property
    def now(self) -> Floats:
        """Load, PV, import and export price measured, shape (4, n); at the end the last ones."""
        return self.episodes.exogenous[min(self.t, STEPS_PER_DAY - 1)]

    @property
    def state(self) -> np.ndarray:
        """Markov state observed now, shape (n,)."""
        return self.episodes.state[min(self.t, STEPS_PER_DAY - 1)]

    def house(self, i: int = 0) -> House:
        """House that row i plays."""
        return self.scenario.houses[self.episodes.house[i]]

    def forecast_series(self, i: int = 0) -> Series:
        """Forecast of row i's episode."""
        return Series(*self.episodes.forecast[:, :, i].T)

    def realised_series(self, i: int = 0) -> Series:
        """What happens in row i's episode, the future included."""
        return Series(*self.episodes.exogenous[:, :, i].T)

    def observe(self) -> np.ndarray:
        """Observation of each house, shape (n, d), float32."""
        out = np.empty((self.n, len(self.observation_names)), dtype=np.float32)
        obs.observe(
            self.t,
            self.episodes.rows,
            self.soc_kwh,
            self.now,
            self.state,
            self._weather,
            self._price,
            self.episodes.terminal_price,
            self._totals,
            out,
        )
        return out

    def step(self, action: np.ndarray) -> Floats:
        """Play one period.

        Args:
            action: Shape (n, number of actions), any float type, in [-1, 1].

        Returns:
            What happened, shape (n, 13), columns `OUTCOME_NAMES`.

        Raises:
            ActionError: Wrong shape, not a number, or outside [-1, 1]; or the day is over.
        """
        played = np.asarray(action, dtype=np.float64)
        expected = (self.n, len(self.action_names))
        if played.shape != expected:
            raise ActionError(f"action has shape {played.shape}; expected {expected}.")
        if not (np.abs(played) <= 1.0).all():
            worst = played.ravel()[np.argmin(np.abs(played.ravel()) <= 1.0)]
            raise ActionError(
                f"action is {worst}; expected numbers in [-1, 1]. Clip or squash the policy's "
                "output."
            )
        if self.done:
            raise ActionError(
                "step was called before a day began or after its end; call reset first."
            )
        last = self.t == STEPS_PER_DAY - 1
        episodes = self.episodes
        outcome = np.empty((self.n, len(OUTCOME_NAMES)))
        step(
            self._kind,
            last,
            np.ascontiguousarray(played),
            episodes.rows,
            episodes.exogenous[self.t],
            episodes.terminal_price,
            self.soc_kwh,
            outcome,
        )
        self.outcome = outcome
        self.t += 1
        return outcome

    def action(self, battery_kw: Floats, pv_share: Floats | float = 1.0) -> Floats:
        """Actions that play battery powers: the right inverse of the action map.

        Args:
            battery_kw: Shape (n,), kW, feasible now.
            pv_share: Share of the usable PV range, in [0, 1]; read if PV is an action.

        Returns:
            Shape (n, number of actions), float64.

        Raises:
            ActionError: Wrong shape, or a power is not feasible now.
        """
        power = np.ascontiguousarray(battery_kw, dtype=np.float64)
        if power.shape != (self.n,):
            raise ActionError(f"battery_kw has shape {power.shape}; expected ({self.n},).")
        action = np.empty((self.n, len(self.action_names)))
        rows = self.episodes.rows
        bad = actions_from_battery(self._kind, power, rows, self.soc_kwh, self.now, action)
        if bad >= 0:
            raise ActionError(
                f"battery_kw is {power[bad]:g} in row {bad}; expected a power that is feasible "
                f"now (rating {rows[bad, POWER]:g} kW, state of charge {self.soc_kwh[bad]:g} kWh)."
            )
        if action.shape[1] > 1:
            action[:, 1] = 2.0 * np.asarray(pv_share) - 1.0
        return action
