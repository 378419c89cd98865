"""How learned menus are trained, as YAML files say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.policies.learned_menus import RECIPES
from flexgym.train.settings import CONFIG_FOLDER, whole_number

TEACHERS = ("solutions", "experience")
_WORLD_OPTIONS = {
    "household": ("car", "uncertainty"),
    "feeder": ("scenario", "uncertainty"),
}


@dataclass(frozen=True)
class World:
    """Houses, days and prices to learn from.

    Attributes:
        environment: ``"household"`` or ``"feeder"``, whose houses are then taken one by one.
        options: For its scenario.
    """

    environment: str
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For tables and curves."""
        return " ".join([self.environment, *(f"{k}={v}" for k, v in self.options.items())])

    def homes(self, split: str) -> HouseholdScenario:
        """Houses, days and prices of a split."""
        if self.environment == "household":
            return HouseholdScenario.create(split=split, **self.options)
        return FeederScenario.create(split=split, initial_soc=None, **self.options).homes


@dataclass(frozen=True)
class Phase:
    """A part of the training with one teacher.

    Attributes:
        teacher: One of `TEACHERS`.
        house_days: Drawn at a time.
        share: Of the whole training.
        horizon: Periods of experience between two answers of the network; 96 asks none.
    """

    teacher: str
    house_days: int
    share: float
    horizon: int = 1


@dataclass(frozen=True)
class MenuSettings:
    """Hyper-parameters of learned menus.

    Attributes:
        worlds: Drawn from in turn.
        phases: One after the other; their shares add up to 1.
        hidden: Sizes of the hidden layers.
        updates: Steps of Adam in all.
        updates_per_draw: Steps between two draws of house-days.
        batch: Lessons of each kind in a step.
        learning_rate: At first; it falls linearly.
        average: Weight of the newest weights in the average that is played.
        memory: Lessons of each kind that are kept.
    """

    worlds: tuple[World, ...]
    phases: tuple[Phase, ...]
    hidden: tuple[int, ...]
    updates: int
    updates_per_draw: int
    batch: int
    learning_rate: float
    average: float
    memory: int

    def phase(self, progress: float) -> Phase:
        """The phase in which a share of the training is done."""
        reached = 0.0
        for phase in self.phases:
            reached += phase.share
            if progress < reached:
                return phase
        return self.phases[-1]

    @classmethod
    def parse(cls, content: Any, source: str = "the configuration") -> MenuSettings:
        """From what a YAML file holds.

        Raises:
            ScenarioError: Keys are missing, unknown, or out of range.
        """
        keys = set(cls.__dataclass_fields__)
        if not isinstance(content, dict) or set(content) != keys:
            got = sorted(map(str, content)) if isinstance(content, dict) else content
            raise ScenarioError(f"{source} has {got}; expected exactly the keys {sorted(keys)}.")
        counts = {k: _count(content[k], k) for k in ("updates", "updates_per_draw", "batch")}
        hidden = content["hidden"]
        if not isinstance(hidden, list) or not hidden:
            raise ScenarioError(f"hidden is {hidden!r}; expected a list of sizes such as [128].")
        phases = _several(content["phases"], "phases", _phase)
        if abs(sum(phase.share for phase in phases) - 1.0) > 1e-6:
            raise ScenarioError(
                f"the shares of phases add up to {sum(p.share for p in phases):g}; expected 1."
            )
        return cls(
            worlds=_several(content["worlds"], "worlds", _world),
            phases=phases,
            hidden=tuple(_count(size, "hidden") for size in hidden),
            memory=_count(content["memory"], "memory"),
            learning_rate=_share(content["learning_rate"], "learning_rate"),
            average=_share(content["average"], "average"),
            **counts,
        )


def read_settings(recipe: str, path: str | Path | None = None) -> dict[str, Any]:
    """Hyper-parameters of a recipe, as `MenuSettings.parse` takes them.

    Args:
        recipe: One of `RECIPES`.
        path: YAML file; None takes the tuned ones that are shipped.

    Raises:
        ScenarioError: Unknown recipe, or a file that cannot be read or holds wrong ones.
    """
    if recipe not in RECIPES:
        raise ScenarioError(f"recipe is {recipe!r}; expected one of {', '.join(RECIPES)}.")
    file = Path(path) if path else CONFIG_FOLDER / f"menus-{recipe}.yml"
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ScenarioError(f"cannot read {file} ({reason}); expected a YAML file.") from error
    MenuSettings.parse(content, str(file))
    return content


def _several(value: Any, name: str, read: Any) -> tuple:
    if not isinstance(value, list) or not value:
        raise ScenarioError(f"{name} is {value!r}; expected a list with at least one entry.")
    return tuple(read(entry) for entry in value)


def _count(value: Any, name: str) -> int:
    whole = whole_number(value)
    if whole < 1:
        raise ScenarioError(f"{name} is {value!r}; expected a whole number >= 1.")
    return whole


def _share(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0.0 < number <= 1.0:
        raise ScenarioError(f"{name} is {value!r}; expected a number in (0, 1].")
    return number


def _phase(entry: Any) -> Phase:
    keys = {"teacher", "house_days", "share"}
    if isinstance(entry, dict) and entry.get("teacher") == "experience":
        keys.add("horizon")
    if not isinstance(entry, dict) or set(entry) != keys:
        raise ScenarioError(f"a phase is {entry!r}; expected the keys {sorted(keys)}.")
    if entry["teacher"] not in TEACHERS:
        raise ScenarioError(
            f"teacher is {entry['teacher']!r}; expected one of {', '.join(TEACHERS)}."
        )
    return Phase(
        entry["teacher"],
        _count(entry["house_days"], "house_days"),
        _share(entry["share"], "share"),
        _count(entry.get("horizon", 1), "horizon"),
    )


def _world(entry: Any) -> World:
    kind = entry.get("environment") if isinstance(entry, dict) else None
    if kind not in _WORLD_OPTIONS:
        raise ScenarioError(
            f"a world is {entry!r}; expected an environment of {', '.join(_WORLD_OPTIONS)}."
        )
    options = {key: value for key, value in entry.items() if key != "environment"}
    unknown = set(options) - set(_WORLD_OPTIONS[kind])
    if unknown:
        raise ScenarioError(
            f"a world of {kind} has {sorted(unknown)}; expected any of "
            f"{', '.join(_WORLD_OPTIONS[kind])}."
        )
    return World(kind, options)
