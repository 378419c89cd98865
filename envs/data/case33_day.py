"""The 33-bus market's data: customers on Baran and Wu's network and a synthetic day of prices.

Sources and what is ours: ``case33/SOURCES.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.household.params import Floats

if TYPE_CHECKING:
    from pandapower import pandapowerNet

FOLDER = Path(__file__).parent / "case33"
KW_PER_CUSTOMER = 13.0
"""A bus has one customer for each of these, rounded to the nearest."""


@dataclass(frozen=True, eq=False)
class MarketDay:
    """Customers of the 33-bus network and hourly prices, read-only.

    Attributes:
        load_kw: Load of each load bus (numbers 2 to 33 of the source), shape (32,), kW, whole.
        customers: Customers on it, shape (32,); 289 in all.
        source_percent: Power at the slack bus in each hour, shape (24,), % of the load, whole.
        rtem_eur_per_mwh: Price of the real-time energy market, shape (24,), EUR/MWh.
        aggregator_eur_per_mwh: Price that each of three aggregators pays, shape (3, 24), EUR/MWh.
        retail_eur_per_mwh: Price at which loads buy from the DSO, EUR/MWh.
        profit_factor: Least ratio of what an aggregator is paid to what it pays.
    """

    load_kw: NDArray[np.int64]
    customers: NDArray[np.int64]
    source_percent: NDArray[np.int64]
    rtem_eur_per_mwh: Floats
    aggregator_eur_per_mwh: Floats
    retail_eur_per_mwh: float = 45.0
    profit_factor: float = 1.10

    @property
    def source_kw(self) -> Floats:
        """Power at the slack bus in each hour, shape (24,), kW."""
        return self.load_kw.sum() / 100.0 * self.source_percent


@cache
def case33_day() -> MarketDay:
    """The shipped day."""
    load = np.rint(1e3 * case33_grid().load.sort_values("bus").p_mw.to_numpy()).astype(np.int64)
    hours = np.loadtxt(FOLDER / "hours.csv", delimiter=",", skiprows=1)
    parts = (
        load,
        np.rint(load / KW_PER_CUSTOMER).astype(np.int64),
        np.rint(hours[:, 1]).astype(np.int64),
        hours[:, 2].copy(),
        hours[:, 3:].T.copy(),
    )
    for part in parts:
        part.setflags(write=False)
    return MarketDay(*parts)


def case33_grid() -> pandapowerNet:
    """A fresh copy of the network; its five tie lines are out of service."""
    from pandapower.networks import case33bw

    return cast("pandapowerNet", case33bw())
