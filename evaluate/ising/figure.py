"""What a figure of the Ising paper comes to: data, claims that it checks, and how much work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.household.params import Floats
from flexgym.envs.ising import Couplings, snake

CRITICAL = 2.0 / math.log(1.0 + math.sqrt(2.0))
"""Critical temperature of the endless square lattice, J = k_B = 1 (Onsager)."""
SIDE = 17
"""Rows and columns of the lattice on which the customers stand."""
ITERATIONS = 10_000
"""Attempts to flip a spin, as the paper has them for figure 4."""

Verdict = Literal["yes", "partly", "no", "cannot be compared"]
Watch = Callable[..., Iterable[Any]]
"""Goes through an iterable and shows how far it is, like tqdm."""


@dataclass(frozen=True)
class Claim:
    """A sentence of the source beside what was found.

    Attributes:
        figure: Its number.
        claim: What the source says.
        found: What comes out here.
        agrees: Whether that is the same.
    """

    figure: int
    claim: str
    found: str
    agrees: Verdict


@dataclass(frozen=True, eq=False)
class FigureData:
    """Data of one figure.

    Attributes:
        number: Of the paper.
        title: What it shows.
        rows: Tidy data, written as CSV; the picture is drawn from them.
        claims: What the source says about it.
        marks: Single numbers that the picture needs besides.
    """

    number: int
    title: str
    rows: list[dict[str, Any]]
    claims: list[Claim]
    marks: dict[str, Any] = field(default_factory=dict)

    def column(self, name: str, **where: Any) -> NDArray[Any]:
        """Values of a column in the rows where others have given values, in their order."""
        kept = (r for r in self.rows if all(r.get(key) == value for key, value in where.items()))
        return np.array([row[name] for row in kept])


@dataclass(frozen=True)
class Effort:
    """How many runs each figure gets, and on which grids.

    Attributes:
        runs: Chains of figures 2 and 8 at each temperature.
        settle: Attempts before a magnetisation is taken as that of equilibrium, figure 2.
        temperatures: Of figures 2 and 8.
        herd_runs: Chains of figure 4 at each temperature and field.
        herd_temperatures: Of figure 4, besides the critical one.
        herd_fields: Of figure 4.
        replicas: Of figure 6 at each number of flipped spins.
        flipped: Numbers of flipped spins d, figure 6.
        hot: Temperatures of figure 6; the paper's are lost.
        draws: Random prices of figure 7 at each number of aggregators.
    """

    runs: int = 300
    settle: int = 200_000
    temperatures: tuple[float, ...] = tuple(np.arange(0.5, 5.01, 0.25).tolist())
    herd_runs: int = 5000
    herd_temperatures: tuple[float, ...] = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0)
    herd_fields: tuple[float, ...] = tuple(np.round(np.arange(0.0, 1.01, 0.05), 2).tolist())
    replicas: int = 100
    flipped: tuple[int, ...] = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 80, 120, 144)
    hot: tuple[float, ...] = tuple(np.geomspace(0.25, 6.0, 16).round(3).tolist())
    draws: int = 40


FULL = Effort()
QUICK = Effort(
    runs=100,
    settle=50_000,
    temperatures=tuple(np.arange(0.5, 5.01, 0.5).tolist()),
    herd_runs=300,
    herd_temperatures=(1.0, 2.0, 3.0, 5.0, 10.0),
    herd_fields=tuple(np.round(np.arange(0.0, 1.01, 0.1), 2).tolist()),
    replicas=20,
    flipped=(1, 5, 10, 20, 50, 100, 144),
    hot=tuple(np.geomspace(0.25, 6.0, 8).round(3).tolist()),
    draws=10,
)


@cache
def bus_of_customer() -> NDArray[np.int64]:
    """Bus of each of the 289 customers, from 0 for the source's bus 2, bus by bus."""
    counts = case33_day().customers
    return np.repeat(np.arange(len(counts)), counts)


@cache
def lattice() -> Couplings:
    """The customers on the lattice, in a snake of buses, free boundaries: 544 bonds [I]."""
    return Couplings.lattice(SIDE, site=snake(SIDE, len(bus_of_customer())))


def with_critical(temperatures: tuple[float, ...]) -> list[float]:
    """Temperatures with the critical one in place of what lies next to it, ascending."""
    return sorted({*(t for t in temperatures if abs(t - CRITICAL) > 0.05), CRITICAL})


def mean_and_error(values: Floats) -> dict[str, float]:
    """Mean over runs and its standard error."""
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "standard_error": error}
