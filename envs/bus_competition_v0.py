"""PettingZoo's contest for buses, version 0: ``bus_competition_v0.parallel_env(repeated=True)``."""

from typing import Any

from pettingzoo import AECEnv
from pettingzoo.utils.conversions import parallel_to_aec_wrapper
from pettingzoo.utils.wrappers import OrderEnforcingWrapper

from flexgym.envs.aggregator_market.competition import Contest, Duopoly
from flexgym.envs.aggregator_market.contest_env import ContestParallelEnv
from flexgym.envs.aggregator_market.duopoly_env import DuopolyAECEnv, DuopolyParallelEnv

__all__ = [
    "Contest",
    "ContestParallelEnv",
    "Duopoly",
    "DuopolyAECEnv",
    "DuopolyParallelEnv",
    "env",
    "parallel_env",
    "raw_env",
]


def parallel_env(repeated: bool = False, **options: Any) -> ContestParallelEnv | DuopolyParallelEnv:
    """One shot, see `ContestParallelEnv`, or day by day, see `DuopolyParallelEnv`."""
    return DuopolyParallelEnv(**options) if repeated else ContestParallelEnv(**options)


def raw_env(repeated: bool = False, **options: Any) -> AECEnv:
    """The same in turns, unguarded; in one shot nobody sees an offer before all are made."""
    if repeated:
        return DuopolyAECEnv(**options)
    one_shot: Any = ContestParallelEnv(**options)
    return parallel_to_aec_wrapper(one_shot)


def env(repeated: bool = False, **options: Any) -> AECEnv:
    """The same, guarded against calls in a wrong order."""
    return OrderEnforcingWrapper(raw_env(repeated, **options))
