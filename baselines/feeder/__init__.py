"""Exact references of the feeder: the centralised optimum."""

from __future__ import annotations

from flexgym.baselines.feeder.central_program import (
    CentralOptimum,
    CentralProgram,
    central_optimum,
)
from flexgym.baselines.feeder.feeder_day import FeederDay

__all__ = ["CentralOptimum", "CentralProgram", "FeederDay", "central_optimum"]
