"""Play patterns of an appliance on common random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gymnasium.utils import seeding

from flexgym.baselines.appliance import perfect_foresight
from flexgym.envs.appliance.dynamics import FORCED, POWER_KW, RAN
from flexgym.envs.appliance.scenario import ApplianceScenario, Episodes
from flexgym.envs.appliance.simulation import ApplianceSimulation
from flexgym.envs.household.params import Floats
from flexgym.policies.appliance import AppliancePolicy, Optimal

BOUND = "perfect foresight"
BLOCK = 4096
"""Days played side by side: the optimum keeps 12 kB of hurdle prices for each."""


@dataclass(frozen=True, eq=False)
class ApplianceDays:
    """What a policy came to on n days.

    Attributes:
        policy: Its name.
        cost_eur: Cost of each day, shape (n,), EUR.
        power_kw: Power in each hour, shape (n, T), kW.
        forced: Share of each job's hours that ran though idling was wished, shape (n,).
        value_eur: Expected cost of each day by dynamic programming, shape (n,); of the optimum.
    """

    policy: str
    cost_eur: Floats
    power_kw: Floats
    forced: Floats
    value_eur: Floats | None = None


def draw_days(scenario: ApplianceScenario, days: int, seed: int) -> Episodes:
    """Episodes of the environments seeded ``seed``, ``seed + 1`` and so on."""
    uniform = np.empty((days, scenario.draws))
    for i, row in enumerate(uniform):
        seeding.np_random(seed + i)[0].random(out=row)
    return scenario.draw(uniform)


def play_days(
    policy: AppliancePolicy,
    scenario: ApplianceScenario,
    episodes: Episodes,
    progress: Callable[[int], object] | None = None,
) -> ApplianceDays:
    """Play episodes, `BLOCK` of them side by side.

    Args:
        policy: Who decides.
        scenario: Where they come from.
        episodes: Of `draw_days`.
        progress: Called with the number of days finished since the last call.
    """
    blocks = []
    for first in range(0, len(episodes.day), BLOCK):
        blocks.append(_play(policy, scenario, episodes.take(slice(first, first + BLOCK))))
        if progress:
            progress(len(blocks[-1].cost_eur))
    cost, power, forced = (
        np.concatenate([getattr(block, name) for block in blocks])
        for name in ("cost_eur", "power_kw", "forced")
    )
    values = [block.value_eur for block in blocks if block.value_eur is not None]
    value = np.concatenate(values) if values else None
    return ApplianceDays(policy.name, cost, power, forced, value)


def _play(
    policy: AppliancePolicy, scenario: ApplianceScenario, episodes: Episodes
) -> ApplianceDays:
    n, T = episodes.price_eur_per_kwh.shape
    simulation = ApplianceSimulation(scenario, n)
    simulation.start(episodes)
    policy.begin(simulation)
    power, ran, forced = np.empty((n, T)), np.zeros(n), np.zeros(n)
    while not simulation.done:
        t = simulation.t
        outcome = simulation.step(policy.act(simulation))
        power[:, t] = outcome[:, POWER_KW]
        ran += outcome[:, RAN]
        forced += outcome[:, FORCED]
    value = policy.value_eur if isinstance(policy, Optimal) else None
    return ApplianceDays(
        policy.name, simulation.cost_eur.copy(), power, forced / np.maximum(ran, 1.0), value
    )


def foresight_days(episodes: Episodes) -> ApplianceDays:
    """The same days, had all prices been known: a bound, no policy."""
    cost, hours = perfect_foresight(episodes.jobs, episodes.price_eur_per_kwh)
    power = np.where(hours, episodes.jobs.power_kw[:, None], 0.0)
    return ApplianceDays(BOUND, cost, power, np.zeros(len(cost)))
