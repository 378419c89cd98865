"""Exact AC power flow of a radial network for any number of cases at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.errors import PowerFlowError
from flexgym.envs.grid.batch import Columns, solve_batch, solve_single
from flexgym.envs.grid.lanes import LANES
from flexgym.envs.grid.network import Network
from flexgym.envs.grid.sweep import new_block
from flexgym.envs.household.params import Floats

MAX_ITERATIONS = 5000
"""Where a case is given up. Near collapse the sweep is slow: its rate of convergence is about
1 - 2 sqrt(e) at a load a share e below the largest possible one."""
TOLERANCE_PU = 1e-9


@dataclass(slots=True, eq=False)
class PowerFlowResult:
    """Outcome of a power flow of ``batch`` cases.

    For a single case that axis is absent, and what would have no axis left is a plain number.

    All numbers of a case that has not converged are NaN: ``converged`` says which.

    Attributes:
        v_pu: Voltage magnitudes, shape (batch, bus), columns as ``network.bus_index``.
        line_loading_percent: Shape (batch, line), columns as ``network.line_index``: the
            larger current of its two ends in % of its limit.
        trafo_loading_percent: Shape (batch, trafo), columns as ``network.trafo_index``: the
            larger current of its two ends in % of its rated current there.
        losses_kw: Losses of all branches and shunts, shape (batch,).
        slack_kw: Active power taken from the external grid, shape (batch,): the sum of
            p_kw and losses_kw.
        slack_kvar: Reactive power taken from it, shape (batch,).
        converged: Whether a solution was found, shape (batch,), bool.
        iterations: How many sweeps it took, shape (batch,).
        angle_degree: Voltage angles in (-180, 180], shape (batch, bus); None unless asked for.
    """

    v_pu: Floats
    line_loading_percent: Floats
    trafo_loading_percent: Floats
    losses_kw: Floats
    slack_kw: Floats
    slack_kvar: Floats
    converged: NDArray[np.bool_]
    iterations: NDArray[np.int64]
    angle_degree: Floats | None = None


_FIELDS = tuple(PowerFlowResult.__dataclass_fields__)
_NO_ANGLE = np.empty(0)
_NO_ANGLES = np.empty((0, 0))


class RadialPowerFlow:
    """Solves a network for batches of powers; every case has the bits it has alone.

    It owns arrays to work in: use one in each thread.

    Args:
        network: The network.
        tolerance_pu: Largest error of a (scaled) voltage, pu, in [1e-13, 1e-3].
        max_iterations: Where a case that has not converged is given up, at least 1.

    Raises:
        PowerFlowError: A tolerance or number of iterations outside its range.
    """

    def __init__(
        self,
        network: Network,
        tolerance_pu: float = TOLERANCE_PU,
        max_iterations: int = MAX_ITERATIONS,
    ) -> None:
        if not 1e-13 <= tolerance_pu <= 1e-3:
            raise PowerFlowError(
                f"tolerance_pu is {tolerance_pu!r}; expected a number in [1e-13, 1e-3]."
            )
        if max_iterations < 1:
            raise PowerFlowError(f"max_iterations is {max_iterations!r}; expected at least 1.")
        self.network = network
        self.limits = (float(tolerance_pu), int(max_iterations))
        seen = np.full(len(network.tree.parent), -1)
        seen[network.bus_node[::-1]] = np.arange(network.n_bus)[::-1]
        self._columns = Columns(
            network.bus_node,
            seen[network.bus_node] != np.arange(network.n_bus),
            network.line_element,
            network.trafo_element,
        )
        self._turn_degree = network.slack_degree + network.shift_degree[network.bus_node]
        block, single = new_block(network.tree), new_block(network.tree, single=True)
        self._n = (network.n_bus, len(network.line_index), len(network.trafo_index))
        self._batch_arguments = (
            network.tree, self._columns, network.slack_pu, self._turn_degree, block, self.limits
        )  # fmt: skip
        self.single_arguments = (
            *network.tree, network.bus_node, network.line_element, network.trafo_element,
            self._turn_degree, *single, network.slack_pu, *self.limits,
        )  # fmt: skip

    def solve(
        self,
        p_kw: ArrayLike,
        q_kvar: ArrayLike,
        out: PowerFlowResult | None = None,
        *,
        angles: bool = False,
    ) -> PowerFlowResult:
        """Voltages, loadings, losses and slack power for given powers.

        Args:
            p_kw: Active power drawn at each bus, shape (batch, bus), or (bus,) for one case;
                columns as ``network.bus_index``, consumption positive.
            q_kvar: Reactive power, same shape.
            out: A former result of the same shape whose arrays are overwritten.
            angles: Whether to compute angle_degree, which takes as long as all the rest.

        Raises:
            PowerFlowError: Shapes do not fit, or a power is no finite number.
        """
        try:
            p = np.ascontiguousarray(p_kw, np.float64)
            q = np.ascontiguousarray(q_kvar, np.float64)
        except (TypeError, ValueError) as error:
            raise PowerFlowError(
                f"p_kw or q_kvar is no array of numbers ({error}); expected floats."
            ) from error
        # Compiled functions would be compiled anew for arrays that are read-only.
        p = p if p.flags.writeable else p.copy()
        q = q if q.flags.writeable else q.copy()
        n_bus = self._n[0]
        if p.shape != q.shape or p.ndim not in (1, 2) or p.shape[-1] != n_bus:
            raise PowerFlowError(
                f"p_kw has shape {np.shape(p_kw)} and q_kvar {np.shape(q_kvar)}; expected "
                f"(batch, {n_bus}) or ({n_bus},) for both. Give one power a bus, in the order of "
                "network.bus_index."
            )
        if out is None:
            out = self._new_result(p.shape[:-1])
        else:
            self._check_result(out, p.shape[:-1])
        if not angles:
            out.angle_degree = None
        elif out.angle_degree is None:
            out.angle_degree = np.empty(p.shape)
        arrays = (out.v_pu, out.line_loading_percent, out.trafo_loading_percent)
        if p.ndim == 1:
            angle = out.angle_degree if angles else _NO_ANGLE
            arguments: list[Any] = [*self.single_arguments, p, q, *arrays, angle]
            scalars: tuple[Any, ...] = solve_single(*arguments)
            out.losses_kw, out.slack_kw, out.slack_kvar = scalars[:3]
            out.converged, out.iterations, finite = scalars[3:]
        elif len(p) < LANES:
            finite = self._solve_few(p, q, out, angles)
        else:
            finite = solve_batch(
                *self._batch_arguments, p, q, *arrays,
                out.losses_kw, out.slack_kw, out.slack_kvar, out.converged, out.iterations,
                out.angle_degree if angles else _NO_ANGLES,
            )  # fmt: skip
        if not finite:
            self._raise_not_finite(p, q)
        return out

    def _solve_few(self, p: Floats, q: Floats, out: PowerFlowResult, angles: bool) -> bool:
        """Fewer cases than a block has lanes: the other lanes get no power."""
        padded = np.zeros((2, LANES, p.shape[1]))
        padded[0, : len(p)], padded[1, : len(p)] = p, q
        if not np.isfinite(padded).all():
            return False
        full = self.solve(padded[0], padded[1], angles=angles)
        for name in _FIELDS if angles else _FIELDS[:-1]:
            getattr(out, name)[:] = getattr(full, name)[: len(p)]
        return True

    def _new_result(self, batch: tuple[int, ...]) -> PowerFlowResult:
        if not batch:
            scalars = (0.0, 0.0, 0.0, False, 0)
            return PowerFlowResult(*map(np.empty, self._n), *scalars)  # type: ignore[arg-type]
        scalars = (np.empty(batch), np.empty(batch), np.empty(batch))
        integers = (np.empty(batch, np.bool_), np.empty(batch, np.int64))
        columns = [np.empty((*batch, n)) for n in self._n]
        arrays: list[Any] = [*columns, *scalars, *integers]
        return PowerFlowResult(*arrays)

    def _check_result(self, out: PowerFlowResult, batch: tuple[int, ...]) -> None:
        wanted = (
            ("v_pu", self._n[0]),
            ("line_loading_percent", self._n[1]),
            ("trafo_loading_percent", self._n[2]),
            ("angle_degree", self._n[0]),
        )
        shapes: dict[str, tuple[int, ...]] = {name: (*batch, columns) for name, columns in wanted}
        if batch:
            for name in ("losses_kw", "slack_kw", "slack_kvar", "converged", "iterations"):
                shapes[name] = batch
        for name, shape in shapes.items():
            array = getattr(out, name)
            if np.shape(array) != shape and not (name == "angle_degree" and array is None):
                raise PowerFlowError(
                    f"out.{name} has shape {np.shape(array)}; expected {shape}. Give a result of "
                    "this power flow for as many cases, or none."
                )

    def _raise_not_finite(self, p: Floats, q: Floats) -> None:
        for name, power in (("p_kw", p), ("q_kvar", q)):
            bad = np.argwhere(~np.isfinite(power))
            if len(bad):
                *case, column = map(int, bad[0])
                where = f"bus {self.network.bus_index[column]} (column {column})"
                raise PowerFlowError(
                    f"{name} is {power[tuple(bad[0])]} at {where}"
                    + (f" of case {case[0]}" if case else "")
                    + "; expected finite numbers. Fill gaps in the profiles."
                )
