"""The grid in a linear program: limits and losses as rows that are added where they matter.

Voltages and flows are LinDistFlow's, shifted so that they are exact at an AC operating point.
The AC losses are convex in the powers, so that their tangent planes bound them from below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import highspy
import numpy as np
from scipy.sparse import csc_matrix

from flexgym.baselines.feeder.feeder_day import FeederGrid, GridCheck, Ints
from flexgym.envs.errors import PowerFlowError
from flexgym.envs.grid.linear import LinDistFlow
from flexgym.envs.household.params import DT_H, Floats

HIGH, LOW, DRAWN, FED = range(4)
"""Kinds of limits: highest and lowest voltage, power down and up a branch."""
NEAR_PU, NEAR_PERCENT = 0.001, 98.0
"""Limits get a row where the power flow comes so close to them."""
_SCALE = 1000.0  # squared voltages beside powers in kW
_BINDS = 1e-7  # EUR
_INF = highspy.kHighsInf


@dataclass(frozen=True, eq=False)
class GridDuals:
    """What the grid is worth in an optimum: what relaxing a limit would save, never negative.

    Attributes:
        voltage_eur_per_pu_h: Of the band at each bus, shape (T, bus).
        branch_eur_per_kwh: Of the active power through each branch, shape (T, branch), EUR/kWh.
        price_eur_per_kwh: What a house's power costs the grid at the margin, in losses and
            limits, shape (H, T).
    """

    voltage_eur_per_pu_h: Floats
    branch_eur_per_kwh: Floats
    price_eur_per_kwh: Floats


class Metered(Protocol):
    """Whatever has columns for the powers at the houses' meters in a HiGHS model."""

    def meter_columns(self, t: int) -> Ints:
        """Columns of what each house draws (H), then of what it feeds in (H), in a period."""
        ...


