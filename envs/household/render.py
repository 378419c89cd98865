"""The day so far as a picture, for ``render_mode="rgb_array"``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.household.dynamics import (
    BATTERY_KW,
    CAR_KW,
    CAR_KWH,
    COST_EUR,
    CURTAILED_KW,
    METER_KW,
    OUTCOME_NAMES,
    PV_USED_KW,
    SOC_KWH,
    UNSERVED_KW,
)
from flexgym.envs.household.params import (
    DT_H,
    STEPS_PER_DAY,
    Car,
    Floats,
    House,
    Series,
    Session,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

START_H = 6.0
"""Clock time at which an episode starts, hours."""
COLOURS = {
    "load": "#4d4d4d",
    "pv": "#e69f00",
    "battery": "#009e73",
    "car": "#56b4e9",
    "meter": "#d55e00",
    "import": "#0072b2",
    "export": "#cc79a7",
    "quiet": "#8c8c8c",
}
"""Okabe and Ito's palette, safe for colour-blind readers."""
DASHED = (0, (3, 2))
STYLE: dict[Any, Any] = {
    "font.size": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["quiet"],
    "axes.labelcolor": "#333333",
    "axes.titlesize": 12.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": "#1a1a1a",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.2,
    "legend.borderaxespad": 0.0,
    "legend.borderpad": 0.0,
    "lines.linewidth": 1.8,
    "text.usetex": False,
}
"""Settings of all pictures, for ``matplotlib.rc_context``."""


def clock_axis(axes: Axes, *, labels: bool = True) -> None:
    """Lay out a time axis in hours of the clock, 06:00 to 06:00 of the next day."""
    hours = np.arange(START_H, START_H + 24.1, 3.0)
    axes.set_xlim(START_H, START_H + STEPS_PER_DAY * DT_H)
    axes.set_xticks(hours, [f"{int(h) % 24:02d}:00" for h in hours])
    axes.tick_params(axis="x", labelbottom=labels)


def edges_h(periods: int) -> Floats:
    """Clock times at which periods begin and the last one ends, shape (periods + 1,), hours."""
    return START_H + DT_H * np.arange(periods + 1, dtype=np.float64)


