"""A house that plans its day at the operator's prices, and says no more than its plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.baselines.feeder.stacked_houses import WASTE_EUR_PER_KWH, HouseBlock
from flexgym.baselines.household.linear_program import (
    EXPORT,
    IMPORT,
    UNSERVED,
    PerfectForesight,
)
from flexgym.envs.household.params import DT_H, Floats, House, Series


@dataclass(frozen=True, eq=False)
class Plan:
    """All that a house answers to prices.

    Attributes:
        meter_kw: Power at the meter, shape (T,), kW, import positive.
        cost_eur: What the plan costs the house itself, EUR, without the operator's prices.
        least_eur: Least cost of its day with the operator's prices on the power at the meter,
            EUR, any house's plan and idle waste allowed: it bounds what the operator can reach.
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
        self._soc_kwh = soc_kwh
        self._beyond = self._highs.getNumCol()
        none, row = np.zeros(2 * T), np.tile(np.arange(T, dtype=np.int32), 2)
        start = np.arange(2 * T, dtype=np.int32)
        # Both stand in the load balance only, the program's first T rows.
        value = np.repeat([1.0, -1.0], T)
        self._highs.addCols(2 * T, none, none, none, 2 * T, start, row, value)
        kinds = [kind * T + np.arange(T) for kind in (IMPORT, EXPORT)]
        self._meter = np.concatenate([*kinds, self._beyond + np.arange(2 * T)]).astype(np.int32)
        self._shed = (UNSERVED * T + np.arange(T)).astype(np.int32)
        self._stores = self.store_columns().astype(np.int32)
        self._careful = False

    def bounded(self, adder_eur_per_kwh: Floats) -> Floats:
        """Prices so bounded that planning with them stays convex, shape (T,), EUR/kWh.

        Import then costs at least nothing and at most what unserved load does, or what it does
        without them where that is outside.
        """
        tariff = self.series.import_eur_per_kwh
        low, high = np.minimum(-tariff, 0.0), self.house.unserved_eur_per_kwh - tariff
        return np.clip(adder_eur_per_kwh, low, np.maximum(high, 0.0))

    def answer(
        self, adder_eur_per_kwh: Floats, profile_kw: Floats | None = None, pull: float = 0.0
    ) -> Plan:
        """The house's plan at prices.

        Args:
            adder_eur_per_kwh: Prices on the power at the meter, shape (T,), EUR/kWh.
            profile_kw: Powers that the plan shall stay near to, shape (T,), kW.
            pull: What each kWh away from them shall cost, EUR/kWh.

        Raises:
            SolverError: HiGHS found no optimum.
            ConvexityError: The plan is nothing that the house could play.
        """
        least = self._plan_at(adder_eur_per_kwh, None, 0.0)
        pull = 0.0 if profile_kw is None else pull
        # Where power earned money a plan would burn it.
        least_price = np.minimum(pull - self.series.import_eur_per_kwh, 0.0)
        adder = np.maximum(adder_eur_per_kwh, least_price)
        self._plan_at(adder, profile_kw, pull, playable=True)
        plan = self._unsplit()
        if self.wastes() and not self._careful:
            # A tie: where surplus is worth nothing, it may be burned in a battery.
            self._careful = True
            self._plan_at(adder, profile_kw, pull, playable=True)
            plan = self._unsplit()
        self.check(plan)
        return Plan(plan.meter_kw, plan.cost_eur, least)

    def _plan_at(
        self, adder: Floats, profile: Floats | None, pull: float, *, playable: bool = False
    ) -> float:
        """Solve at prices; a playable plan sheds no load that could be served."""
        T, house, highs = self.periods, self.house, self._highs
        limit = np.repeat([[house.import_limit_kw], [house.export_limit_kw]], T, axis=1)
        near = limit
        if profile is not None:
            near = np.clip(np.stack([profile, -profile]), 0.0, limit)
        price = self._cost[self._meter[: 2 * T]].reshape(2, T) + DT_H * np.stack([adder, -adder])
        cost = np.concatenate([price - DT_H * pull, price + DT_H * pull])
        upper = np.concatenate([near, limit - near])
        count = 4 * T
        highs.changeColsBounds(count, self._meter, np.zeros(count), upper.ravel())
        shed = np.maximum(self._cost[self._shed], cost[2]) if playable else self._cost[self._shed]
        columns, costs = [self._meter, self._shed], [cost.ravel(), shed]
        if self._careful:
            columns.append(self._stores)
            wear = DT_H * WASTE_EUR_PER_KWH if playable else 0.0
            costs.append(self._cost[self._stores] + wear)
        index = np.concatenate(columns)
        highs.changeColsCost(len(index), index, np.concatenate(costs))
        return self.run(soc_kwh=self._soc_kwh)

    def _unsplit(self) -> PerfectForesight:
        """The last answer as a plan of the house."""
        x, T = np.array(self._answer.col_value), self.periods
        meter = x[self._meter].reshape(2, 2, T).sum(axis=0)
        # Where import and export have one price a tie may draw and feed at once.
        meter -= meter.min(axis=0)
        x[self._meter[: 2 * T]] = meter.ravel()
        return self.plan(x[: self._beyond])
