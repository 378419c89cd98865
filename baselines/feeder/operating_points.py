"""The linear models of a day's periods, each shifted to an AC operating point of its own."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.feeder.feeder_day import FeederGrid, GridCheck
from flexgym.envs.errors import PowerFlowError
from flexgym.envs.grid.linear import LinDistFlow
from flexgym.envs.household.params import Floats


class OperatingPoints:
    """Voltages, flows and caps of the linear models, without active power at the houses.

    Attributes:
        plain: The model that all others are shifted from.
        p_kw: Active power drawn at the point, shape (T, bus), kW; 0 without a point.
        w_pu: Squared voltages, shape (T, bus), pu.
        flow_kw: Flows into the branches, shape (T, branch), kW.
        cap_kw: Most active power through each branch, shape (T, branch), kW.

    Args:
        day: The day.
    """

    def __init__(self, day: FeederGrid) -> None:
        self.plain = LinDistFlow(day.network)
        T, buses, branches = day.periods, day.network.n_bus, len(day.rating_kva)
        self._models: list[LinDistFlow | None] = [None] * T
        self._q_kvar: Floats = np.full((T, buses), np.nan)
        self.p_kw: Floats = np.zeros((T, buses))
        self.w_pu: Floats = np.empty((T, buses))
        self.flow_kw: Floats = np.empty((T, branches))
        self.cap_kw: Floats = np.empty((T, branches))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which periods have a point, shape (T,)."""
        return np.array([model is not None for model in self._models])

    @property
    def loss_factor(self) -> Floats:
        """Loss factors at the points that are known, shape (known, bus)."""
        return np.stack([model.loss_factor for model in self._models if model is not None])

    def forget(self, q_kvar: Floats) -> None:
        """Take the plain model everywhere, with these reactive powers, shape (T, bus)."""
        self.p_kw[:] = 0.0
        for t, q in enumerate(q_kvar):
            self._models[t] = None
            self._read(t, self.plain, q)

    def shift(self, check: GridCheck, q_kvar: Floats, periods: Iterable[int] | None = None) -> None:
        """Make the models exact at the plan of a power flow.

        Args:
            check: The power flow. Points without a solution get the plain model.
            q_kvar: Reactive power drawn, shape (T, bus), kvar.
            periods: Which periods; None is all.
        """
        for t in range(len(q_kvar)) if periods is None else periods:
            p, q = check.p_kw[t], q_kvar[t]
            same = np.array_equal(p, self.p_kw[t]) and np.array_equal(q, self._q_kvar[t])
            if self._models[t] is not None and same:
                continue
            self._models[t] = model = self._corrected(p, q)
            self.p_kw[t], self._q_kvar[t] = p if model else 0.0, q
            self._read(t, model or self.plain, q)
            # Where a limit is broken the slack shall be what the power flow finds.
            over = check.overload_kva[t] > 0.0
            drawn = np.abs((model or self.plain).flows(p, q)[0])
            self.cap_kw[t, over] = (drawn - check.overload_kva[t])[over]

    def _corrected(self, p_kw: Floats, q_kvar: Floats) -> LinDistFlow | None:
        try:
            return self.plain.corrected(p_kw, q_kvar)
        except PowerFlowError:  # beyond collapse
            return None

    def _read(self, t: int, model: LinDistFlow, q_kvar: Floats) -> None:
        none = np.zeros_like(q_kvar)
        self.w_pu[t] = model.squared_voltage(none, q_kvar)
        self.flow_kw[t] = model.flows(none, q_kvar)[0]
        self.cap_kw[t] = model.caps_kw(q_kvar)
