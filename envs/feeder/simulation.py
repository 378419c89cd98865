"""Feeders in lockstep: the state that all adapters and policies share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from flexgym.envs.errors import ActionError, ResetNeededError, ScenarioError, StateError
from flexgym.envs.feeder import lanes
from flexgym.envs.feeder.accounts import FEEDER_COST, FEEDER_NAMES
from flexgym.envs.feeder.coupling import Ints, Scratch, World
from flexgym.envs.feeder.draw import Draw, world_of
from flexgym.envs.feeder.dynamics import (
    Feeders,
    Group,
    advance,
    read_lanes,
    read_measurements,
    rest,
)
from flexgym.envs.feeder.observation import FeederObserver
from flexgym.envs.feeder.params import SHARES
from flexgym.envs.feeder.saved_state import check_state, fingerprint
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.grid.sweep import LOADING_PERCENT, V_PU, new_block
from flexgym.envs.household.action_map import ACTION_MAPS, as_numbers
from flexgym.envs.household.dynamics import ARRIVAL, DEPARTURE, NEEDED_KWH
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.simulation import CURTAILMENTS

T = STEPS_PER_DAY
REACTIVE = ("load", "action")
"""Reactive power of the houses: that of their consumption alone, or their inverters' besides."""
RESET_OPTIONS = ("draw", "day", "soc_kwh")


