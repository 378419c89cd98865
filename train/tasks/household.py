"""One house: PPO and SAC on the batch of houses, judged against the exact optimum."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.household.params import STEPS_PER_DAY
from flexgym.train.task import VALIDATION_SEED, Judgement

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from flexgym.policies.learned import Predictor


class HouseholdTask:
    """``flexgym/Household-v0`` on days and houses of the training split; see `Task`."""

    env_id = "flexgym/Household-v0"
    algorithms = ("ppo", "sac")
    env_kwargs = (
        *("observation", "action_map", "curtailment", "uncertainty", "initial_soc", "car"),
    )
    frame = "house-quarter-hour"
    episode_steps = STEPS_PER_DAY
    episodes = 192

    def __init__(
        self, algorithm: str, parameters: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        from flexgym.envs.data import load_prices, load_sessions

        self._n = int(parameters["n_envs"])
        self._kwargs = dict(parameters.get("env_kwargs") or {})
        if options.get("car") is not None:
            self._kwargs["car"] = options["car"]
        prices, sessions = options.get("prices"), options.get("sessions")
        self._data = {
            "prices": load_prices(prices) if prices else None,
            "sessions": load_sessions(sessions) if sessions else None,
        }

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """See `Task`."""
        parser.add_argument("--no-car", action="store_true", help="houses without their cars")
        parser.add_argument("--prices", type=Path, help="CSV with your own prices")
        parser.add_argument("--sessions", type=Path, help="CSV with your own car sessions")

    @staticmethod
    def options(arguments: argparse.Namespace) -> dict[str, Any]:
        """See `Task`."""
        files = {"prices": arguments.prices, "sessions": arguments.sessions}
        own = {name: str(path.resolve()) if path else None for name, path in files.items()}
        return {"car": False if arguments.no_car else None, **own}

    def vec_env(self, seed: int) -> VecEnv:
        """See `Task`."""
        from flexgym.train.vec_env import sb3_vec_env

        return sb3_vec_env(self.env_id, self._n, seed=seed, **self._data, **self._kwargs)

    def policy_kwargs(self, env: VecEnv) -> dict[str, Any]:
        """See `Task`."""
        return {}

    def prepare(self, episodes: int, cache: Path | None, workers: int) -> None:
        """See `Task`."""
        from flexgym.envs.household.scenario import HouseholdScenario
        from flexgym.evaluate.rollout import HouseDays
        from flexgym.policies.learned import SETTINGS
        from flexgym.train.validation import Validation

        world = {key: value for key, value in self._kwargs.items() if key not in SETTINGS}
        scenario = HouseholdScenario.create(**world, split="validation", **self._data)
        house_days = HouseDays.sample(scenario, episodes, VALIDATION_SEED)
        self._validation = Validation.prepare(house_days, cache, workers)

    def judge(self, model: Predictor) -> Judgement:
        """See `Task`."""
        from flexgym.evaluate.rollout import rollout
        from flexgym.policies.learned import Learned

        validation = self._validation
        costs = rollout(Learned(model, "learning", self._kwargs), validation.house_days)
        mean = float(costs.cost_eur.mean())
        return Judgement(
            validation.score(costs),
            mean,
            mean - float(validation.optimal.cost_eur.mean()),
            terms={name: float(np.mean(values)) for name, values in costs.terms.items()},
        )

    def picture(self, model: Predictor, path: Path) -> None:
        """See `Task`."""
        from matplotlib.image import imsave

        from flexgym.envs.household.render import render_day
        from flexgym.evaluate.household_pictures import telling_day
        from flexgym.evaluate.rollout import trace
        from flexgym.policies.learned import Learned

        policy = Learned(model, "learning", self._kwargs)
        days = self._validation.house_days
        simulation, outcomes = trace(policy, days, telling_day(days))
        imsave(path, render_day(simulation.forecast_series(), simulation.house(), outcomes))
