"""The shipped extract of SimBench ``1-LV-semiurb4``: profiles of a year, and the grid.

Source: Meinecke et al., SimBench, Energies 13(12):3290, 2020; see ``semiurb4/SOURCES.md``.
Reads files beside this module, needs no network and no simbench.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.household.params import DT_H, Floats

if TYPE_CHECKING:
    from pandapower import pandapowerNet

FOLDER = Path(__file__).parent / "semiurb4"
PV_PROFILE = "PV5"
"""The only PV profile of the grid. In the source it peaks at 0.603 of the roof's rating."""


@dataclass(frozen=True, eq=False)
class Profiles:
    """Profiles of 2016, one value a quarter-hour, read-only.

    Row i begins ``i * 15`` minutes after ``start`` on a clock without daylight saving.

    Attributes:
        load: Household profiles by name; each shape (35136,), kW for a household that
            consumes 1 kWh a year. Multiply by the house's yearly consumption.
        pv: Solar generation, shape (35136,), as a share of its own highest value (peak = 1).
        start: Begin of the first quarter-hour, local standard time.
        energy_kwh: What each load consumed in the 366 days of 2016 before it was normalised,
            kWh. ``Load(name, energy_kwh=profiles.energy_kwh[name])`` is that household again.
            Empty for the extract, whose profiles have no level of their own.
    """

    load: Mapping[str, Floats]
    pv: Floats
    start: dt.datetime
    energy_kwh: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@cache
def _archive() -> dict[str, NDArray]:
    with np.load(FOLDER / "profiles.npz", allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_only(array: Floats) -> Floats:
    array.flags.writeable = False
    return array


@cache
def load_profiles() -> Profiles:
    """Household and PV profiles of the extract, normalised; read once.

    Returns:
        The profiles. SimBench gives households in kW per kW of rated load, which is turned
        into kW per kWh of yearly consumption: ``p / (sum(p) * 0.25)``.
    """
    archive = _archive()
    load = {
        str(name): _read_only(row / (row.sum() * DT_H))
        for name, row in zip(archive["load_names"], archive["load"], strict=True)
    }
    pv = archive["pv"][list(archive["pv_names"]).index(PV_PROFILE)]
    return Profiles(
        load=MappingProxyType(load),
        pv=_read_only(pv / pv.max()),
        start=dt.datetime.fromisoformat(str(archive["start"])),
    )


@cache
def lv_bus_names() -> tuple[str, ...]:
    """Names of the 43 low-voltage buses in the order of the grid, busbar included."""
    return tuple(map(str, _archive()["lv_bus_names"]))


@cache
def household_loads() -> tuple[tuple[str, str], ...]:
    """The 32 household loads of SimBench's scenario 0: pairs (bus name, profile name)."""
    archive = _archive()
    pairs = zip(archive["household_bus"], archive["household_profile"], strict=True)
    return tuple((str(bus), str(profile)) for bus, profile in pairs)


def load_grid() -> pandapowerNet:
    """The grid ``1-LV-semiurb4--0-no_sw``: 20 kV bus, transformer, 43 buses, 42 lines.

    SimBench's own loads and roof are in it (rated values only). Join buses by name, because
    bus numbers differ between SimBench's scenarios. Every call returns a fresh network.
    """
    # pandapower takes seconds to import, and most users of the profiles never need it.
    import pandapower

    return cast("pandapowerNet", pandapower.from_json(str(FOLDER / "grid.json")))
