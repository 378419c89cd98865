"""Updates and errors are the table told anew; the source's own sum is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flexgym.envs.errors import ForecastError
from flexgym.envs.forecasts.updates import (
    by_delivery,
    by_issue,
    errors,
    errors_from_updates,
    forecasts_from_errors,
    forecasts_from_updates,
    updates,
    updates_from_errors,
)

tables = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(2, 6)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-1.0, 1.0))
)


@given(tables)
def test_every_form_gives_the_table_back(table):
    u, e = updates(table), errors(table)
    np.testing.assert_allclose(forecasts_from_updates(table[..., -1], u), table, atol=1e-12)
    np.testing.assert_allclose(forecasts_from_errors(table[..., 0], e), table, atol=1e-12)
    np.testing.assert_allclose(errors_from_updates(u), e, atol=1e-12)
    np.testing.assert_allclose(updates_from_errors(e), u, atol=1e-12)


@given(tables)
def test_definitions_term_by_term(table):
    u, e = updates(table), errors(table)
    T, width = table.shape[-2:]
    for t in range(T):
        for k in range(width):
            assert e[0, t, k] == table[0, t, k] - table[0, t, 0]
            total = -sum(u[0, t, j] for j in range(k))
            assert e[0, t, k] == pytest.approx(total, abs=1e-12)
            if k < width - 1:
                assert u[0, t, k] == table[0, t, k] - table[0, t, k + 1]


def test_the_source_s_sum_is_one_lead_time_off():
    table = np.array([[0.20, 0.23, 0.19, 0.30]])  # y_t and its forecasts 1, 2, 3 hours before
    u, e = updates(table)[0], errors(table)[0]
    np.testing.assert_allclose(e, [0.0, 0.03, -0.01, 0.10], atol=1e-15)
    for k in (1, 2):
        source = -u[1 : k + 1].sum()
        assert abs(source - e[k]) > 0.02
        assert source == pytest.approx(e[k + 1] - e[1])
        assert -u[:k].sum() == pytest.approx(e[k])


@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 1000))
def test_issued_together(K, more, seed):
    T = K + more
    issued = np.random.default_rng(seed).normal(size=(2, T + K - 1, K))
    delivered = by_delivery(issued)
    assert delivered.shape == (2, T, K)
    for t in range(T):
        for k in range(K):
            # row r is issued in period r - (K - 1)
            assert delivered[1, t, k] == issued[1, t - k + K - 1, k]
    # of T periods, those issued from period 0 on whose updates are all in the table
    np.testing.assert_array_equal(by_issue(delivered), issued[:, K - 1 : T])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: updates([0.1, 0.2]), "shape"),
        (lambda: updates([[0.1]]), "at least 2"),
        (lambda: updates(np.empty((0, 3))), "shape"),
        (lambda: errors([[0.1, np.nan]]), r"forecast\[0, 1\] is nan"),
        (lambda: errors([[0.1, np.inf]]), "is inf"),
        (lambda: updates("prices"), "no array"),
        (lambda: by_issue(np.zeros((2, 3))), "2 periods and 3 lead times"),
        (lambda: by_delivery(np.zeros((2, 3))), "2 periods and 3 lead times"),
        (lambda: forecasts_from_updates([0.1], np.zeros((2, 3))), "earliest"),
        (lambda: forecasts_from_updates([0.1, np.nan], np.zeros((2, 3))), "finite"),
        (lambda: updates([["0.1", "0.2"], ["0.3", "0.4"]]), "no array"),
        (lambda: forecasts_from_updates("ab", np.zeros((2, 3))), "earliest.* no array"),
        (lambda: forecasts_from_updates(np.zeros((3, 2)), np.zeros((2, 3))), "earliest"),
        (lambda: forecasts_from_updates(np.zeros((3, 2)), np.zeros((4, 2, 3))), "earliest"),
        (lambda: forecasts_from_errors("ab", np.zeros((2, 3))), "price_eur_per_kwh is no array"),
        (lambda: forecasts_from_errors(np.zeros((3, 2)), np.zeros((4, 2, 3))), "price_eur"),
        (lambda: forecasts_from_errors([0.1], np.zeros((2, 3))), "price_eur_per_kwh"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ForecastError, match=says):
        call()
