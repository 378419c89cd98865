"""``flexgym bench clearing``: speed of the operator's answer against HiGHS."""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from flexgym.envs.errors import ScenarioError, SolverError
from flexgym.evaluate.bench.figures import (
    figure,
    markdown_table,
    one_core,
    print_figures,
    seconds,
)

RATIO = "43 menus of 8 segments, dispatch times faster than warm HiGHS"
FLOORS = {RATIO: 6.0}
ONE_PERIOD = "43 menus: clearing, AC check and settlement of a period, ms"
THOUSAND = "1000 menus on 250 buses: clearing, AC check and settlement, ms"
CEILINGS = {ONE_PERIOD: 20.0, THOUSAND: 1000.0}
SEGMENTS = 8
PERIODS = 96
BIASES = (-0.1, 0.0, 0.1)
"""Slopes of menus lie around these, EUR/kW: everybody would draw, is content, or would feed in."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--repeats", type=int, default=9, help="runs the median is taken of")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- bench-clearing --> gets it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    if arguments.repeats < 1:
        raise ScenarioError("repeats must be at least 1.")
    from flexgym.evaluate.bench import reactive
    from flexgym.evaluate.report import block_marks, output_folder, publish, write_results

    if arguments.document:
        block_marks(arguments.document, "bench-clearing")
    folder = output_folder(arguments.out or Path("results/bench-clearing"))
    with one_core() as core:
        rows = [
            *dispatch_rows(arguments.repeats, arguments.seed),
            *period_rows(arguments.repeats, arguments.seed),
            *reactive.dispatch_rows(arguments.repeats, arguments.seed),
            *reactive.period_rows(arguments.repeats, arguments.seed),
        ]
    results = write_results(
        folder,
        command=arguments.command,
        seed=arguments.seed,
        environment="clearing",
        scenario={"title": "clearing on one core", "core": core, "name": "stress"},
        rows=rows,
    )
    print_figures(rows, arguments.repeats)
    if arguments.document:
        publish(arguments.document, "bench-clearing", markdown_table(results), results)
    print(f"wrote {folder}/results.json")
    return 0


def _row(what: str, value: float) -> dict[str, Any]:
    return figure(what, value, FLOORS, CEILINGS)


def random_menus(rng: np.random.Generator, count: int, bias: float) -> list[Any]:
    """Menus of `SEGMENTS` segments within 12 kW either way; ``bias`` EUR/kW makes them draw."""
    from flexgym.envs.charts import FlexibilityChart

    menus = []
    for _ in range(count):
        power = np.sort(rng.uniform(-12.0, 12.0, SEGMENTS + 1))
        slope = np.sort(rng.normal(bias, 0.04, SEGMENTS))
        menus.append(FlexibilityChart(power, np.append(0.0, np.cumsum(slope * np.diff(power)))))
    return menus


def operator_of(scenario: Any, menus_a_house: int = 1) -> Any:
    """The operator of a feeder's scenario."""
    from flexgym.envs.charts.clearing import Operator

    return Operator(
        scenario.network, np.tile(scenario.house_bus, menus_a_house), band_pu=scenario.band_pu
    )


def draw_problems(operator: Any, seed: int) -> list[tuple]:
    """Linear programs of `PERIODS` random periods, as `dispatch` takes them."""
    rng = np.random.default_rng(seed)
    return [
        operator.problem(random_menus(rng, len(operator.bus), bias))
        for bias in rng.choice(BIASES, PERIODS)
    ]


def dispatch_rows(repeats: int, seed: int) -> list[dict[str, Any]]:
    """Exact dispatch against a HiGHS model kept from period to period."""
    from flexgym.envs.charts.merit_order import dispatch
    from flexgym.envs.feeder.scenario import FeederScenario

    problems = draw_problems(operator_of(FeederScenario.create("stress")), seed)
    found = [dispatch(*problem) for problem in problems]  # also compiles
    binding = np.array([dual > 1e-9 for _, dual, *_ in found])
    rival = WarmHighs(problems[0], np.flatnonzero(binding.any(axis=0)))
    worst = 0.0
    for problem, (power, *_) in zip(problems, found, strict=True):
        worst = max(worst, float(np.abs(rival.solve(problem) - cost_of(problem, power))))
    ours, theirs, clock = [], [], []
    for _ in range(repeats):
        ours.append(seconds(lambda: [dispatch(*problem) for problem in problems]))
        rival.clock_s = 0.0
        theirs.append(seconds(lambda: [rival.solve(problem) for problem in problems]))
        clock.append(rival.clock_s)
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    pure = [b / a for a, b in zip(ours, clock, strict=True)]
    return [
        _row(RATIO, median(ratios)),
        _row("the same against HiGHS's own clock, without updating the model", median(pure)),
        _row("dispatch of 43 menus, us", 1e6 * median(ours) / PERIODS),
        _row("the same by warm HiGHS, us", 1e6 * median(theirs) / PERIODS),
        _row("limits that bind, mean of the periods", float(binding.sum(axis=1).mean())),
        _row("limits that bind, most in a period", float(binding.sum(axis=1).max())),
        _row("largest difference of the two costs, EUR", worst),
    ]


