"""Participants of the local market: one among truthful others, or all with one policy."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.train.task import (
    VALIDATION_SEED,
    Judgement,
    add_scenario_argument,
    scenario_option,
    world_options,
)

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from flexgym.envs.household.params import Floats
    from flexgym.envs.local_market.scenario import LocalMarketScenario
    from flexgym.evaluate.local_market_play import LocalDays
    from flexgym.policies.learned import Predictor
    from flexgym.policies.local_market import LocalMarketPolicy


class LocalMarketTask:
    """``flexgym.envs.local_market_v0``; see `Task`.

    ``learner-RULE``: one participant learns among truthful others; score 100 is its best response,
    which knows what they post. ``welfare``: all learn, each for itself, by the uniform price; score
    100 is the best trade. Score 0 leaves everything to the utility.
    """

    env_id = "flexgym/local-market-v0"
    algorithms = ("ppo",)
    env_kwargs = ("scenario", "participants")
    frame = "participant-hour"
    episode_steps = 24
    episodes = 128

    def __init__(
        self, algorithm: str, parameters: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        from flexgym.evaluate.benchmark.arenas.local_market import ALONE, game_of
        from flexgym.evaluate.local_market import PARTICIPANTS

        self._n = int(parameters["n_envs"])
        world = world_options(parameters, options)
        self._participants = world.get("participants", PARTICIPANTS)
        self._alone, self._rule = game_of(world.get("scenario", f"{ALONE}uniform"))

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """See `Task`."""
        from flexgym.evaluate.benchmark.arenas.local_market import SCENARIOS

        add_scenario_argument(parser, ", ".join(SCENARIOS))

    options = staticmethod(scenario_option)

    def _scenario(self, split: str) -> LocalMarketScenario:
        from flexgym.envs.local_market.scenario import LocalMarketScenario

        return LocalMarketScenario.create(self._participants, split)

    def vec_env(self, seed: int) -> VecEnv:
        """See `Task`."""
        from flexgym.envs.local_market.vector_env import ParticipantRowsVectorEnv
        from flexgym.train.vec_env import BatchedVecEnv

        batch = ParticipantRowsVectorEnv(
            self._n, scenario=self._scenario("train"), rule=self._rule,
            learners=1 if self._alone else None,
        )  # fmt: skip
        env = BatchedVecEnv(batch)
        env.seed(seed)
        return env

    def policy_kwargs(self, env: VecEnv) -> dict[str, Any]:
        """See `Task`."""
        return {}

    def prepare(self, episodes: int, cache: Path | None, workers: int) -> None:
        """See `Task`."""
        from flexgym.evaluate.local_market_play import best_response, best_welfare
        from flexgym.policies.local_market import UtilityOnly

        self._validation, self._days = self._scenario("validation"), episodes
        self._zero = self._cost(self._play(UtilityOnly()))
        if self._alone:
            best = best_response(self._validation, self._rule, episodes, VALIDATION_SEED)
            self._best = self._cost(best)
        else:
            self._best = self._zero - best_welfare(self._validation, episodes, VALIDATION_SEED)

    def _play(self, policy: LocalMarketPolicy) -> LocalDays:
        from flexgym.evaluate.local_market_play import play

        return play(
            policy, self._validation, self._rule, self._days, VALIDATION_SEED, alone=self._alone
        )

    def _cost(self, days: LocalDays) -> Floats:
        """Minus what the learners earned in each day, shape (m,), EUR."""
        return -self._learners(days.reward_eur)

    def _learners(self, values: Floats) -> Floats:
        """What learners have of values of shape (m, n), together, shape (m,)."""
        from flexgym.evaluate.local_market_play import LEARNER

        return values[:, LEARNER] if self._alone else values.sum(axis=1)

    def judge(self, model: Predictor) -> Judgement:
        """See `Task`."""
        from flexgym.evaluate.score import score
        from flexgym.policies.local_market import LearnedOrders

        days = self._play(LearnedOrders(model, "learning"))
        cost = self._cost(days)
        terms = {name: float(self._learners(x).mean()) for name, x in days.totals.items()}
        return Judgement(
            score(cost, self._zero, self._best),
            float(cost.mean()),
            float((cost - self._best).mean()),
            terms=terms,
        )

    def picture(self, model: Predictor, path: Path) -> None:
        """See `Task`: the order book of the hour in which most is traded."""
        from matplotlib.image import imsave

        from flexgym.envs.local_market.render import render_book
        from flexgym.evaluate.local_market_play import LEARNER, begun
        from flexgym.policies.local_market import LearnedOrders

        market = begun(self._validation, self._rule, 1, VALIDATION_SEED)
        policy, drawn, most = LearnedOrders(model, "learning"), render_book(market), 0.0
        policy.begin(market)
        while not market.done:
            price, share = policy.orders(market)
            if self._alone:
                own = np.arange(market.participants) == LEARNER
                price = np.where(own, price, market.hour.limit)
                share = np.where(own, share, 1.0)
            market.post(price, share)
            traded = float(np.abs(market.clearing.traded_kwh[0]).sum())
            if traded > most:
                most, drawn = traded, render_book(market)
        imsave(path, drawn)
