"""``flexgym bench feeder``: speed, growth and memory of the feeder."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import STEPS_PER_DAY
from flexgym.evaluate.bench.figures import (
    figure,
    markdown_table,
    one_core,
    print_figures,
    seconds,
)

SCENARIO = "stress"
FLOORS = {
    "batch, compact observation, feeder-steps/s": 8e5,
    "single environment, compact observation, steps/s": 1e5,
    "PettingZoo, compact observation, steps/s": 2e4,
}
CEILINGS = {"10 000 feeders, compact observation, GiB": 8.0}
BUSES = (15, 30, 60, 120, 250, 500)
BATCHES = (16, 64, 256, 1024)
MEMORY_FEEDERS = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--repeats", type=int, default=7, help="runs the median is taken of")
    parser.add_argument("--num-envs", type=int, default=256, help="feeders in the batch")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- bench-feeder --> gets it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    if arguments.repeats < 1 or arguments.num_envs < 1:
        raise ScenarioError("repeats and num-envs must be at least 1.")
    from flexgym.evaluate.report import block_marks, output_folder, publish, write_results

    if arguments.document:
        block_marks(arguments.document, "bench-feeder")
    folder = output_folder(arguments.out or Path("results/bench-feeder"))
    with one_core() as core:
        rows = [
            *batch_rows(arguments.num_envs, arguments.repeats, arguments.seed),
            *single_rows(arguments.repeats, arguments.seed),
            *yardstick_rows(arguments.repeats, arguments.seed),
        ]
        growth = growth_rows(arguments.repeats, arguments.seed)
    rows.append(memory_row())
    results = write_results(
        folder,
        command=arguments.command,
        seed=arguments.seed,
        environment="flexgym/Feeder-v0",
        scenario={
            "title": "the feeder on one core", "core": core, "name": SCENARIO,
            "feeders": arguments.num_envs,
        },
        rows=rows,
        growth=growth,
    )  # fmt: skip
    growth_picture(folder / "growth.png", growth)
    print_figures(rows, arguments.repeats)
    if arguments.document:
        publish(arguments.document, "bench-feeder", markdown_table(results), results)
    print(f"wrote {folder}/results.json, growth.png")
    return 0


def _row(what: str, value: float) -> dict[str, Any]:
    return figure(what, value, FLOORS, CEILINGS)


def batch_rows(num_envs: int, repeats: int, seed: int) -> list[dict[str, Any]]:
    """Steps per second of the native batch with random actions, resets included."""
    import gymnasium as gym

    import flexgym  # registers the environments  # noqa: F401
    from flexgym.envs.feeder.vector_env import HouseRowsVectorEnv

    rng = np.random.default_rng(seed)
    rows = []
    for kind, label in (("compact", "compact observation"), ("full", "with forecasts")):
        batch = gym.make_vec("flexgym/Feeder-v0", num_envs, scenario=SCENARIO, observation=kind)
        rate = num_envs * _rate(batch, rng, repeats, seed)
        rows.append(_row(f"batch, {label}, feeder-steps/s", rate))
    feeders = max(1, num_envs // 4)
    for share in ("common", "local", "marginal"):
        houses = HouseRowsVectorEnv(feeders, share, scenario=SCENARIO, observation="compact")
        count = 1 if share == "marginal" else repeats
        rate = feeders * _rate(houses, rng, count, seed)
        rows.append(_row(f"houses as rows, {share} share, compact, feeder-steps/s", rate))
    return rows


def _rate(batch: Any, rng: np.random.Generator, repeats: int, seed: int) -> float:
    """Calls of step a second, whole days and their resets."""
    batch.reset(seed=seed)
    shape = (8, *batch.action_space.shape)
    actions = rng.uniform(-1, 1, shape).astype(np.float32)

    def day() -> None:
        for t in range(STEPS_PER_DAY):
            batch.step(actions[t % 8])

    day()
    return STEPS_PER_DAY / median(seconds(day) for _ in range(repeats))


def single_rows(repeats: int, seed: int) -> list[dict[str, Any]]:
    """Steps per second of one feeder, by Gymnasium and by PettingZoo."""
    import gymnasium as gym

    import flexgym  # registers the environments  # noqa: F401
    from flexgym.envs import feeder_v0

    rows = []
    for kind, label in (("compact", "compact observation"), ("full", "with forecasts")):
        env = gym.make(
            "flexgym/Feeder-v0", scenario=SCENARIO, observation=kind, disable_env_checker=True
        ).unwrapped
        env.reset(seed=seed)
        action = env.action_space.sample()

        def days(env: Any = env, action: Any = action) -> None:
            for _ in range(10):
                env.reset()
                for _ in range(STEPS_PER_DAY):
                    env.step(action)

        days()
        rate = 10 * STEPS_PER_DAY / median(seconds(days) for _ in range(repeats))
        rows.append(_row(f"single environment, {label}, steps/s", rate))
    agents = feeder_v0.parallel_env(scenario=SCENARIO, observation="compact")
    agents.reset(seed=seed)
    actions = {agent: agents.action_space(agent).sample() for agent in agents.agents}

    def agents_days() -> None:
        for _ in range(10):
            agents.reset()
            while agents.agents:
                agents.step(actions)

    agents_days()
    rate = 10 * STEPS_PER_DAY / median(seconds(agents_days) for _ in range(repeats))
    rows.append(_row("PettingZoo, compact observation, steps/s", rate))
    return rows


def yardstick_rows(repeats: int, seed: int) -> list[dict[str, Any]]:
    """Power flows per second of lightsim2grid on the same grid, without houses; none if absent.

    Rates depend on the machine; this one tells how fast it is.
    """
    from flexgym.evaluate.bench.grid import draw_cases
    from flexgym.evaluate.bench.power_flow_peers import SINGLE, lightsim2grid

    try:
        solvers = lightsim2grid(draw_cases("semiurb4", 256, seed))
    except ImportError:
        print("lightsim2grid is absent: nothing to compare with (extra bench).")
        return []
    solver = next(solver for solver in solvers if solver.mode == SINGLE)
    solver.work()
    rate = solver.cases / median(seconds(solver.work) for _ in range(repeats))
    return [_row("for comparison: lightsim2grid, one power flow and no houses, 1/s", rate)]


def growth_rows(repeats: int, seed: int) -> list[dict[str, Any]]:
    """Time of a step against the number of buses and feeders: chains of houses."""
    from flexgym.envs.feeder.vector_env import FeederVectorEnv

    rng = np.random.default_rng(seed)
    rows = []
    points = [(n, 64) for n in BUSES] + [(BUSES[1], n) for n in BATCHES if n != 64]
    for buses, feeders in points:
        batch = FeederVectorEnv(feeders, scenario=comb(buses), observation="compact")
        step = 1.0 / _rate(batch, rng, repeats, seed)
        rows.append({"buses": buses, "feeders": feeders, "step_us": 1e6 * step})
    return rows


def comb(buses: int) -> Any:
    """A scenario on a made-up grid: chains of up to ten buses with a house on each.

    Args:
        buses: Low-voltage buses.
    """
    import pandapower as pp

    from flexgym.envs.feeder.scenario import FeederScenario

    net = pp.create_empty_network()
    high = pp.create_bus(net, 20.0)
    bar = pp.create_bus(net, 0.4)
    pp.create_ext_grid(net, high)
    # As strong a transformer a house everywhere: the power flow is as hard on every grid.
    pp.create_transformer(net, high, bar, "0.63 MVA 20/0.4 kV", parallel=-(-buses // 30))
    at = bar
    for k in range(buses - 1):
        bus = pp.create_bus(net, 0.4)
        at = bar if k % 10 == 0 else at
        pp.create_line(net, at, bus, 0.02, "NAYY 4x150 SE")
        at = bus
    return FeederScenario.from_pandapower(
        net, buses=net.bus.index[1:].tolist(), name=f"{buses} buses", days=range(30)
    )


def growth_picture(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw how the time of a step grows with buses and with feeders."""
    from flexgym.envs.household.render import COLOURS
    from flexgym.evaluate.pictures import picture

    by_buses = [row for row in rows if row["feeders"] == 64]
    by_feeders = sorted(
        (row for row in rows if row["buses"] == BUSES[1]), key=lambda row: row["feeders"]
    )
    with picture(path, 9.6, 4.2) as canvas:
        canvas.subplots_adjust(left=0.08, right=0.975, top=0.84, bottom=0.15, wspace=0.24)
        panels = canvas.subplots(1, 2)
        for axes, found, key, title in (
            (panels[0], by_buses, "buses", "64 feeders: time by buses"),
            (panels[1], by_feeders, "feeders", f"{BUSES[1]} buses: time by feeders"),
        ):
            x = np.array([row[key] for row in found], dtype=float)
            y = np.array([row["step_us"] for row in found])
            y = y / 64.0 if key == "buses" else y
            slope = float((x * y).sum() / (x * x).sum())
            axes.plot(x, slope * x, color=COLOURS["quiet"], linewidth=1.0)
            axes.plot(x, y, "o", color=COLOURS["import"], markersize=6)
            axes.set_xlabel(key)
            axes.set_ylabel("\N{MICRO SIGN}s a step" + (" and feeder" if key == "buses" else ""))
            axes.set_title(title)
            axes.set_xlim(0.0)
            axes.set_ylim(0.0)


_MEMORY = """
import numpy as np, resource
from flexgym.envs.feeder.vector_env import FeederVectorEnv
batch = FeederVectorEnv({n}, scenario="{scenario}", observation="compact")
batch.reset(seed=0)
batch.step(np.zeros(batch.action_space.shape, dtype=np.float32))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def memory_row() -> dict[str, Any]:
    """Largest memory of a process of its own that plays so many feeders."""
    code = _MEMORY.format(n=MEMORY_FEEDERS, scenario=SCENARIO)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Linux counts kilobytes, macOS bytes.
    unit = 1.0 if sys.platform == "darwin" else 1024.0
    return _row(next(iter(CEILINGS)), float(done.stdout) * unit / 2**30)
