"""Exact references of the house: cost-to-go, charts, perfect foresight."""

from __future__ import annotations

from flexgym.baselines.household.cost_to_go import CostToGo, cost_to_go
from flexgym.baselines.household.linear_program import PerfectForesight, perfect_foresight

__all__ = ["CostToGo", "PerfectForesight", "cost_to_go", "perfect_foresight"]
