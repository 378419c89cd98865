"""The native batch behind ``gym.make_vec("flexgym/Feeder-v0")``, and its houses as rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.env import simulation_of, spaces
from flexgym.envs.feeder.params import SHARES, Share
from flexgym.envs.household.dynamics import OUTCOME_NAMES


class _Batch(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Feeders in lockstep; what a row is, subclasses say.

    All episodes end together; the batch then resets in the same step and reports the last
    observation and info as ``final_obs`` and ``final_info``.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": [],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self, feeders: int, rows: int, options: dict[str, Any], render_mode: str | None, **keep: Any
    ) -> None:
        if feeders < 1 or render_mode is not None:
            raise ScenarioError(
                f"the number of feeders is {feeders} and render_mode {render_mode!r}; expected "
                ">= 1 and None. Render a single environment."
            )
        self.simulation = simulation_of(feeders, options, **keep)
        houses = self.simulation.scenario.n_houses
        self.num_envs = feeders * (houses if rows else 1)
        self.observation_names = self.simulation.observation_names
        self.single_observation_space, self.single_action_space = spaces(
            self.simulation, 1 if rows else houses
        )
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._rngs: list[np.random.Generator] = []
        self._all = np.ones(self.num_envs, dtype=bool)
        self._all.setflags(write=False)  # handed out as the mask of every entry of info
        self._none = np.zeros(self.num_envs, dtype=bool)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw new episodes; seeds and options count feeders."""
        feeders = self.simulation.n
        if seed is None:
            seeds: list[int | None] = [None] * feeders
        elif isinstance(seed, int | np.integer):
            seeds = [int(seed) + i for i in range(feeders)]
        else:
            seeds = list(seed)
        if len(seeds) != feeders:
            raise ScenarioError(f"got {len(seeds)} seeds; expected one number or {feeders}.")
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
        """Play one period; see `FeederSimulation.step` for errors."""
        simulation, played = self.simulation, np.asarray(actions)
        if played.shape != self.action_space.shape:
            raise ActionError(
                f"actions have shape {played.shape}; expected {self.action_space.shape}."
            )
        simulation.step(played.reshape(simulation.n, -1))
        reward, info = self._reward(), self._masked(self._info())
        if not simulation.done:
            return self._observe(), reward, self._none.copy(), self._none.copy(), info
        final = {"final_obs": self._observe(), "final_info": info | self._masked(self._totals())}
        simulation.begin(self._rngs)
        info = self._masked(self._reset_info()) | self._masked(final)
        return self._observe(), reward, self._all.copy(), self._none.copy(), info

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here: arrays and the states of the generators."""
        return {**self.simulation.save(), "rng": [r.bit_generator.state for r in self._rngs]}

    def restore_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of an environment with other options.
        """
        self.simulation.restore(saved)
        self._rngs = [np.random.Generator(np.random.PCG64()) for _ in saved["rng"]]
        for rng, state in zip(self._rngs, saved["rng"], strict=True):
            rng.bit_generator.state = state

    def _masked(self, values: dict[str, Any]) -> dict[str, Any]:
        """Gymnasium's convention: beside each entry, which rows have it."""
        return values | {f"_{key}": self._all for key in values}

    def _observe(self) -> np.ndarray:
        return self.simulation.observe().reshape(self.num_envs, -1)

    def _reward(self) -> np.ndarray:
        raise NotImplementedError

    def _info(self) -> dict[str, Any]:
        raise NotImplementedError

    def _totals(self) -> dict[str, Any]:
        raise NotImplementedError

    def _reset_info(self) -> dict[str, Any]:
        raise NotImplementedError


class FeederVectorEnv(_Batch):
    """Feeders side by side; row i seeded s plays what the single environment seeded s + i plays.

    Args:
        num_envs: Number of feeders.
        render_mode: Must be None.
        **options: As for `FeederEnv`.
    """

    def __init__(self, num_envs: int = 1, render_mode: str | None = None, **options: Any) -> None:
        super().__init__(num_envs, 0, options, render_mode)

    def _reward(self) -> np.ndarray:
        return -self.simulation.cost_eur

    def _info(self) -> dict[str, Any]:
        return dict(zip(FEEDER_NAMES, self.simulation.period.T, strict=True))

    def _totals(self) -> dict[str, Any]:
        return {"totals": dict(zip(FEEDER_NAMES, self.simulation.episode.copy().T, strict=True))}

    def _reset_info(self) -> dict[str, Any]:
        return {"draw": self.simulation.draw.copy(), "day": self.simulation.day.copy()}


class HouseRowsVectorEnv(_Batch):
    """Each house of each feeder is a row, for one policy that all share.

    Row ``i * H + h`` is house h of feeder i. Its reward is minus its own cost and minus its
    share of the grid's cost; ``info`` holds what happened in the house by `OUTCOME_NAMES`,
    and ``grid_eur``, its share.

    Args:
        feeders: Number of feeders.
        share: Who bears the grid's cost: ``"common"``, ``"local"`` or ``"marginal"``.
        render_mode: Must be None.
        **options: As for `FeederEnv`.
    """

    def __init__(
        self,
        feeders: int = 1,
        share: Share = "common",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if share not in SHARES:
            raise ScenarioError(f"share is {share!r}; expected one of {', '.join(SHARES)}.")
        super().__init__(feeders, 1, options, render_mode, share=share, detail=True)

    def _reward(self) -> np.ndarray:
        return self.simulation.reward_eur.reshape(-1)

    def _info(self) -> dict[str, Any]:
        outcome = self.simulation.outcome.reshape(self.num_envs, -1)
        happened = dict(zip(OUTCOME_NAMES, outcome.T, strict=True))
        return happened | {"grid_eur": self.simulation.grid_eur.reshape(-1)}

    def _totals(self) -> dict[str, Any]:
        return {"totals": self.simulation.episode.repeat(self.simulation.scenario.n_houses, 0)}

    def _reset_info(self) -> dict[str, Any]:
        simulation, houses = self.simulation, self.simulation.scenario.n_houses
        return {
            "draw": simulation.draw.repeat(houses),
            "day": simulation.day.repeat(houses),
            "soc_kwh": simulation.soc_kwh.reshape(-1),
            "terminal_eur_per_kwh": simulation.terminal_eur_per_kwh.reshape(-1),
        }

    @property
    def terminal_eur_per_kwh(self) -> np.ndarray:
        """Pay for energy left at the end, shape (num_envs,), EUR/kWh."""
        return self.simulation.terminal_eur_per_kwh.reshape(-1)

    @property
    def missing_kwh(self) -> np.ndarray:
        """Energy the plugged-in cars lack, shape (num_envs,), kWh."""
        return self.simulation.missing_kwh.reshape(-1)
