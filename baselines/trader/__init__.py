"""Exact references of the trader: cost-to-go under the price model, bounds, contract values."""

from flexgym.baselines.trader.cost_to_go import TraderSolution, cost_to_go, foresight_eur
from flexgym.envs.forecasts.valuation import forward_value, option_value

__all__ = ["TraderSolution", "cost_to_go", "foresight_eur", "forward_value", "option_value"]
