"""flexgym: learning agents for household flexibility, judged against the exact optimum.

Importing the package registers its environments with Gymnasium and nothing else:
torch, stable-baselines3 and pandapower are loaded by the commands that need them.
"""

from pathlib import Path

# In a checkout the rooms (envs, baselines, ...) lie one folder up, in a wheel beside this file.
__path__ = [*__path__, str(Path(__file__).parent.parent)]
__version__ = "0.1.0.dev0"

from flexgym.envs import register

register()

__all__ = ["__version__"]
