"""Picture of a market day so far."""

from __future__ import annotations

import numpy as np

from flexgym.envs.aggregator_market.params import HOURS
from flexgym.envs.aggregator_market.scenario import Ints, MarketScenario
from flexgym.envs.household.params import Floats


def render_day(scenario: MarketScenario, price_state: Ints, played: Floats) -> np.ndarray:
    """Prices above, magnetisation and energy owed of the first aggregator below.

    Args:
        scenario: The market.
        price_state: State of the real-time price in every hour, shape (24,).
        played: Directive, quote (EUR/MWh), magnetisation and energy owed (%) of the hours so far,
            shape (t, 4).

    Returns:
        Shape (height, width, 3), uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.5), dpi=90, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    t, hours = len(played), np.arange(1, HOURS + 1)
    above.step(hours, scenario.day.rtem_eur_per_mwh, where="mid", color="0.7", label="forecast")
    seen = min(t + 1, HOURS)
    real = scenario.day.rtem[np.arange(seen), price_state[:seen]]
    above.step(hours[:seen], real, where="mid", color="black", label="real time")
    above.step(hours[:t], played[:, 1], where="mid", color="C0", label="quote")
    above.set_ylabel("EUR/MWh")
    above.legend(loc="upper left", fontsize=8)
    owed = played[:, 3] / float(scenario.day.percent.mean())
    below.axhline(0.0, color="0.8", linewidth=0.8)
    below.step(hours[:t], played[:, 2], where="mid", color="C2", label="magnetisation")
    below.step(hours[:t], played[:, 0] / 3.0, where="mid", color="C3", label="directive / 3")
    below.set(ylim=(-1.05, 1.05), xlim=(0.5, HOURS + 0.5), xlabel="hour")
    right = below.twinx()
    right.plot(hours[:t], owed, color="C1", label="owed, h")
    right.set(ylabel="owed, h", ylim=(-10.0, 10.0))
    handles = [a.get_legend_handles_labels() for a in (below, right)]
    lines, labels = (first + second for first, second in zip(*handles, strict=True))
    below.legend(lines, labels, loc="upper left", fontsize=8, ncols=3)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
