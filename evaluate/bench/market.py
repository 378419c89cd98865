"""``flexgym bench market``: hours of the 33-bus market per second on one core.

What the environment takes is set beside what its parts take in the same run: the consumers'
Metropolis attempts and the AC power flow of the network, without which no hour can be played.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from flexgym.envs.errors import ScenarioError
from flexgym.evaluate.bench.figures import (
    figure,
    markdown_table,
    one_core,
    print_figures,
    seconds,
)

OURS = "289 consumers, 2 sweeps an hour, AC power flow, thousand hours/s"
FLOORS = {OURS: 60.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--repeats", type=int, default=7, help="runs the median is taken of")
    parser.add_argument("--markets", type=int, default=512, help="markets side by side")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- bench-market --> gets it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    if arguments.repeats < 1 or arguments.markets < 1:
        raise ScenarioError("repeats and markets must be at least 1.")
    from flexgym.evaluate.report import block_marks, output_folder, publish, write_results

    if arguments.document:
        block_marks(arguments.document, "bench-market")
    folder = output_folder(arguments.out or Path("results/bench-market"))
    with one_core() as core:
        rows = measure(arguments.repeats, arguments.markets, arguments.seed)
    results = write_results(
        folder,
        command=arguments.command,
        seed=arguments.seed,
        environment="flexgym.envs.aggregator_market_v0",
        scenario={"title": "The 33-bus market on one core", "core": core},
        rows=rows,
    )
    print_figures(rows, arguments.repeats)
    if arguments.document:
        publish(arguments.document, "bench-market", markdown_table(results), results)
    print(f"wrote {folder}/results.json")
    return 0


def measure(repeats: int, markets: int, seed: int) -> list[dict[str, Any]]:
    """Rates of whole environments and of what they are made of."""
    from flexgym.envs.aggregator_market.env import AggregatorEnv
    from flexgym.envs.aggregator_market.params import HOURS
    from flexgym.envs.aggregator_market.scenario import MarketScenario
    from flexgym.envs.aggregator_market.simulation import MarketSimulation
    from flexgym.envs.aggregator_market.vector_env import MarketRowsVectorEnv
    from flexgym.envs.grid import RadialPowerFlow

    rng = np.random.default_rng(seed)

    def batch(scenario: str, learners: str, **options: Any) -> Callable[[], Any]:
        env = MarketRowsVectorEnv(markets, learners, scenario=scenario, **options)
        env.reset(seed=seed)
        shape = (HOURS, env.num_envs, 1)
        actions = rng.uniform(-1.0, 1.0, shape).astype(np.float32)

        def day() -> None:
            for played in actions:
                env.step(played)

        return day

    single = AggregatorEnv()
    single.reset(seed=seed)

    def single_day() -> None:
        while not single.play.done:
            single.step(np.zeros(1))
        single.reset()

    three = MarketScenario.create("three")
    network = RadialPowerFlow(three.network)
    power = rng.uniform(0.0, 100.0, (markets, three.network.n_bus))
    result = network.solve(power, 0.5 * power)
    bare = MarketSimulation(three, markets, power_flow=False)

    def consumers() -> None:
        bare.begin([np.random.default_rng(i) for i in range(markets)])
        while not bare.done:
            bare.step()

    def flows() -> None:
        for _ in range(HOURS):
            network.solve(power, 0.5 * power, result)

    hours = HOURS * markets
    work: dict[str, tuple[int, Callable[[], Any]]] = {
        OURS: (hours, batch("three", "dso")),
        "67 consumers of one aggregator, thousand hours/s": (
            hours,
            batch("ordered", "aggregators"),
        ),
        "289 consumers on the lattice, thousand hours/s": (hours, batch("lattice", "dso")),
        "32 buses that learn, thousand hours/s": (hours, batch("three", "buses")),
        "289 consumers without observations and power flow, thousand hours/s": (hours, consumers),
        "AC power flow of the network alone, thousand hours/s": (hours, flows),
        "one market, one aggregator, thousand hours/s": (HOURS, single_day),
    }
    for _, once in work.values():  # compiles
        once()
    times: dict[str, list[float]] = {what: [] for what in work}
    for _ in range(repeats):
        for what, (count, once) in work.items():
            times[what].append(seconds(once) / count)
    return [figure(what, 1e-3 / median(each), FLOORS, {}) for what, each in times.items()]
