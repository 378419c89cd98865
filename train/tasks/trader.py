"""Forwards, options or spot: PPO on the batch of traders, judged against the dynamic program."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.errors import ScenarioError
from flexgym.train.task import (
    VALIDATION_SEED,
    Judgement,
    add_scenario_argument,
    scenario_option,
    world_options,
)

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from flexgym.evaluate.trader import TraderCosts
    from flexgym.policies.learned import Predictor
    from flexgym.policies.trader import TraderPolicy


class TraderTask:
    """``flexgym/Trader-v0``; see `Task`. Score 0 is everything at spot, 100 the program."""

    env_id = "flexgym/Trader-v0"
    algorithms = ("ppo",)
    env_kwargs = ("scenario",)
    frame = "trader-hour"
    episode_steps = 18
    episodes = 8192

    def __init__(
        self, algorithm: str, parameters: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        from flexgym.evaluate.benchmark.arenas.trader import SCENARIO

        self._n = int(parameters["n_envs"])
        name = world_options(parameters, options).get("scenario", SCENARIO)
        if name != SCENARIO:
            raise ScenarioError(f"scenario is {name!r}; expected {SCENARIO}.")

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """See `Task`."""
        add_scenario_argument(parser, "evening")

    options = staticmethod(scenario_option)

    def vec_env(self, seed: int) -> VecEnv:
        """See `Task`."""
        from flexgym.train.vec_env import sb3_vec_env

        return sb3_vec_env(self.env_id, self._n, seed=seed)

    def policy_kwargs(self, env: VecEnv) -> dict[str, Any]:
        """See `Task`."""
        return {}

    def prepare(self, episodes: int, cache: Path | None, workers: int) -> None:
        """See `Task`."""
        from flexgym.envs.trader.scenario import TraderScenario
        from flexgym.policies.trader import OptimalTrader, SpotOnly

        self._scenario, self._n_days = TraderScenario.create(split="validation"), episodes
        self._zero, self._best = (self._play(one) for one in (SpotOnly(), OptimalTrader()))

    def _play(self, policy: TraderPolicy) -> TraderCosts:
        from flexgym.evaluate.trader import play_trader

        return play_trader(policy, self._scenario, self._n_days, VALIDATION_SEED)

    def judge(self, model: Predictor) -> Judgement:
        """See `Task`."""
        from flexgym.evaluate.score import score
        from flexgym.policies.learned_trader import LearnedTrader

        played = self._play(LearnedTrader(model, "learning"))
        cost, best = played.cost_eur, self._best.cost_eur
        gap = float((cost - best).mean())
        return Judgement(
            score(cost, self._zero.cost_eur, best), float(cost.mean()), gap, terms=played.means
        )

    def picture(self, model: Predictor, path: Path) -> None:
        """See `Task`."""
        from gymnasium.utils import seeding
        from matplotlib.image import imsave

        from flexgym.envs.trader.render import render_day
        from flexgym.envs.trader.simulation import TraderSimulation
        from flexgym.policies.learned_trader import LearnedTrader

        i = int(np.argmax(self._zero.cost_eur - self._best.cost_eur))
        simulation = TraderSimulation(self._scenario, 1)
        simulation.begin([seeding.np_random(VALIDATION_SEED + i)[0]])
        policy, hours = LearnedTrader(model, "learning"), []
        policy.begin(simulation)
        while not simulation.done:
            hours.append(simulation.step(policy.act(simulation))[0])
        imsave(path, render_day(simulation, np.array(hours)))
