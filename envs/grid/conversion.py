"""From a pandapower net to a tree: pandapower's own branch model, ratios absorbed.

With c_k the product of the complex ratios on the way from the slack to node k, the scaled
voltages u_k = V_k / c_k and currents conj(c_k) I_k carry the same powers; impedances become
z / |c|^2 and shunts y |c|^2, and no ratio is left in the tree.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.errors import NetworkError
from flexgym.envs.grid.sweep import Tree
from flexgym.envs.household.params import Floats

if TYPE_CHECKING:
    from pandapower import pandapowerNet

Complex = NDArray[np.complex128]

_KVA_PER_MVA = 1000.0
_UNSUPPORTED = {
    "gen": "voltage-controlled generators",
    "trafo3w": "three-winding transformers",
    "dcline": "direct-current lines",
    "ward": "ward equivalents",
    "xward": "extended ward equivalents",
    "svc": "static var compensators",
    "tcsc": "series compensators",
    "ssc": "static synchronous compensators",
    "vsc": "voltage source converters",
}
_NUMBERS = {
    "line": ("length_km", "r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km", "g_us_per_km",
             "max_i_ka", "df", "parallel"),
    "trafo": ("sn_mva", "vn_hv_kv", "vn_lv_kv", "vk_percent", "vkr_percent", "pfe_kw",
              "i0_percent", "df", "parallel"),
    "bus": ("vn_kv",),
    "ext_grid": ("vm_pu", "va_degree"),
    "shunt": ("p_mw", "q_mvar", "step"),
}  # fmt: skip
_POSITIVE = {
    "line": ("max_i_ka", "df", "parallel"),
    "trafo": ("sn_mva", "vn_hv_kv", "vn_lv_kv", "df", "parallel"),
    "bus": ("vn_kv",),
}


def network_fields(net: pandapowerNet) -> dict[str, Any]:
    """Arguments of `Network` for a net; errors of `Network.from_pandapower`."""
    _check_elements(net)
    net, ppc = _converted(net)
    lookup = net["_pd2ppc_lookups"]
    bus = net.bus[net.bus.in_service.to_numpy(bool)]
    ppc_bus = lookup["bus"][bus.index.to_numpy()]
    # Buses without voltage are sorted behind those in the matrices.
    dead = (ppc_bus < 0) | (ppc_bus >= len(ppc["bus"]))
    if dead.any():
        raise NetworkError(
            f"there is no way from {_some(bus.index[dead], 'bus', 'buses')} to the external grid; "
            "expected every bus in service to be supplied. Close a switch or take them out of "
            "service."
        )
    grid = net.ext_grid[net.ext_grid.in_service.to_numpy(bool)].iloc[0]
    branches = _Branches(net, ppc)
    order, parent, over = _tree_order(branches, int(lookup["bus"][int(grid["bus"])]))
    tree, ratio, element_of_row = _scaled(branches, ppc, order, parent, over)
    node_of = np.full(len(ppc["bus"]), -1, dtype=np.int64)
    node_of[order] = np.arange(len(order))
    columns: dict[str, Any] = {}
    for table in ("line", "trafo"):
        first, last = lookup["branch"].get(table, (0, 0))
        rows = [row for row in range(first, last) if row in element_of_row]
        columns[f"{table}_index"] = net[table].index.to_numpy(np.int64)[np.array(rows, int) - first]
        columns[f"{table}_element"] = np.array([element_of_row[row] for row in rows], np.int64)
    line, trafo = net.line.loc[columns["line_index"]], net.trafo.loc[columns["trafo_index"]]
    fields = {
        **columns,
        "line_limit_ka": (line.max_i_ka * line.df * line.parallel).to_numpy(float),
        "trafo_rating_kva": _KVA_PER_MVA
        * (trafo.sn_mva * trafo.df * trafo.parallel).to_numpy(float),
        "bus_index": bus.index.to_numpy(np.int64),
        "bus_name": tuple(map(str, bus["name"])),
        "vn_kv": bus.vn_kv.to_numpy(float),
        "geo": _coordinates(bus),
        "bus_node": node_of[ppc_bus],
        "slack_column": int(np.flatnonzero(bus.index == grid["bus"])[0]),
        "slack_pu": float(grid["vm_pu"]),
        "slack_degree": float(grid["va_degree"]),
        "shift_degree": np.degrees(np.angle(ratio)),
        "tree": tree,
    }
    for array in (*fields.values(), *tree):
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return fields


def constant_powers(net: pandapowerNet) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Bus, kW and kvar (consumption positive) of what is in service and draws or feeds power."""
    for table in ("motor", "asymmetric_load", "asymmetric_sgen"):
        if table in net and len(net[table]) and net[table].in_service.any():
            raise NetworkError(
                f"the net holds {table} elements in service; expected load, sgen and storage "
                "only. Replace them by loads of the same power."
            )
    live = set(net.bus.index[net.bus.in_service.to_numpy(bool)])
    parts = []
    for table, sign in (("load", 1.0), ("sgen", -1.0), ("storage", 1.0)):
        rows = net[table]
        rows = rows[rows.in_service.to_numpy(bool) & rows.bus.isin(live).to_numpy(bool)]
        shares = [name for name in rows.columns if str(name).startswith("const_")]
        dependent = rows.index[(rows[shares].fillna(0.0) != 0.0).any(axis=1)] if shares else []
        if len(dependent):
            raise NetworkError(
                f"{_some(dependent, table, table + 's')} draw a power that depends on the voltage "
                "(const_z or const_i above 0); expected constant power. Set those shares to 0."
            )
        numbers = rows[["p_mw", "q_mvar", "scaling"]].to_numpy(float)
        _check_finite(table, rows.index, ("p_mw", "q_mvar", "scaling"), numbers)
        p_mw, q_mvar, scaling = numbers.T
        parts.append((rows.bus.to_numpy(np.int64), sign * p_mw * scaling, sign * q_mvar * scaling))
    bus, p_mw, q_mvar = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return bus, _KVA_PER_MVA * p_mw, _KVA_PER_MVA * q_mvar


