"""Minimum cuts against enumeration."""

from itertools import product

import numpy as np
import pytest

from flexgym.baselines.aggregator_market.potential_game import ground_state, potential
from flexgym.envs.errors import ScenarioError

ALL_STATES = np.array(list(product((-1, 1), repeat=16)))


def grid_bonds(side):
    i = np.arange(side * side).reshape(side, side)
    across = np.column_stack([i[:, :-1].ravel(), i[:, 1:].ravel()])
    down = np.column_stack([i[:-1].ravel(), i[1:].ravel()])
    return np.vstack([across, down])


BONDS = grid_bonds(4)


@pytest.mark.parametrize("seed", range(20))
def test_cuts_equal_enumeration(seed):
    rng = np.random.default_rng(seed)
    fields, couplings = rng.normal(0.0, 1.5, 16), rng.uniform(0.0, 1.5, len(BONDS))
    aligned = ALL_STATES[:, BONDS[:, 0]] * ALL_STATES[:, BONDS[:, 1]]
    best = (aligned @ couplings + ALL_STATES @ fields).max()
    found = ground_state(BONDS, couplings, fields)
    assert found.potential == pytest.approx(best, rel=1e-12)
    assert 0.0 < found.gap < 1e-5
    assert potential(found.spins, BONDS, couplings, fields) == found.potential


def test_whole_data_leave_no_gap():
    fields = np.random.default_rng(1).integers(-6, 7, 289) / 4.0
    found = ground_state(grid_bonds(17), 1.0, fields)
    assert found.gap == 0.0
    bonds = grid_bonds(17)
    for flipped in range(289):
        spins = found.spins.astype(float)
        spins[flipped] *= -1
        assert potential(spins, bonds, np.ones(len(bonds)), fields) <= found.potential


def test_equilibria_of_single_flips_can_be_far_below():
    bonds, fields = grid_bonds(5), np.full(25, 0.5)
    down = -np.ones(25)
    worth = potential(down, bonds, np.ones(len(bonds)), fields)
    for c in range(25):
        other = down.copy()
        other[c] = 1.0
        assert potential(other, bonds, np.ones(len(bonds)), fields) < worth
    assert ground_state(bonds, 1.0, fields).potential == worth + 25.0


def test_without_neighbours_everybody_follows_its_field():
    fields = np.array([0.3, -2.0, 0.0, 1e-3])
    found = ground_state(np.empty((0, 2), int), 1.0, fields)
    assert found.spins[[0, 1, 3]].tolist() == [1, -1, 1]
    assert found.potential == pytest.approx(np.abs(fields).sum())


def test_bad_data_are_refused():
    for bonds, couplings, fields, named in (
        (BONDS, -1.0, np.zeros(16), "couplings must"),
        (BONDS, np.ones(3), np.zeros(16), "couplings have"),
        (BONDS, 1.0, np.zeros(15), "bonds must"),
        (np.array([[1, 1]]), 1.0, np.zeros(4), "bonds must"),
        (np.array([1, 2, 3]), 1.0, np.zeros(4), "bonds have"),
        (BONDS, 1.0, np.full(16, np.nan), "fields have"),
    ):
        with pytest.raises(ScenarioError, match=named):
            ground_state(bonds, couplings, fields)
