"""Network-aware planning that converges: prices of the grid from plans that are mixed.

Before the day each house sends whole plans for the day as it expects it, and the operator mixes
them (`flexgym.baselines.feeder.coordination`). What leaves a house is, for a day that is only
expected, its reactive power once, and in each iteration a plan of its day and what it costs. In
real time its menus hold to the mixture, which makes no difference to what it plans with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.baselines.feeder import FeederDay, coordinate
from flexgym.baselines.feeder.coordination import PULL_EUR_PER_KWH
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.awareness import GridPrices
from flexgym.policies.exchange import Agreed, Exchange
from flexgym.policies.planning import revised

HOLD_EUR_PER_KWH = 0.005
"""As little as the pull that the plans were made with: it breaks ties."""


@dataclass(frozen=True)
class Coordinated:
    """Prices of the grid by column generation.

    Attributes:
        iterations: How often houses answer at most.
        pull_eur_per_kwh: What a plan pays for each kWh away from the present mixture.
        hold_eur_per_kwh: What a menu adds in real time for each kWh away from the mixture. At
            prices that agree houses are indifferent between many plans, and only few of these
            fit together. 0 leaves it to chance.
    """

    iterations: int = 10
    pull_eur_per_kwh: float = PULL_EUR_PER_KWH
    hold_eur_per_kwh: float = HOLD_EUR_PER_KWH

    def prices(
        self,
        scenario: FeederScenario,
        homes: HouseholdSimulation,
        expected: Floats,
        exchange: Exchange,
        before: Floats | None = None,
    ) -> list[GridPrices]:
        """See `flexgym.policies.awareness.Pricing`; prices expected before are not used."""
        stage = revised(homes, expected)
        adders, power_kw = np.zeros((2, STEPS_PER_DAY, homes.n))
        found: list[GridPrices] = []
        for i in range(homes.n // exchange.count):
            rows = slice(i * exchange.count, (i + 1) * exchange.count)
            day = FeederDay.of_homes(scenario, stage, i)
            if homes.t > 0:
                day = day.rest(homes.t, homes.soc_kwh[rows], homes.car_kwh[rows])
            mixed = coordinate(day, self.iterations, self.pull_eur_per_kwh)
            adders[homes.t :, rows] = mixed.adders_eur_per_kwh.T
            power_kw[homes.t :, rows] = mixed.meter_kw.T
            agreed = Agreed(power_kw[:, rows], self.hold_eur_per_kwh)
            costs = tuple(mixed.cost_eur.tolist())
            found.append(GridPrices(adders[:, rows], costs, mixed.kept, mixed.house_bytes, agreed))
        return found
