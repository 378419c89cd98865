"""The day so far as a picture, for ``render_mode="rgb_array"``."""

from __future__ import annotations

import numpy as np

from flexgym.envs.appliance.dynamics import COST_EUR, RAN
from flexgym.envs.appliance.observation import START_HOUR
from flexgym.envs.appliance.simulation import ApplianceSimulation
from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import COLOURS, DASHED, STYLE, key


def render_day(simulation: ApplianceSimulation, outcomes: Floats) -> np.ndarray:
    """Draw the first appliance's window, prices so far, forecasts ahead and the hours it ran.

    Args:
        simulation: The appliance.
        outcomes: What happened in the first t hours, shape (t, 8), columns `OUTCOME_NAMES`.

    Returns:
        Picture, shape (360, 960, 3), uint8.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    T, t = simulation.scenario.periods, len(outcomes)
    edges = START_HOUR + np.arange(T + 1.0)
    table = simulation.scenario.price_table[simulation.episodes.row[0]]
    signal, job = simulation.episodes.signal[0], simulation.episodes.jobs.job()
    seen = 100 * table[np.arange(T), signal]
    # Axes that stand still while the day passes.
    low, high = 100 * min(table.min(), 0.0), 100 * max(table.max(), 0.01)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.6), dpi=100)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.085, 0.12, 0.88, 0.66))
        axes.axvspan(edges[job.earliest], edges[job.deadline], color=COLOURS["quiet"], alpha=0.12)
        ran = np.flatnonzero(outcomes[:, RAN] > 0.0)
        axes.bar(
            edges[ran], seen[ran], width=1.0, align="edge", color=COLOURS["battery"], alpha=0.6,
            label="runs",
        )  # fmt: skip
        now = min(t, T - 1)
        axes.stairs(
            seen[: now + 1], edges[: now + 2], baseline=None, color=COLOURS["import"],
            label="price",
        )  # fmt: skip
        if t < T:
            ahead = 100 * simulation.forecast[0]
            axes.stairs(
                ahead[t:], edges[t:], baseline=None, color=COLOURS["import"], lw=1.2, ls=DASHED,
                label="forecast now",
            )  # fmt: skip
        axes.axvline(edges[t], color=COLOURS["quiet"], lw=1.0)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(1.1 * low, 1.1 * high)
        ticks = edges[:: max(1, T // 8)]
        axes.set_xticks(ticks, [f"{int(hour) % 24:02d}:00" for hour in ticks])
        axes.set_title("Price, ct/kWh; shaded: the job's window")
        key(axes)
        left, cost = int(simulation.left[0]), outcomes[:, COST_EUR].sum()
        pause = "may pause" if job.interruptible else "may not pause"
        figure.text(
            0.085, 0.92,
            f"{job.power_kw:.1f} kW, {pause}, {left} of {job.hours} h left, cost {cost:.2f} EUR"
            .replace("-", "\N{MINUS SIGN}"),
            fontsize=14, fontweight="bold",
        )  # fmt: skip
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()
