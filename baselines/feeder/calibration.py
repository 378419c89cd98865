"""What the limits of the feeder are worth: the evidence behind the prices of `GridCosts`.

``python -m flexgym.baselines.feeder.calibration`` solves tuning days with limits that are all
but hard, and again with the scenario's own prices. A price that is above every dual of a kind
is exact: breaking the limit gains nobody anything, and the optimum leaves it alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from flexgym.baselines.feeder.central_program import CentralOptimum, central_optimum
from flexgym.baselines.feeder.feeder_day import FeederDay
from flexgym.envs.data import SCENARIOS
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation

HARD_EUR_PER_PU_H, HARD_EUR_PER_KWH = 1e6, 1e4
"""Prices at which nothing is worth breaking a limit, but the program stays feasible."""


@dataclass(frozen=True)
class LimitWorth:
    """What the limits were worth on one feeder-day.

    Attributes:
        scenario: Name of the scenario.
        day: Day of the year.
        draw: Draw of the houses.
        voltage_eur_per_pu_h: Largest dual of the voltage band at one bus and time.
        voltages_eur_per_pu_h: Largest sum of these duals over the buses at one time.
        line_eur_per_kwh: Largest dual of a line's rating, EUR per kVAh.
        trafo_eur_per_kwh: Largest dual of a transformer's rating, EUR per kVAh.
        infeasible: Whether some limit cannot be held at any price.
        missed_kwh: Energy that cars lack in the optimum, kWh.
        gap_eur: How far the optimum is known, EUR.
        broken: Whether the optimum breaks a limit at the scenario's own prices.
        settled: Whether program and power flow agree, in both.
    """

    scenario: str
    day: int
    draw: int
    voltage_eur_per_pu_h: float
    voltages_eur_per_pu_h: float
    line_eur_per_kwh: float
    trafo_eur_per_kwh: float
    infeasible: bool
    missed_kwh: float
    gap_eur: float
    broken: bool
    settled: bool


def limit_worths(
    scenario: str | FeederScenario, days: int, split: str = "validation"
) -> Iterator[LimitWorth]:
    """Solve days of a scenario that are spread evenly over its split, the draws in turn.

    Args:
        scenario: A key of ``flexgym.envs.data.SCENARIOS``, or a scenario.
        days: How many, at most those of the split.
        split: Where the days and houses are from.
    """
    source = scenario
    if not isinstance(source, FeederScenario):
        source = FeederScenario.create(source, split)
    simulation = FeederSimulation(source, 1)
    every = source.homes.days
    places = np.unique(np.linspace(0, len(every) - 1, min(days, len(every))).round().astype(int))
    for k, place in enumerate(places):
        draw, day = k % source.draws, int(every[place])
        simulation.begin([np.random.default_rng(int(place))], {"draw": draw, "day": day})
        known = FeederDay.of(simulation)
        hard = replace(
            known.costs,
            voltage_eur_per_pu_h=HARD_EUR_PER_PU_H,
            overload_eur_per_kwh=HARD_EUR_PER_KWH,
        )
        optimum = central_optimum(replace(known, costs=hard))
        priced = central_optimum(known)
        lines = len(known.network.line_index)
        yield _worth(source.name, day, draw, lines, optimum, priced)


def _worth(
    scenario: str,
    day: int,
    draw: int,
    lines: int,
    optimum: CentralOptimum,
    priced: CentralOptimum,
) -> LimitWorth:
    duals = optimum.duals
    return LimitWorth(
        scenario,
        day,
        draw,
        float(duals.voltage_eur_per_pu_h.max()),
        float(duals.voltage_eur_per_pu_h.sum(axis=1).max()),
        float(duals.branch_eur_per_kwh[:, :lines].max(initial=0.0)),
        float(duals.branch_eur_per_kwh[:, lines:].max(initial=0.0)),
        optimum.uses_slack,
        float(optimum.missed_kwh.sum()),
        priced.gap_eur,
        priced.uses_slack,
        optimum.settled and priced.settled,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row a feeder-day as comma-separated values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", nargs="*", default=list(SCENARIOS))
    parser.add_argument("--days", type=int, default=8)
    parser.add_argument("--split", default="validation")
    chosen = parser.parse_args(arguments)
    print(",".join(field.name for field in fields(LimitWorth)))
    for scenario in chosen.scenario:
        for worth in limit_worths(scenario, chosen.days, chosen.split):
            values = (getattr(worth, field.name) for field in fields(worth))
            print(*(f"{v:.4g}" if isinstance(v, float) else v for v in values), sep=",", flush=True)


if __name__ == "__main__":
    main()
