"""``flexgym train ENV``: one command for every environment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from flexgym.evaluate.household import add_cache_argument
from flexgym.train.task import task_class
from flexgym.train.training import DEVICES, train

NEXT = {
    "household": "flexgym evaluate household --run {run}",
    "feeder": "flexgym evaluate feeder --policies unmanaged,{run},centralised",
    "aggregator": "flexgym evaluate market --role aggregator --policy {run}",
    "aggregators": "flexgym evaluate market --role aggregator --policy {run}",
    "directive": "flexgym evaluate market --role dso --policy {run}",
    "buses": "flexgym evaluate market --role buses --policy {run}",
    "operator": "flexgym benchmark --only 'operator/*' --run {run}",
    "appliance": "flexgym evaluate appliance --policy {run}",
    "trader": "flexgym evaluate trader --policy {run}",
    "local-market": "flexgym evaluate local-market --policy {run}",
}
"""How a run is judged on test days, where there is a command."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command; the parser's default ``target`` is the environment."""
    task = task_class(parser.get_default("target"))
    parser.add_argument(
        "--algo", choices=task.algorithms, default=task.algorithms[0],
        help=f"algorithm (default {task.algorithms[0]})",
    )  # fmt: skip
    parser.add_argument("--config", type=Path, help="hyper-parameters, YAML in rl_zoo3's form")
    parser.add_argument(
        "--timesteps", "--steps", type=float, help=f"frames to train (a frame is one {task.frame})"
    )
    parser.add_argument("--minutes", type=float, help="stop after this time")
    parser.add_argument(
        "--seeds", type=int,
        help="train so many seeds from --seed on, each in OUT/seed-K, --threads at a time",
    )  # fmt: skip
    parser.add_argument(
        "--validation", type=int,
        help=f"episodes to validate on (default {task.episodes})",
    )  # fmt: skip
    parser.add_argument(
        "--device", choices=DEVICES, default="auto",
        help="where networks learn (default auto: the GPU where there is one)",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    add_cache_argument(parser)
    task.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train as the command line says."""
    from flexgym.train.seeds import seed_folder, train_seeds

    env, task = arguments.target, task_class(arguments.target)
    options = task.options(arguments)
    scenario = "no-car" if options.get("car") is False else options.get("scenario")
    name = "-".join([env, *([scenario] if scenario else []), arguments.algo])
    several = arguments.seeds is not None
    folder = arguments.out or Path("runs") / (name if several else f"{name}-{arguments.seed}")
    chosen: dict[str, Any] = {
        "algorithm": arguments.algo,
        "config": arguments.config,
        "timesteps": arguments.timesteps,
        "minutes": arguments.minutes,
        "options": options,
        "cache": arguments.cache,
        "validation": arguments.validation,
        "seed": arguments.seed,
        "threads": arguments.threads,
        "device": arguments.device,
        "resume": arguments.resume,
    }
    first = folder
    if several:
        scores = train_seeds(env, folder, arguments.seeds, **chosen)
        for seed, reached in scores.items():
            where = seed_folder(folder, seed)
            print(f"seed {seed}: best validation score {reached:.1f}; run in {where}")
        first = seed_folder(folder, arguments.seed)
    else:
        reached = train(env, folder, **chosen)
        print(f"best validation score {reached:.1f}; run in {folder}")
    after = [NEXT[env].format(run=first)] if env in NEXT else []
    print("next: " + "   |   ".join([*after, f"tensorboard --logdir {folder}"]))
    return 0
