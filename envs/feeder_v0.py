"""PettingZoo's feeder, version 0: ``feeder_v0.parallel_env(scenario="stress")``.

With ``mode="menu"`` houses send menus instead of controlling their devices.
"""

from flexgym.envs.feeder.menu_env import FeederMenuEnv
from flexgym.envs.feeder.parallel_env import FeederParallelEnv, env, parallel_env, raw_env

__all__ = ["FeederMenuEnv", "FeederParallelEnv", "env", "parallel_env", "raw_env"]
