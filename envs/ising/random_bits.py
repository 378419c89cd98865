"""Random bits for compiled chains: one stream a row, whose state is a plain array.

xoshiro256++ (Blackman and Vigna, ACM Trans. Math. Softw. 47:36, 2021): four words of state,
period 2^256 - 1. The state can be copied, saved and put back like any array.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.compiled import inlined
from flexgym.envs.errors import ScenarioError

WORDS = 4
"""Words of a stream's state."""

_17, _19, _23, _41, _45, _63 = (np.uint64(k) for k in (17, 19, 23, 41, 45, 63))
_32 = np.uint64(32)
_LOW = np.uint64(2**32 - 1)


def random_state(rng: np.random.Generator, n: int) -> NDArray[np.uint64]:
    """States of ``n`` streams, drawn from one generator.

    Args:
        rng: Where the words come from; row i of n is row i of any larger n.
        n: How many streams.

    Returns:
        Shape (n, 4). Compiled kernels take a row and advance it in place.

    Raises:
        ScenarioError: ``n`` is no whole number >= 0.
    """
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 0:
        raise ScenarioError(f"n is {n!r}; expected a whole number of streams >= 0.")
    # All four words at zero would stay there; 2^-256 is as good as never.
    return rng.integers(0, 2**64, size=(int(n), WORDS), dtype=np.uint64)


@inlined
def next_bits(a, b, c, d):
    """64 random bits of a stream in words a to d, and its next words."""
    mixed = a + d
    bits = ((mixed << _23) | (mixed >> _41)) + a
    shifted = b << _17
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = (d << _45) | (d >> _19)
    return bits, a, b, c, d


@inlined
def site_of(bits, count):
    """One of ``count`` (uint64) sites from the upper 32 bits, by multiplying and shifting.

    A site's probability is off 1/count by less than 2^-32, relatively count * 2^-32: 7e-8 for
    289 sites, nothing where count is a power of two.
    """
    return ((bits >> _32) * count) >> _32


@inlined
def chance_of(bits):
    """The lower 32 bits: an integer below 2^32, to be compared with a `threshold`."""
    return np.int64(bits & _LOW)


@inlined
def mask_of(bits, limit):
    """-1 (all bits set) if `chance_of` lies below a `threshold`, else 0.

    Written as a difference, because a comparison ends up as a branch that no one can predict.
    """
    below = ((bits & _LOW) - np.uint64(limit)) >> _63
    return -np.int64(below)


@inlined
def threshold(probability):
    """What `chance_of` must lie below; off by less than 2^-32, and exact for 0 and above 1."""
    return np.int64(min(probability, 1.0) * 4294967296.0)
