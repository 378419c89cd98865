"""Lattices, groups, cuts and rewiring; and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flexgym.envs.ising as room
from flexgym.envs.errors import ScenarioError, StateError
from flexgym.envs.ising import (
    Couplings,
    autocorrelation,
    balance_weights,
    constraint,
    energy,
    evolve,
    magnetisation,
    partition,
    random_spins,
    random_state,
    snake,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("shape", "bonds"), [((17, 17), 544), ((3, 5), 22), ((1, 4), 3), (1, 0)])
def test_free_lattice_has_all_bonds(shape, bonds):
    assert len(Couplings.lattice(shape).bonds) == bonds


@given(rows=st.integers(3, 7), columns=st.integers(3, 7))
def test_periodic_lattice_has_four_neighbours_everywhere(rows, columns):
    couplings = Couplings.lattice((rows, columns), periodic=True, strength=0.5)
    assert (np.diff(couplings.start) == 4).all()
    assert energy(couplings, np.ones(rows * columns, dtype=np.int8)) == -rows * columns
    steps = np.abs(np.diff(couplings.bonds, axis=1)).ravel()
    assert set(steps) <= {1, columns, columns - 1, (rows - 1) * columns}


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), data=st.data())
def test_snake_goes_from_neighbour_to_neighbour(rows, columns, data):
    count = data.draw(st.integers(1, rows * columns))
    path = snake((rows, columns), count)
    assert len(set(path.tolist())) == count
    row, column = np.divmod(path, columns)
    assert (np.abs(np.diff(row)) + np.abs(np.diff(column)) == 1).all()
    placed = Couplings.lattice((rows, columns), site=path)
    assert placed.n == count
    following = {(k, k + 1) for k in range(count - 1)}
    assert following <= {tuple(pair) for pair in placed.bonds.tolist()}


def test_placing_spins_only_renames_them():
    site = np.random.default_rng(1).permutation(20)[:14]
    placed = Couplings.lattice((4, 5), site=site)
    spins = random_spins(np.random.default_rng(2), 50, 14)
    everywhere = np.zeros((50, 20), dtype=np.int8)
    everywhere[:, site] = spins
    assert np.array_equal(energy(placed, spins), energy(Couplings.lattice((4, 5)), everywhere))


def test_inside_keeps_bonds_of_the_groups_alone():
    lattice = Couplings.lattice(6, strength=0.7)
    group = np.repeat([0, 1], 18)
    cut = lattice.inside(group)
    assert len(cut.bonds) == len(lattice.bonds) - 6
    assert (group[cut.bonds[:, 0]] == group[cut.bonds[:, 1]]).all()
    assert (cut.bond_strength == 0.7).all()
    assert np.array_equal(lattice.inside(np.zeros(36, dtype=int)).bonds, lattice.bonds)


def test_rewired_bonds_stay_in_their_group_and_none_is_lost():
    lattice, group = Couplings.lattice(6), np.arange(36) % 6 // 2
    kept = {tuple(pair) for pair in lattice.inside(group).bonds.tolist()}
    found = lattice.rewired(group, np.random.default_rng(3))
    assert len(found.bonds) == len(lattice.bonds)
    assert (group[found.bonds[:, 0]] == group[found.bonds[:, 1]]).all()
    assert kept < {tuple(pair) for pair in found.bonds.tolist()}
    again = lattice.rewired(group, np.random.default_rng(3))
    assert np.array_equal(again.bonds, found.bonds)
    # Who already feels the whole group has nobody to turn to.
    assert len(Couplings.lattice((1, 4)).rewired([0, 0, 1, 1], RNG).bonds) == 2


def test_a_moved_bond_keeps_its_strength():
    chain = Couplings.of_bonds(4, [[0, 1], [1, 2], [2, 3]], [1.0, 2.0, 3.0])
    moved = chain.moved(1, 2, 3)
    assert moved.bonds.tolist() == [[0, 1], [1, 3], [2, 3]]
    assert moved.bond_strength.tolist() == [1.0, 2.0, 3.0]


def test_couplings_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        Couplings.lattice(3).strength[0] = 2.0


def test_every_public_name_is_there():
    assert set(room.__all__) <= set(dir(room))
    assert all(getattr(room, name) is not None for name in room.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = room.nothing


LATTICE = Couplings.lattice(3)
SPINS = np.ones((2, 9), dtype=np.int8)
STATE = random_state(np.random.default_rng(0), 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: snake(17, 290), "17 x 17 has 289 sites for 290"),
        (lambda: snake(3, 0), "expected at least one customer"),
        (lambda: snake((3, 0)), "shape is"),
        (lambda: snake((3, 3, 3)), "shape is"),
        (lambda: snake(2.5), "shape is"),
        (lambda: Couplings.lattice(2, periodic=True), "sides of at least 3"),
        (lambda: Couplings.lattice(3, site=np.arange(10)), "no smaller than the customers"),
        (lambda: Couplings.lattice(3, site=[0, 0, 1]), "2 different ones"),
        (lambda: Couplings.lattice(3, site=[0, 9]), "different sites of 0 to 8"),
        (lambda: Couplings.lattice(3, site=[0.5, 1]), "site has shape"),
        (lambda: Couplings.lattice(3, strength=np.nan), "no finite numbers"),
        (lambda: Couplings.of_bonds(3, [[0, 3]]), "expected spins 0 to 2"),
        (lambda: Couplings.of_bonds(3, [[1, 1]]), "with themselves"),
        (lambda: Couplings.of_bonds(3, [[0, 1], [1, 0]]), "bond twice"),
        (lambda: Couplings.of_bonds(3, [[0, 1]], [1.0, 2.0]), "one number or 1"),
        (lambda: Couplings.of_bonds(0, []), "n is 0"),
        (lambda: Couplings.all_to_all([0, 2], 4.0), "without a gap"),
        (lambda: Couplings.all_to_all([-1, 0], 4.0), "without a gap"),
        (lambda: Couplings.all_to_all([0.0, 1.0], 4.0), "one whole number for each spin"),
        (lambda: Couplings.all_to_all([0, 1], [1.0, 2.0, 3.0]), "one number or 2"),
        (lambda: Couplings.all_to_all([0, 1], np.inf), "expected finite"),
        (lambda: LATTICE.inside([0, 1]), "one for each of 9"),
        (lambda: LATTICE.rewired(np.full(9, 1), RNG), "without a gap"),
        (lambda: Couplings.all_to_all(np.zeros(4, int), 1.0).inside([0] * 4), "bonds alone"),
        (lambda: LATTICE.moved(0, 8, 2), "have no bond"),
        (lambda: LATTICE.moved(0, 1, 3), "bond twice"),
        (lambda: partition([[0, 1], [1, 2]], 3), "spins [1] are in [2] groups"),
        (lambda: partition([[0], [2]], 3), "spins [1] are in [0] groups"),
        (lambda: partition([[0, 1, 2], []], 3), "groups [1] have no members"),
        (lambda: partition([[0, 5]], 3), "expected 0..2"),
        (lambda: partition([], 3), "partition"),
        (lambda: balance_weights([60.5, 45], [0, 1]), "whole kW"),
        (lambda: balance_weights([60, -45], [0, 1]), "whole kW"),
        (lambda: balance_weights([60], [0, 1]), "expected (2,)"),
        (lambda: balance_weights([60, 45], [0, 0]), "expected (1,)"),
        (lambda: balance_weights([2**54, 1], [0, 1]), "coarser unit"),
        (lambda: random_state(RNG, -1), "n is -1"),
        (lambda: random_state(RNG, 1.5), "n is 1.5"),
        (lambda: magnetisation(SPINS, [0, 1]), "one for each of 9"),
    ],
)
def test_bad_couplings_are_refused(call, message):
    with pytest.raises(ScenarioError) as caught:
        call()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature has a value of 0"),
        ({"temperature": [1.0, -2.0]}, "temperature has a value of -2"),
        ({"temperature": np.nan}, "temperature has values that are no finite"),
        ({"temperature": [1.0, 2.0, 3.0]}, "broadcasts to (2,)"),
        ({"attempts": -1}, "attempts is -1"),
        ({"attempts": 1.5}, "attempts is 1.5"),
        ({"field": np.inf}, "field has values"),
        ({"field": [1.0, 2.0]}, "broadcasts to (2, 9)"),
        ({"rule": "xor"}, "rule is 'xor'"),
        ({"weights": np.ones(8)}, "expected 9 finite"),
        ({"weights": np.full(9, np.nan)}, "expected 9 finite"),
        ({"weights": np.full(9, 2**62)}, "coarser unit"),
    ],
)
def test_bad_settings_are_refused(change, message):
    spins, state = SPINS.copy(), STATE.copy()
    with pytest.raises(ScenarioError) as caught:
        evolve(LATTICE, spins, state, **{"temperature": 2.0, "attempts": 10, **change})
    assert message in str(caught.value)
    assert (spins == SPINS).all()
    assert (state == STATE).all()


@pytest.mark.parametrize(
    ("spins", "state", "message"),
    [
        (SPINS.astype(int), STATE, "expected a int8 array"),
        (SPINS[0], STATE[:1], "expected a int8 array"),
        (SPINS.tolist(), STATE, "spins is list"),
        (SPINS[:, :8].copy(), STATE, "(rows, 9)"),
        (np.asfortranarray(SPINS), STATE, "contiguous"),
        (0 * SPINS, STATE, "other than +1 and -1"),
        (SPINS, STATE[:1], "(rows, 4)"),
        (SPINS, STATE.astype(np.int64), "state is ndarray"),
        (SPINS, 0 * STATE, "all zeros"),
    ],
)
def test_bad_rows_are_refused(spins, state, message):
    with pytest.raises(StateError) as caught:
        evolve(LATTICE, spins, state, temperature=2.0, attempts=10)
    assert message in str(caught.value)


def test_read_only_rows_are_refused():
    frozen = SPINS.copy()
    frozen.setflags(write=False)
    with pytest.raises(StateError, match="writeable"):
        evolve(LATTICE, frozen, STATE.copy(), temperature=2.0, attempts=10)


def test_measures_want_as_many_spins():
    for call in (
        lambda: energy(LATTICE, SPINS[:, :4]),
        lambda: autocorrelation(SPINS, SPINS[:, :4]),
        lambda: constraint([1, 2], SPINS),
    ):
        with pytest.raises(StateError, match="in the last axis"):
            call()


def test_nothing_to_do_changes_nothing():
    spins, state = SPINS.copy(), STATE.copy()
    evolve(LATTICE, spins, state, temperature=2.0, attempts=0)
    assert (spins == SPINS).all()
    assert (state == STATE).all()
    empty = np.empty((0, 9), dtype=np.int8)
    evolve(LATTICE, empty, random_state(RNG, 0), temperature=2.0, attempts=5)
