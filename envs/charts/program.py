"""What the operator's programs are given beside menus, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.grid.linear import LinDistFlow
from flexgym.envs.household.params import Floats


@dataclass(frozen=True, eq=False)
class Grid:
    """What the operator holds menus against.

    Attributes:
        plain: The linear model of the network.
        bus: Position of each menu's bus, shape (H,).
        counted: Buses whose voltages count.
        band_pu: Lowest and highest voltage, margins taken off.
        rating_share: Share of the ratings that may be used, a margin taken off.
        loss_eur_per_kwh: Price of losses.
        voltage_eur: Price of squared voltages above, then below the band, shape (2,), EUR/pu^2.
        overload_eur: Price of power above ratings, EUR/kVA.
    """

    plain: LinDistFlow
    bus: NDArray[np.int64]
    counted: NDArray[np.int64]
    band_pu: tuple[float, float]
    rating_share: float
    loss_eur_per_kwh: float
    voltage_eur: tuple[float, float]
    overload_eur: float

    def at_buses(self, values: Floats) -> Floats:
        """Sums of menus' values at the buses, shape (bus,)."""
        at = np.zeros(self.plain.network.n_bus)
        np.add.at(at, self.bus, values)
        return at


@dataclass(frozen=True, eq=False)
class Found:
    """Answer of the linear model; shapes and units as in `clearing.Cleared`.

    ``voltage_eur`` is the worth of the upper, then the lower limits, shape (2, counted buses),
    EUR per squared pu; ``branch_eur`` that of the ratings, shape (branch,), EUR per kVA.
    """

    power_kw: Floats
    q_kvar: Floats
    cost_eur: Floats
    price_eur_per_kwh: Floats
    price_eur_per_kvarh: Floats
    voltage_eur: Floats
    branch_eur: Floats
    violation_pu: float
    violation_kva: float
