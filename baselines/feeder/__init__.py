"""Exact references of the feeder: the centralised optimum, and plans that come to it."""

from __future__ import annotations

from flexgym.baselines.feeder.central_program import (
    CentralOptimum,
    CentralProgram,
    central_optimum,
)
from flexgym.baselines.feeder.coordination import Coordination, coordinate
from flexgym.baselines.feeder.feeder_day import FeederDay

__all__ = [
    "CentralOptimum",
    "CentralProgram",
    "Coordination",
    "FeederDay",
    "central_optimum",
    "coordinate",
]
