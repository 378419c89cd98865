"""Houses that answer to an aggregator's quote: menus planned anew with the hour's price.

`QuotedMenus` are exact, `QuickQuotedMenus` several times as fast, for training.
"""

from __future__ import annotations

import numpy as np

from flexgym.baselines.household.tables import KnownDay, Tables
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.household.dynamics import BUY, SELL
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.exchange import Teller
from flexgym.policies.planning import Expected, Foreseen, tables_of, with_adders
from flexgym.policies.quick_menus import QuickMenus

_PERIODS = 4
"""Periods for which a quote holds."""


class QuotedMenus(Foreseen):
    """See `flexgym.envs.aggregator_market.priced_houses.PricedHouses`.

    Houses know their day where the scenario has no uncertainty, and then their cost-to-go is exact
    whatever they have done before. Else they expect the conditional mean of what comes, anew each
    hour.

    Args:
        homes: The houses, in an episode, between two hours.
    """

    def __init__(self, homes: HouseholdSimulation) -> None:
        self._homes = homes
        uncertainty = homes.scenario.uncertainty
        self._certain = uncertainty.n_states == 1 and len(uncertainty.load_factors) == 1
        self._forecast = Expected()
        self._tellers: list[Teller] = []
        self._silent: list[Tables] = []
        if self._certain:
            self._silent = self._planned(homes.episodes.exogenous, 0)

    def _planned(self, series: Floats, start: int) -> list[Tables]:
        homes = self._homes
        return [tables_of(homes, row, series[:, :, row], start) for row in range(homes.n)]

    def price(self, adder_eur_per_kwh: Floats) -> None:
        """See `PricedHouses`."""
        homes = self._homes
        t, series = homes.t, homes.episodes.exogenous
        if not self._certain:
            series = self._forecast.expected(homes)
            self._silent = self._planned(series, t)
        adders = np.zeros((STEPS_PER_DAY, homes.n))
        adders[t : t + _PERIODS] = adder_eur_per_kwh
        priced = with_adders(series, homes.episodes.rows, adders)
        self.tables = [
            self._silent[row] if adder == 0.0 else tables_of(homes, row, priced[:, :, row], t)
            for row, adder in enumerate(adder_eur_per_kwh)
        ]

    def offer(self) -> list[FlexibilityChart]:
        """See `PricedHouses`."""
        self._tellers = [Teller(self._homes, self, row) for row in range(self._homes.n)]
        return [teller.menu for teller in self._tellers]

    def follow(self, power_kw: Floats) -> Floats:
        """See `PricedHouses`; `offer` must have been called in this period."""
        each = zip(self._tellers, power_kw.tolist(), strict=True)
        return np.array([teller.devices(power) for teller, power in each]).T


class QuickQuotedMenus(QuickMenus):
    """The same with quick menus: battery and car each plan alone, on the forecast.

    Args:
        homes: The houses, in an episode, between two hours.
    """

    def __init__(self, homes: HouseholdSimulation) -> None:
        super().__init__(homes)
        self._silent = self._ahead, self._plans

    def price(self, adder_eur_per_kwh: Floats) -> None:
        """See `flexgym.envs.aggregator_market.priced_houses.PricedHouses`."""
        episodes, t = self._homes.episodes, self._homes.t
        silent, plans = self._silent
        self._ahead, self._plans = silent.copy(), list(plans)
        hour = slice(t, t + _PERIODS)
        self._ahead[:, [BUY, SELL], hour] += adder_eur_per_kwh[:, None, None]
        for row in np.flatnonzero(adder_eur_per_kwh):
            terminal = float(episodes.terminal_price[row])
            self._plans[row] = KnownDay.solve(episodes.rows[row], self._ahead[row], terminal)
