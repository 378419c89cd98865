"""What a saved state must agree with, and whether one is whole."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from flexgym.envs.errors import StateError
from flexgym.envs.feeder.coupling import World
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.household.params import STEPS_PER_DAY


def fingerprint(scenario: FeederScenario, world: World) -> str:
    """Sixteen digits that change with grid, houses, days, prices and limits."""
    digest = sha256()
    for part in (*world.tree, *world[1:], scenario.homes.rows, scenario.homes.days):
        digest.update(np.ascontiguousarray(part).tobytes())
    digest.update(repr((scenario.homes.uncertainty, scenario.homes.initial_soc)).encode())
    return digest.hexdigest()[:16]


def check_state(saved: Any, made_of: tuple, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise `StateError` unless a state is of the same make and whole.

    Args:
        saved: From `FeederSimulation.save`, or anything at all.
        made_of: What it must be of.
        shapes: Of its arrays.
    """
    if not isinstance(saved, Mapping) or saved.get("made_of") != made_of:
        found = saved.get("made_of") if isinstance(saved, Mapping) else saved
        raise StateError(
            f"the state is of {found}; expected one of {made_of}: scenario and what it is made "
            "of, feeders, actions, settings, observation. Restore into an environment made with "
            "the same options."
        )
    for name, shape in shapes.items():
        if name not in saved or np.shape(saved[name]) != shape:
            raise StateError(f"the state's {name} is not of shape {shape}; it is damaged.")
    if not 0 <= int(saved.get("t", -1)) <= STEPS_PER_DAY:
        raise StateError(f"the state's t is {saved.get('t')}; expected 0 to {STEPS_PER_DAY}.")