def _some(index: Any, singular: str, plural: str) -> str:
    """The first few of many: ``lines 3, 5 and 7 more``."""
    shown = [str(i) for i in list(index)[:5]]
    more = f" and {len(index) - 5} more" if len(index) > 5 else ""
    return f"{singular if len(index) == 1 else plural} {', '.join(shown)}{more}"


def _check_finite(table: str, index: Any, names: tuple[str, ...], numbers: Floats) -> None:
    bad = ~np.isfinite(numbers)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise NetworkError(
            f"{names[column]} of {table} {index[row]} is {numbers[row, column]}; expected a "
            f"finite number. Fill in the value in net.{table}."
        )


def _check_elements(net: pandapowerNet) -> None:
    for table, name in _UNSUPPORTED.items():
        if table in net and len(net[table]) and net[table].in_service.any():
            used = net[table].index[net[table].in_service.to_numpy(bool)]
            raise NetworkError(
                f"the net holds {name} in service (net.{table} {list(used)[:5]}); expected one "
                "external grid, lines, two-winding transformers, impedances, switches and shunts. "
                "Replace them, for example by loads or static generators of constant power."
            )
    grids = int(net.ext_grid.in_service.sum())
    if grids != 1:
        raise NetworkError(
            f"the net has {grids} external grids in service; expected exactly one, the slack. "
            "Correct net.ext_grid."
        )
    for table, names in _NUMBERS.items():
        rows = net[table][net[table].in_service.to_numpy(bool)]
        numbers = rows[list(names)].to_numpy(float, na_value=np.nan)
        _check_finite(table, rows.index, names, numbers)
        for name in _POSITIVE.get(table, ()):
            low = rows.index[rows[name].to_numpy(float) <= 0.0]
            if len(low):
                raise NetworkError(
                    f"{name} of {table} {low[0]} is {rows.at[low[0], name]}; expected a number "
                    f"above 0. Correct net.{table}."
                )
    slack = net.ext_grid.bus[net.ext_grid.in_service.to_numpy(bool)].iloc[0]
    if not net.bus.in_service.get(slack, False):
        raise NetworkError(
            f"the external grid's bus {slack} is absent or out of service; expected one in "
            "service. Correct net.ext_grid or net.bus."
        )


def _converted(net: pandapowerNet) -> tuple[pandapowerNet, dict[str, Any]]:
    """A copy of the net with pandapower's lookups, and its matrices as ``runpp`` makes them."""
    import pandas as pd
    from pandapower import pandapowerNet
    from pandapower.converter.pypower.to_ppc import to_ppc

    # The conversion writes into the net and its lookups; profiles can be large and stay.
    tables = {
        name: table.copy() if isinstance(table, pd.DataFrame) else table
        for name, table in net.items()
        if not name.startswith(("_", "res_"))
    }
    for name in ("load", "sgen", "storage", "motor", "asymmetric_load", "asymmetric_sgen"):
        tables[name] = tables[name].iloc[:0]
    for name in ("_ppc", "_ppc0", "_ppc1", "_ppc2", "_is_elements"):
        tables[name] = None
    copied = pandapowerNet(tables | {"_pd2ppc_lookups": dict(net["_pd2ppc_lookups"])})
    try:
        matrices = to_ppc(
            copied,
            calculate_voltage_angles=True,
            trafo_model="t",
            check_connectivity=True,
            voltage_depend_loads=False,
            init="flat",
            mode="pf",
        )
    except Exception as error:
        raise NetworkError(
            f"pandapower cannot convert the net ({type(error).__name__}: {error}). "
            "Make pandapower.runpp(net) work first."
        ) from error
    return copied, matrices


