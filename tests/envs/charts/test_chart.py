"""The chart type: what it says and what it refuses."""

import numpy as np
import pytest

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.errors import ChartError


@pytest.fixture
def chart():
    return FlexibilityChart(np.array([-2.0, 0.0, 3.0]), np.array([1.0, -1.0, 2.0]))


def test_cost_marginal_and_best_power(chart):
    assert chart.best_power_kw == 0.0
    np.testing.assert_allclose(chart.cost([-2.0, -1.0, 0.0, 1.5, 3.0]), [1, 0, -1, 0.5, 2])
    np.testing.assert_allclose(chart.marginal([-1.0, 1.0]), [-1, 1])
    assert np.isinf(chart.cost([-2.1, 3.1])).all()
    assert np.isnan(chart.marginal([-2.1, 3.1])).all()
    assert chart.cost(np.zeros((2, 3))).shape == (2, 3)


def test_a_house_that_offers_one_power():
    chart = FlexibilityChart(np.array([4.0]), np.array([2.0]))
    assert (chart.best_power_kw, float(chart.cost(4.0))) == (4.0, 2.0)
    assert np.isinf(chart.cost(3.9))


def test_active_power_alone_is_a_chart_without_reactive_power(chart):
    assert chart.vertices.tolist() == [[-2, 0, 1], [0, 0, -1], [3, 0, 2]]
    np.testing.assert_allclose(chart.cost([-1.0, 1.5], 0.0), [0.0, 0.5], atol=1e-12)
    assert np.isinf(chart.cost(1.0, reactive_kvar=0.5))
    assert chart.best == (0.0, 0.0)
    assert chart.contains([-2.0, 3.0, 3.1], 0.0).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("power", "cost"),
    [
        ([], []),
        ([0.0, 1.0, 2.0], [0.0, 1.0, 1.5]),
        ([1.0, 0.0], [0.0, 0.0]),
        ([0.0, np.nan], [0.0, 0.0]),
        ([0.0, 1.0], [0.0]),
    ],
)
def test_refuses_points_that_are_no_chart(power, cost):
    with pytest.raises(ChartError):
        FlexibilityChart(np.array(power), np.array(cost))


def test_cannot_be_written(chart):
    with pytest.raises(ValueError, match="read-only"):
        chart.cost_eur[0] = 0.0
    with pytest.raises(ValueError, match="read-only"):
        chart.vertices[0, 0] = 0.0
    with pytest.raises(AttributeError):
        chart.vertices = np.zeros((1, 3))
