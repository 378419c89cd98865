"""The 17 x 17 lattice against the figures of the reference, within the errors of both.

The reference gives means of 200 or 300 runs without errors; theirs are taken from our spread.
"""

import numpy as np
import pytest

from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.ising import (
    Couplings,
    autocorrelation,
    energy,
    evolve,
    magnetisation,
    random_spins,
    random_state,
    snake,
)

CRITICAL = 2.0 / np.log(1.0 + np.sqrt(2.0))
RUNS = 300
ROUNDING = 0.0006


@pytest.fixture(scope="module")
def lattice():
    return Couplings.lattice(17, site=snake(17, 289))


@pytest.fixture(scope="module")
def aggregator():
    """Aggregator of each customer, by contiguous buses: 10, 11 and 11 of them."""
    return np.repeat(np.repeat([0, 1, 2], [10, 11, 11]), case33_day().customers)


def chains(couplings, first, seed, **settings):
    spins = np.full((RUNS, 289), first, dtype=np.int8)
    evolve(couplings, spins, random_state(np.random.default_rng(seed), RUNS), **settings)
    return spins


def agrees(samples, reference, runs):
    error = samples.std() * np.sqrt(1.0 / len(samples) + 1.0 / runs) + ROUNDING
    assert abs(samples.mean() - reference) < 3.5 * error


@pytest.mark.parametrize(
    ("temperature", "reference"),
    [(1, 0.997), (1.5, 0.962), (2, 0.697), (CRITICAL, 0.377), (2.6, 0.205), (3, 0.13), (5, 0.076)],
)
def test_magnetisation(temperature, reference, lattice):
    spins = chains(lattice, 1, 10, temperature=temperature, attempts=200_000)
    agrees(np.abs(magnetisation(spins)), reference, 200)


def test_autocorrelation_at_the_critical_temperature(lattice):
    rng = np.random.default_rng(11)
    first = random_spins(rng, RUNS, 289)
    spins, state = first.copy(), random_state(rng, RUNS)
    for attempts, reference in ((1000, 0.083), (2000, 0.030), (7000, 0.014)):
        evolve(lattice, spins, state, temperature=CRITICAL, attempts=attempts)
        agrees(autocorrelation(first, spins), reference, 200)


@pytest.mark.parametrize(
    ("field", "reference"),
    [(0.0, -0.55), (0.1, -0.09), (0.15, 0.22), (0.2, 0.50), (0.3, 0.80), (0.5, 0.91)],
)
def test_a_field_turns_consumers_round(field, reference, lattice):
    spins = chains(lattice, -1, 12, temperature=CRITICAL, attempts=10_000, field=field)
    samples = magnetisation(spins)
    assert abs(samples.mean() - reference) < 3.5 * samples.std() / np.sqrt(RUNS) + 0.006


@pytest.mark.parametrize(
    ("temperature", "free", "cut"),
    [(1.5, 0.965, 0.916), (2.0, 0.794, 0.588), (CRITICAL, 0.549, 0.292), (2.6, 0.218, 0.081)],
)
def test_cutting_bonds_between_aggregators_weakens_order(
    temperature, free, cut, lattice, aggregator
):
    inside = lattice.inside(aggregator)
    assert len(inside.bonds) == 508
    for couplings, reference in ((lattice, free), (inside, cut)):
        spins = chains(couplings, 1, 13, temperature=temperature, attempts=10_000)
        agrees(magnetisation(spins), reference, 300)


def test_spins_that_feel_their_whole_aggregator_keep_order_longer(aggregator):
    """Sizes of the groups are not the reference's, which matter little below T = 3."""
    whole = Couplings.all_to_all(aggregator, 4.0)
    for temperature, reference in ((1, 0.999), (2, 0.956), (CRITICAL, 0.922), (2.6, 0.869)):
        samples = magnetisation(chains(whole, 1, 14, temperature=temperature, attempts=10_000))
        assert abs(samples.mean() - reference) < 0.005


def test_energy_of_a_torus_is_onsagers():
    """Per spin, at T = 2 and 3 (Onsager 1944), where 64 x 64 is as good as infinite."""
    from scipy.special import ellipk

    torus = Couplings.lattice(64, periodic=True)
    for temperature in (2.0, 3.0):
        K = 1.0 / temperature
        k = 2.0 * np.sinh(2.0 * K) / np.cosh(2.0 * K) ** 2
        whole = 1.0 + 2.0 / np.pi * (2.0 * np.tanh(2.0 * K) ** 2 - 1.0) * ellipk(k * k)
        exact = -whole / np.tanh(2.0 * K)
        spins = np.ones((80, 64 * 64), dtype=np.int8)
        state = random_state(np.random.default_rng(15), 80)
        evolve(torus, spins, state, temperature=temperature, attempts=200 * 64 * 64)
        per_spin = energy(torus, spins) / 64**2
        error = per_spin.std() / np.sqrt(len(per_spin))
        assert error < 0.005
        assert abs(per_spin.mean() - exact) < 4.0 * error
