"""Metropolis attempts for any couplings, held to a constraint if there is one.

The constrained chain (CMH) keeps g = sum_c w_c s_c near 0. With g' after the flip, and the
Metropolis probability p:

    gate    flips with probability p, and only where |g'| <= |g|
    or      flips with probability p, and always where |g'| < |g|

Neither has the Boltzmann weights as its stationary distribution: they are rules of behaviour.
"""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.ising.random_bits import chance_of, next_bits, site_of, threshold


@compiled
def attempt_coupled(
    spins, start, neighbour, strength, group, pair, total,
    field, temperature, weight, gate, attempts, state,
):  # fmt: skip
    """Attempts on spins coupled by bonds and groups, under a constraint.

    Args:
        spins: Shape (S,), int8, updated.
        start: Of `Couplings`.
        neighbour: Of `Couplings`.
        strength: Of `Couplings`.
        group: Of `Couplings`.
        pair: Of `Couplings`.
        total: Sum of the spins of each group, shape (groups,), int64, updated.
        field: Field on each spin, shape (S,).
        temperature: T > 0.
        weight: Weight of each spin in the constraint, shape (S,); integers keep it exact. Zeros,
            with the gate, make it plain Metropolis.
        gate: Rule: gate or (False) or.
        attempts: How many; S of them are a sweep.
        state: Row of `random_state`, shape (4,), updated.

    Returns:
        The constraint g now, in the unit of the weights.
    """
    count = np.uint64(len(spins))
    a, b, c, d = state[0], state[1], state[2], state[3]
    g = weight[0] * spins[0]
    for k in range(1, len(spins)):
        g += weight[k] * spins[k]
    for _ in range(attempts):
        bits, a, b, c, d = next_bits(a, b, c, d)
        i = site_of(bits, count)
        spin = np.int64(spins[i])
        then = g - 2 * spin * weight[i]
        if gate and abs(then) > abs(g):
            continue
        flips = not gate and abs(then) < abs(g)
        if not flips:
            home = group[i]
            local = field[i] + pair[home] * (total[home] - spin)
            for k in range(start[i], start[i + np.uint64(1)]):
                local += strength[k] * spins[neighbour[k]]
            cost = 2.0 * spin * local
            flips = cost <= 0.0 or chance_of(bits) < threshold(np.exp(-cost / temperature))
        if flips:
            spins[i] = -spin
            total[group[i]] -= 2 * spin
            g = then
    state[0], state[1], state[2], state[3] = a, b, c, d
    return g
