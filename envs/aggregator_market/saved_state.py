"""What a saved market must agree with, and whether one is whole."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from flexgym.envs.aggregator_market.params import HOURS
from flexgym.envs.aggregator_market.scenario import MarketScenario
from flexgym.envs.errors import StateError


def fingerprint(scenario: MarketScenario, payer: str) -> str:
    """Sixteen digits that change with the day, the customers, the herding and who settles."""
    parts = (scenario.day, scenario.herding, scenario.tariffs, scenario.coupling)
    arrays = (scenario.customers, scenario.flexible, scenario.aggregator)
    text = repr((*parts, *(array.tolist() for array in arrays), payer))
    return sha256(text.encode()).hexdigest()[:16]


def check_state(saved: Any, market: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise `StateError` unless a state is of this market and whole.

    Args:
        saved: From `MarketSimulation.save`, or anything at all.
        market: Fingerprint of the market it must be of.
        shapes: Of its arrays.
    """
    if not isinstance(saved, Mapping):
        raise StateError(f"the state is a {type(saved).__name__}; expected what save returned.")
    for name, shape in shapes.items():
        found = np.shape(saved[name]) if name in saved else None
        if found != shape:
            raise StateError(
                f"{name} of the state has shape {found}; expected {shape}. "
                "Restore what save_state of an environment with the same options returned."
            )
    if saved.get("market") != market:
        raise StateError(
            "the state was saved by a market with another scenario or other learners; expected "
            "one of this market. Make the environment with the same options."
        )
    t = saved.get("t")
    if not isinstance(t, int | np.integer) or not 0 <= t <= HOURS:
        raise StateError(f"t of the state is {t!r}; expected an hour from 0 to {HOURS}.")
    # Extremes of voltages are infinite before the first hour; any random bits will do.
    checked = [saved[name] for name in shapes if name not in ("stream", "episode")]
    sound = all(bool(np.isfinite(part).all()) for part in checked)
    if not sound or not np.isin(saved["spins"], (-1, 1)).all():
        raise StateError("the state has spins, prices or energies out of their range.")