class NetworkRows:
    """Rows and columns of the grid in a HiGHS model that holds the houses already.

    Every limit has a slack that costs what violating it costs.

    Args:
        highs: The model.
        houses: The houses in it.
        day: The day.
    """

    def __init__(self, highs: highspy.Highs, houses: Metered, day: FeederGrid) -> None:
        self._highs, self._houses, self._day = highs, houses, day
        self._house_rows = highs.getNumRow()
        self._plain = LinDistFlow(day.network)
        self._voltage: Floats = -2.0 * _SCALE * self._plain.resistance[:, day.house_bus]
        self._flow: Floats = self._plain.subtree[:, day.house_bus]
        self._loss_share = self._shares()
        # Kind, period and bus or branch of each limit; its row, its slack's column and scale.
        self._limits = np.empty((0, 3), dtype=np.int64)
        self._row = np.empty(0, dtype=np.int32)
        self._slack = np.empty(0, dtype=np.int64)
        self._relief: Floats = np.empty(0)
        self._upper: Floats = np.empty(0)
        self._known: set[tuple[int, ...]] = set()
        self._losses = -1
        T, buses, branches = day.periods, day.network.n_bus, len(day.rating_kva)
        self._models: list[LinDistFlow | None] = [None] * T
        self._at: Floats = np.full((T, 2, buses), np.nan)
        self._w0: Floats = np.empty((T, buses))
        self._flow0: Floats = np.empty((T, branches))
        self._cap: Floats = np.empty((T, branches))

    def _shares(self) -> Floats:
        """Share of all losses that each branch carries: of those that everything passes."""
        network = self._day.network
        element = np.concatenate([network.line_element, network.trafo_element])
        node = network.tree.element_node[element]
        top = network.tree.parent[node] == 0
        share = np.zeros(len(element))
        if len(np.unique(node[top])) == 1:
            share[top] = self._plain.subtree[top].max(axis=1)
        return share

    @property
    def count(self) -> int:
        """Limits that have a row."""
        return len(self._limits)

    def linearise(self, check: GridCheck | None, q_kvar: Floats) -> None:
        """Shift the linear model to the operating points; None is the plain model."""
        if check is None:
            self._models = [None] * self._day.periods
        for t in range(self._day.periods):
            q = q_kvar[t]
            if check is None:
                model = self._plain
            else:
                point = np.stack([check.p_kw[t], q])
                if self._models[t] is not None and np.array_equal(point, self._at[t]):
                    continue
                self._at[t] = point
                model = self._corrected(*point) or self._plain
                self._models[t] = model
            none = np.zeros_like(q)
            self._w0[t] = model.squared_voltage(none, q)
            self._flow0[t] = model.flows(none, q)[0]
            self._cap[t] = model.caps_kw(q)
            if check is not None:
                # Where a limit is broken the slack shall be what the power flow finds.
                over = check.overload_kva[t] > 0.0
                drawn = np.abs(model.flows(check.p_kw[t], q)[0])
                self._cap[t, over] = (drawn - check.overload_kva[t])[over]

    def _corrected(self, p_kw: Floats, q_kvar: Floats) -> LinDistFlow | None:
        try:
            return self._plain.corrected(p_kw, q_kvar)
        except PowerFlowError:  # beyond collapse
            return None

    def add_losses(self, p_kw: Floats, q_kvar: Floats) -> None:
        """Bound the losses by their tangent planes at operating points, shape (T, bus)."""
        price, T = self._day.costs.loss_eur_per_kwh, self._day.periods
        if price == 0.0:
            return
        if self._losses < 0:
            self._losses = self._add_columns(np.full(T, DT_H * price))
        columns, values, low = [], [], []
        for t in range(T):
            model = self._corrected(p_kw[t], q_kvar[t])
            if model is not None:
                factor = model.loss_factor[self._day.house_bus]
                low.append(float(model.losses(np.zeros_like(p_kw[t]), q_kvar[t])))
                columns.append(np.append(self._houses.meter_columns(t), self._losses + t))
                values.append(np.concatenate([-factor, factor, [1.0]]))
        self._add_rows(columns, values, np.array(low), np.full(len(low), _INF))

    def losses_kw(self, x: Floats) -> Floats:
        """Losses that the program counts with, shape (T,), kW."""
        T = self._day.periods
        return np.zeros(T) if self._losses < 0 else x[self._losses : self._losses + T]

    def near(self, check: GridCheck) -> Ints:
        """Limits that a power flow violates or comes near to: kind, period, bus or branch."""
        low, high = self._day.band_pu
        counted = np.zeros(self._day.network.n_bus, dtype=bool)
        counted[self._day.counted] = True
        v = np.where(np.isfinite(check.v_pu), check.v_pu, 0.0)
        loading = np.where(np.isfinite(check.loading_percent), check.loading_percent, np.inf)
        drawn = self._flow0 + check.p_kw @ self._plain.subtree.T > 0.0
        heavy = loading > NEAR_PERCENT
        return self._listed(
            (v > high - NEAR_PU) & counted, (v < low + NEAR_PU) & counted, heavy & drawn,
            heavy & ~drawn,
        )  # fmt: skip

    def at_the_slack(self) -> Ints:
        """Both limits of the branches that everything passes, in all periods."""
        top = np.broadcast_to(self._loss_share > 0.0, self._flow0.shape)
        none = np.zeros(self._w0.shape, dtype=bool)
        return self._listed(none, none, top, top)

    def all_limits(self) -> Ints:
        """Every limit there is."""
        counted = np.zeros(self._w0.shape, dtype=bool)
        counted[:, self._day.counted] = True
        branches = np.ones(self._flow0.shape, dtype=bool)
        return self._listed(counted, counted, branches, branches)

    @staticmethod
    def _listed(*masks: np.ndarray) -> Ints:
        found = []
        for kind, mask in enumerate(masks):
            where = np.argwhere(mask)
            found.append(np.column_stack([np.full(len(where), kind), where]))
        return np.concatenate(found).astype(np.int64)

    def add(self, limits: Ints) -> int:
        """Give limits a row where they have none; the number that is new."""
        new = [key for key in map(tuple, limits.tolist()) if key not in self._known]
        if not new:
            return 0
        self._known.update(new)
        costs, (low, high) = self._day.costs, self._day.band_pu
        price = np.array([costs.voltage_eur_per_pu_h, costs.overload_eur_per_kwh])
        kinds = np.array([kind for kind, _, _ in new])
        slack = self._add_columns(DT_H * price[(kinds >= DRAWN).astype(int)])
        columns, values, relief = [], [], []
        for k, (kind, t, i) in enumerate(new):
            meters = self._houses.meter_columns(t)
            sign = 1.0 if kind in (HIGH, DRAWN) else -1.0
            voltage = kind in (HIGH, LOW)
            scale = 2.0 * _SCALE * (high if kind == HIGH else low) if voltage else 1.0
            power = sign * (self._voltage if voltage else self._flow)[i]
            column, value = [meters, [slack + k]], [power, -power, [-scale]]
            if kind == DRAWN and self._losses >= 0 and self._loss_share[i] > 0.0:
                column.append([self._losses + t])
                value.append([self._loss_share[i]])
            column, value = np.concatenate(column), np.concatenate(value)
            columns.append(column[value != 0.0])
            values.append(value[value != 0.0])
            relief.append(scale)
        first = self._highs.getNumRow()
        free = np.full(len(new), _INF)
        self._add_rows(columns, values, -free, free)
        self._limits = np.concatenate([self._limits, np.array(new)])
        self._row = np.append(self._row, np.arange(first, first + len(new), dtype=np.int32))
        self._slack = np.append(self._slack, np.arange(slack, slack + len(new)))
        self._relief = np.append(self._relief, relief)
        self._upper = np.append(self._upper, free)
        return len(new)

    def bound(self, losses_kw: Floats, row_dual: Floats) -> float:
        """Set the limits' bounds to those of the linear model.

        Args:
            losses_kw: Losses that the flows of the operating points include, shape (T,): those
                of the program make them exact there, the true ones suit better tangents.
            row_dual: Duals of the rows in the last optimum.

        Returns:
            By how much the limits that bind there have moved, pu or share of the rating.
        """
        kind, t, i = self._limits.T
        low, high = self._day.band_pu
        band = np.where(kind == HIGH, high**2, -(low**2))
        sign = np.where((kind == HIGH) | (kind == DRAWN), 1.0, -1.0)
        upper = np.empty(len(kind))
        of_bus = (kind == HIGH) | (kind == LOW)
        t_, i_ = t[of_bus], i[of_bus]
        upper[of_bus] = _SCALE * (band[of_bus] - sign[of_bus] * self._w0[t_, i_])
        t_, i_ = t[~of_bus], i[~of_bus]
        upper[~of_bus] = self._cap[t_, i_] - sign[~of_bus] * self._flow0[t_, i_]
        counts = (kind == DRAWN) & (self._losses >= 0)
        upper[counts] += self._loss_share[i[counts]] * losses_kw[t[counts]]
        change = self._highs.changeRowsBounds  # pyright: ignore[reportAttributeAccessIssue]
        change(len(self._row), self._row, np.full(len(upper), -_INF), upper)
        unit = np.where(of_bus, 2.0 * _SCALE, self._day.rating_kva[np.where(of_bus, 0, i)])
        moved = np.abs(upper - self._upper) / unit
        self._upper = upper
        old = self._row < len(row_dual)
        binds = row_dual[self._row[old]] < -_BINDS
        return float(moved[old][binds].max(initial=0.0))

    def slacks(self, x: Floats) -> tuple[Floats, Floats]:
        """Slack used, shapes (T, bus), pu, and (T, branch), kVA."""
        return self._spread(x[self._slack])

    def duals(self, row_dual: Floats) -> GridDuals:
        """What the limits are worth in the model's optimum, from all its rows' duals."""
        worth = -row_dual[self._row] * self._relief / DT_H
        lp = self._highs.getLp()
        matrix = lp.a_matrix_
        shape = (lp.num_row_, lp.num_col_)
        rows = csc_matrix((matrix.value_, matrix.index_, matrix.start_), shape=shape)
        of_grid = row_dual.copy()
        of_grid[: self._house_rows] = 0.0
        priced = rows.T @ of_grid
        H = len(self._day.house_bus)
        drawn = np.stack([self._houses.meter_columns(t)[:H] for t in range(self._day.periods)])
        return GridDuals(*self._spread(worth), -priced[drawn].T / DT_H)

    def _spread(self, values: Floats) -> tuple[Floats, Floats]:
        bus, branch = np.zeros(self._w0.shape), np.zeros(self._flow0.shape)
        kind, t, i = self._limits.T
        of_bus = (kind == HIGH) | (kind == LOW)
        np.add.at(bus, (t[of_bus], i[of_bus]), values[of_bus])
        np.add.at(branch, (t[~of_bus], i[~of_bus]), values[~of_bus])
        return bus, branch

    def _add_columns(self, cost: Floats) -> int:
        """Columns from 0 up that have no rows yet; the first one's index."""
        first, n = self._highs.getNumCol(), len(cost)
        none = np.empty(0, dtype=np.int32)
        start = np.zeros(n, dtype=np.int32)
        self._highs.addCols(n, cost, np.zeros(n), np.full(n, _INF), 0, start, none, np.empty(0))
        return first

    def _add_rows(
        self, columns: list[np.ndarray], values: list[Floats], low: Floats, high: Floats
    ) -> None:
        if not columns:
            return
        start = np.cumsum([0, *(len(column) for column in columns[:-1])]).astype(np.int32)
        index = np.concatenate(columns).astype(np.int32)
        value = np.concatenate(values)
        self._highs.addRows(len(columns), low, high, len(index), start, index, value)
