"""Learning: stable-baselines3 on the native batches, TensorBoard, checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexgym.train.vec_env import ShapedReward, sb3_house_rows, sb3_vec_env

__all__ = ["ShapedReward", "sb3_house_rows", "sb3_vec_env"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        # Imports torch and stable-baselines3, which the command line must not wait for.
        from flexgym.train import vec_env

        return getattr(vec_env, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
