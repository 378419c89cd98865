"""The known day of a house with battery and car: every answer is a linear program's."""

from __future__ import annotations

from flexgym.baselines.household.known_car_day import KnownCarDay
from flexgym.baselines.household.linear_program import HouseDayProgram
from flexgym.baselines.household.tables import Ints, Moment
from flexgym.envs.household.params import Floats, House, Series


class ProgramDay(KnownCarDay):
    """See `Tables`; for cars that can discharge, too.

    Args:
        house: The house, with a car.
        series: The day, with sessions.
        terminal_eur_per_kwh: Pay for energy left in the battery, EUR/kWh.
    """

    def __init__(self, house: House, series: Series, terminal_eur_per_kwh: float) -> None:
        super().__init__(house, series, terminal_eur_per_kwh)
        self._program = HouseDayProgram(house, len(series))
        self._program.load(series, terminal_eur_per_kwh=terminal_eur_per_kwh)

    def slopes(self, t: int, soc_kwh: float, car_kwh: float) -> tuple[float, float, float]:
        """Cost from period t on and a subgradient of it in both energies: EUR, EUR/kWh twice."""
        if t == self.periods:
            return -self._terminal * soc_kwh, -self._terminal, 0.0
        there = self.plugged(t)
        cost = self._program.run(soc_kwh=soc_kwh, car_kwh=car_kwh if there else None, start=t)
        soc, car = self._program.slopes
        return cost, soc, car if there else 0.0

    def play(self, now: Moment, rows: Ints, battery_kw: Floats, car_kw: Floats) -> None:
        """See `Tables`."""
        for i in rows:
            self.slopes(now.t, float(now.soc_kwh[i]), float(now.car_kwh[i]))
            best = self._program.dispatch()
            battery_kw[i], car_kw[i] = best.battery_kw[now.t], best.car_kw[now.t]
