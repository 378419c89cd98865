"""Ising spins: couplings, compiled Metropolis chains with and without a constraint, measurements.

Kernels for other compiled functions (one row of spins, in place) are in `metropolis` and
`coupled`; `evolve` runs batches of rows. Nothing is imported before its name is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexgym.envs.ising.chains import evolve, random_spins
    from flexgym.envs.ising.couplings import Couplings
    from flexgym.envs.ising.measures import autocorrelation, constraint, energy, magnetisation
    from flexgym.envs.ising.placement import balance_weights, partition, snake
    from flexgym.envs.ising.random_bits import random_state

__all__ = [
    "Couplings",
    "autocorrelation",
    "balance_weights",
    "constraint",
    "energy",
    "evolve",
    "magnetisation",
    "partition",
    "random_spins",
    "random_state",
    "snake",
]

_MODULE = {
    "Couplings": "couplings",
    "autocorrelation": "measures",
    "balance_weights": "placement",
    "constraint": "measures",
    "energy": "measures",
    "evolve": "chains",
    "magnetisation": "measures",
    "partition": "placement",
    "random_spins": "chains",
    "random_state": "random_bits",
    "snake": "placement",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
