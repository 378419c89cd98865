"""Flows through the branches as variables of a linear program, and what losses cost in them.

The losses are exact in value and slope at an AC operating point. Around it every branch's own
losses grow with the square of its flow, as a convex cost that is linear piece by piece.
"""

from __future__ import annotations

import highspy
import numpy as np
from scipy.sparse import coo_matrix

from flexgym.baselines.feeder.feeder_day import FeederDay, Ints
from flexgym.baselines.feeder.stacked_houses import StackedHouses
from flexgym.envs.grid.linear import paths
from flexgym.envs.grid.sweep import R
from flexgym.envs.household.params import DT_H, Floats

CURVED = 0.97
"""Branches that cause this share of the losses are curved; in the others losses are linear."""
FIRST_KINKS, KINKS = (0.1, 0.3, 0.7, 2.0), (0.02, 0.1, 0.5, 2.0)
"""Where the slope changes at either side of the operating point, as shares of what the houses
below a branch would draw of the slack's rating: for a first guess and around a plan."""
_INF = highspy.kHighsInf


class TreeFlows:
    """Columns and rows of the flows in a HiGHS model that holds the houses already.

    Losses have no price before `set_losses` is called.

    Attributes:
        nodes: Nodes of the tree with houses at or below them, shape (K,): each stands for the
            branch from its parent.
        below: Shape (K, bus): 1 where the power at a bus flows through the branch.
        square: Losses of a branch per squared flow, shape (K,), kW / kW^2, at the slack's
            voltage.

    Args:
        highs: The model.
        houses: The houses in it.
        day: The day.
    """

    def __init__(self, highs: highspy.Highs, houses: StackedHouses, day: FeederDay) -> None:
        self._highs, self._day = highs, day
        tree, bus_node = day.network.tree, day.network.bus_node
        leads = paths(tree.parent)
        count = leads[:, bus_node[day.house_bus]].sum(axis=1)
        self.nodes: Ints = np.flatnonzero(count > 0)
        self.nodes = self.nodes[self.nodes > 0]
        count = count[self.nodes]
        self.leads: Floats = leads[self.nodes]
        self.below: Floats = self.leads[:, bus_node]
        self.square: Floats = tree.branch[self.nodes, R] / day.network.slack_pu**2
        self.share: Floats = count / len(day.houses)
        self._reach = float(day.rating_kva.max()) * self.share
        weight = self.square * count**2
        order = np.argsort(-weight)
        most = np.searchsorted(np.cumsum(weight[order]), CURVED * weight.sum()) + 1
        self._curved: Ints = np.sort(order[:most])
        self._parent = np.searchsorted(self.nodes, tree.parent[self.nodes])
        self._has_parent = tree.parent[self.nodes] > 0
        # Houses at the slack's own bus flow through no branch.
        self._inside: Ints = np.flatnonzero(bus_node[day.house_bus] > 0)
        self._at_node: Ints = np.searchsorted(self.nodes, bus_node[day.house_bus[self._inside]])
        # One bus a node, at which its loss factor is read.
        self._bus: Ints = np.array([np.flatnonzero(bus_node == k)[0] for k in self.nodes])
        K, T = len(self.nodes), day.periods
        self._shape = (T, K)
        self._first = self._add_columns(K * T, -_INF)
        self._first_row = self._define(houses)
        self._segments = 2 * len(KINKS) + 1
        self._first_segment = self._split()
        self._value: Floats = np.zeros(T)

    def _add_columns(self, n: int, low: float) -> int:
        first = self._highs.getNumCol()
        none, start = np.empty(0, dtype=np.int32), np.zeros(n, dtype=np.int32)
        self._highs.addCols(
            n, np.zeros(n), np.full(n, low), np.full(n, _INF), 0, start, none, np.empty(0)
        )
        return first

    def _add_rows(self, entries: list[tuple[np.ndarray, np.ndarray, float]], rows: int) -> int:
        """Equations to zero from (row, column, value)."""
        first = self._highs.getNumRow()
        row = np.concatenate([e[0] for e in entries])
        column = np.concatenate([e[1] for e in entries])
        value = np.concatenate([np.full(len(e[0]), e[2]) for e in entries])
        matrix = coo_matrix((value, (row, column)), shape=(rows, self._highs.getNumCol())).tocsr()
        zero, start = np.zeros(rows), matrix.indptr[:-1].astype(np.int32)
        index = matrix.indices.astype(np.int32)
        self._highs.addRows(rows, zero, zero, len(index), start, index, matrix.data)
        return first

    def _define(self, houses: StackedHouses) -> int:
        """A flow is that of the branches below and of the houses at its node."""
        T, K = self._shape
        t = np.arange(T)[:, None]
        own = (t * K + np.arange(K)).ravel()
        inner = np.flatnonzero(self._has_parent)
        into = (t * K + self._parent[inner]).ravel()
        meters = np.stack([houses.meter_columns(k) for k in range(T)])
        H = len(self._day.houses)
        at = (t * K + self._at_node).ravel()
        return self._add_rows(
            [
                (own, self._first + own, 1.0),
                (into, self._first + (t * K + inner).ravel(), -1.0),
                (at, meters[:, self._inside].ravel(), -1.0),
                (at, meters[:, H + self._inside].ravel(), 1.0),
            ],
            T * K,
        )

    def _split(self) -> int:
        """Curved flows as sums of segments, ordered by period, branch and segment."""
        T, K = self._shape
        C, S = len(self._curved), self._segments
        first = self._add_columns(T * C * S, 0.0)
        rows = np.arange(T * C)
        flow = (np.arange(T)[:, None] * K + self._curved).ravel()
        # The first may go down without end: before there are kinks it is all of the flow.
        lowest = (first + rows * S).astype(np.int32)
        free = np.full(len(rows), _INF)
        self._highs.changeColsBounds(len(rows), lowest, -free, free)
        self._add_rows(
            [
                (rows, self._first + flow, 1.0),
                (np.repeat(rows, S), first + np.arange(T * C * S), -1.0),
            ],
            T * C,
        )
        return first

    def columns(self, t: int) -> Ints:
        """Columns of the flows in a period, shape (K,)."""
        return self._first + t * self._shape[1] + np.arange(self._shape[1])

    def flows_kw(self, x: Floats) -> Floats:
        """Flows in a solution, shape (T, K), kW."""
        T, K = self._shape
        return x[self._first : self._first + T * K].reshape(T, K)

    def slopes(self, loss_factor: Floats) -> Floats:
        """Loss factors at buses, shape (..., bus), as slopes of the branches, (..., K)."""
        at_node = loss_factor[..., self._bus]
        above = np.where(self._has_parent, at_node[..., self._parent], 0.0)
        return at_node - above

    def set_losses(self, centre_kw: Floats, slope: Floats, losses_kw: Floats) -> None:
        """Price the losses by a model that is exact at an operating point.

        Args:
            centre_kw: Flows there, shape (T, K), kW.
            slope: Slopes of the losses there, shape (T, K), kW/kW.
            losses_kw: Losses there, shape (T,), kW.
        """
        T, K = self._shape
        price = DT_H * self._day.costs.loss_eur_per_kwh
        C, S, c = len(self._curved), self._segments, self._curved
        near = np.array(KINKS if centre_kw.any() else FIRST_KINKS)
        offsets = self._reach[c, None] * np.concatenate([-near[::-1], near])
        kinks = centre_kw[:, c, None] + offsets  # (T, C, S - 1)
        low, high = np.zeros((2, T, C, S))
        low[..., 0], high[..., 0] = -_INF, kinks[..., 0]
        high[..., 1:-1] = np.diff(kinks, axis=2)
        high[..., -1] = _INF
        # Between two kinks the slope of the middle, in the outermost that of the last kink.
        middle = np.concatenate(
            [kinks[..., :1], 0.5 * (kinks[..., 1:] + kinks[..., :-1]), kinks[..., -1:]], axis=2
        )
        rise = 2.0 * self.square[c, None] * (middle - centre_kw[:, c, None])
        cost = slope[:, c, None] + rise
        linear = slope.copy()
        linear[:, c] = 0.0
        # The centre lies in the segment in the middle.
        half = S // 2
        there = cost[..., 0] * high[..., 0]
        there += (cost[..., 1:half] * high[..., 1:half]).sum(axis=2)
        there += cost[..., half] * (centre_kw[:, c] - kinks[..., half - 1])
        self._value = losses_kw - there.sum(axis=1) - (linear * centre_kw).sum(axis=1)
        self._linear, self._cost = linear, cost
        index = np.arange(self._first_segment, self._first_segment + T * C * S, dtype=np.int32)
        self._highs.changeColsBounds(len(index), index, low.ravel(), high.ravel())
        self._highs.changeColsCost(len(index), index, price * cost.ravel())
        index = np.arange(self._first, self._first + T * K, dtype=np.int32)
        self._highs.changeColsCost(len(index), index, price * linear.ravel())
        self._highs.changeObjectiveOffset(price * float(self._value.sum()))

    def losses_kw(self, x: Floats) -> Floats:
        """Losses that the program counts with, shape (T,), kW."""
        if not self._value.any():
            return self._value
        T = self._shape[0]
        count = T * len(self._curved) * self._segments
        segments = x[self._first_segment : self._first_segment + count].reshape(T, -1)
        of_segments = (self._cost.reshape(T, -1) * segments).sum(axis=1)
        return self._value + of_segments + (self._linear * self.flows_kw(x)).sum(axis=1)

    def price_eur_per_kwh(self, row_dual: Floats) -> Floats:
        """What power drawn at each house costs the grid at the margin, shape (H, T)."""
        T, K = self._shape
        dual = row_dual[self._first_row : self._first_row + T * K].reshape(T, K)
        price = np.zeros((len(self._day.houses), T))
        price[self._inside] = dual[:, self._at_node].T / DT_H
        return price
