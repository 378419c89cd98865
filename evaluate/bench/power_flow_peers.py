"""Other power flow solvers for ``flexgym bench grid``, each driven the fast way.

lightsim2grid reads the pandapower net. power-grid-model gets the scaled tree of `Network`
(voltages per ratio, on a base of 1 kV and 1 kVA), which has the same solution, because its
own transformer model differs from pandapower's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from flexgym.envs.grid import Network
    from flexgym.envs.household.params import Floats

BATCH, SINGLE = "batch", "one at a time"
_SINGLE_CASES = 200
_PANDAPOWER_CASES = 8
_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Solver:
    """One way to solve cases.

    Attributes:
        name: What to print.
        mode: `BATCH` or `SINGLE`.
        cases: How many one call of ``work`` solves.
        work: Solves them; returns what ``voltages`` turns into results.
        voltages: Voltage magnitudes, shape (cases, bus), from what ``work`` returned; not timed.
    """

    name: str
    mode: str
    cases: int
    work: Callable[[], Any]
    voltages: Callable[[Any], Floats]


@dataclass(frozen=True)
class Cases:
    """A network and powers for it, kW and kvar, shape (batch, bus), none at the slack."""

    net: Any
    network: Network
    p_kw: Floats
    q_kvar: Floats


def lightsim2grid(cases: Cases) -> list[Solver]:
    """One case after the other, and both of its batch interfaces; ImportError if absent."""
    from lightsim2grid.gridmodel import init_from_pandapower  # pyright: ignore[reportMissingImports]
    from lightsim2grid.injectionSweep import InjectionSweepCPP  # pyright: ignore[reportMissingImports]
    from lightsim2grid.timeSerie import TimeSeriesCPP  # pyright: ignore[reportMissingImports]

    loads = np.delete(np.arange(cases.network.n_bus), cases.network.slack_column)
    p_mw = np.ascontiguousarray(cases.p_kw[:, loads]) / 1e3
    q_mvar = np.ascontiguousarray(cases.q_kvar[:, loads]) / 1e3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it takes the external grid for the slack, as it should
        grid = init_from_pandapower(cases.net)
    flat = np.full(len(cases.net.bus), cases.network.slack_pu, complex)
    # Its buses are those of the net in order; it numbers none of its own here.
    place = cases.net.bus.index.get_indexer(cases.network.bus_index)
    changed = np.ones(len(loads), bool)
    few = _SINGLE_CASES
    p_single, q_single = p_mw[:few].astype(np.float32), q_mvar[:few].astype(np.float32)

    def single() -> Any:
        found = []
        for p, q in zip(p_single, q_single, strict=True):
            grid.update_loads_p(changed, p)
            grid.update_loads_q(changed, q)
            found.append(grid.ac_pf(flat, 20, _TOLERANCE))
        return found

    # Only the external grid counts as a generator.
    generators, none = np.zeros((len(p_mw), 1)), np.zeros((len(p_mw), 0))

    def batch(kind: Any) -> Any:
        def work() -> Any:
            computer = kind(grid)
            computer.compute_Vs(generators, none, p_mw, q_mvar, flat, 20, _TOLERANCE)
            return computer.get_voltages()

        return work

    def voltages(found: Any) -> Any:
        return np.abs(np.asarray(found))[:, place]

    many = len(p_mw)
    return [
        Solver("lightsim2grid", SINGLE, few, single, voltages),
        Solver("lightsim2grid InjectionSweep", BATCH, many, batch(InjectionSweepCPP), voltages),
        Solver("lightsim2grid TimeSeries", BATCH, many, batch(TimeSeriesCPP), voltages),
    ]


def power_grid_model(cases: Cases) -> list[Solver]:
    """Its batch by both exact methods, and one case after the other; ImportError if absent."""
    from power_grid_model import (  # pyright: ignore[reportMissingImports]
        CalculationMethod,
        ComponentType,
        DatasetType,
        LoadGenType,
        PowerGridModel,
        initialize_array,
    )

    from flexgym.envs.grid.sweep import RATIO, B, G, R, X

    network = cases.network
    tree = network.tree
    nodes = len(tree.parent)
    node = initialize_array(DatasetType.input, ComponentType.node, nodes)
    node["id"], node["u_rated"] = np.arange(nodes), 1e3
    # 1 kV squared by 1 kVA: 1000 ohm per unit.
    line = initialize_array(DatasetType.input, ComponentType.line, nodes - 1)
    line["id"], line["from_node"] = nodes + np.arange(nodes - 1), tree.parent[1:]
    line["to_node"] = np.arange(1, nodes)
    line["from_status"] = line["to_status"] = 1
    line["r1"], line["x1"] = 1e3 * tree.branch[1:, R], 1e3 * tree.branch[1:, X]
    line["c1"] = line["tan1"] = 0.0
    shunt = initialize_array(DatasetType.input, ComponentType.shunt, nodes)
    shunt["id"], shunt["node"], shunt["status"] = 3 * nodes + np.arange(nodes), np.arange(nodes), 1
    shunt["g1"], shunt["b1"] = 1e-3 * tree.branch[:, G], 1e-3 * tree.branch[:, B]
    load = initialize_array(DatasetType.input, ComponentType.sym_load, network.n_bus)
    load["id"] = 5 * nodes + np.arange(network.n_bus)
    load["node"], load["status"], load["type"] = network.bus_node, 1, LoadGenType.const_power
    load["p_specified"] = load["q_specified"] = 0.0
    source = initialize_array(DatasetType.input, ComponentType.source, 1)
    source["id"], source["node"], source["status"] = 9 * nodes, 0, 1
    # Its source has an impedance, which is made to vanish.
    source["u_ref"], source["sk"] = network.slack_pu, 1e20
    model = PowerGridModel(
        {
            ComponentType.node: node, ComponentType.line: line, ComponentType.shunt: shunt,
            ComponentType.sym_load: load, ComponentType.source: source,
        }
    )  # fmt: skip

    def update(rows: slice) -> Any:
        p, q = cases.p_kw[rows], cases.q_kvar[rows]
        change = initialize_array(DatasetType.update, ComponentType.sym_load, p.shape)
        change["id"] = load["id"]
        change["p_specified"], change["q_specified"] = 1e3 * p, 1e3 * q
        return {ComponentType.sym_load: change}

    def work(changes: Any, method: Any) -> Callable[[], Any]:
        def calculate() -> Any:
            return [
                model.calculate_power_flow(
                    symmetric=True,
                    error_tolerance=_TOLERANCE,
                    calculation_method=method,
                    update_data=change,
                    output_component_types={ComponentType.node: ["u_pu"]},
                )[ComponentType.node]["u_pu"]
                for change in changes
            ]

        return calculate

    def voltages(found: Any) -> Floats:
        return (np.concatenate(found) * tree.branch[:, RATIO])[:, network.bus_node]

    batch = [update(slice(None))]
    single = [update(slice(row, row + 1)) for row in range(_SINGLE_CASES)]
    newton, current = CalculationMethod.newton_raphson, CalculationMethod.iterative_current
    many = len(cases.p_kw)
    return [
        Solver("power-grid-model Newton", BATCH, many, work(batch, newton), voltages),
        Solver("power-grid-model iterative current", BATCH, many, work(batch, current), voltages),
        Solver("power-grid-model", SINGLE, _SINGLE_CASES, work(single, current), voltages),
    ]


def pandapower_runpp(cases: Cases) -> list[Solver]:
    """``runpp`` as it is, and with recycled matrices."""
    import pandapower

    net, network = cases.net, cases.network
    loads = np.delete(np.arange(network.n_bus), network.slack_column)
    recycle = {"bus_pq": True, "trafo": False, "gen": False}

    def work(**options: Any) -> Callable[[], Any]:
        def calculate() -> Any:
            found = []
            for p, q in zip(
                cases.p_kw[:_PANDAPOWER_CASES, loads], cases.q_kvar[:_PANDAPOWER_CASES, loads],
                strict=True,
            ):  # fmt: skip
                net.load["p_mw"], net.load["q_mvar"] = p / 1e3, q / 1e3
                pandapower.runpp(net, **options)
                found.append(net.res_bus.vm_pu.loc[network.bus_index].to_numpy())
            return found

        return calculate

    few = _PANDAPOWER_CASES
    return [
        Solver("pandapower runpp", SINGLE, few, work(), np.asarray),
        Solver("pandapower runpp with recycle", SINGLE, few, work(recycle=recycle), np.asarray),
    ]
