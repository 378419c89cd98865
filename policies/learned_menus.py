"""Learned menus: a network gives the cost-to-go, the chart's code makes the menu of it.

One network serves every house. What it gives is convex whatever its weights are, so every output
is a valid menu. It plays a house by itself, offers menus on the feeder, and plans for `Menus`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.household.params import Floats, House, Series
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.house_levels import HouseLevels
from flexgym.policies.learned import read_config
from flexgym.policies.learned_day import LearnedDay
from flexgym.policies.menu_network import MenuNetwork
from flexgym.policies.menu_plan import MenuPlan
from flexgym.policies.planning import with_adders
from flexgym.policies.runs import MENUS

RECIPES = ("distilled", "experience")
"""Ways to train them; see `flexgym.train.menu_lessons`."""


class LearnedMenus:
    """Houses that play, or offer, what a network says their future costs.

    A `HouseholdPolicy` and a `Planner`; `menus` makes `HouseMenus` of it.

    Args:
        network: The network.
        name: Of tables.
    """

    settings: Mapping[str, str] = MappingProxyType({})

    prices: str | None = None
    """Price file it was trained on; None is the synthetic tariff."""

    def __init__(self, network: MenuNetwork, name: str = "learned menus") -> None:
        self.network, self.name, self.algorithm = network, name, MENUS

    @classmethod
    def load(cls, path: str | Path, name: str = "learned menus") -> LearnedMenus:
        """From a safetensors file.

        Raises:
            RunError: It is missing, damaged, or holds something else.
        """
        return cls(MenuNetwork.load(Path(path)), name)

    @classmethod
    def from_run(cls, folder: str | Path, checkpoint: str = "best") -> LearnedMenus:
        """The network of a run folder of ``flexgym train menus``.

        Raises:
            RunError: The run or its checkpoint is missing or damaged.
        """
        folder = Path(folder)
        recipe = read_config(folder, (MENUS,)).get("recipe")
        found = cls.load(folder / f"{checkpoint}.safetensors", f"menus ({folder.name})")
        found.algorithm = f"{recipe} menus"
        return found

    def begin(self, simulation: HouseholdSimulation, adders: Floats | None = None) -> None:
        """See `HouseholdPolicy` and `Planner`: read the forecast, plan on it."""
        episodes, uncertainty = simulation.episodes, simulation.scenario.uncertainty
        forecast = with_adders(episodes.forecast, episodes.rows, adders)
        self._plan = MenuPlan(
            self.network, episodes.rows, forecast, episodes.visits, episodes.terminal_price
        )
        self._factors = uncertainty.weather_factor, uncertainty.price_factor

    def look(self, homes: HouseholdSimulation) -> None:
        """See `Planner`: ask the network, once a period."""
        if homes.t != self._plan.t:
            weather, price = self._factors
            self._plan.look(homes.t, weather[homes.state], price[homes.state])

    def act(self, simulation: HouseholdSimulation) -> Floats:
        """See `HouseholdPolicy`."""
        battery, car = self.powers(simulation)
        return simulation.action(battery, car_kw=car)

    def powers(self, homes: HouseholdSimulation) -> tuple[Floats, Floats]:
        """Best powers of batteries and cars now, each shape (n,), kW."""
        self.look(homes)
        return self._plan.powers(homes.soc_kwh, homes.car_kwh, homes.now)

    def ahead(self, homes: HouseholdSimulation, row: int, kinks_kw: Floats) -> CarLevels:
        """See `Planner`; `look` must have been called in this period."""
        return self._plan.ahead(row, float(homes.car_kwh[row]))

    def expected(self, homes: HouseholdSimulation) -> Floats:
        """See `Planner`: the forecast."""
        return homes.episodes.forecast

    def cost_to_go(
        self, house: House, series: Series, *, terminal_eur_per_kwh: float = 0.0
    ) -> LearnedDay:
        """The learned cost-to-go of any house, for charts of it.

        Args:
            house: The house.
            series: The forecast of its day.
            terminal_eur_per_kwh: Pay for stored energy at the end, EUR/kWh.
        """
        return LearnedDay(self.network, house, series, terminal_eur_per_kwh)

    def menus(self, homes: HouseholdSimulation) -> LearnedHouseMenus:
        """A day of menus of these houses, as ``menus=`` of the feeder's environments takes."""
        return LearnedHouseMenus(LearnedMenus(self.network, self.name), homes)


class LearnedHouseMenus(HouseLevels):
    """A day of menus; see `flexgym.envs.feeder.house_menus.HouseMenus`.

    Args:
        learned: Whose network is asked.
        homes: The houses, in an episode; their forecast is read, and what they measure.
    """

    def __init__(self, learned: LearnedMenus, homes: HouseholdSimulation) -> None:
        super().__init__(homes, lambda row: learned.ahead(homes, row, np.empty(0)))
        self._learned = learned
        learned.begin(homes)

    def offer(self) -> list[FlexibilityChart]:
        """See `HouseMenus`."""
        self._learned.look(self._homes)
        return super().offer()
