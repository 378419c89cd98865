"""A chain fitted to errors has those errors, where an autoregression made them."""

import datetime as dt

import numpy as np
import pytest

from flexgym.envs.forecasts.estimate import estimate
from flexgym.envs.forecasts.record import ForecastRecord
from flexgym.envs.forecasts.signal_fit import SignalFit, fit_signals
from flexgym.envs.forecasts.signals import SignalProcess

START = dt.datetime(2023, 1, 1)


def errors_of(sd):
    """Statistics of a record whose errors have these standard deviations exactly."""
    sign = np.where(np.arange(200) % 2, 1.0, -1.0)[:, None]
    return estimate(ForecastRecord(START, np.hstack([np.zeros((200, 1)), sign * sd]), "made"))


@pytest.mark.parametrize(
    ("persistence", "sd"), [(0.0, 0.02), (0.55, 0.03), (0.9, 0.1), (0.99, 0.05)]
)
def test_exact_errors_give_the_process_back(persistence, sd):
    given = sd * np.sqrt(1 - persistence ** (2 * np.arange(1.0, 13.0)))
    fit = fit_signals(errors_of(given))
    assert fit.persistence == pytest.approx(persistence, abs=1e-5)
    assert fit.sd_eur_per_kwh == pytest.approx(sd, rel=1e-3)
    np.testing.assert_allclose(fit.fitted_sd_eur_per_kwh, given, rtol=1e-4)
    assert fit.misfit < 1e-4


def test_from_a_drawn_record_and_back(record_of):
    made = SignalProcess.autoregressive(np.full(1500, 0.2), 0.85, 0.04, 9)
    fit = fit_signals(estimate(record_of(made, 10, 2)))
    assert fit.persistence == pytest.approx(0.85, abs=0.06)
    assert fit.sd_eur_per_kwh == pytest.approx(0.04, rel=0.15)
    process = fit.process(np.linspace(0.1, 0.3, 11))
    # the errors of the fitted chain, from its own forecasts
    for k in range(1, 11):
        given = process.forecasts[0, :, k]
        mean = process.initial @ given
        left = fit.sd_eur_per_kwh**2 - process.initial @ (given - mean) ** 2
        assert np.sqrt(left) == pytest.approx(fit.fitted_sd_eur_per_kwh[k - 1])


def test_limits():
    walk = fit_signals(errors_of(0.01 * np.sqrt(np.arange(1.0, 7.0))))
    assert walk.persistence == pytest.approx(0.999)
    assert walk.misfit < 0.01
    none = fit_signals(errors_of(np.zeros(4)))
    assert none.sd_eur_per_kwh == 0.0
    assert none.misfit == 0.0
    one = fit_signals(errors_of(np.array([0.02])))
    assert one.persistence == 0.0
    assert one.fitted_sd_eur_per_kwh == pytest.approx([0.02])
    falling = fit_signals(errors_of(np.array([0.03, 0.01])))
    assert falling.misfit > 0.3


def test_the_fit_is_the_best_of_a_grid():
    sd = np.array([0.005, 0.009, 0.012, 0.013, 0.0125, 0.014])
    fit = fit_signals(errors_of(sd))
    for persistence in np.linspace(0.0, 0.99, 100):
        for scale in np.linspace(0.005, 0.03, 60):
            other = SignalFit(float(persistence), float(scale), sd)
            assert fit.misfit <= other.misfit + 1e-9
