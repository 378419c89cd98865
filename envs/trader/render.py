"""Picture of a trader's day so far."""

from __future__ import annotations

import numpy as np

from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import COLOURS, STYLE
from flexgym.envs.trader.simulation import OUTCOME_NAMES, TraderSimulation

_START_H = 6


def render_day(simulation: TraderSimulation, outcomes: Floats) -> np.ndarray:
    """Prices and quotes above, lots below, of the first trader.

    Args:
        simulation: Its day.
        outcomes: Hours so far, shape (t, 10), columns `OUTCOME_NAMES`.

    Returns:
        Shape (height, width, 3), uint8.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    terms, episodes, quotes = simulation.terms, simulation.episodes, simulation.scenario.quotes
    t, D = len(outcomes), terms.first_delivery
    seen, traded = min(t + 1, terms.hours), min(t + 1, D)
    row, signal = int(episodes.row[0]), episodes.signal[0]
    clock = _START_H + np.arange(terms.hours + 1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 5.0), dpi=90, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        above, below = figure.subplots(2, 1, sharex=True)
        spot = quotes.price[row, np.arange(seen), signal[:seen]]
        block = quotes.block[row, np.arange(traded), signal[:traded]]
        forward = quotes.forward[
            row, np.arange(traded), signal[:traded], episodes.quote[0, :traded]
        ]
        for values, colour, label in (
            (spot, "load", "spot, expected"),
            (block, "import", "delivery, expected"),
            (forward, "meter", "forward, quoted"),
        ):
            above.stairs(values, clock[: len(values) + 1], color=COLOURS[colour], label=label)
        above.axhline(quotes.strike[row], color=COLOURS["quiet"], ls=":", label="strike")
        above.axvspan(clock[D], clock[-1], color="#f2f2f2", zorder=0)
        above.set_ylabel("EUR/kWh")
        above.legend(ncols=2)
        names = ("forward_lots", "option_lots", "exercised_lots", "spot_lots")
        base = np.zeros(t)
        for name, colour in zip(names, ("import", "pv", "battery", "meter"), strict=True):
            bought = outcomes[:, OUTCOME_NAMES.index(name)]
            label = name.removesuffix("_lots")
            below.bar(
                clock[:t] + 0.5, bought, bottom=base, width=0.8, color=COLOURS[colour], label=label
            )
            base += bought
        below.axvspan(clock[D], clock[-1], color="#f2f2f2", zorder=0)
        below.set(ylabel="lots", xlabel="hour of the day", xlim=(clock[0], clock[-1]))
        below.set_ylim(0.0, terms.need_lots + 0.5)
        below.legend(ncols=4, loc="upper left")
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
