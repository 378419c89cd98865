"""PettingZoo's market, version 0: ``aggregator_market_v0.parallel_env(learners=("dso",))``."""

from flexgym.envs.aggregator_market.parallel_env import (
    MarketAECEnv,
    MarketParallelEnv,
    env,
    parallel_env,
    raw_env,
)

__all__ = ["MarketAECEnv", "MarketParallelEnv", "env", "parallel_env", "raw_env"]
