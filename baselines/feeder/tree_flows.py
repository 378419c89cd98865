"""Flows through the branches as variables of a linear program, and what losses cost in them.

The losses are exact in value and slope at an AC operating point. Around it every branch's own
losses grow with the square of its flow, as a convex cost that is linear piece by piece.
"""

from __future__ import annotations

from typing import Protocol

import highspy
import numpy as np
from scipy.sparse import coo_matrix

from flexgym.baselines.feeder.feeder_day import FeederGrid, Ints
from flexgym.envs.grid.linear import paths
from flexgym.envs.grid.sweep import R
from flexgym.envs.household.params import DT_H, Floats

FINE_KW = 4e-3
"""Largest error of a branch's losses between two kinks, kW: what makes the pieces short."""
MOST_KW, MOST_PIECES = 1e4, 200
"""Bounds of the pieces of one branch where ratings and connections set none."""
_INF = highspy.kHighsInf


class Metered(Protocol):
    """Whatever has columns for the powers at the houses' meters in a HiGHS model."""

    def meter_columns(self, t: int) -> Ints:
        """Columns of what each house draws (H), then of what it feeds in (H), in a period."""
        ...


class TreeFlows:
    """Columns and rows of the flows in a HiGHS model that holds the houses already.

    Before `set_losses` the losses are those of the flows alone.

    Attributes:
        nodes: Nodes of the tree with houses at or below them, shape (K,): each stands for the
            branch from its parent.
        below: Shape (K, bus): 1 where the power at a bus flows through the branch.
        square: Losses of a branch per squared flow, shape (K,), kW / kW^2, at the slack's
            voltage.
        share: Share of all houses at or below each node, shape (K,).

    Args:
        highs: The model.
        houses: The houses in it.
        day: The day.
    """

    def __init__(self, highs: highspy.Highs, houses: Metered, day: FeederGrid) -> None:
        self._highs, self._day = highs, day
        tree, bus_node = day.network.tree, day.network.bus_node
        leads = paths(tree.parent)
        count = leads[:, bus_node[day.house_bus]].sum(axis=1)
        self.nodes: Ints = np.flatnonzero(count > 0)
        self.nodes = self.nodes[self.nodes > 0]
        count = count[self.nodes]
        self.below: Floats = leads[np.ix_(self.nodes, bus_node)]
        self.square: Floats = tree.branch[self.nodes, R] / day.network.slack_pu**2
        self.share: Floats = count / len(day.house_bus)
        self._kinks, self._cost, self._row_of = self._pieces(day)
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
        self._first_piece = self._split()
        self._linear: Floats = np.zeros(self._shape)
        self._value: Floats = np.zeros(T)

    def _pieces(self, day: FeederGrid) -> tuple[Floats, Floats, Ints]:
        """Kinks, slopes of the losses and branch of every piece: the kink at its lower end."""
        network = day.network
        element = np.concatenate([network.line_element, network.trafo_element])
        node = network.tree.element_node[element]
        rating = np.array([day.rating_kva[node == k].sum() for k in self.nodes])
        connected = self.below[:, day.house_bus] @ np.minimum(day.connection_kw, MOST_KW)
        reach = np.minimum(np.minimum(rating, connected), MOST_KW)
        length = np.sqrt(4.0 * FINE_KW / np.maximum(self.square, 1e-12))
        kinks, slopes, branch = [], [], []
        for k, (most, width) in enumerate(zip(reach, length, strict=True)):
            half = min(max(int(np.ceil(most / width)), 1), MOST_PIECES // 2)
            at = np.linspace(-most, most, 2 * half + 1)
            kinks.append(np.concatenate([[-np.inf], at]))
            middle = 0.5 * (at[1:] + at[:-1])
            slopes.append(2.0 * self.square[k] * np.concatenate([at[:1], middle, at[-1:]]))
            branch.append(np.full(len(at) + 1, k))
        return np.concatenate(kinks), np.concatenate(slopes), np.concatenate(branch)

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
        value: Floats = np.concatenate([np.full(len(e[0]), e[2], dtype=float) for e in entries])
        matrix = coo_matrix((value, (row, column)), shape=(rows, self._highs.getNumCol())).tocsr()
        zero, start = np.zeros(rows), matrix.indptr[:-1].astype(np.int32)
        index = matrix.indices.astype(np.int32)
        self._highs.addRows(
            rows, zero, zero, len(index), start, index, np.asarray(matrix.data, float)
        )
        return first

    def _define(self, houses: Metered) -> int:
        """A flow is that of the branches below and of the houses at its node."""
        T, K = self._shape
        t = np.arange(T)[:, None]
        own = (t * K + np.arange(K)).ravel()
        inner = np.flatnonzero(self._has_parent)
        into = (t * K + self._parent[inner]).ravel()
        meters = np.stack([houses.meter_columns(k) for k in range(T)])
        H = len(self._day.house_bus)
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
        """Flows as sums of pieces, by period; the first of a branch goes down without end."""
        T, K = self._shape
        S = len(self._kinks)
        first = self._add_columns(T * S, 0.0)
        lowest = np.isinf(self._kinks)
        self._lowest: Floats = self._kinks[1:][lowest[:-1]]
        low = np.where(lowest, -_INF, 0.0)
        high = np.append(np.diff(self._kinks), _INF)
        high[np.append(lowest[1:], True)] = _INF
        high[lowest] = self._lowest
        index = np.arange(first, first + T * S, dtype=np.int32)
        self._highs.changeColsBounds(len(index), index, np.tile(low, T), np.tile(high, T))
        price = DT_H * self._day.costs.loss_eur_per_kwh
        self._highs.changeColsCost(len(index), index, price * np.tile(self._cost, T))
        own = np.arange(T * K)
        t = np.arange(T)[:, None]
        self._add_rows(
            [(own, self._first + own, 1.0), ((t * K + self._row_of).ravel(), index, -1.0)], T * K
        )
        return first

    def start(self, flow_kw: Floats) -> None:
        """Extend the basis of the houses by flows that follow from it, shape (T, K).

        Before there are limits.
        """
        T, K = self._shape
        status = highspy.HighsBasisStatus
        basis = self._highs.getBasis()
        columns = list(basis.col_status)
        columns[self._first : self._first + T * K] = [status.kBasic] * (T * K)
        upper = np.append(np.where(np.isinf(self._kinks[1:]), _INF, self._kinks[1:]), _INF)
        flow = flow_kw[:, self._row_of]
        kind = np.where(flow >= upper, 1, np.where(flow >= self._kinks, 2, 0)).ravel()
        names = (status.kLower, status.kUpper, status.kBasic)
        columns[self._first_piece :] = [names[k] for k in kind.tolist()]
        rows = list(basis.row_status)
        rows[self._first_row :] = [status.kLower] * (len(rows) - self._first_row)
        basis.col_status, basis.row_status, basis.valid = columns, rows, True
        self._highs.setBasis(basis)

    def begin(self, start: int) -> None:
        """Leave the periods before this one without a price of losses."""
        for first, width in (
            (self._first, self._shape[1]), (self._first_piece, len(self._kinks)),
        ):  # fmt: skip
            index = np.arange(first, first + start * width, dtype=np.int32)
            self._highs.changeColsCost(len(index), index, np.zeros(len(index)))

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

    def set_losses(self, flow_kw: Floats, slope: Floats, losses_kw: Floats) -> None:
        """Make the losses exact at an operating point.

        Args:
            flow_kw: Flows there, shape (T, K), kW.
            slope: Slopes of the losses there, shape (T, K), kW/kW.
            losses_kw: Losses there, shape (T,), kW.
        """
        T, K = self._shape
        price = DT_H * self._day.costs.loss_eur_per_kwh
        self._linear = slope - 2.0 * self.square * flow_kw
        self._value = np.zeros(T)
        self._value = losses_kw - self.losses_kw(flow_kw)
        index = np.arange(self._first, self._first + T * K, dtype=np.int32)
        self._highs.changeColsCost(len(index), index, price * self._linear.ravel())
        # The pieces below zero are full where nothing flows.
        full = T * float((self.square * self._lowest**2).sum())
        self._highs.changeObjectiveOffset(price * (float(self._value.sum()) - full))

    def losses_kw(self, flow_kw: Floats) -> Floats:
        """Losses that the program counts with at flows of shape (T, K), shape (T,), kW."""
        losses = self._value + (self._linear * flow_kw).sum(axis=1)
        for k in range(self._shape[1]):
            mine = self._row_of == k
            at, slope = self._kinks[mine][1:], self._cost[mine]
            value = self.square[k] * at**2
            inside = np.interp(flow_kw[:, k], at, value)
            beyond = np.minimum(flow_kw[:, k] - at[0], 0.0) * slope[0]
            losses += inside + beyond + np.maximum(flow_kw[:, k] - at[-1], 0.0) * slope[-1]
        return losses

    def price_eur_per_kwh(self, row_dual: Floats) -> Floats:
        """What power drawn at each house costs the grid at the margin, shape (H, T)."""
        T, K = self._shape
        dual = row_dual[self._first_row : self._first_row + T * K].reshape(T, K)
        price = np.zeros((len(self._day.house_bus), T))
        price[self._inside] = dual[:, self._at_node].T / DT_H
        return price
