"""The picture of ``flexgym evaluate trader``: quotes of a day, what was bought, what was paid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gymnasium.utils import seeding

from flexgym.envs.data.calendar import date
from flexgym.envs.household.params import Floats
from flexgym.envs.household.render import COLOURS
from flexgym.envs.trader.scenario import TraderScenario
from flexgym.envs.trader.simulation import OUTCOME_NAMES, TraderSimulation
from flexgym.evaluate.contract_picture import START_H, draw_cash_flows
from flexgym.evaluate.pictures import picture
from flexgym.policies.trader import TraderPolicy

_SEARCHED = 256


def trader_picture(
    path: Path | str, scenario: TraderScenario, policy: TraderPolicy, seed: int = 0
) -> None:
    """Draw an episode in which the policy buys both contracts and saves much over spot.

    Args:
        path: PNG to write.
        scenario: Days and terms.
        policy: Who acts.
        seed: Of the first episode that is considered; the episode drawn saves as much as one in
            ten does.
    """
    simulation = TraderSimulation(scenario, _SEARCHED)
    simulation.begin([seeding.np_random(seed + i)[0] for i in range(_SEARCHED)])
    policy.begin(simulation)
    hours = []
    while not simulation.done:
        hours.append(simulation.step(policy.act(simulation)))
    outcomes = np.stack(hours, axis=1)
    i = _telling(simulation, outcomes)
    flows, spot = cash_flows(simulation, outcomes[i], i)
    day = date(int(simulation.episodes.day[i]))
    saved = spot.sum() - simulation.cost_eur[i]
    with picture(path, 9.0, 7.2) as figure:
        figure.text(
            0.015, 0.955, f"{policy.name}, {day.day} {day:%B}: {saved:.2f} EUR saved of "
            f"{spot.sum():.2f}", fontsize=14, fontweight="bold",
        )  # fmt: skip
        above = figure.add_axes((0.09, 0.53, 0.885, 0.34))
        below = figure.add_axes((0.09, 0.08, 0.885, 0.34))
        _draw_quotes(above, simulation, outcomes[i], i)
        draw_cash_flows(below, flows, ("all at spot", spot))


def cash_flows(
    simulation: TraderSimulation, outcome: Floats, i: int
) -> tuple[dict[str, Floats], Floats]:
    """When an episode's money is paid: premiums at once, all else hour by hour at delivery.

    Args:
        simulation: At its end.
        outcome: The episode's hours, shape (T, 10), columns `OUTCOME_NAMES`.
        i: Its row.

    Returns:
        What is paid by kind, shape (T,) each, EUR, and what everything at spot would cost, (T,).
    """
    terms, columns = simulation.terms, dict(zip(OUTCOME_NAMES, outcome.T, strict=True))
    D = terms.first_delivery
    forward = np.zeros(terms.hours)
    forward[D:] = columns["forward_eur"].sum() / terms.delivery_hours
    flows = {
        "forwards": forward,
        "premiums": columns["premium_eur"],
        "options at the strike": columns["exercise_eur"],
        "spot": columns["spot_eur"],
    }
    spot = np.zeros(terms.hours)
    spot[D:] = terms.need_lots * terms.lot_kwh * simulation.episodes.price_eur_per_kwh[i, D:]
    return flows, spot


def _telling(simulation: TraderSimulation, outcomes: Floats) -> int:
    """Row with both contracts whose saving over spot is at the ninth decile of such rows."""
    D, terms = simulation.terms.first_delivery, simulation.terms
    spot = simulation.episodes.price_eur_per_kwh[:, D:].sum(axis=1)
    saved = terms.need_lots * terms.lot_kwh * spot - simulation.cost_eur
    used = outcomes[:, :, OUTCOME_NAMES.index("exercised_lots")].sum(axis=1) > 0
    both = np.flatnonzero((simulation.covered > 0) & used)
    rows = both if both.size else np.arange(simulation.n)
    order = rows[np.argsort(saved[rows], kind="stable")]
    return int(order[int(0.9 * (len(order) - 1))])


def _draw_quotes(axes, simulation: TraderSimulation, outcome: Floats, i: int) -> None:
    terms, episodes, quotes = simulation.terms, simulation.episodes, simulation.scenario.quotes
    D, row = terms.first_delivery, int(episodes.row[i])
    t, signal = np.arange(D), episodes.signal[i]
    clock = START_H + np.arange(terms.hours + 1)
    forward = quotes.forward[row, t, signal[:D], episodes.quote[i]]
    premium = quotes.premium[row, t, signal[:D], episodes.quote[i]]
    axes.stairs(
        episodes.price_eur_per_kwh[i], clock, color=COLOURS["load"], baseline=None, label="spot"
    )
    for values, colour, label in (
        (quotes.block[row, t, signal[:D]], COLOURS["quiet"], "delivery, expected"),
        (forward, COLOURS["import"], "forward, quoted"),
        (quotes.strike[row] + premium, COLOURS["pv"], "strike + premium, quoted"),
    ):
        axes.stairs(values, clock[: D + 1], color=colour, baseline=None, lw=1.8, label=label)
    for name, at, colour in (
        ("forward_lots", forward, "import"),
        ("option_lots", quotes.strike[row] + premium, "pv"),
    ):
        lots = outcome[:D, OUTCOME_NAMES.index(name)]
        some = lots > 0
        axes.scatter(
            clock[:D][some] + 0.5, at[some], s=40 * lots[some], color=COLOURS[colour], zorder=4,
            label=f"bought ({name.removesuffix('_lots')}), by lots",
        )  # fmt: skip
    axes.axvspan(clock[D], clock[-1], color="#f4f4f4", zorder=0)
    axes.text(
        clock[D] + 0.1, 0.03, "delivery", transform=axes.get_xaxis_transform(), color="#555555"
    )
    axes.set_xlim(clock[0], clock[-1])
    ticks = np.arange(START_H, clock[-1] + 1, 3)
    axes.set_xticks(ticks, [f"{hour % 24:02d}:00" for hour in ticks])
    axes.set_ylabel("EUR/kWh")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.02), ncols=3, borderaxespad=0.0)
