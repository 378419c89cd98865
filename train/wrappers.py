"""Wrappers of batches: rewards in other units, rows that carry more, a stopwatch."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from flexgym.envs.aggregator_market.play import MarketPlay
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.lanes import PER_KWH, SOC, V_PU
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.train.vec_env import BatchedVecEnv, positive


class ScaledReward(VecEnvWrapper):
    """Rewards in another unit: critics learn best where returns are near 1.

    Args:
        venv: The batch.
        scale: Factor on the reward.
    """

    def __init__(self, venv: VecEnv, scale: float) -> None:
        super().__init__(venv)
        self.scale = positive(scale, "scale")

    def reset(self) -> Any:
        """Begin new episodes."""
        return self.venv.reset()

    def step_wait(self) -> Any:
        """Play the actions and scale the reward; ``episode`` in infos stays as it was."""
        observation, reward, done, infos = self.venv.step_wait()
        return observation, self.scale * reward, done, infos


class OwedEnergy(VecEnvWrapper):
    """Potential-based reward shaping for the market, in training only.

    ``(reward - price * change of the energy owed) * scale``: who drops load owes it, and learns at
    once what giving it back will cost. At a day's end nothing is owed any more, so the shaped
    return is the return times ``scale``, and with discount 1 the optimum stays the same.
    Source: Ng, Harada, Russell, ICML 1999; the price is near the dual of program (31).

    Args:
        venv: Rows of a role of the market.
        price_eur_per_mwh: What owed energy is worth, EUR/MWh.
        scale: Factor on the reward.
    """

    venv: BatchedVecEnv

    def __init__(
        self, venv: BatchedVecEnv, price_eur_per_mwh: float = 33.0, scale: float = 1.0
    ) -> None:
        super().__init__(venv)
        play: MarketPlay = venv.get_attr("simulation")[0]
        self._price = positive(price_eur_per_mwh, "price_eur_per_mwh")
        self._play, self._scale = play, positive(scale, "scale")
        scenario = play.market.scenario
        share = scenario.flexible / scenario.customers.sum()
        of_groups = np.array([group.share for group in scenario.groups])
        shares = {"buses": share[play.seats.active], "aggregators": of_groups}
        # Percent of the scheduled load over hours, as energy.
        self._mwh = 1e-5 * scenario.day.load_kw * shares.get(play.role, of_groups)
        self._before = np.zeros(venv.num_envs)

    def _owed_mwh(self) -> np.ndarray:
        market, role = self._play.market, self._play.role
        percent = market.owed_percent
        if role == "buses":
            percent = market.bus_owed_percent[:, self._play.seats.active]
        owed = percent * self._mwh
        return owed.sum(axis=1) if role == "dso" else owed.ravel()

    def reset(self) -> np.ndarray:
        """Begin new episodes."""
        observation = self.venv.reset()
        assert isinstance(observation, np.ndarray)
        self._before = self._owed_mwh()
        return observation

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Play the actions and shape the reward; ``episode`` in infos stays as it was."""
        observation, reward, done, infos = self.venv.step_wait()
        assert isinstance(observation, np.ndarray)
        owed = self._owed_mwh()  # 0 in the day that has just begun
        shaped = self._scale * (reward - self._price * (owed - self._before))
        self._before = owed
        return observation, shaped.astype(np.float32), done, infos


class HouseView(VecEnvWrapper):
    """Rows of houses that carry more than their house sees, for networks that need it.

    Args:
        venv: From `sb3_house_rows`.
        view: ``"numbered"``: the last entry is the house's number, for networks of their own.
            ``"feeder"``: state of charge, energy missing in the car (10 kWh) and voltage (0.05 pu
            from 1) of every house of the feeder follow, for a central critic.

    Raises:
        ScenarioError: Unknown view.
    """

    venv: BatchedVecEnv

    def __init__(self, venv: BatchedVecEnv, view: str) -> None:
        if view not in ("numbered", "feeder"):
            raise ScenarioError(f"view is {view!r}; expected 'numbered' or 'feeder'.")
        self.view = view
        self._feeder: FeederSimulation = venv.batch.simulation  # type: ignore[attr-defined]
        self._houses = self._feeder.scenario.n_houses
        (own,) = venv.observation_space.shape or (0,)
        wide = own + (1 if view == "numbered" else 3 * self._houses)
        most = float(max(self._houses, venv.observation_space.high.max()))  # type: ignore[attr-defined]
        space = gym.spaces.Box(-most, most, (wide,), np.float32)
        super().__init__(venv, observation_space=space)

    def reset(self) -> np.ndarray:
        """Begin new episodes."""
        observation = self.venv.reset()
        assert isinstance(observation, np.ndarray)
        return self._with(observation)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Play the actions."""
        observation, reward, done, infos = self.venv.step_wait()
        assert isinstance(observation, np.ndarray)
        for i in np.flatnonzero(done):
            # The day is over: what else there was to see no longer counts.
            last = infos[i]["terminal_observation"]
            beside = np.zeros(self.observation_space.shape[0] - len(last), np.float32)  # type: ignore[index]
            infos[i]["terminal_observation"] = np.concatenate([last, beside])
        return self._with(observation), reward, done, infos

    def _with(self, own: np.ndarray) -> np.ndarray:
        feeder, houses = self._feeder, self._houses
        if self.view == "numbered":
            beside = np.tile(np.arange(houses, dtype=np.float32), feeder.n)[:, None]
        else:
            soc, per_kwh, voltage = feeder.of_houses(SOC, PER_KWH, V_PU)
            of_feeder = (soc * per_kwh, 0.1 * feeder.missing_kwh, 20.0 * (voltage - 1.0))
            beside = np.concatenate(of_feeder, axis=1).astype(np.float32).repeat(houses, axis=0)
        return np.concatenate([own, beside], axis=1)


class Stopwatch(VecEnvWrapper):
    """Measures how long the batch takes, to tell the learner's time from the environment's.

    Args:
        venv: The batch, with all its wrappers.

    Attributes:
        seconds: Spent in steps and resets so far.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.seconds = 0.0

    def reset(self) -> Any:
        """Begin new episodes."""
        started = perf_counter()
        seen = self.venv.reset()
        self.seconds += perf_counter() - started
        return seen

    def step_wait(self) -> Any:
        """Play the actions."""
        started = perf_counter()
        found = self.venv.step_wait()
        self.seconds += perf_counter() - started
        return found
