"""``flexgym bench household``: speed of the exact solver, the charts and the environment."""

from __future__ import annotations

import argparse
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

ENV_ID = "flexgym/Household-v0"
FLOORS = {
    "exact house-day, times faster than a persistent HiGHS model": 35.0,
    "batched environment without car, compact observation, house-steps/s": 5e6,
    "single environment, steps/s": 5e4,
    "real-time charts in P and Q with car, hybrid inverter, charts/s": 1e3,
    "real-time charts in P and Q with car, separate inverters, charts/s": 1e3,
}
CEILINGS = {
    "certified house-day with car, slowest of the houses, s": 10.0,
    "its certified gap, largest of the houses, % of the value of flexibility": 0.5,
    "charts of 43 houses with car, hybrid inverter, ms": 50.0,
    "charts of 43 houses with car, separate inverters, ms": 50.0,
}
"""Figures that must not be passed, where a floor must be reached."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--repeats", type=int, default=9, help="runs the median is taken of")
    parser.add_argument("--num-envs", type=int, default=1024, help="houses in the batch")
    parser.add_argument("--houses", type=int, default=43, help="houses with a car to solve")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- bench --> gets the table"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    if arguments.repeats < 1 or arguments.num_envs < 1 or not 1 <= arguments.houses <= 43:
        raise ScenarioError("repeats and num-envs must be at least 1, houses 1 to 43.")
    from flexgym.evaluate.report import block_marks, output_folder, publish, write_results

    if arguments.document:
        block_marks(arguments.document, "bench")
    folder = output_folder(arguments.out or Path("results/bench-household"))
    with one_core() as core:
        rows = [
            *solver_rows(arguments.repeats, arguments.seed),
            *two_store_rows(arguments.repeats, arguments.seed, arguments.houses),
            *environment_rows(arguments.repeats, arguments.num_envs, arguments.seed),
        ]
    results = write_results(
        folder,
        command=arguments.command,
        seed=arguments.seed,
        environment=ENV_ID,
        scenario={"title": "speed on one core", "core": core, "num_envs": arguments.num_envs},
        rows=rows,
    )
    print_figures(rows, arguments.repeats)
    if arguments.document:
        publish(arguments.document, "bench", markdown_table(results), results)
    print(f"wrote {folder}/results.json")
    return 0


def _row(what: str, value: float) -> dict[str, Any]:
    return figure(what, value, FLOORS, CEILINGS)


def solver_rows(repeats: int, seed: int, days: int = 40) -> list[dict[str, Any]]:
    """Exact recursion against a persistent HiGHS model on the same house and days."""
    from flexgym.baselines.household.linear_program import HouseDayProgram
    from flexgym.envs.charts.recursion import backward, dispatch
    from flexgym.envs.household.params import STEPS_PER_DAY
    from flexgym.envs.household.scenario import HouseholdScenario

    scenario = HouseholdScenario.create(split="test", uncertainty="none", car=False)
    rng = np.random.default_rng(seed)
    house = int(rng.integers(len(scenario.houses)))
    played = rng.choice(scenario.days, size=days)
    known = [scenario.forecast_series(house, int(day)) for day in played]
    arrays = [
        np.stack([s.load_kw, s.pv_kw, s.import_eur_per_kwh, s.export_eur_per_kwh]) for s, _ in known
    ]
    row = scenario.rows[house]
    program = HouseDayProgram(scenario.houses[house], STEPS_PER_DAY)
    offset, value = np.zeros(STEPS_PER_DAY + 2, dtype=np.int64), np.zeros(STEPS_PER_DAY + 1)
    slopes, lengths = np.empty(64 * STEPS_PER_DAY), np.empty(64 * STEPS_PER_DAY)
    battery = np.empty(STEPS_PER_DAY)

    def by_recursion() -> None:
        for (_, terminal), series in zip(known, arrays, strict=True):
            backward(row, series, terminal, offset, value, slopes, lengths)

    def by_recursion_with_dispatch() -> None:
        for (_, terminal), series in zip(known, arrays, strict=True):
            backward(row, series, terminal, offset, value, slopes, lengths)
            dispatch(row, series, 0.0, offset, slopes, lengths, battery)

    inside: list[float] = []

    def by_program() -> None:
        before = program.solver_s
        for series, terminal in known:
            program.solve(series, soc_kwh=0.0, terminal_eur_per_kwh=terminal)
        inside.append(program.solver_s - before)

    for work in (by_recursion_with_dispatch, by_program):
        work()
    inside.clear()
    times = [
        (seconds(by_recursion), seconds(by_recursion_with_dispatch), seconds(by_program))
        for _ in range(repeats)
    ]
    return [
        _row(
            "exact house-day, times faster than a persistent HiGHS model",
            median(c / a for a, _, c in times),
        ),
        _row("the same with the optimal dispatch", median(c / b for _, b, c in times)),
        _row(
            "the same against HiGHS's own clock, without updating the model",
            median(s / a for s, (a, _, _) in zip(inside, times, strict=True)),
        ),
        _row("exact house-day, us", 1e6 * median(a for a, _, _ in times) / days),
        _row("house-day by persistent HiGHS, us", 1e6 * median(c for _, _, c in times) / days),
    ]


def two_store_rows(repeats: int, seed: int, houses: int) -> list[dict[str, Any]]:
    """Houses of one stressed feeder, each on a test day with its car, and their charts."""
    from dataclasses import replace

    from flexgym.baselines.household import cost_to_go
    from flexgym.envs.data import SCENARIOS, SessionModel, feeder43, split_days, synthetic_sessions
    from flexgym.envs.data.houses import HOUSE_SEEDS
    from flexgym.envs.household.params import STEPS_PER_DAY
    from flexgym.envs.household.scenario import HouseholdScenario

    feeder = feeder43(HOUSE_SEEDS["test"][seed % 1000], "stress")[:houses]
    sessions = synthetic_sessions(feeder, SessionModel.of_feeder("stress"))
    days = split_days("test", SCENARIOS["stress"].months)
    scenario = HouseholdScenario.create(feeder, days, sessions=sessions)
    order = np.random.default_rng(seed).permutation(days).tolist()
    known = [
        scenario.forecast_series(k, next(day for day in order if sessions.of(k, day)))
        for k in range(houses)
    ]

    def solve(k: int) -> Any:
        series, terminal = known[k]
        chains = scenario.uncertainty
        return cost_to_go(
            scenario.houses[k], series, uncertainty=chains, terminal_eur_per_kwh=terminal
        )

    solve(0)  # compiled now
    solved, took = [], []
    for k in range(houses):
        took.append(seconds(lambda k=k: solved.append(solve(k))))
    gaps = [100.0 * s.gap_eur / s.flexibility_eur() for s in solved]
    rows = [
        _row("certified house-day with car, median of the houses, s", median(took)),
        _row("certified house-day with car, slowest of the houses, s", max(took)),
        _row("its certified gap, largest of the houses, % of the value of flexibility", max(gaps)),
    ]
    periods = range(0, STEPS_PER_DAY, 8)
    for inverter, label in (("hybrid", "hybrid inverter"), ("separate", "separate inverters")):
        changed = [
            s
            if inverter == "hybrid"
            else replace(
                s, house=replace(s.house, inverter="separate", inverter_kva=s.house.pv_kwp)
            )
            for s in solved
        ]

        def charts(changed: Any = changed) -> None:
            for t in periods:
                for function in changed:
                    there = [x for x in function.series.sessions if x.arrival <= t < x.departure]
                    car = 0.5 * (there[0].arrival_kwh + there[0].needed_kwh) if there else None
                    stored = 0.5 * function.house.battery.capacity_kwh
                    _ = function.chart(t, stored, car, state=4).vertices

        charts()
        each = median(seconds(charts) for _ in range(repeats)) / (len(solved) * len(periods))
        rows.append(_row(f"real-time charts in P and Q with car, {label}, charts/s", 1.0 / each))
        rows.append(_row(f"charts of 43 houses with car, {label}, ms", 43e3 * each))
    return rows


def environment_rows(repeats: int, num_envs: int, seed: int) -> list[dict[str, Any]]:
    """Steps per second with random actions, resets included."""
    import gymnasium as gym

    import flexgym  # registers the environments  # noqa: F401
    from flexgym.envs.household.params import STEPS_PER_DAY

    rows = []
    rng = np.random.default_rng(seed)
    for car, kind, label in (
        (False, "compact", " without car, compact observation"),
        (False, "full", " without car, with forecasts"),
        (True, "compact", " with car, compact observation"),
        (True, "full", " with car, with forecasts"),
    ):
        batch = gym.make_vec(ENV_ID, num_envs, observation=kind, car=car)
        batch.reset(seed=seed)
        actions = rng.uniform(-1, 1, (8, num_envs, 2 if car else 1)).astype(np.float32)

        def day(batch: Any = batch, actions: Any = actions) -> None:
            for t in range(STEPS_PER_DAY):
                batch.step(actions[t % 8])

        day()
        rate = num_envs * STEPS_PER_DAY / median(seconds(day) for _ in range(repeats))
        rows.append(_row(f"batched environment{label}, house-steps/s", rate))
    for kind, label in (("full", ""), ("compact", ", compact observation")):
        env = gym.make(ENV_ID, observation=kind, disable_env_checker=True)
        env.reset(seed=seed)
        action = np.zeros(env.action_space.shape, dtype=np.float32)  # type: ignore[arg-type]

        def days(env: Any = env, action: Any = action) -> None:
            for _ in range(10):
                env.reset()
                for _ in range(STEPS_PER_DAY):
                    env.step(action)

        days()
        rate = 10 * STEPS_PER_DAY / median(seconds(days) for _ in range(repeats))
        rows.append(_row(f"single environment{label}, steps/s", rate))
    return rows
