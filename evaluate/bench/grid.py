"""``flexgym bench grid``: power flows per second, beside other solvers at the same accuracy.

Every solver gets the same cases of the same two networks on one core. Solvers that are not
installed are reported as absent: ``pip install 'flexgym[bench]'``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.errors import ScenarioError
from flexgym.evaluate.bench.figures import one_core, seconds
from flexgym.evaluate.bench.power_flow_peers import (
    BATCH,
    SINGLE,
    Cases,
    Solver,
    lightsim2grid,
    pandapower_runpp,
    power_grid_model,
)

if TYPE_CHECKING:
    from flexgym.envs.household.params import Floats

NETWORKS = ("33bw", "semiurb4")
ACCURACY_PU = 2e-8
"""What counts as 1e-8: some peers end a little above with their tolerance at 1e-8."""
FASTEST_PEER = "fastest peer"
OURS, OURS_COMPILED = "flexgym", "flexgym in compiled code"
PEERS = ("lightsim2grid", "power-grid-model")
FLOORS = {
    (BATCH, FASTEST_PEER): 20.0,
    (SINGLE, "lightsim2grid"): 7.0,
    (SINGLE, "pandapower runpp"): 5e3,
    (SINGLE, "pandapower runpp with recycle"): 2e3,
}
"""Times faster, by mode and peer; single cases compare with ours inside compiled code."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--repeats", type=int, default=9, help="runs the median is taken of")
    parser.add_argument("--batch", type=int, default=4096, help="cases in the batch")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- bench-grid --> gets the table"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    if arguments.repeats < 1 or arguments.batch < 64:
        raise ScenarioError("repeats must be at least 1 and batch at least 64.")
    from rich.console import Console
    from rich.table import Table

    from flexgym.evaluate.report import block_marks, output_folder, publish, write_results

    if arguments.document:
        block_marks(arguments.document, "bench-grid")
    folder = output_folder(arguments.out or Path("results/bench-grid"))
    rows: list[dict[str, Any]] = []
    with one_core() as core:
        for name in NETWORKS:
            cases = draw_cases(name, arguments.batch, arguments.seed)
            rows += measure(name, cases, arguments.repeats)
    results = write_results(
        folder,
        command=arguments.command,
        seed=arguments.seed,
        environment="flexgym.envs.grid",
        scenario={"title": "power flow on one core", "core": core, "batch": arguments.batch},
        rows=rows,
    )
    table = Table(title=f"median of {arguments.repeats}, one core", title_justify="left")
    for column in ("network", "mode", "solver"):
        table.add_column(column)
    for column in ("power flows/s", "error, pu", "flexgym is faster", "required", ""):
        table.add_column(column, justify="right")
    for row in rows:
        required, met = row["floor"], row["ratio"] is None or row["ratio"] >= (row["floor"] or 0)
        verdict = "" if required is None or row["ratio"] is None else ("ok" if met else "MISSED")
        table.add_row(row["network"], row["mode"], row["solver"], *_cells(row), verdict)
    Console(soft_wrap=True).print(table)
    if arguments.document:
        publish(arguments.document, "bench-grid", markdown_table(results), results)
    print(f"wrote {folder}/results.json")
    return 0


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Rate, error, ratio and floor as text."""
    if row["absent"]:
        return "absent", "", "", ""
    return (
        "" if row["rate_per_s"] is None else f"{row['rate_per_s']:,.4g}",
        "" if row["error_pu"] is None else f"{row['error_pu']:.1e}",
        "" if row["ratio"] is None else f"{row['ratio']:,.3g} times",
        "" if row["floor"] is None else f"{row['floor']:,.4g}",
    )


def markdown_table(results: dict[str, Any]) -> str:
    """The measurements in Markdown, from the content of ``results.json``."""
    lines = [
        "| one core | mode | solver | power flows/s | error, pu | flexgym is faster | required |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for row in results["rows"]:
        cells = (row["network"], row["mode"], row["solver"], *_cells(row))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw_cases(name: str, batch: int, seed: int) -> Cases:
    """Random cases: 33bw with 0.3 to 1.2 times its loads, semiurb4 with 6 kW either way.

    Phase shifts of transformers are set to 0, because some peers turn angles otherwise.
    """
    import pandapower as pp
    from pandapower.networks import case33bw

    from flexgym.envs.data import load_grid
    from flexgym.envs.grid import Network

    net: Any = case33bw() if name == "33bw" else load_grid()
    net.trafo["shift_degree"] = 0.0
    network = Network.from_pandapower(net)
    rng = np.random.default_rng(seed)
    shape = (batch, network.n_bus)
    if name == "33bw":
        p, q = network.injections(net)
        p_kw, q_kvar = p * rng.uniform(0.3, 1.2, shape), q * rng.uniform(0.3, 1.2, shape)
    else:
        p_kw = rng.uniform(-6.0, 6.0, shape)
        q_kvar = p_kw * rng.uniform(0.1, 0.33, shape)
    p_kw[:, network.slack_column] = q_kvar[:, network.slack_column] = 0.0
    for table in ("load", "sgen", "storage"):
        net[table] = net[table].iloc[:0]
    at_loads = np.delete(network.bus_index, network.slack_column)
    pp.create_loads(net, at_loads.tolist(), p_mw=0.001, q_mvar=0.0)
    pp.runpp(net, tolerance_mva=1e-10, lightsim2grid=False)
    return Cases(net, network, p_kw, q_kvar)


def measure(name: str, cases: Cases, repeats: int) -> list[dict[str, Any]]:
    """Rows of one network: rates, errors and ratios."""
    solvers, absent = list_solvers(cases)
    exact = reference(cases)
    errors, times = {}, {(s.name, s.mode): [] for s in solvers}
    for solver in solvers:  # also compiles
        found = solver.voltages(solver.work())
        errors[solver.name, solver.mode] = float(np.abs(found - exact[: solver.cases]).max())
    for _ in range(repeats):
        for solver in solvers:
            times[solver.name, solver.mode].append(seconds(solver.work) / solver.cases)
    rows: list[dict[str, Any]] = []
    for solver in solvers:
        key = (solver.name, solver.mode)
        ours = (OURS if solver.mode == BATCH else OURS_COMPILED, solver.mode)
        ratio = median(b / a for a, b in zip(times[ours], times[key], strict=True))
        ratio = None if solver.name.startswith(OURS) else ratio
        floor = FLOORS.get((solver.mode, solver.name))
        rows.append(_row(name, *key, 1.0 / median(times[key]), errors[key], ratio, floor))
    for peer in absent:
        rows.append({**_row(name, peer, "any", None, None, None, None), "absent": True})
    rivals = [
        key
        for key in times
        if key[1] == BATCH and key[0].startswith(PEERS) and errors[key] <= ACCURACY_PU
    ]
    if rivals:
        ratio = median(
            min(times[key][i] for key in rivals) / times[OURS, BATCH][i] for i in range(repeats)
        )
        floor = FLOORS[BATCH, FASTEST_PEER]
        rows.append(_row(name, FASTEST_PEER, BATCH, None, None, ratio, floor))
    return rows


def _row(
    network: str,
    solver: str,
    mode: str,
    rate: float | None,
    error: float | None,
    ratio: float | None,
    floor: float | None,
) -> dict[str, Any]:
    return {
        "network": network, "mode": mode, "solver": solver, "rate_per_s": rate, "error_pu": error,
        "ratio": ratio, "floor": floor, "absent": False,
    }  # fmt: skip


def reference(cases: Cases) -> Floats:
    """Voltage magnitudes by a dense fixed point on pandapower's admittances, to rounding."""
    net, network = cases.net, cases.network
    admittance = net._ppc["internal"]["Ybus"].toarray()
    place = net._pd2ppc_lookups["bus"][network.bus_index]
    slack = place[network.slack_column]
    free = np.delete(np.arange(len(admittance)), slack)
    impedance = np.linalg.inv(admittance[np.ix_(free, free)])
    s = np.zeros((len(cases.p_kw), len(admittance)), complex)
    np.add.at(s.T, place, ((cases.p_kw + 1j * cases.q_kvar) / (1e3 * net.sn_mva)).T)
    no_load = -impedance @ admittance[free, slack] * network.slack_pu
    v = np.tile(no_load, (len(s), 1))
    for _ in range(200):
        v = no_load - (s[:, free] / v).conj() @ impedance.T
    full = np.full(s.shape, network.slack_pu, complex)
    full[:, free] = v
    return np.abs(full[:, place])


