"""What adapters share: seeds, reset in the same step, masks of info, saved states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import ActionError, ScenarioError, StateError
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.params import Floats
from flexgym.envs.quantity import as_floats


def generators_of(saved: Any, n: int) -> list[np.random.Generator]:
    """The generators of a saved state.

    Raises:
        StateError: There are not n of them, or it is no state.
    """
    found = []
    try:
        for state in saved["rng"]:
            bits = getattr(np.random, state["bit_generator"])()
            bits.state = state
            found.append(np.random.Generator(bits))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise StateError(
            f"the state's generators cannot be read ({error!r}); expected what save_state returned."
        ) from error
    if len(found) != n:
        raise StateError(f"the state has {len(found)} generators; expected {n}, one an episode.")
    return found


class LockstepEnv(gym.Env[np.ndarray, np.ndarray]):
    """One episode of a simulation; what happens in it, subclasses say.

    Args:
        simulation: Has one episode, ``begin``, ``step``, ``done``, ``made_of``, ``save`` and
            ``restore``.
        spaces: Observation and action space.
        outcome_names: Columns of what its ``step`` returns; ``cost_eur`` is one of them.
        render_mode: One of the class's, or None.

    Raises:
        ScenarioError: Unknown render mode.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 2}

    def __init__(
        self,
        simulation: Any,
        spaces: tuple[Box, Box],
        outcome_names: tuple[str, ...],
        render_mode: str | None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ScenarioError(f"render_mode is {render_mode!r}; expected None or 'rgb_array'.")
        self.simulation, self.render_mode = simulation, render_mode
        self.observation_names = simulation.observation_names
        self.observation_space, self.action_space = spaces
        self._names = outcome_names
        self._cost = outcome_names.index("cost_eur")
        self._outcomes: list[Floats] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a new episode; see the class for the options."""
        super().reset(seed=seed)
        self.simulation.begin([self.np_random], options)
        self._outcomes = []
        info = {name: values[0].item() for name, values in self._reset_info().items()}
        return self.simulation.observe()[0], info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Play one period.

        Raises:
            ActionError: Wrong shape, not a number, or outside [-1, 1]; or the episode is over.
        """
        played = as_numbers(action)
        if played.shape != self.action_space.shape:
            raise ActionError(
                f"action has shape {played.shape}; expected {self.action_space.shape}."
            )
        outcome = self.simulation.step(played[None])
        self._outcomes.append(outcome[0])
        values = outcome[0].tolist()
        info: dict[str, Any] = dict(zip(self._names, values, strict=True))
        return self.simulation.observe()[0], -values[self._cost], self.simulation.done, False, info

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here."""
        outcomes = [outcome.copy() for outcome in self._outcomes]
        rng = [self.np_random.bit_generator.state]
        return {**self.simulation.save(), "outcomes": outcomes, "rng": rng}

    def restore_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of an environment with other options, or damaged.
        """
        outcomes = self._outcomes_of(saved)
        (rng,) = generators_of(saved, 1)
        self.simulation.restore(saved)
        self.np_random, self._outcomes = rng, outcomes

    def _outcomes_of(self, saved: Any) -> list[Floats]:
        """What happened in each period of a saved state."""
        made_of = saved.get("made_of") if isinstance(saved, Mapping) else saved
        if repr(made_of) != repr(self.simulation.made_of):
            raise StateError(
                f"the state is of {made_of}; expected one of {self.simulation.made_of}. Restore "
                "into an environment made with the same options."
            )
        given, t = saved.get("outcomes"), saved.get("t")
        if not isinstance(given, list | tuple) or as_index(t) != len(given):
            raise StateError(
                f"the state's outcomes are {type(given).__name__} and its t is {t!r}; expected a "
                "list with one for each period played. It is damaged."
            )
        found = []
        for i, outcome in enumerate(given):
            row = as_floats(outcome, f"the state's outcomes[{i}]", StateError)
            if row.shape != (len(self._names),) or not np.isfinite(row).all():
                raise StateError(
                    f"the state's outcomes[{i}] has shape {row.shape}; expected "
                    f"{(len(self._names),)}, finite numbers. It is damaged."
                )
            found.append(row)
        return found

    def _played(self) -> Floats:
        """What happened so far, shape (periods, names)."""
        return np.array(self._outcomes).reshape(-1, len(self._names))

    def _reset_info(self) -> dict[str, np.ndarray]:
        """What reset tells, each of shape (1,)."""
        raise NotImplementedError


class LockstepVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Episodes in lockstep; what a row is, subclasses say.

    All episodes end together; the batch then resets in the same step and reports the last
    observation and info as ``final_obs`` and ``final_info``.

    Args:
        simulation: Has ``n`` episodes, ``begin``, ``step`` and ``done``.
        num_envs: Rows, n or a multiple of it.
        spaces: Observation and action space of a row.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": [],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(self, simulation: Any, num_envs: int, spaces: tuple[Box, Box]) -> None:
        self.simulation, self.num_envs = simulation, num_envs
        self.observation_names = simulation.observation_names
        self.single_observation_space, self.single_action_space = spaces
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs: list[np.random.Generator] = []
        self._all = np.ones(num_envs, dtype=bool)
        self._all.setflags(write=False)  # handed out as the mask of every entry of info
        self._none = np.zeros(num_envs, dtype=bool)
        self._masks: dict[tuple[str, ...], dict[str, np.ndarray]] = {}

    @property
    def episodes(self) -> int:
        """Episodes side by side; rows of one episode follow each other."""
        return self.simulation.n

    @staticmethod
    def check(num_envs: int, render_mode: str | None) -> None:
        """Raise `ScenarioError` unless a batch can be made so."""
        whole = isinstance(num_envs, int | np.integer) and not isinstance(num_envs, bool)
        if not whole or num_envs < 1 or render_mode is not None:
            raise ScenarioError(
                f"num_envs is {num_envs} and render_mode {render_mode!r}; expected num_envs >= 1 "
                "and None. Render a single environment."
            )

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw new episodes; seeds and options are one, or one an episode."""
        n = self.simulation.n
        if seed is None:
            seeds: list[int | None] = [None] * n
        elif isinstance(seed, int | np.integer):
            seeds = [int(seed) + i for i in range(n)]
        else:
            whole = isinstance(seed, list | tuple | np.ndarray) and len(seed) == n
            if not whole or not all(s is None or isinstance(s, int | np.integer) for s in seed):
                many = f"{len(seed)} seeds" if isinstance(seed, list | tuple) else "the seed"
                raise ScenarioError(f"got {many}, {seed!r}; expected one integer or {n} of them.")
            seeds = [None if s is None else int(s) for s in seed]
        if not self._rngs:
            self._rngs = [seeding.np_random(s)[0] for s in seeds]
        else:
            for i, s in enumerate(seeds):
                if s is not None:
                    self._rngs[i] = seeding.np_random(s)[0]
        self.simulation.begin(self._rngs, options)
        return self._observe(), self._masked(self._reset_info())

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Play one period.

        Raises:
            ActionError: Wrong shape, not a number, or outside [-1, 1]; or the day is over.
        """
        simulation, played = self.simulation, as_numbers(actions)
        if played.shape != self.action_space.shape:
            raise ActionError(
                f"action has shape {played.shape}; expected {self.action_space.shape}."
            )
        simulation.step(played.reshape(simulation.n, -1))
        reward, info = self._reward(), self._masked(self._info())
        if not simulation.done:
            return self._observe(), reward, self._none.copy(), self._none.copy(), info
        final = {"final_obs": self._observe(), "final_info": info | self._masked(self._totals())}
        simulation.begin(self._rngs)
        info = self._masked(self._reset_info()) | self._masked(final)
        return self._observe(), reward, self._all.copy(), self._none.copy(), info

    def _masked(self, values: dict[str, Any]) -> dict[str, Any]:
        """Gymnasium's convention: beside each entry, which rows have it."""
        keys = tuple(values)
        if keys not in self._masks:
            self._masks[keys] = {f"_{key}": self._all for key in keys}
        return values | self._masks[keys]

    def _observe(self) -> np.ndarray:
        return self.simulation.observe().reshape(self.num_envs, -1)

    def _reward(self) -> np.ndarray:
        raise NotImplementedError

    def _info(self) -> dict[str, Any]:
        raise NotImplementedError

    def _totals(self) -> dict[str, Any]:
        return {}

    def _reset_info(self) -> dict[str, Any]:
        raise NotImplementedError


class SavedLockstepVectorEnv(LockstepVectorEnv):
    """The same, which can be saved and restored."""

    @property
    def _kept(self) -> Any:
        """What has ``save`` and ``restore``."""
        return self.simulation

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here: arrays and the states of the generators."""
        return {**self._kept.save(), "rng": [rng.bit_generator.state for rng in self._rngs]}

    def restore_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of an environment with other options, or damaged.
        """
        rngs = generators_of(saved, self.simulation.n)
        self._kept.restore(saved)
        self._rngs = rngs