def _coordinates(bus: Any) -> Floats | None:
    """Coordinates of the buses, shape (n_bus, 2), or None if any has none."""
    points = []
    for text in bus.get("geo", []):
        try:
            x, y = json.loads(text)["coordinates"][:2]
            points.append((float(x), float(y)))
        except (TypeError, ValueError, KeyError):
            return None
    return np.array(points) if len(points) == len(bus) else None


class _Branches:
    """Live branches of the converted net, per unit on a base of 1 kVA; one row each."""

    def __init__(self, net: pandapowerNet, ppc: dict[str, Any]) -> None:
        from pandapower.pypower import idx_brch as column

        self.net = net
        self.row = np.flatnonzero(ppc["internal"]["branch_is"])
        table = ppc["branch"].real
        base_kva = _KVA_PER_MVA * float(ppc["baseMVA"])

        def extra(name: str) -> Floats:
            """A column beyond PYPOWER's; absent where all is 0."""
            return ppc.get(name, np.zeros(len(table))).real

        self.start = table[:, column.F_BUS].astype(np.int64)
        self.end = table[:, column.T_BUS].astype(np.int64)
        z = table[:, column.BR_R] + 1j * table[:, column.BR_X]
        shunt = extra("branch_g") + 1j * table[:, column.BR_B]
        unequal = extra("branch_g_asym") + 1j * extra("branch_b_asym")
        tap = np.where(table[:, column.TAP] == 0.0, 1.0, table[:, column.TAP])
        self.tap = tap * np.exp(1j * np.radians(table[:, column.SHIFT]))
        directed = (extra("branch_r_asym") != 0.0) | (extra("branch_x_asym") != 0.0)
        for bad, what in (
            (~np.isfinite(z + shunt + unequal + self.tap), "a parameter that is not finite"),
            (z == 0.0, "no impedance"),
            (directed, "an impedance that depends on the direction"),
        ):
            if bad.any():
                raise NetworkError(
                    f"{self.name(int(np.argmax(bad)))} has {what}; expected a finite, symmetrical "
                    "impedance other than 0. Correct its data, or replace a branch without "
                    "impedance by a closed switch between its buses."
                )
        self.y = base_kva / z
        self.y_start, self.y_end = base_kva * shunt / 2, base_kva * (shunt + unequal) / 2

    def percent_per_ka(self, b: int) -> tuple[float, float] | None:
        """Loading in % per kA at start and end, as pandapower defines it; None without limit."""
        row, lookup = int(self.row[b]), self.net["_pd2ppc_lookups"]["branch"]
        first, last = lookup.get("line", (0, 0))
        if first <= row < last:
            line = self.net.line.iloc[row - first]
            percent = 100.0 / float(line.max_i_ka * line.df * line.parallel)
            return percent, percent
        first, last = lookup.get("trafo", (0, 0))
        if first <= row < last:
            trafo = self.net.trafo.iloc[row - first]
            mva = float(trafo.sn_mva * trafo.df * trafo.parallel)
            per_kv = 100.0 * math.sqrt(3.0) / mva
            return per_kv * float(trafo.vn_hv_kv), per_kv * float(trafo.vn_lv_kv)
        return None

    def name(self, b: int) -> str:
        """What pandapower calls a branch."""
        row = int(self.row[b])
        for table, (first, last) in self.net["_pd2ppc_lookups"]["branch"].items():
            if first <= row < last:
                if table == "switch":
                    closed = np.flatnonzero(self.net["_impedance_bb_switches"])
                    return f"switch {self.net.switch.index[closed[row - first]]}"
                return f"{table} {self.net[table].index[row - first]}"
        return f"branch {row}"


def _tree_order(
    branches: _Branches, slack: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[list[int]]]:
    """Breadth-first order of the nodes.

    Returns:
        The pandapower-internal bus of each node, the parent of each node, and the branches
        between them (more than one where they are parallel; none for the slack).
    """
    between: dict[int, dict[int, list[int]]] = {}
    for b, (start, end) in enumerate(zip(branches.start, branches.end, strict=True)):
        if start == end:
            raise NetworkError(
                f"{branches.name(b)} begins and ends at one bus (its buses are connected by "
                "closed switches); expected a radial net. Open a switch or take it out of service."
            )
        between.setdefault(int(start), {}).setdefault(int(end), []).append(b)
        between.setdefault(int(end), {}).setdefault(int(start), []).append(b)
    order, parent, over = [slack], [0], [[]]
    place = {slack: 0}
    k = 0
    while k < len(order):
        above = order[parent[k]] if k else -1
        for bus, parallel in between.get(order[k], {}).items():
            if bus == above:
                continue
            if bus in place:
                raise NetworkError(_loop(branches, parent, over, k, place[bus], parallel[0]))
            place[bus] = len(order)
            order.append(bus)
            parent.append(k)
            over.append(parallel)
        k += 1
    return np.array(order, np.int64), np.array(parent, np.int64), over


