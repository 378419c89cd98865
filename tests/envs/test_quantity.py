"""What counts as a number."""

import numpy as np
import pytest

from flexgym.envs.errors import ForecastError
from flexgym.envs.quantity import as_floats, is_number


@pytest.mark.parametrize("value", [0, 1.5, np.float32(0.5), np.int64(3), -1e300])
def test_numbers(value):
    assert is_number(value)
    assert is_number(value, float(value), float(value))
    assert not is_number(value, low=np.inf, high=np.inf)


@pytest.mark.parametrize(
    "value", ["1", None, True, np.bool_(True), np.nan, np.inf, [1.0], np.array([1.0]), 1j, 10**400]
)
def test_what_is_none(value):
    assert not is_number(value)


def test_infinity_where_it_is_asked_for():
    assert is_number(np.inf, high=np.inf)


def test_arrays():
    given = np.array([[1, 2], [3, 4]])
    found = as_floats(given, "x", ForecastError)
    assert found.dtype == np.float64
    found[0, 0] = 9.0
    assert given[0, 0] == 1
    assert as_floats([], "x", ForecastError).shape == (0,)
    for bad in ("abc", ["1", "2"], None, [None], [True], [[1.0], [1.0, 2.0]], [1j], [10**400]):
        with pytest.raises(ForecastError, match="x is no array of numbers"):
            as_floats(bad, "x", ForecastError)
