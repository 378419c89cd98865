"""Convex piecewise-linear functions, the slope-merge recursion and flexibility charts."""

from __future__ import annotations

from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear

__all__ = ["ConvexPiecewiseLinear", "FlexibilityChart"]
