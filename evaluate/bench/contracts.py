"""``flexgym bench contracts``: appliance hours and market hours per second on one core.

Beside each stands the same physics as a plain Python loop in the same run, and the ratio of the
two: a loop over appliances that puts together what an agent sees, and a loop over order books
that only clears them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.evaluate.bench.figures import (
    figure,
    markdown_table,
    one_core,
    print_figures,
    seconds,
)

if TYPE_CHECKING:
    from flexgym.evaluate.bench.plain_loops import PlainJob

PARTICIPANTS = 50
APPLIANCES = "appliance steps/s batched"
MARKETS = f"market periods/s batched with {PARTICIPANTS} participants"
FLOORS = {APPLIANCES: 1e6, MARKETS: 20e3}
PLAIN_APPLIANCES = "appliance steps/s, plain Python loop"
PLAIN_MARKETS = f"market periods/s, plain Python merit order of {PARTICIPANTS}, clearing only"
ONE = "appliance steps/s, one environment"
RATIOS = {
    "appliances: times the plain loop": (APPLIANCES, PLAIN_APPLIANCES),
    "market: times the plain loop": (MARKETS, PLAIN_MARKETS),
}
_HOURS = 24
_PLAIN = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--repeats", type=int, default=7, help="runs the median is taken of")
    parser.add_argument("--appliances", type=int, default=1024, help="appliances side by side")
    parser.add_argument("--markets", type=int, default=256, help="markets side by side")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- bench-contracts --> gets it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    if arguments.repeats < 1 or arguments.appliances < 1 or arguments.markets < 1:
        raise ScenarioError("repeats, appliances and markets must be at least 1.")
    from flexgym.evaluate.report import block_marks, output_folder, publish, write_results

    if arguments.document:
        block_marks(arguments.document, "bench-contracts")
    folder = output_folder(arguments.out or Path("results/bench-contracts"))
    with one_core() as core:
        rows = measure(arguments.repeats, arguments.appliances, arguments.markets, arguments.seed)
    results = write_results(
        folder,
        command=arguments.command,
        seed=arguments.seed,
        environment="flexgym/Appliance-v0, flexgym.envs.local_market_v0",
        scenario={"title": "Appliances and the local market on one core", "core": core},
        rows=rows,
    )
    print_figures(rows, arguments.repeats)
    if arguments.document:
        publish(arguments.document, "bench-contracts", markdown_table(results), results)
    print(f"wrote {folder}/results.json")
    return 0


def measure(repeats: int, appliances: int, markets: int, seed: int) -> list[dict[str, Any]]:
    """Rates of the batches, of the plain loops, and their ratios."""
    from flexgym.envs.appliance.env import ApplianceEnv
    from flexgym.envs.appliance.vector_env import ApplianceVectorEnv
    from flexgym.envs.local_market.vector_env import LocalMarketVectorEnv

    rng = np.random.default_rng(seed)
    batches = {
        APPLIANCES: (ApplianceVectorEnv(appliances), appliances),
        MARKETS: (LocalMarketVectorEnv(markets, participants=PARTICIPANTS), markets),
    }
    work: dict[str, tuple[int, Callable[[], Any]]] = {}
    for what, (env, size) in batches.items():
        env.reset(seed=seed)
        work[what] = (_HOURS * size, day_of(env, rng))
    work[ONE] = (_HOURS, _one_day(ApplianceEnv()))
    work[PLAIN_APPLIANCES] = (_HOURS * _PLAIN, _plain_appliances(rng))
    work[PLAIN_MARKETS] = (_PLAIN, _plain_books(rng))
    for _, once in work.values():  # compiles
        once()
    times: dict[str, list[float]] = {what: [] for what in work}
    for _ in range(repeats):
        for what, (count, once) in work.items():
            times[what].append(seconds(once) / count)
    rate = {what: 1.0 / median(each) for what, each in times.items()}
    rows = [figure(what, value, FLOORS, {}) for what, value in rate.items()]
    rows += [
        figure(what, rate[ours] / rate[plain], {}, {}) for what, (ours, plain) in RATIOS.items()
    ]
    return rows


def day_of(env: Any, rng: np.random.Generator) -> Callable[[], None]:
    """A whole day of a batch at random actions, the reset at its end included."""
    shape = (_HOURS, *env.action_space.shape)
    actions = rng.uniform(-1.0, 1.0, shape).astype(np.float32)

    def day() -> None:
        for played in actions:
            env.step(played)

    return day


def _one_day(env: Any) -> Callable[[], None]:
    """A whole day of a single environment that always wishes to run, with its reset."""
    wish = np.ones(env.action_space.shape, dtype=np.float32)
    env.reset(seed=0)

    def day() -> None:
        for _ in range(_HOURS):
            env.step(wish)
        env.reset()

    return day


def _plain_appliances(rng: np.random.Generator) -> Callable[[], None]:
    """The days of a batch of jobs, drawn by the environment, in a plain loop."""
    from flexgym.envs.appliance.vector_env import ApplianceVectorEnv
    from flexgym.evaluate.bench.plain_loops import appliance_day

    env = ApplianceVectorEnv(_PLAIN)
    env.reset(seed=0)
    wished = (rng.random((_PLAIN, _HOURS)) < 0.5).tolist()
    jobs, prices, forecasts = drawn_days(env)

    def days() -> None:
        for given in zip(jobs, prices, forecasts, wished, strict=True):
            appliance_day(*given)

    return days


def drawn_days(env: Any) -> tuple[list[PlainJob], list[list[float]], list[Floats]]:
    """Jobs, prices and forecasts (T, T) of the appliances that a batch has just drawn.

    The batch is played to the end of the day, and then has new ones.
    """
    from flexgym.evaluate.bench.plain_loops import PlainJob

    simulation = env.simulation
    episodes = simulation.episodes
    jobs = [PlainJob(*row) for row in zip(*(f.tolist() for f in episodes.jobs), strict=True)]
    seen = []
    for _ in range(_HOURS):
        seen.append(simulation.forecast)
        env.step(np.ones(env.action_space.shape))
    return jobs, episodes.price_eur_per_kwh.tolist(), list(np.stack(seen, axis=1))


def _plain_books(rng: np.random.Generator) -> Callable[[], None]:
    """Random books of as many orders as the market has participants."""
    from flexgym.evaluate.bench.plain_loops import clear_book

    shape = (_PLAIN, PARTICIPANTS)
    price = rng.uniform(0.05, 0.35, shape).tolist()
    volume = rng.normal(size=shape).tolist()

    def books() -> None:
        for row in zip(price, volume, strict=True):
            clear_book(*row)

    return books
