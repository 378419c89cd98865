"""``flexgym demo``: real data in, exact optimum and trained policy out, in three minutes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from flexgym.envs.errors import RunError
from flexgym.evaluate.household import add_cache_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--minutes", type=float, default=1.0, help="training time (default 1)")
    parser.add_argument("--house-days", type=int, default=64, help="test episodes to play")
    add_cache_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Solve, train, evaluate, draw."""
    start = time.monotonic()
    folder = arguments.out or Path("runs/demo")
    training = folder / "training"
    if (training / "config.yaml").exists():
        training = next(
            path for k in range(2, 10_000) if not (path := folder / f"training-{k}").exists()
        )
    if arguments.house_days < 2:
        raise RunError(f"house-days is {arguments.house_days}; expected at least 2.")
    print("1/3  training PPO on days and houses of the training split", flush=True)
    from flexgym.train.training import train

    train(
        "household",
        training,
        minutes=arguments.minutes,
        validation=24,
        cache=arguments.cache,
        seed=arguments.seed,
        threads=arguments.threads,
    )
    print("2/3  solving test days exactly and playing every policy on them", flush=True)
    from flexgym.evaluate.household import evaluate

    results = evaluate(
        folder,
        runs=[training],
        house_days=arguments.house_days,
        cache=arguments.cache,
        seed=arguments.seed,
        threads=arguments.threads,
        command=arguments.command,
    )
    print("3/3  drawing", flush=True)
    _training_picture(folder, training, results)
    print(
        f"\nscore 0 = battery idle, car charged on arrival; 100 = exact stochastic optimum\n"
        f"certified  within {results['certified_gap_percent']:.2f} % of the value of flexibility\n"
        f"tables    {folder}/results.json, results.csv, episodes.csv\n"
        f"pictures  {folder}/scores.png, day.png, cost_map.png, chart.png, training.png\n"
        f"curves    tensorboard --logdir {training}/tb\n"
        f"policy    {training}/best.zip\n"
        f"took      {time.monotonic() - start:.0f} s"
    )
    return 0


def _training_picture(folder: Path, training: Path, results: dict) -> None:
    import csv

    from flexgym.evaluate.pictures import training_picture

    with (training / "validation.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    reference = {
        f"{row['policy']}, test days,": row["score"]["mean"]
        for row in results["rows"]
        if row["policy"] in ("self-consumption", "mpc")
    }
    training_picture(
        folder / "training.png",
        [int(row["frames"]) for row in rows],
        [float(row["score"]) for row in rows],
        reference,
    )
