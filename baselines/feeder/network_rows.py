"""The grid in a linear program: limits as rows that are added where they matter.

Voltages and flows are LinDistFlow's, shifted so that they are exact at an AC operating point.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from flexgym.baselines.feeder.feeder_day import FeederGrid, GridCheck, Ints
from flexgym.baselines.feeder.operating_points import OperatingPoints
from flexgym.baselines.feeder.tree_flows import Metered, TreeFlows
from flexgym.envs.grid.sweep import RATIO, SHARE_RE, R
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


class NetworkRows:
    """Rows and columns of the grid in a HiGHS model that holds the houses already.

    Every limit has a slack that costs what violating it costs.

    Attributes:
        points: The linear models whose limits they are.
        flows: The flows through the branches, on which all limits act.
        knows_losses: Whether the losses were made exact at a plan, or cost nothing.

    Args:
        highs: The model.
        houses: The houses in it.
        day: The day.
    """

    def __init__(self, highs: highspy.Highs, houses: Metered, day: FeederGrid) -> None:
        self._highs, self._day = highs, day
        self.flows = TreeFlows(highs, houses, day)
        self.points = OperatingPoints(day)
        self._voltage, self._flow = self._on_flows()
        self._loss_share = self._shares()
        # Kind, period and bus or branch of each limit; its row, its slack's column and scale.
        self._limits = np.empty((0, 3), dtype=np.int64)
        self._row = np.empty(0, dtype=np.int32)
        self._slack = np.empty(0, dtype=np.int64)
        self._relief: Floats = np.empty(0)
        self._upper: Floats = np.empty(0)
        self._known: set[tuple[int, ...]] = set()
        self.knows_losses = day.costs.loss_eur_per_kwh == 0.0
        self._start = 0
        # Where losses were made exact: flows, slopes and the losses themselves.
        shape = (day.periods, len(self.flows.nodes))
        self._losses_at = (np.zeros(shape), np.zeros(shape), np.zeros(day.periods))

    def _on_flows(self) -> tuple[Floats, Floats]:
        """How flows change squared voltages, shape (bus, K), and branches, (branch, K)."""
        network, flows = self._day.network, self.flows
        tree, bus = network.tree, network.bus_node
        fall = 2.0 * _SCALE * tree.branch[bus, RATIO, None] ** 2 * tree.branch[flows.nodes, R]
        element = np.concatenate([network.line_element, network.trafo_element])
        same = tree.element_node[element][:, None] == flows.nodes
        return -fall * flows.below.T, tree.element[element, SHARE_RE, None] * same

    def _shares(self) -> Floats:
        """Share of all losses that each branch carries: of those that everything passes."""
        network = self._day.network
        element = np.concatenate([network.line_element, network.trafo_element])
        node = network.tree.element_node[element]
        top = network.tree.parent[node] == 0
        share = np.zeros(len(element))
        if len(np.unique(node[top])) == 1:
            share[top] = self.points.plain.subtree[top].max(axis=1)
        return share

    @property
    def count(self) -> int:
        """Limits that have a row."""
        return len(self._limits)

    def price_losses(self, check: GridCheck) -> None:
        """Make the losses exact at the plan that the operating points are shifted to.

        Points without a solution keep what they had.
        """
        if self._day.costs.loss_eur_per_kwh == 0.0:
            return
        known, (flow, slope, losses) = self.points.known, self._losses_at
        if known.any():
            flow[known] = check.p_kw[known] @ self.flows.below.T
            slope[known] = self.flows.slopes(self.points.loss_factor)
            losses[known] = check.losses_kw[known]
            self.flows.set_losses(flow, slope, losses)
            self.knows_losses = True

    def losses_kw(self, x: Floats) -> Floats:
        """Losses that the program counts with, shape (T,), kW."""
        return self.flows.losses_kw(self.flows.flows_kw(x))

    def near(self, check: GridCheck) -> Ints:
        """Limits that a power flow violates or comes near to: kind, period, bus or branch."""
        low, high = self._day.band_pu
        counted = np.zeros(self._day.network.n_bus, dtype=bool)
        counted[self._day.counted] = True
        v = np.where(np.isfinite(check.v_pu), check.v_pu, 0.0)
        loading = np.where(np.isfinite(check.loading_percent), check.loading_percent, np.inf)
        drawn = self.points.flow_kw + check.p_kw @ self.points.plain.subtree.T > 0.0
        heavy = loading > NEAR_PERCENT
        return self._listed(
            (v > high - NEAR_PU) & counted, (v < low + NEAR_PU) & counted, heavy & drawn,
            heavy & ~drawn,
        )  # fmt: skip

    def at_the_slack(self) -> Ints:
        """Both limits of the branches that everything passes, in all periods."""
        top = np.broadcast_to(self._loss_share > 0.0, self.points.flow_kw.shape)
        none = np.zeros(self.points.w_pu.shape, dtype=bool)
        return self._listed(none, none, top, top)

    def all_limits(self) -> Ints:
        """Every limit there is."""
        counted = np.zeros(self.points.w_pu.shape, dtype=bool)
        counted[:, self._day.counted] = True
        branches = np.ones(self.points.flow_kw.shape, dtype=bool)
        return self._listed(counted, counted, branches, branches)

    @staticmethod
    def _listed(*masks: np.ndarray) -> Ints:
        found = []
        for kind, mask in enumerate(masks):
            where = np.argwhere(mask)
            found.append(np.column_stack([np.full(len(where), kind), where]))
        return np.concatenate(found).astype(np.int64)

    def begin(self, start: int) -> None:
        """Leave the periods before this one without limits and losses."""
        self.flows.begin(start)
        self._start = start

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
            sign = 1.0 if kind in (HIGH, DRAWN) else -1.0
            voltage = kind in (HIGH, LOW)
            scale = 2.0 * _SCALE * (high if kind == HIGH else low) if voltage else 1.0
            power = sign * (self._voltage if voltage else self._flow)[i]
            if not voltage and self._loss_share[i] > 0.0:
                power = power + sign * self._loss_share[i] * self._at_limit(sign, i)
            used = np.flatnonzero(power)
            columns.append(np.append(self.flows.columns(t)[used], slack + k))
            values.append(np.append(power[used], -scale))
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

    def _at_limit(self, sign: float, i: int) -> Floats:
        """Slopes of all losses in the flows where a branch at the slack is full, shape (K,)."""
        flows = self.flows
        return 2.0 * flows.square * flows.share * sign * self._full_kw(i)

    def _counted_losses(self, sign: float, i: int) -> Floats:
        """What these slopes count at the operating points, which have all losses already, (T,).

        Without a point: what the losses where the branch is full are less.
        """
        slopes, flows = self._at_limit(sign, i), self.flows
        full = 0.5 * slopes @ (flows.share * sign * self._full_kw(i))
        there = self.points.p_kw @ flows.below.T @ slopes
        return np.where(self.points.known, there, full)

    def _full_kw(self, i: int) -> float:
        """What all houses draw when a branch at the slack is full, kW."""
        return float(self._day.rating_kva[i] / self._loss_share[i])

    def bound(self, row_dual: Floats) -> float:
        """Set the limits' bounds to those of the linear model.

        Args:
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
        upper[of_bus] = _SCALE * (band[of_bus] - sign[of_bus] * self.points.w_pu[t_, i_])
        t_, i_ = t[~of_bus], i[~of_bus]
        upper[~of_bus] = self.points.cap_kw[t_, i_] - sign[~of_bus] * self.points.flow_kw[t_, i_]
        for branch in np.flatnonzero(self._loss_share):
            for way, s in ((DRAWN, 1.0), (FED, -1.0)):
                mine = np.flatnonzero((kind == way) & (i == branch))
                counted = self._counted_losses(s, int(branch))[t[mine]]
                upper[mine] += s * self._loss_share[branch] * counted
        upper[t < self._start] = _INF
        change = self._highs.changeRowsBounds  # pyright: ignore[reportAttributeAccessIssue]
        change(len(self._row), self._row, np.full(len(upper), -_INF), upper)
        unit = np.where(of_bus, 2.0 * _SCALE, self._day.rating_kva[np.where(of_bus, 0, i)])
        ahead = t >= self._start
        moved = np.zeros(len(upper))
        moved[ahead] = np.abs(upper[ahead] - self._upper[ahead]) / unit[ahead]
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
        return GridDuals(*self._spread(worth), self.flows.price_eur_per_kwh(row_dual))

    def _spread(self, values: Floats) -> tuple[Floats, Floats]:
        bus, branch = np.zeros(self.points.w_pu.shape), np.zeros(self.points.flow_kw.shape)
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
