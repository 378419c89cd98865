"""Picture of menus on the feeder: what was offered, what the operator took, and at which prices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.feeder.layout import distance_ohm, map_places
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.render import COLOURS, DASHED, clock_axis, edges_h
from flexgym.evaluate.feeder_sample import FeederDays
from flexgym.evaluate.pictures import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from flexgym.envs.grid.network import Network
    from flexgym.policies.menus import Menus

_MOVED_KW = 1e-3
_MOST_CT = 60.0
"""Costs above the own choice that are drawn, ct."""
_MOST_PRICE_CT = 30.0
"""Prices that are told apart, ct/kWh: scarcity may cost what a missing kWh does."""


def menus_picture(path: Path, days: FeederDays, index: int, policy: Menus) -> None:
    """Play one feeder-day and draw its busiest moment and its prices.

    Args:
        path: PNG to write.
        days: The feeder-days.
        index: Which.
        policy: Menus.
    """
    simulation = days.begin(slice(index, index + 1), **policy.settings)
    policy.begin(simulation)
    sent: list[list[FlexibilityChart]] = []
    while not simulation.done:
        simulation.step(policy.act(simulation))
        sent.append(policy.menus[0])
    day, network = policy.day, days.scenario.network
    price = 100.0 * day.price_eur_per_kwh[:, :, 0].sum(axis=1)
    t = int(np.argmax(day.harm_eur[:, 0].sum(axis=1)))
    with picture(path, 12.0, 9.4) as figure:
        grid = figure.add_gridspec(
            2,
            2,
            left=0.07,
            right=0.95,
            top=0.88,
            bottom=0.07,
            hspace=0.3,
            wspace=0.16,
            width_ratios=(1.2, 1.0),
        )
        figure.text(
            0.07, 0.955, f"{policy.name}, {days.scenario.name}, day {days.day[index]}: "
            f"{_clock(t)}, when the grid changed the houses' choices most",
            fontsize=14, fontweight="bold", color="#1a1a1a",
        )  # fmt: skip
        own, power = day.own_kw[:, 0], day.power_kw[:, 0]
        _draw_menus(figure.add_subplot(grid[0, 0]), sent[t], own[t], power[t])
        rating = float(network.trafo_rating_kva.sum())
        _draw_totals(figure.add_subplot(grid[0, 1]), own, power, rating, t)
        most = float(np.clip(np.quantile(np.abs(price), 0.995), 1.0, _MOST_PRICE_CT))
        order = np.argsort(distance_ohm(network)[network.bus_node[days.scenario.house_bus]])
        _draw_prices(figure, figure.add_subplot(grid[1, 0]), price[:, order], most, t)
        _draw_map(
            figure.add_subplot(grid[1, 1]), network, days.scenario.house_bus, price[t], most, t
        )


def _clock(t: int) -> str:
    minutes = (6 * 60 + 15 * t) % (24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _draw_menus(
    axes: Axes, menus: list[FlexibilityChart], own_kw: Floats, power_kw: Floats
) -> None:
    for h, menu in enumerate(menus):
        cost = 100.0 * (menu.cost_eur - menu.cost_eur.min())
        moved = abs(own_kw[h] - power_kw[h]) > _MOVED_KW
        colour = COLOURS["import"] if moved else COLOURS["quiet"]
        axes.plot(menu.power_kw, cost, color=colour, linewidth=0.8, alpha=0.7 if moved else 0.4)
        at = min(max(power_kw[h], menu.power_kw[0]), menu.power_kw[-1])
        paid = 100.0 * (float(menu.cost(at)) - menu.cost_eur.min())
        axes.plot([own_kw[h]], [0.0], "o", color=COLOURS["quiet"], markersize=4)
        if moved:
            axes.plot([power_kw[h]], [paid], "o", color=COLOURS["meter"], markersize=5)
    axes.plot([], [], "o", color=COLOURS["quiet"], label="own choice")
    axes.plot([], [], "o", color=COLOURS["meter"], label="taken by the operator")
    axes.legend(loc="upper right", frameon=False)
    axes.set_ylim(-0.03 * _MOST_CT, _MOST_CT)
    axes.set_xlabel("power at the meter, kW")
    axes.set_ylabel("cost above the own choice, ct")
    axes.set_title(f"The {len(menus)} menus")


def _draw_totals(axes: Axes, own_kw: Floats, power_kw: Floats, rating: float, t: int) -> None:
    at = edges_h(STEPS_PER_DAY)
    total = own_kw.sum(axis=1), power_kw.sum(axis=1)
    for values, colour, label in zip(
        total, (COLOURS["quiet"], COLOURS["meter"]), ("own choices", "cleared"), strict=True
    ):
        axes.stairs(values, at, baseline=None, color=colour, linewidth=1.8, label=label)
    for sign in (1.0, -1.0):
        axes.axhline(sign * rating, color="#1a1a1a", linestyle=DASHED, linewidth=1.0)
    axes.axvline(0.5 * (at[t] + at[t + 1]), color=COLOURS["import"], linewidth=1.0)
    axes.set_title("All houses; dashed: the transformer's rating")
    axes.set_ylabel("kW")
    axes.legend(loc="upper left", frameon=False)
    clock_axis(axes)


def _draw_prices(figure: Figure, axes: Axes, price_ct: Floats, most: float, t: int) -> None:
    at = edges_h(STEPS_PER_DAY)
    drawn = axes.pcolormesh(
        at, np.arange(price_ct.shape[1] + 1), price_ct.T, cmap="PuOr_r", vmin=-most, vmax=most
    )
    axes.axvline(0.5 * (at[t] + at[t + 1]), color=COLOURS["import"], linewidth=1.0)
    axes.grid(visible=False)
    axes.set_yticks([])
    axes.set_ylabel("houses, near to far from the transformer")
    axes.set_title("What a kWh costs the grid at each house, ct")
    figure.colorbar(drawn, ax=axes, pad=0.02, extend="both").outline.set_visible(False)  # type: ignore[operator]
    clock_axis(axes)


def _draw_map(
    axes: Axes,
    network: Network,
    house_bus: NDArray[np.int64],
    price_ct: Floats,
    most: float,
    t: int,
) -> None:
    places = map_places(network, 100.0, 62.0)
    parent = network.tree.parent
    for k in range(1, len(parent)):
        axes.plot(*places[[parent[k], k]].T, color=COLOURS["quiet"], linewidth=1.2, zorder=1)
    at = places[network.bus_node[house_bus]]
    axes.scatter(
        *at.T, c=price_ct, cmap="PuOr_r", vmin=-most, vmax=most, s=70, edgecolors="#333333",
        linewidths=0.6, zorder=2,
    )  # fmt: skip
    axes.plot(*places[0], "s", color="#1a1a1a", markersize=9, zorder=3)
    axes.set_xlim(0.0, 100.0)
    axes.set_ylim(0.0, 62.0)
    axes.set_axis_off()
    axes.set_title(f"The same on the feeder at {_clock(t)}")
