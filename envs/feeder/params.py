"""What grid service costs on the feeder, and who bears it. Plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from flexgym.envs.errors import ScenarioError

Share = Literal["common", "local", "marginal"]
SHARES: tuple[Share, ...] = ("common", "local", "marginal")
"""Who bears the grid's cost: everybody alike, those who cause it by the flows of the
moment, or each house what it adds (the cost with it minus the cost had it drawn nothing)."""


@dataclass(frozen=True)
class GridCosts:
    """Prices of losses and of violated limits.

    Those of violations lie above what any feasible dispatch could be worth, so that nobody
    gains by breaking limits: above the largest dual of the centralised optimum on the tuning
    days (see docs/feeder.md).

    Attributes:
        loss_eur_per_kwh: Price of energy lost in lines and transformer, EUR/kWh.
        voltage_eur_per_pu_h: Price of a bus outside the voltage band, EUR per pu and hour.
        overload_eur_per_kwh: Price of apparent power above a rating, EUR per kVAh.
    """

    loss_eur_per_kwh: float = 0.1
    voltage_eur_per_pu_h: float = 1000.0
    overload_eur_per_kwh: float = 5.0

    def __post_init__(self) -> None:
        for name in ("loss_eur_per_kwh", "voltage_eur_per_pu_h", "overload_eur_per_kwh"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0.0 <= value < math.inf):
                raise ScenarioError(
                    f"{name} is {value!r}; expected a price >= 0. Correct the GridCosts."
                )