class FeederSimulation:
    """n feeders of H houses, each in its own episode, all in the same period.

    Attributes:
        scenario: Grid, houses and days.
        n: Number of feeders.
        t: Current period, 0 to 96.
        action_names: Actions of one house in their order.
        action_map: How actions stand for powers.
        curtailment: Whether the PV used is an action.
        observation_names: Entries of one house's observation in their order.
        draw: Draw of the houses that each feeder plays, shape (n,).
        day: Day that each feeder plays, shape (n,).
    """

    draw: Ints
    day: Ints

    def __getattr__(self, name: str) -> Any:
        # Properties end here, too, when they need what is not there.
        if name in ("draw", "day") or (hasattr(type(self), name) and not self._begun):
            raise ResetNeededError(f"{name} is not there before an episode; call reset first.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __init__(
        self,
        scenario: FeederScenario,
        n: int,
        *,
        observation: str = "full",
        action_map: str = "plateau",
        curtailment: str = "automatic",
        reactive: str = "load",
        share: str | None = None,
        detail: bool = False,
    ) -> None:
        """See `flexgym.envs.feeder.env.FeederEnv` for the options.

        Args:
            scenario: Grid, houses and days.
            n: Number of feeders.
            observation: ``"full"`` or ``"compact"``.
            action_map: As for the house.
            curtailment: ``"automatic"`` or ``"action"``.
            reactive: ``"load"`` or ``"action"``.
            share: Who bears the grid's cost; None is not asked for.
            detail: Whether `outcome` is kept.
        """
        for name, value, known in (
            ("action_map", action_map, ACTION_MAPS),
            ("curtailment", curtailment, CURTAILMENTS),
            ("reactive", reactive, REACTIVE),
            ("share", share, (None, *SHARES)),
        ):
            if value not in known:
                raise ScenarioError(
                    f"{name} is {value!r}; expected one of {', '.join(map(str, known))}."
                )
        self.scenario, self.n = scenario, n
        with_pv = curtailment == "action"
        rows = {
            "battery": lanes.BATTERY_ACTION,
            "car": lanes.CAR_ACTION if scenario.homes.has_cars else None,
            "pv_used": lanes.PV_ACTION if with_pv else None,
            "reactive": lanes.REACTIVE_ACTION if reactive == "action" else None,
        }
        self.action_names = tuple(name for name, row in rows.items() if row is not None)
        chosen = np.array([row for row in rows.values() if row is not None])
        rule = -1 if share is None else SHARES.index(share)
        settings = (
            ACTION_MAPS.index(action_map), with_pv, reactive == "action", rule, detail,
        )  # fmt: skip
        self._world: World = world_of(scenario)
        self._size = lanes.group_size(n)
        self._groups = -(-n // self._size)
        self._blocks = -(-scenario.n_houses * self._size // lanes.LANES)
        self._batch = self._allocate(detail, share is not None)
        block = new_block(self._world.tree, single=self._size == 1)
        lane = block[2].shape[2:]
        scratch = Scratch(
            *block, np.zeros((1, 7, *lane)), np.zeros(lanes.DESK_ROWS * lanes.LANES),
            np.zeros(6 * lanes.LANES, dtype=np.float32),
        )  # fmt: skip
        self._shape = (n, scenario.n_houses * len(self.action_names))
        self._actions = np.zeros(self._shape)
        self._parts = (self._world, self._batch, scratch, settings, chosen, self._actions)
        self._feeders = Feeders(*self._parts)
        self._draw = Draw(scenario, self._world, self._batch, n)
        self._observer = FeederObserver(scenario, observation, n)
        self.observation_names = self._observer.names
        self._detail, self._shared, self._settings = detail, share is not None, settings
        rows = 0 if self._observer.full else n
        self._seen = np.empty((rows, scenario.n_houses, 6), dtype=np.float32)
        self._begun = False
        self.action_map, self.curtailment = action_map, curtailment
        self.t = T  # nothing to play before `begin`

    @property
    def batch(self) -> Group:
        """The numbers of all feeders.

        Raises:
            ResetNeededError: No episode has begun.
        """
        if not self._begun:
            raise ResetNeededError("nothing is there before an episode; call reset first.")
        return self._batch

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes: numba's reference is made anew."""
        return {key: value for key, value in self.__dict__.items() if key != "_feeders"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._feeders = Feeders(*self._parts)

    def _allocate(self, detail: bool, shared: bool) -> Group:
        groups, size, houses = self._groups, self._size, self.scenario.n_houses
        tree, names = self._world.tree, len(FEEDER_NAMES)
        per_block = self._blocks * lanes.LANES
        return Group(
            houses=np.zeros((groups, per_block * lanes.ROWS)),
            outcomes=np.zeros((groups, per_block * lanes.OUTCOMES if detail else 0)),
            first=np.zeros((groups, size), dtype=np.int64),
            day=np.zeros((groups, size), dtype=np.int64),
            home=np.zeros((groups, houses * size), dtype=np.int64),
            state=np.zeros((groups, T, size), dtype=np.int16),
            shared=np.zeros((groups, T, 4, size)),
            even=np.zeros((groups, size)),
            load=np.zeros((groups, T, per_block)),
            episode=np.zeros((groups, size, names)),
            period=np.zeros((groups, size, names)),
            reward=np.zeros((groups, size if shared else 0, houses)),
            out=np.zeros((groups, *new_block(tree, single=size == 1)[1].shape)),
        )

    def begin(self, rngs: Sequence[np.random.Generator], options: Mapping | None = None) -> None:
        """Draw an episode for each feeder.

        Args:
            rngs: One generator a feeder; each is asked for the same amount whatever the options.
            options: Any of ``draw`` (of the houses), ``day`` and ``soc_kwh``; a number or one a
                feeder, for ``soc_kwh`` one a house, shape (H,) or (n, H).

        Raises:
            ScenarioError: Unknown option, draw or day.
            StateError: A state of charge lies outside its battery's limits.
        """
        if options is not None and not isinstance(options, Mapping):
            raise ScenarioError(f"options are {options!r}; expected a mapping of reset options.")
        draw, day, soc_kwh = self._chosen(dict(options or {}))
        self.t = T  # a day that cannot begin is over
        self.draw, self.day = self._draw(rngs, draw, day, soc_kwh)
        self._observer.begin(self.draw, self.day)
        self._begun = True
        for left in (self.batch.period, self.batch.reward, self.batch.outcomes):
            left[...] = 0.0
        rest(self._feeders, self._seen)
        self.t = 0

    def _chosen(self, options: dict) -> tuple[Ints | None, Ints | None, Floats | None]:
        """The reset options as arrays, checked."""
        unknown = set(options) - set(RESET_OPTIONS)
        if unknown:
            raise ScenarioError(
                f"got the reset options {sorted(unknown)}; expected any of "
                f"{', '.join(RESET_OPTIONS)}."
            )
        given: dict[str, Any] = {}
        for key, most in (("draw", self.scenario.draws), ("day", None)):
            if key not in options:
                continue
            value = np.asarray(options[key])
            if value.dtype.kind not in "iu" or value.shape not in ((), (1,), (self.n,)):
                raise ScenarioError(
                    f"{key} is {options[key]!r}; expected one integer, or one a feeder."
                )
            given[key] = np.array(np.broadcast_to(value.astype(np.int64), (self.n,)))
            if most is not None and not ((value >= 0) & (value < most)).all():
                raise ScenarioError(f"draw is {options[key]!r}; expected 0 to {most - 1}.")
        covered = self.scenario.homes.prices.covered_days()
        if "day" in given and not np.isin(given["day"], covered).all():
            raise ScenarioError(
                f"day is {options['day']!r}; expected days from 0 to 364 that the prices cover."
            )
        if "soc_kwh" in options:
            try:
                value = np.asarray(options["soc_kwh"], dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise StateError(f"soc_kwh is no array of numbers ({error}).") from error
            count = self.scenario.n_houses
            if value.shape not in ((), (count,), (self.n, count)):
                raise StateError(
                    f"soc_kwh has shape {value.shape}; expected ({count},) or "
                    f"({self.n}, {count}), one a house."
                )
            given["soc_kwh"] = np.array(np.broadcast_to(value, (self.n, count)))
        return given.get("draw"), given.get("day"), given.get("soc_kwh")

    @property
    def done(self) -> bool:
        """Whether the day is over."""
        return self.t >= T

    def step(self, action: np.ndarray) -> None:
        """Play one period; then read `cost_eur`, `reward_eur`, `period`, `observe`.

        Args:
            action: Shape (n, H * actions) or (n, H, actions), any float type, in [-1, 1].

        Raises:
            ActionError: Wrong shape, not a number, or outside [-1, 1]; or the day is over.
        """
        played = as_numbers(action)
        if played.shape != self._shape:
            if played.shape[:1] != self._shape[:1] or played.size != np.prod(self._shape):
                raise ActionError(f"action has shape {played.shape}; expected {self._shape}.")
            played = played.reshape(self._shape)
        if self.t >= T:
            raise ActionError(
                "step was called before a day began or after its end; call reset first."
            )
        self._actions[...] = played
        bad = advance(self._feeders, self.t, self._seen)
        if bad >= 0:
            feeder, at = divmod(bad, self._shape[1])
            house, k = divmod(at, len(self.action_names))
            raise ActionError(
                f"action is {played.ravel()[bad]} ({self.action_names[k]} of house {house} on "
                f"feeder {feeder}); expected numbers in [-1, 1]. Clip or squash the policy's "
                "output."
            )
        self.t += 1

    def observe(self) -> np.ndarray:
        """Observation of each house, shape (n, H, d), float32."""
        return self._observer.observe(self) if self._observer.full else self._seen.copy()

    def of_houses(self, *rows: int) -> Floats:
        """Rows of `flexgym.envs.feeder.lanes`, shape (n, H), several of them (rows, n, H)."""
        found = self._read(lanes.ROWS, self.batch.houses, rows)
        return found if len(rows) > 1 else found[0]

    def _read(self, per_lane: int, flat: Floats, rows: Sequence[int]) -> Floats:
        out = np.empty((len(rows), self.n, self.scenario.n_houses))
        read_lanes(per_lane, self._size, flat, np.array(rows), out)
        return out

    def _of_grid(self, row: int, places: Ints) -> Floats:
        """A row of the power flow's outputs at nodes or elements, shape (n, places)."""
        out = self.batch.out.reshape(self._groups, -1, 2, self._size)[:, places, row]
        return out.transpose(0, 2, 1).reshape(-1, len(places))[: self.n]

    @property
    def measured(self) -> Floats:
        """Load, PV (kW), import and export price (EUR/kWh) now, shape (4, n, H)."""
        out = np.empty((4, self.n, self.scenario.n_houses))
        read_measurements(self._feeders, min(self.t, T - 1), out)
        return out

    @property
    def soc_kwh(self) -> Floats:
        """State of charge, shape (n, H), kWh."""
        return self.of_houses(lanes.SOC)

    @property
    def car_kwh(self) -> Floats:
        """Energy in the cars, shape (n, H), kWh; 0 while away."""
        return self.of_houses(lanes.CAR)

    @property
    def cost_eur(self) -> Floats:
        """Social cost of the last period, shape (n,), EUR."""
        return self.period[:, FEEDER_COST]

    @property
    def reward_eur(self) -> Floats:
        """Minus each house's own cost and share of the grid's, shape (n, H), EUR.

        Raises:
            ScenarioError: The simulation was made without ``share``.
        """
        if not self._shared:
            raise ScenarioError("costs are not shared; make the simulation with share=.")
        return self.batch.reward.reshape(-1, self.scenario.n_houses)[: self.n].copy()

    @property
    def grid_eur(self) -> Floats:
        """Each house's share of the grid's cost in the last period, shape (n, H), EUR."""
        return self.of_houses(lanes.GRID_EUR)

    @property
    def house_v_pu(self) -> Floats:
        """Voltage at each house after the last period, shape (n, H), pu."""
        return self.of_houses(lanes.V_PU)

    @property
    def terminal_eur_per_kwh(self) -> Floats:
        """Pay for energy left in the batteries at the end, shape (n, H), EUR/kWh."""
        return self.of_houses(lanes.TERMINAL)

    @property
    def missing_kwh(self) -> Floats:
        """Energy the plugged-in cars lack, shape (n, H), kWh; 0 for those that are away."""
        if self.done:
            return np.zeros((self.n, self.scenario.n_houses))
        visit = (lanes.VISIT + k for k in (ARRIVAL, DEPARTURE, NEEDED_KWH))
        arrival, departure, needed, car = self.of_houses(*visit, lanes.CAR)
        missing = needed - car
        there = (arrival <= self.t) & (self.t < departure)
        return np.where(there, missing.clip(0.0), 0.0)

    @property
    def period(self) -> Floats:
        """What the last period says, shape (n, names), columns `FEEDER_NAMES`."""
        return self.batch.period.reshape(-1, len(FEEDER_NAMES))[: self.n].copy()

    @property
    def feeder_info(self) -> dict[str, float]:
        """The first feeder's last period, by `FEEDER_NAMES`."""
        return dict(zip(FEEDER_NAMES, self.batch.period[0, 0].tolist(), strict=True))

    @property
    def episode(self) -> Floats:
        """What the episode so far says, shape (n, names): sums, worst of the extremes."""
        return self.batch.episode.reshape(-1, len(FEEDER_NAMES))[: self.n].copy()

    @property
    def v_pu(self) -> Floats:
        """Voltage of each bus after the last period, shape (n, buses), order of `bus_index`."""
        return self._of_grid(V_PU, self.scenario.network.bus_node)

    @property
    def line_loading_percent(self) -> Floats:
        """Loading of each line after the last period, shape (n, lines), %."""
        return self._of_grid(LOADING_PERCENT, self.scenario.network.line_element)

    @property
    def trafo_loading_percent(self) -> Floats:
        """Loading of each transformer after the last period, shape (n, transformers), %."""
        return self._of_grid(LOADING_PERCENT, self.scenario.network.trafo_element)

    @property
    def outcome(self) -> Floats:
        """What happened in each house, shape (n, H, 17), columns `OUTCOME_NAMES`.

        Raises:
            ScenarioError: The simulation was made without ``detail``.
        """
        if not self._detail:
            raise ScenarioError("outcomes are not kept; make the simulation with detail=True.")
        found = self._read(lanes.OUTCOMES, self.batch.outcomes, range(lanes.OUTCOMES))
        return found.transpose(1, 2, 0)

    @property
    def state(self) -> Ints:
        """Markov state of each feeder now, shape (n,)."""
        return self.batch.state[:, min(self.t, T - 1)].reshape(-1)[: self.n].astype(np.int64)

    @property
    def states(self) -> Ints:
        """Markov state of each feeder over the day, the future included, shape (T, n)."""
        return self._of_day(self.batch.state).astype(np.int64)

    @property
    def shared(self) -> Floats:
        """Sun, weather factor, import and export price of the day, shape (T, 4, n)."""
        return self.batch.shared.transpose(1, 2, 0, 3).reshape(T, 4, -1)[:, :, : self.n].copy()

    @property
    def load(self) -> Floats:
        """Consumption of the houses over the day, the future included, shape (T, n, H), kW."""
        count, size = self.scenario.n_houses, self._size
        load = self.batch.load[:, :, : count * size]
        by_house = load.reshape(self._groups, T, count, size)
        return by_house.transpose(1, 0, 3, 2).reshape(T, -1, count)[:, : self.n].copy()

    def _of_day(self, values: np.ndarray) -> np.ndarray:
        """(groups, T, G) to (T, n)."""
        return values.transpose(1, 0, 2).reshape(T, -1)[:, : self.n].copy()

    def save(self) -> dict[str, Any]:
        """Everything needed to go on from here, as plain arrays."""
        state = {name: getattr(self.batch, name).copy() for name in Group._fields}
        return {
            "made_of": self._made_of, "t": self.t, "draw": self.draw.copy(),
            "seen": self._seen.copy(), **state,
        }  # fmt: skip

    @cached_property
    def _made_of(self) -> tuple:
        """What a saved state must agree with: scenario and options."""
        made_of = self.scenario.name, fingerprint(self.scenario, self._world)
        return *made_of, self.n, self.action_names, self._settings, self.observation_names

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save` returned.

        Raises:
            StateError: It is no such state, or of another scenario, batch or version; then
                nothing has changed.
        """
        shapes = {name: getattr(self._batch, name).shape for name in Group._fields}
        shapes |= {"draw": (self.n,), "seen": self._seen.shape}
        check_state(saved, self._made_of, shapes)
        for name in Group._fields:
            getattr(self._batch, name)[...] = saved[name]
        self.t, self._begun = int(saved["t"]), True
        self.draw, self.day = np.array(saved["draw"]), self._batch.day.ravel()[: self.n].copy()
        self._seen[...] = saved["seen"]
        self._observer.begin(self.draw, self.day)
