"""``flexgym bench menus``: decisions of learned menus against solving anew.

All decide for the same houses, over a whole day, in one run. The plan on the forecast that the
network reads is made once a day and counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
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

CELLS = 24
"""Of the battery, in the grid that is solved anew: as many as a learned menu has."""
FLOORS = {
    f"decisions {cars} car, times faster than solving the conditional mean on a grid": 3.0
    for cars in ("without", "with")
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--repeats", type=int, default=5, help="runs the median is taken of")
    parser.add_argument("--houses", type=int, default=43, help="houses that decide together")
    parser.add_argument("--run", type=Path, help="run folder of flexgym train menus")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- bench-menus --> gets it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    if arguments.repeats < 1 or arguments.houses < 1:
        raise ScenarioError("repeats and houses must be at least 1.")
    from flexgym.evaluate.report import block_marks, output_folder, publish, write_results

    if arguments.document:
        block_marks(arguments.document, "bench-menus")
    folder = output_folder(arguments.out or Path("results/bench-menus"))
    with one_core() as core:
        rows = measure(arguments.repeats, arguments.houses, arguments.seed, arguments.run)
    results = write_results(
        folder,
        command=arguments.command,
        seed=arguments.seed,
        environment="flexgym/Household-v0",
        scenario={"title": "Decisions on one core", "core": core, "houses": arguments.houses},
        rows=rows,
    )
    print_figures(rows, arguments.repeats)
    if arguments.document:
        publish(arguments.document, "bench-menus", markdown_table(results), results)
    print(f"wrote {folder}/results.json")
    return 0


def measure(repeats: int, houses: int, seed: int, run: Path | None) -> list[dict[str, Any]]:
    """Milliseconds of a decision of all houses, means over the day, and their ratios."""
    from flexgym.envs.household.scenario import HouseholdScenario
    from flexgym.evaluate.rollout import HouseDays
    from flexgym.policies.learned_menus import LearnedMenus

    network = LearnedMenus.from_run(run).network if run else untrained()
    rows = []
    for car, label in ((False, "without car"), (True, "with car")):
        scenario = HouseholdScenario.create(split="test", car=car)
        homes = HouseDays.sample(scenario, houses, seed).begin(slice(0, houses))
        work = _work(homes, network)
        for once in work.values():  # compiles
            once()
        taken = {
            what: median(seconds(once) for _ in range(repeats)) / STEPS_PER_DAY
            for what, once in work.items()
        }
        ours = taken["learned menu"]
        for what, each in taken.items():
            rows.append(_row(f"{what}, {houses} houses {label}, ms", 1e3 * each))
        for what, name in (
            (
                "grid",
                f"decisions {label}, times faster than solving the conditional mean on a grid",
            ),
            ("slope merge", f"decisions {label}, times faster than merging its slopes"),
        ):
            if what in taken:
                rows.append(_row(name, taken[what] / ours))
    return rows


def _row(what: str, value: float) -> dict[str, Any]:
    return figure(what, value, FLOORS, {})


def untrained(hidden: tuple[int, ...] = (128, 128)) -> Any:
    """A network of the shipped size; how fast it is does not depend on its weights."""
    from flexgym.policies.menu_inputs import INPUTS
    from flexgym.policies.menu_network import OUTPUTS, MenuNetwork

    rng = np.random.default_rng(0)

    def layer(inputs: int, outputs: int) -> tuple[Any, Any]:
        weight = rng.normal(size=(inputs, outputs)) / np.sqrt(inputs)
        return weight.astype(np.float32), np.zeros(outputs, np.float32)

    layers = {}
    for name, outputs in OUTPUTS.items():
        sizes = (INPUTS, *hidden, outputs)
        layers[name] = [layer(a, b) for a, b in pairwise(sizes)]
    return MenuNetwork(layers, np.zeros(INPUTS, np.float32), np.ones(INPUTS, np.float32))


def _work(homes: Any, network: Any) -> dict[str, Callable[[], Any]]:
    """A day of decisions by each way, from the energies of a day played by the network."""
    from flexgym.baselines.household.certainty_equivalent import expected_factors
    from flexgym.evaluate.bench.grid_plan import expect, grid_decisions
    from flexgym.policies.household import ModelPredictive
    from flexgym.policies.learned_menus import LearnedMenus

    episodes, n = homes.episodes, homes.n
    learned = LearnedMenus(network)
    soc, car = np.empty((STEPS_PER_DAY, n)), np.empty((STEPS_PER_DAY, n))
    learned.begin(homes)
    while not homes.done:
        soc[homes.t], car[homes.t] = homes.soc_kwh, homes.car_kwh
        homes.step(learned.act(homes))

    def at(t: int) -> None:
        homes.t, homes.soc_kwh, homes.car_kwh = t, soc[t].copy(), car[t].copy()

    def by_menu() -> None:
        at(0)
        learned.begin(homes)
        for t in range(STEPS_PER_DAY):
            at(t)
            learned.powers(homes)

    def by_chart() -> None:
        at(0)
        menus = learned.menus(homes)
        for t in range(STEPS_PER_DAY):
            at(t)
            menus.offer()

    mpc = ModelPredictive()
    mpc.begin(homes)
    visits = np.ascontiguousarray(episodes.visits)
    out = np.empty((2, n))

    uncertainty = homes.scenario.uncertainty
    chains = (
        uncertainty.weather_factor,
        uncertainty.price_factor,
        float(np.dot(uncertainty.load_factors, uncertainty.load_probabilities)),
        expected_factors(uncertainty, STEPS_PER_DAY),
    )
    series = np.empty((n, 4, STEPS_PER_DAY))

    def by_grid() -> None:
        for t in range(STEPS_PER_DAY):
            at(t)
            expect(t, episodes.rows, homes.state, episodes.forecast, homes.now, *chains, series)
            grid_decisions(
                episodes.rows, series, visits, t, episodes.terminal_price, soc[t], car[t], CELLS,
                out,
            )  # fmt: skip

    def by_merge() -> None:
        for t in range(STEPS_PER_DAY):
            at(t)
            mpc.act(homes)

    work: dict[str, Callable[[], Any]] = {
        "learned menu": by_menu,
        "menus of learned slopes as charts": by_chart,
        "grid": by_grid,
    }
    if not homes.cars:
        work["slope merge"] = by_merge
    return work
