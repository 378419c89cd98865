"""``flexgym ship``: from the runs of ``flexgym train`` to a policy that ships."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flexgym.envs.errors import RunError, ScenarioError
from flexgym.policies.runs import CONFIG, weights_file
from flexgym.policies.zoo import ABOUT, CARD, SCHEMA, WEIGHTS, load, sha256
from flexgym.train.finished import Trained, trained_seeds

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("name", help="what the policy is called, such as household-menu")
    parser.add_argument(
        "--runs", type=Path, required=True,
        help="folder of the runs, one for each seed, as flexgym train --seeds lays them",
    )  # fmt: skip
    parser.add_argument(
        "--settings", nargs="+", metavar="PATTERN",
        help="settings of the benchmark it plays in (default: those that fit the runs)",
    )  # fmt: skip
    parser.add_argument("--to", type=Path, help="folder of policies (default: the package's)")


def run(arguments: argparse.Namespace) -> int:
    """Ship as the command line says."""
    place = ship(arguments.name, arguments.runs, arguments.settings, arguments.to or WEIGHTS)
    print(f"wrote {place}; flexgym benchmark --cards writes test scores into its {CARD}")
    return 0


def ship(
    name: str,
    runs: str | Path,
    settings: Sequence[str] | None = None,
    to: str | Path = WEIGHTS,
) -> Path:
    """Make a policy of the runs of several seeds; one of this name is replaced.

    Args:
        name: Of the policy.
        runs: Folder of the runs.
        settings: Patterns of the benchmark's settings it plays in; None asks their arenas.
        to: Folder of policies.

    Returns:
        The policy's folder.

    Raises:
        RunError: A run is unfinished, damaged or unlike the others, or tells where its machine
            keeps files.
        ScenarioError: The name is none, or a pattern fits nothing.
    """
    from flexgym.evaluate.benchmark.arena import arena_class
    from flexgym.evaluate.benchmark.suite import chosen
    from flexgym.train.card import model_card

    if not _NAME.fullmatch(name):
        raise ScenarioError(
            f"name is {name!r}; expected small letters, digits and single hyphens, such as "
            "household-menu."
        )
    seeds = trained_seeds(Path(runs))
    fitting = _fitting(seeds[0].config)
    if settings:
        unfit = [
            setting.name
            for setting in chosen("small", settings)
            if seeds[0].config["environment"] not in arena_class(setting.environment).env_ids
        ]
        if unfit:
            raise ScenarioError(
                f"settings has {', '.join(unfit)}; expected some of "
                f"{seeds[0].config['environment']}, such as {', '.join(fitting) or 'none'}."
            )
        fitting = list(settings)
    changed = [str(one.seed) for one in seeds if str(one.config.get("git")).endswith("+changes")]
    if changed:
        print(
            f"note: training began with changes that are in no commit (seed {', '.join(changed)}), "
            "so nobody can repeat it. Commit, and train again.",
            file=sys.stderr,
        )
    best = max(seeds, key=lambda one: (one.state.best_keeps_limits, one.state.best_score))
    place = Path(to) / name
    if place.exists() and not (place / ABOUT).is_file():
        raise RunError(f"{place} is no policy; expected a free name. Move it, or choose another.")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # A folder of policies never holds half of one.
        with TemporaryDirectory(dir=place.parent, prefix=".") as nowhere:
            new = Path(nowhere) / name
            about = {
                "schema": SCHEMA,
                "settings": fitting,
                "best": best.seed,
                "seeds": {str(one.seed): _copied(one, new) for one in seeds},
            }
            (new / CARD).write_text(model_card(name, seeds, best, fitting))
            (new / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
            for one in seeds:
                load(name, one.seed, nowhere)
            if place.exists():
                shutil.rmtree(place)
            os.replace(new, place)
    except OSError as error:
        raise RunError(f"cannot write {place} ({error.strerror}); choose another --to.") from error
    return place


def _fitting(config: Mapping[str, Any]) -> list[str]:
    """Settings of the benchmark that runs fit."""
    from flexgym.evaluate.benchmark.arena import arena_class
    from flexgym.evaluate.benchmark.suite import SMALL

    found = []
    for setting in SMALL:
        kind = arena_class(setting.environment)
        if config["environment"] in kind.env_ids and kind.fits(setting, config):
            found.append(setting.name)
    return found


def _copied(one: Trained, policy: Path) -> dict[str, Any]:
    """Copy what a run plays; what ``about.json`` says of it."""
    place = policy / f"seed-{one.seed}"
    place.mkdir(parents=True)
    files = {}
    for name in (CONFIG, weights_file(one.config)):
        shutil.copyfile(one.folder / name, place / name)
        files[name] = sha256(place / name)
    return {"score": one.state.best_score, "files": files}
