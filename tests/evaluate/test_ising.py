"""The critical temperature, and the benchmark of spins."""

import json

import numpy as np
import pytest
from scipy.optimize import brentq

from flexgym.cli import main
from flexgym.envs.errors import ScenarioError
from flexgym.envs.ising import Couplings
from flexgym.evaluate.critical_temperature import (
    EXPONENT,
    ONSAGER,
    critical_temperature,
    onsager_temperature,
)


def test_a_large_torus_has_onsagers_critical_temperature():
    found = onsager_temperature(np.random.default_rng(0))
    assert found.standard_error < 0.0025 * ONSAGER
    assert abs(found.estimate - ONSAGER) < 0.01 * ONSAGER
    # It lies between the temperatures measured, not beyond them.
    assert found.exponents[0] < EXPONENT < found.exponents[-1]


def test_other_couplings_have_another_critical_temperature():
    """With 0.8 J between rows, sinh(2 J / T) sinh(1.6 J / T) = 1: 10 % lower (Onsager 1944)."""
    square = Couplings.lattice(64, periodic=True)
    step = np.abs(np.diff(square.bonds, axis=1)).ravel()
    strength = np.where((step == 1) | (step == 63), 1.0, 0.8)
    assert (strength == 0.8).mean() == 0.5
    uneven = Couplings.of_bonds(square.n, square.bonds, strength)
    exact = brentq(lambda T: np.sinh(2.0 / T) * np.sinh(1.6 / T) - 1.0, 1.0, 3.0)
    assert ONSAGER - exact > 0.08 * ONSAGER
    found = critical_temperature(
        uneven, np.random.default_rng(1), np.linspace(1.95, 2.2, 5), sweeps=100, replicas=30
    )
    assert found.standard_error < 0.005 * exact
    assert abs(found.estimate - exact) < 0.015 * exact


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sweeps": 20}, "sweeps is 20"),
        ({"replicas": 1}, "replicas 1"),
        ({"temperatures": [2.0, 2.1]}, "at least 3"),
        ({"temperatures": [20.0, 21.0, 22.0]}, "order is gone"),
        ({"temperatures": [0.1, 0.2, 0.3]}, "order does not decay"),
    ],
)
def test_bad_settings_are_refused(change, message):
    settings = {"temperatures": [2.2, 2.3, 2.4], "sweeps": 40, "replicas": 2, **change}
    with pytest.raises(ScenarioError, match=message):
        critical_temperature(Couplings.lattice(8), np.random.default_rng(0), **settings)


def test_bench_compares_three_ways(tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    assert main(["bench", "ising", "--repeats", "1", "--attempts", "600", *out]) == 0
    assert "checkerboard" in capsys.readouterr().out
    rows = {row["what"]: row for row in json.loads((tmp_path / "results.json").read_text())["rows"]}
    assert sum(row["floor"] == 50.0 for row in rows.values()) == 1
    energies = [row["value"] for what, row in rows.items() if what.startswith("energy a spin")]
    assert len(energies) == 3
    # All sample the same; the error of a mean of 256 lattices is 0.007.
    assert np.ptp(energies) < 0.03
    assert all(row["value"] > 0 for what, row in rows.items() if not what.startswith("energy"))


def test_bench_refuses_nothing_to_measure(capsys):
    assert main(["bench", "ising", "--attempts", "5"]) == 2
    assert "attempts at least 289" in capsys.readouterr().err
