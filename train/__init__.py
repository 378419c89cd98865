"""Learning: stable-baselines3 on the native batches, TensorBoard, checkpoints."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexgym.train.seeds import train_seeds
    from flexgym.train.training import train
    from flexgym.train.vec_env import ShapedReward, sb3_house_rows, sb3_vec_env

_HOME = {
    "ShapedReward": "flexgym.train.vec_env",
    "sb3_house_rows": "flexgym.train.vec_env",
    "sb3_vec_env": "flexgym.train.vec_env",
    "train": "flexgym.train.training",
    "train_seeds": "flexgym.train.seeds",
}
__all__ = ["ShapedReward", "sb3_house_rows", "sb3_vec_env", "train", "train_seeds"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        # Some import torch and stable-baselines3, which the command line must not wait for.
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
