"""Several seeds side by side: each a process and a run folder of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from flexgym.envs.errors import RunError, ScenarioError
from flexgym.evaluate.processes import processes
from flexgym.policies.runs import CONFIG, MENUS, read_run
from flexgym.train.run_folder import (
    LENGTHS_BEFORE,
    check_length,
    check_lengths,
    frames_of,
    length_of,
    lengthen,
)
from flexgym.train.settings import whole_number

MOST_SEEDS = 1000


def seed_folder(folder: str | Path, seed: int) -> Path:
    """Where the run of a seed lies."""
    return Path(folder) / f"seed-{seed}"


def train_seeds(
    env: str,
    folder: str | Path,
    seeds: int,
    *,
    seed: int = 0,
    threads: int = 1,
    resume: bool = False,
    **options: Any,
) -> dict[int, float]:
    """Train with several seeds, each on one thread, as many at a time as there are threads.

    Args:
        env: ``"menus"``, or see `flexgym.train.training.train`.
        folder: Of the runs; that of a seed is ``seed-K`` in it.
        seeds: How many.
        seed: The first; the others follow it.
        threads: Processes side by side.
        resume: Runs that are there go on; those that are not begin.
        **options: Of `flexgym.train.training.train` or `flexgym.train.menus.train`.

    Returns:
        Best validation score by seed.

    Raises:
        ScenarioError: An option is out of range.
        RunError: As there; a folder that is in the way is said before any training.
    """
    _trainer(env)
    if not 1 <= seeds <= MOST_SEEDS or threads < 1:
        raise ScenarioError(
            f"seeds is {seeds} and threads {threads}; expected 1 to {MOST_SEEDS} seeds and at "
            "least one thread."
        )
    key = "updates" if env == MENUS else "n_timesteps"
    check_length(key, options.get(key.removeprefix("n_")), options.get("minutes"))
    numbers = range(seed, seed + seeds)
    there = [k for k in numbers if (seed_folder(folder, k) / "config.yaml").exists()]
    if there and not resume:
        raise RunError(
            f"{seed_folder(folder, there[0])} already holds a run; pass --resume to go on with it "
            "and begin the others, or another --out."
        )
    if there:
        options |= _common_lengths([seed_folder(folder, k) for k in numbers], env, key, options)
    wide = len(str(numbers[-1]))
    jobs = {
        k: {
            **options,
            "env": env,
            "folder": seed_folder(folder, k),
            "seed": k,
            "label": f"seed {k:>{wide}}  ",
            "resume": k in there,
        }
        for k in numbers
    }
    workers = min(threads, seeds)
    if workers == 1:
        return {k: _train(job) for k, job in jobs.items()}
    with processes(workers) as pool:
        # The first begins alone: what it compiles and solves, the others find.
        waiting: dict[int, Future[float]] = {}
        for k, job in jobs.items():
            waiting[k] = pool.submit(_train, job)
            if k == seed:
                _wait_for_start(waiting[k], jobs[k]["folder"])
        for done in as_completed(waiting.values()):
            done.result()  # a failure is heard of when it happens, not in the order of seeds
        return {k: future.result() for k, future in waiting.items()}


def _common_lengths(
    folders: Sequence[Path], env: str, key: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Options that say how long runs are which begin beside others that are there.

    Raises:
        RunError: They would be no runs of one command: the learning rate falls once in a run that
            begins with a length, twice in one that is brought to it. Or one is another
            environment's, or damaged.
    """
    option = key.removeprefix("n_")
    asked, minutes = options.get(option), options.get("minutes")
    plans: dict[tuple[int, float | None, str], Path] = {}
    others = []
    for folder in folders:
        if not (folder / CONFIG).exists():
            others.append(folder)
            continue
        config, frames = read_run(folder), frames_of(folder)
        _check_environment(config, env, folder)
        check_lengths(config, folder)
        if frames < (whole_number(asked) or length_of(config)):
            lengthen(config, key, asked, minutes, begun=frames > 0)
        before = ", then ".join(config.get(LENGTHS_BEFORE, []))
        plans.setdefault((length_of(config), config.get("minutes"), before), folder)
    length, limit, _ = next(iter(plans))
    if others:
        length, limit = whole_number(asked) or length, limit if minutes is None else minutes
        plans.setdefault((length, limit, ""), others[0])
    if len(plans) > 1:
        told = "; ".join(
            f"{folder} {length:,}"
            + (f", {limit:g} minutes at most" if limit is not None else "")
            + (f", first {before}" if before else "")
            for (length, limit, before), folder in plans.items()
        )
        raise RunError(
            f"the seeds would differ in their length: {told}; expected runs of one command. "
            "Train them apart, or choose another --out."
        )
    return {option: length, "minutes": limit}


def _check_environment(config: Mapping[str, Any], env: str, folder: Path) -> None:
    """Raise `RunError` where a run is another environment's, or learned menus are beside others."""
    from flexgym.train.task import task_class

    menus = config["algorithm"] == MENUS
    same = menus if env == MENUS else not menus and config["environment"] == task_class(env).env_id
    if not same:
        raise RunError(
            f"{folder} holds a run of {config['algorithm']} in {config['environment']}; expected "
            f"one of flexgym train {env}. Choose another --out."
        )


def _wait_for_start(first: Future[float], folder: Path) -> None:
    """Wait until a run has validated for the first time, or is over."""
    while not first.done() and not (folder / "validation.csv").exists():
        time.sleep(0.2)


def _trainer(env: str) -> Callable[..., float]:
    """What trains in an environment.

    Raises:
        ScenarioError: It is unknown.
    """
    from flexgym.train.task import task_class

    if env == MENUS:
        from flexgym.train.menus import train as train_menus

        return train_menus
    from flexgym.train.training import train

    task_class(env)
    return partial(train, env)


def _train(job: Mapping[str, Any]) -> float:
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)  # a process of its own inherits the limit of all together
    options = dict(job)
    train = _trainer(options.pop("env"))
    try:
        return train(**options, threads=1)
    except KeyboardInterrupt:
        sys.exit(130)
