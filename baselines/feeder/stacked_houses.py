"""The linear programs of all houses of a feeder-day as one, and the basis of their optima."""

from __future__ import annotations

from types import SimpleNamespace

import highspy
import numpy as np
from scipy.sparse import block_diag, csc_matrix, csr_matrix

from flexgym.baselines.feeder.feeder_day import FeederDay, Ints
from flexgym.baselines.household.linear_program import (
    CHARGE,
    DISCHARGE,
    GIVE,
    TAKE,
    HouseDayProgram,
    PerfectForesight,
)
from flexgym.envs.errors import ConvexityError
from flexgym.envs.household.dynamics import ARRIVAL, TARGET_KWH
from flexgym.envs.household.params import DT_H, Floats, House, Series

_ROUNDING_KW = 1e-6
WASTE_EUR_PER_KWH = 1e-6
"""What breaks ties in which wasting energy costs nothing."""


class HouseBlock(HouseDayProgram):
    """The solved program of one house-day, for a larger one to take up.

    Attributes:
        own_eur: Cost of the house's own optimum.
        matrix: Its rows, those without limits left out.
        row_bounds: Their lower and upper limits, shape (2, rows).
        column_bounds: Those of the columns, shape (2, columns).
        cost: Cost of each column.
        row_period: Period of each row.
        row_status: Basis of the optimum.
        column_status: Likewise.
    """

    def __init__(
        self,
        house: House,
        series: Series,
        soc_kwh: float,
        terminal: float,
        *,
        earlier: bool = False,
    ) -> None:
        super().__init__(house, len(series), earlier=earlier)
        # For one solution it takes longer than it saves.
        self._highs.setOptionValue("presolve", "off")
        self.load(series, terminal_eur_per_kwh=terminal)
        self.own_eur = self.run(soc_kwh=soc_kwh)
        self.series = series
        lp, basis = self._highs.getLp(), self._highs.getBasis()
        matrix = lp.a_matrix_
        whole = csc_matrix(
            (matrix.value_, matrix.index_, matrix.start_), shape=(lp.num_row_, lp.num_col_)
        ).tocsr()
        low, high = np.array(lp.row_lower_), np.array(lp.row_upper_)
        # Rows without limits, of a car that is away, only weigh the simplex down.
        kept = np.array([status != highspy.HighsBasisStatus.kBasic for status in basis.row_status])
        kept |= np.isfinite(low) | np.isfinite(high)
        self.matrix = csr_matrix(whole[np.flatnonzero(kept)])
        self.row_period: Ints = np.flatnonzero(kept) % self.periods
        self.row_bounds: Floats = np.stack([low, high])[:, kept]
        self.column_bounds: Floats = np.array([lp.col_lower_, lp.col_upper_])
        self.cost: Floats = np.array(lp.col_cost_)
        self.column_status = list(basis.col_status)
        self.row_status = [s for s, keep in zip(basis.row_status, kept, strict=True) if keep]

    def plan(self, x: Floats) -> PerfectForesight:
        """What values of the columns mean."""
        self._answer = SimpleNamespace(col_value=x)
        return self.dispatch()

    def wastes(self) -> bool:
        """Whether the last plan charges and discharges at once, so that energy goes astray."""
        blocks = np.asarray(self._answer.col_value)[: self._soc].reshape(self._blocks, -1)
        pairs = ((CHARGE, DISCHARGE), (TAKE, GIVE))[: 1 if self.house.car is None else 2]
        return bool(max(np.minimum(blocks[a], blocks[b]).max() for a, b in pairs) > _ROUNDING_KW)

    def column_period(self) -> Ints:
        """Period of each column; for stored energies that at whose start they are meant."""
        states = np.tile(np.arange(self.periods + 1), 1 if self.house.car is None else 2)
        return np.concatenate([np.tile(np.arange(self.periods), self._blocks), states])

    def battery_state(self, t: int) -> int:
        """Column of the state of charge at the start of a period."""
        return self._soc + t

    def car_state(self, t: int) -> tuple[int, float] | None:
        """Column of the car's energy, and the most it may be, if the car came before period t."""
        if self.house.car is None or not self._visits[t, ARRIVAL] < t:
            return None
        return self._stored + t, float(self._visits[t, TARGET_KWH])

    def store_columns(self) -> Ints:
        """Columns of power into and out of battery and car."""
        kinds = (CHARGE, DISCHARGE, TAKE, GIVE)[: 2 if self.house.car is None else 4]
        return np.concatenate([kind * self.periods + np.arange(self.periods) for kind in kinds])

    def check(self, plan: PerfectForesight) -> None:
        """Refuse the last plan if the house cannot play it.

        Raises:
            ConvexityError: It wastes energy, or leaves load unserved that could be served.
        """
        room = self.house.import_limit_kw - plan.meter_kw > _ROUNDING_KW
        if self.wastes() or (room & (plan.unserved_kw > _ROUNDING_KW)).any():
            raise ConvexityError(
                f"the plan of the house at bus {self.house.bus!r} charges and discharges at once "
                "or sheds load to relieve the grid, which no house can do; expected prices at "
                "which that never pays. Raise the wear or the price of unserved load, or lower "
                "the prices of violated limits; where import prices are negative, raise them to "
                "zero, for then losses earn money and no linear program knows the optimum."
            )


