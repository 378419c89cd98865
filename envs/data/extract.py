"""Rebuild the shipped extract from the simbench package.

``python -m flexgym.envs.data.extract [--out DIR]`` writes ``profiles.npz`` and ``grid.json``.
Same simbench, pandapower and numpy, same bytes. Needs the extra ``data``.
"""

from __future__ import annotations

import argparse
import copy
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.data.calendar import QUARTERS
from flexgym.envs.data.profiles import FOLDER

CODE = "1-LV-semiurb4--{scenario}-no_sw"
SCENARIO_NUMBERS = (0, 1, 2)
_HOUSEHOLD = "H0-"
_START = "2016-01-01T00:00"
_FIRST, _LAST = "01.01.2016 00:00", "31.12.2016 23:45"


def _collect(columns: dict[str, NDArray[np.float64]], table: Any, names: dict[str, str]) -> None:
    """Add the named columns; the scenarios must agree on what a profile is."""
    stamps = list(table["time"])
    if len(stamps) != QUARTERS or (stamps[0], stamps[-1]) != (_FIRST, _LAST):
        raise RuntimeError(f"simbench has {len(stamps)} rows, {stamps[0]} to {stamps[-1]}")
    for name, column in names.items():
        values = np.asarray(table[column], dtype=np.float64)
        if name in columns and not np.array_equal(columns[name], values):
            raise RuntimeError(f"profile {name} differs between SimBench's scenarios")
        columns[name] = values


def collect(nets: Sequence[Any]) -> dict[str, NDArray]:
    """What ``profiles.npz`` holds, from SimBench's networks of scenarios 0, 1, 2.

    Left out on purpose: reactive profiles, commerce, heat pumps and cars (their columns are
    dispatched already), and everything under ``storage`` (``PV_Storage`` elements are roof and
    battery combined, net output for self-consumption, and no batteries).
    """
    load: dict[str, NDArray[np.float64]] = {}
    pv: dict[str, NDArray[np.float64]] = {}
    for net in nets:
        households = {p for p in net.load.profile if p.startswith(_HOUSEHOLD)}
        _collect(load, net.profiles["load"], {p: f"{p}_pload" for p in households})
        roofs = {p for p in net.sgen.profile if p.startswith("PV")}
        _collect(pv, net.profiles["renewables"], {p: p for p in roofs})
    base = nets[0]
    at_home = base.load[base.load.profile.str.startswith(_HOUSEHOLD)]
    return {
        "load_names": np.array(sorted(load)),
        "load": np.stack([load[name] for name in sorted(load)]),
        "pv_names": np.array(sorted(pv)),
        "pv": np.stack([pv[name] for name in sorted(pv)]),
        # SimBench labels its rows with daylight-saving time, but neither sun nor households
        # move at the change: the rows are evenly spaced, so a start and a step say it all.
        "start": np.array(_START),
        "step_minutes": np.array(15),
        "lv_bus_names": np.array(list(base.bus.name[base.bus.vn_kv < 1.0])),
        "household_bus": np.array([str(base.bus.name[bus]) for bus in at_home.bus]),
        "household_profile": np.array(list(at_home.profile)),
    }


def write(nets: Sequence[Any], out: Path) -> None:
    """Write ``profiles.npz`` and ``grid.json`` into the folder ``out``."""
    import pandapower

    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out / "profiles.npz", **collect(nets))  # pyright: ignore[reportArgumentType]
    grid = copy.deepcopy(nets[0])
    del grid["profiles"]
    # simbench adds its columns in the order of a set, which differs from process to process.
    for name, table in grid.items():
        if hasattr(table, "columns"):
            grid[name] = table[sorted(table.columns)]
    pandapower.to_json(grid, str(out / "grid.json"))


def main(argv: Sequence[str] | None = None) -> None:
    """Command line. Exits with code 2 and one line when simbench is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m flexgym.envs.data.extract",
        description="Rebuild the extract of SimBench 1-LV-semiurb4.",
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to")
    out = parser.parse_args(argv).out
    try:
        import simbench
    except ImportError:
        print(
            "the simbench package is not installed; run: pip install 'flexgym[data]'",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas complains inside simbench; nothing of ours
        nets = [simbench.get_simbench_net(CODE.format(scenario=s)) for s in SCENARIO_NUMBERS]
        write(nets, out)
    for name in ("profiles.npz", "grid.json"):
        print(f"{out / name}: {(out / name).stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
