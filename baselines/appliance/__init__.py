"""Exact references of an appliance: hurdle prices, optimal stopping, windows, foresight."""

from __future__ import annotations

from flexgym.baselines.appliance.expectation import expected_cost, histories
from flexgym.baselines.appliance.foresight import perfect_foresight
from flexgym.baselines.appliance.hurdle import HurdlePrices, hurdle_prices
from flexgym.baselines.appliance.stopping import StoppingRule, stopping_rule
from flexgym.baselines.appliance.window import cheapest_hours, cheapest_start

__all__ = [
    "HurdlePrices",
    "StoppingRule",
    "cheapest_hours",
    "cheapest_start",
    "expected_cost",
    "histories",
    "hurdle_prices",
    "perfect_foresight",
    "stopping_rule",
]
