"""Random bits against their definition; every kernel walks the same path; batch and state."""

from itertools import pairwise

import numpy as np
import pytest
from numba import njit

from flexgym.envs.ising import (
    Couplings,
    autocorrelation,
    constraint,
    evolve,
    magnetisation,
    random_spins,
    random_state,
    snake,
)
from flexgym.envs.ising.metropolis import (
    attempt_group,
    attempt_sparse,
    group_table,
    square_table,
)
from flexgym.envs.ising.random_bits import mask_of, next_bits, site_of

MASK = 2**64 - 1


def xoshiro(s):
    """One draw as published, in Python's integers; changes the list of four words."""

    def turned(x, k):
        return (x << k | x >> (64 - k)) & MASK

    result = (turned((s[0] + s[3]) & MASK, 23) + s[0]) & MASK
    shifted = s[1] << 17 & MASK
    s[2] ^= s[0]
    s[3] ^= s[1]
    s[1] ^= s[2]
    s[0] ^= s[3]
    s[2] ^= shifted
    s[3] = turned(s[3], 45)
    return result


@njit
def drawn(state, out):
    a, b, c, d = state[0], state[1], state[2], state[3]
    for k in range(len(out)):
        out[k], a, b, c, d = next_bits(a, b, c, d)


@njit
def sites(bits, count, out):
    for k in range(len(bits)):
        out[k] = site_of(bits[k], count)


@njit
def masks(bits, limits, out):
    for k in range(len(bits)):
        out[k] = mask_of(bits[k], limits[k])


def test_bits_are_those_of_xoshiro():
    state = random_state(np.random.default_rng(1), 1)[0]
    words = [int(word) for word in state]
    out = np.empty(1000, dtype=np.uint64)
    drawn(state, out)
    assert [int(bits) for bits in out] == [xoshiro(words) for _ in range(1000)]


