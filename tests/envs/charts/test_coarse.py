"""Coarser menus of active power: the rule of `FlexibilityChart.coarsen`, faster."""

import numpy as np
import pytest

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.coarse import coarsen_active
from flexgym.envs.errors import ChartError


def chart(rng, points):
    power = np.sort(rng.uniform(-9.0, 9.0, points))
    slope = np.sort(rng.normal(0.0, 0.2, points - 1))
    return FlexibilityChart(power, np.concatenate([[0.0], np.cumsum(slope * np.diff(power))]))


@pytest.mark.parametrize("seed", range(20))
def test_it_keeps_the_same_vertices(seed):
    rng = np.random.default_rng(seed)
    full = chart(rng, int(rng.integers(1, 25)))
    for n in (1, 2, 3, 8, 16, 40):
        coarse, slow = coarsen_active(full, n), full.coarsen(n)
        np.testing.assert_array_equal(coarse.power_kw, slow.power_kw)
        np.testing.assert_array_equal(coarse.cost_eur, slow.cost_eur)
        assert coarse.best_power_kw == full.best_power_kw


def test_at_least_one_vertex_stays():
    with pytest.raises(ChartError, match="at least 1"):
        coarsen_active(FlexibilityChart([0.0, 1.0], [0.0, 1.0]), 0)
