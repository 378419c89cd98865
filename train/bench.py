"""``flexgym bench training``: PPO on the native batch of feeders beside 8 single environments.

Both play `flexgym/Feeder-v0` with one agent for all houses and learn with the same
hyper-parameters from rollouts of the same size; only the number of feeders side by side differs.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from flexgym.envs.errors import ScenarioError
from flexgym.evaluate.bench.figures import (
    figure,
    markdown_table,
    one_core,
    print_figures,
    seconds,
)

OURS = "native batch, thousand frames/s"
SINGLE = "8 single environments in a DummyVecEnv, thousand frames/s"
RATIO = "native batch over single environments"
SHARE = "environment's share of training time, native batch, %"
FLOORS, CEILINGS = {RATIO: 2.5}, {SHARE: 10.0}
FEEDERS, SINGLES = 128, 8
ROLLOUT = 12288
"""Frames of a rollout: a day of the batch, sixteen days of the single environments."""
BATCH = 4096
"""Frames of a minibatch."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--repeats", type=int, default=5, help="runs the median is taken of")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- bench-training --> gets it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    if arguments.repeats < 1:
        raise ScenarioError(f"repeats is {arguments.repeats}; expected at least 1.")
    from flexgym.evaluate.report import block_marks, output_folder, publish, write_results

    if arguments.document:
        block_marks(arguments.document, "bench-training")
    folder = output_folder(arguments.out or Path("results/bench-training"))
    with one_core() as core:
        rows = measure(arguments.repeats, arguments.seed)
    results = write_results(
        folder,
        command=arguments.command,
        seed=arguments.seed,
        environment="flexgym/Feeder-v0",
        scenario={
            "title": f"PPO on the feeder on one core: 64-64, batches of {BATCH}, 4 epochs, compact",
            "core": core,
        },
        rows=rows,
    )
    print_figures(rows, arguments.repeats)
    if arguments.document:
        publish(arguments.document, "bench-training", markdown_table(results), results)
    print(f"wrote {folder}/results.json")
    return 0


def measure(repeats: int, seed: int, rollout: int = ROLLOUT) -> list[dict[str, Any]]:
    """Frames a second of collecting and learning together, and the environment's share.

    Args:
        repeats: Rollouts of each that are timed.
        seed: Of episodes and networks.
        rollout: Frames of a rollout.
    """
    import torch
    from stable_baselines3.common.vec_env import DummyVecEnv

    from flexgym.envs.feeder.env import FeederEnv
    from flexgym.train.vec_env import sb3_vec_env
    from flexgym.train.wrappers import Stopwatch

    torch.set_num_threads(1)
    options: dict[str, Any] = {"scenario": "stress", "observation": "compact"}

    def one() -> FeederEnv:
        return FeederEnv(**options)

    single = DummyVecEnv([one for _ in range(SINGLES)])
    single.seed(seed)
    native = sb3_vec_env("flexgym/Feeder-v0", FEEDERS, seed=seed, **options)
    watches = {OURS: Stopwatch(native), SINGLE: Stopwatch(single)}
    models = {what: _model(watch, rollout, seed) for what, watch in watches.items()}
    for model in models.values():  # compiles
        model.learn(rollout)
    times: dict[str, list[float]] = {what: [] for what in models}
    for watch in watches.values():
        watch.seconds = 0.0
    for _ in range(repeats):
        for what, model in models.items():
            # Training goes on, as it does within a long run: no environment is reset in between.
            goes_on = partial(model.learn, rollout, reset_num_timesteps=False)
            times[what].append(seconds(goes_on))
    speed = {what: 1e-3 * rollout / median(each) for what, each in times.items()}
    ratio = median(b / a for a, b in zip(times[OURS], times[SINGLE], strict=True))
    share = 100.0 * watches[OURS].seconds / sum(times[OURS])
    found = {**speed, RATIO: ratio, SHARE: share}
    return [figure(what, value, FLOORS, CEILINGS) for what, value in found.items()]


def _model(env: Any, rollout: int, seed: int) -> Any:
    from stable_baselines3 import PPO

    from flexgym.train.lean import lean_update

    model = PPO(
        "MlpPolicy", env, n_steps=rollout // env.num_envs, batch_size=min(BATCH, rollout),
        n_epochs=4, gamma=1.0, seed=seed, device="cpu", policy_kwargs={"net_arch": [64, 64]},
    )  # fmt: skip
    lean_update(model.policy)
    return model
