"""``flexgym train ENV``: one command for every environment."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flexgym.evaluate.household import add_cache_argument
from flexgym.train.task import task_class
from flexgym.train.training import DEVICES, train

NEXT = {
    "menus": "flexgym evaluate household --run {run}",
    "household": "flexgym evaluate household --run {run}",
    "feeder": "flexgym evaluate feeder --policies unmanaged,{run},centralised",
    "aggregator": "flexgym evaluate market --role aggregator --policy {run}",
    "aggregators": "flexgym evaluate market --role aggregator --policy {run}",
    "directive": "flexgym evaluate market --role dso --policy {run}",
    "buses": "flexgym evaluate market --role buses --policy {run}",
    "competition": "flexgym benchmark --only 'competition/*' --run {run}",
    "operator": "flexgym benchmark --only 'operator/*' --run {run}",
    "appliance": "flexgym evaluate appliance --policy {run}",
    "trader": "flexgym evaluate trader --policy {run}",
    "local-market": "flexgym evaluate local-market --policy {run}",
}
"""How a run is judged on test days."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command; the parser's default ``target`` is the environment."""
    task = task_class(parser.get_default("target"))
    parser.add_argument(
        "--algo", choices=task.algorithms, default=task.algorithms[0],
        help=f"algorithm (default {task.algorithms[0]})",
    )  # fmt: skip
    parser.add_argument(
        "--timesteps", "--steps", type=float, help=f"frames to train (a frame is one {task.frame})"
    )
    add_run_arguments(parser, f"episodes to validate on (default {task.episodes})")
    task.add_arguments(parser)


def add_run_arguments(parser: argparse.ArgumentParser, validation: str) -> None:
    """Options of every training command.

    Args:
        parser: Of the command.
        validation: What ``--validation`` says of itself.
    """
    parser.add_argument("--config", type=Path, help="hyper-parameters, YAML")
    parser.add_argument("--minutes", type=float, help="stop after this time")
    parser.add_argument(
        "--seeds", type=int,
        help="train so many seeds from --seed on, each in OUT/seed-K, --threads at a time",
    )  # fmt: skip
    parser.add_argument("--validation", type=int, help=validation)
    parser.add_argument(
        "--device", choices=DEVICES, default="auto",
        help="where networks learn (default auto: the GPU where there is one)",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    add_cache_argument(parser)


def train_and_tell(
    env: str,
    name: str,
    train: Callable[..., float],
    arguments: argparse.Namespace,
    options: Mapping[str, Any],
) -> None:
    """Train one seed or several, and say what came out and what to do next.

    Args:
        env: As `train_seeds` takes it.
        name: Of the folder in ``runs``, unless ``--out`` names one.
        train: Trains one seed in a folder.
        arguments: Of the command.
        options: Of ``train`` besides those of `add_run_arguments`.
    """
    from flexgym.train.seeds import seed_folder, train_seeds

    several = arguments.seeds is not None
    folder = arguments.out or Path("runs") / (name if several else f"{name}-{arguments.seed}")
    shared = ("config", "minutes", "cache", "validation", "seed", "threads", "device", "resume")
    chosen = {**options, **{key: getattr(arguments, key) for key in shared}}
    first = folder
    if several:
        for seed, reached in train_seeds(env, folder, arguments.seeds, **chosen).items():
            where = seed_folder(folder, seed)
            print(f"seed {seed}: best validation score {reached:.1f}; run in {where}")
        first = seed_folder(folder, arguments.seed)
    else:
        print(f"best validation score {train(folder, **chosen):.1f}; run in {folder}")
    print(f"next: {next_command(env, first)}   |   tensorboard --logdir {folder}")


def next_command(env: str, run: Path) -> str:
    """The command line that plays a run on test days of the world it was trained in."""
    from flexgym.evaluate.benchmark.arena import cars_known, option
    from flexgym.policies.runs import read_run

    config, command = read_run(run), NEXT[env].format(run=run)
    scenario = option(config, "scenario")
    words = ["--no-car"] if cars_known(config) == {False} else []
    if scenario and command.startswith(("flexgym evaluate feeder", "flexgym evaluate market")):
        words += ["--scenario", scenario]
    elif scenario and env == "appliance":
        words += ["--jobs", scenario]
    for name in ("prices", "sessions"):
        if config.get(name):
            words += [f"--{name}", shlex.quote(config[name])]
    return " ".join([command, *words])


def run(arguments: argparse.Namespace) -> int:
    """Train as the command line says."""
    env, task = arguments.target, task_class(arguments.target)
    options = task.options(arguments)
    scenario = "no-car" if options.get("car") is False else options.get("scenario")
    name = "-".join([env, *([scenario] if scenario else []), arguments.algo])
    own = {"algorithm": arguments.algo, "timesteps": arguments.timesteps, "options": options}
    train_and_tell(env, name, partial(train, env), arguments, own)
    return 0
