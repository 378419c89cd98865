"""An hour of consumers who herd: Metropolis attempts of every market in its own stream."""

from __future__ import annotations

import numpy as np

from flexgym.envs.aggregator_market.dynamics import local_field, owed_h
from flexgym.envs.compiled import compiled
from flexgym.envs.ising.metropolis import LEVEL, attempt_group, attempt_square, square_table


@compiled
def local_fields(directive, quote, owed_percent, mean_percent, herding, field):
    """Field in each market and group.

    Args:
        directive: Shape (n,).
        quote: Shape (n, K), EUR/MWh.
        owed_percent: Shape (n, K), %.
        mean_percent: Mean load of the day's hours, %.
        herding: Incentive, shadow price, rebound and where it ends, see `Herding`.
        field: Shape (n, K), overwritten.
    """
    incentive, shadow, rebound, most_h = herding
    for i in range(field.shape[0]):
        for k in range(field.shape[1]):
            owed = owed_h(owed_percent[i, k], mean_percent, most_h)
            field[i, k] = local_field(directive[i], quote[i, k], owed, incentive, shadow, rebound)


@compiled
def herd_in_groups(spins, members, start, coupling, field, temperature, sweeps, stream):
    """Everybody feels everybody of the same aggregator.

    Args:
        spins: Shape (n, S), int8, updated.
        members: Consumers aggregator by aggregator, shape (S,).
        start: Where each begins, shape (K + 1,).
        coupling: Sum of a consumer's couplings.
        field: Shape (n, K).
        temperature: T.
        sweeps: Attempts per consumer.
        stream: Shape (n, 4), updated.
    """
    for i in range(spins.shape[0]):
        row = spins[i]
        for k in range(field.shape[1]):
            own = members[start[k] : start[k + 1]]
            up = 0
            for c in own:
                up += row[c] > 0
            attempts = sweeps * len(own)
            attempt_group(row, own, up, coupling, field[i, k], temperature, attempts, stream[i])


@compiled
def herd_on_lattice(spins, neighbour, missing, group, coupling, field, temperature, sweeps, stream):
    """Everybody feels the neighbours on a square lattice.

    Args:
        spins: Shape (n, S), int8, updated.
        neighbour: Shape (S, 4), int32; see `attempt_square`.
        missing: Neighbours that each lacks, shape (S,).
        group: Aggregator of each, shape (S,).
        coupling: Strength of every bond.
        field: Shape (n, K).
        temperature: T.
        sweeps: Attempts per consumer.
        stream: Shape (n, 4), updated.
    """
    n, S = spins.shape
    table = np.empty(LEVEL * field.shape[1], dtype=np.int64)
    place = np.empty(S, dtype=np.int32)
    for c in range(S):
        place[c] = LEVEL * group[c] + 4 - missing[c]
    for i in range(n):
        square_table(coupling, field[i], temperature, table)
        attempt_square(spins[i], neighbour, place, table, sweeps * S, stream[i])


@compiled
def count_up(spins, bus_of, up):
    """Consumers at +1 on each bus.

    Args:
        spins: Shape (n, S).
        bus_of: Shape (S,).
        up: Shape (n, B), overwritten.
    """
    up[:] = 0
    for i in range(spins.shape[0]):
        for c in range(spins.shape[1]):
            up[i, bus_of[c]] += spins[i, c] > 0
