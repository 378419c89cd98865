"""The linear programs of all houses of a feeder-day as one, with the basis of their optima."""

from __future__ import annotations

from types import SimpleNamespace

import highspy
import numpy as np
from scipy.sparse import block_diag, csc_matrix, csr_matrix

from flexgym.baselines.feeder.feeder_day import FeederDay
from flexgym.baselines.household.linear_program import (
    HouseDayProgram,
    PerfectForesight,
)
from flexgym.envs.household.params import Floats, House, Series


class HouseBlock(HouseDayProgram):
    """The program of one house-day, solved, for a larger one to take up.

    Attributes:
        own_eur: Cost of the house's own optimum.
    """

    def __init__(self, house: House, series: Series, soc_kwh: float, terminal: float) -> None:
        super().__init__(house, len(series))
        self.load(series, terminal_eur_per_kwh=terminal)
        self.own_eur = self.run(soc_kwh=soc_kwh)
        self.own = self.dispatch()
        lp, basis = self._highs.getLp(), self._highs.getBasis()
        matrix = lp.a_matrix_
        whole = csc_matrix(
            (matrix.value_, matrix.index_, matrix.start_), shape=(lp.num_row_, lp.num_col_)
        ).tocsr()
        low, high = np.array(lp.row_lower_), np.array(lp.row_upper_)
        basic = highspy.HighsBasisStatus.kBasic
        # Rows without limits (of a car that is away) weigh the simplex down.
        kept = np.array([status != basic for status in basis.row_status])
        kept |= np.isfinite(low) | np.isfinite(high)
        self.matrix: csr_matrix = whole[np.flatnonzero(kept)]
        self.row_bounds: Floats = np.stack([low, high])[:, kept]
        self.column_bounds: Floats = np.array([lp.col_lower_, lp.col_upper_])
        self.cost: Floats = np.array(lp.col_cost_)
        self.column_status = list(basis.col_status)
        self.row_status = [s for s, keep in zip(basis.row_status, kept, strict=True) if keep]

    def plan(self, x: Floats) -> PerfectForesight:
        """What values of the columns mean."""
        self._answer = SimpleNamespace(col_value=x)
        return self.dispatch()


class StackedHouses:
    """All houses of a day, side by side.

    Attributes:
        blocks: One a house.
        first: First column of each house, and the number of columns, shape (H + 1,).
    """

    def __init__(self, day: FeederDay) -> None:
        self.blocks = [
            HouseBlock(house, series, float(soc), float(terminal))
            for house, series, soc, terminal in zip(
                day.houses, day.series, day.soc_kwh, day.terminal_eur_per_kwh, strict=True
            )
        ]
        self.first = np.cumsum([0, *(len(block.cost) for block in self.blocks)])

    @property
    def own_eur(self) -> float:
        """Sum of the houses' own optima, EUR: what no plan undercuts."""
        return sum(block.own_eur for block in self.blocks)

    def pass_to(self, highs: highspy.Highs) -> None:
        """Make the houses the model, and their own optima its basis."""
        blocks = self.blocks
        matrix = csr_matrix(block_diag([block.matrix for block in blocks], format="csr"))
        rows = np.concatenate([block.row_bounds for block in blocks], axis=1)
        columns = np.concatenate([block.column_bounds for block in blocks], axis=1)
        lp = highspy.HighsLp()
        lp.num_row_, lp.num_col_ = matrix.shape
        lp.col_cost_ = np.concatenate([block.cost for block in blocks])
        lp.col_lower_, lp.col_upper_ = columns
        lp.row_lower_, lp.row_upper_ = rows
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = matrix.indptr.astype(np.int32)
        lp.a_matrix_.index_ = matrix.indices.astype(np.int32)
        lp.a_matrix_.value_ = matrix.data
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

    def meter_columns(self, t: int) -> np.ndarray:
        """Columns of what each house draws (H), then of what it feeds in (H), in a period."""
        drawn = self.first[:-1] + t
        return np.concatenate([drawn, drawn + self.blocks[0].periods])
