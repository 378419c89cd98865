"""Metropolis attempts at random sites: compiled kernels on one row of spins, in place.

    E(s) = - sum over pairs J_ij s_i s_j - sum_i h_i s_i,    k_B = 1

An attempt picks a site, all with the same probability, and flips its spin with probability
min(1, exp(-dE / T)) (Metropolis et al. 1953; Hastings 1970). Every kernel spends one draw an
attempt: the upper half picks the site, the lower half decides. So all kernels walk the same path
where they describe the same couplings, apart from roundings of 2^-32 in a probability.

Kernels check nothing: `evolve` does. Spins are int8, +1 or -1.
"""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.ising.random_bits import chance_of, mask_of, next_bits, site_of, threshold

ALWAYS = 2**32
LEVEL = 18
"""Entries of `square_table` for one level of the field."""


@compiled
def group_table(n, coupling, field, temperature, table):
    """Thresholds of a group in which every spin feels every other, by number of spins up.

    With z_k = 2 (pair (2 k - n + 1) + field) / T a down spin among k up flips with probability
    min(1, exp(z_k)), an up spin among k + 1 with min(1, exp(-z_k)): of each two one is certain,
    and the other falls geometrically away from where z changes its sign.

    Args:
        n: Spins of the group.
        coupling: Sum of a spin's couplings, J0; a pair has J0 / (n - 1).
        field: Field on all of them.
        temperature: T > 0.
        table: Gets the thresholds, shape (2 n + 2,), int64: of a down spin among k up in 2 k, of
            an up spin in 2 k + 1.
    """
    pair = coupling / (n - 1) if n > 1 else 0.0
    table[1] = 0
    table[2 * n] = 0
    # First k with z_k >= 0; without attraction there is no such order and each is computed.
    turn = 0
    if pair > 0.0:
        turn = np.int64(min(max(np.ceil(0.5 * (n - 1 - field / pair)), 0.0), float(n)))
        fall = np.exp(-4.0 * pair / temperature)
        q = np.exp(-2.0 * (pair * (2 * turn - n + 1) + field) / temperature)
        for k in range(turn, n):
            table[2 * k] = ALWAYS
            table[2 * k + 3] = threshold(q)
            q *= fall
        q = np.exp(2.0 * (pair * (2 * turn - n - 1) + field) / temperature)
        for k in range(turn - 1, -1, -1):
            table[2 * k] = threshold(q)
            table[2 * k + 3] = ALWAYS
            q *= fall
        return
    for k in range(n):
        z = 2.0 * (pair * (2 * k - n + 1) + field) / temperature
        table[2 * k] = threshold(np.exp(min(z, 0.0)))
        table[2 * k + 3] = threshold(np.exp(min(-z, 0.0)))


@compiled
def attempt_group(spins, members, up, coupling, field, temperature, attempts, state):
    """Attempts on a group in which every spin feels every other, O(1) each.

    Args:
        spins: Shape (S,), int8, updated.
        members: Indices of the group's spins, shape (n,), each once.
        up: How many of them are +1.
        coupling: Sum of a spin's couplings, J0; a pair has J0 / (n - 1).
        field: Field on all of them.
        temperature: T > 0.
        attempts: How many; n of them are a sweep.
        state: Row of `random_state`, shape (4,), updated.

    Returns:
        How many are +1 now.
    """
    n = len(members)
    table = np.empty(2 * n + 2, dtype=np.int64)
    group_table(n, coupling, field, temperature, table)
    count = np.uint64(n)
    a, b, c, d = state[0], state[1], state[2], state[3]
    up = np.int64(up)
    for _ in range(attempts):
        bits, a, b, c, d = next_bits(a, b, c, d)
        i = np.uint64(members[site_of(bits, count)])
        spin = np.int64(spins[i])
        entry = np.uint64(2 * up + ((spin + 1) >> 1))
        mask = mask_of(bits, table[entry])
        spins[i] = spin ^ (mask & -2)
        up -= spin & mask
    state[0], state[1], state[2], state[3] = a, b, c, d
    return up


@compiled
def attempt_sparse(spins, start, neighbour, strength, field, temperature, attempts, state):
    """Attempts on spins with any couplings, listed by spin.

    Args:
        spins: Shape (S,), int8, updated.
        start: Where the neighbours of each spin begin, shape (S + 1,).
        neighbour: Neighbours of the spins one after the other; each pair is there twice.
        strength: Strength of each of these couplings, J.
        field: Field on each spin, shape (S,).
        temperature: T > 0.
        attempts: How many; S of them are a sweep.
        state: Row of `random_state`, shape (4,), updated.
    """
    count = np.uint64(len(spins))
    a, b, c, d = state[0], state[1], state[2], state[3]
    for _ in range(attempts):
        bits, a, b, c, d = next_bits(a, b, c, d)
        i = site_of(bits, count)
        local = field[i]
        for k in range(start[i], start[i + np.uint64(1)]):
            local += strength[k] * spins[neighbour[k]]
        cost = 2.0 * spins[i] * local
        if cost <= 0.0 or chance_of(bits) < threshold(np.exp(-cost / temperature)):
            spins[i] = -spins[i]
    state[0], state[1], state[2], state[3] = a, b, c, d


@compiled
def square_table(coupling, field, temperature, table):
    """Thresholds of spins with at most four neighbours of one strength.

    Args:
        coupling: Strength of every coupling, J.
        field: Levels of the field, shape (levels,); a spin feels one of them.
        temperature: T > 0.
        table: Gets the thresholds, shape (LEVEL * levels,), int64: for each level those of a down
            spin, then those of an up spin, by 4 plus the sum of s_i s_j over its neighbours.
    """
    for level in range(len(field)):
        for sign in range(2):
            for aligned in range(-4, 5):
                cost = 2.0 * (coupling * aligned + (2 * sign - 1) * field[level])
                p = np.exp(min(-cost / temperature, 0.0))
                table[LEVEL * level + 9 * sign + 4 + aligned] = threshold(p)


@compiled
def attempt_square(spins, neighbour, place, table, attempts, state):
    """Attempts on spins with at most four neighbours of one strength, without an exponential.

    Args:
        spins: Shape (S,), int8, updated.
        neighbour: Shape (S, 4), int32; a spin with fewer neighbours has itself instead.
        place: Where in the table a spin begins, shape (S,), int32: LEVEL times the level of its
            field, plus 4, minus how many neighbours it lacks.
        table: Of `square_table`.
        attempts: How many; S of them are a sweep.
        state: Row of `random_state`, shape (4,), updated.
    """
    count = np.uint64(len(spins))
    a, b, c, d = state[0], state[1], state[2], state[3]
    for _ in range(attempts):
        bits, a, b, c, d = next_bits(a, b, c, d)
        i = site_of(bits, count)
        spin = np.int64(spins[i])
        around = (
            np.int64(spins[np.uint64(neighbour[i, 0])])
            + np.int64(spins[np.uint64(neighbour[i, 1])])
            + np.int64(spins[np.uint64(neighbour[i, 2])])
            + np.int64(spins[np.uint64(neighbour[i, 3])])
        )
        # What a spin lacks counts as aligned with itself; `place` takes that off again.
        entry = np.uint64(place[i] + spin * around + 9 * ((spin + 1) >> 1))
        spins[i] = spin ^ (mask_of(bits, table[entry]) & -2)
    state[0], state[1], state[2], state[3] = a, b, c, d
