"""The learned cost-to-go of any house and forecast: charts as those of the exact one."""

from __future__ import annotations

import math

import numpy as np

from flexgym.envs.charts import ConvexPiecewiseLinear, FlexibilityChart
from flexgym.envs.charts.capability import capability
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.construction import house_chart
from flexgym.envs.errors import ScenarioError, SeriesError, StateError
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    CAPACITY,
    PV_KWP,
    check_soc,
    house_row,
    plugged,
    visits,
)
from flexgym.envs.household.params import STEPS_PER_DAY, House, Series
from flexgym.envs.uncertainty import realised_pv
from flexgym.policies.menu_network import MenuNetwork
from flexgym.policies.menu_plan import MenuPlan


class LearnedDay:
    """One house and the forecast of its day; see `flexgym.baselines.household.CostToGo`.

    Args:
        network: The network.
        house: The house.
        series: The forecast, `STEPS_PER_DAY` periods from 06:00.
        terminal_eur_per_kwh: Pay for stored energy at the end, EUR/kWh.

    Raises:
        SeriesError: The forecast has another length, or its sessions do not fit the car.
    """

    def __init__(
        self,
        network: MenuNetwork,
        house: House,
        series: Series,
        terminal_eur_per_kwh: float = 0.0,
    ) -> None:
        if len(series) != STEPS_PER_DAY:
            raise SeriesError(
                f"the forecast has {len(series)} periods; expected {STEPS_PER_DAY}, the day that "
                "the network has learned."
            )
        self._house, self._row, self._limits = house, house_row(house), capability(house)
        self._visits = visits(house.car, series.sessions, len(series))
        known = (
            series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh
        )  # fmt: skip
        self._forecast = np.stack(known)
        self._plan = MenuPlan(
            network, self._row[None], self._forecast.T[:, :, None], self._visits[:, :, None],
            np.array([float(terminal_eur_per_kwh)]),
        )  # fmt: skip

    def ahead(
        self,
        t: int,
        car_kwh: float | None = None,
        *,
        weather_factor: float = 1.0,
        price_factor: float = 1.0,
    ) -> CarLevels:
        """Cost after period t, up to a constant, beside each power of the car that counts.

        Args:
            t: Period.
            car_kwh: Energy in the car, kWh; None where it is away or just arrives.
            weather_factor: PV observed in this period as a multiple of its forecast.
            price_factor: Import price likewise.

        Raises:
            ScenarioError: No such period, or a factor that is no number >= 0.
            StateError: The car's energy is missing, or given where there is no car.
        """
        if not 0 <= t < STEPS_PER_DAY:
            raise ScenarioError(f"t is {t}; expected a period from 0 to {STEPS_PER_DAY - 1}.")
        for name, factor in (("weather_factor", weather_factor), ("price_factor", price_factor)):
            if not (math.isfinite(factor) and factor >= 0.0):
                raise ScenarioError(f"{name} is {factor}; expected a number >= 0.")
        stored = self._stored(t, car_kwh)
        self._plan.look(t, np.array([weather_factor]), np.array([price_factor]))
        return self._plan.ahead(0, stored)

    def after(
        self, t: int, *, weather_factor: float = 1.0, price_factor: float = 1.0
    ) -> ConvexPiecewiseLinear:
        """Cost after period t, up to a constant, against the battery's energy; the car away."""
        levels = self.ahead(t, weather_factor=weather_factor, price_factor=price_factor)
        ((_, function),) = levels
        return function

    def chart(
        self,
        t: int,
        soc_kwh: float,
        car_kwh: float | None = None,
        *,
        weather_factor: float = 1.0,
        price_factor: float = 1.0,
        load_kw: float | None = None,
        pv_kw: float | None = None,
    ) -> FlexibilityChart:
        """Cost of every feasible active and reactive power in period t, up to a constant.

        Args:
            t: Period.
            soc_kwh: State of charge, kWh.
            car_kwh: Energy in the car, kWh; None where it is away or just arrives.
            weather_factor: PV observed in this period as a multiple of its forecast.
            price_factor: Import price likewise.
            load_kw: Load measured, kW; default the forecast.
            pv_kw: PV measured, kW; default the forecast times its factor.

        Raises:
            StateError: An energy lies outside its limits, or the car's is missing.
            ScenarioError: No such period or factor, or a negative measurement.
        """
        check_soc(soc_kwh, self._row[CAPACITY])
        ahead = self.ahead(t, car_kwh, weather_factor=weather_factor, price_factor=price_factor)
        load, sun, buy, sell = (float(x) for x in self._forecast[:, t])
        load = load if load_kw is None else float(load_kw)
        pv = realised_pv(weather_factor, sun, self._row[PV_KWP]) if pv_kw is None else float(pv_kw)
        for name, measured in (("load_kw", load), ("pv_kw", pv)):
            if not (math.isfinite(measured) and measured >= 0.0):
                raise ScenarioError(f"{name} is {measured}; expected a measurement >= 0 kW.")
        return house_chart(
            self._row, float(soc_kwh), load, pv, buy * price_factor, sell, ahead, self._limits
        )

    def _stored(self, t: int, car_kwh: float | None) -> float:
        """Energy in the car, kWh."""
        visit = self._visits[t]
        there = bool(plugged(visit, t))
        if car_kwh is None and there and visit[ARRIVAL] < t:
            raise StateError(
                f"car_kwh is None in period {t}, in which the car is plugged in; expected the "
                "energy stored in it, kWh."
            )
        if car_kwh is not None and not there:
            raise StateError(
                f"car_kwh is {car_kwh} in period {t}, in which no car is plugged in; expected None."
            )
        if car_kwh is None:
            return float(visit[ARRIVAL_KWH]) if there else 0.0
        return float(car_kwh)