@pytest.mark.parametrize("count", [1, 2, 67, 289, 65536])
def test_sites_are_fair(count):
    """Exactly: how many of the 2^32 upper halves lead to a site is 2^32 / count, give or take 1."""
    edges = [-(-k * 2**32 // count) for k in range(count + 1)]
    ends = np.array([[low, high - 1] for low, high in pairwise(edges)])
    out = np.empty(2 * count, dtype=np.int64)
    sites(ends.ravel().astype(np.uint64) << np.uint64(32), np.uint64(count), out)
    assert (out == np.repeat(np.arange(count), 2)).all()
    assert np.abs(np.diff(edges) - 2**32 / count).max() <= 1.0


def test_chance_is_below_its_threshold_exactly():
    limits = np.array([0, 1, 1, 2**31, 2**31, 2**32, 2**32])
    low = np.array([0, 0, 1, 2**31 - 1, 2**31, 0, 2**32 - 1], dtype=np.uint64)
    out = np.empty(7, dtype=np.int64)
    masks(low | np.uint64(5 << 32), limits, out)
    assert out.tolist() == [0, -1, 0, -1, 0, -1, -1]


@pytest.mark.parametrize("coupling", [4.0, 0.0, -3.0])
@pytest.mark.parametrize("field", [0.0, 1.3, -7.0])
@pytest.mark.parametrize("temperature", [0.02, 0.9, 60.0])
@pytest.mark.parametrize("n", [1, 2, 67])
def test_table_of_a_group(coupling, field, temperature, n):
    table = np.empty(2 * n + 2, dtype=np.int64)
    group_table(n, coupling, field, temperature, table)
    pair = coupling / (n - 1) if n > 1 else 0.0
    for up in range(n + 1):
        for sign in (-1, 1):
            if up == (n if sign < 0 else 0):
                continue  # there is no such spin
            cost = 2.0 * sign * (pair * (2 * up - n - sign) + field)
            p = 1.0 if cost <= 0.0 else np.exp(-cost / temperature)
            assert abs(table[2 * up + (sign > 0)] - p * 2**32) <= 1.001


def test_table_of_a_square_lattice():
    table = np.empty(36, dtype=np.int64)
    square_table(0.7, np.array([-0.4, 1.1]), 1.9, table)
    for level, field in enumerate((-0.4, 1.1)):
        for sign in (-1, 1):
            for around in range(-4, 5):
                cost = 2.0 * sign * (0.7 * around + field)
                p = min(1.0, np.exp(-cost / 1.9))
                entry = 18 * level + 9 * (sign > 0) + 4 + sign * around
                assert abs(table[entry] - p * 2**32) <= 1.0


def start(rows, n, seed=3):
    rng = np.random.default_rng(seed)
    return random_spins(rng, rows, n), random_state(rng, rows)


def sparse(couplings, spins, state, field, temperature, attempts):
    """Every row by the plainest kernel."""
    c = couplings
    for row, words in zip(spins, state, strict=True):
        attempt_sparse(row, c.start, c.neighbour, c.strength, field, temperature, attempts, words)


@pytest.mark.parametrize("field", ["none", "uniform", "groups", "spins"])
@pytest.mark.parametrize("periodic", [False, True])
def test_square_kernel_walks_the_path_of_the_plain_one(periodic, field):
    lattice = Couplings.lattice((7, 11), periodic=periodic)
    rng = np.random.default_rng(0)
    h = {
        "none": np.zeros(77),
        "uniform": np.full(77, 0.4),
        "groups": np.repeat([0.3, -0.5, 1.0], [20, 30, 27]),
        "spins": rng.normal(size=77),
    }[field]
    spins, state = start(4, 77)
    plain, words = spins.copy(), state.copy()
    evolve(lattice, spins, state, temperature=2.1, attempts=20_000, field=h)
    sparse(lattice, plain, words, h, 2.1, 20_000)
    assert (spins == plain).all()
    assert (state == words).all()


def test_cut_lattice_has_spins_with_few_neighbours():
    lattice = Couplings.lattice(6).inside(np.arange(36) % 5)
    spins, state = start(3, 36)
    plain, words = spins.copy(), state.copy()
    evolve(lattice, spins, state, temperature=1.2, attempts=9000, field=0.1)
    sparse(lattice, plain, words, np.full(36, 0.1), 1.2, 9000)
    assert (spins == plain).all()


def test_group_kernel_walks_the_path_of_bonds():
    n = 23
    pairs = [(i, j) for i in range(n) for j in range(i)]
    bonds = Couplings.of_bonds(n, pairs, 4.0 / (n - 1))
    group = Couplings.all_to_all(np.zeros(n, dtype=int), 4.0)
    spins, state = start(4, n)
    plain, words = spins.copy(), state.copy()
    evolve(group, spins, state, temperature=3.2, attempts=20_000, field=-0.2)
    sparse(bonds, plain, words, np.full(n, -0.2), 3.2, 20_000)
    assert (spins == plain).all()


def test_groups_inside_a_larger_row():
    """Members are found by index, the others stay, and what comes back is the number up."""
    rng = np.random.default_rng(4)
    members = rng.permutation(60)[:25]
    spins, state = start(1, 60)
    before, alone = spins.copy(), spins[:, members].copy()
    words = state.copy()
    up = int((alone > 0).sum())
    up = attempt_group(spins[0], members, up, 4.0, 0.3, 3.0, 5000, state[0])
    evolve(
        Couplings.all_to_all(np.zeros(25, dtype=int), 4.0), alone, words,
        temperature=3.0, field=0.3, attempts=5000,
    )  # fmt: skip
    assert (spins[:, members] == alone).all()
    assert up == (alone > 0).sum()
    others = np.setdiff1d(np.arange(60), members)
    assert (spins[:, others] == before[:, others]).all()


CASES = [
    ("lattice", {}),
    ("lattice", {"weights": np.repeat([2, 3], [8, 12])}),
    ("lattice", {"weights": np.linspace(0.1, 1.0, 20), "rule": "or"}),
    ("group", {}),
    ("groups", {}),
]


def couplings_of(kind):
    if kind == "lattice":
        return Couplings.lattice((4, 5), site=snake((4, 5)))
    return Couplings.all_to_all(np.arange(20) % (1 if kind == "group" else 3), 4.0)


@pytest.mark.parametrize(("kind", "settings"), CASES)
@pytest.mark.parametrize("field", ["rows", "spins"])
def test_a_row_of_a_batch_does_what_it_would_do_alone(kind, settings, field):
    couplings = couplings_of(kind)
    spins, state = start(6, 20)
    rng = np.random.default_rng(9)
    h = rng.normal(size=(6, 1) if field == "rows" else (6, 20))
    T = rng.uniform(1.0, 4.0, 6)
    alone, words = spins.copy(), state.copy()
    g = evolve(couplings, spins, state, temperature=T, attempts=3000, field=h, **settings)
    for i in range(6):
        row, own = alone[i : i + 1], words[i : i + 1]
        evolve(couplings, row, own, temperature=T[i], attempts=3000, field=h[i], **settings)
    assert (spins == alone).all()
    assert (state == words).all()
    if "weights" in settings:
        assert np.allclose(g, constraint(settings["weights"], spins), rtol=0, atol=1e-12)
    else:
        assert g is None


@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_saved_and_restored_chains_go_on_alike(kind, settings, tmp_path):
    couplings = couplings_of(kind)
    spins, state = start(3, 20)
    more = {"temperature": 2.0, "attempts": 777, **settings}
    evolve(couplings, spins, state, **more)
    np.savez(tmp_path / "chain.npz", spins=spins, state=state)
    evolve(couplings, spins, state, **more)
    with np.load(tmp_path / "chain.npz") as saved:
        again, words = saved["spins"], saved["state"]
    evolve(couplings, again, words, **more)
    assert (spins == again).all()
    assert (state == words).all()
    other = random_state(np.random.default_rng(99), 3)
    evolve(couplings, again, other, **more)
    assert (spins != again).any()


def test_streams_and_spins_come_from_the_seed():
    first = random_state(np.random.default_rng(1), 5)
    assert (random_state(np.random.default_rng(1), 3) == first[:3]).all()
    assert (random_state(np.random.default_rng(2), 5) != first).any()
    spins = random_spins(np.random.default_rng(1), 2000, 10)
    assert spins.dtype == np.int8
    assert set(np.unique(spins)) == {-1, 1}
    assert abs(spins.mean()) < 5.0 / np.sqrt(spins.size)


def test_measures_by_hand():
    spins = np.array([[1, 1, -1, 1], [-1, -1, -1, 1]], dtype=np.int8)
    assert magnetisation(spins).tolist() == [0.5, -0.5]
    assert magnetisation(spins, [0, 1, 1, 1]).tolist() == [[1.0, 1 / 3], [-1.0, -1 / 3]]
    assert magnetisation(spins[0], [1, 0, 0, 1]).tolist() == [0.0, 1.0]
    assert autocorrelation(spins[0], spins[1]) == 0.0
    assert constraint([1, 2, 3, 4], spins).tolist() == [4, -2]
