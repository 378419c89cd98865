"""A house that plans its day at the operator's prices, and says no more than its plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.baselines.feeder.stacked_houses import HouseBlock
from flexgym.baselines.household.linear_program import _EXPORT, _IMPORT, PerfectForesight
from flexgym.envs.household.params import DT_H, Floats, House, Series


@dataclass(frozen=True, eq=False)
class Plan:
    """All that a house answers to prices.

    Attributes:
        meter_kw: Power at the meter, shape (T,), kW, import positive.
        cost_eur: What the plan costs the house itself, EUR, without the operator's prices.
        least_eur: Least cost of its day with the operator's prices on the power at the meter,
            EUR. It proves how far from the optimum the operator can be.
    """

    meter_kw: Floats
    cost_eur: float
    least_eur: float

    @property
    def n_bytes(self) -> int:
        """Size of the message: T + 2 numbers of 8 bytes."""
        return self.meter_kw.nbytes + 16


class PlanningHouse(HouseBlock):
    """The persistent program of a house-day under prices and a pull towards a profile.

    Import and export are split where the profile lies: power between zero and the profile
    earns the pull, power beyond it costs the pull. So it needs columns, but no rows.

    Args:
        house: The house.
        series: What happens around it, T periods.
        soc_kwh: State of charge at the start, kWh.
        terminal: Pay for energy left in the battery, EUR/kWh.
    """

    def __init__(self, house: House, series: Series, soc_kwh: float, terminal: float) -> None:
        super().__init__(house, series, soc_kwh, terminal)
        T = self.periods
        self.selfish = self.dispatch()
        self._soc_kwh = soc_kwh
        self._beyond = self._highs.getNumCol()
        none, row = np.zeros(2 * T), np.tile(np.arange(T, dtype=np.int32), 2)
        start = np.arange(2 * T, dtype=np.int32)
        # Both stand in the load balance only, the program's first T rows.
        value = np.repeat([1.0, -1.0], T)
        self._highs.addCols(2 * T, none, none, none, 2 * T, start, row, value)
        kinds = [kind * T + np.arange(T) for kind in (_IMPORT, _EXPORT)]
        self._meter = np.concatenate([*kinds, self._beyond + np.arange(2 * T)]).astype(np.int32)
        self._lowest: Floats = np.minimum(-series.import_eur_per_kwh, 0.0)
        self._highest: Floats = house.unserved_eur_per_kwh - series.import_eur_per_kwh

    def bounded(self, adder_eur_per_kwh: Floats) -> Floats:
        """Prices so bounded that no plan gains by wasting energy or shedding load, shape (T,).

        Import then costs at least nothing (or what it does without them, if less) and at most
        what unserved load does.
        """
        return np.clip(adder_eur_per_kwh, self._lowest, np.maximum(self._highest, 0.0))

    def answer(
        self, adder_eur_per_kwh: Floats, profile_kw: Floats | None = None, pull: float = 0.0
    ) -> tuple[Plan, PerfectForesight]:
        """The house's plan at prices: what it says, and what it keeps to itself.

        Args:
            adder_eur_per_kwh: Prices on the power at the meter, shape (T,), EUR/kWh.
            profile_kw: Powers that the plan shall stay near to, shape (T,), kW.
            pull: What each kWh away from them shall cost, EUR/kWh.

        Raises:
            SolverError: HiGHS found no optimum.
        """
        least = self._plan_at(adder_eur_per_kwh, None, 0.0)
        bounded = self.bounded(adder_eur_per_kwh)
        if pull > 0.0 and profile_kw is not None:
            self._plan_at(bounded, profile_kw, pull)
        elif not np.array_equal(bounded, adder_eur_per_kwh):
            self._plan_at(bounded, None, 0.0)
        plan = self._unsplit()
        return Plan(plan.meter_kw, plan.cost_eur, least), plan

    def _plan_at(self, adder: Floats, profile: Floats | None, pull: float) -> float:
        T, house = self.periods, self.house
        limit = np.repeat([[house.import_limit_kw], [house.export_limit_kw]], T, axis=1)
        near = limit
        if profile is not None:
            near = np.minimum(np.stack([np.maximum(profile, 0.0), np.maximum(-profile, 0.0)]), limit)
        price = self._cost[self._meter[: 2 * T]].reshape(2, T) + DT_H * np.stack([adder, -adder])
        cost = np.concatenate([price - DT_H * pull, price + DT_H * pull])
        upper = np.concatenate([near, limit - near])
        count = 4 * T
        self._highs.changeColsCost(count, self._meter, cost.ravel())
        self._highs.changeColsBounds(count, self._meter, np.zeros(count), upper.ravel())
        return self.run(soc_kwh=self._soc_kwh)

    def _unsplit(self) -> PerfectForesight:
        """The last answer as a plan of the house."""
        x, T = np.array(self._answer.col_value), self.periods
        meter = x[self._meter].reshape(2, 2, T).sum(axis=0)
        # Prices that import and export share leave ties of drawing and feeding at once.
        meter -= meter.min(axis=0)
        x[self._meter[: 2 * T]] = meter.ravel()
        return self.plan(x[: self._beyond])