class StackedHouses:
    """All houses of a day, side by side.

    Args:
        day: The day.
        earlier: Let ties go to the plan that stores earlier.

    Attributes:
        blocks: One a house.
        first: First column of each house, and the number of columns, shape (H + 1,).
        first_row: First row of each house, and the number of rows, shape (H + 1,).
        own_eur: Sum of the houses' own optima, EUR: no plan costs the houses less.
    """

    def __init__(self, day: FeederDay, *, earlier: bool = False) -> None:
        terminal = day.terminal_eur_per_kwh
        self.blocks = [
            HouseBlock(house, series, float(soc), float(price), earlier=earlier)
            for house, series, soc, price in zip(
                day.houses, day.series, day.soc_kwh, terminal, strict=True
            )
        ]
        self.first: Ints = np.cumsum([0, *(len(block.cost) for block in self.blocks)])
        self.first_row: Ints = np.cumsum([0, *(len(block.row_period) for block in self.blocks)])
        self.own_eur = sum(block.own_eur for block in self.blocks)
        self._periods = day.periods
        self._discouraged: set[int] = set()

    def pass_to(self, highs: highspy.Highs) -> None:
        """Make the houses the model, and their own optima its basis."""
        blocks = self.blocks
        matrix = csr_matrix(block_diag([block.matrix for block in blocks], format="csr"))
        rows = np.concatenate([block.row_bounds for block in blocks], axis=1)
        columns = np.concatenate([block.column_bounds for block in blocks], axis=1)
        lp = highspy.HighsLp()
        lp.num_row_, lp.num_col_ = rows.shape[1], columns.shape[1]
        lp.col_cost_ = np.concatenate([block.cost for block in blocks])
        lp.col_lower_, lp.col_upper_ = columns[0], columns[1]
        lp.row_lower_, lp.row_upper_ = rows[0], rows[1]
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = matrix.indptr.astype(np.int32)
        lp.a_matrix_.index_ = matrix.indices.astype(np.int32)
        lp.a_matrix_.value_ = matrix.data.astype(np.float64)
        highs.passModel(lp)
        basis = highspy.HighsBasis()
        basis.col_status = [status for block in blocks for status in block.column_status]
        basis.row_status = [status for block in blocks for status in block.row_status]
        basis.valid = True
        highs.setBasis(basis)

    def plans(self, x: Floats) -> list[PerfectForesight]:
        """Each house's plan in a solution of the whole."""
        bounds = zip(self.first[:-1], self.first[1:], strict=True)
        return [
            block.plan(x[begin:end])
            for block, (begin, end) in zip(self.blocks, bounds, strict=True)
        ]

    def discourage_waste(self, highs: highspy.Highs) -> bool:
        """Break ties in which wasting energy costs nothing; whether there were new ones.

        Houses that waste in the last plans get a price on every kWh into or out of a store, too
        small to matter otherwise.
        """
        found = False
        for k, block in enumerate(self.blocks):
            if k not in self._discouraged and block.wastes():
                self._discouraged.add(k)
                columns = block.store_columns()
                cost = block.cost[columns] + DT_H * WASTE_EUR_PER_KWH
                index = (self.first[k] + columns).astype(np.int32)
                highs.changeColsCost(len(index), index, cost)
                found = True
        return found

    def columns(self, kind: int) -> Ints:
        """Columns of a kind that every house has, shape (H, T)."""
        return self.first[:-1, None] + kind * self._periods + np.arange(self._periods)

    def meter_columns(self, t: int) -> Ints:
        """Columns of what each house draws (H), then of what it feeds in (H), in a period."""
        drawn = self.first[:-1] + t
        return np.concatenate([drawn, drawn + self._periods])
