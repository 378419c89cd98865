"""Houses in lockstep: the state both adapters and all policies share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flexgym.envs.errors import ActionError, ResetNeededError, ScenarioError
from flexgym.envs.household import observation as obs
from flexgym.envs.household.action_map import ACTION_MAPS, as_numbers
from flexgym.envs.household.appliances import Bools, HouseAppliances
from flexgym.envs.household.batch import actions_from_powers, advance
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    CAR_POWER,
    DEPARTURE,
    NEEDED_KWH,
    OUTCOME_NAMES,
    POWER,
    plug_in,
)
from flexgym.envs.household.params import STEPS_PER_DAY, Floats, House, Series, Session
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
        car_kwh: Energy in the car, shape (n,), kWh; 0 while it is away.
        cars: Whether any house of the pool has a car, so that actions have an entry for it.
        appliances: The appliances' jobs, or None where no house of the pool has any.
        happened: What appliances did in the last period: ``appliance_kw``, shape (n,), kW;
            ``appliances_ran`` and ``appliances_forced`` (ran though not wished), (n, slots).
        episodes: What was drawn for the current episodes.
        outcome: Results of the last period, shape (n, 17), columns `OUTCOME_NAMES`.
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
        self.scenario, self.n = scenario, n
        self.cars = scenario.has_cars
        self.appliances: HouseAppliances | None = None
        self.happened: dict[str, np.ndarray] = {}
        self.observation_names = obs.observation_names(observation, self.cars)
        self._measured = len(self.observation_names)
        names = {"battery": True, "car": self.cars, "pv_used": curtailment == "action"}
        self.action_names = tuple(name for name, there in names.items() if there)
        if any(house.appliances for house in scenario.houses):
            self.appliances = HouseAppliances(scenario.houses, n)
            self.observation_names += self.appliances.names
            self.action_names += tuple(f"appliance_{k + 1}" for k in range(self.appliances.slots))
        self._shape = (n, len(self.action_names))
        self.t = STEPS_PER_DAY  # nothing to play before `begin`
        self._kind = ACTION_MAPS.index(action_map)
        self._uniform = np.empty((n, scenario.draws))
        self._full = observation == "full"
        self._outlook = obs.new_outlook(observation, n)
        uncertainty = scenario.uncertainty
        self._weather = uncertainty.weather_factor
        self._price = uncertainty.price_factor

    def __getattr__(self, name: str) -> Any:
        if name in ("episodes", "soc_kwh", "car_kwh", "outcome"):
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
        self.car_kwh = np.zeros(self.n)
        plug_in(0, self.visit, self.car_kwh)
        self.outcome = np.zeros((self.n, len(OUTCOME_NAMES)))
        if self.appliances is not None:
            self.appliances.begin(self.episodes.house, self.episodes.exogenous)
        if self._full:
            obs.summarise(self.episodes.forecast, 0, self._outlook)

    @property
    def done(self) -> bool:
        """Whether the day is over."""
        return self.t >= STEPS_PER_DAY

    @property
    def now(self) -> Floats:
        """Load, PV, import and export price measured, shape (4, n); at the end the last ones.

        The load holds the appliances that run by the present choice, see `choose`.
        """
        own = self.episodes if self.appliances is None else self.appliances
        return own.exogenous[min(self.t, STEPS_PER_DAY - 1)]

    @property
    def visit(self) -> Floats:
        """Visits of the cars that run now or come next, shape (5, n), or (5, 0) without cars."""
        return self.episodes.visits[min(self.t, STEPS_PER_DAY - 1)]

    @property
    def missing_kwh(self) -> Floats:
        """Energy the plugged-in cars lack, shape (n,), kWh; 0 for those that are away."""
        if not self.cars or self.done:
            return np.zeros(self.n)
        visit = self.visit
        there = (visit[ARRIVAL] <= self.t) & (self.t < visit[DEPARTURE])
        return np.where(there, (visit[NEEDED_KWH] - self.car_kwh).clip(0.0), 0.0)

    @property
    def state(self) -> np.ndarray:
        """Markov state observed now, shape (n,)."""
        return self.episodes.state[min(self.t, STEPS_PER_DAY - 1)]

    def house(self, i: int = 0) -> House:
        """House that row i plays."""
        return self.scenario.houses[self.episodes.house[i]]

    def forecast_series(self, i: int = 0) -> Series:
        """Forecast of row i's episode."""
        return Series(*self.episodes.forecast[:, :, i].T, sessions=self._sessions(i))

    def realised_series(self, i: int = 0) -> Series:
        """What happens in row i's episode, the future included."""
        return Series(*self.episodes.exogenous[:, :, i].T, sessions=self._sessions(i))

    def _sessions(self, i: int) -> tuple[Session, ...]:
        return self.scenario.sessions_of(self.episodes.house[i], self.episodes.day[i])

    def observe(self) -> np.ndarray:
        """Observation of each house, shape (n, d), float32.

        Its load is the household's without the appliances, whose entries stand at the end.
        """
        out = np.empty((self.n, self._measured), dtype=np.float32)
        episodes, at = self.episodes, min(self.t, STEPS_PER_DAY - 1)
        obs.observe(
            self.t,
            episodes.rows,
            self.soc_kwh,
            self.car_kwh,
            episodes.exogenous[at],
            episodes.visits[at],
            episodes.state[at],
            self._weather,
            self._price,
            episodes.terminal_price,
            self._outlook,
            out,
        )
        if self.appliances is None:
            return out
        return np.concatenate([out, self.appliances.observe(self.t)], axis=1)

    def choose(self, wanted: Bools | bool) -> None:
        """Say which appliances should run in this period, for `now` and `action`.

        Until this is said, they start at once. What is played is what `step` is given.

        Args:
            wanted: One truth value, or one an appliance, shape (n, slots).

        Raises:
            ActionError: Wrong shape or type.
        """
        if self.appliances is not None and not self.done:
            self.appliances.choose(self.t, wanted)

    def step(self, action: np.ndarray) -> Floats:
        """Play one period.

        Args:
            action: Shape (n, number of actions), any float type, in [-1, 1].

        Returns:
            What happened, shape (n, 17), columns `OUTCOME_NAMES`.

        Raises:
            ActionError: Wrong shape, not a number, or outside [-1, 1]; or the day is over.
        """
        played = np.ascontiguousarray(as_numbers(action), dtype=np.float64)
        if played.shape != self._shape:
            raise ActionError(f"action has shape {played.shape}; expected {self._shape}.")
        if self.t >= STEPS_PER_DAY:
            raise ActionError(
                "step was called before a day began or after its end; call reset first."
            )
        episodes, exogenous = self.episodes, self.episodes.exogenous
        if self.appliances is not None:
            # All of it is checked before anything happens.
            inside = np.abs(played) <= 1.0
            if not inside.all():
                raise _outside(played[~inside][0])
            slots = self.appliances.slots
            self.appliances.choose(self.t, played[:, -slots:] > 0.0)
            exogenous = self.appliances.exogenous
            played = np.ascontiguousarray(played[:, :-slots])
        outcome = np.empty((self.n, len(OUTCOME_NAMES)))
        bad = advance(
            self._kind, self.t, played, episodes.rows, exogenous, episodes.visits,
            episodes.terminal_price, self.soc_kwh, self.car_kwh, outcome,
        )  # fmt: skip
        if bad >= 0:
            raise _outside(played.ravel()[bad])
        if self.appliances is not None:
            self.happened = self.appliances.advance(self.t)
        self.outcome = outcome
        self.t += 1
        return outcome

    def action(
        self,
        battery_kw: Floats,
        pv_share: Floats | float = 1.0,
        *,
        car_kw: Floats | float = 0.0,
    ) -> Floats:
        """Actions that play battery and car powers: the right inverse of the action map.

        Beside the appliances that were chosen, see `choose`.

        Args:
            battery_kw: Shape (n,), kW, feasible now beside the car.
            car_kw: Shape (n,) or a number, kW, feasible now; read if the pool has cars.
            pv_share: Share of the usable PV range, in [0, 1]; read if PV is an action.

        Returns:
            Shape (n, number of actions), float64.

        Raises:
            ActionError: Wrong shape, or a power is not feasible now.
        """
        power = np.ascontiguousarray(battery_kw, dtype=np.float64)
        if power.shape != (self.n,):
            raise ActionError(f"battery_kw has shape {power.shape}; expected ({self.n},).")
        car = np.zeros(self.n)
        if np.shape(car_kw) not in ((), (self.n,)):
            raise ActionError(f"car_kw has shape {np.shape(car_kw)}; expected () or ({self.n},).")
        car[:] = car_kw
        action = np.empty((self.n, len(self.action_names)))
        rows = self.episodes.rows
        bad = actions_from_powers(
            self._kind, power, car, rows, self.t, self.soc_kwh, self.car_kwh, self.now,
            self.visit, action,
        )  # fmt: skip
        if bad >= 0:
            raise ActionError(
                f"battery_kw is {power[bad]:g} and car_kw {car[bad]:g} in row {bad}; expected "
                f"powers that are feasible now (battery {rows[bad, POWER]:g} kW, state of charge "
                f"{self.soc_kwh[bad]:g} kWh; car {rows[bad, CAR_POWER]:g} kW, "
                f"{self.car_kwh[bad]:g} kWh)."
            )
        if "pv_used" in self.action_names:
            entry = self.action_names.index("pv_used")
            action[:, entry] = 2.0 * np.asarray(pv_share) - 1.0
        if self.appliances is not None:
            slots = self.appliances.slots
            action[:, -slots:] = np.where(self.appliances.wanted, 1.0, -1.0)
        return action


def _outside(value: float) -> ActionError:
    return ActionError(
        f"action is {value}; expected numbers in [-1, 1]. Clip or squash the policy's output."
    )
