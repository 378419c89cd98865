"""Coarser menus of active power, fast enough for every house and period of a training run."""

from __future__ import annotations

import numpy as np

from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ChartError


def coarsen_active(chart: FlexibilityChart, n_vertices: int) -> FlexibilityChart:
    """The chart of active power alone, with ``n_vertices`` vertices at most.

    The rule is that of `FlexibilityChart.coarsen`: the best point, then whatever is missed most.

    Raises:
        ChartError: ``n_vertices`` is below 1.
    """
    if n_vertices < 1:
        raise ChartError(f"n_vertices is {n_vertices}; expected at least 1.")
    x, y = chart.power_kw, chart.cost_eur
    if len(x) > n_vertices:
        kept = _kept(x, y, n_vertices)
        x, y = x[kept], y[kept]
    return FlexibilityChart(x, y)


@compiled
def _kept(x, y, n):
    """Mask of the n vertices to keep, shape (k,)."""
    kept = np.zeros(len(x), dtype=np.bool_)
    best = np.argmin(y)
    kept[best] = True
    first = last = best
    rise = y.max() - y.min()
    rise = rise if rise > 0.0 else 1.0
    extent = x[-1] - x[0]
    for _ in range(n - 1):
        worst, most = -1, 1e-12
        left = first
        for k in range(len(x)):
            if kept[k]:
                left = k
                continue
            if k < first or k > last:
                score = (x[first] - x[k] if k < first else x[k] - x[last]) / extent
            else:
                right = k + 1
                while not kept[right]:
                    right += 1
                share = (x[k] - x[left]) / (x[right] - x[left])
                score = (y[left] + share * (y[right] - y[left]) - y[k]) / rise
            if score > most:
                worst, most = k, score
        if worst < 0:
            break
        kept[worst] = True
        first, last = min(first, worst), max(last, worst)
    return kept
