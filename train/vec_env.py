"""SB3 over the native batch: it has no adapter for Gymnasium's vector environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.params import Share
from flexgym.envs.feeder.vector_env import HouseRowsVectorEnv


class BatchedVecEnv(VecEnv):
    """A Gymnasium `VectorEnv` that resets in the same step, seen as an SB3 `VecEnv`.

    Where an episode ends, the row's info holds ``terminal_observation``,
    ``TimeLimit.truncated`` and ``episode`` (return ``r`` and length ``l``) as SB3's own
    wrappers would, and what the batch has beside its period as ``totals``; all other infos are
    empty. Rows may be several to an episode (houses of a feeder): options are then one a row, alike
    within an episode.

    Args:
        batch: The vector environment.

    Raises:
        ScenarioError: The batch does not reset in the same step.
    """

    def __init__(self, batch: VectorEnv) -> None:
        mode = batch.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ScenarioError(
                f"the batch resets with {mode}; expected AutoresetMode.SAME_STEP, which "
                "stable-baselines3 needs."
            )
        self.batch = batch
        self.last_info: dict[str, Any] = {}
        self._actions = np.empty(0)
        self._seed: int | None = None
        self._return = np.zeros(batch.num_envs)
        self._length = np.zeros(batch.num_envs, dtype=np.int64)
        self.render_mode = None
        super().__init__(batch.num_envs, batch.single_observation_space, batch.single_action_space)

    def reset(self) -> np.ndarray:
        """Begin new episodes; what `seed` and `set_options` have set serves once."""
        rows = [options for options in self._options if options]
        if rows and len(rows) < self.num_envs:
            raise ScenarioError(f"got options for {len(rows)} rows; expected all or none.")
        options = self._by_episode(rows) if rows else None
        observation, self.last_info = self.batch.reset(seed=self._seed, options=options)
        self._seed = None
        self._reset_options()
        self._return[:] = 0.0
        self._length[:] = 0
        return observation

    def _by_episode(self, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Options of the rows as those of the batch's episodes."""
        each = self.num_envs // getattr(self.batch, "episodes", self.num_envs)
        for i, row in enumerate(rows):
            if row != rows[i - i % each]:
                raise ScenarioError(
                    f"row {i} has the options {row} and row {i - i % each} of the same feeder "
                    f"{rows[i - i % each]}; expected one choice for all houses of a feeder."
                )
        return {key: [row[key] for row in rows[::each]] for key in rows[0]}

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Play the actions."""
        observation, reward, terminated, truncated, info = self.batch.step(self._actions)
        self.last_info = info
        self._return += reward
        self._length += 1
        done = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done.any():
            totals = info["final_info"].get("totals", {})
            for i in np.flatnonzero(done):
                infos[i] = {
                    "terminal_observation": info["final_obs"][i],
                    "TimeLimit.truncated": bool(truncated[i] and not terminated[i]),
                    "episode": {"r": float(self._return[i]), "l": int(self._length[i])},
                }
                if totals:
                    infos[i]["totals"] = {name: float(of[i]) for name, of in totals.items()}
            self._return[done] = 0.0
            self._length[done] = 0
        return observation, reward.astype(np.float32), done, infos

    def close(self) -> None:
        """Close the batch."""
        self.batch.close()

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed episode i with seed + i at the next reset; seeds by row."""
        self._seed = seed
        each = self.num_envs // getattr(self.batch, "episodes", self.num_envs)
        return [None if seed is None else seed + i // each for i in range(self.num_envs)]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The batch's attribute for each row: its entry where it has one a row."""
        value = getattr(self.batch, attr_name)
        by_row = isinstance(value, np.ndarray) and value.shape[:1] == (self.num_envs,)
        return [value[i] if by_row else value for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the batch."""
        setattr(self.batch, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the batch once, for all rows; its result stands for each."""
        if indices is not None:
            raise ScenarioError("the rows move in lockstep; expected indices=None.")
        result = getattr(self.batch, method_name)(*method_args, **method_kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        """Rows report their episodes as SB3's `Monitor` does and are otherwise bare."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]


class ShapedReward(VecEnvWrapper):
    """Potential-based reward shaping for houses, in training only.

    ``(idle cost - cost + terminal price * change of energy) * scale`` with the energy of the
    battery minus what the plugged-in car lacks; on a feeder ``grid`` times the house's share of the
    grid's cost is part of its cost. Subtracting what idling costs does not depend
    on the action, and the potential terminal price * energy telescopes to the terminal
    payment, for the car to nothing: over a day the shaped return differs from minus the bill
    by a constant of the episode, so with discount 1 the optimum stays the same.
    Source: Ng, Harada, Russell, ICML 1999.

    Args:
        venv: Batch of houses: `sb3_vec_env` of the house, or `sb3_house_rows`.
        scale: Factor on the reward.
        grid: Factor on the grid's cost; above 1, houses keep off its limits with a margin.
    """

    venv: BatchedVecEnv

    def __init__(self, venv: BatchedVecEnv, scale: float = 10.0, grid: float = 1.0) -> None:
        super().__init__(venv)
        self.scale, self.grid = positive(scale, "scale"), positive(grid, "grid")
        self._energy = np.empty(0)
        self._price = np.empty(0)

    def _begin(self) -> None:
        info = self.venv.last_info
        self._energy = info["soc_kwh"] - self.venv.get_attr("missing_kwh")
        self._price = np.array(info["terminal_eur_per_kwh"])

    def reset(self) -> np.ndarray:
        """Begin new episodes."""
        observation = self.venv.reset()
        assert isinstance(observation, np.ndarray)
        self._begin()
        return observation

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Play the actions and shape the reward."""
        observation, _, done, infos = self.venv.step_wait()
        info = self.venv.last_info
        happened = info.get("final_info", info)
        ended = done.all()
        energy = happened["soc_kwh"] - (0.0 if ended else self.venv.get_attr("missing_kwh"))
        saved = happened["idle_eur"] - (happened["cost_eur"] - happened["terminal_eur"])
        saved = saved - self.grid * happened.get("grid_eur", 0.0)
        reward = saved + self._price * (energy - self._energy)
        if ended:
            self._begin()
        else:
            self._energy = energy
        assert isinstance(observation, np.ndarray)
        return observation, (self.scale * reward).astype(np.float32), done, infos


def positive(value: Any, name: str) -> float:
    """A number above 0.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < 1e12:
        raise ValueError(f"{name} is {value!r}; expected a number > 0")
    return float(value)


def sb3_vec_env(
    env_id: str, num_envs: int, *, seed: int | None = None, **options: Any
) -> BatchedVecEnv:
    """SB3 `VecEnv` over the native batch of an environment.

    Args:
        env_id: Such as ``"flexgym/Household-v0"``.
        num_envs: Number of rows.
        seed: Row i is seeded seed + i.
        **options: For the environment.
    """
    import flexgym  # registers the environments  # noqa: F401

    batch = gym.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point", **options)
    env = BatchedVecEnv(batch)
    env.seed(seed)
    return env


def sb3_house_rows(
    feeders: int, *, share: Share = "common", seed: int | None = None, **options: Any
) -> BatchedVecEnv:
    """SB3 `VecEnv` in which each house of each feeder is a row: parameter sharing.

    Row ``i * H + h`` is house h of feeder i; its reward is minus its own cost and its share of
    the grid's cost.

    Args:
        feeders: Number of feeders.
        share: Who bears the grid's cost: ``"common"``, ``"local"`` or ``"marginal"``.
        seed: Feeder i is seeded seed + i.
        **options: As for `flexgym.envs.feeder.env.FeederEnv`.
    """
    env = BatchedVecEnv(HouseRowsVectorEnv(feeders, share, **options))
    env.seed(seed)
    return env
