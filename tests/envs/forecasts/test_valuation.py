"""Values of forwards and options: against all paths, and the relations that must hold."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.envs.errors import ContractError
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.forecasts.valuation import forward_value, option_value
from flexgym.envs.local_market.contracts import PriceFormula


def process_of(seed, T=4, n=3):
    rng = np.random.default_rng(seed)
    return SignalProcess(
        rng.dirichlet(np.ones(n)),
        rng.dirichlet(np.ones(n), size=(T - 1, n)),
        rng.normal(0.2, 0.2, (T, n)),
    )


def paths(process, t, s, last):
    """Signals from period t to ``last`` with their probabilities."""
    for rest in itertools.product(range(process.signals), repeat=last - t):
        chance, here = 1.0, s
        for k, there in enumerate(rest):
            chance *= process.transition[t + k, here, there]
            here = there
        yield (s, *rest), chance


SEEDS = st.integers(0, 10_000)


@given(SEEDS, st.floats(-0.2, 0.5))
@settings(max_examples=30, deadline=None)
def test_values_are_expectations_over_all_paths(seed, strike):
    process, rng = process_of(seed), np.random.default_rng(seed)
    weather = rng.normal(10.0, 5.0, process.signals)
    formula = PriceFormula(strike, 0.02, 10.0, -0.05, 0.05)
    forward = forward_value(process, 3, formula, weather)
    call = option_value(process, 3, strike)
    for t, s in itertools.product(range(4), range(3)):
        owed = np.clip(0.02 * (weather - 10.0), -0.05, 0.05) + strike
        gains = [
            (chance, process.price_eur_per_kwh[3, path[-1]], owed[path[-1]])
            for path, chance in paths(process, t, s, 3)
        ]
        assert forward[t, s] == pytest.approx(sum(c * (p - k) for c, p, k in gains), abs=1e-12)
        expected = sum(c * max(p - strike, 0.0) for c, p, _ in gains)
        assert call[t, s] == pytest.approx(expected, abs=1e-12)


@given(SEEDS, st.floats(-0.3, 0.6), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_the_relations_of_rights_and_duties(seed, strike, expiry):
    process = process_of(seed)
    call = option_value(process, 3, strike, expiry)
    put = option_value(process, 3, strike, expiry, "put")
    forward = forward_value(process, 3, PriceFormula(strike))[: expiry + 1]
    # a right is worth at least the duty and at least nothing
    assert (call >= forward - 1e-12).all()
    assert (put >= -forward - 1e-12).all()
    assert (call >= -1e-12).all()
    # put-call parity: one right to buy less one to sell is the forward
    np.testing.assert_allclose(call - put, forward, atol=1e-12)
    # keeping is never worse than exercising now: forecasts are a martingale
    for t in range(expiry):
        np.testing.assert_allclose(call[t], process.transition[t] @ call[t + 1], atol=1e-12)
    # a later expiry, and a lower strike of a call, are worth no less, by at most the difference
    if expiry < 3:
        later = option_value(process, 3, strike, expiry + 1)[: expiry + 1]
        assert (later >= call - 1e-12).all()
    lower = option_value(process, 3, strike - 0.1, expiry)
    assert (lower >= call - 1e-12).all()
    assert (lower <= call + 0.1 + 1e-12).all()


def test_limits():
    process = process_of(1)
    np.testing.assert_allclose(option_value(process, 3, 10.0), 0.0)
    deep = option_value(process, 3, -10.0)
    np.testing.assert_allclose(deep, forward_value(process, 3, PriceFormula(-10.0)), atol=1e-12)
    known = SignalProcess.known([0.1, 0.2, 0.3])
    np.testing.assert_allclose(option_value(known, 2, 0.25), 0.05)
    np.testing.assert_allclose(option_value(known, 2, 0.35), 0.0)
    np.testing.assert_allclose(option_value(known, 2, 0.35, kind="put"), 0.05)


def test_uncertainty_is_worth_something_to_the_holder_of_a_right():
    values = [
        process.initial @ option_value(process, 5, 0.3)[0]
        for sd in (0.0, 0.02, 0.05)
        for process in [SignalProcess.autoregressive(np.full(6, 0.3), 0.8, sd)]
    ]
    assert values[0] == pytest.approx(0.0, abs=1e-12)
    assert values[0] + 1e-3 < values[1] < values[2]


@pytest.mark.parametrize(
    "arguments",
    [
        (4, 0.2), (-1, 0.2), (1.5, 0.2), (3, np.nan), (3, np.inf), (2, 0.2, 3), (3, 0.2, -1),
        (3, 0.2, True), (3, 0.2, 2, "swap"),
    ],
)  # fmt: skip
def test_bad_options_are_refused(arguments):
    with pytest.raises(ContractError, match="expected"):
        option_value(process_of(0), *arguments)


def test_bad_forwards_are_refused():
    formula = PriceFormula(0.2, 0.01)
    for arguments in ((4, formula), (3, formula, [1.0, 2.0]), (3, formula, np.nan)):
        with pytest.raises(ContractError, match="expected"):
            forward_value(process_of(0), *arguments)
