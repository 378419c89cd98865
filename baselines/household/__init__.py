"""Exact references of the house: cost-to-go, charts, perfect foresight."""

from __future__ import annotations

from flexgym.baselines.household.cost_to_go import CostToGo, cost_to_go
from flexgym.baselines.household.linear_program import PerfectForesight
from flexgym.baselines.household.perfect_foresight import perfect_foresight
from flexgym.baselines.household.solution_cache import SolutionCache

__all__ = ["CostToGo", "PerfectForesight", "SolutionCache", "cost_to_go", "perfect_foresight"]
