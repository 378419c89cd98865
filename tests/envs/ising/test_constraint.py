"""The constrained chain on the 33-bus market's spins (CMH, eq. 22)."""

import numpy as np
import pytest

from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.ising import (
    Couplings,
    balance_weights,
    constraint,
    evolve,
    magnetisation,
    random_spins,
    random_state,
    snake,
)

TEMPERATURES = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0])
REPLICAS = 100
FLIPPED = (1, 5, 10, 20, 50)
GATE = {1: 4.6e-4, 5: 1.0e-3, 10: 1.6e-3, 20: 2.0e-3, 50: 1.7e-3}
"""What the reference found for |g| by number of spins flipped at the start."""


@pytest.fixture(scope="module")
def lattice():
    return Couplings.lattice(17, site=snake(17, 289))


@pytest.fixture(scope="module")
def balanced():
    """An optimum of ILP (34) as spins with g = 0 exactly, its weights and their unit.

    Buses 11 and 4 have m = 0 and an odd number of customers: each gets one from (bus 10) or
    gives one to (bus 3) its neighbour.
    """
    day = case33_day()
    number, load, customers = np.arange(2, 34), day.load_kw, day.customers.copy()
    m = np.where(np.isin(load, (60, 90)) | np.isin(number, (14, 29)), 1, 0)
    m[np.isin(load, (200, 210, 420))] = -1
    assert m.sum() == 16
    assert (load * m).sum() == 0
    for giver, taker in ((10, 11), (3, 4)):
        customers[number == giver] -= 1
        customers[number == taker] += 1
    bus = np.repeat(np.arange(32), customers)
    spins = m[bus].copy()
    for i in np.flatnonzero(m == 0):
        at = np.flatnonzero(bus == i)
        spins[at[: len(at) // 2]], spins[at[len(at) // 2 :]] = 1, -1
    weights, unit = balance_weights(load, bus)
    assert constraint(weights, spins) == 0
    return spins.astype(np.int8), weights, unit


def mean_constraint(lattice, balanced, flipped, field, **rule):
    """|g| after 10k attempts, mean over temperatures and replicas, and its error."""
    first, weights, unit = balanced
    rng = np.random.default_rng(flipped)
    rows = REPLICAS * len(TEMPERATURES)
    spins, state = np.tile(first, (rows, 1)), random_state(rng, rows)
    for row in spins:
        row[rng.choice(289, flipped, replace=False)] *= -1
    T = np.repeat(TEMPERATURES, REPLICAS)
    evolve(lattice, spins, state, temperature=T, attempts=10_000, field=field, **rule)
    g = np.abs(constraint(weights, spins)) * unit
    spread = g.reshape(-1, REPLICAS).std(axis=1)
    return g.mean(), np.sqrt((spread**2).sum() / REPLICAS) / len(TEMPERATURES)


@pytest.fixture(scope="module")
def found(lattice, balanced):
    return {
        (field, rule): {
            d: mean_constraint(lattice, balanced, d, field, **settings) for d in FLIPPED
        }
        for field in (0.0, 0.5)
        for rule, settings in (("none", {}), ("gate", {"weights": balanced[1]}))
    }


@pytest.mark.parametrize("field", [0.0, 0.5])
def test_the_gate_keeps_the_constraint_100_times_smaller(field, found):
    free, gate = (
        np.array([found[field, rule][d][0] for d in FLIPPED]) for rule in ("none", "gate")
    )
    assert free.mean() >= 100.0 * gate.mean()
    # With a field for every start. Without one the weakest, 20 flipped, is at the limit.
    assert (free >= (100.0 if field else 80.0) * gate).all()
    assert (free[0] >= 300.0 * gate[0]).all()


@pytest.mark.parametrize("field", [0.0, 0.5])
def test_the_gate_finds_what_the_reference_found(field, found):
    for d, reference in GATE.items():
        mean, error = found[field, "gate"][d]
        assert abs(mean - reference) < 3.5 * np.sqrt(2.0) * error + 0.05 * reference


def test_unconstrained_chains_find_what_the_reference_found(found):
    """0.19 to 0.33 without a field (larger d at its upper end), 0.77 to 0.79 with one."""
    for d in FLIPPED:
        mean, error = found[0.0, "none"][d]
        assert 0.15 < mean < 0.33
        mean, error = found[0.5, "none"][d]
        assert abs(mean - 0.78) < 0.03
        assert error < 0.01


@pytest.mark.parametrize(("field", "least", "most"), [(0.0, 9, 35), (0.5, 35, 100)])
def test_the_other_rule_is_much_weaker(field, least, most, found, lattice, balanced):
    settings = {"weights": balanced[1], "rule": "or"}
    loose, _ = mean_constraint(lattice, balanced, 10, field, **settings)
    assert least < found[field, "none"][10][0] / loose < most


@pytest.mark.parametrize("exact", [True, False])
def test_the_gate_never_lets_the_constraint_grow(exact, lattice, balanced):
    _, weights, unit = balanced
    weights = weights if exact else weights * unit
    rng = np.random.default_rng(1)
    spins, state = random_spins(rng, 30, 289), random_state(rng, 30)
    before = np.abs(constraint(weights, spins))
    for _ in range(50):
        g = evolve(lattice, spins, state, temperature=2.0, attempts=40, weights=weights)
        after = constraint(weights, spins)
        assert np.allclose(g, after, rtol=0, atol=0 if exact else 1e-14)
        assert (np.abs(g) <= before + (0 if exact else 1e-14)).all()
        before = np.abs(g)


def test_weights_of_the_balance_are_exact():
    load, bus = [60, 45, 420], np.repeat([0, 1, 2], [5, 3, 32])
    weights, unit = balance_weights(load, bus)
    assert weights.dtype == np.int64
    spins = random_spins(np.random.default_rng(0), 100, 40)
    direct = magnetisation(spins, bus) @ (np.array(load) / 525.0)
    assert np.allclose(unit * constraint(weights, spins), direct, rtol=0, atol=1e-14)
    assert (weights * np.bincount(bus)[bus] == 480 * np.array(load)[bus]).all()
