"""When an appliance runs: PPO on the batch of appliances, judged against the exact optimum."""

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

    from flexgym.envs.appliance.scenario import ApplianceScenario
    from flexgym.evaluate.appliance_play import ApplianceDays
    from flexgym.policies.appliance import AppliancePolicy
    from flexgym.policies.learned import Predictor


class ApplianceTask:
    """``flexgym/Appliance-v0`` with jobs of one kind or both; see `Task`.

    Score 0 starts at once and runs through, 100 is the exact optimum.
    """

    env_id = "flexgym/Appliance-v0"
    algorithms = ("ppo",)
    env_kwargs = ("scenario", "uncertainty", "noise_sd_eur_per_kwh")
    frame = "appliance-hour"
    episode_steps = 24
    episodes = 8192

    def __init__(
        self, algorithm: str, parameters: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        self._n = int(parameters["n_envs"])
        self._world = world_options(parameters, options)
        self._world["kind"] = self._world.pop("scenario", "mixed")

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """See `Task`."""
        add_scenario_argument(parser, "interruptible, uninterruptible or mixed")

    options = staticmethod(scenario_option)

    def scenario(self, split: str) -> ApplianceScenario:
        """Days of a split with the jobs.

        Raises:
            ScenarioError: Unknown kind of job, or an option out of range.
        """
        from flexgym.envs.appliance.scenario import KINDS, ApplianceScenario

        kind = self._world["kind"]
        if kind not in KINDS:
            raise ScenarioError(f"scenario is {kind!r}; expected one of {', '.join(KINDS)}.")
        return ApplianceScenario.create(split=split, **self._world)

    def vec_env(self, seed: int) -> VecEnv:
        """See `Task`."""
        from flexgym.train.vec_env import sb3_vec_env

        self.scenario("train")
        return sb3_vec_env(self.env_id, self._n, seed=seed, **self._world)

    def policy_kwargs(self, env: VecEnv) -> dict[str, Any]:
        """See `Task`."""
        return {}

    def prepare(self, episodes: int, cache: Path | None, workers: int) -> None:
        """See `Task`."""
        from flexgym.evaluate.appliance_play import draw_days
        from flexgym.policies.appliance import Normal, Optimal

        self._validation = self.scenario("validation")
        self._days = draw_days(self._validation, episodes, VALIDATION_SEED)
        self._zero, self._best = (self._play(one) for one in (Normal(), Optimal()))

    def _play(self, policy: AppliancePolicy) -> ApplianceDays:
        from flexgym.evaluate.appliance_play import play_days

        return play_days(policy, self._validation, self._days)

    def judge(self, model: Predictor) -> Judgement:
        """See `Task`."""
        from flexgym.evaluate.score import score
        from flexgym.policies.learned_appliance import LearnedAppliance

        played = self._play(LearnedAppliance(model, "learning"))
        cost, best = played.cost_eur, self._best.cost_eur
        terms = {
            "paid_eur_per_kwh": float(cost.sum() / played.power_kw.sum()),
            "forced_share": float(played.forced.mean()),
        }
        gap = float((cost - best).mean())
        return Judgement(
            score(cost, self._zero.cost_eur, best), float(cost.mean()), gap, terms=terms
        )

    def picture(self, model: Predictor, path: Path) -> None:
        """See `Task`."""
        from matplotlib.image import imsave

        from flexgym.envs.appliance.render import render_day
        from flexgym.envs.appliance.simulation import ApplianceSimulation
        from flexgym.policies.learned_appliance import LearnedAppliance

        i = int(np.argmax(self._zero.cost_eur - self._best.cost_eur))
        simulation = ApplianceSimulation(self._validation, 1)
        simulation.start(self._days.take(slice(i, i + 1)))
        policy, hours = LearnedAppliance(model, "learning"), []
        policy.begin(simulation)
        while not simulation.done:
            hours.append(simulation.step(policy.act(simulation))[0])
        imsave(path, render_day(simulation, np.array(hours)))
