"""PettingZoo's neighbourhood market, version 0: ``local_market_v0.parallel_env()``."""

from flexgym.envs.local_market.parallel_env import (
    LocalMarketParallelEnv,
    env,
    parallel_env,
    raw_env,
)

__all__ = ["LocalMarketParallelEnv", "env", "parallel_env", "raw_env"]
