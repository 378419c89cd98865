"""The operator of a feeder against truthful menus: PPO on a few single environments."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.household.params import STEPS_PER_DAY
from flexgym.train.task import (
    VALIDATION_SEED,
    Judgement,
    add_scenario_argument,
    scenario_option,
    world_options,
)

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from flexgym.evaluate.operator_play import OperatorDays
    from flexgym.policies.learned import Predictor
    from flexgym.policies.operator import OperatorPolicy


class OperatorTask:
    """``flexgym/Operator-v0``; see `Task`.

    Score 0 is every house's own choice, 100 the exact clearing of each period's menus. Houses
    plan and clear in every step, so there is no batch: a few environments take turns.
    """

    env_id = "flexgym/Operator-v0"
    algorithms = ("ppo",)
    env_kwargs = ("scenario", "control", "n_vertices", "most_eur_per_kwh", "uncertainty")
    frame = "feeder-quarter-hour"
    episode_steps = STEPS_PER_DAY
    episodes = 4

    def __init__(
        self, algorithm: str, parameters: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        self._n = int(parameters["n_envs"])
        self._kwargs = {"scenario": "stress", **world_options(parameters, options)}

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """See `Task`."""
        add_scenario_argument(parser, "calm, summer_midday, winter_evening, stress")

    options = staticmethod(scenario_option)

    def vec_env(self, seed: int) -> VecEnv:
        """See `Task`."""
        from stable_baselines3.common.monitor import Monitor
        from stable_baselines3.common.vec_env import DummyVecEnv

        from flexgym.envs.feeder.operator_env import FeederOperatorEnv

        def one() -> Monitor:
            return Monitor(FeederOperatorEnv(reference=False, **self._kwargs))

        env = DummyVecEnv([one for _ in range(self._n)])
        env.seed(seed)
        return env

    def policy_kwargs(self, env: VecEnv) -> dict[str, Any]:
        """See `Task`."""
        return {}

    def prepare(self, episodes: int, cache: Path | None, workers: int) -> None:
        """See `Task`."""
        from flexgym.policies.operator import ExactClearing, OwnChoices

        self._days = episodes
        self._zero = self._play(OwnChoices())
        # The dispatch that prices are to bring about is the reference of both controls.
        self._best = self._play(ExactClearing())

    def _play(self, policy: OperatorPolicy) -> OperatorDays:
        from flexgym.evaluate.operator_play import play_operator

        options = {**self._kwargs, "split": "validation"}
        return play_operator(policy, self._days, VALIDATION_SEED, options)

    def _learned(self, model: Predictor) -> OperatorDays:
        from flexgym.policies.operator import LearnedOperator

        return self._play(LearnedOperator(model, "learning", self._kwargs))

    def judge(self, model: Predictor) -> Judgement:
        """See `Task`."""
        from flexgym.evaluate.score import score

        played = self._learned(model)
        cost, best = played.cost_eur, self._best.cost_eur
        return Judgement(
            score(cost, self._zero.cost_eur, best),
            float(cost.mean()),
            float((cost - best).mean()),
            float(played.days.total("violation_h").mean()),
            {name: float(values.mean()) for name, values in played.terms.items()},
        )

    def picture(self, model: Predictor, path: Path) -> None:
        """See `Task`."""
        from flexgym.envs.feeder.scenario import FeederScenario
        from flexgym.evaluate.feeder_pictures import power_picture
        from flexgym.evaluate.feeder_sample import FeederDays

        known = {k: v for k, v in self._kwargs.items() if k in ("scenario", "uncertainty")}
        scenario = FeederScenario.create(split="validation", **known)
        nothing = np.zeros(self._days, dtype=np.int64)
        days = FeederDays(scenario, nothing, nothing, VALIDATION_SEED)
        played = (self._zero, self._learned(model), self._best)
        power_picture(path, days, [one.days for one in played])
