"""One uncertain day of a house with battery and car, as the kernels of both bounds read it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    CAR_DISCHARGE,
    CAR_ETA_C,
    CAR_MISSED,
    CAR_POWER,
    DEPARTURE,
    NEEDED_KWH,
    TARGET_KWH,
    plugged,
)
from flexgym.envs.household.params import DT_H, Floats
from flexgym.envs.uncertainty import Uncertainty

AWAY = np.zeros(1)
"""Levels of a car that is not there."""


@dataclass(frozen=True)
class Problem:
    """One house-day as the kernels read it.

    Attributes:
        house: Shape (18,).
        series: Load, PV, import and export price as forecast, shape (4, T).
        visits: Visits of the car, shape (T, 5).
        terminal_price: Pay for energy left in the battery, EUR/kWh.
        uncertainty: Chains around the forecast.
    """

    house: Floats
    series: Floats
    visits: Floats
    terminal_price: float
    uncertainty: Uncertainty

    @cached_property
    def transition(self) -> Floats:
        """Transition matrix of the Markov states, shape (m, m)."""
        return self.uncertainty.transition

    def plugged(self, t: int) -> bool:
        """Whether the car is plugged in in period t."""
        return t < len(self.visits) and bool(plugged(self.visits[t], t))

    def arrives(self, t: int) -> bool:
        """Whether a visit begins with period t."""
        return t < len(self.visits) and self.visits[t, ARRIVAL] == t

    def leaves(self, t: int) -> bool:
        """Whether a visit ends with period t."""
        return self.plugged(t) and self.visits[t, DEPARTURE] == t + 1

    def blocks(self, t: int, steps: int) -> Floats:
        """Energies of the car in period t that full power reaches from what is needed, kWh.

        Shape (k,), with ``steps`` between. The optimum likes to charge fully or not at all.
        """
        visit, house = self.visits[t], self.house
        least, top = self.reach(t)
        step = house[CAR_POWER] * DT_H * house[CAR_ETA_C] / steps
        # Large batteries that charge slowly would take more levels than they are worth.
        step = max(step, (top - least) / (24 * steps), 1e-6)
        due = self.due(t)
        down, up = np.arange(due, least, -step), np.arange(due, top, step)
        return apart(np.concatenate([down, up, [least, visit[ARRIVAL_KWH], due, top]]))

    def due(self, t: int) -> float:
        """Energy in the car at which nothing is missing, or as much as it can have, kWh."""
        return float(np.clip(self.visits[t, NEEDED_KWH], *self.reach(t)))

    def reach(self, t: int) -> tuple[float, float]:
        """Least and largest energy of the car in the visit of period t, kWh."""
        visit = self.visits[t]
        least = 0.0 if self.house[CAR_DISCHARGE] > 0.0 else float(visit[ARRIVAL_KWH])
        return least, float(max(visit[TARGET_KWH], visit[ARRIVAL_KWH]))

    def missed(self, t: int, levels: Floats) -> Floats:
        """Cost of leaving after period t with these energies, EUR."""
        return self.house[CAR_MISSED] * (self.visits[t, NEEDED_KWH] - levels).clip(0.0)

    @property
    def chances(self) -> tuple[Floats, Floats]:
        """Load factors and their probabilities."""
        u = self.uncertainty
        return np.array(u.load_factors, np.float64), np.array(u.load_probabilities, np.float64)


def apart(levels: Floats, least: float = 1e-6) -> Floats:
    """Levels in order, those that only rounding tells apart once."""
    levels = np.unique(levels)
    return levels[np.concatenate([[True], np.diff(levels) > least])]
