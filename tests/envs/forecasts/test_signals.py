"""Signal processes: forecasts are conditional expectations, chains have the moments they claim."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexgym.envs.errors import ScenarioError
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.uncertainty import MarkovChain


def any_process(seed: int, T: int = 4, n: int = 3) -> SignalProcess:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=2)
    chance = rng.dirichlet(np.ones(2))
    return SignalProcess(
        rng.dirichlet(np.ones(n)),
        rng.dirichlet(np.ones(n), size=(T - 1, n)),
        rng.normal(size=(T, n)),
        noise - noise @ chance,
        chance,
    )


@given(st.integers(0, 10_000))
def test_forecasts_are_expectations_over_all_paths(seed):
    process = any_process(seed)
    T, n = process.price_eur_per_kwh.shape
    for t, s in itertools.product(range(T), range(n)):
        expected = np.zeros(T)
        for path in itertools.product(range(n), repeat=T - t - 1):
            chance, here = 1.0, s
            for k, there in enumerate(path):
                chance *= process.transition[t + k, here, there]
                here = there
            signals = np.array([s, *path])
            expected[t:] += chance * process.price_eur_per_kwh[np.arange(t, T), signals]
        np.testing.assert_allclose(process.forecasts[t, s, t:], expected[t:], atol=1e-12)
        assert np.isnan(process.forecasts[t, s, :t]).all()


@given(st.integers(0, 10_000))
def test_updates_are_a_martingale(seed):
    process = any_process(seed)
    for t in range(process.periods - 1):
        later = process.transition[t] @ process.forecasts[t + 1, :, t + 1 :]
        np.testing.assert_allclose(later, process.forecasts[t, :, t + 1 :], atol=1e-12)


def test_drawn_paths_have_the_chain_s_frequencies():
    process = any_process(3)
    uniform = np.random.default_rng(0).random((2, 40_000, process.periods))
    signal = process.draw(uniform[0])
    for t in range(process.periods):
        found = np.bincount(signal[:, t], minlength=3) / len(signal)
        np.testing.assert_allclose(found, process.marginal[t], atol=0.012)
    expected = process.price_eur_per_kwh[np.arange(process.periods), signal]
    price = expected + process.noise(uniform[1])
    expected = (process.marginal * process.price_eur_per_kwh).sum(axis=1)
    np.testing.assert_allclose(price.mean(axis=0), expected, atol=0.03)


@pytest.mark.parametrize("persistence", [0.0, 0.6, 0.95, 1.0])
def test_the_autoregression_has_its_moments(persistence):
    sd, T = 0.05, 6
    process = SignalProcess.autoregressive(np.linspace(0.2, 0.3, T), persistence, sd, 7)
    level = process.price_eur_per_kwh - np.linspace(0.2, 0.3, T)[:, None]
    assert process.initial @ level[0] == pytest.approx(0.0, abs=1e-15)
    for t in range(T):
        assert process.marginal[t] @ level[t] ** 2 == pytest.approx(sd**2)
        expected = persistence ** np.arange(T - t) * level[0][:, None]
        np.testing.assert_allclose(
            process.forecasts[t, :, t:] - np.linspace(0.2, 0.3, T)[t:], expected, atol=1e-12
        )
        # the error of a forecast k ahead, seen from period 0
        left = sd**2 - process.initial @ (process.forecasts[0, :, t] - 0.2 - 0.02 * t) ** 2
        assert left == pytest.approx(sd**2 * (1 - persistence ** (2 * t)), abs=1e-12)


def test_special_cases():
    known = SignalProcess.known([0.1, -0.2])
    assert known.forecasts[0, 0].tolist() == [0.1, -0.2]
    independent = SignalProcess.independent([[1.0, 3.0], [2.0, 6.0]], [0.25, 0.75])
    np.testing.assert_allclose(independent.forecasts[0, :, 1], 5.0)
    chain = MarkovChain((0.5, 1.5), ((0.9, 0.1), (0.1, 0.9)))
    scaled = SignalProcess.scaled([1.0, 2.0], chain)
    np.testing.assert_allclose(scaled.forecasts[0], [[0.5, 1.2], [1.5, 2.8]])
    one = SignalProcess.independent([[1.0, 3.0]], [0.5, 0.5])
    assert one.periods == 1
    assert one.draw(np.array([[0.7]])).tolist() == [[1]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"initial": [0.5, 0.6]}, "initial"),
        ({"transition": [[1.0, 0.0], [0.5, 0.4]]}, "transition"),
        ({"transition": np.ones((3, 2, 2)) / 2}, "transition has shape"),
        ({"price_eur_per_kwh": [[np.nan, 1.0], [1.0, 1.0]]}, "not finite"),
        ({"price_eur_per_kwh": [1.0, 1.0]}, "price_eur_per_kwh has shape"),
        ({"noise_eur_per_kwh": [0.1]}, "mean 0.1"),
        ({"noise_eur_per_kwh": [0.1, -0.1]}, "one probability"),
        ({"initial": "x"}, "no array"),
        ({"initial": ["0.5", "0.5"]}, "no array"),
        ({"price_eur_per_kwh": [[1e5, 1.0], [1.0, 1.0]]}, "holds 100000; expected at most 10000"),
        ({"noise_eur_per_kwh": [-1e5, 1e5], "noise_probabilities": [0.5, 0.5]}, "noise_eur_per_"),
    ],
)
def test_bad_input_is_named(change, says):
    good = {
        "initial": [0.5, 0.5],
        "transition": [[0.5, 0.5], [0.5, 0.5]],
        "price_eur_per_kwh": [[1.0, 2.0], [1.0, 2.0]],
    }
    with pytest.raises(ScenarioError, match=says):
        SignalProcess(**{**good, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"persistence": 1.2},
        {"persistence": "x"},
        {"sd_eur_per_kwh": -1.0},
        {"sd_eur_per_kwh": np.inf},
        {"sd_eur_per_kwh": None},
        {"n": 1},
        {"n": 2.5},
        {"n": "x"},
        {"n": 10**9},
    ],
)
def test_bad_autoregressions_are_named(change):
    with pytest.raises(ScenarioError, match="persistence"):
        SignalProcess.autoregressive(
            [1.0], **{"persistence": 0.5, "sd_eur_per_kwh": 0.1, "n": 3, **change}
        )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SignalProcess.known("abc"), "no array"),
        (lambda: SignalProcess.known([[0.1, 0.2]]), r"shape \(1, 2\); expected \(T,\)"),
        (lambda: SignalProcess.known([]), "one number a period"),
        (lambda: SignalProcess.autoregressive([[0.1, 0.2]], 0.5, 0.1), r"expected \(T,\)"),
        (lambda: SignalProcess.independent([[0.1, 0.2]], [1.0]), "probabilities"),
        (lambda: SignalProcess.independent([0.1, 0.2], [0.5, 0.5]), "probabilities"),
        (lambda: SignalProcess.independent([[0.1, 0.2]], "ab"), "no array"),
        (lambda: SignalProcess.scaled([0.1], 3), "chain is 3; expected a flexgym MarkovChain"),
        (lambda: SignalProcess.scaled("x", MarkovChain((1.0,), ((1.0,),))), "no array"),
    ],
)
def test_bad_curves_are_named(make, says):
    with pytest.raises(ScenarioError, match=says):
        make()
