"""``flexgym train menus``: a network that knows what stored energy will be worth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from flexgym.envs.errors import ScenarioError
from flexgym.policies.learned_menus import MENUS, RECIPES
from flexgym.train.command import add_run_arguments, train_and_tell
from flexgym.train.training import refuse_others, training_device

ENV_ID = "flexgym/Household-v0"
VALIDATION_HOUSE_DAYS = 64
CHECKPOINT = "learner.safetensors"
"""What a run goes on from: weights, their averages and the optimiser."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--recipe", choices=RECIPES, default=RECIPES[0], help="how to learn")
    parser.add_argument("--updates", type=int, help="steps of the optimiser")
    each = f"house-days of each world to validate on (default {VALIDATION_HOUSE_DAYS})"
    add_run_arguments(parser, each)


def run(arguments: argparse.Namespace) -> int:
    """Train as the command line says."""
    own = {"recipe": arguments.recipe, "updates": arguments.updates}
    train_and_tell(MENUS, f"{MENUS}-{arguments.recipe}", train, arguments, own)
    return 0


def train(
    folder: str | Path,
    *,
    recipe: str = RECIPES[0],
    config: str | Path | None = None,
    updates: int | None = None,
    minutes: float | None = None,
    cache: str | Path | None = None,
    validation: int | None = None,
    seed: int = 0,
    threads: int = 1,
    device: str = "auto",
    resume: bool = False,
    label: str = "",
) -> float:
    """Train a network that makes menus.

    Args:
        folder: Run folder.
        recipe: ``"distilled"`` or ``"experience"``; see `flexgym.train.menu_lessons`.
        config: Hyper-parameters, YAML; None takes the shipped ones of the recipe.
        updates: Steps of the optimiser; None takes the file's.
        minutes: Time limit; the learning rate falls with updates or time, whichever is ahead.
        cache: Folder of solved house-days, or None.
        validation: House-days of the validation split of each world to score on; None is the
            usual number, or what the run was started with.
        seed: Seed of networks and house-days.
        threads: Threads of torch, and house-days solved side by side.
        device: Where networks learn, see `flexgym.train.training.DEVICES`.
        resume: Continue the run in ``folder``, with the options that started it; only
            ``updates`` and ``minutes`` may change.
        label: What lines of progress begin with.

    Returns:
        Best validation score, the mean over worlds.

    Raises:
        RunError: The folder holds a run already, or none to resume, or a damaged one.
        ScenarioError: An option or hyper-parameter is out of range.
    """
    import torch

    from flexgym.evaluate.report import provenance
    from flexgym.train.menu_run import MenuRun
    from flexgym.train.menu_settings import MenuSettings, read_settings
    from flexgym.train.run_folder import RunFolder, frames_of, lengthen

    if validation is not None and validation < 1:
        raise ScenarioError(f"validation is {validation}; expected at least 1.")
    place = training_device(device)
    torch.set_num_threads(threads)
    asked: dict[str, Any] = {
        "environment": ENV_ID,
        "algorithm": MENUS,
        "recipe": recipe,
        "seed": seed,
        "minutes": minutes,
        "validation": validation,
        "prices": None,
    }
    if resume:
        wanted = _resumed(Path(folder), asked, config)
    else:
        if validation is None:
            asked["validation"] = VALIDATION_HOUSE_DAYS
        wanted = {**asked, "hyperparameters": read_settings(recipe, config), **provenance()}
    begun = resume and frames_of(folder) > 0
    lengthen(wanted, "updates", updates, minutes, begun=begun)
    settings = MenuSettings.parse(wanted["hyperparameters"])
    run_folder = (
        RunFolder.resume(folder, CHECKPOINT)
        if resume
        else RunFolder.create(folder, wanted, CHECKPOINT)
    )
    kept = Path(cache) if cache else None
    return run_folder.train(
        lambda: MenuRun(run_folder, settings, wanted, kept, threads, place, label).learn,
        wanted,
        settings.updates,
        resumed=resume,
        trained_already=f"{label}{folder} is trained already; pass more --updates to go on.",
    )


def _resumed(folder: Path, asked: dict[str, Any], config: str | Path | None) -> dict[str, Any]:
    """Configuration of a run to continue: its own.

    Raises:
        RunError: The options contradict those the run was started with.
    """
    from flexgym.policies.learned import read_config
    from flexgym.train.menu_settings import read_settings
    from flexgym.train.run_folder import check_lengths

    saved = read_config(folder, (MENUS,))
    check_lengths(saved, folder)
    saved.setdefault("validation", VALIDATION_HOUSE_DAYS)
    same = ("recipe", "seed", *(["validation"] if asked["validation"] is not None else []))
    pairs = {key: (saved.get(key), asked[key]) for key in same}
    if config:
        ends = {"updates": saved["hyperparameters"].get("updates")}
        given = {**read_settings(asked["recipe"], config), **ends}
        pairs["config"] = (saved["hyperparameters"], given)
    refuse_others(folder, pairs)
    return saved
