"""Critical temperature of a lattice of spins, measured by how its order decays.

From all spins up, the magnetisation of a large lattice falls with time t (in sweeps) as a power,

    M(t) ~ t^(-beta / (nu z)),    beta / nu = 1/8 (exact),  z = 2.167 (Nightingale and Blöte 1996)

at the critical temperature only: below it M levels off, above it M falls exponentially (critical
relaxation; Ito, Physica A 196:591, 1993). So the exponent seen in a window of time grows with
temperature, and where it passes the known one is the critical temperature. That needs a few
hundred sweeps, where equilibrium at the critical temperature would need side^z. Onsager (Phys.
Rev. 65:117, 1944) found 2 / ln(1 + sqrt(2)) for the infinite square lattice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.ising import Couplings, evolve, magnetisation, random_state

ONSAGER = 2.0 / math.log(1.0 + math.sqrt(2.0))
"""Critical temperature of the infinite square lattice with J = k_B = 1."""
EXPONENT = 1.0 / 8.0 / 2.167
"""Of the decay of M with time at the critical temperature."""
FIRST_SWEEP = 10
"""Where the window begins: before, single spins relax and no power law holds."""


@dataclass(frozen=True, eq=False)
class CriticalTemperature:
    """Result of `critical_temperature`.

    Attributes:
        estimate: The critical temperature.
        standard_error: Its standard error, by leaving out one lattice after the other.
        temperatures: Where was measured, shape (k,).
        exponents: Exponent of the decay at each, shape (k,).
        sweeps: When was measured, shape (m,).
        magnetisation: Mean over the lattices, shape (k, m).
    """

    estimate: float
    standard_error: float
    temperatures: Floats
    exponents: Floats
    sweeps: Floats
    magnetisation: Floats


def onsager_temperature(
    rng: np.random.Generator, *, side: int = 256, sweeps: int = 320, replicas: int = 4
) -> CriticalTemperature:
    """`critical_temperature` of a periodic square lattice with J = 1, to compare with `ONSAGER`.

    Args:
        rng: Seeds the chains.
        side: Of the lattice; correlations reach about sweeps^(1/z) sites and must not feel it.
        sweeps: How long each lattice is followed.
        replicas: Lattices at each temperature.

    Raises:
        ScenarioError: As `critical_temperature`.
    """
    lattice = Couplings.lattice(side, periodic=True)
    around = np.linspace(2.20, 2.35, 6)
    return critical_temperature(lattice, rng, around, sweeps=sweeps, replicas=replicas)


def critical_temperature(
    couplings: Couplings,
    rng: np.random.Generator,
    temperatures: ArrayLike,
    *,
    sweeps: int,
    replicas: int,
) -> CriticalTemperature:
    """Critical temperature of a two-dimensional ferromagnet, from the decay of its order.

    The logarithm of the exponent is almost linear in the temperature; a line through all
    temperatures is read off where it passes the known exponent.

    Args:
        couplings: Of spins on a large lattice in two dimensions.
        rng: Seeds the chains.
        temperatures: A few, from some percent below to some percent above, shape (k,), k >= 3.
        sweeps: How long each lattice is followed, at least 40.
        replicas: Lattices at each temperature, at least 2.

    Raises:
        ScenarioError: An argument is out of range, or order did not decay at some temperature.
    """
    T = np.asarray(temperatures, dtype=np.float64)
    if sweeps < 4 * FIRST_SWEEP or replicas < 2:
        raise ScenarioError(
            f"sweeps is {sweeps} and replicas {replicas}; expected at least {4 * FIRST_SWEEP} "
            "and 2."
        )
    if T.ndim != 1 or len(np.unique(T)) < 3:
        raise ScenarioError(f"temperatures are {T}; expected at least 3 different ones.")
    at = np.unique(np.rint(np.geomspace(FIRST_SWEEP, sweeps, 13)).astype(np.int64))
    found = np.empty((len(T), len(at), replicas))
    for k, temperature in enumerate(T):
        spins = np.ones((replicas, couplings.n), dtype=np.int8)
        state = random_state(rng, replicas)
        for j, pause in enumerate(np.diff(at, prepend=0)):
            attempts = int(pause) * couplings.n
            evolve(couplings, spins, state, temperature=temperature, attempts=attempts)
            found[k, j] = magnetisation(spins)
    without = [np.delete(found, r, axis=2).mean(axis=2) for r in range(replicas)]
    estimates = np.array([_crossing(T, _exponents(at, each)) for each in without])
    spread = (replicas - 1) / replicas * ((estimates - estimates.mean()) ** 2).sum()
    mean = found.mean(axis=2)
    exponents = _exponents(at, mean)
    return CriticalTemperature(
        estimate=_crossing(T, exponents),
        standard_error=float(np.sqrt(spread)),
        temperatures=T,
        exponents=exponents,
        sweeps=at.astype(np.float64),
        magnetisation=mean,
    )


def _exponents(sweeps: np.ndarray, magnetisation: Floats) -> Floats:
    """Minus the slope of ln M over ln t at each temperature, shape (k,)."""
    if not (magnetisation > 0.0).all():
        raise ScenarioError(
            "order is gone before the last sweep; expected M > 0 throughout. Take a larger side "
            "or fewer sweeps."
        )
    slope = np.polyfit(np.log(sweeps), np.log(magnetisation).T, 1)[0]
    if not (slope < 0.0).all():
        raise ScenarioError(
            "order does not decay at every temperature; expected M to fall. Take more replicas, "
            "more sweeps or a higher lowest temperature."
        )
    return -slope


def _crossing(temperatures: Floats, exponents: Floats) -> float:
    """Temperature at which a line through the logarithms passes `EXPONENT`."""
    slope, origin = np.polyfit(temperatures, np.log(exponents), 1)
    return float((math.log(EXPONENT) - origin) / slope)
