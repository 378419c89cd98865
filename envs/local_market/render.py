"""Picture of an order book: demand, supply, and where they meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import COLOURS, DASHED, STYLE
from flexgym.envs.local_market.clearing import equilibrium_interval

if TYPE_CHECKING:
    from flexgym.envs.local_market.simulation import LocalMarketSimulation


def draw_book(axes: Any, price: Floats, volume: Floats, traded: Floats) -> None:
    """Steps of demand and supply, the volume traded and the equilibrium interval.

    Args:
        axes: matplotlib's.
        price: Limits, shape (n,), EUR/kWh.
        volume: Signed volumes, shape (n,), kWh.
        traded: Shape (n,), kWh.
    """
    for sign, name, colour in ((1.0, "demand", "import"), (-1.0, "supply", "pv")):
        side = np.flatnonzero(sign * volume > 0.0)
        order = side[np.argsort(-sign * price[side], kind="stable")]
        edges = np.concatenate([[0.0], np.cumsum(np.abs(volume[order]))])
        if len(order):
            axes.stairs(
                100.0 * price[order], edges, baseline=None, color=COLOURS[colour], lw=1.8,
                label=name,
            )  # fmt: skip
    kwh = 0.5 * np.abs(traded).sum()
    low, high = (float(x[0]) for x in equilibrium_interval(price, volume))
    axes.axvline(kwh, color=COLOURS["quiet"], lw=1.0, ls=DASHED)
    if np.isfinite([low, high]).all():
        axes.fill_between(
            [0.0, max(kwh, 1e-9)], 100.0 * low, 100.0 * high, color=COLOURS["battery"], alpha=0.2,
            lw=0.0,
        )  # fmt: skip
        middle = 50.0 * (low + high)
        axes.plot(
            [kwh], [middle], "o", color=COLOURS["battery"], ms=7, mec="white", zorder=4,
            label=f"clearing point: {kwh:.1f} kWh at {middle:.1f} ct/kWh",
        )  # fmt: skip
    axes.set_xlim(left=0.0)
    axes.set_xlabel("kWh")
    axes.set_ylabel("ct/kWh")


def render_book(market: LocalMarketSimulation) -> np.ndarray:
    """The last hour's order book of the first market; empty before the first hour.

    Returns:
        Shape (height, width, 3), uint8.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 4.6), dpi=90, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.set_title(f"{market.rule}, hour {market.t} of 24")
        if market.t > 0 and hasattr(market, "posted"):
            price, volume = market.posted
            draw_book(axes, price[0], volume[0], market.clearing.traded_kwh[0])
            axes.legend(loc="upper right")
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
