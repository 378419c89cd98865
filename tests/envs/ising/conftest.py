"""What tests of spins share: an energy and one step of a chain written down naively."""

import itertools

import numpy as np
import pytest


def naive_energy(J, h, s):
    """Energy from a dense matrix of couplings, pair by pair."""
    n = len(s)
    pairs = sum(J[i, j] * s[i] * s[j] for i in range(n) for j in range(i))
    return -pairs - sum(h[i] * s[i] for i in range(n))


@pytest.fixture(scope="session")
def states():
    """All 512 states of nine spins, shape (512, 9)."""
    return np.array(list(itertools.product((-1, 1), repeat=9)), dtype=np.int8)


@pytest.fixture(scope="session")
def energies(states):
    """Function of couplings and field: energy of every state, shape (512,)."""

    def compute(J, h):
        return np.array([naive_energy(J, h, s.astype(float)) for s in states])

    return compute


@pytest.fixture(scope="session")
def flips(states):
    """State that each flip leads to, shape (512, 9)."""
    value = 2 ** np.arange(8, -1, -1)
    index = (states > 0) @ value
    assert (index == np.arange(512)).all()
    return index[:, None] - states.astype(int) * value


def bonds_of(kind):
    """Dense couplings of a 3 x 3 lattice, written down by hand, shape (9, 9)."""
    J = np.zeros((9, 9))
    for i in range(9):
        row, column = divmod(i, 3)
        if column < 2 or kind == "periodic":
            J[i, 3 * row + (column + 1) % 3] = 1.0
        if row < 2 or kind == "periodic":
            J[i, 3 * ((row + 1) % 3) + column] = 1.0
    return J + J.T


@pytest.fixture(scope="session")
def small():
    """Function of a kind of couplings: `Couplings` of nine spins and their dense matrix."""
    from flexgym.envs.ising import Couplings

    def build(kind):
        if kind in ("free", "periodic"):
            return Couplings.lattice(3, periodic=kind == "periodic"), bonds_of(kind)
        if kind == "one group":
            return Couplings.all_to_all(np.zeros(9, dtype=int), 4.0), 0.5 * (1.0 - np.eye(9))
        if kind == "groups":
            of = np.array([0, 1, 0, 2, 1, 0, 0, 1, 0])
            same = (of[:, None] == of) & ~np.eye(9, dtype=bool)
            pair = np.array([2.0 / 4, -1.0 / 2, 0.0])
            return Couplings.all_to_all(of, [2.0, -1.0, 3.0]), np.where(same, pair[of], 0.0)
        rng = np.random.default_rng(5)
        J = np.triu(rng.normal(size=(9, 9)) * (rng.random((9, 9)) < 0.5), 1)
        ends = np.argwhere(J != 0.0)
        return Couplings.of_bonds(9, ends, J[ends[:, 0], ends[:, 1]]), J + J.T

    return build
