"""Two aggregators who compete for buses learn together, judged against the exact equilibrium."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexgym.train.task import (
    VALIDATION_SEED,
    Judgement,
    add_scenario_argument,
    scenario_option,
    world_options,
)

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from flexgym.evaluate.competition import Earnings
    from flexgym.policies.competition import CompetitionPolicy
    from flexgym.policies.learned import Predictor


class CompetitionTask:
    """``bus_competition_v0.parallel_env(repeated=True)``: both share one policy; see `Task`.

    What a policy costs is its exploitability: what the exact best response to it gains over playing
    it too. Score 0 is that of standing still, 100 is none, an equilibrium. Nothing is sampled;
    episodes are where games begin.
    """

    env_id = "flexgym/bus-competition-v0"
    algorithms = ("ppo",)
    env_kwargs = ("scenario",)
    frame = "aggregator-day"
    episode_steps = 30
    episodes = 1024

    def __init__(
        self, algorithm: str, parameters: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        from flexgym.envs.aggregator_market.duopoly_games import scenario
        from flexgym.evaluate.benchmark.arenas.competition import SCENARIO

        self._n = int(parameters["n_envs"])
        self.game = scenario(world_options(parameters, options).get("scenario", SCENARIO))

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """See `Task`."""
        add_scenario_argument(parser, "herding or loose")

    options = staticmethod(scenario_option)

    def vec_env(self, seed: int) -> VecEnv:
        """See `Task`. Games begin anywhere, so that no state stays unknown."""
        from flexgym.envs.aggregator_market.duopoly_games import DuopolyRowsVectorEnv
        from flexgym.train.vec_env import BatchedVecEnv

        env = BatchedVecEnv(DuopolyRowsVectorEnv(self._n, game=self.game, start="random"))
        env.seed(seed)
        return env

    def policy_kwargs(self, env: VecEnv) -> dict[str, Any]:
        """See `Task`."""
        return {}

    def prepare(self, episodes: int, cache: Path | None, workers: int) -> None:
        """See `Task`."""
        from flexgym.evaluate.competition import places, reference
        from flexgym.policies.competition import Equilibrium, StandStill

        self._reference = reference(self.game)
        self._places = places(self.game, episodes, VALIDATION_SEED)
        self._zero, self._best = (self._play(one) for one in (StandStill(), Equilibrium()))

    def _play(self, policy: CompetitionPolicy) -> Earnings:
        from flexgym.evaluate.competition import earnings
        from flexgym.policies.competition import strategy

        return earnings(self._reference, strategy(policy, self.game), self._places)

    def judge(self, model: Predictor) -> Judgement:
        """See `Task`."""
        from flexgym.evaluate.score import score
        from flexgym.policies.learned_competition import LearnedCompetitor

        played = self._play(LearnedCompetitor(model, "learning"))
        cost, zero, best = (one.exploitability_eur for one in (played, self._zero, self._best))
        return Judgement(
            score(cost, zero, best),
            float(cost.mean()),
            float((cost - best).mean()),
            terms={name: float(values.mean()) for name, values in played.terms.items()},
        )

    def picture(self, model: Predictor, path: Path) -> None:
        """See `Task`."""
        from matplotlib.image import imsave

        from flexgym.envs.aggregator_market.duopoly_render import render_strategies
        from flexgym.policies.competition import strategy
        from flexgym.policies.learned_competition import LearnedCompetitor

        learned = strategy(LearnedCompetitor(model, "learning"), self.game)
        shown = {"learned": learned, "equilibrium": self._reference.choice}
        imsave(path, render_strategies(self.game, shown))