def cost_of(problem: tuple, power: Any) -> float:
    """Cost of powers in a problem in which no limit is broken, EUR."""
    menu, slope, length, low = problem[:4]
    left, total = power - low, 0.0
    for j in range(len(slope)):
        taken = min(max(left[menu[j]], 0.0), length[j])
        left[menu[j]] -= taken
        total += slope[j] * taken
    return total


class WarmHighs:
    """One HiGHS model for all periods, with the rows that ever bind and no others.

    That is less than it would need, for nobody knows them in advance.

    Args:
        problem: Any of the problems; all have the same menus, segments and limits.
        rows: Limits the model holds.
    """

    def __init__(self, problem: tuple, rows: Any) -> None:
        import highspy

        menu, slope, length, _, columns, _, price = problem
        self._rows, self._optimal = rows, highspy.HighsModelStatus.kOptimal
        self._S, self._R, self.clock_s = len(slope), len(rows), 0.0
        self._matrix = columns.T[rows]
        highs = highspy.Highs()
        highs.setOptionValue("output_flag", False)
        highs.setOptionValue("threads", 1)
        n, none = self._S + self._R, np.empty(0)
        cost = np.concatenate([slope, price[rows]])
        upper = np.concatenate([length, np.full(self._R, highspy.kHighsInf)])
        nothing = np.zeros(n, dtype=np.int32)
        highs.addCols(n, cost, np.zeros(n), upper, 0, nothing, none.astype(np.int32), none)
        wide = np.hstack([self._matrix[:, menu], -np.eye(self._R)])
        start = np.arange(self._R, dtype=np.int32) * n
        index = np.tile(np.arange(n, dtype=np.int32), self._R)
        free = np.full(self._R, -highspy.kHighsInf)
        highs.addRows(self._R, free, -free, wide.size, start, index, wide.ravel())
        self._highs, self._free = highs, free
        self._columns = np.arange(self._S, dtype=np.int32)
        self._all_rows = np.arange(self._R, dtype=np.int32)

    def solve(self, problem: tuple) -> float:
        """Least cost of a period, EUR, from the last one's basis.

        Raises:
            SolverError: HiGHS found no optimum.
        """
        _, slope, length, low, _, limit, _ = problem
        highs, S = self._highs, self._S
        highs.changeColsCost(S, self._columns, slope)
        highs.changeColsBounds(S, self._columns, np.zeros(S), length)
        upper = limit[self._rows] - self._matrix @ low
        change = highs.changeRowsBounds  # pyright: ignore[reportAttributeAccessIssue]
        change(self._R, self._all_rows, self._free, upper)
        before = highs.getRunTime()
        highs.run()
        self.clock_s += highs.getRunTime() - before
        if highs.getModelStatus() != self._optimal:
            raise SolverError(f"HiGHS ended with {highs.getModelStatus()}; expected an optimum.")
        return highs.getInfo().objective_function_value


def period_rows(repeats: int, seed: int) -> list[dict[str, Any]]:
    """A whole period at the operator: program, AC check, corrected program, payments."""
    from flexgym.envs.feeder.scenario import FeederScenario
    from flexgym.evaluate.bench.feeder import comb

    rows = []
    for what, operator, periods in (
        (ONE_PERIOD, operator_of(FeederScenario.create("stress")), 20),
        (THOUSAND, operator_of(comb(250), 4), 2),
    ):
        rng = np.random.default_rng(seed)
        days = [
            random_menus(rng, len(operator.bus), rng.uniform(-0.05, 0.05)) for _ in range(periods)
        ]
        rows.append(_row(what, _period_ms(operator, days, repeats)))
    return rows


def _period_ms(operator: Any, days: list[list[Any]], repeats: int) -> float:
    from flexgym.envs.charts.settlement import pay_as_bid, pay_marginal

    def work() -> None:
        for menus in days:
            answer = operator.clear(menus)
            pay_as_bid(menus, answer)
            pay_marginal(menus, answer)

    work()
    return 1e3 * median(seconds(work) for _ in range(repeats)) / len(days)
