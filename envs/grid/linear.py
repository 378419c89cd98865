"""LinDistFlow: voltages and flows of a radial network as affine functions of the powers.

Baran and Wu, IEEE Trans. Power Deliv. 4(1):735, 1989, without the losses: for the squared
scaled voltages, w_child = w_parent - 2 (r P + x Q) with P and Q the sums over the subtree.
For optimisers; the power flow itself is exact and hardly slower.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.errors import PowerFlowError
from flexgym.envs.grid.network import Network
from flexgym.envs.grid.power_flow import RadialPowerFlow
from flexgym.envs.grid.sweep import (
    B_PARENT,
    G_PARENT,
    J_IM,
    J_RE,
    LOADING_PERCENT,
    LOSSES_KW,
    P_KW,
    Q_KVAR,
    RATIO,
    SHARE_IM,
    SHARE_RE,
    U_IM,
    U_RE,
    V_PU,
    W_PARENT,
    B,
    G,
    R,
    X,
    new_block,
    outputs_block,
    solve_block,
    start_block,
)
from flexgym.envs.household.params import Floats

Complex = NDArray[np.complex128]

_CORRECT_ABOVE_PERCENT = 50.0
_LEAST_ACTIVE_SHARE = 0.1
"""A branch that carries less active than this share of its apparent power keeps its cap: the
quotient of active power and loading would say nothing."""


class LinDistFlow:
    """The linear model of a network; branches are its lines, then its transformers.

    Powers are kW and kvar, consumption positive, columns as ``network.bus_index``.

    Attributes:
        network: The network.
        resistance: Matrix R, shape (bus, bus), pu of squared voltage per kW: half the fall of
            a bus's squared voltage by power drawn at another.
        reactance: Matrix X, the same per kvar.
        w_pu: Squared voltages without power, shape (bus,).
        subtree: Shape (branch, bus): share of a bus's power that flows through a branch.
        flow_kw: Flow into a branch, from the side of the slack, without power: shape (branch,).
        flow_kvar: The same for reactive power.
        rating_kva: Apparent power at 100 % loading and the slack's voltage, shape (branch,).
        cap_kw: Active power at 100 % loading where the correction sets it, else NaN.
        cap_kva: Apparent power at 100 % loading, shape (branch,): the rating, or what the
            correction has set where loading was above 50 %.
        loss_kw_per_kva2: Losses per squared apparent power at the slack's voltage, shape (branch,).
        losses_kw: Losses without power (corrected models; the plain one is lossless: 0).
        loss_factor: Loss per active power drawn at a bus, shape (bus,), kW per kW.
        loss_factor_q: Loss per reactive power drawn at a bus, shape (bus,), kW per kvar.

    Args:
        network: The network. The model is the plain one: shunts at the slack's voltage, no
            losses in branches.
    """

    def __init__(self, network: Network) -> None:
        tree, bus = network.tree, network.bus_node
        branch, ratio = tree.branch, tree.branch[:, RATIO]
        path = paths(tree.parent)
        self._impedance: Complex = (path.T * (branch[:, R] + 1j * branch[:, X])) @ path
        square = network.slack_pu**2
        shunt_kw, shunt_kvar = square * branch[:, G], -square * branch[:, B]
        half_fall = [(path.T * branch[:, column]) @ path for column in (R, X)]
        w = square - 2.0 * (half_fall[0] @ shunt_kw + half_fall[1] @ shunt_kvar)
        scale = ratio[bus, None] ** 2
        element = tree.element[_rows(network)]
        below = path[tree.element_node[_rows(network)]]
        share = element[:, SHARE_RE]
        self.network = network
        self.resistance: Floats = scale * half_fall[0][np.ix_(bus, bus)]
        self.reactance: Floats = scale * half_fall[1][np.ix_(bus, bus)]
        self.w_pu: Floats = scale[:, 0] * w[bus]
        self.subtree: Floats = share[:, None] * below[:, bus]
        self.flow_kw: Floats = share * (below @ shunt_kw) + square * element[:, G_PARENT]
        self.flow_kvar: Floats = share * (below @ shunt_kvar) - square * element[:, B_PARENT]
        self.rating_kva: Floats = 100.0 * network.slack_pu / element[:, W_PARENT]
        self.cap_kw: Floats = np.full(len(element), np.nan)
        self.cap_kva: Floats = self.rating_kva
        # Elements side by side carry shares of their branch's power, and of its losses.
        own = branch[tree.element_node[_rows(network)], R] / square
        self.loss_kw_per_kva2: Floats = np.divide(
            own, share, out=np.zeros_like(own), where=share > 0
        )
        self.losses_kw = 0.0
        self.loss_factor: Floats = np.zeros(network.n_bus)
        self.loss_factor_q: Floats = np.zeros(network.n_bus)

    def squared_voltage(self, p_kw: Floats, q_kvar: Floats) -> Floats:
        """Squared voltages, pu, shape (..., bus), for powers of that shape."""
        return self.w_pu - 2.0 * (p_kw @ self.resistance.T + q_kvar @ self.reactance.T)

    def flows(self, p_kw: Floats, q_kvar: Floats) -> tuple[Floats, Floats]:
        """Active and reactive power into each branch, kW and kvar, shape (..., branch)."""
        return self.flow_kw + p_kw @ self.subtree.T, self.flow_kvar + q_kvar @ self.subtree.T

    def caps_kw(self, q_kvar: Floats) -> Floats:
        """Largest active power through each branch, kW, shape (..., branch).

        What the reactive power leaves of the rating, or what the correction has set.
        """
        kvar = self.flow_kvar + q_kvar @ self.subtree.T
        plain = np.sqrt(np.maximum(self.rating_kva**2 - kvar**2, 0.0))
        return np.where(np.isnan(self.cap_kw), plain, self.cap_kw)

    def losses(self, p_kw: Floats, q_kvar: Floats) -> Floats:
        """Losses, kW, shape (...): affine around the point of the correction, else 0."""
        return self.losses_kw + p_kw @ self.loss_factor + q_kvar @ self.loss_factor_q

    def corrected(self, p_kw: Floats, q_kvar: Floats) -> LinDistFlow:
        """The model shifted so that it is exact at an operating point.

        There voltages, flows, losses and the loading of branches loaded above 50 % are those of
        the AC power flow, and the loss factors are its derivatives.

        Args:
            p_kw: Active powers of the point, shape (bus,).
            q_kvar: Reactive powers, shape (bus,).

        Raises:
            PowerFlowError: Shapes do not fit, or the point has no solution.
        """
        point = _Point(self.network, np.asarray(p_kw, float), np.asarray(q_kvar, float))
        p, q = point.p_kw, point.q_kvar
        flow = point.flow_kva
        heavy = point.loading_percent > _CORRECT_ABOVE_PERCENT
        heavy &= np.abs(flow.real) > _LEAST_ACTIVE_SHARE * np.abs(flow)
        cap = np.full(len(flow), np.nan)
        cap[heavy] = 100.0 * np.abs(flow.real[heavy]) / point.loading_percent[heavy]
        loaded = point.loading_percent > _CORRECT_ABOVE_PERCENT
        cap_kva = self.rating_kva.copy()
        cap_kva[loaded] = 100.0 * np.abs(flow[loaded]) / point.loading_percent[loaded]
        factor, factor_q = point.loss_factors(self._impedance)
        linear_kw, linear_kvar = self.flows(p, q)
        model = copy(self)
        model.w_pu = self.w_pu + point.v_pu**2 - self.squared_voltage(p, q)
        model.flow_kw = self.flow_kw + flow.real - linear_kw
        model.flow_kvar = self.flow_kvar + flow.imag - linear_kvar
        model.cap_kw, model.cap_kva = cap, cap_kva
        model.losses_kw = float(point.losses_kw - factor @ p - factor_q @ q)
        model.loss_factor, model.loss_factor_q = factor, factor_q
        return model


def paths(parent: NDArray[np.int64]) -> Floats:
    """Shape (nodes, nodes): 1 where the branch to a node (row) leads to a node (column)."""
    path = np.zeros((len(parent), len(parent)))
    for k in range(1, len(parent)):
        path[:, k] = path[:, parent[k]]
        path[k, k] = 1.0
    return path


def _rows(network: Network) -> NDArray[np.int64]:
    """Elements of the tree in the order of branches: lines, then transformers."""
    return np.concatenate([network.line_element, network.trafo_element])


class _Point:
    """The AC solution at one operating point, and its derivatives."""

    def __init__(self, network: Network, p_kw: Floats, q_kvar: Floats) -> None:
        if p_kw.shape != (network.n_bus,) or q_kvar.shape != (network.n_bus,):
            raise PowerFlowError(
                f"p_kw has shape {p_kw.shape} and q_kvar {q_kvar.shape}; expected "
                f"({network.n_bus},) for both: one operating point."
            )
        # Checks the powers, too.
        flow = RadialPowerFlow(network, 1e-12)
        if not flow.solve(p_kw, q_kvar).converged:
            raise PowerFlowError(
                "the power flow at the operating point has no solution; expected a point that "
                "the network can carry. Reduce the powers."
            )
        tree = network.tree
        nodes, rows = len(tree.parent), _rows(network)
        block, out, totals = new_block(tree, single=True)
        np.add.at(block[:, P_KW], network.bus_node, p_kw)
        np.add.at(block[:, Q_KVAR], network.bus_node, q_kvar)
        start_block(block, network.slack_pu)
        outputs_block(tree, block, out, totals, solve_block(tree, block, *flow.limits))
        self.network, self.p_kw, self.q_kvar = network, p_kw, q_kvar
        self.u: Complex = block[:nodes, U_RE] + 1j * block[:nodes, U_IM]
        self.s_kva: Complex = block[:nodes, P_KW] + 1j * block[:nodes, Q_KVAR]
        self.v_pu: Floats = out[network.bus_node, V_PU]
        self.loading_percent: Floats = out[rows, LOADING_PERCENT]
        self.losses_kw: float = totals[0, LOSSES_KW]
        k, element = tree.element_node[rows], tree.element[rows]
        above = self.u[tree.parent[k]]
        current = (element[:, SHARE_RE] + 1j * element[:, SHARE_IM]) * (
            block[k, J_RE] + 1j * block[k, J_IM]
        ) + (element[:, G_PARENT] + 1j * element[:, B_PARENT]) * above
        self.flow_kva: Complex = above * current.conj()

    def loss_factors(self, impedance: Complex) -> tuple[Floats, Floats]:
        """Derivatives of the losses by active and reactive power drawn at each bus.

        With I = conj(S / u) + Y u at every node, u = u_slack - Z I, and the slack's power
        Re(conj(u_slack) sum(I)), from which the adjoint of one real system gives all.
        """
        tree = self.network.tree
        linear = tree.branch[:, G] + 1j * tree.branch[:, B]
        mirrored = -(self.s_kva / self.u**2).conj()
        # dI = linear du + mirrored conj(du) + conj(dS / u)
        a, b = impedance * linear, impedance * mirrored
        system = np.eye(2 * len(linear)) + np.block(
            [[(a + b).real, (b - a).imag], [(a + b).imag, (a - b).real]]
        )
        slack = self.u[0]
        weight, weight_mirrored = slack.conj() * linear, slack.conj() * mirrored
        gradient = np.concatenate(
            [(weight + weight_mirrored).real, (weight_mirrored - weight).imag]
        )
        adjoint = np.linalg.solve(system.T, gradient)
        adjoint_u = adjoint[: len(linear)] + 1j * adjoint[len(linear) :]
        # d(slack power) = Re(sensitivity * conj(dS)) at each node.
        sensitivity = (slack.conj() - adjoint_u.conj() @ impedance) / self.u.conj()
        at_bus = sensitivity[self.network.bus_node]
        return at_bus.real - 1.0, at_bus.imag
