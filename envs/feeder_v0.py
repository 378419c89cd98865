"""PettingZoo's feeder, version 0: ``feeder_v0.parallel_env(scenario="stress")``."""

from flexgym.envs.feeder.parallel_env import FeederParallelEnv, env, parallel_env, raw_env

__all__ = ["FeederParallelEnv", "env", "parallel_env", "raw_env"]
