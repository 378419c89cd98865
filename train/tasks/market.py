"""Levels of the 33-bus market: aggregators, the DSO, buses, each judged against its program."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

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

    from flexgym.envs.aggregator_market.roles import Role
    from flexgym.evaluate.market_play import MarketDays
    from flexgym.policies.learned import Predictor

TERMS = ("welfare_eur", "customers_eur", "directive_eur", "settlement_eur", "dropped_mwh")


class MarketTask:
    """A role of the market that learns while the others are silent; see `Task`.

    Agents of a role share one policy, each a row. Score 0 is no trade (for the DSO no
    directive), 100 what the exact tables earn on the same days; on the lattice these are the best
    known policy only.
    """

    role: ClassVar[Role]
    env_id: ClassVar[str]
    algorithms = ("ppo",)
    env_kwargs = ("scenario", "temperature", "coupling", "voltage_eur_per_pu_h")
    frame = "agent-hour"
    episode_steps = 24
    episodes = 2048

    def __init__(
        self, algorithm: str, parameters: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        from flexgym.envs.aggregator_market.scenario import MarketScenario

        self._n = int(parameters["n_envs"])
        self.scenario = MarketScenario.create(**world_options(parameters, options))
        # Nobody sees voltages: without a price on them the power flow only takes time.
        self._flow = bool(self.scenario.voltage_eur_per_pu_h)

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """See `Task`."""
        add_scenario_argument(parser, "ordered, loose, free, three or lattice")

    options = staticmethod(scenario_option)

    def vec_env(self, seed: int) -> VecEnv:
        """See `Task`."""
        from flexgym.envs.aggregator_market.vector_env import MarketRowsVectorEnv
        from flexgym.train.vec_env import BatchedVecEnv

        batch = MarketRowsVectorEnv(
            self._n, self.role, scenario=self.scenario, power_flow=self._flow
        )
        env = BatchedVecEnv(batch)
        env.seed(seed)
        return env

    def policy_kwargs(self, env: VecEnv) -> dict[str, Any]:
        """See `Task`."""
        return {}

    def prepare(self, episodes: int, cache: Path | None, workers: int) -> None:
        """See `Task`."""
        from flexgym.policies.market_buses import Told
        from flexgym.policies.market_rules import Directing, Exact

        if episodes < 2:
            raise ScenarioError(f"validation is {episodes}; expected at least 2 days.")
        self._days = episodes
        exact = Told("social") if self.role == "buses" else Exact(self.role, cache)
        self._best = self._earned(self._played(exact))
        self._zero = np.zeros_like(self._best)
        if self.role == "dso":
            self._zero = self._earned(self._played(Directing("uncontrolled", lambda market: 0.0)))

    def judge(self, model: Predictor) -> Judgement:
        """See `Task`."""
        from flexgym.evaluate.score import paired_score
        from flexgym.policies.learned_market import LearnedMarket

        played = self._played(LearnedMarket(model, self.role, "learning"))
        earned = self._earned(played)
        of_agents = played.earned_eur.mean(axis=0)
        several = {
            f"earned_{k + 1}_eur": float(value) for k, value in enumerate(of_agents)
        }  # fmt: skip
        return Judgement(
            paired_score(earned, self._zero, self._best).mean,
            -float(earned.mean()),
            float((self._best - earned).mean()),
            float(played.total("outside_pu_h").mean()) if self._flow else 0.0,
            {name: float(played.total(name).mean()) for name in TERMS}
            | (several if len(several) > 1 else {}),
        )

    def _played(self, policy: Any) -> MarketDays:
        from flexgym.evaluate.market_play import play_market

        return play_market(
            policy, self.scenario, self._days, VALIDATION_SEED, power_flow=self._flow
        )

    @staticmethod
    def _earned(played: MarketDays) -> np.ndarray:
        return played.earned_eur.sum(axis=1)

    def picture(self, model: Predictor, path: Path) -> None:
        """See `Task`."""
        from matplotlib.image import imsave

        from flexgym.envs.aggregator_market.render import render_day
        from flexgym.evaluate.market_play import trace
        from flexgym.policies.learned_market import LearnedMarket

        market, hours = trace(
            LearnedMarket(model, self.role, "learning"), self.scenario, VALIDATION_SEED
        )
        imsave(path, render_day(self.scenario, market.price_state[0], hours))


class AggregatorTask(MarketTask):
    """``flexgym/Aggregator-v0``: one aggregator quotes prices to its customers."""

    env_id = "flexgym/Aggregator-v0"
    role: ClassVar[Role] = "aggregators"

    def __init__(
        self, algorithm: str, parameters: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        super().__init__(algorithm, parameters, options)
        count = self.scenario.n_aggregators
        if count != 1:
            raise ScenarioError(
                f"the scenario {self.scenario.name} has {count} aggregators; expected 1. Train "
                "them together: flexgym train aggregators."
            )


class AggregatorsTask(MarketTask):
    """All aggregators of the market learn together, each a row of one policy."""

    env_id = "flexgym/aggregator-market-v0/aggregators"
    role: ClassVar[Role] = "aggregators"


class DirectiveTask(MarketTask):
    """``flexgym/Directive-v0``: the DSO sets a field."""

    env_id = "flexgym/Directive-v0"
    role: ClassVar[Role] = "dso"


class BusesTask(MarketTask):
    """Buses tell their consumers what to do, each a row of one policy."""

    env_id = "flexgym/aggregator-market-v0/buses"
    role: ClassVar[Role] = "buses"
