"""What an environment has to say to be trained in: the `Task`, and the list of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from flexgym.envs.errors import ScenarioError
from flexgym.evaluate.benchmark.suite import VALIDATION_SEED as VALIDATION_SEED

TRAINING_SEEDS = 1_000_000_000
"""Episodes of a run with seed k begin at (k + 1) times this."""

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from flexgym.policies.learned import Predictor


@dataclass(frozen=True)
class Judgement:
    """What a policy came to on the validation episodes.

    Attributes:
        score: 0 is no control, 100 the reference.
        cost_eur: Mean cost of an episode, EUR; minus what is earned.
        gap_eur: What it costs above the reference, EUR an episode.
        violation_h: Hours an episode in which a limit is violated; 0 where there are none.
        terms: Mean of each of the cost's terms by name, and other numbers worth a curve.
        keeps_limits: Whether limits are violated little enough: such networks are preferred to
            all others, whatever the scores.
    """

    score: float
    cost_eur: float
    gap_eur: float
    violation_h: float = 0.0
    terms: Mapping[str, float] = field(default_factory=dict)
    keeps_limits: bool = True


class Task(Protocol):
    """An environment to train in, with its exact reference.

    Attributes:
        env_id: Key of its hyper-parameters in the YAML files.
        algorithms: Those it can be trained with, the usual one first.
        env_kwargs: Options of the environment that a file may set.
        frame: What a frame is.
        episode_steps: Periods of an episode.
        episodes: Episodes to validate on, unless said otherwise.

    Args:
        algorithm: One of ``algorithms``.
        parameters: Hyper-parameters of the file.
        options: What `options` returned, as it stands in ``config.yaml``.
    """

    env_id: ClassVar[str]
    algorithms: ClassVar[tuple[str, ...]]
    env_kwargs: ClassVar[tuple[str, ...]]
    frame: ClassVar[str]
    episode_steps: ClassVar[int]
    episodes: ClassVar[int]

    def __init__(
        self, algorithm: str, parameters: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None: ...

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Options of the command that only this environment has."""
        ...

    @staticmethod
    def options(arguments: argparse.Namespace) -> dict[str, Any]:
        """Those options as plain values, each under the name of its argument."""
        ...

    def vec_env(self, seed: int) -> VecEnv:
        """The batch to train in; episode i begins with seed + i."""
        ...

    def policy_kwargs(self, env: VecEnv) -> dict[str, Any]:
        """Arguments that the algorithm's policy needs besides those of the file."""
        ...

    def prepare(self, episodes: int, cache: Path | None, workers: int) -> None:
        """Solve what the validation episodes are judged against, or find it in the cache."""
        ...

    def judge(self, model: Predictor) -> Judgement:
        """Play the validation episodes without exploration."""
        ...

    def picture(self, model: Predictor, path: Path) -> None:
        """Draw one of them as PNG."""
        ...


TASKS: Mapping[str, str] = {
    "household": "flexgym.train.tasks.household:HouseholdTask",
    "feeder": "flexgym.train.tasks.feeder:FeederTask",
    "aggregator": "flexgym.train.tasks.market:AggregatorTask",
    "aggregators": "flexgym.train.tasks.market:AggregatorsTask",
    "directive": "flexgym.train.tasks.market:DirectiveTask",
    "buses": "flexgym.train.tasks.market:BusesTask",
    "competition": "flexgym.train.tasks.competition:CompetitionTask",
    "operator": "flexgym.train.tasks.operator:OperatorTask",
    "appliance": "flexgym.train.tasks.appliance:ApplianceTask",
    "trader": "flexgym.train.tasks.trader:TraderTask",
    "local-market": "flexgym.train.tasks.local_market:LocalMarketTask",
}
"""Class of each environment's task by the name that ``flexgym train`` knows."""


def task_class(name: str) -> type[Task]:
    """Class of a task by its name.

    Raises:
        ScenarioError: Unknown name.
    """
    if name not in TASKS:
        raise ScenarioError(f"env is {name!r}; expected one of {', '.join(TASKS)}.")
    module, _, kind = TASKS[name].partition(":")
    return getattr(import_module(module), kind)


def add_scenario_argument(parser: argparse.ArgumentParser, known: str) -> None:
    """The scenario, in place of the file's."""
    parser.add_argument("--scenario", help=f"{known} (default: the file's)")


def scenario_option(arguments: argparse.Namespace) -> dict[str, Any]:
    """The scenario as an option; None is the file's."""
    return {"scenario": arguments.scenario}


def world_options(parameters: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the environment: those of the file, with the scenario that was asked for."""
    found = dict(parameters.get("env_kwargs") or {})
    if options.get("scenario"):
        found["scenario"] = options["scenario"]
    return found
