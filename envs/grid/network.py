"""A radial network as the power flow reads it, made from any radial pandapower net."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.errors import NetworkError
from flexgym.envs.grid.sweep import W_CHILD, W_PARENT, Tree
from flexgym.envs.household.params import Floats

if TYPE_CHECKING:
    from pandapower import pandapowerNet

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Network:
    """Buses, lines and transformers of a radial network, and the tree behind them.

    Loads, generators and storages are not part of it: their powers are given to every power
    flow. Buses fused by closed switches share a node; lines open at one end lead to a node
    without a bus; parallel branches share a branch of the tree. Arrays are read-only.

    Attributes:
        bus_index: pandapower indices of the buses in service, shape (n_bus,), slack included,
            in pandapower's order. Columns of powers and voltages follow it.
        bus_name: Their names.
        vn_kv: Their nominal voltages, shape (n_bus,), kV.
        geo: Their coordinates, shape (n_bus, 2), or None if any has none.
        bus_node: Node of the tree of each bus, shape (n_bus,).
        slack_column: Column of the external grid's bus.
        line_index: pandapower indices of the lines with voltage, shape (n_line,).
        line_limit_ka: Their current limits (``max_i_ka * df * parallel``), shape (n_line,), kA.
        line_element: Their rows in ``tree.element``, shape (n_line,).
        trafo_index: pandapower indices of the transformers with voltage, shape (n_trafo,).
        trafo_rating_kva: Their ratings (``sn_mva * df * parallel``), shape (n_trafo,), kVA.
        trafo_element: Their rows in ``tree.element``, shape (n_trafo,).
        slack_pu: Voltage of the external grid, pu.
        slack_degree: Its angle, degrees.
        shift_degree: Angle by which transformers turn each node, shape (nodes,), degrees.
        tree: Arrays for the compiled functions, per unit on a base of 1 kVA; see `Tree`.
    """

    bus_index: Indices
    bus_name: tuple[str, ...]
    vn_kv: Floats
    geo: Floats | None
    bus_node: Indices
    slack_column: int
    line_index: Indices
    line_limit_ka: Floats
    line_element: Indices
    trafo_index: Indices
    trafo_rating_kva: Floats
    trafo_element: Indices
    slack_pu: float
    slack_degree: float
    shift_degree: Floats
    tree: Tree

    def __post_init__(self) -> None:
        if not (isinstance(self.slack_pu, float | int) and 0.5 <= self.slack_pu <= 1.5):
            raise NetworkError(
                f"slack_pu is {self.slack_pu!r}; expected the voltage of the external grid in "
                "[0.5, 1.5] pu. Give a value near 1."
            )
        object.__setattr__(self, "slack_pu", float(self.slack_pu))

    @classmethod
    def from_pandapower(cls, net: pandapowerNet, *, slack_pu: float | None = None) -> Network:
        """Read a radial pandapower net; the net is not changed.

        pandapower itself computes the branch parameters, as ``runpp`` does by default
        (T model of transformers, phase shifts, switches, lines and buses out of service).

        Args:
            net: One external grid, lines, two-winding transformers, symmetrical impedances,
                switches, shunts. What draws or feeds power is ignored; see `injections`.
            slack_pu: Voltage of the external grid, pu, instead of the net's.

        Raises:
            NetworkError: The net is meshed or has islands, branches without impedance, missing
                or impossible values, or elements that a tree of constant power cannot hold.
        """
        from flexgym.envs.grid.conversion import network_fields

        fields = network_fields(net)
        if slack_pu is not None:
            fields["slack_pu"] = slack_pu
        return cls(**fields)

    @property
    def n_bus(self) -> int:
        """How many buses."""
        return len(self.bus_index)

    def columns(self, bus_index: Indices | list[int]) -> Indices:
        """Columns of buses given by their pandapower indices.

        Raises:
            NetworkError: A bus is not in the network.
        """
        place = {int(bus): column for column, bus in enumerate(self.bus_index)}
        absent = [int(bus) for bus in bus_index if int(bus) not in place]
        if absent:
            raise NetworkError(
                f"buses {absent[:5]} are not in the network; expected indices of its "
                f"{self.n_bus} buses in service (bus_index). Give buses of the same net."
            )
        return np.array([place[int(bus)] for bus in bus_index], dtype=np.int64)

    def with_slack(self, v_pu: float) -> Network:
        """The same network with another voltage of the external grid, pu."""
        return replace(self, slack_pu=v_pu)

    def with_transformer_rating(self, kva: float | Floats) -> Network:
        """The same network where loading of transformers refers to other ratings.

        Impedances and iron losses stay: only the limit changes.

        Args:
            kva: Rating in kVA, for all transformers or shape (n_trafo,).
        """
        try:
            rating = np.broadcast_to(np.asarray(kva, float), self.trafo_rating_kva.shape)
        except (TypeError, ValueError):
            rating = np.array([math.nan])
        if not (np.isfinite(rating).all() and (rating > 0.0).all()):
            raise NetworkError(
                f"kva is {kva!r}; expected positive ratings in kVA, one or "
                f"{len(self.trafo_index)} (one a transformer)."
            )
        element = self.tree.element.copy()
        factor = (self.trafo_rating_kva / rating)[:, None]
        element[self.trafo_element[:, None], [W_PARENT, W_CHILD]] *= factor
        element.flags.writeable = False
        rating = rating.copy()
        rating.flags.writeable = False
        tree = self.tree._replace(element=element)
        return replace(self, trafo_rating_kva=rating, tree=tree)

    def injections(self, net: pandapowerNet) -> tuple[Floats, Floats]:
        """Powers of a net's own loads, static generators and storages in service.

        Args:
            net: The net this network was made from, or one with the same buses.

        Returns:
            p_kw and q_kvar, each shape (n_bus,), columns of `bus_index`, consumption positive.

        Raises:
            NetworkError: Something draws a power that depends on the voltage, values are
                missing, or a bus is not in this network.
        """
        from flexgym.envs.grid.conversion import constant_powers

        p_kw, q_kvar = np.zeros(self.n_bus), np.zeros(self.n_bus)
        bus, p, q = constant_powers(net)
        columns = self.columns(bus)
        np.add.at(p_kw, columns, p)
        np.add.at(q_kvar, columns, q)
        return p_kw, q_kvar
