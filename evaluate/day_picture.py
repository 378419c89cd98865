"""Picture of a day: what a policy did, and the flexibility charts it chose from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    ARRIVAL_KWH,
    BUY,
    CAR_KWH,
    COST_EUR,
    COST_TERMS,
    CURTAILED_KW,
    DEPARTURE,
    LOAD,
    METER_KW,
    OUTCOME_NAMES,
    PV,
    PV_USED_KW,
    SELL,
    SOC_KWH,
    UNSERVED_KW,
)
from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import (
    COLOURS,
    DASHED,
    charge_panel,
    clock_axis,
    edges_h,
    key,
    power_panel,
)
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.evaluate.pictures import INK, cost_bar, cost_colours, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from flexgym.baselines.household import CostToGo

_ROWS = 400
_TERMS = {
    "import_eur": "import",
    "export_eur": "export",
    "wear_eur": "wear",
    "unserved_eur": "unserved load",
    "missed_eur": "car not charged",
    "terminal_eur": "energy left",
}


def day_charts(
    simulation: HouseholdSimulation, outcomes: Floats, solved: CostToGo
) -> list[FlexibilityChart]:
    """Flexibility chart of each period at the energies in battery and car that were played.

    Args:
        simulation: One house at the end of its day.
        outcomes: What happened, shape (T, 17), columns `OUTCOME_NAMES`.
        solved: Cost-to-go of the same house and forecast.
    """
    return [chart_at(simulation, outcomes, solved, period) for period in range(len(outcomes))]


def chart_at(
    simulation: HouseholdSimulation, outcomes: Floats, solved: CostToGo, period: int
) -> FlexibilityChart:
    """Flexibility chart of one period of a day that was played; arguments of `day_charts`."""
    episodes = simulation.episodes
    before = episodes.soc_kwh[0] if period == 0 else outcomes[period - 1, SOC_KWH]
    return solved.chart(
        period,
        float(before),
        energy_in_car(simulation, outcomes, period),
        state=None if solved.uncertainty is None else int(episodes.state[period, 0]),
        load_kw=float(episodes.exogenous[period, LOAD, 0]),
        pv_kw=float(episodes.exogenous[period, PV, 0]),
    )


def energy_in_car(simulation: HouseholdSimulation, outcomes: Floats, period: int) -> float | None:
    """Energy in the car at the start of a period, kWh; None where it is away."""
    visits = simulation.episodes.visits
    if visits.shape[2] == 0:
        return None
    visit = visits[period, :, 0]
    if not visit[ARRIVAL] <= period < visit[DEPARTURE]:
        return None
    arrives = visit[ARRIVAL] == period
    return float(visit[ARRIVAL_KWH] if arrives else outcomes[period - 1, CAR_KWH])


def dispatch_picture(
    path: Path | str,
    simulation: HouseholdSimulation,
    outcomes: Floats,
    solved: CostToGo,
    title: str,
) -> None:
    """Draw a day of one house: prices, powers, energy in battery and car, flexibility charts.

    A chart tells the cost of a power at the meter if the house takes it in the cheapest way;
    a policy that curtails where it could have charged loses more than the colours show.

    Args:
        path: PNG to write.
        simulation: One house at the end of its day, from `flexgym.evaluate.rollout.trace`.
        outcomes: What happened, shape (T, 17), columns `OUTCOME_NAMES`.
        solved: Cost-to-go of the same house and forecast.
        title: Heading.

    Raises:
        ScenarioError: The simulation holds more than one house, or outcomes has another shape.
    """
    periods = len(simulation.episodes.exogenous)
    expected = (periods, len(OUTCOME_NAMES))
    if simulation.n != 1 or np.shape(outcomes) != expected:
        raise ScenarioError(
            f"got {simulation.n} houses and outcomes of shape {np.shape(outcomes)}; expected one "
            f"house and {expected}. Use trace(policy, house_days, index)."
        )
    with picture(path, 10.0, 12.4) as figure:
        grid = figure.add_gridspec(
            4, 1, height_ratios=(1.1, 2.0, 0.9, 2.5), left=0.085, right=0.965, top=0.915,
            bottom=0.09, hspace=0.27,
        )  # fmt: skip
        panels = [figure.add_subplot(cell) for cell in grid]
        figure.text(0.085, 0.972, title, fontsize=15, fontweight="bold")
        figure.text(0.085, 0.951, _cost_line(outcomes), fontsize=11, color="#555555")
        edges = edges_h(periods)
        _prices(panels[0], edges, simulation)
        _powers(panels[1], edges, simulation, outcomes)
        soc = np.concatenate([simulation.episodes.soc_kwh, outcomes[:, SOC_KWH]])
        sessions = simulation.forecast_series().sessions
        charge_panel(panels[2], edges, simulation.house(), sessions, soc, outcomes[:, CAR_KWH])
        key(panels[2])
        _charts(figure, panels[3], edges, day_charts(simulation, outcomes, solved), outcomes)
        for axes in panels:
            clock_axis(axes, labels=axes is panels[-1])


def _cost_line(outcomes: Floats) -> str:
    total = outcomes.sum(axis=0)
    terms = [(name, total[OUTCOME_NAMES.index(name)]) for name in COST_TERMS]
    parts = [f"{_TERMS[name]} {value:.2f}" for name, value in terms if abs(value) >= 0.005]
    text = ", ".join([f"cost {total[COST_EUR]:.2f} EUR", *parts])
    return text.replace(",", ":", 1).replace("-", "\N{MINUS SIGN}")


def _prices(axes: Axes, edges: Floats, simulation: HouseholdSimulation) -> None:
    played, planned = (
        100 * a[:, :, 0] for a in (simulation.episodes.exogenous, simulation.episodes.forecast)
    )
    axes.set_title("Prices, ct/kWh")
    blue, pink = COLOURS["import"], COLOURS["export"]
    axes.stairs(
        planned[:, BUY], edges, baseline=None, color=blue, lw=1.2, ls=DASHED,
        label="import, forecast",
    )  # fmt: skip
    axes.stairs(played[:, BUY], edges, baseline=None, color=blue, lw=2.0, label="import, realised")
    axes.stairs(played[:, SELL], edges, baseline=None, color=pink, lw=2.0, label="export")
    prices = np.concatenate([played[:, [BUY, SELL]], planned[:, [BUY, SELL]]])
    axes.set_ylim(1.1 * min(0.0, prices.min()), 1.1 * max(prices.max(), 1.0))
    key(axes)


def _powers(axes: Axes, edges: Floats, simulation: HouseholdSimulation, outcomes: Floats) -> None:
    power_panel(axes, edges, simulation.house(), simulation.forecast_series().sessions, outcomes)
    used, load = outcomes[:, PV_USED_KW], simulation.episodes.exogenous[:, LOAD, 0]
    if outcomes[:, CURTAILED_KW].max() > 1e-6:
        axes.stairs(
            used + outcomes[:, CURTAILED_KW], edges, baseline=used, fill=True, facecolor="none",
            edgecolor=COLOURS["pv"], hatch="////", lw=0, zorder=0.9, label="curtailed",
        )  # fmt: skip
    if outcomes[:, UNSERVED_KW].max() > 1e-6:
        axes.stairs(
            load, edges, baseline=load - outcomes[:, UNSERVED_KW], fill=True, color="black",
            alpha=0.5, label="unserved",
        )  # fmt: skip
    key(axes)


def extra_cost_ct(charts: Sequence[FlexibilityChart], power_kw: Floats) -> Floats:
    """Cost above each chart's least cost, shape (powers, periods), ct; nan if not feasible."""
    extra = np.stack([chart.cost(power_kw) - chart.cost_eur.min() for chart in charts], axis=1)
    return 100.0 * np.where(np.isfinite(extra), extra.clip(0.0), np.nan)


