"""What an environment has to say to be benchmarked: the `Arena`, and the list of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any, Literal, Protocol

import numpy as np

from flexgym.envs.household.params import Floats

Kind = Literal["rule", "exact", "bound", "learned", "own"]
"""A rule neither learns nor knows the optimum, though it may plan; a bound knows the future; own is
what somebody brings, of which nobody knows whether it learned."""
RANDOM_SEEDS = 5
"""Seeds of a rule that draws its actions."""


@dataclass(frozen=True)
class Setting:
    """What is played in an environment.

    Attributes:
        environment: Key of `ARENAS`.
        scenario: A scenario the arena knows.
        episodes: How many are played; episode i has the random numbers of the suite's seed + i.
        parts: Into how many cells they are split, so that long ones can be resumed.
        without: Policies that are left out, because they take too long.
    """

    environment: str
    scenario: str
    episodes: int
    parts: int = 1
    without: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of tables and patterns."""
        return f"{self.environment}/{self.scenario}"

    def part(self, k: int) -> slice:
        """Episodes of one of the parts."""
        edges = np.linspace(0, self.episodes, self.parts + 1).astype(int).tolist()
        return slice(edges[k], edges[k + 1])


@dataclass(frozen=True, eq=False)
class Played:
    """What came of some episodes.

    Attributes:
        cost_eur: Of each, shape (n,), EUR; minus what is earned.
        violation: How far limits were violated in each, shape (n,), in the arena's unit.
        terms: Means worth a column, by name: each shape (n,).
        plan_s: Computing time of preparing an episode, s.
        step_s: Computing time of a decision in one episode, s: the median over the steps.
        cell_s: Computing time of everything, s; what the benchmark itself costs.
    """

    cost_eur: Floats
    violation: Floats
    terms: Mapping[str, Floats] = field(default_factory=dict)
    plan_s: float = 0.0
    step_s: float = 0.0
    cell_s: float = 0.0


@dataclass(frozen=True)
class Contender:
    """A policy that needs no training.

    Attributes:
        kind: See `Kind`.
        make: Makes it, given a seed; None where the arena knows what to do.
        drawn: Whether it draws its actions, so that several seeds are played.
    """

    kind: Kind
    make: Callable[[int], Any] | None
    drawn: bool = False

    @property
    def seeds(self) -> range:
        """Seeds it is played with."""
        return range(RANDOM_SEEDS if self.drawn else 1)


class Arena(Protocol):
    """An environment's episodes and what plays on them.

    Attributes:
        env_ids: Ids of the environments whose trained policies fit.
        episode: What an episode is.
        violation: What is violated and its unit; "" where nothing can be.
        contenders: Policies that need no training, by name.
        zero: Name of the one that scores 0.
        best: Name of the one that scores 100.

    Args:
        setting: What is played.
        seed: Of the first episode.
        cache: Folder where exact solutions are kept.
    """

    env_ids: tuple[str, ...]
    episode: str
    violation: str
    contenders: Mapping[str, Contender]
    zero: str
    best: str

    def __init__(self, setting: Setting, seed: int, cache: Path) -> None: ...

    @classmethod
    def fits(cls, setting: Setting, config: Mapping[str, Any]) -> bool:
        """Whether a run of ``env_ids`` with this ``config.yaml`` was trained for this setting."""
        ...

    def observed(self, given: Any, name: str) -> Any:
        """A policy of something with ``predict``, or of a function of observations."""
        ...

    def play(self, policy: Any, part: slice) -> Played:
        """Play a policy; for contenders without ``make`` their name."""
        ...


ARENAS: Mapping[str, str] = {
    "household": "flexgym.evaluate.benchmark.arenas.household:HouseholdArena",
    "feeder": "flexgym.evaluate.benchmark.arenas.feeder:FeederArena",
    "operator": "flexgym.evaluate.benchmark.arenas.operator:OperatorArena",
    "aggregator": "flexgym.evaluate.benchmark.arenas.market:AggregatorArena",
    "directive": "flexgym.evaluate.benchmark.arenas.market:DirectiveArena",
    "buses": "flexgym.evaluate.benchmark.arenas.market:BusesArena",
    "competition": "flexgym.evaluate.benchmark.arenas.competition:CompetitionArena",
    "appliance": "flexgym.evaluate.benchmark.arenas.appliance:ApplianceArena",
    "local-market": "flexgym.evaluate.benchmark.arenas.local_market:LocalMarketArena",
    "trader": "flexgym.evaluate.benchmark.arenas.trader:TraderArena",
}
"""Class of each environment's arena. Its name is also what trained policies name."""


def arena_class(environment: str) -> type[Arena]:
    """Class of an environment's arena."""
    module, _, name = ARENAS[environment].partition(":")
    return getattr(import_module(module), name)


def option(config: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """An option that a run was trained with, wherever its ``config.yaml`` has it."""
    parameters = config.get("hyperparameters") or {}
    for place in (config, parameters.get("env_kwargs") or {}, parameters):
        if place.get(name) is not None:
            return place[name]
    return default


def cars_known(config: Mapping[str, Any]) -> set[bool]:
    """Whether the houses that a run was trained on had cars: one answer, or both."""
    worlds = (config.get("hyperparameters") or {}).get("worlds")
    if worlds:
        return {bool(world.get("car", True)) for world in worlds}
    return {bool(option(config, "car", True))}


def _episodes(simulation: Any) -> int:
    """How many are decided side by side; a single environment is one."""
    return getattr(simulation, "n", 1)


class Timed:
    """A policy whose computing time is measured; everything else is its own.

    Args:
        policy: The policy.
    """

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self._planned: list[float] = []
        self._decided: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def begin(self, simulation: Any) -> None:
        """See the policy."""
        started = process_time()
        self._policy.begin(simulation)
        self._planned.append((process_time() - started) / _episodes(simulation))

    def act(self, simulation: Any, *seen: Any) -> Any:
        """See the policy."""
        return self._measured(self._policy.act, simulation, *seen)

    def orders(self, simulation: Any) -> Any:
        """See the policy."""
        return self._measured(self._policy.orders, simulation)

    def _measured(self, decide: Callable[..., Any], simulation: Any, *seen: Any) -> Any:
        started = process_time()
        found = decide(simulation, *seen)
        self._decided.append((process_time() - started) / _episodes(simulation))
        return found

    @property
    def plan_s(self) -> float:
        """Preparing an episode, s: the median, for the first time compiles."""
        return float(np.median(self._planned)) if self._planned else 0.0

    @property
    def step_s(self) -> float:
        """A decision in one episode, s: the median."""
        return float(np.median(self._decided)) if self._decided else 0.0
