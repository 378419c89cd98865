"""Picture of strategies of the contest by turns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.aggregator_market.competition import Duopoly


def render_strategies(game: Duopoly, strategies: Mapping[str, NDArray]) -> np.ndarray:
    """What each answers to every standing offer, by day, where both have half of the buses.

    Args:
        game: The rules.
        strategies: Positions of offers by name, shape (days, states, g) each.

    Returns:
        Shape (height, width, 3), uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(strategies), 3.6), dpi=90, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(strategies), sharey=True, squeeze=False)[0]
    offers = np.asarray(game.offers)
    state = game.state(game.buses - game.buses // 2, game.buses // 2)
    for panel, (name, choice) in zip(panels, strategies.items(), strict=True):
        days = np.arange(1, len(choice) + 1)
        image = panel.pcolormesh(
            days, offers, offers[choice[:, state].T], vmin=offers[0], vmax=offers[-1],
            shading="nearest",
        )  # fmt: skip
        panel.set(title=name, xlabel="day")
    panels[0].set_ylabel("rival's offer")
    figure.colorbar(image, ax=list(panels), label="own offer")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