def _charts(
    figure: Figure,
    axes: Axes,
    edges: Floats,
    charts: Sequence[FlexibilityChart],
    outcomes: Floats,
) -> None:
    from matplotlib.patheffects import Normal, Stroke

    low = np.array([chart.power_kw[0] for chart in charts])
    high = np.array([chart.power_kw[-1] for chart in charts])
    margin = 0.06 * max(high.max() - low.min(), 1.0)
    bottom, top = low.min() - margin, high.max() + margin
    levels = np.linspace(bottom, top, _ROWS + 1)
    extra = extra_cost_ct(charts, 0.5 * (levels[1:] + levels[:-1]))
    shades, norm = cost_colours()
    axes.pcolormesh(
        edges, levels, np.ma.masked_invalid(extra), cmap=shades, norm=norm, rasterized=True
    )
    for values in (low, high):
        axes.stairs(values, edges, baseline=None, color=INK, lw=0.9)
    axes.stairs(
        outcomes[:, METER_KW], edges, baseline=None, color=COLOURS["meter"], lw=2.8,
        label="meter power played", path_effects=[Stroke(linewidth=4.6, foreground="w"), Normal()],
    )  # fmt: skip
    axes.plot(
        0.5 * (edges[1:] + edges[:-1]), [chart.best_power_kw for chart in charts], "o", ms=3.4,
        color="black", mec="white", mew=0.5, label="cheapest power",
    )  # fmt: skip
    axes.set_ylim(bottom, top)
    axes.grid(visible=False)
    axes.set_title("Flexibility charts: power at the meter, kW")
    key(axes)
    box = axes.get_position()
    text = "extra cost over the cheapest power, ct"
    cost_bar(figure, (box.x0, box.width), 0.045, 0.012, text)