def _loop(
    branches: _Branches, parent: list[int], over: list[list[int]], a: int, b: int, closing: int
) -> str:
    """Message that names the loop closed by a branch between the nodes a and b."""
    loop = [closing]
    while a != b:
        # The node with the larger number lies deeper or equally deep.
        low = max(a, b)
        loop.append(over[low][0])
        a, b = min(a, b), parent[low]
    names = ", ".join(branches.name(branch) for branch in loop)
    return (
        f"the net is meshed: {names} form a loop; expected a radial net (a tree). "
        "Open a switch or take one of them out of service."
    )


def _scaled(
    branches: _Branches,
    ppc: dict[str, Any],
    order: NDArray[np.int64],
    parent: NDArray[np.int64],
    over: list[list[int]],
) -> tuple[Tree, Complex, dict[int, int]]:
    """The tree with ratios absorbed, ratio c of each node, and the element of each branch row."""
    from pandapower.pypower import idx_bus as column

    bus = ppc["bus"][order].real
    ratio: Complex = np.ones(len(order), dtype=complex)
    z: Complex = np.zeros(len(order), dtype=complex)
    shunt: Complex = np.zeros(len(order), dtype=complex)
    ends = np.zeros((len(branches.row), 3), dtype=complex)
    elements: list[tuple[int, int, list[complex]]] = []
    for k in range(1, len(order)):
        falling = [bool(branches.end[b] == order[k]) for b in over[k]]
        taps = [
            1.0 / branches.tap[b] if down else branches.tap[b]
            for b, down in zip(over[k], falling, strict=True)
        ]
        if max(abs(tap - taps[0]) for tap in taps) > 1e-12 * abs(taps[0]):
            names = ", ".join(branches.name(b) for b in over[k])
            raise NetworkError(
                f"{names} are parallel but have different ratios; expected equal taps and phase "
                "shifts. Set equal taps or take one of them out of service."
            )
        ratio[k] = ratio[parent[k]] * taps[0]
        for b, down in zip(over[k], falling, strict=True):
            # Parameters are referred to the end without tap.
            square = abs(ratio[k if down else parent[k]]) ** 2
            at_parent, at_child = branches.y_start[b], branches.y_end[b]
            if not down:
                at_parent, at_child = at_child, at_parent
            ends[b] = square * np.array([branches.y[b], at_parent, at_child])
        total = ends[over[k], 0].sum()
        if total == 0.0:
            names = ", ".join(branches.name(b) for b in over[k])
            raise NetworkError(
                f"{names} cancel each other; expected impedances of one sign. Correct their data."
            )
        z[k] = 1.0 / total
        for b in over[k]:
            shunt[parent[k]] += ends[b, 1]
            shunt[k] += ends[b, 2]
            elements.append((b, k, (ends[b] / (total, 1.0, 1.0)).tolist()))
    of_bus = _KVA_PER_MVA * (bus[:, column.GS] + 1j * bus[:, column.BS])
    shunt += np.abs(ratio) ** 2 * of_bus
    # kA per unit of scaled current, at each node.
    ka = 1e-3 / (math.sqrt(3.0) * bus[:, column.BASE_KV] * np.abs(ratio))
    rows, nodes, numbers = {}, [], []
    for b, k, (share, at_parent, at_child) in elements:
        percent = branches.percent_per_ka(b)
        if percent is None:
            continue
        if branches.end[b] != order[k]:
            percent = percent[::-1]
        rows[int(branches.row[b])] = len(nodes)
        nodes.append(k)
        shunts = (at_parent.real, at_parent.imag, at_child.real, at_child.imag)
        limits = (percent[0] * ka[parent[k]], percent[1] * ka[k])
        numbers.append((share.real, share.imag, *shunts, *limits))
    tree = Tree(
        parent=parent,
        branch=np.stack([z.real, z.imag, shunt.real, shunt.imag, np.abs(ratio)], axis=1),
        element_node=np.array(nodes, np.int64),
        element=np.array(numbers, float).reshape(-1, 8),
    )
    return tree, ratio, rows
