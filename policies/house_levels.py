"""Menus of houses from what storage is worth after this period, whoever says so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.construction import house_chart
from flexgym.envs.charts.separable import split_power
from flexgym.envs.household.params import Floats
from flexgym.envs.household.simulation import HouseholdSimulation


class HouseLevels:
    """A day of menus; see `flexgym.envs.feeder.house_menus.HouseMenus`.

    Args:
        homes: The houses, in an episode; what they measure is read.
        ahead: Cost-to-go after this period of a house by its number, as chains of levels.
    """

    def __init__(self, homes: HouseholdSimulation, ahead: Callable[[int], CarLevels]) -> None:
        self._homes, self._after = homes, ahead
        self._levels: list[CarLevels] = []

    def offer(self) -> list[FlexibilityChart]:
        """See `HouseMenus`."""
        homes = self._homes
        self._levels = [self._after(i) for i in range(homes.n)]
        rows, soc, now = homes.episodes.rows, homes.soc_kwh.tolist(), homes.now.T.tolist()
        charts = []
        for i, levels in enumerate(self._levels):
            load, pv, buy, sell = now[i]
            charts.append(house_chart(rows[i], soc[i], load, pv, buy, sell, levels))
        return charts

    def follow(self, power_kw: Floats) -> Floats:
        """See `HouseMenus`; `offer` must have been called in this period."""
        homes = self._homes
        out = np.empty((3, homes.n))
        for i, levels in enumerate(self._levels):
            load, pv = homes.now[:2, i]
            house = homes.episodes.rows[i]
            out[:, i] = split_power(house, homes.soc_kwh[i], load, pv, levels, power_kw[i])
        return out