def list_solvers(cases: Cases) -> tuple[list[Solver], list[str]]:
    """Every solver that is installed, and the names of those that are not."""
    solvers, absent = own_solvers(cases), []
    for name, make in (("lightsim2grid", lightsim2grid), ("power-grid-model", power_grid_model)):
        try:
            solvers += make(cases)
        except ImportError:
            absent.append(name)
    return [*solvers, *pandapower_runpp(cases)], absent


def own_solvers(cases: Cases) -> list[Solver]:
    """The batch, single calls from Python, and single cases inside compiled code."""
    # Compiled functions are imported late: the command line stays quick.
    from flexgym.envs.grid import RadialPowerFlow
    from flexgym.evaluate.bench.power_flow_loop import one_by_one

    flow = RadialPowerFlow(cases.network)
    out = flow.solve(cases.p_kw, cases.q_kvar)
    few = min(500, len(cases.p_kw))
    p_rows, q_rows = cases.p_kw[:few], cases.q_kvar[:few]

    def batch() -> Any:
        return flow.solve(cases.p_kw, cases.q_kvar, out).v_pu

    def single() -> Any:
        return [flow.solve(p, q).v_pu for p, q in zip(p_rows, q_rows, strict=True)]

    def in_compiled_code() -> Any:
        arrays = (out.v_pu[:few], out.line_loading_percent[:few], out.trafo_loading_percent[:few])
        arguments: list[Any] = [*flow.single_arguments, p_rows, q_rows, *arrays, np.empty(0)]
        one_by_one(*arguments)
        return arrays[0]

    return [
        Solver(OURS, BATCH, len(cases.p_kw), batch, np.asarray),
        Solver(OURS, SINGLE, few, single, np.asarray),
        Solver(OURS_COMPILED, SINGLE, few, in_compiled_code, np.asarray),
    ]
