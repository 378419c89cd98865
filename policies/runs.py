"""Runs of ``flexgym train`` on disk, and what plays them; nothing in them is executed.

Here alone stands which loader plays a run of which environment and algorithm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from flexgym.envs.errors import RunError

CONFIG = "config.yaml"
MENUS = "menus"
"""Algorithm of the runs that train learned menus."""
ANY = "*"
_SAFETENSORS = {MENUS: "best.safetensors", ANY: "policy.safetensors"}

_HOUSES = ("flexgym.policies.learned_feeder:LearnedHouses.from_run",)
_MARKET = "flexgym.policies.learned_market:load_market_policy"
LOADERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "flexgym/Household-v0": {
        MENUS: ("flexgym.policies.learned_menus:LearnedMenus.from_run",),
        ANY: ("flexgym.policies.learned:Learned.from_run",),
    },
    "flexgym/Feeder-v0": {ANY: _HOUSES},
    "flexgym/feeder-v0": {ANY: _HOUSES},
    "flexgym/Operator-v0": {ANY: ("flexgym.policies.operator:LearnedOperator.from_run",)},
    "flexgym/Aggregator-v0": {ANY: (_MARKET, "aggregators")},
    "flexgym/aggregator-market-v0/aggregators": {ANY: (_MARKET, "aggregators")},
    "flexgym/Directive-v0": {ANY: (_MARKET, "dso")},
    "flexgym/aggregator-market-v0/buses": {ANY: (_MARKET, "buses")},
    "flexgym/Appliance-v0": {ANY: ("flexgym.policies.learned_appliance:load_appliance_policy",)},
    "flexgym/local-market-v0": {ANY: ("flexgym.policies.local_market:load_local_market_policy",)},
    "flexgym/bus-competition-v0": {ANY: ("flexgym.policies.learned_competition:load_competitor",)},
    "flexgym/Trader-v0": {ANY: ("flexgym.policies.learned_trader:load_trader_policy",)},
}
"""By environment and algorithm, `ANY` for those without an entry: ``module:function`` of a run
folder, and what it takes besides."""


def read_run(folder: str | Path) -> dict[str, Any]:
    """The ``config.yaml`` of a run folder, as plain values.

    Raises:
        RunError: There is none, or it is none.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise RunError(f"got no run in {folder}; expected a folder written by flexgym train.")
    try:
        config = yaml.safe_load(path.read_text())
        if type(config["seed"]) is not int or not isinstance(config["algorithm"], str):
            raise TypeError
        if not isinstance(config["environment"], str):
            raise TypeError
        if not isinstance(config.setdefault("hyperparameters", {}), dict):
            raise TypeError
        parameters = config["hyperparameters"]
        if not isinstance(parameters.get("env_kwargs"), dict | None):
            raise TypeError
        if not all(isinstance(world, dict) for world in parameters.get("worlds") or []):
            raise TypeError
    except (
        *(OSError, UnicodeDecodeError, yaml.YAMLError),
        *(TypeError, KeyError, ValueError, AttributeError, RecursionError),
    ) as error:
        raise RunError(
            f"cannot read {path} ({type(error).__name__}); expected a folder written by flexgym "
            "train, or one with such folders in it."
        ) from error
    return config


def runs_in(folder: Path) -> Iterator[Path]:
    """The run that a folder is, or those that lie in it, by seed.

    Raises:
        RunError: There are none.
    """
    if (folder / CONFIG).is_file():
        yield folder
        return
    inside = sorted((path.parent for path in folder.glob(f"*/{CONFIG}")), key=_in_order)
    if not inside:
        raise RunError(
            f"got no run in {folder}; expected a folder written by flexgym train, or one with "
            "such folders in it."
        )
    yield from inside


def _in_order(folder: Path) -> tuple[str, int, str]:
    words, number = re.fullmatch(r"(.*?)(\d*)", folder.name).groups()  # type: ignore[union-attr]
    return words, int(number or 0), folder.name


def weights_file(config: Mapping[str, Any]) -> str:
    """Name of the file that holds what a run plays, numbers only."""
    return _SAFETENSORS.get(config["algorithm"], _SAFETENSORS[ANY])


def load_run(folder: str | Path) -> Any:
    """The policy of a run, ready to play; what it is called on, its environment's protocol says.

    Args:
        folder: Of ``flexgym train``.

    Raises:
        RunError: The run is missing, damaged, or of an environment whose runs nothing here plays.
    """
    config = read_run(folder)
    known = LOADERS.get(config["environment"], {})
    loader, *more = known.get(config["algorithm"], known.get(ANY, ("",)))
    if not loader:
        raise RunError(
            f"got the run {folder} of {config['environment']}; expected one of "
            f"{', '.join(LOADERS)}."
        )
    module, _, names = loader.partition(":")
    found: Any = import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    return found(str(folder), *more)
