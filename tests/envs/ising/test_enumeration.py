"""Nine spins: every state's energy and every step's probability, against plain enumeration."""

import numpy as np
import pytest

from flexgym.envs.ising import Couplings, energy, evolve, random_state

KINDS = ["free", "periodic", "one group", "groups", "random bonds"]
UNIFORM, VARIED = np.full(9, 0.3), np.linspace(-0.8, 0.7, 9)
T = 2.3
ROWS = 1000


def step_matrix(energies, flips, J, h, temperature, w=None, rule="gate", states=None):
    """Probability of each flip in each state, from energies alone, shape (512, 9)."""
    E = energies(J, h)
    p = np.minimum(1.0, np.exp(-(E[flips] - E[:, None]) / temperature))
    if w is not None:
        g = np.abs(states.astype(np.int64) @ w)
        if rule == "gate":
            p = np.where(g[flips] <= g[:, None], p, 0.0)
        else:
            p = np.where(g[flips] < g[:, None], 1.0, p)
    return p / 9.0


def counted_steps(couplings, states, flips, **settings):
    """How often one attempt led from each state through each flip, (512, 9), of `ROWS` each."""
    spins = np.repeat(states, ROWS, axis=0)
    before = np.repeat(np.arange(512), ROWS)
    state = random_state(np.random.default_rng(8), len(spins))
    evolve(couplings, spins, state, attempts=1, temperature=T, **settings)
    after = (spins > 0) @ 2 ** np.arange(8, -1, -1)
    found = np.stack(
        [np.bincount(before[after == flips[before, i]], minlength=512) for i in range(9)], axis=1
    )
    stayed = np.bincount(before[after == before], minlength=512)
    assert (found.sum(axis=1) + stayed == ROWS).all()  # at most one spin flips
    return found


def same_probabilities(counts, p):
    assert (counts[p == 0.0] == 0).all()
    often = ROWS * p > 5.0
    assert often.sum() > 1000
    z = (counts - ROWS * p)[often] / np.sqrt(ROWS * p * (1.0 - p))[often]
    assert np.abs(z).max() < 5.5
    assert abs((z**2).mean() - 1.0) < 6.0 * np.sqrt(2.0 / often.sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("h", [UNIFORM, VARIED], ids=["uniform", "varied"])
def test_energy_of_every_state(kind, h, small, energies, states):
    couplings, J = small(kind)
    assert np.allclose(energy(couplings, states, h), energies(J, h), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("h", [UNIFORM, VARIED], ids=["uniform", "varied"])
def test_each_step_has_its_probability_and_keeps_detailed_balance(
    kind, h, small, energies, states, flips
):
    couplings, J = small(kind)
    p = step_matrix(energies, flips, J, h, T)
    weight = np.exp(-energies(J, h) / T)
    flow = weight[:, None] * p
    back = flow[flips, np.arange(9)]  # the same spin flips back
    assert np.allclose(flow, back, rtol=1e-12)
    field = h[0] if h is UNIFORM else h
    same_probabilities(counted_steps(couplings, states, flips, field=field), p)


@pytest.mark.parametrize("kind", ["free", "groups"])
@pytest.mark.parametrize("rule", ["gate", "or"])
def test_constrained_steps(kind, rule, small, energies, states, flips):
    couplings, J = small(kind)
    w = np.array([3, 3, 2, 2, 2, 5, 5, 1, 0])
    p = step_matrix(energies, flips, J, VARIED, T, w, rule, states)
    found = counted_steps(couplings, states, flips, field=VARIED, weights=w, rule=rule)
    same_probabilities(found, p)


@pytest.mark.parametrize("kind", ["periodic", "one group", "groups"])
def test_long_chains_end_in_the_boltzmann_distribution(kind, small, energies):
    couplings, J = small(kind)
    rows, hot = 40_000, 3.0
    spins = np.ones((rows, 9), dtype=np.int8)
    state = random_state(np.random.default_rng(2), rows)
    evolve(couplings, spins, state, temperature=hot, attempts=9 * 60, field=0.2)
    found = np.bincount((spins > 0) @ 2 ** np.arange(8, -1, -1), minlength=512)
    weight = np.exp(-energies(J, np.full(9, 0.2)) / hot)
    expected = rows * weight / weight.sum()
    often = expected > 8.0
    assert often.sum() > 350
    chi2 = ((found - expected)[often] ** 2 / expected[often]).sum()
    cells = often.sum() - often.all()
    assert abs(chi2 - cells) < 4.0 * np.sqrt(2.0 * cells)


def test_a_wrong_temperature_is_noticed(small, energies, states, flips):
    """The comparison of steps can fail."""
    couplings, J = small("free")
    p = step_matrix(energies, flips, J, UNIFORM, 1.1 * T)
    with pytest.raises(AssertionError):
        same_probabilities(counted_steps(couplings, states, flips, field=0.3), p)


def test_a_lone_spin_and_groups_of_one_are_free():
    couplings = Couplings.all_to_all([0, 1], 4.0)
    assert (couplings.pair == 0.0).all()
    spins = np.ones((20_000, 2), dtype=np.int8)
    state = random_state(np.random.default_rng(0), len(spins))
    evolve(couplings, spins, state, temperature=2.0, attempts=60, field=0.5)
    # Noise of independent spins: 1 / sqrt(rows).
    assert np.abs(spins.mean(axis=0) - np.tanh(0.25)).max() < 0.035