def clock(period: int) -> str:
    """Time at which a period begins, such as ``"06:15"``."""
    minutes = round((START_H + period * DT_H) * 60) % (24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def sunny(pv_kw: Floats) -> Floats:
    """PV power with nan for zero, so that no line is drawn at night."""
    return np.where(pv_kw > 0.0, pv_kw, np.nan)


def key(axes: Axes) -> None:
    """Name the lines in one row on the right above the panel."""
    from matplotlib.transforms import ScaledTranslation

    handles, labels = axes.get_legend_handles_labels()
    if handles:
        # As far above the panel as its title, in inches: panels differ in height.
        above = axes.transAxes + ScaledTranslation(0.0, 0.09, axes.figure.dpi_scale_trans)
        axes.legend(
            handles, labels, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(labels),
            bbox_transform=above,
        )  # fmt: skip


def render_day(forecast: Series, house: House, outcomes: Floats) -> NDArray[np.uint8]:
    """Draw prices, powers and state of charge of a day up to now, the car's where it visits.

    Args:
        forecast: Forecast of the episode, T = 96 periods.
        house: The house.
        outcomes: What happened in the first k periods, shape (k, 17), columns
            `OUTCOME_NAMES`; k may be 0.

    Returns:
        Picture, shape (720, 960, 3) whatever has happened, uint8.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 7.2), dpi=100)
        canvas = FigureCanvasAgg(figure)
        figure.subplots_adjust(left=0.085, right=0.965, top=0.885, bottom=0.06, hspace=0.42)
        panels = figure.subplots(3, 1, height_ratios=(1.0, 2.0, 1.0))
        _draw(panels, forecast, house, outcomes)
        cost = f"{outcomes[:, COST_EUR].sum():.2f}".replace("-", "\N{MINUS SIGN}")
        figure.text(
            0.085,
            0.962,
            f"{clock(len(outcomes))}   cost so far {cost} EUR",
            fontsize=14,
            fontweight="bold",
        )
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw(panels: Any, forecast: Series, house: House, outcomes: Floats) -> None:
    price, power, charge = panels
    day = edges_h(len(forecast))
    now = day[len(outcomes)]
    # What has not happened yet is nan, which is not drawn.
    whole = np.full((len(forecast), len(OUTCOME_NAMES)), np.nan)
    whole[: len(outcomes)] = outcomes
    visited = house.car is not None and len(forecast.sessions) > 0

    price.set_title("Prices forecast, ct/kWh")
    for name, values in (
        ("import", forecast.import_eur_per_kwh),
        ("export", forecast.export_eur_per_kwh),
    ):
        price.stairs(100 * values, day, baseline=None, color=COLOURS[name], lw=1.8, label=name)
    low = min(0.0, 100 * forecast.export_eur_per_kwh.min())
    price.set_ylim(1.1 * low, 1.1 * max(100 * forecast.import_eur_per_kwh.max(), 1.0))

    power_panel(power, day, house, forecast.sessions, whole)
    for name, values in (("load", forecast.load_kw), ("pv", sunny(forecast.pv_kw))):
        power.stairs(values, day, baseline=None, color=COLOURS[name], lw=1.0, ls=DASHED)
    power.plot([], [], color=COLOURS["quiet"], lw=1.0, ls=DASHED, label="forecasts")
    # Limits from forecast and sizes, so that the axes stand still while the day passes.
    rating = house.battery.power_kw if house.battery else 0.0
    charging, giving = rating, rating
    if house.car is not None and visited:
        charging, giving = rating + house.car.power_kw, rating + house.car.discharge_kw
    busy = sum(job.power_kw for job in house.appliances)
    sun = min(house.pv_kwp, 1.6 * forecast.pv_kw.max())
    seen = outcomes[:, [METER_KW, BATTERY_KW, PV_USED_KW]]
    power.set_ylim(
        1.05 * min(-max(sun, giving, 1.0), seen.min(initial=0.0)),
        1.05 * max(2.0 * forecast.load_kw.max() + busy, sun, charging, 1.0, seen.max(initial=0.0)),
    )
    soc = np.append(np.nan, outcomes[:, SOC_KWH])
    charge_panel(charge, day, house, forecast.sessions, soc, outcomes[:, CAR_KWH])
    for axes in panels:
        axes.axvline(now, color=COLOURS["quiet"], lw=1.0)
        key(axes)
        clock_axis(axes, labels=axes is charge)


def power_panel(
    axes: Axes, edges: Floats, house: House, sessions: tuple[Session, ...], outcomes: Floats
) -> None:
    """Draw the powers of roof, load, battery, car and meter.

    Args:
        axes: Where to draw.
        edges: From `edges_h`, shape (T + 1,), hours.
        house: The house.
        sessions: Visits of its car.
        outcomes: Shape (T, 17), columns `OUTCOME_NAMES`; nan for what has not happened.
    """
    used, battery, car, meter = (outcomes[:, c] for c in (PV_USED_KW, BATTERY_KW, CAR_KW, METER_KW))
    load = meter + outcomes[:, UNSERVED_KW] - battery - car + used
    axes.set_title("Power, kW")
    axes.axhline(0.0, color=COLOURS["quiet"], lw=0.8)
    if house.pv_kwp > 0.0:
        axes.stairs(used, edges, fill=True, color=COLOURS["pv"], alpha=0.3, label="PV used")
        available = sunny(used + outcomes[:, CURTAILED_KW])
        axes.stairs(available, edges, baseline=None, color=COLOURS["pv"], lw=1.2)
    axes.stairs(load, edges, baseline=None, color=COLOURS["load"], lw=1.3, label="load")
    filled: dict[str, Any] = {"fill": True, "alpha": 0.75, "lw": 0}
    if house.battery is not None:
        axes.stairs(battery, edges, color=COLOURS["battery"], label="battery", **filled)
    if house.car is not None and sessions:
        # On top of the battery where both draw or both give, so that neither hides the other.
        base = np.where(battery * car > 0.0, battery, 0.0)
        axes.stairs(base + car, edges, baseline=base, color=COLOURS["car"], label="car", **filled)
    axes.stairs(
        meter, edges, baseline=None, color=COLOURS["meter"], lw=2.0, label="meter (import > 0)"
    )


def charge_panel(
    axes: Axes,
    edges: Floats,
    house: House,
    sessions: tuple[Session, ...],
    soc_kwh: Floats,
    car_kwh: Floats,
) -> None:
    """Draw the energy in battery and car: in kWh, or as shares where a car visits.

    Args:
        axes: Where to draw.
        edges: From `edges_h`, shape (T + 1,), hours.
        house: The house.
        sessions: Visits of its car.
        soc_kwh: State of charge at the start and after each of k periods, shape (k + 1,), kWh;
            nan where it is not known.
        car_kwh: Energy in the car after each of these periods, shape (k,), kWh.
    """
    capacity = house.battery.capacity_kwh if house.battery else 0.0
    if house.car is None or not sessions:
        axes.set_title("State of charge, kWh")
        _store(axes, edges, soc_kwh)
        axes.axhline(
            capacity, color=COLOURS["quiet"], lw=1.0, ls=DASHED,
            label=f"capacity {capacity:.1f} kWh" if house.battery else "no battery",
        )  # fmt: skip
        axes.set_ylim(0.0, 1.15 * max(capacity, 1.0))
        return
    # Shares, because a car holds many times what a battery does.
    axes.set_title("State of charge, %")
    if house.battery is not None:
        share = 100.0 * soc_kwh / max(capacity, 1e-9)
        _store(axes, edges, share, label=f"battery, {capacity:.1f} kWh")
    _car(axes, edges, house.car, sessions, car_kwh)


def _store(axes: Axes, edges: Floats, soc: Floats, label: str | None = None) -> None:
    """The battery's state of charge, shape (k + 1,)."""
    at = edges[: len(soc)]
    axes.fill_between(at, soc, color=COLOURS["battery"], alpha=0.3, lw=0)
    axes.plot(at, soc, color=COLOURS["battery"], lw=1.8, label=label)
    axes.plot(at[-1], soc[-1], "o", color=COLOURS["battery"], ms=5, clip_on=False)


def _car(
    axes: Axes, edges: Floats, car: Car, sessions: tuple[Session, ...], stored_kwh: Floats
) -> None:
    """The car's state of charge while it is there, what it needs and what it misses."""
    colour, k = COLOURS["car"], len(stored_kwh)
    share = 100.0 / car.capacity_kwh
    most, missed = 100.0, 0.0
    axes.plot([], [], color=colour, lw=1.8, label=f"car, {car.capacity_kwh:.1f} kWh")
    need: dict[str, Any] = {"color": colour, "lw": 1.4, "ls": DASHED, "marker": "D", "ms": 7}
    need |= {"mec": "white", "clip_on": False, "zorder": 1.9}
    axes.plot([], [], label="needed", **need)
    for session in sessions:
        needed = share * session.needed_kwh
        most = max(most, needed)
        stay = [edges[session.arrival], edges[session.departure]]
        axes.plot(stay, [needed] * 2, markevery=[1], **need)
        if k < session.arrival:
            continue
        end = min(k, session.departure)
        energy = share * np.append(session.arrival_kwh, stored_kwh[session.arrival : end])
        at = edges[session.arrival : end + 1]
        # What it has gained or given since it came.
        axes.fill_between(at, energy[0], energy, color=colour, alpha=0.35, lw=0)
        axes.plot(at, energy, color=colour, lw=1.8)
        axes.plot(at[-1], energy[-1], "o", color=colour, ms=5, clip_on=False)
        if end == session.departure and (needed - energy[-1]) / share > 5e-3:
            missed += (needed - energy[-1]) / share
            axes.plot([at[-1]] * 2, [energy[-1], needed], color="black", lw=2.4, clip_on=False)
    if missed > 0.0:
        axes.plot([], [], color="black", lw=2.4, label=f"missed {missed:.1f} kWh")
    axes.set_ylim(0.0, 1.15 * most)
    axes.set_yticks([0, 50, 100])
